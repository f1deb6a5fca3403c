-- Why a model does not run, as the PhDeployment says it, and that it recovers by itself when the cause goes. (Pods that are
-- refused: refused_spec.lua.)

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local QUICK = { grace = { image = 1, quota = 1, capacity = 1, config = 1, mount = 1 } }

local function failed(world, name, reason, words)
  local object = harness.eventually(name .. " is Failed for " .. reason, 20, function()
    local status = world:phase(name, "Failed").status
    return status.reason == reason and world:get(name), status.reason .. ": " .. status.message
  end)
  assert.contains(words, object.status.message)
  assert.equal("False", harness.condition(object, "Ready").status)
  return object
end

-- The kubelet says this of the model's container (nil: that it runs), and of its init container. The sandbox's finds it out by itself.
local function says_of_model(world, name, state, init)
  if harness.backend == "sandbox" then return end
  local pod = harness.eventually("a pod is on the node", 15, function()
    local one = world.api:list("Pod", world.namespace, "primehub.io/phdeployment=" .. name)[1]
    return one and #(one.status.containerStatuses or {}) == 2 and one
  end)
  local statuses = pod.status.containerStatuses
  statuses[1].state, statuses[1].ready = state or { running = { startedAt = "2026-01-01T00:00:00Z" } }, state == nil
  local ready = json.array { { type = "Ready", status = state and "False" or "True" }, { type = "PodScheduled", status = "True" } }
  world.api:patch("Pod", world.namespace, pod.metadata.name, "merge",
    { status = { containerStatuses = statuses, initContainerStatuses = init and json.array { init } or nil, conditions = ready } }, "status")
end

-- The init container as its kubelet tells it.
local function initializer(state, last)
  return { name = "model-storage-initializer", image = "registry.example/fetch:v1", imageID = "",
    ready = state.terminated ~= nil, restartCount = last and 1 or 0,
    state = state, lastState = last or {} }
end

-- The Event that a node writes of a pod whose volume it cannot mount.
local function tell_of_mount(world, pod, message)
  world.api:create { apiVersion = "v1", kind = "Event", type = "Warning", reason = "FailedMount", message = message, count = 1,
    metadata = { name = pod.metadata.name .. ".mount", namespace = world.namespace },
    involvedObject = { apiVersion = "v1", kind = "Pod", name = pod.metadata.name, namespace = world.namespace, uid = pod.metadata.uid },
    firstTimestamp = "2026-01-01T00:00:00Z", lastTimestamp = "2026-01-01T00:00:00Z", source = { component = "kubelet" } }
end

