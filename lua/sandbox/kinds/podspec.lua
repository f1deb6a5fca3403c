-- The specification of a pod, alone or in a template: defaults and checks.
-- (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodSpec)

local checks = require "sandbox.kinds.checks"
local containers = require "sandbox.kinds.containers"
local resources = require "sandbox.kinds.resources"
local service_checks = require "sandbox.kinds.service_checks"
local scheduling = require "sandbox.kinds.scheduling"
local volumes = require "sandbox.kinds.volumes"

local M = {}

-- Defaults, in place. pod: of a pod itself, not of a template.
function M.default(spec, pod)
  if (spec.restartPolicy or "") == "" then spec.restartPolicy = "Always" end
  if spec.terminationGracePeriodSeconds == nil then spec.terminationGracePeriodSeconds = 30 end
  if (spec.dnsPolicy or "") == "" then spec.dnsPolicy = "ClusterFirst" end
  if not spec.securityContext then spec.securityContext = {} end
  if (spec.schedulerName or "") == "" then spec.schedulerName = "default-scheduler" end
  if pod and spec.enableServiceLinks == nil then spec.enableServiceLinks = true end
  -- serviceAccount is the old name of serviceAccountName; both are always written.
  local account = spec.serviceAccountName or ""
  if account == "" then account = spec.serviceAccount or "" end
  if account ~= "" then spec.serviceAccountName, spec.serviceAccount = account, account end
  local host = spec.hostNetwork
  for _, container in ipairs(spec.containers or {}) do containers.default(container, pod, host) end
  for _, container in ipairs(spec.initContainers or {}) do containers.default(container, pod, host) end
  if spec.volumes then volumes.default(spec.volumes) end
  if spec.overhead then resources.round(spec.overhead) end
end

local RESTARTS = { "Always", "OnFailure", "Never", Always = true, OnFailure = true, Never = true }
local DNS = { "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", ClusterFirstWithHostNet = true, ClusterFirst = true,
  Default = true, None = true }
local PREEMPTION = { "PreemptLowerPriority", "Never", PreemptLowerPriority = true, Never = true }

local function check_word(errs, path, name, value, words)
  if words[value] then return end
  if (value or "") == "" then checks.required(errs, path .. "." .. name)
  else checks.not_supported(errs, path .. "." .. name, value, words) end
end

local function check_name(errs, path, name, value, check)
  if value and value ~= "" then checks.report(errs, path .. "." .. name, value, check(value)) end
end

local function check_security(errs, path, spec)
  local security = spec.securityContext or {}
  if spec.hostNetwork then
    for i, container in ipairs(spec.containers or {}) do
      for j, port in ipairs(container.ports or {}) do
        if port.hostPort ~= port.containerPort then
          checks.invalid(errs, ("%s.containers[%d].ports[%d].containerPort"):format(path, i - 1, j - 1), port.containerPort,
            "must match `hostPort` when `hostNetwork` is true")
        end
      end
    end
  end
  local here = path .. ".securityContext"
  containers.check_id(errs, here .. ".fsGroup", security.fsGroup)
  containers.check_id(errs, here .. ".runAsUser", security.runAsUser)
  containers.check_id(errs, here .. ".runAsGroup", security.runAsGroup)
  for i, group in ipairs(security.supplementalGroups or {}) do
    containers.check_id(errs, ("%s.supplementalGroups[%d]"):format(here, i - 1), group)
  end
  if spec.shareProcessNamespace and spec.hostPID then
    checks.invalid(errs, here .. ".shareProcessNamespace", true, "ShareProcessNamespace and HostPID cannot both be enabled")
  end
end

local function check_dns_config(errs, path, spec)
  local config = spec.dnsConfig
  if spec.dnsPolicy == "None" then
    if not config then
      return checks.required(errs, path, "must provide `dnsConfig` when `dnsPolicy` is None")
    elseif not (config.nameservers and config.nameservers[1]) then
      return checks.required(errs, path .. ".nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
    end
  end
end

local LONGEST = 2147483647

local function check_deadline(errs, path, seconds)
  if seconds and (seconds < 1 or seconds > LONGEST) then
    checks.invalid(errs, path .. ".activeDeadlineSeconds", seconds, checks.range_text(1, LONGEST))
  end
end

local function check_host_aliases(errs, path, list)
  for _, one in ipairs(list or {}) do -- the server names the field, not the item
    if not service_checks.is_ip(one.ip or "") then checks.invalid(errs, path .. ".ip", one.ip or "", "must be valid IP address") end
    for _, name in ipairs(one.hostnames or {}) do checks.report(errs, path .. ".hostnames", name, checks.dns_subdomain(name)) end
  end
end

local function check_names(errs, path, spec)
  check_name(errs, path, "serviceAccountName", spec.serviceAccountName, checks.dns_subdomain)
  check_name(errs, path, "nodeName", spec.nodeName, checks.dns_subdomain)
  check_deadline(errs, path, spec.activeDeadlineSeconds)
  check_name(errs, path, "hostname", spec.hostname, checks.dns_label)
  check_name(errs, path, "subdomain", spec.subdomain, checks.dns_label)
  if spec.tolerations then scheduling.check_tolerations(errs, path .. ".tolerations", spec.tolerations) end
  check_host_aliases(errs, path .. ".hostAliases", spec.hostAliases)
  check_name(errs, path, "priorityClassName", spec.priorityClassName, checks.dns_subdomain)
  check_name(errs, path, "runtimeClassName", spec.runtimeClassName, checks.dns_subdomain)
  if spec.preemptionPolicy then check_word(errs, path, "preemptionPolicy", spec.preemptionPolicy, PREEMPTION) end
  if spec.overhead then resources.check(errs, path .. ".overhead", { limits = spec.overhead }) end
end

-- Appends to errs, in the server's order.
local function check(errs, path, spec)
  local good_volumes = spec.volumes and volumes.check(errs, path .. ".volumes", spec.volumes) or {}
  containers.check(errs, path .. ".containers", spec.containers, good_volumes)
  if spec.initContainers then
    containers.check_init(errs, path .. ".initContainers", spec.initContainers, spec.containers, good_volumes)
  end
  check_word(errs, path, "restartPolicy", spec.restartPolicy, RESTARTS)
  check_word(errs, path, "dnsPolicy", spec.dnsPolicy, DNS)
  checks.labels(errs, path .. ".nodeSelector", spec.nodeSelector)
  check_security(errs, path, spec)
  if spec.affinity then scheduling.check_affinity(errs, path .. ".affinity", spec.affinity) end
  check_dns_config(errs, path .. ".dnsConfig", spec)
  if spec.topologySpreadConstraints then
    scheduling.check_spread(errs, path .. ".topologySpreadConstraints", spec.topologySpreadConstraints)
  end
  check_names(errs, path, spec)
end

-- Specifications that nothing was wrong with, by hash: one goes from a Deployment to its ReplicaSet and their pods, and is
-- checked again with each of their updates. Bounded.
local GOOD, good = {}, 0
local GOOD_MOST = 1000

function M.check(errs, path, spec)
  local hash, before = digest.quick(spec), #errs
  if GOOD[hash] then return end
  check(errs, path, spec)
  if #errs > before then return end
  if good == GOOD_MOST then GOOD, good = {}, 0 end
  GOOD[hash], good = true, good + 1
end

return M
