-- Questions about schemas and definitions, put to a server: what does it take, what does it make of it, what does it refuse?
--
-- The same questions go to a real server (spec/sandbox/facts/record, whose answers are answers.json) and to the sandbox
-- (schema_spec.lua, crd_spec.lua). All writes are dry runs, so that one question does not bear on the next.
--
-- ask(method, path, body as JSON text) -> status, decoded answer. Each answer becomes { status, what }: what was made of it, or
-- the reason and the causes, sorted (a real server gives causes in the random order of Go's maps).

local M = {}

local FOLDER = "spec/sandbox/facts/"
local CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
local OBJECTS = "/apis/ex.io/v1/namespaces/default/ts"

-- { { schema, { value, ... } }, ... } of values.txt
local function values()
  local list = {}
  for line in assert(fs.read(FOLDER .. "values.txt")):gmatch("[^\n]+") do
    if line:find("^%s") then
      table.insert(list[#list][2], line:match("^%s*(.*)$"))
    elseif not line:find("^#") then
      list[#list + 1] = { line, {} }
    end
  end
  return list
end

local function schemas()
  local list = {}
  for line in assert(fs.read(FOLDER .. "schemas.txt")):gmatch("[^\n]+") do
    if not line:find("^#") then list[#list + 1] = line end
  end
  return list
end

local function of_yaml(text) return assert(yaml.decode(text, "facts"))[1] end

local function definition(plural, kind, schema)
  return { apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition", metadata = { name = plural .. ".ex.io" },
    spec = { group = "ex.io", scope = "Namespaced", names = { plural = plural, kind = kind },
      versions = json.array { { name = "v1", served = true, storage = true, schema = { openAPIV3Schema = schema } } } } }
end

-- What a real server says of where in the text it was is not compared.
local function message_of(answer)
  return (tostring(answer.message):gsub(", error found in #.*$", ""))
end

local function answer_of(status, answer)
  if status == 201 then return { status, { spec = answer.spec or json.null, status = answer.status or json.null } } end
  local causes = json.array {}
  for i, cause in ipairs(type(answer) == "table" and answer.details and answer.details.causes or {}) do
    causes[i] = cause.field .. ": " .. cause.message
  end
  table.sort(causes)
  if #causes > 0 then return { status, { reason = answer.reason, causes = causes } } end
  return { status, type(answer) == "table" and { reason = answer.reason, message = message_of(answer) } or tostring(answer) }
end

local function normal(value)
  if type(value) ~= "table" then return value end
  return json.decode(json.encode(value))
end

-- Values in the definition "ts" of all properties of values.txt. wait() is called until it is served.
function M.values(ask, wait)
  local properties, facts = {}, {}
  for _, one in ipairs(values()) do
    for name, schema in pairs(of_yaml(one[1])) do properties[name] = schema end
  end
  local schema = { type = "object", properties = { spec = { type = "object", properties = properties },
    status = { type = "object", properties = { n = { type = "integer" } } } } }
  local one = definition("ts", "T", schema)
  one.spec.versions[1].subresources = { status = {}, scale = { specReplicasPath = ".spec.int", statusReplicasPath = ".status.n" } }
  local status, answer = ask("POST", CRDS, json.encode(one))
  if status ~= 201 then error("the definition was refused: " .. json.encode(answer)) end
  for _ = 1, 100 do
    if ask("GET", OBJECTS) == 200 then break end
    wait()
  end
  local function put(label, body) facts[label] = normal(answer_of(ask("POST", OBJECTS .. "?dryRun=All", body))) end
  for _, case in ipairs(values()) do
    local name = case[1]:match("^([^:]+)")
    for _, value in ipairs(case[2]) do
      put(case[1] .. " <- " .. value, ('{"apiVersion":"ex.io/v1","kind":"T","metadata":{"name":"x"},"spec":{"%s":%s}}'):format(name, value))
    end
  end
  local head = '{"apiVersion":"ex.io/v1","kind":"T","metadata":{"name":"x"}'
  put("no spec", head .. "}")
  put("spec null, status given", head .. ',"spec":null,"status":{"n":1}}')
  put("spec a list", head .. ',"spec":[],"zz":1}')
  put("spec a text", head .. ',"spec":"x"}')
  put("three mistakes", head .. ',"spec":{"min":-1,"max":20,"int":"x"}}')
  put("bad metadata and spec", '{"apiVersion":"ex.io/v1","kind":"T","metadata":{"name":"X_y","labels":{"a b":"c"}},"spec":{"min":-1}}')
  put("no name", '{"apiVersion":"ex.io/v1","kind":"T","spec":{}}')
  put("labels a text", '{"apiVersion":"ex.io/v1","kind":"T","metadata":{"name":"x","labels":"x"}}')
  put("name a number", '{"apiVersion":"ex.io/v1","kind":"T","metadata":{"name":1}}')
  put("metadata a text", '{"apiVersion":"ex.io/v1","kind":"T","metadata":"x"}')
  put("another version", '{"apiVersion":"ex.io/v2","kind":"T","metadata":{"name":"x"}}')
  put("another kind", '{"apiVersion":"ex.io/v1","kind":"Tx","metadata":{"name":"x"}}')
  put("a negative scale", head .. ',"spec":{"int":-1}}')
  return facts
end

-- ---- zeros: what Go's types keep of an object whose every field is "", 0, false, [] or {}

local function zero(node, seen)
  if node.int_or_string then return 0 end
  if node.type == "string" then
    if node.format == "quantity" then return "0" end
    if node.format and node.format:find("^date") then return nil end
    return ""
  end
  if node.type == "integer" or node.type == "number" then return 0 end
  if node.type == "boolean" then return false end
  if node.type == "array" then
    local item = zero(node.items, seen)
    if type(item) == "table" and node.merge_key then
      item[node.merge_key] = node.items.properties[node.merge_key].type == "integer" and 1 or "n" -- kubectl wants some
    end
    return json.array { item == "" and "n" or item }
  end
  local object = {}
  if node.properties then
    if seen[node.name] then return object end
    seen[node.name] = true
    for name, child in pairs(node.properties) do object[name] = zero(child, seen) end
    seen[node.name] = nil
  elseif node.additional then
    object.k = zero(node.additional, seen)
  end
  return object
end

M.ZEROS = { { "", "v1", "Pod" }, { "apps", "v1", "Deployment" }, { "apps", "v1", "ReplicaSet" } }

-- Such an object of a built-in kind.
function M.zeros(group, version, kind)
  local object = zero(require("sandbox.schema.builtin").node(group, version, kind), {})
  object.apiVersion, object.kind = (group == "" and "" or group .. "/") .. version, kind
  object.metadata.name, object.metadata.namespace, object.metadata.managedFields = "x", nil, nil
  return object
end

-- The same without the containers' env, which the question needed, and sorted.
function M.without_env(object)
  local new = json.decode(json.encode(object))
  local spec = new.spec.template and new.spec.template.spec or new.spec
  for _, container in ipairs(spec.containers) do container.env = nil end
  return new
end

-- Definitions: all of definitions.lua, and one for each line of schemas.txt.
function M.definitions(ask)
  local facts = {}
  local function put(label, body) facts[label] = normal(answer_of(ask("POST", CRDS .. "?dryRun=All", json.encode(body)))) end
  for _, one in ipairs(require "include" (FOLDER .. "definitions.lua")) do
    local object = definition("foos", "Foo", of_yaml "{type: object, properties: {spec: {type: object}}}")
    one[2](object, object.spec, object.spec.versions[1])
    put("definition: " .. one[1], object)
  end
  for _, line in ipairs(schemas()) do
    local root = line:match("^root (.*)$")
    local schema = of_yaml(root or ("{type: object, properties: {spec: {type: object, properties: {x: %s}}}}"):format(line))
    put("schema: " .. line, definition("foos", "Foo", schema))
  end
  return facts
end

return M
