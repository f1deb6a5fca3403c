-- The kind CustomResourceDefinition (apiextensions.k8s.io/v1), and the kinds that definitions bring.
-- https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
--
-- A definition brings its kinds when it is Established, which is when no other definition of its group has one of its names
-- (definitions.lua, in controllers/, looks and says so in its conditions). Its versions share their objects: conversion is
-- "None", that is, only apiVersion differs; webhook conversion is accepted and not done. Deleting a definition takes two steps: it
-- gets a finalizer and its instances are deleted, then it goes.

local builtin = require "sandbox.schema.builtin"
local custom = require "sandbox.schema.custom"
local crd_rules = require "sandbox.schema.crd_rules"
local errors = require "sandbox.errors"

local M = {}

local null = json.null
local array = json.array
local NONE = {}

M.ID = "customresourcedefinitions.apiextensions.k8s.io"
M.FINALIZER = "customresourcecleanup.apiextensions.k8s.io"

local function copy(source)
  local new = {}
  for name, value in pairs(source) do new[name] = value end
  return setmetatable(new, getmetatable(source))
end

-- The condition of a type, and its place; nil if there is none.
function M.condition(object, kind)
  local conditions = object.status and object.status.conditions
  for i, condition in ipairs(type(conditions) == "table" and conditions or NONE) do
    if condition.type == kind then return condition, i end
  end
end

local function is_true(object, kind)
  local condition = M.condition(object, kind)
  return condition ~= nil and condition.status == "True"
end

-- The object with a condition, whose lastTransitionTime moves only with its status. A copy.
function M.with_condition(object, kind, status, reason, message, now)
  local before, place = M.condition(object, kind)
  local new = copy(object)
  new.status = copy(object.status or NONE)
  local conditions = new.status.conditions
  conditions = copy(type(conditions) == "table" and conditions or array {})
  local since = before and before.status == status and before.lastTransitionTime or now
  conditions[place or #conditions + 1] = { type = kind, status = status, reason = reason, message = message, lastTransitionTime = since }
  new.status.conditions = conditions
  return new
end

-- ---- the kinds of a definition

local function printer_columns(version)
  return version.additionalPrinterColumns and #version.additionalPrinterColumns > 0 and version.additionalPrinterColumns or nil
end

-- The node with what every object has, for those who merge by it.
local function with_types(node)
  local new, properties = copy(node), {}
  for name, child in pairs(node.properties or NONE) do properties[name] = child end
  properties.apiVersion, properties.kind = { type = "string" }, { type = "string" }
  properties.metadata = builtin.definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
  new.properties = properties
  return new
end

-- While its definition goes away nothing new is made of a kind.
local function refuse_create(id)
  return function()
    return errors.failure(405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating",
      { group = id:match("%.(.*)$"), kind = id:match("^[^.]+") })
  end
end

local function kind_of(definition, version, stored)
  local spec, names = definition.spec, definition.status.acceptedNames or definition.spec.names
  local strategy, node, subresources = custom.describe(version, spec.scope == "Namespaced")
  local kind = { id = names.plural .. "." .. spec.group, group = spec.group, version = version.name, kind = names.kind,
    plural = names.plural, singular = names.singular, list_kind = names.listKind, short_names = names.shortNames,
    categories = names.categories, namespaced = spec.scope == "Namespaced", subresources = subresources, schema = with_types(node),
    node = node, strategy = strategy, crd = definition, storage = version.name == stored, storage_version = stored,
    api_version = spec.group .. "/" .. version.name, printer_columns = printer_columns(version) }
  if is_true(definition, "Terminating") then strategy.refuse_create = refuse_create(kind.id) end
  return kind
end

-- The kinds that a definition brings now: one for each served version; none until it is Established.
function M.kinds(definition)
  local kinds, stored, storing = {}, nil, nil
  if not is_true(definition, "Established") then return kinds end
  for _, version in ipairs(definition.spec.versions) do
    if version.storage then stored, storing = version.name, version end
  end
  for _, version in ipairs(definition.spec.versions) do
    if version.served then
      local kind = kind_of(definition, version, stored)
      if storing and #definition.spec.versions > 1 then custom.convert(kind, storing, definition.spec.group .. "/" .. stored) end
      kinds[#kinds + 1] = kind
    end
  end
  return kinds
end

-- ---- the strategy

local strategy = {}
M.strategy = strategy

local function storage_of(object)
  for _, version in ipairs(object.spec and object.spec.versions or NONE) do
    if version.storage then return version.name end
  end
end

local function add_stored(status, name)
  local stored = type(status.storedVersions) == "table" and status.storedVersions or array {}
  for _, one in ipairs(stored) do
    if one == name then return end
  end
  stored = copy(stored)
  stored[#stored + 1] = name
  status.storedVersions = array(stored)
end

function strategy.default(object)
  local spec = object.spec
  if not spec then return end
  local names = spec.names or {}
  spec.names = names
  if (names.kind or "") ~= "" then
    if (names.singular or "") == "" then names.singular = names.kind:lower() end
    if (names.listKind or "") == "" then names.listKind = names.kind .. "List" end
  end
  if not spec.conversion then spec.conversion = { strategy = "None" } end
  local service = spec.conversion.webhook and spec.conversion.webhook.clientConfig and spec.conversion.webhook.clientConfig.service
  if service and not service.port then service.port = 443 end
  local status = object.status or {}
  object.status = status
  local stored = storage_of(object)
  if stored and (type(status.storedVersions) ~= "table" or #status.storedVersions == 0) then add_stored(status, stored) end
end

function strategy.prepare_create(object)
  object.status = { acceptedNames = { kind = "", plural = "" }, conditions = null, storedVersions = null }
  local stored = storage_of(object)
  if stored then add_stored(object.status, stored) end
  object.metadata.generation = 1
end

function strategy.prepare_update(new, old)
  new.status = copy(old.status or NONE)
  local stored = storage_of(new)
  if stored then add_stored(new.status, stored) end
  local generation = old.metadata.generation or 0
  new.metadata.generation = json.equal(new.spec, old.spec) and generation or generation + 1
end

local KEPT = { "labels", "annotations", "finalizers", "ownerReferences", "generation" }

function strategy.prepare_status(new, old)
  new.spec = old.spec
  for _, name in ipairs(KEPT) do new.metadata[name] = old.metadata[name] end
end

strategy.validate_create = crd_rules.create
strategy.validate_update = crd_rules.update
strategy.validate_status = crd_rules.status

-- The first DELETE: a finalizer, and a condition that says so. -> the object as it is then, or nil: delete as usual.
function strategy.begin_delete(object, w)
  if object.metadata.deletionTimestamp then return nil end
  local new = M.with_condition(object, "Terminating", "True", "InstanceDeletionPending",
    "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon", w:time())
  new.metadata = copy(object.metadata)
  new.metadata.deletionTimestamp = w:time()
  local finalizers = copy(object.metadata.finalizers or array {})
  local is_there = false
  for _, name in ipairs(finalizers) do is_there = is_there or name == M.FINALIZER end
  if not is_there then finalizers[#finalizers + 1] = M.FINALIZER end
  new.metadata.finalizers = finalizers
  return new
end

return M
