-- Where the files of a model are, and what its pods need to get at them.
--
-- A modelURI has a scheme, and the scheme has a row below. Three are volumes that are mounted while the init container
-- links or copies from them (and in the model's container too: it may only link). models:/ asks the group's MLflow. All
-- others are handed to the initializer as they stand, if settings.modelUri.schemes has them.
--
-- plan(s) answers nil when no URI is given; {uri, fetcher = "storage" | "mlflow", volume = {...} | nil}; or nil and what is wrong:
-- {row, why}. Users write these URIs: nothing in them may lead out of what the administrator opened.

local M = {}

-- Where the model finds its files.
M.TARGET = "/mnt/models"

local function wrong(row, why, ...)
  return nil, { row = row, why = why:format(...) }
end

-- PrimeHub's name for what belongs to a group, in names of claims and folders.
local function group_word(s)
  return ((s.group.name or ""):lower():gsub("[_/]", "-"))
end

local function with_group(s, name)
  return (name:gsub("{group}", function() return group_word(s) end))
end

-- A path below a mount: no empty, "." or ".." steps. nil if it would lead out.
local function inside(path)
  local steps = {}
  for step in path:gmatch("[^/]+") do
    if step == ".." then return nil end
    if step ~= "." then steps[#steps + 1] = step end
  end
  return table.concat(steps, "/")
end

local function file_uri(mount, path)
  return "file://" .. mount .. "/" .. path
end

local UPWARDS = "a path may not lead upwards (..)"

-- ---------------------------------------------------------------- one function a scheme

-- phfs:///path and phfs://path: the folder of the group in PrimeHub's shared file system.
local function phfs(s, rest)
  local claim = s.settings.modelUri.phfs.claim
  if claim == "" then return wrong("ModelStorageUnknown", "Phfs is not enabled (setting modelUri.phfs.claim)") end
  local path = inside(rest)
  if not path then return wrong("ModelUriInvalid", UPWARDS) end
  return { fetcher = "storage", uri = file_uri("/phfs", path), volume = { name = "phfs", mount = "/phfs", in_model = true,
    sub_path = "groups/" .. group_word(s), source = { persistentVolumeClaim = { claimName = claim } } } }
end

-- "models-*" stands for every name that begins so, "*" for all.
local function is_listed(s, list, name)
  for _, allowed in ipairs(list) do
    allowed = with_group(s, tostring(allowed))
    local begin = allowed:match("^(.*)%*$")
    if allowed == name or (begin and name:sub(1, #begin) == begin) then return true end
  end
  return false
end

-- pvc://claim/path: a claim in the model's namespace.
local function pvc(s, rest)
  local claim, path = rest:match("^//([%l%d][%l%d.-]*)(.*)$")
  if not claim or (path ~= "" and path:sub(1, 1) ~= "/") then
    return wrong("ModelUriInvalid", "it names no PersistentVolumeClaim: write pvc://CLAIM/PATH")
  end
  if not is_listed(s, s.settings.modelUri.pvc.claims, claim) then
    return wrong("ModelStorageUnknown", "the claim %s is not open to models (setting modelUri.pvc.claims)", claim)
  end
  path = inside(path)
  if not path then return wrong("ModelUriInvalid", UPWARDS) end
  return { fetcher = "storage", uri = file_uri("/pvc", path), volume = { name = "model-claim", mount = "/pvc", in_model = true,
    source = { persistentVolumeClaim = { claimName = claim } } } }
end

-- The longest of the administrator's exports that the path is in: what to mount, and the rest of the path.
local function export_of(exports, host, path)
  local best, best_rest
  for _, export in ipairs(exports) do
    local server, root = tostring(export):match("^([^:]+):(/.*)$")
    local folder = root and root:gsub("/+$", "")
    if folder and (server == host or server == "*") and (path == folder or path:sub(1, #folder + 1) == folder .. "/")
      and (not best or #folder > #best) then
      best, best_rest = folder, path:sub(#folder + 2)
    end
  end
  return best and (best == "" and "/" or best), best_rest
end

-- nfs://host/path: only what the administrator named is mounted, however short the path is.
local function nfs(s, rest)
  local host, path = rest:match("^//([%w][%w.-]*)(.*)$")
  if not host or (path ~= "" and path:sub(1, 1) ~= "/") then
    return wrong("ModelUriInvalid", "invalid nfs uri: write nfs://SERVER/PATH")
  end
  path = inside(path)
  if not path then return wrong("ModelUriInvalid", UPWARDS) end
  local root, below = export_of(s.settings.modelUri.nfs.exports, host, "/" .. path)
  if not root then
    return wrong("ModelStorageUnknown", "the export %s:/%s is not open to models (setting modelUri.nfs.exports)", host, path)
  end
  return { fetcher = "storage", uri = file_uri("/nfs", below), volume = { name = "nfs", mount = "/nfs", in_model = true,
    source = { nfs = { server = host, path = root, readOnly = true } } } }
end

-- models:/name/version: of the group's MLflow, whose artifacts may lie in the group's own claim.
local function mlflow(s, rest)
  if not rest:find("^/+[^/]") then return wrong("ModelUriInvalid", "it names no model: write models:/NAME/VERSION") end
  if not s.group.known then return { fetcher = "mlflow" } end -- what it has is asked when the group is known
  local said = s.group.mlflow or {}
  if (said.trackingUri or "") == "" then
    return wrong("ModelStorageUnknown", "the group %s has no MLflow (spec.mlflow.trackingUri of its PhGroup)", tostring(s.group.name))
  end
  local claim = with_group(s, s.settings.modelUri.mlflow.claim)
  return { fetcher = "mlflow", volume = claim ~= "" and { name = "project", mount = "/project/" .. (s.group.name:gsub("/", "-")),
    source = { persistentVolumeClaim = { claimName = claim } } } or nil }
end

local SCHEMES = { phfs = phfs, pvc = pvc, nfs = nfs, models = mlflow }

-- ---------------------------------------------------------------- the plan

local function handed_through(s, scheme, rest)
  local known = {}
  for i, name in ipairs(s.settings.modelUri.schemes) do
    if name == scheme and not rest:find("^//+[^/]") then return wrong("ModelUriInvalid", "it names nothing behind %s://", scheme) end
    if name == scheme then return { fetcher = "storage" } end
    known[i] = tostring(name)
  end
  known[#known + 1] = "phfs, pvc, nfs, models"
  return wrong("ModelStorageUnknown", "%s is no storage that is known here: %s", scheme, table.concat(known, ", "))
end

function M.plan(s)
  local uri = s.model_uri
  if uri == "" then return nil end
  if uri:find("[%s%c]") then return wrong("ModelUriInvalid", "it has a space in it") end
  local scheme, rest = uri:match("^(%l[%l%d+.-]*):(/.*)$")
  if not scheme then return wrong("ModelUriInvalid", "it begins with no scheme, such as s3://") end
  local plan, trouble
  if SCHEMES[scheme] then
    plan, trouble = SCHEMES[scheme](s, rest)
  else
    plan, trouble = handed_through(s, scheme, rest)
  end
  if not plan then return nil, trouble end
  plan.uri, plan.scheme = plan.uri or uri, scheme
  return plan
end

-- For a row of failures.lua: what is wrong with the URI is this row's. Evidence: why.
function M.trouble(row)
  return function(s)
    local trouble = s.fetch_wrong
    return trouble and trouble.row == row and { why = trouble.why } or nil
  end
end

return M
