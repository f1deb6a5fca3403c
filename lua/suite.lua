-- The specs of a policies folder one after the other: each test told as it ends, and what all of them together reached.
--
-- Each spec file has a generation of its own, in the production sandbox with production limits; what its tests leave behind is
-- compared, so that a policy that keeps something fails. Coverage is by line (a line hook in that generation) and by
-- row of `rules` and `phases`: a row that no spec reached says nothing about whether it works.

local lines = require "syntax.lines"
local policies = require "policies"
local specs = require "specs"

local M = {}

-- ---------------------------------------------------------------- coverage

local function modules_of(files)
  local modules = json.array {}
  for name in pairs(files) do
    local base = name:match("[^/]+$")
    if name:match("%.lua$") and not base:match("_spec%.lua$") and not base:match("^spec_") then
      modules[#modules + 1] = (name:gsub("%.lua$", ""):gsub("/", "."))
    end
  end
  table.sort(modules)
  return modules
end

local function file_of(files, module)
  local with_folder = module:gsub("%.", "/") .. ".lua"
  return files[with_folder] and with_folder or module .. ".lua"
end

local function take_lines(reached, generation, files)
  for _, module in ipairs(reached.modules) do
    local file = file_of(files, module)
    local hit = reached.lines[file] or {}
    for line in pairs(generation:lines(file) or {}) do hit[line] = true end
    reached.lines[file] = hit
  end
end

local function take_rows(reached, rows)
  for _, pair in ipairs(rows or {}) do
    reached.rows[("%d:%d"):format(pair[1], pair[2])] = true
  end
end

-- {files = {{file, lines, reached, missed = {"12", "14-16"}}}, rows, rows_reached, unreached = {{file, line, kind, row}}}.
local function coverage_of(reached, files)
  local report = { files = json.array {}, lines = 0, reached = 0, rows = 0, rows_reached = 0, unreached = json.array {} }
  for _, module in ipairs(reached.modules) do
    local file = file_of(files, module)
    local one = lines.coverage(files[file], reached.lines[file] or {})
    one.file = file
    report.files[#report.files + 1] = one
    report.lines, report.reached = report.lines + one.lines, report.reached + one.reached
  end
  for i, one in ipairs(reached.tables or {}) do
    local file = file_of(files, one.module)
    local places = lines.rows(files[file], one.kind, #one.names)
    for row, name in ipairs(one.names) do
      report.rows = report.rows + 1
      if reached.rows[("%d:%d"):format(i, row)] then
        report.rows_reached = report.rows_reached + 1
      else
        report.unreached[#report.unreached + 1] = { file = file, line = places[row], kind = one.kind, row = name }
      end
    end
  end
  return report
end

-- ---------------------------------------------------------------- tests

local function closing(generation)
  return setmetatable({}, { __close = function() generation:close() end })
end

-- What a file of the folder does wrong as it is loaded keeps every spec file from loading: the line is shown once.
local function words_of(run, name, failure)
  local key = ("%s:%s:%s"):format(failure.file, failure.line, failure.text)
  local first = run.told[key]
  run.told[key] = first or name
  if not first or first == name then return policies.explain_error(failure) end
  return ("as in %s: %s"):format(first, policies.explain_error(failure):match("^[^\n]*"))
end

local function run_file(run, name)
  local function tell(ok, test, failure, seconds, decisions)
    failure = failure and specs.in_folder(failure, run.files)
    run.tell { file = name, name = test, ok = ok, failure = failure, seconds = seconds, decisions = decisions,
      text = failure and words_of(run, name, failure) or nil }
  end
  local options, files = run.options, run.files
  local generation, failure = policy.load { files = specs.with(files, { name }), name = run.label, limits = policies.LIMITS,
    coverage = options.coverage, reversed = options.reversed }
  if not generation then return tell(false, "loads", failure) end
  local closed <close> = closing(generation) -- luacheck: ignore closed
  local module = specs.module(name)
  local names, why = generation:call(module, "list")
  if not names then return tell(false, "can be read", why) end
  if options.coverage and not run.reached.tables then
    run.reached.tables = generation:call(module, "rows", run.reached.modules)
  end
  for i, test in ipairs(names) do
    if not options.filter or test:find(options.filter, 1, true) then
      local began = loop.now()
      local answer, trouble = generation:call(module, "run", i, run.reached.modules, options.decisions)
      if trouble then generation:call(module, "reset") end
      take_rows(run.reached, answer and answer.rows)
      tell(answer ~= nil, test, trouble, loop.now() - began, answer and answer.decisions)
    end
  end
  local clean, kept = generation:check_state()
  tell(clean == true, "keeps nothing between calls", kept)
  if options.coverage then take_lines(run.reached, generation, files) end
end

-- Run the specs of `files`. options: {label (of the folder, in messages), filter, coverage, reversed (pairs goes the other way),
-- decisions (results carry what cases decided), tell = function({file, name, ok, text, failure, seconds, decisions}): once for
-- each test}. Returns {passed, failed, coverage (nil without)}.
function M.run(files, options)
  local result = { passed = 0, failed = 0 }
  local run = { files = files, options = options, label = options.label or "policies", told = {},
    reached = { modules = modules_of(files), lines = {}, rows = {} } }
  function run.tell(test)
    if test.ok then result.passed = result.passed + 1 else result.failed = result.failed + 1 end
    options.tell(test)
  end
  local generation, failure = policies.generation(files, run.label)
  if generation then
    generation:close()
    for _, name in ipairs(specs.names(files)) do run_file(run, name) end
  else -- no spec would load
    run.tell { file = failure.file or run.label, name = "loads", ok = false, failure = failure, text = policies.explain_error(failure) }
  end
  if options.coverage then result.coverage = coverage_of(run.reached, files) end
  return result
end

return M
