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
