-- From the OpenAPI v3 schema of a CustomResourceDefinition's version to a schema node, and what the server does with an
-- object before it looks whether it is valid: defaults, nulls, and fields that the schema does not know.
--
-- In one walk, which makes a copy: a null where the schema has no `nullable` is the default, or nothing; an absent property gets its
-- default; a field without a schema is dropped unless x-kubernetes-preserve-unknown-fields keeps it. Wrong types are left for the
-- validation. The order of these steps and the corners were asked of a 1.20.2 server (spec/sandbox/schema_spec.lua).
-- https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema

local settled = require("sandbox.schema.settled").by

local M = {}

local null = json.null
local array_mark = getmetatable(json.array {})

-- The schema of what has none: objects in it lose all fields.
local NOTHING = { nothing = true }

local PLAIN = { type = "type", format = "format", nullable = "nullable", default = "default", required = "required", enum = "enum",
  pattern = "pattern", minimum = "minimum", maximum = "maximum", exclusiveMinimum = "exclusive_minimum",
  exclusiveMaximum = "exclusive_maximum", multipleOf = "multiple_of", minLength = "min_length", maxLength = "max_length",
  minItems = "min_items", maxItems = "max_items", uniqueItems = "unique", minProperties = "min_properties",
  maxProperties = "max_properties", ["x-kubernetes-int-or-string"] = "int_or_string",
  ["x-kubernetes-preserve-unknown-fields"] = "preserve", ["x-kubernetes-embedded-resource"] = "embedded",
  ["x-kubernetes-list-type"] = "list", ["x-kubernetes-list-map-keys"] = "keys", ["x-kubernetes-map-type"] = "map" }
local SETS = { allOf = "all_of", anyOf = "any_of", oneOf = "one_of" }

local function node_of(props)
  local node = {}
  for name, value in pairs(props) do
    local field = PLAIN[name]
    if field and value ~= null then
      node[field] = value
    elseif SETS[name] then
      local list = {}
      for i, inner in ipairs(value) do list[i] = node_of(inner) end
      if list[1] then node[SETS[name]] = list end
    end
  end
  if props["not"] then node.no = node_of(props["not"]) end
  if type(props.items) == "table" then node.items = node_of(props.items) end
  if props.properties then
    node.properties, node.defaults, node.sorted = {}, {}, {}
    for name, inner in pairs(props.properties) do
      local child = node_of(inner)
      node.properties[name] = child
      node.sorted[#node.sorted + 1] = name
      if child.default ~= nil then node.defaults[#node.defaults + 1] = name end
    end
    table.sort(node.sorted)
    table.sort(node.defaults)
    if #node.defaults == 0 then node.defaults = nil end
  end
  local additional = props.additionalProperties
  if type(additional) == "table" then node.additional = node_of(additional)
  elseif additional ~= nil then node.additional, node.forbids = NOTHING, additional == false or nil end
  return node
end

-- The node of a JSONSchemaProps value. Nodes of custom kinds have `custom` set at the root.
function M.node(props)
  local node = node_of(props)
  node.custom = true
  return node
end

local copy = json.copy
M.copy = copy

local META = { apiVersion = true, kind = true, metadata = true }

local clean

-- One member of an object: what becomes of it; nil: nothing.
local function member(node, value)
  if value == null and not node.nullable and not node.nothing then
    value = node.default
    if value == nil then return nil end
  end
  return type(value) == "table" and clean(node, value) or value
end

local function clean_array(node, value, keep)
  local new, items = setmetatable({}, array_mark), node.items
  for i = 1, #value do
    local item = value[i]
    if items and item == null and not items.nullable and items.default ~= nil then item = items.default end
    if type(item) == "table" then
      if items then item = clean(items, item, keep)
      else item = keep and copy(item) or clean(NOTHING, item) end
    end
    new[i] = item
  end
  return new
end

-- A copy of a table, cleaned; is_resource: apiVersion, kind and metadata are kept as they stand. keep: as if preserved. What is known
-- to be clean is shared.
function clean(node, value, keep, is_resource)
  if settled[value] == node then return value end
  keep = keep or node.preserve
  if getmetatable(value) == array_mark then return clean_array(node, value, keep) end
  local new, properties, additional = {}, node.properties, node.additional
  is_resource = is_resource or node.embedded
  for key, inner in pairs(value) do
    local child = properties and properties[key]
    if is_resource and META[key] then
      new[key] = copy(inner)
    elseif child or additional then
      new[key] = member(child or additional, inner)
    elseif keep then
      new[key] = copy(inner)
    end
  end
  local defaults = node.defaults
  if defaults then
    for i = 1, #defaults do
      local name = defaults[i]
      if value[name] == nil and not (is_resource and META[name]) then
        local default = properties[name].default
        new[name] = type(default) == "table" and clean(properties[name], default) or default
      end
    end
  end
  return new
end

-- A copy of a custom resource, or of a part of it, with defaults and without what the schema does not know.
-- is_resource: the value is the object itself, whose metadata is not the schema's.
function M.clean(node, value, is_resource)
  if type(value) ~= "table" then return value end
  return clean(node, value, false, is_resource)
end

return M
