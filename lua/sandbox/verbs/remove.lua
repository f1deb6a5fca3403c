-- DELETE: at once, after a grace period (pods), when finalizers allow, or with the namespace's contents.
--
-- The rules are those of rest.BeforeDelete and Store.Delete (https://kubernetes.io/docs/concepts/architecture/garbage-collection/):
-- propagation becomes a finalizer ("orphan", "foregroundDeletion") that the garbage collector takes off.

local common = require "sandbox.verbs.common"
local errors = require "sandbox.errors"

local M = {}

local array = json.array

local IMMORTAL = { default = true, ["kube-system"] = true, ["kube-public"] = true }

-- A copy of the object with its own metadata, to be changed.
local function changed(object)
  local new, metadata = {}, {}
  for name, value in pairs(object) do new[name] = value end
  for name, value in pairs(object.metadata) do metadata[name] = value end
  new.metadata = metadata
  return new, metadata
end

-- Out of the world. -> its last record
function M.gone(w, kind, record)
  return w:remove(kind.id, record.namespace, record.name)
end

local function check_preconditions(kind, record, wanted)
  if not wanted then return nil end
  -- Ingresses began in another group, and this message still says so.
  local group = kind.id == "ingresses.networking.k8s.io" and "extensions" or kind.group
  local named = { id = kind.kind .. (group ~= "" and "." .. group or "") }
  if wanted.uid and wanted.uid ~= record.uid then
    return errors.conflict(named, record.name, ("the UID in the precondition (%s) does not match the UID in record (%s). "
      .. "The object might have been deleted and then recreated"):format(wanted.uid, record.uid))
  end
  local version = record.object.metadata.resourceVersion
  if wanted.resourceVersion and wanted.resourceVersion ~= version then
    return errors.conflict(named, record.name, ("the ResourceVersion in the precondition (%s) does not match the ResourceVersion "
      .. "in record (%s). The object might have been modified"):format(wanted.resourceVersion, version))
  end
end

-- What deletion leaves among the finalizers for the garbage collector: "orphan", "foreground" or neither.
local function propagation(kind, metadata, options)
  if kind.id == "events" then return nil end
  local policy = options.propagation
  if policy == "Orphan" or policy == "Foreground" then return policy end
  if policy == "Background" then return nil end
  for _, name in ipairs(metadata.finalizers or {}) do
    if name == "orphan" then return "Orphan" end
    if name == "foregroundDeletion" then return "Foreground" end
  end
end

-- The finalizers for that; nil when they stay as they are.
local function finalizers_for(kind, metadata, options)
  local wanted = propagation(kind, metadata, options)
  local list, had = array {}, {}
  for _, name in ipairs(metadata.finalizers or {}) do
    had[name] = true
    if name ~= "orphan" and name ~= "foregroundDeletion" then list[#list + 1] = name end
  end
  if wanted == "Orphan" then list[#list + 1] = "orphan" end
  if wanted == "Foreground" then list[#list + 1] = "foregroundDeletion" end
  if (had.orphan or false) == (wanted == "Orphan") and (had.foregroundDeletion or false) == (wanted == "Foreground") then return nil end
  return list
end

local function seconds_of(text)
  local year, month, day, hour, minute, second = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)")
  year, month = tonumber(year), tonumber(month)
  if month <= 2 then year, month = year - 1, month + 12 end
  return (365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + tonumber(day) - 719469) * 86400
    + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

local function bump(metadata)
  if (metadata.generation or 0) > 0 then metadata.generation = metadata.generation + 1 end
end

-- The grace period of a pod, in seconds.
function M.pod_grace(pod, options)
  local period = options.grace or pod.spec and pod.spec.terminationGracePeriodSeconds or 0
  local phase = pod.status and pod.status.phase
  local is_bound = pod.spec and pod.spec.nodeName and pod.spec.nodeName ~= ""
  if not is_bound or phase == "Failed" or phase == "Succeeded" then return 0 end
  return period
end

-- A pod's deletion begins, or its grace is shortened. -> "graceful" (metadata was changed) | "pending" | nil
local function begin_grace(w, object, metadata, options)
  if metadata.deletionTimestamp then
    local period = metadata.deletionGracePeriodSeconds
    if not period or period == 0 then return nil end
    if not options.grace or options.grace >= period then return "pending" end
    metadata.deletionTimestamp = w:time((seconds_of(metadata.deletionTimestamp) - period + options.grace) * 1000)
    metadata.deletionGracePeriodSeconds = options.grace
    return "graceful"
  end
  local period = M.pod_grace(object, options)
  metadata.deletionTimestamp = w:time(w:now() + period * 1000)
  metadata.deletionGracePeriodSeconds = period
  bump(metadata)
  return "graceful"
end

local function mark(w, metadata)
  if not metadata.deletionGracePeriodSeconds then bump(metadata) end
  local now = w:time()
  if not metadata.deletionTimestamp or metadata.deletionTimestamp > now then metadata.deletionTimestamp = now end
  metadata.deletionGracePeriodSeconds = 0
end

local function put(w, kind, record, new, options)
  if json.equal(new, record.object) and not record.unclean then return record end -- update.lua: what an apply left behind
  if options.dry_run then return common.unstored(new) end
  return w:put(kind.id, new)
end

-- -> record as it is now, whether it is gone | nil, failure
local function delete(w, kind, record, options)
  local new, metadata = changed(record.object)
  local grace = kind.id == "pods" and begin_grace(w, new, metadata, options) or nil
  if grace == "pending" then return record, false end
  local finalizers = finalizers_for(kind, metadata, options)
  if finalizers then metadata.finalizers = finalizers[1] and finalizers or nil end
  local is_held = metadata.finalizers and metadata.finalizers[1] ~= nil or false
  local before = record
  if grace or is_held or finalizers then
    -- The server's own slip: to take off the last finalizer it deletes at once, and only if the version is none.
    if not grace and not is_held and options.preconditions and options.preconditions.resourceVersion then
      return nil, common.broken_precondition(kind, record.namespace, record.name, "ResourceVersion", "", tostring(record.version))
    end
    -- So nobody sees it without: what goes is the object as it was. A dry run shows it.
    if not grace and is_held then mark(w, metadata) end
    if grace or is_held then record = put(w, kind, record, new, options) end
    if is_held or grace and metadata.deletionGracePeriodSeconds > 0 then return record, false end
  end
  if not options.dry_run then M.gone(w, kind, record) end
  if options.dry_run and finalizers then return common.unstored(new), true end
  return grace and record or before, true
end

-- A namespace turns Terminating first; the namespace controller empties it and takes the finalizer off.
local function delete_namespace(w, kind, record, options)
  local wanted = options.preconditions or {}
  local version = record.object.metadata.resourceVersion
  if wanted.uid and wanted.uid ~= record.uid then
    return nil, errors.conflict(kind, record.name, ("Precondition failed: UID in precondition: %s, UID in object meta: %s")
      :format(wanted.uid, record.uid))
  end
  if wanted.resourceVersion and wanted.resourceVersion ~= version then
    return nil, errors.conflict(kind, record.name, ("Precondition failed: ResourceVersion in precondition: %s, ResourceVersion in object "
      .. "meta: %s"):format(wanted.resourceVersion, version))
  end
  if not record.object.metadata.deletionTimestamp then
    local new, metadata = changed(record.object)
    metadata.deletionTimestamp = w:time()
    local finalizers = finalizers_for(kind, metadata, options)
    if finalizers then metadata.finalizers = finalizers[1] and finalizers or nil end
    local status = {}
    for name, value in pairs(new.status or {}) do status[name] = value end
    status.phase = "Terminating"
    new.status = status
    return put(w, kind, record, new, options), nil, false
  end
  local spec = record.object.spec
  if spec and spec.finalizers and spec.finalizers[1] then return record, nil, false end
  local last, is_gone = delete(w, kind, record, options)
  if not last then return nil, is_gone end
  return last, nil, is_gone
end

-- options: grace (seconds), propagation ("Orphan", "Foreground", "Background"), preconditions { uid=, resourceVersion= },
-- dry_run, admission. -> record (as it is or was last) | nil, failure; third result: true when it is gone.
function M.delete(w, kind, namespace, name, options)
  options = options or {}
  if kind.id == "namespaces" and IMMORTAL[name] then
    return nil, errors.forbidden(kind, name, "this namespace may not be deleted")
  end
  local scope = common.scope(kind, namespace)
  local record = w:get(kind.id, scope, name)
  if not record then return nil, errors.not_found(kind, name) end
  local failure = kind.id ~= "namespaces" and check_preconditions(kind, record, options.preconditions)
  if failure then return nil, failure end
  -- Who deletes a collection names no object, and the review of each names none either.
  failure = common.admit(options, { operation = "DELETE", kind = kind, namespace = namespace, name = options.is_collection and "" or name,
    old = record.object, options = options })
  if failure then return nil, failure end
  if w:get(kind.id, scope, name) ~= record then -- admission waited, and something happened meanwhile
    record = w:get(kind.id, scope, name)
    if not record then return nil, errors.not_found(kind, name) end
    failure = kind.id ~= "namespaces" and check_preconditions(kind, record, options.preconditions)
    if failure then return nil, failure end
  end
  if kind.id == "namespaces" then return delete_namespace(w, kind, record, options) end
  local begin = kind.strategy and kind.strategy.begin_delete
  local begun = begin and begin(record.object, w)
  if begun then return put(w, kind, record, begun, options), nil, false end
  local last, is_gone = delete(w, kind, record, options)
  if not last then return nil, is_gone end
  -- A Service takes its Endpoints with it, even while finalizers hold it: the server's registry does that, not a controller.
  if kind.id == "services" and not options.dry_run then
    local endpoints = w.registry and w.registry:find("", "v1", "endpoints")
    if endpoints then M.delete(w, endpoints, record.namespace, record.name) end -- if there are any, and as their finalizers let it
  end
  return last, nil, is_gone
end

return M
