-- May this be the schema of a custom resource? The rules of structural schemas, with the server's words.
--
-- "Structural" means that the type of every field is said once, outside of allOf, anyOf, oneOf and not, so that pruning and defaulting
-- have one answer (KEP-1111 and the page on CustomResourceDefinitions). Two passes as in the server: what no schema may have,
-- then the invariants; and only if both hold, the defaults are looked at.

local checks = require "sandbox.kinds.checks"
local gotext = require "sandbox.schema.gotext"
local regexp = require "sandbox.schema.regexp"
local sorted = require "sorted"
local structural = require "sandbox.schema.structural"
local validate = require "sandbox.schema.validate"

local M = {}

local null = json.null
local DEPTH_MOST = 100

local TYPES = { "array", "boolean", "integer", "number", "object", "string" }
local IS_TYPE = {}
for _, name in ipairs(TYPES) do IS_TYPE[name] = true end

local UNSUPPORTED = { "$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties" }
local EMBEDDED, PRESERVE = "x-kubernetes-embedded-resource", "x-kubernetes-preserve-unknown-fields"
local LIST, KEYS, MAP, INT_OR_STRING = "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
  "x-kubernetes-int-or-string"

-- Does it have what makes it no structural schema at all? Then the server says only that.
local function is_foreign(schema)
  for _, name in ipairs(UNSUPPORTED) do
    local value = schema[name]
    if value ~= nil and (type(value) ~= "table" or next(value)) then return true end
  end
  if json.is_array(schema.items) then return true end
  for _, name in ipairs { "items", "additionalProperties", "not" } do
    if type(schema[name]) == "table" and is_foreign(schema[name]) then return true end
  end
  for _, name in ipairs { "properties", "allOf", "anyOf", "oneOf" } do
    for _, inner in pairs(schema[name] or {}) do
      if is_foreign(inner) then return true end
    end
  end
  return false
end

-- Calls visit(path, schema, how) for the schemas directly below one. how: "field", "item" or "value" (allOf and its like).
local function below(path, schema, visit)
  if type(schema.items) == "table" and not json.is_array(schema.items) then visit(path .. ".items", schema.items, "item") end
  if type(schema.additionalProperties) == "table" then visit(path .. ".additionalProperties", schema.additionalProperties, "field") end
  for _, name in ipairs(sorted(schema.properties)) do
    visit(("%s.properties[%s]"):format(path, name), schema.properties[name], "field")
  end
  for _, set in ipairs { "allOf", "anyOf", "oneOf" } do
    for i, one in ipairs(schema[set] or {}) do visit(("%s.%s[%d]"):format(path, set, i - 1), one, "value") end
  end
  if schema["not"] then visit(path .. ".not", schema["not"], "value") end
end

-- ---- what no schema may have

local function is_scalar(schema) return schema.type ~= "object" and schema.type ~= "array" end

local function check_keys(errs, path, schema)
  local keys = schema[KEYS] or {}
  if #keys == 0 then return checks.required(errs, path .. "." .. KEYS, "must not be empty if " .. LIST .. " is map") end
  local items = type(schema.items) == "table" and schema.items or {}
  if items.type and items.type ~= "object" then
    return checks.invalid(errs, path .. ".items.type", items.type, "must be object if parent array's " .. LIST .. " is map")
  end
  local properties, required, seen, known, twice = items.properties or {}, {}, {}, true, false
  for _, name in ipairs(items.required or {}) do required[name] = true end
  for _, key in ipairs(keys) do
    local property = properties[key]
    known, twice = known and property ~= nil, twice or seen[key]
    seen[key] = true
    if property and not is_scalar(property) then
      checks.invalid(errs, ("%s.items.properties[%s].type"):format(path, key), property.type,
        "must be a scalar type if parent array's " .. LIST .. " is map")
    end
    if property and not required[key] and property.default == nil then
      checks.required(errs, ("%s.items.properties[%s].default"):format(path, key),
        "this property is in " .. KEYS .. ", so it must have a default or be a required property")
    end
  end
  if not known then
    checks.invalid(errs, path .. "." .. KEYS, checks.verbatim(checks.go_strings(keys)), "entries must all be names of item properties")
  end
  if twice then
    checks.invalid(errs, path .. "." .. KEYS, checks.verbatim(checks.go_strings(keys)), "must not contain duplicate entries")
  end
