-- For specs: one PhDeployment with all that surrounds it, and what a cluster would make of a decision.
--
-- new() gives a world as plain data; a spec changes it and asks decide(). apply() does what the host
-- does with a decision, roll() what the Deployment's controller and the kubelets do. The settings are
-- fixed here, so that an edit of settings.yaml breaks no spec.

local assert = require("moonphase.spec").assert
local controller = require "phdeployment"

local M = {}

M.NAME = "spam-classifier-abcxy"
M.CHILD = "deploy-" .. M.NAME
M.NOW = 1584928995 -- 2020-03-23T02:03:15Z
local UID = "deployment-uid"

function M.settings()
  return {
    catalogNamespace = "", source = { graphql = { endpoint = "", tokenFile = "", tokenSecret = { name = "", key = "token" }, caFile = "",
      timeoutSeconds = 10, ttlSeconds = 60 } }, appLabel = "primehub-group", primehubUrl = "http://primehub.local", route = "Ingress",
    ingress = { className = "nginx", host = "", tls = json.array {}, bodySize = "10m", timeoutSeconds = 0, annotations = {},
      privateAnnotations = {} },
    httpRoute = { parentRefs = json.array {}, hostnames = json.array {}, timeout = "", privateFilters = json.array {} },
    imagePrefix = "",
    engine = { kind = "seldon", args = json.array {}, image = "seldonio/seldon-core-executor", tag = "1.4.0", pullPolicy = "IfNotPresent", grpc = false,
      share = { percent = 10, cpu = "300m", memory = "250Mi" } },
    model = { readiness = "tcp", preStopSleepSeconds = 10, automountServiceAccountToken = false },
    modelUri = {
      image = "kfserving/storage-initializer", tag = "v0.4.0", pullPolicy = "IfNotPresent",
      schemes = json.array { "gs", "s3", "https", "http" }, secret = "", googleKey = "gcloud-application-credentials.json",
      env = json.array { { name = "GCE_METADATA_IP", value = "127.0.0.1" }, { name = "GCE_METADATA_HOST", value = "127.0.0.1" } },
      storageLimit = "", phfs = { claim = "" }, pvc = { claims = json.array { "*" } }, nfs = { exports = json.array {} },
      mlflow = { image = "infuseai/mlflow-model-downloader", tag = "v0.2.3", pullPolicy = "IfNotPresent",
        command = json.array { "python", "-u", "/apps/downloader.py" }, claim = "project-{group}" },
    },
    securityContext = { pod = {}, container = {} },
    probes = { initialDelaySeconds = 30, periodSeconds = 10, timeoutSeconds = 60, failureThreshold = 90 },
    rollout = { budget = 1, strategy = "resource-aware", progressDeadlineSeconds = 1200, strategies = {
      ["resource-aware"] = { maxSurge = 0, maxUnavailable = 1 }, available = { maxSurge = 1, maxUnavailable = 0 } } },
    quota = { counts = "limits" },
    gpu = { defaultResource = "nvidia.com/gpu" },
    onGroupLost = "keep",
    grace = { image = 10, quota = 15, capacity = 15, refused = 15, mount = 30, config = 10, fetch = 0, crash = 0 },
    crash = { restarts = 2, lines = 3, bytes = 400 },
    history = { limit = 32, maxBytes = 262144 },
  }
end

local copy = json.copy
M.copy = copy

function M.spec()
  return {
    displayName = "spam classifier", userId = "user-id", userName = "phadmin",
    groupId = "group-id", groupName = "phusers", stop = false, updateMessage = "first",
    predictors = json.array { { name = "predictor1", replicas = 2, modelImage = "infuseai/spam:1.0",
      instanceType = "cpu-only", metadata = { ACCURACY = "0.98" } } },
  }
end

local function no_children()
  local none = {}
  for place in pairs(controller.children) do none[place] = {} end
  return none
end

