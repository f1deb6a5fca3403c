-- What is seen, in the words that the tables use.
--
-- The failure rules, the phases and the children ask the same questions: which group, how many
-- replicas, which pods count, is the rollout through. They are answered here once, as a table `s`
-- that every row's `when` and every message gets. Nothing is decided here.

local checks = require "checks"
local deployment = require "children.deployment"
local model_uri = require "children.model_uri"

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

-- Known, or just asked for: nothing to complain of yet.
local function is_asking(input)
  return input ~= nil and (not is_silent(input) or input.reason == "Asking")
end

-- Why a source does not answer, as " (it cannot be reached)"; nil if it does, or does not say.
local function silence(input)
  if input == nil or input.state ~= "unknown" or not input.message then return nil end
  return " (" .. input.message .. ")"
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
  group.rollout_strategy = said.rolloutStrategy
  group.limit = said.maxDeployments
  group.mlflow = said.mlflow
  return group
end

-- Whether the engine answers requests, or the model's image itself: the predictor's own word, else the setting.
local function has_engine(predictor, settings)
  local kind = predictor.engine
  if kind ~= "none" and kind ~= "seldon" then kind = settings.engine.kind end
  return kind ~= "none"
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
  if it.offer and checks.is_quantity(share.cpu) and checks.is_quantity(share.memory) then
    it.parts, it.short = resources.split(it.offer, has_engine(predictor, settings) and {
      percent = share.percent, cpu = quantity.milli(tostring(share.cpu)), memory = quantity.units(tostring(share.memory)),
    } or nil)
  end
  return it
end

-- The user's environment as Kubernetes wants it: a divisor may be written as a number here, and there it is a text.
local function env_of(spec)
  local all = json.array {}
  for i, one in ipairs(spec.env or {}) do
    local reference = one.valueFrom and one.valueFrom.resourceFieldRef
    if reference and math.type(reference.divisor) == "integer" then
      one = json.copy(one)
      one.valueFrom.resourceFieldRef.divisor = tostring(reference.divisor)
    end
    all[i] = one
  end
  return all
end

local function replicas_of(spec)
  local predictor = spec.predictors and spec.predictors[1] or {}
  return spec.replicas or predictor.replicas or 1
end

local function wants_none(spec)
  return spec.stop == true or replicas_of(spec) == 0
end

-- Stopped as of the last status, and no generation since wanted a pod: nothing that was written meanwhile starts one.
local function stayed_stopped(s)
  if s.status.phase ~= "Stopped" then return false end
  for _, revision in ipairs(s.seen.revisions or {}) do
    if not wants_none(revision.spec) then return false end
  end
  return wants_none(s.spec)
end

local function replicas_facts(s)
  s.asked = replicas_of(s.spec)
  s.stop = s.spec.stop == true
  s.wants_none = wants_none(s.spec)
  s.stayed_stopped = stayed_stopped(s)
  local state = s.seen.group and s.seen.group.state
  s.group_lost = state == "missing" or (s.group.known and not s.group.enabled)
  s.desired = s.asked
  if s.wants_none or (s.group_lost and s.settings.onGroupLost == "stop") then s.desired = 0 end
end

-- How replicas are replaced: the deployment's own word, else the group's, else the setting.
local function strategy(s)
  local rollout = s.settings.rollout
  local known = rollout.strategies
  return known[s.spec.rolloutStrategy or ""] or known[s.group.rollout_strategy or ""] or known[rollout.strategy]
end

-- What a user put on the PhDeployment to have its pods restarted: as the pods have it, and as the status tells it. Where it was taken
-- away again, the pods keep theirs. There no "=": the engine reads the pod's annotations from a file and drops all of them for one
-- with two of these.
local function restarted_at(s)
  local asked = s.object.metadata.annotations and s.object.metadata.annotations[deployment.RESTARTED]
  if asked and asked ~= "" then
    local told = text.bounded(asked, 64)
    return told:gsub("[^%w:.+_-]", "-"), told
  end
  local template = s.deployment and s.deployment.spec.template.metadata
  local there = template and template.annotations and template.annotations[deployment.RESTARTED]
  return there, there and (s.status.restartedAt or there)
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

-- `ending`: seconds that the last pod that goes may still take; nil when none goes, or its time is up and it is stuck.
local function pods_facts(s)
  s.pods_left = 0
  for _, pod in ipairs(s.seen.pods or {}) do
    if is_replica(pod) and not has_ended(pod) then
      s.pods_left = s.pods_left + 1
      -- the time at which a pod must be gone: that of the request, and its grace period
      local deadline = pod.metadata.deletionTimestamp and time.parse(pod.metadata.deletionTimestamp)
      if deadline and deadline > s.now then s.ending = math.max(s.ending or 0, deadline - s.now) end
    end
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
  s.model_source = (s.predictor.modelURI or ""):gsub("[?#].*$", ""):gsub("//[^/]*@", "//") -- without keys in it
  s.image = text.trim(s.predictor.modelImage or "")
  s.model_uri = text.trim(s.predictor.modelURI or "")
  s.settings_wrong = checks.settings(seen.settings)
  s.group = group_facts(seen, s.spec)
  s.instance_type = instance_facts(seen, s.predictor, s.group, s.settings)
  s.silent = is_silent(seen.group) and "group" or is_silent(seen.instance_type) and "instance type" or nil
  s.asking = s.silent and is_asking(seen.group) and is_asking(seen.instance_type)
  s.silence = silence(seen.group) or silence(seen.instance_type) or ""
  local children = seen.children or {}
  s.deployment = children.deployments and children.deployments[s.child_name]
  s.service = children.services and children.services[s.child_name]
  s.ingress = children.ingresses and children.ingresses[s.child_name]
  s.http_route = children.http_routes and children.http_routes[s.child_name]
  s.secret = children.secrets and children.secrets[s.child_name] -- its metadata
  s.private = s.spec.endpoint ~= nil and s.spec.endpoint.accessType == "private"
  s.has_engine = has_engine(s.predictor, s.settings)
  s.env = env_of(s.spec)
  s.fetch, s.fetch_wrong = model_uri.plan(s)
  s.label_wrong = checks.labels(s)
  s.strategy = strategy(s)
  s.restarted_at, s.restart_told = restarted_at(s)
  replicas_facts(s)
  s.crowded = not s.wants_none and s.group.limit ~= nil and seen.ahead ~= nil and seen.ahead >= s.group.limit
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

