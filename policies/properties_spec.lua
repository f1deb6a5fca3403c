-- What holds for every world, tried on random ones: a verdict is that of what is seen, in whatever order and under whatever
-- names of pods; the conditions and the phase say the same; what was decided is decided again.
--
-- Each test is one seed; its number is in its name, so that a failure can be had again.

local world = require "spec_world"

local SEEDS = 8 -- whoever saves a policy waits for this; spec/host goes through more

-- A repeatable source of numbers.
local function source(seed)
  local state = seed * 2654435761
  local function number(most)
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (state >> 33) % most + 1
  end
  return number, function(list) return list[number(#list)] end
end

local function waiting(reason, message)
  return { state = { waiting = { reason = reason, message = message } } }
end

local function crashed(code, reason, message)
  return { restartCount = 3, state = { waiting = { reason = "CrashLoopBackOff" } },
    lastState = { terminated = { exitCode = code, reason = reason, message = message } } }
end

local CONTAINERS = {
  { ready = true, state = { running = {} } },
  { state = { running = {} } },
  waiting("ErrImagePull", "manifest unknown"), waiting("ErrImagePull", "pull access denied"), waiting("ImagePullBackOff", "Back-off"),
  waiting("InvalidImageName", "no"), waiting("ContainerCreating"), waiting("CreateContainerConfigError", 'secret "a" not found'),
  waiting("CreateContainerConfigError", 'secret "b" not found'),
  crashed(1, "Error", "ValueError: a"), crashed(2, "Error", "ValueError: b"), crashed(137, "OOMKilled", ""),
}

local REFUSALS = {
  'pods "%s" is forbidden: exceeded quota: q, requested: limits.cpu=1, used: limits.cpu=3, limited: limits.cpu=3',
  'admission webhook "a.b.c" denied the request: images must be signed',
  'admission webhook "a.b.c" denied the request: Group g exceeded cpu quota: 1, requesting 2',
}

local MOUNTS = { 'MountVolume.SetUp failed for volume "a" : secret "a" not found', 'MountVolume.SetUp failed for volume "b" : no',
  "Unable to attach or mount volumes: unmounted volumes=[a], unattached volumes=[b a]: timed out" }

local function one_pod(w, number, pick, i)
  local pod = world.pod(pick { "h2", "h2", "h2", "h1" }, world.CHILD .. "-7d9f8-" .. ("abcde"):sub(i, i) .. "wxyz")
  for _, status in ipairs(pod.status.containerStatuses) do
    status.ready, status.state = false, nil
    for k, v in pairs(world.copy(pick(CONTAINERS))) do status[k] = v end
  end
  pod.status.conditions = json.array { { type = "PodScheduled", status = "True" }, { type = "Ready", status = "False" } }
  if number(6) == 1 then
    pod.status.conditions[1] = { type = "PodScheduled", status = "False", reason = "Unschedulable",
      message = pick { "0/3 nodes are available: 3 Insufficient cpu.",
        "0/3 nodes are available: 1 Insufficient memory, 2 Insufficient cpu." } }
    pod.status.containerStatuses = nil
  end
  if number(8) == 1 then pod.metadata.deletionTimestamp = time.format(w.now + number(40) - 10) end
  for _ = 1, number(3) - 1 do
    w.events[#w.events + 1] = { metadata = { name = "e" .. #w.events }, reason = "FailedMount", message = pick(MOUNTS),
      involvedObject = { name = pod.metadata.name, uid = pod.metadata.uid } }
  end
  return pod
end

local EDITS = {
  function(spec) spec.predictors[1].modelImage = "infuseai/spam:2.0" end,
  function(spec) spec.stop = true end,
  function(spec) spec.replicas = 0 end,
  function(spec) spec.replicas = 3 end,
  function(spec) spec.displayName = "other" end,
}

-- A model in the second template's rollout, with pods in any state and trouble of any kind, decided some seconds ago.
local function random_world(seed)
  local number, pick = source(seed)
  local w = world.deployed()
  world.edit(w, EDITS[1])
  world.apply(w)
  world.roll(w, number(3) - 1, 2)
  w.pods = json.array {}
  for i = 1, number(5) do w.pods[i] = one_pod(w, number, pick, i) end
  local live = w.children.deployments[world.CHILD]
  local conditions = live.status.conditions
  if number(3) == 1 then
    conditions[1] = { type = "ReplicaFailure", status = "True", reason = "FailedCreate",
      message = pick(REFUSALS):gsub("%%s", world.CHILD .. "-7d9f8-zzzzz") }
  end
  if number(6) == 1 then conditions[#conditions + 1] = { type = "Progressing", status = "False", reason = "ProgressDeadlineExceeded" } end
  for _ = 1, number(3) - 1 do
    w.problems[#w.problems + 1] = { kind = pick { "Service", "Ingress", "Deployment" }, name = world.CHILD,
      code = pick { 422, 403, 0, 409 }, reason = pick { "Invalid", "ChildConflict" }, message = pick { "a", "b" } }
  end
  if number(4) == 1 then
    w.group = pick { { state = "missing" }, { state = "unknown" }, { state = "ambiguous", objects = { "b", "a" } } }
  end
  world.apply(w)
  if number(2) == 1 then world.edit(w, pick(EDITS)) end
  w.now = w.now + number(60)
  return w, number
end

-- The same things in another order.
local function shuffled(list, number)
  local copy = json.array {}
  for i, value in ipairs(list) do copy[i] = value end
  for i = #copy, 2, -1 do
    local j = number(i)
    copy[i], copy[j] = copy[j], copy[i]
  end
  return copy
end

local function in_another_order(w, number)
  local other = world.copy(w)
  for _, name in ipairs { "pods", "events", "problems", "replicasets" } do other[name] = shuffled(other[name], number) end
  for _, pod in ipairs(other.pods) do
    for _, name in ipairs { "conditions", "containerStatuses" } do
      if pod.status[name] then pod.status[name] = shuffled(pod.status[name], number) end
    end
  end
  local live = other.children.deployments[world.CHILD]
  live.status.conditions = shuffled(live.status.conditions, number)
  other.object.status.conditions = shuffled(other.object.status.conditions, number)
  return other
end

-- The same pods made once more by their ReplicaSet: other names, other UIDs.
local function made_again(w)
  local text_of = json.encode(w):gsub("%-7d9f8%-(%w)(%w+)", "-7d9f8-%1qrst")
  return json.decode(text_of)
end

local function told(decision)
  return json.encode { decision.status, decision.events, decision.children, decision.requeue_after or 0 }
end

describe("the verdict does not depend on", function()
  for seed = 1, SEEDS do
    it("the order of anything, nor on names of pods (fault 13, fault 15): seed " .. seed, function()
      local w, number = random_world(seed)
      local decision = world.decide(w)
      local expected, message = told(decision), decision.status.message
      assert.equal(expected, told(world.decide(in_another_order(w, number))), "another order")
      assert.equal(expected, told(world.decide(made_again(w))), "pods made again")
      assert.is_nil(message:find("7d9f8", 1, true), "no pod's name: " .. message)
      assert.is_true(#message <= 1024)
    end)
  end
end)

-- What phase and conditions claim of one another, and of the cluster.
local function consistent(status, w)
  local function is(kind) return world.condition(status, kind).status == "True" end
  assert.equal(status.phase == "Deployed", is "Ready", "Ready is Deployed")
  assert.equal(status.phase == "Stopped", is "Stopped", "Stopped is Stopped")
  assert.equal(status.phase == "Deploying" or status.phase == "Stopping", is "Progressing", "Progressing is on its way")
  assert.equal(status.availableReplicas > 0, is "Available", "Available is one that serves")
  assert.equal(w.object.metadata.generation, status.observedGeneration)
  for _, condition in ipairs(status.conditions) do
    assert.equal(status.observedGeneration, condition.observedGeneration, condition.type)
    assert.matches("^%u%w*$", condition.reason, condition.type)
    assert.is_true(condition.message ~= "", condition.type)
  end
  if not is "Ready" then return end
  local live = w.children.deployments[world.CHILD]
  assert.equal(live.metadata.generation, live.status.observedGeneration)
  assert.equal(live.spec.replicas, live.status.availableReplicas)
  assert.equal(live.spec.replicas, live.status.updatedReplicas)
end

describe("phase and conditions say the same in every transition", function()
  for seed = 1, SEEDS do
    it("and deciding again changes nothing: seed " .. seed, function()
      local w, number = random_world(seed + 1000)
      for _ = 1, 4 do
        local decision = world.apply(w)
        consistent(decision.status, w)
        local again = world.decide(w)
        assert.equal(json.encode(decision.status), json.encode(again.status))
        assert.equal("[]", json.encode(again.events), "nothing is told twice")
        if number(2) == 1 then world.roll(w, nil, 2) end
        if number(2) == 1 then world.edit(w, EDITS[number(#EDITS)]) end
        w.now = w.now + number(30)
      end
    end)
  end
end)
