-- What the sandbox answers to requests: codes, reasons and words as a Kubernetes 1.20.2 server gave them to the same requests.

local api = require "sandbox.api"
local registry = require "sandbox.registry"
local request = require("include") "spec/sandbox/ask.lua"
local verbs = require "sandbox.verbs"
local world = require "sandbox.world"

local NS = "/api/v1/namespaces/hub"
local MAPS = NS .. "/configmaps"
local PODS = NS .. "/pods"
local DEPLOYMENTS = "/apis/apps/v1/namespaces/hub/deployments"
local MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
local STRATEGIC, JSON_PATCH = "application/strategic-merge-patch+json", "application/json-patch+json"
local POD = '{"metadata":{"name":"p","labels":{"x":"1"}%s},"spec":{"containers":[{"name":"a","image":"b"}]}}'
local DEPLOYMENT = '{"metadata":{"name":"d"},"spec":{"replicas":2,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":'
  .. '{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"b"}]}}}}'

local w, server

local function ask(...) return request(server, ...) end

local function done(...)
  local value, status = ask(...)
  assert.is_true(status < 300, ("%s %s: %s %s"):format((...), (select(2, ...)), status, json.encode(value)))
  return value
end

local function refused(code, reason, message, ...)
  local value, status = ask(...)
  assert.equal(code, status, json.encode(value))
  assert.equal(reason, value.reason)
  assert.equal(message, value.message)
  assert.equal("Failure", value.status)
  assert.equal(code, value.code)
  return value
end

before_each(function()
  w = world.new { seed = 1, history = 100 }
  server = api.new { world = w, registry = registry.new(w) }
  done("POST", "/api/v1/namespaces", '{"metadata":{"name":"hub"}}')
end)

describe("a quota", function()
  it("counts what is refused for its name, and is asked before that", function()
    done("POST", NS .. "/resourcequotas", '{"metadata":{"name":"q"},"spec":{"hard":{"configmaps":"2"}}}')
    done("PATCH", NS .. "/resourcequotas/q/status", '{"status":{"hard":{"configmaps":"2"},"used":{"configmaps":"0"}}}', MERGE)
    done("POST", MAPS, '{"metadata":{"name":"a"}}')
    refused(409, "AlreadyExists", 'configmaps "a" already exists', "POST", MAPS, '{"metadata":{"name":"a"}}')
    refused(403, "Forbidden", 'configmaps "a" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2',
      "POST", MAPS, '{"metadata":{"name":"a"}}')
  end)
end)

