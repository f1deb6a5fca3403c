-- Requests that are odd on the wire: paths, escapes, media types, bytes, options of a log. What does a real server say to each?
--
-- answers(ask) -> { [label] = { status, what } }. ask(method, path with its query, body, content type, accept) -> status, decoded answer.
-- All but the first two leave things as they are (dry runs).

local M = {}

local NS = "/api/v1/namespaces/default"
local MAPS = NS .. "/configmaps"
local DRY = MAPS .. "?dryRun=All"
local LOG = NS .. "/pods/odd/log?"
local PARTIAL = "application/json;as=PartialObjectMetadata%s;g=meta.k8s.io;v=v1"
local NAMED = '{"metadata":{"name":"odd"}%s}'

local FIRST = { { "POST", NS .. "/pods", '{"metadata":{"name":"odd"},"spec":{"schedulerName":"none","containers":[{"name":"a","image":"x"}]}}' },
  { "POST", MAPS, NAMED:format "" } }

local function paths(list)
  for _, path in ipairs { "/api/v1//pods", "//api/v1/pods", "/api//v1/pods", "/api/v1/pods/", "/api/v1/namespaces//pods",
    "/api/v1/namespaces//pods/x", "/apis/apps/v1//deployments", "/apis//apps/v1/deployments", NS .. "/pods//log", NS .. "//pods",
    "/version/", MAPS .. "/a%2Fb", MAPS .. "/a%2541", MAPS .. "?limit=1%002", MAPS .. "?labelSelector=%ff", MAPS .. "/%ff" } do
    list[#list + 1] = { "GET", path }
  end
  for _, options in ipairs { "tailLines=x", "sinceTime=bad", "sinceSeconds=1&sinceTime=2020-01-01T00:00:00Z", "limitBytes=1.5", "follow=x",
    "tailLines=", "sinceTime=", "sinceSeconds=0", "tailLines=-1", "container=b" } do
    list[#list + 1] = { "GET", LOG .. options }
  end
  for _, options in ipairs { "tailLines=x", "tailLines=-1", "container=b" } do
    list[#list + 1] = { "GET", (LOG:gsub("odd", "absent")) .. options }
  end
end

local function media(list)
  for _, one in ipairs { { MAPS, "" }, { MAPS, "List" }, { MAPS .. "/odd", "" }, { MAPS .. "/odd", "List" },
    { "/apis/apps/v1/deployments", "" }, { MAPS, "s" } } do
    list[#list + 1] = { "GET", one[1], nil, nil, PARTIAL:format(one[2]) }
  end
  for _, accept in ipairs { "application/*", "text/*", "*/json" } do list[#list + 1] = { "GET", MAPS, nil, nil, accept } end
  for _, type in ipairs { "application/json;x", "application/json;x=y", "application/json;", "application/json; charset", "/",
    'application/json; a="b', 'application/json; a="b c"', "application", " application/JSON ", "text/plain" } do
    list[#list + 1] = { "POST", DRY, '{"metadata":{"name":"typed"}}', type }
  end
  list[#list + 1] = { "DELETE", MAPS .. "/odd", "abc", "application/vnd.kubernetes.protobuf" }
  list[#list + 1] = { "POST", DRY, "", "application/yaml" }
  list[#list + 1] = { "POST", DRY, "# nothing\n", "application/yaml" }
end

local function bytes(list)
  for _, value in ipairs { "\xFF", "\\ud800", "\\ud83d\\ude00", "\\ud800x", "\\udc00\\ud800", "\\\\ud800", "\\ud800\\n", "\xC3\x28\xE2\x82",
    "\xF0\x9F\x98", "\xED\xA0\x80", "\\ud800\\ud83d\\ude00" } do
    list[#list + 1] = { "POST", DRY, (NAMED:format(',"data":{"a":"' .. value .. '"}'):gsub('"odd"', '"bytes"')) }
  end
  for type, body in pairs { ["merge-patch"] = '{"data":{"p":"\xFF\\ud800"}}', ["strategic-merge-patch"] = '{"data":{"p":"\xFF\\ud800"}}',
    ["json-patch"] = '[{"op":"add","path":"/data","value":{"p":"\xFF\\ud800"}}]' } do
    list[#list + 1] = { "PATCH", MAPS .. "/odd?dryRun=All", body, "application/" .. type .. "+json" }
  end
  list[#list + 1] = { "POST", DRY, "\xFF{" }
end

local function what(answer)
  if type(answer) ~= "table" then return tostring(answer) end
  if answer.kind == "Status" then return { reason = answer.reason, message = answer.message } end
  return { kind = answer.kind, data = answer.data }
end

-- JSON of it can be written whatever bytes were sent.
local function label(one)
  local parts = {}
  for i = 1, 5 do
    if one[i] then parts[#parts + 1] = one[i] end
  end
  return "request: " .. table.concat(parts, " "):gsub("[\x80-\xFF]", function(byte) return ("<%02x>"):format(byte:byte()) end)
end

function M.answers(ask)
  for _, one in ipairs(FIRST) do ask(table.unpack(one)) end
  local list, facts = {}, {}
  paths(list)
  media(list)
  bytes(list)
  for _, one in ipairs(list) do
    local status, answer = ask(table.unpack(one, 1, 5))
    facts[label(one)] = { status, what(answer) }
  end
  return facts
end

return M
