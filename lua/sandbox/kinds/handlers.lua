-- Probes and lifecycle hooks of containers: what the server fills in, and what it refuses.
-- (https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/)

local checks = require "sandbox.kinds.checks"

local M = {}

local function default_action(action)
  local get = action and action.httpGet
  if get then
    if not get.path or get.path == "" then get.path = "/" end
    if not get.scheme or get.scheme == "" then get.scheme = "HTTP" end
  end
end

local PROBE = { timeoutSeconds = 1, periodSeconds = 10, successThreshold = 1, failureThreshold = 3 }

local function default_probe(probe)
  if not probe then return end
  for name, value in next, PROBE do
    if (probe[name] or 0) == 0 then probe[name] = value end
  end
  default_action(probe)
end

function M.default(container)
  default_probe(container.livenessProbe)
  default_probe(container.readinessProbe)
  default_probe(container.startupProbe)
  local lifecycle = container.lifecycle
  if lifecycle then
    default_action(lifecycle.postStart)
    default_action(lifecycle.preStop)
  end
end

local SCHEMES = { "HTTP", "HTTPS", HTTP = true, HTTPS = true }

local function check_get(errs, path, get)
  if (get.path or "") == "" then checks.required(errs, path .. ".path") end
  checks.port(errs, path .. ".port", get.port)
  if not SCHEMES[get.scheme] then
    checks.not_supported(errs, path .. ".scheme", get.scheme or "", SCHEMES)
  end
  for _, header in ipairs(get.httpHeaders or {}) do
    checks.report(errs, path .. ".httpHeaders", header.name or "", checks.header_name(header.name or ""))
  end
end

local function check_exec(errs, path, exec)
  if not exec.command or not exec.command[1] then checks.required(errs, path .. ".command") end
end

local function check_socket(errs, path, socket)
  checks.port(errs, path .. ".port", socket.port)
end

local KINDS = { { "exec", check_exec }, { "httpGet", check_get }, { "tcpSocket", check_socket } }

local function check_action(errs, path, action)
  local count = 0
  for i = 1, #KINDS do
    local row = KINDS[i]
    local one = action[row[1]]
    if one then
      if count > 0 then checks.forbidden(errs, path .. "." .. row[1], "may not specify more than 1 handler type")
      else row[2](errs, checks.below(path, row[1]), one) end
      count = count + 1
    end
  end
  if count == 0 then checks.required(errs, path, "must specify a handler type") end
end

local NUMBERS = { "initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold" }

local function check_probe(errs, path, probe)
  check_action(errs, path, probe)
  for i = 1, #NUMBERS do
    local number = probe[NUMBERS[i]]
    if number and number < 0 then checks.not_negative(errs, path, NUMBERS[i], number) end
  end
end

-- One that decides over life: once is enough.
local function check_once(errs, path, probe)
  check_probe(errs, path, probe)
  if probe.successThreshold ~= 1 then
    checks.invalid(errs, path .. ".successThreshold", probe.successThreshold or 0, "must be 1")
  end
end

-- In the server's order: what comes before the termination message policy ...
function M.check(errs, path, container)
  local lifecycle = container.lifecycle
  if lifecycle then
    if lifecycle.postStart then check_action(errs, path .. ".lifecycle.postStart", lifecycle.postStart) end
    if lifecycle.preStop then check_action(errs, path .. ".lifecycle.preStop", lifecycle.preStop) end
  end
  if container.livenessProbe then check_once(errs, checks.below(path, "livenessProbe"), container.livenessProbe) end
  if container.startupProbe then check_once(errs, checks.below(path, "startupProbe"), container.startupProbe) end
end

-- ... and what comes after it.
function M.check_readiness(errs, path, container)
  if container.readinessProbe then check_probe(errs, checks.below(path, "readinessProbe"), container.readinessProbe) end
end

return M
