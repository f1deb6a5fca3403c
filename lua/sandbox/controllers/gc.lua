-- The garbage collector: what its owners leave behind, by UID.
--
-- An object whose owners are all gone (absent, or another UID under that name) is deleted; one with an owner left loses the
-- references to the others. An owner that is deleted in the foreground waits for the dependents that block it, one that
-- orphans lets go of them first. https://kubernetes.io/docs/concepts/architecture/garbage-collection/

local common = require "sandbox.controllers.common"
local sorted = require "sorted"

local M = {}

local NONE = {}
local with = common.with

local function has_finalizer(object, name)
  for _, one in ipairs(object.metadata.finalizers or NONE) do
    if one == name then return true end
  end
  return false
end

local function is_waiting(object)
  return object.metadata.deletionTimestamp ~= nil and has_finalizer(object, "foregroundDeletion")
end

-- The record that a reference of an object in `namespace` means, or nil; second: its id. third: the kind is not known at all.
local function owner_of(c, reference, namespace)
  local group, version = (reference.apiVersion or ""):match("^(.*)/([^/]+)$")
  local kind = c.registry:by_kind(group or "", version or reference.apiVersion or "", reference.kind or "")
  if not kind then return nil, nil, true end
  local record = c.w:get(kind.id, kind.namespaced and namespace or "", reference.name or "")
  if record and record.uid == reference.uid then return record, kind.id end
  return nil, kind.id
end
M.owner_of = owner_of

-- "id/namespace/name"
function M.key(id, record) return id .. "/" .. record.namespace .. "/" .. record.name end

local function read(c, key)
  local id, namespace, name = key:match("^([^/]*)/([^/]*)/(.*)$")
  return c.w:get(id, namespace, name), id
end

local function without_owners(object, drop)
  local left = common.filter(object.metadata.ownerReferences, function(one) return not drop[one.uid] end)
  return with(object, { metadata = with(object.metadata, { ownerReferences = left[1] and left or common.ABSENT }) })
end

local function without_finalizer(object, name)
  local left = common.filter(object.metadata.finalizers, function(one) return one ~= name end)
  return with(object, { metadata = with(object.metadata, { finalizers = left[1] and left or common.ABSENT }) })
end

local function change(c, id, record, f)
  return c:modify(id, record.namespace, record.name, function(object)
    return object.metadata.uid == record.uid and f(object) or nil
  end) ~= nil
end

-- An owner in foreground deletion: its blocking dependents go first.
local function process_waiting(c, record, id)
  local blocking = false
  for _, one in ipairs(c.owners:dependents(record.uid)) do
    for _, reference in ipairs(one.record.object.metadata.ownerReferences or NONE) do
      if reference.uid == record.uid and reference.blockOwnerDeletion == true then
        blocking = true
        if not one.record.object.metadata.deletionTimestamp then c:pend("gc", M.key(one.id, one.record)) end
      end
    end
  end
  if blocking then return true end
  return change(c, id, record, function(object) return without_finalizer(object, "foregroundDeletion") end)
end

local function orphan_dependents(c, record, id)
  for _, one in ipairs(c.owners:dependents(record.uid)) do
    local done = change(c, one.id, one.record, function(object) return without_owners(object, { [record.uid] = true }) end)
    if not done then return false end
  end
  return change(c, id, record, function(object) return without_finalizer(object, "orphan") end)
end

-- Custom objects are noted when they go, as long as they have dependents: their kind may be gone too when those are looked at.
local function gone_cell(uid) return "gone/" .. uid end

-- References by the state of their owners.
local function classify(c, record)
  local solid, gone, waiting = {}, {}, {}
  for _, reference in ipairs(record.object.metadata.ownerReferences or NONE) do
    local owner, _, unknown = owner_of(c, reference, record.namespace)
    if unknown and not c.w.cell[gone_cell(reference.uid)] then return nil end
    local list = not owner and gone or is_waiting(owner.object) and waiting or solid
    list[#list + 1] = reference
  end
  return solid, gone, waiting
end

local function uids(...)
  local set = {}
  for _, list in ipairs { ... } do
    for _, reference in ipairs(list) do set[reference.uid] = true end
  end
  return set
end

-- One look at the object "id/namespace/name".
function M.sync(c, key)
  local record, id = read(c, key)
  if not record then return true end
  local object = record.object
  if object.metadata.deletionTimestamp then
    if has_finalizer(object, "orphan") then return orphan_dependents(c, record, id) end
    if is_waiting(object) then return process_waiting(c, record, id) end
    return true
  end
  if not (object.metadata.ownerReferences or NONE)[1] then return true end
  local solid, gone, waiting = classify(c, record)
  if not solid then return true end -- an owner of a kind that nobody knows is not known to be gone
  if solid[1] then
    if not gone[1] and not waiting[1] then return true end
    return change(c, id, record, function(one) return without_owners(one, uids(gone, waiting)) end)
  end
  local policy = "Background"
  if waiting[1] and c.owners:has_dependents(record.uid) or has_finalizer(object, "foregroundDeletion") then
    policy = "Foreground"
  elseif has_finalizer(object, "orphan") then
    policy = "Orphan"
  end
  local done, failure = c:delete(id, record.namespace, record.name, record.uid, nil, policy)
  return done ~= nil or failure.reason == "NotFound"
end

-- The pods of a node that is gone, deleted without grace: nobody is there to end them.
function M.sync_node(c, node)
  if c.w:get("nodes", "", node) then return true end
  local used = c.usage:of(node)
  for _, key in ipairs(sorted(used and used.keys)) do
    local record = c.w:get("pods", common.split(key))
    if record then c:delete("pods", record.namespace, record.name, record.uid, 0) end
  end
  return true
end

-- What a change of an object means for others; called for every change in the world.
function M.follow(c, event, id)
  local record, before = event.record, event.previous
  local metadata = record.object.metadata
  if event.type == "DELETED" then
    if c.owners:has_dependents(record.uid) then
      if (c:kind(id) or NONE).crd then c.w.cell[gone_cell(record.uid)] = true end
      for _, one in ipairs(c.owners:dependents(record.uid)) do c:pend("gc", M.key(one.id, one.record)) end
    end
  elseif metadata.deletionTimestamp then
    if (metadata.finalizers or NONE)[1] then c:pend("gc", M.key(id, record)) end
  elseif metadata.ownerReferences and (not before or before.object.metadata.ownerReferences ~= metadata.ownerReferences) then
    for _, reference in ipairs(metadata.ownerReferences) do
      local owner = owner_of(c, reference, record.namespace)
      if not owner or is_waiting(owner.object) then c:pend("gc", M.key(id, record)) end
    end
  end
  local references = before and before.object.metadata.ownerReferences
  if references and (event.type == "DELETED" or references ~= metadata.ownerReferences) then
    for _, reference in ipairs(references) do
      local cell = gone_cell(reference.uid)
      if c.w.cell[cell] and not c.owners:has_dependents(reference.uid) then c.w.cell[cell] = nil end
      local owner, owner_id = owner_of(c, reference, record.namespace)
      if owner and is_waiting(owner.object) then c:pend("gc", M.key(owner_id, owner)) end
    end
  end
end

return M
