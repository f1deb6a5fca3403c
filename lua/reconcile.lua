-- One key, once: observe, decide, write what differs, say how it went.
--
-- The order is children first, status after: a status tells what is, and it is decided on a view that holds
-- our own writes (the overlay). So a reconcile that wrote a child ends there and asks for another soon: by then
-- the cluster has answered what we wrote with changes of its own, and one status tells all of it. When what writes meet
-- changed, or its turn in a rollout, or the object changed while a call was under way, the policy decides a second time
-- before its status is written: status goes over the very version that was decided on. At rest it decides once and
-- nothing is sent. When another policy was swapped in meanwhile, nothing more is done on what the old one said: it
-- begins anew.

local apply = require "apply"
local guard = require "guard"
local informers = require "informers"
local news = require "news"
local nudge = require "nudge"
local observe = require "observe"
local sorted = require "sorted"
local status = require "status"
local writes = require "writes"

local M = {}

local CONFLICTS_AT_ONCE = 5  -- so often in a row a lost race is decided again at once; then it backs off
local TELL_SECONDS = 60      -- a policy error whose words change each time is told on the object this often
local WRITTEN_MOST, WRITTEN_SECONDS = 20, 60 -- so many writes of children with less than that between them
local SOONEST_SECONDS = 0.1  -- what requeue_after can ask for

-- What a status write came to, as HTTP has it.
local ANSWERS = { written = 200, conflict = 409, gone = 404 }

-- Deterministic text of the problems of a key, to see whether they changed.
local function fingerprint(problems)
  return problems and #problems > 0 and json.encode(json.array(problems)) or ""
end

local function context(world, key, owner_uid, informer)
  return {
    cluster = world.cluster, informer = informer, settled = world:notes(key), owner_uid = owner_uid, digest = world.digest,
    dry_run = world.dry_run, count = function(kind) world:count_write(kind, key) end,
    replace_allowed = function() return false end,
    may_delete = function(child) return not world.trial or world.trial:may_delete(key, child) end,
    not_kept = function(child, found) world:not_kept(key, child, found) end,
    answered = function(child, verb, code, words) writes.note(world, key, verb, child.kind, child.metadata.name, code, words) end,
  }
end

local function names(list)
  local set = {}
  for _, item in ipairs(list or {}) do set[item.kind .. "/" .. item.name] = true end
  return set
end

local function write_child(world, key, handle, owner, manifest, replaceable)
  local informer = world.by_kind[manifest.kind]
  if not informer then
    return nil, { kind = manifest.kind, name = manifest.metadata.name, code = 0, reason = "NotDeclared",
      message = "the policy wants a " .. manifest.kind .. " but does not declare that kind under `children`" }
  end
  local ctx = context(world, key, owner.uid, informer)
  ctx.replace_allowed = function(child)
    local name = child.kind .. "/" .. child.metadata.name
    return replaceable[name] and world.replacements:take(key, name) or false
  end
  local child = apply.complete(manifest, owner, world.label)
  child, ctx.digest = world.rollout:hold(key, handle, child, informer)
  return apply.ensure(ctx, child)
end

