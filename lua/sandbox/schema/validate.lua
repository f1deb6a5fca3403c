-- Is a value valid by its schema node? With the causes of a real server, word for word.
--
-- The server's validator (go-openapi/validate) speaks of "spec.replicas in body" and has habits that people's scripts and our
-- comparison see: items of an array are named without their index, a failed anyOf is told of "<nil>" and then by the
-- alternative that came closest, a limit is cut to an integer when the value is one. Where it goes through a Go map it answers in
-- random order; here it is by name. All of it was asked of a 1.20.2 server (spec/sandbox/schema_spec.lua).

local checks = require "sandbox.kinds.checks"
local formats = require "sandbox.schema.formats"
local gotext = require "sandbox.schema.gotext"
local regexp = require "sandbox.schema.regexp"
local settled = require("sandbox.schema.settled").by
local sorted = require "sorted"

local M = {}

local null = json.null
local array_mark = getmetatable(json.array {})
local math_type = math.type

local DEPTH_MOST = 100

local function type_of(value)
  local kind = type(value)
  if kind == "string" or kind == "boolean" then return kind end
  if kind == "number" then return math_type(value) == "integer" and "integer" or "number" end
  if value == null then return "null" end
  return getmetatable(value) == array_mark and "array" or "object"
end

local function join(path, name) return path == "" and name or path .. "." .. name end

-- A failure of the validator: "Invalid value: VALUE: PATH in body WHAT". A path of nothing is the root, which Go calls <nil>.
local function invalid(errs, path, value, what)
  local shown = type(value) == "number" and checks.verbatim(gotext.number(value)) or value
  checks.invalid(errs, path == "" and "<nil>" or path, shown, path .. " in body " .. what)
end

local function is_integral(value) return value == math.floor(value) and math.abs(value) < 2 ^ 53 end

-- What the server finds that a value's Go type says of its format.
local GO_FORMATS = { integer = "int64", number = "float64" }

local function check_type(errs, path, node, value, kind)
  local wanted = node.type
  if kind == "null" and node.nullable then return true end
  if wanted and node.format and formats[node.format] and kind ~= "null" then -- then its validator asks for the format before the type
    if kind == "string" or kind == "array" then
      if wanted ~= "number" and wanted ~= "integer" then return true end
    elseif wanted ~= kind and not (wanted == "number" and kind == "integer")
      and not (wanted == "integer" and kind == "number" and is_integral(value)) then
      local found = GO_FORMATS[kind] or ""
      return invalid(errs, path, found, ("must be of type %s: %q"):format(node.format, found))
    end
  end
  if not wanted then
    if not node.int_or_string or kind == "integer" or kind == "string" or kind == "number" and is_integral(value) then return true end
    wanted = "integer,string"
  elseif wanted == kind or wanted == "number" and kind == "integer" or wanted == "integer" and kind == "number" and is_integral(value) then
    return true
  end
  invalid(errs, path, kind, ("must be of type %s: %q"):format(wanted, kind))
end

local function check_enum(errs, path, node, value)
  for _, one in ipairs(node.enum) do
    if json.equal(one, value) then return end
  end
  local supported = {}
  for i, one in ipairs(node.enum) do supported[i] = type(one) == "string" and one or json.encode(one) end
  local bad = value
  if value == null then bad = "null" -- Go shows a nil as "null"
  elseif type(value) == "table" then bad = checks.verbatim(gotext.source(value)) end
  checks.not_supported(errs, path == "" and "<nil>" or path, bad, supported)
end

