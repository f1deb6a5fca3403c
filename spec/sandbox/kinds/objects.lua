-- Rich valid objects of every built-in kind, as spec/sandbox/kinds_real.lua sends them, spoiled here and there.
-- { NAME = { plural=, group=, version=, make = function() return object end } }: a fresh object each time.

local array = json.array

local function meta(name)
  return { name = name, labels = { app = "kinds-real", ["x.io/y"] = "z" }, annotations = { ["n.io/o"] = "some text", plain = "1" },
    finalizers = array { "x.io/fin" },
    ownerReferences = array { { apiVersion = "apps/v1", kind = "ReplicaSet", name = "o", uid = "u", controller = true,
      blockOwnerDeletion = true } } }
end

local function affinity()
  local when = "DuringSchedulingIgnoredDuringExecution"
  return {
    nodeAffinity = {
      ["required" .. when] = { nodeSelectorTerms = array { { matchExpressions = array { { key = "k", operator = "In", values = array { "v" } } } } } },
      ["preferred" .. when] = array { { weight = 10,
        preference = { matchExpressions = array { { key = "z", operator = "Gt", values = array { "1" } } } } } } },
    podAntiAffinity = {
      ["required" .. when] = array { { topologyKey = "kubernetes.io/hostname", labelSelector = { matchLabels = { a = "b" } } } },
      ["preferred" .. when] = array { { weight = 10, podAffinityTerm = { topologyKey = "zone" } } } },
  }
end

local function volumes()
  return array {
    { name = "v1", emptyDir = { sizeLimit = "1Gi", medium = "Memory" } },
    { name = "v2", secret = { secretName = "s", defaultMode = 256, items = array { { key = "k", path = "p/q", mode = 420 } } } },
    { name = "v3", configMap = { name = "c", items = array { { key = "k", path = "p" } }, optional = true } },
    { name = "v4", hostPath = { path = "/x", type = "Directory" } },
    { name = "v5", persistentVolumeClaim = { claimName = "claim" } },
    { name = "v6", downwardAPI = { items = array { { path = "l", fieldRef = { fieldPath = "metadata.labels" } },
      { path = "r", resourceFieldRef = { containerName = "c1", resource = "limits.cpu", divisor = "1m" } } } } },
    { name = "v7", projected = { sources = array { { secret = { name = "s" } }, { configMap = { name = "m" } },
      { serviceAccountToken = { path = "t", audience = "x" } },
      { downwardAPI = { items = array { { path = "n", fieldRef = { fieldPath = "metadata.name" } } } } } } } },
    { name = "v8", nfs = { server = "h", path = "/p" } },
  }
end

local function container()
  return { name = "c1", image = "nginx:1.19", imagePullPolicy = "IfNotPresent", command = array { "x" }, args = array { "y" }, workingDir = "/w",
    ports = array { { name = "http", containerPort = 80 }, { name = "metrics", containerPort = 9090, protocol = "UDP", hostPort = 9090 } },
    env = array { { name = "A", value = "b" }, { name = "B", valueFrom = { fieldRef = { fieldPath = "status.podIP" } } },
      { name = "C", valueFrom = { secretKeyRef = { name = "s", key = "k", optional = true } } },
      { name = "D", valueFrom = { configMapKeyRef = { name = "s", key = "k" } } },
      { name = "E", valueFrom = { resourceFieldRef = { resource = "limits.memory", divisor = "1Mi" } } } },
    envFrom = array { { prefix = "P_", configMapRef = { name = "cm" } }, { secretRef = { name = "se" } } },
    resources = { limits = { cpu = "2", memory = "1Gi", ["nvidia.com/gpu"] = "1" },
      requests = { cpu = "500m", memory = "1Gi", ["nvidia.com/gpu"] = "1" } },
    volumeMounts = array { { name = "v1", mountPath = "/a" }, { name = "v2", mountPath = "/b", readOnly = true, subPath = "x/y" } },
    livenessProbe = { httpGet = { path = "/h", port = "http", httpHeaders = array { { name = "X-A", value = "b" } } },
      initialDelaySeconds = 3, periodSeconds = 4, timeoutSeconds = 5, failureThreshold = 6, successThreshold = 1 },
    readinessProbe = { tcpSocket = { port = 8080 }, successThreshold = 2 }, startupProbe = { exec = { command = array { "x" } } },
    lifecycle = { preStop = { exec = { command = array { "sleep" } } }, postStart = { httpGet = { port = 80 } } },
    securityContext = { privileged = false, runAsUser = 1, allowPrivilegeEscalation = false, readOnlyRootFilesystem = true,
      capabilities = { add = array { "NET_ADMIN" }, drop = array { "ALL" } } },
    terminationMessagePolicy = "File", stdin = true, tty = false }
