-- Why a model does not run, as the PhDeployment says it, and that it recovers by itself when the cause goes.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local QUICK = { grace = { image = 1, quota = 1, capacity = 1, config = 1 } }

local function failed(world, name, reason, words)
  local object = harness.eventually(name .. " is Failed for " .. reason, 20, function()
    local status = world:phase(name, "Failed").status
    return status.reason == reason and world:get(name), status.reason .. ": " .. status.message
  end)
  assert.contains(words, object.status.message)
  assert.equal("False", harness.condition(object, "Ready").status)
  return object
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

  it("the quota refuses the pods", function()
    harness.with({ settings = QUICK }, function(world)
      world.api:create { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "quota", namespace = world.namespace },
        spec = { hard = { ["limits.cpu"] = "100m" } } }
      harness.eventually("the quota counts", 20, function()
        local quota = world.api:get("ResourceQuota", world.namespace, "quota")
        return quota.status and quota.status.hard
      end)
      world:deploy("m")
      local object = failed(world, "m", "GroupQuotaExceeded", "exceeded quota")
      assert.equal("False", harness.condition(object, "QuotaAdmitted").status)
      assert.matches("[Gg]roup resource not enough", object.status.message)
      world.api:delete("ResourceQuota", world.namespace, "quota")
      world:edit("m", { spec = { stop = true } })
      world:phase("m", "Stopped")
      world:edit("m", { spec = { stop = false } })
      world:phase("m", "Deployed")
    end)
  end)

  it("no node has room", function()
    harness.with({ settings = QUICK }, function(world)
      world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "huge", namespace = world.namespace },
        spec = { ["limits.cpu"] = 1000, ["limits.memory"] = "2G" } }
      world:deploy("m", function(object) object.spec.predictors[1].instanceType = "huge" end)
      local object = failed(world, "m", "ClusterResourcesShort", "Cluster resource not enough")
      assert.contains("nodes are available", object.status.message)
      world:predictor("m", { instanceType = "cpu-only" })
      world:phase("m", "Deployed")
    end)
  end)

  it("the model crashes, or runs out of memory", function()
    harness.with({ settings = { crash = { restarts = 1 } } }, function(world)
      world.kubelet:image("registry.example/crash:v1", "crashes")
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/crash:v1" end)
      failed(world, "m", "Crashed", "exit code 1")
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
