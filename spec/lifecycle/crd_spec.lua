-- The kinds as kubectl shows them and as the API server guards them.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local function kubectl(words, input)
  return assert(process.run { argv = { "kubectl", table.unpack(words) }, input = input, timeout = 30 })
end

describe("kubectl", function()
  it("shows phase, replicas, image and message in columns", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local result = kubectl { "get", "phd", "-n", world.namespace }
      assert.matches("^NAME%s+PHASE%s+REPLICAS%s+AVAILABLE%s+IMAGE%s+MESSAGE%s+AGE", result.output)
      assert.matches("\nm%s+Deployed%s+1%s+1%s+registry.example/m:v1%s+Deployment is deployed", result.output)
      result = kubectl { "get", "phgroups", "-n", world.namespace }
      for _, column in ipairs { "ENABLED", "QUOTA", "USED" } do assert.contains(column, result.output) end
    end)
  end)

  it("explains the fields", function()
    harness.share()
    for path, words in pairs {
      ["phdeployment.spec.predictors.modelImage"] = "Image of the model", ["phdeployment.status.conditions"] = "kubectl wait",
      ["phgroup.spec.quota"] = "unlimited", ["instancetype.spec"] = "limits.cpu",
    } do
      local result = harness.eventually("kubectl explain knows " .. path, 30, function()
        local r = kubectl { "explain", path }
        return r.status == 0 and r, r.errors
      end)
      assert.contains(words, result.output, path)
    end
  end)

  it("scales a PhDeployment", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local result = kubectl { "scale", "phd/m", "--replicas=3", "-n", world.namespace }
      assert.equal(0, result.status, result.errors)
      assert.equal(3, world:phase("m", "Deployed").status.availableReplicas)
    end)
  end)
end)

describe("the API server refuses", function()
  local function refused(what, change, words)
    it(what, function()
      harness.with({ operator = false, catalogue = false }, function(world)
        local object = world:manifest("m", change)
        local answer = world.cluster:request { method = "POST", body = object,
          path = "/apis/primehub.io/v1alpha1/namespaces/" .. world.namespace .. "/phdeployments" }
        assert.equal(422, answer.status, answer.body)
        assert.contains(words, answer.message)
      end)
    end)
  end
  refused("no predictors", function(o) o.spec.predictors = json.array {} end, "spec.predictors")
  refused("negative replicas", function(o) o.spec.predictors[1].replicas = -1 end, "replicas")
  refused("an empty image", function(o) o.spec.predictors[1].modelImage = "" end, "modelImage")
  refused("an access type that nobody knows", function(o) o.spec.endpoint.accessType = "secret" end, "accessType")
end)
