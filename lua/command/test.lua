-- moonphase test: run specs. A policies folder's specs (Lua, and tables of cases in YAML) run in the production sandbox with
-- production limits (suite.lua). Other *_spec.lua files are specs of the host itself and run in the host state.

local contract = require "contract"
local lint = require "lint"
local misset = require "misset"
local options = require "options"
local policies = require "policies"
local specs = require "specs"
local suite = require "suite"
local where = require "where"

local SPEC = {
  about = "Run the specs of a policies folder: *_spec.lua in Lua, *_cases.yaml as tables. (Other *_spec.lua files are\n"
    .. "specs of moonphase itself.) Status 0: all passed; 1: some failed, or there are none; 2: wrong usage.",
  usage = "moonphase test [PATH ...] [options]",
  { "filter", "TEXT", "only tests whose name has this text" },
  { "policies", nil, "test the built-in policies" },
  { "coverage", nil, "say which lines no spec reached" },
  { "time", nil, "say how long each test takes" },
  { "o", "text|json|junit", "how to print (default text)" },
  positional = "PATH",
  example = "moonphase test policies",
}

-- ---------------------------------------------------------------- what is printed

local function print_test(o, test)
  local place = test.is_host and test.file:match("[^/]+$") or test.file
  io.write(test.ok and "ok   " or "FAIL ", place, ": ", test.name,
    o.time and test.seconds and (" (%.2f s)"):format(test.seconds) or "", "\n")
  if not test.ok then io.write("     ", (tostring(test.text):gsub("\n", "\n     ")), "\n") end
  io.flush()
end

local function percent(part, whole)
  return whole == 0 and 100 or 100 * part / whole
end

local function print_coverage(o, coverage)
  for _, one in ipairs(o.coverage and coverage.files or {}) do
    local missed = #one.missed > 0 and "  not reached: " .. table.concat(one.missed, ", ") or ""
    io.write(("%5.1f %%  %s%s\n"):format(percent(one.reached, one.lines), one.file, missed))
  end
  for _, row in ipairs(coverage.unreached) do
    io.write(("%s%s: the row %s of the %s was reached by no spec\n"):format(row.file, row.line and ":" .. row.line or "", row.row,
      row.kind))
  end
  io.write(("coverage: %.1f %% of %d lines, %d of %d rows\n"):format(percent(coverage.reached, coverage.lines), coverage.lines,
    coverage.rows_reached, coverage.rows))
end

local PRINTERS = {
  text = function(o, all)
    -- rows that a filter left out are no news
    for _, coverage in ipairs(not o.filter and all.coverage or {}) do print_coverage(o, coverage) end
    io.write(("%d passed, %d failed\n"):format(all.passed, all.failed))
  end,
  json = function(_, all)
    io.write(json.encode({ passed = all.passed, failed = all.failed, tests = json.array(all.tests),
      coverage = json.array(all.coverage) }), "\n")
  end,
  junit = function(_, all) io.write(require("junit").text(all.tests)) end,
}

-- ---------------------------------------------------------------- what is run

