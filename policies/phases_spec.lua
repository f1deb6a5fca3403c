-- Each phase, and the ways between them.

local world = require "spec_world"

local function phase(w)
  return world.decide(w).status.phase
end

local function edit_image(spec)
  spec.predictors[1].modelImage = "infuseai/spam:2.0"
end

describe("a new model", function()
  it("is Deploying while nothing runs", function()
    local w = world.new()
    local decision = world.apply(w)
    assert.equal("Deploying", decision.status.phase)
    assert.equal("Deployment is being deployed and not available now", decision.status.message)
    assert.equal("http://primehub.local/deployment/spam-classifier-abcxy/api/v1.0/predictions", decision.status.endpoint)
    assert.equal("primehub.io/phdeployment=spam-classifier-abcxy", decision.status.selector)
  end)

  it("is Deploying with some of its replicas, and says how many and that it serves (fault 10)", function()
    local w = world.new()
    world.apply(w)
    world.roll(w, 1)
    local status = world.decide(w).status
    assert.equal("Deploying", status.phase)
    assert.equal("Deployment is being deployed: 1 of 2 replicas available", status.message)
    assert.equal("True", world.condition(status, "Available").status)
    assert.equal("False", world.condition(status, "Ready").status)
  end)

  it("is Deployed by the Deployment's word where its pods do not bear our label, and so are not seen", function()
    local w = world.deployed()
    w.pods = json.array {}
    assert.equal("Deploying", phase(w))
    w.children.deployments[world.CHILD].spec.template.metadata.labels["primehub.io/phdeployment"] = nil
    w.held = true -- its template waits for its turn
    assert.equal("Deployed", phase(w))
  end)

  it("is Deployed while its template waits for its turn, but not once its user has edited it", function()
    local w = world.deployed()
    w.held = true
    w.settings.appLabel = "another" -- what waits
    assert.equal("Deployed", phase(w))
    world.edit(w, edit_image)
    assert.equal("Deploying", phase(w))
  end)

  it("is Deployed with all of them", function()
    local w = world.deployed()
    assert.equal("Deployed", w.object.status.phase)
    assert.equal(2, w.object.status.replicas)
    assert.equal(2, w.object.status.availableReplicas)
    for type_of, status in pairs { Ready = "True", Available = "True", Progressing = "False", GroupResolved = "True",
      QuotaAdmitted = "True", ImagePulled = "True", PodsHealthy = "True", RouteReady = "True", ChildConflict = "False",
      Stopped = "False" } do
      local condition = world.condition(w.object.status, type_of)
      assert.equal(status, condition.status, type_of)
      assert.equal(1, condition.observedGeneration, type_of)
      assert.matches("^%u%w*$", condition.reason)
    end
  end)
end)

describe("an edit", function()
  it("of the image is never Deployed before the Deployment's controller has seen it (fault 8)", function()
    local w = world.deployed()
    world.edit(w, edit_image)
    assert.equal("Deploying", phase(w), "before the write")
    assert.equal("Deploying", world.apply(w).status.phase, "after the write, with the old full counts")
    assert.equal("False", world.condition(w.object.status, "Ready").status)
    assert.equal(2, world.condition(w.object.status, "Ready").observedGeneration)
    world.roll(w, nil, 2)
    assert.equal("Deployed", phase(w))
  end)

  it("that changes no pod stays Deployed, with its generation", function()
    local w = world.deployed()
    world.edit(w, function(spec) spec.displayName = "another name" end)
    local decision = world.apply(w)
    assert.equal("Deployed", decision.status.phase)
    assert.equal(2, decision.status.observedGeneration)
    assert.equal(1, w.children.deployments[world.CHILD].metadata.generation)
  end)

  it("of replicas goes through Deploying and restarts no pod", function()
    local w = world.deployed()
    local before = json.encode(w.children.deployments[world.CHILD].spec.template)
    world.edit(w, function(spec) spec.replicas = 3 end)
    assert.equal("Deploying", world.apply(w).status.phase)
    local live = w.children.deployments[world.CHILD]
    assert.equal(3, live.spec.replicas, "spec.replicas wins over the predictor's")
    assert.equal(before, json.encode(live.spec.template))
  end)

  it("of valueFrom alone is an edit (fault 25)", function()
    local function reads(key)
      return function(spec)
        spec.env = json.array { { name = "TOKEN", valueFrom = { secretKeyRef = { name = "s", key = key } } } }
      end
    end
    local w = world.new()
    reads("a")(w.object.spec)
    world.apply(w)
    world.roll(w)
    world.apply(w)
    world.edit(w, reads "b")
    assert.equal("Deploying", phase(w))
  end)
end)

