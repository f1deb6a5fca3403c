-- What is here: /api, /apis and below, /version, and how the server is.
--
-- Clients learn from these answers which paths there are: nothing else tells kubectl that "deploy" is deployments of
-- apps/v1. Everything comes from the registry at the moment of asking, so a new CRD is found at once. Clients of today ask
-- for all of it in two answers ("aggregated discovery", KEP-3352); a 1.20 server has no such thing and they fall back, but
-- the one that simulates it can spare them forty requests.
--
-- answer(registry, request) -> { status, body, content_type } | nil if the path is none of these

local errors = require "sandbox.errors"
local media = require "sandbox.api.media"

local M = {}

local array = json.array

local VERSION = { major = "1", minor = "20", gitVersion = "v1.20.2", gitCommit = "faecb196815e248d3ecfb03c680a4507229c2a56",
  gitTreeState = "", buildDate = "1970-01-01T00:00:00Z", goVersion = "go1.19.8", compiler = "gc", platform = "linux/amd64" }
M.VERSION = VERSION

-- The order in which a real server lists its groups; others follow by name.
local ORDER = { "apps", "authentication.k8s.io", "authorization.k8s.io", "networking.k8s.io", "admissionregistration.k8s.io",
  "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io" }
local PLACE = {}
for i, group in ipairs(ORDER) do PLACE[group] = i end

local VERBS = array { "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch" }
local CHANGE = array { "get", "patch", "update" }

-- Subresources whose entries are not those of the kind itself.
local OTHERS = {
  scale = { group = "autoscaling", version = "v1", kind = "Scale", verbs = CHANGE },
  binding = { kind = "Binding", verbs = array { "create" } },
  eviction = { group = "policy", version = "v1beta1", kind = "Eviction", verbs = array { "create" } },
  token = { group = "authentication.k8s.io", version = "v1", kind = "TokenRequest", verbs = array { "create" } },
  log = { verbs = array { "get" } },
  finalize = { verbs = array { "update" } },
  exec = { kind = "PodExecOptions", verbs = array { "create", "get" } },
  attach = { kind = "PodAttachOptions", verbs = array { "create", "get" } },
  portforward = { kind = "PodPortForwardOptions", verbs = array { "create", "get" } },
}

-- ---- versions and hashes

-- "v1" before "v1beta2" before "v1alpha1" before what is no such version.
local function rank(version)
  local major, word, minor = version:match("^v(%d+)(%l*)(%d*)$")
  if not major or word ~= "" and word ~= "alpha" and word ~= "beta" or word == "" and minor ~= "" then return 0, 0, 0 end
  return word == "" and 3 or word == "beta" and 2 or 1, math.tointeger(major), math.tointeger(tonumber(minor) or 0)
end

-- Which of two versions do clients prefer? As k8s.io/apimachinery/pkg/version orders them.
function M.precedes(a, b)
  local a1, a2, a3 = rank(a)
  local b1, b2, b3 = rank(b)
  if a1 ~= b1 then return a1 > b1 end
  if a2 ~= b2 then return a2 > b2 end
  if a3 ~= b3 then return a3 > b3 end
  return a < b
end

local BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(bytes)
  local out = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local n = a << 16 | (b or 0) << 8 | (c or 0)
    for place, shift in ipairs { 18, 12, 6, 0 } do
      local known = place <= 2 or place == 3 and b or place == 4 and c
      local at = (n >> shift & 63) + 1
      out[#out + 1] = known and BASE64:sub(at, at) or "="
    end
  end
  return table.concat(out)
end

-- Groups whose objects a 1.20 server keeps in an older version than v1: their hash tells.
local STORED = { ["networking.k8s.io"] = "v1beta1", ["coordination.k8s.io"] = "v1beta1", ["apiextensions.k8s.io"] = "v1beta1",
  ["admissionregistration.k8s.io"] = "v1beta1" }

local hashes = {}

-- The first eight bytes of the SHA-256 of "group/version/kind" of what is stored.
local function storage_hash(kind)
  local text = kind.group .. "/" .. (kind.storage_version or STORED[kind.group] or kind.version) .. "/" .. kind.kind
  if not hashes[text] then
    hashes[text] = base64((digest.sha256(text):sub(1, 16):gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end)))
  end
  return hashes[text]
end

-- ---- the lists

