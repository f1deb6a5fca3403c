-- The init container that fetches a model's files, and its volumes: nothing at all for a model without a modelURI.
--
-- Everything that is fetched lands in one empty folder of the pod, /mnt/models, which the model's container mounts as well.
-- Credentials come from a Secret: its keys are the initializer's environment (what S3 and Azure clients read) and files in
-- /mnt/credentials (what Google's clients read). The user's own environment is the initializer's too, so that a proxy or
-- a key from a valueFrom reaches it.

local image = require "children.image"
local model_uri = require "children.model_uri"

local M = {}

M.NAME = "model-storage-initializer"
local CREDENTIALS = "/mnt/credentials"

local function credentials_of(s)
  local named = s.predictor.modelURISecret
  if named and named ~= "" then return named end
  local secret = s.settings.modelUri.secret
  return secret ~= "" and secret or nil
end

-- Lists of variables behind each other; of a name that comes again only the last one stays, so that there is one of each.
local function together(lists)
  local every, last, all = {}, {}, json.array {}
  for _, list in ipairs(lists) do
    for _, one in ipairs(list) do
      every[#every + 1] = one
      last[one.name] = #every
    end
  end
  for i, one in ipairs(every) do
    if last[one.name] == i then all[#all + 1] = one end
  end
  return all
end

local function mlflow_env(s)
  local said = s.group.mlflow or {}
  local env = { { name = "MLFLOW_TRACKING_URI", value = said.trackingUri } }
  if (said.uiUrl or "") ~= "" then env[2] = { name = "MLFLOW_UI_URL", value = said.uiUrl } end
  return env, said.trackingEnvs or {}, said.artifactEnvs or {}
end

local function env_of(s, plan, secret)
  local settings = s.settings.modelUri
  local google = {}
  if plan.scheme == "gs" and secret then
    google[1] = { name = "GOOGLE_APPLICATION_CREDENTIALS", value = CREDENTIALS .. "/" .. settings.googleKey }
  end
  if plan.fetcher == "mlflow" then
    local own, tracking, artifacts = mlflow_env(s)
    return together { settings.env, tracking, artifacts, s.env, own }
  end
  return together { settings.env, google, s.env }
end

-- No more than the model itself gets, and no GPU: a pod's need is the larger of the two, so this costs no quota.
local function resources_of(s)
  local of_model, own = s.instance_type.parts.model, {}
  for _, what in ipairs { "limits", "requests" } do
    own[what] = { cpu = of_model[what].cpu, memory = of_model[what].memory }
  end
  return own
end

local function mount_of(volume)
  return { name = volume.name, mountPath = volume.mount, subPath = volume.sub_path, readOnly = true }
end

local function container(s, plan)
  local settings, secret = s.settings.modelUri, credentials_of(s)
  local is_mlflow = plan.fetcher == "mlflow"
  local from = is_mlflow and settings.mlflow or settings
  local mounts = json.array { { name = "model-storage", mountPath = model_uri.TARGET } }
  if plan.volume then mounts[#mounts + 1] = mount_of(plan.volume) end
  if secret then mounts[#mounts + 1] = { name = "model-credentials", mountPath = CREDENTIALS, readOnly = true } end
  return {
    name = M.NAME,
    image = image.prefixed(s, ("%s:%s"):format(from.image, from.tag)),
    imagePullPolicy = from.pullPolicy,
    command = is_mlflow and #from.command > 0 and json.array(from.command) or nil,
    args = json.array(is_mlflow and { plan.uri } or { plan.uri, model_uri.TARGET }),
    env = env_of(s, plan, secret),
    envFrom = secret and json.array { { secretRef = { name = secret } } } or nil,
    resources = resources_of(s),
    securityContext = image.security(s),
    terminationMessagePolicy = "FallbackToLogsOnError",
    volumeMounts = mounts,
  }
end

-- For the pod template; nil without a modelURI.
function M.containers(s)
  return s.fetch and json.array { container(s, s.fetch) } or nil
end

-- Behind the other volumes of the pod.
function M.add_volumes(s, volumes)
  if not s.fetch then return volumes end
  local volume, secret, limit = s.fetch.volume, credentials_of(s), s.settings.modelUri.storageLimit
  local function add(name, source)
    local entry = { name = name }
    for kind, value in pairs(source) do entry[kind] = value end
    volumes[#volumes + 1] = entry
  end
  if volume then add(volume.name, volume.source) end
  if secret then add("model-credentials", { secret = { secretName = secret } }) end
  add("model-storage", { emptyDir = limit ~= "" and { sizeLimit = tostring(limit) } or {} })
  return volumes
end

-- Behind the other mounts of the model's container.
function M.add_mounts(s, mounts)
  if not s.fetch then return mounts end
  mounts[#mounts + 1] = { name = "model-storage", mountPath = model_uri.TARGET }
  local volume = s.fetch.volume
  if volume and volume.in_model then mounts[#mounts + 1] = mount_of(volume) end
  return mounts
end

-- What the wrapper in the model's image is told: a parameter of its class.
function M.parameters()
  return json.encode(json.array { { name = "model_uri", value = model_uri.TARGET, type = "STRING" } })
end

return M
