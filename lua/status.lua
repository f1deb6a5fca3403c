-- Writing status: only what differs, only over what was read.
--
-- A policy says what the status should be; the host fills in when each condition last changed
-- (lastTransitionTime moves only when `status` does: Kubernetes API conventions) and patches the
-- difference through the status subresource with the resourceVersion that was read. A stale view
-- loses that race and decides again; it never overwrites a newer status.

local bounded = require "bounded"
local diff = require "diff"
local guard = require "guard"
local informers = require "informers"

local M = {}

M.POLICY_ERROR = "PolicyError"

local function conditions_of(status)
  local conditions = type(status) == "table" and status.conditions
  return type(conditions) == "table" and conditions or {}
end

-- A copy of `wanted` with lastTransitionTime on each condition: the old time where the status is the old one.
function M.complete(wanted, current, now_text)
  local status = {}
  for k, v in pairs(wanted) do status[k] = v end
  local before = {}
  for _, condition in ipairs(conditions_of(current)) do before[condition.type] = condition end
  if wanted.conditions then
    local conditions = json.array {}
    for i, condition in ipairs(wanted.conditions) do
      local copy, old = {}, before[condition.type]
      for k, v in pairs(condition) do copy[k] = v end
      copy.lastTransitionTime = old and old.status == condition.status and old.lastTransitionTime or now_text
      conditions[i] = copy
    end
    status.conditions = conditions
  end
  return status
end

-- The status that `object` has, with `condition` in place of the one of its type (nil: without PolicyError). That
-- one is the host's: the policy that fails cannot tell of it, and the next status of the policy's own leaves it out.
function M.with_condition(object, condition)
  local status, conditions = {}, json.array {}
  for k, v in pairs(type(object.status) == "table" and object.status or {}) do status[k] = v end
  local replaced = condition and condition.type or M.POLICY_ERROR
  for _, present in ipairs(conditions_of(status)) do
    if present.type ~= replaced then conditions[#conditions + 1] = present end
  end
  conditions[#conditions + 1] = condition
  status.conditions = conditions
  return status
end

-- The condition of `type` in an object's status, or nil.
function M.condition(object, type_of)
  for _, condition in ipairs(conditions_of(object.status)) do
    if condition.type == type_of then return condition end
  end
end

local WORDS_MOST = 2000

-- The condition that tells of a policy's failure on `object`; nil, if it says so already.
function M.of_failure(object, failure)
  local message = bounded(guard.sentence(failure), WORDS_MOST)
  local reason = failure.outcome:gsub("^%l", string.upper)
  local present = M.condition(object, M.POLICY_ERROR)
  if present and present.status == "True" and present.reason == reason and present.message == message then return nil end
  return { type = M.POLICY_ERROR, status = "True", reason = reason, message = message, observedGeneration = object.metadata.generation }
end

-- The merge patch that makes `object`'s status (decoded object as read) the wanted one; nil: nothing differs.
function M.patch(object, wanted, now_text)
  local patch = diff.merge_patch(object.status, M.complete(wanted, object.status, now_text))
  if not patch then return nil end
  return { metadata = { resourceVersion = object.metadata.resourceVersion, uid = object.metadata.uid }, status = patch }
end

-- (waits) Send it. "written", "unchanged", "conflict" (somebody was first: read again), "gone", or nil, a text and, if one came, the
-- answer's HTTP status.
function M.write(cluster, kind, key, body)
  local namespace, name = key:match("^(.-)/(.+)$")
  local answer, failure = cluster:request {
    method = "PATCH", path = informers.path(kind, namespace, name) .. "/status",
    query = { fieldManager = "moonphase" }, content_type = "application/merge-patch+json", body = body,
  }
  if not answer then return nil, failure end
  if answer.status == 200 then return "written", answer.body end
  if answer.status == 409 then return "conflict" end
  if answer.status == 404 then return "gone" end
  return nil, ("%s (%d %s)"):format(answer.message, answer.status, answer.reason), answer.status
end

return M
