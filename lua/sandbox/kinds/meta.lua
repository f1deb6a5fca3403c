-- The metadata that every object has: what names, labels, annotations, owners and finalizers may be, and what an
-- update may change of them. Custom resources use these functions too.
-- (https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#metadata)

local checks = require "sandbox.kinds.checks"
local sorted = require "sorted"

local M = {}

local ANNOTATIONS_MOST = 256 * 1024
local STANDARD_FINALIZERS = { kubernetes = true, orphan = true, foregroundDeletion = true }

local function check_annotations(errs, field, annotations)
  if not annotations then return end
  local size, wrong = 0, false
  for name, value in next, annotations do
    size = size + #name + #value
    wrong = wrong or checks.qualified_name(name:lower()) ~= nil
  end
  if wrong then
    for _, name in ipairs(sorted(annotations)) do
      checks.report(errs, field, name, checks.qualified_name(name:lower()))
    end
  end
  if size > ANNOTATIONS_MOST then checks.too_long(errs, field, ANNOTATIONS_MOST) end
end
M.annotations = check_annotations

local function go_pointer_bool(value)
  return value == nil and "(*bool)(nil)" or "(*bool)(0xc000000000)"
end

local function go_owner(owner)
  return ('v1.OwnerReference{APIVersion:%s, Kind:%s, Name:%s, UID:%s, Controller:%s, BlockOwnerDeletion:%s}'):format(
    checks.quote(owner.apiVersion or ""), checks.quote(owner.kind or ""), checks.quote(owner.name or ""),
    checks.quote(owner.uid or ""), go_pointer_bool(owner.controller), go_pointer_bool(owner.blockOwnerDeletion))
end

local function check_owner(errs, field, owner)
  local version = owner.apiVersion or ""
  if version == "" or version:find("/$") or version:find("/.*/") then
    checks.invalid(errs, field .. ".apiVersion", version, "version must not be empty")
  end
  for _, name in ipairs { "kind", "name", "uid" } do
    local value = owner[name] or ""
    if value == "" then checks.invalid(errs, field .. "." .. name, value, name .. " must not be empty") end
  end
  if version == "v1" and owner.kind == "Event" then
    checks.invalid(errs, field, checks.verbatim(go_owner(owner)), "/v1, Kind=Event is disallowed from being an owner")
  end
end

local function check_owners(errs, field, owners)
  local controller
  for _, owner in ipairs(owners) do
    check_owner(errs, field, owner)
    if owner.controller then
      local name = owner.name or ""
      if controller and controller ~= "" then
        local shown = {}
        for i, other in ipairs(owners) do shown[i] = go_owner(other) end
        checks.invalid(errs, field, checks.verbatim("[]v1.OwnerReference{" .. table.concat(shown, ", ") .. "}"),
          ('Only one reference can have Controller set to true. Found "true" in references for %s and %s'):format(controller, name))
      else
        controller = name
      end
    end
  end
end

local function check_finalizers(errs, field, finalizers)
  local has = {}
  for _, name in ipairs(finalizers) do
    checks.report(errs, field, name, checks.qualified_name(name))
    has[name] = true
  end
  if has.orphan and has.foregroundDeletion then
    checks.invalid(errs, field, checks.verbatim(checks.go_strings(finalizers)),
      "finalizer orphan and foregroundDeletion cannot be both set")
  end
end

local OPERATIONS = { Apply = true, Update = true }

local function check_managed(errs, field, managed)
  for _, entry in ipairs(managed) do
    if not OPERATIONS[entry.operation] then
      checks.invalid(errs, field .. ".operation", entry.operation or "", "must be `Apply` or `Update`")
    end
    if (entry.fieldsType or "FieldsV1") ~= "FieldsV1" then
      checks.invalid(errs, field .. ".fieldsType", entry.fieldsType, "must be `FieldsV1`")
    end
  end
end

-- What create and update have in common.
local function check_common(errs, meta, field)
  if meta.labels then checks.labels(errs, field .. ".labels", meta.labels) end
  if meta.annotations then check_annotations(errs, field .. ".annotations", meta.annotations) end
  if meta.ownerReferences then check_owners(errs, field .. ".ownerReferences", meta.ownerReferences) end
end

-- The finalizers of built-in kinds: a name without a slash must be one that the server knows.
local function check_plain_finalizers(errs, meta, field)
  for i, name in ipairs(meta.finalizers or {}) do
    if not name:find("/", 1, true) and not STANDARD_FINALIZERS[name] then
      checks.invalid(errs, ("%s.finalizers[%d]"):format(field, i - 1), name,
        "name is neither a standard finalizer name nor is it fully qualified")
    end
  end
end

-- Metadata of a new object, after its name was generated. name_check: one of checks.name_*; builtin: false for custom
-- resources, whose finalizers may be any qualified name.
function M.validate_create(errs, meta, namespaced, name_check, builtin)
  if meta.generateName and meta.generateName ~= "" then
    checks.report(errs, "metadata.generateName", meta.generateName, name_check(meta.generateName, true))
  end
  if not meta.name or meta.name == "" then
    checks.required(errs, "metadata.name", "name or generateName is required")
  else
    checks.report(errs, "metadata.name", meta.name, name_check(meta.name, false))
  end
  if not namespaced then
    if meta.namespace and meta.namespace ~= "" then checks.forbidden(errs, "metadata.namespace", "not allowed on this type") end
  elseif not meta.namespace or meta.namespace == "" then
    checks.required(errs, "metadata.namespace")
  else
    checks.report(errs, "metadata.namespace", meta.namespace, checks.dns_label(meta.namespace))
  end
  checks.not_negative(errs, "metadata", "generation", meta.generation)
  check_common(errs, meta, "metadata")
  if meta.finalizers then check_finalizers(errs, "metadata.finalizers", meta.finalizers) end
  if meta.managedFields then check_managed(errs, "metadata.managedFields", meta.managedFields) end
  if builtin ~= false then check_plain_finalizers(errs, meta, "metadata") end
  return errs
end

local function check_new_finalizers(errs, new, old)
  local had, extra = {}, {}
  for _, name in ipairs(old.finalizers or {}) do had[name] = true end
  for _, name in ipairs(new.finalizers or {}) do
    if not had[name] then
      had[name] = true
      extra[#extra + 1] = name
    end
  end
  if not extra[1] then return end
  table.sort(extra)
  checks.forbidden(errs, "metadata.finalizers", "no new finalizers can be added if the object is being deleted, "
    .. "found new finalizers " .. checks.go_strings(extra))
end

local function update_once(errs, new, old)
  if old.deletionTimestamp then check_new_finalizers(errs, new, old) end
  if (new.resourceVersion or "") == "" then
    checks.invalid(errs, "metadata.resourceVersion", "", "must be specified for an update")
  end
  if (new.generation or 0) < (old.generation or 0) then
    checks.invalid(errs, "metadata.generation", new.generation or 0, "must not be decremented")
  end
  for _, name in ipairs { "name", "namespace", "uid" } do
    if (new[name] or "") ~= (old[name] or "") then
      checks.invalid(errs, "metadata." .. name, new[name] or "", checks.IMMUTABLE)
    end
  end
  for _, name in ipairs { "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds" } do
    if new[name] ~= old[name] then
      local date, time = tostring(new[name]):match("^(%d+%-%d+%-%d+)T(%d+:%d+:%d+)Z$")
      local shown = date and checks.verbatim(date .. " " .. time .. " +0000 UTC") or new[name]
      checks.invalid(errs, "metadata." .. name, shown, checks.IMMUTABLE)
    end
  end
  check_common(errs, new, "metadata")
  if new.managedFields then check_managed(errs, "metadata.managedFields", new.managedFields) end
end

-- What the server checks on an update of any kind, before the kind's own checks: all that it checks on a create (but for
-- how names of the kind look), and what may change.
function M.validate_common(errs, new, old)
  M.validate_create(errs, new, old.namespace ~= nil and old.namespace ~= "", checks.name_path_segment, false)
  update_once(errs, new, old)
  return errs
end

-- What most kinds then check once more by themselves.
function M.validate_again(errs, new, old, builtin)
  update_once(errs, new, old)
  if builtin ~= false then check_plain_finalizers(errs, new, "metadata") end
  return errs
end

-- Both: metadata of an update. A trouble is found several times then and told as often in the causes, though but once in the
-- message; with custom resources (builtin = false) too.
function M.validate_update(errs, new, old, builtin)
  return M.validate_again(M.validate_common(errs, new, old), new, old, builtin)
end

return M
