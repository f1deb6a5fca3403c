-- How a value of each schema node is merged: the "atoms" of structured-merge-diff.
--
-- Server-side apply knows of a node only how it is owned: as one value (scalars, atomic maps and lists), field by field
-- (structs and maps), or item by item (sets, and lists whose items have keys). This derives it from a schema
-- node (see sandbox/schema) once and keeps it beside the node, in the way the API server derives it from its OpenAPI
-- document: list types and map keys, else the patch strategy and its merge key; what has no type is one value; below
-- x-kubernetes-preserve-unknown-fields, maps that the schema does not know are owned field by field.
--
-- An atom: { kind=, scalar="string"|"number"|"boolean"|nil, fields={name=atom}, element=atom|nil (other fields of a map),
-- item=atom, keys={sorted names}, defaults={name=value} }. `kind` is one of the constants below.

local fieldset = require "sandbox.fieldset"

local M = {}

M.SCALAR, M.UNTYPED, M.ATOMIC_MAP, M.ATOMIC_LIST, M.MAP, M.SET, M.KEYED, M.DEDUCED = 1, 2, 3, 4, 5, 6, 7, 8

local ARRAY = getmetatable(json.array {})

-- The value as a map or as a list; nil if it is none.
function M.map_of(value)
  if type(value) == "table" and getmetatable(value) ~= ARRAY then return value end
end

function M.list_of(value)
  if type(value) == "table" and getmetatable(value) == ARRAY then return value end
end

-- Anything, owned as a whole.
local UNTYPED = { kind = M.UNTYPED, fields = {} }
UNTYPED.element, UNTYPED.item = UNTYPED, UNTYPED
M.UNTYPED_ATOM = UNTYPED

-- Anything: maps field by field, lists and scalars as a whole.
local DEDUCED = { kind = M.DEDUCED, fields = {}, item = UNTYPED }
DEDUCED.element = DEDUCED
M.DEDUCED_ATOM = DEDUCED

local INT_OR_STRING = { kind = M.SCALAR }
local RAW = "io.k8s.apimachinery.pkg.runtime.RawExtension"

-- Other formats of strings are checked by nobody here.
local TEXT_FORMATS = { [""] = true, byte = true, quantity = true }

local SCALARS = { string = "string", integer = "number", number = "number", boolean = "boolean" }
local VALUES = { [false] = setmetatable({}, { __mode = "k" }), [true] = setmetatable({}, { __mode = "k" }) }

local atom_of

local function fields_of(properties, preserve)
  return setmetatable({}, { __index = function(fields, name)
    local node = properties[name]
    if not node then return nil end
    local atom = atom_of(node, preserve)
    rawset(fields, name, atom)
    return atom
  end })
end

-- What is merged item by item: by list type, else by patch strategy.
local function list_rule(node)
  if node.list then
    if node.list == "set" then return M.SET end
    if node.list == "map" then return M.KEYED, node.keys end
    return M.ATOMIC_LIST
  end
  if node.merge == "merge" or node.merge == "merge,retainKeys" then
    if node.merge_key then return M.KEYED, { node.merge_key } end
    return M.SET
  end
  return M.ATOMIC_LIST
end

local ZEROS = { string = "", integer = 0, number = 0, boolean = false }

-- What stands for a key that an item does not say: the schema's default. Those of built-in types are not in the published
-- document: the zero of a required field, and one more.
local function key_default(items, name)
  local property = items and items.properties and items.properties[name]
  if not property then return nil end
  if property.default ~= nil or not items.name then return property.default end
  if name == "protocol" and items.name == "io.k8s.api.core.v1.ContainerPort" then return "TCP" end
  for _, required in ipairs(items.required or {}) do
    if required == name then return ZEROS[property.type] end
  end
end