local function check_string(errs, path, node, value)
  local length = (node.max_length or node.min_length) and (utf8.len(value) or #value)
  if node.max_length and length > node.max_length then
    return invalid(errs, path, value, ("should be at most %d chars long"):format(node.max_length))
  end
  if node.min_length and length < node.min_length then
    return invalid(errs, path, value, ("should be at least %d chars long"):format(node.min_length))
  end
  if node.pattern and not regexp.matches(node.pattern, value) then
    invalid(errs, path, value, ("should match '%s'"):format(node.pattern))
  end
end

-- A limit as the server applies it to this value: an integer's is cut to one.
local function limit_for(limit, value)
  if math_type(value) == "integer" and math_type(limit) == "float" then
    local whole = limit < 0 and math.ceil(limit) or math.floor(limit)
    return math.tointeger(whole) or math.mininteger
  end
  return limit
end

local function check_number(errs, path, node, value)
  if node.multiple_of then
    local by = limit_for(node.multiple_of, value)
    if by ~= 0 then
      local quotient = value / by
      local fits = math_type(by) == "integer" and math_type(value) == "integer" and value % by == 0
        or quotient == math.floor(quotient)
      if not fits then invalid(errs, path, value, "should be a multiple of " .. gotext.number(by)) end
    end
  end
  if node.maximum then
    local most = limit_for(node.maximum, value)
    if node.exclusive_maximum and value >= most then
      invalid(errs, path, value, "should be less than " .. gotext.number(most))
    elseif value > most then
      invalid(errs, path, value, "should be less than or equal to " .. gotext.number(most))
    end
  end
  if node.minimum then
    local least = limit_for(node.minimum, value)
    if node.exclusive_minimum and value <= least then
      invalid(errs, path, value, "should be greater than " .. gotext.number(least))
    elseif value < least then
      invalid(errs, path, value, "should be greater than or equal to " .. gotext.number(least))
    end
  end
end

local validate

local function check_array(errs, path, node, value, depth)
  if node.items then
    for i = 1, #value do validate(errs, path, node.items, value[i], depth) end
  end
  if node.min_items and #value < node.min_items then
    invalid(errs, path, #value, ("should have at least %d items"):format(node.min_items))
  end
  if node.max_items and #value > node.max_items then
    invalid(errs, path, #value, ("should have at most %d items"):format(node.max_items))
  end
end

local function count_of(map)
  local count = 0
  for _ in pairs(map) do count = count + 1 end
  return count
end

local function check_members(errs, path, node, value, depth)
  local properties, additional = node.properties, node.additional
  if additional and (node.forbids or not additional.nothing) then
    for _, key in ipairs(sorted(value)) do
      if not (properties and properties[key]) then
        if node.forbids then
          checks.invalid(errs, path == "" and "<nil>" or path, key, join(path, key) .. " in body is a forbidden property")
        else
          validate(errs, join(path, key), additional, value[key], depth)
        end
      end
    end
  end
  if properties then
    for _, key in ipairs(node.sorted or sorted(properties)) do
      local inner = value[key]
      if inner ~= nil then validate(errs, join(path, key), properties[key], inner, depth) end
    end
  end
end

local function check_object(errs, path, node, value, depth)
  if node.min_properties and count_of(value) < node.min_properties then
    return invalid(errs, path, node.min_properties, ("should have at least %d properties"):format(node.min_properties))
  end
  if node.max_properties and count_of(value) > node.max_properties then
    return invalid(errs, path, node.max_properties, ("should have at most %d properties"):format(node.max_properties))
  end
  check_members(errs, path, node, value, depth)
  for _, name in ipairs(node.required or {}) do
    local property = node.properties and node.properties[name]
    if value[name] == nil and not (property and property.default ~= nil) then checks.required(errs, join(path, name)) end
  end
end

-- "spec.x" must validate ...: told of no field.
local function whole(errs, path, what)
  checks.invalid(errs, "<nil>", "", ('"%s" %s'):format(path, what))
end

local function append(errs, more) table.move(more, 1, #more, #errs + 1, errs) end

-- anyOf and oneOf: how many hold, and what was wrong with the first of those that came closest.
local function alternatives(path, list, value, depth)
  local held, best = 0, nil
  for _, one in ipairs(list) do
    local found = {}
    validate(found, path, one, value, depth)
    if #found == 0 then held = held + 1
    elseif not best then best = found end
  end
  return held, best
end

local function check_sets(errs, path, node, value, depth)
  if node.any_of then
    local held, best = alternatives(path, node.any_of, value, depth)
    if held == 0 then
      whole(errs, path, "must validate at least one schema (anyOf)")
      append(errs, best)
    end
  end
  if node.one_of then
    local held, best = alternatives(path, node.one_of, value, depth)
    if held == 0 then
      whole(errs, path, "must validate one and only one schema (oneOf). Found none valid")
      append(errs, best)
    elseif held > 1 then
      whole(errs, path, ("must validate one and only one schema (oneOf). Found %d valid alternatives"):format(held))
    end
  end
  if node.all_of then
    local held = 0
    for _, one in ipairs(node.all_of) do
      local found = {}
      validate(found, path, one, value, depth)
      append(errs, found)
      if #found == 0 then held = held + 1 end
    end
    if held < #node.all_of then
      whole(errs, path, "must validate all the schemas (allOf)" .. (held == 0 and ". None validated" or ""))
    end
  end
  if node.no then
    local found = {}
    validate(found, path, node.no, value, depth)
    if #found == 0 then whole(errs, path, "must not validate the schema (not)") end
  end
end

function validate(errs, path, node, value, depth)
  if settled[value] == node then return end
  if depth > DEPTH_MOST then return checks.invalid(errs, path, "", "is nested too deeply") end
  local kind = type_of(value)
  check_type(errs, path, node, value, kind)
  if kind == "null" then
    if node.enum then check_enum(errs, path, node, value) end
    return
  end
  if node.any_of or node.one_of or node.all_of or node.no then check_sets(errs, path, node, value, depth) end
  if kind == "string" then
    check_string(errs, path, node, value)
    local format = node.format and formats[node.format]
    if format and not format(value) then invalid(errs, path, value, ("must be of type %s: %s"):format(node.format, checks.quote(value))) end
  elseif kind == "integer" or kind == "number" then
    check_number(errs, path, node, value)
  elseif kind == "array" then
    check_array(errs, path, node, value, depth + 1)
  end
  if node.enum then check_enum(errs, path, node, value) end
  if kind == "object" then check_object(errs, path, node, value, depth + 1) end
end

-- Adds what is wrong with a value to errs (as sandbox/kinds/checks.lua makes failures). path: "" for the whole object.
function M.value(errs, path, node, value)
  validate(errs, path, node, value, 0)
end

return M