local function subresources(kind)
  local names = {}
  for name, value in pairs(kind.subresources or {}) do
    if value then names[#names + 1] = name end
  end
  table.sort(names)
  if kind.crd and names[1] == "scale" and names[2] == "status" then names = { "status", "scale" } end
  return names
end

local function is_stored(kind)
  for _, verb in ipairs(kind.verbs or VERBS) do
    if verb == "list" then return true end
  end
  return false
end

local function texts(list)
  return list and #list > 0 and array { table.unpack(list) } or nil
end

local CUSTOM_VERBS = array { "delete", "deletecollection", "get", "list", "patch", "create", "update", "watch" }

local function verbs_of(kind)
  return kind.verbs and texts(kind.verbs) or kind.crd and CUSTOM_VERBS or VERBS
end

local function resources_of(kinds)
  local list = array {}
  for _, kind in ipairs(kinds) do
    list[#list + 1] = { name = kind.plural, singularName = kind.crd and kind.singular or "", namespaced = kind.namespaced == true,
      kind = kind.kind, verbs = verbs_of(kind), shortNames = texts(kind.short_names), categories = texts(kind.categories),
      storageVersionHash = is_stored(kind) and storage_hash(kind) or nil }
    for _, name in ipairs(subresources(kind)) do
      local other = OTHERS[name] or { verbs = CHANGE }
      list[#list + 1] = { name = kind.plural .. "/" .. name, singularName = "", namespaced = kind.namespaced == true,
        group = other.group, version = other.version, kind = other.kind or kind.kind, verbs = other.verbs }
    end
  end
  return list
end

-- { group, versions = { sorted }, kinds = { version = { kinds } } } of all groups, in order; made anew when the registry changed.
local function groups_of(registry)
  local kept = registry.discovery_groups
  if kept and kept.revision == registry.revision then return kept end
  local groups = { revision = registry.revision, by_name = {} }
  for _, kind in ipairs(registry:all()) do
    local group = groups.by_name[kind.group]
    if not group then
      group = { name = kind.group, versions = {}, kinds = {} }
      groups.by_name[kind.group] = group
      groups[#groups + 1] = group
    end
    if not group.kinds[kind.version] then
      group.kinds[kind.version] = {}
      group.versions[#group.versions + 1] = kind.version
    end
    table.insert(group.kinds[kind.version], kind)
  end
  for _, group in ipairs(groups) do table.sort(group.versions, M.precedes) end
  table.sort(groups, function(a, b)
    local first, second = PLACE[a.name] or 1000, PLACE[b.name] or 1000
    if first ~= second then return first < second end
    return a.name < b.name
  end)
  registry.discovery_groups = groups
  return groups
end

local function group_entry(group)
  local versions = array {}
  for i, version in ipairs(group.versions) do
    versions[i] = { groupVersion = group.name .. "/" .. version, version = version }
  end
  return { name = group.name, versions = versions, preferredVersion = versions[1] }
end

local function group_list(groups)
  local list = array {}
  for _, group in ipairs(groups) do
    if group.name ~= "" then list[#list + 1] = group_entry(group) end
  end
  return { kind = "APIGroupList", apiVersion = "v1", groups = list }
end

-- ---- aggregated

local function aggregated_resource(kind)
  local own = { group = kind.group, version = kind.version, kind = kind.kind }
  local entry = { resource = kind.plural, responseKind = own, scope = kind.namespaced and "Namespaced" or "Cluster",
    singularResource = kind.singular or kind.kind:lower(), verbs = verbs_of(kind), shortNames = texts(kind.short_names),
    categories = texts(kind.categories) }
  local inner = array {}
  for _, name in ipairs(subresources(kind)) do
    local other = OTHERS[name] or { verbs = CHANGE }
    local response = other.kind and { group = other.group or kind.group, version = other.version or kind.version, kind = other.kind }
    inner[#inner + 1] = { subresource = name, responseKind = response or own, verbs = other.verbs }
  end
  if #inner > 0 then entry.subresources = inner end
  return entry
end

local function aggregated_group(group)
  local versions = array {}
  for i, version in ipairs(group.versions) do
    local resources = array {}
    for j, kind in ipairs(group.kinds[version]) do resources[j] = aggregated_resource(kind) end
    versions[i] = { version = version, resources = resources, freshness = "Current" }
  end
  return { metadata = { creationTimestamp = json.null, name = group.name ~= "" and group.name or nil }, versions = versions }
end

local function aggregated(groups, path, version)
  local items = array {}
  for _, group in ipairs(groups) do
    if (group.name == "") == (path == "/api") then items[#items + 1] = aggregated_group(group) end
  end
  return { kind = "APIGroupDiscoveryList", apiVersion = "apidiscovery.k8s.io/" .. version, metadata = {}, items = items }
end

-- ---- how it is

local CHECKS = { "ping", "log", "etcd", "informer-sync", "poststarthook/start-kube-apiserver-admission-initializer",
  "poststarthook/generic-apiserver-start-informers", "poststarthook/start-apiextensions-informers",
  "poststarthook/start-apiextensions-controllers", "poststarthook/crd-informer-synced", "autoregister-completion", "shutdown" }
local HEALTH = { healthz = "healthz check passed\n", readyz = "readyz check passed\n", livez = "livez check passed\n" }

local function health(path, query)
  local which, one = path:match("^/(%l+)/?(.*)$")
  if not HEALTH[which] then return nil end
  if one ~= "" then
    for _, check in ipairs(CHECKS) do
      if check == one then return "ok" end
    end
    return nil
  end
  if not query or query.verbose == nil then return "ok" end
  local lines = {}
  for _, check in ipairs(CHECKS) do
    local only = check == "informer-sync" or check == "shutdown"
    if not only or which == "readyz" then lines[#lines + 1] = "[+]" .. check .. " ok\n" end
  end
  return table.concat(lines) .. HEALTH[which]
end

-- The paths that the root lists.
local function root(registry)
  local paths = array { "/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version" }
  for _, group in ipairs(groups_of(registry)) do
    local base = group.name == "" and "/api" or "/apis/" .. group.name
    if group.name ~= "" then paths[#paths + 1] = base end
    for _, version in ipairs(group.versions) do paths[#paths + 1] = base .. "/" .. version end
  end
  table.sort(paths)
  return { paths = paths }
end

-- ---- answers

local JSON = "application/json"
local TEXT = "text/plain; charset=utf-8"

-- Which form of the two aggregated lists does the client want before all others? "v2", "v2beta1" or nil.
local function wanted(accept)
  for range in (accept or ""):gmatch("[^,]+") do
    local is_aggregated = range:find("as=APIGroupDiscoveryList", 1, true) and range:find("g=apidiscovery.k8s.io", 1, true)
    local version = is_aggregated and range:match("v=(v2%w*)")
    if version == "v2" or version == "v2beta1" then return version end
    if not is_aggregated then return nil end
  end
end

local function refuse(failure)
  return { status = failure.code, body = json.encode(errors.status(failure)), content_type = JSON }
end

local function reply(value, accept)
  local form, failure = media.wanted(accept, {})
  if not form then return refuse(failure) end
  if form.format == "yaml" then return { status = 200, body = yaml.encode(value), content_type = "application/yaml" } end
  return { status = 200, body = json.encode(value), content_type = JSON }
end

-- A real server has no HEAD of these.
local function is_read(request) return request.method == "GET" end

local function version_of(request)
  if not is_read(request) then return refuse(errors.no_such_method()) end
  local form, failure = media.wanted(request.accept, {})
  if not form or form.format ~= "json" then
    return refuse(failure or errors.failure(406, "NotAcceptable", "406: Not Acceptable", {}))
  end
  return reply(VERSION)
end

local function of_group(registry, path)
  local groups = groups_of(registry)
  local name, version = path:match("^/apis/([^/]+)/?([^/]*)$")
  if path:match("^/api/[^/]+$") then name, version = "", path:match("[^/]+$") end
  local group = groups.by_name[name]
  if not group then return nil, name ~= "" end
  if version == "" then
    local entry = group_entry(group)
    entry.kind, entry.apiVersion = "APIGroup", "v1"
    return entry
  end
  if not group.kinds[version] then return nil end
  return { kind = "APIResourceList", apiVersion = name ~= "" and "v1" or nil, resources = resources_of(group.kinds[version]),
    groupVersion = name == "" and version or name .. "/" .. version }
end

-- The answer to a request { method, path, query, accept, host } for one of these paths, or nil for other paths. Only the
-- caller knows the host, which /api tells: "127.0.0.1:8080".
function M.answer(registry, request)
  local path = request.path
  local deep = path:match("^/apis?/.") and select(2, path:gsub("/+[^/]+", "")) > (path:find("^/api/") and 2 or 3)
  if deep then return nil end
  local text = health(path, request.query)
  if text then return { status = 200, body = text, content_type = TEXT } end
  if path == "/" then return reply(root(registry), request.accept) end
  if path == "/version" or path == "/version/" then return version_of(request) end
  local trimmed = #path > 1 and path:gsub("/$", "") or path
  if trimmed == "/api" or trimmed == "/apis" then
    local version = wanted(request.accept)
    if trimmed == "/api" and not is_read(request) then return refuse(errors.no_such_method()) end
    if version then
      return { status = 200, body = json.encode(aggregated(groups_of(registry), trimmed, version)),
        content_type = JSON .. ";g=apidiscovery.k8s.io;v=" .. version .. ";as=APIGroupDiscoveryList" }
    end
    if trimmed == "/apis" then return reply(group_list(groups_of(registry)), request.accept) end
    return reply({ kind = "APIVersions", versions = array { "v1" }, serverAddressByClientCIDRs =
      array { { clientCIDR = "0.0.0.0/0", serverAddress = request.host or "" } } }, request.accept)
  elseif not trimmed:find("^/apis?/") then
    return nil
  end
  local value, no_group = of_group(registry, trimmed)
  if no_group then return { status = 404, body = "404 page not found\n", content_type = TEXT } end
  if not value then return refuse(errors.no_such_path()) end
  -- Groups are answered by the aggregator, which does not look at the method; their versions are not.
  if value.kind == "APIResourceList" and not is_read(request) then return refuse(errors.no_such_method()) end
  return reply(value, request.accept)
end

return M
