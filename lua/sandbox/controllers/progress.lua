-- The status of a Deployment: its counts, and the conditions Available, Progressing and ReplicaFailure.
--
-- Words, reasons and times as the controller of Kubernetes 1.20 writes them (https://kubernetes.io/docs/concepts/workloads/
-- controllers/deployment/#deployment-status): a condition that changes goes behind the others, its lastTransitionTime moves only with
-- its status, and lastUpdateTime is what the progress deadline counts from. Pure functions.

local common = require "sandbox.controllers.common"
local replicas = require "sandbox.controllers.replicas"

local M = {}

local NONE = {}
local FOREVER = 2147483647 -- a deadline or a history limit of this size is none

function M.deadline(deployment)
  local seconds = deployment.spec.progressDeadlineSeconds
  return seconds and seconds ~= FOREVER and seconds or nil
end

function M.new_condition(kind, status, reason, message, now)
  return { type = kind, status = status, reason = reason, message = message, lastUpdateTime = now, lastTransitionTime = now }
end

-- The conditions with `condition` in them. The same status and reason is no news: then they stay as they are.
function M.set_condition(conditions, condition)
  local current = common.condition({ conditions = conditions }, condition.type)
  if current and current.status == condition.status then
    if current.reason == condition.reason then return conditions end
    condition.lastTransitionTime = current.lastTransitionTime
  end
  return common.replace_condition(conditions, condition.type, condition)
end

local function counted(value)
  return value > 0 and value or nil -- zero is left out, as in Go's omitempty
end

-- The counts, and Available.
function M.calculate(deployment, sets, new, now)
  local old = deployment.status or NONE
  local available = replicas.sum(sets, "availableReplicas")
  local status = {
    observedGeneration = deployment.metadata.generation, replicas = counted(replicas.sum(sets, "replicas")),
    updatedReplicas = counted(new and (new.status or NONE).replicas or 0), readyReplicas = counted(replicas.sum(sets, "readyReplicas")),
    availableReplicas = counted(available), unavailableReplicas = counted(replicas.sum(sets) - available),
    collisionCount = old.collisionCount, conditions = old.conditions,
  }
  local enough = available >= replicas.wanted(deployment) - replicas.max_unavailable(deployment)
  status.conditions = M.set_condition(status.conditions, enough
    and M.new_condition("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
    or M.new_condition("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now))
  return status
end

-- All replicas are of the new template and available, as of this generation.
function M.is_complete(deployment, status)
  local total = replicas.wanted(deployment)
  return (status.updatedReplicas or 0) == total and (status.replicas or 0) == total and (status.availableReplicas or 0) == total
    and (status.observedGeneration or 0) >= deployment.metadata.generation
end

local function moved(old, new)
  local function count(status, field) return status[field] or 0 end
  return count(new, "updatedReplicas") > count(old, "updatedReplicas")
    or count(new, "replicas") - count(new, "updatedReplicas") < count(old, "replicas") - count(old, "updatedReplicas")
    or count(new, "readyReplicas") > count(old, "readyReplicas") or count(new, "availableReplicas") > count(old, "availableReplicas")
end

local function is_late(deployment, status, now_ms)
  local condition = common.condition(status, "Progressing")
  if not condition or condition.reason == "NewReplicaSetAvailable" then return false end
  if condition.reason == "ProgressDeadlineExceeded" then return true end
  return ((common.seconds(condition.lastUpdateTime) or 0) + M.deadline(deployment)) * 1000 < now_ms
end

-- Put Progressing into `status`. subject: 'ReplicaSet "x"' or 'Deployment "x"'.
local function judge(deployment, status, subject, w)
  local now, conditions = w:time(), status.conditions
  if M.is_complete(deployment, status) then
    status.conditions = M.set_condition(conditions,
      M.new_condition("Progressing", "True", "NewReplicaSetAvailable", subject .. " has successfully progressed.", now))
  elseif moved(deployment.status or NONE, status) then
    local condition = M.new_condition("Progressing", "True", "ReplicaSetUpdated", subject .. " is progressing.", now)
    local current = common.condition(deployment.status, "Progressing")
    if current and current.status == "True" then condition.lastTransitionTime = current.lastTransitionTime end
    status.conditions = common.replace_condition(conditions, "Progressing", condition)
  elseif is_late(deployment, status, w:now()) then
    status.conditions = M.set_condition(conditions,
      M.new_condition("Progressing", "False", "ProgressDeadlineExceeded", subject .. " has timed out progressing.", now))
  end
end

-- The ReplicaFailure of the new set, else of any; as a condition of the Deployment.
local function failure_of(sets, new)
  local found = new and common.condition(new.status, "ReplicaFailure")
  for _, set in ipairs(sets) do found = found or common.condition(set.status, "ReplicaFailure") end
  return found and { type = "ReplicaFailure", status = found.status, reason = found.reason, message = found.message,
    lastTransitionTime = found.lastTransitionTime, lastUpdateTime = found.lastTransitionTime }
end

-- The whole status during a rollout.
function M.of_rollout(deployment, sets, new, w)
  local status = M.calculate(deployment, sets, new, w:time())
  local current = common.condition(deployment.status, "Progressing")
  local settled = (status.replicas or 0) == (status.updatedReplicas or 0) and current ~= nil and current.reason == "NewReplicaSetAvailable"
  if not M.deadline(deployment) then
    status.conditions = common.replace_condition(status.conditions, "Progressing")
  elseif not settled then
    judge(deployment, status, new and ('ReplicaSet "%s"'):format(new.metadata.name)
      or ('Deployment "%s"'):format(deployment.metadata.name), w)
  end
  local failure = failure_of(sets, new)
  if failure then
    status.conditions = M.set_condition(status.conditions, failure)
  elseif common.condition(status, "ReplicaFailure") then
    status.conditions = common.replace_condition(status.conditions, "ReplicaFailure")
  end
  return status
end

-- ms until the deadline must be looked at again, or nil: it is over, or the rollout was done before (then pods that fail later do not
-- start it anew).
function M.check_after(deployment, w)
  local condition, seconds = common.condition(deployment.status, "Progressing"), M.deadline(deployment)
  if not seconds or not condition or M.is_complete(deployment, deployment.status) then return nil end
  if condition.reason == "ProgressDeadlineExceeded" or condition.reason == "NewReplicaSetAvailable" then return nil end
  local left = ((common.seconds(condition.lastUpdateTime) or 0) + seconds) * 1000 - w:now()
  return math.max(left, 0) + 1000
end

-- The conditions after `paused` was set or taken away, or nil when that is not news.
function M.of_pause(deployment, now)
  if not M.deadline(deployment) then return nil end
  local condition = common.condition(deployment.status, "Progressing")
  if condition and condition.reason == "ProgressDeadlineExceeded" then return nil end
  local noted = condition ~= nil and condition.reason == "DeploymentPaused"
  local paused = deployment.spec.paused == true
  if paused == noted then return nil end
  return M.set_condition((deployment.status or NONE).conditions, paused
    and M.new_condition("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now)
    or M.new_condition("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now))
end

return M
