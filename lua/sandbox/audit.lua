-- The audit log: one JSON line for every write, as a Kubernetes API server with a Metadata policy keeps it.
--
-- Specs count by it what an operator wrote; so it has the fields of audit.k8s.io/v1 Events (verb, requestURI, objectRef,
-- responseStatus ...) and, like those at level Metadata, no bodies.
-- (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/)

local route = require "sandbox.api.route"
local sorted = require "sorted"

local M = {}

local VERBS = { POST = "create", PUT = "update", PATCH = "patch", DELETE = "delete" }

local USER = { username = "admin", uid = "admin", groups = json.array { "system:masters", "system:authenticated" } }

-- Does a request belong in the log?
function M.is_write(method) return VERBS[method] ~= nil end

local function escape(text)
  return (text:gsub("[^%w%-%._~/]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- The path as it was asked for, with its query as it may have been (arguments by name).
local function uri(path, query)
  local parts = {}
  for i, name in ipairs(sorted(query)) do parts[i] = escape(name):gsub("/", "%%2F") .. "=" .. escape(query[name]):gsub("/", "%%2F") end
  return path:gsub("[^%%]+", escape) .. (#parts > 0 and "?" .. table.concat(parts, "&") or "")
end

-- { apiGroup, apiVersion, namespace, resource, name, subresource } of a path of the API, or nil.
local function object_of(sent)
  local path = route.decoded(sent)
  local group, version, rest = "", path:match("^/api/(v[^/]+)/(.+)$")
  if not version then group, version, rest = path:match("^/apis/([^/]+)/([^/]+)/(.+)$") end
  if not version then return nil end
  local ref = { apiGroup = group ~= "" and group or nil, apiVersion = version }
  local namespace, inner = rest:match("^namespaces/([^/]+)/([^/]+.*)$")
  if namespace and inner ~= "status" and inner ~= "finalize" then
    ref.namespace, rest = namespace, inner
  end
  local words = {}
  for word in rest:gmatch("[^/]+") do words[#words + 1] = word end
  ref.resource, ref.name, ref.subresource = words[1], words[2], words[3]
  if ref.resource == "namespaces" then ref.namespace = ref.name end
  return ref
end

local function time_text(ms)
  return os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000) .. (".%03d000Z"):format(ms % 1000)
end

-- The line (with its end) of a request { method, path, query, user_agent, received_ms } answered with this status at now_ms.
function M.line(request, status, id, now_ms)
  local ref = object_of(request.path)
  local verb = VERBS[request.method]
  if verb == "delete" and not (ref and ref.name) then verb = "deletecollection" end
  local at = time_text(now_ms)
  local as = request.header and request.header "impersonate-user"
  return json.encode { kind = "Event", apiVersion = "audit.k8s.io/v1", level = "Metadata", auditID = id, stage = "ResponseComplete",
    requestURI = uri(request.path, request.query), verb = verb, user = USER, impersonatedUser = as and { username = as } or nil,
    sourceIPs = json.array { "127.0.0.1" },
    userAgent = request.user_agent, objectRef = ref, responseStatus = { metadata = {}, code = status },
    requestReceivedTimestamp = time_text(request.received_ms or now_ms), stageTimestamp = at,
    annotations = { ["authorization.k8s.io/decision"] = "allow", ["authorization.k8s.io/reason"] = "" } } .. "\n"
end

return M
