-- The container `model`: the user's image, its environment and what is left of the instance type.

local M = {}

M.PORT = 9000

-- Environment that the wrappers of model images read. Users may not set these names.
-- (Wrappers until 1.4 read the first port variable, later ones the second.)
local function own_env(s)
  local port = ("%d"):format(M.PORT)
  return {
    { name = "PREDICTIVE_UNIT_SERVICE_PORT", value = port },
    { name = "PREDICTIVE_UNIT_HTTP_SERVICE_PORT", value = port },
    { name = "PREDICTIVE_UNIT_ID", value = "model" },
    { name = "PREDICTIVE_UNIT_IMAGE", value = s.image },
    { name = "PREDICTOR_ID", value = "deploy" },
    { name = "SELDON_DEPLOYMENT_ID", value = s.child_name },
  }
end

-- A name of the user's env that is ours, or is given twice: {name =}, else nil.
function M.env_conflict(s)
  if not s.spec.env then return nil end
  local ours, given = {}, {}
  for _, one in ipairs(own_env(s)) do ours[one.name] = true end
  for _, one in ipairs(s.spec.env or {}) do
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
  for _, one in ipairs(s.spec.env or {}) do all[#all + 1] = one end
  return all
end

-- With the prefix of an air-gapped registry, unless it is there.
function M.prefixed(s, image)
  local prefix = s.settings.imagePrefix
  if prefix == "" or image:find(prefix, 1, true) then return image end
  return prefix .. image
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

function M.container(s)
  local listens = { tcpSocket = { port = "http" } }
  return {
    name = "model",
    image = M.prefixed(s, s.image),
    ports = json.array { { name = "http", containerPort = M.PORT, protocol = "TCP" } },
    env = env(s),
    resources = s.instance_type.parts.model,
    readinessProbe = M.probe(s, listens),
    livenessProbe = M.probe(s, listens),
    lifecycle = pre_stop(s),
    terminationMessagePolicy = "FallbackToLogsOnError",
    volumeMounts = json.array { { name = "podinfo", mountPath = "/etc/podinfo" } },
  }
end

return M
