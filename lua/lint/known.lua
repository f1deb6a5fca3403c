-- What lint has to know of the world, gathered in the host: the schemas of the kinds that the policies name, and the settings.
--
-- Custom kinds come from crds/, built-in ones from the API server's own OpenAPI document. Both are cut down to plain nodes
-- (lint/schema.lua says what is in one), without descriptions, so that they can travel to a worker thread.

local cases = require "cases"
local document = require "sandbox.schema.document"
local parser = require "syntax.parser"
local walk = require "syntax.walk"

local M = {}

local META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
local PREFIX = "^#/definitions/"
-- Written in more than one way, or anything at all.
local FREE = { ["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = true, ["io.k8s.apimachinery.pkg.runtime.RawExtension"] = true,
  ["io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1"] = true }

local PACKAGES = { [""] = "core", ["networking.k8s.io"] = "networking" }

local function set_of(list)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set
end

-- A schema, of a CRD or a definition, as a node. `need(name)` is told of every definition that it refers to; `name`: what it is called.
local function node_of(schema, need, name)
  if schema["$ref"] then
    local ref = schema["$ref"]:gsub(PREFIX, "")
    if FREE[ref] then return {} end
    need(ref)
    return { ref = ref }
  end
  if schema["x-kubernetes-int-or-string"] then return {} end
  local node = { type = schema.type, name = name, preserve = schema["x-kubernetes-preserve-unknown-fields"],
    default = schema.default ~= nil or nil, least = schema.minItems }
  if schema.enum then node.enum = set_of(schema.enum) end
  if schema.items then node.item = node_of(schema.items, need, name) end
  local extra = schema.additionalProperties
  if type(extra) == "table" then node.extra = node_of(extra, need, name) end
  if schema.properties then
    node.props, node.required = {}, set_of(schema.required)
    for field, child in pairs(schema.properties) do node.props[field] = node_of(child, need, name) end
  end
  return node
end

local function take_definition(known, name)
  if known.definitions[name] ~= nil then return end
  known.pause()
  known.definitions[name] = {} -- while it is made
  local schema = document.definition(name)
  if not schema then return end
  local short = name:match("[^.]+$")
  known.definitions[name] = node_of(schema, function(other) take_definition(known, other) end, short)
end

-- "apps/v1" and "Deployment" as the name of a definition.
local function definition_name(api_version, kind)
  local group, version = api_version:match("^(.-)/(.+)$")
  if not group then group, version = "", api_version end
  local package = PACKAGES[group] or group:match("^[%w-]+$")
  return package and ("io.k8s.api.%s.%s.%s"):format(package, version, kind)
end

local crds

-- The schemas of crds/: "primehub.io/v1alpha1/PhDeployment" -> {schema, kind}.
local function custom_kinds()
  if crds then return crds end
  crds = {}
  for _, name in ipairs(moonphase.assets "crds/") do
    if name:match "^crds/[^/]+%.yaml$" then
      for _, document_of in ipairs(assert(yaml.decode(assert(moonphase.read_asset(name)), name))) do
        local spec = document_of.spec
        for _, version in ipairs(spec.versions) do
          crds[spec.group .. "/" .. version.name .. "/" .. spec.names.kind] = { schema = version.schema.openAPIV3Schema,
            kind = spec.names.kind }
        end
      end
    end
  end
  return crds
end
M.custom_kinds = custom_kinds

local function take_kind(known, api_version, kind)
  local key = api_version .. "/" .. kind
  if known.kinds[key] then return end
  local function need(name) take_definition(known, name) end
  local custom = custom_kinds()[key]
  if custom then
    local node = node_of(custom.schema, need, kind)
    need(META)
    node.props = node.props or {}
    node.props.metadata = { ref = META }
    node.props.apiVersion, node.props.kind = { type = "string" }, { type = "string" }
    known.kinds[key] = node
    return
  end
  local name = definition_name(api_version, kind)
  if name and document.definition(name) then
    need(name)
    known.kinds[key] = { ref = name }
  end
end

local function literal_field(node, name)
  for _, item in ipairs(node.items) do
    if item.is == "field" and item.key.value == name and item.value.is == "string" then return item.value.value end
  end
  return nil
end

-- All that the files name: tables with a text as `api_version` and one as `kind`.
local function take_named_kinds(known, tree)
  for _, node in ipairs(tree and walk.all(tree, "table") or {}) do
    local api_version, kind = literal_field(node, "api_version"), literal_field(node, "kind")
    if api_version and kind then take_kind(known, api_version, kind) end
  end
end

local cached = {}

-- The table cases of the folder: {file, cases} or {file, mistake} each.
local function cases_of(files)
  local all, names = {}, {}
  for name in pairs(files) do
    if name:match("_cases%.yaml$") then names[#names + 1] = name end
  end
  table.sort(names)
  for i, name in ipairs(names) do
    local read, mistake = cases.read(files[name], name)
    all[i] = { file = name, cases = read, mistake = mistake }
  end
  return all
end

-- {kinds, definitions, settings, cases} for these files. `settings`: those that are in force, or nil: those of settings.yaml; `pause()` is
-- called often. tree: that of phdeployment.lua, if it is known already.
function M.gather(files, settings, pause, tree)
  local source = files["phdeployment.lua"] or ""
  if cached.source ~= source then
    local known = { kinds = {}, definitions = {}, pause = pause or function() end }
    take_named_kinds(known, tree or parser.parse(source))
    cached = { source = source, kinds = known.kinds, definitions = known.definitions }
  end
  if settings == nil and files["settings.yaml"] then
    local documents = yaml.decode(files["settings.yaml"], "settings.yaml")
    settings = documents and documents[1]
  end
  return { kinds = cached.kinds, definitions = cached.definitions, settings = type(settings) == "table" and settings or nil,
    cases = cases_of(files) }
end

return M
