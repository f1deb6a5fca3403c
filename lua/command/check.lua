-- moonphase check: whether a policies folder may go live: it loads, lint finds nothing, its specs pass.
--
-- Steps are a table, in order; each says in a line how it ended, and none is left out because one before it failed, as long as
-- there is something to look at. Every reachable state of a small world is the last of them (lua/check/walk.lua): it says `complete` and
-- how many states that are, or how far it came.

local again = require "check.again"
local contract = require "contract"
local lint = require "lint"
local machine = require "check.machine"
local misset = require "misset"
local options = require "options"
local parser = require "syntax.parser"
local policies = require "policies"
local story = require "check.story"
local suite = require "suite"
local walk = require "check.walk"
local way = require "check.way"

local SPEC = {
  about = "Say whether a policies folder may go live: load, lint, specs, and every reachable state of a small world.\n"
    .. "Status 0: nothing is wrong; 1: something is; 2: wrong usage; 130: Ctrl-C ended the walk, which says how far it came.",
  usage = "moonphase check [DIR] [options]",
  { "settings", "FILE", "settings over those of the policies" },
  { "strict", nil, "warnings fail, too" },
  { "events", "N", "states: stories of up to so many events (default 2; all: no limit)" },
  { "faults", "N", "states: of which so many may be faults (default 1)" },
  { "stories", "N", "states: so many long stories by chance besides (default 100)" },
  { "states", "N", "states: no more than so many (0: none at all)" },
  { "seconds", "N", "states: no more than so many seconds (default 120; all: no limit)" },
  { "seed", "N", "states: of the order in which they are tried, and of long stories (default 1)" },
  { "replay", "TEXT", "states: only this way, as a story that went wrong names it" },
  { "only", "STEPS", "only these: " .. "load, lint, specs, order, states (with commas)" },
  { "o", "text|json", "how to print (default text)" },
  positional = "DIR",
  example = "moonphase check policies\n  moonphase check policies --only load,states --seconds 10",
}

local SECONDS, STORIES = 120, 100
local INTERRUPTED = 130 -- 128 and the number of the signal, as shells have it

-- A step gets the run and returns whether it is fine (nil: it was not done), and what is said about it. What it finds goes to
-- run.findings: {file, line, source, text, severity, check}.

local function plural(count, word)
  return ("%d %s%s"):format(count, word, count == 1 and "" or "s")
end

-- Of the folder, or of the administrator's file: one finding. (What is no Lua is lint's to tell, in better words.)
local function refuse(run, text, failure)
  failure = failure or {}
  local source = run.lints and failure.file and run.files[failure.file]
  if source and failure.file:match("%.lua$") and (not parser.parse(source) or failure.text:find("^there is no file ")) then
    return false, "the policies cannot be used"
  end
  run.findings[#run.findings + 1] = { severity = "error", check = "load", file = failure.file, line = failure.line,
    source = failure.source, text = text }
  return false, "the policies cannot be used"
end

local function load(run)
  local settings, why, place = policies.settings(run.files, run.settings_path)
  if not settings then return refuse(run, place and place.text or why, place) end
  run.settings = settings
  local generation, failure = policies.generation(run.files, run.label)
  if not generation then return refuse(run, failure.text, failure) end
  run.loads = true
  local declaration, trouble = contract.declaration(generation, "phdeployment")
  local odd = declaration and misset.failure(generation, "phdeployment", declaration, run.files, run.settings_path, run.settings)
  generation:close()
  if not declaration then return refuse(run, trouble) end
  if odd then return refuse(run, odd.text, odd) end
  run.is_usable = true
  return true, plural(run.count, "file")
end

