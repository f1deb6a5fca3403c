-- What is told as Kubernetes Events.

local world = require "spec_world"

-- its words are compared in phases_cases.yaml
local function serves() return world.deployed().object.status.message end

local function told(decision)
  local list = {}
  for i, event in ipairs(decision.events) do list[i] = event.type .. " " .. event.reason .. ": " .. event.message end
  return list
end

it("each phase is told once, when it comes (fault 16)", function()
  local w = world.new()
  assert.same({ "Normal Deploying: Deployment is being deployed and not available now" }, told(world.decide(w)))
  world.apply(w)
  assert.same({}, told(world.decide(w)))
  world.roll(w, 1)
  assert.same({}, told(world.apply(w)), "another message of the same phase is no event")
  world.roll(w)
  assert.same({ "Normal Deployed: " .. serves() }, told(world.decide(w)))
  world.apply(w)
  world.edit(w, function(spec) spec.stop = true end)
  assert.same({ "Normal Stopping: deployment is stopping" }, told(world.decide(w)))
  world.apply(w)
  world.roll(w)
  assert.same({ "Normal Stopped: deployment has stopped" }, told(world.decide(w)))
end)

it("a failure is told under its own name, another reason again, and that it is over", function()
  local w = world.deployed()
  w.group = { state = "missing" }
  assert.same({ "Warning GroupNotFound: Group not found: phusers (group-id)" }, told(world.decide(w)))
  world.apply(w)
  assert.same({}, told(world.decide(w)))
  w.instance_type, w.group = { state = "missing" }, world.new().group
  assert.same({ "Warning InstanceTypeNotFound: InstanceType not found: cpu-only" }, told(world.decide(w)))
  world.apply(w)
  w.instance_type = world.new().instance_type
  assert.same({ "Normal Recovered: InstanceTypeNotFound is over. " .. serves(), "Normal Deployed: " .. serves() }, told(world.decide(w)))
end)

it("a stop ends a failure without a recovery", function()
  local w = world.deployed()
  w.group = { state = "missing" }
  world.apply(w)
  world.edit(w, function(spec) spec.stop = true end)
  assert.same({ "Normal Stopping: deployment is stopping" }, told(world.decide(w)))
end)

it("a trouble within its grace is not told", function()
  local w = world.deployed()
  w.children.deployments[world.CHILD].status.availableReplicas = 0
  world.in_state { waiting = { reason = "ErrImagePull" } }(w)
  assert.same({ "Normal Deploying: Deployment is being deployed and not available now" }, told(world.apply(w)))
  w.now = w.now + 10
  assert.same({ "Warning ImagePullFailed: Image invalid or cannot be pulled: infuseai/spam:1.0" }, told(world.decide(w)))
end)

it("a source that falls silent is told, and when it answers again", function()
  local w = world.deployed()
  w.group.state = "unknown"
  assert.same({ "Warning SourceSilent: group or instance type cannot be read at the moment: what was known last goes on" },
    told(world.apply(w)))
  w.group.state = "found"
  assert.same({ "Normal SourceAnswers: group and instance type can be read again" }, told(world.apply(w)))
end)