local function tell(o, all, test)
  if test.ok then all.passed = all.passed + 1 else all.failed = all.failed + 1 end
  all.tests[#all.tests + 1] = { file = test.file, name = test.name, ok = test.ok, text = test.text, seconds = test.seconds }
  if o.o == "text" then print_test(o, test) end
end

-- A path in a table of cases that leads nowhere changes nothing, and such a case may pass: it fails here.
local function check_cases(o, all, files)
  local has_cases = false
  for _, name in ipairs(specs.names(files)) do has_cases = has_cases or name:match("_cases%.yaml$") ~= nil end
  for _, finding in ipairs(has_cases and lint.check(files) or {}) do
    if finding.file:match("_cases%.yaml$") and finding.check == "fields" then
      tell(o, all, { file = finding.file, name = "paths are known", ok = false,
        text = ("%s:%d: %s\n    %s"):format(finding.file, finding.line,
        finding.text, finding.source) })
    end
  end
end

-- Specs have settings of their own, so none sees what is wrong with the folder's. (What does not load is told by the specs.)
local function check_settings(o, all, files)
  local settings, why, failure = policies.settings(files)
  if settings then
    local generation = policies.generation(files, "policies")
    local declaration = generation and contract.declaration(generation, "phdeployment")
    failure = declaration and misset.failure(generation, "phdeployment", declaration, files, nil, settings)
    if generation then generation:close() end
  end
  if settings and not failure then return end
  tell(o, all, { file = "settings.yaml", name = "the settings make sense", ok = false,
    text = failure and policies.explain_error(failure) or why })
end

-- The specs of a folder; `only`: one of its files.
local function run_policies(o, all, dir, only)
  local files, why = policies.files(dir)
  if not files then options.fail(1, why) end
  if only then
    for _, name in ipairs(specs.names(files)) do
      if name ~= only then files[name] = nil end
    end
  end
  check_cases(o, all, files)
  if not only then check_settings(o, all, files) end
  local result = suite.run(files, { label = dir or "policies", filter = o.filter, coverage = true,
    tell = function(test) tell(o, all, test) end })
  if not only then all.coverage[#all.coverage + 1] = result.coverage end
end

local function run_host_spec(o, all, path)
  local function told(ok, name, text, seconds)
    tell(o, all, { file = path, name = name, ok = ok, text = not ok and tostring(text) or nil, seconds = seconds, is_host = true })
  end
  local source, why = fs.read(path)
  if not source then return told(false, "can be read", why) end
  local describe, it, before_each, assertion, collected = require("policy.spec").new()
  local chunk, trouble = load(source, "@" .. path, "t", setmetatable(
    { describe = describe, it = it, before_each = before_each, assert = assertion }, { __index = _G }))
  if not chunk then return told(false, "loads", trouble) end
  local loaded, broken = xpcall(chunk, where)
  if not loaded then return told(false, "loads", broken) end
  for i, name in ipairs(collected.list()) do
    if not o.filter or name:find(o.filter, 1, true) then
      local began = loop.now()
      local ok, failure = xpcall(collected.run, where, i)
      told(ok, name, failure, loop.now() - began)
    end
  end
end

local function run_file(o, all, path)
  local dir, name = path:match("^(.*)/([^/]+)$")
  dir, name = dir or ".", name or path
  if fs.kind(dir .. "/phdeployment.lua") then return run_policies(o, all, dir, name) end
  if name:match("_cases%.yaml$") then options.fail(1, path .. ": cases lie in a policies folder, beside its phdeployment.lua") end
  run_host_spec(o, all, path)
end

local function run_path(o, all, path)
  if fs.kind(path) == "file" then return run_file(o, all, path) end
  local names, why = fs.list(path)
  if not names then options.fail(1, why) end
  local is_policies = fs.kind(path .. "/phdeployment.lua") or fs.kind(path .. "/settings.yaml") or fs.kind(path .. "/spec_world.lua")
  if is_policies then return run_policies(o, all, path) end -- one without its phdeployment.lua is told so
  for _, name in ipairs(names) do
    if name:match("_spec%.lua$") then run_host_spec(o, all, path .. "/" .. name) end
  end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  o.o = o.o or "text"
  if not PRINTERS[o.o] then options.fail(2, "-o must be text, json or junit, not '" .. o.o .. "'") end
  local all = { passed = 0, failed = 0, tests = {}, coverage = {} }
  if o.policies or #o == 0 then run_policies(o, all, nil) end
  for _, path in ipairs(o) do run_path(o, all, path) end
  local none = #all.tests == 0
  if none then io.stderr:write("moonphase: no test was found: specs are files *_spec.lua and *_cases.yaml\n") end
  PRINTERS[o.o](o, all)
  return all.failed == 0 and not none and 0 or 1
end)
