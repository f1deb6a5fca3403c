-- What a schema of a custom resource says about places in it beyond single values: resources inside the resource
-- (x-kubernetes-embedded-resource), and lists that are sets or maps.
--
-- coerce(node, object): the metadata of embedded resources as Go's types have it, in place; nil, text when it is not even that (400)
-- check(errs, node, object): what is wrong with them, and which items are there twice

local builtin = require "sandbox.schema.builtin"
local checks = require "sandbox.kinds.checks"
local decode = require "sandbox.schema.decode"
local gotext = require "sandbox.schema.gotext"
local meta = require "sandbox.kinds.meta"
local settled = require("sandbox.schema.settled").by
local sorted = require "sorted"

local M = {}

local null = json.null
local array_mark = getmetatable(json.array {})

local object_meta -- the node of ObjectMeta, on first need

-- An object's metadata as the server's types have it. -> metadata | nil, text
function M.metadata(value)
  if value == nil or value == null then return {} end
  if type(value) ~= "table" or getmetatable(value) == array_mark then
    local letter = type(value) == "string" and '"' or type(value) == "table" and "[" or tostring(value):sub(1, 1)
    return nil, "readObjectStart: expect { or n, but found " .. letter
  end
  object_meta = object_meta or builtin.definition("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
  local clean, why = decode.check(object_meta, value)
  if clean and clean.creationTimestamp == null then clean.creationTimestamp = nil end
  return clean, why
end

-- Has this node, or one below it, anything to say? Found out once.
local function concerns(node)
  if node.concerns == nil then
    node.concerns = false -- structural schemas have no circles, but let none hurt
    local found = node.embedded or node.list == "set" or node.list == "map" or node.items and concerns(node.items)
      or node.additional and not node.additional.nothing and concerns(node.additional)
    for _, child in pairs(node.properties or {}) do found = concerns(child) or found end
    node.concerns = found and true or false
  end
  return node.concerns
end

-- Calls visit(path, node, value) at every place that has a node with something to say.
local function walk(path, node, value, visit)
  if type(value) ~= "table" or not concerns(node) or settled[value] == node then return end
  visit(path, node, value)
  if getmetatable(value) == array_mark then
    if node.items then
      for i = 1, #value do walk(("%s[%d]"):format(path, i - 1), node.items, value[i], visit) end
    end
    return
  end
  local properties, additional = node.properties, node.additional
  for _, key in ipairs(sorted(value)) do
    local child = properties and properties[key]
    if child then
      walk(path == "" and key or path .. "." .. key, child, value[key], visit)
    elseif additional and not additional.nothing then
      walk(("%s[%s]"):format(path, key), additional, value[key], visit)
    end
  end
end

function M.coerce(root, object)
  if not concerns(root) then return true end
  local ok, why = pcall(walk, "", root, object, function(path, node, value)
    if not node.embedded or getmetatable(value) == array_mark then return end
    for _, name in ipairs { "apiVersion", "kind" } do
      if value[name] ~= nil and type(value[name]) ~= "string" then
        error({ text = ("%s.%s: Invalid value: %s: must be a string"):format(path, name, gotext.source(value[name])) }, 0)
      end
    end
    if value.metadata == nil then return end
    local clean, trouble = M.metadata(value.metadata)
    if not clean then error({ text = ("%s.metadata: Invalid value: %s: %s"):format(path, gotext.source(value.metadata), trouble) }, 0) end
    value.metadata = clean
  end)
  if ok then return true end
  if type(why) ~= "table" then error(why, 0) end
  return nil, why.text
end

local function check_resource(errs, path, value)
  local version, kind = value.apiVersion, value.kind
  if version == nil then
    checks.required(errs, path .. ".apiVersion", "must not be empty")
  elseif version == "" then
    checks.invalid(errs, path .. ".apiVersion", version, "must not be empty")
  elseif type(version) == "string" and select(2, version:gsub("/", "")) > 1 then
    checks.invalid(errs, path .. ".apiVersion", version, "unexpected GroupVersion string: " .. version)
  end
  if kind == nil then
    checks.required(errs, path .. ".kind", "must not be empty")
  elseif kind == "" then
    checks.invalid(errs, path .. ".kind", kind, "must not be empty")
  elseif type(kind) == "string" then
    local messages = checks.dns_1035_label(kind:lower())
    if messages then
      checks.invalid(errs, path .. ".kind", kind, "may have mixed case, but should otherwise match: " .. table.concat(messages, ","))
    end
  end
  if type(value.metadata) ~= "table" then return end
  local found = {}
  -- The name of an embedded resource may be any: what names its kind allows is not known here.
  local any = function() return nil end
  local metadata = {}
  for name, inner in pairs(value.metadata) do metadata[name] = inner end
  metadata.name = metadata.name or metadata.generateName or "fake"
  metadata.namespace = metadata.namespace or "fake"
  meta.validate_create(found, metadata, true, any, false)
  for _, one in ipairs(found) do
    one.field = path .. "." .. one.field
    errs[#errs + 1] = one
  end
end

local function check_set(errs, path, value)
  local seen = {}
  for i = 1, #value do
    local key = json.encode(json.array { value[i] })
    if seen[key] then checks.duplicate(errs, ("%s[%d]"):format(path, i - 1), checks.verbatim(gotext.source(value[i]))) end
    seen[key] = true
  end
end

local function check_map(errs, path, node, value)
  local seen = {}
  for i = 1, #value do
    local item = value[i]
    if type(item) == "table" and getmetatable(item) ~= array_mark then
      local keys = {}
      for _, name in ipairs(node.keys or {}) do keys[name] = item[name] end
      local key = json.encode(keys)
      if seen[key] then checks.duplicate(errs, ("%s[%d]"):format(path, i - 1), checks.verbatim(gotext.source(keys))) end
      seen[key] = true
    elseif item ~= json.null then
      checks.invalid(errs, ("%s[%d]"):format(path, i - 1), checks.verbatim(gotext.source(item)), "must be an object for an array of list-type map")
    end
  end
end

function M.check(errs, root, object)
  if not concerns(root) then return end
  walk("", root, object, function(path, node, value)
    if node.embedded and getmetatable(value) ~= array_mark then check_resource(errs, path, value) end
  end)
  walk("", root, object, function(path, node, value)
    if getmetatable(value) ~= array_mark then return end
    if node.list == "set" then check_set(errs, path, value) elseif node.list == "map" then check_map(errs, path, node, value) end
  end)
end

return M
