-- Admission webhooks of the sandbox: a webhook over TLS beside it, and what becomes of requests. The words are those that a
-- Kubernetes 1.20.2 server answered with to the same webhook.

local base64 = require "sandbox.kinds.bags"
local scene_words = require "sandbox.scene"
local start = require "sandbox.start"

local CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/"
local CONFIGMAPS = "/api/v1/namespaces/default/configmaps"

-- A certificate authority and a certificate for 127.0.0.1 and hook.hooks.svc, made once.
local pki
local function certificates()
  if pki then return pki end
  local folder = assert(fs.temporary())
  local made = assert(process.run { argv = { "sh", "-ec", [[
    cd "$0"; new="req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    openssl $new -keyout ca.key -out ca.crt -subj /CN=hook-ca
    openssl $new -keyout s.key -out s.crt -subj /CN=hook -addext subjectAltName=IP:127.0.0.1,DNS:hook.hooks.svc \
      -CA ca.crt -CAkey ca.key -addext basicConstraints=critical,CA:FALSE]], folder } })
  assert(made.status == 0, made.errors)
  pki = { ca = fs.read(folder .. "/ca.crt"), cert = fs.read(folder .. "/s.crt"), key = fs.read(folder .. "/s.key") }
  for _, name in ipairs(fs.list(folder)) do fs.remove(folder .. "/" .. name) end
  fs.remove(folder)
  return pki
end

-- What the webhook answers, by path: f(response, review) changes the response, or returns a whole answer.
local ANSWERS = {
  ["/allow"] = function() end,
  ["/deny"] = function(r) r.allowed, r.status = false, { message = "no way", code = 418, reason = "Teapot" } end,
  ["/deny200"] = function(r) r.allowed, r.status = false, { message = "no way", code = 200 } end,
  ["/denyreason"] = function(r) r.allowed, r.status = false, { reason = "Because" } end,
  ["/denynone"] = function(r) r.allowed = false end,
  ["/500"] = function() return 500, "oh no\n", "text/plain" end,
  ["/500status"] = function() return 500, { kind = "Status", apiVersion = "v1", status = "Failure", message = "says the hook" } end,
  ["/500json"] = function() return 500, "oh no\n", "application/json" end,
  ["/empty"] = function() return 200, "", "application/json" end,
  ["/nokind"] = function(r) return 200, { response = r } end,
  ["/yaml"] = function(r)
    return 200, ("apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\nresponse: {uid: %s, allowed: true}\n"):format(r.uid), "application/yaml"
  end,
  ["/words"] = function(r) r.allowed = "yes" end,
  ["/deny700"] = function(r) r.allowed, r.status = false, { message = "no way", code = 700 } end,
  ["/typenull"] = function(r) r.patch, r.patchType = base64.encode '[{"op":"add","path":"/data/b","value":"2"}]', json.null end,
  ["/typeother"] = function(r) r.patch, r.patchType = base64.encode "[]", "MergePatch" end,
  ["/typeempty"] = function(r) r.patch, r.patchType = base64.encode "[]", "" end,
  ["/patchnull"] = function(r) r.patch, r.patchType = base64.encode "null", "JSONPatch" end,
  ["/patchobject"] = function(r) r.patch, r.patchType = base64.encode '{"op":"add"}', "JSONPatch" end,
  ["/patchkind"] = function(r) r.patch, r.patchType = base64.encode '[{"op":"replace","path":"/apiVersion","value":"v2"}]', "JSONPatch" end,
  ["/patchwords"] = function(r) r.patch, r.patchType = "%%%", "JSONPatch" end,
  ["/404"] = function() return 404, "not here\n" end,
  ["/garbage"] = function() return 200, "garbage", "application/json" end,
  ["/noresponse"] = function(_, review) return 200, { apiVersion = review.apiVersion, kind = review.kind } end,
  ["/otherversion"] = function(r) return 200, { apiVersion = "admission.k8s.io/v1beta1", kind = "AdmissionReview", response = r } end,
  ["/nopatchtype"] = function(r) r.patch = base64.encode "[]" end,
  ["/badpatch"] = function(r) r.patchType, r.patch = "JSONPatch", base64.encode '[{"op":"remove","path":"/metadata/nothing"}]' end,
  ["/slow"] = function() loop.sleep(5) end,
  -- adds its label, or counts it up: "a", "aa" ...
  ["/label"] = function(r, review)
    local labels = review.request.object.metadata.labels or {}
    r.patchType = "JSONPatch"
    r.patch = base64.encode(json.encode(json.array { { op = "add", path = "/metadata/labels",
      value = { a = (labels.a or "") .. "a", b = labels.b } } }))
  end,
  -- asks for one replica more
  ["/more"] = function(r, review)
    r.patchType = "JSONPatch"
    r.patch = base64.encode(json.encode(json.array { { op = "replace", path = "/spec/replicas", value = review.request.object.spec.replicas + 1 } }))
  end,
  ["/other"] = function(r, review)
    local labels = review.request.object.metadata.labels or {}
    r.patchType = "JSONPatch"
    r.patch = base64.encode(json.encode(json.array { { op = "add", path = "/metadata/labels", value = { a = labels.a, b = "b" } } }))
  end,
}