function M.new()
  return {
    object = { apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment",
      metadata = { name = M.NAME, namespace = "hub", uid = "phd-uid", generation = 1 }, spec = M.spec() },
    revisions = json.array {},
    children = no_children(),
    pods = json.array {}, replicasets = json.array {}, events = json.array {}, problems = json.array {},
    group = { state = "found", object = { metadata = { name = "phusers" },
      spec = { id = "group-id", name = "phusers", enabledDeployment = true } } },
    instance_type = { state = "found", object = { metadata = { name = "cpu-only" },
      spec = { ["limits.cpu"] = 1, ["limits.memory"] = "2Gi" } } },
    settings = M.settings(), now = M.NOW, policy = { digest = "0" }, trace = true,
  }
end

-- On a copy, as in the host; but for the settings, which are large and which no policy writes to.
function M.decide(w)
  local seen = {}
  for name, value in pairs(w) do seen[name] = name == "settings" and value or copy(value) end
  return controller.decide(seen)
end

-- The live children of this kind, by name.
local function living(w, kind)
  for place, declared in pairs(controller.children) do
    if declared.kind == kind then return w.children[place] end
  end
  error(("the policy wants or prunes a child of the kind %s, which phdeployment.lua does not declare under `children`"):format(tostring(kind)))
end

-- Whether there is something else now.
local function write_child(w, child)
  local place, name = living(w, child.kind), child.metadata.name
  local live = place[name]
  local new = copy(child)
  new.metadata.uid = live and live.metadata.uid or (child.kind == "Deployment" and UID or "uid-of-" .. name)
  new.metadata.generation = live and live.metadata.generation or 1
  new.status = live and live.status
  -- what a Deployment's controller wrote stays
  local revision = live and live.metadata.annotations and live.metadata.annotations["deployment.kubernetes.io/revision"]
  if revision then new.metadata.annotations["deployment.kubernetes.io/revision"] = revision end
  if live and json.equal(live, new) then return false end
  if live and not json.equal(live.spec, new.spec) then new.metadata.generation = new.metadata.generation + 1 end
  place[name] = new
  return true
end

local function with_times(w, wanted)
  local before = {}
  for _, condition in ipairs(w.object.status and w.object.status.conditions or {}) do before[condition.type] = condition end
  local status = copy(wanted)
  for _, condition in ipairs(status.conditions) do
    local old = before[condition.type]
    condition.lastTransitionTime = old and old.status == condition.status and old.lastTransitionTime or time.format(w.now)
  end
  return status
end

