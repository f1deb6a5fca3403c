-- What becomes of a JSON value that is decoded into a typed kind and encoded again, as the server does with every body.
--
-- Fields that the type does not have are dropped. null is the same as nothing. A wrong type is an error (400), with the
-- words of the server's decoder. Zeros vanish or stay and empty structs appear as Go's types have it (schema/go.lua);
-- times, quantities and base64 get their canonical text. Only arrays, maps and fields that an object has are visited, so
-- the cost is that of the object, and the result shares nothing with the input. C does it for objects as they mostly are
-- (core/script/typed_*.c: 20 us for a Deployment); this is the whole of it, with the errors.

local base64 = require "sandbox.kinds.bags"
local go = require "sandbox.schema.go"
local canonical = require("sandbox.schema.quantity").canonical
local times = require "sandbox.schema.times"

local M = {}

local null = json.null
local array_mark = getmetatable(json.array {})
local math_type, string_char = math.type, string.char

local DEPTH_MOST = 100

-- The way to where we are, for messages: fields and nodes of the objects above.
local fields, nodes, depth = {}, {}, 0

-- What Go calls the type of an array: "[]v1.Container".
local function slice_name(node)
  local items = node.items
  if items.name then return "[]" .. go.type_name(items.name) end
  return "[]" .. (items.type == "integer" and (items.format or "int64") or items.type or "string")
end

