-- How requests come in: Service, Ingress, HTTPRoute, and who may use a private endpoint.

local world = require "spec_world"

local NGINX = "nginx.ingress.kubernetes.io/"
local APR1 = "$apr1$OFG3Xybp$ckL0FHDAkoXYIlH9.cysT0"
local MARK = "primehub.io/route"

local function among(decision, kind)
  for _, manifest in ipairs(decision.children) do
    if manifest.kind == kind then return manifest end
  end
  return nil
end

local function child(w, kind)
  return among(world.decide(w), kind)
end

local function new(change)
  local w = world.new()
  if change then change(w) end
  return w
end

local function private(clients)
  return function(w)
    w.object.spec.endpoint = { accessType = "private", clients = clients and json.array(clients) or nil }
  end
end

local function annotations_of(ingress)
  local all = {}
  for name, value in pairs(ingress.metadata.annotations) do
    if name ~= MARK then all[name:gsub("^nginx%.ingress%.kubernetes%.io/", "")] = value end
  end
  return all
end

local function pruned(decision)
  local all = {}
  for i, target in ipairs(decision.prune) do all[i] = target.kind end
  return table.concat(all, " ")
end

-- The lines of the Secret, without base64.
local function lines(secret)
  local alphabet, bits, count, bytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 0, 0, {}
  for letter in secret.data.auth:gmatch("[^=]") do
    bits, count = bits << 6 | (alphabet:find(letter, 1, true) - 1), count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(bits >> count & 255)
      bits = bits & ((1 << count) - 1)
    end
  end
  local all = {}
  for line in table.concat(bytes):gmatch("([^\n]*)\n") do all[#all + 1] = line end
  return all
end

describe("the Service", function()
  it("leads to every pod of the model", function()
    local service = child(new(), "Service")
    assert.equal("deploy-spam-classifier-abcxy", service.metadata.name)
    assert.same({ ["primehub.io/phdeployment"] = world.NAME }, service.spec.selector)
    assert.same({ { name = "http", port = 8000, targetPort = "rest", protocol = "TCP" } }, service.spec.ports)
  end)
end)

describe("the Ingress", function()
  it("leads from the path to the Service", function()
    local ingress = child(new(), "Ingress")
    local path = ingress.spec.rules[1].http.paths[1]
    assert.equal("/deployment/spam-classifier-abcxy/(.+)", path.path)
    assert.equal("ImplementationSpecific", path.pathType)
    assert.same({ service = { name = "deploy-spam-classifier-abcxy", port = { number = 8000 } } }, path.backend)
    assert.equal("nginx", ingress.spec.ingressClassName)
    assert.equal("[]", json.encode(ingress.spec.tls))
    assert.equal("", ingress.spec.rules[1].host)
  end)

  it("lets images be posted, also to a public endpoint (fault 47)", function()
    assert.same({ ["rewrite-target"] = "/$1", ["proxy-body-size"] = "10m" }, annotations_of(child(new(), "Ingress")))
  end)

  it("has host, TLS, class, timeout and annotations of the settings, and never another's (fault 18)", function()
    local ingress = child(new(function(w)
      local settings = w.settings.ingress
      settings.className, settings.host, settings.bodySize, settings.timeoutSeconds = "", "primehub.local", "50m", 300
      settings.tls = json.array { { hosts = json.array { "primehub.local" }, secretName = "tls" } }
      settings.annotations = { ["kubernetes.io/tls-acme"] = "true" }
    end), "Ingress")
    assert.equal("primehub.local", ingress.spec.rules[1].host)
    assert.equal("tls", ingress.spec.tls[1].secretName)
    assert.is_nil(ingress.spec.ingressClassName)
    assert.same({ ["rewrite-target"] = "/$1", ["proxy-body-size"] = "50m", ["proxy-read-timeout"] = "300", ["proxy-send-timeout"] = "300",
      ["kubernetes.io/tls-acme"] = "true" }, annotations_of(ingress))
    assert.is_nil(child(new(), "Ingress").metadata.annotations["kubernetes.io/tls-acme"])
    child(new(private()), "Ingress")
    assert.is_nil(child(new(), "Ingress").metadata.annotations[NGINX .. "auth-type"])
  end)

  it("is written again when it no longer says something: its mark tells (fault 26)", function()
    local function mark(change) return child(new(change), "Ingress").metadata.annotations[MARK] end
    assert.equal(mark(), mark())
    for _, change in ipairs {
      function(w) w.settings.ingress.annotations = { a = "b" } end,
      function(w) w.settings.ingress.className = "" end,
      function(w) w.settings.ingress.host = "a" end,
      private(),
    } do
      assert.is_true(mark() ~= mark(change))
    end
  end)

  it("goes when no route is wanted, and the address is the Service's", function()
    local w = world.deployed()
    w.settings.route = "none"
    local decision = world.apply(w)
    assert.is_nil(w.children.ingresses[world.CHILD])
    assert.equal("Deployed", decision.status.phase)
    assert.equal("http://deploy-spam-classifier-abcxy.hub:8000/api/v1.0/predictions", decision.status.endpoint)
    assert.equal(0, #world.decide(w).prune)
  end)
end)

describe("a private endpoint", function()
  it("is locked without a configuration snippet (fault 21)", function()
    local ingress = child(new(private { { name = "alice", token = APR1 } }), "Ingress")
    assert.same({ ["rewrite-target"] = "/$1", ["proxy-body-size"] = "10m", ["auth-type"] = "basic",
      ["auth-secret"] = "deploy-spam-classifier-abcxy", ["auth-secret-type"] = "auth-file", ["auth-realm"] = "Authentication Required" },
      annotations_of(ingress))
  end)

  it("has its clients in a Secret that comes before the route", function()
    local decision = world.decide(new(private { { name = "alice", token = APR1 }, { name = "bob", token = APR1 } }))
    local kinds = {}
    for i, manifest in ipairs(decision.children) do kinds[i] = manifest.kind end
    assert.same({ "Deployment", "Service", "Secret", "Ingress" }, kinds)
    local secret = among(decision, "Secret")
    assert.equal("Opaque", secret.type)
    assert.equal("deploy-spam-classifier-abcxy", secret.metadata.name)
    assert.same({ "# clients of spam-classifier-abcxy", "alice:" .. APR1, "bob:" .. APR1 }, lines(secret))
  end)

  it("takes hashes as they are and hashes tokens itself, each with a salt of its own, the same each time (fault 20)", function()
    local bcrypt = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"
    local function made(clients) return lines(child(new(private(clients)), "Secret")) end
    local clients = { { name = "alice", token = "s3cret-token" }, { name = "bob", token = "s3cret-token" }, { name = "carol", token = bcrypt },
      { name = "dave", token = "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=" }, { name = "eve", token = "{PLAIN}open" }, { name = "f", token = "$apr1$short" } }
    local all = made(clients)
    assert.equal("alice:{SSHA}xA2vHYTvdAqJubyTM6c5aKzAqK/doorfEEP+GA==", all[2]) -- as Python computes it
    assert.matches("^bob:{SSHA}[%w+/]+=*$", all[3])
    assert.is_true(all[2]:match(":(.*)") ~= all[3]:match(":(.*)"))
    assert.equal("carol:" .. bcrypt, all[4])
    assert.equal("dave:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", all[5])
    assert.matches("^eve:{SSHA}", all[6])
    assert.matches("^f:{SSHA}", all[7])
    assert.same(all, made(clients))
  end)

  it("without clients lets nobody in", function()
    for _, clients in ipairs { false, {} } do
      local decision = world.decide(new(private(clients or nil)))
      assert.same({ "# clients of spam-classifier-abcxy" }, lines(among(decision, "Secret")))
      assert.equal("basic", among(decision, "Ingress").metadata.annotations[NGINX .. "auth-type"])
    end
  end)

  it("is not opened by an annotation of the settings", function()
    local ingress = child(new(function(w)
      private() (w)
      w.settings.ingress.annotations = { [NGINX .. "auth-type"] = "none", [NGINX .. "auth-secret"] = "other" }
    end), "Ingress")
    assert.equal("basic", ingress.metadata.annotations[NGINX .. "auth-type"])
    assert.equal("deploy-spam-classifier-abcxy", ingress.metadata.annotations[NGINX .. "auth-secret"])
  end)

  it("is locked as another controller wants it", function()
    local ingress = child(new(function(w)
      private() (w)
      w.settings.ingress.privateAnnotations = { ["haproxy-ingress.github.io/auth-secret"] = "{namespace}/{secret}" }
    end), "Ingress")
    assert.equal("hub/deploy-spam-classifier-abcxy", ingress.metadata.annotations["haproxy-ingress.github.io/auth-secret"])
    assert.is_nil(ingress.metadata.annotations[NGINX .. "auth-type"])
  end)

  it("leaves a client out that would make a line of another, and says which", function()
    for name, why in pairs { ["a:b"] = "has a colon or a line break in its name", ["a\nroot"] = "has a colon or a line break in its name",
      ["#a"] = "has a name that begins with #", alice = "is there twice" } do
      local decision = world.decide(new(private { { name = "alice", token = APR1 }, { name = name, token = "t" }, { name = "bob", token = APR1 } }))
      assert.equal("ClientInvalid", decision.status.reason)
      assert.equal(("The client %s of the private endpoint %s: it has no access"):format((name:gsub("\n", " ")), why), decision.status.message)
      assert.equal("False", world.condition(decision.status, "RouteReady").status)
      assert.same({ "# clients of spam-classifier-abcxy", "alice:" .. APR1, "bob:" .. APR1 }, lines(among(decision, "Secret")))
    end
  end)

  it("shows its tokens and their hashes nowhere but in the Secret (fault 19)", function()
    local w = new(private { { name = "alice", token = "hunter2-hunter2" }, { name = "bob", token = APR1 } })
    w.trace = true
    local decision = world.decide(w)
    local hash = lines(among(decision, "Secret"))[2]:match(":(.*)")
    for i, manifest in ipairs(decision.children) do
      if manifest.kind == "Secret" then table.remove(decision.children, i) end
    end
    local all = json.encode(decision)
    for _, word in ipairs { "hunter2", APR1:sub(-10), hash:sub(-12), digest.sha256(APR1), digest.sha256("hunter2-hunter2") } do
      assert.is_nil(all:find(word, 1, true), word)
    end
  end)

  it("that becomes public loses its lock, and the Secret goes (fault 22)", function()
    local w = world.deployed(private { { name = "alice", token = APR1 } })
    assert.is_not_nil(w.children.secrets[world.CHILD])
    world.edit(w, function(spec) spec.endpoint.accessType = "public" end)
    local decision = world.decide(w)
    assert.equal("Secret", pruned(decision))
    assert.is_nil(among(decision, "Ingress").metadata.annotations[NGINX .. "auth-type"])
    world.apply(w)
    assert.is_nil(w.children.secrets[world.CHILD])
    assert.equal("", pruned(world.decide(w)))
  end)

  it("needs no restart when it opens, closes or gets another client", function()
    local w = world.deployed()
    for _, change in ipairs {
      function(spec) spec.endpoint = { accessType = "private" } end,
      function(spec) spec.endpoint.clients = json.array { { name = "a", token = "b" } } end,
      function(spec) spec.endpoint = { accessType = "public" } end,
    } do
      world.edit(w, change)
      assert.equal("Deployed", world.apply(w).status.phase)
    end
  end)

  it("that was public is locked, and a client that is taken away locked out, also while nothing else may be written", function()
    local w = world.deployed()
    w.group = { state = "missing" }
    world.edit(w, function(spec) spec.endpoint = { accessType = "private", clients = json.array { { name = "a", token = APR1 } } } end)
    local decision = world.decide(w)
    assert.equal("GroupNotFound", decision.status.reason)
    assert.equal(2, #decision.children)
    assert.equal(2, #lines(among(decision, "Secret")))
    assert.equal("basic", among(decision, "Ingress").metadata.annotations[NGINX .. "auth-type"])
    world.apply(w)
    world.edit(w, function(spec) spec.endpoint.clients = json.array {} end)
    assert.equal(1, #lines(child(w, "Secret")))
    world.edit(w, function(spec) spec.endpoint = { accessType = "public" } end)
    assert.equal(0, #world.decide(w).children)
    assert.equal("", pruned(world.decide(w)))
  end)

  it("is locked also where a setting names no route, and loses the one that is there where none is wanted", function()
    local w = world.deployed(private { { name = "a", token = APR1 } })
    world.edit(w, function(spec) spec.endpoint.clients = json.array {} end)
    w.settings.route = "ingress"
    local decision = world.decide(w)
    assert.equal("SettingsInvalid", decision.status.reason)
    assert.equal("", pruned(decision))
    assert.equal(1, #lines(among(decision, "Secret")))
    assert.truthy(among(decision, "Ingress"))
    w.settings.route, w.group = "none", { state = "missing" }
    assert.equal("Ingress", pruned(world.decide(w)))
    assert.equal(1, #lines(child(w, "Secret")))
  end)

  it("is not ready before its Secret is there", function()
    local w = world.deployed(private())
    assert.equal("True", world.condition(world.decide(w).status, "RouteReady").status)
    w.children.secrets = {}
    assert.equal("SecretMissing", world.condition(world.decide(w).status, "RouteReady").reason)
  end)
end)

describe("an HTTPRoute", function()
  local function gateway(w)
    w.settings.route = "HTTPRoute"
    w.settings.httpRoute.parentRefs = json.array { { name = "public", namespace = "gateways" } }
    w.settings.httpRoute.hostnames = json.array { "models.local" }
    w.settings.httpRoute.timeout = "120s"
  end
  local FILTER = { type = "ExtensionRef", extensionRef = { group = "x", kind = "Lock", name = "basic" } }

  it("is the same path, taken up by the Gateways of the settings", function()
    local decision = world.decide(new(gateway))
    local route = among(decision, "HTTPRoute")
    assert.equal("gateway.networking.k8s.io/v1", route.apiVersion)
    assert.same({ { name = "public", namespace = "gateways" } }, route.spec.parentRefs)
    assert.same({ "models.local" }, route.spec.hostnames)
    assert.same({ {
      matches = { { path = { type = "PathPrefix", value = "/deployment/spam-classifier-abcxy" } } },
      filters = { { type = "URLRewrite", urlRewrite = { path = { type = "ReplacePrefixMatch", replacePrefixMatch = "/" } } } },
      backendRefs = { { name = "deploy-spam-classifier-abcxy", port = 8000 } },
      timeouts = { request = "120s" },
    } }, route.spec.rules)
    assert.is_nil(among(decision, "Ingress"))
    assert.equal("http://primehub.local/deployment/spam-classifier-abcxy/api/v1.0/predictions", decision.status.endpoint)
  end)

  it("takes the place of an Ingress, and an Ingress its", function()
    local w = world.deployed()
    gateway(w)
    assert.equal("Ingress", pruned(world.decide(w)))
    world.apply(w)
    assert.is_not_nil(w.children.http_routes[world.CHILD])
    w.settings.route = "Ingress"
    assert.equal("HTTPRoute", pruned(world.decide(w)))
  end)

  it("is ready when a Gateway takes it up", function()
    local w = world.deployed(gateway)
    local function ready(condition)
      w.children.http_routes[world.CHILD].status = condition and { parents = json.array { { conditions = json.array { condition } } } }
      return world.condition(world.decide(w).status, "RouteReady")
    end
    assert.equal("NotAcceptedYet", ready(nil).reason)
    assert.equal("True", ready({ type = "Accepted", status = "True" }).status)
    local said = ready({ type = "Accepted", status = "False", reason = "NoMatchingParent", message = "no listener" })
    assert.equal("False", said.status)
    assert.equal("the Gateway does not take the HTTPRoute up: NoMatchingParent: no listener", said.message)
  end)

  it("that the cluster does not serve is said, and the model runs", function()
    local w = world.deployed(gateway)
    w.children.http_routes = {}
    w.problems = json.array { { kind = "HTTPRoute", name = world.CHILD, code = 404, reason = "NotServed",
      message = "the cluster does not serve httproutes (gateway.networking.k8s.io/v1)" } }
    local decision = world.decide(w)
    assert.equal("RouteNotServed", decision.status.reason)
    assert.equal("The endpoint has no route: the cluster does not serve httproutes (gateway.networking.k8s.io/v1); install it, or choose "
      .. "another with the setting route", decision.status.message)
    assert.equal(2, decision.status.availableReplicas)
    assert.equal(2, among(decision, "Deployment").spec.replicas)
  end)

  it("never leads to a private endpoint without a lock, and an open one goes", function()
    local w = world.deployed(gateway)
    world.edit(w, function(spec) spec.endpoint = { accessType = "private" } end)
    local decision = world.decide(w)
    assert.is_nil(among(decision, "HTTPRoute"))
    assert.equal("HTTPRoute", pruned(decision))
    assert.equal("PrivateRouteUnlocked", decision.status.reason)
    w.settings.route = "httproute"
    assert.equal("HTTPRoute", pruned(world.decide(w)))
    w.settings.route, w.group = "HTTPRoute", { state = "missing" }
    assert.equal("HTTPRoute", pruned(world.decide(w)))
  end)

  it("has the filters of the administrator where it is private, and only there", function()
    local function filters(change)
      local w = new(gateway)
      w.settings.httpRoute.privateFilters = json.array { FILTER }
      if change then change(w) end
      return child(w, "HTTPRoute").spec.rules[1].filters
    end
    assert.equal(1, #filters())
    assert.same(FILTER, filters(private())[2])
  end)

  it("needs a Gateway: without one nothing is touched, and every object says so", function()
    local w = world.deployed()
    w.settings.route = "HTTPRoute"
    local decision = world.decide(w)
    assert.equal("SettingsInvalid", decision.status.reason)
    assert.equal(0, #decision.children)
    assert.equal("", pruned(decision))
  end)
end)
