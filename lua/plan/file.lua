-- A plan as a file: what was planned, for whom, and what it was decided on.
--
-- The file holds no policies and no secrets: digests of the folder's files and of the settings say which they were, each object and
-- each of its children bears the resourceVersion that was seen, and each write a digest of what is wanted. So `apply` can tell
-- what changed since, and say which.

local print_plan = require "plan.print"

local M = {}

M.KIND = "moonphase-plan"
M.VERSION = 1
local BYTES_MOST = 16 << 20

local function file_digests(files)
  local list = {}
  for name, text in pairs(files) do list[name] = "sha256:" .. digest.sha256(text) end
  return list
end

local function settings_digest(settings)
  return "sha256:" .. digest.sha256(json.encode(settings))
end

-- The plan as data. view, place: of plan/view.lua; o: the options of plan; result: of plan/whole.lua.
function M.of(view, place, o, result)
  local data = print_plan.data(result, view.warnings)
  return { kind = M.KIND, version = M.VERSION, moonphase = moonphase.version, made = os.date("!%Y-%m-%dT%H:%M:%SZ", loop.wall_ms() // 1000),
    server = place.cluster.server, namespaces = place.namespaces and json.array(place.namespaces) or nil, policies = o.policies,
    operatorNamespace = o.operator_namespace, settings = o.settings, files = file_digests(place.files),
    settingsDigest = settings_digest(place.settings), policy = view.paper.digest, objects = data.objects, summary = data.summary }
end

function M.save(path, data)
  return fs.write(path, json.encode(data, "pretty") .. "\n")
end

local function odd_object(object)
  if type(object) ~= "table" or type(object.key) ~= "string" or not object.key:find("^[^/]+/[^/]+$") then return "an object has no key" end
  if type(object.uid) ~= "string" or type(object.resourceVersion) ~= "string" then return object.key .. " has no uid or resourceVersion" end
  if type(object.changes) ~= "table" then return object.key .. " has no changes" end
  for _, change in ipairs(object.changes) do
    if type(change) ~= "table" or type(change.action) ~= "string" or type(change.kind) ~= "string" or type(change.name) ~= "string" then
      return object.key .. " has a change without action, kind or name"
    end
  end
  if object.status ~= nil and (type(object.status) ~= "table" or type(object.status.wanted) ~= "string") then
    return object.key .. " has a status without its digest"
  end
end

-- A saved plan; nil and a sentence. It may come from anywhere: what apply takes for granted is checked.
function M.read(path)
  local text, why = fs.read(path)
  if not text then return nil, why end
  if #text > BYTES_MOST then return nil, path .. " is too large for a plan" end
  local data = json.decode(text)
  if type(data) ~= "table" or data.kind ~= M.KIND then return nil, path .. " is no saved plan: moonphase plan DIR --save FILE makes one" end
  if data.version ~= M.VERSION then
    return nil, ("%s is a plan of version %s, and this moonphase reads %d: plan again"):format(path, tostring(data.version), M.VERSION)
  end
  if type(data.objects) ~= "table" or type(data.files) ~= "table" then return nil, path .. " is damaged: it has no objects or files" end
  for _, object in ipairs(data.objects) do
    local odd = odd_object(object)
    if odd then return nil, path .. " is damaged: " .. odd end
  end
  return data
end

-- What of policies and settings is not what was planned with, as a sentence; nil: they are the same.
function M.differs(data, place)
  local now, named = file_digests(place.files), {}
  for name, text in pairs(data.files) do
    if now[name] ~= text then named[#named + 1] = now[name] and name .. " changed" or name .. " is gone" end
  end
  for name in pairs(now) do
    if data.files[name] == nil then named[#named + 1] = name .. " is new" end
  end
  table.sort(named)
  if #named > 0 then return "the policies are not those that were planned with: " .. table.concat(named, ", ") end
  if data.settingsDigest ~= settings_digest(place.settings) then return "the settings are not those that were planned with" end
  if data.moonphase ~= moonphase.version then
    return ("it was planned by moonphase %s, and this is %s"):format(tostring(data.moonphase), moonphase.version)
  end
end

return M
