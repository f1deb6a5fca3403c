-- Tables of rows, read from top to bottom: rules {} for failures, phases {} for the phase machine.
--
-- A row says what it is called, when it holds and what people read. How rows are tried is written
-- here, once, together with the record of it: which rows were tried, which held, on what evidence.
-- That record is what `explain` prints.
--
-- Grace. Some troubles pass: a registry hiccups, a pod waits for another one to go. A row with a
-- grace holds at once, so that its condition turns False at once, but it counts as the failure only
-- when that condition has been False for so long (its lastTransitionTime, which the host keeps).
-- Nothing is remembered here: the clock is the object's own status.
--
-- Waiting. What a row tells of may be about to end by itself: a quota is full because the pod that is replaced has
-- not gone yet. While the row's `waits` answers seconds, its condition is Unknown and its grace has not begun.
--
-- Quiet. Words of logs hold times and numbers that differ with each crash and say nothing new. The message of a `quiet` row
-- ends in {detail}; a detail that differs from the one in the status by numbers only is not taken over, and none at all does
-- not take away the one that is there.

local text = require "moonphase.text"
local time = require "moonphase.time"

local M = {}

local listener

-- For specs: fn(table of rows, number of the row) is called for every row that held; nil: no more. (Coverage by rule.)
function M.listen(fn)
  listener = fn
end

-- (blame.lua finds the line of a row by these words.)
local function refuse(what, i, row, trouble)
  local name = type(row) == "table" and (row.name or row[1]) or nil
  error(("row %d of the %s (%s) %s"):format(i, what, type(name) == "string" and name or "?", trouble), 0)
end

-- Columns that end up in a status, where the API server refuses what is no text.
local TEXTS = { [1] = "has a phase that is no text: write it in quotes", name = "has a `name` that is no text: write it in quotes",
  condition = "has a `condition` that is no text: write it in quotes" }

local function check_rows(what, rows, needed)
  for i, row in ipairs(rows) do
    if type(row) ~= "table" then refuse(what, i, row, "is no row: a row stands in braces, { ... }") end
    for _, field in ipairs(needed) do
      if row[field] == nil then
        refuse(what, i, row, field == 1 and "has no phase in its first column" or ("has no `%s`"):format(field))
      end
      if TEXTS[field] and type(row[field]) ~= "string" then refuse(what, i, row, TEXTS[field]) end
    end
    if type(row.when) ~= "function" then
      refuse(what, i, row, ("has a `when` that is no question: it is a function, or a word such as `always` or `fact %q`"):format("stop"))
    end
    if type(row.message) ~= "string" and not (what == "phases" and type(row.message) == "function") then
      refuse(what, i, row, "has a `message` that is no text: write it in quotes")
    end
    local grace = type(row.grace)
    if grace ~= "nil" and grace ~= "number" and grace ~= "function" then
      refuse(what, i, row, ("has a `grace` that is no number of seconds: write 10, or setting %q"):format("grace.image"))
    end
    if row.waits ~= nil and type(row.waits) ~= "function" then
      refuse(what, i, row, "has a `waits` that is no function: write function(s) return 30 end")
    end
  end
  return rows
end

-- What a predicate answered as evidence: a table, or nil if the row does not hold.
local function evidence_of(row, s)
  local answer = row.when(s)
  if not answer then return nil end
  return type(answer) == "table" and answer or {}
end

local function seconds(grace, s)
  if type(grace) == "function" then grace = grace(s) end
  return grace or 0
end

-- How long the condition of a row has been in its bad state, in seconds.
local function age(row, s)
  local before = s.conditions[row.condition]
  if not before or before.status ~= "False" then return 0 end
  local since = time.parse(before.lastTransitionTime)
  return since and math.max(0, s.now - since) or 0
end

local DETAIL = "{detail}"

