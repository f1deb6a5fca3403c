-- Random objects of every kind that are mostly right: what a person, a controller or a chart would send.
--
-- Each function takes the source of numbers and the object's name and returns spec and the like; metadata is added by
-- kinds.lua. What cannot be changed after creation (selectors, types) depends on the name alone, so that later
-- changes are mostly taken.

local M = {}

local function list(...) return json.array { ... } end

local IMAGES = { "registry.example/model:v1", "registry.example/model:v2", "busybox", "nginx:1.19" }
local QUANTITIES = { cpu = { "1", "500m", "0.5", "2", "100m", 1 }, memory = { "1Gi", "512Mi", "1G", "128974848", "1e3", "1.5Gi" } }

local function resources(s)
  local limits = { cpu = s:pick(QUANTITIES.cpu), memory = s:pick(QUANTITIES.memory) }
  local out = { limits = limits }
  if s:chance(30) then out.requests = { cpu = "100m" } end
  if s:chance(15) then out.limits["nvidia.com/gpu"] = s:number(2) end
  if s:chance(10) then return { requests = { memory = "64Mi" } } end
  return out
end

local function env(s)
  local out = list()
  for _, name in ipairs { "A", "B", "C_D" } do
    if s:chance(50) then
      out[#out + 1] = s:pick {
        { name = name, value = s:pick { "1", "", "yes", "$(A)" } },
        { name = name, valueFrom = { fieldRef = { fieldPath = s:pick { "metadata.name", "status.podIP" } } } },
        { name = name, valueFrom = { secretKeyRef = { name = "s", key = "k", optional = s:chance(50) } } },
        { name = name, valueFrom = { configMapKeyRef = { name = "c", key = "k" } } },
        { name = name, valueFrom = { resourceFieldRef = { resource = "limits.cpu" } } },
      }
    end
  end
  return out
end

local function probe(s)
  local out = s:pick {
    { httpGet = { path = "/health", port = s:pick { 8080, "http" } } },
    { tcpSocket = { port = 8080 } },
    { exec = { command = list("cat", "/tmp/ok") } },
  }
  if s:chance(50) then out.periodSeconds = s:pick { 5, 10, 30 } end
  if s:chance(30) then out.initialDelaySeconds = 10 end
  if s:chance(20) then out.failureThreshold = 2 end
  return out
end

local function port(s, number, name)
  local out = { containerPort = number }
  if s:chance(60) then out.name = name end
  if s:chance(30) then out.protocol = "TCP" end
  return out
end

local function container(s, name)
  local out = { name = name, image = s:pick(IMAGES) }
  if s:chance(50) then out.env = env(s) end
  if s:chance(40) then out.resources = resources(s) end
  if s:chance(50) then out.ports = s:chance(50) and list(port(s, 8080, "http")) or list(port(s, 8080, "http"), port(s, 9090, "metrics")) end
  if s:chance(20) then out.command = list("sh", "-c", "sleep 1") end
  if s:chance(20) then out.args = list("--port", "8080") end
  if s:chance(15) then out.readinessProbe = probe(s) end
  if s:chance(10) then out.livenessProbe = probe(s) end
  if s:chance(15) then out.imagePullPolicy = s:pick { "Always", "IfNotPresent", "Never" } end
  if s:chance(10) then out.securityContext = { runAsNonRoot = true, allowPrivilegeEscalation = false } end
  if s:chance(10) then out.lifecycle = { preStop = { exec = { command = list("sleep", "1") } } } end
  if s:chance(8) then out.workingDir = "/srv" end
  if s:chance(8) then out.envFrom = list({ configMapRef = { name = "c" } }) end
  if s:chance(6) then out.terminationMessagePath = "/dev/log" end
  return out
end

local function toleration(s)
  return s:pick {
    { key = "gpu", operator = "Exists", effect = "NoSchedule" },
    { key = "gpu", operator = "Equal", value = "yes", effect = "NoSchedule" },
    { key = "node.kubernetes.io/not-ready", operator = "Exists", effect = "NoExecute", tolerationSeconds = 60 },
    { operator = "Exists" },
  }
end

local function volume_source(s)
  return s:pick {
    { emptyDir = {} }, { configMap = { name = "c" } }, { secret = { secretName = "s" } },
    { emptyDir = { medium = "Memory" } }, { hostPath = { path = "/data" } }, { persistentVolumeClaim = { claimName = "p" } },
  }
end