local function fill_list(atom, node, preserve)
  local keys
  atom.kind, keys = list_rule(node)
  atom.item = node.items and atom_of(node.items, preserve) or UNTYPED
  if not keys then return end
  atom.keys = table.move(keys, 1, #keys, 1, {})
  table.sort(atom.keys)
  atom.defaults = {}
  for _, name in ipairs(atom.keys) do atom.defaults[name] = key_default(node.items, name) end
end

local function fill_object(atom, node, inherited)
  atom.kind = node.map == "atomic" and M.ATOMIC_MAP or M.MAP
  if node.properties and next(node.properties) ~= nil then
    local preserve = inherited or node.preserve == true
    atom.fields = fields_of(node.properties, preserve)
    if preserve then atom.element = DEDUCED end
    return
  end
  atom.fields = {}
  local values = type(node.additional) == "table" and node.additional
  atom.element = values and atom_of(values, inherited) or inherited and DEDUCED or UNTYPED
end

-- `preserve`: a parent keeps fields that the schema does not know.
function atom_of(node, preserve)
  local known = VALUES[preserve]
  local atom = known[node]
  if atom then return atom end
  local kind = node.type
  if kind == nil and not node.properties or node.name == RAW then
    atom = node.int_or_string and INT_OR_STRING or preserve and DEDUCED or UNTYPED
    known[node] = atom
    return atom
  end
  atom = {}
  known[node] = atom -- before its parts: a schema may contain itself
  if kind == "array" then
    fill_list(atom, node, preserve)
  elseif kind == "object" or kind == nil then
    fill_object(atom, node, preserve)
  else
    atom.kind, atom.scalar = M.SCALAR, SCALARS[kind]
    if kind == "string" and not TEXT_FORMATS[node.format or ""] then atom.scalar = nil end
  end
  return atom
end

local TEXT, WHOLE, TIME = { type = "string" }, { type = "integer" }, { type = "string", format = "date-time" }
local TEXTS = { type = "object", additional = TEXT }

-- ObjectMeta of Kubernetes 1.20: the metadata of every kind, also where a CRD only says "object".
local METADATA = { type = "object", properties = {
  name = TEXT, namespace = TEXT, generateName = TEXT, clusterName = TEXT, selfLink = TEXT, uid = TEXT, resourceVersion = TEXT,
  generation = WHOLE, deletionGracePeriodSeconds = WHOLE, creationTimestamp = TIME, deletionTimestamp = TIME,
  labels = TEXTS, annotations = TEXTS,
  finalizers = { type = "array", items = TEXT, merge = "merge" },
  managedFields = { type = "array", items = { type = "object" } },
  ownerReferences = { type = "array", merge = "merge", merge_key = "uid", items = { type = "object", properties = {
    apiVersion = TEXT, kind = TEXT, name = TEXT, uid = TEXT, controller = { type = "boolean" }, blockOwnerDeletion = { type = "boolean" } } } },
} }

-- Does a custom kind's schema have an int-or-string anywhere? Kubernetes 1.20 cannot say that in the document that it makes
-- of the schema for server-side apply ("has invalid property: anyOf" in its log), and then does without a schema.
local function has_either(node)
  if type(node) ~= "table" then return false end
  if node.int_or_string or has_either(node.items) or has_either(node.additional) then return true end
  for _, child in pairs(node.properties or {}) do
    if has_either(child) then return true end
  end
  return false
end

local ROOTS = setmetatable({}, { __mode = "k" })

-- The atom of a whole object. `node` nil: a kind without a schema, where all is deduced. `node.name`: a built-in kind.
function M.root(node)
  if not node then return DEDUCED end
  local root = ROOTS[node]
  if root then return root end
  local metadata = node.properties and node.properties.metadata
  if not node.name and has_either(node) then
    root = DEDUCED
  elseif metadata and metadata.properties then
    root = atom_of(node, false)
  else
    local properties = setmetatable({ apiVersion = TEXT, kind = TEXT, metadata = METADATA }, { __index = node.properties })
    local preserve = node.preserve == true
    root = { kind = M.MAP, element = preserve and DEDUCED or nil }
    root.fields = fields_of(properties, preserve)
    rawset(root.fields, "metadata", atom_of(METADATA, false))
  end
  ROOTS[node] = root
  return root
end

-- Keys of items --------------------------------------------------------------------------------------------------

local FIELD_KEYS, field_keys = {}, 0

-- "f:NAME". Remembered, since the same few names make up nearly all objects; bounded, since clients choose names.
function M.field_key(name)
  local key = FIELD_KEYS[name]
  if key then return key end
  key = "f:" .. name
  if field_keys == 4096 then FIELD_KEYS, field_keys = {}, 0 end
  FIELD_KEYS[name], field_keys = key, field_keys + 1
  return key
end

local function keyed_item(item, atom)
  if item == json.null then return nil, "associative list with keys may not have a null element" end
  if not M.map_of(item) then return nil, "associative list with keys may not have non-map elements" end
  local values = {}
  for i, name in ipairs(atom.keys) do
    local value = item[name]
    if value == nil then value = atom.defaults[name] end
    if value == nil then
      return nil, ('associative list with keys has an element that omits key field "%s" (and doesn\'t have default value)'):format(name)
    end
    values[i] = value
  end
  return fieldset.key_of(atom.keys, values)
end

-- The step that leads to one item of a list; nil and the server's words if it has none.
function M.item_key(item, atom)
  if atom.kind == M.KEYED then
    local keys = atom.keys
    if keys[2] == nil and type(item) == "table" then -- the usual list: one key, a text
      local value = item[keys[1]]
      if type(value) == "string" then return "k:{" .. fieldset.scalar(keys[1]) .. ":" .. fieldset.scalar(value) .. "}" end
    end
    return keyed_item(item, atom)
  end
  if item == json.null then return nil, "associative list without keys has an element that's an explicit null" end
  if M.map_of(item) then return nil, "associative list without keys has an element that's a map type" end
  if type(item) == "table" then return nil, "not supported: associative list with lists as elements" end
  return "v:" .. fieldset.scalar(item)
end

return M
