-- What is seen, in the words that the tables use.
--
-- The failure rules, the phases and the children ask the same questions: which group, how many
-- replicas, which pods count, is the rollout through. They are answered here once, as a table `s`
-- that every row's `when` and every message gets. Nothing is decided here.

local deployment = require "children.deployment"

local M = {}

local function by_type(conditions)
  local map = {}
  for _, condition in ipairs(conditions or {}) do map[condition.type] = condition end
  return map
end

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

-- Found, or the last known one of a source that does not answer now.
local function usable(input)
  return input and (input.state == "found" or input.state == "unknown") and input.object or nil
end

local function is_silent(input)
  return input == nil or (input.state == "unknown" and not input.object)
end

local function group_facts(seen, spec)
  local object = usable(seen.group)
  local group = { id = spec.groupId, name = spec.groupName, known = object ~= nil }
  if not object then return group end
  local said = object.spec or {}
  group.name = said.name or object.metadata.name
  group.enabled = said.enabledDeployment == true
  group.renamed = group.name ~= spec.groupName
  group.instance_types = said.instanceTypes
  return group
end

local function unreadable(value)
  return quantity.milli(tostring(value)) == nil
end

-- The instance type, what it offers, and how that is split: `parts`, or what is wrong with it.
local function instance_facts(seen, predictor, group, settings)
  local object = usable(seen.instance_type)
  local it = { name = predictor.instanceType, known = object ~= nil }
  it.allowed = group.instance_types == nil or contains(group.instance_types, it.name)
  if not object then return it end
  local spec = object.spec or {}
  it.node_selector, it.tolerations = spec.nodeSelector or {}, spec.tolerations or {}
  local share = settings.engine.share
  it.offer, it.wrong = resources.read(spec, settings.gpu.defaultResource)
  if it.offer and not unreadable(share.cpu) and not unreadable(share.memory) then
    it.parts, it.short = resources.split(it.offer, {
      percent = share.percent, cpu = quantity.milli(tostring(share.cpu)), memory = quantity.units(tostring(share.memory)),
    })
  end
  return it
end

local function replicas_facts(s)
  local spec = s.spec
  s.asked = spec.replicas or s.predictor.replicas or 1
  s.stop = spec.stop == true
  s.wants_none = s.stop or s.asked == 0
  local state = s.seen.group and s.seen.group.state
  s.group_lost = state == "missing" or (s.group.known and not s.group.enabled)
  s.desired = s.asked
  if s.wants_none or (s.group_lost and s.settings.onGroupLost == "stop") then s.desired = 0 end
end

-- A pod that has ended for good (evicted, for instance) may stay as an object; it holds nothing.
local function has_ended(pod)
  local phase = pod.status and pod.status.phase
  return phase == "Succeeded" or phase == "Failed"
end

local function is_replica(pod)
  for _, owner in ipairs(pod.metadata.ownerReferences or {}) do
    if owner.controller and owner.kind == "ReplicaSet" then return true end
  end
  return false
end

local function pods_facts(s)
  s.pods_left, s.terminating_grace = 0, 0
  for _, pod in ipairs(s.seen.pods or {}) do
    if is_replica(pod) and not has_ended(pod) then
      s.pods_left = s.pods_left + 1
      if pod.metadata.deletionTimestamp then
        s.terminating_grace = math.max(s.terminating_grace, pod.metadata.deletionGracePeriodSeconds or 30)
      end
    end
  end
end

-- What is wrong with the settings, as a sentence; nil if nothing is. A typo must not take routes away.
local function settings_trouble(settings)
  local share = settings.engine.share
  if settings.route ~= "Ingress" and settings.route ~= "none" then
    return ("route is %q: it is Ingress or none"):format(tostring(settings.route))
  elseif settings.onGroupLost ~= "keep" and settings.onGroupLost ~= "stop" then
    return ("onGroupLost is %q: it is keep or stop"):format(tostring(settings.onGroupLost))
  elseif unreadable(share.cpu) then
    return ("engine.share.cpu is %q: it is a quantity, such as 300m"):format(tostring(share.cpu))
  elseif unreadable(share.memory) then
    return ("engine.share.memory is %q: it is a quantity, such as 250Mi"):format(tostring(share.memory))
  end
