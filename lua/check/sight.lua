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

-- The model's image that a spec asks for.
function M.image(spec)
  local predictor = spec.predictors and spec.predictors[1] or {}
  return ((predictor.modelImage or ""):gsub("^%s+", ""):gsub("%s+$", ""))
end

local function container(template, name)
  for _, one in ipairs(template and template.spec and template.spec.containers or {}) do
    if one.name == name then return one end
  end
  return nil
end

-- The container `model` of a Deployment; nil if it has none.
function M.model(deployment)
  return container(deployment.spec.template, "model")
end

-- Why a Deployment does not run this spec, a sentence; nil if it is told to. (What `imagePrefix` puts before an image is not looked at.)
function M.differs(deployment, spec)
  local model, image, wants = M.model(deployment), M.image(spec), M.wants(spec)
  if not model then return "its Deployment has no container `model`" end
  if not (model.image or ""):find(image, 1, true) then return ("its Deployment runs %s, not %s"):format(model.image, image) end
  if deployment.spec.replicas ~= wants then return ("its Deployment has %s replicas, not %d"):format(deployment.spec.replicas, wants) end
  if deployment.spec.paused then return "its Deployment is paused" end
  return nil
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
