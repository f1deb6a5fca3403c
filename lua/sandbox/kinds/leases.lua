-- Leases (coordination.k8s.io/v1). https://kubernetes.io/docs/concepts/architecture/leases/

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"

local strategy = { create_on_update = true }

function strategy.check(errs, object)
  local spec = object.spec or {}
  if spec.leaseDurationSeconds and spec.leaseDurationSeconds <= 0 then
    checks.invalid(errs, "spec.leaseDurationSeconds", spec.leaseDurationSeconds, "must be greater than 0")
  end
  if spec.leaseTransitions and spec.leaseTransitions < 0 then
    checks.invalid(errs, "spec.leaseTransitions", spec.leaseTransitions, "must to greater or equal than 0") -- so the server says
  end
end

function strategy.validate_create(object)
  local errs = meta.validate_create({}, object.metadata, true, checks.name_subdomain, false)
  strategy.check(errs, object)
  return errs
end

function strategy.validate_update(new, old)
  local errs = meta.validate_update({}, new.metadata, old.metadata, false)
  strategy.check(errs, new)
  return errs
end

local function row(object, w)
  return { object.metadata.name, object.spec and object.spec.holderIdentity or "", rows.age(object, w) }
end

return kinds.make { group = "coordination.k8s.io", kind = "Lease", plural = "leases", strategy = strategy, row = row }