end

local function check_set(errs, path, schema)
  local items = type(schema.items) == "table" and schema.items or {}
  if items.nullable then checks.forbidden(errs, path .. ".items.nullable", "cannot be nullable when " .. LIST .. " is set") end
  local extension = items.type == "object" and MAP or items.type == "array" and LIST or nil
  if extension and items[extension] ~= "atomic" then
    checks.invalid(errs, path .. ".items." .. extension, items[extension] or "null", "must be atomic as item of a list with "
      .. LIST .. "=set")
  end
end

local function check_lists(errs, path, schema)
  local list, map = schema[LIST], schema[MAP]
  if list then
    if schema.type ~= "array" then
      if not schema.type then checks.required(errs, path .. ".type", "must be array if " .. LIST .. " is specified")
      else checks.invalid(errs, path .. ".type", schema.type, "must be array if " .. LIST .. " is specified") end
    end
    if list ~= "atomic" and list ~= "set" and list ~= "map" then
      checks.not_supported(errs, path .. "." .. LIST, list, { "atomic", "set", "map" })
    end
  end
  if schema[KEYS] and #schema[KEYS] > 0 and list ~= "map" then
    local name = list and path .. "." .. LIST
    if name then checks.invalid(errs, name, list, "must be map if " .. KEYS .. " is non-empty")
    else checks.required(errs, path .. "." .. LIST, "must be map if " .. KEYS .. " is non-empty") end
  end
  if list == "map" then check_keys(errs, path, schema) elseif list == "set" then check_set(errs, path, schema) end
  if map then
    if schema.type ~= "object" then
      if not schema.type then checks.required(errs, path .. ".type", "must be object if " .. MAP .. " is specified")
      else checks.invalid(errs, path .. ".type", schema.type, "must be object if " .. MAP .. " is specified") end
    end
    if map ~= "atomic" and map ~= "granular" then checks.not_supported(errs, path .. "." .. MAP, map, { "atomic", "granular" }) end
  end
end

local function check_generic(errs, path, schema, depth)
  if depth > DEPTH_MOST then return checks.invalid(errs, path, "", "is nested too deeply") end
  if schema.uniqueItems then
    checks.forbidden(errs, path .. ".uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic")
  end
  if schema.additionalProperties ~= nil and schema.additionalProperties ~= true and schema.properties and next(schema.properties) then
    checks.forbidden(errs, path .. ".additionalProperties", "additionalProperties and properties are mutual exclusive")
  end
  below(path, schema, function(inner_path, inner) check_generic(errs, inner_path, inner, depth + 1) end)
  if schema[PRESERVE] == false then checks.invalid(errs, path .. "." .. PRESERVE, false, "must be true or undefined") end
  if schema.type and not IS_TYPE[schema.type] then checks.not_supported(errs, path .. ".type", schema.type, TYPES) end
  for _, name in ipairs(UNSUPPORTED) do
    local value = schema[name]
    if value ~= nil and (type(value) ~= "table" or next(value)) then
      checks.forbidden(errs, path .. "." .. name, name .. " is not supported")
    end
  end
  if schema.type == "null" then checks.forbidden(errs, path .. ".type", "type cannot be set to null, use nullable as an alternative") end
  if json.is_array(schema.items) then checks.forbidden(errs, path .. ".items", "items must be a schema object and not an array") end
  check_lists(errs, path, schema)
  if schema.pattern then
    local _, why = regexp.compile(schema.pattern)
    if why then checks.invalid(errs, path .. ".pattern", schema.pattern, "must be a valid regular expression, but isn't: " .. why) end
  end
