-- OpenAPI: the documents that kubectl explain, apply --validate and patches read, and how clients keep them.
-- That openapi.json is what a real server says is asked by spec/sandbox/openapi --check.

local apart = require "include" "spec/sandbox/apart.lua"
local document = require "sandbox.schema.document"
local gnostic = require "sandbox.openapi.gnostic"

local CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
local PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
local A = json.array

local SCHEMA = [[
type: object
description: A foo.
properties:
  spec:
    type: object
    required: [replicas, maybe]
    properties:
      replicas: {type: integer, minimum: 0, description: How many}
      any: {x-kubernetes-preserve-unknown-fields: true, type: object, properties: {a: {type: string}}}
      port: {x-kubernetes-int-or-string: true, type: string}
      maybe: {type: string, nullable: true, default: x, pattern: "^x"}
      list: {type: array, items: {type: string}, x-kubernetes-list-type: set}
      either: {type: object, oneOf: [{required: [a]}], properties: {a: {type: string}}}
]]

local server

before_each(function()
  server = apart.new()
  server:ask("POST", CRDS, { apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition", metadata = { name = "foos.ex.io" },
    spec = { group = "ex.io", scope = "Namespaced", names = { plural = "foos", kind = "Foo" }, versions = A { { name = "v1", served = true,
      storage = true, subresources = { status = {} }, schema = { openAPIV3Schema = yaml.decode(SCHEMA, "schema")[1] } } } } })
end)

