-- The rows of failures.lua that are known before a pod is there: what people read, what happens to the children, how it ends.
-- (Those of pods: pods_spec.lua.)

local world = require "spec_world"

local after, fails_as = world.after, world.fails_as

local function edits(change)
  return function(w) world.edit(w, change) end
end

-- What is refused writes no child: the running model goes on.
local function keeps_children(decision)
  assert.equal(0, #decision.children)
  assert.equal(0, #decision.prune)
end

describe("the settings", function()
  it("that make no sense take no route away and touch no model: each object says which", function()
    keeps_children(fails_as("SettingsInvalid",
      'A setting of the operator is wrong: route is "ingress": it is Ingress, HTTPRoute or none', "Progressing",
      function(w) w.settings.route = "ingress" end))
    keeps_children(fails_as("SettingsInvalid",
      'A setting of the operator is wrong: engine.share.cpu is "xx": it is a quantity, such as 300m',
      "Progressing", function(w) w.settings.engine.share.cpu = "xx" end))
    fails_as("SettingsInvalid", 'A setting of the operator is wrong: rollout.strategy is "fast": it is resource-aware or available',
      "Progressing", function(w) w.settings.rollout.strategy = "fast" end)
    fails_as("SettingsInvalid", 'A setting of the operator is wrong: grace.quota is "-1": it is a whole number from 0 on', "Progressing",
      function(w) w.settings.grace.quota = -1 end)
    for _, percent in ipairs { 101, -5, 12.5 } do
      fails_as("SettingsInvalid",
        ('A setting of the operator is wrong: engine.share.percent is "%s": it is a whole number from 0 to 100'):format(percent), "Progressing",
        function(w) w.settings.engine.share.percent = percent end)
    end
    fails_as("SettingsInvalid",
      'A setting of the operator is wrong: crash.restarts is not set: it is a whole number from 1 on', "Progressing",
      function(w) w.settings.crash.restarts = nil end)
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
    assert.equal("Failed", status.phase)
    assert.equal("NameTooLong", status.reason)
    assert.equal("The name is too long: its Service would be called deploy-" .. ("x"):rep(57)
      .. ", and 63 characters are what a Service may have", status.message)
    w.object.metadata.name = ("x"):rep(56)
    assert.equal("Deploying", world.decide(w).status.phase)
    w.object.metadata.name = "a.b"
    status = world.decide(w).status
    assert.equal("NameInvalid", status.reason)
    assert.equal("The name has a dot: its Service would be called deploy-a.b, which may have none", status.message)
  end)

  it("never makes an invalid label of a group's name (1.9: é is one in PrimeHub)", function()
    for _, name in ipairs { "", "café", "研究", ("a"):rep(300), "-", "A b/c" } do
      local w = world.new()
      w.group.object.spec.name = name ~= "" and name or nil
      w.group.object.metadata.name = name
      local made = world.decide(w).children[1]
      assert.is_true(labels.is_value(made.spec.template.metadata.labels["primehub.io/group"]), name)
    end
  end)

  it("is told of a label that Kubernetes would refuse, by the instance type or the settings", function()
    keeps_children(fails_as("LabelInvalid", "A label is invalid: the node selector gpu: a b of the instance type cpu-only", "Progressing",
      function(w) w.instance_type.object.spec.nodeSelector = { gpu = "a b" } end))
    keeps_children(fails_as("LabelInvalid", "A label is invalid: the node selector /x: y of the instance type cpu-only", "Progressing",
      function(w) w.instance_type.object.spec.nodeSelector = { ["/x"] = "y" } end))
    fails_as("LabelInvalid", 'A label is invalid: the setting appLabel is "-x"', "Progressing", function(w) w.settings.appLabel = "-x" end)
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

  it("refuses a field's type, though it calls that an error of its own", function()
    fails_as("DeploymentRefused", "The cluster refuses the Deployment: failed to create typed patch object: expected string, got 1", "Progressing",
      problem_of("Deployment", 500, "InternalError", "failed to create typed patch object: expected string, got 1"))
  end)

  it("refuses an amount that is none, though it calls that an error of its own, too; a webhook that is away is no refusal", function()
    local words = 'failed to convert new object to proper version: quantities must match the regular expression'
    fails_as("DeploymentRefused", "The cluster refuses the Deployment: " .. words, "Progressing", problem_of("Deployment", 500, "", words))
    local w = world.deployed()
    problem_of("Deployment", 500, "", "failed to convert new object to proper version: conversion webhook for x failed")(w)
    assert.is_true(world.decide(w).status.phase ~= "Failed")
  end)

  it("has a child of that name that is being deleted and does not go", function()
    local words = "the present %s deploy-x is being deleted and waits for its finalizers (x.example/f); it is made again when it is gone"
    for kind, row in pairs { Service = { "RouteStuck", "RouteReady", "The endpoint has no route: " },
      Deployment = { "DeploymentStuck", "Progressing", "The Deployment cannot be written: " } } do
      local problem = problem_of(kind, 409, "WaitingForDeletion", words:format(kind))
      fails_as(row[1], row[3] .. words:format(kind), row[2], problem, 61)
      local decision = after(problem, 59)
      assert.is_true(decision.status.phase ~= "Failed")
      assert.equal("False", world.condition(decision.status, row[2]).status)
    end
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

describe("messages", function()
  it("are bounded, one line, and take nothing out of others' words", function()
    local decision = after(world.refuses("denied the request: {spec.groupId}\n" .. ("é"):rep(5000)), 15)
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
