-- Namespaces. https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"

local strategy = { unconditional_update = true, name = checks.name_label }

function strategy.default(object)
  local status = object.status or {}
  if (status.phase or "") == "" then status.phase = "Active" end
  object.status = status
end

function strategy.prepare_create(object)
  object.status = { phase = "Active" }
  local spec = object.spec or {}
  object.spec = spec
  local finalizers = spec.finalizers or json.array {}
  for _, name in ipairs(finalizers) do
    if name == "kubernetes" then return end
  end
  finalizers[#finalizers + 1] = "kubernetes"
  spec.finalizers = finalizers
end

function strategy.prepare_update(new, old)
  kinds.keep(new, old, "status")
  local finalizers = old.spec and old.spec.finalizers
  local spec = {}
  for name, value in next, new.spec or {} do spec[name] = value end
  spec.finalizers = finalizers
  new.spec = spec
end

function strategy.prepare_status(new, old)
  kinds.keep(new, old, "spec")
end

-- Of PUT namespaces/NAME/finalize, by which what holds a namespace lets go of it.
function strategy.prepare_finalize(new, old)
  kinds.keep(new, old, "status")
end

local function check_finalizers(errs, object)
  for _, name in ipairs(object.spec and object.spec.finalizers or {}) do
    checks.report(errs, "spec.finalizers", name, checks.qualified_name(name))
    if not name:find("/", 1, true) and name ~= "kubernetes" and name ~= "orphan" and name ~= "foregroundDeletion" then
      checks.invalid(errs, "spec.finalizers", name, "name is neither a standard finalizer name nor is it fully qualified")
    end
  end
end

strategy.check = check_finalizers

function strategy.validate_update(new, old)
  return kinds.checked_anew(new, old, false, strategy.name, check_finalizers)
end

function strategy.validate_status(new, old)
  local errs, phase = kinds.update_meta(new, old), new.status and new.status.phase
  if new.metadata.deletionTimestamp then
    if phase ~= "Terminating" then
      checks.invalid(errs, "status.Phase", phase or "", "may only be 'Terminating' if `deletionTimestamp` is not empty")
    end
  elseif phase ~= "Active" then
    checks.invalid(errs, "status.Phase", phase or "", "may only be 'Active' if `deletionTimestamp` is empty")
  end
  return errs
end

function strategy.validate_finalize(new, old)
  local errs = kinds.update_meta(new, old)
  check_finalizers(errs, new)
  return errs
end

strategy.fields = { ["status.phase"] = function(object) return object.status and object.status.phase or "" end }

local function row(object, w)
  return { object.metadata.name, object.status and object.status.phase or "", rows.age(object, w) }
end

return kinds.make { kind = "Namespace", plural = "namespaces", short_names = { "ns" }, namespaced = false,
  verbs = { "create", "delete", "get", "list", "patch", "update", "watch" }, subresources = { status = true, finalize = true },
  strategy = strategy, row = row }