-- Protobuf, as far as these tests need it: { field, value } pairs; value is a number or bytes.
local function fields(bytes)
  local list, at = {}, 1
  local function varint()
    local value, shift = 0, 0
    while true do
      local byte = bytes:byte(at)
      at = at + 1
      value = value | (byte & 127) << shift
      if byte < 128 then return value end
      shift = shift + 7
    end
  end
  while at <= #bytes do
    local key = varint()
    local wire = key & 7
    if wire == 0 then
      list[#list + 1] = { key >> 3, varint() }
    elseif wire == 1 then
      list[#list + 1] = { key >> 3, (("<d"):unpack(bytes, at)) }
      at = at + 8
    else
      assert.equal(2, wire)
      local size = varint()
      list[#list + 1] = { key >> 3, bytes:sub(at, at + size - 1) }
      at = at + size
    end
  end
  assert.equal(#bytes + 1, at)
  return list
end

local function field(bytes, ...)
  for _, wanted in ipairs { ... } do
    local found
    for _, one in ipairs(fields(bytes)) do
      if one[1] == wanted and not found then found = one[2] end
    end
    if found == nil then return nil end
    bytes = found
  end
  return bytes
end

describe("the OpenAPI v2 document", function()
  it("has the built-in kinds word for word, and custom ones", function()
    local status, value = server:ask("GET", "/openapi/v2")
    assert.equal(200, status)
    assert.equal("2.0", value.swagger)
    assert.equal("v1.20.2", value.info.version)
    assert.equal("Deployment enables declarative updates for Pods and ReplicaSets.",
      value.definitions["io.k8s.api.apps.v1.Deployment"].description)
    assert.equal(nil, value.columns)
    assert.truthy(value.paths["/api/v1/namespaces/{namespace}/pods"])
    assert.equal("patchExIoV1NamespacedFoo", value.paths["/apis/ex.io/v1/namespaces/{namespace}/foos/{name}"].patch.operationId)
    assert.truthy(value.paths["/apis/ex.io/v1/namespaces/{namespace}/foos/{name}/status"])
    assert.truthy(value.paths["/apis/ex.io/v1/foos"])
    assert.equal(nil, value.paths["/apis/ex.io/v1/namespaces/{namespace}/foos/{name}/scale"])
  end)

  it("publishes of a custom schema what kubectl can read", function()
    local _, value = server:ask("GET", "/openapi/v2")
    local foo = value.definitions["io.ex.v1.Foo"]
    assert.same(A { { group = "ex.io", kind = "Foo", version = "v1" } }, foo["x-kubernetes-group-version-kind"])
    assert.equal("#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", foo.properties.metadata["$ref"])
    assert.same({ type = "object", required = A { "replicas" }, properties = {
      replicas = { type = "integer", minimum = 0, description = "How many" }, any = { ["x-kubernetes-preserve-unknown-fields"] = true },
      port = { ["x-kubernetes-int-or-string"] = true }, maybe = { pattern = "^x" },
      list = { type = "array", items = { type = "string" }, ["x-kubernetes-list-type"] = "set" },
      either = { type = "object", properties = { a = { type = "string" } } },
    } }, foo.properties.spec)
  end)

  it("loses a kind with its definition", function()
    server:ask("DELETE", CRDS .. "/foos.ex.io")
    local _, value = server:ask("GET", "/openapi/v2")
    assert.equal(nil, value.definitions["io.ex.v1.Foo"])
  end)

  it("comes as protobuf for those who ask for it", function()
    local _, _, answer = server:ask("GET", "/openapi/v2", nil, { accept = PROTOBUF })
    assert.equal("application/octet-stream", answer.content_type)
    assert.equal("2.0", field(answer.body, 1))
    assert.equal("v1.20.2", field(answer.body, 2, 2))
    local names = {}
    for _, one in ipairs(fields(field(answer.body, 9))) do names[field(one[2], 1)] = field(one[2], 2) end
    assert.equal(document.definition("io.k8s.api.core.v1.Pod").description, field(names["io.k8s.api.core.v1.Pod"], 4))
    assert.equal("A foo.", field(names["io.ex.v1.Foo"], 4))
    local paths = 0
    for _, one in ipairs(fields(field(answer.body, 8))) do paths = paths + (one[1] == 2 and 1 or 0) end
    assert.equal(#document.paths() + 4, paths)
  end)

  it("is sent again only when it is another", function()
    local function again(accept, tag)
      local function header(name) return name == "if-none-match" and tag or nil end
      return (server:ask("GET", "/openapi/v2", nil, { accept = accept, header = header }))
    end
    local tags = {}
    for _, accept in ipairs { "application/json", PROTOBUF } do
      local _, _, answer = server:ask("GET", "/openapi/v2", nil, { accept = accept })
      tags[accept] = answer.headers.ETag
      assert.matches('^"%x+"$', tags[accept])
      assert.equal(304, again(accept, tags[accept]))
    end
    server:ask("DELETE", CRDS .. "/foos.ex.io")
    for accept, tag in pairs(tags) do assert.equal(200, again(accept, tag)) end
  end)

  it("is not acceptable in other forms, and only read", function()
    assert.equal(406, (server:ask("GET", "/openapi/v2", nil, { accept = "text/html" })))
    assert.equal(405, (server:ask("POST", "/openapi/v2", "{}")))
  end)
end)

describe("a schema in protobuf", function()
  it("has each keyword under its number", function()
    local bytes = gnostic.definition("x", { type = "integer", format = "int32", description = "D", minimum = -1.5, exclusiveMinimum = true,
      maxLength = 300, required = A { "a", "b" }, enum = A { 1 }, ["x-a"] = A { { b = "c" } }, additionalProperties = false,
      items = { ["$ref"] = "#/definitions/y" }, properties = { p = { type = "string" } } })
    local schema = field(bytes, 1, 2)
    assert.same({ "int32", "D", -1.5, 1, 300, "a", "integer", 0, "#/definitions/y", "p" },
      { field(schema, 2), field(schema, 4), field(schema, 9), field(schema, 10), field(schema, 12 - 1), field(schema, 19),
        field(schema, 22, 1), field(schema, 21, 2), field(schema, 23, 1, 1), field(schema, 25, 1, 1) })
    assert.equal("1\n", field(schema, 20, 2))
    assert.equal("x-a", field(schema, 31, 1))
    assert.equal("- b: c\n", field(schema, 31, 2, 2))
  end)
end)

describe("the OpenAPI v3 documents", function()
  it("are listed with the hash under which they are kept", function()
    local _, value = server:ask("GET", "/openapi/v3")
    local address = value.paths["apis/ex.io/v1"].serverRelativeURL
    assert.matches("^/openapi/v3/apis/ex.io/v1%?hash=%x+$", address)
    local status, _, answer = server:ask("GET", address)
    assert.equal(200, status)
    assert.equal("public, immutable", answer.headers["Cache-Control"])
    status, _, answer = server:ask("GET", "/openapi/v3/apis/ex.io/v1?hash=0")
    assert.equal(301, status)
    assert.equal(address, answer.headers.Location)
  end)

  it("change their hash with what they say, and only then", function()
    local _, before = server:ask("GET", "/openapi/v3")
    server:ask("PATCH", CRDS .. "/foos.ex.io",
      '[{"op":"add","path":"/spec/versions/0/schema/openAPIV3Schema/properties/x","value":{"type":"string"}}]',
      { content_type = "application/json-patch+json" })
    local _, after = server:ask("GET", "/openapi/v3")
    assert.truthy(before.paths["apis/ex.io/v1"].serverRelativeURL ~= after.paths["apis/ex.io/v1"].serverRelativeURL)
    assert.equal(before.paths["apis/apps/v1"].serverRelativeURL, after.paths["apis/apps/v1"].serverRelativeURL)
  end)

  it("have all that they name, and references without neighbours", function()
    for _, place in ipairs { "api/v1", "apis/apps/v1", "apis/ex.io/v1", "apis/apiextensions.k8s.io/v1" } do
      local _, value = server:ask("GET", "/openapi/v3/" .. place)
      local schemas, named = value.components.schemas, 0
      local function walk(one)
        if type(one) ~= "table" then return end
        local name = type(one["$ref"]) == "string" and one["$ref"]:match("^#/components/schemas/(.+)$")
        if name then
          named = named + 1
          assert.truthy(schemas[name], name)
          assert.equal(nil, next(one, next(one)), "a reference has a neighbour")
        end
        for _, inner in pairs(one) do walk(inner) end
      end
      walk(value)
      assert.truthy(named > 10, place)
    end
  end)

  it("have the whole schema of a custom kind, and how it is patched", function()
    local _, value = server:ask("GET", "/openapi/v3/apis/ex.io/v1")
    local spec = value.components.schemas["io.ex.v1.Foo"].properties.spec
    assert.equal("x", spec.properties.maybe.default)
    assert.equal(true, spec.properties.maybe.nullable)
    local patch = value.paths["/apis/ex.io/v1/namespaces/{namespace}/foos/{name}"].patch
    assert.truthy(patch.requestBody.content["application/merge-patch+json"])
    assert.equal("Foo", patch["x-kubernetes-group-version-kind"].kind)
    assert.same({ "query", "string" }, { patch.parameters[1]["in"], patch.parameters[1].schema.type })
  end)

  it("of groups that are not there do not exist", function()
    assert.equal(404, (server:ask("GET", "/openapi/v3/apis/nope/v1")))
  end)
end)
