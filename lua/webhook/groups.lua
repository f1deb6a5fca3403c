-- Groups by the label that their pods carry, and their quotas.
--
-- A pod names its group by the escaped name (lua/policy/labels.lua), which may be a digest: it cannot be turned back for certain. So
-- the names of all groups are turned into labels instead, and looked up. Two groups with one name are an error on both.
-- A catalogue that falls silent goes on answering with what it said last; one that never answered is "unknown".

local informers = require "informers"
local labels = require "policy.labels"

local M = {}
M.__index = M

-- What of a PhGroup is looked at.
local GROUP = { api_version = "primehub.io/v1alpha1", kind = "PhGroup", resource = "phgroups", keep = {
  "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion", "metadata.generation", "spec.id", "spec.name",
  "spec.quota", "status.used", "status.deployments", "status.observedGeneration" } }
M.KIND = GROUP

local function put(self, key, group)
  local old = self.by_key[key]
  if old then
    local list = self.by_label[old.label]
    for i, one in ipairs(list) do
      if one == old then table.remove(list, i) break end
    end
    if #list == 0 then self.by_label[old.label] = nil end
  end
  self.by_key[key] = group
  if not group then return end
  local list = self.by_label[group.label] or {}
  list[#list + 1] = group
  self.by_label[group.label] = list
end

local function read(self, key)
  local object = self.informers:read(key)
  if not object then return nil end
  local spec = type(object.spec) == "table" and object.spec or {}
  local name = type(spec.name) == "string" and spec.name or object.metadata.name
  return { key = key, name = name, id = spec.id or object.metadata.name, label = labels.escape(name),
    quota = type(spec.quota) == "table" and spec.quota or nil, metadata = object.metadata,
    status = type(object.status) == "table" and object.status or {} }
end

local function changed(self, key)
  local old = self.by_key[key]
  local new = read(self, key)
  put(self, key, new)
  local quota_changed = not (old and new and json.equal(old.quota or {}, new.quota or {}) and old.label == new.label)
  if quota_changed then
    if old then self.on_quota(old.label) end
    if new then self.on_quota(new.label) end
  end
  if new then self.on_group(new) end
end

-- options: {cluster, namespace, on_quota = function(label), on_group = function(group), on_trouble}: told at once, must not wait.
function M.start(options)
  local self = setmetatable({ by_key = {}, by_label = {}, on_quota = options.on_quota, on_group = options.on_group }, M)
  local waiting = {} -- changes that come before there is anything to read them from
  self.informers = nil
  local started = informers.start(options.cluster, GROUP, { options.namespace }, { on_trouble = options.on_trouble,
    on_change = function(key)
      if self.informers then changed(self, key) else waiting[#waiting + 1] = key end
    end })
  self.informers = started
  for _, key in ipairs(waiting) do changed(self, key) end
  return self
end

-- {state, label, name, quota, objects} as quota.lua takes it.
function M:find(label)
  local list = self.by_label[label]
  if not list then
    return { state = self.informers:synced() and "missing" or "unknown", label = label, name = labels.unescape(label) or label }
  end
  if #list > 1 then
    local names = {}
    for i, group in ipairs(list) do names[i] = group.key end
    table.sort(names)
    return { state = "ambiguous", label = label, objects = json.array(names) }
  end
  return { state = "found", label = label, name = list[1].name, quota = list[1].quota }
end

function M:synced()
  return self.informers:synced()
end

function M:all()
  return self.by_key
end

-- The answer of a write, so that readers see it before the watch does.
function M:wrote(key, body)
  self.informers:of(key):wrote(body)
  changed(self, key)
end

function M:stop()
  self.informers:stop()
end

return M
