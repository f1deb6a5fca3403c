-- The ReplicaSet controller: as many pods as wanted, made slowly at first, removed in an order that hurts least.
--
-- New pods come in batches of 1, 2, 4, ...: when the API refuses one (a quota, a webhook) the batches end there, the condition
-- ReplicaFailure says why, and the next try waits longer each time. The status tells what was seen before the step, as the
-- real controller's does; the pods it made show in the next one.

local common = require "sandbox.controllers.common"

local ID, PODS = "replicasets.apps", "pods"
local SOURCE = "replicaset-controller"
local BURST = 500 -- pods made or removed in one step
local NONE = {}
local with = common.with

-- Its active pods: those it owns, and those without an owner that its selector takes in. A pod that no longer matches is let go.
local function claim(c, set)
  local metadata, selector = set.metadata, set.spec.selector
  local pods = {}
  for _, pod in ipairs(c.owners:controlled(metadata.uid, PODS, metadata.namespace)) do
    if common.is_active(pod) then
      if common.matches(selector, pod.metadata.labels) then
        pods[#pods + 1] = pod
      elseif not metadata.deletionTimestamp then
        c:release(PODS, pod, metadata.uid)
      end
    end
  end
  if metadata.deletionTimestamp then return pods end
  for _, pod in ipairs(c.owners:free(PODS, metadata.namespace)) do
    if common.is_active(pod) and common.matches(selector, pod.metadata.labels) then pods[#pods + 1] = c:adopt(PODS, pod, set) end
  end
  return pods
end

local function pod_of(set)
  local template = set.spec.template
  local metadata = template.metadata or NONE
  return { apiVersion = "v1", kind = "Pod", spec = template.spec,
    metadata = { generateName = set.metadata.name .. "-", namespace = set.metadata.namespace, labels = metadata.labels,
      annotations = metadata.annotations, finalizers = metadata.finalizers,
      ownerReferences = json.array { common.controller_reference(set) } } }
end

local function create_one(c, set)
  local record, failure = c:create(PODS, set.metadata.namespace, pod_of(set))
  if record then
    c:event(SOURCE, set, "Normal", "SuccessfulCreate", "Created pod: " .. record.name)
    return nil
  end
  if c:is_terminating(set.metadata.namespace) then return nil, true end
  c:event(SOURCE, set, "Warning", "FailedCreate", "Error creating: " .. failure.message)
  return failure
end

-- -> the first failure, or nil
local function create(c, set, count)
  local batch, left, failed = 1, count
  while left > 0 and not failed do
    for _ = 1, math.min(batch, left) do
      local failure, over = create_one(c, set)
      if over then return nil end
      failed = failed or failure
      left = left - 1
    end
    batch = batch * 2
  end
  return failed
end

local PHASES = { Pending = 0, Unknown = 1, Running = 2 }

local function restarts(pod)
  local most = 0
  for _, status in ipairs((pod.status or NONE).containerStatuses or NONE) do most = math.max(most, status.restartCount or 0) end
  return most
end

-- Active pods on each node of this set and of the sets beside it (same controller): where many are, one is missed least.
local function crowd(c, set, pods)
  local counts = {}
  local function count(list)
    for _, pod in ipairs(list) do
      local node = pod.spec.nodeName
      if node and common.is_active(pod) then counts[node] = (counts[node] or 0) + 1 end
    end
  end
  local owner = common.controller_of(set)
  if not owner then
    count(pods)
    return counts
  end
  for _, sibling in ipairs(c.owners:controlled(owner.uid, ID, set.metadata.namespace)) do
    count(c.owners:controlled(sibling.metadata.uid, PODS, set.metadata.namespace))
  end
  return counts
end

-- Keys of a pod in the order of removal, the first that differs decides and the smaller goes first.
local function rank(pod, counts)
  local node, ready = pod.spec.nodeName, common.condition(pod.status, "Ready")
  local is_ready = ready ~= nil and ready.status == "True"
  return {
    node and 1 or 0, PHASES[(pod.status or NONE).phase or "Pending"] or 0, is_ready and 1 or 0, -(counts[node or ""] or 0),
    is_ready and -(common.seconds(ready.lastTransitionTime) or 0) or 0, -restarts(pod),
    -(common.seconds(pod.metadata.creationTimestamp) or 0),
  }
end

local function in_order_of_removal(c, set, pods)
  local counts, ranks = crowd(c, set, pods), {}
  for index, pod in ipairs(pods) do
    ranks[pod] = rank(pod, counts)
    ranks[pod][8] = index
  end
  table.sort(pods, function(a, b)
    local one, two = ranks[a], ranks[b]
    for index = 1, 8 do
      if one[index] ~= two[index] then return one[index] < two[index] end
    end
    return false
  end)
  return pods
end

local function remove(c, set, pods, count)
  local failed
  if count < #pods then pods = in_order_of_removal(c, set, pods) end
  for index = 1, math.min(count, #pods) do
    local pod = pods[index]
    local done, failure = c:delete(PODS, pod.metadata.namespace, pod.metadata.name, pod.metadata.uid)
    if done then
      c:event(SOURCE, set, "Normal", "SuccessfulDelete", "Deleted pod: " .. pod.metadata.name)
    elseif failure.reason ~= "NotFound" then
      c:event(SOURCE, set, "Warning", "FailedDelete", "Error deleting: " .. failure.message)
      failed = failed or failure
    end
  end
  return failed
end

local function counted(value)
  return value > 0 and value or nil
end

local function conditions_of(set, difference, failure, now)
  local conditions, known = (set.status or NONE).conditions, common.condition(set.status, "ReplicaFailure")
  if failure and not known then
    return common.replace_condition(conditions, "ReplicaFailure", { type = "ReplicaFailure", status = "True",
      reason = difference < 0 and "FailedCreate" or "FailedDelete", message = failure.message, lastTransitionTime = now })
  end
  if known and not failure then
    local left = common.replace_condition(conditions, "ReplicaFailure")
    return left[1] and left or nil
  end
  return conditions
end

local function status_of(c, set, pods, failure)
  local now_ms, seconds = c.w:now(), set.spec.minReadySeconds or 0
  local labels = (set.spec.template.metadata or NONE).labels
  local full, ready, available = 0, 0, 0
  for _, pod in ipairs(pods) do
    if common.labels_hold(labels, pod.metadata.labels) then full = full + 1 end
    if common.is_ready(pod) then ready = ready + 1 end
    if common.is_available(pod, seconds, now_ms) then available = available + 1 end
  end
  return { replicas = #pods, fullyLabeledReplicas = counted(full), readyReplicas = counted(ready), availableReplicas = counted(available),
    observedGeneration = set.metadata.generation,
    conditions = conditions_of(set, #pods - (set.spec.replicas or 1), failure, c.w:time()) }, ready, available
end

-- One step for "namespace/name". -> false: the API refused something, try again later
return function(c, key)
  local namespace, name = common.split(key)
  local record = c.w:get(ID, namespace, name)
  if not record then return true end
  local set = record.object
  local pods, failure = claim(c, set), nil
  local seen = table.move(pods, 1, #pods, 1, {})
  if not set.metadata.deletionTimestamp then
    local difference = #pods - (set.spec.replicas or 1)
    if difference < 0 then
      failure = create(c, set, math.min(-difference, BURST))
    elseif difference > 0 then
      failure = remove(c, set, pods, math.min(difference, BURST))
    end
    if math.abs(difference) > BURST then c:pend("replicaset", key) end
  end
  local status, ready, available = status_of(c, set, seen, failure)
  if not json.equal(status, set.status or NONE) then
    c:write(ID, namespace, name, function(object)
      return object.metadata.uid == set.metadata.uid and with(object, { status = status }) or nil
    end)
  end
  local seconds = set.spec.minReadySeconds or 0
  if not failure and seconds > 0 and ready ~= available then c:after(seconds * 1000 + 1000, "replicaset", key) end
  return not failure
end
