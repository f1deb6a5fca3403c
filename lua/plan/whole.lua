-- The plan of everything that a view shows, object by object, and what it comes to.
--
-- Deciding is this program's own work, dry runs are the server's: so many objects are planned side by side, and only where something
-- would change is the server asked at all.

local object_plan = require "plan.object"

local M = {}

local SIDE_BY_SIDE = 32
local SLICE_SECONDS = 0.02

M.ACTIONS = { "create", "patch", "replace", "prune" }

local function new_summary()
  return { objects = 0, changed = 0, create = 0, patch = 0, replace = 0, prune = 0, restarts = 0, reports = 0, refused = 0, failed = 0,
    problems = 0 }
end

local function add(summary, plan)
  local restarts
  for _, change in ipairs(plan.changes) do
    if change.refused then
      summary.refused = summary.refused + 1
    else
      summary[change.action] = summary[change.action] + 1
    end
    restarts = restarts or change.restarts
  end
  if plan.status then
    if plan.status.refused then summary.refused = summary.refused + 1 else summary.reports = summary.reports + 1 end
  end
  if restarts then summary.restarts = summary.restarts + 1 end
  if plan.failure then summary.failed = summary.failed + 1 end
  summary.problems = summary.problems + #plan.problems
  if M.changes_something(plan) then summary.changed = summary.changed + 1 end
end

-- Whether anything would be written about it; and whether there is anything to tell.
function M.changes_something(plan)
  return #plan.changes > 0 or plan.status ~= nil or plan.failure ~= nil
end
function M.says_something(plan)
  return M.changes_something(plan) or #plan.unread > 0
end

-- One task of many: takes keys until there are none.
local function worker(view, keys, at, plans, options)
  local began = loop.now()
  while at.next <= #keys do
    local i = at.next
    at.next = i + 1
    plans[i] = object_plan.of(view, keys[i], options) or false
    if loop.now() - began > SLICE_SECONDS then
      loop.sleep(0)
      began = loop.now()
    end
  end
end

-- (waits) {plans={those of plan/object.lua, by key}, summary=}; nil and a PolicyError when the policy keeps something between calls.
-- options: {keys (default: all), side_by_side}
function M.make(view, options)
  options = options or {}
  local keys, plans, at, tasks = options.keys or view:keys(), {}, { next = 1 }, {}
  for i = 1, math.min(options.side_by_side or SIDE_BY_SIDE, #keys) do
    tasks[i] = loop.spawn(worker, view, keys, at, plans, options)
  end
  for _, task in ipairs(tasks) do
    local ok, why = task:join()
    if not ok then error(why, 0) end
  end
  local clean, kept = view.generation:check_state()
  if not clean then return nil, kept end
  local result = { plans = {}, summary = new_summary() }
  for i = 1, #keys do
    local plan = plans[i]
    if plan then
      result.summary.objects = result.summary.objects + 1
      result.plans[#result.plans + 1] = plan
      add(result.summary, plan)
    end
  end
  return result
end

-- The exit status that a plan's summary stands for: 0 nothing, 2 changes, 1 something in it fails.
function M.exit_status(summary)
  if summary.failed > 0 or summary.refused > 0 then return 1 end
  return summary.changed > 0 and 2 or 0
end

return M