end

local function pod_spec()
  return { restartPolicy = "Always", nodeSelector = { disk = "ssd" }, serviceAccountName = "sa", terminationGracePeriodSeconds = 5,
    hostname = "hh", subdomain = "sub", dnsPolicy = "ClusterFirst", schedulerName = "nobody", automountServiceAccountToken = false,
    enableServiceLinks = false, priorityClassName = "system-node-critical", hostNetwork = false,
    securityContext = { runAsUser = 1000, fsGroup = 2000, runAsNonRoot = true, supplementalGroups = array { 1, 2 } },
    imagePullSecrets = array { { name = "reg" } },
    tolerations = array { { key = "a/b", operator = "Exists", effect = "NoExecute", tolerationSeconds = 10 },
      { key = "x", value = "y", effect = "NoSchedule" }, { operator = "Exists" } },
    affinity = affinity(), volumes = volumes(),
    topologySpreadConstraints = array { { maxSkew = 1, topologyKey = "zone", whenUnsatisfiable = "DoNotSchedule",
      labelSelector = { matchLabels = { a = "b" } } } },
    initContainers = array { { name = "init", image = "busybox", command = array { "a" } } },
    containers = array { container(), { name = "c2", image = "reg.io:5000/foo/bar@sha256:" .. ("0"):rep(64) } } }
end

local function selector()
  return { matchLabels = { a = "b" }, matchExpressions = array { { key = "c", operator = "Exists" },
    { key = "a", operator = "In", values = array { "b", "c" } } } }
end

local function hook(name)
  return { name = name, failurePolicy = "Ignore", matchPolicy = "Exact", sideEffects = "None", timeoutSeconds = 5,
    admissionReviewVersions = array { "v1", "v1beta1" },
    clientConfig = { service = { name = "s", namespace = "n", path = "/p", port = 444 } },
    namespaceSelector = { matchLabels = { a = "b" } }, objectSelector = { matchExpressions = array { { key = "k", operator = "Exists" } } },
    rules = array { { apiGroups = array { "nobodys.io" }, apiVersions = array { "v1" }, resources = array { "things", "things/scale" },
      operations = array { "CREATE", "UPDATE" }, scope = "Namespaced" } } }
end

local M = {}

-- fields: of the object beside apiVersion, kind and metadata.
local function define(name, group, version, kind, fields)
  M[name] = { plural = name:match("^[^/]+"), group = group, version = version, make = function()
    local object = fields()
    object.apiVersion = group == "" and version or group .. "/" .. version
    object.kind, object.metadata = kind, meta("kinds-real")
    return object
  end }
end

