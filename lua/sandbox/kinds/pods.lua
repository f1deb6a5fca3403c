-- Pods. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
--
-- A pod's specification is fixed once it is there, but for images, the deadline and more tolerations. Before it is
-- stored the server's admission plugins have their say: priority and the tolerations that every pod gets (pod_admission.lua).

local admission = require "sandbox.kinds.pod_admission"
local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local podspec = require "sandbox.kinds.podspec"
local rows = require "sandbox.kinds.pod_rows"
local service_checks = require "sandbox.kinds.service_checks"
local streams = require "sandbox.kinds.pod_streams"
local subresources = require "sandbox.kinds.pod_subresources"

local strategy = { unconditional_update = true, admit = admission.admit, quality = admission.quality }

-- podIP and the first of podIPs are one: the list counts, unless the other is given and differs.
local function align_addresses(status)
  local one, list = status.podIP or "", status.podIPs
  if one ~= "" and (not list or not list[1] or list[1].ip ~= one) then
    status.podIPs = json.array { { ip = one } }
  elseif list and list[1] then
    status.podIP = list[1].ip
  end
end

function strategy.default(object)
  local spec = object.spec
  if not spec then
    spec = {}
    object.spec = spec
  end
  podspec.default(spec, true)
  local status = object.status
  if status and (status.podIP or status.podIPs) then align_addresses(status) end
end

function strategy.prepare_create(object)
  object.status = { phase = "Pending", qosClass = admission.quality(object.spec) }
end

function strategy.prepare_update(new, old)
  kinds.keep(new, old, "status")
end

function strategy.prepare_status(new, old)
  kinds.keep(new, old, "spec")
  new.metadata.deletionTimestamp = nil
  new.metadata.ownerReferences = old.metadata.ownerReferences
end

-- A token is of an account: without one there is none.
local function check_tokens(errs, spec)
  if (spec.serviceAccountName or "") ~= "" then return end
  for i, volume in ipairs(spec.volumes or {}) do
    local sources = volume.projected and volume.projected.sources
    for j, source in ipairs(sources ~= json.null and sources or {}) do
      if source.serviceAccountToken then
        checks.forbidden(errs, ("spec.volumes[%d].projected.sources[%d].serviceAccountToken"):format(i - 1, j - 1),
          "must not be specified when serviceAccountName is not set")
      end
    end
  end
end

function strategy.check(errs, object)
  podspec.check(errs, "spec", object.spec)
  check_tokens(errs, object.spec)
  local ephemeral = object.spec.ephemeralContainers
  if ephemeral and ephemeral[1] then checks.forbidden(errs, "spec.ephemeralContainers", "cannot be set on create") end
end

-- ---- Updates ---------------------------------------------------------------------------------------------------

local FIXED = "pod updates may not change fields other than `spec.containers[*].image`, `spec.initContainers[*].image`, "
  .. "`spec.activeDeadlineSeconds` or `spec.tolerations` (only additions to existing tolerations)\n"

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return setmetatable(new, getmetatable(t))
end

-- The containers of `new` with the images of `old`.
local function with_images(new, old)
  if not new or not old then return new end
  local list = copy(new)
  for i, container in ipairs(new) do
    if old[i] then
      list[i] = copy(container)
      list[i].image = old[i].image
    end
  end
  return list
end

local function check_images(errs, path, list)
  for i, container in ipairs(list or {}) do
    local image = container.image or ""
    if image == "" then
      checks.required(errs, ("%s[%d].image"):format(path, i - 1))
    elseif image:find("^%s") or image:find("%s$") then
      checks.invalid(errs, ("%s[%d].image"):format(path, i - 1), image, "must not have leading or trailing whitespace")
    end
  end
end

-- Only what is added to the end, or has more time, is taken.
local function check_tolerations(errs, new, old)
  for _, one in ipairs(old or {}) do
    local found = false
    for _, other in ipairs(new or {}) do
      if json.equal(one, other) then found = true
      else
        local a, b = copy(one), copy(other)
        a.tolerationSeconds, b.tolerationSeconds = nil, nil
        if json.equal(a, b) and (one.effect or "") == "NoExecute" then found = true end
      end
    end
    if not found then
      checks.forbidden(errs, "spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")
      return
    end
  end
end

local function check_counts(errs, new, old)
  for _, name in ipairs { "containers", "initContainers" } do
    if #(new[name] or {}) ~= #(old[name] or {}) then
      checks.forbidden(errs, "spec." .. name, "pod updates may not add or remove containers")
      return false
    end
  end
  return true
end

