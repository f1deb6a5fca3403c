-- Volumes of pods: defaults and checks of the kinds that a model's pod may use; of the others only that there is one.
-- (https://kubernetes.io/docs/concepts/storage/volumes/)

local checks = require "sandbox.kinds.checks"
local env = require "sandbox.kinds.env"

local M = {}

local MODE = "must be a number between 0 and 0777 (octal), both inclusive"
local MOST_MODE, USUAL_MODE = 511, 420 -- 0777 and 0644

-- What may give a volume, in the server's order.
local SOURCES = { "emptyDir", "hostPath", "gitRepo", "gcePersistentDisk", "awsElasticBlockStore", "secret", "nfs", "iscsi", "glusterfs",
  "flocker", "persistentVolumeClaim", "rbd", "cinder", "cephfs", "quobyte", "downwardAPI", "fc", "flexVolume", "configMap", "azureFile",
  "vsphereVolume", "photonPersistentDisk", "portworxVolume", "azureDisk", "storageos", "projected", "scaleIO", "csi", "ephemeral" }

local IS_SOURCE = {}
for _, name in ipairs(SOURCES) do IS_SOURCE[name] = true end

local function default_mode(source)
  if source and source.defaultMode == nil then source.defaultMode = USUAL_MODE end
end

local function default_items(items)
  for _, item in ipairs(items or {}) do env.default_source(item) end
end

local function default_projected(projected)
  if not projected then return end
  default_mode(projected)
  for _, source in ipairs(projected.sources ~= json.null and projected.sources or {}) do
    local token = source.serviceAccountToken
    if token and token.expirationSeconds == nil then token.expirationSeconds = 3600 end
    if source.downwardAPI then default_items(source.downwardAPI.items) end
  end
  if not projected.sources then projected.sources = json.null end -- written even if nobody gave it
end

local function has_source(volume)
  for name, source in next, volume do
    if source and IS_SOURCE[name] then return true end
  end
end

function M.default(volumes)
  for _, volume in ipairs(volumes) do
    default_mode(volume.secret)
    default_mode(volume.configMap)
    default_mode(volume.downwardAPI)
    if volume.downwardAPI then default_items(volume.downwardAPI.items) end
    default_projected(volume.projected)
    local host = volume.hostPath
    if host and host.type == nil then host.type = "" end
    if volume.iscsi and (volume.iscsi.iscsiInterface or "") == "" then volume.iscsi.iscsiInterface = "default" end
    if not has_source(volume) then volume.emptyDir = {} end
  end
end

local function is_absolute(path) return path:sub(1, 1) == "/" end

local function check_no_way_up(errs, field, path)
  for part in (path .. "/"):gmatch("([^/]*)/") do
    if part == ".." then return checks.invalid(errs, field, path, "must not contain '..'") end
  end
end

-- A path below something.
function M.check_descending(errs, field, path)
  if is_absolute(path) then checks.invalid(errs, field, path, "must be a relative path") end
  check_no_way_up(errs, field, path)
end

local function check_file(errs, field, path)
  M.check_descending(errs, field, path)
  if path:sub(1, 2) == ".." and path:sub(1, 3) ~= "../" then checks.invalid(errs, field, path, "must not start with '..'") end
end

local function check_mode(errs, field, mode)
  if mode and (mode > MOST_MODE or mode < 0) then checks.invalid(errs, field, mode, MODE) end
end

local function need(errs, path, source, name)
  if (source[name] or "") == "" then
    checks.required(errs, path .. "." .. name)
    return false
  end
  return true
end

local function check_keys(errs, path, items)
  for i, item in ipairs(items or {}) do
    local here = ("%s.items[%d]"):format(path, i - 1)
    need(errs, here, item, "key")
    if need(errs, here, item, "path") then check_file(errs, here .. ".path", item.path) end
    check_mode(errs, here .. ".mode", item.mode)
  end
end

local function check_downward(errs, path, source)
  for i, item in ipairs(source.items or {}) do
    local here = ("%s[%d]"):format(path, i - 1)
    if (item.path or "") == "" then checks.required(errs, path .. ".path") end
    check_file(errs, path .. ".path", item.path or "")
    if item.fieldRef then
      env.check_field(errs, path .. ".fieldRef", item.fieldRef, env.VOLUME_FIELDS)
      if item.resourceFieldRef then
        checks.invalid(errs, path, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
      end
    elseif item.resourceFieldRef then
      env.check_resource(errs, path .. ".resourceFieldRef", item.resourceFieldRef, true)
    else
      checks.required(errs, path, "one of fieldRef and resourceFieldRef is required")
    end
    check_mode(errs, here:gsub("%[%d+%]$", "") .. ".mode", item.mode)
  end
end

local function check_named(name)
  return function(errs, path, source)
    need(errs, path, source, name)
    check_mode(errs, path .. ".defaultMode", source.defaultMode)
    check_keys(errs, path, source.items)
  end
end

local TOKEN = {}
function TOKEN.serviceAccountToken(errs, path, token)
  local seconds = token.expirationSeconds
  if seconds and seconds < 600 then
    checks.invalid(errs, path .. ".expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
  end
  if seconds and seconds > 1 << 32 then
    checks.invalid(errs, path .. ".expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
  end
  if (token.path or "") == "" then checks.required(errs, path:match("^(.-projected)") .. ".path") end
end

local PARTS = { { "secret", check_named "name" }, { "configMap", check_named "name" },
  { "downwardAPI", check_downward }, { "serviceAccountToken", TOKEN.serviceAccountToken } }

-- Two sources may not write one file.
local function check_twins(errs, path, part, taken)
  local function take(file, name)
    if file == "" then return end
    if taken[file] then checks.invalid(errs, path, name, "conflicting duplicate paths") end
    taken[file] = true
  end
  for _, field in ipairs { "secret", "configMap" } do
    local one = part[field]
    for _, item in ipairs(one and one.items or {}) do take(item.path or "", one.name or "") end
  end
  for _, item in ipairs(part.downwardAPI and part.downwardAPI.items or {}) do take(item.path or "", item.path) end
end

local function check_projected(errs, path, source)
  local taken = {}
  check_mode(errs, path .. ".defaultMode", source.defaultMode)
  for i, part in ipairs(source.sources ~= json.null and source.sources or {}) do
    local here, count = ("%s.sources[%d]"):format(path, i - 1), 0
    for _, row in ipairs(PARTS) do
      local one = part[row[1]]
      if one then
        if count > 0 then checks.forbidden(errs, here, "may not specify more than 1 volume type")
        else row[2](errs, here .. "." .. row[1], one) end
        count = count + 1
      end
    end
    check_twins(errs, path, part, taken)
  end
end

local HOST_TYPES = { "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket" }

local function check_host(errs, path, source)
  if not need(errs, path, source, "path") then return end
  check_no_way_up(errs, path .. ".path", source.path)
  for _, name in ipairs(HOST_TYPES) do
    if (source.type or "") == name then return end
  end
  checks.not_supported(errs, path .. ".type", source.type, HOST_TYPES)
end

local CHECKS = {
  emptyDir = function(errs, path, source)
    if source.sizeLimit and source.sizeLimit:byte() == 45 then
      checks.forbidden(errs, path .. ".sizeLimit", "SizeLimit field must be a valid resource quantity")
    end
  end,
  hostPath = check_host,
  secret = check_named "secretName",
  configMap = check_named "name",
  downwardAPI = function(errs, path, source)
    check_mode(errs, path .. ".defaultMode", source.defaultMode)
    check_downward(errs, path, source)
  end,
  projected = check_projected,
  persistentVolumeClaim = function(errs, path, source) need(errs, path, source, "claimName") end,
  nfs = function(errs, path, source)
    need(errs, path, source, "server")
    need(errs, path, source, "path")
    if not is_absolute(source.path or "") then checks.invalid(errs, path .. ".path", source.path or "", "must be an absolute path") end
  end,
  csi = function(errs, path, source) need(errs, path, source, "driver") end,
}

-- The one source of a volume, if there is but one: the usual case.
local function only_source(volume)
  local found
  for name, value in next, volume do
    if name ~= "name" and value then
      if found or not IS_SOURCE[name] then return nil end
      found = name
    end
  end
  return found
end

local function check_source(errs, path, volume)
  local only = only_source(volume)
  if only then
    if CHECKS[only] then CHECKS[only](errs, checks.below(path, only), volume[only]) end
    return
  end
  local count = 0
  for _, name in ipairs(SOURCES) do
    local source = volume[name]
    if source then
      if count > 0 then checks.forbidden(errs, path .. "." .. name, "may not specify more than 1 volume type")
      elseif CHECKS[name] then CHECKS[name](errs, checks.below(path, name), source) end
      count = count + 1
    end
  end
  if count == 0 then checks.required(errs, path, "must specify a volume type") end
end

-- -> the volumes that are in order, by name.
function M.check(errs, path, volumes)
  local good = {}
  for i, volume in ipairs(volumes) do
    local here, before, name = checks.at(path, i), #errs, volume.name or ""
    check_source(errs, here, volume)
    if name == "" then checks.required(errs, here .. ".name")
    else checks.report(errs, here .. ".name", name, checks.dns_label(name)) end
    if good[name] then checks.duplicate(errs, here .. ".name", name) end
    if #errs == before then good[name] = volume end
  end
  return good
end

local PROPAGATION = { None = true, HostToContainer = true, Bidirectional = true }

-- volumes: what check gave.
function M.check_mounts(errs, path, mounts, volumes)
  local seen = {}
  for i, mount in ipairs(mounts) do
    local name, at = mount.name or "", mount.mountPath or ""
    local here = checks.at(path, i)
    if name == "" then checks.required(errs, here .. ".name") end
    if not volumes[name] then checks.not_found(errs, here .. ".name", name) end
    if at == "" then checks.required(errs, here .. ".mountPath") end
    if seen[at] then checks.invalid(errs, here .. ".mountPath", at, "must be unique") end
    seen[at] = true
    if (mount.subPath or "") ~= "" then M.check_descending(errs, path .. ".subPath", mount.subPath) end
    if (mount.subPathExpr or "") ~= "" then
      if (mount.subPath or "") ~= "" then
        checks.invalid(errs, here .. ".subPathExpr", mount.subPathExpr, "subPathExpr and subPath are mutually exclusive")
      end
      M.check_descending(errs, path .. ".subPathExpr", mount.subPathExpr)
    end
    if mount.mountPropagation and not PROPAGATION[mount.mountPropagation] then
      checks.not_supported(errs, path .. ".mountPropagation", mount.mountPropagation, { "Bidirectional", "HostToContainer", "None" })
    end
  end
end

return M
