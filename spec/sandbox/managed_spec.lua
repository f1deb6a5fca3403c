-- Who manages which field: field sets, managedFields after updates, and server-side apply, as Kubernetes 1.20.2 has them.
-- (spec/sandbox/patch_real.lua compares them with a real server, at random.)

local builtin = require "sandbox.schema.builtin"
local fieldset = require "sandbox.fieldset"
local managed = require "sandbox.managed"

local array = json.array
local NODE = builtin.node("apps", "v1", "Deployment")

-- A set written as JSON.
local function set(text) return json.decode(text) end

local function text(value) return json.encode(value) end

describe("a field set", function()
  local a = set '{"f:m":{".":{},"f:x":{},"f:y":{}},"f:s":{}}'
  local b = set '{"f:m":{"f:y":{},"f:z":{}},"f:s":{"f:t":{}}}'

  it("is united, node by node", function()
    assert.equal('{"f:m":{".":{},"f:x":{},"f:y":{},"f:z":{}},"f:s":{".":{},"f:t":{}}}', text(fieldset.union(a, b)))
  end)

  it("is cut to what both have", function()
    assert.equal('{"f:m":{"f:y":{}}}', text(fieldset.intersection(a, b)))
  end)

  it("loses what the other has, but not what is below it", function()
    assert.equal('{"f:m":{".":{},"f:x":{}},"f:s":{}}', text(fieldset.difference(a, b)))
    assert.equal('{"f:m":{"f:z":{}},"f:s":{"f:t":{}}}', text(fieldset.difference(b, a)))
    assert.equal("{}", text(fieldset.difference(a, a)))
  end)

  it("is the same table when nothing changes, and is never modified", function()
    assert.equal(a, fieldset.union(a, set '{"f:m":{"f:x":{}}}'))
    assert.equal(a, fieldset.difference(a, set '{"f:q":{}}'))
    assert.equal('{"f:m":{".":{},"f:x":{},"f:y":{}},"f:s":{}}', text(a))
  end)

  it("is read from clients with its keys put right", function()
    assert.equal('{"f:c":{"k:{\\"a\\":1,\\"b\\":\\"x\\"}":{".":{},"f:y":{}}},"f:s":{}}',
      text(fieldset.read(set '{".":{},"f:c":{"k:{ \\"b\\" : \\"x\\", \\"a\\":1}":{".":{},"f:y":{},"x:new":{}}},"f:s":{".":{}}}')))
    assert.is_nil(fieldset.read(set '{"nonsense":{}}'))
    assert.is_nil(fieldset.read(set '{"k:[1]":{}}'))
  end)

  it("tells its paths as the server does", function()
    local texts = {}
    for i, path in ipairs(fieldset.paths(set '{"f:b":{".":{},"k:{\\"n\\":\\"x\\"}":{"f:c":{}}},"f:a":{"v:\\"w\\"":{}}}')) do
      texts[i] = fieldset.path_text(path)
    end
    assert.same({ ".b", '.a[="w"]', '.b[n="x"].c' }, texts)
  end)
end)

local function deployment(spec, metadata)
  spec.selector = { matchLabels = { app = "x" } }
  spec.template = spec.template or { metadata = { creationTimestamp = json.null }, spec = { containers = json.null } }
  metadata = metadata or {}
  metadata.name, metadata.namespace = "d", "n"
  return { apiVersion = "apps/v1", kind = "Deployment", metadata = metadata, spec = spec, status = {} }
end

local function container(fields)
  fields.name = fields.name or "c"
  return { metadata = { creationTimestamp = json.null }, spec = { containers = array { fields } } }
end

local T1, T2, T3 = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z", "2026-01-01T00:00:03Z"

local function update(live, new, manager, time, subresource)
  if live then live.metadata.uid = "u" end
  return managed.after_update(live, new, manager, "Update", subresource, NODE, "apps/v1", time or T1)
end

