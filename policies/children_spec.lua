-- The Deployment: names, labels, ports, environment and resources that other parts of PrimeHub rely on.
-- (What leads to it: routes_spec.lua. What fetches its model: model_uri_spec.lua.)

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

-- Labels may have more than what is expected: an edit that adds one breaks nothing.
local function has_labels(expected, labels)
  for name, value in pairs(expected) do assert.equal(value, labels[name], name) end
end

describe("the Deployment", function()
  it("has the names, labels and annotations that others read", function()
    local made = made_with()
    assert.equal("deploy-spam-classifier-abcxy", made.metadata.name)
    assert.same({ matchLabels = { ["primehub.io/phdeployment"] = world.NAME } }, made.spec.selector)
    has_labels({ app = "primehub-group", ["primehub.io/phdeployment"] = world.NAME,
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
    has_labels(selector.matchLabels, made.spec.template.metadata.labels)
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

  it("may have a divisor written as a number", function()
    local function divisor(given)
      local one = { name = "C", valueFrom = { resourceFieldRef = { containerName = "model", resource = "limits.cpu", divisor = given } } }
      local made = made_with(function(w) w.object.spec.env = json.array { one } end)
      local env = container(made, "model").env
      return env[#env].valueFrom.resourceFieldRef.divisor
    end
    assert.equal("1", divisor(1))
    assert.equal("1m", divisor "1m")
  end)

  it("may not have its environment set under the operator's own names (fault 6)", function()
    local function reason(name, change)
      local w = world.new()
      w.object.spec.env = json.array { { name = name, value = "x" } }
      if change then change(w) end
      return world.decide(w).status.reason
    end
    for _, name in ipairs { "PREDICTIVE_UNIT_SERVICE_PORT", "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "PREDICTIVE_UNIT_ID",
      "PREDICTIVE_UNIT_IMAGE", "PREDICTOR_ID", "SELDON_DEPLOYMENT_ID" } do
      assert.equal("EnvInvalid", reason(name), name)
    end
    -- the parameters are the user's own as long as no model is fetched
    assert.equal("Deploying", reason "PREDICTIVE_UNIT_PARAMETERS")
    assert.equal("EnvInvalid", reason("PREDICTIVE_UNIT_PARAMETERS", function(w)
      w.object.spec.predictors[1].modelURI = "gs://bucket/model"
    end))
  end)

  it("that the server refuses can be stopped and scaled down all the same, as it is", function()
    local function asked(replicas, change)
      local w = world.deployed()
      w.problems[1] = { kind = "Deployment", name = world.CHILD, code = 422, reason = "Invalid", message = "no" }
      w.object.spec.env = json.array { { name = "MY VAR", value = "1" } }
      w.object.spec.replicas = replicas
      if change then change(w) end
      local made = world.decide(w).children[1]
      local live = w.children.deployments[world.CHILD]
      return made.spec.replicas, json.equal(live.spec.template, made.spec.template)
    end
    assert.same({ 0, true }, { asked(2, function(w) w.object.spec.stop = true end) })
    assert.same({ 1, true }, { asked(1) })
    assert.same({ 2, false }, { asked(2) }, "nothing to take away: the whole is tried again")
    assert.same({ 3, false }, { asked(3) })
    assert.same({ 1, false }, { asked(1, function(w) w.problems[1].code = 503 end) }, "trouble is no refusal")
  end)

  it("is rolled when an env's valueFrom changes (fault 25)", function()
    local function mark(key)
      local made = made_with(function(w)
        w.object.spec.env = json.array { { name = "A", valueFrom = { secretKeyRef = { name = "s", key = key } } } }
      end)
      return made.metadata.annotations["primehub.io/template"]
    end
    assert.equal(mark "one", mark "one")
    assert.is_true(mark "one" ~= mark "two")
  end)

  it("is told its port by both names, for wrappers of all versions (fault 33)", function()
    local one = container(made_with(), "model")
    assert.equal("9000", value_of(one, "PREDICTIVE_UNIT_SERVICE_PORT"))
    assert.equal("9000", value_of(one, "PREDICTIVE_UNIT_HTTP_SERVICE_PORT"))
  end)

  it("is ready when its path answers, where the setting or the predictor names one; alive while its port is open", function()
    local function probes(setting, own)
      local one = container(made_with(function(w)
        w.settings.model.readiness, w.object.spec.predictors[1].readiness = setting, own
      end), "model")
      assert.equal("http", one.livenessProbe.tcpSocket.port)
      assert.is_nil(one.livenessProbe.httpGet)
      local ready = one.readinessProbe
      return ready.httpGet and ready.httpGet.path or ready.tcpSocket and "tcp"
    end
    assert.equal("tcp", probes "tcp")
    assert.equal("/health/ping", probes "/health/ping")
    assert.equal("/ready", probes("/health/ping", "/ready"))
    assert.equal("tcp", probes("/health/ping", "tcp"))
    assert.equal("/health/ping", probes("/health/ping", ""))
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

  it("has image, version, pull policy and arguments of the settings", function()
    local one = container(made_with(function(w)
      w.settings.engine.image, w.settings.engine.tag, w.settings.engine.pullPolicy = "registry.local/executor", "1.18.2", "Always"
      w.settings.engine.args = json.array { "--full_health_checks=true" }
    end), "seldon-container-engine")
    assert.equal("registry.local/executor:1.18.2", one.image)
    assert.equal("Always", one.imagePullPolicy)
    assert.equal("--full_health_checks=true", one.args[#one.args])
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

describe("a model without an engine", function()
  local function engineless(change)
    return made_with(function(w)
      w.object.spec.predictors[1].engine = "none"
      if change then change(w) end
    end)
  end

  it("is one container, which gets all of the instance type", function()
    local spec = engineless().spec.template.spec
    assert.equal(1, #spec.containers)
    assert.equal("model", spec.containers[1].name)
    assert.same({ cpu = "1", memory = "2Gi" }, spec.containers[1].resources.limits)
    assert.same({ cpu = "1", memory = "2Gi" }, spec.containers[1].resources.requests)
  end)

  it("is scraped where Seldon's wrappers show their metrics", function()
    local template = engineless().spec.template
    assert.equal("6000", template.metadata.annotations["prometheus.io/port"])
    assert.equal("metrics", template.metadata.annotations["prometheus.io/path"])
    assert.same({ name = "metrics", containerPort = 6000, protocol = "TCP" }, template.spec.containers[1].ports[2])
  end)

  it("is answered by its Service's same port, which is a name that its pods and those with an engine have", function()
    local _, w = engineless(function(given) given.settings.engine.grpc = true end)
    assert.same({ { name = "http", port = 8000, targetPort = "rest", protocol = "TCP" } }, child(w, "Service").spec.ports)
    local function number(made)
      for _, one in ipairs(made.spec.template.spec.containers) do
        for _, port in ipairs(one.ports) do
          if port.name == "rest" then return port.containerPort end
        end
      end
    end
    assert.equal(9000, number(engineless()))
    assert.equal(8000, number(made_with()))
  end)

  it("may be the setting, and a predictor may want the engine all the same", function()
    local function containers(setting, own)
      return #made_with(function(w)
        w.settings.engine.kind, w.object.spec.predictors[1].engine = setting, own
      end).spec.template.spec.containers
    end
    assert.equal(1, containers("none"))
    assert.equal(2, containers("none", "seldon"))
    assert.equal(1, containers("seldon", "none"))
    assert.equal(2, containers("seldon"))
  end)

  it("runs on instance types that are too small for an engine (fault 40)", function()
    local function small(w)
      w.instance_type.object.spec = { ["limits.cpu"] = 0.2, ["limits.memory"] = "200Mi" }
    end
    local _, w = made_with(small)
    assert.equal("InstanceTypeTooSmall", world.decide(w).status.reason)
    assert.same({ cpu = "200m", memory = "200Mi" }, engineless(small).spec.template.spec.containers[1].resources.limits)
  end)

  it("goes through Deploying when the engine comes or goes", function()
    local w = world.deployed()
    world.edit(w, function(spec) spec.predictors[1].engine = "none" end)
    assert.equal("Deploying", world.apply(w).status.phase)
  end)
end)

describe("security", function()
  it("can be what Pod Security asks for, and no token is mounted (fault 23)", function()
    local made = made_with(function(w)
      w.settings.securityContext = { pod = { runAsNonRoot = true, seccompProfile = { type = "RuntimeDefault" } },
        container = { allowPrivilegeEscalation = false } }
      w.object.spec.predictors[1].modelURI = "s3://bucket/model"
    end)
    local spec = made.spec.template.spec
    assert.same({ runAsNonRoot = true, seccompProfile = { type = "RuntimeDefault" } }, spec.securityContext)
    assert.is_false(spec.automountServiceAccountToken)
    assert.same({ allowPrivilegeEscalation = false }, container(made, "model").securityContext)
    assert.same({ allowPrivilegeEscalation = false, runAsUser = 8888 }, container(made, "seldon-container-engine").securityContext)
    assert.same({ allowPrivilegeEscalation = false }, spec.initContainers[1].securityContext)
  end)

  it("says nothing by itself but the engine's user", function()
    local made = made_with()
    assert.is_nil(made.spec.template.spec.securityContext)
    assert.is_nil(container(made, "model").securityContext)
    assert.same({ runAsUser = 8888 }, container(made, "seldon-container-engine").securityContext)
  end)
end)
