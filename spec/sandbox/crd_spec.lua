-- CustomResourceDefinitions: what they may be (the answers of a real server, facts/record), and what comes and goes with them.

local apart = require "include" "spec/sandbox/apart.lua"
local ask = require "include" "spec/sandbox/facts/ask.lua"

local CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
local A = json.array

local function definition(plural, kind, change)
  local schema = { type = "object", properties = { spec = { type = "object", properties = { n = { type = "integer", minimum = 0 },
    d = { type = "string", default = "x" } } }, status = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true } } }
  local object = { apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition", metadata = { name = plural .. ".ex.io" },
    spec = { group = "ex.io", scope = "Namespaced", names = { plural = plural, kind = kind },
      versions = A { { name = "v1", served = true, storage = true, schema = { openAPIV3Schema = schema } } } } }
  if change then change(object.spec, object.spec.versions[1]) end
  return object
end

local function condition(object, kind)
  for _, one in ipairs(object.status.conditions or {}) do
    if one.type == kind then return one.status, one.reason, one.message end
  end
end

local server
local function get(path) return select(2, server:ask("GET", path)) end

before_each(function() server = apart.new() end)

describe("a definition as on a real server", function()
  local recorded = assert(json.decode(assert(fs.read "spec/sandbox/facts/answers.json")))
  local answers
  local labels = {}
  for label in pairs(recorded) do
    if label:find("^schema: ") or label:find("^definition: ") then labels[#labels + 1] = label end
  end
  table.sort(labels)
  for _, label in ipairs(labels) do
    it(label, function()
      answers = answers or ask.definitions(function(...) return server:ask(...) end)
      assert.equal(json.encode(recorded[label]), json.encode(answers[label] or json.null))
    end)
  end
end)

describe("a new definition", function()
  it("serves its kind at once, and says so in its conditions", function()
    local status, created = server:ask("POST", CRDS, definition("foos", "Foo"))
    assert.equal(201, status)
    assert.equal(json.null, created.status.conditions)
    local now = get(CRDS .. "/foos.ex.io")
    assert.equal("True", (condition(now, "Established")))
    assert.equal("no conflicts found", select(3, condition(now, "NamesAccepted")))
    assert.same({ kind = "Foo", listKind = "FooList", plural = "foos", singular = "foo" }, now.status.acceptedNames)
    status = server:ask("POST", "/apis/ex.io/v1/namespaces/default/foos", { apiVersion = "ex.io/v1", kind = "Foo",
      metadata = { name = "a" } })
    assert.equal(201, status)
  end)

  it("is found by discovery", function()
    server:ask("POST", CRDS, definition("foos", "Foo", function(spec, version)
      spec.names.shortNames, spec.names.categories = A { "fo" }, A { "all" }
      version.subresources = { status = {}, scale = { specReplicasPath = ".spec.n", statusReplicasPath = ".status.n" } }
    end))
    local list = get "/apis/ex.io/v1"
    assert.same({ "foos", "foos/status", "foos/scale" }, { list.resources[1].name, list.resources[2].name, list.resources[3].name })
    assert.same(A { "fo" }, list.resources[1].shortNames)
    assert.same(A { "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch" }, list.resources[1].verbs)
    assert.equal("Ic0/Fpq4BGQ=", list.resources[1].storageVersionHash)
    assert.equal("v1", get("/apis/ex.io").preferredVersion.version)
  end)

  it("whose names are taken waits, and gets them when they are free", function()
    server:ask("POST", CRDS, definition("foos", "Foo"))
    server:ask("POST", CRDS, definition("bars", "Foo", function(spec) spec.names.shortNames = A { "foos" } end))
    local bars = get(CRDS .. "/bars.ex.io")
    assert.same({ "False", "ListKindConflict", '"FooList" is already in use' }, { condition(bars, "NamesAccepted") })
    assert.same({ "False", "NotAccepted", "not all names are accepted" }, { condition(bars, "Established") })
    assert.same({ kind = "", plural = "bars" }, bars.status.acceptedNames)
    assert.equal(404, (server:ask("GET", "/apis/ex.io/v1/bars")))
    server:ask("DELETE", CRDS .. "/foos.ex.io")
    assert.equal("True", (condition(get(CRDS .. "/bars.ex.io"), "Established")))
    assert.equal(200, (server:ask("GET", "/apis/ex.io/v1/bars")))
  end)

  it("of a protected group says whether it was approved", function()
    local object = definition("foos", "Foo", function(spec) spec.group = "x.k8s.io" end)
    object.metadata = { name = "foos.x.k8s.io", annotations = { ["api-approved.kubernetes.io"] = "unapproved" } }
    server:ask("POST", CRDS, object)
    assert.same({ "False", "UnapprovedAnnotation", 'not approved: "unapproved"' },
      { condition(get(CRDS .. "/foos.x.k8s.io"), "KubernetesAPIApprovalPolicyConformant") })
  end)
end)

describe("an established definition", function()
  local function put(change)
    local object = get(CRDS .. "/foos.ex.io")
    change(object.spec, object)
    return server:ask("PUT", CRDS .. "/foos.ex.io", object)
  end

  before_each(function() server:ask("POST", CRDS, definition("foos", "Foo")) end)

  it("may not change what its objects are kept by", function()
    for field, change in pairs {
      ["spec.scope"] = function(spec) spec.scope = "Cluster" end, ["spec.names.kind"] = function(spec) spec.names.kind = "Foox" end,
      ["spec.names.plural"] = function(spec) spec.names.plural = "foox" end, ["spec.group"] = function(spec) spec.group = "ey.io" end,
    } do
      local status, answer = put(change)
      assert.equal(422, status)
      assert.contains(field .. ": Invalid value", answer.message)
      assert.contains("field is immutable", answer.message)
    end
    local status, answer = put(function(spec) spec.versions[1].name = "v2" end)
    assert.equal(422, status)
    assert.contains('status.storedVersions[0]: Invalid value: "v1": must appear in spec.versions', answer.message)
  end)

  it("counts its generation by its spec, and keeps its status", function()
    assert.equal(1, select(2, put(function(_, object) object.metadata.labels = { a = "b" } end)).metadata.generation)
    assert.equal(1, select(2, put(function(_, object) object.status = nil end)).metadata.generation)
    assert.equal(2, select(2, put(function(spec) spec.names.shortNames = A { "f" } end)).metadata.generation)
    assert.same(A { "f" }, get(CRDS .. "/foos.ex.io").status.acceptedNames.shortNames)
  end)

  it("takes a second version, whose objects are the same", function()
    server:ask("POST", "/apis/ex.io/v1/namespaces/default/foos", { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a" },
      spec = { n = 1 } })
    put(function(spec)
      spec.versions[2] = { name = "v2", served = true, storage = false, schema = spec.versions[1].schema }
    end)
    local object = get "/apis/ex.io/v2/namespaces/default/foos/a"
    assert.equal("ex.io/v2", object.apiVersion)
    assert.equal(1, object.spec.n)
    assert.equal("v2", get("/apis/ex.io").preferredVersion.version)
    put(function(spec) spec.versions[1].storage, spec.versions[2].storage = false, true end)
    assert.same(A { "v1", "v2" }, get(CRDS .. "/foos.ex.io").status.storedVersions)
    put(function(spec) spec.versions[1].served = false end)
    assert.equal(404, (server:ask("GET", "/apis/ex.io/v1/namespaces/default/foos/a")))
  end)

  it("takes its objects with it, and waits for their finalizers", function()
    local path = "/apis/ex.io/v1/namespaces/default/foos"
    server:ask("POST", path, { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a" } })
    server:ask("POST", path, { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "b", finalizers = A { "x.y/z" } } })
    local status, answer = server:ask("DELETE", CRDS .. "/foos.ex.io")
    assert.equal(200, status)
    assert.same(A { "customresourcecleanup.apiextensions.k8s.io" }, answer.metadata.finalizers)
    assert.equal("InstanceDeletionPending", select(2, condition(answer, "Terminating")))
    assert.same({ "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress" },
      { condition(get(CRDS .. "/foos.ex.io"), "Terminating") })
    assert.equal(1, #get(path).items)
    status, answer = server:ask("POST", path, { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "c" } })
    assert.equal(405, status)
    assert.equal("create not allowed while custom resource definition is terminating", answer.message)
    server:ask("PATCH", path .. "/b", '{"metadata":{"finalizers":null}}', { content_type = "application/merge-patch+json" })
    assert.equal(404, (server:ask("GET", CRDS .. "/foos.ex.io")))
    assert.equal(404, (server:ask("GET", "/apis/ex.io/v1/foos")))
    assert.equal(404, (server:ask("GET", "/apis/ex.io")))
  end)
end)

describe("a custom resource with subresources", function()
  local path = "/apis/ex.io/v1/namespaces/default/foos"
  local MERGE = { content_type = "application/merge-patch+json" }

  before_each(function()
    server:ask("POST", CRDS, definition("foos", "Foo", function(_, version)
      version.subresources = { status = {}, scale = { specReplicasPath = ".spec.n", statusReplicasPath = ".status.n",
        labelSelectorPath = ".status.sel" } }
    end))
    server:ask("POST", path, { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a", labels = { a = "b" } }, spec = { q = 1 },
      status = { n = 3 } })
  end)

  it("begins without a status, at generation 1", function()
    local object = get(path .. "/a")
    assert.equal(nil, object.status)
    assert.equal(1, object.metadata.generation)
    assert.same({ d = "x" }, object.spec)
  end)

  it("changes only its status through status, and its generation by anything else", function()
    local _, object = server:ask("PATCH", path .. "/a/status",
      '{"metadata":{"labels":{"c":"d"}},"spec":{"n":7},"status":{"n":4,"sel":"a=b"}}', MERGE)
    assert.same({ { a = "b" }, { d = "x" }, 1, 4 }, { object.metadata.labels, object.spec, object.metadata.generation, object.status.n })
    _, object = server:ask("PATCH", path .. "/a", '{"metadata":{"labels":{"c":"d"}},"status":{"n":9}}', MERGE)
    assert.same({ { a = "b", c = "d" }, 1, 4 }, { object.metadata.labels, object.metadata.generation, object.status.n })
    _, object = server:ask("PATCH", path .. "/a", '{"spec":{"n":8},"nope":1}', MERGE)
    assert.same({ 8, 2 }, { object.spec.n, object.metadata.generation })
    assert.equal(nil, object.nope)
  end)

  it("is scaled by its paths", function()
    local status, answer = server:ask("GET", path .. "/a/scale")
    assert.equal(500, status)
    assert.equal('Internal error occurred: the spec replicas field ".spec.n" does not exist', answer.message)
    status, answer = server:ask("PATCH", path .. "/a/scale", '{"spec":{"replicas":2}}', MERGE)
    assert.equal(200, status)
    assert.same({ 2, 0 }, { answer.spec.replicas, answer.status.replicas })
    assert.equal(2, get(path .. "/a").spec.n)
    server:ask("PATCH", path .. "/a/status", '{"status":{"n":2,"sel":"a=b"}}', MERGE)
    assert.same({ replicas = 2, selector = "a=b" }, get(path .. "/a/scale").status)
    status, answer = server:ask("PATCH", path .. "/a/scale", '{"spec":{"replicas":-2}}', MERGE)
    assert.equal(422, status)
    assert.equal('Foo.ex.io "a" is invalid: [spec.n: Invalid value: -2: spec.n in body should be greater than or equal to 0, '
      .. ".spec.n: Invalid value: -2: should be a non-negative integer]", answer.message)
  end)
end)
