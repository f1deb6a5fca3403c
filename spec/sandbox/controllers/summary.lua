-- What the controllers have made of a namespace, without what differs from run to run: names that were drawn, times, addresses,
-- template hashes, and what the kubelets say (the real side's is ours).
--
-- ReplicaSets are called by their deployment and revision: "d1#2". Pods are counted, by what they are in.

local M = {}

-- Reasons that say the same, that something is on its way: which of them stands there last depends on whether the controller saw
-- a count dip in between.
local ON_THE_WAY = { ReplicaSetUpdated = true, NewReplicaSetCreated = true, FoundNewReplicaSet = true, DeploymentResumed = true }

local function conditions(list, rename)
  local out = {}
  for _, c in ipairs(list or {}) do
    if ON_THE_WAY[c.reason] then c = { type = c.type, status = "on the way" } end
    -- how much of a quota was used when a pod was refused depends on which one came first, and which set's failure a
    -- deployment tells on whether the former one's was gone before
    local text = ("%s %s %s"):format(c.status, c.reason or "", rename(c.message or "")):gsub("used: [%w.,=]+", "used")
    out[c.type] = c.type == "ReplicaFailure" and text:gsub("#%d+%-", "#n-") or text
  end
  return out
end

local COUNTS = { "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas", "fullyLabeledReplicas" }

-- Generations themselves count the steps of a rollout, and how many it took is a matter of time.
local function counts(object)
  local out, status = {}, object.status or {}
  for _, name in ipairs(COUNTS) do out[name] = status[name] end
  out.observed = (status.observedGeneration or 0) == object.metadata.generation
  return out
end

-- A function that puts stable names in the place of drawn ones; memory: a table that keeps the names of sets that are gone.
local function renamer(sets, memory)
  for _, rs in ipairs(sets) do
    local owner = (rs.metadata.ownerReferences or {})[1]
    local revision = (rs.metadata.annotations or {})["deployment.kubernetes.io/revision"] or "?"
    memory[rs.metadata.name] = (owner and owner.name or rs.metadata.labels.app .. " alone") .. "#" .. revision
  end
  return function(text)
    for name, stable in pairs(memory) do
      local at = text:find(name, 1, true)
      while at do
        text = text:sub(1, at - 1) .. stable .. text:sub(at + #name):gsub("^%-%w%w%w%w%w%f[%W]", " pod")
        at = text:find(name, at + #stable, true)
      end
    end
    return text
  end
end

local ANNOTATIONS = { "deployment.kubernetes.io/desired-replicas", "deployment.kubernetes.io/max-replicas", "deployment.kubernetes.io/revision",
  "deployment.kubernetes.io/revision-history", "note" }

local function annotations(object)
  local out = {}
  for _, name in ipairs(ANNOTATIONS) do out[name] = (object.metadata.annotations or {})[name] end
  return out
end

local function pod_state(pod, rename)
  local owner = (pod.metadata.ownerReferences or {})[1]
  local words = { owner and rename(owner.name) or "nobody's", pod.metadata.deletionTimestamp and "going" or nil }
  for _, c in ipairs(pod.status.conditions or {}) do
    if c.type == "PodScheduled" then words[#words + 1] = ("scheduled %s %s"):format(c.status, c.message or "") end
    if c.type == "Ready" then words[#words + 1] = "ready " .. c.status end
  end
  return table.concat(words, ", ")
end

-- What the deployment and replicaset controllers and the scheduler told, each sentence once. How often a failing create
-- is tried until a moment, and by which steps replicas moved, is nobody's promise (ReplicaFailure says that a create fails).
local TOLD = { ScalingReplicaSet = true, FailedScheduling = true, DeploymentRollback = true }

-- Second result: whether some were put together into one, which shows only the last of them.
local function events(list, rename)
  local out, combined = {}, false
  for _, e in ipairs(list) do
    -- that a pod went before it was scheduled, or while it was, is a race
    local raced = e.message:find("skip schedule deleting pod", 1, true) or e.message:find("^binding rejected: .* not found$")
      or e.message:find("is in the cache, so can't be assumed", 1, true)
    if TOLD[e.reason] and not raced then
      local text = ("%s %s %s: %s"):format(e.type, e.reason, e.involvedObject.kind, rename(e.message or ""))
      if text:find("combined from similar events", 1, true) then combined = true end
      text = text:gsub("%(combined from similar events%): ", "")
      if e.reason == "ScalingReplicaSet" then text = text:gsub(" to %d+$", "") end
      out[text] = true
    end
  end
  return out, combined
end

-- (waits) The summary of a namespace, and whether its Events are not whole. memory: a table of the caller's, one for each backend and namespace.
function M.of(api, namespace, memory)
  local sets = api:list("ReplicaSet", namespace)
  local rename = renamer(sets, memory)
  local out = { deployments = {}, sets = {}, pods = {} }
  for _, d in ipairs(api:list("Deployment", namespace)) do
    out.deployments[d.metadata.name] = { replicas = d.spec.replicas, status = counts(d),
      conditions = conditions(d.status.conditions, rename), annotations = annotations(d), going = d.metadata.deletionTimestamp ~= nil }
  end
  for _, rs in ipairs(sets) do
    out.sets[rename(rs.metadata.name)] = { replicas = rs.spec.replicas, status = counts(rs), annotations = annotations(rs),
      conditions = conditions(rs.status.conditions, rename), hashed = rs.metadata.labels["pod-template-hash"] ~= nil,
      minimal = rs.spec.minReadySeconds, labels = rs.metadata.labels.l }
  end
  for _, pod in ipairs(api:list("Pod", namespace)) do
    local state = pod_state(pod, rename)
    out.pods[state] = (out.pods[state] or 0) + 1
  end
  local combined
  out.events, combined = events(api:list("Event", namespace), rename)
  return out, combined
end

-- Take the steps of rollouts out of a summary: some of them are not told any more.
function M.without_steps(summary)
  for text in pairs(summary.events) do
    if text:find("ScalingReplicaSet", 1, true) then summary.events[text] = nil end
  end
end

return M