-- Run body(world) with a sandbox and a webhook beside it; world.seen: the reviews that came, in order.
local function with_webhook(body, options)
  local world = { seen = {} }
  local certs = certificates()
  local hook = assert(http.serve { address = "127.0.0.1:0", cert = certs.cert, key = certs.key, handler = function(call)
    local review = json.decode(call.body)
    world.seen[#world.seen + 1] = { path = call.path, timeout = call.query "timeout", review = review }
    local response = { uid = review.request.uid, allowed = true }
    local status, text, content_type = ANSWERS[call.path](response, review)
    if status then return status, text, content_type end
    return 200, { apiVersion = review.apiVersion, kind = "AdmissionReview", response = response }
  end })
  local scene = assert(scene_words.check { services = options and options.service and { ["hooks/hook"] = hook.address } or nil })
  local sandbox = assert(start.start { seed = 1, scene = scene })
  sandbox.cluster:settle() -- what the namespaces' controllers make is none of ours
  function world.ask(method, path, object, content_type)
    local answer = assert(http.request { method = method, url = sandbox.url .. path, body = object and json.encode(object),
      headers = { "Content-Type: " .. (content_type or "application/json") }, timeout = 10 })
    return answer.status, json.decode(answer.body)
  end
  function world.hook(path, more)
    local webhook = { name = "hook.example.com", admissionReviewVersions = json.array { "v1" }, sideEffects = "None",
      clientConfig = { url = "https://" .. hook.address .. path, caBundle = base64.encode(certs.ca) },
      rules = json.array { { apiGroups = json.array { "" }, apiVersions = json.array { "v1" }, operations = json.array { "*" },
        resources = json.array { "configmaps" } } } }
    for name, value in pairs(more or {}) do webhook[name] = value end
    return webhook
  end
  function world.configure(kind, name, ...)
    local status, answer = world.ask("POST", CONFIGURATIONS .. kind:lower() .. "webhookconfigurations", {
      apiVersion = "admissionregistration.k8s.io/v1", kind = kind .. "WebhookConfiguration", metadata = { name = name },
      webhooks = json.array { ... } })
    assert.equal(201, status, json.encode(answer))
  end
  local count = 0
  function world.create(metadata, query)
    count = count + 1
    metadata = metadata or {}
    metadata.name = metadata.name or "c" .. count
    return world.ask("POST", CONFIGMAPS .. (query or ""), { apiVersion = "v1", kind = "ConfigMap", metadata = metadata, data = { k = "v" } })
  end
  local ok, failure = xpcall(body, require "where", world)
  sandbox:close()
  hook:close()
  if not ok then error(failure, 0) end
end

-- What a create is answered while this webhook is asked.
local function answer_of(kind, path, more)
  local status, answer
  with_webhook(function(world)
    world.configure(kind, "probe", world.hook(path, more))
    status, answer = world.create()
  end)
  return status, answer
end

local FAILED = 'Internal error occurred: failed calling webhook "hook.example.com": '

describe("a validating webhook", function()
  it("is sent the review that a real server sends", function()
    with_webhook(function(world)
      world.configure("Validating", "probe", world.hook "/allow")
      assert.equal(201, (world.create({ name = "c" }, "?fieldManager=me")))
      local seen = world.seen[1]
      assert.equal("10s", seen.timeout)
      local review, request = seen.review, seen.review.request
      assert.equal("admission.k8s.io/v1", review.apiVersion)
      assert.same({ group = "", version = "v1", kind = "ConfigMap" }, request.kind)
      assert.same({ group = "", version = "v1", resource = "configmaps" }, request.resource)
      assert.equal("CREATE", request.operation)
      assert.equal("c", request.name)
      assert.equal("default", request.namespace)
      assert.equal("v", request.object.data.k)
      assert.equal(json.null, request.oldObject)
      assert.equal(false, request.dryRun)
      assert.equal("CreateOptions", request.options.kind)
      assert.equal("me", request.options.fieldManager)
      assert.truthy(request.object.metadata.uid and request.uid ~= request.object.metadata.uid)
      assert.equal(200, (world.ask("PATCH", CONFIGMAPS .. "/c", { data = { k = "w" } }, "application/merge-patch+json")))
      request = world.seen[2].review.request
      assert.equal("UPDATE", request.operation)
      assert.equal("w", request.object.data.k)
      assert.equal("v", request.oldObject.data.k)
      assert.equal(200, (world.ask("DELETE", CONFIGMAPS .. "/c")))
      request = world.seen[3].review.request
      assert.equal("DELETE", request.operation)
      assert.equal(json.null, request.object)
      assert.equal("w", request.oldObject.data.k)
      assert.equal("DeleteOptions", request.options.kind)
    end)
  end)

  it("is not told the name of one that goes with its collection", function()
    with_webhook(function(world)
      assert.equal(201, (world.create { name = "c", labels = { x = "y" } }))
      world.configure("Validating", "probe", world.hook "/allow")
      assert.equal(200, (world.ask("DELETE", CONFIGMAPS .. "?labelSelector=x")))
      assert.equal(nil, world.seen[1].review.request.name)
      assert.equal("c", world.seen[1].review.request.oldObject.metadata.name)
    end)
  end)

  it("refuses with its code, reason and message", function()
    local status, answer = answer_of("Validating", "/deny")
    assert.equal(418, status)
    assert.equal("Teapot", answer.reason)
    assert.equal('admission webhook "hook.example.com" denied the request: no way', answer.message)
    status, answer = answer_of("Validating", "/deny200", { failurePolicy = "Ignore" })
    assert.equal(400, status)
    assert.equal(nil, answer.reason)
    status, answer = answer_of("Validating", "/deny700") -- a status that HTTP servers of ours cannot say
    assert.equal("599 no way", status .. " " .. answer.message:match "no way$")
    status, answer = answer_of("Validating", "/denyreason")
    assert.equal('admission webhook "hook.example.com" denied the request: Because', answer.message)
    assert.equal(400, status)
    status, answer = answer_of("Validating", "/denynone")
    assert.equal(400, status)
    assert.equal('admission webhook "hook.example.com" denied the request without explanation', answer.message)
  end)

  it("that cannot be asked, or makes no sense, fails the request in the server's words", function()
    for path, words in pairs {
      ["/500"] = 'an error on the server ("oh no") has prevented the request from succeeding',
      ["/404"] = "the server could not find the requested resource",
      ["/noresponse"] = "webhook response was absent",
      ["/otherversion"] = "converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown conversion",
      ["/nopatchtype"] = "validating webhook may not return response.patch",
      ["/500status"] = "says the hook",
      ["/500json"] = 'an error on the server ("unknown") has prevented the request from succeeding',
      ["/empty"] = "0-length response with status code: 200 and content type: application/json",
      ["/nokind"] = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
      ["/words"] = "v1.AdmissionReview.Response: v1.AdmissionResponse.Allowed: ReadBool: expect t or f",
      ["/garbage"] = "couldn't get version/kind; json parse error: json: cannot unmarshal string into Go value of type struct { APIVersion "
        .. 'string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }',
    } do
      local status, answer = answer_of("Validating", path)
      assert.equal(500, status)
      assert.equal("InternalError", answer.reason)
      assert.equal(FAILED .. words, answer.message)
    end
  end)

  it("that cannot be asked is passed over with failurePolicy Ignore", function()
    for _, path in ipairs { "/500", "/garbage" } do
      assert.equal(201, (answer_of("Validating", path, { failurePolicy = "Ignore" })))
    end
  end)

  it("that is too slow fails the request after timeoutSeconds", function()
    local started = loop.now()
    local status, answer = answer_of("Validating", "/slow", { timeoutSeconds = 1 })
    assert.equal(500, status)
    assert.matches('Post "https://127.0.0.1:%d+/slow%?timeout=1s": context deadline exceeded$', answer.message)
    assert.truthy(loop.now() - started < 3)
  end)

  it("whose certificate nobody vouches for is not asked", function()
    with_webhook(function(world)
      local webhook = world.hook "/allow"
      webhook.clientConfig.caBundle = nil
      world.configure("Validating", "probe", webhook)
      local status, answer = world.create()
      assert.equal(500, status)
      assert.matches("x509: certificate signed by unknown authority$", answer.message)
      assert.equal(0, #world.seen)
    end)
  end)

  it("where nobody listens is a refused connection", function()
    local status, answer = answer_of("Validating", "/allow", { clientConfig = { url = "https://127.0.0.1:1/x" } })
    assert.equal(500, status)
    assert.equal(FAILED .. 'Post "https://127.0.0.1:1/x?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused', answer.message)
  end)

  it("lets others be served while it is asked", function()
    with_webhook(function(world)
      world.configure("Validating", "probe", world.hook("/slow", { timeoutSeconds = 2, failurePolicy = "Ignore" }))
      local slow = loop.spawn(world.create)
      loop.sleep(0.1)
      local started = loop.now()
      assert.equal(200, (world.ask("GET", CONFIGMAPS)))
      assert.truthy(loop.now() - started < 0.5)
      assert.equal(201, select(2, slow:join()))
    end)
  end)
end)

describe("a webhook behind a service", function()
  it("fails as where there is no such service, unless the world file says where it is", function()
    local client = { service = { namespace = "hooks", name = "hook", path = "/deny" } }
    local status, answer = answer_of("Validating", "/deny", { clientConfig = client })
    assert.equal(500, status)
    assert.equal(FAILED .. 'Post "https://hook.hooks.svc:443/deny?timeout=10s": service "hook" not found', answer.message)
    with_webhook(function(world)
      client.caBundle = base64.encode(certificates().ca)
      world.configure("Validating", "probe", world.hook("/deny", { clientConfig = client }))
      assert.equal(418, (world.create()))
      client.service.name, client.service.path = "other", nil
    end, { service = true })
  end)
end)

describe("a mutating webhook", function()
  it("changes the object before it is stored, and later ones see it", function()
    with_webhook(function(world)
      world.configure("Mutating", "a", world.hook "/label")
      world.configure("Mutating", "b", world.hook "/other")
      world.configure("Validating", "c", world.hook "/allow")
      local status, object = world.create()
      assert.equal(201, status)
      assert.same({ a = "a", b = "b" }, object.metadata.labels)
      assert.equal("/label,/other,/allow", ("%s,%s,%s"):format(world.seen[1].path, world.seen[2].path, world.seen[3].path))
      assert.equal(nil, world.seen[1].review.request.object.metadata.uid)
      assert.same({ a = "a", b = "b" }, world.seen[3].review.request.object.metadata.labels)
    end)
  end)

  it("is asked once more when others changed the object after it, if it wants to", function()
    with_webhook(function(world)
      world.configure("Mutating", "a", world.hook("/label", { reinvocationPolicy = "IfNeeded" }), world.hook("/other", { name = "other.example.com" }))
      local _, object = world.create()
      assert.same({ a = "aa", b = "b" }, object.metadata.labels)
      assert.equal(3, #world.seen)
    end)
  end)

  it("whose patch does not fit fails the request", function()
    local status, answer = answer_of("Mutating", "/badpatch")
    assert.equal(500, status)
    assert.equal("InternalError", answer.reason)
    assert.contains("Unable to remove nonexistent key: nothing: missing value", answer.message)
  end)

  it("whose patch has no type or another one, or is none, fails the request in the server's words", function()
    for path, words in pairs {
      ["/nopatchtype"] = FAILED .. "webhook returned response.patch but not response.patchType",
      ["/typenull"] = FAILED .. "webhook returned response.patch but not response.patchType",
      ["/typeother"] = FAILED .. 'unsupported patch type "MergePatch"',
      ["/typeempty"] = FAILED .. 'webhook returned invalid response.patchType of ""',
      ["/patchwords"] = FAILED .. "v1.AdmissionReview.Response: v1.AdmissionResponse.Patch: decode base64: illegal base64 data",
      ["/patchobject"] = "Internal error occurred: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
      ["/patchkind"] = 'Internal error occurred: no kind "ConfigMap" is registered for version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30"',
    } do
      local status, answer = answer_of("Mutating", path)
      assert.equal(500, status)
      assert.equal(words, answer.message)
    end
    for _, path in ipairs { "/patchnull", "/yaml" } do assert.equal(201, (answer_of("Mutating", path))) end
  end)

  it("is asked about a delete too", function()
    with_webhook(function(world)
      assert.equal(201, (world.create { name = "c" }))
      world.configure("Mutating", "a", world.hook "/deny")
      assert.equal(418, (world.ask("DELETE", CONFIGMAPS .. "/c")))
    end)
  end)
end)

describe("a webhook about pods", function()
  it("is asked about an eviction as such, not about the delete that it brings", function()
    with_webhook(function(world)
      local PODS = "/api/v1/namespaces/default/pods"
      assert.equal(201, (world.ask("POST", PODS, { metadata = { name = "p" },
        spec = { schedulerName = "none", containers = json.array { { name = "c", image = "example/c" } } } })))
      local function about(resource, operation)
        return { rules = json.array { { apiGroups = json.array { "" }, apiVersions = json.array { "v1" }, operations = json.array { operation },
          resources = json.array { resource } } } }
      end
      world.configure("Validating", "a", world.hook("/deny", about("pods", "DELETE")))
      world.configure("Validating", "b", world.hook("/allow", about("pods/eviction", "CREATE")))
      assert.equal(201, (world.ask("POST", PODS .. "/p/eviction", { metadata = { name = "p" } })))
      assert.equal(1, #world.seen)
      local request = world.seen[1].review.request
      assert.same({ group = "policy", version = "v1beta1", kind = "Eviction" }, request.kind)
      assert.equal("eviction pods Eviction p", ("%s %s %s %s"):format(request.subResource, request.resource.resource, request.object.kind,
        request.object.metadata.name))
    end)
  end)
end)

describe("a webhook about scale", function()
  local DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
  local function rule(resource)
    return { rules = json.array { { apiGroups = json.array { "apps" }, apiVersions = json.array { "v1" }, operations = json.array { "UPDATE" },
      resources = json.array { resource } } } }
  end

  it("is shown the Scale before and after, and may change it; one about the kind is not asked", function()
    with_webhook(function(world)
      local status, answer = world.ask("POST", DEPLOYMENTS, { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "d" },
        spec = { replicas = 2, selector = { matchLabels = { app = "d" } }, template = { metadata = { labels = { app = "d" } },
          spec = { containers = json.array { { name = "c", image = "example/c" } } } } } })
      assert.equal(201, status, json.encode(answer))
      world.configure("Mutating", "a", world.hook("/more", rule "deployments/scale"))
      world.configure("Validating", "b", world.hook("/allow", rule "deployments/scale"))
      world.configure("Validating", "c", world.hook("/deny", rule "deployments"))
      status, answer = world.ask("PATCH", DEPLOYMENTS .. "/d/scale", { spec = { replicas = 4 } }, "application/merge-patch+json")
      assert.equal(200, status, json.encode(answer))
      assert.equal(5, answer.spec.replicas)
      assert.equal("/more,/allow", world.seen[1].path .. "," .. world.seen[2].path)
      for i, replicas in ipairs { 4, 5 } do
        local request = world.seen[i].review.request
        assert.same({ group = "autoscaling", version = "v1", kind = "Scale" }, request.kind)
        assert.same({ group = "apps", version = "v1", resource = "deployments" }, request.resource)
        assert.equal("scale", request.subResource)
        assert.equal("Scale", request.object.kind)
        assert.equal(replicas, request.object.spec.replicas)
        assert.equal("Scale", request.oldObject.kind)
        assert.equal(2, request.oldObject.spec.replicas)
      end
      world.configure("Validating", "d", world.hook("/deny", rule "*/*"))
      answer.spec.replicas, answer.metadata.resourceVersion = 1, nil
      assert.equal(418, (world.ask("PUT", DEPLOYMENTS .. "/d/scale", answer)))
    end)
  end)
end)

describe("a webhook's rules", function()
  local function is_asked(more, metadata, query)
    local count
    with_webhook(function(world)
      world.configure("Validating", "probe", world.hook("/allow", more))
      assert.equal(201, (world.create(metadata, query)))
      count = #world.seen
    end)
    return count == 1
  end

  local function rule(fields)
    local all = { apiGroups = json.array { "" }, apiVersions = json.array { "*" }, operations = json.array { "CREATE" },
      resources = json.array { "configmaps" } }
    for name, value in pairs(fields) do all[name] = value end
    return { rules = json.array { all } }
  end

  it("choose by operation, group, resource and scope", function()
    assert.truthy(is_asked(rule {}))
    assert.falsy(is_asked(rule { operations = json.array { "UPDATE", "DELETE" } }))
    assert.falsy(is_asked(rule { apiGroups = json.array { "apps" } }))
    assert.truthy(is_asked(rule { apiGroups = json.array { "*" }, resources = json.array { "*/*" } }))
    assert.truthy(is_asked(rule { resources = json.array { "*" } }))
    assert.falsy(is_asked(rule { resources = json.array { "configmaps/status", "pods" } }))
    assert.truthy(is_asked(rule { scope = "Namespaced" }))
    assert.falsy(is_asked(rule { scope = "Cluster" }))
  end)

  it("find a request in another version of the same resource, unless matchPolicy is Exact", function()
    local v1beta1 = { apiVersion = "networking.k8s.io/v1beta1", kind = "Ingress", metadata = { name = "i" },
      spec = { backend = { serviceName = "x", servicePort = 80 } } }
    local of_v1 = rule { apiGroups = json.array { "networking.k8s.io" }, apiVersions = json.array { "v1" }, resources = json.array { "ingresses" } }
    with_webhook(function(world)
      world.configure("Validating", "probe", world.hook("/allow", of_v1))
      local status, object = world.ask("POST", "/apis/networking.k8s.io/v1beta1/namespaces/default/ingresses", v1beta1)
      assert.equal(201, status, json.encode(object))
      local request = world.seen[1].review.request
      assert.equal("v1", request.kind.version)
      assert.equal("v1beta1", request.requestKind.version)
      assert.equal("v1beta1", request.requestResource.version)
      assert.equal("networking.k8s.io/v1", request.object.apiVersion)
      assert.equal(80, request.object.spec.defaultBackend.service.port.number)
      assert.equal("networking.k8s.io/v1beta1", object.apiVersion)
      of_v1.matchPolicy = "Exact"
      world.configure("Mutating", "probe", world.hook("/deny", of_v1))
      v1beta1.metadata.name = "j"
      assert.equal(201, (world.ask("POST", "/apis/networking.k8s.io/v1beta1/namespaces/default/ingresses", v1beta1)))
    end)
  end)

  it("choose by labels of the object and of its namespace", function()
    assert.truthy(is_asked({ objectSelector = { matchLabels = { a = "b" } } }, { labels = { a = "b" } }))
    assert.falsy(is_asked({ objectSelector = { matchLabels = { a = "b" } } }, { labels = { a = "c" } }))
    local absent = { matchExpressions = json.array { { key = "quiet", operator = "DoesNotExist" } } }
    assert.truthy(is_asked { namespaceSelector = absent })
    assert.falsy(is_asked { namespaceSelector = { matchLabels = { loud = "yes" } } })
  end)

  it("never send webhook configurations", function()
    with_webhook(function(world)
      world.configure("Validating", "probe", world.hook("/deny", rule { apiGroups = json.array { "*" }, operations = json.array { "*" },
        resources = json.array { "*" } }))
      assert.equal(418, (world.create()))
      assert.equal(200, (world.ask("DELETE", CONFIGURATIONS .. "validatingwebhookconfigurations/probe")))
      assert.equal(201, (world.create()))
    end)
  end)

  it("let a dry run through to webhooks without side effects", function()
    with_webhook(function(world)
      world.configure("Validating", "probe", world.hook("/allow", { sideEffects = "NoneOnDryRun" }))
      assert.equal(201, (world.create({}, "?dryRun=All")))
      assert.equal(true, world.seen[1].review.request.dryRun)
      assert.same({ "All" }, world.seen[1].review.request.options.dryRun)
    end)
  end)
end)
