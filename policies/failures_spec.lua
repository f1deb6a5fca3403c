-- Every row of failures.lua, what people read, what happens to the children, and how it ends.

local world = require "spec_world"

-- A world in which `change` was done to a running model, decided now and `after` seconds later.
local function after(change, seconds)
  local w = world.deployed()
  change(w)
  world.apply(w)
  w.now = w.now + (seconds or 0)
  return world.decide(w), w
end

local function fails_as(reason, message, condition, change, seconds)
  local decision, w = after(change, seconds)
  assert.equal("Failed", decision.status.phase)
  assert.equal(reason, decision.status.reason)
  assert.equal(message, decision.status.message)
  local said = world.condition(decision.status, condition)
  assert.equal(condition == "ChildConflict" and "True" or "False", said.status)
  assert.equal(reason, said.reason)
  assert.equal("False", world.condition(decision.status, "Ready").status)
  assert.equal(reason, world.condition(decision.status, "Ready").reason)
  return decision, w
end

local function edits(change)
  return function(w) world.edit(w, change) end
end

-- What is refused writes no child: the running model goes on.
local function keeps_children(decision)
  assert.equal(0, #decision.children)
  assert.equal(0, #decision.prune)
end

local function container_state(state, more)
  return function(w)
    for _, pod in ipairs(w.pods) do
      local one = pod.status.containerStatuses[1]
      one.ready, one.state, one.imageID = false, state, ""
      for k, v in pairs(more or {}) do one[k] = v end
      pod.status.conditions = json.array { { type = "Ready", status = "False" } }
    end
  end
end

local function deployment_condition(condition)
  return function(w)
    local live = w.children.deployments[world.CHILD]
    live.status.conditions = json.array { condition }
    live.status.availableReplicas = 1
  end
end

describe("the settings", function()
  it("that make no sense take no route away and touch no model: each object says which", function()
    keeps_children(fails_as("SettingsInvalid", 'A setting of the operator is wrong: route is "ingress": it is Ingress or none', "Progressing",
      function(w) w.settings.route = "ingress" end))
    keeps_children(fails_as("SettingsInvalid", 'A setting of the operator is wrong: engine.share.cpu is "xx": it is a quantity, such as 300m',
      "Progressing", function(w) w.settings.engine.share.cpu = "xx" end))
  end)
end)

describe("what is asked for", function()
  it("names a predictor", function()
    keeps_children(fails_as("PredictorMissing",
      "spec.predictors is empty: name one predictor with a model image and an instance type", "Progressing",
      edits(function(spec) spec.predictors = json.array {} end)))
  end)

  it("has a name that a Service can have (fault 12)", function()
    local w = world.new()
    w.object.metadata.name = ("x"):rep(57)
    local status = world.decide(w).status
    assert.equal("NameInvalid", status.reason)
    w.object.metadata.name = ("x"):rep(56)
    assert.equal("Deploying", world.decide(w).status.phase)
    w.object.metadata.name = "a.b"
    assert.equal("NameInvalid", world.decide(w).status.reason)
  end)

  it("names an image", function()
    keeps_children(fails_as("ImageInvalid", "Image invalid or cannot be pulled: modelImage is empty or has a space in it",
      "ImagePulled", edits(function(spec) spec.predictors[1].modelImage = "  " end)))
  end)

  it("leaves the operator's environment alone (fault 6)", function()
    local function with(name)
      return edits(function(spec) spec.env = json.array { { name = name, value = "1" } } end)
    end
    for _, name in ipairs { "PREDICTIVE_UNIT_SERVICE_PORT", "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", "PREDICTIVE_UNIT_ID",
      "PREDICTIVE_UNIT_IMAGE", "PREDICTOR_ID", "SELDON_DEPLOYMENT_ID" } do
      keeps_children(fails_as("EnvInvalid",
        "Environment variable " .. name .. " is set by the operator: choose another name in spec.env", "Progressing", with(name)))
    end
    fails_as("EnvInvalid", "Environment variable A is given twice: choose another name in spec.env", "Progressing",
      edits(function(spec) spec.env = json.array { { name = "A", value = "1" }, { name = "A", value = "2" } } end))
  end)

  it("is not half served: model URIs and private endpoints", function()
    keeps_children(fails_as("ModelUriUnsupported", "modelURI is not supported yet: build the model into the image", "Progressing",
      edits(function(spec) spec.predictors[1].modelURI = "gs://bucket/model" end)))
    keeps_children(fails_as("PrivateEndpointUnsupported",
      "Private endpoints are not supported yet: the model is not exposed without its lock", "RouteReady",
      edits(function(spec) spec.endpoint = { accessType = "private" } end)))
  end)
end)

describe("the group", function()
  it("not found keeps the running model (faults 1, 3)", function()
    local decision = fails_as("GroupNotFound", "Group not found: phusers (group-id)", "GroupResolved",
      function(w) w.group = { state = "missing" } end)
    keeps_children(decision)
    assert.equal(2, decision.status.availableReplicas)
    assert.equal("True", world.condition(decision.status, "Available").status)
  end)

  it("lost scales to 0 where that is set, and is Failed, not Stopped", function()
    local w = world.deployed()
    w.settings.onGroupLost, w.group = "stop", { state = "missing" }
    local decision = world.apply(w)
    assert.equal("Failed", decision.status.phase)
    assert.equal(0, w.children.deployments[world.CHILD].spec.replicas)
  end)

  it("with the id of another is ambiguous, and both are named", function()
    keeps_children(fails_as("GroupAmbiguous", "Group is ambiguous: hub/a, hub/b have the same id group-id", "GroupResolved",
      function(w) w.group = { state = "ambiguous", objects = json.array { "hub/b", "hub/a" } } end))
  end)

  it("not enabled", function()
    for _, enabled in ipairs { false, "absent" } do
      keeps_children(fails_as("DeploymentNotEnabled", "The model deployment is not enabled for the selected group: phusers",
        "GroupResolved", function(w)
          w.group.object.spec.enabledDeployment = enabled
          if enabled == "absent" then w.group.object.spec.enabledDeployment = nil end
        end))
    end
  end)

  it("of another name is the group: the id decides, a condition says it", function()
    local w = world.deployed(function(w) w.group.object.spec.name = "renamed" end)
    assert.equal("Deployed", w.object.status.phase)
    local condition = world.condition(w.object.status, "GroupResolved")
    assert.equal("True", condition.status)
    assert.equal("GroupNameDiffers", condition.reason)
    local labels_of = w.children.deployments[world.CHILD].spec.template.metadata.labels
    assert.equal("escaped-renamed", labels_of["primehub.io/group"])
  end)

  it("that cannot be read now fails and changes nothing (faults 1, 2)", function()
    local decision = after(function(w) w.group = { state = "unknown" } end)
    assert.equal("Deployed", decision.status.phase)
    assert.equal("Unknown", world.condition(decision.status, "GroupResolved").status)
    keeps_children(decision)
  end)

  it("that cannot be read now, but is known from before, goes on as before", function()
    local decision, w = after(function(w)
      w.group.state = "unknown"
      world.edit(w, function(spec) spec.predictors[1].modelImage = "infuseai/spam:2.0" end)
    end)
    assert.equal("Deploying", decision.status.phase)
    assert.equal("Unknown", world.condition(decision.status, "GroupResolved").status)
    assert.equal("infuseai/spam:2.0", w.children.deployments[world.CHILD].spec.template.spec.containers[1].image)
  end)

  it("that cannot be read lets an edit wait, not look Deployed, and a stop through", function()
    local decision = after(function(w)
      w.group = { state = "unknown" }
      world.edit(w, function(spec) spec.predictors[1].modelImage = "infuseai/spam:2.0" end)
    end)
    assert.equal("Deploying", decision.status.phase)
    assert.equal("Waiting: the group cannot be read at the moment", decision.status.message)
    assert.equal("False", world.condition(decision.status, "Ready").status)
    local _, w = after(function(w)
      w.group = { state = "unknown" }
      world.edit(w, function(spec) spec.stop = true end)
    end)
    assert.equal(0, w.children.deployments[world.CHILD].spec.replicas)
    assert.equal("infuseai/spam:1.0", w.children.deployments[world.CHILD].spec.template.spec.containers[1].image)
  end)

  it("that was never known starts nothing", function()
    local w = world.new()
    w.group = { state = "unknown" }
    local decision = world.decide(w)
    keeps_children(decision)
    assert.equal("Deploying", decision.status.phase)
  end)
end)

describe("the instance type", function()
  it("not found", function()
    keeps_children(fails_as("InstanceTypeNotFound", "InstanceType not found: cpu-only", "GroupResolved",
      function(w) w.instance_type = { state = "missing" } end))
  end)

  it("twice", function()
    fails_as("InstanceTypeAmbiguous", "InstanceType is ambiguous: several objects", "GroupResolved",
      function(w) w.instance_type = { state = "ambiguous", objects = json.array {} } end)
  end)

  it("not offered to the group", function()
    keeps_children(fails_as("InstanceTypeNotAllowed", "InstanceType not found: cpu-only is not offered to the group phusers",
      "GroupResolved", function(w) w.group.object.spec.instanceTypes = json.array { "gpu-1" } end))
    local decision = after(function(w) w.group.object.spec.instanceTypes = json.array { "gpu-1", "cpu-only" } end)
    assert.equal("Deployed", decision.status.phase)
  end)

  it("that makes no sense", function()
    fails_as("InstanceTypeInvalid", "InstanceType cpu-only is invalid: limits.memory is lots, which is no quantity", "GroupResolved",
      function(w) w.instance_type.object.spec["limits.memory"] = "lots" end)
  end)

  it("too small for the engine (fault 40)", function()
    keeps_children(fails_as("InstanceTypeTooSmall", "InstanceType cpu-only is too small: the engine takes 300m of its 300m cpu, "
      .. "and nothing is left for the model", "GroupResolved", function(w) w.instance_type.object.spec["limits.cpu"] = 0.3 end))
    fails_as("InstanceTypeTooSmall", "InstanceType cpu-only is too small: the engine takes 250Mi of its 200Mi memory, "
      .. "and nothing is left for the model", "GroupResolved", function(w) w.instance_type.object.spec["limits.memory"] = "200M" end)
  end)
end)

describe("the API server", function()
  local function problem_of(kind, code, reason, message)
    return function(w) w.problems[1] = { kind = kind, name = world.CHILD, code = code, reason = reason, message = message } end
  end

  it("has an object of that name already", function()
    fails_as("ChildConflict", "Service deploy-spam-classifier-abcxy exists and belongs to somebody else: it has no owner",
      "ChildConflict", problem_of("Service", 409, "ChildConflict", "it has no owner"))
  end)

  it("refuses the Deployment", function()
    fails_as("DeploymentRefused", "The cluster refuses the Deployment: spec is invalid", "Progressing",
      problem_of("Deployment", 422, "Invalid", "spec is invalid"))
  end)

  it("refuses a route (fault 11)", function()
    fails_as("RouteRefused", "The cluster refuses the Ingress: not allowed", "RouteReady",
      problem_of("Ingress", 403, "Forbidden", "not allowed"))
  end)

  it("that is only in trouble itself is no failure", function()
    for _, code in ipairs { 0, 401, 408, 409, 429, 500, 503 } do
      local decision = after(problem_of("Deployment", code, "Trouble", "later"))
      assert.equal("Deploying", decision.status.phase, tostring(code))
    end
  end)
end)

describe("the quota", function()
  local refused = deployment_condition { type = "ReplicaFailure", status = "True", reason = "FailedCreate",
    message = 'admission webhook "resources-validation-webhook.primehub.io" denied the request: '
      .. "Group phusers exceeded cpu quota: 1.0, requesting 2.0" }

  it("that refuses pods fails after its grace, without the pod's name", function()
    fails_as("GroupQuotaExceeded", "Group resource not enough: Group phusers exceeded cpu quota: 1.0, requesting 2.0",
      "QuotaAdmitted", refused, 15)
    fails_as("GroupQuotaExceeded", "Group resource not enough: exceeded quota: compute, requested: limits.cpu=1",
      "QuotaAdmitted", deployment_condition { type = "ReplicaFailure", status = "True", reason = "FailedCreate",
        message = 'pods "deploy-x-7d9-abcde" is forbidden: exceeded quota: compute, requested: limits.cpu=1' }, 15)
  end)

  it("waits out its grace, and longer while a pod is still ending", function()
    local decision = after(refused, 14)
    assert.equal("Deploying", decision.status.phase)
    assert.equal("False", world.condition(decision.status, "QuotaAdmitted").status)
    assert.equal(1, decision.requeue_after)
    decision = after(function(w)
      refused(w)
      w.pods[2].metadata.deletionTimestamp, w.pods[2].metadata.deletionGracePeriodSeconds = "2020-03-23T02:03:15Z", 30
    end, 44)
    assert.equal("Deploying", decision.status.phase)
    assert.equal(1, decision.requeue_after)
  end)

  it("is not blamed for what another webhook refuses", function()
    fails_as("PodsRefused", "Pods cannot be created: images must be signed", "QuotaAdmitted",
      deployment_condition { type = "ReplicaFailure", status = "True", reason = "FailedCreate",
        message = 'admission webhook "x" denied the request: images must be signed' }, 15)
  end)

  it("recovers by itself", function()
    local w = world.deployed()
    refused(w)
    world.apply(w)
    w.now = w.now + 20
    assert.equal("Failed", world.apply(w).status.phase)
    world.roll(w)
    local decision = world.apply(w)
    assert.equal("Deployed", decision.status.phase)
    assert.is_nil(decision.requeue_after)
  end)
end)

describe("the image", function()
  it("that cannot be had fails after its grace, for each reason (faults 7, 13)", function()
    for _, reason in ipairs { "InvalidImageName", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
      "ImageInspectError", "RegistryUnavailable" } do
      local waits = container_state { waiting = { reason = reason, message = "Back-off" } }
      fails_as("ImagePullFailed", "Image invalid or cannot be pulled: infuseai/spam:1.0", "ImagePulled", waits, 10)
      local early = after(waits, 9)
      assert.equal(1, early.requeue_after)
      assert.is_false(early.status.phase == "Failed")
    end
  end)

  it("of an init container counts too", function()
    fails_as("ImagePullFailed", "Image invalid or cannot be pulled: init:1", "ImagePulled", function(w)
      w.pods[1].status.initContainerStatuses = json.array { { name = "init", image = "init:1", ready = false, restartCount = 0,
        state = { waiting = { reason = "ErrImagePull" } } } }
    end, 10)
  end)

  it("of the ReplicaSet before is nobody's failure (fault 13)", function()
    local w = world.deployed()
    container_state { waiting = { reason = "ErrImagePull" } }(w)
    local old = w.pods
    world.roll(w, 1, 2)
    for _, pod in ipairs(old) do w.pods[#w.pods + 1] = pod end
    world.apply(w)
    w.now = w.now + 60
    assert.equal("Deploying", world.decide(w).status.phase)
  end)

  it("is not judged by old pods after an edit: Failed becomes Deploying at once", function()
    local w = world.deployed()
    container_state { waiting = { reason = "ErrImagePull" } }(w)
    world.apply(w)
    w.now = w.now + 10
    assert.equal("Failed", world.apply(w).status.phase)
    world.edit(w, function(spec) spec.predictors[1].modelImage = "infuseai/spam:2.0" end)
    local decision = world.apply(w)
    assert.equal("Unknown", world.condition(decision.status, "ImagePulled").status)
    assert.is_false(decision.status.phase == "Failed")
  end)
end)

describe("pods", function()
  it("without room in the cluster", function()
    fails_as("ClusterResourcesShort", "Cluster resource not enough: 0/3 nodes are available: 3 Insufficient cpu.", "PodsHealthy",
      function(w)
        for _, pod in ipairs(w.pods) do
          pod.status = { phase = "Pending", conditions = json.array { { type = "PodScheduled", status = "False",
            reason = "Unschedulable", message = "0/3 nodes are available: 3 Insufficient cpu." } } }
        end
      end, 15)
  end)

  it("that cannot be configured", function()
    fails_as("ContainerConfigInvalid", 'Container model cannot be started: secret "s" not found', "PodsHealthy",
      container_state { waiting = { reason = "CreateContainerConfigError", message = 'secret "s" not found' } }, 10)
  end)

  local exited = { terminated = { exitCode = 1, reason = "Error" } }

  it("that crash, in the back-off and between two crashes", function()
    local message = "Container model crashes: Error, exit code 1"
    fails_as("Crashed", message, "PodsHealthy",
      container_state({ waiting = { reason = "CrashLoopBackOff" } }, { lastState = exited, restartCount = 1 }))
    fails_as("Crashed", message, "PodsHealthy", container_state({ running = {} }, { lastState = exited, restartCount = 2 }))
  end)

  it("that crashed once are no verdict (fault 13)", function()
    local decision = after(container_state({ running = {} }, { lastState = exited, restartCount = 1 }))
    assert.is_false(decision.status.phase == "Failed")
  end)

  it("out of memory", function()
    fails_as("OutOfMemory", "Container model needs more memory than the instance type gives it (OOMKilled, exit code 137)",
      "PodsHealthy", container_state({ waiting = { reason = "CrashLoopBackOff" } },
        { lastState = { terminated = { exitCode = 137, reason = "OOMKilled" } }, restartCount = 1 }))
  end)

  it("that never get ready", function()
    fails_as("ProgressDeadline", "The model made no progress for 1200 seconds", "Progressing",
      deployment_condition { type = "Progressing", status = "False", reason = "ProgressDeadlineExceeded" })
  end)
end)

describe("messages", function()
  it("are bounded, one line, and take nothing out of others' words", function()
    local decision = after(deployment_condition { type = "ReplicaFailure", status = "True", reason = "FailedCreate",
      message = "denied the request: {spec.groupId}\n" .. ("é"):rep(5000) }, 15)
    assert.is_true(#decision.status.message <= 1024)
    assert.matches("^Pods cannot be created: {spec.groupId} é", decision.status.message)
    assert.is_not_nil(utf8.len(decision.status.message))
  end)

  it("come with a record of the rows that were tried", function()
    local trace = after(function(w) w.group = { state = "missing" } end).trace
    local held = {}
    for _, record in ipairs(trace.failures) do
      if record.held then held[#held + 1] = record.row end
    end
    assert.same({ "GroupNotFound" }, held)
    json.encode(trace) -- it leaves the policy as plain data
    assert.is_true(#trace.phases > 0)
  end)
end)
