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

  it("shows all that an apply brought when that takes the last finalizer of an object that is being deleted", function()
    assert.equal(201, (server:ask("POST", CRDS, assert(yaml.decode(assert(fs.read "spec/sandbox/differential/widget.yaml"), "widget"))[1])))
    local path, APPLY = "/apis/test.moonphase.dev/v1/namespaces/default/widgets/b", { content_type = "application/apply-patch+yaml" }
    local function apply(finalizers, limits)
      return server:ask("PATCH", path .. "?fieldManager=m", { apiVersion = "test.moonphase.dev/v1", kind = "Widget",
        metadata = { name = "b", finalizers = finalizers }, spec = { size = 2, limits = limits } }, APPLY)
    end
    assert.equal(201, (apply(A { "example.com/hold" }, { low = 1 })))
    assert.equal(200, (server:ask("DELETE", path)))
    local status, answer = apply(nil, { low = 1, unknown = 3 })
    assert.equal(200, status, json.encode(answer))
    assert.same({ low = 1, high = 9, unknown = 3 }, answer.spec.limits)
    assert.equal(404, (server:ask("GET", path)))
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

  it("says of a wrong value what the server says, in Go's words", function()
    put(function(spec)
      local properties = spec.versions[1].schema.openAPIV3Schema.properties.spec.properties
      properties.when, properties.word = { type = "string", format = "date-time" }, { type = "string", enum = A { "a", "b" } }
      properties.either = { ["x-kubernetes-int-or-string"] = true }
    end)
    local function told(spec, is_apply)
      local _, answer = server:ask(is_apply and "PATCH" or "POST", "/apis/ex.io/v1/namespaces/default/foos" .. (is_apply and "/a?fieldManager=m" or ""),
        { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a" }, spec = spec },
        is_apply and { content_type = "application/apply-patch+yaml" } or nil)
      return answer.kind == "Status" and answer.message:match(" is invalid: (.*)$") or "taken"
    end
    assert.equal('spec.when: Invalid value: "int64": spec.when in body must be of type date-time: "int64"', told { when = 12 })
    assert.equal('spec.when: Invalid value: "": spec.when in body must be of type date-time: ""', told { when = true })
    assert.equal('spec.either: Invalid value: "null": spec.either in body must be of type integer,string: "null"', told({ either = json.null }, true))
    assert.contains('spec.word: Unsupported value: []interface {}{"x", 1}: supported values: "a", "b"', told { word = A { "x", 1 } })
    assert.equal("taken", told { when = A { "x" } })
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

  -- As a Kubernetes 1.20.2 server does it: what goes into the store is pruned and defaulted by the stored version's schema, and another
  -- version shows what it knows of that, without its own defaults.
  it("prunes by the schemas of the version that is stored and of the one that is asked for", function()
    local function schema(name, default)
      return { openAPIV3Schema = { type = "object", properties = { spec = { type = "object", properties = {
        [name] = { type = "string", default = default } } } } } }
    end
    put(function(spec)
      spec.versions[1].schema = schema("a", "one")
      spec.versions[2] = { name = "v2", served = true, storage = false, schema = schema("b", "two") }
    end)
    for version, name in pairs { v1 = "first", v2 = "second" } do
      server:ask("POST", ("/apis/ex.io/%s/namespaces/default/foos"):format(version), { apiVersion = "ex.io/" .. version, kind = "Foo",
        metadata = { name = name }, spec = { a = "A", b = "B" } })
    end
    local function spec(version, name)
      return get(("/apis/ex.io/%s/namespaces/default/foos/%s"):format(version, name)).spec
    end
    assert.same({ a = "A" }, spec("v1", "first"))
    assert.same({}, spec("v2", "first"))
    assert.same({ a = "one" }, spec("v1", "second"))
    assert.same({}, spec("v2", "second"))
    server:ask("PATCH", "/apis/ex.io/v2/namespaces/default/foos/first", { metadata = { labels = { x = "y" } } })
    assert.equal("ex.io/v1", get("/apis/ex.io/v1/namespaces/default/foos/first").apiVersion)
  end)

  it("has no schema with a dialect, further items, or defaults of the root or of metadata", function()
    for words, change in pairs {
      ["OpenAPIV3Schema 'schema' is not supported"] = function(schema) schema["$schema"] = "x" end,
      ["properties[a].additionalItems: Forbidden: additionalItems is not supported"] = function(schema)
        schema.properties = { a = { type = "array", items = { type = "string" }, additionalItems = { type = "string" } } }
      end,
      ["default.kind: Required value: must not be empty"] = function(schema) schema.default = { apiVersion = "ex.io/v1" } end,
      ["properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"] = function(schema)
        schema.properties = { metadata = { type = "object", properties = { name = { type = "string", default = "x" } } } }
      end,
      ["items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map"] = function(schema)
        schema.properties = { a = { type = "array", items = { type = "string" }, ["x-kubernetes-list-type"] = "map",
          ["x-kubernetes-list-map-keys"] = A { "k" } } }
      end,
    } do
      local status, answer = put(function(spec)
        local schema = { type = "object" }
        change(schema)
        spec.versions[1].schema = { openAPIV3Schema = schema }
      end)
      assert.equal(422, status, words)
      assert.contains(words, answer.message)
    end
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

describe("what is stored and shared by the next version", function()
  local PATH = "/apis/ex.io/v1/namespaces/default/foos"

  local function create(schema, spec)
    server:ask("POST", CRDS, definition("foos", "Foo", function(_, version)
      version.subresources = { status = {} }
      version.schema.openAPIV3Schema.properties.spec = schema
    end))
    return server:ask("POST", PATH, { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a" }, spec = spec })
  end

  local function write_status(words)
    local object = get(PATH .. "/a")
    object.status = { words = words }
    return server:ask("PUT", PATH .. "/a/status", object)
  end

  it("is checked anew when its definition has become stricter", function()
    assert.equal(201, (create({ type = "object", properties = { n = { type = "integer" } } }, { n = 5 })))
    assert.equal(200, (write_status "one"))
    local stricter = get(CRDS .. "/foos.ex.io")
    stricter.spec.versions[1].schema.openAPIV3Schema.properties.spec.properties.n.maximum = 3
    assert.equal(200, (server:ask("PUT", CRDS .. "/foos.ex.io", stricter)))
    local status, answer = write_status "two"
    assert.equal(422, status)
    assert.is_true(answer.message:find("spec.n: Invalid value: 5", 1, true) ~= nil, answer.message)
    assert.equal("one", get(PATH .. "/a").status.words)
  end)

  it("gets the defaults that its definition has gained, and loses what it does not know any more", function()
    create({ type = "object", properties = { n = { type = "integer" }, old = { type = "string" } } }, { n = 5, old = "x" })
    local changed = get(CRDS .. "/foos.ex.io")
    changed.spec.versions[1].schema.openAPIV3Schema.properties.spec.properties = { n = { type = "integer" },
      new = { type = "string", default = "y" } }
    server:ask("PUT", CRDS .. "/foos.ex.io", changed)
    local object = get(PATH .. "/a")
    object.metadata.labels = { touched = "yes" }
    local status, stored = server:ask("PUT", PATH .. "/a", object)
    assert.equal(200, status)
    assert.same({ n = 5, new = "y" }, stored.spec)
  end)

  it("loses what an apply brought beside its schema at the next write, and be it a second delete that changes nothing else", function()
    server:ask("POST", CRDS, definition("foos", "Foo", function(_, of) -- with an int-or-string, managers know no schema
      of.schema.openAPIV3Schema.properties.spec.properties.either = { ["x-kubernetes-int-or-string"] = true }
    end))
    local function version(answer) return math.tointeger(tonumber(answer.metadata.resourceVersion)) end
    local function foo(spec) return { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a" }, spec = spec } end
    server:ask("POST", PATH, { apiVersion = "ex.io/v1", kind = "Foo", metadata = { name = "a", finalizers = A { "a.b/c" } } })
    server:ask("DELETE", PATH .. "/a")
    local status, applied = server:ask("PATCH", PATH .. "/a?fieldManager=me&force=true", foo { n = 2, unknown = 1 },
      { content_type = "application/apply-patch+yaml" })
    assert.equal(200, status, json.encode(applied))
    assert.is_nil(applied.spec.unknown)
    local twice = select(2, server:ask("PATCH", PATH .. "/a?fieldManager=me&force=true", foo { n = 2, unknown = 1 },
      { content_type = "application/apply-patch+yaml" }))
    assert.equal(applied.metadata.generation + 1, twice.metadata.generation) -- it is compared before it is lost
    local again = select(2, server:ask("DELETE", PATH .. "/a"))
    assert.equal(version(twice) + 1, version(again))
    assert.equal(version(again), version(select(2, server:ask("DELETE", PATH .. "/a"))))
  end)

  it("is checked by the schema of the place that a patch copies it to", function()
    local function part(least) return { type = "object", properties = { n = { type = "integer", minimum = least } } } end
    assert.equal(201, (create({ type = "object", properties = { low = part(0), high = part(10) } }, { low = { n = 1 } })))
    local status, answer = server:ask("PATCH", PATH .. "/a", A { { op = "copy", from = "/spec/low", path = "/spec/high" } },
      { content_type = "application/json-patch+json" })
    assert.equal(422, status)
    assert.is_true(answer.message:find("spec.high.n", 1, true) ~= nil, answer.message)
  end)
end)
