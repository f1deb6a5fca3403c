-- What the server's own admission plugins make of a pod: tolerations (DefaultTolerationSeconds), priority (Priority), and
-- how well it is served (its quality of service class).
-- (https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/)

local errors = require "sandbox.errors"

local M = {}

local PATIENCE = 300 -- seconds on a node that does not answer
local UNREACHABLE = { "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable" }

local function tolerates(tolerations, key)
  for _, one in ipairs(tolerations or {}) do
    if ((one.key or "") == key or (one.key or "") == "") and ((one.effect or "") == "NoExecute" or (one.effect or "") == "") then
      return true
    end
  end
  return false
end

local function add_tolerations(spec)
  local given, list = spec.tolerations, nil
  for _, key in ipairs(UNREACHABLE) do
    if not tolerates(given, key) then
      list = list or json.array { table.unpack(given or {}) }
      list[#list + 1] = { key = key, operator = "Exists", effect = "NoExecute", tolerationSeconds = PATIENCE }
    end
  end
  if list then spec.tolerations = list end
end

local SYSTEM = { ["system-node-critical"] = 2000001000, ["system-cluster-critical"] = 2000000000 }

local function usual_class(w)
  local best
  for _, record in ipairs(w:each("priorityclasses.scheduling.k8s.io")) do
    local class = record.object
    if class.globalDefault and (not best or class.value < best.value) then best = class end
  end
  return best
end

-- A refusal. (A name that is to be drawn is not drawn yet: k8s.io/apiserver/pkg/admission/errors.go.)
local function refused(object, text)
  local metadata = object.metadata
  local name = metadata.name or ""
  if name == "" then name = metadata.generateName or "" end
  return errors.forbidden("pods", name ~= "" and name or "Unknown", text)
end

local function set_priority(object, w)
  local spec = object.spec
  local name = spec.priorityClassName or ""
  local class
  if name == "" then
    class = usual_class(w)
    if class then spec.priorityClassName = class.metadata.name end
  else
    local record = w:get("priorityclasses.scheduling.k8s.io", "", name)
    class = record and record.object or SYSTEM[name] and { value = SYSTEM[name] }
    if not class then
      return refused(object, ("no PriorityClass with name %s was found"):format(name))
    end
  end
  local value, policy = class and class.value or 0, class and class.preemptionPolicy or "PreemptLowerPriority"
  if spec.priority and spec.priority ~= value then
    return refused(object, ("the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given "
      .. "PriorityClass name"):format(spec.priority, value))
  end
  spec.priority = value
  if spec.preemptionPolicy and spec.preemptionPolicy ~= policy then
    return refused(object, ("the string value of PreemptionPolicy (%s) must not be provided in pod "
      .. "spec; priority admission controller computed %s from the given PriorityClass name"):format(spec.preemptionPolicy, policy))
  end
  spec.preemptionPolicy = policy
end

-- In place, on a create (old is nil) or an update. A failure refuses the pod.
function M.admit(object, w, old)
  local spec = object.spec
  if old then
    -- An update leaves out what was computed: it stays.
    local before = old.spec
    if (spec.priorityClassName or "") == (before.priorityClassName or "") then
      if spec.priority == nil then spec.priority = before.priority end
      if spec.preemptionPolicy == nil then spec.preemptionPolicy = before.preemptionPolicy end
    end
    add_tolerations(spec)
    return nil
  end
  local failure = set_priority(object, w)
  if failure then return failure end
  add_tolerations(spec)
end

local function requests_of(container, counted)
  local resources = container.resources or {}
  local limits, requests = resources.limits or {}, resources.requests or {}
  for _, name in ipairs { "cpu", "memory" } do
    local limit, request = limits[name], requests[name]
    local has_limit = limit and quantity.compare(limit, "0") > 0
    local has_request = request and quantity.compare(request, "0") > 0
    if has_limit or has_request then counted.any = true end
    if not (has_limit and has_request and quantity.compare(limit, request) == 0) then counted.full = false end
  end
end

-- Guaranteed, Burstable or BestEffort.
-- (https://kubernetes.io/docs/tasks/configure-pod-container/quality-service-pod/)
function M.quality(spec)
  local counted = { any = false, full = true }
  for _, name in ipairs { "containers", "initContainers" } do
    for _, container in ipairs(spec[name] or {}) do requests_of(container, counted) end
  end
  if not counted.any then return "BestEffort" end
  return counted.full and "Guaranteed" or "Burstable"
end

return M
