-- What kubectl describe tells of a PhDeployment: Events for phases, failures and recoveries, by the real program. (Rates and
-- bounds: spec/host/events_spec.lua.)

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local eventually = harness.eventually
local QUICK = { grace = { image = 1 } }

-- The Events about this PhDeployment, by reason.
local function told(world, name)
  local by_reason, object = {}, world:get(name)
  for _, event in ipairs(world.api:list("Event", world.namespace)) do
    local about = event.involvedObject
    if about.kind == "PhDeployment" and about.name == name and about.uid == object.metadata.uid then by_reason[event.reason] = event end
  end
  return by_reason
end

local function is_told(world, name, reason, count)
  return eventually(("%s of %s is told"):format(reason, name), 10, function()
    local event = told(world, name)[reason]
    return event and (not count or event.count == count) and event, event and event.count or "not at all"
  end)
end


local function kubectl(...)
  local result = assert(process.run { argv = { "kubectl", ... }, timeout = 30 })
  assert.equal(0, result.status, result.errors)
  return result.output
end

-- A model whose image is missing, then another.
local function fail_and_recover(world)
  local image = "registry.example/none:" .. world.namespace
  world.kubelet:image(image, "missing")
  world:deploy("m", function(object) object.spec.predictors[1].modelImage = image end)
  world:phase("m", "Failed")
  is_told(world, "m", "ImagePullFailed")
  world:predictor("m", { modelImage = "registry.example/m:v2" })
  world:phase("m", "Deployed")
end

describe("Events of a PhDeployment", function()
  it("are there for phases, a failure and the recovery, and kubectl describe shows them (fault 16)", function()
    harness.with({ settings = QUICK }, function(world)
      fail_and_recover(world)
      local failure = is_told(world, "m", "ImagePullFailed")
      assert.equal("Warning", failure.type)
      assert.contains("registry.example/none", failure.message)
      assert.equal("Normal", is_told(world, "m", "Recovered").type)
      assert.equal("Normal", is_told(world, "m", "Deployed").type)
      world:edit("m", { spec = { stop = true } })
      world:phase("m", "Stopped")
      is_told(world, "m", "Stopped")
      local text = kubectl("describe", "phd/m", "--namespace", world.namespace)
      local shown = text:match("\nEvents:\n(.+)$") or error("no Events in:\n" .. text)
      for _, reason in ipairs { "Deploying", "ImagePullFailed", "Recovered", "Deployed", "Stopped" } do assert.contains(reason, shown) end
      assert.contains("moonphase", shown)
    end)
  end)

  it("that repeat are one Event with a count, also over a restart of the operator", function()
    harness.with({}, function(world)
      local function stop_and_start()
        world:edit("m", { spec = { stop = true } })
        world:phase("m", "Stopped")
        world:edit("m", { spec = { stop = false } })
        world:phase("m", "Deployed")
      end
      world:deploy "m"
      world:phase("m", "Deployed")
      stop_and_start()
      local first = is_told(world, "m", "Deployed", 2)
      loop.sleep(1.1)
      assert.equal(0, world:stop_operator())
      world:start_operator()
      stop_and_start()
      local last = is_told(world, "m", "Deployed", 3)
      assert.equal(first.metadata.uid, last.metadata.uid)
      assert.equal(first.firstTimestamp, last.firstTimestamp)
      assert.is_true(last.lastTimestamp > first.lastTimestamp)
      is_told(world, "m", "Stopped", 2)
    end)
  end)

  it("are not written at rest, nor for what a restart finds as it was", function()
    harness.with({ settings = QUICK, operator = false }, function(world)
      local image = "registry.example/none:" .. world.namespace
      world.kubelet:image(image, "missing")
      world:start_operator { words = { "--resync-seconds", "1" } }
      world:deploy "m"
      world:deploy("bad", function(object) object.spec.predictors[1].modelImage = image end)
      world:phase("m", "Deployed")
      world:phase("bad", "Failed")
      is_told(world, "m", "Deployed")
      is_told(world, "bad", "ImagePullFailed")
      loop.sleep(0.5)
      local function versions()
        local list = {}
        for _, name in ipairs { "m", "bad" } do
          for reason, event in pairs(told(world, name)) do list[#list + 1] = name .. reason .. event.metadata.resourceVersion end
        end
        table.sort(list)
        return table.concat(list, " ")
      end
      local before = versions()
      loop.sleep(3)
      assert.equal(before, versions())
      world:stop_operator()
      world:start_operator { words = { "--resync-seconds", "1" } }
      loop.sleep(3)
      assert.equal(before, versions())
    end)
  end)

  it("tell of a child that is somebody else's", function()
    harness.with({ operator = false }, function(world)
      world.api:create { apiVersion = "v1", kind = "Service", metadata = { name = "deploy-m", namespace = world.namespace },
        spec = { ports = json.array { { port = 80 } } } }
      world:start_operator()
      world:deploy "m"
      local event = is_told(world, "m", "ChildConflict")
      assert.equal("Warning", event.type)
      assert.contains("deploy-m", event.message)
    end)
  end)

  it("are left out without the right to write them: the models run, and the log says it once", function()
    harness.with({ operator = false }, function(world)
      local rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" .. world.namespace
      local all = json.array { "get", "list", "watch", "create", "patch", "delete" }
      world.api:ask { method = "POST", path = rbac .. "/roles", body = { metadata = { name = "operator" }, rules = json.array {
        { apiGroups = json.array { "", "apps", "networking.k8s.io", "primehub.io" }, verbs = all, resources = json.array {
          "pods", "services", "secrets", "deployments", "replicasets", "ingresses", "phdeployments", "phdeployments/status", "phgroups", "instancetypes" } },
        { apiGroups = json.array { "" }, verbs = json.array { "list", "watch" }, resources = json.array { "events" } },
      } } }
      world.api:ask { method = "POST", path = rbac .. "/rolebindings", body = { metadata = { name = "operator" },
        roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "Role", name = "operator" },
        subjects = json.array { { kind = "User", apiGroup = "rbac.authorization.k8s.io", name = "system:serviceaccount:moonphase:moonphase" } } } }
      world:start_operator { words = { "--kubeconfig", process.env "MOONPHASE_CLUSTER_DIR" .. "/kubeconfig-operator" } }
      for i = 1, 3 do world:deploy("m" .. i) end
      for i = 1, 3 do world:phase("m" .. i, "Deployed") end
      eventually("the log says it", 5, function() return (fs.read(world.log) or ""):find("an Event was not written", 1, true) end)
      loop.sleep(0.5)
      local _, lines = fs.read(world.log):gsub("an Event was not written", "")
      assert.equal(1, lines)
      assert.same({}, told(world, "m1"))
    end)
  end)
end)
