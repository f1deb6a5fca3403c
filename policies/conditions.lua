-- The conditions: for each, what it says when no failure rule has turned it False.
--
-- A rule of failures.lua that holds turns its condition at once, also within its grace; while it waits for a pod that
-- ends, to Unknown. Else the row here answers: "True", "False" or "Unknown" (not known yet), a reason and a
-- message. The host adds lastTransitionTime.

local initializer = require "children.initializer"
local facts = require "facts"
local route = require "children.route"

local function replicas_text(s)
  if s.desired == 0 then return ("%d replicas that are on their way out still serve"):format(s.rollout.available) end
  return ("%d of %d replicas are available"):format(s.rollout.available, s.desired)
end

local function any_pod(s, holds)
  for _, pod in ipairs(s.newest_pods) do
    if holds(pod) then return true end
  end
  return false
end

local function has_pulled(pod)
  for _, one in ipairs(pod.status and pod.status.containerStatuses or {}) do
    if one.name == "model" and (one.imageID or "") ~= "" then return true end
  end
  return false
end

-- What became of the fetching of the model's files in a pod: "done", "running", or nil while it has not begun.
local function fetching(pod)
  for _, one in ipairs(pod.status and pod.status.initContainerStatuses or {}) do
    local state = one.name == initializer.NAME and one.state or {}
    if state.terminated and state.terminated.exitCode == 0 then return "done" end
    if state.running then return "running" end
  end
  return nil
end

local ROWS = {
  { "Ready", function(s)
    return s.phase.phase == "Deployed" and "True" or "False", s.phase.reason, s.phase.message
  end },

  { "Available", function(s)
    if s.rollout.available > 0 then return "True", "ReplicasAvailable", replicas_text(s) end
    return "False", "NoReplicaAvailable", "no replica is available"
  end },

  { "Progressing", function(s)
    if s.phase.phase == "Deploying" or s.phase.phase == "Stopping" then return "True", s.phase.reason, s.phase.message end
    return "False", s.phase.reason, s.phase.message
  end },

  { "GroupResolved", function(s)
    if s.silent and s.asking then return "Unknown", "Asking", "the " .. s.silent .. " is being asked for" end
    if s.silent then return "Unknown", "SourceSilent", "the " .. s.silent .. " cannot be read at the moment" .. s.silence end
    if s.seen.group.state == "unknown" or s.seen.instance_type.state == "unknown" then
      return "Unknown", "SourceSilent",
        "group or instance type cannot be read at the moment" .. s.silence .. ": what was known last goes on"
    end
    if s.group.renamed then
      return "True", "GroupNameDiffers",
        text.fill("the group {spec.groupId} is called {group.name}, not {spec.groupName}; the id decides", s)
    end
    return "True", "Found", "group and instance type are found"
  end },

  { "QuotaAdmitted", function(s)
    if #s.newest_pods > 0 then return "True", "Admitted", "pods are admitted" end
    return "Unknown", "NoPods", "no pod of the present template is there"
  end },

  { "ImagePulled", function(s)
    if any_pod(s, has_pulled) then return "True", "Pulled", "the image can be pulled" end
    return "Unknown", "NotPulledYet", "the image is not pulled yet"
  end },

  { "ModelFetched", function(s)
    if s.model_uri == "" then return "True", "InImage", "the model is in its image; nothing is fetched" end
    if any_pod(s, function(pod) return fetching(pod) == "done" end) then return "True", "Fetched", "the model's files are there" end
    if any_pod(s, function(pod) return fetching(pod) == "running" end) then
      return "Unknown", "Fetching", "the model's files are being fetched"
    end
    return "Unknown", "NotFetchedYet", "the model's files are not fetched yet"
  end },

  { "PodsHealthy", function(s)
    if any_pod(s, facts.is_ready) then return "True", "Healthy", "a pod of the present template is ready" end
    return "Unknown", "NotReadyYet", "no pod of the present template is ready"
  end },

  { "RouteReady", function(s)
    if s.blocked then return "Unknown", s.blocked.name, "routes are not written now" end
    return route.ready(s)
  end },

  -- the one that is bad when True; the rule ChildConflict turns it
  { "ChildConflict", function() return "False", "NoConflict", "no child belongs to somebody else" end },

  { "Stopped", function(s)
    if s.phase.phase == "Stopped" then return "True", s.phase.reason, "no pod is left" end
    return "False", s.phase.reason, s.wants_none and "pods are still there" or "the model is not stopped"
  end },
}

local M = {}

-- The reason of a condition whose row waits for a pod that ends.
M.WAITING = "WaitingForOldPods"

function M.all(s, held)
  local list = json.array {}
  for i, row in ipairs(ROWS) do
    local type_of = row[1]
    local status, reason, message = row[2](s)
    local trouble = held[type_of]
    -- a stop gets through, whatever keeps the model from starting
    if type_of == "Progressing" and s.phase.phase == "Stopping" then trouble = nil end
    if trouble and trouble.waiting then
      status, reason, message = "Unknown", M.WAITING, "a pod of this model is still ending; " .. trouble.message
    elseif trouble then
      status, reason, message = type_of == "ChildConflict" and "True" or "False", trouble.name, trouble.message
    end
    list[i] = { type = type_of, status = status, reason = reason, message = message, observedGeneration = s.generation }
  end
  return list
end

return M
