-- What the server's Go types say beyond its OpenAPI document.
--
-- A built-in kind is decoded into a Go struct and encoded from it again. A field that is optional and no pointer loses
-- its zero on the way (`hostNetwork: false` is gone); a pointer keeps it (`replicas: 0` stays); a struct that is no
-- pointer is written even if nobody gave it (`status: {}`, `resources: {}`), and a time that is none as null. The document
-- does not tell them apart. This table does; for pods and what makes them spec/sandbox/facts asks kubectl 1.20, which has the
-- same types.
--
-- kept:    optional scalars whose zero is kept
-- written: what is there always: {} (a struct, whose own `written` apply), null (a time), or the value itself
--
-- Scalars that the document requires are always written, as "", 0 or false.

local M = {}

local function set(text)
  local found = {}
  for name in text:gmatch("%S+") do found[name] = true end
  return found
end

local STRUCT, NULL = {}, json.null
M.STRUCT = STRUCT

local META, ALL = { metadata = STRUCT }, { metadata = STRUCT, spec = STRUCT, status = STRUCT }
local SINCE = { lastTransitionTime = NULL }

local FACTS = {
  ["meta.v1"] = {
    ObjectMeta = { kept = "deletionGracePeriodSeconds managedFields", written = { creationTimestamp = NULL } },
    OwnerReference = { kept = "controller blockOwnerDeletion" },
    DeleteOptions = { kept = "gracePeriodSeconds orphanDependents propagationPolicy" },
    Preconditions = { kept = "uid resourceVersion" },
    ListMeta = { kept = "remainingItemCount" },
    Condition = { written = SINCE },
  },
  ["apps.v1"] = {
    Deployment = { written = ALL }, ReplicaSet = { written = ALL },
    DeploymentSpec = { kept = "replicas revisionHistoryLimit progressDeadlineSeconds",
      written = { template = STRUCT, strategy = STRUCT } },
    DeploymentStatus = { kept = "collisionCount" },
    DeploymentCondition = { written = { lastTransitionTime = NULL, lastUpdateTime = NULL } },
    ReplicaSetSpec = { kept = "replicas", written = { template = STRUCT } },
    ReplicaSetCondition = { written = SINCE },
  },
  ["autoscaling.v1"] = { Scale = { written = ALL } },
  ["policy.v1beta1"] = { Eviction = { written = META } },
  ["coordination.v1"] = {
    Lease = { written = { metadata = STRUCT, spec = STRUCT } },
    LeaseSpec = { kept = "holderIdentity leaseDurationSeconds leaseTransitions" },
  },
  ["scheduling.v1"] = { PriorityClass = { kept = "preemptionPolicy", written = META } },
  ["authorization.v1"] = {
    SubjectAccessReview = { written = ALL }, SelfSubjectAccessReview = { written = ALL },
    LocalSubjectAccessReview = { written = ALL }, SelfSubjectRulesReview = { written = ALL },
  },
  ["authentication.v1"] = {
    TokenReview = { written = ALL }, TokenReviewStatus = { written = { user = STRUCT } },
    TokenRequest = { written = ALL }, TokenRequestSpec = { kept = "expirationSeconds" },
    TokenRequestStatus = { written = { expirationTimestamp = NULL } },
  },
  ["core.v1"] = {
    AzureDiskVolumeSource = { kept = "cachingMode fsType readOnly kind" },
    Binding = { written = { metadata = STRUCT, target = STRUCT } },
    CSIVolumeSource = { kept = "readOnly fsType" },
    ClientIPConfig = { kept = "timeoutSeconds" },
    ConfigMap = { kept = "immutable", written = META },
    ConfigMapEnvSource = { kept = "optional" }, ConfigMapKeySelector = { kept = "optional" },
    ConfigMapProjection = { kept = "optional" }, ConfigMapVolumeSource = { kept = "defaultMode optional" },
    Container = { written = { resources = STRUCT } },
    ContainerStateRunning = { written = { startedAt = NULL } },
    ContainerStateTerminated = { written = { startedAt = NULL, finishedAt = NULL } },
    ContainerStatus = { kept = "started", written = { state = STRUCT, lastState = STRUCT } },
    DownwardAPIVolumeFile = { kept = "mode" }, DownwardAPIVolumeSource = { kept = "defaultMode" },
    EndpointAddress = { kept = "nodeName" }, EndpointPort = { kept = "appProtocol" },
    Endpoints = { written = META },
    EphemeralContainer = { written = { resources = STRUCT } },
    Event = { kept = "reportingComponent reportingInstance", written = { metadata = STRUCT, involvedObject = STRUCT,
      source = STRUCT, firstTimestamp = NULL, lastTimestamp = NULL, eventTime = NULL, reportingComponent = "",
      reportingInstance = "" } },
    EventSeries = { written = { lastObservedTime = NULL } },
    FCVolumeSource = { kept = "lun" },
    HostPathVolumeSource = { kept = "type" },
    ISCSIVolumeSource = { kept = "initiatorName" },
    KeyToPath = { kept = "mode" },
    Namespace = { written = ALL }, NamespaceCondition = { written = SINCE },
    Node = { written = ALL },
    NodeCondition = { written = { lastHeartbeatTime = NULL, lastTransitionTime = NULL } },
    NodeDaemonEndpoints = { written = { kubeletEndpoint = STRUCT } },
    NodeStatus = { written = { daemonEndpoints = STRUCT, nodeInfo = STRUCT } },
    PersistentVolumeClaimSpec = { kept = "storageClassName volumeMode", written = { resources = STRUCT } },
    PersistentVolumeClaimTemplate = { written = { metadata = STRUCT, spec = STRUCT } },
    Pod = { written = ALL },
    PodCondition = { written = { lastProbeTime = NULL, lastTransitionTime = NULL } },
    PodDNSConfigOption = { kept = "value" },
    PodSecurityContext = { kept = "runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy" },
    PodSpec = { kept = "terminationGracePeriodSeconds activeDeadlineSeconds automountServiceAccountToken "
      .. "shareProcessNamespace priority enableServiceLinks runtimeClassName preemptionPolicy setHostnameAsFQDN" },
    PodTemplateSpec = { written = { metadata = STRUCT, spec = STRUCT } },
    PortStatus = { kept = "error" },
    PreferredSchedulingTerm = { written = { preference = STRUCT } },
    ProjectedVolumeSource = { kept = "defaultMode" },
    ResourceFieldSelector = { written = { divisor = "0" } },
    ResourceQuota = { written = ALL },
    SeccompProfile = { kept = "localhostProfile" },
    Secret = { kept = "immutable", written = META },
    SecretEnvSource = { kept = "optional" }, SecretKeySelector = { kept = "optional" },
    SecretProjection = { kept = "optional" }, SecretVolumeSource = { kept = "defaultMode optional" },
    SecurityContext = { kept = "privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem "
      .. "allowPrivilegeEscalation procMount" },
    Service = { written = ALL },
    ServiceAccount = { kept = "automountServiceAccountToken", written = META },
    ServiceAccountTokenProjection = { kept = "expirationSeconds" },
    ServicePort = { kept = "appProtocol", written = { targetPort = 0 } },
    ServiceSpec = { kept = "ipFamilyPolicy allocateLoadBalancerNodePorts" },
    ServiceStatus = { written = { loadBalancer = STRUCT } },
    Toleration = { kept = "tolerationSeconds" },
    TypedLocalObjectReference = { kept = "apiGroup", written = { apiGroup = NULL } },
    VolumeMount = { kept = "mountPropagation" },
    WeightedPodAffinityTerm = { written = { podAffinityTerm = STRUCT } },
    WindowsSecurityContextOptions = { kept = "gmsaCredentialSpecName gmsaCredentialSpec runAsUserName" },
  },
  ["networking.v1"] = {
    HTTPIngressPath = { kept = "pathType", written = { backend = STRUCT } },
    Ingress = { written = ALL }, IngressStatus = { written = { loadBalancer = STRUCT } },
    IngressSpec = { kept = "ingressClassName" },
    IngressClass = { written = { metadata = STRUCT, spec = STRUCT } },
    IngressServiceBackend = { written = { port = STRUCT } },
  },
  ["admissionregistration.v1"] = {
    MutatingWebhookConfiguration = { written = META }, ValidatingWebhookConfiguration = { written = META },
    MutatingWebhook = { kept = "failurePolicy matchPolicy timeoutSeconds reinvocationPolicy",
      written = { clientConfig = STRUCT } },
    ValidatingWebhook = { kept = "failurePolicy matchPolicy timeoutSeconds", written = { clientConfig = STRUCT } },
    RuleWithOperations = { kept = "scope" },
    ServiceReference = { kept = "path port" },
    WebhookClientConfig = { kept = "url" },
  },
  ["apiextensions.v1"] = {
    CustomResourceDefinition = { written = ALL },
    CustomResourceDefinitionSpec = { written = { names = STRUCT } },
    CustomResourceDefinitionStatus = { kept = "conditions storedVersions",
      written = { acceptedNames = STRUCT, conditions = NULL, storedVersions = NULL } },
    CustomResourceDefinitionCondition = { written = SINCE },
    CustomResourceSubresourceScale = { kept = "labelSelectorPath" },
    JSONSchemaProps = { kept = "$ref maximum minimum maxLength minLength maxItems minItems multipleOf maxProperties minProperties "
      .. "x-kubernetes-preserve-unknown-fields x-kubernetes-list-type x-kubernetes-map-type default example" },
    ServiceReference = { kept = "path port" },
    WebhookClientConfig = { kept = "url" },
  },
}
FACTS["networking.v1beta1"] = {
  HTTPIngressPath = FACTS["networking.v1"].HTTPIngressPath,
  Ingress = FACTS["networking.v1"].Ingress, IngressStatus = FACTS["networking.v1"].IngressStatus,
  IngressSpec = FACTS["networking.v1"].IngressSpec, IngressClass = FACTS["networking.v1"].IngressClass,
  IngressBackend = { written = { servicePort = 0 } },
}

