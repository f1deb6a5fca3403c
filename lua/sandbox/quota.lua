-- ResourceQuotas: what a namespace may use, counted at each creation.
--
-- Admission adds what an object would use to every quota that counts it and refuses the one that is too much, in the server's words
-- (https://kubernetes.io/docs/concepts/policy/resource-quotas/). What is used is in the quotas' status, so that two
-- creations count after each other; the controller (controllers/resourcequota.lua) counts anew when objects go or a quota changes.
-- Counted are pods with their requests and limits, Services by type, and objects by "count/PLURAL.GROUP" or their old short names.

local common = require "sandbox.controllers.common"
local usage = require "sandbox.usage"

local M = {}

local NONE = {}
local ID = "resourcequotas"
local with = common.with

local SHORT = { pods = "pods", services = "services", secrets = "secrets", configmaps = "configmaps", resourcequotas = "resourcequotas" }

local function sums(list_of, spec)
  local total = {}
  for _, container in ipairs(spec.containers or NONE) do
    for name, text in pairs((container.resources or NONE)[list_of] or NONE) do
      total[name] = (total[name] or 0) + usage.amount(name, text)
    end
  end
  for _, container in ipairs(spec.initContainers or NONE) do
    for name, text in pairs((container.resources or NONE)[list_of] or NONE) do
      total[name] = math.max(total[name] or 0, usage.amount(name, text))
    end
  end
  return total
end

local COMPUTE = { cpu = true, memory = true, ["ephemeral-storage"] = true }

-- What a pod uses, by the names that quotas have for it. Finished pods use nothing but their place among the objects.
local function of_pod(pod)
  local used = { ["count/pods"] = 1 }
  if common.is_finished(pod) then return used end
  used.pods = 1
  for name, value in pairs(sums("requests", pod.spec)) do
    used["requests." .. name] = value
    if COMPUTE[name] then used[name] = value end
  end
  for name, value in pairs(sums("limits", pod.spec)) do
    if COMPUTE[name] then used["limits." .. name] = value end
  end
  return used
end

local function of_service(service)
  local used, kind = { services = 1, ["count/services"] = 1 }, service.spec.type
  local ports = #(service.spec.ports or NONE)
  if kind == "NodePort" then used["services.nodeports"] = ports end
  if kind == "LoadBalancer" then used["services.nodeports"], used["services.loadbalancers"] = ports, 1 end
  return used
end

-- { [resource] = integer } that an object of kind `id` uses (cpu in thousandths).
function M.used_by(id, object)
  if id == "pods" then return of_pod(object) end
  if id == "services" then return of_service(object) end
  local used = { ["count/" .. id] = 1 }
  if SHORT[id] then used[SHORT[id]] = 1 end
  return used
end

local function is_best_effort(pod)
  for _, list in ipairs { pod.spec.containers or NONE, pod.spec.initContainers or NONE } do
    for _, container in ipairs(list) do
      local resources = container.resources or NONE
      for _, amounts in ipairs { resources.requests or NONE, resources.limits or NONE } do
        if amounts.cpu or amounts.memory then return false end
      end
    end
  end
  return true
end

local function scope_holds(scope, pod, requirement)
  if scope == "Terminating" then return pod.spec.activeDeadlineSeconds ~= nil end
  if scope == "NotTerminating" then return pod.spec.activeDeadlineSeconds == nil end
  if scope == "BestEffort" then return is_best_effort(pod) end
  if scope == "NotBestEffort" then return not is_best_effort(pod) end
  if scope == "PriorityClass" then
    local class = pod.spec.priorityClassName
    if not requirement or requirement.operator == "Exists" then return class ~= nil end
    return common.requirements_hold({ { key = "c", operator = requirement.operator, values = requirement.values } }, { c = class })
  end
  return false
end

-- Whether the quota's scopes take the object in.
local function is_in_scope(quota, id, object)
  local spec = quota.spec or NONE
  local scopes, requirements = spec.scopes or NONE, (spec.scopeSelector or NONE).matchExpressions or NONE
  if id ~= "pods" then return not scopes[1] and not requirements[1] end
  for _, scope in ipairs(scopes) do
    if not scope_holds(scope, object) then return false end
  end
  for _, requirement in ipairs(requirements) do
    if not scope_holds(requirement.scopeName, object, requirement) then return false end
  end
  return true
end
M.is_in_scope = is_in_scope

-- An integer of `resource` as a quantity: 1500 of cpu -> "1500m"; like: the text whose way of writing is kept.
function M.text(resource, value, like)
  if resource:find("cpu", 1, true) then
    return value % 1000 == 0 and tostring(value // 1000) or value .. "m"
  end
  for _, unit in ipairs { { "Ti", 1 << 40 }, { "Gi", 1 << 30 }, { "Mi", 1 << 20 }, { "Ki", 1 << 10 } } do
    if (like or ""):find("i$") and value > 0 and value % unit[2] == 0 then return value // unit[2] .. unit[1] end
  end
  if not (like or ""):find("i$") and not resource:find("^count/") then
    for _, unit in ipairs { { "G", 1000000000 }, { "M", 1000000 }, { "k", 1000 } } do
      if value > 0 and value % unit[2] == 0 then return value // unit[2] .. unit[1] end
    end
  end
  return tostring(value)
end

function M.amount(resource, text)
  return usage.amount(resource:find("cpu", 1, true) and "cpu" or resource, text)
end

local function pairs_text(map)
  local parts = {}
  for name, text in pairs(map) do parts[#parts + 1] = name .. "=" .. text end
  table.sort(parts)
  return table.concat(parts, ",")
end

-- A compute resource that a quota bounds must be said by every pod.
local MUST = { cpu = true, memory = true, ["requests.cpu"] = true, ["requests.memory"] = true, ["limits.cpu"] = true,
  ["limits.memory"] = true }

local function missing(quota, id, used)
  local names = {}
  if id ~= "pods" then return names end
  for name in pairs((quota.status or NONE).hard or NONE) do
    if MUST[name] and not used[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- The new `used` of a quota with the object counted in; nil: it does not count it; or nil, the words of the refusal.
local function count_in(quota, id, used)
  local status = quota.status or NONE
  local hard, now = status.hard or NONE, status.used or NONE
  local absent = missing(quota, id, used)
  if absent[1] then return nil, ("failed quota: %s: must specify %s"):format(quota.metadata.name, table.concat(absent, ",")) end
  local new, requested, had, limited, too_much = {}, {}, {}, {}, false
  for name, text in pairs(hard) do
    local value = used[name]
    if value and value > 0 then
      local before, most = M.amount(name, now[name] or "0"), M.amount(name, text)
      new[name] = M.text(name, before + value, text)
      if before + value > most then
        too_much = true
        requested[name], had[name], limited[name] = M.text(name, value, text), now[name] or "0", text
      end
    end
  end
  if too_much then
    return nil, ("exceeded quota: %s, requested: %s, used: %s, limited: %s"):format(quota.metadata.name, pairs_text(requested),
      pairs_text(had), pairs_text(limited))
  end
  return next(new) and with(now, new) or nil
end

-- Count an object that is about to be created (dry_run: only look). -> nil, or the words after "is forbidden: "
function M.admit(w, id, namespace, object, dry_run)
  local quotas = w:each(ID, namespace)
  if #quotas == 0 or id == "events" or id == ID then return nil end
  local used, changes = M.used_by(id, object), {}
  for _, record in ipairs(quotas) do
    if is_in_scope(record.object, id, object) then
      local new, refusal = count_in(record.object, id, used)
      if refusal then return refusal end
      if new then changes[#changes + 1] = { record.object, new } end
    end
  end
  for _, change in ipairs(dry_run and NONE or changes) do
    local new = with(change[1], { status = with(change[1].status, { used = change[2] }) })
    local node = require("sandbox.schema.builtin").node("", "v1", "ResourceQuota")
    w:put(ID, require("sandbox.managed").after_update(change[1], new, "kube-apiserver", "Update", "status", node, "v1", w:time()))
  end
end

return M