describe("stopping", function()
  local function stopped_world()
    local w = world.deployed()
    world.edit(w, function(spec) spec.stop = true end)
    return w
  end

  it("scales to 0 and is Stopping until the last pod is gone (fault 14)", function()
    local w = stopped_world()
    assert.equal("Stopping", world.apply(w).status.phase)
    local live = w.children.deployments[world.CHILD]
    assert.equal(0, live.spec.replicas)
    live.status = { observedGeneration = live.metadata.generation, replicas = 0 }
    w.pods[2] = nil
    w.pods[1].metadata.deletionTimestamp = "2020-03-23T02:03:15Z"
    assert.equal("Stopping", phase(w))
    w.pods = json.array {}
    local status = world.decide(w).status
    assert.equal("Stopped", status.phase)
    assert.equal("deployment has stopped", status.message)
    assert.equal("True", world.condition(status, "Stopped").status)
    assert.equal("False", world.condition(status, "Ready").status)
  end)

  it("is not Stopped while the Deployment's controller may still start a pod", function()
    local w = stopped_world()
    world.apply(w)
    local live = w.children.deployments[world.CHILD]
    w.pods = json.array {}
    live.status = { observedGeneration = live.metadata.generation - 1, replicas = 0 }
    assert.equal("Stopping", phase(w))
  end)

  it("is not kept up by a pod that was evicted long ago", function()
    local w = stopped_world()
    world.apply(w)
    local live = w.children.deployments[world.CHILD]
    live.status = { observedGeneration = live.metadata.generation }
    w.pods[2] = nil
    w.pods[1].status.phase = "Failed"
    assert.equal("Stopped", phase(w))
  end)

  it("needs no group, and says that starting would fail (fault 14)", function()
    local w = stopped_world()
    w.group = { state = "missing" }
    world.apply(w)
    local live = w.children.deployments[world.CHILD]
    assert.equal(0, live.spec.replicas)
    live.status, w.pods = { observedGeneration = live.metadata.generation }, json.array {}
    local status = world.decide(w).status
    assert.equal("Stopped", status.phase)
    assert.equal("deployment has stopped; it cannot start: Group not found: phusers (group-id)", status.message)
    assert.equal("False", world.condition(status, "GroupResolved").status)
  end)

  it("is Failed when the cluster refuses to scale it down", function()
    local w = stopped_world()
    w.problems[1] = { kind = "Deployment", name = world.CHILD, code = 403, reason = "Forbidden", message = "no" }
    assert.equal("Failed", phase(w))
  end)

  it("ends with a start through Deploying", function()
    local w = stopped_world()
    world.apply(w)
    world.roll(w)
    assert.equal("Stopped", world.apply(w).status.phase)
    world.edit(w, function(spec) spec.stop = false end)
    assert.equal("Deploying", world.apply(w).status.phase)
    world.roll(w)
    assert.equal("Deployed", phase(w))
  end)

  it("that is taken back is not Deployed while the pods of before go, though the Deployment still counts them", function()
    local w = world.deployed()
    for _, pod in ipairs(w.pods) do pod.metadata.deletionTimestamp = time.format(w.now + 30) end
    w.pods[3], w.pods[4] = world.pod("h1", "new-1"), world.pod("h1", "new-2")
    w.pods[4].status.conditions[1].status = "False"
    local status = world.decide(w).status
    assert.equal("Deploying", status.phase)
    assert.equal("False", world.condition(status, "Ready").status)
    w.pods[4].status.conditions[1].status = "True"
    assert.equal("Deployed", phase(w))
  end)

  it("is not ended by an edit: what is stopped stays Stopped, without a moment of Stopping (fault 42)", function()
    local w = stopped_world()
    world.apply(w)
    world.roll(w)
    assert.equal("Stopped", world.apply(w).status.phase)
    world.edit(w, edit_image)
    assert.equal("Stopped", world.apply(w).status.phase)
    local live = w.children.deployments[world.CHILD]
    assert.equal(0, live.spec.replicas)
    assert.equal("infuseai/spam:2.0", live.spec.template.spec.containers[1].image, "it starts with the new image")
    assert.is_true(live.status.observedGeneration < live.metadata.generation, "and the Deployment's controller has not seen it yet")
  end)

  it("again after a start that nobody waited for is Stopping until it is sure that no pod comes", function()
    local w = stopped_world()
    world.apply(w)
    world.roll(w)
    world.apply(w)
    world.edit(w, function(spec) spec.stop = false end)
    for _, child in ipairs(world.decide(w).children) do -- written, and before the status was: stopped again
      if child.kind == "Deployment" then
        local live = w.children.deployments[world.CHILD]
        live.spec.replicas, live.metadata.generation = child.spec.replicas, live.metadata.generation + 1
      end
    end
    world.edit(w, function(spec) spec.stop = true end)
    assert.equal("Stopping", world.apply(w).status.phase)
    world.roll(w)
    assert.equal("Stopped", world.apply(w).status.phase)
  end)

  it("from birth makes everything and runs nothing", function()
    local w = world.new()
    w.object.spec.stop = true
    local decision = world.apply(w)
    assert.equal("Stopped", decision.status.phase)
    assert.equal(0, w.children.deployments[world.CHILD].spec.replicas)
  end)
end)

