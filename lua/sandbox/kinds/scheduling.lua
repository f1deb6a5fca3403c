-- What a pod says about where it may run: tolerations, affinities, spreading. Checks only.
-- (https://kubernetes.io/docs/concepts/scheduling-eviction/)

local checks = require "sandbox.kinds.checks"
local selectors = require "sandbox.kinds.selectors"

local M = {}

local EFFECTS = { "NoSchedule", "PreferNoSchedule", "NoExecute", NoSchedule = true, PreferNoSchedule = true, NoExecute = true }
M.EFFECTS = EFFECTS

local function go_toleration(one)
  return checks.verbatim(("core.Toleration{Key:%s, Operator:%s, Value:%s, Effect:%s, TolerationSeconds:%s}"):format(
    checks.quote(one.key or ""), checks.quote(one.operator or ""), checks.quote(one.value or ""), checks.quote(one.effect or ""),
    one.tolerationSeconds and "(*int64)(0xc000000000)" or "(*int64)(nil)"))
end

local function check_toleration(errs, path, one)
  local key, operator, effect = one.key or "", one.operator or "", one.effect or ""
  if key ~= "" then checks.report(errs, path .. ".key", key, checks.qualified_name(key)) end
  if key == "" and operator ~= "Exists" then
    checks.invalid(errs, path .. ".operator", operator,
      'operator must be Exists when `key` is empty, which means "match all values and all keys"')
  end
  if one.tolerationSeconds and effect ~= "NoExecute" then
    checks.invalid(errs, path .. ".effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
  end
  if operator == "Equal" or operator == "" then
    local messages = checks.label_value(one.value or "")
    if messages then checks.invalid(errs, path .. ".operator", one.value, table.concat(messages, ";")) end
  elseif operator == "Exists" then
    if (one.value or "") ~= "" then
      checks.invalid(errs, path .. ".operator", go_toleration(one), "value must be empty when `operator` is 'Exists'")
    end
  else
    checks.not_supported(errs, path .. ".operator", operator, { "Equal", "Exists" })
  end
  if effect ~= "" and not EFFECTS[effect] then checks.not_supported(errs, path .. ".effect", effect, EFFECTS) end
end

function M.check_tolerations(errs, path, tolerations)
  for i, one in ipairs(tolerations) do check_toleration(errs, ("%s[%d]"):format(path, i - 1), one) end
end

local NODE_OPERATORS = { In = "some", NotIn = "some", Exists = "none", DoesNotExist = "none", Gt = "one", Lt = "one" }

local function check_requirement(errs, path, one)
  local count, wants = one.values and #one.values or 0, NODE_OPERATORS[one.operator or ""]
  if wants == "some" and count == 0 then
    checks.required(errs, path .. ".values", "must be specified when `operator` is 'In' or 'NotIn'")
  elseif wants == "none" and count > 0 then
    checks.forbidden(errs, path .. ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
  elseif wants == "one" and count ~= 1 then
    checks.required(errs, path .. ".values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
  elseif not wants then
    checks.invalid(errs, path .. ".operator", one.operator or "", "not a valid selector operator")
  end
  checks.report(errs, path .. ".key", one.key or "", checks.qualified_name(one.key or ""))
end

local function check_term(errs, path, term)
  for i, one in ipairs(term.matchExpressions or {}) do
    check_requirement(errs, ("%s.matchExpressions[%d]"):format(path, i - 1), one)
  end
end

local REQUIRED, PREFERRED = "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"

local function check_weight(errs, path, weight)
  if (weight or 0) < 1 or weight > 100 then checks.invalid(errs, path .. ".weight", weight or 0, "must be in the range 1-100") end
end

local function check_node(errs, path, affinity)
  local required = affinity[REQUIRED]
  if required then
    local terms = required.nodeSelectorTerms
    local here = path .. "." .. REQUIRED .. ".nodeSelectorTerms"
    if not terms or not terms[1] then
      checks.required(errs, here, "must have at least one node selector term")
    else
      for i, term in ipairs(terms) do check_term(errs, ("%s[%d]"):format(here, i - 1), term) end
    end
  end
  for i, one in ipairs(affinity[PREFERRED] or {}) do
    local here = ("%s.%s[%d]"):format(path, PREFERRED, i - 1)
    check_weight(errs, here, one.weight)
    check_term(errs, here .. ".preference", one.preference or {})
  end
end

local function check_pod_term(errs, path, term)
  if term.labelSelector then selectors.check(errs, path .. ".matchExpressions", term.labelSelector) end
  for _, name in ipairs(term.namespaces or {}) do checks.report(errs, path .. ".namespace", name, checks.dns_label(name)) end
  if (term.topologyKey or "") == "" then checks.required(errs, path .. ".topologyKey", "can not be empty") end
  checks.report(errs, path .. ".topologyKey", term.topologyKey or "", checks.qualified_name(term.topologyKey or ""))
end

local function check_pods(errs, path, affinity)
  for i, term in ipairs(affinity[REQUIRED] or {}) do check_pod_term(errs, ("%s.%s[%d]"):format(path, REQUIRED, i - 1), term) end
  for i, one in ipairs(affinity[PREFERRED] or {}) do
    local here = ("%s.%s[%d]"):format(path, PREFERRED, i - 1)
    check_weight(errs, here, one.weight)
    check_pod_term(errs, here .. ".podAffinityTerm", one.podAffinityTerm or {})
  end
end

function M.check_affinity(errs, path, affinity)
  if affinity.nodeAffinity then check_node(errs, path .. ".nodeAffinity", affinity.nodeAffinity) end
  if affinity.podAffinity then check_pods(errs, path .. ".podAffinity", affinity.podAffinity) end
  if affinity.podAntiAffinity then check_pods(errs, path .. ".podAntiAffinity", affinity.podAntiAffinity) end
end

local UNSATISFIABLE = { "DoNotSchedule", "ScheduleAnyway", DoNotSchedule = true, ScheduleAnyway = true }

function M.check_spread(errs, path, constraints)
  for i, one in ipairs(constraints) do
    local here = ("%s[%d]"):format(path, i - 1)
    local key, action = one.topologyKey or "", one.whenUnsatisfiable or ""
    if (one.maxSkew or 0) <= 0 then checks.invalid(errs, here .. ".maxSkew", one.maxSkew or 0, "must be greater than zero") end
    if key == "" then checks.required(errs, here .. ".topologyKey", "can not be empty") end
    if not UNSATISFIABLE[action] then checks.not_supported(errs, here .. ".whenUnsatisfiable", action, UNSATISFIABLE) end
    for j = i + 1, #constraints do
      if (constraints[j].topologyKey or "") == key and (constraints[j].whenUnsatisfiable or "") == action then
        checks.duplicate(errs, here .. ".{topologyKey, whenUnsatisfiable}", ("{%s, %s}"):format(key, action))
        break
      end
    end
  end
end

return M
