-- JSON patch (RFC 6902), as the API server has it (github.com/evanphx/json-patch v4).
--
-- It is not quite the RFC: the whole document ("") is no target, `replace` of a key that is not there adds it, indices may count
-- from the end (-1) where an item is added or removed, null is the same as nothing for `test`, and numbers are equal if they are
-- written alike. A failed operation fails the patch (422), and the answer does not say which; the text here does. Other than the
-- server, which compares texts in `test`, we take "<" for equal to its \u003c; and where it panics (a path through a null that
-- the patch put there) the path is missing.

local errors = require "sandbox.errors"

local M = {}

-- The server's bounds: operations, and bytes that all copies may add.
local OPERATIONS, COPIED = 10000, 3 * 1024 * 1024

local ARRAY = getmetatable(json.array {})

local function is_list(value) return type(value) == "table" and getmetatable(value) == ARRAY end

local function fail(...) error({ text = string.format(...) }, 0) end

-- Tables that this patch made and may therefore change.
local function writable(state, value)
  if state.mine[value] then return value end
  local copy = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do copy[key] = item end
  state.mine[copy] = true
  return copy
end

local UNESCAPED = { ["~1"] = "/", ["~0"] = "~" }

-- "/a/b~1c" -> { "a" }, "b/c"; nil if it names nothing. What stands before the first slash does not count.
local function split(path)
  if not path:find("/", 1, true) then return nil end
  local parts = {}
  for part in path:gmatch("/([^/]*)") do parts[#parts + 1] = part:gsub("~[01]", UNESCAPED) end
  return parts, table.remove(parts)
end

local function index_of(text) return text:find("^[+-]?%d+$") and math.tointeger(tonumber((text:gsub("^%+", "")))) end

-- What a map or list has under a key; nil if nothing, or null.
local function get(container, key)
  local value
  if is_list(container) then
    local index = index_of(key)
    if not index then return nil, ('strconv.Atoi: parsing "%s": invalid syntax'):format(key) end
    if index >= #container or index < 0 then return nil, ("Unable to access invalid index: %d: invalid index referenced"):format(index) end
    value = container[index + 1]
  else
    value = container[key]
  end
  if value == json.null then return nil end
  return value
end

-- The container that a path leads into, made writable on the way, and the last key. nil if there is no way.
local function find(state, path)
  local parts, last = split(path)
  if not parts then return nil end
  state.object = writable(state, state.object)
  local at = state.object
  for _, part in ipairs(parts) do
    local below = get(at, part)
    if type(below) ~= "table" then return nil end
    below = writable(state, below)
    if is_list(at) then at[index_of(part) + 1] = below else at[part] = below end
    at = below
  end
  return at, last
end

local function word(operation, name)
  local value = operation[name]
  if type(value) == "string" then return value end
  fail("operation, missing %s field: missing value", name)
end

local function position(list, key, size)
  local index = index_of(key) or fail("value was not a proper array index: '%s': strconv.Atoi: parsing \"%s\": invalid syntax", key, key)
  if index >= size or index < -size then fail("Unable to access invalid index: %d: invalid index referenced", index) end
  return (index < 0 and index + size or index) + 1, list
end

local function add(container, key, value)
  if not is_list(container) then
    container[key] = value
  elseif key == "-" then
    container[#container + 1] = value
  else
    table.insert(container, (position(container, key, #container + 1)), value)
  end
end

local function remove(container, key)
  if is_list(container) then
    table.remove(container, (position(container, key, #container)))
  elseif container[key] == nil then
    fail("Unable to remove nonexistent key: %s: missing value", key)
  else
    container[key] = nil
  end
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b and math.type(a) == math.type(b) end
  if is_list(a) ~= is_list(b) then return false end
  for key, value in pairs(a) do
    if b[key] == nil or not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function value_of(operation)
  local value = operation.value
  if value == nil then return json.null end
  return value
end

local function target(state, operation, name, words)
  local path = word(operation, name)
  local container, key = find(state, path)
  if not container then fail(words .. ": missing value", path) end
  return container, key, path
end

local function from(state, operation, verb)
  local container, key = target(state, operation, "from", verb .. " operation does not apply: doc is missing from path: %s")
  local value, why = get(container, key)
  if why then fail("error in %s for path: '%s': %s", verb, key, why) end
  return value == nil and json.null or value, container, key
end

local DO = {
  add = function(state, operation)
    local container, key = target(state, operation, "path", 'add operation does not apply: doc is missing path: "%s"')
    add(container, key, value_of(operation))
  end,
  remove = function(state, operation)
    local container, key = target(state, operation, "path", 'remove operation does not apply: doc is missing path: "%s"')
    remove(container, key)
  end,
  replace = function(state, operation)
    local container, key, path = target(state, operation, "path", "replace operation does not apply: doc is missing path: %s")
    local _, why = get(container, key)
    if why then fail("replace operation does not apply: doc is missing key: %s: missing value", path) end
    if is_list(container) then container[index_of(key) + 1] = value_of(operation) else container[key] = value_of(operation) end
  end,
  move = function(state, operation)
    local value, container, key = from(state, operation, "move")
    remove(container, key)
    container, key = target(state, operation, "path", "move operation does not apply: doc is missing destination path: %s")
    add(container, key, value)
  end,
  copy = function(state, operation)
    local value = from(state, operation, "copy")
    if type(value) == "table" then state.mine = {} end -- two places share it from now on
    state.copied = state.copied + #json.encode(value)
    if state.copied > COPIED then
      fail("Unable to complete the copy, the accumulated size increase of copy is %d, exceeding the limit %d", state.copied, COPIED)
    end
    local container, key = target(state, operation, "path", "copy operation does not apply: doc is missing destination path: %s")
    add(container, key, value)
  end,
  test = function(state, operation)
    local container, key, path = target(state, operation, "path", "test operation does not apply: is missing path: %s")
    local value, why = get(container, key)
    if why then fail("error in test for path: '%s': %s", path, why) end
    local wanted = value_of(operation)
    if value == nil and wanted == json.null then return end
    if value == nil or not same(value, wanted) then fail("testing value %s failed: test failed", path) end
  end,
}

local function refusal(code, text)
  if code ~= 422 then return errors.failure(code, code == 400 and "BadRequest" or "RequestEntityTooLarge", text) end
  return errors.failure(422, "Invalid", "the server rejected our request due to an error in our request", {})
end

-- The patched object, sharing what did not change; nil, text and a failure (of sandbox/errors) otherwise.
function M.apply(object, operations)
  if not is_list(operations) then
    local text = "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
    return nil, text, refusal(400, text)
  end
  if #operations > OPERATIONS then
    local text = ("The allowed maximum operations in a JSON patch is %d, got %d"):format(OPERATIONS, #operations)
    return nil, text, refusal(413, text)
  end
  local state = { object = object, mine = {}, copied = 0 }
  local ok, why = pcall(function()
    for _, operation in ipairs(operations) do
      if type(operation) ~= "table" then fail("json: cannot unmarshal %s into Go value of type jsonpatch.Operation", type(operation)) end
      local kind = type(operation.op) == "string" and operation.op or "unknown"
      local run = DO[kind] or fail("Unexpected kind: %s", kind)
      run(state, operation)
    end
  end)
  if ok then return state.object end
  if type(why) ~= "table" or not why.text then error(why, 0) end
  return nil, why.text, refusal(422, why.text)
end

return M