end

-- What can be told before the children are known.
function M.look(seen)
  local object = seen.object
  local s = {
    seen = seen, object = object, spec = object.spec or {}, settings = seen.settings, now = seen.now,
    name = object.metadata.name, namespace = object.metadata.namespace or "default", generation = object.metadata.generation or 0,
    status = object.status or {},
  }
  s.predictor = s.spec.predictors and s.spec.predictors[1] or {}
  s.conditions = by_type(s.status.conditions)
  s.child_name = "deploy-" .. s.name
  s.image = text.trim(s.predictor.modelImage or "")
  s.settings_wrong = settings_trouble(seen.settings)
  s.group = group_facts(seen, s.spec)
  s.instance_type = instance_facts(seen, s.predictor, s.group, s.settings)
  s.silent = is_silent(seen.group) and "group" or is_silent(seen.instance_type) and "instance type" or nil
  local children = seen.children or {}
  s.deployment = children.deployments and children.deployments[s.child_name]
  s.service = children.services and children.services[s.child_name]
  s.ingress = children.ingresses and children.ingresses[s.child_name]
  replicas_facts(s)
  pods_facts(s)
  return s
end

local REVISION = "deployment.kubernetes.io/revision"

local function annotation(object, key)
  return object.metadata.annotations and object.metadata.annotations[key]
end

local function is_owned_by(object, uid)
  for _, owner in ipairs(object.metadata.ownerReferences or {}) do
    if owner.controller and owner.uid == uid then return true end
  end
  return false
end

-- The hash of the ReplicaSet that the Deployment's controller calls the newest. The revision must be the
-- Deployment's own: the two are watched apart, and a new ReplicaSet may not be here yet.
local function newest_hash(s)
  local revision = annotation(s.deployment, REVISION)
  for _, set in ipairs(s.seen.replicasets or {}) do
    if is_owned_by(set, s.deployment.metadata.uid) and annotation(set, REVISION) == revision then
      return set.metadata.labels and set.metadata.labels["pod-template-hash"]
    end
  end
  return nil
end

local function newest_pods(s)
  local found = {}
  local hash = newest_hash(s)
  for _, pod in ipairs(s.seen.pods or {}) do
    local labels_of = pod.metadata.labels or {}
    if hash and labels_of["pod-template-hash"] == hash and not pod.metadata.deletionTimestamp and not has_ended(pod) then
      found[#found + 1] = pod
    end
  end
  return found
end

-- How far the Deployment is. `mark` says which pod template is wanted (children/deployment.lua).
--   current   the live Deployment has that template
--   settled   and its controller has seen it, so that its conditions and newest pods speak of it
--   complete  and every replica runs it and is available
function M.follow(s, mark)
  local live = s.deployment
  local status = live and live.status or {}
  local r = {
    desired = s.desired, replicas = status.replicas or 0, updated = status.updatedReplicas or 0,
    available = status.availableReplicas or 0, ready = status.readyReplicas or 0,
  }
  r.observed = live ~= nil and (status.observedGeneration or 0) >= (live.metadata.generation or 0)
  -- a model that waits for its turn in a rollout of the policies is as it should be
  r.current = live ~= nil and (s.seen.held == true or deployment.has_mark(live, mark))
  r.settled = r.observed and r.current
  r.in_place = r.settled and live.spec.replicas == s.desired and not live.spec.paused
  r.complete = r.in_place and s.desired > 0 and r.replicas == s.desired and r.updated == s.desired
    and r.available == s.desired and #(s.seen.problems or {}) == 0
  s.rollout = r
  s.newest_pods = r.settled and s.desired > 0 and newest_pods(s) or {}
  -- nothing runs, and nothing that the controller has still to see could start something
  s.gone = s.pods_left == 0 and (live == nil
    or (live.spec.replicas == 0 and r.replicas == 0 and (r.observed or live.metadata.generation == 1)))
end

return M
