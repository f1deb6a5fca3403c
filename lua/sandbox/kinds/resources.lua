-- What containers ask of a node, and what a quota bounds: names and amounts of resources.
-- (https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/)

local checks = require "sandbox.kinds.checks"
local sorted = require "sorted"

local M = {}

local CONTAINER = { cpu = true, memory = true, ["ephemeral-storage"] = true }
local STANDARD = { cpu = true, memory = true, ["ephemeral-storage"] = true, ["requests.cpu"] = true, ["requests.memory"] = true,
  ["requests.ephemeral-storage"] = true, ["limits.cpu"] = true, ["limits.memory"] = true, ["limits.ephemeral-storage"] = true,
  pods = true, resourcequotas = true, services = true, replicationcontrollers = true, secrets = true, configmaps = true,
  persistentvolumeclaims = true, storage = true, ["requests.storage"] = true, ["services.nodeports"] = true,
  ["services.loadbalancers"] = true }
local WHOLE = { pods = true, resourcequotas = true, services = true, replicationcontrollers = true, secrets = true,
  configmaps = true, persistentvolumeclaims = true, ["services.nodeports"] = true, ["services.loadbalancers"] = true }

local function is_hugepages(name) return name:sub(1, 10) == "hugepages-" end

local function is_native(name) return not name:find("/", 1, true) or name:find("kubernetes.io/", 1, true) ~= nil end

local function is_extended(name)
  return not is_native(name) and name:sub(1, 9) ~= "requests." and not checks.qualified_name("requests." .. name)
end
M.is_extended = is_extended

local function is_whole(name) return WHOLE[name] or is_extended(name) end

-- Whether more may be promised than there is.
local function is_elastic(name) return is_native(name) and not is_hugepages(name) end

-- A name in general; true: it may be looked at further.
function M.check_name(errs, path, name)
  local messages = checks.qualified_name(name)
  if messages then
    checks.report(errs, path, name, messages)
  elseif not name:find("/", 1, true) and not STANDARD[name] and not is_hugepages(name) then
    checks.invalid(errs, path, name, "must be a standard resource type or fully qualified")
  end
end

local function check_container_name(errs, path, name)
  M.check_name(errs, path, name)
  if not name:find("/", 1, true) then
    if not CONTAINER[name] and not is_hugepages(name) then
      checks.invalid(errs, path, name, "must be a standard resource for containers")
    end
  elseif not is_native(name) and not is_extended(name) then
    checks.invalid(errs, path, name, "doesn't follow extended resource name standard")
  end
end

-- Go's dump of a quantity that was read from text in units of a thousandth.
local function go_quantity(text)
  return checks.verbatim(('resource.Quantity{i:resource.int64Amount{value:%d, scale:%d}, d:resource.infDecAmount{Dec:(*inf.Dec)(nil)}, '
    .. 's:"%s", Format:"DecimalSI"}'):format(text:match("m$") and text:sub(1, -2) or quantity.units(text), text:match("m$") and -3 or 0, text))
end

-- Amounts are never negative, and things that cannot be cut are whole.
function M.check_amount(errs, path, name, amount)
  if amount:byte() == 45 then checks.invalid(errs, path, amount, checks.NOT_NEGATIVE) end
  if is_whole(name) and quantity.milli(amount) % 1000 ~= 0 then
    checks.invalid(errs, path, go_quantity(amount), "must be an integer")
  end
end

-- Are these cpu, memory and storage, none negative? Then there is nothing to say of each.
local function is_usual(list)
  for name, amount in next, list do
    if not CONTAINER[name] or amount:byte() == 45 then return false end
  end
  return true
end

local function check_list(errs, path, list)
  if is_usual(list) then return list.cpu ~= nil or list.memory ~= nil, false end
  local compute, huge = false, false
  for _, name in ipairs(sorted(list)) do
    local usual = CONTAINER[name]
    if not usual then check_container_name(errs, path .. "[" .. name .. "]", name) end
    if not usual or list[name]:byte() == 45 then M.check_amount(errs, path .. "[" .. name .. "]", name, list[name]) end
    compute = compute or name == "cpu" or name == "memory"
    huge = huge or is_hugepages(name)
  end
  return compute, huge
end

-- Is what is requested exactly what is limited, or not limited at all?
local function is_within(requests, limits)
  for name, request in next, requests do
    local limit = limits[name]
    if not CONTAINER[name] or limit and limit ~= request then return false end
  end
  return true
end

local function check_against_limits(errs, path, requests, limits)
  if is_within(requests, limits) then return end
  for _, name in ipairs(sorted(requests)) do
    local request, limit = requests[name], limits[name]
    if limit then
      local order = request == limit and 0 or quantity.compare(request, limit)
      if order ~= 0 and not is_elastic(name) then
        checks.invalid(errs, path .. ".requests", request, ("must be equal to %s limit"):format(name))
      elseif order > 0 then
        checks.invalid(errs, path .. ".requests", request, ("must be less than or equal to %s limit"):format(name))
      end
    elseif not is_elastic(name) then
      checks.required(errs, path .. ".limits", "Limit must be set for non overcommitable resources")
    end
  end
end

-- resources: { limits=, requests= } of a container.
function M.check(errs, path, resources)
  local limits, requests = resources.limits, resources.requests
  if not limits and not requests then return end
  local compute, huge, compute_too, huge_too = false, false, false, false
  if limits then compute, huge = check_list(errs, checks.below(path, "limits"), limits) end
  if requests then
    compute_too, huge_too = check_list(errs, checks.below(path, "requests"), requests)
    check_against_limits(errs, path, requests, limits or {})
  end
  if (huge or huge_too) and not compute and not compute_too then checks.forbidden(errs, path, "HugePages require cpu or memory") end
end

-- Amounts are kept in thousandths at most: what is finer is rounded up, in place.
function M.round(list)
  for name, amount in next, list or {} do
    local last = amount:byte(-1)
    if last == 117 or last == 110 then -- "u", "n"
      local milli = quantity.milli(amount)
      list[name] = milli % 1000 == 0 and tostring(milli // 1000) or milli .. "m"
    end
  end
end

-- A pod's containers: what is limited and not requested, is requested as limited. (Of pods alone, not of templates.)
function M.default_requests(container)
  local resources = container.resources
  local limits = resources and resources.limits
  if not limits then return end
  local requests = resources.requests
  if not requests then
    requests = {}
    resources.requests = requests
  end
  for name, amount in next, limits do
    if requests[name] == nil then requests[name] = amount end
  end
end

return M