end

-- ---- the invariants

local EMPTY = { "type", "title", "description", "nullable" }
local NONE_OF = { EMBEDDED, INT_OR_STRING, PRESERVE, LIST, KEYS, MAP }

-- Below allOf, anyOf, oneOf and not. `exempt`: its type is one of the two forms that say "integer or string".
local function check_value(errs, path, schema, exempt)
  if type(schema.items) == "table" then check_value(errs, path .. ".items", schema.items) end
  for _, name in ipairs(EMPTY) do
    if schema[name] and not (exempt and name == "type") then
      checks.forbidden(errs, path .. "." .. name, "must be empty to be structural")
    end
  end
  for _, name in ipairs(sorted(schema.properties)) do
    check_value(errs, ("%s.properties[%s]"):format(path, name), schema.properties[name])
  end
  if schema.default ~= nil then checks.forbidden(errs, path .. ".default", "must be undefined to be structural") end
  if schema.additionalProperties ~= nil then
    checks.forbidden(errs, path .. ".additionalProperties", "must be undefined to be structural")
  end
  for _, name in ipairs(NONE_OF) do
    if schema[name] then checks.forbidden(errs, path .. "." .. name, "must be false to be structural") end
  end
  for _, set in ipairs { "allOf", "anyOf", "oneOf" } do
    for i, one in ipairs(schema[set] or {}) do check_value(errs, ("%s.%s[%d]"):format(path, set, i - 1), one) end
  end
  if schema["not"] then check_value(errs, path .. ".not", schema["not"]) end
end

-- anyOf: [{type: integer}, {type: string}], which x-kubernetes-int-or-string allows.
local function says_int_or_string(list)
  return list ~= nil and #list == 2 and list[1].type == "integer" and list[2].type == "string"
end

local function check_values(errs, path, schema)
  for _, set in ipairs { "allOf", "anyOf", "oneOf" } do
    for i, one in ipairs(schema[set] or {}) do
      local place = ("%s.%s[%d]"):format(path, set, i - 1)
      if set == "allOf" and i == 1 and schema[INT_OR_STRING] and says_int_or_string(one.anyOf) then
        for j, inner in ipairs(one.anyOf) do check_value(errs, ("%s.anyOf[%d]"):format(place, j - 1), inner, true) end
      else
        check_value(errs, place, one, set == "anyOf" and schema[INT_OR_STRING] and says_int_or_string(schema.anyOf))
      end
    end
  end
  if schema["not"] then check_value(errs, path .. ".not", schema["not"]) end
end

local function check_metadata(errs, path, schema)
  for _, name in ipairs { "kind", "apiVersion" } do
    local property = schema.properties and schema.properties[name]
    if property and property.type ~= "string" then
      checks.invalid(errs, ("%s.properties[%s].type"):format(path, name), property.type or "", "must be string")
    end
  end
  local metadata = schema.properties and schema.properties.metadata
  if not metadata then return end
  local place = path .. ".properties[metadata]"
  if metadata.type ~= "object" then return checks.invalid(errs, place .. ".type", metadata.type or "", "must be object") end
  for name in pairs(metadata.properties or {}) do
    if name ~= "name" and name ~= "generateName" then
      return checks.forbidden(errs, place,
        "must not specify anything other than name and generateName, but metadata is implicitly specified")
    end
  end
end

local UNTYPED = { root = "must not be empty at the root", item = "must not be empty for specified array items",
  field = "must not be empty for specified object fields" }

