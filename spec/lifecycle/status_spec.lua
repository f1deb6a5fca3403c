-- What a status promises to programs: that `kubectl wait` returns when it is so and not before, whatever was edited, and that the
-- history is what was written.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local function kubectl_wait(world, condition, seconds)
  return assert(process.run { timeout = 60, argv = { "kubectl", "wait", "--for=" .. condition, "phd/m", "-n", world.namespace,
    "--timeout=" .. (seconds or 40) .. "s" } })
end

local function is_ready(pod)
  for _, condition in ipairs(pod.status.conditions or {}) do
    if condition.type == "Ready" then return condition.status == "True" end
  end
  return false
end

-- Why the model is not what its spec says, as the cluster's own objects have it at this moment; nil if it is. What serves is asked of
-- the pods: the Deployment's counts may be of a moment before, in both directions.
local function untrue(world, expected)
  local object, live = world:get "m", world:child("Deployment", "m")
  local status, spec = live.status or {}, live.spec.template.spec
  if object.status.observedGeneration ~= object.metadata.generation then return "the status is of another generation" end
  if status.observedGeneration ~= live.metadata.generation then return "the Deployment's controller has not seen the Deployment" end
  if live.spec.replicas ~= expected.replicas then return "replicas: " .. json.encode(live.spec.replicas) end
  local model = spec.containers[1]
  if model.image ~= expected.image then return "the image is " .. model.image end
  if model.resources.limits.cpu ~= expected.cpu then return "cpu is " .. model.resources.limits.cpu end
  local ready = 0
  for _, pod in ipairs(world.api:list("Pod", world.namespace)) do
    local is_old = pod.spec.containers[1].image ~= expected.image or pod.spec.containers[1].resources.limits.cpu ~= expected.cpu
    local stays = not pod.metadata.deletionTimestamp
    if is_old and stays then return "a pod of before is there" end
    if stays and is_ready(pod) then ready = ready + 1 end
  end
  if ready ~= expected.replicas then return ("%d pods are ready; the Deployment says %s"):format(ready, json.encode(status)) end
end

describe("kubectl wait --for=condition=Ready", function()
  it("returns after every kind of edit when this spec serves, and not before (fault 8)", function()
    harness.with({}, function(world)
      world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType",
        metadata = { name = "large", namespace = world.namespace },
        spec = { ["limits.cpu"] = 2, ["limits.memory"] = "4G", displayName = "large" } }
      local expected = { replicas = 1, image = "registry.example/m:v1", cpu = "700m" }
      local function ready_after(what, edit)
        edit()
        local waited = kubectl_wait(world, "condition=Ready")
        assert.equal(0, waited.status, what .. ": " .. waited.errors)
        assert.is_nil(untrue(world, expected), what)
      end
      ready_after("create", function() world:deploy "m" end)
      ready_after("another image", function()
        expected.image = "registry.example/m:v2"
        world:predictor("m", { modelImage = expected.image })
      end)
      ready_after("more replicas", function()
        expected.replicas = 3
        world:predictor("m", { replicas = 3 })
      end)
      ready_after("another image of three replicas", function()
        expected.image = "registry.example/m:v3"
        world:predictor("m", { modelImage = expected.image })
      end)
      ready_after("fewer replicas", function()
        expected.replicas = 1
        world:predictor("m", { replicas = 1 })
      end)
      ready_after("another instance type", function()
        expected.cpu = "1700m"
        world:predictor("m", { instanceType = "large" })
      end)
      ready_after("an environment", function() world:edit("m", { spec = { env = json.array { { name = "A", value = "1" } } } }) end)
      ready_after("a text that no pod sees", function() world:edit("m", { spec = { description = "new" } }) end)
      ready_after("a private endpoint", function()
        world:edit("m", { spec = { endpoint = { accessType = "private", clients = json.array { { name = "a", token = "t" } } } } })
      end)
      ready_after("three edits at once, the last of which counts", function()
        for i = 4, 6 do
          expected.image = "registry.example/m:v" .. i
          world:predictor("m", { modelImage = expected.image, replicas = i - 4 })
        end
        expected.replicas = 2
      end)
      ready_after("a stop that is taken back", function()
        world:edit("m", { spec = { stop = true } })
        world:edit("m", { spec = { stop = false } })
      end)
      ready_after("a start", function()
        world:edit("m", { spec = { stop = true } })
        assert.equal(0, kubectl_wait(world, "condition=Stopped").status)
        assert.equal("False", harness.condition(world:get "m", "Ready").status)
        world:edit("m", { spec = { stop = false } })
      end)
    end)
  end)

  it("does not return while the model fails, and what fails can be waited for (fault 44)", function()
    harness.with({ settings = { grace = { image = 1 } } }, function(world)
      world.kubelet:image("registry.example/m:bad", "missing")
      world:deploy "m"
      assert.equal(0, kubectl_wait(world, "condition=Ready").status)
      world:predictor("m", { modelImage = "registry.example/m:bad" })
      assert.is_true(kubectl_wait(world, "condition=Ready", 4).status ~= 0)
      assert.equal(0, kubectl_wait(world, "condition=ImagePulled=False").status)
      local failed = world:phase("m", "Failed")
      assert.equal("False", harness.condition(failed, "Ready").status)
      assert.equal("ImagePullFailed", harness.condition(failed, "Ready").reason)
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      assert.equal(0, kubectl_wait(world, "condition=Ready").status)
      assert.is_nil(untrue(world, { replicas = 1, image = "registry.example/m:v2", cpu = "700m" }))
    end)
  end)
