-- Tables: the columns that kubectl get prints, the cells of custom kinds, and the paths that lead to them. The expected cells
-- of the custom kind are those of a Kubernetes 1.20.2 server for the same definition and object.

local apart = require "include" "spec/sandbox/apart.lua"
local jsonpath = require "sandbox.jsonpath"

local CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
local TABLE = { accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" }
local A = json.array

local server

before_each(function() server = apart.new() end)

local function names(value)
  local list = {}
  for i, column in ipairs(value.columnDefinitions) do list[i] = column.name end
  return table.concat(list, ",")
end

describe("the table of a built-in kind", function()
  it("has the server's columns", function()
    local _, value = server:ask("GET", "/api/v1/namespaces/default/pods", nil, TABLE)
    assert.equal("Table", value.kind)
    assert.equal("Name,Ready,Status,Restarts,Age,IP,Node,Nominated Node,Readiness Gates", names(value))
    assert.equal(1, value.columnDefinitions[6].priority)
    assert.same(A {}, value.rows)
    _, value = server:ask("GET", "/apis/apps/v1/deployments", nil, TABLE)
    assert.equal("Name,Ready,Up-to-date,Available,Age,Containers,Images,Selector", names(value))
  end)

  it("shows as much of the objects as was asked for", function()
    local _, value = server:ask("GET", "/api/v1/namespaces/default", nil, TABLE)
    assert.same({ "default", "Active" }, { value.rows[1].cells[1], value.rows[1].cells[2] })
    assert.equal("PartialObjectMetadata", value.rows[1].object.kind)
    assert.equal("meta.k8s.io/v1", value.rows[1].object.apiVersion)
    _, value = server:ask("GET", "/api/v1/namespaces/default?includeObject=Object", nil, TABLE)
    assert.equal("Active", value.rows[1].object.status.phase)
    _, value = server:ask("GET", "/api/v1/namespaces/default?includeObject=None", nil, TABLE)
    assert.equal(json.null, value.rows[1].object)
    local status, answer = server:ask("GET", "/api/v1/namespaces/default?includeObject=X", nil, TABLE)
    assert.equal(400, status)
    assert.contains("includeObject: Invalid value: \"X\": must be 'Metadata', 'Object', 'None', or empty", answer.message)
  end)

  it("comes in the version that was asked for", function()
    local _, value = server:ask("GET", "/api/v1/namespaces", nil, { accept = "application/json;as=Table;v=v1beta1;g=meta.k8s.io" })
    assert.equal("meta.k8s.io/v1beta1", value.apiVersion)
    assert.equal("meta.k8s.io/v1beta1", value.rows[1].object.apiVersion)
  end)

  it("marks pods that are finished", function()
    server:ask("POST", "/api/v1/namespaces/default/pods", { apiVersion = "v1", kind = "Pod", metadata = { name = "p" },
      spec = { nodeName = "ghost", containers = A { { name = "a", image = "b" } } } })
    server:ask("PATCH", "/api/v1/namespaces/default/pods/p/status", '{"status":{"phase":"Succeeded"}}',
      { content_type = "application/merge-patch+json" })
    local _, value = server:ask("GET", "/api/v1/namespaces/default/pods", nil, TABLE)
    assert.same({ "Completed", "True", "Succeeded" }, { value.rows[1].conditions[1].type, value.rows[1].conditions[1].status,
      value.rows[1].conditions[1].reason })
  end)
end)

-- name, type, path, what a real server shows of the object below
local COLUMNS = {
  { "S", "string", ".spec.s", "str" },
  { "Map", "string", ".spec.m", '{"a":1,"b":["x",2.5]}' },
  { "Arr", "string", ".spec.a", '["p","q","r"]' },
  { "First", "string", ".spec.a[0]", "p" },
  { "Last", "string", ".spec.a[-1]", "r" },
  { "Int", "integer", ".spec.i", 7 },
  { "Cut", "integer", ".spec.f", 2 },
  { "Num", "number", ".spec.f", 2.5 },
  { "Bool", "boolean", ".spec.b", true },
  { "Date", "date", ".spec.d", "5y365d" },
  { "Cond", "string", '.spec.c[?(@.type=="Ready")].status', "True" },
  { "Star", "string", ".spec.c[*].type", "Ready" },
  { "Escaped", "string", ".spec.x\\.y", "dot" },
  { "Quoted", "string", ".spec['x.y']", "dot" },
  { "Null", "string", ".spec.n", "<no value>" },
  { "Float", "string", ".spec.f", "2.5" },
  { "Wrong", "integer", ".spec.s", json.null },
  { "NoDate", "date", ".spec.s", "<invalid>" },
  { "Deep", "string", "..deep", "D" },
  { "More", "string", ".spec.c[?(@.k>1)].type", "Other" },
  { "Slice", "string", ".spec.a[0:2]", "p" },
  { "Mixed", "string", ".spec.c[?(@.k<1.5)].type", json.null },
  { "NumberAsDate", "date", ".spec.i", json.null },
  { "Whole", "string", ".", json.null },
  { "Large", "integer", ".spec.big", math.mininteger },
  { "Absent", "string", ".spec.absent", json.null },
}

local SPEC = [[
s: str
m: {a: 1, b: [x, 2.5]}
a: [p, q, r]
i: 7
f: 2.5
b: true
d: "2020-01-01T00:00:00Z"
c: [{type: Ready, status: "True", k: 1}, {type: Other, status: "False", k: 2}]
x.y: dot
"n": null
z: {deep: D}
big: 12345678901234567890
]]

describe("the table of a custom kind", function()
  local function define(columns)
    local schema = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true }
    server:ask("POST", CRDS, { apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition",
      metadata = { name = "foos.ex.io" }, spec = { group = "ex.io", scope = "Namespaced", names = { plural = "foos", kind = "Foo" },
        versions = A { { name = "v1", served = true, storage = true, additionalPrinterColumns = columns,
          schema = { openAPIV3Schema = schema } } } } })
    local status = server:ask("POST", "/apis/ex.io/v1/namespaces/default/foos", { apiVersion = "ex.io/v1", kind = "Foo",
      metadata = { name = "a" }, spec = yaml.decode(SPEC, "spec")[1] })
    assert.equal(201, status)
    return select(2, server:ask("GET", "/apis/ex.io/v1/namespaces/default/foos", nil, TABLE))
  end

  it("has name and age when the definition names no columns", function()
    local value = define(nil)
    assert.equal("Name,Age", names(value))
    assert.same({ "a", "0s" }, { value.rows[1].cells[1], value.rows[1].cells[2] })
  end)

  it("has the definition's columns and their cells", function()
    local columns = A {}
    for i, one in ipairs(COLUMNS) do columns[i] = { name = one[1], type = one[2], jsonPath = one[3] } end
    local value = define(columns)
    assert.equal("Custom resource definition column (in JSONPath format): .spec.s", value.columnDefinitions[2].description)
    for i, one in ipairs(COLUMNS) do
      local wanted, got = one[4], value.rows[1].cells[i + 1]
      if one[2] == "date" and type(wanted) == "string" and wanted ~= "<invalid>" then
        assert.matches("^%dy%d*d?$", got, one[1])
      else
        assert.equal(wanted, got, one[1])
      end
    end
  end)
end)

