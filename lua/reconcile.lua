-- One key, once: observe, decide, write what differs, say how it went.
--
-- The order is children first, status after: a status tells what is, and it is decided on a view
-- that holds our own writes (the overlay). When a write happened, or what writes meet changed,
-- the policy decides a second time before its status is written; at rest it decides once and
-- nothing is sent.

local apply = require "apply"
local informers = require "informers"
local observe = require "observe"
local status = require "status"

local M = {}

-- Deterministic text of the problems of a key, to see whether they changed.
local function fingerprint(problems)
  return problems and #problems > 0 and json.encode(json.array(problems)) or ""
end

local function context(world, key, owner_uid, informer)
  return {
    cluster = world.cluster, informer = informer, owner_uid = owner_uid, digest = world.digest,
    dry_run = world.dry_run, count = function(kind) world:count_write(kind, key) end,
    replace_allowed = function() return false end,
  }
end

local function names(list)
  local set = {}
  for _, item in ipairs(list or {}) do set[item.kind .. "/" .. item.name] = true end
  return set
end

-- Children as decided; returns whether something was written, and the problems met.
local function write_children(world, key, handle, owner, decision)
  local wrote, problems = false, {}
  local replaceable = names(decision.replace)
  local function take(result, trouble)
    if result == "written" then wrote = true end
    if trouble then problems[#problems + 1] = trouble end
  end
  for _, manifest in ipairs(decision.children or {}) do
    local informer = world.by_kind[manifest.kind]
    if not informer then
      take(nil, { kind = manifest.kind, name = manifest.metadata.name, code = 0, reason = "NotDeclared",
        message = "the policy wants a " .. manifest.kind .. " but does not declare that kind under `children`" })
    else
      local ctx = context(world, key, owner.uid, informer)
      ctx.replace_allowed = function(child)
        return replaceable[child.kind .. "/" .. child.metadata.name] and world.replacements:take(key) or false
      end
      local child = apply.complete(manifest, owner, world.label)
      child, ctx.digest = world.rollout:hold(key, handle, child, informer)
      take(apply.ensure(ctx, child))
    end
  end
  for _, target in ipairs(decision.prune or {}) do
    local informer = world.by_kind[target.kind]
    if informer then take(apply.prune(context(world, key, owner.uid, informer), target, owner.namespace)) end
  end
  return wrote, problems
end

local function decide(world, key, handle)
  local decision, failure = world.generation:call(world.module, "decide", observe.seen(world, key, handle))
  if decision == nil then
    world.metrics.policy_errors:add(1, failure and failure.outcome or "value")
    return nil, failure or { outcome = "value", text = "decide returned nothing" }
  end
  return decision
end

local function policy_failure(failure)
  local place = failure.file ~= "" and failure.file and (failure.file .. ":" .. tostring(failure.line) .. ": ") or ""
  return place .. failure.text
end

-- The status could not be written over a stale view: fetch the newest, so that the next decision sees it.
local function refresh(world, key)
  local namespace, name = key:match("^(.-)/(.+)$")
  local answer = world.cluster:request { path = informers.path(world.kind, namespace, name) }
  if answer and answer.status == 200 then world.objects:of(key):wrote(answer.body) end
end

local function announce(key, before, after)
  local old, new = before and before.phase, after.phase
  if old ~= new or (before and before.message) ~= after.message then
    log.info("phase", { key = key, from = old or "", to = new or "", message = after.message or "" })
  end
end

local function write_status(world, key, decision)
  if decision.status == nil then return "unchanged" end
  local object = world.objects:read(key)
  if not object then return "gone" end
  local body = status.patch(object, decision.status, observe.rfc3339(loop.wall_ms()))
  local watch = world.objects:of(key)
  if not body then
    if decision.recorded then watch:recorded(key, decision.recorded) end
    return "unchanged"
  end
  if world.dry_run then
    log.info("dry run: status would change", { key = key, patch = json.encode(body.status) })
    return "unchanged"
  end
  world:count_write(world.kind.kind, key)
  local result, answer = status.write(world.cluster, world.kind, key, body)
  if result == "written" then
    watch:wrote(answer)
    if decision.recorded then watch:recorded(key, decision.recorded) end
    announce(key, object.status, decision.status)
  elseif result == "conflict" then
    refresh(world, key)
  end
  return result, answer
end

-- (waits) Returns "done" and seconds until the next look (or nil), "again" (decide at once), or nil and a text (back off).
function M.key(world, key)
  local handle = world.objects:get(key)
  if not handle or handle.deleting then
    world:forget(key)
    return "done"
  end
  local decision, failure = decide(world, key, handle)
  if not decision then return nil, policy_failure(failure) end
  local namespace, name = key:match("^(.-)/(.+)$")
  local owner = { api_version = world.kind.api_version, kind = world.kind.kind, name = name,
    namespace = namespace, uid = handle.uid }

  local wrote, problems = write_children(world, key, handle, owner, decision)
  local changed = fingerprint(problems) ~= fingerprint(world.problems[key])
  world.problems[key] = #problems > 0 and problems or nil
  if wrote or changed then
    handle = world.objects:get(key)
    if not handle or handle.deleting then return "again" end
    decision, failure = decide(world, key, handle)
    if not decision then return nil, policy_failure(failure) end
  end

  world.rollout:observe(key, decision.status)
  local result, text = write_status(world, key, decision)
  if result == nil then return nil, "status of " .. key .. " could not be written: " .. tostring(text) end
  if result == "conflict" then return "again" end
  if #problems > 0 then
    return nil, problems[1].kind .. " " .. problems[1].name .. ": " .. problems[1].message
  end
  return "done", decision.requeue_after
end

return M
