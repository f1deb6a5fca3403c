-- OpenAPI v3: one document for each group and version, made of the v2 definitions and paths.
-- https://kubernetes.io/docs/concepts/overview/kubernetes-api/#openapi-v3
--
-- A 1.20 server has none; kubectl of today asks for it first, and then `explain` prints in its new style. The texts are those of
-- the v2 document; what changes is where things lie: components/schemas, request bodies, contents by media type, and
-- references, which may have no neighbours ("allOf" keeps a description beside one).

local custom = require "sandbox.openapi.custom"
local document = require "sandbox.schema.document"

local M = {}

local array = json.array
local FROM, TO = "^#/definitions/", "#/components/schemas/"

local function convert(value)
  if type(value) ~= "table" then return value end
  if json.is_array(value) then
    local list = array {}
    for i, inner in ipairs(value) do list[i] = convert(inner) end
    return list
  end
  local new, reference = {}, value["$ref"]
  if type(reference) == "string" and reference:find(FROM) then
    local target = { ["$ref"] = reference:gsub(FROM, TO) }
    if next(value, next(value)) == nil then return target end
    new.allOf = array { target }
  end
  for key, inner in pairs(value) do
    if key ~= "$ref" or not new.allOf then new[key] = convert(inner) end
  end
  return new
end

-- Adds the names of the definitions that a value names, and of those that they name.
local function reach(value, found, definition)
  if type(value) ~= "table" then return end
  local reference = value["$ref"]
  local name = type(reference) == "string" and reference:match(FROM .. "(.+)$")
  if name and found[name] == nil then
    found[name] = definition(name) or false
    reach(found[name] or nil, found, definition)
  end
  for _, inner in pairs(value) do reach(inner, found, definition) end
end

local function parameter(value)
  return { name = value.name, ["in"] = value["in"], description = value.description, required = value.required,
    schema = { type = value.type, format = value.format, uniqueItems = value.uniqueItems } }
end

local function contents(types, schema)
  local map = {}
  for _, name in ipairs(types or {}) do map[name] = { schema = convert(schema) } end
  return map
end

local function operation(value)
  local new = { tags = value.tags, description = value.description, operationId = value.operationId, responses = {} }
  for key, inner in pairs(value) do
    if key:sub(1, 2) == "x-" then new[key] = inner end
  end
  for _, one in ipairs(value.parameters or {}) do
    if one["in"] == "body" then
      new.requestBody = { required = one.required, content = contents(value.consumes, one.schema) }
    else
      new.parameters = new.parameters or array {}
      table.insert(new.parameters, parameter(one))
    end
  end
  for code, response in pairs(value.responses) do
    new.responses[code] = { description = response.description,
      content = response.schema and contents(value.produces, response.schema) or nil }
  end
  return new
end

local METHODS = { get = true, put = true, post = true, delete = true, patch = true, options = true, head = true }

local function path_item(value)
  local new = {}
  for key, inner in pairs(value) do
    if METHODS[key] then new[key] = operation(inner) end
  end
  for _, one in ipairs(value.parameters or {}) do
    new.parameters = new.parameters or array {}
    table.insert(new.parameters, parameter(one))
  end
  return new
end

-- The JSON text of the document of a group and version ("apis/apps/v1"); kinds: its custom kinds. nil: no such path.
function M.document(place, kinds)
  local prefix, paths, found, own = "/" .. place .. "/", {}, {}, {}
  for _, kind in ipairs(kinds) do
    custom.definitions(kind, own, true)
    custom.paths(kind, paths)
  end
  for _, path in ipairs(document.paths()) do
    if path:sub(1, #prefix) == prefix then paths[path] = assert(json.decode(document.path_text(path))) end
  end
  if next(paths) == nil then return nil end
  local function definition(name) return own[name] or document.definition(name) end
  for _, value in pairs(paths) do reach(value, found, definition) end
  local schemas = {}
  for name, value in pairs(found) do schemas[name] = value and convert(value) or nil end
  local items = {}
  for path, value in pairs(paths) do items[path] = path_item(value) end
  return json.encode { openapi = "3.0.0", info = { title = "Kubernetes", version = "v1.20.2" }, paths = items,
    components = { schemas = schemas } }
end

return M
