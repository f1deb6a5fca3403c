-- JSON values as Go prints them: %v ("map[a:1]"), %s and %#v ("map[string]interface {}{"a":1}"), and the names of their types.

local checks = require "sandbox.kinds.checks"
local sorted = require "sorted"

local M = {}

local null = json.null
local array_mark = getmetatable(json.array {})

function M.type_name(value)
  if value == null then return "<nil>" end
  local kind = type(value)
  if kind == "boolean" then return "bool" end
  if kind == "number" then return math.type(value) == "integer" and "int64" or "float64" end
  if kind == "string" then return kind end
  return getmetatable(value) == array_mark and "[]interface {}" or "map[string]interface {}"
end

-- A number as %v: the fewest digits that say it, with an exponent from 1e+06 on and below 0.0001.
local function number(value)
  if math.type(value) == "integer" then return ("%d"):format(value) end
  local text
  for digits = 0, 16 do
    text = ("%." .. digits .. "e"):format(value)
    if tonumber(text) == value then break end
  end
  local mantissa, exponent = text:match("^(.*)e([-+]%d+)$")
  if not mantissa then return text end
  exponent = tonumber(exponent)
  if exponent < -4 or exponent >= 6 then return ("%se%+03d"):format(mantissa, exponent) end
  local fraction = #(mantissa:match("%.(%d+)$") or "")
  return ("%." .. math.max(fraction - exponent, 0) .. "f"):format(value)
end
M.number = number

-- %v
function M.plain(value)
  if value == null then return "<nil>" end
  if type(value) == "number" then return number(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if getmetatable(value) == array_mark then
    for i, inner in ipairs(value) do parts[i] = M.plain(inner) end
    return "[" .. table.concat(parts, " ") .. "]"
  end
  for i, key in ipairs(sorted(value)) do parts[i] = key .. ":" .. M.plain(value[key]) end
  return "map[" .. table.concat(parts, " ") .. "]"
end

-- %s, which is not meant for what is no text, and says so.
function M.as_text(value)
  if value == null then return "%!s(<nil>)" end
  if type(value) == "string" then return value end
  if type(value) ~= "table" then return ("%%!s(%s=%s)"):format(M.type_name(value), M.plain(value)) end
  local parts = {}
  if getmetatable(value) == array_mark then
    for i, inner in ipairs(value) do parts[i] = M.as_text(inner) end
    return "[" .. table.concat(parts, " ") .. "]"
  end
  for i, key in ipairs(sorted(value)) do parts[i] = key .. ":" .. M.as_text(value[key]) end
  return "map[" .. table.concat(parts, " ") .. "]"
end

-- %#v
function M.source(value)
  if value == null then return "interface {}(nil)" end
  if type(value) == "string" then return checks.quote(value) end
  if type(value) == "number" then return number(value) end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if getmetatable(value) == array_mark then
    for i, inner in ipairs(value) do parts[i] = M.source(inner) end
    return "[]interface {}{" .. table.concat(parts, ", ") .. "}"
  end
  for i, key in ipairs(sorted(value)) do parts[i] = checks.quote(key) .. ":" .. M.source(value[key]) end
  return "map[string]interface {}{" .. table.concat(parts, ", ") .. "}"
end

return M
