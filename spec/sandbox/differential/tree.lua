-- What is done to JSON values in general: copies, merges, parts of them, places in them, and damage.

local M = {}

local function is_object(value)
  return type(value) == "table" and not json.is_array(value)
end
M.is_object = is_object

local sorted_keys = require "sorted"
M.sorted_keys = sorted_keys

function M.copy(value)
  if type(value) ~= "table" then return value end
  local out = json.is_array(value) and json.array {} or {}
  for k, v in pairs(value) do out[k] = M.copy(v) end
  return out
end

-- RFC 7386, on a copy.
function M.merge(object, patch)
  if not is_object(patch) then return M.copy(patch) end
  local out = is_object(object) and M.copy(object) or {}
  for k, v in pairs(patch) do
    if v == json.null then out[k] = nil else out[k] = M.merge(out[k], v) end
  end
  return out
end

-- A part of an object: each key stays with `percent`; lists stay whole or lose items from their end.
function M.part(s, value, percent)
  if type(value) ~= "table" then return value end
  if json.is_array(value) then
    local out = json.array {}
    for i, item in ipairs(value) do
      if i == 1 or s:chance(70) then out[#out + 1] = M.copy(item) end
    end
    return out
  end
  local out = {}
  for _, k in ipairs(sorted_keys(value)) do
    if s:chance(percent) then out[k] = M.part(s, value[k], math.min(100, percent + 15)) end
  end
  return out
end

-- Every place in a value as { path = {keys}, value = }, parents before children. JSON pointers count from 0.
function M.places(value)
  local out = {}
  local function walk(v, path)
    out[#out + 1] = { path = path, value = v }
    if type(v) ~= "table" then return end
    local keys = json.is_array(v) and {} or sorted_keys(v)
    for i in ipairs(v) do keys[#keys + 1] = i end
    for _, k in ipairs(keys) do
      local inner = table.move(path, 1, #path, 1, {})
      inner[#inner + 1] = k
      walk(v[k], inner)
    end
  end
  walk(value, {})
  return out
end

function M.pointer(path)
  local parts = {}
  for i, step in ipairs(path) do
    parts[i] = "/" .. (math.type(step) and tostring(step - 1) or (step:gsub("~", "~0"):gsub("/", "~1")))
  end
  return table.concat(parts)
end

-- Put `value` at a path, in place.
function M.set(object, path, value)
  local at = object
  for i = 1, #path - 1 do at = at[path[i]] end
  at[path[#path]] = value
end

function M.get(object, path)
  local at = object
  for _, step in ipairs(path) do
    if type(at) ~= "table" then return nil end
    at = at[step]
  end
  return at
end

return M
