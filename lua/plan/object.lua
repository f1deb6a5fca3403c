-- What a policy on paper would do about one object: its children, and what it reports.
--
-- The steps are those of a reconcile (reconcile.lua): decide, write the children, decide again on what came of that, write the status. Each
-- child goes through apply.ensure, which says whether there is anything to write; where there is, the server is asked what it would
-- keep (a dry run). Its answers stand in for the children in the second look, so the status is the one that would follow the
-- writes; the cluster's own reaction to them (pods that end and start) comes after that and is in no plan. A refusal is a
-- Problem that the policy sees in the second look, as it would.
--
-- What a change carries for a saved plan: the UID and resourceVersion of what is live, and a digest of what is wanted.

local apply = require "apply"
local changes = require "plan.changes"
local guard = require "guard"
local masked = require "masked"
local observe = require "observe"
local status = require "status"

local M = {}

local TRIES = 3 -- an object that changes while it is looked at is looked at again

local function nothing() end

local function names(list)
  local set = {}
  for _, item in ipairs(list or {}) do set[item.kind .. "/" .. item.name] = true end
  return set
end

local function restarts_models(live, diff)
  if not (live and type(live.spec) == "table" and live.spec.template) or live.spec.replicas == 0 then return false end
  for _, one in ipairs(diff) do
    if one.path:find("^spec%.template") then return true end
  end
  return false
end

-- Whether no pod comes or goes by these changes.
local function is_quiet(live, diff)
  for _, one in ipairs(diff) do
    if one.path:find("^spec%.template") or one.path == "spec.replicas" then return false end
  end
  return live ~= nil
end

-- ---------------------------------------------------------------- children

