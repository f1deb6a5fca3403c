-- PATCH: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch, and server-side apply.
--
-- A patch is applied to the stored object and the outcome goes the way of an update; the patch modules are pure. The words
-- for a patch that cannot be applied are those of k8s.io/apiserver's patch handler, which has a different answer for each type.

local common = require "sandbox.verbs.common"
local errors = require "sandbox.errors"
local go_text = require "sandbox.go_text"
local update = require "sandbox.verbs.update"
local view = require "sandbox.api.view"

local M = {}

-- The outcome of a patch is not of the kind. A real server shows all of it; what a Secret holds is not shown here.
local function invalid_patch(kind, outcome, why)
  local shown = kind.id == "secrets" and "<hidden>" or json.encode(outcome)
  return errors.invalid({ kind = "", group = "" }, "", { { field = "patch", type = "FieldValueInvalid",
    message = ("Invalid value: %s: %s"):format(go_text.quote(shown), why) } })
end

local BY_TYPE = {
  json = function(object, operations) return require("sandbox.patch.json").apply(object, operations) end,
  merge = function(object, patch) return require("sandbox.patch.merge").apply(object, patch) end,
  strategic = function(object, patch, kind) return require("sandbox.patch.strategic").apply(object, patch, kind.schema) end,
}

local function patched(w, kind, name, namespace, record, patch_type, body)
  local new, _, failure = BY_TYPE[patch_type](view.object(kind, record), body, kind)
  if not new then return nil, failure end
  if type(new) ~= "table" or json.is_array(new) then return nil, invalid_patch(kind, new, "an object was expected") end
  -- A strategic patch goes into the object of its Go type, which has no say in what type it is.
  if patch_type == "strategic" then
    if math.type(new.kind) or math.type(new.apiVersion) then return nil, invalid_patch(kind, body, "cannot convert int64 to string") end
    new.apiVersion, new.kind = nil, nil
  end
  local trouble = kind.crd and common.missing_kind(kind, new) or not kind.crd and common.type_trouble(w, kind, new)
  if trouble then return nil, invalid_patch(kind, new, trouble) end
  local clean, why = common.clean(kind, new)
  if not clean then return nil, invalid_patch(kind, new, why) end
  clean.apiVersion, clean.kind = common.api_version(kind), kind.kind
  failure = common.check_name(clean.metadata, common.path_namespace(kind, namespace, name), name)
  if failure then return nil, failure end
  return clean, nil, kind.crd and common.type_later(kind, new) or nil
end

local function with(source, changes)
  local copy = {}
  for key, value in pairs(source) do copy[key] = value end
  for key, value in pairs(changes) do copy[key] = value end
  return copy
end

-- Server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
local function check_configuration(w, kind, config)
  local version = type(config.apiVersion) == "string" and config.apiVersion or ""
  local wanted = common.api_version(kind)
  if version ~= wanted then
    return errors.bad_request(("Incorrect version specified in apply patch. Specified patch version: %s, expected: %s")
      :format(version, wanted))
  end
  if config.kind == kind.kind then return nil end
  local name = type(config.kind) == "string" and config.kind or ""
  if kind.crd then
    return config.kind == "" and errors.internal "Object 'Kind' is missing in 'object has no kind field '" or nil
  end
  if not w.registry or not w.registry:by_kind(kind.group, kind.version, name) then
    return errors.failure(500, nil, ("failed to create typed patch object: no corresponding type for %s/%s, Kind=%s")
      :format(kind.group, kind.version, name))
  end
  return errors.failure(500, nil, ("failed to merge config: expected objects of the same type, but got %s and %s"):format(name, kind.kind))
end

-- The outcome of an apply, before it is decoded. -> object | nil, failure
local function merged(w, kind, live, config, options)
  return common.managed().apply(live, config, options.manager, options.force, kind.schema, common.api_version(kind), w:time())
end

-- The same with the check of what the configuration says it is.
function M.merged(w, kind, live, config, options)
  local failure = check_configuration(w, kind, config)
  if failure then return nil, failure end
  return merged(w, kind, live, config, options)
end

-- Whether a value has fields that its clean form has not.
local function loses(raw, clean)
  if type(raw) ~= "table" then return false end
  if type(clean) ~= "table" then return true end
  for name, value in pairs(raw) do
    if value ~= json.null and (clean[name] == nil or loses(value, clean[name])) then return true end
  end
  return false
end

