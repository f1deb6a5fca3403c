-- describe, it, assert: the words of busted, in twenty functions that need nothing but Lua.
--
-- The same file serves specs of policies, which run in the production sandbox, and specs of the
-- host. A spec file is run once to collect its tests; the runner calls each by number.

local M = {}

local function show(value, depth)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) ~= "table" then return tostring(value) end
  if depth > 4 then return "{...}" end
  local parts = {}
  for k, v in pairs(value) do
    local name = type(k) == "number" and "" or tostring(k) .. " = "
    parts[#parts + 1] = name .. show(v, depth + 1)
    if #parts > 40 then
      parts[#parts + 1] = "..."
      break
    end
  end
  return "{" .. table.concat(parts, ", ") .. "}"
end

-- Where two values differ first, as "path: expected X, got Y"; nil if they are the same.
local function difference(expected, actual, path)
  if type(expected) ~= "table" or type(actual) ~= "table" then
    if expected == actual then return nil end
    return ("%s: expected %s, got %s"):format(path, show(expected, 0), show(actual, 0))
  end
  for k, v in pairs(expected) do
    local found = difference(v, actual[k], path .. "." .. tostring(k))
    if found then return found end
  end
  for k, v in pairs(actual) do
    if expected[k] == nil then return ("%s.%s: expected nothing, got %s"):format(path, tostring(k), show(v, 0)) end
  end
end

local function fail(text, message, level)
  error((message and message .. ": " or "") .. text, (level or 1) + 2)
end

local CHECKS = {}

function CHECKS.equal(expected, actual, message)
  if expected ~= actual then fail(("expected %s, got %s"):format(show(expected, 0), show(actual, 0)), message) end
end

function CHECKS.same(expected, actual, message)
  local found = difference(expected, actual, "value")
  if found then fail(found, message) end
end

function CHECKS.is_true(value, message)
  if value ~= true then fail("expected true, got " .. show(value, 0), message) end
end

function CHECKS.is_false(value, message)
  if value ~= false then fail("expected false, got " .. show(value, 0), message) end
end

function CHECKS.truthy(value, message)
  if not value then fail("expected something, got " .. show(value, 0), message) end
end

function CHECKS.is_nil(value, message)
  if value ~= nil then fail("expected nothing, got " .. show(value, 0), message) end
end

function CHECKS.is_not_nil(value, message)
  if value == nil then fail("expected something, got nil", message) end
end

function CHECKS.matches(pattern, text, message)
  if type(text) ~= "string" or not text:find(pattern) then
    fail(("expected text like %s, got %s"):format(show(pattern, 0), show(text, 0)), message)
  end
end

function CHECKS.contains(part, text, message)
  if type(text) ~= "string" or not text:find(part, 1, true) then
    fail(("expected text with %s, got %s"):format(show(part, 0), show(text, 0)), message)
  end
end

function CHECKS.has_error(fn, part, message)
  local ok, failure = pcall(fn)
  if ok then fail("expected an error", message) end
  if part and not tostring(failure):find(part, 1, true) then
    fail(("expected an error with %s, got %s"):format(show(part, 0), show(failure, 0)), message)
  end
end

CHECKS.equals, CHECKS.are_equal, CHECKS.are_same, CHECKS.is_truthy = CHECKS.equal, CHECKS.equal, CHECKS.same, CHECKS.truthy
CHECKS.is_falsy = function(value, message)
  if value then fail("expected nothing or false, got " .. show(value, 0), message) end
end
CHECKS.falsy = CHECKS.is_falsy

local assertion = setmetatable({}, {
  __index = CHECKS,
  __call = function(_, value, message)
    if not value then error(message or "assertion failed", 2) end
    return value
  end,
})
M.assert = assertion

-- describe, it, before_each, assert, and the table that collects: tests.list() -> names; tests.run(i) raises
-- when test i fails.
function M.new()
  local tests, path, befores = {}, {}, { {} }
  local function describe(name, body)
    path[#path + 1] = name
    befores[#befores + 1] = {}
    body()
    befores[#befores] = nil
    path[#path] = nil
  end
  local function it(name, body)
    local setups = {}
    for _, level in ipairs(befores) do
      for _, setup in ipairs(level) do setups[#setups + 1] = setup end
    end
    local full = table.concat(path, " ")
    tests[#tests + 1] = { name = (full ~= "" and full .. " " or "") .. name, body = body, setups = setups }
  end
  local function before_each(setup)
    local level = befores[#befores]
    level[#level + 1] = setup
  end
  local collected = {}
  function collected.list()
    local names = {}
    for i, test in ipairs(tests) do names[i] = test.name end
    return json.array(names)
  end
  function collected.run(i)
    for _, setup in ipairs(tests[i].setups) do setup() end
    tests[i].body()
    return true
  end
  return describe, it, before_each, assertion, collected
end

-- The source of a spec file as a module that returns its tests; line numbers stay as they are.
function M.wrap(source)
  return "local describe, it, before_each, assert, tests_ = require('moonphase.spec').new() do " .. source
    .. "\nend return require('moonphase.spec_rows').module(tests_)"
end

return M