local function check_invariants(errs, path, schema, level)
  if schema.type == "array" and type(schema.items) ~= "table" then checks.required(errs, path .. ".items", "must be specified") end
  if schema.additionalProperties ~= nil and level == "root" then
    checks.forbidden(errs, path .. ".additionalProperties", "must not be used at the root")
  end
  below(path, schema, function(inner_path, inner, how)
    if how ~= "value" then check_invariants(errs, inner_path, inner, how) end
  end)
  check_values(errs, path, schema)
  local is_embedded = schema[EMBEDDED]
  if is_embedded and not schema[PRESERVE] and not (schema.properties and next(schema.properties)) then
    checks.required(errs, path .. ".properties", ("must not be empty if %s is true without %s"):format(EMBEDDED, PRESERVE))
  end
  if is_embedded and schema.type ~= "object" then
    if not schema.type then checks.required(errs, path .. ".type", "must be object if " .. EMBEDDED .. " is true")
    else checks.invalid(errs, path .. ".type", schema.type, "must be object if " .. EMBEDDED .. " is true") end
  elseif not schema.type and not schema[INT_OR_STRING] and not schema[PRESERVE] then
    checks.required(errs, path .. ".type", UNTYPED[level])
  elseif level == "root" and schema.type and schema.type ~= "object" then
    checks.invalid(errs, path .. ".type", schema.type, "must be object at the root")
  end
  if level == "root" or is_embedded then check_metadata(errs, path, schema) end
end

-- ---- defaults

local function check_default(errs, path, schema)
  local node, place = structural.node(schema), path .. ".default"
  local default = schema.default
  if type(default) == "table" then
    local bare = structural.node(schema)
    bare.default = nil
    local clean = structural.clean(bare, default)
    local function has_all(given, left)
      if type(given) ~= "table" then return true end
      for key, inner in pairs(given) do
        if inner ~= null and (type(left) ~= "table" or left[key] == nil or not has_all(inner, left[key])) then return false end
      end
      return true
    end
    if not has_all(default, clean) then
      checks.invalid(errs, place, checks.verbatim(gotext.source(default)), "must not have unknown fields")
    end
    default = clean
  end
  local found = {}
  validate.value(found, "", node, default)
  for _, one in ipairs(found) do
    one.field = one.field == "<nil>" and place or place .. "." .. one.field
    errs[#errs + 1] = one
  end
end

-- A default of the root is an object of its own: it must say of which kind.
local function check_root_default(errs, path, default)
  for _, name in ipairs { "apiVersion", "kind" } do
    if type(default) == "table" and (default[name] or "") == "" then checks.required(errs, path .. ".default." .. name, "must not be empty") end
  end
end

-- metadata is not the schema's to fill in.
local function check_metadata_defaults(errs, path, schema)
  local metadata = schema.properties and schema.properties.metadata
  for _, name in ipairs(sorted(metadata and metadata.properties)) do
    if metadata.properties[name].default ~= nil then
      checks.forbidden(errs, ("%s.properties[metadata].properties[%s].default"):format(path, name), "must not be set in top-level metadata")
    end
  end
end

local function names_schema(schema)
  if (schema["$schema"] or "") ~= "" then return true end
  local found = false
  below("", schema, function(_, inner) found = found or names_schema(inner) end)
  return found
end

local function check_defaults(errs, path, schema)
  if schema.default ~= nil then check_default(errs, path, schema) end
  below(path, schema, function(inner_path, inner, how)
    if how ~= "value" then check_defaults(errs, inner_path, inner) end
  end)
end

-- Adds what is wrong with a schema (a JSONSchemaProps value) to errs. path: of the schema.
function M.check(errs, path, schema)
  if schema.nullable then checks.forbidden(errs, path .. ".nullable", "nullable cannot be true at the root") end
  local before = #errs
  check_generic(errs, path, schema, 0)
  if errs[#errs] and errs[#errs].message:find("is nested too deeply", 1, true) then return end
  if is_foreign(schema) then return end
  if #errs == before and names_schema(schema) then return checks.invalid(errs, path, "", "OpenAPIV3Schema 'schema' is not supported") end
  check_invariants(errs, path, schema, "root")
  if #errs > before then return end
  check_metadata_defaults(errs, path, schema)
  check_root_default(errs, path, schema.default)
  if #errs == before then check_defaults(errs, path, schema) end
end

return M
