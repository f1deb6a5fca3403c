-- Custom resources: the strategy of a kind that a CustomResourceDefinition's version describes.
--
-- The server's own (apiextensions-apiserver's customResourceStrategy): an object is defaulted and pruned by its structural
-- schema when it is read, its generation counts what is neither metadata nor (with a status subresource) status, a status write
-- keeps all of the stored object but status, and validation gives the schema's causes, then those of the scale
-- subresource's paths, then those of embedded resources, sets and maps.

local checks = require "sandbox.kinds.checks"
local embedded = require "sandbox.schema.embedded"
local errors = require "sandbox.errors"
local gotext = require "sandbox.schema.gotext"
local meta = require "sandbox.kinds.meta"
local settled = require "sandbox.schema.settled"
local structural = require "sandbox.schema.structural"
local validate = require "sandbox.schema.validate"

local M = {}

local null = json.null
local array_mark = getmetatable(json.array {})

local INT32_MOST = 2147483647

-- ".spec.replicas" -> { "spec", "replicas" }
local function split(path)
  local names = {}
  for name in path:gmatch("[^.]+") do names[#names + 1] = name end
  return names
end

-- The value at a path. -> value | nil | nil, text when something on the way is no object
local function at(object, path)
  local value = object
  for _, name in ipairs(split(path)) do
    if value == null then return nil end
    if type(value) ~= "table" or getmetatable(value) == array_mark then
      return nil, ("%s is of the type %s, expected map[string]interface{}"):format(gotext.plain(value), gotext.type_name(value))
    end
    value = value[name]
    if value == nil then return nil end
  end
  return value
end

local function check_replicas(errs, object, path)
  local value, why = at(object, path)
  if value ~= nil and math.type(value) ~= "integer" then
    why = ("%s is of the type %s, expected int64"):format(gotext.plain(value), gotext.type_name(value))
  end
  if why then return checks.invalid(errs, path, 0, path .. " accessor error: " .. why) end
  if value == nil then return end
  if value < 0 then checks.invalid(errs, path, value, "should be a non-negative integer") end
  if value > INT32_MOST then checks.invalid(errs, path, value, "should be less than or equal to 2147483647") end
end

local function check_selector(errs, object, path)
  local value, why = at(object, path)
  if value ~= nil and type(value) ~= "string" then
    why = ("%s is of the type %s, expected string"):format(gotext.plain(value), gotext.type_name(value))
  end
  if why then checks.invalid(errs, path, "", path .. " accessor error: " .. why) end
end

-- ---- scale

local function shallow(value)
  local new = {}
  for key, inner in pairs(value) do new[key] = inner end
  return setmetatable(new, getmetatable(value))
end

local SCALE = { group = "autoscaling", version = "v1", kind = "Scale" }

-- For kind.subresources.scale: read(object) -> Scale, failure (when there are no replicas to read, which a write may mend);
-- apply(scale, object) -> object | nil, failure.
local function scale_of(paths)
  local scale = { path = paths.specReplicasPath }
  function scale.read(object)
    local about = object.metadata
    local replicas, missing = at(object, paths.specReplicasPath), nil
    if math.type(replicas) ~= "integer" then
      replicas, missing = 0, errors.internal(('the spec replicas field "%s" does not exist'):format(paths.specReplicasPath))
    end
    local seen = at(object, paths.statusReplicasPath)
    local selector = paths.labelSelectorPath and at(object, paths.labelSelectorPath)
    return {
      apiVersion = "autoscaling/v1", kind = "Scale",
      metadata = { name = about.name, namespace = about.namespace, uid = about.uid, resourceVersion = about.resourceVersion,
        creationTimestamp = about.creationTimestamp },
      spec = { replicas = replicas ~= 0 and replicas or nil },
      status = { replicas = math.type(seen) == "integer" and seen or 0,
        selector = type(selector) == "string" and selector ~= "" and selector or nil },
    }, missing
  end
  function scale.apply(wanted, object)
    local replicas = type(wanted.spec) == "table" and wanted.spec.replicas or 0
    if math.type(replicas) ~= "integer" then
      local errs = {}
      checks.invalid(errs, "spec.replicas", replicas, "must be an integer")
      return nil, errors.invalid(SCALE, object.metadata.name, errs)
    end
    local new = shallow(object)
    local place, names = new, split(paths.specReplicasPath)
    for i = 1, #names - 1 do
      local inner = place[names[i]]
      place[names[i]] = type(inner) == "table" and shallow(inner) or {}
      place = place[names[i]]
    end
    place[names[#names]] = replicas
    return new
  end
  return scale
end

-- ---- the strategy

local function read(node, object)
  local bare = typed.clone(object)
  bare.metadata = nil
  local new = structural.clean(node, bare, true)
  local metadata, why = embedded.metadata(object.metadata)
  if not metadata then return nil, why end
  new.metadata = metadata
  local ok, trouble = embedded.coerce(node, new)
  if not ok then return nil, trouble end
  return new
end

local NONE = {}
local KEPT = { apiVersion = true, kind = true, metadata = true }

-- Is there a difference outside metadata (and status, if that has an endpoint of its own)?
local function differs(new, old, has_status)
  for key, value in pairs(new) do
    if key ~= "metadata" and not (has_status and key == "status") and not json.equal(value, old[key] == nil and null or old[key])
      and not KEPT[key] then return true end
  end
  for key in pairs(old) do
    if new[key] == nil and not KEPT[key] and not (has_status and key == "status") then return true end
  end
  return false
end

local function strategy_of(version, node, namespaced)
  local subresources = version.subresources or {}
  local has_status, scale = subresources.status ~= nil, subresources.scale
  local strategy = { name = checks.name_subdomain }

  local function check(errs, object, only_status)
    validate.value(errs, "", node, object)
    if scale then
      if not only_status then check_replicas(errs, object, scale.specReplicasPath) end
      check_replicas(errs, object, scale.statusReplicasPath)
      if scale.labelSelectorPath then check_selector(errs, object, scale.labelSelectorPath) end
    end
    embedded.check(errs, node, object)
    return errs
  end

  function strategy.decode(object) return read(node, object) end

  function strategy.stored(object) settled.stored(node, object) end

  function strategy.prepare_create(object)
    if has_status then object.status = nil end
    object.metadata.generation = 1
  end

  -- What an apply brought beside the schema (`lost`, update.lua) is still there when the server compares.
  function strategy.prepare_update(new, old, _, lost)
    if has_status then new.status = old.status end
    local generation = old.metadata.generation or 0
    local is_changed = differs(new, old, has_status)
    for name in pairs(lost or NONE) do is_changed = is_changed or not KEPT[name] and not (has_status and name == "status") end
    new.metadata.generation = is_changed and generation + 1 or generation
  end

  function strategy.prepare_status(new, old)
    local status, managed = new.status, new.metadata.managedFields
    local metadata = shallow(old.metadata)
    metadata.managedFields = managed
    for key in pairs(new) do new[key] = nil end
    for key, value in pairs(old) do new[key] = value end
    new.metadata, new.status = metadata, status
  end

  function strategy.validate_create(object)
    return check(meta.validate_create({}, object.metadata, namespaced, checks.name_subdomain, false), object)
  end

  function strategy.validate_update(new, old)
    return check(meta.validate_update({}, new.metadata, old.metadata, false), new)
  end

  function strategy.validate_status(new, old)
    return check(meta.validate_update({}, new.metadata, old.metadata, false), new, true)
  end

  return strategy
end

local ANYTHING = { custom = true, type = "object", preserve = true }

-- The schema node of a CRD's version.
function M.node(version)
  local schema = version.schema and version.schema.openAPIV3Schema
  return schema and schema ~= null and structural.node(schema) or ANYTHING
end

-- A node that prunes and does not default.
local function pruning(node)
  local new = shallow(node)
  new.default, new.defaults = nil, nil
  if type(node.items) == "table" then new.items = pruning(node.items) end
  if type(node.additional) == "table" then new.additional = pruning(node.additional) end
  if node.properties then
    new.properties = {}
    for name, child in pairs(node.properties) do new.properties[name] = pruning(child) end
  end
  return new
end

-- For a definition of several versions, of which one is stored (apiextensions-apiserver's schemaCoercingConverter): what goes into
-- the store is pruned and defaulted by that one's schema, and another shows of it what it knows itself, without its defaults.
-- kind: of M.describe; stored: the version of the definition that is stored, api_version: its name with the group.
function M.convert(kind, stored, api_version)
  local strategy, own, its = kind.strategy, kind.storage and kind.node or pruning(kind.node), M.node(stored)
  local function as(node, version, object)
    local bare = shallow(object)
    bare.metadata = nil
    local new = structural.clean(node, bare, true)
    new.apiVersion, new.metadata = version, object.metadata
    return new
  end
  function strategy.from_storage(object) return as(own, kind.api_version, object) end
  function strategy.to_storage(object) return kind.storage and object or as(its, api_version, object) end
end

-- strategy, schema node and subresources of one version of a definition.
function M.describe(version, namespaced)
  local node = M.node(version)
  local given, subresources = version.subresources or {}, {}
  if given.status then subresources.status = true end
  if given.scale then subresources.scale = scale_of(given.scale) end
  return strategy_of(version, node, namespaced), node, subresources
end

return M
