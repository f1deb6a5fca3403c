-- An OpenAPI v2 document as protobuf, in gnostic's messages: the form in which every kubectl asks for it.
-- (Accept: application/com.github.proto-openapi.spec.v2@v1.0+protobuf; github.com/google/gnostic, OpenAPIv2.proto)
--
-- Protobuf is fields with numbers: a tag (number and wire type), then a varint, eight bytes, or a length and bytes. So each
-- function here turns a decoded JSON value into the bytes of one message. Extensions ("x-...") and free values travel as YAML.

local sorted = require "sorted"

local M = {}

local char, concat = string.char, table.concat

local function varint(n)
  if n < 128 then return char(n) end
  local bytes = {}
  while n >= 128 do
    bytes[#bytes + 1] = char(n & 127 | 128)
    n = n >> 7
  end
  bytes[#bytes + 1] = char(n)
  return concat(bytes)
end

local tags = {}

local function tag(field, wire)
  local key = field << 3 | wire
  if not tags[key] then tags[key] = varint(key) end
  return tags[key]
end

-- Appends a field to a list of pieces; nothing for nil.
local function text(out, field, value)
  if value ~= nil then
    local n = #out
    out[n + 1], out[n + 2], out[n + 3] = tag(field, 2), varint(#value), value
  end
end

local function whole(out, field, value)
  if value then
    out[#out + 1] = tag(field, 0)
    out[#out + 1] = varint(math.tointeger(value) or 0)
  end
end

local function yes(out, field, value)
  if value == true then
    out[#out + 1] = tag(field, 0)
    out[#out + 1] = "\1"
  end
end

local function double(out, field, value)
  if value then
    out[#out + 1] = tag(field, 1)
    out[#out + 1] = ("<d"):pack(value)
  end
end

local function texts(out, field, list)
  for _, value in ipairs(list or {}) do text(out, field, value) end
end

local yaml_of = {} -- the few extensions come again and again

local function any(value)
  local key = json.encode(json.array { value })
  local bytes = yaml_of[key]
  if not bytes then
    local out = {}
    text(out, 2, yaml.encode(value))
    bytes = concat(out)
    yaml_of[key] = bytes
  end
  return bytes
end

-- { name = 1, value = 2 }, as maps are written.
local function named(name, value)
  local out = {}
  text(out, 1, name)
  text(out, 2, value)
  return concat(out)
end

local function extensions(out, field, value)
  for _, key in ipairs(sorted(value)) do
    if key:sub(1, 2) == "x-" then text(out, field, named(key, any(value[key]))) end
  end
end

local schema

local function schemas(out, field, list)
  for _, one in ipairs(list or {}) do text(out, field, schema(one)) end
end

local function additional_item(value)
  local out = {}
  if type(value) == "boolean" then
    out[1], out[2] = tag(2, 0), value and "\1" or "\0"
  else
    text(out, 1, schema(value))
  end
  return concat(out)
end

local function items(value)
  local out = {}
  text(out, 1, schema(value))
  return concat(out)
end

local function properties(map)
  local out = {}
  for _, name in ipairs(sorted(map)) do text(out, 1, named(name, schema(map[name]))) end
  return concat(out)
end

local function types(value)
  local out = {}
  if type(value) == "table" then texts(out, 1, value) else text(out, 1, value) end
  return concat(out)
end

-- A schema (a definition, or a part of one).
function schema(value)
  local out = {}
  text(out, 1, value["$ref"])
  text(out, 2, value.format)
  text(out, 3, value.title)
  text(out, 4, value.description)
  if value.default ~= nil then text(out, 5, any(value.default)) end
  double(out, 6, value.multipleOf)
  double(out, 7, value.maximum)
  yes(out, 8, value.exclusiveMaximum)
  double(out, 9, value.minimum)
  yes(out, 10, value.exclusiveMinimum)
  whole(out, 11, value.maxLength)
  whole(out, 12, value.minLength)
  text(out, 13, value.pattern)
  whole(out, 14, value.maxItems)
  whole(out, 15, value.minItems)
  yes(out, 16, value.uniqueItems)
  whole(out, 17, value.maxProperties)
  whole(out, 18, value.minProperties)
  texts(out, 19, value.required)
  for _, one in ipairs(value.enum or {}) do text(out, 20, any(one)) end
  if value.additionalProperties ~= nil then text(out, 21, additional_item(value.additionalProperties)) end
  if value.type then text(out, 22, types(value.type)) end
  if value.items then text(out, 23, items(value.items)) end
  schemas(out, 24, value.allOf)
  if value.properties then text(out, 25, properties(value.properties)) end
  extensions(out, 31, value)
  return concat(out)
end

-- The bytes of one definition: a field of the message Definitions.
function M.definition(name, value)
  local out = {}
  text(out, 1, named(name, schema(value)))
  return concat(out)
end

local function body_parameter(value)
  local out = {}
  text(out, 1, value.description)
  text(out, 2, value.name)
  text(out, 3, "body")
  yes(out, 4, value.required)
  if value.schema then text(out, 5, schema(value.schema)) end
  return concat(out)
end

-- Where a parameter's type, format and uniqueItems lie; the message in which it is wrapped.
local PLACES = { query = { 3, 6, 7, 20 }, path = { 4, 5, 6, 19 }, header = { 1, 5, 6, 19 }, formData = { 2, 6, 7, 20 } }

local function other_parameter(value)
  local place, out, wrapped = PLACES[value["in"]] or PLACES.query, {}, {}
  yes(out, 1, value.required)
  text(out, 2, value["in"])
  text(out, 3, value.description)
  text(out, 4, value.name)
  text(out, place[2], value.type)
  text(out, place[3], value.format)
  yes(out, place[4], value.uniqueItems)
  text(wrapped, place[1], concat(out))
  return concat(wrapped)
end

local function parameter(value)
  local out, wrapped = {}, {}
  if value["in"] == "body" then text(out, 1, body_parameter(value)) else text(out, 2, other_parameter(value)) end
  text(wrapped, 1, concat(out))
  return concat(wrapped)
end

local function response(value)
  local out, wrapped = {}, {}
  text(out, 1, value.description)
  if value.schema then
    local item = {}
    text(item, 1, schema(value.schema))
    text(out, 2, concat(item))
  end
  text(wrapped, 1, concat(out))
  return concat(wrapped)
end

local function responses(map)
  local out = {}
  for _, code in ipairs(sorted(map)) do text(out, 1, named(code, response(map[code]))) end
  return concat(out)
end

local function operation(value)
  local out = {}
  texts(out, 1, value.tags)
  text(out, 3, value.description)
  text(out, 5, value.operationId)
  texts(out, 6, value.produces)
  texts(out, 7, value.consumes)
  for _, one in ipairs(value.parameters or {}) do text(out, 8, parameter(one)) end
  if value.responses then text(out, 9, responses(value.responses)) end
  texts(out, 10, value.schemes)
  yes(out, 11, value.deprecated)
  extensions(out, 13, value)
  return concat(out)
end

local METHODS = { { "get", 2 }, { "put", 3 }, { "post", 4 }, { "delete", 5 }, { "options", 6 }, { "head", 7 }, { "patch", 8 } }

-- The bytes of one path: a field of the message Paths.
function M.path(name, value)
  local item, out = {}, {}
  for _, method in ipairs(METHODS) do
    if value[method[1]] then text(item, method[2], operation(value[method[1]])) end
  end
  for _, one in ipairs(value.parameters or {}) do text(item, 9, parameter(one)) end
  text(out, 2, named(name, concat(item)))
  return concat(out)
end

local function security_definition(value)
  local out, wrapped = {}, {}
  text(out, 1, value.type)
  text(out, 2, value.name)
  text(out, 3, value["in"])
  text(out, 4, value.description)
  text(wrapped, 2, concat(out))
  return concat(wrapped)
end

-- The whole: paths and definitions are the bytes that M.path and M.definition gave, one after the other; rest: the other
-- members of the document, decoded.
function M.document(paths, definitions, rest)
  local out, info = {}, {}
  text(out, 1, rest.swagger)
  text(info, 1, rest.info.title)
  text(info, 2, rest.info.version)
  text(out, 2, concat(info))
  text(out, 8, paths)
  text(out, 9, definitions)
  for _, one in ipairs(rest.security or {}) do
    local security = {}
    for _, name in ipairs(sorted(one)) do
      local list = {}
      texts(list, 1, one[name])
      text(security, 1, named(name, concat(list)))
    end
    text(out, 12, concat(security))
  end
  local schemes = {}
  for _, name in ipairs(sorted(rest.securityDefinitions)) do
    text(schemes, 1, named(name, security_definition(rest.securityDefinitions[name])))
  end
  if schemes[1] then text(out, 13, concat(schemes)) end
  return concat(out)
end

return M
