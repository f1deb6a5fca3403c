-- Label selectors as objects carry them (matchLabels, matchExpressions): checks, and what they match.
-- (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements)

local checks = require "sandbox.kinds.checks"

local M = {}

local OPERATORS = { In = true, NotIn = true, Exists = true, DoesNotExist = true }

local function check_expression(errs, path, one)
  local operator, values = one.operator or "", one.values or {}
  if operator == "In" or operator == "NotIn" then
    if not values[1] then checks.required(errs, path .. ".values", "must be specified when `operator` is 'In' or 'NotIn'") end
  elseif operator == "Exists" or operator == "DoesNotExist" then
    if values[1] then checks.forbidden(errs, path .. ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'") end
  else
    checks.invalid(errs, path .. ".operator", operator, "not a valid selector operator")
  end
  checks.report(errs, path .. ".key", one.key or "", checks.qualified_name(one.key or ""))
end

function M.check(errs, path, selector)
  if selector.matchLabels then checks.labels(errs, path .. ".matchLabels", selector.matchLabels) end
  for i, one in ipairs(selector.matchExpressions or {}) do
    check_expression(errs, ("%s.matchExpressions[%d]"):format(path, i - 1), one)
  end
end

function M.is_empty(selector)
  return not (selector.matchLabels and next(selector.matchLabels)) and not (selector.matchExpressions and selector.matchExpressions[1])
end

-- Whether it can be used at all: the server refuses to work with values that are no labels.
function M.is_usable(selector)
  for name, value in next, selector.matchLabels or {} do
    if checks.qualified_name(name) or checks.label_value(value) then return false end
  end
  for _, one in ipairs(selector.matchExpressions or {}) do
    if not OPERATORS[one.operator] or checks.qualified_name(one.key or "") then return false end
    local wants = one.operator == "In" or one.operator == "NotIn"
    if wants ~= (one.values ~= nil and one.values[1] ~= nil) then return false end
    for _, value in ipairs(one.values or {}) do
      if checks.label_value(value) then return false end
    end
  end
  return true
end

local function has(values, wanted)
  for _, value in ipairs(values or {}) do
    if value == wanted then return true end
  end
  return false
end

-- selector: nil matches nothing, an empty one all.
function M.matches(selector, labels)
  if not selector then return false end
  labels = labels or {}
  for name, value in next, selector.matchLabels or {} do
    if labels[name] ~= value then return false end
  end
  for _, one in ipairs(selector.matchExpressions or {}) do
    local value, operator = labels[one.key], one.operator
    local fits
    if operator == "In" then fits = value ~= nil and has(one.values, value)
    elseif operator == "NotIn" then fits = value == nil or not has(one.values, value)
    elseif operator == "Exists" then fits = value ~= nil
    else fits = value == nil end
    if not fits then return false end
  end
  return true
end

local function go_expressions(list)
  if not list or not list[1] then return "[]v1.LabelSelectorRequirement(nil)" end
  local parts = {}
  for i, one in ipairs(list) do
    parts[i] = ("v1.LabelSelectorRequirement{Key:%s, Operator:%s, Values:%s}"):format(checks.quote(one.key or ""),
      checks.quote(one.operator or ""), one.values and one.values[1] and checks.go_strings(one.values) or "[]string(nil)")
  end
  return "[]v1.LabelSelectorRequirement{" .. table.concat(parts, ", ") .. "}"
end

-- A selector as Go's %#v.
function M.shown(selector)
  if not selector then return json.null end
  return checks.verbatim(("v1.LabelSelector{MatchLabels:%s, MatchExpressions:%s}"):format(checks.go_map(selector.matchLabels),
    go_expressions(selector.matchExpressions)))
end

return M
