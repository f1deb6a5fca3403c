-- The emptying of a namespace that goes away.
--
-- A namespace in deletion is emptied kind by kind; what is held back (a pod in its grace, a finalizer) shows in its conditions, and it
-- is looked at again when something in it goes. Then the finalizer "kubernetes" is taken off and it is gone.
-- https://kubernetes.io/docs/concepts/overview/working-with-objects/namespaces/

local common = require "sandbox.controllers.common"

local M = {}

local NONE = {}
local with = common.with
local ID = "namespaces"

-- reasons and messages when a condition is False, in the order in which the controller writes them
local FINE = {
  { "NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered" },
  { "NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed" },
  { "NamespaceDeletionContentFailure", "ContentDeleted",
    "All content successfully deleted, may be waiting on finalization" },
  { "NamespaceContentRemaining", "ContentRemoved", "All content successfully removed" },
  { "NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished" },
}

-- Delete all that is left in it. -> { {id, count} ... } of what stays, { [finalizer] = count }
local function empty(c, namespace)
  local left, finalizers = {}, {}
  for _, kind in ipairs(c.registry:all()) do
    if kind.namespaced and #c.w:each(kind.id, namespace) > 0 then
      for _, record in ipairs(table.move(c.w:each(kind.id, namespace), 1, #c.w:each(kind.id, namespace), 1, {})) do
        if not record.object.metadata.deletionTimestamp then
          c:delete(kind.id, namespace, record.name, record.uid, nil, "Background")
        end
      end
      local rest = c.w:each(kind.id, namespace)
      if #rest > 0 and not left[kind.id] then
        left[kind.id], left[#left + 1] = true, { kind.id, #rest }
        for _, record in ipairs(rest) do
          for _, finalizer in ipairs(record.object.metadata.finalizers or NONE) do
            finalizers[finalizer] = (finalizers[finalizer] or 0) + 1
          end
        end
      end
    end
  end
  return left, finalizers
end

local function sentence(head, parts)
  table.sort(parts)
  return head .. table.concat(parts, ", ")
end

local function conditions_of(object, left, finalizers, now)
  local trouble = {}
  if left[1] then
    local parts = {}
    for _, one in ipairs(left) do
      parts[#parts + 1] = ("%s has %d resource instances"):format(one[1]:find(".", 1, true) and one[1] or one[1] .. ".", one[2])
    end
    trouble.NamespaceContentRemaining = { "SomeResourcesRemain", sentence("Some resources are remaining: ", parts) }
    parts = {}
    for name, count in pairs(finalizers) do parts[#parts + 1] = ("%s in %d resource instances"):format(name, count) end
    if parts[1] then
      trouble.NamespaceFinalizersRemaining = { "SomeFinalizersRemain", sentence("Some content in the namespace has finalizers remaining: ",
        parts) }
    end
  end
  local list = json.array {}
  for index, one in ipairs(FINE) do
    local bad, known = trouble[one[1]], common.condition(object.status, one[1])
    local status = bad and "True" or "False"
    list[index] = { type = one[1], status = status, reason = bad and bad[1] or one[2], message = bad and bad[2] or one[3],
      lastTransitionTime = known and known.status == status and known.lastTransitionTime or now }
  end
  return list
end

local function finalize(c, name)
  local record = c:write(ID, "", name, function(object)
    local left = common.filter((object.spec or NONE).finalizers, function(one) return one ~= "kubernetes" end)
    return with(object, { spec = with(object.spec, { finalizers = left[1] and left or common.ABSENT }) })
  end)
  if record and c.w:get(ID, "", name) and not ((record.object.spec or NONE).finalizers or NONE)[1] then
    c:delete(ID, "", name, record.uid)
  end
  return true
end

-- One look at the namespace `name`.
function M.sync(c, name)
  local record = c.w:get(ID, "", name)
  if not record then return true end
  if not record.object.metadata.deletionTimestamp then return true end
  local left, finalizers = empty(c, name)
  c:write(ID, "", name, function(object)
    return with(object, { status = with(object.status, { conditions = conditions_of(object, left, finalizers, c.w:time()) }) })
  end)
  if not left[1] then return finalize(c, name) end
  return true
end

return M