describe("create", function()
  it("gives an object its uid, time, version and managed fields", function()
    local object = done("POST", MAPS, '{"metadata":{"name":"a"},"data":{"k":"v"}}')
    local about = object.metadata
    assert.equal("v1 ConfigMap hub a", table.concat({ object.apiVersion, object.kind, about.namespace, about.name }, " "))
    assert.equal(36, #object.metadata.uid)
    assert.equal(w:time(), object.metadata.creationTimestamp)
    assert.equal("spec", object.metadata.managedFields[1].manager)
    assert.same(object, done("GET", MAPS .. "/a"))
  end)

  it("makes a name of generateName", function()
    local object = done("POST", MAPS, '{"metadata":{"generateName":"gen-"}}')
    assert.truthy(object.metadata.name:find("^gen%-[bcdfghjklmnpqrstvwxz2456789]+$"))
  end)

  it("refuses what a server refuses, in its words", function()
    done("POST", MAPS, '{"metadata":{"name":"a"}}')
    refused(409, "AlreadyExists", 'configmaps "a" already exists', "POST", MAPS, '{"metadata":{"name":"a"}}')
    refused(404, "NotFound", 'namespaces "nope" not found', "POST", "/api/v1/namespaces/nope/configmaps", '{"metadata":{"name":"a"}}')
    refused(400, "BadRequest", "the namespace of the provided object does not match the namespace sent on the request", "POST", MAPS,
      '{"metadata":{"name":"b","namespace":"other"}}')
    refused(400, "BadRequest", 'ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for '
      .. 'version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30"', "POST", MAPS, '{"apiVersion":"v2","kind":"ConfigMap"}')
    refused(500, nil, "resourceVersion should not be set on objects to be created", "POST", MAPS,
      '{"metadata":{"name":"b","resourceVersion":"5"}}')
    refused(400, "BadRequest", "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse "
      .. "error: unexpected end of JSON input ({)", "POST", MAPS, "{")
    refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: "
      .. "application/json, application/yaml, application/vnd.kubernetes.protobuf", "POST", MAPS, "{}", "text/plain")
    refused(406, "NotAcceptable", "406: Not Acceptable", "POST", MAPS, '{"metadata":{"name":"b"}}', nil, "text/html")
    refused(415, "UnsupportedMediaType", "415: Unsupported Media Type", "PATCH", MAPS .. "/a", "{}", "text/plain")
    refused(415, "UnsupportedMediaType", "415: Unsupported Media Type", "PATCH", MAPS .. "/a", "{}", "")
    refused(406, "NotAcceptable", "406: Not Acceptable", "PATCH", MAPS .. "/a", "", "text/plain")
    local invalid = refused(422, "Invalid", 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
      "POST", MAPS, '{"metadata":{}}')
    assert.equal("metadata.name", invalid.details.causes[1].field)
    refused(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", "POST", MAPS, ("x"):rep(4 * 1024 * 1024))
  end)

  it("of a dry run stores nothing", function()
    local object = done("POST", MAPS .. "?dryRun=All", '{"metadata":{"name":"a"}}')
    assert.is_nil(object.metadata.resourceVersion)
    refused(404, "NotFound", 'configmaps "a" not found', "GET", MAPS .. "/a")
    refused(422, "Invalid", 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: []string{"x"}: supported values: "All"',
      "POST", MAPS .. "?dryRun=x", '{"metadata":{"name":"a"}}')
  end)

  it("in a namespace that goes away is forbidden, and says why", function()
    done("DELETE", NS)
    local status = refused(403, "Forbidden", 'configmaps "a" is forbidden: unable to create new content in namespace hub because it is '
      .. "being terminated", "POST", MAPS, '{"metadata":{"name":"a"}}')
    assert.equal("NamespaceTerminating", status.details.causes[1].reason)
  end)
end)

describe("update and patch", function()
  it("count a generation for spec, not for status, and write nothing when nothing changes", function()
    done("POST", DEPLOYMENTS, DEPLOYMENT)
    local changed = done("PATCH", DEPLOYMENTS .. "/d", '{"spec":{"replicas":3}}', MERGE)
    assert.equal(2, changed.metadata.generation)
    local status = done("PATCH", DEPLOYMENTS .. "/d/status", '{"status":{"replicas":1},"spec":{"replicas":9}}', MERGE)
    assert.equal("2 3 1", table.concat({ status.metadata.generation, status.spec.replicas, status.status.replicas }, " "))
    local version = w.version
    local same = done("PATCH", DEPLOYMENTS .. "/d", '{"spec":{"replicas":3},"status":{"replicas":7}}', MERGE)
    assert.equal(status.metadata.resourceVersion, same.metadata.resourceVersion)
    assert.equal(version, w.version)
  end)

  it("of a Service's status make none where another one was meant", function()
    local _, status = ask("PUT", NS .. "/services/s/status", '{"metadata":{"name":"s","uid":"of-before"},"spec":{"ports":[{"port":80}]}}')
    assert.equal(409, status)
    refused(404, "NotFound", 'services "s" not found', "GET", NS .. "/services/s")
  end)

  it("conflict on an old resourceVersion or another uid", function()
    local uid = done("POST", MAPS, '{"metadata":{"name":"a"}}').metadata.uid
    local modified = 'Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the '
      .. "latest version and try again"
    refused(409, "Conflict", modified, "PUT", MAPS .. "/a", '{"metadata":{"name":"a","resourceVersion":"1"}}')
    refused(409, "Conflict", modified, "PATCH", MAPS .. "/a", '{"metadata":{"resourceVersion":"1"}}', MERGE)
    refused(409, "Conflict", 'Operation cannot be fulfilled on configmaps "a": StorageError: invalid object, Code: 4, Key: /registry/'
      .. "configmaps/hub/a, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: abc, UID in object meta: "
      .. uid, "PUT", MAPS .. "/a", '{"metadata":{"name":"a","uid":"abc"}}')
    refused(500, nil, 'strconv.ParseUint: parsing "abc": invalid syntax', "PUT", MAPS .. "/a",
      '{"metadata":{"name":"a","resourceVersion":"abc"}}')
  end)

  it("check the name and namespace of the path", function()
    done("POST", MAPS, '{"metadata":{"name":"a"}}')
    refused(400, "BadRequest", "the name of the object (zz) does not match the name on the URL (a)", "PUT", MAPS .. "/a",
      '{"metadata":{"name":"zz"}}')
    refused(400, "BadRequest", "the name of the object (a based on URL) was undeterminable: name must be provided", "PUT",
      MAPS .. "/a", "{}")
    refused(400, "BadRequest", "the namespace of the object (q) does not match the namespace on the request (hub)", "PATCH", MAPS .. "/a",
      '{"metadata":{"namespace":"q"}}', MERGE)
    refused(404, "NotFound", 'configmaps "nope" not found', "PUT", MAPS .. "/nope", '{"metadata":{"name":"nope"}}')
    refused(404, "NotFound", 'configmaps "nope" not found', "PATCH", MAPS .. "/nope", "{}", MERGE)
  end)

  it("create what is absent only of the kinds that allow it", function()
    local _, status = ask("PUT", NS .. "/endpoints/e", '{"metadata":{"name":"e"}}')
    assert.equal(201, status)
    _, status = ask("PUT", "/apis/coordination.k8s.io/v1/namespaces/hub/leases/l", '{"metadata":{"name":"l"},"spec":{}}')
    assert.equal(201, status)
    refused(404, "NotFound", 'secrets "s" not found', "PUT", NS .. "/secrets/s", '{"metadata":{"name":"s"}}')
  end)

  it("take four types of patches and say what is wrong with one", function()
    done("POST", MAPS, '{"metadata":{"name":"a"},"data":{"k":"v"}}')
    assert.equal("1", done("PATCH", MAPS .. "/a", '{"data":{"m":"1"}}', MERGE).data.m)
    assert.equal("2", done("PATCH", MAPS .. "/a", '{"data":{"m":"2"}}', STRATEGIC).data.m)
    assert.equal("3", done("PATCH", MAPS .. "/a", '[{"op":"replace","path":"/data/m","value":"3"}]', JSON_PATCH).data.m)
    refused(415, "UnsupportedMediaType", "415: Unsupported Media Type", "PATCH", MAPS .. "/a", "{}")
    refused(422, "Invalid", "the server rejected our request due to an error in our request", "PATCH", MAPS .. "/a",
      '[{"op":"test","path":"/data/m","value":"9"}]', JSON_PATCH)
    refused(500, nil, "Invalid JSON Patch", "PATCH", MAPS .. "/a", "{", MERGE)
    refused(400, "BadRequest", "unexpected EOF", "PATCH", MAPS .. "/a", "{", STRATEGIC)
    refused(400, "BadRequest", "json: cannot unmarshal object into Go value of type jsonpatch.Patch", "PATCH", MAPS .. "/a", "{}",
      JSON_PATCH)
  end)

  it("apply with a manager, with conflicts, by force, and create", function()
    local config = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"%s"}}'
    local _, status = ask("PATCH", MAPS .. "/a?fieldManager=one", config:format "1", APPLY)
    assert.equal(201, status)
    local conflict = refused(409, "Conflict", 'Apply failed with 1 conflict: conflict with "one": .data.k', "PATCH",
      MAPS .. "/a?fieldManager=two", config:format "2", APPLY)
    assert.equal(".data.k", conflict.details.causes[1].field)
    assert.equal("2", done("PATCH", MAPS .. "/a?fieldManager=two&force=true", config:format "2", APPLY).data.k)
    refused(422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch', "PATCH",
      MAPS .. "/a", config:format "3", APPLY)
    refused(400, "BadRequest", "Incorrect version specified in apply patch. Specified patch version: , expected: v1", "PATCH",
      MAPS .. "/a?fieldManager=one", "{}", APPLY)
  end)

  it("scale by the subresource", function()
    done("POST", DEPLOYMENTS, DEPLOYMENT)
    local scale = done("PATCH", DEPLOYMENTS .. "/d/scale", '{"spec":{"replicas":5}}', MERGE)
    assert.equal("Scale 5 a=b", table.concat({ scale.kind, scale.spec.replicas, scale.status.selector }, " "))
    assert.equal(5, done("GET", DEPLOYMENTS .. "/d").spec.replicas)
    refused(422, "Invalid", 'Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -5: must be greater than or equal to 0',
      "PATCH", DEPLOYMENTS .. "/d/scale", '{"spec":{"replicas":-5}}', MERGE)
  end)

  it("scale by an apply, which has to say what it is", function()
    done("POST", DEPLOYMENTS, DEPLOYMENT)
    local SCALE = DEPLOYMENTS .. "/d/scale?fieldManager=me"
    refused(400, "BadRequest", "Incorrect version specified in apply patch. Specified patch version: , expected: autoscaling/v1",
      "PATCH", SCALE, '{"spec":{"replicas":4}}', APPLY)
    local scale = done("PATCH", SCALE .. "&force=true", '{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":4}}', APPLY)
    assert.equal(4, scale.spec.replicas)
    assert.is_nil(scale.metadata.managedFields)
    assert.equal(4, done("GET", DEPLOYMENTS .. "/d").spec.replicas)
  end)

  it("scale only the object that is meant, and say what is wrong with the Scale's metadata", function()
    local uid = done("POST", DEPLOYMENTS, DEPLOYMENT).metadata.uid
    local body = '{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"%s","namespace":"hub",%s},"spec":{"replicas":1}}'
    local broken = 'Operation cannot be fulfilled on deployments.apps "%s": StorageError: invalid object, Code: 4, Key: '
      .. "/registry/deployments/hub/%s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: no, UID in object meta: %s"
    refused(409, "Conflict", broken:format("d", "d", uid), "PUT", DEPLOYMENTS .. "/d/scale", body:format("d", '"uid":"no"'))
    refused(409, "Conflict", broken:format("e", "e", ""), "PUT", DEPLOYMENTS .. "/e/scale", body:format("e", '"uid":"no"'))
    refused(409, "Conflict", 'Operation cannot be fulfilled on deployments/scale.apps "d": Precondition failed: UID in precondition: no, '
      .. "UID in object meta: " .. uid, "PATCH", DEPLOYMENTS .. "/d/scale", '{"metadata":{"uid":"no"}}', MERGE)
    refused(422, "Invalid", 'Scale.autoscaling "d" is invalid: metadata.finalizers[0]: Invalid value: "x": name is neither a standard '
      .. "finalizer name nor is it fully qualified", "PUT", DEPLOYMENTS .. "/d/scale", body:format("d", '"finalizers":["x"]'))
    assert.equal(2, done("GET", DEPLOYMENTS .. "/d").spec.replicas)
  end)