-- What the host does: children first, then the status (decided anew, if they are others now). Returns the decision whose
-- status was written.
function M.apply(w)
  local decision, changed = M.decide(w), false
  for _, child in ipairs(decision.children) do changed = write_child(w, child) or changed end
  for _, gone in ipairs(decision.prune) do
    living(w, gone.kind)[gone.name], changed = nil, true
  end
  if changed then decision = M.decide(w) end
  w.object.status = with_times(w, decision.status)
  local left = json.array {}
  for _, revision in ipairs(w.revisions) do
    if revision.generation > (decision.recorded or 0) then left[#left + 1] = revision end
  end
  w.revisions = left
  return decision
end

-- The user edits the spec.
function M.edit(w, change)
  change(w.object.spec)
  w.object.metadata.generation = w.object.metadata.generation + 1
  w.revisions[#w.revisions + 1] = { generation = w.object.metadata.generation, time = time.format(w.now),
    spec = copy(w.object.spec) }
end

local function running(name, image)
  return { name = name, image = image, imageID = "sha256:1", ready = true, restartCount = 0,
    state = { running = { startedAt = "2020-03-23T02:00:00Z" } } }
end

function M.pod(hash, name)
  return {
    metadata = { name = name, uid = name, labels = { ["pod-template-hash"] = hash, ["primehub.io/phdeployment"] = M.NAME },
      ownerReferences = json.array { { kind = "ReplicaSet", name = "rs-" .. hash, uid = "rs-" .. hash, controller = true } } },
    status = { phase = "Running", conditions = json.array { { type = "Ready", status = "True" } },
      containerStatuses = json.array { running("model", "infuseai/spam:1.0"), running("seldon-container-engine", "engine") } },
  }
end

-- What the Deployment's controller and the kubelets make of the Deployment: a ReplicaSet of the present
-- template, `available` (default: all) of its replicas running. `templates` tells how often the template changed.
function M.roll(w, available, templates)
  local live = w.children.deployments[M.CHILD]
  if not live then error("the policies made no Deployment, or pruned it: look at `children` and `prune` of what decide returns", 0) end
  local wanted, revision = live.spec.replicas, tostring(templates or 1)
  available = available or wanted
  live.metadata.annotations["deployment.kubernetes.io/revision"] = revision
  live.status = { observedGeneration = live.metadata.generation, replicas = wanted, updatedReplicas = wanted,
    readyReplicas = available, availableReplicas = available, conditions = json.array {} }
  w.replicasets = json.array {}
  for i = 1, templates or 1 do
    w.replicasets[i] = { metadata = { name = "rs-h" .. i, labels = { ["pod-template-hash"] = "h" .. i },
      annotations = { ["deployment.kubernetes.io/revision"] = tostring(i) },
      ownerReferences = json.array { { kind = "Deployment", uid = UID, controller = true } } } }
  end
  w.pods = json.array {}
  for i = 1, wanted do w.pods[i] = M.pod("h" .. revision, "pod-" .. i) end
end

local function deploy(w)
  M.apply(w)
  M.roll(w)
  M.apply(w)
  return w
end

-- Most specs begin with this one. (A policy that errs on it errs here, once for each file of specs.)
local deployed = deploy(M.new())

-- A world in which the model is Deployed.
function M.deployed(change)
  if not change then return copy(deployed) end
  local w = M.new()
  change(w)
  return deploy(w)
end

function M.condition(status, type_of)
  for _, condition in ipairs(status.conditions) do
    if condition.type == type_of then return condition end
  end
  error("there is no condition " .. type_of)
end

-- ---------------------------------------------------------------- what goes wrong

-- A world in which `change` was done to a running model, decided now and `seconds` later: the decision, the world.
function M.after(change, seconds)
  local w = M.deployed()
  change(w)
  M.apply(w)
  w.now = w.now + (seconds or 0)
  return M.decide(w), w
end

-- ... which is Failed then, with this reason and message, and says so in this condition.
function M.fails_as(reason, message, condition, change, seconds)
  local decision, w = M.after(change, seconds)
  assert.equal("Failed", decision.status.phase)
  assert.equal(reason, decision.status.reason)
  assert.equal(message, decision.status.message)
  local said = M.condition(decision.status, condition)
  assert.equal(condition == "ChildConflict" and "True" or "False", said.status)
  assert.equal(reason, said.reason)
  assert.equal("False", M.condition(decision.status, "Ready").status)
  assert.equal(reason, M.condition(decision.status, "Ready").reason)
  return decision, w
end

-- Every pod's model container is in this state: {waiting = {...}}.
function M.in_state(state, more)
  return function(w)
    for _, pod in ipairs(w.pods) do
      local one = pod.status.containerStatuses[1]
      one.ready, one.state, one.imageID = false, state, ""
      for k, v in pairs(more or {}) do one[k] = v end
      pod.status.conditions = json.array { { type = "Ready", status = "False" }, { type = "PodScheduled", status = "True" } }
    end
  end
end

-- The Deployment says so, and one replica is not there.
function M.says(condition)
  return function(w)
    local live = w.children.deployments[M.CHILD]
    live.status.conditions = json.array { condition }
    live.status.availableReplicas = 1
    w.pods[2] = nil
  end
end

-- The API server refuses the second pod with these words.
function M.refuses(message)
  return M.says { type = "ReplicaFailure", status = "True", reason = "FailedCreate", message = message }
end

return M
