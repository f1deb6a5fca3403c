-- The way to a state: names of events and of steps, as a text that plays it again, and as steps that can be told.
--
-- "16 stop +3 thaw 5": go on 16 times, a stop, go on 3 times with the view that is held back as it is, the end of that, go on 5 times.
-- (What the names mean: machine.lua.) The same names from the same begin lead to the same state, so a way is all that has to be kept.

local judge = require "check.judge"
local scene = require "check.scene"

local M = {}

local COUNTED = { calm = "", step = "+" } -- how they are written in front of their number
local REPEATS_MOST = 5000

-- The names on the way to a node: { parent =, name = }.
function M.to(node)
  local names, count = {}, 0
  local at = node
  while at and at.name do count, at = count + 1, at.parent end
  while node and node.name do
    names[count], count, node = node.name, count - 1, node.parent
  end
  return names
end

function M.text(names)
  local parts, last, count = {}, nil, 0
  local function put()
    if count > 0 then parts[#parts + 1] = COUNTED[last] .. count end
    count = 0
  end
  for _, name in ipairs(names) do
    if name ~= last then put() end
    last = name
    if COUNTED[name] then count = count + 1 else parts[#parts + 1] = name end
  end
  put()
  return table.concat(parts, " ")
end

-- The names that a text tells.
function M.names(text)
  local names = {}
  for word in text:gmatch("%S+") do
    local plus, count = word:match("^(%+?)(%d+)$")
    if not count then names[#names + 1] = word end
    for _ = 1, math.min(tonumber(count) or 0, REPEATS_MOST) do names[#names + 1] = plus == "+" and "step" or "calm" end
  end
  return names
end

-- The words of a way, of which any may be left out to make it shorter.
function M.words(names)
  local words = {}
  for word in M.text(names):gmatch("%S+") do words[#words + 1] = word end
  return words
end

-- ---------------------------------------------------------------- steps

local WORDS = { crash = "the operator's process ends and begins anew", thaw = "the view catches up, event by event",
  skip = "the view catches up at once, and never sees what was in between",
  quick = "the operator is quick: the cluster does nothing meanwhile", slow = "the operator is slow: the cluster comes to rest first",
  ["crash:"] = "the operator's process ends after its write number %s, and begins anew",
  ["lost:"] = "the operator writes, and the answer to write number %s never comes",
  ["dropped:"] = "the operator writes, and write number %s never arrives", ["hold:"] = "the view of %s lags behind from here on",
  ["between:"] = "while the operator writes, before write number %s" }

local GOING_ON = { operator = "the operator looks", cluster = "the cluster goes on", time = "time passes", fault = WORDS.thaw }

-- Who does it, and what it is, before it happens.
local function words_of(machine, name)
  local row = scene.row(name)
  if row then return row.what, machine.scene:words(row) end
  local kind, rest = name:match("^(%a+:)(.*)$")
  local number, other = (rest or ""):match("^(%d+):(.+)$")
  if number then return "user", WORDS[kind]:format(number) .. ": " .. machine.scene:words(scene.row(other)) end
  return (name == "slow" or name == "quick") and "operator" or "fault", (WORDS[kind or name] or name):format(rest)
end

-- The row of the phases that decided (seen.trace).
local function row_of(decision)
  for _, one in ipairs(decision and decision.trace and decision.trace.phases or {}) do
    if one.held then return one.row end
  end
end

local function step(machine, name)
  if COUNTED[name] then
    local what = name == "calm" and machine:calm() or name == "step" and machine:step() or nil
    return { what = what, text = GOING_ON[what] }
  end
  local what, text = words_of(machine, name)
  return machine:act(name) and { what = what, text = text } or {}
end

-- Every step of a way, from the begin on: { what, text, seen, decision, row, writes, phase_before, phase_after, message, reconciled,
-- seconds (since the begin, in the small world) }. machine: one that stands at the begin; its decisions are traced from now on.
function M.steps(machine, names)
  machine.traces = true
  local steps, view, began = {}, machine:view(nil), machine.world:now()
  for _, name in ipairs(names) do
    local before = machine.reconciles
    local one = step(machine, name)
    if one.what then
      local after = machine:view(view)
      one.seen, one.decision, one.row, one.writes = machine.seen, machine.decision, row_of(machine.decision), machine.writes
      one.phase_before, one.phase_after, one.reconciled = judge.phase(view), judge.phase(after), machine.reconciles > before
      one.seconds = (machine.world:now() - began) / 1000
      one.message = after.object and after.object.status and after.object.status.message
      steps[#steps + 1], view = one, after
    end
  end
  return steps
end

return M
