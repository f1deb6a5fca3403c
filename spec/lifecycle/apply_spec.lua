-- Diff and apply, sentence by sentence of the design, on a real API server.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local folder_of = include("spec/lifecycle/edited.lua").folder_of

-- Writes that this operator made in a namespace so far, counted by the API server itself (its audit log).
local function writes_at_server(world)
  loop.sleep(1.5) -- the audit log is written in batches
  local count, lines = 0, {}
  local log = assert(fs.tail(process.env("MOONPHASE_CLUSTER_DIR") .. "/audit.log", 8 << 20))
  for line in log:gmatch("[^\n]+") do
    if line:find('"namespace":"' .. world.namespace .. '"', 1, true) and line:find("fieldManager=moonphase", 1, true) then
      count = count + 1
      lines[#lines + 1] = line:match('"requestURI":"(.-)"')
    end
  end
  return count, lines
end

local function mended(world, kind, what, test)
  return harness.eventually(what, 10, function()
    local child = world:child(kind, "m")
    return child and test(child) and child
  end)
end

describe("a child that somebody else changed", function()
  local function with_deployed(body)
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      body(world)
    end)
  end

  it("gets its port number back", function()
    with_deployed(function(world)
      world.api:patch("Service", world.namespace, "deploy-m", "json", { { op = "replace", path = "/spec/ports/0/port", value = 8001 } })
      mended(world, "Service", "the port is mended", function(service)
        return #service.spec.ports == 1 and service.spec.ports[1].port == 8000
      end)
    end)
  end)

  it("runs on when it was paused", function()
    with_deployed(function(world)
      world.api:patch("Deployment", world.namespace, "deploy-m", "merge", { spec = { paused = true } })
      mended(world, "Deployment", "it is not paused", function(d) return not d.spec.paused end)
    end)
  end)

  it("loses a node selector that nobody asked for", function()
    with_deployed(function(world)
      world.api:patch("Deployment", world.namespace, "deploy-m", "merge",
        { spec = { template = { spec = { nodeSelector = { disk = "ssd" } } } } })
      mended(world, "Deployment", "the node selector is gone", function(d)
        return next(d.spec.template.spec.nodeSelector or {}) == nil
      end)
    end)
  end)

  it("loses a container that was added", function()
    with_deployed(function(world)
      world.api:patch("Deployment", world.namespace, "deploy-m", "strategic",
        { spec = { template = { spec = { containers = { { name = "miner", image = "registry.example/miner" } } } } } })
      mended(world, "Deployment", "the container is gone", function(d) return #d.spec.template.spec.containers == 2 end)
    end)
  end)

  it("gets a removed label back, and its image and replicas", function()
    with_deployed(function(world)
      world.api:patch("Deployment", world.namespace, "deploy-m", "merge",
        { metadata = { labels = { ["primehub.io/phdeployment"] = json.null } }, spec = { replicas = 5 } })
      world.api:patch("Deployment", world.namespace, "deploy-m", "strategic",
        { spec = { template = { spec = { containers = { { name = "model", image = "registry.example/other" } } } } } })
      mended(world, "Deployment", "label, image and replicas are back", function(d)
        return (d.metadata.labels or {})["primehub.io/phdeployment"] == "m" and d.spec.replicas == 1
          and d.spec.template.spec.containers[1].image == "registry.example/m:v1"
      end)
    end)
  end)

  it("gets its owner reference mended", function()
    with_deployed(function(world)
      local service = world:child("Service", "m")
      local reference = service.metadata.ownerReferences[1]
      reference.controller, reference.blockOwnerDeletion = false, false
      world.api:patch("Service", world.namespace, "deploy-m", "merge", { metadata = { ownerReferences = { reference } } })
      mended(world, "Service", "the owner reference is mended", function(s)
        local r = s.metadata.ownerReferences[1]
        return r.controller == true and r.blockOwnerDeletion == true
      end)
    end)
  end)

  it("gets its owner reference back when it was taken away: our marks tell that it is ours", function()
    with_deployed(function(world)
      local uid = world:child("Service", "m").metadata.uid
      world.api:patch("Service", world.namespace, "deploy-m", "json", { { op = "remove", path = "/metadata/ownerReferences" } })
      local service = mended(world, "Service", "it has its owner again", function(s)
        return s.metadata.ownerReferences and s.metadata.ownerReferences[1].name == "m"
      end)
      assert.equal(uid, service.metadata.uid)
    end)
  end)

  it("comes back when it was deleted", function()
    with_deployed(function(world)
      world.api:delete("Service", world.namespace, "deploy-m")
      mended(world, "Service", "the Service is back", function() return true end)
    end)
  end)
end)

describe("an object that is not ours", function()
  it("is left alone, and the PhDeployment says ChildConflict", function()
    harness.with({}, function(world)
      world.api:create { apiVersion = "v1", kind = "Service", metadata = { name = "deploy-m", namespace = world.namespace },
        spec = { ports = { { port = 1234 } } } }
      world:deploy("m")
      local object = harness.eventually("a ChildConflict condition", 10, function()
        local o = world:get("m")
        local condition = harness.condition(o, "ChildConflict")
        return condition and condition.status == "True" and o
      end)
      assert.contains("deploy-m", harness.condition(object, "ChildConflict").message)
      local service = world:child("Service", "m")
      assert.equal(1234, service.spec.ports[1].port)
      assert.is_nil(service.metadata.ownerReferences)
      -- the name becomes free: ours is made
      world.api:delete("Service", world.namespace, "deploy-m")
      mended(world, "Service", "our Service is made", function(s) return s.spec.ports[1].port == 8000 end)
      world:phase("m", "Deployed", 60)
    end)
  end)

  it("of a former PhDeployment of the same name is waited for", function()
    harness.with({}, function(world)
      world.api:create { apiVersion = "v1", kind = "Service", metadata = { name = "deploy-m", namespace = world.namespace,
        ownerReferences = { { apiVersion = "apps/v1", kind = "Deployment", name = "x", controller = true,
          uid = "11111111-2222-3333-4444-555555555555" } } }, spec = { ports = { { port = 1234 } } } }
      world:deploy("m")
      -- the garbage collector finds no such owner and removes it; then it is ours
      mended(world, "Service", "our Service is made", function(s)
        return s.spec.ports[1].port == 8000 and s.metadata.ownerReferences[1].name == "m"
      end)
    end)
  end)
end)

describe("order of env", function()
  it("follows the spec when it is rearranged", function()
    harness.with({}, function(world)
      local function env(...)
        local list = json.array {}
        for i, name in ipairs { ... } do list[i] = { name = name, value = "v" .. name } end
        return list
      end
      local function user_env(deployment)
        local names = {}
        for _, e in ipairs(deployment.spec.template.spec.containers[1].env) do
          if #e.name == 1 then names[#names + 1] = e.name end
        end
        return table.concat(names)
      end
      world:deploy("m", function(object) object.spec.env = env("A", "B", "C") end)
      world:phase("m", "Deployed")
      assert.equal("ABC", user_env(world:child("Deployment", "m")))
      world:edit("m", { spec = { env = env("C", "A", "B") } })
      mended(world, "Deployment", "the order is the new one", function(d) return user_env(d) == "CAB" end)
    end)
  end)
end)

describe("one edit is one rollout: a single new ReplicaSet", function()
  local function replica_sets(world)
    local ours = 0
    for _, set in ipairs(world.api:list("ReplicaSet", world.namespace)) do
      local owner = set.metadata.ownerReferences and set.metadata.ownerReferences[1]
      if owner and owner.name == "deploy-m" then ours = ours + 1 end
    end
    return ours
  end

  -- `change` edits the spec of a model that is Deployed; the Deployment when it is Deployed again.
  local function edited(world, start, change)
    world:deploy("m", start)
    world:phase("m", "Deployed", 30)
    local before = replica_sets(world)
    local spec = world:get("m").spec
    change(spec, spec.predictors[1])
    world:edit("m", { spec = spec })
    world:phase("m", "Deployed", 30)
    assert.equal(1, replica_sets(world) - before, "new ReplicaSets")
    local deployment = world:child("Deployment", "m")
    assert.falsy(deployment.spec.paused)
    for _, entry in ipairs(deployment.metadata.managedFields) do
      if entry.manager == "moonphase" then assert.equal("Apply", entry.operation, "whose the fields are") end
    end
    return deployment
  end

  local function names(list)
    local all = {}
    for i, one in ipairs(list or {}) do all[i] = one.name end
    return table.concat(all, " ")
  end

  local function env(...)
    local list = json.array {}
    for i, name in ipairs { ... } do list[i] = { name = name, value = "v" } end
    return list
  end

  it("also when a variable comes in between, one goes, and one is another", function()
    harness.with({}, function(world)
      local deployment = edited(world, function(object) object.spec.env = env("A", "B", "C") end, function(spec)
        spec.env = env("B", "X", "A")
        spec.env[3].value = "w"
      end)
      local list = deployment.spec.template.spec.containers[1].env
      assert.contains("B X A", names(list))
      assert.falsy(names(list):find("C", #names(list) - 6, true), "C is gone: " .. names(list))
      assert.equal("w", list[#list].value)
    end)
  end)

  it("also when the engine's container goes", function()
    harness.with({}, function(world)
      local deployment = edited(world, nil, function(_, predictor) predictor.engine = "none" end)
      assert.equal("model", names(deployment.spec.template.spec.containers))
    end)
  end)

  it("also when it comes back, with another order of env", function()
    harness.with({}, function(world)
      local deployment = edited(world, function(object)
        object.spec.predictors[1].engine, object.spec.env = "none", env("A", "B")
      end, function(spec, predictor)
        predictor.engine, spec.env = nil, env("B", "A")
      end)
      assert.equal(2, #deployment.spec.template.spec.containers)
      assert.contains("B A", names(deployment.spec.template.spec.containers[1].env))
    end)
  end)

  it("also when a model URI comes first, with what fetches it, and when it goes", function()
    harness.with({}, function(world)
      local deployment = edited(world, function(object) object.spec.env = env("A", "B") end, function(_, predictor)
        predictor.modelURI = "gs://bucket/model"
      end)
      local pod = deployment.spec.template.spec
      assert.equal(1, #pod.initContainers)
      assert.contains("PREDICTIVE_UNIT_PARAMETERS A B", names(pod.containers[1].env))
      local before = replica_sets(world)
      -- (with another image: a template that was there before would get its old ReplicaSet back)
      world:predictor("m", { modelURI = json.null, modelImage = "registry.example/m:v2" })
      world:phase("m", "Deployed", 30)
      assert.equal(1, replica_sets(world) - before, "new ReplicaSets when it went")
      pod = world:child("Deployment", "m").spec.template.spec
      assert.equal("", names(pod.initContainers))
      assert.equal("podinfo", names(pod.volumes))
    end)
  end)

  it("also when the server refuses what an apply leaves behind: a probe of another type", function()
    harness.with({}, function(world)
      local deployment = edited(world, nil, function(_, predictor) predictor.readiness = "/health/ping" end)
      local probe = deployment.spec.template.spec.containers[1].readinessProbe
      assert.equal("/health/ping", probe.httpGet.path)
      assert.is_nil(probe.tcpSocket)
    end)
  end)

  it("also when the operator ended before the last write: the Deployment was held, and its model ran on", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.spec.env = env("A", "B") end)
      world:phase("m", "Deployed", 30)
      world:stop_operator()
      local before = replica_sets(world)
      -- as it stands after the first write: a variable is appended where it does not belong, held
      world.api:patch("Deployment", world.namespace, "deploy-m", "strategic", { spec = { paused = true,
        template = { spec = { containers = { { name = "model", env = { { name = "X", value = "v" } } } } } } } })
      world:edit("m", { spec = { env = env("A", "X", "B") } })
      harness.eventually("the Deployment's controller has seen it", 10, function()
        local d = world:child("Deployment", "m")
        return d.status.observedGeneration == d.metadata.generation
      end)
      assert.equal(before, replica_sets(world))
      assert.equal(1, world:child("Deployment", "m").status.availableReplicas, "it runs on")
      world:start_operator()
      world:phase("m", "Deployed", 30)
      local deployment = mended(world, "Deployment", "it is not held any more", function(d) return not d.spec.paused end)
      assert.contains("A X B", names(deployment.spec.template.spec.containers[1].env))
      assert.equal(1, replica_sets(world) - before, "new ReplicaSets")
    end)
  end)
end)

describe("at rest", function()
  it("nothing is written: a second reconcile of an unchanged object makes no write", function()
    harness.with({}, function(world)
      world:deploy("m", function(object)
        object.spec.env = json.array { { name = "A", value = "1" }, { name = "B", valueFrom = { fieldRef = { fieldPath = "metadata.name" } } } }
        object.spec.predictors[1].metadata = { LEARNING_RATE = "0.1" }
      end)
      world:phase("m", "Deployed")
      local before = writes_at_server(world)
      assert.truthy(before >= 4, "the audit log shows the operator's writes: " .. before)
      -- wake it: a change of the object that is no change of the spec, and one of a child that is not ours to mind
      world.api:patch("PhDeployment", world.namespace, "m", "merge", { metadata = { annotations = { touched = "yes" } } })
      -- (a label: an annotation would count the Deployment's generation up, which its controller has to observe first)
      world.api:patch("Deployment", world.namespace, "deploy-m", "merge", { metadata = { labels = { touched = "yes" } } })
      loop.sleep(1)
      local after, lines = writes_at_server(world)
      assert.equal(before, after, "the last writes: " .. table.concat(lines, " ", math.max(1, #lines - 3)))
      -- a new operator decides everything again, and writes nothing
      world:stop_operator()
      world:start_operator()
      loop.sleep(2)
      after, lines = writes_at_server(world)
      assert.equal(before, after, "after a restart; the last writes: " .. table.concat(lines, " ", math.max(1, #lines - 3)))
    end)
  end)
end)

describe("writes that must not be", function()
  it("an object that is being deleted gets no child back", function()
    harness.with({}, function(world)
      world:deploy("m", function(object) object.metadata.finalizers = json.array { "example.com/hold" } end)
      world:phase("m", "Deployed")
      world.api:delete("PhDeployment", world.namespace, "m")
      harness.eventually("it is being deleted", 5, function() return world:get("m").metadata.deletionTimestamp end)
      world.api:delete("Service", world.namespace, "deploy-m")
      loop.sleep(1)
      assert.is_nil(world:child("Service", "m"))
      world.api:patch("PhDeployment", world.namespace, "m", "merge", { metadata = { finalizers = json.null } })
    end)
  end)

  it("a child goes only when the decision names it, and only ours", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:deploy("n")
      world:phase("m", "Deployed")
      world:phase("n", "Deployed")
      world:stop_operator()
      -- n's Ingress is taken from us: another object controls it now
      world.api:patch("Ingress", world.namespace, "deploy-n", "merge", { metadata = { ownerReferences = { {
        apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", name = "m", controller = true, uid = world:get("m").metadata.uid } } } })
      world:use_settings { route = "none" }
      world:start_operator()
      harness.eventually("m's Ingress is gone", 10, function() return not world:child("Ingress", "m") end)
      assert.truthy(world:child("Service", "m"), "what is not named stays")
      loop.sleep(0.5)
      assert.truthy(world:child("Ingress", "n"), "what is another's stays")
    end)
  end)

  it("another policy digest alone is no difference", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local digest = world:child("Deployment", "m").metadata.annotations["moonphase.primehub.io/policy"]
      assert.matches("^%x+%.%x+$", digest)
      world:stop_operator()
      local folder = folder_of(world, "policies", "phases.lua", "return phases {", "return phases { -- another digest")
      local before = writes_at_server(world)
      world:start_operator { policies = folder }
      loop.sleep(1.5)
      local after, lines = writes_at_server(world)
      assert.equal(before, after, table.concat(lines, " ", math.max(1, #lines - 2)))
      assert.equal(digest, world:child("Deployment", "m").metadata.annotations["moonphase.primehub.io/policy"])
      -- the next change that is one carries the new digest
      world:edit("m", { spec = { replicas = 2 } })
      world:phase("m", "Deployed")
      assert.truthy(digest ~= world:child("Deployment", "m").metadata.annotations["moonphase.primehub.io/policy"])
    end)
  end)
end)

describe("a source that cannot be read", function()
  -- The right to everything that the policies watch, in this namespace, but for PhGroups.
  local function rights_without_groups(world)
    local rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" .. world.namespace
    local all = json.array { "get", "list", "watch", "create", "patch", "delete" }
    world.api:ask { method = "POST", path = rbac .. "/roles", body = { metadata = { name = "operator" }, rules = json.array {
      { apiGroups = json.array { "", "apps", "networking.k8s.io" }, resources = json.array { "*" }, verbs = all },
      { apiGroups = json.array { "primehub.io" }, verbs = all,
        resources = json.array { "phdeployments", "phdeployments/status", "instancetypes" } },
    } } }
    world.api:ask { method = "POST", path = rbac .. "/rolebindings", body = { metadata = { name = "operator" },
      roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "Role", name = "operator" },
      subjects = json.array { { kind = "User", apiGroup = "rbac.authorization.k8s.io", name = "system:serviceaccount:moonphase:moonphase" } } } }
  end

  it("removes and changes nothing: the model runs on, and a condition says so", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      world:stop_operator()
      rights_without_groups(world)
      local before = world:child("Deployment", "m")
      world:start_operator { words = { "--kubeconfig", process.env("MOONPHASE_CLUSTER_DIR") .. "/kubeconfig-operator" } }
      local object = harness.eventually("the condition says that the group is not known now", 15, function()
        local o = world:get("m")
        return harness.condition(o, "GroupResolved").status == "Unknown" and o
      end)
      assert.equal("Deployed", object.status.phase)
      assert.equal("True", harness.condition(object, "Ready").status)
      assert.equal(before.metadata.generation, world:child("Deployment", "m").metadata.generation)
      -- what needs no group still gets through
      world:edit("m", { spec = { stop = true } })
      world:phase("m", "Stopped")
      -- the right comes: everything is known again
      world.api:ask { method = "PATCH", path = "/apis/rbac.authorization.k8s.io/v1/namespaces/" .. world.namespace .. "/roles/operator",
        content_type = "application/json-patch+json", body = json.array { { op = "add", path = "/rules/1/resources/-", value = "phgroups" } } }
      world:edit("m", { spec = { stop = false } })
      world:phase("m", "Deployed", 60)
    end)
  end)
end)
