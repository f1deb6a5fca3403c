-- How pods are replaced: the strategy, by setting, group and deployment; and restarts on request.

local world = require "spec_world"

local function deployment(w)
  for _, child in ipairs(world.decide(w).children) do
    if child.kind == "Deployment" then return child end
  end
  return nil
end

describe("the rollout strategy", function()
  local AWARE, AVAILABLE = { maxSurge = 0, maxUnavailable = 1 }, { maxSurge = 1, maxUnavailable = 0 }

  local function strategy(w)
    local made = deployment(w).spec.strategy
    assert.equal("RollingUpdate", made.type)
    return made.rollingUpdate
  end

  it("needs no quota beyond the model's own, if nobody says otherwise", function()
    assert.same(AWARE, strategy(world.new()))
  end)

  it("is the setting's, the group's before it, the deployment's before both (fault 28)", function()
    local w = world.new()
    w.settings.rollout.strategy = "available"
    assert.same(AVAILABLE, strategy(w))
    w.group.object.spec.rolloutStrategy = "resource-aware"
    assert.same(AWARE, strategy(w))
    w.object.spec.rolloutStrategy = "available"
    assert.same(AVAILABLE, strategy(w))
  end)

  it("has the numbers that the settings give it", function()
    local w = world.new()
    w.settings.rollout.strategies["resource-aware"] = { maxSurge = 0, maxUnavailable = "25%" }
    assert.same({ maxSurge = 0, maxUnavailable = "25%" }, strategy(w))
  end)

  it("changes without a restart", function()
    local w = world.deployed()
    local before = json.encode(w.children.deployments[world.CHILD].spec.template)
    world.edit(w, function(spec) spec.rolloutStrategy = "available" end)
    assert.equal(before, json.encode(deployment(w).spec.template))
  end)
end)

describe("a restart on request (fault 27)", function()
  local KEY = "primehub.io/restartedAt"

  local function ask(w, value)
    w.object.metadata.annotations = { [KEY] = value } -- an annotation is no new generation
  end
  local function of_pods(w)
    return deployment(w).spec.template.metadata.annotations[KEY]
  end

  it("is another pod template, and Deploying until the new pods serve", function()
    local w = world.deployed()
    ask(w, "2026-01-01T00:00:00Z")
    assert.equal("2026-01-01T00:00:00Z", of_pods(w))
    assert.equal("Deploying", world.decide(w).status.phase)
    local decision = world.apply(w)
    assert.equal("Deploying", decision.status.phase)
    assert.equal("False", world.condition(decision.status, "Ready").status)
    world.roll(w, nil, 2)
    assert.equal("Deployed", world.apply(w).status.phase)
    assert.equal("2026-01-01T00:00:00Z", w.object.status.restartedAt)
    assert.equal(1, #w.object.status.history, "it is no generation, and no record")
  end)

  it("is asked once: taking the annotation away restarts nothing", function()
    local w = world.deployed()
    ask(w, "one")
    world.apply(w)
    world.roll(w, nil, 2)
    world.apply(w)
    w.object.metadata.annotations = nil
    assert.equal("one", of_pods(w))
    assert.equal("Deployed", world.decide(w).status.phase)
    ask(w, "two")
    assert.equal("two", of_pods(w))
  end)

  it("takes any text, in a form that the engine can read in the pod's annotations", function()
    local w = world.deployed()
    ask(w, 'a=b="c"\n' .. ("x"):rep(500))
    assert.matches("^a%-b%-%-c%-", of_pods(w))
    assert.is_true(#of_pods(w) <= 64)
  end)

  it("is told as it was asked, for who waits for it", function()
    local w = world.deployed()
    ask(w, "Mon Nov 23 16:25:46 UTC 2026")
    world.apply(w)
    world.roll(w, nil, 2)
    world.apply(w)
    assert.equal("Mon Nov 23 16:25:46 UTC 2026", w.object.status.restartedAt)
    w.object.metadata.annotations = nil
    world.apply(w)
    assert.equal("Mon Nov 23 16:25:46 UTC 2026", w.object.status.restartedAt)
  end)

  it("that cannot be done yet is not Deployed", function()
    local w = world.deployed()
    w.group = { state = "unknown" }
    ask(w, "one")
    assert.equal("Deploying", world.apply(w).status.phase)
    assert.is_nil(w.object.status.restartedAt)
  end)

  it("of a stopped model starts nothing", function()
    local w = world.deployed()
    world.edit(w, function(spec) spec.stop = true end)
    world.apply(w)
    world.roll(w)
    world.apply(w)
    ask(w, "one")
    assert.equal("Stopped", world.apply(w).status.phase)
    assert.equal(0, w.children.deployments[world.CHILD].spec.replicas)
  end)
end)
