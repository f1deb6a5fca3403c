-- The OpenAPI v2 definitions and paths of custom kinds, as the server derives them from CustomResourceDefinitions.
--
-- A published schema is less than the one that is enforced: what kubectl's OpenAPI v2 code cannot read or would check wrongly
-- is left out (alternatives, defaults, the types of nullable fields and of integer-or-string, what lies below fields that keep
-- unknown ones). The rest is descriptions, types and what is required, which is what explain and --validate need.

local document = require "sandbox.schema.document"

local M = {}

local array = json.array
local META = "io.k8s.apimachinery.pkg.apis.meta.v1."
local DROPPED = { allOf = true, anyOf = true, oneOf = true, ["not"] = true, default = true, nullable = true }
local PRESERVE, INT_OR_STRING = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"

local function published(schema)
  local new = {}
  local bare = schema.nullable or schema[PRESERVE]
  for key, value in pairs(schema) do
    if DROPPED[key] or bare and (key == "type" or key == "items" or key == "properties" or key == "additionalProperties")
      or key == "type" and schema[INT_OR_STRING] then
      value = nil
    elseif key == "items" or key == "additionalProperties" then
      if type(value) == "table" then value = published(value) end
    elseif key == "properties" then
      local map = {}
      for name, inner in pairs(value) do map[name] = published(inner) end
      value = map
    elseif key == "required" then
      local list = array {}
      for _, name in ipairs(value) do
        local property = schema.properties and schema.properties[name]
        if not (property and property.nullable) then list[#list + 1] = name end
      end
      value = list[1] and list or nil
    end
    new[key] = value
  end
  return new
end

-- "ex.io", "v1", "Foo" -> "io.ex.v1.Foo"
local function name_of(group, version, kind)
  local parts = {}
  for part in group:gmatch("[^.]+") do table.insert(parts, 1, part) end
  return table.concat(parts, ".") .. "." .. version .. "." .. kind
end
M.name = name_of

local function property_of(definition, name) return document.definition(definition).properties[name] end

local function reference(name, description)
  return { ["$ref"] = "#/definitions/" .. name, description = description }
end

local CORE = "io.k8s.api.core.v1."

local function with_meta(kind, schema)
  local new = schema
  new.properties = new.properties or {}
  new.properties.apiVersion = property_of(CORE .. "Pod", "apiVersion")
  new.properties.kind = property_of(CORE .. "Pod", "kind")
  new.properties.metadata = reference(META .. "ObjectMeta", property_of(CORE .. "Pod", "metadata").description)
  new["x-kubernetes-group-version-kind"] = array { { group = kind.group, version = kind.version, kind = kind.kind } }
  return new
end

-- The whole schema of a kind's version, as its definition gives it; nil if it has none.
function M.schema(kind)
  for _, version in ipairs(kind.crd.spec.versions) do
    if version.name == kind.version then return version.schema and version.schema.openAPIV3Schema end
  end
end

local function list_of(kind)
  return { description = ("%sList is a list of %s"):format(kind.kind, kind.kind), type = "object", required = array { "items" },
    properties = {
      apiVersion = property_of(CORE .. "Pod", "apiVersion"), kind = property_of(CORE .. "Pod", "kind"),
      metadata = reference(META .. "ListMeta", property_of(CORE .. "PodList", "metadata").description),
      items = { type = "array", items = { ["$ref"] = "#/definitions/" .. name_of(kind.group, kind.version, kind.kind) },
        description = ("List of %s. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md")
          :format(kind.plural) },
    },
    ["x-kubernetes-group-version-kind"] = array { { group = kind.group, version = kind.version, kind = kind.list_kind } } }
end

-- Adds the definitions of a kind to a map of names to values. whole: with all that its schema says (OpenAPI v3).
function M.definitions(kind, into, whole)
  local schema = M.schema(kind) or { type = "object", [PRESERVE] = true }
  local value
  if whole then
    value = {}
    for key, inner in pairs(schema) do value[key] = inner end
    local properties = {}
    for key, inner in pairs(schema.properties or {}) do properties[key] = inner end
    value.properties = properties
    value = with_meta(kind, value)
  elseif schema[PRESERVE] then
    value = { type = "object", description = schema.description,
      ["x-kubernetes-group-version-kind"] = array { { group = kind.group, version = kind.version, kind = kind.kind } } }
  else
    value = with_meta(kind, published(schema))
  end
  into[name_of(kind.group, kind.version, kind.kind)] = value
  into[name_of(kind.group, kind.version, kind.list_kind)] = list_of(kind)
end

-- ---- paths

local TYPES = array { "application/json", "application/yaml" }
local PATCHES = array { "application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml" }

local parts -- parameters, from the paths of a built-in kind

local function parameters()
  if parts then return parts end
  local function of(path, method)
    local value = assert(json.decode(document.path_text(path)))
    return method and value[method].parameters or value.parameters
  end
  local base = "/apis/apps/v1/namespaces/{namespace}/replicasets"
  local function pick(list, ...)
    local found = array {}
    for _, name in ipairs { ... } do
      for _, one in ipairs(list) do
        if one.name == name then found[#found + 1] = one end
      end
    end
    return found
  end
  local list = of(base, "get")
  parts = {
    list = pick(list, "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
      "resourceVersionMatch", "timeoutSeconds", "watch"),
    get = pick(list, "resourceVersion"),
    write = pick(of(base, "post"), "dryRun", "fieldManager"),
    delete = pick(of(base .. "/{name}", "delete"), "dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"),
    namespace = pick(of(base), "namespace"), pretty = pick(of(base), "pretty"),
  }
  return parts
end

local function joined(...)
  local list = array {}
  for _, one in ipairs { ... } do
    for _, value in ipairs(one) do list[#list + 1] = value end
  end
  return list
end

local function body(name, required)
  return { name = "body", ["in"] = "body", required = required, schema = { ["$ref"] = "#/definitions/" .. name } }
end

local DESCRIPTIONS = { get = "read%s the specified %s", put = "replace%s the specified %s", patch = "partially update%s the specified %s",
  delete = "delete%s a %s", post = "create%s a %s", list = "list objects of kind %s", deletecollection = "delete collection of %s" }
local VERBS = { get = "read", put = "replace", patch = "patch", delete = "delete", post = "create", list = "list",
  deletecollection = "delete" }

local function capital(text) return text:sub(1, 1):upper() .. text:sub(2) end

-- "ex.io", "v1" -> "exIo_v1"
local function tag_of(kind)
  local words = {}
  for word in kind.group:gmatch("[^.]+") do words[#words + 1] = #words == 0 and word or capital(word) end
  return table.concat(words)
end

local function operation(kind, action, answer, options)
  local about = options.about and " " .. options.about .. " of" or ""
  local text = DESCRIPTIONS[action]
  local description = (action == "list" or action == "deletecollection") and text:format(kind.kind) or text:format(about, kind.kind)
  local responses = { ["200"] = { description = "OK", schema = { ["$ref"] = "#/definitions/" .. answer } },
    ["401"] = { description = "Unauthorized" } }
  for _, code in ipairs(options.codes or {}) do
    responses[code] = { description = code == "201" and "Created" or "Accepted", schema = responses["200"].schema }
  end
  local scope = kind.namespaced and not options.everywhere and "Namespaced" or ""
  return {
    description = description, tags = array { tag_of(kind) .. "_" .. kind.version }, schemes = array { "https" },
    operationId = VERBS[action] .. capital(tag_of(kind)) .. capital(kind.version) .. (action == "deletecollection" and "Collection" or "")
      .. scope .. kind.kind .. capital(options.about or "") .. (options.everywhere and "ForAllNamespaces" or ""),
    consumes = action == "patch" and PATCHES or TYPES, produces = TYPES, parameters = options.parameters, responses = responses,
    ["x-kubernetes-action"] = action,
    ["x-kubernetes-group-version-kind"] = { group = kind.group, version = kind.version, kind = kind.kind },
  }
end

local function collection(kind, own, list)
  local p = parameters()
  return {
    get = operation(kind, "list", list, { parameters = p.list }),
    post = operation(kind, "post", own, { parameters = joined({ body(own, true) }, p.write), codes = { "201", "202" } }),
    delete = operation(kind, "deletecollection", META .. "Status", { parameters = p.list }),
    parameters = joined(kind.namespaced and p.namespace or {}, p.pretty),
  }
end

local function item(kind, own, about, answer)
  local p = parameters()
  local value = {
    get = operation(kind, "get", answer or own, { parameters = p.get, about = about }),
    put = operation(kind, "put", answer or own, { parameters = joined({ body(answer or own, true) }, p.write), codes = { "201" },
      about = about }),
    patch = operation(kind, "patch", answer or own, { parameters = joined({ body(META .. "Patch", true) }, p.write), about = about }),
    parameters = joined({ { name = "name", ["in"] = "path", required = true, type = "string", uniqueItems = true,
      description = "name of the " .. kind.kind } }, kind.namespaced and p.namespace or {}, p.pretty),
  }
  if not about then
    value.delete = operation(kind, "delete", META .. "Status", { codes = { "202" },
      parameters = joined({ body(META .. "DeleteOptions") }, p.delete) })
  end
  return value
end

-- Adds the paths of a kind to a map of paths to values.
function M.paths(kind, into)
  local own, list = name_of(kind.group, kind.version, kind.kind), name_of(kind.group, kind.version, kind.list_kind)
  local base = "/apis/" .. kind.group .. "/" .. kind.version .. "/"
  local inner = base .. (kind.namespaced and "namespaces/{namespace}/" or "") .. kind.plural
  into[inner] = collection(kind, own, list)
  into[inner .. "/{name}"] = item(kind, own)
  if kind.namespaced then
    local p = parameters()
    into[base .. kind.plural] = { get = operation(kind, "list", list, { everywhere = true }), parameters = joined(p.list, p.pretty) }
  end
  local subresources = kind.subresources or {}
  if subresources.status then into[inner .. "/{name}/status"] = item(kind, own, "status") end
  if subresources.scale then into[inner .. "/{name}/scale"] = item(kind, own, "scale", "io.k8s.api.autoscaling.v1.Scale") end
end

return M
