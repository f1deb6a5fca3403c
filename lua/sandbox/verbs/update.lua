-- PUT and the controllers' writes: another state of an object, as rest.BeforeUpdate and Store.Update have it.
--
-- options.review(new, old): what validating webhooks are shown in the object's place; those that change were asked by `produce` then.
--
-- put() is the one way in: `produce` makes the new object from the one that is stored. If admission waited
-- and the object changed meanwhile, it starts anew, as the server's loop around etcd does.

local common = require "sandbox.verbs.common"
local create = require "sandbox.verbs.create"
local errors = require "sandbox.errors"
local remove = require "sandbox.verbs.remove"
local view = require "sandbox.api.view"

local M = {}

-- Try as often as the server does when the object changes under an update.
local ATTEMPTS = 5

-- The registry of Services has an update of its own, which fills nothing in and looks at the version last.
local DIRECT = { services = true }

local function check_version(kind, name, metadata, record)
  local version, failure = common.version_of(metadata)
  if not version then return failure end
  if version == 0 then
    if DIRECT[kind.id] then return nil end
    if not (kind.strategy and kind.strategy.unconditional_update) then
      -- Like the server, this names the resource where others name the kind.
      return errors.invalid({ kind = kind.plural, group = kind.group }, name, { { field = "metadata.resourceVersion",
        type = "FieldValueInvalid", message = "Invalid value: 0x0: must be specified for an update" } })
    end
  elseif version ~= record.version then
    return errors.modified(kind, name)
  end
end

-- What an update never changes, the strategy's part, and the check. `new` is ours. -> nil | failure
local function prepare(w, kind, namespace, new, old, options, lost)
  local metadata, before, strategy = new.metadata, old.metadata, kind.strategy or {}
  local failure = common.check_namespace(kind, metadata, namespace)
  if failure then return failure end
  if not DIRECT[kind.id] then metadata.resourceVersion = before.resourceVersion end
  metadata.generation = before.generation
  local step = options.subresource or "update"
  local change = strategy["prepare_" .. step] or strategy.prepare_update
  if change then change(new, old, w, lost) end
  metadata = new.metadata -- some strategies take the old one's
  if metadata.uid == nil or metadata.uid == "" then metadata.uid = before.uid end
  metadata.creationTimestamp = before.creationTimestamp
  if before.deletionTimestamp then metadata.deletionTimestamp = before.deletionTimestamp end
  if metadata.deletionGracePeriodSeconds == nil then metadata.deletionGracePeriodSeconds = before.deletionGracePeriodSeconds end
  local check = strategy["validate_" .. step] or strategy.validate_update
  return common.invalid(kind, metadata.name, check and check(new, old, w, options))
end

local function is_deleted_by(kind, new, old)
  local metadata = new.metadata
  if metadata.finalizers and metadata.finalizers[1] then return false end
  if kind.id == "namespaces" then
    return metadata.deletionTimestamp ~= nil and not (new.spec and new.spec.finalizers and new.spec.finalizers[1])
  end
  return old.metadata.deletionGracePeriodSeconds == 0
end

-- Whether an object says what the stored one says. What is the same outside of metadata it shares with it from now on: then
-- nobody compares it again, or writes its text.
local function is_same(new, old)
  local same = true
  for name, value in next, new do
    local was = old[name]
    if value ~= was then
      if type(value) == "table" and name ~= "metadata" and json.equal(value, was) then
        new[name] = was
      else
        same = same and name == "metadata" and json.equal(value, was)
      end
    end
  end
  for name in next, old do same = same and new[name] ~= nil end
  return same
end

-- A value with all that an apply brought of it.
local function whole(clean, brought)
  if type(clean) ~= "table" or type(brought) ~= "table" then
    if clean == nil then return brought end
    return clean
  end
  local copy = setmetatable({}, getmetatable(clean))
  for name, value in pairs(clean) do copy[name] = value end
  for name, value in pairs(brought) do copy[name] = whole(clean[name], value) end
  return copy
end

local function store(w, kind, record, new, options, lost)
  if is_deleted_by(kind, new, record.object) then
    if not options.dry_run then remove.gone(w, kind, record) end
    if not lost then return common.unstored(new) end
    local shown = whole(new, lost) -- it is never read back from a store, where it would be pruned
    shown.metadata = new.metadata
    if kind.subresources and kind.subresources.status then shown.status = new.status end
    return common.unstored(shown)
  end
  if kind.strategy and kind.strategy.to_storage then new = kind.strategy.to_storage(new) end
  -- A server keeps what an apply brought and the schema does not know, shows it to nobody, and loses it at the next write: that one
  -- counts as a change (record.unclean).
  if is_same(new, record.object) and not record.unclean then return record end
  if options.dry_run then return common.unstored(new) end
  local stored = w:put(kind.id, new)
  if kind.strategy and kind.strategy.stored then kind.strategy.stored(stored.object) end
  return stored