for _, kinds in pairs(FACTS) do
  for _, facts in pairs(kinds) do
    if type(facts.kept) == "string" then facts.kept = set(facts.kept) end
  end
end

-- { kept = { field = true }, written = { field = value } } of a definition by its full name, or nil.
function M.facts(name)
  local package, kind = name:match("([^.]+%.[^.]+)%.([^.]+)$")
  return FACTS[package] and FACTS[package][kind]
end

-- How Go's decoder calls a definition: "v1.DeploymentSpec".
function M.type_name(name)
  return name:match("([^.]+%.[^.]+)$")
end

local INITIALS = { api = "API", ca = "CA", csi = "CSI", dns = "DNS", fs = "FS", http = "HTTP", id = "ID", ip = "IP", ips = "IPs",
  nfs = "NFS", rbd = "RBD", tcp = "TCP", tls = "TLS", ttl = "TTL", tty = "TTY", uid = "UID", url = "URL" }

-- How Go calls a field: "replicas" is Replicas, "apiVersion" APIVersion, "metadata" ObjectMeta.
function M.field_name(field)
  if field == "metadata" then return "ObjectMeta" end
  local first, rest = field:match("^(%l+)(.*)$")
  if not first then return field end
  return (INITIALS[first] or first:sub(1, 1):upper() .. first:sub(2)) .. rest
end

return M
