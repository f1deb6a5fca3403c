-- Groups and their quotas from a server that is asked by HTTP (quota.lua's `groups`, where the settings name one), in place of PhGroup
-- objects; with the same methods as groups.lua.
--
-- One question for all groups, asked again and again (inputs/http.lua). A pod of a group that the last answer names is judged by
-- the quota that it had, also while the server is silent; a group that it does not name is "missing" only as long as the
-- answer is good. Before the first answer nothing is known, and nothing is admitted.

local inputs = require "inputs"
local labels = require "policy.labels"

local M = {}
M.__index = M

-- What the mapping answered, as label -> groups; nil if it is no list of groups.
local function by_label(value)
  local list = type(value.groups) == "table" and value.groups
  if not list then return nil end
  local found = {}
  for _, group in ipairs(list) do
    if type(group) ~= "table" or type(group.name) ~= "string" then return nil end
    local label = labels.escape(group.name)
    found[label] = found[label] or {}
    table.insert(found[label], { key = group.name, name = group.name, label = label, id = group.id or group.name,
      quota = type(group.quota) == "table" and group.quota or {} })
  end
  return found
end

local function quota_of(groups, label)
  local list = groups[label]
  return list and { #list, list[1].quota } or nil
end

-- Tell of every label whose quota is another one.
local function tell(self, before, after)
  local told = {}
  for _, groups in ipairs { before, after } do
    for label in pairs(groups) do
      if not told[label] and not json.equal(quota_of(before, label) or json.null, quota_of(after, label) or json.null) then
        told[label] = true
        self.on_quota(label)
      end
    end
  end
end

-- What is known now. Cheap while nothing changed.
function M:look()
  local input, known = self.source:plain({ generation = self.generation(), settings = self.settings() }, self.declared)
  self.is_current = input.state == "found"
  if not known or not known.value or known.value == self.value then return end
  local groups = by_label(known.value)
  if not groups then return end
  local before = self.by_label
  self.value, self.by_label, self.known = known.value, groups, true
  tell(self, before, groups)
end

-- options: {declared (an HttpSource), settings = function(), generation = function(), cluster, namespace (of the operator), on_quota =
-- function(label): told at once, must not wait}
function M.start(options)
  local self = setmetatable({ declared = options.declared, settings = options.settings, generation = options.generation,
    on_quota = options.on_quota, by_label = {}, known = false }, M)
  self.source = inputs.source(options.declared, options.settings(), { cluster = options.cluster, namespace = options.namespace,
    on_answer = function() self:look() end })
  self:look()
  return self
end

-- {state, label, name, quota, objects} as quota.lua takes it.
function M:find(label)
  local list = self.by_label[label]
  local name = labels.unescape(label) or label
  if not list then return { state = self.is_current and "missing" or "unknown", label = label, name = name } end
  if #list > 1 then return { state = "ambiguous", label = label, objects = json.array { list[1].id, list[2].id } } end
  return { state = self.is_current and "found" or "unknown", label = label, name = list[1].name, quota = list[1].quota }
end

function M:synced() return self.known end

-- There are no objects whose status could be written.
function M.all() return {} end
function M.wrote() end

function M:stop() self.source:stop() end

return M
