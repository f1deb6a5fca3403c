-- Pod templates: what Deployments and ReplicaSets have in common.

local checks = require "sandbox.kinds.checks"
local meta = require "sandbox.kinds.meta"
local podspec = require "sandbox.kinds.podspec"
local selectors = require "sandbox.kinds.selectors"

local M = {}

-- Defaults of spec.template, in place.
function M.default(spec)
  local template = spec.template
  if not template then
    template = {}
    spec.template = template
  end
  if not template.metadata then template.metadata = {} end
  if template.metadata.creationTimestamp == nil then template.metadata.creationTimestamp = json.null end
  if not template.spec then template.spec = {} end
  podspec.default(template.spec, false)
end

local function check_template(errs, path, template)
  local about = template.metadata or {}
  if about.labels then checks.labels(errs, path .. ".labels", about.labels) end
  meta.annotations(errs, path .. ".annotations", about.annotations)
  podspec.check(errs, path .. ".spec", template.spec or {})
  local ephemeral = template.spec and template.spec.ephemeralContainers
  if ephemeral and ephemeral[1] then
    checks.forbidden(errs, path .. ".spec.ephemeralContainers", "ephemeral containers not allowed in pod template")
  end
end

-- spec: of a Deployment or ReplicaSet.
function M.check(errs, spec)
  local selector, template = spec.selector, spec.template or {}
  if not selector then
    checks.required(errs, "spec.selector")
  else
    selectors.check(errs, "spec.selector", selector)
    if selectors.is_empty(selector) then
      checks.invalid(errs, "spec.selector", selectors.shown(selector), "empty selector is invalid for deployment")
    end
  end
  if selector and not selectors.is_usable(selector) then
    checks.invalid(errs, "spec.selector", selectors.shown(selector), "invalid label selector")
    return
  end
  if not (selector and selectors.is_empty(selector)) then
    local labels = template.metadata and template.metadata.labels
    if not selectors.matches(selector, labels) then
      checks.invalid(errs, "spec.template.metadata.labels", checks.verbatim(checks.go_map(labels)),
        "`selector` does not match template `labels`")
    end
  end
  check_template(errs, "spec.template", template)
  local pod = template.spec or {}
  if pod.restartPolicy ~= "Always" then
    checks.not_supported(errs, "spec.template.spec.restartPolicy", pod.restartPolicy or "", { "Always" })
  end
  if pod.activeDeadlineSeconds then
    checks.forbidden(errs, "spec.template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")
  end
end

return M