define("deployments", "apps", "v1", "Deployment", function()
  return { spec = { replicas = 3, paused = true, minReadySeconds = 1, revisionHistoryLimit = 2, progressDeadlineSeconds = 30,
    strategy = { type = "RollingUpdate", rollingUpdate = { maxSurge = "30%", maxUnavailable = 1 } }, selector = selector(),
    template = { metadata = { labels = { a = "b", c = "d" }, annotations = { x = "y" } }, spec = pod_spec() } } }
end)
define("replicasets", "apps", "v1", "ReplicaSet", function()
  return { spec = { replicas = 3, minReadySeconds = 1, selector = selector(),
    template = { metadata = { labels = { a = "b", c = "d" } }, spec = pod_spec() } } }
end)
define("pods", "", "v1", "Pod", function()
  local spec = pod_spec()
  spec.activeDeadlineSeconds = 100
  return { spec = spec }
end)
define("services", "", "v1", "Service", function()
  return { spec = { type = "NodePort", selector = { a = "b" }, clusterIP = "10.96.3.4", sessionAffinity = "ClientIP",
    sessionAffinityConfig = { clientIP = { timeoutSeconds = 100 } }, externalIPs = array { "1.2.3.4" }, externalTrafficPolicy = "Local",
    publishNotReadyAddresses = true, ports = array { { name = "a", port = 80, targetPort = "http", nodePort = 30123 },
      { name = "b", port = 81, targetPort = 8081, protocol = "UDP", nodePort = 30124, appProtocol = "x.io/y" } } } }
end)
define("configmaps", "", "v1", "ConfigMap", function()
  return { data = { a = "b", ["x.y"] = "z" }, binaryData = { bin = "aGVsbG8=" }, immutable = false }
end)
define("secrets", "", "v1", "Secret", function()
  return { type = "kubernetes.io/tls", data = { ["tls.crt"] = "aGVsbG8=", ["tls.key"] = "aGVsbG8=" }, immutable = false }
end)
define("namespaces", "", "v1", "Namespace", function() return { spec = { finalizers = array { "a.io/b" } } } end)
define("serviceaccounts", "", "v1", "ServiceAccount", function()
  return { secrets = array { { name = "x", kind = "Secret" } }, imagePullSecrets = array { { name = "y" } },
    automountServiceAccountToken = false }
end)
define("endpoints", "", "v1", "Endpoints", function()
  return { subsets = array { { addresses = array { { ip = "10.0.0.1", hostname = "h", nodeName = "n",
    targetRef = { kind = "Pod", name = "p", uid = "u" } } }, notReadyAddresses = array { { ip = "10.0.0.2" } },
    ports = array { { name = "a", port = 80, protocol = "TCP" } } } } }
end)
define("events", "", "v1", "Event", function()
  return { involvedObject = { kind = "Pod", namespace = "default", name = "p", uid = "u", apiVersion = "v1" }, reason = "R", message = "M",
    type = "Normal", count = 2, source = { component = "c", host = "h" } }
end)
define("resourcequotas", "", "v1", "ResourceQuota", function()
  return { spec = { hard = { pods = "4", ["requests.cpu"] = "1500m", ["limits.memory"] = "2Gi", ["count/deployments.apps"] = "3" },
    scopes = array { "NotTerminating" } } }
end)
define("nodes", "", "v1", "Node", function()
  return { spec = { unschedulable = true, podCIDR = "10.1.0.0/24", taints = array { { key = "a", value = "b", effect = "NoSchedule" },
    { key = "a", effect = "NoExecute" } } }, status = { capacity = { cpu = "4", memory = "8Gi", pods = "110" } } }
end)
define("leases", "coordination.k8s.io", "v1", "Lease", function()
  return { spec = { holderIdentity = "h", leaseDurationSeconds = 15, leaseTransitions = 2 } }
end)
define("priorityclasses", "scheduling.k8s.io", "v1", "PriorityClass", function()
  return { value = 1000, globalDefault = false, description = "d", preemptionPolicy = "Never" }
end)
define("ingresses", "networking.k8s.io", "v1", "Ingress", function()
  return { spec = { ingressClassName = "nginx", defaultBackend = { service = { name = "svc", port = { number = 80 } } },
    tls = array { { hosts = array { "a.example.com", "*.b.com" }, secretName = "tls" } }, rules = array { { host = "a.example.com", http = {
      paths = array { { path = "/x", pathType = "Prefix", backend = { service = { name = "svc", port = { name = "http" } } } },
        { path = "/y", pathType = "ImplementationSpecific", backend = { resource = { apiGroup = "x.io", kind = "K", name = "n" } } } } } } } } }
end)
define("ingresses/v1beta1", "networking.k8s.io", "v1beta1", "Ingress", function()
  return { spec = { backend = { serviceName = "svc", servicePort = 80 }, rules = array { { host = "a.example.com",
    http = { paths = array { { path = "/x", backend = { serviceName = "svc", servicePort = "http" } } } } } } } }
end)
define("ingressclasses", "networking.k8s.io", "v1", "IngressClass", function()
  return { spec = { controller = "a.io/b", parameters = { apiGroup = "x.io", kind = "K", name = "n" } } }
end)
define("mutatingwebhookconfigurations", "admissionregistration.k8s.io", "v1", "MutatingWebhookConfiguration", function()
  return { webhooks = array { hook "a.b.io" } }
end)
define("validatingwebhookconfigurations", "admissionregistration.k8s.io", "v1", "ValidatingWebhookConfiguration", function()
  local other = hook "c.b.io"
  other.clientConfig = { url = "https://h.io/p" }
  return { webhooks = array { hook "a.b.io", other } }
end)

return M