local function pod_spec(s)
  local out = { containers = list(container(s, "model")) }
  if s:chance(40) then out.containers[2] = container(s, "engine") end
  if s:chance(20) then
    local volume = volume_source(s)
    volume.name = "data"
    out.volumes = list(volume)
    if s:chance(70) then out.containers[1].volumeMounts = list({ name = "data", mountPath = "/data" }) end
  end
  if s:chance(15) then out.nodeSelector = { disk = s:pick { "ssd", "hdd" } } end
  if s:chance(15) then out.tolerations = list(toleration(s)) end
  if s:chance(15) then out.terminationGracePeriodSeconds = s:pick { 0, 5, 60 } end
  if s:chance(10) then out.imagePullSecrets = list({ name = "pull" }) end
  if s:chance(10) then out.securityContext = { runAsUser = 1000, fsGroup = 2000 } end
  if s:chance(10) then out.initContainers = list(container(s, "fetch")) end
  if s:chance(8) then out.hostAliases = list({ ip = "127.0.0.1", hostnames = list("a.example") }) end
  if s:chance(8) then out.dnsPolicy = s:pick { "Default", "ClusterFirst" } end
  if s:chance(6) then
    out.affinity = { nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms = list({
      matchExpressions = list({ key = "disk", operator = "In", values = list("ssd") }) }) } } }
  end
  if out.initContainers then -- probes and lifecycle are not for those
    local first = out.initContainers[1]
    first.readinessProbe, first.livenessProbe, first.lifecycle = nil, nil, nil
  end
  return out
end

local function template(s, name)
  local out = { metadata = { labels = { app = name } }, spec = pod_spec(s) }
  if s:chance(30) then out.metadata.annotations = { note = s:pick { "one", "two" } } end
  if s:chance(20) then out.metadata.labels.version = s:pick { "v1", "v2" } end
  return out
end

function M.ConfigMap(s)
  local out = {}
  if s:chance(85) then out.data = { a = s:pick { "1", "2", "three\nlines\n" }, [s:pick { "b", "file.txt", "C_D" }] = s:pick { "x", "" } } end
  if s:chance(15) then out.binaryData = { bin = "AAEC" } end
  return out
end

function M.Secret(s)
  local out = {}
  if s:chance(70) then out.data = { a = s:pick { "YQ==", "Yg==", "YWI=" }, [s:pick { "b", "c" }] = "eA==" } end
  if s:chance(30) then out.stringData = { a = s:pick { "plain", "other" } } end
  if s:chance(20) then out.type = "Opaque" end
  return out
end

