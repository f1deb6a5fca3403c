-- /openapi/v2 and /openapi/v3: what the kinds look like, for kubectl explain, apply --validate and patches.
--
-- The built-in part is the text of openapi.json as it stands; custom kinds are added to it when definitions come. Documents are made when
-- somebody asks, and kept until the kinds change. Clients keep them too, and ask by ETag (v2) or by the hash in the
-- address (v3) whether they are still good: then the answer is 304, without the megabyte.
--
-- answer(registry, request) -> { status, body, content_type, headers } | nil if the path is none of these

local custom = require "sandbox.openapi.custom"
local document = require "sandbox.schema.document"
local errors = require "sandbox.errors"
local gnostic = require "sandbox.openapi.gnostic"
local v3 = require "sandbox.openapi.v3"

local M = {}

local PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
local JSON = "application/json"

-- ---- what is kept for a registry, as long as its kinds are the same

local function custom_kinds(registry)
  local kinds = {}
  for _, kind in ipairs(registry:all()) do
    if kind.crd then kinds[#kinds + 1] = kind end
  end
  return kinds
end

local function kept_of(registry)
  local kept = registry.openapi
  if not kept or kept.revision ~= registry.revision then
    kept = { revision = registry.revision, kinds = custom_kinds(registry), v3 = {} }
    registry.openapi = kept
  end
  return kept
end

local function with_definitions(kept)
  if not kept.definitions then
    kept.definitions, kept.paths = {}, {}
    for _, kind in ipairs(kept.kinds) do
      custom.definitions(kind, kept.definitions)
      custom.paths(kind, kept.paths)
    end
  end
  return kept
end

local function merged(names, more)
  local all = table.move(names, 1, #names, 1, {})
  for name in pairs(more) do all[#all + 1] = name end
  table.sort(all)
  return all
end

-- ---- v2

local function members(names, more, text_of)
  local lines = {}
  for i, name in ipairs(merged(names, more)) do
    lines[i] = json.encode(name) .. ":" .. (text_of(name) or json.encode(more[name]))
  end
  return table.concat(lines, ",")
end

local function v2_json(kept)
  with_definitions(kept)
  return '{"definitions":{' .. members(document.definitions(), kept.definitions, document.definition_text) .. '},"paths":{'
    .. members(document.paths(), kept.paths, document.path_text) .. "}," .. document.rest() .. "}"
end

-- The built-in part in protobuf, made once for all: { definitions = bytes, paths = bytes }.
local builtin_bytes

local function builtin()
  if builtin_bytes then return builtin_bytes end
  local definitions, paths = {}, {}
  for i, name in ipairs(document.definitions()) do
    definitions[i] = gnostic.definition(name, assert(json.decode(document.definition_text(name))))
  end
  for i, name in ipairs(document.paths()) do paths[i] = gnostic.path(name, assert(json.decode(document.path_text(name)))) end
  builtin_bytes = { definitions = table.concat(definitions), paths = table.concat(paths) }
  return builtin_bytes
end

local function v2_protobuf(kept)
  with_definitions(kept)
  local definitions, paths = { builtin().definitions }, { builtin().paths }
  for _, name in ipairs(merged({}, kept.definitions)) do
    definitions[#definitions + 1] = gnostic.definition(name, kept.definitions[name])
  end
  for _, name in ipairs(merged({}, kept.paths)) do paths[#paths + 1] = gnostic.path(name, kept.paths[name]) end
  return gnostic.document(table.concat(paths), table.concat(definitions), assert(json.decode("{" .. document.rest() .. "}")))
end

-- Which form of v2 does the client want? (The server's words for its JSON are text/plain; we say what it is.)
local function wanted(accept)
  for range in (accept or ""):gmatch("[^,]+") do
    local name = range:match("^%s*([^;%s]+)")
    if name == PROTOBUF then return "protobuf" end
    if name == JSON or name == "*/*" or name == "application/*" then return "json" end
  end
  return (accept or "") == "" and "json" or nil
end

local function header(request, name) return request.header and request.header(name) end

-- With an ETag; 304 when the client has it.
local function tagged(request, kept, body, content_type)
  local tag = '"' .. kept.tag .. '"'
  local headers = { ETag = tag, ["Cache-Control"] = "no-cache, private", Vary = "Accept" }
  if header(request, "if-none-match") == tag then return { status = 304, body = "", content_type = content_type, headers = headers } end
  return { status = 200, body = body, content_type = content_type, headers = headers }
end

local function answer_v2(registry, request)
  local kept, form = kept_of(registry), wanted(request.accept)
  if not form then return { status = 406, body = "", content_type = "text/plain; charset=utf-8" } end
  kept.v2 = kept.v2 or {}
  local found = kept.v2[form]
  if not found then
    local body = form == "json" and v2_json(kept) or v2_protobuf(kept)
    found = { body = body, tag = digest.sha256(body):upper() }
    kept.v2[form] = found
  end
  return tagged(request, found, found.body, form == "json" and JSON or "application/octet-stream")
end

-- ---- v3

local base_digest

-- The hash of a document by what it is made of, so that the list of hashes does not need the documents.
local function hash_of(kinds, place)
  base_digest = base_digest or digest.sha256(document.rest() .. #document.definitions() .. (document.definition_text(
    "io.k8s.api.core.v1.PodSpec") or ""))
  local parts = { base_digest, place }
  for _, kind in ipairs(kinds) do
    parts[#parts + 1] = json.encode { kind = kind.kind, plural = kind.plural, scope = kind.namespaced == true,
      schema = custom.schema(kind) or json.null, status = kind.subresources.status ~= nil, scale = kind.subresources.scale ~= nil }
  end
  return digest.sha256(table.concat(parts, "\n")):upper()
end

local function places(registry, kept)
  if kept.places then return kept.places end
  kept.places = {}
  for _, kind in ipairs(registry:all()) do
    local place = kind.group == "" and "api/" .. kind.version or "apis/" .. kind.group .. "/" .. kind.version
    kept.places[place] = kept.places[place] or { kinds = {} }
    if kind.crd then table.insert(kept.places[place].kinds, kind) end
  end
  for place, entry in pairs(kept.places) do entry.tag = hash_of(entry.kinds, place) end
  return kept.places
end

local function answer_v3(registry, request, place)
  local kept = kept_of(registry)
  local all = places(registry, kept)
  if place == "" then
    local paths = {}
    for name, entry in pairs(all) do paths[name] = { serverRelativeURL = "/openapi/v3/" .. name .. "?hash=" .. entry.tag } end
    return { status = 200, body = json.encode { paths = paths }, content_type = JSON }
  end
  local entry = all[place]
  if not entry then return nil end
  local hash = request.query and request.query.hash
  if hash and hash ~= "" and hash ~= entry.tag then
    return { status = 301, body = "", content_type = JSON, headers = { Location = "/openapi/v3/" .. place .. "?hash=" .. entry.tag } }
  end
  if header(request, "if-none-match") ~= '"' .. entry.tag .. '"' and not entry.body then
    entry.body = v3.document(place, entry.kinds)
    if not entry.body then return nil end
  end
  local answer = tagged(request, entry, entry.body, JSON)
  if hash == entry.tag then answer.headers["Cache-Control"] = "public, immutable" end
  return answer
end

function M.answer(registry, request)
  local path = request.path
  local place = path:match("^/openapi/v3/(.*)$") or path == "/openapi/v3" and "" or nil
  if path ~= "/openapi/v2" and not place then return nil end
  if request.method ~= "GET" and request.method ~= "HEAD" then
    local failure = errors.no_such_method()
    return { status = 405, body = json.encode(errors.status(failure)), content_type = JSON }
  end
  if not place then return answer_v2(registry, request) end
  return answer_v3(registry, request, place)
end

return M
