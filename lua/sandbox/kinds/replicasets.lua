-- ReplicaSets (apps/v1). https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/replica-set-v1/

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"
local scale = require "sandbox.kinds.scale"
local selectors = require "sandbox.kinds.selectors"
local templates = require "sandbox.kinds.templates"

local strategy = { unconditional_update = true }

function strategy.default(object)
  local spec = object.spec
  if not spec then
    spec = {}
    object.spec = spec
  end
  if spec.replicas == nil then spec.replicas = 1 end
  templates.default(spec)
end

function strategy.prepare_create(object)
  object.status = { replicas = 0 }
  object.metadata.generation = 1
end

function strategy.prepare_update(new, old)
  new.status = old.status
  kinds.count_up(new, old, not json.equal(new.spec, old.spec))
end

function strategy.prepare_status(new, old)
  kinds.keep(new, old, "spec")
end

function strategy.check(errs, object)
  local spec = object.spec
  checks.not_negative(errs, "spec", "replicas", spec.replicas)
  checks.not_negative(errs, "spec", "minReadySeconds", spec.minReadySeconds)
  templates.check(errs, spec)
end

function strategy.validate_update(new, old)
  local errs = kinds.checked_anew(new, old, true, nil, strategy.check)
  strategy.check(errs, new)
  checks.unchanged(errs, "spec.selector", new.spec.selector, old.spec.selector, selectors.shown)
  return errs
end

function strategy.validate_status(new, old)
  local errs, status = kinds.update_meta(new, old), new.status or {}
  for _, name in ipairs { "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration" } do
    checks.not_negative(errs, "status", name, status[name])
  end
  local replicas, available, ready = status.replicas or 0, status.availableReplicas or 0, status.readyReplicas or 0
  local function most(name, value, limit, whose)
    if value > limit then checks.invalid(errs, "status." .. name, value, "cannot be greater than " .. whose) end
  end
  most("fullyLabeledReplicas", status.fullyLabeledReplicas or 0, replicas, "status.replicas")
  most("readyReplicas", ready, replicas, "status.replicas")
  most("availableReplicas", available, replicas, "status.replicas")
  most("availableReplicas", available, ready, "readyReplicas")
  return errs
end

local function row(object, w)
  local status, names, images = object.status or {}, rows.containers(object.spec.template.spec)
  return { object.metadata.name, object.spec.replicas or 0, status.replicas or 0, status.readyReplicas or 0, rows.age(object, w),
    names, images, rows.selector(object.spec.selector) }
end

return kinds.make { group = "apps", kind = "ReplicaSet", plural = "replicasets", short_names = { "rs" }, categories = { "all" },
  subresources = { status = true, scale = scale }, strategy = strategy, row = row }