-- What is read of a row that holds. Of a quiet row: what the status says already, if that says the same.
local function words(row, evidence, s)
  local message = text.fill(row.message, evidence, s)
  local before = row.quiet and s.conditions[row.condition]
  if not before or before.reason ~= row.name or type(before.message) ~= "string" then return message end
  local start = text.fill(row.message:sub(1, -#DETAIL - 1) .. "|", evidence, s):sub(1, -2)
  if before.message:sub(1, #start) ~= start then return message end
  local old, new = before.message:sub(#start + 1), message:sub(#start + 1)
  local keeps = text.same_but_numbers(old, new) or new == "" and old:sub(1, 2) == ": "
  return keeps and before.message or message
end

local function try(row, s)
  local evidence = evidence_of(row, s)
  if not evidence then return nil end
  local grace = seconds(row.grace, s)
  local waiting = row.waits and row.waits(s) or nil
  local left = waiting and waiting + grace or grace > 0 and grace - age(row, s) or 0
  return {
    name = row.name, condition = row.condition, row = row, evidence = evidence, grace = grace, waiting = waiting,
    message = words(row, evidence, s), remaining = left > 0 and left or nil,
  }
end

-- ---------------------------------------------------------------- for explain (seen.trace)

local SAW_MOST, SAW_BYTES, SAW_DEEP = 12, 120, 4

-- Whether what stands under this name may be shown to anybody.
local function is_private(name)
  local lower = type(name) == "string" and name:lower() or ""
  return lower:find("token") or lower:find("secret") or lower:find("password")
end

-- A table that reads as `map` does, and notes in `saw` which plain values were read of it, by their path. Of lists (pods,
-- environment, clients) only how long they are.
local function watched(map, path, saw, depth)
  return setmetatable({}, { __index = function(_, name)
    local value = map[name]
    if type(name) ~= "string" or is_private(name) then return value end
    local at = path == "" and name or path .. "." .. name
    local is_list = type(value) == "table" and (json.is_array(value) or value[1] ~= nil)
    if type(value) == "table" and not is_list and depth < SAW_DEEP then
      return watched(value, at, saw, depth + 1)
    elseif is_list and saw[at] == nil and saw.count < SAW_MOST then
      saw.count = saw.count + 1
      saw[at] = #value == 1 and "1 entry" or #value .. " entries"
    elseif type(value) ~= "table" and type(value) ~= "function" and saw[at] == nil and saw.count < SAW_MOST then
      saw.count = saw.count + 1
      if type(value) == "string" and #value > SAW_BYTES then value = text.bounded(value, SAW_BYTES) end
      saw[at] = value == nil and "nothing" or value
    end
    return map[name]
  end, __len = function() return #map end, __pairs = function() return pairs(map) end })
end

-- What a row looked at: it is asked once more, for nothing but this, and only when all is asked for (seen.trace is "all").
local function saw_of(row, s)
  if s.seen.trace ~= "all" then return nil end
  local saw = { count = 0 }
  pcall(row.when, watched(s, "", saw, 1))
  saw.count = nil
  return next(saw) ~= nil and saw or nil
end

-- What `explain` tells of a row; made only when somebody asks (seen.trace).
local function record_of(row, result, s)
  if not result then return { row = row.name, held = false, saw = saw_of(row, s) } end
  return { row = row.name, held = true, evidence = result.evidence, grace = result.grace, remaining = result.remaining,
    waiting = result.waiting, message = result.message, saw = saw_of(row, s) }
end

-- Try every row. Returns {failure = the first that holds past its grace (or nil), held = all that hold,
-- by_condition = the first that holds of each condition, requeue_after = seconds until a grace ends (or nil), trace}.
local function judge(self, s)
  local verdict = { held = {}, by_condition = {}, trace = s.seen.trace and {} or nil }
  for i, row in ipairs(self.rows) do
    local result = try(row, s)
    if verdict.trace then verdict.trace[i] = record_of(row, result, s) end
    if result then
      if listener then listener(self, i) end
      verdict.held[#verdict.held + 1] = result
      local is_first = verdict.by_condition[row.condition] == nil
      if is_first then verdict.by_condition[row.condition] = result end
      -- a condition tells one reason: the rows below wait with the one that tells it
      if is_first and not result.remaining then verdict.failure = verdict.failure or result end
      if is_first and result.remaining then
        local next_look = result.waiting or result.remaining
        verdict.requeue_after = math.min(verdict.requeue_after or next_look, next_look)
      end
    end
  end
  return verdict
end

-- The first row with this mark that holds ("blocks": nothing may be written before it is mended), or nil.
local function first(self, s, mark)
  for _, row in ipairs(self.rows) do
    if row[mark] then
      local result = try(row, s)
      if result then return result end
    end
  end
  return nil
end

function M.rules(rows)
  check_rows("rules", rows, { "name", "condition", "when", "message" })
  for i, row in ipairs(rows) do
    if row.quiet and row.message:sub(-#DETAIL) ~= DETAIL then
      refuse("rules", i, row, ("is quiet: its message must end in %s, which stands for the end of a log"):format(DETAIL))
    end
  end
  return { rows = rows, judge = judge, first = first }
end

-- The first row whose `when` holds: {phase, reason, message, row}, and the trace.
local function judge_phase(self, s)
  local trace = s.seen.trace and {} or nil
  for i, row in ipairs(self.rows) do
    local evidence = evidence_of(row, s)
    if trace then
      trace[i] = { row = type(row.reason) == "string" and row.reason or row[1], phase = row[1], held = evidence ~= nil,
        evidence = evidence, saw = saw_of(row, s) }
    end
    if evidence then
      if listener then listener(self, i) end
      local message = type(row.message) == "function" and row.message(s) or row.message
      local reason = type(row.reason) == "function" and row.reason(s) or row.reason or row[1]
      return { phase = row[1], reason = reason, message = text.fill(message, evidence, s), row = i }, trace
    end
  end
  error("no row of the phases holds; let the last one be `when = always`", 0)
end

function M.phases(rows)
  return { rows = check_rows("phases", rows, { 1, "when", "message" }), judge = judge_phase }
end

return M