end)

describe("delete", function()
  it("answers with a Status and the uid", function()
    local uid = done("POST", MAPS, '{"metadata":{"name":"a"}}').metadata.uid
    local status = done("DELETE", MAPS .. "/a")
    assert.equal("Success configmaps " .. uid, table.concat({ status.status, status.details.kind, status.details.uid }, " "))
    refused(404, "NotFound", 'configmaps "a" not found', "DELETE", MAPS .. "/a")
  end)

  it("of a Service takes its Endpoints along, as their finalizers let it", function()
    done("POST", NS .. "/services", '{"metadata":{"name":"s"},"spec":{"ports":[{"port":80}]}}')
    done("POST", NS .. "/endpoints", '{"metadata":{"name":"s","finalizers":["a.b/c"]}}')
    done("POST", NS .. "/endpoints", '{"metadata":{"name":"t"}}')
    done("DELETE", NS .. "/services/s")
    assert.is_not_nil(done("GET", NS .. "/endpoints/s").metadata.deletionTimestamp)
    assert.is_nil(done("GET", NS .. "/endpoints/t").metadata.deletionTimestamp)
    done("PATCH", NS .. "/endpoints/s", '{"metadata":{"finalizers":null}}', MERGE)
    refused(404, "NotFound", 'endpoints "s" not found', "GET", NS .. "/endpoints/s")
  end)

  it("waits for finalizers, takes no new ones, and ends when the last is off", function()
    done("POST", MAPS, '{"metadata":{"name":"a","finalizers":["a.b/c"]}}')
    local held = done("DELETE", MAPS .. "/a")
    assert.equal(0, held.metadata.deletionGracePeriodSeconds)
    assert.equal(held.metadata.resourceVersion, done("DELETE", MAPS .. "/a").metadata.resourceVersion)
    local _, status = ask("PUT", MAPS .. "/a", '{"metadata":{"name":"a","finalizers":["a.b/c","d.e/f"]}}')
    assert.equal(422, status)
    refused(409, "AlreadyExists", 'object is being deleted: configmaps "a" already exists', "POST", MAPS, '{"metadata":{"name":"a"}}')
    done("PATCH", MAPS .. "/a", '{"metadata":{"finalizers":null}}', MERGE)
    refused(404, "NotFound", 'configmaps "a" not found', "GET", MAPS .. "/a")
  end)

  it("turns propagation into finalizers", function()
    done("POST", MAPS, '{"metadata":{"name":"a"}}')
    assert.same({ "foregroundDeletion" }, done("DELETE", MAPS .. "/a", '{"propagationPolicy":"Foreground"}').metadata.finalizers)
    assert.same({ "orphan" }, done("DELETE", MAPS .. "/a", '{"propagationPolicy":"Orphan"}').metadata.finalizers)
    local from = w.version
    assert.equal("Success", done("DELETE", MAPS .. "/a", '{"propagationPolicy":"Background"}').status)
    local events = w:events_since("configmaps", from)
    assert.equal("1 DELETED orphan", ("%d %s %s"):format(#events, events[1].type, events[1].record.object.metadata.finalizers[1]))
  end)

  it("on trial shows the object without the finalizer that it would take off", function()
    local ACCOUNTS = NS .. "/serviceaccounts" -- whose deletes show the object
    done("POST", ACCOUNTS, '{"metadata":{"name":"a"}}')
    done("DELETE", ACCOUNTS .. "/a", '{"propagationPolicy":"Foreground"}')
    assert.is_nil(done("DELETE", ACCOUNTS .. "/a?dryRun=All&propagationPolicy=Background").metadata.finalizers)
    assert.same({ "foregroundDeletion" }, done("GET", ACCOUNTS .. "/a").metadata.finalizers)
  end)

  it("looks at its query only if there is no body, and null is one", function()
    done("POST", MAPS, '{"metadata":{"name":"a"}}')
    done("DELETE", MAPS .. "/a?dryRun=All", "null")
    refused(404, "NotFound", 'configmaps "a" not found', "GET", MAPS .. "/a")
  end)

  it("checks preconditions and options", function()
    local object = done("POST", MAPS, '{"metadata":{"name":"a"}}')
    refused(409, "Conflict", ('Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (abc) does not match the UID in '
      .. "record (%s). The object might have been deleted and then recreated"):format(object.metadata.uid), "DELETE", MAPS .. "/a",
      '{"preconditions":{"uid":"abc"}}')
    refused(409, "Conflict", ('Operation cannot be fulfilled on ConfigMap "a": the ResourceVersion in the precondition (1) does not match '
      .. "the ResourceVersion in record (%s). The object might have been modified"):format(object.metadata.resourceVersion), "DELETE",
      MAPS .. "/a", '{"preconditions":{"resourceVersion":"1"}}')
    refused(422, "Invalid", 'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Foo": supported values: '
      .. '"Foreground", "Background", "Orphan", "nil"', "DELETE", MAPS .. "/a", '{"propagationPolicy":"Foo"}')
    assert.equal("Success", done("DELETE", MAPS .. "/a?dryRun=All").status)
    done("GET", MAPS .. "/a")
  end)

  it("gives a bound pod its grace, which may be shortened only, and an unbound one none", function()
    done("POST", PODS, POD:format "")
    done("POST", PODS .. "/p/binding", '{"metadata":{"name":"p"},"target":{"kind":"Node","name":"n1"}}')
    assert.equal(30, done("DELETE", PODS .. "/p").metadata.deletionGracePeriodSeconds)
    assert.equal(30, done("DELETE", PODS .. "/p", '{"gracePeriodSeconds":50}').metadata.deletionGracePeriodSeconds)
    local short = done("DELETE", PODS .. "/p", '{"gracePeriodSeconds":5}')
    assert.equal(5, short.metadata.deletionGracePeriodSeconds)
    assert.equal(w:time(w:now() + 5000), short.metadata.deletionTimestamp)
    done("DELETE", PODS .. "/p?gracePeriodSeconds=0")
    refused(404, "NotFound", 'pods "p" not found', "GET", PODS .. "/p")
    done("POST", PODS, POD:format "")
    assert.equal("Pod", done("DELETE", PODS .. "/p").kind)
    refused(404, "NotFound", 'pods "p" not found', "GET", PODS .. "/p")
  end)

  it("of a collection goes by selectors", function()
    for at = 1, 4 do done("POST", MAPS, ('{"metadata":{"name":"m%d","labels":{"odd":"%s"}}}'):format(at, at % 2 == 1)) end
    assert.equal(2, #done("DELETE", MAPS .. "?labelSelector=odd%3Dtrue").items)
    assert.equal(2, #done("GET", MAPS).items)
  end)

  it("of a namespace waits for its finalizer; some namespaces stay", function()
    local terminating = done("DELETE", NS)
    assert.equal("Terminating", terminating.status.phase)
    done("PUT", NS .. "/finalize", '{"metadata":{"name":"hub"},"spec":{"finalizers":[]}}')
    refused(404, "NotFound", 'namespaces "hub" not found', "GET", NS)
    refused(403, "Forbidden", 'namespaces "default" is forbidden: this namespace may not be deleted', "DELETE",
      "/api/v1/namespaces/default")
  end)
end)

describe("a stream to a container", function()
  it("is refused for what is wrong with the request, then because nothing runs there, and says so", function()
    refused(404, "NotFound", 'pods "p" not found', "POST", PODS .. "/p/exec?command=ls", "")
    done("POST", PODS, POD:format "")
    refused(400, "BadRequest", "container nobody is not valid for pod p", "POST", PODS .. "/p/exec?container=nobody", "")
    refused(400, "BadRequest", "pod p does not have a host assigned", "GET", PODS .. "/p/attach")
    done("POST", PODS .. "/p/binding", '{"metadata":{"name":"p"},"target":{"kind":"Node","name":"n1"}}')
    for _, name in ipairs { "exec", "attach", "portforward" } do
      for _, method in ipairs { "GET", "POST" } do
        local value, status = ask(method, PODS .. "/p/" .. name, method == "POST" and "" or nil)
        assert.equal(501, status, method .. " " .. name)
        assert.matches("in the containers of a sandbox.*real cluster", value.message)
      end
      refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", "DELETE", PODS .. "/p/" .. name)
    end
  end)
end)

describe("paths and methods", function()
  it("that nobody serves get the server's two kinds of 404, and 405", function()
    local nothing = "the server could not find the requested resource"
    refused(404, "NotFound", nothing, "GET", NS .. "/nope")
    refused(404, "NotFound", nothing, "GET", "/api/v1/pods/x")
    refused(404, "NotFound", nothing, "GET", "/api/v1/namespaces/hub/nodes")
    refused(404, "NotFound", nothing, "GET", MAPS .. "/a/status")
    refused(404, "NotFound", nothing, "GET", "/apis/batch/v1/namespaces/hub/cronjobs") -- a group of the real one's
    refused(404, "NotFound", nothing, "GET", "/apis/policy/v1/x")
    local _, status, answer = ask("GET", "/apis/nope.io/v1/things")
    assert.equal("404 404 page not found\n", status .. " " .. answer.body)
    local method = "the server does not allow this method on the requested resource"
    refused(405, "MethodNotAllowed", method, "PUT", MAPS, "{}")
    refused(405, "MethodNotAllowed", method, "POST", MAPS .. "/x", "{}")
    refused(405, "MethodNotAllowed", method, "DELETE", "/api/v1/pods")
  end)
end)

describe("a kind that a definition brings", function()
  local DEFINITION = '{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"as.b.c"},"spec":'
    .. '{"group":"b.c","names":{"plural":"as","kind":"A"},"scope":"Namespaced","versions":[{"name":"v1","served":true,"storage":true,'
    .. '"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}}'
  local AS = "/apis/b.c/v1/namespaces/hub/as"

  it("is served at once, in its own ways", function()
    done("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
    local object = done("POST", AS, '{"apiVersion":"b.c/v1","kind":"A","metadata":{"name":"x"},"status":{"a":1},"spec":{"b":2}}')
    assert.equal(1, object.metadata.generation)
    assert.is_nil(object.status)
    assert.equal("A", done("GET", AS).items[1].kind, "items of custom kinds say what they are")
    refused(422, "Invalid", 'as.b.c "x" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for an update', "PUT",
      AS .. "/x", '{"apiVersion":"b.c/v1","kind":"A","metadata":{"name":"x"}}')
    refused(400, "BadRequest", "the API version in the data (b.c/v2) does not match the expected API version (b.c/v1)", "POST", AS,
      '{"apiVersion":"b.c/v2","kind":"A","metadata":{"name":"y"}}')
    refused(405, "MethodNotAllowed", 'create is not supported on resources of kind "as.b.c"', "POST", AS .. "/x/status", "{}")
    refused(415, "UnsupportedMediaType", "the body of the request was in an unknown format - accepted media types include: "
      .. "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml", "PATCH", AS .. "/x", "{}", STRATEGIC)
    assert.equal(1, done("PATCH", AS .. "/x/status", '{"status":{"a":3},"spec":{"b":4}}', MERGE).metadata.generation)
    assert.equal(2, done("GET", AS .. "/x").spec.b)
  end)

  it("goes and comes back with the world's saves", function()
    local before = w:save()
    done("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", DEFINITION)
    local after = w:save()
    w:restore(before)
    local _, status = ask("GET", AS)
    assert.equal(404, status)
    w:restore(after)
    assert.equal("AList", done("GET", AS).kind)
  end)
end)

describe("verbs for controllers", function()
  it("modify reads, changes and writes; what is equal is not written", function()
    done("POST", DEPLOYMENTS, DEPLOYMENT)
    local id, options = "deployments.apps", { manager = "controller", subresource = "status" }
    local record = assert(verbs.modify(w, id, "hub", "d", options, function(object)
      return { apiVersion = object.apiVersion, kind = object.kind, metadata = object.metadata, spec = object.spec,
        status = { observedGeneration = 1 } }
    end))
    assert.equal(1, record.object.status.observedGeneration)
    local version = w.version
    verbs.modify(w, id, "hub", "d", options, function(object) return object end)
    verbs.modify(w, id, "hub", "d", options, function() return nil end)
    assert.equal(version, w.version)
    local _, failure = verbs.modify(w, id, "hub", "nope", options, function(object) return object end)
    assert.equal(404, failure.code)
  end)

  it("leave what they are given as it was, and share nothing with it", function()
    local kind = w.registry:by_id "configmaps"
    local given = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "a" }, data = { k = "v" } }
    local record = assert(verbs.create(w, kind, "hub", given, { manager = "controller" }))
    given.data.k = "changed"
    assert.equal("v", record.object.data.k)
    assert.is_nil(given.metadata.uid)
  end)

  it("admission may change an object or refuse it, and a change meanwhile is noticed", function()
    local kind = w.registry:by_id "configmaps"
    local given = { metadata = { name = "a" } }
    local record = assert(verbs.create(w, kind, "hub", given, { admission = {
      mutate = function(_, review) review.object.data = { seen = review.operation } return review.object end } }))
    assert.equal("CREATE", record.object.data.seen)
    local _, failure = verbs.update(w, kind, "hub", "a", given, { admission = {
      validate = function() return nil, { code = 403, reason = "Forbidden", message = "no" } end } })
    assert.equal(403, failure.code)
    local tries = 0
    record = assert(verbs.patch(w, kind, "hub", "a", "merge", { data = { mine = "1" } }, { admission = { validate = function()
      tries = tries + 1
      if tries == 1 then verbs.patch(w, kind, "hub", "a", "merge", { data = { theirs = "1" } }) end
      return true
    end } }))
    assert.equal(2, tries)
    assert.equal("1 1", record.object.data.mine .. " " .. record.object.data.theirs)
  end)
end)
