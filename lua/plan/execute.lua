-- Doing what a saved plan says, and never more.
--
-- Each object is planned again on what there is now. Only if the object, its children and what is wanted of them are what they were is
-- anything written: UIDs and resourceVersions as planned, the same digests of what is wanted. Each first write bears the
-- resourceVersion that was planned with, so that what changes in between loses to nobody. What is not as planned is left alone, and said.
-- Models that restart go settings.rollout.budget at a time, each waited for until the policies call it Deployed; the first one that
-- turns Failed stops those that have not begun.

local apply = require "apply"
local observe = require "observe"
local object_plan = require "plan.object"
local pacing = require "rollout"
local status = require "status"

local M = {}

local POLL_SECONDS = 0.5
local LOOK_SECONDS = 3
local EXTRA_SECONDS = 60  -- beyond what a Deployment itself is given to make progress

local function nothing() end

-- ---------------------------------------------------------------- is it as it was?

local function id_of(change) return ("%s %s %s"):format(change.action, change.kind, change.name) end

-- What of one change is not as it was planned, as a sentence; nil: it is.
local function change_differs(planned, now)
  local name = planned.kind .. " " .. planned.name
  if not now then return name .. " changed since: there is no " .. planned.action .. " to do any more" end
  if planned.uid ~= now.uid then return name .. " is another object now" end
  if planned.resourceVersion ~= now.resourceVersion then
    return ("%s changed since (resourceVersion %s, planned on %s)"):format(name, tostring(now.resourceVersion),
      tostring(planned.resourceVersion))
  end
  if planned.wanted ~= now.wanted then
    return name .. ": something else is wanted of it now: its group, its instance type or its pods changed since"
  end
  if now.refused then return name .. " would be refused now: " .. now.refused.message end
end

