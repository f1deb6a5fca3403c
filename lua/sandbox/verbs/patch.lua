-- PATCH: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch, and server-side apply.
--
-- A patch is applied to the stored object and the outcome goes the way of an update; the patch modules are pure. The words
-- for a patch that cannot be applied are those of k8s.io/apiserver's patch handler, which has a different answer for each type.

local common = require "sandbox.verbs.common"
local errors = require "sandbox.errors"
local update = require "sandbox.verbs.update"
local view = require "sandbox.api.view"

local M = {}

-- The outcome of a patch is not of the kind. A real server shows all of it; what a Secret holds is not shown here.
local function invalid_patch(kind, outcome, why)
  local shown = kind.id == "secrets" and "<hidden>" or json.encode(outcome)
  return errors.invalid({ kind = "", group = "" }, "", { { field = "patch", type = "FieldValueInvalid",
    message = ("Invalid value: %s: %s"):format(errors.quoted(shown), why) } })
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
  if kind.crd then
    failure = common.check_type(w, kind, new)
    if failure then return nil, failure end
  end
  local trouble = not kind.crd and common.type_trouble(w, kind, new)
  if trouble then return nil, invalid_patch(kind, new, trouble) end
  local clean, why = common.clean(kind, new)
  if not clean then return nil, invalid_patch(kind, new, why) end
  clean.apiVersion, clean.kind = common.api_version(kind), kind.kind
  failure = common.check_name(clean.metadata, kind.namespaced and namespace or "", name)
  if failure then return nil, failure end
  return clean
end

-- Server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/).
local function check_configuration(kind, config)
  local version = type(config.apiVersion) == "string" and config.apiVersion or ""
  local wanted = common.api_version(kind)
  if version ~= wanted then
    return errors.bad_request(("Incorrect version specified in apply patch. Specified patch version: %s, expected: %s")
      :format(version, wanted))
  end
  if config.kind ~= kind.kind then
    return errors.failure(500, nil, ("failed to merge config: expected objects of the same type, but got %s and %s")
      :format(tostring(config.kind), kind.kind))
  end
end

local function applied(w, kind, namespace, name, record, config, options)
  local failure = check_configuration(kind, config)
  if failure then return nil, failure end
  local metadata = type(config.metadata) == "table" and config.metadata or {}
  if not record and type(metadata.uid) == "string" and metadata.uid ~= "" then
    return nil, errors.conflict(kind, name, ("uid mismatch: the provided object specified uid %s, and no existing object was found")
      :format(metadata.uid))
  end
  -- The configuration goes in as it came: neither defaults nor what the schema does not know are dropped from what it owns.
  local new, conflicts = common.managed().apply(record and view.object(kind, record), config, options.manager, options.force, kind.schema,
    common.api_version(kind), w:time())
  if not new then return nil, conflicts end
  local clean, why = common.clean(kind, new)
  if not clean then return nil, errors.bad_request(why) end
  clean.apiVersion, clean.kind = common.api_version(kind), kind.kind
  failure = common.check_name(clean.metadata, kind.namespaced and namespace or "", name)
  if failure then return nil, failure end
  return clean
end

local function with(options, changes)
  local copy = {}
  for key, value in pairs(options) do copy[key] = value end
  for key, value in pairs(changes) do copy[key] = value end
  return copy
end

function M.patch(w, kind, namespace, name, patch_type, body, options)
  options = options or {}
  if patch_type == "apply" then
    return update.put(w, kind, namespace, name, with(options, { applied = true, create = not options.subresource }), function(record)
      if not record and options.subresource then return nil, errors.not_found(kind, name) end
      return applied(w, kind, namespace, name, record, body, options)
    end)
  end
  return update.put(w, kind, namespace, name, options, function(record)
    if not record then return nil, errors.not_found(kind, name) end
    return patched(w, kind, name, namespace, record, patch_type, body)
  end)
end

return M
