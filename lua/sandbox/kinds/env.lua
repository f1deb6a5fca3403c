-- Environment variables of containers, and references to fields of the pod, which volumes use as well.

local checks = require "sandbox.kinds.checks"

local M = {}

local function set(list)
  for _, name in ipairs(list) do list[name] = true end
  return list
end

-- In the order in which messages list them.
M.ENV_FIELDS = set { "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
  "status.hostIP", "status.podIP", "status.podIPs" }
M.VOLUME_FIELDS = set { "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid" }
local CONVERTIBLE = set { "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
  "spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "spec.schedulerName", "status.phase", "status.hostIP",
  "status.podIP", "status.podIPs" }
local RESOURCES = set { "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
  "requests.memory" }

local function default_source(from)
  if from and from.fieldRef and (from.fieldRef.apiVersion or "") == "" then from.fieldRef.apiVersion = "v1" end
end
M.default_source = default_source

function M.default(container)
  for _, variable in ipairs(container.env or {}) do default_source(variable.valueFrom) end
end

local function check_subscript(errs, path, name, key)
  if name == "metadata.annotations" then checks.report(errs, path, key, checks.qualified_name(key:lower()))
  elseif name == "metadata.labels" then checks.report(errs, path, key, checks.qualified_name(key))
  else checks.invalid(errs, path, name, "does not support subscript") end
end

-- fields: M.ENV_FIELDS or M.VOLUME_FIELDS.
function M.check_field(errs, path, ref, fields)
  if (ref.apiVersion or "") == "" then return checks.required(errs, path .. ".apiVersion") end
  local wanted = ref.fieldPath or ""
  if wanted == "" then return checks.required(errs, path .. ".fieldPath") end
  if ref.apiVersion ~= "v1" then
    return checks.invalid(errs, path .. ".fieldPath", wanted, "error converting fieldPath: unsupported pod version: " .. ref.apiVersion)
  end
  local name, key = wanted:match("^(.-)%['(.*)'%]$")
  if name and name ~= "metadata.annotations" and name ~= "metadata.labels" or not name and not CONVERTIBLE[wanted]
    and wanted ~= "spec.host" then
    return checks.invalid(errs, path .. ".fieldPath", wanted, "error converting fieldPath: field label not supported: " .. wanted)
  end
  if name then return check_subscript(errs, path, name, key) end
  if wanted == "spec.host" then wanted = "spec.nodeName" end
  if not fields[wanted] then checks.not_supported(errs, path .. ".fieldPath", wanted, fields) end
end

-- volume: true where the container must be named. Divisors other than the server's few are refused.
local DIVISORS = {
  cpu = { "1", "1m", known = { ["1"] = true, ["1m"] = true } },
  memory = { "1", "1E", "1Ei", "1G", "1Gi", "1K", "1Ki", "1M", "1Mi", "1P", "1Pi", "1T", "1Ti", known = { ["1"] = true, ["1k"] = true,
    ["1M"] = true, ["1G"] = true, ["1T"] = true, ["1P"] = true, ["1E"] = true, ["1Ki"] = true, ["1Mi"] = true, ["1Gi"] = true,
    ["1Ti"] = true, ["1Pi"] = true, ["1Ei"] = true } },
}

function M.check_resource(errs, path, ref, volume)
  local wanted = ref.resource or ""
  if volume and (ref.containerName or "") == "" then checks.required(errs, path .. ".containerName")
  elseif wanted == "" then checks.required(errs, path .. ".resource")
  elseif not RESOURCES[wanted] then checks.not_supported(errs, path .. ".resource", wanted, RESOURCES) end
  local divisor = ref.divisor
  if not divisor or divisor == "0" or not RESOURCES[wanted] then return end
  local cpu = wanted:find("cpu", 1, true)
  if not (cpu and DIVISORS.cpu or DIVISORS.memory).known[divisor] then
    checks.invalid(errs, path .. ".divisor", wanted, cpu and "only divisor's values 1m and 1 are supported with the cpu resource"
      or "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the "
      .. (wanted:find("memory", 1, true) and "memory" or "local ephemeral storage") .. " resource")
  end
end

local function check_key(errs, path, ref)
  checks.report(errs, path .. ".name", ref.name or "", checks.dns_subdomain(ref.name or ""))
  if (ref.key or "") == "" then checks.required(errs, path .. ".key")
  else checks.report(errs, path .. ".key", ref.key, checks.config_key(ref.key)) end
end

local function check_value_from(errs, path, variable)
  local from, count = variable.valueFrom, 0
  if from.fieldRef then
    count = count + 1
    M.check_field(errs, path .. ".fieldRef", from.fieldRef, M.ENV_FIELDS)
  end
  if from.resourceFieldRef then
    count = count + 1
    M.check_resource(errs, path .. ".resourceFieldRef", from.resourceFieldRef)
  end
  for _, name in ipairs { "configMapKeyRef", "secretKeyRef" } do
    if from[name] then
      count = count + 1
      check_key(errs, path .. "." .. name, from[name])
    end
  end
  if count == 0 then
    checks.invalid(errs, path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`")
  elseif (variable.value or "") ~= "" then
    checks.invalid(errs, path, "", "may not be specified when `value` is not empty")
  elseif count > 1 then
    checks.invalid(errs, path, "", "may not have more than one field specified at a time")
  end
end

local function check_env_from(errs, path, sources)
  for i, source in ipairs(sources) do
    local here = ("%s[%d]"):format(path, i - 1)
    if (source.prefix or "") ~= "" then
      checks.report(errs, here .. ".prefix", source.prefix, checks.env_name(source.prefix))
    end
    local count = 0
    for _, name in ipairs { "configMapRef", "secretRef" } do
      if source[name] then
        count = count + 1
        local object = source[name].name or ""
        if object == "" then checks.required(errs, here .. "." .. name .. ".name")
        else checks.report(errs, here .. "." .. name .. ".name", object, checks.dns_subdomain(object)) end
      end
    end
    if count == 0 then checks.invalid(errs, path, "", "must specify one of: `configMapRef` or `secretRef`")
    elseif count > 1 then checks.invalid(errs, path, "", "may not have more than one field specified at a time") end
  end
end

function M.check(errs, path, container)
  for i, variable in ipairs(container.env or {}) do
    local name = variable.name or ""
    if name == "" then
      checks.required(errs, ("%s.env[%d].name"):format(path, i - 1))
    else
      local messages = checks.env_name(name)
      if messages then checks.report(errs, ("%s.env[%d].name"):format(path, i - 1), name, messages) end
    end
    if variable.valueFrom then check_value_from(errs, ("%s.env[%d].valueFrom"):format(path, i - 1), variable) end
  end
  if container.envFrom then check_env_from(errs, path .. ".envFrom", container.envFrom) end
end

return M
