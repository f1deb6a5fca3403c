-- Containers of a pod: what the server fills in and what it refuses.
-- (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#Container)

local checks = require "sandbox.kinds.checks"
local env = require "sandbox.kinds.env"
local handlers = require "sandbox.kinds.handlers"
local references = require "sandbox.kinds.references"
local resources = require "sandbox.kinds.resources"
local volumes = require "sandbox.kinds.volumes"

local M = {}

-- ---- Defaults --------------------------------------------------------------------------------------------------

local pull_policies, known = {}, 0 -- of images; a cache, since the same few come again

local function usual_pull_policy(image)
  local reference = references.parse(image)
  if not reference then return "IfNotPresent" end
  return (reference.tag or (reference.digest and "" or "latest")) == "latest" and "Always" or "IfNotPresent"
end

-- "Always" for images whose tag is "latest", written or meant.
function M.pull_policy(image)
  local found = pull_policies[image]
  if not found then
    if known >= 1000 then pull_policies, known = {}, 0 end
    found = usual_pull_policy(image)
    pull_policies[image], known = found, known + 1
  end
  return found
end

-- pod: of a pod (not of a template), whose requests follow its limits. host: it uses the node's network.
function M.default(container, pod, host)
  local policy = container.imagePullPolicy
  if not policy or policy == "" then container.imagePullPolicy = M.pull_policy(container.image or "") end
  if (container.terminationMessagePath or "") == "" then container.terminationMessagePath = "/dev/termination-log" end
  if (container.terminationMessagePolicy or "") == "" then container.terminationMessagePolicy = "File" end
  for _, port in ipairs(container.ports or {}) do
    if (port.protocol or "") == "" then port.protocol = "TCP" end
    if host and (port.hostPort or 0) == 0 then port.hostPort = port.containerPort end
  end
  local asked = container.resources
  if not asked then
    container.resources = {}
  else
    resources.round(asked.limits)
    resources.round(asked.requests)
  end
  if container.livenessProbe or container.readinessProbe or container.startupProbe or container.lifecycle then
    handlers.default(container)
  end
  if container.env then env.default(container) end
  if pod then resources.default_requests(container) end
  local security = container.securityContext
  if security and security.procMount == "" then security.procMount = "Default" end
end

-- ---- Checks ----------------------------------------------------------------------------------------------------

local PROTOCOLS = { "SCTP", "TCP", "UDP", SCTP = true, TCP = true, UDP = true }
M.PROTOCOLS = PROTOCOLS
local PULLS = { "Always", "IfNotPresent", "Never", Always = true, IfNotPresent = true, Never = true }
local MESSAGES = { File = true, FallbackToLogsOnError = true }

local function check_ports(errs, path, ports)
  local names = {}
  for i, port in ipairs(ports) do
    local here, name = checks.at(path, i), port.name or ""
    if name ~= "" then
      local messages = checks.port_name(name)
      if messages then checks.report(errs, here .. ".name", name, messages)
      elseif names[name] then checks.duplicate(errs, here .. ".name", name)
      else names[name] = true end
    end
    local number = port.containerPort or 0
    if number == 0 then checks.required(errs, here .. ".containerPort")
    else checks.report(errs, here .. ".containerPort", number, checks.port_number(number)) end
    local on_host = port.hostPort or 0
    if on_host ~= 0 then checks.report(errs, here .. ".hostPort", on_host, checks.port_number(on_host)) end
    local protocol = port.protocol or ""
    if protocol == "" then checks.required(errs, here .. ".protocol")
    elseif not PROTOCOLS[protocol] then checks.not_supported(errs, here .. ".protocol", protocol, PROTOCOLS) end
  end
end

local USER_IDS = checks.range_text(0, 2147483647)

-- A user's or group's number.
function M.check_id(errs, path, id)
  if id and (id < 0 or id > 2147483647) then checks.invalid(errs, path, id, USER_IDS) end
end

-- A security context as Go's %#v.
local function go_security(s)
  local function pointer(kind, value) return ("(*%s)(%s)"):format(kind, value ~= nil and "0xc000000000" or "nil") end
  return checks.verbatim(("core.SecurityContext{Capabilities:%s, Privileged:%s, SELinuxOptions:%s, WindowsOptions:%s, RunAsUser:%s, "
    .. "RunAsGroup:%s, RunAsNonRoot:%s, ReadOnlyRootFilesystem:%s, AllowPrivilegeEscalation:%s, ProcMount:%s, SeccompProfile:%s}"):format(
    pointer("core.Capabilities", s.capabilities), pointer("bool", s.privileged), pointer("core.SELinuxOptions", s.seLinuxOptions),
    pointer("core.WindowsSecurityContextOptions", s.windowsOptions), pointer("int64", s.runAsUser), pointer("int64", s.runAsGroup),
    pointer("bool", s.runAsNonRoot), pointer("bool", s.readOnlyRootFilesystem), pointer("bool", s.allowPrivilegeEscalation),
    pointer("core.ProcMountType", s.procMount), pointer("core.SeccompProfile", s.seccompProfile)))
end

local function check_security(errs, path, security)
  M.check_id(errs, path .. ".runAsUser", security.runAsUser)
  M.check_id(errs, path .. ".runAsGroup", security.runAsGroup)
  if security.allowPrivilegeEscalation ~= false then return end
  if security.privileged then
    checks.invalid(errs, path, go_security(security), "cannot set `allowPrivilegeEscalation` to false and `privileged` to true")
  end
  for _, name in ipairs(security.capabilities and security.capabilities.add or {}) do
    if name == "CAP_SYS_ADMIN" then
      checks.invalid(errs, path, go_security(security),
        "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN")
    end
  end
end

local function check_one(errs, path, container, good_volumes, names)
  local name = container.name or ""
  if name == "" then
    checks.required(errs, path .. ".name")
  else
    local messages = checks.dns_label(name)
    if messages then checks.report(errs, path .. ".name", name, messages) end
  end
  if names[name] then checks.duplicate(errs, path .. ".name", name) end
  names[name] = true
  if (container.image or "") == "" then checks.required(errs, path .. ".image") end
  handlers.check(errs, path, container)
  local policy = container.terminationMessagePolicy
  if not MESSAGES[policy] then
    checks.invalid(errs, path .. ".terminationMessagePolicy", policy or "", "must be 'File' or 'FallbackToLogsOnError'")
  end
  handlers.check_readiness(errs, path, container)
  if container.ports then check_ports(errs, checks.below(path, "ports"), container.ports) end
  env.check(errs, path, container)
  if container.volumeMounts then volumes.check_mounts(errs, checks.below(path, "volumeMounts"), container.volumeMounts, good_volumes) end
  if not PULLS[container.imagePullPolicy] then
    checks.not_supported(errs, path .. ".imagePullPolicy", container.imagePullPolicy or "", PULLS)
  end
  if container.resources then resources.check(errs, checks.below(path, "resources"), container.resources) end
  if container.securityContext then check_security(errs, path .. ".securityContext", container.securityContext) end
end

local function check_host_ports(errs, path, containers)
  local taken = {}
  for i, container in ipairs(containers) do
    for j, port in ipairs(container.ports or {}) do
      if (port.hostPort or 0) ~= 0 then
        local key = ("%s/%s/%d"):format(port.protocol, port.hostIP or "", port.hostPort)
        if taken[key] then
          checks.duplicate(errs, ("%s[%d].ports[%d].hostPort"):format(path, i - 1, j - 1), key)
        end
        taken[key] = true
      end
    end
  end
end

local function check_all(errs, path, containers, good_volumes)
  local names = {}
  for i, container in ipairs(containers) do check_one(errs, checks.at(path, i), container, good_volumes, names) end
end

-- good_volumes: what volumes.check gave.
function M.check(errs, path, containers, good_volumes)
  if not containers or not containers[1] then return checks.required(errs, path) end
  check_all(errs, path, containers, good_volumes)
  check_host_ports(errs, path, containers)
end

local NOT_FOR_INIT = { "lifecycle", "livenessProbe", "readinessProbe", "startupProbe" }

function M.check_init(errs, path, containers, others, good_volumes)
  check_all(errs, path, containers, good_volumes)
  local names = {}
  for _, container in ipairs(others or {}) do names[container.name or ""] = true end
  for i, container in ipairs(containers) do
    local here, name = checks.at(path, i), container.name or ""
    if names[name] then checks.duplicate(errs, here .. ".name", name) end
    if name ~= "" then names[name] = true end
    for _, field in ipairs(NOT_FOR_INIT) do
      if container[field] then
        checks.invalid(errs, here .. "." .. field, checks.verbatim("core." .. field .. "{...}"), "must not be set for init containers")
      end
    end
  end
end

return M