-- The parts of what an apply brought that the clean object has not all of, by name; nil: none. given: before its metadata were made fit.
local function lost_of(given, new, clean)
  local lost = { metadata = given ~= new or nil }
  for name, value in pairs(new) do
    if name ~= "metadata" and value ~= json.null and (clean[name] == nil or loses(value, clean[name])) then lost[name] = value end
  end
  return next(lost) and lost or nil
end

-- Of a custom object's metadata, the fields that fit their types: after an apply the server drops the others without a word.
local function with_fit_metadata(object)
  local metadata, embedded = object.metadata, require "sandbox.schema.embedded"
  if type(metadata) ~= "table" or json.is_array(metadata) or embedded.metadata(metadata) then return object end
  local copy, fit = {}, {}
  for name, value in pairs(object) do copy[name] = value end
  for name, value in pairs(metadata) do
    if embedded.metadata { [name] = value } then fit[name] = value end
  end
  copy.metadata = fit
  return copy
end

-- The nulls that an apply said or left behind: other writes lose them when they are read, an apply does not, and validation finds
-- them where they have a type to be of. In place.
local function keep_nulls(node, raw, clean)
  if type(raw) ~= "table" or type(clean) ~= "table" then return end
  for name, value in pairs(raw) do
    local inner = json.is_array(raw) and node.items or node.properties and node.properties[name] or node.additional
    if not inner then goto continue end
    if value == json.null and clean[name] == nil then
      if inner.type or inner.int_or_string then clean[name] = value end
    else
      keep_nulls(inner, value, clean[name])
    end
    ::continue::
  end
end

local function applied(w, kind, namespace, name, record, config, options)
  local failure = check_configuration(w, kind, config)
  if failure then return nil, failure end
  if kind.crd and config.kind == nil then config = with(config, { kind = kind.kind }) end
  -- Metadata that are no object name nobody, but who owns what is asked first.
  local is_nameless = kind.crd and config.metadata ~= nil and config.metadata ~= json.null
    and (type(config.metadata) ~= "table" or json.is_array(config.metadata))
  if is_nameless and not kind.namespaced then -- here the server looks at the types
    return nil, errors.failure(500, nil, ("failed to create typed patch object: .metadata: expected map, got &{%s}")
      :format(require("sandbox.schema.gotext").plain(config.metadata)))
  end
  if is_nameless or config.metadata == json.null then config = with(config, { metadata = {} }) end
  -- The configuration goes in as it came: neither defaults nor what the schema does not know are dropped from what it owns.
  local new, conflicts = merged(w, kind, record and view.object(kind, record), config, options)
  if not new then return nil, conflicts end
  if is_nameless then return nil, common.check_name({}, "", name) end
  local uid = type(new.metadata) == "table" and new.metadata.uid
  if not record and type(uid) == "string" and uid ~= "" then
    return nil, errors.conflict(kind, name, ("uid mismatch: the provided object specified uid %s, and no existing object was found")
      :format(uid))
  end
  local given = new
  if kind.crd then new = with_fit_metadata(new) end
  local clean, why = common.clean(kind, new)
  if not clean then
    return nil, errors.failure(500, nil, ("failed to convert new object to proper version: unable to convert unstructured object to %s, "
      .. "Kind=%s: %s"):format(kind.group .. "/" .. kind.version, kind.kind, why))
  end
  clean.apiVersion, clean.kind = common.api_version(kind), kind.kind
  failure = common.check_name(clean.metadata, common.path_namespace(kind, namespace, name), name)
  if failure then return nil, failure end
  if not kind.crd then return clean end
  keep_nulls({ properties = { spec = kind.schema.properties and kind.schema.properties.spec,
    status = kind.schema.properties and kind.schema.properties.status } }, { spec = new.spec, status = new.status }, clean)
  return clean, nil, common.type_later(kind, new), lost_of(given, new, clean)
end

function M.patch(w, kind, namespace, name, patch_type, body, options)
  options = options or {}
  if patch_type == "apply" then
    -- A subresource creates nothing; the server's registry of Services forgets that.
    local creates = not options.subresource or kind.id == "services"
    return update.put(w, kind, namespace, name, with(options, { applied = true, create = creates }), function(record)
      if not record and not creates then return nil, errors.not_found(kind, name) end
      return applied(w, kind, namespace, name, record, body, options)
    end)
  end
  return update.put(w, kind, namespace, name, options, function(record)
    if not record then return nil, errors.not_found(kind, name) end
    return patched(w, kind, name, namespace, record, patch_type, body)
  end)
end

return M
