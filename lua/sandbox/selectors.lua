-- Label and field selectors of requests: text to a test, with the words of the server where the text makes no sense.
--
-- The grammar of labels is that of k8s.io/apimachinery/pkg/labels: `a=b, c!=d, e in (f,g), h, !i, j>3`; that of fields
-- is a list of `path=value`, `path==value` and `path!=value` with backslashes before commas and equal signs
-- (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/ and .../field-selectors/).

local checks = require "sandbox.kinds.checks"

local M = {}

local NONE = {}

-- Labels

local SPECIAL = { ["="] = true, ["=="] = true, ["!"] = true, ["!="] = true, ["("] = true, [")"] = true, [","] = true, [">"] = true,
  ["<"] = true }

-- { kind=, text= } for each token; kind is the text itself for what is special, else "name"; the last one is "end".
local function tokens_of(text)
  local tokens, at = {}, 1
  while true do
    at = text:find("[^ \t\r\n]", at)
    if not at then break end
    local two, one = text:sub(at, at + 1), text:sub(at, at)
    if SPECIAL[two] then
      tokens[#tokens + 1] = { kind = two, text = two }
      at = at + 2
    elseif SPECIAL[one] then
      tokens[#tokens + 1] = { kind = one, text = one }
      at = at + 1
    else
      local word = text:match("^[^ \t\r\n=!(),<>]+", at)
      tokens[#tokens + 1] = { kind = "name", text = word }
      at = at + #word
    end
  end
  tokens[#tokens + 1] = { kind = "end", text = "" }
  return tokens
end

-- Mistakes are raised as { text = ... } and caught in M.labels.
local function fail(...) error({ text = string.format(...) }, 0) end

local function look(parser) return parser.tokens[parser.at] end

local function take(parser)
  local token = parser.tokens[parser.at]
  if token.kind ~= "end" then parser.at = parser.at + 1 end
  return token
end

local OPERATORS = { ["="] = "In", ["=="] = "In", ["!="] = "NotIn", [">"] = "Gt", ["<"] = "Lt" }

local function operator_of(token)
  local operator = OPERATORS[token.kind]
  if token.kind == "name" then operator = token.text == "in" and "In" or token.text == "notin" and "NotIn" or nil end
  return operator or fail("found '%s', expected: '=', '!=', '==', 'in', notin'", token.text)
end

local function list_of_names(parser)
  local values = {}
  while true do
    local token = take(parser)
    if token.kind == "name" then
      values[#values + 1] = token.text
      local after = look(parser)
      if after.kind == ")" then return values end
      if after.kind ~= "," then fail("found '%s', expected: ',' or ')'", after.text) end
    elseif token.kind == "," then
      if #values == 0 then values[1] = "" end
      local after = look(parser)
      if after.kind == ")" then
        values[#values + 1] = ""
        return values
      end
      if after.kind == "," then
        take(parser)
        values[#values + 1] = ""
      end
    else
      fail("found '%s', expected: ',', or identifier", token.text)
    end
  end
end

local function set_of_values(parser)
  local token = take(parser)
  if token.kind ~= "(" then fail("found '%s' expected: '('", token.text) end
  token = look(parser)
  if token.kind == ")" then
    take(parser)
    return { "" }
  end
  if token.kind ~= "name" and token.kind ~= "," then fail("found '%s', expected: ',', ')' or identifier", token.text) end
  local values = list_of_names(parser)
  token = take(parser)
  if token.kind ~= ")" then fail("found '%s', expected: ')'", token.text) end
  return values
end

local function exact_value(parser)
  local token = look(parser)
  if token.kind == "end" or token.kind == "," then return { "" } end
  token = take(parser)
  if token.kind ~= "name" then fail("found '%s', expected: identifier", token.text) end
  return { token.text }
end

local function check_requirement(one)
  if (one.operator == "Gt" or one.operator == "Lt") and not one.values[1]:find("^[+-]?%d+$") then
    fail("for 'Gt', 'Lt' operators, the value must be an integer")
  end
  for _, value in ipairs(one.values or NONE) do
    local wrong = checks.label_value(value)
    if wrong then fail("invalid label value: %s: at key: %s: %s", checks.quote(value), checks.quote(one.key), table.concat(wrong, "; ")) end
  end
  return one
end

local function requirement(parser)
  local token, is_negated = take(parser), false
  if token.kind == "!" then token, is_negated = take(parser), true end
  if token.kind ~= "name" then fail("found '%s', expected: identifier", token.text) end
  local key, wrong = token.text, checks.qualified_name(token.text)
  if wrong then fail("invalid label key %s: %s", checks.quote(key), table.concat(wrong, "; ")) end
  if is_negated then return { key = key, operator = "DoesNotExist" } end
  local after = look(parser)
  if after.kind == "end" or after.kind == "," then return { key = key, operator = "Exists" } end
  local sign = take(parser)
  local operator = operator_of(sign)
  local values = sign.kind == "name" and set_of_values(parser) or exact_value(parser)
  return check_requirement { key = key, operator = operator, values = values }
end

local function parse(text)
  local parser, list = { tokens = tokens_of(text), at = 1 }, {}
  while true do
    local token = look(parser)
    if token.kind == "end" then return list end
    if token.kind ~= "name" and token.kind ~= "!" then fail("found '%s', expected: !, identifier, or 'end of string'", token.text) end
    local ok, one = pcall(requirement, parser)
    if not ok then
      if type(one) == "table" then one.text = "unable to parse requirement: " .. one.text end
      error(one, 0)
    end
    list[#list + 1] = one
    token = take(parser)
    if token.kind == "end" then return list end
    if token.kind ~= "," then fail("found '%s', expected: ',' or 'end of string'", token.text) end
    token = look(parser)
    if token.kind ~= "name" and token.kind ~= "!" then fail("found '%s', expected: identifier after ','", token.text) end
  end
end

local function is_in(value, values)
  for _, one in ipairs(values) do
    if one == value then return true end
  end
  return false
end

local TESTS = {
  In = function(value, one) return value ~= nil and is_in(value, one.values) end,
  NotIn = function(value, one) return value == nil or not is_in(value, one.values) end,
  Exists = function(value) return value ~= nil end,
  DoesNotExist = function(value) return value == nil end,
  Gt = function(value, one)
    local number = value and math.tointeger(tonumber(value))
    return number ~= nil and number > math.tointeger(tonumber(one.values[1]))
  end,
  Lt = function(value, one)
    local number = value and math.tointeger(tonumber(value))
    return number ~= nil and number < math.tointeger(tonumber(one.values[1]))
  end,
}

-- Whether requirements { key, operator, values } hold for labels (a table or nil).
function M.hold(requirements, labels)
  labels = labels or NONE
  for _, one in ipairs(requirements) do
    if not TESTS[one.operator](labels[one.key], one) then return false end
  end
  return true
end

-- Requirements of a selector's text | nil, text. No text: nil (everything).
function M.labels(text)
  if text == nil or text == "" then return nil end
  local ok, list = pcall(parse, text)
  if ok then return list[1] and list or nil end
  if type(list) == "table" then return nil, list.text end
  error(list, 0)
end

-- A LabelSelector of an object (matchLabels, matchExpressions) as text, as in a Scale's status.
function M.text(selector)
  local parts = {}
  for key, value in pairs(selector.matchLabels or NONE) do parts[#parts + 1] = key .. "=" .. value end
  for _, one in ipairs(selector.matchExpressions or NONE) do
    local values = table.move(one.values or NONE, 1, #(one.values or NONE), 1, {})
    table.sort(values)
    local list = "(" .. table.concat(values, ",") .. ")"
    parts[#parts + 1] = one.operator == "In" and one.key .. " in " .. list or one.operator == "NotIn" and one.key .. " notin " .. list
      or one.operator == "Exists" and one.key or "!" .. one.key
  end
  table.sort(parts, function(a, b) return a:match("^!?([^ =]+)") < b:match("^!?([^ =]+)") end)
  return table.concat(parts, ",")
end

-- Fields

-- Terms between commas that have no backslash before them.
local function terms_of(text)
  local terms, start, at = {}, 1, 1
  while at <= #text do
    local char = text:sub(at, at)
    if char == "\\" then
      at = at + 2
    elseif char == "," then
      terms[#terms + 1] = text:sub(start, at - 1)
      start, at = at + 1, at + 1
    else
      at = at + 1
    end
  end
  terms[#terms + 1] = text:sub(start)
  return terms
end

-- A value without its backslashes | nil, text.
local function unescape(text)
  local parts, at = {}, 1
  while at <= #text do
    local char = text:sub(at, at)
    if char == "\\" then
      local escaped = text:sub(at + 1, at + 1)
      if escaped ~= "\\" and escaped ~= "," and escaped ~= "=" then
        return nil, "invalid field selector: invalid escape sequence: \\" .. escaped
      end
      parts[#parts + 1], at = escaped, at + 2
    elseif char == "," or char == "=" then
      return nil, "invalid field selector: unescaped character in value: " .. char:byte()
    else
      parts[#parts + 1], at = char, at + 1
    end
  end
  return table.concat(parts)
end

local function metadata_name(object) return object.metadata.name or "" end
local function metadata_namespace(object) return object.metadata.namespace or "" end

-- Kinds with words of their own for a field that they do not know.
local SPOKEN = { pods = true, nodes = true, namespaces = true, events = true, secrets = true }

local function getter(kind, path)
  if path == "metadata.name" then return metadata_name end
  if path == "metadata.namespace" and (kind.namespaced or not SPOKEN[kind.id] and not kind.crd) then return metadata_namespace end
  local fields = kind.strategy and kind.strategy.fields
  local found = fields and fields[path]
  if found then return found end
  if SPOKEN[kind.id] or kind.crd then return nil, "field label not supported: " .. path end
  return nil, ('%s is not a known field selector: only "metadata.name", "metadata.namespace"'):format(checks.quote(path))
end

-- { get=, value=, negated=, path= } for each term | nil, text. No text: nil (everything).
function M.fields(kind, text)
  if text == nil or text == "" then return nil end
  local list = {}
  for _, term in ipairs(terms_of(text)) do
    if term ~= "" then
      local path, sign, escaped = term:match("^(.-)(!=)(.*)$")
      local other, equal, rest = term:match("^(.-)(==?)(.*)$")
      if other and (not path or #other < #path) then path, sign, escaped = other, equal, rest end
      if not path then return nil, ("invalid selector: '%s'; can't understand '%s'"):format(text, term) end
      local value, why = unescape(escaped)
      if not value then return nil, why end
      if path ~= "" or value ~= "" then
        local get
        get, why = getter(kind, path)
        if not get then return nil, why end
        list[#list + 1] = { path = path, get = get, value = value, negated = sign == "!=" }
      end
    end
  end
  return list[1] and list or nil
end

function M.fields_hold(terms, object)
  for _, one in ipairs(terms) do
    local value = one.get(object)
    if value == nil then value = "" end
    if (tostring(value) == one.value) == one.negated then return false end
  end
  return true
end

return M
