-- The scale subresource of Deployments and ReplicaSets: an autoscaling/v1 Scale in front of spec.replicas.
--
-- A table for kind.subresources.scale:
--   read(object) -> the Scale
--   apply(scale, object, kind) -> the object with its replicas (a copy) | nil, failure
-- (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/#http-request)

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"
local rows = require "sandbox.kinds.rows"

local M = {}

local KIND = { group = "autoscaling", version = "v1", kind = "Scale" }

function M.read(object)
  local about = object.metadata
  local replicas = object.spec.replicas or 0
  local selector = rows.selector(object.spec.selector)
  return {
    apiVersion = "autoscaling/v1", kind = "Scale",
    metadata = { name = about.name, namespace = about.namespace, uid = about.uid, resourceVersion = about.resourceVersion,
      creationTimestamp = about.creationTimestamp },
    spec = { replicas = replicas ~= 0 and replicas or nil },
    status = { replicas = object.status and object.status.replicas or 0, selector = selector ~= "" and selector or nil },
  }
end

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return setmetatable(new, getmetatable(t))
end

function M.apply(scale, object)
  local name = object.metadata.name
  local replicas = scale.spec and scale.spec.replicas or 0
  if replicas < 0 then
    local errs = {}
    checks.invalid(errs, "spec.replicas", replicas, checks.NOT_NEGATIVE)
    return nil, errors.invalid(KIND, name, errs)
  end
  local new = copy(object)
  new.spec = copy(object.spec)
  new.spec.replicas = replicas
  return new
end

return M