function M.Service(s, name)
  local spec = { selector = { app = name } }
  spec.ports = list({ name = "http", port = s:pick { 80, 8000 } })
  if s:chance(40) then spec.ports[1].targetPort = s:pick { 8080, "http" } end
  if s:chance(30) then spec.ports[1].protocol = "TCP" end
  if s:chance(40) then spec.ports[2] = { name = "grpc", port = 9000, targetPort = 9000 } end
  if s:chance(10) then spec.ports[#spec.ports + 1] = { name = "dns", port = 53, protocol = "UDP" } end
  if s:chance(15) then spec.sessionAffinity = s:pick { "None", "ClientIP" } end
  if s:chance(10) then spec.publishNotReadyAddresses = true end
  if name == "c" then spec.clusterIP = "None" end
  if name == "b" and s:chance(50) then spec.type = "ClusterIP" end
  if name == "a" and s:chance(20) then spec.type = "NodePort" end
  return { spec = spec }
end

function M.Deployment(s, name)
  local spec = { selector = { matchLabels = { app = name } }, template = template(s, name) }
  if s:chance(70) then spec.replicas = s:number(4) - 1 end
  if s:chance(20) then spec.paused = true end
  if s:chance(20) then
    spec.strategy = s:pick { { type = "Recreate" }, { type = "RollingUpdate", rollingUpdate = { maxSurge = s:pick { 1, 0, "25%", 2 },
      maxUnavailable = s:pick { 1, "50%", 2 } } } }
  end
  if s:chance(15) then spec.progressDeadlineSeconds = 700 end
  if s:chance(15) then spec.revisionHistoryLimit = s:pick { 0, 2, 5 } end
  if s:chance(10) then spec.minReadySeconds = 5 end
  return { spec = spec }
end

function M.ReplicaSet(s, name)
  local spec = { selector = { matchLabels = { app = name } }, template = template(s, name) }
  if s:chance(70) then spec.replicas = s:number(4) - 1 end
  if s:chance(10) then spec.minReadySeconds = 5 end
  return { spec = spec }
end

function M.Pod(s)
  local spec = pod_spec(s)
  if s:chance(15) then spec.restartPolicy = s:pick { "Never", "OnFailure" } end
  if s:chance(10) then spec.nodeName = "no-such-node" end
  if s:chance(8) then spec.activeDeadlineSeconds = 100 end
  return { spec = spec }
end

local function ingress_path(s)
  return { path = s:pick { "/", "/a", "/a/(.+)" }, pathType = s:pick { "Prefix", "ImplementationSpecific" },
    backend = { service = { name = "a", port = s:pick { { number = 80 }, { name = "http" } } } } }
end

function M.Ingress(s)
  local spec = {}
  if s:chance(80) then
    local rule = { http = { paths = list(ingress_path(s)) } }
    if s:chance(30) then rule.http.paths[2] = ingress_path(s) end
    if s:chance(50) then rule.host = s:pick { "a.example", "*.b.example" } end
    for _, p in ipairs(rule.http.paths) do
      if p.path == "/a/(.+)" then p.pathType = "ImplementationSpecific" end
    end
    spec.rules = list(rule)
  end
  if not spec.rules or s:chance(20) then spec.defaultBackend = { service = { name = "b", port = { number = 80 } } } end
  if s:chance(20) then spec.tls = list({ hosts = list("a.example"), secretName = "tls" }) end
  if s:chance(20) then spec.ingressClassName = "nginx" end
  return { spec = spec }
end

function M.Namespace() return {} end

function M.ServiceAccount(s)
  local out = {}
  if s:chance(40) then out.imagePullSecrets = list({ name = s:pick { "pull", "other" } }) end
  if s:chance(30) then out.secrets = list({ name = s:pick { "token", "more" } }) end
  if s:chance(20) then out.automountServiceAccountToken = s:chance(50) end
  return out
end

function M.Lease(s)
  local spec = {}
  if s:chance(80) then spec.holderIdentity = s:pick { "one", "two" } end
  if s:chance(60) then spec.leaseDurationSeconds = s:pick { 15, 30 } end
  if s:chance(40) then spec.renewTime = "2026-01-01T00:00:0" .. s:number(9) .. ".123456Z" end
  if s:chance(30) then spec.leaseTransitions = s:number(3) end
  return { spec = spec }
end

function M.Event(s)
  local out = { involvedObject = { apiVersion = "v1", kind = "Pod", namespace = "@{ns}", name = s:pick { "a", "b" } },
    reason = s:pick { "Pulled", "Failed" }, message = s:pick { "one", "two" }, type = s:pick { "Normal", "Warning" } }
  if s:chance(60) then out.source = { component = "kubelet" } end
  if s:chance(40) then out.count = s:number(5) end
  if s:chance(40) then out.firstTimestamp = "2026-01-01T00:00:00Z" end
  if s:chance(20) then out.lastTimestamp = json.null end
  if s:chance(20) then out.eventTime = "2026-01-01T00:00:00.000001Z" end
  if out.eventTime then
    out.reportingComponent, out.reportingInstance, out.action = "example.com/kubelet", "node-1", "Pulling"
  end
  return out
end

function M.ResourceQuota(s)
  local hard = {}
  if s:chance(60) then hard["limits.cpu"] = s:pick(QUANTITIES.cpu) end
  if s:chance(50) then hard["requests.memory"] = s:pick(QUANTITIES.memory) end
  if s:chance(50) then hard.pods = s:pick { "2", "10", 3 } end
  if s:chance(20) then hard["count/configmaps"] = "5" end
  return { spec = { hard = hard } }
end

function M.Node(s)
  local spec = {}
  if s:chance(30) then spec.unschedulable = true end
  if s:chance(40) then spec.taints = list({ key = "gpu", value = s:pick { "yes", "no" }, effect = s:pick { "NoSchedule", "NoExecute" } }) end
  return { spec = spec }
end

function M.Endpoints(s)
  if s:chance(20) then return {} end
  return { subsets = list({ addresses = list({ ip = s:pick { "10.1.2.3", "10.1.2.4" } }),
    ports = list({ name = "http", port = s:pick { 80, 8080 }, protocol = "TCP" }) }) }
end

function M.PriorityClass(s)
  local out = { value = s:chance(50) and 100 or 100, description = s:pick { "low", "high" } }
  if s:chance(20) then out.preemptionPolicy = "PreemptLowerPriority" end
  return out
end

function M.IngressClass(s)
  local out = { spec = { controller = "example.com/controller" } }
  if s:chance(20) then out.spec.parameters = { apiGroup = "example.com", kind = "P", name = s:pick { "x", "y" } } end
  return out
end

function M.PhDeployment(s, name)
  local predictor = { name = "predictor1", replicas = s:number(3) - 1, modelImage = s:pick(IMAGES), instanceType = "cpu-only" }
  if s:chance(40) then predictor.metadata = { LEARNING_RATE = "0.1", BATCH = s:pick { "1", "2" } } end
  if s:chance(20) then predictor.imagePullSecret = "pull" end
  local spec = { displayName = name, userId = "u", userName = "phadmin", groupId = "g", groupName = "phusers", stop = s:chance(30),
    description = s:pick { "one", "", "two" }, updateMessage = "", predictors = list(predictor) }
  if s:chance(50) then spec.endpoint = { accessType = s:pick { "public", "private" } } end
  if s:chance(30) then spec.env = env(s) end
  if s:chance(30) then spec.replicas = s:number(4) - 1 end
  if s:chance(10) then spec.unknownField = "dropped" end
  return { spec = spec }
end

function M.PhGroup(s)
  return { spec = { id = s:pick { "g1", "g2" }, name = "phusers", enabledDeployment = s:chance(50), quota = { cpu = "10", memory = "20Gi" },
    maxDeployments = s:number(5) } }
end

function M.InstanceType(s)
  local spec = { displayName = "CPU", ["limits.cpu"] = s:pick { 1, 0.5, 2 }, ["limits.memory"] = s:pick { "2G", "1Gi" } }
  if s:chance(30) then spec.nodeSelector = { disk = "ssd" } end
  if s:chance(30) then spec.tolerations = list(toleration(s)) end
  return { spec = spec }
end

-- The kind of widget.yaml: every way in which a schema can say something.
function M.Widget(s)
  local spec = { size = s:number(5) }
  if s:chance(50) then spec.color = s:pick { "red", "green" } end
  if s:chance(40) then spec.port = s:pick { 80, "http" } end
  if s:chance(40) then spec.free = s:pick { { any = { thing = list(1, "two") } }, { x = 1.5, y = json.null } } end
  if s:chance(40) then spec.tags = s:some { "one", "two", "three" } end
  if s:chance(40) then spec.items = list({ key = "k1", value = s:number(3) }, { key = "k2" }) end
  if s:chance(30) then spec.labels = { a = s:pick { "x", "y" }, b = "z" } end
  if s:chance(30) then spec.nothing = s:chance(50) and json.null or "something" end
  if s:chance(20) then spec.unknown = { dropped = true } end
  if s:chance(30) then spec.limits = { low = s:number(3), unknown = 1 } end
  if s:chance(30) then spec.atoms = list({ a = s:number(3) }, { a = 2, b = "x" }) end
  if s:chance(30) then spec.ratio = s:pick { 0.5, 1, 2.25 } end
  if s:chance(20) then spec.when = "2026-01-01T00:00:00Z" end
  return { spec = spec }
end

function M.Gadget(s) return { spec = { note = s:pick { "x", "y" }, level = s:number(3) }, extra = { kept = s:chance(50) } } end

-- ------------------------------------------------------------------ statuses

M.status = {}

local function condition(s, kind)
  return { type = kind, status = s:pick { "True", "False" }, reason = s:pick { "One", "Two" }, message = "why", lastTransitionTime = "2026-01-01T00:00:00Z" }
end

function M.status.Deployment(s)
  return { replicas = s:number(3), readyReplicas = 1, observedGeneration = s:number(2), conditions = list(condition(s, "Available")) }
end

function M.status.ReplicaSet(s) return { replicas = s:number(3), availableReplicas = 1, readyReplicas = 1 } end

function M.status.Pod(s)
  local out = { phase = s:pick { "Pending", "Running" }, conditions = list(condition(s, "Ready")), podIP = "10.1.2.3", podIPs = list({ ip = "10.1.2.3" }) }
  if s:chance(50) then
    out.containerStatuses = list({ name = "model", image = "x", imageID = "y", ready = s:chance(50), restartCount = s:number(3),
      state = s:pick { { running = { startedAt = "2026-01-01T00:00:00Z" } }, { waiting = { reason = "ImagePullBackOff" } } }, lastState = {} })
  end
  return out
end

function M.status.Service(s) return { loadBalancer = { ingress = list({ ip = s:pick { "1.2.3.4", "1.2.3.5" } }) } } end
function M.status.Ingress(s) return { loadBalancer = { ingress = list({ hostname = s:pick { "a.example", "b.example" } }) } } end
function M.status.Namespace(s) return { phase = "Active", conditions = list(condition(s, s:pick { "NamespaceDeletionContentFailure" })) } end
function M.status.ResourceQuota(s) return { hard = { pods = s:pick { "2", "3" } }, used = { pods = s:pick { "0", "1" } } } end

function M.status.Node(s)
  return { capacity = { cpu = s:pick(QUANTITIES.cpu), memory = "1Gi", pods = "10" }, allocatable = { cpu = "1" },
    conditions = list(condition(s, "Ready")), nodeInfo = { kubeletVersion = s:pick { "v1", "v2" } } }
end

function M.status.PhDeployment(s)
  return { phase = s:pick { "Deploying", "Deployed", "Failed" }, message = "text", replicas = s:number(3), availableReplicas = 1,
    observedGeneration = s:number(3), selector = "app=x" }
end

function M.status.PhGroup(s) return { used = { cpu = s:pick { "1", "2" } } } end
function M.status.Widget(s) return { replicas = s:number(3), ready = s:chance(50), selector = "app=w", unknown = "dropped" } end

return M
