-- What is kept of the real server's /openapi/v2, and how it lies in the file.
--
-- The document of a whole server has 596 definitions and 3.7 MB. The sandbox has two dozen kinds; kept are the paths
-- that serve them, the definitions that these paths name, and what those reach, word for word. Everything is sorted,
-- and each definition and each path is one line of its own: a JSON document still, but its reader can find one
-- definition without parsing the rest (lua/sandbox/schema/document.lua), and a diff of two of them can be read.
--
-- A third part is no OpenAPI: "columns", the column definitions of the tables that the server makes of these kinds.

local OUT = "lua/sandbox/openapi.json"

-- Group and version -> plurals whose paths are kept.
local KINDS = {
  ["/api/v1"] = { "namespaces", "nodes", "pods", "services", "endpoints", "secrets", "configmaps", "serviceaccounts",
    "events", "resourcequotas", "bindings" },
  ["/apis/apps/v1"] = { "deployments", "replicasets" },
  ["/apis/networking.k8s.io/v1"] = { "ingresses", "ingressclasses" },
  ["/apis/networking.k8s.io/v1beta1"] = { "ingresses", "ingressclasses" },
  ["/apis/coordination.k8s.io/v1"] = { "leases" },
  ["/apis/apiextensions.k8s.io/v1"] = { "customresourcedefinitions" },
  ["/apis/admissionregistration.k8s.io/v1"] = { "mutatingwebhookconfigurations", "validatingwebhookconfigurations" },
  ["/apis/scheduling.k8s.io/v1"] = { "priorityclasses" },
  ["/apis/authorization.k8s.io/v1"] = { "selfsubjectaccessreviews", "subjectaccessreviews", "localsubjectaccessreviews",
    "selfsubjectrulesreviews" },
  ["/apis/authentication.k8s.io/v1"] = { "tokenreviews" },
}
local OTHER_PATHS = { "/api/", "/apis/", "/version/" }
-- No path names these, but the schemas of custom resources and of watches do.
local OTHER_DEFINITIONS = {
  "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta", "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta",
  "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
}

local function kept_path(path)
  for _, other in ipairs(OTHER_PATHS) do
    if path == other then return true end
  end
  for prefix, plurals in pairs(KINDS) do
    local group = prefix:match("^/apis/[^/]+")
    if path == prefix .. "/" or group and path == group .. "/" then return true end
    local rest = path:sub(1, #prefix + 1) == prefix .. "/" and path:sub(#prefix + 2)
    if rest then
      rest = rest:gsub("^namespaces/{namespace}/", "")
      for _, plural in ipairs(plurals) do
        if rest == plural or rest:sub(1, #plural + 1) == plural .. "/" then
          return not rest:find("/proxy", 1, true)
        end
      end
    end
  end
  return false
end

-- Adds the definitions that a value names, and what they name.
local function reach(value, definitions, found)
  if type(value) ~= "table" then return end
  local reference = value["$ref"]
  local name = type(reference) == "string" and reference:match("^#/definitions/(.+)$")
  if name and not found[name] then
    found[name] = definitions[name] or error("the document names " .. name .. " and lacks it")
    reach(found[name], definitions, found)
  end
  for _, inner in pairs(value) do reach(inner, definitions, found) end
end

-- { "name": <value> } with a line for each member.
local function lines(members)
  local names = {}
  for name in pairs(members) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do names[i] = json.encode(name) .. ":" .. json.encode(members[name]) end
  return "{\n" .. table.concat(names, ",\n") .. "\n}"
end

-- Path of a list -> its column definitions, as the server gives them with a table.
local function ask_columns(cluster)
  local columns = {}
  for prefix, plurals in pairs(KINDS) do
    for _, plural in ipairs(plurals) do
      local path = prefix .. "/" .. plural
      local answer = assert(cluster:request { method = "GET", path = path .. "?limit=1",
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io" })
      if answer.status == 200 then columns[path] = assert(json.decode(answer.body)).columnDefinitions end
    end
  end
  return columns
end

local function cut(document, columns)
  local paths, definitions = {}, {}
  for path, item in pairs(document.paths) do
    if kept_path(path) then
      paths[path] = item
      reach(item, document.definitions, definitions)
    end
  end
  for _, name in ipairs(OTHER_DEFINITIONS) do
    reach({ ["$ref"] = "#/definitions/" .. name }, document.definitions, definitions)
  end
  local rest = {}
  for key, value in pairs(document) do
    if key ~= "paths" and key ~= "definitions" and key ~= "columns" then rest[key] = value end
  end
  local head = json.encode(rest):sub(2, -2)
  return '{"definitions":' .. lines(definitions) .. ',"paths":' .. lines(paths) .. ',"columns":' .. lines(columns)
    .. "," .. head .. "}\n"
end

local cluster = assert(kube.open {})
local answer = assert(cluster:request { method = "GET", path = "/openapi/v2", accept = "application/json" })
if answer.status ~= 200 then error("the server gave " .. answer.status .. " for /openapi/v2: " .. tostring(answer.message)) end
local text = cut(assert(json.decode(answer.body)), ask_columns(cluster))

if args[1] == "--check" then
  local same = fs.read(OUT) == text
  io.stderr:write(same and (OUT .. " is what the server says.\n") or (OUT .. " is stale: run spec/sandbox/openapi.\n"))
  loop.exit(same and 0 or 1)
else
  assert(fs.write(OUT, text))
  io.stderr:write(("%s: %d bytes\n"):format(OUT, #text))
end
