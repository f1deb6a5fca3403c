-- ResourceQuotas: the kind. What they do to other objects: quota.lua.
-- (https://kubernetes.io/docs/reference/kubernetes-api/policy-resources/resource-quota-v1/)

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local resources = require "sandbox.kinds.resources"
local rows = require "sandbox.kinds.rows"
local sorted = require "sorted"

local strategy = { unconditional_update = true }

local QUOTA = {}
for name in ([[cpu memory ephemeral-storage requests.cpu requests.memory requests.storage requests.ephemeral-storage limits.cpu
  limits.memory limits.ephemeral-storage pods resourcequotas services replicationcontrollers secrets persistentvolumeclaims configmaps
  services.nodeports services.loadbalancers]]):gmatch("%S+") do QUOTA[name] = true end

function strategy.default(object)
  if object.spec then resources.round(object.spec.hard) end
  if object.status then
    resources.round(object.status.hard)
    resources.round(object.status.used)
  end
end

function strategy.prepare_create(object) object.status = {} end

function strategy.prepare_update(new, old) kinds.keep(new, old, "status") end

function strategy.prepare_status(new, old) kinds.keep(new, old, "spec") end

local function is_standard(name)
  return QUOTA[name] or name:find("^hugepages%-") ~= nil or name:find("^requests%.hugepages%-") ~= nil
end

local function check_amounts(errs, path, list)
  for _, name in ipairs(sorted(list)) do
    local here = path .. "[" .. name .. "]"
    resources.check_name(errs, here, name)
    if not name:find("/", 1, true) and not is_standard(name) then
      checks.invalid(errs, here, name, "must be a standard resource for quota")
    end
    resources.check_amount(errs, here, name, list[name])
  end
end

local COMPUTE = { cpu = true, memory = true, ["requests.cpu"] = true, ["requests.memory"] = true, ["limits.cpu"] = true,
  ["limits.memory"] = true }
local SCOPES = { Terminating = "NotTerminating", NotTerminating = "Terminating", BestEffort = "NotBestEffort",
  NotBestEffort = "BestEffort", PriorityClass = "" }

local function check_scopes(errs, spec)
  local scopes = spec.scopes
  if not scopes or not scopes[1] then return end
  local shown, has = {}, {}
  for i, scope in ipairs(scopes) do shown[i], has[scope] = checks.quote(scope), true end
  local dump = checks.verbatim("[]core.ResourceQuotaScope{" .. table.concat(shown, ", ") .. "}")
  for _, scope in ipairs(scopes) do
    if not SCOPES[scope] then checks.invalid(errs, "spec.scopes", dump, "unsupported scope") end
    for _, name in ipairs(sorted(spec.hard)) do
      local fits = not SCOPES[scope] or name == "pods" or scope ~= "BestEffort" and COMPUTE[name]
      if is_standard(name) and not fits then checks.invalid(errs, "spec.scopes", dump, "unsupported scope applied to resource") end
    end
  end
  for _, pair in ipairs { "Terminating", "BestEffort" } do
    if has[pair] and has[SCOPES[pair]] then checks.invalid(errs, "spec.scopes", dump, "conflicting scopes") end
  end
end

function strategy.check(errs, object)
  local spec, status = object.spec or {}, object.status or {}
  check_amounts(errs, "spec.hard", spec.hard)
  check_scopes(errs, spec)
  check_amounts(errs, "status.hard", status.hard)
  check_amounts(errs, "status.used", status.used)
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set
end

function strategy.validate_update(new, old)
  local errs = kinds.checked_anew(new, old, true, nil, strategy.check)
  local spec, before = new.spec or {}, old.spec or {}
  check_amounts(errs, "spec.hard", spec.hard)
  check_scopes(errs, spec)
  if not json.equal(set_of(spec.scopes), set_of(before.scopes)) then
    local shown = {}
    for i, scope in ipairs(spec.scopes or {}) do shown[i] = checks.quote(scope) end
    checks.invalid(errs, "spec.scopes", checks.verbatim(shown[1] and "[]core.ResourceQuotaScope{" .. table.concat(shown, ", ") .. "}"
      or "[]core.ResourceQuotaScope(nil)"), checks.IMMUTABLE)
  end
  return errs
end

function strategy.validate_status(new, old)
  local errs, status = kinds.update_meta(new, old), new.status or {}
  check_amounts(errs, "status.hard", status.hard)
  check_amounts(errs, "status.used", status.used)
  return errs
end

local function row(object, w)
  local requests, limits, status = {}, {}, object.status or {}
  for _, name in ipairs(sorted(status.hard)) do
    local list = name:find("^limits%.") and limits or requests
    list[#list + 1] = ("%s: %s/%s"):format(name, status.used and status.used[name] or "0", status.hard[name])
  end
  return { object.metadata.name, rows.age(object, w), table.concat(requests, ", "), table.concat(limits, ", ") }
end

return kinds.make { kind = "ResourceQuota", plural = "resourcequotas", short_names = { "quota" }, subresources = { status = true },
  strategy = strategy, row = row }