-- What of an object is not as it was planned: sentences.
local function differences(planned, now)
  if not now then return { "it is gone, or being deleted" } end
  if planned.uid ~= now.uid then return { "it is another object of this name now" } end
  local found, by_id = {}, {}
  if planned.resourceVersion ~= now.resourceVersion then
    found[1] = ("it changed since (resourceVersion %s, planned on %s)"):format(now.resourceVersion, planned.resourceVersion)
  end
  if now.failure then found[#found + 1] = "the policies fail on it now" end
  for _, change in ipairs(now.changes) do by_id[id_of(change)] = change end
  for _, change in ipairs(planned.changes) do
    if not change.refused then found[#found + 1] = change_differs(change, by_id[id_of(change)]) end
    by_id[id_of(change)] = nil
  end
  for id in pairs(by_id) do found[#found + 1] = "there would be more to do now: " .. id end
  if (planned.status and planned.status.wanted) ~= (now.status and now.status.wanted) then
    found[#found + 1] = "it would report something else now"
  end
  return found
end

-- ---------------------------------------------------------------- writing

local function context(view, owner, change)
  local informer = view.paper.by_kind[change.kind]
  return { cluster = view.cluster, informer = informer, settled = {}, owner_uid = owner.uid, digest = view.paper.digest, count = nothing,
    not_kept = nothing, version = change.resourceVersion, replace_allowed = function() return change.action == "replace" end }
end

local function write_child(view, owner, decision, change)
  if change.action == "prune" then return apply.prune(context(view, owner, change), change, owner.namespace) end
  for _, manifest in ipairs(decision.children or {}) do
    if manifest.kind == change.kind and manifest.metadata.name == change.name then
      local ctx, child = context(view, owner, change), apply.complete(manifest, owner, view.label)
      ctx.digest = pacing.mark(ctx.digest, child) -- so that the operator knows whose the next difference is
      return apply.ensure(ctx, child)
    end
  end
end

-- The status, if it is the one that was planned; after writes the cluster may have moved on, and then it is the operator's.
local function write_status(view, planned, wrote)
  local seen = view.paper:seen(planned.key)
  local decision = seen and view:decide(seen)
  local object = view.paper.objects:read(planned.key)
  if not decision or not decision.status or not object then return nil, "it is left to the operator" end
  if object_plan.status_digest(decision.status) ~= planned.status.wanted then
    return nil, wrote and "the cluster has moved on since the writes; it is left to the operator" or "it would be another one now"
  end
  local body = status.patch(object, decision.status, observe.rfc3339(loop.wall_ms()))
  if not body then return "unchanged" end
  local result, text = status.write(view.cluster, view.kind, planned.key, body)
  if result == "written" then
    view.paper.objects:of(planned.key):wrote(text)
    return "written"
  end
  return nil, result == "conflict" and "it changed at this moment" or result == "gone" and "the object is gone" or tostring(text)
end

-- (waits) {key=, done={texts}, refused={sentences}, wrote=bool, restarts=bool}
local function do_one(view, planned)
  local result = { key = planned.key, done = json.array {}, refused = json.array {} }
  local now = object_plan.of(view, planned.key, { trace = true, rehearses_status = false })
  for _, text in ipairs(differences(planned, now)) do result.refused[#result.refused + 1] = text end
  if #result.refused > 0 then return result end
  local owner = view:owner_of(planned.key, view.paper.objects:get(planned.key))
  for _, change in ipairs(planned.changes) do
    if change.refused then
      result.refused[#result.refused + 1] = ("%s %s was refused when it was planned"):format(change.kind, change.name)
    else
      local did, trouble = write_child(view, owner, now.decision, change)
      if trouble then
        local changed = trouble.code == 409 and trouble.reason == "Conflict"
        local words = changed and "it changed at this moment" or trouble.message
        result.refused[#result.refused + 1] = ("%s %s: %s"):format(change.kind, change.name, words)
      elseif did == "written" then
        result.done[#result.done + 1], result.wrote = id_of(change), true
        result.restarts = result.restarts or change.restarts
      end
    end
  end
  if planned.status and #result.refused == 0 then
    local did, why = write_status(view, planned, result.wrote)
    if did == "written" then result.done[#result.done + 1] = "status" end
    if why and not result.wrote then result.refused[#result.refused + 1] = "status: " .. why end
    if why and result.wrote then result.note = "status: " .. why end
  end
  return result
end

-- ---------------------------------------------------------------- models that restart

-- The phase on paper, and its message. `told`: what was said the last time ({} at first). A grace begins when its condition is told, and
-- nobody writes statuses here: so each is kept, and seen the next time.
local function phase_of(view, key, told)
  local seen = view.paper:seen(key)
  local object = seen and view.paper.objects:read(key)
  if not object then return nil end
  if told.status then
    object.status = told.status
    seen.object = policy.raw(json.encode(object))
  end
  local decision = view:decide(seen)
  if not decision or not decision.status then return nil end
  told.status = status.complete(decision.status, object.status, observe.rfc3339(loop.wall_ms()))
  return decision.status.phase, decision.status.message
end

local function will_restart(planned)
  for _, change in ipairs(planned.changes) do
    if change.restarts and not change.refused then return true end
  end
  return false
end

-- (waits) Whether the template that was written is there no more. An operator that runs with other policies writes its own again.
local function is_taken_back(view, key)
  local now = object_plan.of(view, key, { rehearses_status = false })
  return now ~= nil and will_restart(now)
end

-- (waits) Until the model is up: true; nil and why it is not.
local function wait_for(view, key, was_failed)
  local rollout = type(view.settings.rollout) == "table" and view.settings.rollout or {}
  local deadline = loop.now() + (tonumber(rollout.progressDeadlineSeconds) or 600) + EXTRA_SECONDS
  local told, look_again = {}, loop.now() + LOOK_SECONDS
  loop.sleep(POLL_SECONDS) -- what was written shows in the watches
  while true do
    local phase, message = phase_of(view, key, told)
    if phase == "Deployed" or phase == "Stopped" or phase == nil then return true end
    if phase == "Failed" then return was_failed or nil, message end
    if loop.now() > deadline then return nil, "it is still " .. phase end
    if loop.now() > look_again then
      if is_taken_back(view, key) then return nil, "it was written back: does an operator run with other policies? Give it the new ones, too" end
      look_again = loop.now() + LOOK_SECONDS
    end
    loop.sleep(POLL_SECONDS)
  end
end

local function budget_of(view)
  local wanted = type(view.settings.rollout) == "table" and tonumber(view.settings.rollout.budget) or 1
  return wanted >= 1 and wanted // 1 or 1
end

-- Some tasks take objects one after the other; tell(result) after each.
local function side_by_side(view, list, most, each)
  local at, tasks = 0, {}
  for i = 1, math.min(most, #list) do
    tasks[i] = loop.spawn(function()
      while at < #list do
        at = at + 1
        each(view, list[at])
      end
    end)
  end
  for _, task in ipairs(tasks) do
    local ok, why = task:join()
    if not ok then error(why, 0) end
  end
end

-- (waits) Do what `data` (plan/file.lua's) says through this view; tell(result) after each object: {key, done, refused, note}.
function M.run(view, data, tell)
  local quiet, restarting, stopped = {}, {}, nil
  for _, planned in ipairs(data.objects) do
    local list = will_restart(planned) and restarting or quiet
    list[#list + 1] = planned
  end
  side_by_side(view, quiet, 16, function(_, planned) tell(do_one(view, planned)) end)
  side_by_side(view, restarting, budget_of(view), function(_, planned)
    if stopped then
      return tell { key = planned.key, done = json.array {}, refused = json.array { "it has not begun: " .. stopped } }
    end
    local was_failed = phase_of(view, planned.key, {}) == "Failed"
    local result = do_one(view, planned)
    if result.restarts then
      local up, why = wait_for(view, planned.key, was_failed)
      if not up then
        stopped = ("%s did not come up with its new template (%s)"):format(planned.key, tostring(why))
        result.refused[#result.refused + 1] = "it did not come up with its new template: " .. tostring(why)
      end
    end
    tell(result)
  end)
end

return M
