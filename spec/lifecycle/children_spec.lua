-- What a PhDeployment's children become in a cluster: locks, model files, routes, with and without an engine.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local NGINX = "nginx.ingress.kubernetes.io/"
local TOKEN, HASH = "hunter2-hunter2-hunter2", "$apr1$OFG3Xybp$ckL0FHDAkoXYIlH9.cysT0"

-- Writes that the present operator of this world has sent so far.
local function writes(world)
  local answer = assert(world:ask_operator "/metrics")
  local count = 0
  for number in answer.body:gmatch("moonphase_writes_total{[^}]*} (%d+)") do count = count + math.tointeger(tonumber(number)) end
  return count
end

-- (waits) until nothing was written for a second.
local function at_rest(world)
  local last
  harness.eventually("the operator comes to rest", 20, function()
    local now = writes(world)
    if now == last then return true end
    last = now
    loop.sleep(1)
  end)
  return last
end

local function decoded(text)
  local result = assert(process.run { argv = { "base64", "-d" }, input = text })
  return result.output
end

local function secret_lines(world, name)
  local secret = world:child("Secret", name)
  return secret and decoded(secret.data.auth)
end

local function private(clients)
  return function(object) object.spec.endpoint = { accessType = "private", clients = json.array(clients or { { name = "alice", token = TOKEN } }) } end
end

local function route_condition(world, name)
  return harness.condition(world:get(name), "RouteReady") or {}
end

describe("a private endpoint", function()
  local function with_private(body)
    harness.with({}, function(world)
      world:deploy("m", private { { name = "alice", token = TOKEN }, { name = "bob", token = HASH } })
      world:phase("m", "Deployed")
      body(world)
    end)
  end

  it("has its lock and its clients, and the token stands nowhere else (fault 19)", function()
    with_private(function(world)
      local text = secret_lines(world, "m")
      assert.matches("\nalice:{SSHA}", text)
      assert.contains("\nbob:" .. HASH .. "\n", text)
      assert.equal("deploy-m", world:child("Ingress", "m").metadata.annotations[NGINX .. "auth-secret"])
      assert.is_nil(world:child("Ingress", "m").metadata.annotations[NGINX .. "configuration-snippet"])
      local object = world:get "m"
      assert.equal("True", harness.condition(object, "RouteReady").status)
      local ssha = text:match("alice:{SSHA}(%S+)")
      local explained = assert(world:ask_operator "/explain?name=m").body
      local elsewhere = { status = json.encode(object.status), deployment = json.encode(world:child("Deployment", "m")),
        ingress = json.encode(world:child("Ingress", "m")), annotations = json.encode(world:child("Secret", "m").metadata),
        events = json.encode(world.api:list("Event", world.namespace)), log = assert(fs.read(world.log)), explain = explained }
      for place, said in pairs(elsewhere) do
        for _, word in ipairs { "hunter2", HASH, HASH:sub(-12), ssha, digest.sha256(TOKEN), digest.sha256(HASH) } do
          assert.is_nil(said:find(word, 1, true), place .. " has " .. word)
        end
      end
    end)
  end)

  it("is written once: nothing is sent while nothing changes, and nothing by an operator that starts anew", function()
    with_private(function(world)
      at_rest(world)
      local before = world:child("Secret", "m").metadata.resourceVersion
      world:edit("m", { metadata = { annotations = { seen = "again" } } }) -- one more reconcile
      loop.sleep(1)
      assert.equal(before, world:child("Secret", "m").metadata.resourceVersion)
      world:stop_operator()
      world:start_operator()
      harness.eventually("the operator is ready", 20, function()
        local answer = world:ask_operator "/readyz"
        return answer and answer.status == 200
      end)
      loop.sleep(1.5)
      assert.equal(0, writes(world))
      assert.equal(before, world:child("Secret", "m").metadata.resourceVersion)
    end)
  end)

  it("gets its Secret mended when somebody edits or deletes it, also while no operator runs", function()
    with_private(function(world)
      local right = secret_lines(world, "m")
      local function mended(what)
        harness.eventually(what, 15, function() return secret_lines(world, "m") == right end)
      end
      local function edit() world.api:patch("Secret", world.namespace, "deploy-m", "merge", { data = { auth = "Zm9yZWlnbjp4Cg==" } }) end
      edit()
      mended "an edit is mended"
      world.api:delete("Secret", world.namespace, "deploy-m")
      mended "it is back"
      world:stop_operator()
      edit()
      world:start_operator()
      mended "what happened meanwhile is mended"
    end)
  end)

  it("takes a foreign label for no reason to write", function()
    with_private(function(world)
      local count = at_rest(world)
      world.api:patch("Secret", world.namespace, "deploy-m", "merge", { metadata = { labels = { theirs = "x" } } })
      loop.sleep(1.5)
      assert.equal(count, writes(world))
      assert.equal("x", world:child("Secret", "m").metadata.labels.theirs)
    end)
  end)

  it("changes its clients without a restart of the model", function()
    with_private(function(world)
      local before = world:child("Deployment", "m").metadata.generation
      world:edit("m", { spec = { endpoint = { clients = { { name = "carol", token = HASH } } } } })
      harness.eventually("only carol is there", 10, function()
        local text = secret_lines(world, "m")
        return text:find("carol:", 1, true) and not text:find("alice:", 1, true)
      end)
      world:phase("m", "Deployed")
      assert.equal(before, world:child("Deployment", "m").metadata.generation)
    end)
  end)

  it("that turns public loses lock and Secret, whoever else put the lock on; and gets them again (faults 18, 22)", function()
    with_private(function(world)
      world.api:apply({ apiVersion = "networking.k8s.io/v1", kind = "Ingress", metadata = { name = "deploy-m", namespace = world.namespace,
        annotations = { [NGINX .. "auth-type"] = "basic", [NGINX .. "auth-secret"] = "deploy-m" } } }, "another")
      world:edit("m", { spec = { endpoint = { accessType = "public" } } })
      harness.eventually("the Secret is gone", 10, function() return not world:child("Secret", "m") end)
      local annotations = world:child("Ingress", "m").metadata.annotations
      for name in pairs(annotations) do assert.is_nil(name:find("auth-", 1, true), name) end
      assert.equal("/$1", annotations[NGINX .. "rewrite-target"])
      world:edit("m", { spec = { endpoint = { accessType = "private" } } })
      harness.eventually("the lock is back", 10, function()
        return world:child("Secret", "m") and world:child("Ingress", "m").metadata.annotations[NGINX .. "auth-type"] == "basic"
      end)
    end)
  end)

  it("takes over no Secret of its name that is not ours", function()
    harness.with({}, function(world)
      world.api:create { apiVersion = "v1", kind = "Secret", metadata = { name = "deploy-m", namespace = world.namespace },
        data = { auth = "dGhlaXJz" } }
      world:deploy("m", private())
      local object = world:phase("m", "Failed")
      assert.equal("ChildConflict", object.status.reason)
      assert.equal("dGhlaXJz", world:child("Secret", "m").data.auth)
    end)
  end)
end)

