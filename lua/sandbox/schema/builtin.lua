-- Schema nodes of the built-in kinds, from the OpenAPI document of the real server.
--
-- A definition becomes one node, made on first need; definitions that name each other share it, so a node may reach
-- itself (JSONSchemaProps does). A property that says more than its definition ("merge by this key") gets a node of
-- its own that shares the definition's parts. What the document cannot say, because it is a matter of the server's Go
-- types (which zeros are kept, what is written though nobody set it), comes from schema/go.lua.
--
-- node(group, version, kind) -> node | nil     nodes are shared and never modified

local document = require "sandbox.schema.document"
local go = require "sandbox.schema.go"

local M = {}

local PREFIX = "^#/definitions/"
local META = "io.k8s.apimachinery.pkg.apis.meta.v1."
local EXTENSIONS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1."

-- Where a group's Go package lies, as definition names have it.
local PACKAGES = {
  [""] = "io.k8s.api.core", apps = "io.k8s.api.apps", policy = "io.k8s.api.policy", autoscaling = "io.k8s.api.autoscaling",
  ["networking.k8s.io"] = "io.k8s.api.networking", ["coordination.k8s.io"] = "io.k8s.api.coordination",
  ["apiextensions.k8s.io"] = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
  ["admissionregistration.k8s.io"] = "io.k8s.api.admissionregistration", ["scheduling.k8s.io"] = "io.k8s.api.scheduling",
  ["authorization.k8s.io"] = "io.k8s.api.authorization", ["authentication.k8s.io"] = "io.k8s.api.authentication",
}

-- Types that are more, or less, than their definition says.
local SPECIAL = {
  [META .. "Time"] = function() return { type = "string", format = "date-time" } end,
  [META .. "MicroTime"] = function() return { type = "string", format = "date-time-micro" } end,
  ["io.k8s.apimachinery.pkg.api.resource.Quantity"] = function() return { type = "string", format = "quantity" } end,
  ["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = function() return { int_or_string = true } end,
  [META .. "FieldsV1"] = function() return { type = "object", preserve = true } end,
  ["io.k8s.apimachinery.pkg.runtime.RawExtension"] = function() return { type = "object", preserve = true, embedded = true } end,
  [EXTENSIONS .. "JSON"] = function() return { preserve = true } end,
  [EXTENSIONS .. "JSONSchemaPropsOrBool"] = function(define) return { or_boolean = define(EXTENSIONS .. "JSONSchemaProps") } end,
  [EXTENSIONS .. "JSONSchemaPropsOrArray"] = function(define) return { or_array = define(EXTENSIONS .. "JSONSchemaProps") } end,
  [EXTENSIONS .. "JSONSchemaPropsOrStringArray"] = function(define)
    return { or_strings = define(EXTENSIONS .. "JSONSchemaProps") }
  end,
}

local nodes = {}
local define

-- The x-kubernetes-* extensions that say how a value is merged.
local function extend(node, schema)
  node.list = schema["x-kubernetes-list-type"] or node.list
  node.keys = schema["x-kubernetes-list-map-keys"] or node.keys
  node.map = schema["x-kubernetes-map-type"] or node.map
  node.merge_key = schema["x-kubernetes-patch-merge-key"] or node.merge_key
  node.merge = schema["x-kubernetes-patch-strategy"] or node.merge
  return node
end

local function says_more(schema)
  for key in pairs(schema) do
    if key ~= "$ref" and key ~= "description" then return true end
  end
  return false
end

local function copy(node)
  local new = {}
  for key, value in pairs(node) do new[key] = value end
  return new
end

local of_schema

local ZEROS = { string = "", integer = 0, number = 0, boolean = false }

-- What is written though nobody gave it: { field, node } for structs, { field, nil, value } for the rest.
local function written(node, required, facts)
  local found = {}
  for field, child in pairs(node.properties) do
    local value = facts.written and facts.written[field]
    if value == go.STRUCT then
      found[#found + 1] = { field, child }
    elseif value ~= nil then
      found[#found + 1] = { field, nil, value }
    elseif required[field] and ZEROS[child.type] ~= nil and not child.format then
      found[#found + 1] = { field, nil, ZEROS[child.type] }
    elseif required[field] and child.type == "integer" then
      found[#found + 1] = { field, nil, 0 }
    end
  end
  return found[1] and found or nil
end

-- Is the zero of this type no value? (A struct that is a pointer keeps its {}.)
local function is_plain(node)
  return not node.properties and not node.int_or_string and not node.preserve and node.format ~= "quantity"
    and not node.or_boolean and not node.or_array and not node.or_strings
end

local function of_object(node, schema, name)
  local facts = name and go.facts(name) or {}
  if schema.additionalProperties then node.additional = of_schema(schema.additionalProperties) end
  if not schema.properties then
    if not node.additional then node.preserve = true end
    return
  end
  node.required = schema.required
  local required = {}
  for _, field in ipairs(schema.required or {}) do required[field] = true end
  node.properties, node.omit = {}, {}
  for field, property in pairs(schema.properties) do
    local child = of_schema(property)
    node.properties[field] = child
    local is_kept = required[field] or facts.kept and facts.kept[field]
    -- A circle's node has no properties yet while it is being filled, but is no plain one.
    local reference = property["$ref"]
    local is_struct = reference and document.definition((reference:gsub(PREFIX, ""))).properties
    if not is_kept and not is_struct and is_plain(child) then node.omit[field] = true end
  end
  node.written = written(node, required, facts)
end

-- A node of our own, or the shared one of a definition that a bare reference names.
function of_schema(schema, name)
  local reference = schema["$ref"]
  if reference then
    local shared = define((reference:gsub(PREFIX, "")))
    return says_more(schema) and extend(copy(shared), schema) or shared
  end
  local node = name and nodes[name] or {}
  node.type, node.format = schema.type, schema.format
  extend(node, schema)
  if schema.type == "array" then node.items = of_schema(schema.items) end
  if schema.type == "object" then of_object(node, schema, name) end
  return node
end

-- The node of a definition. It is known before it is filled, so that a circle of definitions closes.
function define(name)
  if nodes[name] then return nodes[name] end
  if SPECIAL[name] then
    nodes[name] = SPECIAL[name](define)
    nodes[name].name = name
    return nodes[name]
  end
  local schema = document.definition(name) or error("openapi.json lacks the definition " .. name .. ": run spec/sandbox/openapi")
  nodes[name] = { name = name }
  return of_schema(schema, name)
end

-- The schema node of a built-in kind ("" is the core group); nil if there is none.
function M.node(group, version, kind)
  local package = PACKAGES[group]
  local name = package and package .. "." .. version .. "." .. kind
  if kind == "DeleteOptions" or kind == "Status" then name = META .. kind end
  if not name or not document.definition_text(name) then return nil end
  return define(name)
end

-- The schema node of a definition by its full name ("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").
function M.definition(name) return define(name) end

-- The full name of the definition of a built-in kind, or nil.
function M.name(group, version, kind)
  local name = PACKAGES[group] and PACKAGES[group] .. "." .. version .. "." .. kind
  return name and document.definition_text(name) and name or nil
end

return M
