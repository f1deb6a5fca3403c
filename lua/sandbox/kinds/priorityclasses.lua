-- PriorityClasses (scheduling.k8s.io/v1). https://kubernetes.io/docs/concepts/scheduling-eviction/pod-priority-preemption/

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"
local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"

local MOST = 1000000000 -- of a class that is not the system's own
local SYSTEM = { ["system-node-critical"] = 2000001000, ["system-cluster-critical"] = 2000000000 }
local POLICIES = { "PreemptLowerPriority", "Never", PreemptLowerPriority = true, Never = true }

local strategy = { unconditional_update = true }

function strategy.default(object)
  if object.preemptionPolicy == nil then object.preemptionPolicy = "PreemptLowerPriority" end
end

function strategy.prepare_create(object) object.metadata.generation = 1 end

-- There is one default for all pods.
function strategy.admit(object, w, old)
  if not object.globalDefault then return nil end
  for _, record in ipairs(w:each("priorityclasses.scheduling.k8s.io")) do
    if record.object.globalDefault and not (old and record.name == old.metadata.name) then
      return errors.forbidden("priorityclasses.scheduling.k8s.io", object.metadata.name or "",
        ("PriorityClass %s is already marked as default. Only one default can exist"):format(record.name))
    end
  end
end

function strategy.check(errs, object)
  local name, value = object.metadata.name or "", object.value or 0
  if name:sub(1, 7) == "system-" then
    if SYSTEM[name] ~= value then
      checks.forbidden(errs, "metadata.name", "priority class names with 'system-' prefix are reserved for system use only. error: "
        .. (SYSTEM[name] and ("value of %s PriorityClass must be %d"):format(name, SYSTEM[name])
        or name .. " is not a known system priority class"))
    end
  elseif value > MOST then
    checks.forbidden(errs, "value", ("maximum allowed value of a user defined priority is %d"):format(MOST))
  end
  local policy = object.preemptionPolicy
  if policy == "" then
    checks.required(errs, "preemptionPolicy")
  elseif policy and not POLICIES[policy] then
    checks.not_supported(errs, "preemptionPolicy", object.preemptionPolicy, POLICIES)
  end
end

function strategy.validate_update(new, old)
  local errs = kinds.update_meta(new, old)
  if (new.value or 0) ~= (old.value or 0) then checks.forbidden(errs, "Value", "may not be changed in an update.") end
  checks.unchanged(errs, "preemptionPolicy", new.preemptionPolicy, old.preemptionPolicy)
  return errs
end

local function row(object, w)
  return { object.metadata.name, object.value or 0, object.globalDefault or false, rows.age(object, w) }
end

local kind = kinds.make { group = "scheduling.k8s.io", kind = "PriorityClass", plural = "priorityclasses", short_names = { "pc" },
  namespaced = false, strategy = strategy, row = row }
return kind
