-- The kinds that are there: the built-in ones, and those that CustomResourceDefinitions bring and take.
--
-- A built-in kind is the table that lua/sandbox/kinds/NAME.lua returns; a custom one is made by schema/crd.lua from its definition,
-- at once when the definition is written and established (the registry subscribes to the world) and again after a
-- restore. One kind has one resource id ("deployments.apps"); versions of one custom kind share their objects. Modules are loaded
-- when first asked for, so that starting costs little.

local M = {}
M.__index = M

-- Resource ids of what is built in, by group and version, with their files. The order is that of discovery.
local BUILT_IN = {
  { "", "v1", { "configmaps", "endpoints", "events", "namespaces", "nodes", "pods", "resourcequotas", "secrets", "serviceaccounts",
    "services" } },
  { "admissionregistration.k8s.io", "v1", { "mutatingwebhookconfigurations", "validatingwebhookconfigurations" } },
  { "apiextensions.k8s.io", "v1", { "customresourcedefinitions" } },
  { "apps", "v1", { "deployments", "replicasets" } },
  { "authentication.k8s.io", "v1", { "tokenreviews" } },
  { "authorization.k8s.io", "v1", { "localsubjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews" } },
  { "coordination.k8s.io", "v1", { "leases" } },
  { "networking.k8s.io", "v1", { "ingressclasses", "ingresses" } },
  { "networking.k8s.io", "v1beta1", { "ingressclasses", "ingresses" } },
  { "scheduling.k8s.io", "v1", { "priorityclasses" } },
}

local CRDS = "customresourcedefinitions.apiextensions.k8s.io"

local function path_of(group, version, plural)
  return group .. "/" .. version .. "/" .. plural
end

-- Schemas of built-in kinds are made on first need.
local LAZY = { __index = function(kind, name)
  if name ~= "schema" then return nil end
  local schema = require("sandbox.schema.builtin").node(kind.group, kind.version, kind.kind) or false
  rawset(kind, "schema", schema)
  return schema
end }

-- The module of a built-in kind, or nil when nobody wrote it yet. ingresses of v1beta1: kinds/ingresses_v1beta1.lua.
local function load_kind(group, version, plural)
  local name = "sandbox.kinds." .. plural .. (version ~= "v1" and "_" .. version or "")
  local found, kind = pcall(require, name)
  if not found then
    if type(kind) == "string" and kind:find('there is no module "' .. name .. '"', 1, true) then return nil end
    error(kind, 0)
  end
  if type(kind) ~= "table" then return nil end
  kind.id = kind.id or (group == "" and plural or plural .. "." .. group)
  kind.group, kind.version, kind.plural = kind.group or group, kind.version or version, kind.plural or plural
  return setmetatable(kind, LAZY)
end

local function add(self, kind)
  kind.api_version = kind.group == "" and kind.version or kind.group .. "/" .. kind.version
  self.by_path[path_of(kind.group, kind.version, kind.plural)] = kind
  self.kinds[kind.group .. "/" .. kind.version .. "/" .. kind.kind] = kind
  self.revision = self.revision + 1
end

local function drop(self, kind)
  self.by_path[path_of(kind.group, kind.version, kind.plural)] = nil
  self.kinds[kind.group .. "/" .. kind.version .. "/" .. kind.kind] = nil
  self.revision = self.revision + 1
end

-- What a definition brings now: an array of kinds, one for each served version.
local function kinds_of(definition)
  return require("sandbox.schema.crd").kinds(definition)
end

-- A definition was written or is gone.
local function follow(self, record, gone)
  local name = record.name
  for _, kind in ipairs(self.custom[name] or {}) do drop(self, kind) end
  self.custom[name] = nil
  if gone then return end
  local kinds = kinds_of(record.object)
  for _, kind in ipairs(kinds) do add(self, kind) end
  kinds.record = record
  self.custom[name] = kinds
end

function M.new(world)
  local self = setmetatable({ world = world, by_path = {}, kinds = {}, custom = {}, revision = 0 }, M)
  for _, entry in ipairs(BUILT_IN) do
    for _, plural in ipairs(entry[3]) do
      local kind = load_kind(entry[1], entry[2], plural)
      if kind then add(self, kind) end
    end
  end
  if world then
    world.registry = self
    self:refresh()
    world:subscribe(function(event, id)
      if id == CRDS then follow(self, event.record, event.type == "DELETED") end
    end)
  end
  return self
end

-- After a restore of the world: the custom kinds anew, as far as their definitions are others.
function M:refresh()
  local there = {}
  for _, record in ipairs(self.world:each(CRDS)) do
    there[record.name] = true
    local known = self.custom[record.name]
    if not known or known.record ~= record then follow(self, record) end
  end
  local gone = {}
  for name in pairs(self.custom) do
    if not there[name] then gone[#gone + 1] = name end
  end
  for _, name in ipairs(gone) do follow(self, { name = name }, true) end
end

-- By path: group "", "apps" ...; plural. -> kind | nil
function M:find(group, version, plural) return self.by_path[path_of(group, version, plural)] end

-- By apiVersion's two parts and kind. -> kind | nil
function M:by_kind(group, version, kind) return self.kinds[group .. "/" .. version .. "/" .. kind] end

-- By resource id: the kind of the version that is stored (or the first there is). -> kind | nil
function M:by_id(id)
  local plural, group = id:match("^([^.]+)%.?(.*)$")
  local found = self:find(group, "v1", plural)
  if found then return found end
  for _, kind in ipairs(self:all()) do
    if kind.id == id and (kind.storage or not found) then found = kind end
  end
  return found
end

-- All kinds, sorted by group, version, plural; not to be modified. `revision` tells when it changed.
function M:all()
  if self.sorted_at ~= self.revision then
    local all = {}
    for _, kind in pairs(self.by_path) do all[#all + 1] = kind end
    table.sort(all, function(a, b)
      if a.group ~= b.group then return a.group < b.group end
      if a.version ~= b.version then return a.version < b.version end
      return a.plural < b.plural
    end)
    self.sorted, self.sorted_at = all, self.revision
  end
  return self.sorted
end

return M
