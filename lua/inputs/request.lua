-- What is asked of an HTTP source about an object: a declaration's templates filled with fields of the object.
--
-- The fields are written by whoever may write the object, so nothing in them may change where a request goes or what it
-- means: in a URL they are escaped byte by byte and never are "." or "..", in a body they are values of JSON strings, and no
-- template reaches the host of the URL or a header. What fills no template (it is absent, or no text) asks nothing.
-- Templates are {spec.x.y} and {metadata.name}: other braces, of a GraphQL query for instance, are what they are.

local M = {}

local FIELD_MAX = 512

-- The value at a dotted path; * is the first element ("spec.predictors.*.instanceType"), as in a cache's index.
local function at(object, path)
  local value = object
  for step in path:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[step == "*" and 1 or step]
  end
  return value
end
M.at = at

local function text_of(value)
  if math.type(value) == "integer" then value = tostring(value) end
  if type(value) ~= "string" or value == "" or #value > FIELD_MAX or value:find("%c") then return nil end
  return value
end

local function escaped(value)
  if value:find("^%.+$") then return nil end -- a server might take it for a step of its path
  return (value:gsub("[^%w_.~-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

local FIELD = "{([sm][%w]+%.[%w_.*]+)}"

local function is_field(path)
  return path:find("^spec%.") ~= nil or path:find("^metadata%.") ~= nil
end

-- Fill `template`; nil if a field has no value that can be asked for.
local function filled(template, object, change)
  local complete = true
  local text = template:gsub(FIELD, function(path)
    if not is_field(path) then return nil end
    local value = text_of(at(object, path))
    value = value and change(value)
    if not value then complete = false end
    return value or ""
  end)
  return complete and text or nil
end

local function as_it_is(value) return value end

-- A copy of a body with every text filled; nil if one could not be.
local function filled_body(body, object)
  if type(body) == "string" then return filled(body, object, as_it_is) end
  if type(body) ~= "table" then return body end
  local copy = {}
  for key, value in pairs(body) do
    value = filled_body(value, object)
    if value == nil then return nil end
    copy[key] = value
  end
  return json.is_array(body) and json.array(copy) or copy
end

-- The paths that the templates of a declaration ask for.
function M.fields(http)
  local found = {}
  local function look(value)
    if type(value) == "string" then
      for path in value:gmatch(FIELD) do
        if is_field(path) then found[#found + 1] = path end
      end
    elseif type(value) == "table" then
      for _, inner in pairs(value) do look(inner) end
    end
  end
  look(http.url)
  look(http.body)
  return found
end

-- The request about `object` ({} where nothing is asked of one): {id, url, body}; nil if the object names nothing to ask for.
-- http: the declaration's (contract.lua has checked it); endpoint: of its server, or nil.
function M.about(http, endpoint, object)
  local begin, rest = "", http.url or "{endpoint}"
  if rest:find("^{endpoint}") then begin, rest = endpoint, rest:sub(#"{endpoint}" + 1) end
  rest = filled(rest, object, escaped)
  if not rest then return nil end
  local request = { url = begin .. rest }
  if http.body ~= nil then
    local body = filled_body(http.body, object)
    if body == nil then return nil end
    request.body = type(body) == "table" and json.encode(body) or body
  end
  request.id = request.url .. "\n" .. (request.body or "")
  return request
end

return M