local function hash_of(object)
  return object.metadata.labels and object.metadata.labels["pod-template-hash"]
end

-- The hash of the ReplicaSet that the Deployment's controller calls the newest. The revision must be the
-- Deployment's own: the two are watched apart, and a new ReplicaSet may not be here yet.
local function newest_hash(s)
  local revision = annotation(s.deployment, REVISION)
  local newest
  for _, set in ipairs(s.seen.replicasets or {}) do
    local hash = hash_of(set)
    if hash and is_owned_by(set, s.deployment.metadata.uid) and annotation(set, REVISION) == revision then
      newest = newest and newest < hash and newest or hash -- one revision, one hash; and if not, always the same
    end
  end
  return newest
end

local function newest_pods(s, hash)
  local found = {}
  for _, pod in ipairs(hash and s.seen.pods or {}) do
    if hash_of(pod) == hash and not pod.metadata.deletionTimestamp and not has_ended(pod) then
      found[#found + 1] = pod
    end
  end
  return found
end

-- Whether a pod serves, as it says itself.
function M.is_ready(pod)
  for _, condition in ipairs(pod.status and pod.status.conditions or {}) do
    if condition.type == "Ready" then return condition.status == "True" end
  end
  return false
end

-- Whether as many of the newest pods are ready as should be. The Deployment's controller counts what its ReplicaSets said last, and
-- after a stop that was taken back at once these are the pods of before, which are going. (Pods without our label, of a
-- Deployment that is older than we are, are not seen, nor those of a ReplicaSet that is still to come: then its word counts.)
local function enough_ready(s, hash)
  local of_template = s.deployment.spec.template.metadata.labels or {}
  if not hash or of_template[deployment.LABEL] ~= s.name then return true end
  local ready = 0
  for _, pod in ipairs(s.newest_pods) do
    if M.is_ready(pod) then ready = ready + 1 end
  end
  return ready >= s.desired
end

-- What runs and does not serve, for a sentence: "; container model runs and is not ready", or "".
local function unready_words(s)
  local names, given = {}, {}
  for _, pod in ipairs(s.newest_pods) do
    for _, one in ipairs(pod.status and pod.status.containerStatuses or {}) do
      local runs = one.state and one.state.running ~= nil and not one.ready
      if runs and not given[one.name] then names[#names + 1], given[one.name] = one.name, true end
    end
  end
  table.sort(names)
  return #names > 0 and "; container " .. table.concat(names, ", ") .. " runs and is not ready" or ""
end

-- While a source is silent no child is written. What the operator had still to write when it ended is missing then, or as it was; a
-- model that was deployed before stays so.
local function has_its_routes(s)
  if not s.silent then return true end
  if s.status.phase == "Deployed" then return true end
  return s.service ~= nil and (s.ingress ~= nil or s.http_route ~= nil or s.settings.route == "none")
end

-- How far the Deployment is. `mark` says which pod template is wanted (children/deployment.lua).
--   current   the live Deployment has that template
--   settled   and its controller has seen it, so that its conditions and newest pods speak of it
--   complete  and every replica runs it and is available, as the Deployment says and as the pods show
function M.follow(s, mark)
  local live = s.deployment
  local status = live and live.status or {}
  local r = {
    desired = s.desired, replicas = status.replicas or 0, updated = status.updatedReplicas or 0,
    available = status.availableReplicas or 0, ready = status.readyReplicas or 0,
  }
  r.observed = live ~= nil and (status.observedGeneration or 0) >= (live.metadata.generation or 0)
  -- a model that waits for its turn in a rollout of the policies is as it should be, but for what its user has changed since
  r.current = live ~= nil and (s.seen.held and deployment.is_users(s, live) or deployment.has_mark(live, mark))
  r.settled = r.observed and r.current
  r.in_place = r.settled and live.spec.replicas == s.desired and not live.spec.paused
  s.rollout = r
  local hash = r.settled and s.desired > 0 and newest_hash(s) or nil
  s.newest_pods = newest_pods(s, hash)
  r.complete = r.in_place and s.desired > 0 and r.replicas == s.desired and r.updated == s.desired
    and r.available == s.desired and enough_ready(s, hash) and #(s.seen.problems or {}) == 0 and has_its_routes(s)
  s.unready = unready_words(s)
  -- nothing runs, and nothing that the controller has still to see could start something
  s.gone = s.pods_left == 0 and (live == nil
    or (live.spec.replicas == 0 and r.replicas == 0 and (r.observed or s.stayed_stopped or live.metadata.generation == 1)))
end

return M
