-- Who belongs to whom: objects by the UIDs of their owners, and pods and ReplicaSets that nobody controls.
--
-- An index that follows the world (follower.lua). It only says where to look: what is handed out is read from the world.

local follower = require "sandbox.follower"

local M = {}
M.__index = M

local NONE = {}
local FREE = { pods = true, ["replicasets.apps"] = true }

local function is_controlled(references)
  for _, one in ipairs(references or NONE) do
    if one.controller == true then return true end
  end
  return false
end

-- entries: { [owner uid or "free/ID/NAMESPACE"] = { [id/namespace/name] = { id=, namespace=, name= } } }
local function put(self, at, path, entry)
  local entries = self.entries[at]
  if not entries then
    if not entry then return end
    entries = {}
    self.entries[at] = entries
  end
  entries[path] = entry
  if not entry and not next(entries) then self.entries[at] = nil end
end

local function place(self, id, record, entry)
  local references = record.object.metadata.ownerReferences
  local path = id .. "/" .. record.namespace .. "/" .. record.name
  for _, one in ipairs(references or NONE) do
    if type(one.uid) == "string" then put(self, one.uid, path, entry) end
  end
  if FREE[id] and not is_controlled(references) then put(self, "free/" .. id .. "/" .. record.namespace, path, entry) end
end

function M:reset() self.entries = {} end

function M:change(id, before, after)
  if before and after and before.object.metadata.ownerReferences == after.object.metadata.ownerReferences then return end
  local references = (before or after).object.metadata.ownerReferences
  if not references and not FREE[id] and not (after and after.object.metadata.ownerReferences) then return end
  if before then place(self, id, before, nil) end
  if after then place(self, id, after, { id = id, namespace = after.namespace, name = after.name }) end
end

function M.new(w)
  return follower.follow(setmetatable({ entries = {} }, M), w)
end

local function by_place(a, b)
  if a.id ~= b.id then return a.id < b.id end
  if a.record.namespace ~= b.record.namespace then return a.record.namespace < b.record.namespace end
  return a.record.name < b.record.name
end

local function read(self, at, id)
  follower.refresh(self)
  local found = {}
  for _, entry in pairs(self.entries[at] or NONE) do
    if not id or entry.id == id then
      local record = self.w:get(entry.id, entry.namespace, entry.name)
      if record then found[#found + 1] = { id = entry.id, record = record } end
    end
  end
  if #found > 1 then table.sort(found, by_place) end
  return found
end

-- Everything that names this UID among its owners, or only what is of kind `id`: sorted array of { id=, record= }.
function M:dependents(uid, id) return read(self, uid, id) end

-- Whether anything names this UID among its owners.
function M:has_dependents(uid)
  follower.refresh(self)
  return self.entries[uid] ~= nil
end

-- Objects of kind `id` in the namespace that the object with this UID controls, sorted by name.
function M:controlled(uid, id, namespace)
  local objects = {}
  for _, one in ipairs(read(self, uid, id)) do
    if one.record.namespace == namespace then
      for _, reference in ipairs(one.record.object.metadata.ownerReferences) do
        if reference.controller == true and reference.uid == uid then objects[#objects + 1] = one.record.object end
      end
    end
  end
  return objects
end

-- Pods or ReplicaSets in the namespace without a controller, sorted by name.
function M:free(id, namespace)
  local objects = {}
  for _, one in ipairs(read(self, "free/" .. id .. "/" .. namespace)) do objects[#objects + 1] = one.record.object end
  return objects
end

return M
