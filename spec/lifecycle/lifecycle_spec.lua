-- The life of a PhDeployment as its owner sees it, on a real control plane.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

describe("a PhDeployment", function()
  it("goes from create to Deployed with its children, and away with them", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.predictors[1].replicas = 2 end)
      local object = world:phase("m", "Deployed")
      assert.equal(2, object.status.replicas)
      assert.equal(2, object.status.availableReplicas)
      assert.equal("True", harness.condition(object, "Ready").status)
      assert.matches("/deployment/m/api/v1.0/predictions$", object.status.endpoint)

      local deployment = world:child("Deployment", "m")
      assert.equal("m", deployment.metadata.labels["primehub.io/phdeployment"])
      assert.equal(object.metadata.uid, deployment.metadata.ownerReferences[1].uid)
      assert.same({ ["primehub.io/phdeployment"] = "m" }, deployment.spec.selector.matchLabels)
      local labels = deployment.spec.template.metadata.labels
      assert.equal("primehub-group", labels.app)
      assert.equal("escaped-phusers", labels["primehub.io/group"])
      local names = {}
      for i, container in ipairs(deployment.spec.template.spec.containers) do names[i] = container.name end
      assert.same({ "model", "seldon-container-engine" }, names)

      local service = world:child("Service", "m")
      assert.equal(8000, service.spec.ports[1].port)
      assert.equal("ClusterIP", service.spec.type)
      local ingress = world:child("Ingress", "m")
      assert.equal("/deployment/m/(.+)", ingress.spec.rules[1].http.paths[1].path)

      world.api:delete("PhDeployment", world.namespace, "m")
      harness.eventually("all children are gone", 60, function()
        return not world:child("Deployment", "m") and not world:child("Service", "m") and not world:child("Ingress", "m")
          and #world.api:list("Pod", world.namespace) == 0
      end)
    end)
  end)

  it("deploys a new image, and says Deploying until it serves", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world.kubelet:image("registry.example/m:v2", "slow")
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      local object = world:phase("m", "Deploying")
      assert.equal("False", harness.condition(object, "Ready").status)
      world.kubelet:image("registry.example/m:v2", "runs")
      object = world:phase("m", "Deployed")
      assert.equal("registry.example/m:v2", world:child("Deployment", "m").spec.template.spec.containers[1].image)
      assert.equal(2, #object.status.history)
      assert.equal(object.metadata.generation, object.status.history[1].generation)
      assert.equal("registry.example/m:v1", object.status.history[2].spec.predictors[1].modelImage)
    end)
  end)

  it("stops when told and starts again with its configuration", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world:edit("m", { spec = { stop = true } })
      local object = world:phase("m", "Stopped")
      assert.equal(0, #world.api:list("Pod", world.namespace), "Stopped means that the last pod is gone")
      assert.equal("True", harness.condition(object, "Stopped").status)
      assert.equal(0, world:child("Deployment", "m").spec.replicas)
      world:edit("m", { spec = { stop = false } })
      object = world:phase("m", "Deployed")
      assert.equal(1, object.status.availableReplicas)
    end)
  end)

  it("that is stopped and edited stays stopped, and starts with the edit (fault 42)", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.stop = true end)
      world:phase("m", "Stopped")
      local seen, done = harness.phases_of(world, "m")
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      world:phase("m", "Stopped")
      harness.eventually("the Deployment's controller has seen the edit", 10, function()
        local deployment = world:child("Deployment", "m")
        return deployment.spec.template.spec.containers[1].image == "registry.example/m:v2"
          and deployment.status.observedGeneration == deployment.metadata.generation
      end)
      done()
      assert.same({ "Stopped" }, seen)
      assert.equal(0, #world.api:list("Pod", world.namespace))
      world:edit("m", { spec = { stop = false } })
      world:phase("m", "Deployed")
      assert.equal("registry.example/m:v2", world.api:list("Pod", world.namespace)[1].spec.containers[1].image)
    end)
  end)

  it("is Stopping until its last pod is gone, and then Stopped (fault 14)", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.predictors[1].modelImage = "registry.example/lingers:v1" end)
      world:phase("m", "Deployed")
      harness.slow_ends(world, "registry.example/lingers:v1", 3)
      world:edit("m", { spec = { stop = true } })
      world:phase("m", "Stopping")
      harness.eventually("the Deployment counts no pod any more", 10, function()
        local status = world:child("Deployment", "m").status
        return (status.replicas or 0) == 0 and status.observedGeneration == world:child("Deployment", "m").metadata.generation
      end)
      loop.sleep(0.5)
      assert.equal("Stopping", world:get("m").status.phase, "its pod is still ending, and holds quota")
      assert.equal(1, #world.api:list("Pod", world.namespace))
      world:phase("m", "Stopped")
      assert.equal(0, #world.api:list("Pod", world.namespace))
      harness.slow_ends(world, "registry.example/lingers:v1", 0)
    end)
  end)

  it("carries an edit of any field to where it belongs", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "large", namespace = world.namespace },
        spec = { ["limits.cpu"] = 2, ["limits.memory"] = "4G", nodeSelector = { ["kubernetes.io/hostname"] = "node-1" } } }
      world:predictor("m", { instanceType = "large", imagePullSecret = "pull", replicas = 2 })
      local object = world:phase("m", "Deployed")
      assert.equal(2, object.status.availableReplicas)
      local pods = world:child("Deployment", "m").spec.template.spec
      assert.equal("node-1", pods.nodeSelector["kubernetes.io/hostname"])
      assert.equal("pull", pods.imagePullSecrets[1].name)
      world:edit("m", { spec = { env = json.array { { name = "B", value = "1" }, { name = "A", value = "$(B)" } } } })
      world:phase("m", "Deployed")
      local env = world:child("Deployment", "m").spec.template.spec.containers[1].env
      assert.same({ "B", "A" }, { env[#env - 1].name, env[#env].name }, "in the user's order (fault 6)")
      world:predictor("m", { instanceType = "cpu-only" })
      world:phase("m", "Deployed")
      assert.is_nil((world:child("Deployment", "m").spec.template.spec.nodeSelector or {})["kubernetes.io/hostname"])
    end)
  end)

  it("restarts on request, and is Ready only with the new pod (fault 27)", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local before = world.api:list("Pod", world.namespace)[1].metadata.uid
      world.api:patch("PhDeployment", world.namespace, "m", "merge",
        { metadata = { annotations = { ["primehub.io/restartedAt"] = "2026-11-22T10:00:00Z" } } })
      local object = harness.eventually("the status is of the request", 10, function()
        local o = world:get("m")
        return o.status.restartedAt == "2026-11-22T10:00:00Z" and o
      end)
      if object.status.phase == "Deployed" then
        assert.truthy(world.api:list("Pod", world.namespace)[1].metadata.uid ~= before, "Deployed with the old pod")
      end
      world:phase("m", "Deployed")
      harness.eventually("the old pod is gone", 10, function()
        local pods = world.api:list("Pod", world.namespace)
        return #pods == 1 and pods[1].metadata.uid ~= before
      end)
      assert.equal(1, #world:get("m").status.history, "it is no new generation")
    end)
  end)

  it("has no gap in an update where its group or itself asks for that (fault 28)", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local function strategy()
        return world:child("Deployment", "m").spec.strategy.rollingUpdate
      end
      assert.same({ maxSurge = 0, maxUnavailable = 1 }, strategy())
      world.api:patch("PhGroup", world.namespace, "phusers", "merge", { spec = { rolloutStrategy = "available" } })
      harness.eventually("the group's word is in the Deployment", 10, function() return strategy().maxSurge == 1 end)
      world:phase("m", "Deployed")
      local least, done = 1, false
      local watcher = loop.spawn(function()
        while not done do
          least = math.min(least, world:child("Deployment", "m").status.availableReplicas or 0)
          loop.sleep(0.02)
        end
      end)
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      world:phase("m", "Deployed")
      done = true
      watcher:join()
      assert.equal(1, least, "replicas that served at any time")
      world:edit("m", { spec = { rolloutStrategy = "resource-aware" } })
      harness.eventually("the model's own word wins", 10, function() return strategy().maxSurge == 0 end)
    end)
  end)

  it("scales by kubectl's scale subresource, without restarting a pod", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local before = world.api:list("Pod", world.namespace)[1].metadata.uid
      world.api:patch("PhDeployment", world.namespace, "m", "merge", { spec = { replicas = 3 } }, "scale")
      local object = world:phase("m", "Deployed")
      assert.equal(3, object.status.availableReplicas)
      local kept = false
      for _, pod in ipairs(world.api:list("Pod", world.namespace)) do kept = kept or pod.metadata.uid == before end
      assert.is_true(kept, "the first pod still runs")
    end)
  end)

  it("keeps every generation of 40 quick edits in its history, the newest 32 of them", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local last
      for i = 1, 40 do
        last = world:edit("m", { spec = { updateMessage = "edit " .. i, description = "text " .. i } }).metadata.generation
      end
      local object = harness.eventually("the history ends at the last edit", 20, function()
        local o = world:get("m")
        return o.status.history[1].generation == last and o
      end)
      assert.equal(32, #object.status.history)
      for i, record in ipairs(object.status.history) do
        assert.equal(last - i + 1, record.generation, "no generation is missing")
        assert.equal("edit " .. (last - i), record.spec.updateMessage)
      end
    end)
  end)

  it("shows edits that were made while no operator ran as a jump in generation, and runs the last", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world:stop_operator()
      for i = 1, 3 do world:edit("m", { spec = { description = "edit " .. i } }) end
      world:start_operator()
      local object = world:phase("m", "Deployed")
      assert.equal(2, #object.status.history)
      assert.same({ 4, 1 }, { object.status.history[1].generation, object.status.history[2].generation })
      assert.same({ 2, 1 }, { object.status.history[1].revision, object.status.history[2].revision })
      assert.equal("edit 3", object.status.history[1].spec.description)
    end)
  end)

  it("answers kubectl wait for each of its conditions", function()
    harness.with({}, function(world)
      local function wait(condition)
        local result = assert(process.run { timeout = 30,
          argv = { "kubectl", "wait", "--for=" .. condition, "phd/m", "-n", world.namespace, "--timeout=20s" } })
        assert.equal(0, result.status, condition .. ": " .. result.errors)
        return world:get("m").status
      end
      world:deploy("m")
      assert.equal("Deployed", wait("condition=Ready").phase)
      wait "condition=Available"
      wait "condition=RouteReady"
      wait "condition=Progressing=False"
      world:edit("m", { spec = { stop = true } })
      assert.equal("Stopped", wait("condition=Stopped").phase)
      wait "condition=Ready=False"
      world:edit("m", { spec = { stop = false } })
      assert.equal("Deployed", wait("condition=Ready").phase)
      world.api:delete("PhGroup", world.namespace, "phusers")
      assert.equal("Failed", wait("condition=GroupResolved=False").phase)
      wait "condition=Ready=False"
      world:add_catalogue()
      assert.equal("Deployed", wait("condition=Ready").phase)
    end)
  end)

  it("is Deployed for kubectl wait only when this spec serves", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world.kubelet:image("registry.example/wait:v2", "slow")
      world:predictor("m", { modelImage = "registry.example/wait:v2" })
      local waited = process.spawn { argv = { "kubectl", "wait", "--for=condition=Ready", "phd/m", "-n", world.namespace, "--timeout=20s" } }
      loop.sleep(1)
      assert.is_nil(waited:wait(0.2), "kubectl wait goes on while the new image is not there")
      world.kubelet:image("registry.example/wait:v2", "runs")
      assert.equal(0, waited:wait(25))
    end)
  end)
end)
