-- What should be there once nothing goes on any more: the failure that the world is in, a route, a lock, or nothing at all.
--
-- Each function takes a sight (sight.lua) and answers true, or false and { why = a sentence }.

local sight = require "check.sight"
local truths = require "check.truths"

local M = {}

local no = truths.no
local NGINX_LOCK = "nginx.ingress.kubernetes.io/auth-secret"
local LABEL = "primehub.io/phdeployment"

-- What is wrong with the world, and the reasons and words that people may then read. `runs`: only what does not run already fails.
local TROUBLES = {
  { given = function(v) return v.scene.group == "missing" end, reasons = { "GroupNotFound" }, says = "Group not found: " },
  { given = function(v) return v.scene.group == "disabled" end, reasons = { "DeploymentNotEnabled" },
    says = "The model deployment is not enabled for the selected group" },
  { given = function(v) return v.scene.group == "unknown" or v.scene.instance_type == "unknown" end, runs = true, phase = "Deploying",
    reasons = { "Waiting", "Deploying", "PartlyAvailable" } },
  { given = function(v) return v.scene.instance_type == "missing" end, reasons = { "InstanceTypeNotFound" },
    says = "InstanceType not found: " },
  { given = function(v) return v.scene.quota_ok == false end, runs = true, reasons = { "GroupQuotaExceeded", "ResourceQuotaExceeded" },
    says = "resource not enough" },
  { given = function(v) return v.scene.node_full end, runs = true, reasons = { "ClusterResourcesShort" },
    says = "Cluster resource not enough" },
  { given = function(v) return v.scene.image_ok == false end, runs = true, reasons = { "ImagePullFailed" },
    says = "Image invalid or cannot be pulled: " },
  { given = function(v) return v.scene.crashes end, runs = true, reasons = { "Crashed", "OutOfMemory" }, says = "Container model " },
}

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

-- All that may be told now, and whether what runs may be called Deployed all the same.
local function troubles_of(v)
  local found, runs = {}, true
  for _, row in ipairs(TROUBLES) do
    if row.given(v) then
      found[#found + 1] = row
      runs = runs and row.runs
    end
  end
  return found, runs
end

-- Whether a pod has this port, by number or by name.
local function has_port(pod, wanted)
  for _, container in ipairs(pod.spec.containers) do
    for _, port in ipairs(container.ports or {}) do
      if port.containerPort == wanted or port.name == wanted then return true end
    end
  end
  return false
end

local function leads_on(v, port)
  local target = port.targetPort or port.port
  for _, pod in ipairs(v.pods) do
    if not has_port(pod, target) then return no("its Service leads to port %s, which the pod does not have", target) end
  end
  return true
end

-- Requests to the endpoint get to the pods: Ingress, Service and labels fit together.
function M.is_routed(v)
  local service, rule = v.service, v.ingress and v.ingress.spec.rules and v.ingress.spec.rules[1]
  if not service then return no("it has no Service") end
  if (service.spec.selector or {})[LABEL] ~= v.name then return no("its Service does not select its pods") end
  for _, pod in ipairs(v.pods) do
    for name, value in pairs(service.spec.selector or {}) do
      if (pod.metadata.labels or {})[name] ~= value then return no("its Service does not select the pod by %s", name) end
    end
  end
  if not rule then return no("it has no Ingress") end
  local path = rule.http.paths[1]
  if path.path ~= "/deployment/" .. v.name .. "/(.+)" then return no("its Ingress leads %s to it", path.path) end
  if path.backend.service.name ~= service.metadata.name then return no("its Ingress leads to the Service %s", path.backend.service.name) end
  for _, port in ipairs(service.spec.ports) do
    if port.port == path.backend.service.port.number then return leads_on(v, port) end
  end
  return no("its Ingress leads to port %s, which the Service does not have", path.backend.service.port.number)
end

-- For a model that should run: Deployed if it does, else a failure that the world really has.
function M.told_right(v)
  local found, may_run = troubles_of(v)
  local runs = v.deployment and M.is_routed(v) and not sight.differs(v.deployment, v.spec) and not sight.unfinished(v.deployment)
  local is = ("%s (%s: %s)"):format(v.phase, v.status.reason, v.status.message)
  if runs and may_run or #found == 0 then
    if v.phase == "Deployed" then return true end
    return no(runs and "all replicas serve, and it tells %s" or "nothing is wrong, and it tells %s", is)
  end
  local words = {}
  for i, row in ipairs(found) do
    if v.phase == (row.phase or "Failed") and contains(row.reasons, v.status.reason)
      and (not row.says or v.status.message:find(row.says, 1, true)) then return true end
    words[i] = row.reasons[1]
  end
  return no("%s is what is wrong, and it tells %s", table.concat(words, " or "), is)
end

-- A private endpoint has its lock and the Secret that the lock names, a public one neither.
function M.is_locked(v)
  local lock = v.ingress and (v.ingress.metadata.annotations or {})[NGINX_LOCK]
  if v.ingress and v.private and lock ~= "deploy-" .. v.name then return no("it is private, and its Ingress has no lock") end
  if v.scene.group == "missing" or v.scene.group == "disabled" then return true end -- nothing but a lock is written meanwhile
  if v.ingress and not v.private and lock then return no("it is public, and its Ingress is locked") end
  if v.private and v.ingress and not v.secret then return no("it is private, and has no Secret") end
  if v.secret and not v.private then return no("it is public, and its Secret is still there") end
  return true
end

-- None of its objects is there. (For one that was deleted.)
function M.nothing_left(v)
  for kind, child in pairs(v.children) do
    if (child.metadata.labels or {})[LABEL] then return no("its %s %s", kind, child.metadata.name) end
  end
  if #v.replicasets > 0 then return no("its ReplicaSet %s", v.replicasets[1].metadata.name) end
  if #v.pods > 0 then return no("its pod %s", v.pods[1].metadata.name) end
  return true
end

-- Nothing of it runs, and nothing is told to.
function M.is_empty(v)
  if v.pods_left > 0 then return no("%d pods are there", v.pods_left) end
  if v.deployment and v.deployment.spec.replicas ~= 0 then return no("its Deployment has %d replicas", v.deployment.spec.replicas) end
  return true
end

return M