local function check_lint(run)
  local errors, warnings = 0, 0
  for _, finding in ipairs(lint.check(run.files, run.settings)) do
    run.findings[#run.findings + 1] = finding
    if finding.severity == "error" then errors = errors + 1 else warnings = warnings + 1 end
  end
  return errors == 0, ("%s, %s"):format(plural(errors, "error"), plural(warnings, "warning"))
end

local function coverage_text(coverage)
  local percent = coverage.lines == 0 and 100 or 100 * coverage.reached / coverage.lines
  return ("%.1f %% of %d lines, %d of %d rows"):format(percent, coverage.lines, coverage.rows_reached, coverage.rows)
end

local function specs(run)
  if not run.loads then return nil, "not run: the policies do not load" end
  local told = {} -- one mistake fails many tests: it is shown with the first, and counted
  local result = suite.run(run.files, { label = run.label, coverage = true, decisions = true, tell = function(test)
    run.tests[#run.tests + 1] = test
    if test.ok then return end
    local failure = test.failure or {}
    local finding = { severity = "error", check = "specs", file = failure.file ~= "" and failure.file or test.file, line = failure.line,
      source = failure.source, text = ("%s: %s: %s"):format(test.file, test.name, failure.text or test.text), others = 0 }
    local key = ("%s:%s:%s"):format(finding.file, finding.line, failure.text or test.text)
    local first = told[key]
    if first then
      first.others = first.others + 1
    else
      told[key], run.findings[#run.findings + 1] = finding, finding
    end
  end })
  for _, finding in pairs(told) do
    if finding.others > 0 then finding.text = ("%s (and %d more like it)"):format(finding.text, finding.others) end
    finding.others = nil
  end
  run.coverage = result.coverage
  for _, row in ipairs(run.coverage.unreached) do
    run.findings[#run.findings + 1] = { severity = "warning", check = "coverage", file = row.file, line = row.line,
      text = ("the row %s of the %s was reached by no spec"):format(row.row, row.kind) }
  end
  return result.failed == 0, ("%d passed, %d failed; %s"):format(result.passed, result.failed, coverage_text(result.coverage))
end

-- The same specs while pairs and next go the other way: what comes out differently hangs on an order that nobody gave.
local function order(run)
  if not run.loads then return nil, "not run: the policies do not load" end
  local before, differs = {}, 0
  for _, test in ipairs(run.tests) do before[test.file .. ": " .. test.name] = test end
  suite.run(run.files, { label = run.label, reversed = true, decisions = true, tell = function(test)
    local first = before[test.file .. ": " .. test.name]
    if not first or not first.ok or test.ok and json.equal(first.decisions or {}, test.decisions or {}) then return end
    differs = differs + 1
    run.findings[#run.findings + 1] = { severity = "warning", check = "order", file = test.file, line = (test.failure or {}).line,
      text = ("%s: comes out differently when pairs goes the other way%s"):format(test.name, test.ok and "" or ": " .. test.failure.text) }
  end })
  if differs == 0 then return true, "no decision hangs on the order of pairs" end
  return true, differs == 1 and "1 test hangs on the order of pairs" or ("%d tests hang on the order of pairs"):format(differs)
end

-- ---------------------------------------------------------------- states

-- "2.4 s, 95,000 a minute": what it took.
local function took(result)
  return ("%.1f s of the processor, %.0f states a minute"):format(result.seconds, result.seconds > 0 and result.states / result.seconds * 60 or 0)
end

-- What was tried, in words.
local function bound(result)
  local faults = result.faults == 0 and "without faults" or ("at most %s a fault"):format(result.faults == 1 and "one" or result.faults)
  return ("stories of up to %s, %s"):format(plural(result.events, "event"), faults)
end

local function how_far(result, most)
  local stories = result.stories > 0 and ("; %d long ones by chance (seed %d)"):format(result.stories, result.seed) or ""
  if result.complete then return ("complete, %d states (%s%s; %s)"):format(result.states, bound(result), stories, took(result)) end
  return ("not complete: %d states; all %s, and some of %s (seed %d; %s)"):format(result.states, bound(result),
    result.events + 1 <= most and plural(result.events + 1, "event") or "the long ones", result.seed, took(result))
end

-- Whether Ctrl-C has come since; asking takes a turn of the loop, which alone hears of it.
local function interruption(run)
  loop.on_signal("INT", function() run.is_interrupted = true end)
  return function()
    loop.sleep(0)
    return run.is_interrupted or false
  end
end

local function states(run)
  if not run.is_usable then return nil, "not walked: the policies cannot be used" end
  local o = run.walk
  if o.limit == 0 then return nil, "not walked: --states is 0" end
  local generation, failure = policies.generation(run.files, run.label)
  if not generation then return refuse(run, failure.text, failure) end
  local result = (o.replay and walk.replay or walk.run) { generation = generation, base_settings = run.settings, files = run.files,
    events = o.events, faults = o.faults, stories = o.stories, limit = o.limit, seconds = o.seconds, by_wall = true, seed = o.seed, replay = o.replay,
    is_interrupted = interruption(run) }
  generation:close()
  run.states = { complete = result.complete, states = result.states, events = result.events, faults = result.faults, seed = result.seed,
    stories = result.stories, seconds = result.seconds }
  if not result.failure then return true, o.replay and "nothing goes wrong on this way" or how_far(result, o.events) end
  local words = again(run.folder, run.settings_path, result.failure.replay)
  run.findings[#run.findings + 1] = { severity = "error", check = "states", text = story.tell(result.failure, words) }
  run.states.failure = { kind = result.failure.kind, name = result.failure.name, text = result.failure.text, replay = result.failure.replay }
  return false, ("%s: %s (after %d states)"):format(result.failure.name, result.failure.text, result.states)
end

local STEPS = { { "load", load }, { "lint", check_lint }, { "specs", specs }, { "order", order }, { "states", states } }

-- The steps that --only names, in their order; load always.
local function chosen(only)
  if not only then return STEPS end
  local wanted, list = { load = true }, {}
  for name in only:gmatch("[^,%s]+") do wanted[name] = true end
  for _, step in ipairs(STEPS) do
    if wanted[step[1]] then list[#list + 1] = step end
    wanted[step[1]] = nil
  end
  local unknown = next(wanted)
  if unknown then options.fail(2, "--only: there is no step '" .. unknown .. "'; there are load, lint, specs, order, states") end
  return list
end

-- A whole number from an option; "all" is none where that is allowed.
local function number(o, name, default, may_be_all)
  local text = o[name]
  if text == nil then return default end
  if text == "all" and may_be_all then return math.huge end
  local value = math.tointeger(tonumber(text))
  if not value or value < 0 then options.fail(2, ("--%s must be a whole number from 0 on%s, not '%s'"):format(name, may_be_all and ", or all" or "",
    text)) end
  return value
end

-- The way that --replay tells.
local function checked_way(text)
  for _, name in ipairs(text and way.names(text) or {}) do
    if not machine.knows(name) then options.fail(2, "--replay: '" .. name .. "' is nothing that can happen; take the text of a story as it stands") end
  end
  return text
end

local function walk_options(o)
  return { events = number(o, "events", walk.EVENTS, true), faults = number(o, "faults", 1), stories = number(o, "stories", STORIES),
    limit = number(o, "states", math.huge), seconds = number(o, "seconds", SECONDS, true), seed = number(o, "seed", 1), replay = checked_way(o.replay) }
end

-- ---------------------------------------------------------------- what is printed

local function print_finding(finding)
  local place = ""
  if finding.file and finding.file ~= "" then place = finding.file .. ((finding.line or 0) > 0 and ":" .. finding.line or "") .. ": " end
  io.write(place, finding.severity, ": ", (finding.text:gsub("\n", "\n    ")), "\n")
  if finding.source and finding.source ~= "" then io.write("    ", finding.source, "\n") end
end

local function print_text(run)
  for _, finding in ipairs(run.findings) do print_finding(finding) end
  for _, step in ipairs(run.steps) do io.write(("%-7s %-5s %s\n"):format(step.name .. ":",
    step.ok and "ok" or step.ok == nil and "-" or "FAILS", step.text)) end
end

local function print_json(run, ok)
  io.write(json.encode({ ok = ok, steps = json.array(run.steps), findings = json.array(run.findings), coverage = run.coverage,
    states = run.states }), "\n")
end

local function count_of(files)
  local count = 0
  for _ in pairs(files) do count = count + 1 end
  return count
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  if #o > 1 then options.fail(2, "check looks at one folder, not at " .. #o) end
  if o.o and o.o ~= "text" and o.o ~= "json" then options.fail(2, "-o must be text or json, not '" .. o.o .. "'") end
  local files, why = policies.files(o[1])
  if not files then options.fail(1, why) end
  local run = { files = files, count = count_of(files), label = o[1] or "policies", folder = o[1], settings_path = o.settings,
    walk = walk_options(o), findings = {}, tests = {}, steps = {} }
  local ok, steps = true, chosen(o.only)
  for _, step in ipairs(steps) do run.lints = run.lints or step[1] == "lint" end
  for _, step in ipairs(steps) do
    local fine, text = step[2](run)
    ok = ok and fine ~= false
    run.steps[#run.steps + 1] = { name = step[1], ok = fine, text = text }
  end
  for _, finding in ipairs(o.strict and run.findings or {}) do ok = ok and finding.severity ~= "warning" end
  if o.o == "json" then print_json(run, ok) else print_text(run) end
  return not ok and 1 or run.is_interrupted and INTERRUPTED or 0
end)
