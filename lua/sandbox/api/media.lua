-- Media types: what a client sends, and what it wants to have.
--
-- Bodies are JSON, YAML or (built-in kinds) protobuf, as the client says; patches have their own types. Answers are JSON (compact),
-- YAML, and for reads "as=Table" or "as=PartialObjectMetadata", never protobuf: clients that prefer it name JSON too.
-- (https://kubernetes.io/docs/reference/using-api/api-concepts/#alternate-representations-of-resources)

local errors = require "sandbox.errors"
local go_text = require "sandbox.go_text"
local json_text = require "sandbox.api.json_text"
local text_of_kind = require("sandbox.schema.decode").text

local M = {}

-- The server's own limit for a request's body.
local BODY_MOST = 3 * 1024 * 1024
local OPERATIONS_MOST = 10000
-- How much of a body a message shows.
local SHOWN_MOST = 30
local PROTOBUF = "application/vnd.kubernetes.protobuf"
local ACCEPTED = { "application/json", "application/yaml", PROTOBUF }

-- "application/json;as=Table;v=v1" -> "application/json", { as = "Table", v = "v1" }
local function parse(text)
  local name, rest = text:match("^%s*([^;%s]*)%s*(.*)$")
  local parameters = {}
  for key, value in rest:gmatch(";%s*([^=;%s]+)%s*=%s*\"?([^;\"]*)\"?") do parameters[key:lower()] = value end
  return name:lower(), parameters
end

-- Is what follows the name of a type as RFC 2045 (5.1) has it: ; name=value ...? A semicolon at the end is forgiven, as Go does.
local function is_wellformed(text)
  local rest = text:match("^%s*[^;]*(.*)$")
  while rest ~= "" and not rest:find("^;%s*$") do
    rest = rest:match('^;%s*[^%s;=",]+="[^"]*"%s*(.*)$') or rest:match('^;%s*[^%s;=",]+=[^%s;=",]+%s*(.*)$')
    if not rest then return false end
  end
  return true
end

-- The type of a body ("" is JSON) | nil, failure: none that is read here.
local function body_type(content_type)
  if content_type == "application/json" then return content_type end
  local name = parse(content_type)
  if name == "" then return "application/json" end
  if is_wellformed(content_type) and (name == "application/json" or name == "application/yaml" or name == PROTOBUF) then return name end
  return nil, errors.unsupported_media(ACCEPTED)
end

-- How to answer: { format = "json"|"yaml", as = nil|"Table"|"PartialObjectMetadata"|"PartialObjectMetadataList", version = "v1"|"v1beta1" } | nil, failure.
-- can: the set of `as` that this answer may have.
local function choose(accept, can)
  local is_known = false
  for clause in (accept .. ","):gmatch("([^,]*),") do
    local name, parameters = parse(clause)
    local format = (name == "application/json" or name == "*/*" or name == "") and "json"
      or name == "application/yaml" and "yaml"
    if name == PROTOBUF then is_known = true end
    if format then
      is_known = true
      local as, version = parameters.as, parameters.v
      if not as then return { format = format } end
      local is_partial = as == "PartialObjectMetadata" or as == "PartialObjectMetadataList"
      if (as == "Table" and can.table or is_partial and can.partial) and parameters.g == "meta.k8s.io"
        and (version == "v1" or version == "v1beta1") then
        return { format = format, as = as, version = version }
      end
    end
  end
  -- The router knows no such type; or it does, but the answer cannot be had in it.
  if not is_known then return nil, errors.failure(406, "NotAcceptable", "406: Not Acceptable", {}) end
  return nil, errors.not_acceptable(ACCEPTED)
end

local JSON = { format = "json" }
local known, known_count = {}, 0

-- Accept headers repeat: what was chosen is kept.
function M.wanted(accept, can)
  if accept == nil or accept == "" or accept == "application/json" or accept == "*/*" then return JSON end
  local key = accept .. (can.table and "t" or "") .. (can.partial and "p" or "")
  local found = known[key]
  if found then return found end
  local failure
  found, failure = choose(accept, can)
  if not found then return nil, failure end
  if known_count > 100 then known, known_count = {}, 0 end
  known[key], known_count = found, known_count + 1
  return found
end

local TYPE_META = 'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'

local function go_type(value)
  if json.is_array(value) then return "array" end
  return type(value) == "boolean" and "bool" or type(value)
end

-- The beginning of a body, for a message: text if it may be an object, else hexadecimal.
local function summary(body, kind)
  if body == "" then return "<empty>" end
  if kind.id == "secrets" then return "<hidden>" end
  local start, rest = body:sub(1, SHOWN_MOST), #body > SHOWN_MOST and " ..." or ""
  if start:sub(1, 1) ~= "{" then start = start:gsub("[%z\1-\255]", function(char) return ("%02x"):format(char:byte()) end) end
  return start .. rest
end

-- Decode text as JSON or YAML. -> value | nil, text. Only the first document of YAML counts.
local function decode(body, content_type)
  if content_type == "application/yaml" then
    local documents, why = yaml.decode(body, "body")
    if not documents then return nil, "yaml: " .. why end
    if documents[1] == nil then return json.null end -- nothing, or comments only: that is YAML's null
    return documents[1]
  end
  local value = json_text.decode(body)
  if value == nil then return nil, "couldn't get version/kind; json parse error: " .. json_text.trouble(body) end
  return value
end

-- A body in protobuf. -> table | nil, failure
local function from_protobuf(name, body)
  local value, why = require("sandbox.api.protobuf").decode(body, name)
  if value then return value end
  if why then return nil, errors.bad_request(why) end
  return nil, errors.unsupported_media { "application/json", "application/yaml" }
end

-- Words for a field of the type that is no text, or nil.
local function bad_type(value, name)
  local given = value[name]
  if given == nil or given == json.null or type(given) == "string" then return nil end
  local kind = type(given) == "table" and not json.is_array(given) and "object" or go_type(given)
  return ("%s into Go struct field .%s of type string"):format(kind, name)
end

-- The usual body, read by the schema of its kind at once. -> table, function() -> the same once more | nil: to be read as any other
local function read_typed(kind, body)
  local strategy = kind.strategy
  if not kind.schema or kind.crd or strategy and strategy.decode then return nil end
  local function read() return text_of_kind(kind.schema, body) end
  return read(), read
end

-- The object of a POST or PUT. can_be_typed: who asks can do with one that is decoded by its kind's schema already; it gets a function
-- behind it that reads it afresh. -> table, nil, function | table | nil, failure
function M.object(kind, request, can_be_typed)
  local body = request.body or ""
  local content_type, refused = body_type(request.content_type or "")
  if #body > BODY_MOST then return nil, errors.too_large() end
  if can_be_typed and content_type == "application/json" then
    local object, read = read_typed(kind, body)
    if object then return object, nil, read end
  end
  if content_type == PROTOBUF and not kind.crd then return from_protobuf(kind.kind, body) end
  if not content_type or content_type == PROTOBUF then return nil, refused or errors.unsupported_media(ACCEPTED) end
  local value, why = decode(body, content_type)
  if value == nil then
    return nil, errors.bad_request(("the object provided is unrecognized (must be of type %s): %s (%s)")
      :format(kind.kind, why, summary(body, kind)))
  end
  if value == json.null then return {} end
  local misfit = type(value) == "table" and (bad_type(value, "apiVersion") or bad_type(value, "kind"))
  if misfit then
    return nil, errors.bad_request(("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse "
      .. "error: json: cannot unmarshal %s (%s)"):format(kind.kind, misfit, summary(body, kind)))
  end
  if type(value) ~= "table" or json.is_array(value) then
    return nil, errors.bad_request(("the object provided is unrecognized (must be of type %s): couldn't get version/kind; json parse "
      .. "error: json: cannot unmarshal %s into Go value of type %s (%s)"):format(kind.kind, go_type(value), TYPE_META,
      summary(body, kind)))
  end
  return value
end

-- A body as its type { group, version, kind } has it. -> table | nil, text
function M.typed(type_of, value)
  local node = type_of and require("sandbox.schema.builtin").node(table.unpack(type_of))
  if not node then return value end
  local clean, why = require("sandbox.schema.decode").check(node, value)
  if not clean then
    return nil, ('%s in version "%s" cannot be handled as a %s: %s'):format(type_of[3], type_of[2], type_of[3], why)
  end
  return clean
end

-- DeleteOptions in a body: a table, or nil when there is none. -> table|nil, failure
function M.delete_options(request)
  local body = request.body or ""
  if body == "" then return nil end
  if #body > BODY_MOST then return nil, errors.too_large() end
  local content_type, refused = body_type(request.content_type or "")
  if not content_type then return nil, refused end
  if content_type == PROTOBUF then
    local options, failure = from_protobuf("DeleteOptions", body)
    if failure and failure.code == 400 then failure = errors.failure(500, nil, failure.message) end
    return options, failure
  end
  local value, why = decode(body, content_type)
  if value == nil then return nil, errors.failure(500, nil, why) end
  if value == json.null then return {} end -- a body all the same: the query is not looked at
  if type(value) ~= "table" or json.is_array(value) then
    return nil, errors.failure(500, nil, "couldn't get version/kind; json parse error: json: cannot unmarshal " .. go_type(value)
      .. " into Go value of type " .. TYPE_META)
  end
  if value.kind ~= nil and value.kind ~= "" and value.kind ~= "DeleteOptions" then
    return nil, errors.failure(500, nil, ('no kind %q is registered for version %q in scheme '
      .. '"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"')
      :format(tostring(value.kind), value.apiVersion and tostring(value.apiVersion) or "meta.k8s.io/v1"))
  end
  local clean
  clean, why = require("sandbox.schema.decode").check(require("sandbox.schema.builtin").node("", "v1", "DeleteOptions"), value)
  if not clean then return nil, errors.failure(500, nil, why) end
  return clean
end

local PATCHES = { ["application/json-patch+json"] = "json", ["application/merge-patch+json"] = "merge",
  ["application/strategic-merge-patch+json"] = "strategic", ["application/apply-patch+yaml"] = "apply" }

-- The type of a patch. -> "json"|"merge"|"strategic"|"apply" | nil, failure
function M.patch_type(kind, request)
  local name = parse(request.content_type or "")
  local found = PATCHES[name]
  if kind.crd and (not found or found == "strategic") then
    return nil, errors.unsupported_media { "application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml" }
  end
  if found then return found end
  -- The router does not look at the type of nothing, and has no other word then.
  if (request.body or "") == "" then return nil, errors.failure(406, "NotAcceptable", "406: Not Acceptable", {}) end
  return nil, errors.failure(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
end

local function not_a_map(value)
  return ("json: cannot unmarshal %s into Go value of type map[string]interface {}"):format(go_type(value))
end

local READERS = {
  json = function(body)
    local value = json_text.decode(body)
    if value == nil then return nil, errors.bad_request(json_text.trouble(body)) end
    if value == json.null then return json.array {} end
    if not json.is_array(value) then
      return nil, errors.bad_request(("json: cannot unmarshal %s into Go value of type jsonpatch.Patch")
        :format(type(value) == "table" and "object" or go_type(value)))
    end
    for _, one in ipairs(value) do
      if one ~= json.null and (type(one) ~= "table" or json.is_array(one)) then
        return nil, errors.bad_request(("json: cannot unmarshal %s into Go value of type jsonpatch.Operation"):format(go_type(one)))
      end
    end
    if #value > OPERATIONS_MOST then
      return nil, errors.too_large(("The allowed maximum operations in a JSON patch is %d, got %d"):format(OPERATIONS_MOST, #value))
    end
    return value
  end,
  merge = function(body)
    local value = json_text.decode(body)
    if type(value) ~= "table" then return nil, errors.failure(500, nil, "Invalid JSON Patch") end
    if json.is_array(value) then
      return nil, errors.invalid({ kind = "", group = "" }, "", { { field = "patch", type = "FieldValueInvalid",
        message = ("Invalid value: %s: couldn't get version/kind; json parse error: json: cannot unmarshal %s into Go value of type %s")
          :format(go_text.quote(body), go_type(value), TYPE_META) } })
    end
    return value
  end,
  strategic = function(body)
    local value = json_text.decode(body)
    if value == nil then
      return nil, errors.bad_request(body:find("^%s*[%[{]") and "unexpected EOF" or json_text.trouble(body))
    end
    if value == json.null then return {} end
    if type(value) ~= "table" or json.is_array(value) then return nil, errors.bad_request(not_a_map(value)) end
    return value
  end,
  apply = function(body)
    local documents, why = yaml.decode(body, "body")
    if not documents then return nil, errors.bad_request("error decoding YAML: " .. why) end
    local value = documents[1]
    if value == nil or value == json.null then return {} end
    if type(value) ~= "table" or json.is_array(value) then
      return nil, errors.bad_request("error decoding YAML: error unmarshaling JSON: while decoding JSON: " .. not_a_map(value))
    end
    return value
  end,
}

-- The decoded patch. -> table | nil, failure
function M.patch(patch_type, request)
  local body = request.body or ""
  if #body > BODY_MOST then return nil, errors.too_large() end
  if patch_type == "apply" and body:find("^%s*{") then -- JSON is YAML, and much faster to read
    local value = json_text.decode(body)
    if value then return value end
  end
  return READERS[patch_type](body)
end

return M
