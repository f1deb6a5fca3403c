-- As much of RBAC as the lifecycle specs use, in front of the sandbox (which lets everybody do everything): Roles and RoleBindings of
-- a namespace, and users by token. It keeps the objects itself; only specs need it, so it is no part of the sandbox.
-- (https://kubernetes.io/docs/reference/access-authn-authz/rbac/)

local M = {}
M.__index = M

-- restricted: { token = user name }: who may do only what Roles say; every other token may do all.
function M.new(restricted)
  return setmetatable({ restricted = restricted, roles = {}, bindings = {} }, M)
end

local ROLES = "^/apis/rbac%.authorization%.k8s%.io/v1/namespaces/([^/]+)/(%a+)/?([^/]*)$"

local function answer(status, value)
  return { status = status, body = json.encode(value), content_type = "application/json" }
end

-- Create a Role or RoleBinding, or add to one by JSON patch ("add" to the end of a list of a rule).
local function keep(self, request, namespace, resource, name)
  local store = resource == "roles" and self.roles or self.bindings
  local body = assert(json.decode(request.body))
  if request.method == "POST" then
    store[namespace .. "/" .. body.metadata.name] = body
    return answer(201, body)
  end
  local role = store[namespace .. "/" .. name]
  for _, operation in ipairs(body) do
    local rule, list = operation.path:match("^/rules/(%d+)/(%a+)/%-$")
    assert(operation.op == "add" and rule, "rbac.lua only adds to a list of a rule")
    table.insert(role.rules[rule + 1][list], operation.value)
  end
  return answer(200, role)
end

-- { group, resource (with subresource), namespace, verb } of a request, or nil for a path that is no resource's.
local function attributes(request)
  local group, rest = "", request.path:match("^/api/v1/(.+)$")
  if not rest then group, rest = request.path:match("^/apis/([^/]+)/[^/]+/(.+)$") end
  if not rest then return nil end
  local namespace, inner = rest:match("^namespaces/([^/]+)/(.+)$")
  local resource, name, subresource = (inner or rest):match("^([^/]+)/?([^/]*)/?([^/]*)$")
  local verbs = { POST = "create", PUT = "update", PATCH = "patch", DELETE = "delete", GET = name ~= "" and "get" or "list" }
  local verb = verbs[request.method]
  if verb == "list" and request.query.watch then verb = "watch" end
  return { group = group, namespace = namespace or "", verb = verb, plain = resource,
    resource = subresource and subresource ~= "" and resource .. "/" .. subresource or resource }
end

local function has(list, value)
  for _, item in ipairs(list) do
    if item == value or item == "*" then return true end
  end
  return false
end

local function may(self, user, wanted)
  for key, binding in pairs(self.bindings) do
    local namespace = key:match("^[^/]+")
    local role = namespace == wanted.namespace and self.roles[namespace .. "/" .. binding.roleRef.name]
    if role and binding.subjects[1].name == user then
      for _, rule in ipairs(role.rules) do
        if has(rule.apiGroups, wanted.group) and has(rule.resources, wanted.resource) and has(rule.verbs, wanted.verb) then return true end
      end
    end
  end
  return false
end

-- The answer to a request that does not come through to the API, or nil.
function M:answer(request, authorization)
  local namespace, resource, name = request.path:match(ROLES)
  if namespace then return keep(self, request, namespace, resource, name) end
  local user = self.restricted[(authorization or ""):match("^Bearer (.+)$") or ""]
  local wanted = user and attributes(request)
  if not wanted or may(self, user, wanted) then return nil end
  local full = wanted.plain .. (wanted.group ~= "" and "." .. wanted.group or "")
  return answer(403, { kind = "Status", apiVersion = "v1", metadata = {}, status = "Failure", reason = "Forbidden", code = 403,
    details = { group = wanted.group ~= "" and wanted.group or nil, kind = wanted.plain },
    message = ('%s is forbidden: User "%s" cannot %s resource "%s" in API group "%s" in the namespace "%s"'):format(
      full, user, wanted.verb, wanted.resource, wanted.group, wanted.namespace) })
end

return M