describe("an Ingress", function()
  it("loses a snippet that PrimeHub's operator left, and what the settings no longer say (faults 21, 26)", function()
    harness.with({ settings = { ingress = { host = "a.example", timeoutSeconds = 300, annotations = { ["example.com/a"] = "b" },
      tls = { { hosts = { "a.example" }, secretName = "tls" } } } } }, function(world)
      world:deploy "m"
      world:phase("m", "Deployed")
      local annotations = world:child("Ingress", "m").metadata.annotations
      assert.equal("300", annotations[NGINX .. "proxy-read-timeout"])
      assert.equal("b", annotations["example.com/a"])
      world:stop_operator()
      world.api:patch("Ingress", world.namespace, "deploy-m", "merge",
        { metadata = { annotations = { [NGINX .. "configuration-snippet"] = "proxy_set_header X-Forwarded-User $remote_user;", theirs = "stays" } } })
      world:use_settings()
      world:start_operator()
      harness.eventually("it says what the settings say now", 15, function()
        local ingress = world:child("Ingress", "m")
        local all = ingress.metadata.annotations
        return not all[NGINX .. "configuration-snippet"] and not all[NGINX .. "proxy-read-timeout"] and not all["example.com/a"]
          and not ingress.spec.tls and not ingress.spec.rules[1].host and all.theirs == "stays", all
      end)
    end)
  end)

  it("goes when no route is wanted", function()
    harness.with({}, function(world)
      world:deploy "m"
      world:phase("m", "Deployed")
      world:stop_operator()
      world:use_settings { route = "none" }
      world:start_operator()
      harness.eventually("the Ingress is gone", 15, function() return not world:child("Ingress", "m") end)
      world:phase("m", "Deployed")
    end)
  end)
end)

-- Enough of the Gateway API for an HTTPRoute to be kept.
local GATEWAY = {
  apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition",
  metadata = { name = "httproutes.gateway.networking.k8s.io",
    annotations = { ["api-approved.kubernetes.io"] = "unapproved, for tests of moonphase" } },
  spec = { group = "gateway.networking.k8s.io", scope = "Namespaced",
    names = { kind = "HTTPRoute", listKind = "HTTPRouteList", plural = "httproutes", singular = "httproute" },
    versions = { { name = "v1", served = true, storage = true, subresources = { status = json.decode "{}" }, schema = { openAPIV3Schema = {
      type = "object", properties = {
        spec = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true },
        status = { type = "object", ["x-kubernetes-preserve-unknown-fields"] = true },
      } } } } } },
}

