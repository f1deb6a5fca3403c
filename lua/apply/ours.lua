-- What makes a child ours: what we put on it when it is made, and what we look for before it is written.
--
-- A name alone proves nothing: a stranger's object may have it, and a forced apply would take that over. So every child
-- has its owner's reference and label and the digest of the policy that wrote it, and an object without them is left
-- alone.

local M = {}

M.DIGEST = "moonphase.primehub.io/policy" -- which policy changed this child last

-- One child as the host writes it: the policy's manifest with namespace, owner and parent label.
-- `owner` is {api_version, kind, name, uid, namespace}; label: the key of the parent's label.
function M.complete(manifest, owner, label)
  local child, meta = {}, {}
  for k, v in pairs(manifest) do child[k] = v end
  for k, v in pairs(manifest.metadata) do meta[k] = v end
  local labels = {}
  for k, v in pairs(meta.labels or {}) do labels[k] = v end
  labels[label] = owner.name
  meta.labels = labels
  meta.namespace = owner.namespace
  meta.ownerReferences = json.array { {
    apiVersion = owner.api_version, kind = owner.kind, name = owner.name, uid = owner.uid,
    controller = true, blockOwnerDeletion = true,
  } }
  child.metadata = meta
  return child
end

-- Nobody's object that bears our label and the digest of a policy of ours: we wrote it, and its owner reference was taken away.
local function bears_our_marks(live, child)
  local labels, annotations = live.metadata.labels, live.metadata.annotations
  if type(labels) ~= "table" or type(annotations) ~= "table" or annotations[M.DIGEST] == nil then return false end
  for name, value in pairs(child.metadata.labels) do
    if labels[name] ~= value then return false end
  end
  return true
end

-- Whose object this is: "ours", "another" (its controller is somebody else), or "stranger".
function M.ownership(live, owner_uid, child)
  local mine, controller = false, nil
  local references = live.metadata.ownerReferences
  for _, reference in ipairs(type(references) == "table" and references or {}) do
    if reference.uid == owner_uid then
      mine = true
    elseif reference.controller then
      controller = reference.uid
    end
  end
  if controller then return "another" end
  return (mine or bears_our_marks(live, child)) and "ours" or "stranger"
end

return M
