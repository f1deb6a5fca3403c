-- An edit of the policies that changes pod templates restarts models: a few at a time, and not at all when the
-- first one fails.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local edited = include("spec/lifecycle/edited.lua").folder_of

local COUNT = 5

local function labelled(world)
  local n = 0
  for i = 1, COUNT do
    local deployment = world:child("Deployment", "m" .. i)
    if deployment.spec.template.metadata.labels.tier then n = n + 1 end
  end
  return n
end

local function deploy_all(world)
  for i = 1, COUNT do world:deploy("m" .. i) end
  for i = 1, COUNT do world:phase("m" .. i, "Deployed") end
end

describe("a policy that changes pod templates", function()
  it("moves one model at a time, each waited for", function()
    harness.with({}, function(world)
      deploy_all(world)
      world:stop_operator()
      local most, done = 0, false
      local watcher = loop.spawn(function()
        while not done do
          local unready = 0
          for i = 1, COUNT do
            local status = world:get("m" .. i).status
            if status.phase ~= "Deployed" then unready = unready + 1 end
          end
          most = math.max(most, unready)
          loop.sleep(0.02)
        end
      end)
      world:start_operator { policies = edited(world, "labelled", "children/deployment.lua",
        "app = s.settings.appLabel", 'tier = "one", app = s.settings.appLabel') }
      harness.eventually("every template has the label", 60, function() return labelled(world) == COUNT, labelled(world) end)
      for i = 1, COUNT do world:phase("m" .. i, "Deployed") end
      done = true
      watcher:join()
      assert.truthy(most <= 1, most .. " models were not Deployed at the same time")
    end)
  end)

  it("leaves a model that moves its place when the operator is killed and starts again", function()
    harness.with({}, function(world)
      deploy_all(world)
      world:stop_operator()
      local folder = edited(world, "slow", "children/model.lua", "image = image.prefixed(s, s.image)",
        'image = image.prefixed(s, s.image) .. "-slow"')
      local function moved()
        local n = 0
        for i = 1, COUNT do
          local image = world:child("Deployment", "m" .. i).spec.template.spec.containers[1].image
          if image:find("slow", 1, true) then n = n + 1 end
        end
        return n
      end
      for i = 1, COUNT do world.kubelet:image("registry.example/m" .. i .. ":v1-slow", "never ready") end
      world:start_operator { policies = folder }
      harness.eventually("one moves", 30, function() return moved() == 1, moved() end)
      for i = 1, 2 do
        world.operator:signal("KILL")
        world.operator:wait(10)
        world.operator = nil
        world:start_operator { policies = folder }
        loop.sleep(3)
        assert.equal(1, moved(), "after start " .. i)
      end
      for i = 1, COUNT do world.kubelet:image("registry.example/m" .. i .. ":v1-slow", "runs") end
      harness.eventually("all have moved", 60, function() return moved() == COUNT, moved() end)
      for i = 1, COUNT do world:phase("m" .. i, "Deployed") end
    end)
  end)

  it("stops at the first new Failed, which goes back to its old template", function()
    harness.with({ settings = { crash = { restarts = 1 } } }, function(world)
      deploy_all(world)
      world:stop_operator()
      local folder = edited(world, "broken", "children/model.lua", "image = image.prefixed(s, s.image)",
        'image = image.prefixed(s, s.image) .. "-broken"')
      for i = 1, COUNT do world.kubelet:image("registry.example/m" .. i .. ":v1-broken", "crashes") end
      world:start_operator { policies = folder }
      harness.eventually("the log says that the rollout stopped", 40, function()
        return (fs.read(world.log) or ""):find("rollout stopped", 1, true)
      end)
      harness.eventually("all run the old image again", 30, function()
        local n = 0
        for i = 1, COUNT do
          local image = world:child("Deployment", "m" .. i).spec.template.spec.containers[1].image
          if not image:find("broken", 1, true) then n = n + 1 end
        end
        return n == COUNT, n
      end)
      for i = 1, COUNT do world:phase("m" .. i, "Deployed") end
    end)
  end)
end)