-- Go names each struct and slice on the way: "v1.PodSpec.Containers: []v1.Container: v1.Container.Name: <what>".
local function fail(what)
  local parts = {}
  for i = 1, depth do
    local node, field = nodes[i], tostring(fields[i])
    local child = node.properties and node.properties[field]
    if node.name then parts[#parts + 1] = go.type_name(node.name) .. "." .. go.field_name(field) .. ": " end
    if child and child.type == "array" then parts[#parts + 1] = slice_name(child) .. ": " end
  end
  error({ text = table.concat(parts) .. what }, 0)
end

local function shown(value)
  if value == true then return "t" elseif value == false then return "f" end
  if type(value) == "string" then return '"' end
  if type(value) == "number" then return ("%s"):format(value):sub(1, 1) end
  return getmetatable(value) == array_mark and "[" or "{"
end

-- A copy of a value that has no type.
local function copy(value)
  if type(value) ~= "table" then return value end
  local new = setmetatable({}, getmetatable(value))
  for key, inner in pairs(value) do new[key] = copy(inner) end
  return new
end

local by_format = {
  ["date-time"] = function(value)
    local text, why = times.seconds(value)
    return text or fail(why)
  end,
  ["date-time-micro"] = function(value)
    local text, why = times.micro(value)
    return text or fail(why)
  end,
  quantity = function(value)
    return canonical(value) or fail("unmarshalerDecoder: quantities must match the regular expression "
      .. "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
  end,
  byte = function(value)
    local text = value:gsub("[\r\n]", "")
    if #text % 4 ~= 0 or not text:find("^[%w+/]*=?=?$") then
      local at = text:find("[^%w+/]") or #text + 1
      fail("decode base64: illegal base64 data at input byte " .. at - 1)
    end
    return text
  end,
}

-- Bytes may be said one by one, as Go's decoder takes them.
local function bytes_of(list)
  local bytes = {}
  for i, one in ipairs(list) do
    if one == null then one = 0 end
    if math_type(one) ~= "integer" or one < 0 then fail("[]uint8: readUint32: unexpected character: \u{fffd}") end
    if one > 255 then fail("[]uint8: ReadUint8: overflow: " .. one) end
    bytes[i] = string_char(one)
  end
  return base64.encode(table.concat(bytes))
end

local function string(node, value)
  if type(value) == "string" then
    local format = by_format[node.format]
    if format then return format(value) end
    return value
  end
  if node.format == "byte" and getmetatable(value) == array_mark then return bytes_of(value) end
  if node.format == "quantity" and type(value) == "number" then return by_format.quantity(json.encode(value)) end
  fail("ReadString: expects \" or n, but found " .. shown(value))
end

local function integer(node, value)
  local kind = node.format == "int32" and "Int32" or "Int64"
  if math_type(value) ~= "integer" then
    if type(value) == "number" then fail("read" .. (kind == "Int32" and "Uint32" or "Uint64") .. ": can not decode float as int") end
    fail("read" .. (kind == "Int32" and "Uint32" or "Uint64") .. ": unexpected character: \u{fffd}")
  end
  if kind == "Int32" and (value > 2147483647 or value < -2147483648) then
    fail(("ReadInt32: overflow: %d"):format(value))
  end
  return value
end

local function boolean(_, value)
  if value == true or value == false then return value end
  fail("ReadBool: expect t or f, but found " .. shown(value))
end

local function number(_, value)
  if type(value) == "number" then return value end
  fail("readFloat64: unexpected character: \u{fffd}")
end

local object

local ZEROS = { string = "", integer = 0, number = 0, boolean = false }

local function zero_of(node) return node.format == "quantity" and "0" or ZEROS[node.type] end

local function decode(node, value)
  local kind = node.type
  if kind == "object" then return object(node, value) end
  if kind == "string" then return string(node, value) end
  if kind == "integer" then return integer(node, value) end
  if kind == "boolean" then return boolean(node, value) end
  if kind == "number" then return number(node, value) end
  if kind == "array" then
    if getmetatable(value) ~= array_mark then fail("decode slice: expect [ or n, but found " .. shown(value)) end
    local items, new = node.items, setmetatable({}, array_mark)
    for i = 1, #value do
      local item = value[i]
      if item == null then -- Go's zero of that type
        if items.type == "object" then item = object(items, {}) else item = zero_of(items) end
      else
        item = decode(items, item)
      end
      new[i] = item == nil and null or item
    end
    return new
  end
  if node.int_or_string then
    if type(value) == "string" then return value end
    if math_type(value) == "integer" then return integer({ format = "int32" }, value) end
    fail("IntOrString: cannot unmarshal " .. json.encode(value) .. " into Go value of type int32")
  end
  if node.or_boolean and type(value) == "boolean" then return value end
  local other = node.or_boolean or node.or_array or node.or_strings
  if not other then return copy(value) end
  if getmetatable(value) ~= array_mark then return object(other, value) end
  if node.or_boolean then fail("boolean or JSON schema expected") end
  return decode({ type = "array", items = node.or_strings and { type = "string" } or other }, value)
end

-- Maps: a null is the zero of its type.
local function map(items, value)
  local new = {}
  for key, inner in pairs(value) do
    fields[depth] = key
    if inner == null then
      if items.type == "object" then inner = object(items, {}) else inner = zero_of(items) end
    else
      inner = decode(items, inner)
    end
    new[key] = inner
  end
  return new
end

function object(node, value)
  if type(value) ~= "table" or getmetatable(value) == array_mark then
    fail((node.additional and "ReadMapCB: expect { or n, but found " or "expect { or n, but found ") .. shown(value))
  end
  if node.preserve then return copy(value) end
  if depth >= DEPTH_MOST then fail(("the object is nested more than %d deep"):format(DEPTH_MOST)) end
  depth = depth + 1
  nodes[depth] = node
  local properties = node.properties
  local new
  if properties then
    local omit = node.omit
    new = {}
    for key, inner in pairs(value) do
      local child = properties[key]
      if child and inner ~= null then
        fields[depth] = key
        inner = decode(child, inner)
        if not (omit[key] and (inner == "" or inner == 0 or inner == false or type(inner) == "table" and next(inner) == nil)) then
          new[key] = inner
        end
      end
    end
    local written = node.written
    if written then
      for i = 1, #written do
        local one = written[i]
        local field = one[1]
        if new[field] == nil then
          if one[2] then new[field] = object(one[2], {}) else new[field] = one[3] end
        end
      end
    end
  else
    new = map(node.additional, value)
  end
  depth = depth - 1
  return new
end

-- What check is without the help of C (typed.clean), which knows all of this but what is rare.
function M.thorough(node, value)
  depth = 0
  local ok, result = pcall(decode, node, value)
  if ok then return result end
  if type(result) == "table" then return nil, result.text end
  error(result, 0)
end

-- A cleaned deep copy; nil, text (the server's answer is 400 BadRequest) if a type is wrong. Only what is frozen is shared.
function M.check(node, value)
  local new = typed.clean(node, value, canonical)
  if new ~= nil then return new end
  return M.thorough(node, value)
end

-- The same of a JSON text: nil for what is not as usual (malformed, of a wrong type, or only rare), which json.decode and check then
-- tell apart. A sixth of their cost; typed.decode is in C.
function M.text(node, text) return typed.decode(node, text, canonical) end

return M