local function check_deadline(errs, new, old)
  local value, before = new.activeDeadlineSeconds, old.activeDeadlineSeconds
  if value then
    if value < 0 or value > 2147483647 then
      checks.invalid(errs, "spec.activeDeadlineSeconds", value, checks.range_text(0, 2147483647))
      return false
    elseif before and before < value then
      checks.invalid(errs, "spec.activeDeadlineSeconds", value, "must be less than or equal to previous value")
      return false
    end
  elseif before then
    checks.invalid(errs, "spec.activeDeadlineSeconds", nil, "must not update from a positive integer to nil value")
  end
  return true
end

function strategy.validate_update(new, old)
  local errs = kinds.checked_anew(new, old, true, nil, strategy.check)
  local spec, before = new.spec, old.spec
  if not check_counts(errs, spec, before) then return errs end
  check_images(errs, "spec.containers", spec.containers)
  check_images(errs, "spec.initContainers", spec.initContainers)
  if not check_deadline(errs, spec, before) then return errs end
  if json.equal(spec, before) then return errs end
  check_tolerations(errs, spec.tolerations, before.tolerations)
  local same = copy(spec)
  same.containers, same.initContainers = with_images(spec.containers, before.containers), with_images(spec.initContainers,
    before.initContainers)
  same.activeDeadlineSeconds, same.tolerations = before.activeDeadlineSeconds, before.tolerations
  if not json.equal(same, before) then checks.forbidden(errs, "spec", FIXED) end
  return errs
end

local function check_restarts(errs, path, new, old, policy)
  if policy == "Always" then return end
  local states = {}
  for _, status in ipairs(new or {}) do states[status.name] = status.state or {} end
  for _, status in ipairs(old or {}) do
    local ended = status.state and status.state.terminated
    if ended and not (policy == "OnFailure" and (ended.exitCode or 0) ~= 0) and states[status.name]
      and not states[status.name].terminated then
      checks.forbidden(errs, path .. ".state", "may not be transitioned to non-terminated state")
    end
  end
end

-- The server's own types of conditions are known; others are names of somebody's. (The server of 1.20 says "metadata" of them.)
local CONDITIONS = { PodScheduled = true, Ready = true, Initialized = true, ContainersReady = true }

local function check_conditions(errs, conditions)
  for i, condition in ipairs(conditions or {}) do
    local name = condition.type or ""
    if not CONDITIONS[name] then checks.report(errs, ("metadata.conditions[%d].Type"):format(i - 1), name, checks.qualified_name(name)) end
  end
end

function strategy.validate_status(new, old)
  local errs, status = kinds.update_meta(new, old), new.status or {}
  check_conditions(errs, status.conditions)
  local nominated = status.nominatedNodeName
  if nominated and nominated ~= "" then
    checks.report(errs, "status.nominatedNodeName", nominated, checks.dns_subdomain(nominated))
  end
  local before, policy = old.status or {}, new.spec.restartPolicy
  check_restarts(errs, "status.containerStatuses", status.containerStatuses, before.containerStatuses, policy)
  check_restarts(errs, "status.initContainerStatuses", status.initContainerStatuses, before.initContainerStatuses,
    policy == "Always" and "OnFailure" or policy)
  for i, one in ipairs(status.podIPs or {}) do
    local ip = one.ip or ""
    if not service_checks.is_ip(ip) then checks.invalid(errs, ("status.podIPs[%d]"):format(i - 1), ip, service_checks.IP) end
  end
  return errs
end

-- ---- Fields, rows, subresources ---------------------------------------------------------------------------------

local function of_spec(name)
  return function(object) return object.spec[name] or "" end
end

local function of_status(name)
  return function(object) return object.status and object.status[name] or "" end
end

strategy.fields = {
  ["spec.nodeName"] = of_spec "nodeName", ["spec.host"] = of_spec "nodeName", ["spec.restartPolicy"] = of_spec "restartPolicy",
  ["spec.schedulerName"] = of_spec "schedulerName", ["spec.serviceAccountName"] = of_spec "serviceAccountName",
  ["status.phase"] = of_status "phase", ["status.podIP"] = of_status "podIP",
  ["status.podIPs"] = function() return "" end, -- known to the server, and never set
  ["status.nominatedNodeName"] = of_status "nominatedNodeName",
}

return kinds.make { kind = "Pod", plural = "pods", short_names = { "po" }, categories = { "all" },
  subresources = { status = true, log = subresources.log, binding = subresources.binding, eviction = subresources.eviction,
    exec = streams.exec, attach = streams.attach, portforward = streams.portforward },
  strategy = strategy, row = rows.row }
