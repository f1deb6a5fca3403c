-- POST: a new object, as k8s.io/apiserver's rest.BeforeCreate and the generic registry's Store.Create have it.

local common = require "sandbox.verbs.common"
local errors = require "sandbox.errors"

-- What the server fills in, the strategy's part, and the check. `object` is ours. -> nil | failure
local function prepare(w, kind, namespace, object, options)
  local metadata, strategy = object.metadata, kind.strategy or {}
  local failure = common.check_namespace(kind, metadata, namespace)
  if failure then return failure end
  metadata.deletionTimestamp, metadata.deletionGracePeriodSeconds = nil, nil
  if strategy.prepare_create then strategy.prepare_create(object, w, options) end
  metadata.creationTimestamp, metadata.uid = w:time(), w:uid()
  if (metadata.name == nil or metadata.name == "") and metadata.generateName and metadata.generateName ~= "" then
    metadata.name = metadata.generateName:sub(1, 58) .. w:suffix()
  end
  return common.invalid(kind, metadata.name, strategy.validate_create and strategy.validate_create(object, w, options))
end

local function store(w, kind, object, options)
  local metadata = object.metadata
  -- Quotas are asked last of all admission, and before anybody knows whether the name is taken: then it is counted all the same.
  if kind.namespaced and w:count("resourcequotas") > 0 then
    local words = require("sandbox.quota").admit(w, kind.id, metadata.namespace, object, options.dry_run)
    if words then return nil, errors.forbidden(kind, metadata.name, words) end
  end
  local version = common.version_of(metadata) -- what is no number is passed over
  if version and version ~= 0 and not options.dry_run then
    return nil, errors.failure(500, nil, "resourceVersion should not be set on objects to be created")
  end
  if not options.dry_run then metadata.resourceVersion = nil end
  local there = w:get(kind.id, common.scope(kind, metadata.namespace), metadata.name)
  if there then
    local failure = errors.already_exists(kind, metadata.name)
    if there.object.metadata.deletionTimestamp then failure.message = "object is being deleted: " .. failure.message end
    return nil, failure
  end
  local strategy = kind.strategy
  if strategy and strategy.to_storage then object = strategy.to_storage(object) end
  if options.dry_run then return common.unstored(object) end
  local record = w:put(kind.id, object)
  if strategy and strategy.stored then strategy.stored(record.object) end
  if strategy and strategy.after_create then strategy.after_create(record.object, w) end
  return record
end

-- From the object as it was decoded and defaulted (it becomes ours) to the record.
-- options.applied: its managed fields are set already. later: of common.type_later.
local function finish(w, kind, namespace, object, options, later)
  local strategy = kind.strategy
  local failure = strategy and strategy.refuse_create and strategy.refuse_create()
    or common.check_lifecycle(w, kind, namespace, object.metadata.name or object.metadata.generateName, true)
  if failure then return nil, failure end
  if later and later.manage then return nil, later.manage end
  if not options.applied then object = common.manage(w, kind, nil, object, options) end
  common.drop_twins(object.metadata)
  local review = { operation = "CREATE", kind = kind, namespace = namespace, name = object.metadata.name, object = object,
    options = options }
  object, failure = common.mutate(options, review, w)
  if not object then return nil, failure end
  failure = later and later.validate or prepare(w, kind, namespace, object, options)
  if failure then return nil, failure end
  review.object, review.name = object, object.metadata.name
  failure = common.admit(options, review)
  if failure then return nil, failure end
  return store(w, kind, object, options)
end

-- Create an object. options: manager, dry_run, admission, again (a function: `object` is ours and as common.clean would have it; this
-- reads it afresh). -> record | nil, failure
local function create(w, kind, namespace, object, options)
  options = options or {}
  if kind.strategy and kind.strategy.refuse_create then return nil, kind.strategy.refuse_create() end
  local failure, later = common.check_type(w, kind, object)
  if failure then return nil, failure end
  local new, why = common.clean(kind, object, options.again ~= nil)
  if not new then
    return nil, errors.bad_request(('%s in version "%s" cannot be handled as a %s: %s'):format(kind.kind, kind.version, kind.kind, why))
  end
  new.apiVersion, new.kind = common.api_version(kind), kind.kind
  common.drop_twins(new.metadata)
  return finish(w, kind, namespace, new, options, later)
end

return { create = create, finish = finish }
