-- A view of one moment in the words that the invariants use: what the status says, what is really there, what was asked for.
--
-- The walk sees a world: objects as the API server has them, and what the operator saw and decided on the way there. The
-- rows of invariants.lua ask simple questions about that. They are answered here once for each view. Nothing is judged here.
--
-- A view, as the walk makes it: {object = the PhDeployment (nil when it is gone), previous = the view one step before (nil at the
-- begin), children = {Deployment =, Service =, Ingress =, Secret =, HTTPRoute =}, pods, replicasets, scene = how the world is
-- (scene.lua), wanted = what the user asked for last, settled, faults (how many there were), gaps (how often
-- events may have gone by unseen: the operator began anew, or a watch listed again), writes = {{verb =, kind =, name =}}
-- since the step before, seen and decision of the operator's last look in this step, or nil}.

local M = {}

-- Whether a pod still has what it runs on: one that has ended for good may stay as an object.
function M.holds_something(pod)
  local phase = pod.status and pod.status.phase
  return phase ~= "Succeeded" and phase ~= "Failed"
end

-- Whether `child` is controlled by the object with this UID.
function M.is_ours(child, uid)
  for _, owner in ipairs(child.metadata.ownerReferences or {}) do
    if owner.controller and owner.uid == uid then return true end
  end
  return false
end

-- How many replicas a spec asks for; 0 when it is stopped.
function M.wants(spec)
  if spec.stop == true then return 0 end
  local predictor = spec.predictors and spec.predictors[1] or {}
  return spec.replicas or predictor.replicas or 1
end

-- Whether a spec names files to fetch.
function M.names_files(spec)
  local predictor = spec.predictors and spec.predictors[1] or {}
  return (predictor.modelURI or "") ~= ""
end

-- The model's image that a spec asks for.
function M.image(spec)
  local predictor = spec.predictors and spec.predictors[1] or {}
  return ((predictor.modelImage or ""):gsub("^%s+", ""):gsub("%s+$", ""))
end

-- What PrimeHub reads containers by.
local MODEL, ENGINE, INITIALIZER = "model", "seldon-container-engine", "model-storage-initializer"

local function named(list, name)
  for _, one in ipairs(list or {}) do
    if one.name == name then return one end
  end
  return nil
end

local function containers(deployment, field)
  local template = deployment.spec.template
  return template and template.spec and template.spec[field]
end

-- The container `model` of a Deployment; nil if it has none.
function M.model(deployment)
  return named(containers(deployment, "containers"), MODEL)
end

-- The variables of a spec stand among those of the model as they were written and in their order: $(NAME) is of one before it.
local function env_differs(model, spec)
  local there, at = model.env or {}, 1
  for _, wanted in ipairs(spec.env or {}) do
    while there[at] and there[at].name ~= wanted.name do at = at + 1 end
    if not there[at] then return ("the variable %s of its model is missing, or out of order"):format(wanted.name) end
    if not json.equal(there[at], wanted) then return ("the variable %s of its model is not the one of the spec"):format(wanted.name) end
  end
  return nil
end

-- (Where the spec says nothing of the engine, a setting does.)
local function engine_differs(deployment, asked)
  local has = named(containers(deployment, "containers"), ENGINE) ~= nil
  if asked == "none" and has then return "its Deployment has an engine, and the spec wants none" end
  if asked == "seldon" and not has then return "its Deployment has no engine, and the spec wants one" end
  return nil
end

local function shares_a_volume(one, other)
  for _, mount in ipairs(one.volumeMounts or {}) do
    for _, there in ipairs(other.volumeMounts or {}) do
      if there.name == mount.name then return true end
    end
  end
  return false
end

local function files_differ(deployment, model, spec)
  local fetches = named(containers(deployment, "initContainers"), INITIALIZER)
  if not M.names_files(spec) then return fetches and "its Deployment fetches files, and the spec names none" or nil end
  local uri = spec.predictors[1].modelURI
  if not fetches then return ("its Deployment does not fetch %s"):format(uri) end
  for _, word in ipairs(fetches.args or {}) do
    if word == uri then return not shares_a_volume(fetches, model) and "its model does not mount what is fetched" or nil end
  end
  return ("its Deployment fetches something else than %s"):format(uri)
end

-- Why a Deployment does not run this spec, a sentence; nil if it is told to. (What `imagePrefix` puts before an image is not looked at;
-- a modelURI is one that initializers are handed as it stands, as in scene.lua.)
function M.differs(deployment, spec)
  local predictor = spec.predictors and spec.predictors[1] or {}
  local model, image, wants = M.model(deployment), M.image(spec), M.wants(spec)
  if not model then return "its Deployment has no container `model`" end
  if not (model.image or ""):find(image, 1, true) then return ("its Deployment runs %s, not %s"):format(model.image, image) end
  if deployment.spec.replicas ~= wants then return ("its Deployment has %s replicas, not %d"):format(deployment.spec.replicas, wants) end
  if deployment.spec.paused then return "its Deployment is paused" end
  return env_differs(model, spec) or engine_differs(deployment, predictor.engine) or files_differ(deployment, model, spec)
end

-- Whether a pod has fetched its model's files.
function M.has_fetched(pod)
  local one = named(pod.status and pod.status.initContainerStatuses, INITIALIZER)
  local ended = one and one.state and one.state.terminated
  return ended ~= nil and ended.exitCode == 0
end

-- Why a Deployment has not come to what it is told, a sentence; nil if all its replicas are of the newest template and serve.
function M.unfinished(deployment)
  local status, wants = deployment.status or {}, deployment.spec.replicas
  if (status.observedGeneration or 0) < (deployment.metadata.generation or 0) then
    return ("the controller of its Deployment has seen generation %d of %d"):format(status.observedGeneration or 0,
      deployment.metadata.generation)
  end
  for _, counted in ipairs { "replicas", "updatedReplicas", "availableReplicas" } do
    if (status[counted] or 0) ~= wants then return ("its Deployment tells %s: %d of %d"):format(counted, status[counted] or 0, wants) end
  end
  return nil
end

local function by_type(conditions)
  local map = {}
  for _, condition in ipairs(type(conditions) == "table" and conditions or {}) do map[condition.type] = condition end
  return map
end

-- What goes to a policy as bytes (policy.raw), as a table.
local function opened(value)
  if type(value) == "table" and value[policy.bytes] then return json.decode(value[policy.bytes]) end
  return value
end

-- What the operator saw, decoded when it is asked for: v.saw("object"), v.saw("children", "deployments", NAME).
local function eyes(seen)
  return function(...)
    local value = seen
    for i = 1, select("#", ...) do
      value = type(value) == "table" and opened(value[(select(i, ...))]) or nil
    end
    return value
  end
end

local NONE = {}

local function look(view)
  local object = view.object
  local metadata, spec, status = object and object.metadata or NONE, object and object.spec or NONE, object and object.status or NONE
  local children = view.children or NONE
  local v = { view = view, object = object, name = metadata.name, uid = metadata.uid, generation = metadata.generation or 0,
    deleting = metadata.deletionTimestamp ~= nil, spec = spec, status = status, phase = status.phase, children = children,
    deployment = children.Deployment, service = children.Service, ingress = children.Ingress, secret = children.Secret,
    pods = view.pods or NONE, replicasets = view.replicasets or NONE, scene = view.scene or NONE, wanted = view.wanted or NONE,
    settled = view.settled, faults = view.faults or 0, gaps = view.gaps or 0, writes = view.writes or NONE, seen = view.seen, decision = view.decision,
    wants = M.wants(spec), image = M.image(spec) }
  v.told = v.phase ~= nil
  -- what is told is told of the present spec
  v.current = v.told and status.observedGeneration == v.generation and not v.deleting
  v.pods_left = 0
  for _, pod in ipairs(v.pods) do
    if M.holds_something(pod) then v.pods_left = v.pods_left + 1 end
  end
  v.private = spec.endpoint ~= nil and spec.endpoint.accessType == "private"
  return v
end

-- The sight of a view; previous: that of the step before, of the same object.
function M.of(view)
  local v = look(view)
  v.saw = eyes(view.seen)
  v.settings = view.seen and view.seen.settings or NONE
  v.previous = view.previous and look(view.previous) or nil
  v.same = v.previous ~= nil and v.object ~= nil and v.previous.uid == v.uid
  -- the status was written since
  v.fresh = v.told and (not v.same or v.previous.status ~= v.status)
  if v.fresh or v.settled then v.conditions = by_type(v.status.conditions) end
  if v.fresh and v.same then v.previous.conditions = by_type(v.previous.status.conditions) end
  return v
end

return M