-- What the mending of `found` does beyond the answer of its dry run (apply.rehearse): it takes extras away, and orders entries.
local function add_mended(diff, found)
  local there = {}
  for _, one in ipairs(diff) do there[one.path .. (one.order and " order" or "")] = true end
  for _, one in ipairs(found or {}) do
    if one.kind == "extras" and not there[one.path] then
      diff[#diff + 1] = { path = one.path, old = one.live }
    elseif one.kind == "order" and not there[one.path .. " order"] then
      local _, old, new = changes.common_order(one.live, one.wanted)
      diff[#diff + 1] = { path = one.path, order = true, old = old, new = new }
    end
  end
end

local function describe(change, child, live, after, found)
  if live and after then
    change.diff = changes.of_objects(child.kind, live, after)
    if child.kind ~= "Secret" then add_mended(change.diff, found) end
    changes.sort(change.diff)
    change.restarts = restarts_models(live, change.diff) or nil
  elseif after then
    change.diff = changes.of_new(child.kind, after)
    change.object = masked.children { child }[1]
  else
    change.diff = live and changes.of_objects(child.kind, live, live) or {}
  end
end

-- Whether who plans lacks a right that the operator has (RBAC's own words; admission has others): that is no verdict on the write. Of
-- Secrets no words are kept.
local function lacks_right(trouble)
  if trouble.code ~= 403 then return false end
  return trouble.kind == "Secret" or (trouble.message or ""):find(" is forbidden: User .- cannot %l+ resource ") ~= nil
end

local function as_found(child, found)
  local diff = {}
  for i, one in ipairs(found or {}) do
    diff[i] = child.kind == "Secret" and { path = one.path } or { path = one.path, old = one.live, new = one.wanted,
      order = one.kind == "order" or nil }
  end
  return changes.sort(diff)
end

-- Asked by apply.ensure in place of a write.
local function rehearse(job, ctx, child, found, live)
  local change = { action = live and "patch" or "create", kind = child.kind, name = child.metadata.name,
    uid = live and live.metadata.uid, resourceVersion = live and live.metadata.resourceVersion,
    wanted = "sha256:" .. digest.sha256(json.encode(child)) }
  job.changes[#job.changes + 1] = change
  local after, trouble, replaced = apply.rehearse(ctx, child, live, found)
  if after then
    describe(change, child, live, after, found)
    job.written[#job.written + 1] = { kind = child.kind, name = child.metadata.name, object = after,
      settles = is_quiet(live, change.diff) }
    return "unchanged"
  end
  if replaced then
    change.action, change.why = "replace", trouble.message
    describe(change, child, live, child, found)
    return "unchanged"
  end
  change.diff = live and as_found(child, found) or changes.of_new(child.kind, child)
  if lacks_right(trouble) then
    change.untried, change.restarts = trouble.message, restarts_models(live, change.diff) or nil
    return "unchanged"
  end
  change.refused = { code = trouble.code, reason = trouble.reason, message = trouble.message }
  return nil, trouble
end

local function context(job, informer)
  local ctx = { cluster = job.view.dry, informer = informer, settled = {}, owner_uid = job.owner.uid, digest = job.view.paper.digest,
    count = nothing, not_kept = nothing,
    replace_allowed = function(child) return job.replaceable[child.kind .. "/" .. child.metadata.name] or false end }
  ctx.dry_run = function(child, found, live)
    if found ~= "delete" then return rehearse(job, ctx, child, found, live) end
    local there = informer:get(job.owner.namespace .. "/" .. child.metadata.name)
    job.changes[#job.changes + 1] = { action = "prune", kind = child.kind, name = child.metadata.name, uid = there and there.uid,
      resourceVersion = there and there.version, diff = {} }
    return "unchanged"
  end
  return ctx
end

local function children(job, decision)
  local function take(_, trouble)
    if not trouble then return end
    local list = lacks_right(trouble) and job.unread or job.problems
    list[#list + 1] = trouble
  end
  job.replaceable = names(decision.replace)
  for _, manifest in ipairs(decision.children or {}) do
    local informer = job.view:of_kind(manifest.kind)
    if informer then
      take(apply.ensure(context(job, informer), apply.complete(manifest, job.owner, job.view.label)))
    else
      take(nil, { kind = manifest.kind, name = manifest.metadata.name, code = 0, reason = "NotDeclared",
        message = "the policy wants a " .. manifest.kind .. " but does not declare that kind under `children`" })
    end
  end
  for _, target in ipairs(decision.prune or {}) do
    local informer = job.view:of_kind(target.kind)
    if informer then take(apply.prune(context(job, informer), target, job.owner.namespace)) end
  end
end

-- ---------------------------------------------------------------- status

-- An answer as the cache would hold it: without managedFields, and of some kinds only the metadata. Where nothing follows from a
-- write, its controller has seen it a moment later, before a status is written.
local function as_kept(informer, one)
  local copy, object = {}, one.object
  for name, value in pairs(object) do copy[name] = value end
  local meta = {}
  for name, value in pairs(object.metadata) do meta[name] = value end
  meta.managedFields = nil
  copy.metadata = meta
  if one.settles and type(copy.status) == "table" then
    local said = {}
    for name, value in pairs(copy.status) do said[name] = value end
    said.observedGeneration = meta.generation
    copy.status = said
  end
  if informer.kind.keep == "metadata" then copy = { apiVersion = copy.apiVersion, kind = copy.kind, metadata = meta } end
  return policy.raw(json.encode(copy))
end

-- What would be seen after these writes.
local function seen_after(job)
  local seen = job.view.paper:seen(job.key)
  if not seen then return nil end
  seen.status_only, seen.problems = true, json.array(job.problems)
  for name, informer in pairs(job.view.set.children) do
    local kept = {}
    for child, raw in pairs(seen.children[name] or {}) do kept[child] = raw end
    for _, one in ipairs(job.written) do
      if one.kind == informer.kind.kind then kept[one.name] = as_kept(informer, one) end
    end
    for _, change in ipairs(job.changes) do
      if change.action == "prune" and change.kind == informer.kind.kind then kept[change.name] = nil end
    end
    seen.children[name] = kept
  end
  return seen
end

-- What two statuses that mean the same have in common, whenever they are written: the times in them are those of the writing.
function M.status_digest(wanted)
  local timeless = json.encode(wanted):gsub("%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d[%d.]*Z", "(time)")
  return "sha256:" .. digest.sha256(timeless)
end

-- (waits) What status would be written, as {wanted=, changes=, body= (the patch), refused=}; nil: none.
local function status_change(job, wanted)
  local object = job.view.paper.objects:read(job.key)
  if not object or wanted == nil then return nil end
  local body = status.patch(object, wanted, observe.rfc3339(loop.wall_ms()))
  if not body then return nil end
  local change = { wanted = M.status_digest(wanted), diff = changes.of_status(object.status, wanted),
    phase = wanted.phase, reason = wanted.reason, message = wanted.message, body = body, after_writes = #job.written > 0 or nil }
  if job.rehearses_status == false then return change end
  local result, text = status.write(job.view.dry, job.view.kind, job.key, body)
  if result == "conflict" or result == "gone" then job.stale = true end
  if result == nil and lacks_right { code = 403, kind = job.view.kind.kind, message = tostring(text) } then
    change.untried = tostring(text)
  elseif result == nil then
    change.refused = { message = tostring(text) }
  end
  return change
end

-- The host's own condition on an object that the policy errs on; or, where a policy says nothing, that condition taken away.
local function hosts_status(job, failure)
  local object = job.view.paper.objects:read(job.key)
  if not object then return nil end
  if failure then
    local condition = status.of_failure(object, failure)
    return condition and status.with_condition(object, condition)
  end
  return status.condition(object, status.POLICY_ERROR) and status.with_condition(object, nil) or nil
end

local function fail(job, failure)
  job.failure = failure
  job.status = status_change(job, hosts_status(job, failure))
  return job
end

-- ---------------------------------------------------------------- one object

local function look(view, key, options)
  local seen, handle = view.paper:seen(key)
  if not seen then return nil end
  local job = { view = view, key = key, changes = {}, problems = {}, unread = {}, written = {}, owner = view:owner_of(key, handle),
    uid = handle.uid, resourceVersion = handle.version, generation = handle.generation, rehearses_status = options.rehearses_status }
  seen.trace = options.trace
  local decision, failure = view:decide(seen)
  if not decision then return fail(job, failure) end
  job.decision = decision
  children(job, decision)
  if #job.changes > 0 or #job.problems > 0 then
    seen = seen_after(job)
    if not seen then return nil end
    local second
    second, failure = view:decide(seen)
    if not second then return fail(job, failure) end
    job.told = second
  end
  local wanted = (job.told or decision).status
  if wanted == nil then wanted = hosts_status(job) end
  job.status = status_change(job, wanted)
  return job
end

-- Why the plan of an object is no success: what the server would refuse, or the policy's own error. An array of sentences.
local function refusals(job)
  local told = json.array {}
  if job.failure then told[1] = "the policy fails: " .. guard.sentence(job.failure) end
  for _, change in ipairs(job.changes) do
    if change.refused then told[#told + 1] = ("%s %s: %s"):format(change.kind, change.name, change.refused.message) end
  end
  if job.status and job.status.refused then told[#told + 1] = "status: " .. job.status.refused.message end
  return told
end

-- (waits) The plan of one object, whether or not there is something to do; nil: there is no such object, or it is being deleted.
--   key, uid, resourceVersion, generation
--   changes   {action="create"|"patch"|"prune"|"replace", kind, name, uid, resourceVersion, wanted (digest),
--             diff={{path, old, new, order}...}, restarts, refused={code, reason, message}, untried (the
--             server's words: we may not ask), why (replace), object (create)}...
--   status    nil, or {diff, wanted (digest), phase, reason, message, body (the patch), after_writes, refused, untried}
--   problems  Problems of children that stay as they are; unread: of those that we may not read
--   failure   the PolicyError, or nil; refusals: sentences; decision: of a traced one
-- options: {trace, rehearses_status=false: the server is not asked about statuses}
function M.of(view, key, options)
  options = options or {}
  local job
  for _ = 1, TRIES do
    job = look(view, key, options)
    if not job or not job.stale then break end
    loop.sleep(0.05) -- for the watch to bring what was changed
  end
  if not job then return nil end
  return { key = key, uid = job.uid, resourceVersion = job.resourceVersion, generation = job.generation, changes = job.changes,
    status = job.status, problems = job.problems, unread = job.unread, failure = job.failure, refusals = refusals(job),
    decision = options.trace and job.decision or nil, told = options.trace and job.told or nil }
end

return M
