-- What moonphase asks of an API server, as rules of RBAC: what these policies need with these settings, and nothing else.
--
-- Policies name the kinds that they make and look at, so their rights follow from them, and a Role that somebody writes by hand is
-- wrong with the next edit. Here is one place that knows: `moonphase rbac` prints it, and a candidate that asks for a new kind is
-- held against it (reload/access.lua).
-- https://kubernetes.io/docs/reference/access-authn-authz/rbac/

local inputs = require "inputs"
local sorted = require "sorted"

local M = {}

-- Of the kinds that a declaration names, by what they are to it. A child is written by server-side apply, which is a patch, and a
-- create where there is none.
M.VERBS = {
  child = { "get", "list", "watch", "create", "patch", "delete" },
  watch = { "list", "watch" },
  input = { "list", "watch" },
  object = { "get", "list", "watch" },
}

local IN_ORDER = { "get", "list", "watch", "create", "update", "patch", "delete" }
local EVENTS = { api_version = "v1", resource = "events" }
local PODS = { api_version = "v1", resource = "pods" }
local SECRETS = { api_version = "v1", resource = "secrets" }
local CONFIG_MAPS = { api_version = "v1", resource = "configmaps" }
local LEASES = { api_version = "coordination.k8s.io/v1", resource = "leases" }
local WEBHOOKS = { api_version = "admissionregistration.k8s.io/v1", resource = "validatingwebhookconfigurations" }

M.CLUSTER = "" -- the scope of a rule for all namespaces

-- The API group of "apps/v1"; "" is the core's.
function M.group(api_version) return api_version:match("^(.-)/") or "" end

-- ---------------------------------------------------------------- collecting

local Rules = {}
Rules.__index = Rules

-- `verbs` on kind.resource (and `part` of it: "status") in this scope, on the object `name` alone if there is one.
function Rules:allow(scope, kind, verbs, part, name)
  local words = table.concat({ M.group(kind.api_version), kind.resource .. (part and "/" .. part or ""), name or "" }, " ")
  self[scope] = self[scope] or {}
  self[scope][words] = self[scope][words] or {}
  for _, verb in ipairs(verbs) do self[scope][words][verb] = true end
end

-- One that is made by us: creating cannot be bound to a name.
function Rules:allow_own(scope, kind, name, verbs)
  self:allow(scope, kind, { "create" })
  self:allow(scope, kind, verbs, nil, name)
end

local function verbs_of(set)
  local verbs = json.array {}
  for _, verb in ipairs(IN_ORDER) do
    if set[verb] then verbs[#verbs + 1] = verb end
  end
  return verbs
end

-- The rules of one scope as a Role has them: resources of one group on which the same is allowed stand together.
local function as_rules(allowed)
  local rules, of_words = json.array {}, {}
  for _, words in ipairs(sorted(allowed)) do
    local group, resource, name = words:match("^(%S*) (%S+) (%S*)$")
    local verbs = verbs_of(allowed[words])
    local key = group .. " " .. name .. " " .. table.concat(verbs, " ")
    local rule = of_words[key]
    if not rule then
      rule = { apiGroups = json.array { group }, resources = json.array {}, verbs = verbs, resourceNames = name ~= "" and json.array { name } or nil }
      of_words[key], rules[#rules + 1] = rule, rule
    end
    rule.resources[#rule.resources + 1] = resource
  end
  return rules
end

-- ---------------------------------------------------------------- what is asked for

local function allow_objects(rules, scope, declaration)
  rules:allow(scope, declaration.kind, M.VERBS.object)
  rules:allow(scope, declaration.kind, { "patch" }, "status")
  rules:allow(scope, declaration.kind, { "update" }, "finalizers") -- for blockOwnerDeletion, where OwnerReferencesPermissionEnforcement is on
  for _, kind in pairs(declaration.children) do rules:allow(scope, kind, M.VERBS.child) end
  for _, kind in pairs(declaration.watches) do rules:allow(scope, kind, M.VERBS.watch) end
  rules:allow(scope, EVENTS, { "get", "create", "patch" })
end

local function allow_inputs(rules, scopes, o)
  for _, input in pairs(o.declaration.inputs) do
    if not inputs.is_asked(input, o.settings) then
      local namespace = inputs.namespace(input, o.settings, o.own_namespace)
      for _, scope in ipairs(namespace and { namespace } or scopes) do rules:allow(scope, input, M.VERBS.input) end
    else
      local secret = inputs.server(input.http, o.settings).tokenSecret
      if type(secret) == "table" and (secret.name or "") ~= "" then rules:allow(o.own_namespace, SECRETS, { "get" }, nil, secret.name) end
    end
  end
end

local function allow_webhook(rules, o)
  local registration, start, groups = require "webhook.registration", require "webhook.start", require "webhook.groups"
  rules:allow_own(M.CLUSTER, WEBHOOKS, registration.name_in(o.own_namespace), { "get", "list", "watch", "update", "patch", "delete" })
  rules:allow_own(o.own_namespace, SECRETS, start.SECRET, { "get", "list", "watch", "patch" })
  rules:allow(inputs.catalogue(o.settings, o.own_namespace), groups.KIND, { "patch" }, "status")
end

-- options: {declaration (contract.declaration's), settings, namespaces (served; nil: all), own_namespace (the pod's), lease and last_good =
-- {namespace, name} of that Lease and that ConfigMap, or nil, webhook = bool}. {scope = {rules, as a Role has them}}; the scope is a
-- namespace, or M.CLUSTER.
function M.of(options)
  local rules, found = setmetatable({}, Rules), {}
  local scopes = options.namespaces or { M.CLUSTER }
  for _, scope in ipairs(scopes) do allow_objects(rules, scope, options.declaration) end
  allow_inputs(rules, scopes, options)
  rules:allow(options.own_namespace, EVENTS, { "get", "create", "patch" }) -- what became of a reload is told on our own pod
  rules:allow(options.own_namespace, PODS, { "get" })
  local lease = options.lease
  if lease then rules:allow_own(lease.namespace, LEASES, lease.name, { "get", "list", "watch", "patch" }) end
  local kept = options.last_good
  if kept then rules:allow_own(kept.namespace, CONFIG_MAPS, kept.name, { "get", "patch" }) end
  if options.webhook then allow_webhook(rules, options) end
  for scope, allowed in pairs(rules) do found[scope] = as_rules(allowed) end
  return found
end

return M
