-- IngressClasses (networking.k8s.io), v1 and v1beta1, which do not differ.
-- (https://kubernetes.io/docs/concepts/services-networking/ingress/#ingress-class)

local checks = require "sandbox.kinds.checks"
local ingress = require "sandbox.kinds.ingress"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"

local M = {}

local LONGEST = 250

local function check_controller(errs, path, text)
  if text == "" then return checks.required(errs, path) end
  local host, rest = text:match("^([^/]+)/(.+)$")
  if not host then
    return checks.invalid(errs, path, text, 'must be a domain-prefixed path (such as "acme.io/foo")')
  end
  checks.report(errs, path, host, checks.dns_subdomain(host))
  if not rest:find("^[%w/%-._~%%!$&'()*+,;=:]+$") then
    checks.invalid(errs, path, rest, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')")
  end
end

local function check(errs, object)
  local spec = object.spec or {}
  local controller = spec.controller or ""
  if #controller > LONGEST then checks.too_long(errs, "spec.controller", LONGEST) end
  check_controller(errs, "spec.controller", controller)
  if spec.parameters then ingress.check_reference(errs, "spec.parameters", spec.parameters) end
end

local function row(object, w)
  local spec = object.spec or {}
  local parameters = spec.parameters
  local text = "<none>"
  if parameters then
    local group = parameters.apiGroup and parameters.apiGroup ~= json.null and parameters.apiGroup
    text = (parameters.kind or "") .. (group and "." .. group or "") .. "/" .. (parameters.name or "")
  end
  return { object.metadata.name, spec.controller or "", text, rows.age(object, w) }
end

-- The kind of a version.
function M.make(version)
  local strategy = { unconditional_update = true, check = check }
  function strategy.prepare_create(object) object.metadata.generation = 1 end
  function strategy.prepare_update(new, old)
    kinds.count_up(new, old, not json.equal(new.spec or {}, old.spec or {}))
  end
  function strategy.validate_update(new, old)
    local errs = kinds.update_meta(new, old)
    checks.unchanged(errs, "spec.controller", new.spec and new.spec.controller or "", old.spec and old.spec.controller or "")
    meta.validate_create(errs, new.metadata, false, checks.name_subdomain)
    check(errs, new)
    return errs
  end
  local kind = kinds.make { group = "networking.k8s.io", version = version, kind = "IngressClass", plural = "ingressclasses",
    namespaced = false, strategy = strategy, row = row }
  return kind
end

return M
