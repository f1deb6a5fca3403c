-- Bodies in Kubernetes' protobuf: "k8s", a zero byte, and a runtime.Unknown around the object.
--
-- Typed clients send it by default (kubectl create, kubectl auth can-i, client-go): answers they take as JSON, but a body must be
-- read. The wire format is https://protobuf.dev/programming-guides/encoding/; the messages are in protobuf_fields.lua. Everything is
-- checked against the length of the text; what is unknown is skipped; depth is bounded. Zeros that JSON leaves out come back
-- as zeros, which the kind's decoder drops.

local fields = require "sandbox.api.protobuf_fields"

local M = {}

local MAGIC = "k8s\0"
local DEPTH_MOST = 64

-- Raised as { text = } and caught in M.decode.
local function fail(text) error({ text = text }, 0) end

-- A varint. -> integer (two's complement), the place behind it
local function varint(text, at)
  local value, shift = 0, 0
  repeat
    local byte = text:byte(at)
    if not byte or shift > 63 then fail("the message ends in the middle of a number") end
    value = value | (byte & 0x7F) << shift
    shift, at = shift + 7, at + 1
  until byte < 0x80
  return value, at
end

-- One field. -> number, wire type, value, the place behind it
local function field(text, at)
  local tag, length, value
  tag, at = varint(text, at)
  local wire = tag & 7
  if wire == 0 then
    value, at = varint(text, at)
  elseif wire == 2 then
    length, at = varint(text, at)
    if length < 0 or length > #text - at + 1 then fail("a field is longer than its message") end
    value, at = text:sub(at, at + length - 1), at + length
  elseif wire == 1 or wire == 5 then
    at = at + (wire == 1 and 8 or 4)
    if at > #text + 1 then fail("the message ends in the middle of a number") end
  else
    fail("a field has a wire type that is no longer used")
  end
  return tag >> 3, wire, value, at
end

-- "[X]" -> "list", "X"; "{X}" -> "map", "X"; else nil, type
local function shape(type)
  local inner = type:match("^%[(.+)%]$")
  if inner then return "list", inner end
  inner = type:match("^{(.+)}$")
  if inner then return "map", inner end
  return nil, type
end

local parsed = {}

-- { [number] = { name=, shape=, type= } } of a message.
local function message_of(name)
  local message = parsed[name]
  if message then return message end
  message = {}
  for number, rest in fields[name]:gmatch("(%d+) ([^,]+)") do
    local field_name, type = rest:match("^([^:]+):(.+)$")
    local kind, inner = shape(type or "string")
    message[math.tointeger(tonumber(number))] = { name = field_name or rest, shape = kind, type = inner }
  end
  parsed[name] = message
  return message
end

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  local out = {}
  for at = 1, #text, 3 do
    local a, b, c = text:byte(at, at + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    for place = 0, 3 do
      local is_there = place < 2 or place == 2 and b or place == 3 and c
      local digit = (bits >> (18 - 6 * place) & 63) + 1
      out[#out + 1] = is_there and BASE64:sub(digit, digit) or "="
    end
  end
  return table.concat(out)
end

-- Numbers of the fields of a small message: { [number] = value }.
local function numbers(text)
  local found, at = {}, 1
  while at <= #text do
    local number, _, value
    number, _, value, at = field(text, at)
    found[number] = value
  end
  return found
end

local function text_at(found, number) return type(found[number]) == "string" and found[number] or nil end
local function number_at(found, number) return math.type(found[number]) == "integer" and found[number] or nil end

local function time(text, digits)
  local found = numbers(text)
  local seconds, nanos = number_at(found, 1), number_at(found, 2) or 0
  if not seconds or seconds < -62135596800 or seconds > 253402300799 or nanos < 0 or nanos > 999999999 then return nil end
  local fraction = digits and (".%06d"):format(nanos // 1000) or ""
  return os.date("!%Y-%m-%dT%H:%M:%S", seconds) .. fraction .. "Z"
end

local decode

local READERS = {
  string = function(text) return text end,
  bytes = base64,
  Time = function(text) return time(text) end,
  MicroTime = function(text) return time(text, true) end,
  Quantity = function(text) return text_at(numbers(text), 1) or "0" end,
  IntOrString = function(text)
    local found = numbers(text)
    if found[1] == 1 then return text_at(found, 3) or "" end
    return number_at(found, 2) or 0
  end,
  json = function(text) return json.decode(text_at(numbers(text), 1) or "") end,
}

local function read(type, wire, value, depth)
  if type == "int" or type == "bool" then
    if wire ~= 0 then fail("a number has the wrong wire type") end
    if type == "bool" then return value ~= 0 end
    return value
  end
  if wire ~= 2 then fail("a text or message has the wrong wire type") end
  local reader = READERS[type]
  if reader then return reader(value) end
  return decode(type, value, {}, depth + 1)
end

-- An entry of a map: key 1, value 2.
local function entry(type, text, depth)
  local key, value, at = "", nil, 1
  while at <= #text do
    local number, wire, one
    number, wire, one, at = field(text, at)
    if number == 1 and wire == 2 then key = one elseif number == 2 then value = read(type, wire, one, depth) end
  end
  if value == nil then value = type == "Quantity" and "0" or "" end
  return key, value
end

function decode(name, text, into, depth)
  if depth > DEPTH_MOST then fail("the message is nested too deep") end
  local message, at = message_of(name), 1
  while at <= #text do
    local number, wire, value
    number, wire, value, at = field(text, at)
    local known = message[number]
    if known and known.name == "-" then
      if wire ~= 2 then fail("a message has the wrong wire type") end
      decode(known.type, value, into, depth + 1)
    elseif known and known.shape == "list" then
      local list = into[known.name] or json.array {}
      list[#list + 1] = read(known.type, wire, value, depth)
      into[known.name] = list
    elseif known and known.shape == "map" then
      if wire ~= 2 then fail("an entry of a map has the wrong wire type") end
      local map = into[known.name] or {}
      local key, one = entry(known.type, value, depth)
      map[key], into[known.name] = one, map
    elseif known then
      into[known.name] = read(known.type, wire, value, depth)
    end
  end
  return into
end

-- The object of a body. -> object with apiVersion and kind | nil, text; kind: the type if the body names none. Types that are
-- not in the table: nil, nil.
function M.decode(body, kind)
  if body:sub(1, 4) ~= MAGIC then return nil, "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]" end
  local ok, result = pcall(function()
    local envelope = numbers(body:sub(5))
    local about = type(envelope[1]) == "string" and numbers(envelope[1]) or {}
    local api_version, name = about[1], about[2]
    if name == nil or name == "" then name = kind end
    if type(name) ~= "string" or not fields[name] or name == "ObjectMeta" then return nil end
    local object = decode(name, type(envelope[2]) == "string" and envelope[2] or "", {}, 1)
    if type(api_version) == "string" and api_version ~= "" then object.apiVersion = api_version end
    object.kind = name
    return object
  end)
  if ok then return result end
  if type(result) == "table" then return nil, result.text end
  error(result, 0)
end

return M