describe("an HTTPRoute", function()
  local ROUTES = "/apis/gateway.networking.k8s.io/v1/namespaces/"
  local function route_of(world, name)
    local answer = world.cluster:request { path = ROUTES .. world.namespace .. "/httproutes/deploy-" .. name }
    return answer and answer.status == 200 and json.decode(answer.body) or nil
  end

  it("is told missing where the Gateway API is not served, everything else goes on, and it comes when that is installed", function()
    local settings = { route = "HTTPRoute", httpRoute = { parentRefs = { { name = "public", namespace = "gateways" } } } }
    harness.with({ settings = settings }, function(world)
      local api = world.api
      world:deploy "m"
      local object = world:phase("m", "Failed")
      assert.equal("RouteNotServed", object.status.reason)
      assert.contains("the cluster does not serve httproutes (gateway.networking.k8s.io/v1)", object.status.message)
      harness.eventually("the model runs", 20, function() return (world:get("m").status.availableReplicas or 0) == 1 end)
      assert.equal(200, world:ask_operator("/readyz").status)
      assert.is_nil(world:child("Ingress", "m"))

      api:apply(GATEWAY, "installer")
      local installed, failure = pcall(function()
        harness.eventually("the HTTPRoute is made", 60, function() return route_of(world, "m") end)
        harness.eventually("it is Deployed", 30, function() return world:get("m").status.phase == "Deployed" end)
        assert.equal("NotAcceptedYet", route_condition(world, "m").reason)
        local path = ROUTES .. world.namespace .. "/httproutes/deploy-m"
        assert.equal("/deployment/m", route_of(world, "m").spec.rules[1].matches[1].path.value)
        api:ask { method = "PATCH", path = path .. "/status", content_type = "application/merge-patch+json", body = { status = { parents = {
          { controllerName = "example.com/gateway", parentRef = { name = "public" }, conditions = { { type = "Accepted", status = "True" } } } } } } }
        harness.eventually("it is taken up", 20, function() return route_condition(world, "m").status == "True" end)
        local count = at_rest(world)
        api:ask { method = "PATCH", path = path, content_type = "application/merge-patch+json",
          body = { spec = { rules = json.array {}, hostnames = { "evil.example" } } } }
        harness.eventually("an edit is mended", 20, function()
          local route = route_of(world, "m")
          return #route.spec.rules == 1 and #(route.spec.hostnames or {}) == 0
        end)
        assert.is_true(at_rest(world) > count)
        world:edit("m", { spec = { endpoint = { accessType = "private" } } })
        harness.eventually("no route leads to a private model without a lock", 20, function() return not route_of(world, "m") end)
        assert.equal("PrivateRouteUnlocked", world:phase("m", "Failed").status.reason)
      end)
      api:delete("CustomResourceDefinition", nil, GATEWAY.metadata.name)
      if not installed then error(failure, 0) end
    end)
  end)
end)