describe("a JSONPath", function()
  local value = assert(json.decode '{"a":{"b":[{"n":1,"t":"x"},{"n":2,"t":"y"},{"n":3}]},"c":"text"}')
  local function find(path)
    return json.encode(json.array(jsonpath.find(assert(jsonpath.compile(path)), value)))
  end

  it("leads to what it names", function()
    for path, wanted in pairs { [".a.b[1].n"] = "[2]", [".a.b[*].n"] = "[1,2,3]", [".a.b[-1].n"] = "[3]", [".a.b[0,2].n"] = "[1,3]",
      [".a.b[1:].n"] = "[2,3]", [".a.b[0:3:2].n"] = "[1,3]", ["..t"] = '["x","y"]', [".a.b[?(@.t=='y')].n"] = "[2]",
      [".a.b[?(@.t)].n"] = "[1,2]", [".a.b[?(@.n>=2)].n"] = "[2,3]", [".a.b[?(@.t!='y')].n"] = "[1]", [".nope.b"] = "[]", [".c.b"] = "[]",
      [".a.b[7]"] = "[]", [".*.b[0].t"] = '["x"]', ["['c']"] = '["text"]' } do
      assert.equal(wanted, find(path), path)
    end
  end)

  it("that is none is refused with a reason", function()
    for path, wanted in pairs { [".a["] = "unterminated array", [".a[x]"] = "invalid array index x", ["a"] = "unrecognized character" } do
      local steps, why = jsonpath.compile(path)
      assert.equal(nil, steps)
      assert.contains(wanted, why)
    end
  end)
end)