-- Children as decided by `policy` (its guard), as long as that is the live one; returns whether something was written, and the
-- problems met.
local function write_children(world, key, handle, owner, decision, policy)
  local wrote, problems = false, {}
  local replaceable = names(decision.replace)
  local function take(result, trouble)
    if result == "written" then wrote = true end
    if trouble then problems[#problems + 1] = trouble end
  end
  for _, manifest in ipairs(decision.children or {}) do
    if world.guard ~= policy then break end
    local result, trouble = write_child(world, key, handle, owner, manifest, replaceable)
    take(result, trouble)
    if trouble and world.trial and world.guard == policy then
      world.trial:refused(key, manifest, trouble.code, ("%s %s: %s"):format(trouble.kind, trouble.name, trouble.message))
    end
  end
  for _, target in ipairs(decision.prune or {}) do
    local informer = world.by_kind[target.kind]
    if informer and world.guard == policy then take(apply.prune(context(world, key, owner.uid, informer), target, owner.namespace)) end
  end
  return wrote, problems
end

-- The status could not be written over a stale view: fetch the newest, so that the next decision sees it.
local function refresh(world, key)
  local namespace, name = key:match("^(.-)/(.+)$")
  local answer = world.cluster:request { path = informers.path(world.kind, namespace, name) }
  if answer and answer.status == 200 then world.objects:of(key):wrote(answer.body) end
end

local function announce(key, before, after)
  before = type(before) == "table" and before or {}
  if before.phase ~= after.phase or before.message ~= after.message then
    log.info("phase", { key = key, from = tostring(before.phase or ""), to = after.phase or "", message = after.message or "" })
  end
end

-- Names of the fields, never their values: a status keeps copies of specs.
local function say_dry(key, patch)
  log.info("dry run: status would change",
    { key = key, fields = table.concat(sorted(patch), ", "), phase = patch.phase, message = patch.message })
end

-- "written", "unchanged", "conflict", "gone", or nil and a text.
local function send_status(world, key, object, wanted)
  local body = status.patch(object, wanted, observe.rfc3339(loop.wall_ms()))
  if not body then return "unchanged" end
  if world.dry_run then
    say_dry(key, body.status)
    return "unchanged"
  end
  world:count_write(world.kind.kind, key)
  local result, answer, code = status.write(world.cluster, world.kind, key, body)
  local words = not result and answer or type(body.status.phase) == "string" and "phase " .. body.status.phase or nil
  writes.note(world, key, "status", world.kind.kind, key:match("[^/]+$"), ANSWERS[result or ""] or 0, words)
  if result == "written" then
    world.objects:of(key):wrote(answer)
  elseif result == "conflict" then
    refresh(world, key)
  elseif code and world.trial then
    world.trial:status_refused(key, wanted, code, "its status: " .. tostring(answer))
  end
  return result, answer
end

local function write_status(world, key, decision)
  local object = world.objects:read(key)
  if not object then return "gone" end
  local wanted = decision.status
  if wanted == nil then
    if not status.condition(object, status.POLICY_ERROR) then return "unchanged" end
    wanted = status.with_condition(object, nil)
  end
  local result, answer = send_status(world, key, object, wanted)
  if (result == "written" or result == "unchanged" and not world.dry_run) and decision.recorded then
    world.objects:of(key):recorded(key, decision.recorded)
  end
  if result == "written" then
    announce(key, object.status, wanted)
    news.written(world, key, object, decision.events)
  elseif result == "unchanged" then
    news.unchanged(world, key)
  end
  return result, answer
end

-- The policy failed on this object: say so where its owner looks. Best effort; the next good status leaves it out.
local function tell_policy_error(world, key, failure)
  local object, notes = world.objects:read(key), world:notes(key)
  if not object then return end
  local condition = status.of_failure(object, failure)
  if not condition then return end
  if notes.told_at and loop.now() - notes.told_at < TELL_SECONDS then return end
  notes.told_at = loop.now()
  local result = send_status(world, key, object, status.with_condition(object, condition))
  if result == "written" then news.policy_failed(world, object, condition.message) end
end

-- The decision on what is seen now, or nil and a text after telling it on the object. status_only: its children
-- will not be looked at (to copy them out of the policy is a fifth of the work).
local function decide(world, key, handle, status_only)
  local seen = observe.seen(world, key, handle)
  seen.status_only = status_only
  local decision, failure = world.guard:decide(seen)
  if decision then return decision end
  world.metrics.policy_errors:add(1, failure.outcome)
  local stopped = failure.outcome == "budget" or failure.outcome == "clock"
  world.metrics[stopped and "timeouts" or "panics"]:add(1, world.name)
  local policy = world.guard
  if world.trial then world.trial:erred(key, failure) end
  if world.guard ~= policy then return nil, "the policy failed and was taken back" end
  tell_policy_error(world, key, failure)
  return nil, "the policy failed: " .. guard.sentence(failure)
end

-- What became of the status, in the words of M.key.
local function outcome(world, key, result, text)
  local notes = world:notes(key)
  if result == nil then return nil, "status of " .. key .. " could not be written: " .. tostring(text) end
  if result ~= "conflict" then
    notes.conflicts = 0
    return "done"
  end
  notes.conflicts = (notes.conflicts or 0) + 1
  if notes.conflicts <= CONFLICTS_AT_ONCE then return "again" end
  return nil, "status of " .. key .. " was changed by somebody else each time before it could be written"
end

-- Whether children of one spec were written so often in so short a time that somebody must be undoing it: then each next time comes
-- later. (So it is, too, while the watch is silent and their owner is gone: the garbage collector takes what is made for it.)
local function is_too_often(notes, handle)
  local now, run = loop.now(), notes.written
  if not run or run.generation ~= handle.generation or now - run.last > WRITTEN_SECONDS then
    run = { generation = handle.generation, count = 0 }
    notes.written = run
  end
  run.last, run.count = now, run.count + 1
  return run.count > WRITTEN_MOST
end

-- (waits) Returns "done" and seconds until the next look (or nil), "again" (decide at once), "wrote" (children were written, the
-- status comes with the next look, soon), or nil and a text (back off).
function M.key(world, key)
  local handle = world.objects:get(key)
  if not handle or handle.deleting then
    world:forget(key)
    return "done"
  end
  local notes = world:notes(key)
  if notes.uid and notes.uid ~= handle.uid then -- another object of the name: nothing is remembered of the old one
    world:forget(key)
    notes = world:notes(key)
  end
  notes.uid = handle.uid
  local policy = world.guard
  local decision, failure = decide(world, key, handle)
  if world.guard ~= policy then return "again" end
  if not decision then return nil, failure end
  local namespace, name = key:match("^(.-)/(.+)$")
  local owner = { api_version = world.kind.api_version, kind = world.kind.kind, name = name,
    namespace = namespace, uid = handle.uid }

  local was_held = world.rollout:is_held(key)
  local wrote, problems = write_children(world, key, handle, owner, decision, policy)
  if world.guard ~= policy then return "again" end
  local changed = fingerprint(problems) ~= fingerprint(world.problems[key]) or world.rollout:is_held(key) ~= was_held
  news.note_conflicts(world, key, world.problems[key], problems)
  world.problems[key] = #problems > 0 and problems or nil
  local newest = world.objects:get(key)
  if not newest or newest.deleting or newest.uid ~= handle.uid then return "again" end
  if wrote and #problems == 0 then
    if is_too_often(notes, handle) then return nil, "its children are written again and again: somebody takes them away or changes them back" end
    return "wrote"
  end
  if wrote or changed or newest.version ~= handle.version then
    decision, failure = decide(world, key, newest, true)
    if not decision then return nil, failure end
  end

  news.note(world, key, world.rollout:observe(key, decision.status))
  world.on_decided(key, decision)
  local result, text = outcome(world, key, write_status(world, key, decision))
  if result ~= "done" then return result, text end
  notes.told_at = nil
  nudge.decided(world, key, handle.uid, decision.nudge)
  if #problems > 0 then
    return nil, problems[1].kind .. " " .. problems[1].name .. ": " .. problems[1].message
  end
  -- the view was ahead of the watch, and the history waits for what the watch has still to bring: nobody will tell
  if newest.ours and decision.recorded and decision.recorded < newest.generation then return "wrote" end
  return "done", decision.requeue_after and math.max(decision.requeue_after, SOONEST_SECONDS)
end

return M
