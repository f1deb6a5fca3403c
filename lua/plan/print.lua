-- A plan for people, and for programs.
--
-- For people: an object a paragraph, a change a line with a sign, a field a line, old → new. Long values are cut there; programs
-- (-o json, one document) get them whole. Of Secrets neither shows a value.

local guard = require "guard"
local policies = require "policies"
local whole = require "plan.whole"

local M = {}

local VALUE_MOST = 100  -- bytes of a value in a line
local LEAD = 20        -- bytes shown before the first difference of two long ones
local MADE_MOST = 40    -- fields of what would be made
local SIGNS = { create = "+", patch = "~", replace = "!", prune = "-" }

-- ---------------------------------------------------------------- text

local function text_of(value)
  if value == nil then return "nothing" end
  return type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or json.encode(value)
end

-- Whole characters from byte `from` on, at most so many bytes.
local function cut(text, from)
  local last = from + VALUE_MOST - 1
  while from > 1 and text:find("^[\128-\191]", from) do from = from - 1 end
  while last < #text and text:find("^[\128-\191]", last + 1) do last = last - 1 end
  return (from > 1 and "…" or "") .. text:sub(from, last) .. (last < #text and "…" or "")
end

local function shown(value)
  return cut(text_of(value), 1)
end

-- Two values; of long ones what lies around the first difference.
local function both_shown(old, new)
  local a, b = text_of(old), text_of(new)
  if math.max(#a, #b) <= VALUE_MOST or old == nil or new == nil then return cut(a, 1), cut(b, 1) end
  local same = 0
  while same < #a and a:byte(same + 1) == b:byte(same + 1) do same = same + 1 end
  local from = math.max(1, math.min(same - LEAD, math.min(#a, #b) - LEAD))
  return cut(a, from), cut(b, from)
end

local function names_of(list)
  return table.concat(list, ", ")
end

local function field_line(one)
  if one.order then return ("%s: order: %s → %s"):format(one.path, names_of(one.old), names_of(one.new)) end
  local old, new = both_shown(one.old, one.new)
  return ("%s: %s → %s"):format(one.path, old, new)
end

local function made_lines(diff, add)
  for i, one in ipairs(diff) do
    if i > MADE_MOST then return add(("      and %d fields more"):format(#diff - MADE_MOST)) end
    add(("      %s: %s"):format(one.path, shown(one.new)))
  end
end

local function change_lines(change, add)
  local tail = ""
  if change.restarts then tail = "   (restarts the model)" end
  if change.action == "replace" then tail = "   (deleted and made anew: " .. change.why .. ")" end
  add(("  %s %s %s %s%s"):format(SIGNS[change.action], change.action, change.kind, change.name, tail))
  if change.refused then add("      REFUSED by the server: " .. change.refused.message) end
  if change.untried then add("      not tried, for you may not: " .. change.untried) end
  if change.action == "create" then return made_lines(change.diff, add) end
  for _, one in ipairs(change.diff) do add("      " .. field_line(one)) end
end

-- Conditions are told in a line each, with their reasons; what else of them changes is their message.
local function condition_lines(diff, add)
  local order, by_type = {}, {}
  for _, one in ipairs(diff) do
    local kind, field = one.path:match("^conditions%[(.-)%]%.?(.*)$")
    if not kind then
      add("      " .. field_line(one))
    else
      if not by_type[kind] then by_type[kind], order[#order + 1] = {}, kind end
      by_type[kind][field] = one
    end
  end
  for _, kind in ipairs(order) do
    local fields, parts = by_type[kind], {}
    for _, field in ipairs { "", "status", "reason", "message", "observedGeneration" } do
      if fields[field] then
        local old, new = both_shown(fields[field].old, fields[field].new)
        parts[#parts + 1] = (field ~= "" and field .. " " or "") .. old .. " → " .. new
      end
    end
    add(("      conditions[%s]: %s"):format(kind, table.concat(parts, ", ")))
  end
end

local function status_lines(status, add)
  add("  ~ status" .. (status.after_writes and "   (the first one after these writes)" or ""))
  if status.refused then add("      REFUSED by the server: " .. status.refused.message) end
  if status.untried then add("      not tried, for you may not: " .. status.untried) end
  condition_lines(status.diff, add)
end

local function object_lines(plan, add)
  add(plan.key)
  if plan.failure then add("  ! the policy fails: " .. policies.explain_error(plan.failure):gsub("\n", "\n  ")) end
  for _, change in ipairs(plan.changes) do change_lines(change, add) end
  for _, problem in ipairs(plan.problems) do
    if problem.code == 0 or problem.reason == "ChildConflict" or problem.reason:find("^WaitingFor") then
      add(("  ! %s %s stays as it is: %s"):format(problem.kind, problem.name, problem.message))
    end
  end
  for _, problem in ipairs(plan.unread) do add(("  ! %s %s is not compared: you may not read it"):format(problem.kind, problem.name)) end
  if plan.status then status_lines(plan.status, add) end
end

local function plural(count, one, many)
  return count == 1 and "1 " .. one or ("%d %s"):format(count, many or one .. "s")
end

-- The summary as one line.
function M.summary_line(summary)
  -- a misspelt namespace looks like this, and must not read as "all is well"
  if summary.objects == 0 then return "Nothing would change: no PhDeployment is there. Is it another namespace (-n NS, --all-namespaces)?" end
  if summary.changed == 0 then
    return ("Nothing would change: %s as these policies say."):format(plural(summary.objects, "object is", "objects are"))
  end
  local parts = {}
  for _, action in ipairs(whole.ACTIONS) do
    if summary[action] > 0 or action ~= "replace" then parts[#parts + 1] = ("%d to %s"):format(summary[action], action) end
  end
  parts[#parts + 1] = plural(summary.restarts, "model restarts", "models restart")
  parts[#parts + 1] = plural(summary.reports, "object reports differently", "objects report differently")
  if summary.refused > 0 then parts[#parts + 1] = plural(summary.refused, "write is refused", "writes are refused") end
  if summary.failed > 0 then parts[#parts + 1] = ("the policy fails on %d"):format(summary.failed) end
  return ("Plan: %d of %s: %s."):format(summary.changed, plural(summary.objects, "object"), table.concat(parts, ", "))
end

-- result: of plan/whole.lua; warnings: sentences.
function M.text(result, warnings)
  local lines = {}
  local function add(line) lines[#lines + 1] = line end
  for _, plan in ipairs(result.plans) do
    if whole.says_something(plan) then
      object_lines(plan, add)
      add ""
    end
  end
  for _, warning in ipairs(warnings) do add("Note: " .. warning) end
  add(M.summary_line(result.summary))
  return table.concat(lines, "\n") .. "\n"
end

-- ---------------------------------------------------------------- JSON

local function fields(diff)
  local list = json.array {}
  for i, one in ipairs(diff) do list[i] = { path = one.path, old = one.old, new = one.new, order = one.order } end
  return list
end

local function failure_of(failure)
  if not failure then return nil end
  return { text = guard.sentence(failure), outcome = failure.outcome, file = failure.file, line = failure.line, source = failure.source }
end

-- One object of a plan as plain data: what -o json and saved plans hold.
function M.object(plan)
  local list = json.array {}
  for i, change in ipairs(plan.changes) do
    list[i] = { action = change.action, kind = change.kind, name = change.name, uid = change.uid, resourceVersion = change.resourceVersion,
      wanted = change.wanted, restarts = change.restarts, why = change.why, refused = change.refused, untried = change.untried,
      object = change.object, diff = fields(change.diff) }
  end
  local status = plan.status
  return { key = plan.key, uid = plan.uid, resourceVersion = plan.resourceVersion, generation = plan.generation, changes = list,
    problems = #plan.problems > 0 and json.array(plan.problems) or nil,
    unread = #plan.unread > 0 and json.array(plan.unread) or nil, failure = failure_of(plan.failure),
    status = status and { wanted = status.wanted, phase = status.phase, reason = status.reason, message = status.message,
      afterWrites = status.after_writes, refused = status.refused, untried = status.untried, diff = fields(status.diff) } or nil }
end

-- The whole as plain data; only objects of which something is said.
function M.data(result, warnings)
  local objects = json.array {}
  for _, plan in ipairs(result.plans) do
    if whole.says_something(plan) then objects[#objects + 1] = M.object(plan) end
  end
  return { objects = objects, summary = result.summary, warnings = json.array(warnings) }
end

return M
