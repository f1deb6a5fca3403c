-- Runs table cases (NAME_cases.yaml) in the policy's own state: makes the world, decides, compares.
--
-- lua/cases.lua, in the host, has turned the text into programs of small steps with their lines; nothing here reads
-- YAML. What does not hold is raised as "FILE:LINE: ...", so that it is told like any mistake of the policies.
--
-- Each decision is asked for twice: once more with the lists whose order means nothing (pods, events, conditions) the
-- other way round. What differs then would differ from day to day.

local spec_rows = require "moonphase.spec_rows"

local M = {}

local DECIDES = "phdeployment"

local copy = json.copy

local function show(value)
  if value == nil or value == json.null then return "nothing" end
  if type(value) == "function" then return "a function" end
  local said = json.encode(value)
  return #said > 300 and said:sub(1, 300) .. "..." or said
end

-- ---------------------------------------------------------------- paths

local function is_list(value)
  return type(value) == "table" and (json.is_array(value) or value[1] ~= nil)
end

local function past_end(step, list)
  return ("names element [%d] of %d; [0] is the first"):format(step.index, #list)
end

-- The key at which a step finds something in a table, or puts something (a list grows at its end); nil and why not.
local function key_of(value, step)
  if type(value) ~= "table" then return nil, "leads through " .. show(value) .. ", which has no parts" end
  if step.key then
    if is_list(value) then return nil, "meets a list at `" .. step.key .. "`: say which element, such as [0] or [*]" end
    return step.key
  end
  if step.index then
    if step.index > #value then return nil, past_end(step, value) end
    return step.index + 1
  end
  if not is_list(value) then return step.name end
  for i, element in ipairs(value) do
    if element == step.name then return i end
    for _, field in ipairs { "name", "type", "kind", "key" } do
      if type(element) == "table" and element[field] == step.name then return i end
    end
    if type(element) == "table" and type(element.metadata) == "table" and element.metadata.name == step.name then return i end
  end
  return nil, "finds no element " .. step.name
end

-- Put a value (null: nothing) at the place that the steps lead to; maps on the way are made. A sentence if that cannot be.
local function put(target, steps, value, from)
  for i = from or 1, #steps do
    local step = steps[i]
    if step.all then
      if not is_list(target) then return "wants the elements [*] of what is no list" end
      if #target == 0 then return "wants the elements [*] of an empty list" end
      for n = 1, #target do
        if i == #steps then
          target[n] = copy(value)
        else
          local why = put(target[n], steps, value, i + 1)
          if why then return why end
        end
      end
      return nil
    end
    local key, why = key_of(target, step)
    if key == nil then return why end
    if i == #steps then
      if value == json.null and is_list(target) then
        for n = key, #target do target[n] = target[n + 1] end
      elseif value == json.null then
        target[key] = nil
      else
        target[key] = copy(value)
      end
      return nil
    end
    if target[key] == nil then target[key] = {} end
    target = target[key]
  end
end

-- What the steps lead to, once for each element of a [*]: an array of {value}. nil and why not, where a list lacks an element.
local function all_at(value, steps, from, found)
  found = found or {}
  for i = from or 1, #steps do
    if value == nil or value == json.null then break end
    if steps[i].all then
      if not is_list(value) then return nil, "wants the elements [*] of what is no list" end
      for _, element in ipairs(value) do
        local ok, why = all_at(element, steps, i + 1, found)
        if not ok then return nil, why end
      end
      return found
    end
    local key, why = key_of(value, steps[i])
    if key == nil then return nil, why end
    if steps[i].index and key > #value then return nil, past_end(steps[i], value) end
    value = value[key]
  end
  found[#found + 1] = { value = value }
  return found
end

-- ---------------------------------------------------------------- comparing

local function is_text_matcher(wanted)
  return type(wanted) == "table" and type(wanted.contains) == "string" and next(wanted, "contains") == nil and next(wanted) == "contains"
end

-- Why `actual` is not as wanted; nil if it is. null wants nothing, {contains: x} a text with x in it.
local function differs(wanted, actual)
  if wanted == json.null then
    if actual == nil or actual == json.null then return nil end
    return "expected nothing, got " .. show(actual)
  end
  if is_text_matcher(wanted) then
    if type(actual) == "string" and actual:find(wanted.contains, 1, true) then return nil end
    return "expected a text with " .. show(wanted.contains) .. ", got " .. show(actual)
  end
  if actual ~= nil and json.equal(wanted, actual) then return nil end
  return "expected " .. show(wanted) .. ", got " .. show(actual)
end

local function compare(run, op, root, what)
  local found, why = all_at(root, op.path)
  if not found then return run:fail(op, ("%s: the path %s"):format(what, why)) end
  if #found == 0 then return run:fail(op, what .. ": there is no element") end
  for _, one in ipairs(found) do
    local difference = differs(op.value, one.value)
    if difference then return run:fail(op, what .. ": " .. difference) end
  end
end

local function child_of(decision, kind)
  for _, child in ipairs(decision.children or {}) do
    if child.kind == kind then return child end
  end
  return nil
end

local function kinds_of(list)
  local kinds = {}
  for i, one in ipairs(list or {}) do kinds[i] = tostring(one.kind) end
  return #kinds > 0 and table.concat(kinds, ", ") or "none"
end

local function condition_of(decision, kind)
  for _, condition in ipairs(decision.status and decision.status.conditions or {}) do
    if condition.type == kind then return condition end
  end
  return nil
end

local function same_words(wanted, actual)
  local left, given = copy(wanted), {}
  table.sort(left)
  for i, word in ipairs(actual) do given[i] = word end
  table.sort(given)
  return table.concat(left, ", ") == table.concat(given, ", ")
end

-- ---------------------------------------------------------------- order

local REVERSED = { "pods", "replicasets", "events", "problems" }

local function backwards(list)
  local new = json.array {}
  for i = #list, 1, -1 do new[#new + 1] = list[i] end
  return new
end

local function turn_conditions(object)
  local status = type(object) == "table" and object.status
  if type(status) == "table" and is_list(status.conditions) then status.conditions = backwards(status.conditions) end
end

-- The same world, seen in another order.
local function turned(w)
  local other = copy(w)
  for _, name in ipairs(REVERSED) do
    if is_list(other[name]) then
      other[name] = backwards(other[name])
      for _, object in ipairs(other[name]) do turn_conditions(object) end
    end
  end
  turn_conditions(other.object)
  for _, objects in pairs(other.children or {}) do
    for _, object in pairs(objects) do turn_conditions(object) end
  end
  return other
end

-- Where two values differ first, as a path.
local function first_difference(one, other, path)
  if type(one) ~= "table" or type(other) ~= "table" then
    return (one ~= other) and path or nil
  end
  for k, v in pairs(one) do
    local found = first_difference(v, other[k], type(k) == "number" and ("%s[%d]"):format(path, k - 1) or path .. "." .. tostring(k))
    if found then return found end
  end
  for k in pairs(other) do
    if one[k] == nil then return path .. "." .. tostring(k) end
  end
  return nil
end

-- ---------------------------------------------------------------- a run

local Run = {}
Run.__index = Run

function Run:fail(op, text)
  self.failures[#self.failures + 1] = ("%s:%d: %s"):format(self.file, op.line, text)
end

-- Nothing after this makes sense.
function Run:stop(op, text)
  error(("%s:%d: %s"):format(self.file, op.line, text), 0)
end

function Run:worlds(op)
  local ok, worlds = pcall(require, "spec_world")
  if not ok or type(worlds) ~= "table" then
    self:stop(op, "there is no spec_world.lua in the folder that makes worlds; write the whole world as `seen`")
  end
  return worlds
end

function Run:call(op, name, ...)
  local make = self:worlds(op)[name]
  if type(make) ~= "function" then self:stop(op, ("spec_world.lua has no function \"%s\""):format(name)) end
  return make(...)
end

local function decide(seen)
  return require(DECIDES).decide(copy(seen))
end

-- What is decided on the present world: once, and once with another order of what has none.
function Run:decision(op)
  if self.decided then return self.decided end
  local decision, other = decide(self.world), decide(turned(self.world))
  if type(decision) ~= "table" then self:stop(op, "decide returned " .. show(decision)) end
  local where = first_difference(decision, other, "decision")
  if where and not where:find("^decision%.trace") then
    self:fail(op, ("another order of pods, events or conditions makes another decision: %s differs"):format(where))
  end
  self.decided = decision
  self.decisions[#self.decisions + 1] = decision
  return decision
end

function Run:changed()
  self.decided = nil
end

local OPS = {}

function OPS.base(run, op)
  local world = run:call(op, op.name)
  if type(world) ~= "table" or type(world.object) ~= "table" then
    run:stop(op, ("spec_world.%s() gives no world: a table with an `object`"):format(op.name))
  end
  run.world = copy(world)
end

function OPS.seen(run, op)
  run.world = copy(op.value)
end

function OPS.edit(run, op)
  local why = put(run.world.object.spec, op.path, op.value)
  if why then run:stop(op, ("edit: the path %s %s"):format(op.text, why)) end
end

function OPS.edited(run, op)
  run:call(op, "edit", run.world, function() end)
end

function OPS.given(run, op)
  local first = op.path[1].key
  if run.world[first] == nil and first ~= "held" and first ~= "status_only" then
    run:stop(op, ("given: nothing called %s is seen"):format(tostring(first)))
  end
  local why = put(run.world, op.path, op.value)
  if why then run:stop(op, ("given: the path %s %s"):format(op.text, why)) end
end

function OPS.roll(run, op)
  run:call(op, "roll", run.world, op.available)
end

function OPS.after(run, op)
  run:call(op, "apply", run.world)
  run.world.now = run.world.now + op.seconds
end

function OPS.status(run, op)
  compare(run, op, run:decision(op).status or {}, op.text)
end

function OPS.present(run, op)
  local decision = run:decision(op)
  if not child_of(decision, op.kind) then run:fail(op,
    ("there is no %s among the children: %s"):format(op.kind, kinds_of(decision.children))) end
end

function OPS.absent(run, op)
  if child_of(run:decision(op), op.kind) then run:fail(op, ("there is a %s among the children"):format(op.kind)) end
end

function OPS.child(run, op)
  local child = child_of(run:decision(op), op.kind)
  if child then compare(run, op, child, ("%s %s"):format(op.kind, op.text)) end
end

function OPS.condition(run, op)
  local condition = condition_of(run:decision(op), op.kind)
  if op.value == json.null then
    if condition then run:fail(op, "there is a condition " .. op.kind) end
    return
  end
  if not condition then return run:fail(op, "there is no condition " .. op.kind) end
  for _, field in ipairs { "status", "reason", "message" } do
    local difference = op.value[field] ~= nil and differs(op.value[field], condition[field])
    if difference then run:fail(op, ("%s of the condition %s: %s"):format(field, op.kind, difference)) end
  end
end

function OPS.prune(run, op)
  local kinds = {}
  for i, one in ipairs(run:decision(op).prune or {}) do kinds[i] = one.kind end
  if not same_words(op.kinds, kinds) then run:fail(op, ("prune: expected %s, got %s"):format(show(op.kinds), show(json.array(kinds)))) end
end

function OPS.events(run, op)
  local reasons = {}
  for i, one in ipairs(run:decision(op).events or {}) do reasons[i] = one.reason end
  if not same_words(op.reasons, reasons) then run:fail(op,
    ("events: expected %s, got %s"):format(show(op.reasons), show(json.array(reasons)))) end
end

function OPS.requeue_after(run, op)
  local difference = differs(op.value, run:decision(op).requeue_after)
  if difference then run:fail(op, "requeue_after: " .. difference) end
end

local CHANGES = { base = true, seen = true, edit = true, edited = true, given = true, roll = true, after = true }

-- Run one case; raises what does not hold. Returns what was decided, one after the other.
local function play(file, case)
  local run = setmetatable({ file = file, failures = {}, decisions = json.array {} }, Run)
  for _, op in ipairs(case.program) do
    OPS[op.op](run, op)
    if CHANGES[op.op] then run:changed() end
  end
  if #run.failures > 0 then error(table.concat(run.failures, "\n"), 0) end
  return run.decisions
end

-- What a file of cases is as a module, like a spec's: list, rows, reset, run. run answers the rows that were reached, and on
-- demand what was decided.
function M.module(file, cases)
  local function list()
    if cases.mistake then error(cases.mistake, 0) end
    local names = json.array {}
    for i, case in ipairs(cases) do names[i] = case.name end
    return names
  end
  return {
    list = list,
    rows = spec_rows.list,
    reset = spec_rows.reset,
    run = function(i, modules, tell_all)
      local decisions, rows = spec_rows.during(modules or {}, play, file, cases[i])
      return { rows = rows, decisions = tell_all and decisions or nil }
    end,
  }
end

return M
