-- The container `seldon-container-engine`: it answers requests, asks the model, and counts.
--
-- It has no preStop hook: the image has no shell to sleep in and the engine knows no /pause, so the
-- hook of PrimeHub's operator could only fail. The engine itself ends requests that are under way.

local image = require "children.image"
local model = require "children.model"

local M = {}

M.REST, M.GRPC, M.METRICS = 8000, 5001, model.METRICS

-- What the engine is told of the model, base64 of JSON. Only names: no environment (it may hold secrets)
-- and no number of replicas (scaling must not restart pods).
local function predictor(s, pod_labels)
  return base64.encode(json.encode {
    name = "deploy",
    labels = pod_labels,
    graph = { name = "model", type = "MODEL",
      endpoint = { service_host = "localhost", service_port = model.PORT, type = "REST" } },
    componentSpecs = json.array { { spec = { containers = json.array { { name = "model", image = s.image } } } } },
  })
end

local function ports(s)
  local all = json.array { { name = model.SERVES, containerPort = M.REST, protocol = "TCP" } }
  if s.settings.engine.grpc then all[#all + 1] = { name = "grpc", containerPort = M.GRPC, protocol = "TCP" } end
  -- the model listens on it; declared here because monitors look for it here
  all[#all + 1] = { name = "metrics", containerPort = M.METRICS, protocol = "TCP" }
  return all
end

local function get(path)
  return { httpGet = { path = path, port = model.SERVES, scheme = "HTTP" } }
end

local function args(s)
  local all = json.array {
    "--sdep", s.name, "--namespace", s.namespace, "--predictor", "deploy",
    "--http_port", ("%d"):format(M.REST), "--grpc_port", ("%d"):format(M.GRPC),
    "--transport", "rest", "--protocol", "seldon", "--prometheus_path", "/prometheus",
  }
  for _, word in ipairs(s.settings.engine.args) do all[#all + 1] = tostring(word) end
  return all
end

function M.container(s, pod_labels)
  local engine = s.settings.engine
  return {
    name = "seldon-container-engine",
    image = image.prefixed(s, ("%s:%s"):format(engine.image, engine.tag)),
    imagePullPolicy = engine.pullPolicy,
    args = args(s),
    env = json.array {
      { name = "ENGINE_PREDICTOR", value = predictor(s, pod_labels) },
      { name = "DEPLOYMENT_NAME", value = s.child_name },
      { name = "DEPLOYMENT_NAMESPACE", value = s.namespace },
      { name = "ENGINE_SERVER_PORT", value = ("%d"):format(M.REST) },
      { name = "ENGINE_SERVER_GRPC_PORT", value = ("%d"):format(M.GRPC) },
      { name = "SELDON_LOG_MESSAGES_EXTERNALLY", value = "false" },
    },
    ports = ports(s),
    resources = s.instance_type.parts.engine,
    readinessProbe = model.probe(s, get "/ready"),
    livenessProbe = model.probe(s, get "/live"),
    securityContext = image.security(s, { runAsUser = 8888 }),
    terminationMessagePolicy = "FallbackToLogsOnError",
    volumeMounts = json.array { { name = "podinfo", mountPath = "/etc/podinfo" } },
  }
end

return M