-- The entries in short: "manager Operation time fields".
local function entries(object)
  local found = {}
  for i, entry in ipairs(object.metadata.managedFields or {}) do
    assert.equal("FieldsV1", entry.fieldsType)
    assert.equal("apps/v1", entry.apiVersion)
    found[i] = ("%s %s %s %s"):format(entry.manager, entry.operation, entry.time:sub(-3, -2), text(entry.fieldsV1))
  end
  return table.concat(found, "\n")
end

describe("a create", function()
  it("gives its manager what it says, but no names, times and structs that are always there", function()
    local new = update(nil, deployment({ replicas = 1, strategy = { type = "Recreate" }, template = container { image = "i",
      ports = array { { containerPort = 80, protocol = "TCP" } }, resources = {} } }, { labels = { a = "1" }, generation = 1 }), "me")
    assert.equal('me Update 01 {"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:replicas":{},"f:selector":{},'
      .. '"f:strategy":{"f:type":{}},"f:template":{"f:spec":{"f:containers":{"k:{\\"name\\":\\"c\\"}":{".":{},"f:image":{},'
      .. '"f:name":{},"f:ports":{".":{},"k:{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"}":{".":{},"f:containerPort":{},'
      .. '"f:protocol":{}}},"f:resources":{}}}}}}}', entries(new))
  end)

  it("by nobody is by unknown", function()
    assert.equal("unknown", update(nil, deployment {}, "").metadata.managedFields[1].manager)
    assert.equal("kubectl", managed.name(nil, "kubectl/v1.20.2 (linux)"))
    assert.equal("me", managed.name("me", "kubectl/v1.20.2"))
  end)

  it("takes under 100 microseconds for a Deployment", function()
    local spec = { replicas = 1, strategy = { type = "Recreate" } }
    local env = array {}
    for i = 1, 10 do env[i] = { name = "NAME" .. i, value = "v" } end
    spec.template = container { image = "i", env = env, ports = array { { containerPort = 80, protocol = "TCP" } },
      resources = { limits = { cpu = "1", memory = "1Gi" } }, livenessProbe = { httpGet = { path = "/", port = 80 }, periodSeconds = 3 } }
    local new, best = deployment(spec, { labels = { a = "1" } }), math.huge
    for _ = 1, 20 do
      local started = os.clock()
      for _ = 1, 50 do update(nil, new, "me") end
      best = math.min(best, (os.clock() - started) / 50)
    end
    assert.is_true(best < 100e-6, ("%.0f us"):format(best * 1e6))
  end)
end)

