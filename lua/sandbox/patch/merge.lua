-- JSON merge patch (RFC 7386), as the API server has it (github.com/evanphx/json-patch v4).
--
-- null deletes. Where the object has nothing, or something that is no map, the patch's value is put with its nulls taken
-- out, in lists too, which the RFC does not ask for.

local errors = require "sandbox.errors"

local M = {}

local ARRAY = getmetatable(json.array {})

local function is_map(value) return type(value) == "table" and getmetatable(value) ~= ARRAY end

local function without_nulls(value)
  if type(value) ~= "table" then return value end
  if getmetatable(value) == ARRAY then
    local list = json.array {}
    for _, item in ipairs(value) do
      if item ~= json.null then list[#list + 1] = without_nulls(item) end
    end
    return list
  end
  local map = {}
  for key, item in pairs(value) do
    if item ~= json.null then map[key] = without_nulls(item) end
  end
  return map
end

local function merge(object, patch)
  local new = {}
  for key, value in pairs(object) do new[key] = value end
  for key, value in pairs(patch) do
    local was = object[key]
    if value == json.null then
      new[key] = nil
    elseif is_map(was) then
      if is_map(value) then new[key] = merge(was, value) else new[key] = value end
    else
      new[key] = without_nulls(value)
    end
  end
  return new
end

-- The patched object, sharing what did not change; nil, text and a failure (of sandbox/errors) if the patch is no map.
function M.apply(object, patch)
  if is_map(patch) then return merge(object, patch) end
  local text = "Invalid JSON Patch"
  return nil, text, errors.failure(500, nil, text)
end

return M
