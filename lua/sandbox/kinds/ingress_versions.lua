-- Ingresses of networking.k8s.io v1 and v1beta1: the same objects, written in two ways.
--
-- v1:      spec.defaultBackend, backend = { service = { name=, port = { number= | name= } } }
-- v1beta1: spec.backend,        backend = { serviceName=, servicePort=<number or name> }
-- Objects are kept in the version in which they were written last, and turned when the other is asked for; what both
-- share is shared, nothing is modified. (https://kubernetes.io/docs/reference/using-api/deprecation-guide/#ingress-v122)

local M = {}

M.V1, M.V1BETA1 = "networking.k8s.io/v1", "networking.k8s.io/v1beta1"

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return setmetatable(new, getmetatable(t))
end

local function backend_to_v1(backend)
  local new = copy(backend)
  new.serviceName, new.servicePort = nil, nil
  local name, port = backend.serviceName or "", backend.servicePort
  if name ~= "" or port and port ~= 0 and port ~= "" then
    new.service = { name = name, port = type(port) == "string" and { name = port } or { number = port ~= 0 and port or nil } }
  end
  return new
end

local function backend_to_beta(backend)
  local new = copy(backend)
  new.service = nil
  new.servicePort = 0
  local service = backend.service
  if service then
    local port = service.port or {}
    new.serviceName = service.name
    new.servicePort = (port.name or "") ~= "" and port.name or port.number or 0
  end
  return new
end

local function rules_with(rules, turn)
  local new = copy(rules)
  for i, rule in ipairs(rules) do
    if rule.http then
      new[i] = copy(rule)
      new[i].http = copy(rule.http)
      local paths = copy(rule.http.paths or json.array {})
      for j, path in ipairs(paths) do
        paths[j] = copy(path)
        paths[j].backend = turn(path.backend or {})
      end
      new[i].http.paths = paths
    end
  end
  return new
end

local function turned(object, version, from, to, turn)
  if object.apiVersion == version then return object end
  local new = copy(object)
  new.apiVersion = version
  local spec = object.spec
  if not spec then return new end
  new.spec = copy(spec)
  new.spec[from] = nil
  if spec[from] then new.spec[to] = turn(spec[from]) end
  if spec.rules then new.spec.rules = rules_with(spec.rules, turn) end
  return new
end

-- The object in that version; itself if it is.
function M.to_v1(object) return turned(object, M.V1, "backend", "defaultBackend", backend_to_v1) end

function M.to_beta(object) return turned(object, M.V1BETA1, "defaultBackend", "backend", backend_to_beta) end

return M
