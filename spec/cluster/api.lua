-- Short words for what specs and `make run` ask of an API server: apply files, get, patch, delete, wait.

local M = {}
M.__index = M

local KINDS = {
  Namespace = { "/api/v1", "namespaces", cluster = true }, Node = { "/api/v1", "nodes", cluster = true },
  CustomResourceDefinition = { "/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", cluster = true },
  Pod = { "/api/v1", "pods" }, Service = { "/api/v1", "services" }, Secret = { "/api/v1", "secrets" },
  ConfigMap = { "/api/v1", "configmaps" }, Event = { "/api/v1", "events" }, ResourceQuota = { "/api/v1", "resourcequotas" },
  Deployment = { "/apis/apps/v1", "deployments" }, ReplicaSet = { "/apis/apps/v1", "replicasets" },
  Ingress = { "/apis/networking.k8s.io/v1", "ingresses" },
  ServiceAccount = { "/api/v1", "serviceaccounts" }, Role = { "/apis/rbac.authorization.k8s.io/v1", "roles" },
  RoleBinding = { "/apis/rbac.authorization.k8s.io/v1", "rolebindings" },
  ClusterRole = { "/apis/rbac.authorization.k8s.io/v1", "clusterroles", cluster = true },
  ClusterRoleBinding = { "/apis/rbac.authorization.k8s.io/v1", "clusterrolebindings", cluster = true },
  PhDeployment = { "/apis/primehub.io/v1alpha1", "phdeployments" }, PhGroup = { "/apis/primehub.io/v1alpha1", "phgroups" },
  Lease = { "/apis/coordination.k8s.io/v1", "leases" }, InstanceType = { "/apis/primehub.io/v1alpha1", "instancetypes" },
}

local PATCHES = { merge = "application/merge-patch+json", strategic = "application/strategic-merge-patch+json",
  json = "application/json-patch+json", apply = "application/apply-patch+yaml" }

function M.new(cluster)
  return setmetatable({ cluster = cluster }, M)
end

function M.path(kind, namespace, name)
  local k = assert(KINDS[kind], "specs know no kind " .. tostring(kind))
  local scope = not k.cluster and namespace and "/namespaces/" .. namespace or ""
  return k[1] .. scope .. "/" .. k[2] .. (name and "/" .. name or "")
end

-- (waits) The answer; raises unless its status is 2xx or one of `accept`.
function M:ask(request, accept)
  local answer, why = self.cluster:request(request)
  if not answer then error(("%s %s: %s"):format(request.method or "GET", request.path, why), 2) end
  if answer.status >= 300 and not (accept and accept[answer.status]) then
    error(("%s %s: %d %s: %s"):format(request.method or "GET", request.path, answer.status, answer.reason, answer.message), 2)
  end
  return answer
end

-- The object, or nil if there is none.
function M:get(kind, namespace, name)
  local answer = self:ask({ path = M.path(kind, namespace, name) }, { [404] = true })
  return answer.status == 200 and json.decode(answer.body) or nil
end

function M:list(kind, namespace, selector)
  return json.decode(self:ask({ path = M.path(kind, namespace), query = { labelSelector = selector } }).body).items
end

function M:create(object)
  return json.decode(self:ask { method = "POST", path = M.path(object.kind, object.metadata.namespace), body = object }.body)
end

-- Server-side apply under a manager of its own.
function M:apply(object, manager)
  return json.decode(self:ask { method = "PATCH", path = M.path(object.kind, object.metadata.namespace, object.metadata.name),
    query = { fieldManager = manager or "person", force = "true" }, content_type = PATCHES.apply, body = object }.body)
end

function M:patch(kind, namespace, name, style, body, subresource)
  return json.decode(self:ask { method = "PATCH", path = M.path(kind, namespace, name) .. (subresource and "/" .. subresource or ""),
    query = { fieldManager = "person" }, content_type = PATCHES[style], body = body }.body)
end

function M:delete(kind, namespace, name)
  return self:ask({ method = "DELETE", path = M.path(kind, namespace, name),
    body = { apiVersion = "v1", kind = "DeleteOptions", propagationPolicy = "Background" } }, { [404] = true })
end

-- Every document of a manifest file (or of a folder's files, sorted), as an array.
function M.manifests(path)
  local all, files = {}, { path }
  if fs.kind(path) == "directory" then
    files = {}
    for _, name in ipairs(assert(fs.list(path))) do
      if name:match("%.yaml$") then files[#files + 1] = path .. "/" .. name end
    end
  end
  for _, file in ipairs(files) do
    for _, document in ipairs(assert(yaml.decode(assert(fs.read(file)), file))) do all[#all + 1] = document end
  end
  return all
end

-- (waits) until test() gives something true, which is returned; raises with `what` after `seconds`.
function M.eventually(what, seconds, test)
  local deadline, last = loop.now() + seconds
  repeat
    local result, seen = test()
    if result then return result end
    last = seen
    loop.sleep(0.05)
  until loop.now() > deadline
  error(("%s: not so after %g s%s"):format(what, seconds, last ~= nil and "; last seen: "
    .. (type(last) == "table" and json.encode(last) or tostring(last)) or ""), 2)
end

-- (waits) Our CRDs, served.
function M:install_crds()
  for _, crd in ipairs(M.manifests("crds")) do
    if crd.kind == "CustomResourceDefinition" then self:apply(crd, "installer") end
  end
  M.eventually("the CRDs are served", 30, function()
    for _, kind in ipairs { "PhDeployment", "PhGroup", "InstanceType" } do
      local answer = self.cluster:request { path = M.path(kind) }
      if not answer or answer.status ~= 200 then return false end
    end
    return true
  end)
end

return M