describe("0 replicas without stop", function()
  it("are Stopped and not Deployed (fault 9)", function()
    local w = world.deployed()
    world.edit(w, function(spec) spec.replicas = 0 end)
    assert.equal("Stopping", world.apply(w).status.phase)
    world.roll(w)
    local status = world.decide(w).status
    assert.equal("Stopped", status.phase)
    assert.equal("ScaledToZero", status.reason)
    assert.equal("deployment is scaled to 0 replicas", status.message)
  end)
end)

describe("somebody else's edit of the Deployment", function()
  it("that pauses it is not Deployed, and is answered", function()
    local w = world.deployed()
    w.children.deployments[world.CHILD].spec.paused = true
    local decision = world.decide(w)
    assert.equal("Deploying", decision.status.phase)
    assert.is_false(decision.children[1].spec.paused)
  end)

  it("that scales it is not Deployed, and is answered", function()
    local w = world.deployed()
    w.children.deployments[world.CHILD].spec.replicas = 5
    local decision = world.decide(w)
    assert.equal("Deploying", decision.status.phase)
    assert.equal(2, decision.children[1].spec.replicas)
  end)
end)

describe("a problem that a write met", function()
  it("keeps the model from being Deployed", function()
    local w = world.deployed()
    w.problems[1] = { kind = "Ingress", name = world.CHILD, code = 0, reason = "NoAnswer", message = "timeout" }
    assert.equal("Deploying", phase(w))
  end)
end)

describe("a model whose group cannot be read", function()
  local function silent(change)
    local w = world.deployed()
    w.group = { state = "unknown" }
    change(w)
    return phase(w)
  end

  it("stays Deployed, and is not called so first while its Service or its route was never written", function()
    assert.equal("Deployed", silent(function() end))
    assert.equal("Deployed", silent(function(w) w.object.status = nil end))
    for _, kind in ipairs { "services", "ingresses" } do
      assert.equal("Deploying", silent(function(w) w.object.status, w.children[kind] = nil, {} end))
      assert.equal("Deployed", silent(function(w) w.children[kind] = {} end))
    end
  end)
end)

describe("deciding again on one's own result", function()
  local worlds = {
    new = world.new,
    deployed = world.deployed,
    ["edited"] = function() local w = world.deployed() world.edit(w, edit_image) return w end,
    ["stopped"] = function() local w = world.deployed() world.edit(w, function(s) s.stop = true end) return w end,
    ["group missing"] = function() local w = world.deployed() w.group = { state = "missing" } return w end,
    ["group missing from the start"] = function() local w = world.new() w.group = { state = "missing" } return w end,
    ["group silent"] = function() local w = world.deployed() w.group = { state = "unknown" } return w end,
    ["group silent, edited"] = function()
      local w = world.deployed()
      w.group = { state = "unknown" }
      world.edit(w, edit_image)
      return w
    end,
    ["group silent, stopped"] = function()
      local w = world.deployed()
      w.group = { state = "unknown" }
      world.edit(w, function(s) s.stop = true end)
      return w
    end,
    ["group lost, stopping"] = function()
      local w = world.deployed()
      w.settings.onGroupLost, w.group = "stop", { state = "missing" }
      return w
    end,
    ["within a grace"] = function()
      local w = world.deployed()
      w.pods[1].status.containerStatuses[1].state = { waiting = { reason = "ErrImagePull" } }
      return w
    end,
    ["private"] = function()
      local w = world.new()
      w.object.spec.endpoint = { accessType = "private", clients = json.array { { name = "a", token = "t" } } }
      return w
    end,
    ["no route"] = function() local w = world.deployed() w.settings.route = "none" return w end,
  }
  for name, make in pairs(worlds) do
    it("changes nothing: " .. name, function()
      local w = make()
      local first = world.apply(w)
      local before = json.encode(w)
      local second = world.decide(w)
      assert.equal(json.encode(first.children), json.encode(second.children), "children")
      assert.equal(json.encode(first.status), json.encode(second.status), "status")
      assert.equal(first.requeue_after, second.requeue_after)
      world.apply(w)
      assert.equal(before, json.encode(w), "the cluster")
    end)
  end

  it("does not depend on the order of pods, and a pod's name changes no message", function()
    local function waiting(name, reason, image)
      local pod = world.pod("h1", name)
      pod.status.containerStatuses[1] = { name = "model", image = image, ready = false, restartCount = 0,
        state = { waiting = { reason = reason, message = "of " .. name } } }
      return pod
    end
    local w = world.deployed()
    w.pods = json.array { waiting("a", "ErrImagePull", "x:1"), waiting("b", "ImagePullBackOff", "x:1") }
    local first = world.decide(w).status
    w.pods = json.array { waiting("c", "ImagePullBackOff", "x:1"), waiting("a", "ErrImagePull", "x:1") }
    assert.same(first, world.decide(w).status)
  end)
end)
