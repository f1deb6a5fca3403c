-- The specs of a policies folder: which there are (NAME_spec.lua, and tables of cases, NAME_cases.yaml), and the
-- generations that run them.
--
-- A spec runs in the production sandbox with production limits. `moonphase test` runs one spec file after another and tells
-- of each test; a reload wants one answer while the operator goes on, so it has all tests made on worker threads
-- (generation:call_apart), every other one on each of two, and the loop only waits.

local cases = require "cases"
local guard = require "guard"
local policies = require "policies"

local M = {}

local HALVES = 2
local SECONDS = 60    -- all specs of a reload together; a hundred times what ours take
local WALL_MS = 10000 -- a backstop of one test where it shares its processor; instructions are what bounds it

local function is_cases(name)
  return name:match("_cases%.yaml$") ~= nil
end

local function is_spec(name)
  return name:match("_spec%.lua$") ~= nil or is_cases(name)
end

-- Names of the spec files, sorted.
function M.names(files)
  local names = {}
  for name in pairs(files) do
    if is_spec(name) then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- A spec is no module of a generation by its own name: as NAME_spec_.lua it is one, and cases as NAME_cases_.lua.
local function file_of(name)
  return (name:gsub("_spec%.lua$", "_spec_.lua"):gsub("_cases%.yaml$", "_cases_.lua"))
end

-- The module that holds the tests of this spec file: functions `list` and `run` (policy/spec_rows.lua).
function M.module(name)
  return (file_of(name):gsub("%.lua$", ""):gsub("/", "."))
end

-- `files` with these specs as modules and without the others: what policy.load takes.
function M.with(files, names)
  local with = {}
  for name, source in pairs(files) do
    if not is_spec(name) then with[name] = source end
  end
  for _, name in ipairs(names) do
    if is_cases(name) then
      with[name], with[file_of(name)] = files[name], cases.module(files[name], name) -- the text is what mistakes show a line of
    else
      with[file_of(name)] = require("policy.spec").wrap(files[name])
    end
  end
  return with
end

-- The PolicyError as it concerns who edits the folder (blame.lua), with the name that its file has there.
function M.in_folder(failure, files)
  local told = {}
  for k, v in pairs(failure) do told[k] = type(v) == "string" and v:gsub("_spec_%.lua", "_spec.lua") or v end
  return require("blame").of(files, told)
end

-- ---------------------------------------------------------------- all of them, on worker threads

local function closing(generation)
  return setmetatable({}, { __close = function() generation:close() end })
end

-- The calls that run this half of the tests, and what each is called; nil and what failed.
local function tests_of(generation, names, half)
  local lists, calls, titles, count = {}, {}, {}, 0
  for i, name in ipairs(names) do lists[i] = { M.module(name), "list" } end
  for i, result in ipairs(generation:call_apart(lists)) do
    local name = names[i]
    if result.failure then return nil, { file = name, failure = result.failure } end
    for number, test in ipairs(result.value) do
      count = count + 1
      if count % HALVES == half then
        calls[#calls + 1] = { M.module(name), "run", number }
        titles[#titles + 1] = { file = name, test = test }
      end
    end
  end
  return calls, titles
end

-- (waits) Every other test, in a generation of its own with all specs.
local function run_half(files, names, half, label, outcome)
  local function fails(what)
    what.failure = M.in_folder(what.failure, files)
    outcome.failed[#outcome.failed + 1] = what
  end
  loop.sleep(0) -- reading the texts, and what comes after the tests, are turns of their own
  local generation, failure = policy.load { files = M.with(files, names), name = label, background = true,
    limits = { instructions = policies.LIMITS.instructions, wall_ms = WALL_MS } }
  if not generation then return fails { failure = failure } end
  local closed <close> = closing(generation) -- luacheck: ignore closed
  local calls, titles = tests_of(generation, names, half)
  if not calls then return fails(titles) end
  local first = #calls
  calls[first + 1] = { M.module(names[1]), "reset" } -- what a test that failed left listening
  for i, result in ipairs(generation:call_apart(calls)) do
    if i > first then break end
    outcome.count = outcome.count + 1
    if result.failure then fails { file = titles[i].file, test = titles[i].test, failure = result.failure } end
  end
  loop.sleep(0)
  local clean, kept = generation:check_state()
  if not clean then fails { failure = kept } end
  loop.sleep(0)
end

local function cancelling(tasks)
  return setmetatable({}, { __close = function()
    for _, task in ipairs(tasks) do task:cancel() end
  end })
end

-- What both halves met alike (a file that does not load) is told once.
local function sort_failed(failed)
  local told, kept = {}, {}
  for _, what in ipairs(failed) do
    what.words = (what.file or "") .. "\0" .. (what.test or "") .. "\0" .. guard.sentence(what.failure)
    if not told[what.words] then kept[#kept + 1], told[what.words] = what, true end
  end
  table.sort(kept, function(a, b) return a.words < b.words end)
  return kept
end

-- (waits) Run all specs of `files`: {count=, failed={{file, test, failure (a PolicyError)}...}}. A task that is cancelled in it leaves
-- nothing behind.
function M.run(files, label)
  local outcome, tasks, ended = { count = 0, failed = {} }, {}, loop.event()
  local cancelled <close> = cancelling(tasks) -- luacheck: ignore cancelled
  local left, deadline, names = HALVES, loop.now() + SECONDS, M.names(files)
  for half = 0, HALVES - 1 do
    tasks[#tasks + 1] = loop.spawn(function()
      local ok, why = pcall(run_half, files, names, half, label, outcome)
      if not ok then outcome.failed[#outcome.failed + 1] = { failure = { outcome = "error", text = tostring(why) } } end
      left = left - 1
      ended:notify()
    end)
  end
  while left > 0 do
    if not ended:wait(math.max(deadline - loop.now(), 0.001)) and loop.now() >= deadline then
      outcome.failed[#outcome.failed + 1] = { failure = { outcome = "clock", text = ("the specs did not end within %d s"):format(SECONDS) } }
      return outcome
    end
  end
  outcome.failed = sort_failed(outcome.failed)
  return outcome
end

-- What run() found, as a refusal of these files: {text, failure (a PolicyError) of the first test that failed}; nil: none failed.
function M.refusal(outcome)
  local first = outcome.failed[1]
  if not first then return nil end
  local where = first.test and ("%s: %s: "):format(first.file, first.test) or ""
  local others = #outcome.failed > 1 and (" (and %d more)"):format(#outcome.failed - 1) or ""
  local is_meant = (first.failure.text or ""):find "expected .+, got " and "; if that is meant, edit the spec, too" or ""
  return { failure = first.failure, text = where .. guard.sentence(first.failure) .. others .. is_meant }
end

return M
