-- The scale subresource: an autoscaling/v1 Scale in front of the object's replicas.
--
-- A kind brings { read, apply } (kinds/scale.lua; schema/custom.lua for custom ones, by the paths that their definition names).
-- read(object) -> Scale, failure: a failure with a Scale is one that a write may mend.
-- (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#scale-subresource)

local builtin = require "sandbox.schema.builtin"
local checks = require "sandbox.kinds.checks"
local common = require "sandbox.verbs.common"
local decode = require "sandbox.schema.decode"
local errors = require "sandbox.errors"
local go_text = require "sandbox.go_text"
local meta = require "sandbox.kinds.meta"
local patch = require "sandbox.verbs.patch"
local update = require "sandbox.verbs.update"

local M = {}

-- What replicas are that nobody has set: a write must say what they are to be.
local UNSET = -2147483648

M.KIND = { kind = "Scale", group = "autoscaling", version = "v1", id = "scales.autoscaling" }

-- A Scale as its type has it. is_patch: the words are those for the outcome of a patch. -> Scale | nil, failure
function M.decode(w, value, is_patch)
  local why = common.type_trouble(w, M.KIND, value)
  local clean
  if not why then clean, why = decode.check(builtin.node("autoscaling", "v1", "Scale"), value) end
  if clean then
    clean.apiVersion, clean.kind, clean.metadata = "autoscaling/v1", "Scale", clean.metadata or {}
    return clean
  end
  if is_patch then
    return nil, errors.invalid({ kind = "", group = "" }, "", { { field = "patch", type = "FieldValueInvalid",
      message = ("Invalid value: %s: %s"):format(go_text.quote(json.encode(value)), why) } })
  end
  local version = type(value.apiVersion) == "string" and value.apiVersion:match("([^/]+)$") or "v1"
  return nil, errors.bad_request(('%s in version "%s" cannot be handled as a Scale: %s')
    :format(type(value.kind) == "string" and value.kind or "Scale", version, why))
end

-- What an apply makes of a Scale. Who manages it is forgotten each time. -> Scale | nil, failure
function M.merged(w, scale, config, options)
  local kind = setmetatable({ schema = builtin.node("autoscaling", "v1", "Scale") }, { __index = M.KIND })
  local new, failure = patch.merged(w, kind, scale, config, options)
  if not new then return nil, failure end
  new.metadata.managedFields = nil
  return M.decode(w, new, true)
end

local function subresource_of(kind)
  local scale = kind.subresources and kind.subresources.scale
  return type(scale) == "table" and scale or nil
end

-- Whether the kind has one.
function M.has(kind) return subresource_of(kind) ~= nil end

-- -> the Scale of a record | nil, failure
function M.read(kind, record)
  local scale, failure = subresource_of(kind).read(record.object)
  if failure then return nil, failure end
  return scale
end

-- What the server of built-in kinds looks at in a Scale: all of its metadata, and that it is of this object.
local function check_plain(kind, name, scale, record)
  local errs, about = {}, scale.metadata
  meta.validate_create(errs, about, true, checks.name_subdomain)
  local replicas, uid = scale.spec and scale.spec.replicas or 0, about.uid or ""
  if replicas < 0 then checks.invalid(errs, "spec.replicas", replicas, checks.NOT_NEGATIVE) end
  local failure = common.invalid(M.KIND, name, errs)
  if failure or uid == "" or uid == record.uid then return failure end
  return errors.conflict(kind.plural .. "/scale." .. kind.group, name,
    ("Precondition failed: UID in precondition: %s, UID in object meta: %s"):format(uid, record.uid))
end

-- A webhook that is asked about a write of replicas is shown the Scale, before and after, not the object behind it.
local function review_of(kind, namespace, name, old, new, options)
  return { operation = "UPDATE", kind = kind, namespace = namespace, name = name, object = new, old = old,
    options = setmetatable({ subresource = "scale" }, { __index = options }), decode = M.decode }
end

-- What is wrong with a Scale that somebody wants, or nil.
local function trouble(kind, name, scale, record)
  if not kind.crd then return check_plain(kind, name, scale, record) end
  if scale.spec and scale.spec.replicas == UNSET then
    return errors.bad_request(("the spec replicas field %q cannot be empty"):format(subresource_of(kind).path))
  end
end

-- The Scale that `change` and the webhooks make of that of a record. -> Scale | nil, failure
local function wanted(w, kind, namespace, name, options, record, change)
  local before, missing = subresource_of(kind).read(record.object)
  if missing then before.spec.replicas = UNSET end
  local scale, failure = change(before)
  if not scale then return nil, failure end
  failure = common.check_name(scale.metadata or {}, namespace, name)
  if failure then return nil, failure end
  local review = review_of(kind, namespace, name, before, scale, options)
  scale, failure = common.mutate(review.options, review, w)
  if not scale then return nil, failure end
  failure = trouble(kind, name, scale, record)
  if failure then return nil, failure end
  return scale
end

-- change(scale) -> the new Scale | nil, failure. Nobody becomes manager of the replicas by it: a server of 1.20 does not look.
-- options.scale_uid: the uid that a PUT names. -> Scale | nil, failure
function M.write(w, kind, namespace, name, options, change)
  local subresource, uid = subresource_of(kind), options.scale_uid
  options.applied = true
  function options.review(new, old) return review_of(kind, namespace, name, (subresource.read(old)), (subresource.read(new)), options) end
  local record, failure = update.put(w, kind, namespace, name, options, function(record)
    if uid and uid ~= (record and record.uid) then
      return nil, common.broken_precondition(kind, namespace, name, "UID", uid, record and record.uid or "", options.dry_run)
    end
    if not record then return nil, errors.not_found(kind, name) end
    local scale, refused = wanted(w, kind, namespace, name, options, record, change)
    if not scale then return nil, refused end
    local applied
    applied, refused = subresource.apply(scale, record.object, kind)
    if not applied then return nil, refused end
    local new, why = common.clean(kind, applied)
    if not new then return nil, errors.bad_request(why) end
    new.apiVersion, new.kind = common.api_version(kind), kind.kind
    new.metadata.resourceVersion = scale.metadata.resourceVersion or record.object.metadata.resourceVersion
    return new
  end)
  if not record then return nil, failure end
  return (subresource.read(record.object))
end

return M
