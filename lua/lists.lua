-- How lists of Kubernetes objects are compared and mended: the one table of list kinds and keys.
--
-- Server-side apply and strategic merge patch know these from the server's OpenAPI
-- (x-kubernetes-list-type, x-kubernetes-list-map-keys, x-kubernetes-patch-merge-key). A diff in
-- the operator must know the same, or it sees drift where there is none. spec/lifecycle/lists_spec.lua
-- holds this table against the OpenAPI document of a real server.
--
-- A path has no indices. keys: what identifies an entry for apply; merge: the one key that a
-- strategic merge patch uses; exact: an entry that nobody asked for is removed, because it would
-- stop or redirect a model; ordered: the order of entries has a meaning.

local M = {}

local POD = {
  ["containers"] = { keys = { "name" }, merge = "name", exact = true },
  ["initContainers"] = { keys = { "name" }, merge = "name", exact = true, ordered = true },
  ["containers.env"] = { keys = { "name" }, merge = "name", ordered = true },
  ["initContainers.env"] = { keys = { "name" }, merge = "name", ordered = true },
  ["containers.ports"] = { keys = { "containerPort", "protocol" }, merge = "containerPort" },
  ["initContainers.ports"] = { keys = { "containerPort", "protocol" }, merge = "containerPort" },
  ["containers.volumeMounts"] = { keys = { "mountPath" }, merge = "mountPath" },
  ["initContainers.volumeMounts"] = { keys = { "mountPath" }, merge = "mountPath" },
  ["volumes"] = { keys = { "name" }, merge = "name" },
  ["imagePullSecrets"] = { keys = { "name" }, merge = "name" },
  ["hostAliases"] = { keys = { "ip" }, merge = "ip" },
  ["topologySpreadConstraints"] = { keys = { "topologyKey", "whenUnsatisfiable" }, merge = "topologyKey" },
}

local META = {
  ["metadata.ownerReferences"] = { keys = { "uid" }, merge = "uid" },
}

-- Maps of which every key is ours: an added one is removed.
local EXACT_MAPS = {
  Deployment = { ["spec.template.spec.nodeSelector"] = true },
  Service = { ["spec.selector"] = true },
}

local SERVICE = {
  ["spec.ports"] = { keys = { "port", "protocol" }, merge = "port", exact = true },
}

local function under(prefix, rules, into)
  for path, rule in pairs(rules) do into[prefix .. path] = rule end
  return into
end

local KINDS = {
  Deployment = under("", META, under("spec.template.spec.", POD, {})),
  Service = under("", META, under("", SERVICE, {})),
}

-- The rule of the list at `path` in objects of `kind`; nil: the list is one value (atomic).
function M.rule(kind, path)
  return (KINDS[kind] or META)[path]
end

-- Lists directly in the map at `path` whose every entry is ours, though nobody wants one: {name = rule}; nil if there are none.
local EXACT_LISTS = { Deployment = { ["spec.template.spec"] = {
  initContainers = KINDS.Deployment["spec.template.spec.initContainers"] } } }

function M.exact_lists(kind, path)
  return EXACT_LISTS[kind] and EXACT_LISTS[kind][path]
end

-- Keys of a map that are ours also where we say nothing of them: a lock that nobody wants is taken off a route, whoever put it
-- on; and so is the snippet of PrimeHub's own operator, for which ingress-nginx refuses every change of the object.
local NGINX = "nginx.ingress.kubernetes.io/"
local OUR_KEYS = {
  Ingress = { ["metadata.annotations"] = { [NGINX .. "auth-type"] = true, [NGINX .. "auth-secret"] = true,
    [NGINX .. "auth-secret-type"] = true, [NGINX .. "auth-realm"] = true, [NGINX .. "configuration-snippet"] = true } },
}
local ALL = setmetatable({}, { __index = function() return true end })

-- Which keys of the map at `path` are ours though nobody wants them: a set; nil: none.
function M.our_keys(kind, path)
  if EXACT_MAPS[kind] and EXACT_MAPS[kind][path] then return ALL end
  return OUR_KEYS[kind] and OUR_KEYS[kind][path]
end

-- Every rule of a kind, for the specs.
function M.of(kind)
  return KINDS[kind] or META
end

-- Whether the value under this member name is a Kubernetes quantity (compared by value), told by
-- the map or field that holds it: resources.limits.cpu, emptyDir.sizeLimit, resourceFieldRef.divisor.
local QUANTITY_MAPS = { limits = true, requests = true, hard = true, capacity = true, overhead = true }
local QUANTITY_FIELDS = { sizeLimit = true, divisor = true }

function M.is_quantity(path)
  if path:find("metadata.", 1, true) then return false end -- names there are anybody's
  local parent, field = path:match("([^.]+)%.([^.]+)$")
  return QUANTITY_FIELDS[field or path] or QUANTITY_MAPS[parent] or false
end

-- Groups of custom resources that are called as if they were built in (https://gateway-api.sigs.k8s.io).
local CUSTOM = { ["gateway.networking.k8s.io"] = true, ["snapshot.storage.k8s.io"] = true, ["metrics.k8s.io"] = true }

-- Whether strategic merge patch exists for a kind (built-in kinds; custom resources have none).
function M.is_strategic(api_version)
  local group = api_version:match("^(.*)/") or ""
  if CUSTOM[group] then return false end
  return group == "" or not group:find(".", 1, true) or group:match("%.k8s%.io$") ~= nil
end

return M
