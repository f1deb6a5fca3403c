-- moonphase test: run specs. A policies folder's specs run in the production sandbox with production limits,
-- and what they leave behind is compared: a policy that keeps state fails. Other *_spec.lua files are specs
-- of the host itself and run in the host state.

local options = require "options"
local policies = require "policies"
local where = require "where"

local SPEC = {
  about = "Run the Lua specs of a policies folder (or of the host).",
  usage = "moonphase test [PATH ...] [options]",
  { "filter", "TEXT", "only tests whose name has this text" },
  { "policies", nil, "test the built-in policies" },
  { "time", nil, "say how long each test takes" },
  positional = "PATH",
  example = "moonphase test policies",
}

local function report(result, ok, name, text, seconds)
  if ok then result.passed = result.passed + 1 else result.failed = result.failed + 1 end
  io.write(ok and "ok   " or "FAIL ", name, seconds and (" (%.2f s)"):format(seconds) or "", "\n")
  if not ok then io.write("     ", (tostring(text):gsub("\n", "\n     ")), "\n") end
  io.flush()
end

local function wanted(o, name)
  return not o.filter or name:find(o.filter, 1, true) ~= nil
end

local function spec_module(file)
  return (file:gsub("%.lua$", ""):gsub("/", "."))
end

-- One spec file of a policies folder, in a generation of its own.
local function run_policy_spec(o, result, files, file, label)
  local with = {}
  for name, source in pairs(files) do
    if not name:match("_spec%.lua$") then with[name] = source end
  end
  local name = file:gsub("_spec%.lua$", "_spec_.lua")
  with[name] = require("policy.spec").wrap(files[file])
  local generation, failure = policy.load { files = with, name = label, limits = policies.LIMITS }
  if not generation then return report(result, false, label .. "/" .. file, policies.explain_error(failure)) end
  local module = spec_module(name)
  local names, why = generation:call(module, "list")
  if not names then return report(result, false, label .. "/" .. file, policies.explain_error(why)) end
  for i, test in ipairs(names) do
    if wanted(o, test) then
      local ok, trouble = generation:call(module, "run", i)
      report(result, ok == true, file .. ": " .. test, trouble and policies.explain_error(trouble) or "")
    end
  end
  local clean, kept = generation:check_state()
  report(result, clean == true, file .. ": keeps nothing between calls", kept and policies.explain_error(kept) or "")
  generation:close()
end

local function run_policies(o, result, dir)
  local files, why = policies.files(dir)
  if not files then options.fail(1, why) end
  local names = {}
  for name in pairs(files) do
    if name:match("_spec%.lua$") then names[#names + 1] = name end
  end
  table.sort(names)
  for _, name in ipairs(names) do run_policy_spec(o, result, files, name, dir or "policies") end
end

local function run_host_spec(o, result, path)
  local source, why = fs.read(path)
  if not source then return report(result, false, path, why) end
  local describe, it, before_each, assertion, collected = require("policy.spec").new()
  local chunk, trouble = load(source, "@" .. path, "t", setmetatable(
    { describe = describe, it = it, before_each = before_each, assert = assertion }, { __index = _G }))
  if not chunk then return report(result, false, path, trouble) end
  local loaded, broken = xpcall(chunk, where)
  if not loaded then return report(result, false, path, broken) end
  for i, name in ipairs(collected.list()) do
    if wanted(o, name) then
      local started = loop.now()
      local ok, failure = xpcall(collected.run, where, i)
      report(result, ok, path:match("[^/]+$") .. ": " .. name, failure, o.time and loop.now() - started or nil)
    end
  end
end

local function run_path(o, result, path)
  if fs.kind(path) == "file" then return run_host_spec(o, result, path) end
  local names, why = fs.list(path)
  if not names then options.fail(1, why) end
  if fs.kind(path .. "/phdeployment.lua") then return run_policies(o, result, path) end
  for _, name in ipairs(names) do
    local inner = path .. "/" .. name
    if name:match("_spec%.lua$") then run_host_spec(o, result, inner) end
  end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  local result = { passed = 0, failed = 0 }
  if o.policies or #o == 0 then run_policies(o, result, nil) end
  for _, path in ipairs(o) do run_path(o, result, path) end
  local none = result.passed + result.failed == 0
  if none then io.stderr:write("moonphase: no test was found: specs are files *_spec.lua\n") end
  io.write(("%d passed, %d failed\n"):format(result.passed, result.failed))
  return result.failed == 0 and not none and 0 or 1
end)
