-- Nodes. https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/node-v1/

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local resources = require "sandbox.kinds.resources"
local rows = require "sandbox.kinds.rows"
local scheduling = require "sandbox.kinds.scheduling"
local service_checks = require "sandbox.kinds.service_checks"
local sorted = require "sorted"

local strategy = { unconditional_update = true }

-- podCIDR and the first of podCIDRs are one; more than one is for dual stack, which 1.20 has not.
local function align(spec)
  local one, list = spec.podCIDR or "", spec.podCIDRs or {}
  if one ~= "" and list[1] ~= one then spec.podCIDRs = json.array { one }
  elseif one == "" and list[1] then spec.podCIDR = list[1] end
  if spec.podCIDRs and spec.podCIDRs[2] then spec.podCIDRs = json.array { spec.podCIDRs[1] } end
end

function strategy.default(object)
  if object.spec then align(object.spec) end
  local status = object.status
  if status then
    resources.round(status.capacity)
    resources.round(status.allocatable)
  end
  if status and status.capacity and not status.allocatable then
    local same = {}
    for name, amount in next, status.capacity do same[name] = amount end
    status.allocatable = same
  end
end

function strategy.prepare_update(new, old) kinds.keep(new, old, "status") end

function strategy.prepare_status(new, old) kinds.keep(new, old, "spec") end

local function check_taints(errs, taints)
  local seen = {}
  for i, taint in ipairs(taints) do
    local path, key, effect = ("metadata.taints[%d]"):format(i - 1), taint.key or "", taint.effect or ""
    checks.report(errs, path .. ".key", key, checks.qualified_name(key))
    local messages = checks.label_value(taint.value or "")
    if messages then checks.invalid(errs, path .. ".value", taint.value, table.concat(messages, ";")) end
    if effect == "" then checks.required(errs, path .. ".effect")
    elseif not scheduling.EFFECTS[effect] then checks.not_supported(errs, path .. ".effect", effect, scheduling.EFFECTS) end
    if seen[effect .. "/" .. key] then
      checks.duplicate(errs, path, checks.verbatim(("core.Taint{Key:%s, Value:%s, Effect:%s, TimeAdded:<nil>}: taints must be unique by key "
        .. "and effect pair"):format(checks.quote(key), checks.quote(taint.value or ""), checks.quote(effect))))
    end
    seen[effect .. "/" .. key] = true
  end
end

local function check_amounts(errs, field, amounts)
  for _, name in ipairs(sorted(amounts)) do
    resources.check_amount(errs, "status." .. field .. "." .. name, name, amounts[name])
  end
end

local function is_cidr(text)
  local ip, bits = text:match("^(.+)/(%d+)$")
  return ip and service_checks.is_ip(ip) and tonumber(bits) <= (ip:find(":", 1, true) and 128 or 32)
end

function strategy.check(errs, object)
  local spec = object.spec or {}
  if spec.taints then check_taints(errs, spec.taints) end
  local status = object.status or {}
  check_amounts(errs, "capacity", status.capacity)
  check_amounts(errs, "allocatable", status.allocatable)
  for i, text in ipairs(spec.podCIDRs or {}) do
    if not is_cidr(text) then
      checks.invalid(errs, ("spec.podCIDRs[%d]"):format(i - 1), checks.verbatim(checks.go_strings(spec.podCIDRs)), "must be valid CIDR")
    end
  end
end

local MAY_CHANGE = { taints = true, unschedulable = true, configSource = true }
local ONCE = { podCIDR = true, podCIDRs = true, providerID = true }

-- What is given to a node once stays.
local function check_fixed(errs, spec, before)
  if before.podCIDRs and before.podCIDRs[1] and not json.equal(spec.podCIDRs or {}, before.podCIDRs) then
    checks.forbidden(errs, "spec.podCIDRs", 'node updates may not change podCIDR except from "" to valid')
  end
  if (before.providerID or "") ~= "" and before.providerID ~= spec.providerID then
    checks.forbidden(errs, "spec.providerID", 'node updates may not change providerID except from "" to valid')
  end
  local names, wrong = {}, false
  for name in next, spec do names[name] = true end
  for name in next, before do names[name] = true end
  for name in next, names do
    if not MAY_CHANGE[name] and not (ONCE[name] and before[name] == nil) then
      wrong = wrong or not json.equal(spec[name] == nil and json.null or spec[name], before[name] == nil and json.null or before[name])
    end
  end
  if wrong then
    checks.forbidden(errs, "[]", "node updates may only change labels, taints, or capacity (or configSource, if the "
      .. "DynamicKubeletConfig feature gate is enabled)")
  end
end

function strategy.validate_update(new, old)
  local errs = kinds.checked_anew(new, old, false, nil, strategy.check)
  if new.spec and new.spec.taints then check_taints(errs, new.spec.taints) end
  check_fixed(errs, new.spec or {}, old.spec or {})
  return errs
end

strategy.fields = {
  ["spec.unschedulable"] = function(object) return object.spec and object.spec.unschedulable and "true" or "false" end,
}

local ROLE = "node-role.kubernetes.io/"

local function roles(labels)
  local list = {}
  for name, value in pairs(labels or {}) do
    if name:sub(1, #ROLE) == ROLE and #name > #ROLE then list[#list + 1] = name:sub(#ROLE + 1)
    elseif name == "kubernetes.io/role" and value ~= "" then list[#list + 1] = value end
  end
  table.sort(list)
  return list[1] and table.concat(list, ",") or "<none>"
end

local function state(object)
  local word = "Unknown"
  for _, condition in ipairs(object.status and object.status.conditions or {}) do
    if condition.type == "Ready" then word = condition.status == "True" and "Ready" or "NotReady" end
  end
  return object.spec and object.spec.unschedulable and word .. ",SchedulingDisabled" or word
end

local function address(object, kind)
  for _, one in ipairs(object.status and object.status.addresses or {}) do
    if one.type == kind then return one.address end
  end
  return "<none>"
end

local function row(object, w)
  local info = object.status and object.status.nodeInfo or {}
  local function known(text) return text and text ~= "" and text or "<unknown>" end
  return { object.metadata.name, state(object), roles(object.metadata.labels), rows.age(object, w), info.kubeletVersion or "",
    address(object, "InternalIP"), address(object, "ExternalIP"), known(info.osImage), known(info.kernelVersion),
    known(info.containerRuntimeVersion) }
end

return kinds.make { kind = "Node", plural = "nodes", short_names = { "no" }, namespaced = false, subresources = { status = true },
  strategy = strategy, row = row }
