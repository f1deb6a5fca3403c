-- The children: names, labels, ports, environment and resources that other parts of PrimeHub rely on.

local world = require "spec_world"

local function child(w, kind)
  for _, manifest in ipairs(world.decide(w).children) do
    if manifest.kind == kind then return manifest end
  end
  return nil
end

local function made_with(change)
  local w = world.new()
  if change then change(w) end
  return child(w, "Deployment"), w
end

local function container(manifest, name)
  for _, one in ipairs(manifest.spec.template.spec.containers) do
    if one.name == name then return one end
  end
  return nil
end

local function env_of(one)
  local list = {}
  for i, variable in ipairs(one.env) do list[i] = variable.name end
  return list
end

local function value_of(one, name)
  for _, variable in ipairs(one.env) do
    if variable.name == name then return variable.value end
  end
  return nil
end

local function decoded(encoded)
  local alphabet, bits, bytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 0, {}
  local count = 0
  for letter in encoded:gmatch("[^=]") do
    bits, count = bits << 6 | (alphabet:find(letter, 1, true) - 1), count + 6
    if count >= 8 then
      count = count - 8
      bytes[#bytes + 1] = string.char(bits >> count & 255)
      bits = bits & ((1 << count) - 1)
    end
  end
  return table.concat(bytes)
end

describe("the Deployment", function()
  it("has the names, labels and annotations that others read", function()
    local made = made_with()
    assert.equal("deploy-spam-classifier-abcxy", made.metadata.name)
    assert.same({ matchLabels = { ["primehub.io/phdeployment"] = world.NAME } }, made.spec.selector)
    assert.same({ app = "primehub-group", ["primehub.io/phdeployment"] = world.NAME,
      ["primehub.io/group"] = "escaped-phusers" }, made.spec.template.metadata.labels)
    local annotations = made.spec.template.metadata.annotations
    assert.equal("true", annotations["prometheus.io/scrape"])
    assert.equal("8000", annotations["prometheus.io/port"])
    assert.equal("prometheus", annotations["prometheus.io/path"])
    assert.equal('{"component":"model_deploy","component_name":"spam-classifier-abcxy","group":"phusers","instance_type":"cpu-only"}',
      annotations["primehub.io/usage"])
  end)

  it("says what stops or redirects a model", function()
    local spec = made_with().spec
    assert.is_false(spec.paused)
    assert.equal(2, spec.replicas)
    assert.equal("{}", json.encode(spec.template.spec.nodeSelector))
    assert.equal("[]", json.encode(spec.template.spec.tolerations))
    assert.equal(2, #spec.template.spec.containers)
    assert.same({ type = "RollingUpdate", rollingUpdate = { maxSurge = 0, maxUnavailable = 1 } }, spec.strategy)
    assert.equal(1200, spec.progressDeadlineSeconds)
  end)

  it("goes where the instance type says", function()
    local spec = made_with(function(w)
      local it = w.instance_type.object.spec
      it.nodeSelector = { gpu = "yes" }
      it.tolerations = json.array { { key = "gpu", operator = "Exists", effect = "NoSchedule" } }
    end).spec.template.spec
    assert.same({ gpu = "yes" }, spec.nodeSelector)
    assert.equal("gpu", spec.tolerations[1].key)
  end)

  it("that exists keeps its selector and the labels it needs", function()
    local selector = { matchLabels = { app = "primehub-deployment", ["primehub.io/phdeployment"] = world.NAME,
      ["primehub.io/group"] = "escaped-old" } }
    local made, w = made_with(function(w)
      w.children.deployments[world.CHILD] = { metadata = { name = world.CHILD, uid = "u", generation = 1 },
        spec = { selector = selector, replicas = 2, template = { metadata = { labels = selector.matchLabels } } } }
    end)
    assert.same(selector, made.spec.selector)
    assert.same(selector.matchLabels, made.spec.template.metadata.labels)
    assert.equal("app=primehub-deployment,primehub.io/group=escaped-old,primehub.io/phdeployment=spam-classifier-abcxy",
      world.decide(w).status.selector)
  end)

  it("is never given up for a change that the server refuses", function()
    for _, target in ipairs(world.decide(world.new()).replace) do assert.is_false(target.kind == "Deployment") end
  end)
end)

describe("the model's container", function()
  it("is as the wrappers expect it", function()
    local one = container(made_with(function(w) w.object.spec.predictors[1].modelImage = " infuseai/spam:1.0\n" end), "model")
    assert.equal("infuseai/spam:1.0", one.image)
    assert.same({ { name = "http", containerPort = 9000, protocol = "TCP" } }, one.ports)
    assert.equal("http", one.readinessProbe.tcpSocket.port)
    assert.equal(90, one.livenessProbe.failureThreshold)
    assert.same({ "/bin/sh", "-c", "sleep 10" }, one.lifecycle.preStop.exec.command)
    assert.equal("FallbackToLogsOnError", one.terminationMessagePolicy)
    assert.equal("9000", value_of(one, "PREDICTIVE_UNIT_SERVICE_PORT"))
    assert.equal("9000", value_of(one, "PREDICTIVE_UNIT_HTTP_SERVICE_PORT"))
    assert.equal("model", value_of(one, "PREDICTIVE_UNIT_ID"))
    assert.equal("infuseai/spam:1.0", value_of(one, "PREDICTIVE_UNIT_IMAGE"))
    assert.equal("deploy", value_of(one, "PREDICTOR_ID"))
    assert.equal("deploy-spam-classifier-abcxy", value_of(one, "SELDON_DEPLOYMENT_ID"))
  end)

  it("gets the user's environment in the user's order, behind ours (fault 6)", function()
    local one = container(made_with(function(w)
      w.object.spec.env = json.array { { name = "Z", value = "1" }, { name = "A", value = "$(Z)" },
        { name = "M", valueFrom = { secretKeyRef = { name = "s", key = "k" } } } }
    end), "model")
    local names = env_of(one)
    assert.same({ "Z", "A", "M" }, { names[7], names[8], names[9] })
    assert.equal("k", one.env[9].valueFrom.secretKeyRef.key)
  end)

  it("is pulled with the secret, and through the registry of an air-gapped cluster", function()
    local made = made_with(function(w)
      w.object.spec.predictors[1].imagePullSecret = "pull"
      w.settings.imagePrefix = "registry.local/"
    end)
    assert.same({ { name = "pull" } }, made.spec.template.spec.imagePullSecrets)
    assert.equal("registry.local/infuseai/spam:1.0", container(made, "model").image)
    assert.equal("registry.local/seldonio/seldon-core-executor:1.4.0", container(made, "seldon-container-engine").image)
    made = made_with(function(w)
      w.object.spec.predictors[1].modelImage = "registry.local/a:1"
      w.settings.imagePrefix = "registry.local/"
    end)
    assert.equal("registry.local/a:1", container(made, "model").image)
    assert.is_nil(made.spec.template.spec.imagePullSecrets)
  end)
end)

describe("the engine's container", function()
  local engine = container(made_with(function(w)
    w.object.spec.env = json.array { { name = "PASSWORD", value = "hunter2" } }
  end), "seldon-container-engine")

  it("is as the engine wants it", function()
    assert.equal("seldonio/seldon-core-executor:1.4.0", engine.image)
    assert.equal(8888, engine.securityContext.runAsUser)
    assert.equal("--sdep spam-classifier-abcxy --namespace hub --predictor deploy --http_port 8000 --grpc_port 5001 "
      .. "--transport rest --protocol seldon --prometheus_path /prometheus", table.concat(engine.args, " "))
    assert.same({ "ENGINE_PREDICTOR", "DEPLOYMENT_NAME", "DEPLOYMENT_NAMESPACE", "ENGINE_SERVER_PORT",
      "ENGINE_SERVER_GRPC_PORT", "SELDON_LOG_MESSAGES_EXTERNALLY" }, env_of(engine))
    assert.equal("/ready", engine.readinessProbe.httpGet.path)
    assert.equal("/live", engine.livenessProbe.httpGet.path)
  end)

  it("has no hook that needs a shell (fault 29)", function()
    assert.is_nil(engine.lifecycle)
  end)

  it("is told of the model, and of no value of its environment (fault 19)", function()
    local text_of = decoded(value_of(engine, "ENGINE_PREDICTOR"))
    assert.matches('"graph":{"endpoint":{"service_host":"localhost","service_port":9000,"type":"REST"},"name":"model","type":"MODEL"}',
      text_of)
    assert.matches('"image":"infuseai/spam:1.0"', text_of)
    assert.is_nil(text_of:find("hunter2", 1, true))
    assert.is_nil(text_of:find("replicas", 1, true))
  end)

  it("offers gRPC only where it listens (fault 30)", function()
    assert.same({ "rest", "metrics" }, { engine.ports[1].name, engine.ports[2].name })
    local made, w = made_with(function(w) w.settings.engine.grpc = true end)
    assert.equal(5001, container(made, "seldon-container-engine").ports[2].containerPort)
    assert.equal(5001, child(w, "Service").spec.ports[2].port)
  end)
end)

describe("resources", function()
  local function split(change)
    local made = made_with(function(w)
      w.instance_type.object.spec = change
    end)
    return container(made, "model").resources, container(made, "seldon-container-engine").resources
  end

  it("are split between engine and model", function()
    for _, row in ipairs {
      { 0.5, "1Gi", "300m", 262144000, "200m", 811597824 },
      { 1, "2Gi", "300m", 262144000, "700m", 1885339648 },
      { "2", "4Gi", "300m", 429496729, "1700m", 3865470567 },
      { 4, "8G", "400m", 858993459, "3600m", 7730941133 },
    } do
      local model, engine = split { ["limits.cpu"] = row[1], ["limits.memory"] = row[2] }
      assert.equal(0, quantity.compare(row[3], engine.limits.cpu))
      assert.equal(row[4], quantity.units(engine.limits.memory))
      assert.equal(0, quantity.compare(row[5], model.limits.cpu))
      assert.equal(row[6], quantity.units(model.limits.memory))
      assert.same(model.limits, model.requests)
      assert.same(engine.limits, engine.requests)
    end
  end)

  it("are written so that nobody reads them otherwise (fault 37)", function()
    local model, engine = split { ["limits.cpu"] = 1, ["limits.memory"] = "1Gi" }
    assert.equal("250Mi", engine.limits.memory)
    assert.equal("774Mi", model.limits.memory)
  end)

  it("may request less than their limits, in the same shares", function()
    local model, engine = split { ["limits.cpu"] = 4, ["requests.cpu"] = 2, ["limits.memory"] = "8Gi", ["requests.memory"] = "4Gi" }
    assert.equal("200m", engine.requests.cpu)
    assert.equal("1800m", model.requests.cpu)
    assert.equal(4 << 30, quantity.units(engine.requests.memory) + quantity.units(model.requests.memory))
  end)

  it("without a limit leave the model unbounded", function()
    local model, engine = split {}
    assert.equal("{}", json.encode(model.limits))
    assert.same({ cpu = "300m", memory = "250Mi" }, engine.limits)
  end)

  it("give a GPU of any name to the model alone", function()
    local function gpu(change, name)
      change["limits.cpu"], change["limits.memory"] = 2, "4Gi"
      local model, engine = split(change)
      assert.equal("1", model.limits[name], name)
      assert.equal("1", model.requests[name], name)
      assert.is_nil(engine.limits[name])
    end
    gpu({ ["limits.nvidia.com/gpu"] = 1 }, "nvidia.com/gpu")
    gpu({ ["limits.gpu"] = 1, gpuResourceName = "example.com/tpu" }, "example.com/tpu")
    gpu({ ["limits.gpu"] = "1" }, "nvidia.com/gpu")
    gpu({ ["limits.gpu.intel.com/i915"] = 1 }, "gpu.intel.com/i915")
    local model = split { ["limits.cpu"] = 2, ["limits.memory"] = "4Gi", ["limits.gpu"] = 0 }
    assert.is_nil(model.limits["nvidia.com/gpu"])
  end)
end)

describe("the Service", function()
  it("leads to every pod of the model", function()
    local service = child(world.new(), "Service")
    assert.equal("deploy-spam-classifier-abcxy", service.metadata.name)
    assert.same({ ["primehub.io/phdeployment"] = world.NAME }, service.spec.selector)
    assert.same({ { name = "http", port = 8000, targetPort = 8000, protocol = "TCP" } }, service.spec.ports)
  end)
end)

describe("the Ingress", function()
  it("leads from the path to the Service", function()
    local ingress = child(world.new(), "Ingress")
    local path = ingress.spec.rules[1].http.paths[1]
    assert.equal("/deployment/spam-classifier-abcxy/(.+)", path.path)
    assert.equal("ImplementationSpecific", path.pathType)
    assert.same({ service = { name = "deploy-spam-classifier-abcxy", port = { number = 8000 } } }, path.backend)
    assert.equal("nginx", ingress.spec.ingressClassName)
    assert.is_nil(ingress.spec.tls)
    assert.is_nil(ingress.spec.rules[1].host)
    assert.same({ ["nginx.ingress.kubernetes.io/rewrite-target"] = "/$1",
      ["nginx.ingress.kubernetes.io/proxy-body-size"] = "10m" }, ingress.metadata.annotations)
  end)

  it("has host, TLS, class and annotations of the settings, and never another's (fault 18)", function()
    local w = world.new()
    w.settings.ingress = { className = "", host = "primehub.local", bodySize = "50m",
      tls = json.array { { hosts = json.array { "primehub.local" }, secretName = "tls" } },
      annotations = { ["kubernetes.io/tls-acme"] = "true" } }
    local ingress = child(w, "Ingress")
    assert.equal("primehub.local", ingress.spec.rules[1].host)
    assert.equal("tls", ingress.spec.tls[1].secretName)
    assert.is_nil(ingress.spec.ingressClassName)
    assert.equal("true", ingress.metadata.annotations["kubernetes.io/tls-acme"])
    assert.is_nil(child(world.new(), "Ingress").metadata.annotations["kubernetes.io/tls-acme"])
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