describe("an update", function()
  local live
  before_each(function()
    live = update(nil, deployment({ replicas = 1, paused = true }, { labels = { a = "1" } }), "one")
  end)

  it("moves the fields that it changes to its manager", function()
    local new = update(live, deployment({ replicas = 2, paused = true }, { labels = { a = "1" }, uid = "u" }), "two", T2)
    assert.equal('one Update 01 {"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:paused":{},"f:selector":{}}}\n'
      .. 'two Update 02 {"f:spec":{"f:replicas":{}}}', entries(new))
  end)

  it("that changes nothing leaves all as it was", function()
    local same = deployment({ replicas = 1, paused = true }, { labels = { a = "1" }, uid = "u" })
    assert.equal(entries(live), entries(update(live, same, "two", T2)))
  end)

  it("of fields that its manager has keeps the time", function()
    local new = update(live, deployment({ replicas = 7, paused = true }, { labels = { a = "1" } }), "one", T2)
    assert.equal(T1, new.metadata.managedFields[1].time)
    new = update(live, deployment({ replicas = 7, minReadySeconds = 1, paused = true }, { labels = { a = "1" } }), "one", T2)
    assert.equal(T2, new.metadata.managedFields[1].time)
  end)

  it("takes away fields from all when they go, and the entry with its last one", function()
    local new = update(live, deployment({ replicas = 2, paused = true }, { labels = { a = "1" }, uid = "u" }), "two", T2)
    new = update(new, deployment { paused = true }, "three", T3)
    assert.equal('one Update 01 {"f:spec":{"f:paused":{},"f:selector":{}}}', entries(new))
  end)

  it("keeps the entries when it brings none, and takes those that it brings", function()
    local new = deployment({ replicas = 1, paused = true }, { labels = { a = "1" } })
    assert.equal(entries(live), entries(update(live, new, "two")))
    new.metadata.managedFields = array { { manager = "x", operation = "Update", apiVersion = "apps/v1", time = T1, fieldsType = "FieldsV1",
      fieldsV1 = set '{"f:spec":{"f:replicas":{}}}' } }
    assert.equal('x Update 01 {"f:spec":{"f:replicas":{}}}', entries(update(live, new, "two")))
    assert.equal(entries(live), entries(update(live, new, "two", T1, "status")))
    new.metadata.managedFields[1].fieldsType = "FieldsV9"
    assert.equal(entries(live), entries(update(live, new, "two")))
  end)

  it("resets with [{}] or [], after which nothing is tracked", function()
    for _, reset in ipairs { array { {} }, array {} } do
      local new = deployment { replicas = 2 }
      new.metadata.managedFields = reset
      new = update(live, new, "two")
      assert.is_nil(new.metadata.managedFields)
      assert.is_nil(update(new, deployment { replicas = 3 }, "two").metadata.managedFields)
    end
  end)

  it("leaves no entries when a list has a key twice, as the server does", function()
    local env = array { { name = "A", value = "1" }, { name = "A", value = "2" } }
    assert.is_nil(update(live, deployment { template = container { env = env } }, "two").metadata.managedFields)
  end)

  it("by more than ten makes the oldest one entry", function()
    local now = live
    for i = 1, 12 do
      local labels = { a = "1" }
      for j = 1, i do labels["l" .. j] = "1" end
      now = update(now, deployment({ replicas = 1, paused = true }, { labels = labels }), ("m%02d"):format(i), ("2026-01-01T00:00:%02dZ"):format(i + 1))
    end
    local list = now.metadata.managedFields
    assert.equal(10, #list)
    assert.equal("ancient-changes", list[1].manager)
    assert.equal("2026-01-01T00:00:04Z", list[1].time)
    assert.equal('{"f:metadata":{"f:labels":{".":{},"f:a":{},"f:l1":{},"f:l2":{},"f:l3":{}}},"f:spec":{"f:paused":{},"f:selector":{}}}',
      (text(list[1].fieldsV1):gsub('"f:replicas":{},', "")))
    assert.equal("m04", list[2].manager)
  end)
end)

local function apply(live, config, manager, force, time)
  config.apiVersion, config.kind = "apps/v1", "Deployment"
  config.metadata = config.metadata or {}
  config.metadata.name, config.metadata.namespace = "d", "n"
  return managed.apply(live, config, manager, force, NODE, "apps/v1", time or T1)
end

describe("an apply", function()
  it("creates, owning leaves only", function()
    local new = apply(nil, { metadata = { labels = { a = "1" } }, spec = { replicas = 1, template = { spec = {
      containers = array { { name = "c", image = "i", ports = array { { containerPort = 80 } } } } } } } }, "me")
    assert.equal('me Apply 01 {"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":'
      .. '{"k:{\\"name\\":\\"c\\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\\"containerPort\\":80,\\"protocol\\":\\"TCP\\"}":'
      .. '{".":{},"f:containerPort":{}}}}}}}}}', entries(new))
    assert.equal("i", new.spec.template.spec.containers[1].image)
  end)

  it("takes away what its manager applied before and says no more, but not what others own", function()
    local one = apply(nil, { metadata = { labels = { a = "1", b = "2" } }, spec = { replicas = 1, minReadySeconds = 2 } }, "me")
    one.metadata.uid = "u"
    local two = apply(one, { spec = { minReadySeconds = 2 } }, "you", false, T2)
    local three = apply(two, { metadata = { labels = { a = "1" } } }, "me", false, T3)
    assert.same({ a = "1" }, three.metadata.labels)
    assert.is_nil(three.spec.replicas)
    assert.equal(2, three.spec.minReadySeconds)
    assert.equal('you Apply 02 {"f:spec":{"f:minReadySeconds":{}}}\nme Apply 03 {"f:metadata":{"f:labels":{"f:a":{}}}}', entries(three))
  end)

  it("leaves null where nothing is left of a struct, so that decoding drops it", function()
    local one = apply(nil, { spec = { strategy = { rollingUpdate = { maxSurge = 1 } } } }, "me")
    local two = apply(one, { spec = { replicas = 1 } }, "me", false, T2)
    assert.equal(json.null, two.spec.strategy.rollingUpdate)
  end)

  it("takes an item of a list away with the fields that nobody owns", function()
    local one = apply(nil, { spec = { template = { spec = { containers = array { { name = "a", image = "i" }, { name = "b", image = "i" } } } } } }, "me")
    one.spec.template.spec.containers[2].terminationMessagePath = "/dev/x"
    local two = apply(one, { spec = { template = { spec = { containers = array { { name = "a", image = "i" } } } } } }, "me", false, T2)
    assert.equal(1, #two.spec.template.spec.containers)
  end)

  it("conflicts with another manager's other value, and says with whom and where", function()
    local live = update(nil, deployment({ replicas = 1 }, { labels = { a = "1" } }), "one")
    local new, failure, _ = apply(live, { metadata = { labels = { a = "2" } }, spec = { replicas = 2 } }, "two")
    assert.is_nil(new)
    assert.equal(409, failure.code)
    assert.equal("Conflict", failure.reason)
    assert.equal('Apply failed with 2 conflicts: conflicts with "one" using apps/v1:\n- .metadata.labels.a\n- .spec.replicas', failure.message)
    assert.same({ reason = "FieldManagerConflict", message = 'conflict with "one" using apps/v1', field = ".spec.replicas" }, failure.details.causes[2])
    _, failure = apply(live, { spec = { replicas = 2 } }, "two")
    assert.equal('Apply failed with 1 conflict: conflict with "one" using apps/v1: .spec.replicas', failure.message)
  end)

  it("shares a field that has the same value, and takes it by force if not", function()
    local live = update(nil, deployment({ replicas = 1 }), "one")
    local new = apply(live, { spec = { replicas = 1 } }, "two", false, T2)
    assert.equal('two Apply 02 {"f:spec":{"f:replicas":{}}}\none Update 01 {"f:spec":{"f:replicas":{},"f:selector":{}}}', entries(new))
    new = apply(live, { spec = { replicas = 2 } }, "two", true, T2)
    assert.equal(2, new.spec.replicas)
    assert.equal('two Apply 02 {"f:spec":{"f:replicas":{}}}\none Update 01 {"f:spec":{"f:selector":{}}}', entries(new))
  end)

  it("again changes nothing, not even the time", function()
    local config = { metadata = { labels = { a = "1" } }, spec = { replicas = 1 } }
    local one = apply(nil, config, "me")
    local two = apply(one, config, "me", false, T2)
    assert.same(one, two)
  end)

  it("finds an untracked object before-first-apply's", function()
    local live = deployment { replicas = 1 }
    live.metadata.uid = "u"
    local new = apply(live, { spec = { replicas = 1 } }, "me", false, T2)
    assert.equal('me Apply 02 {"f:spec":{"f:replicas":{}}}\nbefore-first-apply Update 02 {"f:spec":{"f:replicas":{},"f:selector":{}}}', entries(new))
  end)

  it("by kubectl overwrites what kubectl's client-side apply set, and keeps its annotation up to date", function()
    local name = "kubectl.kubernetes.io/last-applied-configuration"
    local last = '{"apiVersion":"apps/v1","kind":"Deployment","spec":{"replicas":1}}'
    local live = update(nil, deployment({ replicas = 1, paused = true }, { annotations = { [name] = last } }), "kubectl-client-side-apply")
    local new = apply(live, { spec = { replicas = 2 } }, "kubectl", false, T2)
    assert.equal(2, new.spec.replicas)
    assert.equal('{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d","namespace":"n"},"spec":{"replicas":2}}\n', new.metadata.annotations[name])
    local _, failure = apply(live, { spec = { replicas = 2, paused = false } }, "kubectl", false, T2)
    assert.equal('Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using apps/v1: .spec.paused', failure.message)
    _, failure = apply(live, { spec = { replicas = 2 } }, "other", false, T2)
    assert.equal(409, failure.code)
  end)

  it("is refused when a list of the live object has a key twice", function()
    local live = deployment { template = container { env = array { { name = "A" }, { name = "A" } } } }
    local _, failure = apply(live, { spec = { replicas = 2 } }, "me")
    assert.equal(500, failure.code)
    assert.equal("failed to create manager for existing fields: failed to convert new object (apps/v1, Kind=Deployment) to smd typed: "
      .. '.spec.template.spec.containers[name="c"].env: duplicate entries for key [name="A"]', failure.message)
  end)

  it("is refused before all else when it is not of this version, brings managedFields, or has a wrong type", function()
    local config = { apiVersion = "v1", kind = "Deployment", metadata = { name = "d" } }
    local _, failure = managed.apply(nil, config, "me", false, NODE, "apps/v1", T1)
    assert.equal(400, failure.code)
    assert.equal("Incorrect version specified in apply patch. Specified patch version: v1, expected: apps/v1", failure.message)
    _, failure = apply(nil, { metadata = { managedFields = array {} } }, "me")
    assert.equal("metadata.managedFields must be nil", failure.message)
    _, failure = apply(nil, { spec = { replicas = "two" } }, "me")
    assert.equal(500, failure.code)
    assert.equal("failed to create typed patch object: .spec.replicas: expected numeric (int or float), got *value.valueUnstructured", failure.message)
    _, failure = apply(nil, { spec = { grow = 1 } }, "me")
    assert.equal("failed to create typed patch object: .spec.grow: field not declared in schema", failure.message)
    _, failure = apply(nil, { spec = { template = container { env = array { { name = "A" }, { name = "A" } } } } }, "me")
    assert.contains('.spec.template.spec.containers[name="c"].env: duplicate entries for key [name="A"]', failure.message)
  end)
end)

describe("custom resources", function()
  local node = { type = "object", properties = { spec = { type = "object", properties = {
    tags = { type = "array", list = "set", items = { type = "string" } }, whole = { type = "object", map = "atomic", properties = { a = { type = "string" } } },
    pairs = { type = "array", list = "map", keys = { "port", "protocol" }, items = { type = "object", properties = {
      port = { type = "integer" }, protocol = { type = "string", default = "TCP" }, note = { type = "string" } } } },
    free = { type = "object", preserve = true, properties = { known = { type = "string" } } } } } } }

  local function applied(spec, schema)
    local new = managed.apply(nil, { apiVersion = "g/v1", kind = "K", metadata = { name = "x" }, spec = spec }, "me", false, schema or node, "g/v1", T1)
    return text(new.metadata.managedFields[1].fieldsV1)
  end

  it("have sets, lists with keys and their defaults, and atomic maps", function()
    assert.equal([[{"f:spec":{"f:pairs":{"k:{\"port\":1,\"protocol\":\"TCP\"}":{".":{},"f:port":{}}},]]
      .. [["f:tags":{"v:\"a\\u003c\"":{}},"f:whole":{}}}]],
      applied { pairs = array { { port = 1 } }, tags = array { "a<" }, whole = { a = "1" } })
  end)

  it("own what the schema does not know field by field", function()
    assert.equal('{"f:spec":{"f:free":{"f:known":{},"f:other":{".":{},"f:x":{}}}}}', applied { free = { known = "k", other = { x = 1 } } })
  end)

  it("lose their schema for managers when it has an int-or-string, as in 1.20", function()
    local either = { type = "object", properties = { spec = { type = "object", properties = { port = { int_or_string = true },
      tags = node.properties.spec.properties.tags } } } }
    assert.equal('{"f:spec":{".":{},"f:port":{},"f:tags":{}}}', applied({ port = 1, tags = array { "a" } }, either))
  end)
end)
