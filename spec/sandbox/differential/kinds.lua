-- What the generator knows of each kind: where it lives, what it can do, and what would be new in it.

local include = require "include"
local objects = include "spec/sandbox/differential/objects.lua"

-- path, plural, and what is special: cluster (no namespace), status, scale, custom (defined by a CRD: no strategic merge),
-- whole (no deletecollection), weight (how often a sequence is about it)
local ROWS = {
  { "ConfigMap", "/api/v1", "configmaps", weight = 3 },
  { "Secret", "/api/v1", "secrets", weight = 2 },
  { "Service", "/api/v1", "services", status = true, whole = true, weight = 3 },
  { "Deployment", "/apis/apps/v1", "deployments", status = true, scale = true, weight = 5 },
  { "ReplicaSet", "/apis/apps/v1", "replicasets", status = true, scale = true, weight = 2 },
  { "Pod", "/api/v1", "pods", status = true, weight = 3 },
  { "Ingress", "/apis/networking.k8s.io/v1", "ingresses", status = true, weight = 2 },
  { "Namespace", "/api/v1", "namespaces", cluster = true, status = true, whole = true, weight = 2 },
  { "ServiceAccount", "/api/v1", "serviceaccounts", weight = 2 },
  { "Lease", "/apis/coordination.k8s.io/v1", "leases", weight = 2 },
  { "Event", "/api/v1", "events", weight = 2 },
  { "ResourceQuota", "/api/v1", "resourcequotas", status = true, weight = 2 },
  { "Node", "/api/v1", "nodes", cluster = true, status = true, weight = 2 },
  { "Endpoints", "/api/v1", "endpoints", weight = 2 },
  { "PriorityClass", "/apis/scheduling.k8s.io/v1", "priorityclasses", cluster = true, weight = 2 },
  { "IngressClass", "/apis/networking.k8s.io/v1", "ingressclasses", cluster = true, weight = 2 },
  { "PhDeployment", "/apis/primehub.io/v1alpha1", "phdeployments", status = true, scale = true, custom = true, weight = 5 },
  { "PhGroup", "/apis/primehub.io/v1alpha1", "phgroups", status = true, custom = true, weight = 2 },
  { "InstanceType", "/apis/primehub.io/v1alpha1", "instancetypes", custom = true, weight = 2 },
  { "Widget", "/apis/test.moonphase.dev/v1", "widgets", status = true, scale = true, custom = true, weight = 3 },
  { "Gadget", "/apis/test.moonphase.dev/v1", "gadgets", cluster = true, custom = true, weight = 2 },
}

local M = { all = {}, by_kind = {} }

for _, row in ipairs(ROWS) do
  local kind = { kind = row[1], path = row[2], plural = row[3], cluster = row.cluster, status = row.status, scale = row.scale, custom = row.custom,
    whole = row.whole, weight = row.weight, api = row[2]:gsub("^/apis?/", ""), spec = objects[row[1]], new_status = objects.status[row[1]] }
  kind.api = row[2]:match("^/api/(.+)$") or row[2]:match("^/apis/(.+)$")
  M.all[#M.all + 1] = kind
  M.by_kind[kind.kind] = kind
end

-- The path of a kind's list or object; namespace nil: over all namespaces.
function M.url(kind, namespace, name, subresource)
  local scope = not kind.cluster and namespace and "/namespaces/" .. namespace or ""
  return kind.path .. scope .. "/" .. kind.plural .. (name and "/" .. name or "") .. (subresource and "/" .. subresource or "")
end

local function metadata(s, kind, name, namespace)
  local out = { name = name, labels = { seq = "@{p}q" } }
  if not kind.cluster then out.namespace = namespace end
  if s:chance(60) then out.labels.app = s:pick { "x", "y" } end
  if s:chance(20) then out.labels["example.com/tier"] = s:pick { "front", "" } end
  if s:chance(25) then out.annotations = { note = s:pick { "one", "two" } } end
  return out
end

-- A whole object. `stem` is the short name ("a", "b", "c") on which depends what cannot change.
function M.object(s, kind, stem, name, namespace)
  local out = kind.spec(s, stem)
  out.apiVersion, out.kind = kind.api, kind.kind
  out.metadata = metadata(s, kind, name, namespace)
  return out
end

return M