end)

describe("The history", function()
  -- A model that is stopped, so that nothing but its status is at stake.
  local function with_stopped(body)
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.stop = true end)
      world:phase("m", "Stopped")
      body(world)
    end)
  end
  local function ends_at(world, generation)
    return harness.eventually("the history ends at generation " .. generation, 20, function()
      local object = world:get "m"
      return object.status.history[1].generation == generation and object
    end)
  end

  it("has the newest 32 of 40 edits that were made in one second by many at once, none left out", function()
    with_stopped(function(world)
      local tasks, texts, began = {}, {}, loop.now()
      for i = 1, 40 do
        tasks[i] = loop.spawn(function()
          local object = world:edit("m", { spec = { description = "edit " .. i } })
          texts[object.metadata.generation] = "edit " .. i
        end)
      end
      for _, task in ipairs(tasks) do task:join() end
      local took = loop.now() - began
      local history = ends_at(world, 41).status.history
      assert.equal(32, #history, ("40 edits in %.1f s"):format(took))
      for i, record in ipairs(history) do
        assert.equal(42 - i, record.generation)
        assert.equal(42 - i, record.revision)
        assert.equal(texts[42 - i], record.spec.description)
      end
    end)
  end)

  it("has specs as they were, but for tokens, and when they were seen (fault 43)", function()
    with_stopped(function(world)
      local before = world:get("m").spec
      before.description = 'quotes ", \\ and </script>, \u{1F980}, a\ttab'
      before.updateMessage = "why"
      before.updateTime = "2026-11-22T20:41:00.123Z" -- as PrimeHub's console writes it
      before.env = json.array { { name = "B", value = "" }, { name = "A", value = "007" }, { name = "C", value = "1e3" },
        { name = "D", valueFrom = { secretKeyRef = { name = "s", key = "k", optional = false } } } }
      local clients = json.array { { name = "ci", token = "geheim-4711" }, { name = "cd", token = "geheim-4712" } }
      before.endpoint = { accessType = "private", clients = clients }
      before.predictors[1].metadata = { ACCURACY = "0.90", EMPTY = "" }
      before.replicas = 0
      local object = world:edit("m", { spec = before })
      local written = ends_at(world, object.metadata.generation)
      local record, text = written.status.history[1], json.encode(written.status)
      for i, client in ipairs(record.spec.endpoint.clients) do
        assert.matches("^sha256:%x+$", client.token)
        client.token = object.spec.endpoint.clients[i].token
      end
      assert.same(object.spec, record.spec)
      assert.equal("2026-11-22T20:41:00.123Z", record.spec.updateTime, "it is not pruned")
      assert.equal("why", record.message)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", record.time)
      assert.is_nil(text:find("geheim", 1, true))
      local scaled = assert(process.run { argv = { "kubectl", "scale", "phd/m", "--replicas=3", "-n", world.namespace }, timeout = 30 })
      assert.equal(0, scaled.status, scaled.errors)
      object = world:get "m"
      record = ends_at(world, object.metadata.generation).status.history[1]
      assert.equal(3, record.spec.replicas)
      record.spec.endpoint.clients = object.spec.endpoint.clients
      assert.same(object.spec, record.spec)
    end)
  end)

  it("is never more than 256 KiB, and a spec that alone is larger keeps its record (fault 34)", function()
    with_stopped(function(world)
      local function with_env(count, bytes)
        local env = json.array {}
        for i = 1, count do env[i] = { name = "V" .. i, value = ("<"):rep(bytes - 10) .. i } end
        return world:edit("m", { spec = { env = env } }).metadata.generation
      end
      local last
      for i = 1, 6 do last = with_env(1, 10000 + i) end -- each is 60 KB in the store, where < takes six bytes
      local history = ends_at(world, last).status.history
      assert.equal(4, #history)
      for i, record in ipairs(history) do assert.equal(last - i + 1, record.generation) end
      last = with_env(5, 10000)
      history = ends_at(world, last).status.history
      assert.is_true(history[1].truncated)
      assert.is_nil(history[1].spec)
      assert.equal(last - 1, history[2].generation)
      assert.equal("Stopped", world:phase("m", "Stopped").status.phase)
    end)
  end)
end)
