-- The container `model`: the user's image, its environment and what is left of the instance type.

local image = require "children.image"
local initializer = require "children.initializer"

local M = {}

M.PORT = 9000
-- The port that answers requests, the engine's or that of a model without one, by name: the Service leads to the name. So pods of
-- before and after a change of engine are both reached while one kind replaces the other.
M.SERVES = "rest"
-- Where Seldon's Python wrappers show their metrics.
M.METRICS = 6000

-- Environment that the wrappers of model images read. Users may not set these names.
-- (Wrappers until 1.4 read the first port variable, later ones the second.)
local function own_env(s)
  local port = ("%d"):format(M.PORT)
  local env = {
    { name = "PREDICTIVE_UNIT_SERVICE_PORT", value = port },
    { name = "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", value = port },
    { name = "PREDICTIVE_UNIT_ID", value = "model" },
    { name = "PREDICTIVE_UNIT_IMAGE", value = s.image },
    { name = "PREDICTOR_ID", value = "deploy" },
    { name = "SELDON_DEPLOYMENT_ID", value = s.child_name },
  }
  if s.model_uri ~= "" then
    env[#env + 1] = { name = "PREDICTIVE_UNIT_PARAMETERS", value = initializer.parameters() }
  end
  return env
end

-- A name of the user's env that is ours, or is given twice: {name =}, else nil.
function M.env_conflict(s)
  if #s.env == 0 then return nil end
  local ours, given = {}, {}
  for _, one in ipairs(own_env(s)) do ours[one.name] = true end
  for _, one in ipairs(s.env) do
    if ours[one.name] then return { name = one.name, why = "is set by the operator" } end
    if given[one.name] then return { name = one.name, why = "is given twice" } end
    given[one.name] = true
  end
  return nil
end

-- Ours first, then the user's in the user's order: $(VAR) may refer to what stands before it.
local function env(s)
  local all = json.array {}
  for _, one in ipairs(own_env(s)) do all[#all + 1] = one end
  for _, one in ipairs(s.env) do all[#all + 1] = one end
  return all
end

-- A probe of both containers: `how` is {tcpSocket =} or {httpGet =}.
function M.probe(s, how)
  local p = s.settings.probes
  return { initialDelaySeconds = p.initialDelaySeconds, periodSeconds = p.periodSeconds, timeoutSeconds = p.timeoutSeconds,
    failureThreshold = p.failureThreshold, successThreshold = 1, tcpSocket = how.tcpSocket, httpGet = how.httpGet }
end

local function pre_stop(s)
  local seconds = s.settings.model.preStopSleepSeconds
  if seconds == 0 then return nil end
  return { preStop = { exec = { command = json.array { "/bin/sh", "-c", ("sleep %d"):format(seconds) } } } }
end

local function port_name(s) return s.has_engine and "http" or M.SERVES end

-- When the model counts as ready: its port is open (for Python wrappers that is before the model is loaded), or a path
-- answers 200. Only readiness asks it: a model that is slow to answer is not to be killed for that.
local function ready(s)
  local asked = s.predictor.readiness
  if not asked or asked == "" then asked = s.settings.model.readiness end
  if asked:sub(1, 1) == "/" then return { httpGet = { path = asked, port = port_name(s), scheme = "HTTP" } } end
  return { tcpSocket = { port = port_name(s) } }
end

local function ports(s)
  local all = json.array { { name = port_name(s), containerPort = M.PORT, protocol = "TCP" } }
  -- with an engine beside it, that one declares it: monitors look for it there
  if not s.has_engine then all[2] = { name = "metrics", containerPort = M.METRICS, protocol = "TCP" } end
  return all
end

function M.container(s)
  return {
    name = "model",
    image = image.prefixed(s, s.image),
    ports = ports(s),
    env = env(s),
    resources = s.instance_type.parts.model,
    readinessProbe = M.probe(s, ready(s)),
    livenessProbe = M.probe(s, { tcpSocket = { port = port_name(s) } }),
    lifecycle = pre_stop(s),
    securityContext = image.security(s),
    terminationMessagePolicy = "FallbackToLogsOnError",
    volumeMounts = initializer.add_mounts(s, json.array { { name = "podinfo", mountPath = "/etc/podinfo" } }),
  }
end

return M