describe("Failed, and recovered:", function()
  it("the group is not there", function()
    harness.with({ catalogue = false }, function(world)
      world:deploy("m")
      failed(world, "m", "GroupNotFound", "phusers")
      assert.is_nil(world:child("Deployment", "m"))
      world:add_catalogue()
      world:phase("m", "Deployed")
    end)
  end)

  it("deployments are not enabled for the group; what runs is kept", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world.api:patch("PhGroup", world.namespace, "phusers", "merge", { spec = { enabledDeployment = false } })
      failed(world, "m", "DeploymentNotEnabled", "not enabled for the selected group")
      assert.equal(1, world:child("Deployment", "m").spec.replicas)
      world.api:delete("PhGroup", world.namespace, "phusers")
      failed(world, "m", "GroupNotFound", "Group not found")
      assert.equal(1, world:child("Deployment", "m").spec.replicas)
      world:add_catalogue()
      world:phase("m", "Deployed")
    end)
  end)

  it("two groups have one id", function()
    harness.with({}, function(world)
      world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = "twin", namespace = world.namespace },
        spec = { id = harness.GROUP_ID, enabledDeployment = true } }
      world:deploy("m")
      failed(world, "m", "GroupAmbiguous", "twin")
    end)
  end)

  it("the instance type is not there, and then too small", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.predictors[1].instanceType = "tiny" end)
      failed(world, "m", "InstanceTypeNotFound", "tiny")
      world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "tiny", namespace = world.namespace },
        spec = { ["limits.cpu"] = 0.2, ["limits.memory"] = "1G" } }
      failed(world, "m", "InstanceTypeTooSmall", "too small")
      world.api:patch("InstanceType", world.namespace, "tiny", "merge", { spec = { ["limits.cpu"] = 1 } })
      world:phase("m", "Deployed")
    end)
  end)

  it("the image cannot be pulled, after its grace and not before", function()
    harness.with({ settings = { grace = { image = 4 } } }, function(world)
      world.kubelet:image("registry.example/gone:v1", "missing")
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/gone:v1" end)
      local object = harness.eventually("the condition says it at once", 10, function()
        local o = world:get("m")
        local condition = harness.condition(o, "ImagePulled")
        return condition and condition.status == "False" and o
      end)
      assert.equal("Deploying", object.status.phase)
      failed(world, "m", "ImagePullFailed", "Image invalid or cannot be pulled: registry.example/gone:v1")
      world.kubelet:image("registry.example/gone:v1", "runs")
      world:phase("m", "Deployed")
    end)
  end)

  it("the image's name is invalid", function()
    harness.with({ settings = QUICK }, function(world)
      world.kubelet:image("registry.example/Bad:v1", "invalid")
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/Bad:v1" end)
      failed(world, "m", "ImagePullFailed", "registry.example/Bad:v1")
      world:predictor("m", { modelImage = "registry.example/good:v1" })
      world:phase("m", "Deployed")
    end)
  end)

  it("no node has room", function()
    harness.with({ settings = QUICK }, function(world)
      world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "huge", namespace = world.namespace },
        spec = { ["limits.cpu"] = 1000, ["limits.memory"] = "2G" } }
      world:deploy("m", function(object) object.spec.predictors[1].instanceType = "huge" end)
      local object = failed(world, "m", "ClusterResourcesShort", "Cluster resource not enough")
      assert.contains("no nodes are available: Insufficient cpu", object.status.message)
      world:predictor("m", { instanceType = "cpu-only" })
      world:phase("m", "Deployed")
    end)
  end)

  it("the model crashes, or runs out of memory", function()
    harness.with({ settings = { crash = { restarts = 1 } } }, function(world)
      world.kubelet:image("registry.example/crash:v1", "crashes")
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/crash:v1" end)
      failed(world, "m", "Crashed", "Container model crashes: Error, exit code 1: ValueError: no model")
      world.kubelet:image("registry.example/crash:v1", "out of memory")
      failed(world, "m", "OutOfMemory", "OOMKilled")
      world.kubelet:image("registry.example/crash:v1", "runs")
      world:phase("m", "Deployed")
    end)
  end)

  it("no progress until the deadline", function()
    harness.with({ settings = { rollout = { progressDeadlineSeconds = 3 }, probes = { initialDelaySeconds = 0 } } }, function(world)
      world.kubelet:image("registry.example/never:v1", "never ready")
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/never:v1" end)
      failed(world, "m", "ProgressDeadline", "no progress for 3 seconds")
      world.kubelet:image("registry.example/never:v1", "runs")
      world:phase("m", "Deployed")
    end)
  end)

  it("a Secret that the model's environment needs is not there", function()
    harness.with({ settings = QUICK }, function(world)
      world:deploy("m", function(object)
        object.spec.env = json.array { { name = "KEY", valueFrom = { secretKeyRef = { name = "keys", key = "key" } } } }
      end)
      says_of_model(world, "m", { waiting = { reason = "CreateContainerConfigError", message = 'secret "keys" not found' } })
      failed(world, "m", "ContainerConfigInvalid", 'Container model cannot be started: secret "keys" not found')
      world.api:create { apiVersion = "v1", kind = "Secret", metadata = { name = "keys", namespace = world.namespace }, stringData = { key = "1" } }
      says_of_model(world, "m", nil)
      world:phase("m", "Deployed")
    end)
  end)

  it("the model's files cannot be fetched, and what the init container said of it", function()
    harness.with({ settings = { modelUri = { image = "registry.example/fetch", tag = "v1" } } }, function(world)
      world.kubelet:image("registry.example/fetch:v1", "crashes")
      world:deploy("m", function(object) object.spec.predictors[1].modelURI = "s3://bucket/model" end)
      local ended = { exitCode = 1, reason = "Error", message = "ValueError: no model\n", startedAt = "2026-01-01T00:00:00Z",
        finishedAt = "2026-01-01T00:00:00Z" }
      says_of_model(world, "m", { waiting = { reason = "PodInitializing" } },
        initializer({ waiting = { reason = "CrashLoopBackOff" } }, { terminated = ended }))
      local object = failed(world, "m", "ModelFetchFailed",
        "The model cannot be fetched from s3://bucket/model: Error, exit code 1: ValueError: no model")
      assert.equal("False", harness.condition(object, "ModelFetched").status)
      world.kubelet:image("registry.example/fetch:v1", "runs")
      ended.exitCode, ended.reason, ended.message = 0, "Completed", nil
      says_of_model(world, "m", nil, initializer { terminated = ended })
      object = world:phase("m", "Deployed")
      assert.equal("True", harness.condition(object, "ModelFetched").status)
    end)
  end)

  it("a volume cannot be mounted, as the node says in Events of this very pod", function()
    harness.with({ settings = { grace = QUICK.grace, engine = { image = "registry.example/engine", tag = "mounts" } } }, function(world)
      for _, image in ipairs { "registry.example/m:mounts", "registry.example/engine:mounts" } do world.kubelet:image(image, "slow") end
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/m:mounts" end)
      local pod = harness.eventually("a pod is on the node", 15, function()
        local one = world.api:list("Pod", world.namespace)[1]
        return one and #(one.status.containerStatuses or {}) == 2 and one
      end)
      tell_of_mount(world, { metadata = { name = "another", uid = "another" } }, "of another pod")
      loop.sleep(1.5)
      assert.equal("Deploying", world:get("m").status.phase)
      tell_of_mount(world, pod, 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found')
      failed(world, "m", "MountFailed", 'The volume keys cannot be mounted: secret "keys" not found')
      for _, image in ipairs { "registry.example/m:mounts", "registry.example/engine:mounts" } do world.kubelet:image(image, "runs") end
      world:phase("m", "Deployed")
    end)
  end)

  it("the name is too long for a Service: nothing is made (fault 12)", function()
    harness.with({}, function(world)
      local name = "m" .. ("x"):rep(56)
      world:deploy(name)
      failed(world, name, "NameTooLong", "63 characters are what a Service may have")
      assert.is_nil(world:child("Deployment", name))
    end)
  end)

  it("a label is one that Kubernetes refuses, by the settings: nothing is made", function()
    harness.with({ settings = { appLabel = "no label!" } }, function(world)
      world:deploy("m")
      failed(world, "m", "LabelInvalid", "A label is invalid: ")
      assert.is_nil(world:child("Deployment", "m"))
    end)
  end)

  it("the server refuses a child (422), and its words are on the object", function()
    harness.with({}, function(world)
      world:deploy("m", function(object)
        object.spec.env = json.array { { name = "not a name", value = "1" } }
      end)
      local object = world:phase("m", "Failed")
      assert.contains("not a name", object.status.message)
      world:edit("m", { spec = { env = json.array { { name = "A_NAME", value = "1" } } } })
      world:phase("m", "Deployed")
    end)
  end)
end)
