-- The field numbers of Kubernetes' types on the wire (application/vnd.kubernetes.protobuf), as far as clients send them.
--
-- One line for a message: "NUMBER name" for a string, else "NUMBER name:TYPE". TYPE is int, bool, bytes, Time, MicroTime, Quantity,
-- IntOrString, json or a message; [TYPE] is repeated, {TYPE} a map from strings. A name of "-" is a struct whose fields JSON
-- has in its parent. spec/sandbox/protobuf_real.lua reads objects of a real server by it and compares them with their JSON.

return {
  ObjectMeta = "1 name,2 generateName,3 namespace,4 selfLink,5 uid,6 resourceVersion,7 generation:int,8 creationTimestamp:Time,"
    .. "9 deletionTimestamp:Time,10 deletionGracePeriodSeconds:int,11 labels:{string},12 annotations:{string},"
    .. "13 ownerReferences:[OwnerReference],14 finalizers:[string],17 managedFields:[ManagedFieldsEntry]",
  OwnerReference = "1 kind,3 name,4 uid,5 apiVersion,6 controller:bool,7 blockOwnerDeletion:bool",
  ManagedFieldsEntry = "1 manager,2 operation,3 apiVersion,4 time:Time,6 fieldsType,7 fieldsV1:json",
  LabelSelector = "1 matchLabels:{string},2 matchExpressions:[Requirement]",
  Requirement = "1 key,2 operator,3 values:[string]",
  ObjectReference = "1 kind,2 namespace,3 name,4 uid,5 apiVersion,6 resourceVersion,7 fieldPath",
  LocalObjectReference = "1 name",
  DeleteOptions = "1 gracePeriodSeconds:int,2 preconditions:Preconditions,3 orphanDependents:bool,4 propagationPolicy,5 dryRun:[string]",
  Preconditions = "1 uid,2 resourceVersion",

  Namespace = "1 metadata:ObjectMeta,2 spec:NamespaceSpec,3 status:NamespaceStatus",
  NamespaceSpec = "1 finalizers:[string]",
  NamespaceStatus = "1 phase",
  ConfigMap = "1 metadata:ObjectMeta,2 data:{string},3 binaryData:{bytes},4 immutable:bool",
  Secret = "1 metadata:ObjectMeta,2 data:{bytes},3 type,4 stringData:{string},5 immutable:bool",
  ServiceAccount = "1 metadata:ObjectMeta,2 secrets:[ObjectReference],3 imagePullSecrets:[LocalObjectReference],"
    .. "4 automountServiceAccountToken:bool",
  Event = "1 metadata:ObjectMeta,2 involvedObject:ObjectReference,3 reason,4 message,5 source:EventSource,6 firstTimestamp:Time,"
    .. "7 lastTimestamp:Time,8 count:int,9 type,10 eventTime:MicroTime,11 series:EventSeries,12 action,13 related:ObjectReference,"
    .. "14 reportingComponent,15 reportingInstance",
  EventSource = "1 component,2 host",
  EventSeries = "1 count:int,2 lastObservedTime:MicroTime",
  Endpoints = "1 metadata:ObjectMeta,2 subsets:[EndpointSubset]",
  EndpointSubset = "1 addresses:[EndpointAddress],2 notReadyAddresses:[EndpointAddress],3 ports:[EndpointPort]",
  EndpointAddress = "1 ip,2 targetRef:ObjectReference,3 hostname,4 nodeName",
  EndpointPort = "1 name,2 port:int,3 protocol,4 appProtocol",
  ResourceQuota = "1 metadata:ObjectMeta,2 spec:ResourceQuotaSpec,3 status:ResourceQuotaStatus",
  ResourceQuotaSpec = "1 hard:{Quantity},2 scopes:[string],3 scopeSelector:ScopeSelector",
  ResourceQuotaStatus = "1 hard:{Quantity},2 used:{Quantity}",
  ScopeSelector = "1 matchExpressions:[ScopeRequirement]",
  ScopeRequirement = "1 scopeName,2 operator,3 values:[string]",
  Binding = "1 metadata:ObjectMeta,2 target:ObjectReference",
  Eviction = "1 metadata:ObjectMeta,2 deleteOptions:DeleteOptions",
  Scale = "1 metadata:ObjectMeta,2 spec:ScaleSpec,3 status:ScaleStatus",
  ScaleSpec = "1 replicas:int",
  ScaleStatus = "1 replicas:int,2 selector",
  PriorityClass = "1 metadata:ObjectMeta,2 value:int,3 globalDefault:bool,4 description,5 preemptionPolicy",
  Lease = "1 metadata:ObjectMeta,2 spec:LeaseSpec",
  LeaseSpec = "1 holderIdentity,2 leaseDurationSeconds:int,3 acquireTime:MicroTime,4 renewTime:MicroTime,5 leaseTransitions:int",

  Service = "1 metadata:ObjectMeta,2 spec:ServiceSpec,3 status:ServiceStatus",
  ServiceSpec = "1 ports:[ServicePort],2 selector:{string},3 clusterIP,4 type,5 externalIPs:[string],7 sessionAffinity,8 loadBalancerIP,"
    .. "9 loadBalancerSourceRanges:[string],10 externalName,11 externalTrafficPolicy,12 healthCheckNodePort:int,"
    .. "13 publishNotReadyAddresses:bool,14 sessionAffinityConfig:SessionAffinityConfig,17 ipFamilyPolicy,18 clusterIPs:[string],"
    .. "19 ipFamilies:[string],20 allocateLoadBalancerNodePorts:bool",
  ServicePort = "1 name,2 protocol,3 port:int,4 targetPort:IntOrString,5 nodePort:int,6 appProtocol",
  SessionAffinityConfig = "1 clientIP:ClientIPConfig",
  ClientIPConfig = "1 timeoutSeconds:int",
  ServiceStatus = "1 loadBalancer:LoadBalancerStatus",
  LoadBalancerStatus = "1 ingress:[LoadBalancerIngress]",
  LoadBalancerIngress = "1 ip,2 hostname",
  Ingress = "1 metadata:ObjectMeta,2 spec:IngressSpec,3 status:ServiceStatus",
  IngressSpec = "1 defaultBackend:IngressBackend,2 tls:[IngressTLS],3 rules:[IngressRule],4 ingressClassName",
  IngressBackend = "3 resource:TypedReference,4 service:IngressServiceBackend",
  TypedReference = "1 apiGroup,2 kind,3 name",
  IngressServiceBackend = "1 name,2 port:ServiceBackendPort",
  ServiceBackendPort = "1 name,2 number:int",
  IngressTLS = "1 hosts:[string],2 secretName",
  IngressRule = "1 host,2 -:IngressRuleValue",
  IngressRuleValue = "1 http:HTTPIngressRuleValue",
  HTTPIngressRuleValue = "1 paths:[HTTPIngressPath]",
  HTTPIngressPath = "1 path,2 backend:IngressBackend,3 pathType",

  Deployment = "1 metadata:ObjectMeta,2 spec:DeploymentSpec,3 status:DeploymentStatus",
  DeploymentSpec = "1 replicas:int,2 selector:LabelSelector,3 template:PodTemplateSpec,4 strategy:DeploymentStrategy,5 minReadySeconds:int,"
    .. "6 revisionHistoryLimit:int,7 paused:bool,9 progressDeadlineSeconds:int",
  DeploymentStrategy = "1 type,2 rollingUpdate:RollingUpdate",
  RollingUpdate = "1 maxUnavailable:IntOrString,2 maxSurge:IntOrString",
  DeploymentStatus = "1 observedGeneration:int,2 replicas:int,3 updatedReplicas:int,4 availableReplicas:int,5 unavailableReplicas:int,"
    .. "6 conditions:[DeploymentCondition],7 readyReplicas:int,8 collisionCount:int",
  DeploymentCondition = "1 type,2 status,4 reason,5 message,6 lastUpdateTime:Time,7 lastTransitionTime:Time",
  ReplicaSet = "1 metadata:ObjectMeta,2 spec:ReplicaSetSpec,3 status:ReplicaSetStatus",
  ReplicaSetSpec = "1 replicas:int,2 selector:LabelSelector,3 template:PodTemplateSpec,4 minReadySeconds:int",
  ReplicaSetStatus = "1 replicas:int,2 fullyLabeledReplicas:int,3 observedGeneration:int,4 readyReplicas:int,5 availableReplicas:int,"
    .. "6 conditions:[ReplicaSetCondition]",
  ReplicaSetCondition = "1 type,2 status,3 lastTransitionTime:Time,4 reason,5 message",
  PodTemplateSpec = "1 metadata:ObjectMeta,2 spec:PodSpec",

  Pod = "1 metadata:ObjectMeta,2 spec:PodSpec,3 status:PodStatus",
  PodSpec = "1 volumes:[Volume],2 containers:[Container],3 restartPolicy,4 terminationGracePeriodSeconds:int,5 activeDeadlineSeconds:int,"
    .. "6 dnsPolicy,7 nodeSelector:{string},8 serviceAccountName,9 serviceAccount,10 nodeName,11 hostNetwork:bool,12 hostPID:bool,"
    .. "13 hostIPC:bool,14 securityContext:PodSecurityContext,15 imagePullSecrets:[LocalObjectReference],16 hostname,17 subdomain,"
    .. "18 affinity:Affinity,19 schedulerName,20 initContainers:[Container],21 automountServiceAccountToken:bool,"
    .. "22 tolerations:[Toleration],23 hostAliases:[HostAlias],24 priorityClassName,25 priority:int,26 dnsConfig:PodDNSConfig,"
    .. "27 shareProcessNamespace:bool,28 readinessGates:[PodReadinessGate],29 runtimeClassName,30 enableServiceLinks:bool,"
    .. "31 preemptionPolicy,32 overhead:{Quantity},33 topologySpreadConstraints:[TopologySpreadConstraint],35 setHostnameAsFQDN:bool",
  Container = "1 name,2 image,3 command:[string],4 args:[string],5 workingDir,6 ports:[ContainerPort],7 env:[EnvVar],"
    .. "8 resources:ResourceRequirements,9 volumeMounts:[VolumeMount],10 livenessProbe:Probe,11 readinessProbe:Probe,"
    .. "12 lifecycle:Lifecycle,13 terminationMessagePath,14 imagePullPolicy,"
    .. "15 securityContext:SecurityContext,16 stdin:bool,17 stdinOnce:bool,18 tty:bool,"
    .. "19 envFrom:[EnvFromSource],20 terminationMessagePolicy,21 volumeDevices:[VolumeDevice],22 startupProbe:Probe",
  ContainerPort = "1 name,2 hostPort:int,3 containerPort:int,4 protocol,5 hostIP",
  EnvVar = "1 name,2 value,3 valueFrom:EnvVarSource",
  EnvVarSource = "1 fieldRef:ObjectFieldSelector,2 resourceFieldRef:ResourceFieldSelector,3 configMapKeyRef:KeySelector,"
    .. "4 secretKeyRef:KeySelector",
  ObjectFieldSelector = "1 apiVersion,2 fieldPath",
  ResourceFieldSelector = "1 containerName,2 resource,3 divisor:Quantity",
  KeySelector = "1 -:LocalObjectReference,2 key,3 optional:bool",
  EnvFromSource = "1 prefix,2 configMapRef:EnvSource,3 secretRef:EnvSource",
  EnvSource = "1 -:LocalObjectReference,2 optional:bool",
  ResourceRequirements = "1 limits:{Quantity},2 requests:{Quantity}",
  VolumeMount = "1 name,2 readOnly:bool,3 mountPath,4 subPath,5 mountPropagation,6 subPathExpr",
  VolumeDevice = "1 name,2 devicePath",
  Volume = "1 name,2 -:VolumeSource",
  VolumeSource = "1 hostPath:HostPath,2 emptyDir:EmptyDir,6 secret:SecretVolume,10 persistentVolumeClaim:ClaimVolume,"
    .. "16 downwardAPI:DownwardAPIVolume,19 configMap:ConfigMapVolume,26 projected:ProjectedVolume",
  HostPath = "1 path,2 type",
  EmptyDir = "1 medium,2 sizeLimit:Quantity",
  SecretVolume = "1 secretName,2 items:[KeyToPath],3 defaultMode:int,4 optional:bool",
  ConfigMapVolume = "1 -:LocalObjectReference,2 items:[KeyToPath],3 defaultMode:int,4 optional:bool",
  ClaimVolume = "1 claimName,2 readOnly:bool",
  KeyToPath = "1 key,2 path,3 mode:int",
  DownwardAPIVolume = "1 items:[DownwardAPIFile],2 defaultMode:int",
  DownwardAPIFile = "1 path,2 fieldRef:ObjectFieldSelector,3 resourceFieldRef:ResourceFieldSelector,4 mode:int",
  ProjectedVolume = "1 sources:[VolumeProjection],2 defaultMode:int",
  VolumeProjection = "1 secret:KeyProjection,2 downwardAPI:DownwardAPIProjection,3 configMap:KeyProjection,"
    .. "4 serviceAccountToken:TokenProjection",
  KeyProjection = "1 -:LocalObjectReference,2 items:[KeyToPath],4 optional:bool",
  DownwardAPIProjection = "1 items:[DownwardAPIFile]",
  TokenProjection = "1 audience,2 expirationSeconds:int,3 path",
  Probe = "1 -:Handler,2 initialDelaySeconds:int,3 timeoutSeconds:int,4 periodSeconds:int,5 successThreshold:int,6 failureThreshold:int",
  Handler = "1 exec:ExecAction,2 httpGet:HTTPGetAction,3 tcpSocket:TCPSocketAction",
  ExecAction = "1 command:[string]",
  HTTPGetAction = "1 path,2 port:IntOrString,3 host,4 scheme,5 httpHeaders:[NameValue]",
  TCPSocketAction = "1 port:IntOrString,2 host",
  NameValue = "1 name,2 value",
  Lifecycle = "1 postStart:Handler,2 preStop:Handler",
  SecurityContext = "1 capabilities:Capabilities,2 privileged:bool,3 seLinuxOptions:SELinuxOptions,4 runAsUser:int,5 runAsNonRoot:bool,"
    .. "6 readOnlyRootFilesystem:bool,7 allowPrivilegeEscalation:bool,8 runAsGroup:int,9 procMount,11 seccompProfile:SeccompProfile",
  PodSecurityContext = "1 seLinuxOptions:SELinuxOptions,2 runAsUser:int,3 runAsNonRoot:bool,4 supplementalGroups:[int],5 fsGroup:int,"
    .. "6 runAsGroup:int,7 sysctls:[NameValue],9 fsGroupChangePolicy,10 seccompProfile:SeccompProfile",
  Capabilities = "1 add:[string],2 drop:[string]",
  SELinuxOptions = "1 user,2 role,3 type,4 level",
  SeccompProfile = "1 type,2 localhostProfile",
  Toleration = "1 key,2 operator,3 value,4 effect,5 tolerationSeconds:int",
  HostAlias = "1 ip,2 hostnames:[string]",
  PodDNSConfig = "1 nameservers:[string],2 searches:[string],3 options:[NameValue]",
  PodReadinessGate = "1 conditionType",
  TopologySpreadConstraint = "1 maxSkew:int,2 topologyKey,3 whenUnsatisfiable,4 labelSelector:LabelSelector",
  Affinity = "1 nodeAffinity:NodeAffinity,2 podAffinity:PodAffinity,3 podAntiAffinity:PodAffinity",
  NodeAffinity = "1 requiredDuringSchedulingIgnoredDuringExecution:NodeSelector,"
    .. "2 preferredDuringSchedulingIgnoredDuringExecution:[PreferredSchedulingTerm]",
  NodeSelector = "1 nodeSelectorTerms:[NodeSelectorTerm]",
  NodeSelectorTerm = "1 matchExpressions:[Requirement],2 matchFields:[Requirement]",
  PreferredSchedulingTerm = "1 weight:int,2 preference:NodeSelectorTerm",
  PodAffinity = "1 requiredDuringSchedulingIgnoredDuringExecution:[PodAffinityTerm],"
    .. "2 preferredDuringSchedulingIgnoredDuringExecution:[WeightedPodAffinityTerm]",
  PodAffinityTerm = "1 labelSelector:LabelSelector,2 namespaces:[string],3 topologyKey",
  WeightedPodAffinityTerm = "1 weight:int,2 podAffinityTerm:PodAffinityTerm",
  PodStatus = "1 phase,2 conditions:[PodCondition],3 message,4 reason,5 hostIP,6 podIP,7 startTime:Time,"
    .. "8 containerStatuses:[ContainerStatus],9 qosClass,10 initContainerStatuses:[ContainerStatus],11 nominatedNodeName,12 podIPs:[PodIP]",
  PodIP = "1 ip",
  PodCondition = "1 type,2 status,3 lastProbeTime:Time,4 lastTransitionTime:Time,5 reason,6 message",
  ContainerStatus = "1 name,2 state:ContainerState,3 lastState:ContainerState,4 ready:bool,5 restartCount:int,6 image,7 imageID,"
    .. "8 containerID,9 started:bool",
  ContainerState = "1 waiting:Waiting,2 running:Running,3 terminated:Terminated",
  Waiting = "1 reason,2 message",
  Running = "1 startedAt:Time",
  Terminated = "1 exitCode:int,2 signal:int,3 reason,4 message,5 startedAt:Time,6 finishedAt:Time,7 containerID",

  SelfSubjectAccessReview = "1 metadata:ObjectMeta,2 spec:AccessReviewSpec",
  SubjectAccessReview = "1 metadata:ObjectMeta,2 spec:AccessReviewSpec",
  AccessReviewSpec = "1 resourceAttributes:ResourceAttributes,2 nonResourceAttributes:NonResourceAttributes,3 user,4 groups:[string],6 uid",
  ResourceAttributes = "1 namespace,2 verb,3 group,4 version,5 resource,6 subresource,7 name",
  NonResourceAttributes = "1 path,2 verb",
  LocalSubjectAccessReview = "1 metadata:ObjectMeta,2 spec:AccessReviewSpec",
  SelfSubjectRulesReview = "1 metadata:ObjectMeta,2 spec:RulesReviewSpec",
  RulesReviewSpec = "1 namespace",
  TokenReview = "1 metadata:ObjectMeta,2 spec:TokenReviewSpec",
  TokenReviewSpec = "1 token,2 audiences:[string]",
}
