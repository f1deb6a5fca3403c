-- Pods that nobody lets in: how each refusal reads, that an update at full quota does not flicker through Failed, and that the
-- model goes on by itself when the cause goes.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local refuser = include "spec/lifecycle/refuser.lua"

local QUICK = { quota = 1, capacity = 1, refused = 1 }

local function failed(world, name, reason, message)
  local object = harness.eventually(name .. " is Failed for " .. reason, 25, function()
    local status = world:get(name).status or {}
    return status.phase == "Failed" and status.reason == reason and world:get(name), (status.reason or "?") .. ": " .. (status.message or "")
  end)
  assert.equal(message, object.status.message)
  assert.equal("False", harness.condition(object, "QuotaAdmitted").status)
  assert.equal("False", harness.condition(object, "Ready").status)
end

local function quota(world, hard)
  world.api:create { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "quota", namespace = world.namespace }, spec = { hard = hard } }
  harness.eventually("the quota counts", 20, function()
    local object = world.api:get("ResourceQuota", world.namespace, "quota")
    return object.status and object.status.hard
  end)
end

describe("Pods are refused by", function()
  it("the group's quota, in the specification's words, and then let in", function()
    harness.with({ settings = { grace = QUICK } }, function(world)
      refuser.with(world, "resources-validation-webhook.primehub.io", function(webhook)
        webhook.words = "Group phusers exceeded cpu quota: 0.5, requesting 1.0"
        world:deploy("m")
        failed(world, "m", "GroupQuotaExceeded", "Group resource not enough: Group phusers exceeded cpu quota: 0.5, requesting 1.0")
        webhook.words = nil
        world:phase("m", "Deployed", 40)
        assert.truthy(webhook.calls > 0)
      end)
    end)
  end)

  it("another webhook, which is named; and by one that does not answer", function()
    harness.with({ settings = { grace = QUICK } }, function(world)
      refuser.with(world, "signed.example.com", function(webhook)
        webhook.words = "images must be signed"
        world:deploy("m")
        failed(world, "m", "WebhookRefused", "The admission webhook signed.example.com refuses the pods: images must be signed")
        webhook.close()
        world:deploy("n") -- a ReplicaSet tells of its first refusal until one of its pods is let in
        failed(world, "n", "WebhookUnavailable", "Pods cannot be created: the admission webhook signed.example.com does not answer")
      end)
      world:phase("n", "Deployed", 40)
      world:phase("m", "Deployed", 40)
    end)
  end)

  it("a ResourceQuota, and go on by themselves when it is larger", function()
    harness.with({ settings = { grace = QUICK } }, function(world)
      quota(world, { ["limits.cpu"] = "100m" })
      world:deploy("m")
      failed(world, "m", "ResourceQuotaExceeded", "Namespace resource not enough, its ResourceQuota refuses the pods: exceeded quota: quota, "
        .. "requested: limits.cpu=1, limited: limits.cpu=100m")
      world.api:patch("ResourceQuota", world.namespace, "quota", "merge", { spec = { hard = { ["limits.cpu"] = "8" } } })
      world:phase("m", "Deployed", 40)
    end)
  end)
end)

describe("An update at full quota", function()
  it("goes from Deployed over Deploying to Deployed, though the old pod ends slowly and the new one is refused meanwhile", function()
    harness.with({ settings = { grace = { quota = 6 } } }, function(world)
      quota(world, { ["limits.cpu"] = "1" })
      harness.slow_ends(world, "registry.example/m:v1", 7)
      world:deploy("m")
      world:phase("m", "Deployed", 40)
      local seen, stop = harness.phases_of(world, "m")
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      local waited = harness.eventually("the refusal is seen, and the old pod waited for", 10, function()
        local condition = harness.condition(world:get("m"), "QuotaAdmitted")
        return condition.status ~= "True" and condition.reason == "WaitingForOldPods" and condition, condition
      end)
      assert.equal("Unknown", waited.status)
      world:phase("m", "Deployed", 40)
      stop()
      harness.slow_ends(world, "registry.example/m:v1", 0)
      assert.same({ "Deployed", "Deploying", "Deployed" }, seen)
    end)
  end)
end)