describe("a model that is fetched", function()
  local SETTINGS = { modelUri = { phfs = { claim = "primehub-store" }, nfs = { exports = { "nas.example:/models" } } } }

  it("is what the API server takes, for every kind of URI over the one before", function()
    harness.with({ settings = SETTINGS }, function(world)
      world.api:patch("PhGroup", world.namespace, "phusers", "merge", { spec = { mlflow = { trackingUri = "http://mlflow:5000",
        artifactEnvs = { { name = "AWS_ACCESS_KEY_ID", valueFrom = { secretKeyRef = { name = "keys", key = "id", optional = true } } } } } } })
      world:deploy("m", function(object) object.spec.stop = true end) -- no cluster here has these volumes
      for _, uri in ipairs { "gs://bucket/model", "s3://bucket/model", "pvc://models/a", "phfs:///a/b", "nfs://nas.example/models/a", "models:/iris/1" } do
        world:predictor("m", { modelURI = uri, modelURISecret = uri:find("^s3") and "keys" or nil })
        harness.eventually(uri .. " is in the template", 10, function()
          local made = world:child("Deployment", "m")
          local init = made and made.spec.template.spec.initContainers
          local arg = init and init[1].args[1]
          return arg and (arg == uri or (arg:find("^file:") and uri:find(arg:match("([^/]*)$"), 1, true))), arg
        end)
        assert.equal("Stopped", world:phase("m", "Stopped").status.phase, uri)
        assert.equal(1, #world:child("Deployment", "m").spec.template.spec.initContainers)
      end
      world:predictor("m", { modelURI = "" })
      harness.eventually("nothing of it is left", 10, function()
        local spec = world:child("Deployment", "m").spec.template.spec
        return not spec.initContainers and #spec.volumes == 1 and #spec.containers[1].volumeMounts == 1
      end)
      assert.equal("True", harness.condition(world:phase("m", "Stopped"), "ModelFetched").status)
    end)
  end)

  it("is Deployed when its files are there, and comes to rest", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.predictors[1].modelURI = "s3://bucket/model" end)
      world:phase("m", "Deployed")
      local count = at_rest(world)
      loop.sleep(1)
      assert.equal(count, writes(world))
    end)
  end)

  it("loses an init container that somebody else adds, with one of ours and without", function()
    harness.with({}, function(world)
      world:deploy "plain"
      world:deploy("fetched", function(object) object.spec.predictors[1].modelURI = "s3://bucket/model" end)
      for name, count in pairs { plain = 0, fetched = 1 } do
        world:phase(name, "Deployed")
        world.api:patch("Deployment", world.namespace, "deploy-" .. name, "strategic",
          { spec = { template = { spec = { initContainers = { { name = "miner", image = "registry.example/miner" } } } } } })
        harness.eventually("it is gone from " .. name, 10, function()
          return #(world:child("Deployment", name).spec.template.spec.initContainers or {}) == count
        end)
      end
    end)
  end)

  it("from nowhere is refused by the operator, and what runs goes on (faults 4, 32)", function()
    harness.with({}, function(world)
      world:deploy "m"
      world:phase("m", "Deployed")
      for uri, reason in pairs { ["nfs:///path"] = "ModelUriInvalid", ["ftp://x/y"] = "ModelStorageUnknown" } do
        world:predictor("m", { modelURI = uri })
        local object = world:phase("m", "Failed")
        assert.equal(reason, object.status.reason)
        assert.equal(1, object.status.availableReplicas)
      end
    end)
  end)
end)

describe("the environment", function()
  it("stands in the pods in the user's order, also after an edit that turns it around (fault 6)", function()
    harness.with({}, function(world)
      local function names()
        local all = {}
        for _, one in ipairs(world:child("Deployment", "m").spec.template.spec.containers[1].env) do all[#all + 1] = one.name end
        return table.concat(all, " "):match("SELDON_DEPLOYMENT_ID (.*)$")
      end
      world:deploy("m", function(object)
        object.spec.env = json.array { { name = "Z", value = "1" }, { name = "A", value = "$(Z)" },
          { name = "M", valueFrom = { secretKeyRef = { name = "s", key = "k", optional = true } } } }
      end)
      world:phase("m", "Deployed")
      assert.equal("Z A M", names())
      world:edit("m", { spec = { env = { { name = "M", valueFrom = { secretKeyRef = { name = "s", key = "other", optional = true } } },
        { name = "A", value = "2" }, { name = "Z", value = "$(A)" } } } })
      world:phase("m", "Deployed")
      assert.equal("M A Z", names())
      local env = world:child("Deployment", "m").spec.template.spec.containers[1].env
      assert.equal("other", env[#env - 2].valueFrom.secretKeyRef.key)
    end)
  end)
end)

describe("a model without an engine", function()
  it("answers behind the same Service, and an engine can come and go without a change of it", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.predictors[1].engine = "none" end)
      world:phase("m", "Deployed")
      local function number_of(containers, name)
        for _, container in ipairs(containers) do
          for _, port in ipairs(container.ports) do
            if port.name == name then return port.containerPort end
          end
        end
      end
      local function shape()
        local containers, port = world:child("Deployment", "m").spec.template.spec.containers, world:child("Service", "m").spec.ports[1]
        return ("%d containers, %d to %s, cpu %s"):format(#containers, port.port, number_of(containers, port.targetPort),
          containers[1].resources.limits.cpu)
      end
      local version = world:child("Service", "m").metadata.resourceVersion
      assert.equal("1 containers, 8000 to 9000, cpu 1", shape())
      world:predictor("m", { engine = "seldon" })
      world:phase("m", "Deployed")
      assert.equal("2 containers, 8000 to 8000, cpu 700m", shape())
      world:predictor("m", { engine = "none", readiness = "/health/ping" })
      world:phase("m", "Deployed")
      assert.equal("1 containers, 8000 to 9000, cpu 1", shape())
      assert.equal(version, world:child("Service", "m").metadata.resourceVersion)
      local probe = world:child("Deployment", "m").spec.template.spec.containers[1].readinessProbe
      assert.equal("/health/ping", probe.httpGet.path)
      assert.is_nil(probe.tcpSocket)
    end)
  end)
end)