end

-- One attempt. -> record | nil, failure, again; created
local function attempt(w, kind, namespace, name, options, produce)
  local scope = common.scope(kind, namespace)
  local record = w:get(kind.id, scope, name)
  local new, failure, later, lost = produce(record)
  if not new then return nil, failure end
  if not record then
    -- The server's registry of Services lets a status write create.
    local creates = options.create or kind.strategy and kind.strategy.create_on_update
      or kind.id == "services" and options.subresource == "status"
    if not creates then return nil, errors.not_found(kind, name) end
    local _, unreadable = common.version_of(new.metadata)
    if unreadable and not DIRECT[kind.id] then return nil, unreadable end
    if not options.dry_run then new.metadata.resourceVersion = nil end
    local created, refused = create.finish(w, kind, namespace, new, options, later)
    if created then created.unclean = lost end
    return created, refused, false, created ~= nil
  end
  local live = view.object(kind, record)
  if later and later.manage then return nil, later.manage end
  if not options.applied then new = common.manage(w, kind, live, new, options) end
  common.drop_twins(new.metadata)
  local review = { operation = "UPDATE", kind = kind, namespace = namespace, name = name, object = new, old = live,
    options = options }
  if not options.review then
    new, failure = common.mutate(options, review, w)
    if not new then return nil, failure end
  end
  local is_direct = DIRECT[kind.id]
  failure = not is_direct and check_version(kind, name, new.metadata, record)
    or later and options.subresource ~= "status" and later.validate -- a status write takes the stored object's type
    or prepare(w, kind, namespace, new, live, options, lost) or is_direct and check_version(kind, name, new.metadata, record)
  if failure then return nil, failure end
  review.object = new
  failure = common.admit(options, options.review and options.review(new, live) or review)
  if failure then return nil, failure end
  if w:get(kind.id, scope, name) ~= record then return nil, errors.modified(kind, name), true end
  local stored
  stored, failure = store(w, kind, record, new, options, lost)
  if stored and stored ~= record then stored.unclean = lost end
  return stored, failure
end

-- produce(record|nil) -> a fresh, clean object | nil, failure; third: what common.type_later has to say; fourth: what the server
-- would keep of some parts and not show, {name = part}, or nil.
-- -> record | nil, failure; third: true if it was created
function M.put(w, kind, namespace, name, options, produce)
  for _ = 1, ATTEMPTS do
    local record, failure, again, created = attempt(w, kind, namespace, name, options, produce)
    if record or not again then return record, failure, created end
  end
  return nil, errors.modified(kind, name)
end

-- An update's own precondition: a uid that it names.
local function check_uid(kind, namespace, name, uid, record, options)
  local is_direct = DIRECT[kind.id] and options.subresource ~= "status"
  if uid == nil or uid == "" or record and uid == record.uid or is_direct then return nil end
  return common.broken_precondition(kind, namespace, name, "UID", uid, record and record.uid or "", options.dry_run)
end

-- Write an object in place of the stored one. options: subresource, manager, dry_run, admission, again (see create).
function M.update(w, kind, namespace, name, object, options)
  options = options or {}
  local failure, later = common.check_type(w, kind, object)
  if failure then return nil, failure end
  local first, why = common.clean(kind, object, options.again ~= nil)
  if not first then
    return nil, errors.bad_request(('%s in version "%s" cannot be handled as a %s: %s'):format(kind.kind, kind.version, kind.kind, why))
  end
  first.apiVersion, first.kind = common.api_version(kind), kind.kind
  common.drop_twins(first.metadata)
  failure = common.check_name(first.metadata, common.path_namespace(kind, namespace, name), name)
  if failure then return nil, failure end
  local uid = first.metadata.uid
  return M.put(w, kind, namespace, name, options, function(record)
    local refused = check_uid(kind, namespace, name, uid, record, options)
    if refused then return nil, refused end
    local new = first
    first = nil
    if not new then -- a second attempt: the first one's object was ours to change
      new = common.clean(kind, options.again and options.again() or object, options.again ~= nil)
      new.apiVersion, new.kind = common.api_version(kind), kind.kind
    end
    return new, nil, later
  end)
end

return M
