-- The words that policies may use without asking for them: the globals of a policy state beside Lua's own
-- pure libraries, json, quantity, digest and base64. Everything here is a function of its arguments.

local invariants = require "moonphase.invariants"
local predicates = require "moonphase.predicates"
local rules = require "moonphase.rules"

local function kind_is_said(what, kind)
  for _, field in ipairs { "api_version", "kind", "resource" } do
    if type(kind) ~= "table" or type(kind[field]) ~= "string" then
      error(("the controller's %s has no `%s`"):format(what, field), 4)
    end
  end
end

-- controller { kind, label, children, watches, inputs, decide }: what policies/phdeployment.lua returns
-- (lua/types/policy.lua), checked for what the host needs of it.
local function controller(declaration)
  kind_is_said("kind", declaration.kind)
  if type(declaration.label) ~= "string" then error("the controller has no `label`", 2) end
  if type(declaration.decide) ~= "function" then error("the controller has no function `decide`", 2) end
  local check = declaration.check_settings
  if check ~= nil and type(check) ~= "function" then error("the controller's `check_settings` is no function", 2) end
  for _, group in ipairs { "children", "watches", "inputs" } do
    for name, kind in pairs(declaration[group] or {}) do
      local is_asked = group == "inputs" and type(kind) == "table" and kind.http ~= nil and kind.kind == nil -- of no kind: by HTTP alone
      if not is_asked then kind_is_said(group .. "." .. name, kind) end
      if group == "inputs" and (type(kind.by) ~= "string" or (type(kind.match) ~= "table" and not is_asked)) then
        error(("the controller's inputs.%s must say `by` (a path in the object) and `match` (paths in the input)"):format(name), 2)
      end
    end
  end
  return declaration
end

return {
  controller = controller,
  rules = rules.rules,
  phases = rules.phases,
  invariants = invariants.invariants,
  always = predicates.always,
  fact = predicates.fact,
  setting = predicates.setting,
  input = predicates.input,
  any_container = predicates.any_container,
  crashing = predicates.crashing,
  pod_condition = predicates.pod_condition,
  unschedulable = predicates.unschedulable,
  deployment_condition = predicates.deployment_condition,
  refused = predicates.refused,
  mount_failed = predicates.mount_failed,
  problem = predicates.problem,
  text = require "moonphase.text",
  time = require "moonphase.time",
  labels = require "moonphase.labels",
  resources = require "moonphase.resources",
}
