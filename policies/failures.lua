-- Why a model does not run: the first row that holds is the reason, and its message is what people read.
--
--   name       the reason, in status.reason and in the condition
--   condition  the condition that turns False while the row holds (ChildConflict turns True)
--   grace      seconds that it must hold until the phase is Failed; 0 if not said
--   waits      seconds for which it may end by itself: so long the condition is Unknown, and the grace begins after it
--   when       what must hold; the words are in lua/policy/predicates.lua. Of pods, only those of the newest ReplicaSet count
--   message    {names} are taken from the evidence of `when`, then from the facts (facts.lua)
--   quiet      {detail}, at the end, comes from a log: when only numbers in it change, the status stays as it is
--   blocks     children are not written while this holds: what runs goes on, and nothing starts
--   wake       it waits for quota: the host wakes its Deployment when some is free
--   even_when_stopped  Failed also while the model is being stopped, which this keeps from happening

local initializer = require "children.initializer"
local model = require "children.model"
local model_uri = require "children.model_uri"
local route = require "children.route"
local secret = require "children.secret"

-- A child that is being deleted is gone within moments, or something holds it that somebody has to look at.
local STUCK_SECONDS = 60

-- ---------------------------------------------------------------- what containers wait for, in the kubelet's words

local IMAGE_TROUBLE = { "InvalidImageName", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
  "ImageInspectError", "RegistryUnavailable" }
local CONFIG_TROUBLE = { "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
  "PreCreateHookError", "PreStartHookError", "PostStartHookError" }

-- Why an image cannot be pulled: these words, when the runtime's message fits one of the patterns after them. (Its own words may
-- hold addresses with passwords, so none of them gets into the status.)
local PULL_WORDS = {
  { "its name is not valid", "^InvalidImageName", "invalid reference format" },
  { "it is not on the node, and the pull policy is Never", "^ErrImageNeverPull" },
  { "access is denied; is the pull secret right?", " denied", "[Uu]nauthorized", "authentication required", "no basic auth",
    "403 Forbidden" },
  { "the registry has no such image", "manifest unknown", "not found", "does not exist", "no matching manifest" },
  { "the registry does not answer", "^RegistryUnavailable", "[Tt]imeout", "timed out", "no such host", "connection refused",
    "deadline exceeded", "x509: ", ": EOF" },
}

-- ---------------------------------------------------------------- who refuses pods, in the API server's words

local GROUP_QUOTA = { "denied the request: .*exceeded .*quota", "denied the request: .*[Gg]roup resource not enough" }
-- What moonphase's own webhook says while it cannot know what a group uses.
local QUOTA_UNKNOWN = { "denied the request: .*moonphase .*: try again", "denied the request: quota%.lua ",
  "denied the request: Group .* cannot be looked up now" }
local RESOURCE_QUOTA = { " is forbidden: exceeded quota: ", " is forbidden: failed quota: ", " is forbidden: status unknown for quota: " }
local POD_SECURITY = { "violates PodSecurity ", "pod security polic" }

-- While a pod of this model is still ending, it holds what the next one waits for.
local function for_ending_pods(s)
  return s.ending
end

return rules {
  -- what the administrator set makes no sense
  { name = "SettingsInvalid", condition = "Progressing", blocks = true,
    when = function(s) return s.settings_wrong ~= nil end,
    message = "A setting of the operator is wrong: {settings_wrong}" },

  -- what is asked for cannot be made
  { name = "PredictorMissing", condition = "Progressing", blocks = true,
    when = function(s) return s.spec.predictors == nil or s.spec.predictors[1] == nil end,
    message = "spec.predictors is empty: name one predictor with a model image and an instance type" },
  { name = "NameTooLong", condition = "Progressing", blocks = true,
    when = function(s) return #s.child_name > 63 end,
    message = "The name is too long: its Service would be called {child_name}, and 63 characters are what a Service may have" },
  { name = "NameInvalid", condition = "Progressing", blocks = true,
    when = function(s) return s.name:find(".", 1, true) ~= nil end,
    message = "The name has a dot: its Service would be called {child_name}, which may have none" },
  { name = "ImageInvalid", condition = "ImagePulled", blocks = true,
    when = function(s) return s.image == "" or s.image:find("%s") ~= nil end,
    message = "Image invalid or cannot be pulled: modelImage is empty or has a space in it" },
  { name = "EnvInvalid", condition = "Progressing", blocks = true, when = model.env_conflict,
    message = "Environment variable {name} {why}: choose another name in spec.env" },

  -- group and instance type
  { name = "GroupNotFound", condition = "GroupResolved", blocks = true, when = input { "group", "missing" },
    message = "Group not found: {spec.groupName} ({spec.groupId})" },
  { name = "GroupAmbiguous", condition = "GroupResolved", blocks = true, when = input { "group", "ambiguous" },
    message = "Group is ambiguous: {objects} have the same id {spec.groupId}" },
  { name = "DeploymentNotEnabled", condition = "GroupResolved", blocks = true,
    when = function(s) return s.group.known and not s.group.enabled end,
    message = "The model deployment is not enabled for the selected group: {group.name}" },
  { name = "GroupDeploymentsExceeded", condition = "QuotaAdmitted", blocks = true, when = fact "crowded",
    message = "Group resource not enough: {group.name} may run {group.limit} deployments at once, and so many run or were there before this one" },
  { name = "InstanceTypeNotFound", condition = "GroupResolved", blocks = true, when = input { "instance_type", "missing" },
    message = "InstanceType not found: {instance_type.name}" },
  { name = "InstanceTypeAmbiguous", condition = "GroupResolved", blocks = true, when = input { "instance_type", "ambiguous" },
    message = "InstanceType is ambiguous: {objects}" },
  { name = "InstanceTypeNotAllowed", condition = "GroupResolved", blocks = true,
    when = function(s) return s.instance_type.known and not s.instance_type.allowed end,
    message = "InstanceType not found: {instance_type.name} is not offered to the group {group.name}" },
  { name = "InstanceTypeInvalid", condition = "GroupResolved", blocks = true,
    when = function(s) return s.instance_type.wrong ~= nil end,
    message = "InstanceType {instance_type.name} is invalid: {instance_type.wrong}" },
  { name = "InstanceTypeTooSmall", condition = "GroupResolved", blocks = true,
    when = function(s) return s.instance_type.short end,
    message = "InstanceType {instance_type.name} is too small: the engine takes {needed} of its {offered} {resource}, "
      .. "and nothing is left for the model" },

  { name = "LabelInvalid", condition = "Progressing", blocks = true,
    when = function(s) return s.label_wrong ~= nil end,
    message = "A label is invalid: {label_wrong}" },

  -- where the model's files are
  { name = "ModelUriInvalid", condition = "ModelFetched", blocks = true, when = model_uri.trouble "ModelUriInvalid",
    message = "The model URI {model_source} is invalid: {why}" },
  { name = "ModelStorageUnknown", condition = "ModelFetched", blocks = true, when = model_uri.trouble "ModelStorageUnknown",
    message = "The model cannot be fetched from {model_source}: {why}" },

  -- who may ask it: nothing of this keeps the model from running, nor others from their access
  { name = "ClientInvalid", condition = "RouteReady", when = secret.client_trouble,
    message = "The client {client} of the private endpoint {why}: it has no access" },
  { name = "PrivateRouteUnlocked", condition = "RouteReady", when = route.cannot_lock,
    message = "The private endpoint has no route: an HTTPRoute has no lock of its own (settings httpRoute.privateFilters, or route: Ingress)" },

  -- what the API server says
  { name = "ChildConflict", condition = "ChildConflict", even_when_stopped = true, when = problem { reason = "ChildConflict" },
    message = "{kind} {name} exists and belongs to somebody else: {message}" },
  { name = "DeploymentRefused", condition = "Progressing", even_when_stopped = true,
    when = problem { kinds = { "Deployment" } },
    message = "The cluster refuses the Deployment: {message}" },
  { name = "DeploymentStuck", condition = "Progressing", grace = STUCK_SECONDS,
    when = problem { reason = "WaitingForDeletion", kinds = { "Deployment" } },
    message = "The Deployment cannot be written: {message}" },
  { name = "RouteNotServed", condition = "RouteReady", when = problem { reason = "NotServed" },
    message = "The endpoint has no route: {message}; install it, or choose another with the setting route" },
  { name = "RouteRefused", condition = "RouteReady", when = problem { kinds = { "Service", "Secret", "Ingress", "HTTPRoute" } },
    message = "The cluster refuses the {kind}: {message}" },
  { name = "RouteStuck", condition = "RouteReady", grace = STUCK_SECONDS,
    when = problem { reason = "WaitingForDeletion", kinds = { "Service", "Secret", "Ingress", "HTTPRoute" } },
    message = "The endpoint has no route: {message}" },

  -- pods that cannot be created
  { name = "GroupQuotaExceeded", condition = "QuotaAdmitted", grace = setting "grace.quota", waits = for_ending_pods, wake = true,
    when = refused { says = GROUP_QUOTA },
    message = "Group resource not enough: {message}" },
  { name = "QuotaUnknown", condition = "QuotaAdmitted", grace = 120, wake = true, when = refused { says = QUOTA_UNKNOWN },
    message = "The group's quota cannot be checked now: {message}" },
  { name = "ResourceQuotaExceeded", condition = "QuotaAdmitted", grace = setting "grace.quota", waits = for_ending_pods,
    when = refused { says = RESOURCE_QUOTA },
    message = "Namespace resource not enough, its ResourceQuota refuses the pods: {message}" },
  { name = "PodSecurityRefused", condition = "QuotaAdmitted", grace = setting "grace.refused",
    when = refused { says = POD_SECURITY },
    message = "Pod Security refuses the pods: {message}" },
  { name = "WebhookUnavailable", condition = "QuotaAdmitted", grace = setting "grace.refused", wake = true,
    when = refused { says = "failed calling webhook" },
    message = "Pods cannot be created: the admission webhook {webhook} does not answer" },
  { name = "WebhookRefused", condition = "QuotaAdmitted", grace = setting "grace.refused",
    when = refused { says = "^admission webhook " },
    message = "The admission webhook {webhook} refuses the pods: {message}" },
  { name = "PodsRefused", condition = "QuotaAdmitted", grace = setting "grace.refused", when = refused {},
    message = "Pods cannot be created: {message}" },

  -- pods without a node
  { name = "VolumeNotFound", condition = "PodsHealthy", grace = setting "grace.mount",
    when = unschedulable { says = { "[Pp]ersistent[Vv]olume[Cc]laim" } },
    message = "A volume of the model is not there: {message}" },
  { name = "ClusterResourcesShort", condition = "PodsHealthy", grace = setting "grace.capacity", waits = for_ending_pods,
    when = unschedulable {},
    message = "Cluster resource not enough: {message}" },

  -- pods on a node
  { name = "ImagePullFailed", condition = "ImagePulled", grace = setting "grace.image", quiet = true,
    when = any_container { waiting = IMAGE_TROUBLE, words = PULL_WORDS },
    message = "Image invalid or cannot be pulled: {image}{detail}" },
  { name = "MountFailed", condition = "PodsHealthy", grace = setting "grace.mount", quiet = true,
    when = mount_failed(),
    message = "The volume {volume} cannot be mounted: {detail}" },
  { name = "ModelFetchFailed", condition = "ModelFetched", grace = setting "grace.fetch", quiet = true,
    when = crashing { container = initializer.NAME },
    message = "The model cannot be fetched from {model_source}: {reason}, exit code {exit_code}{detail}" },
  { name = "OutOfMemory", condition = "PodsHealthy", grace = setting "grace.crash", quiet = true,
    when = crashing { reason = "OOMKilled", but = initializer.NAME },
    message = "Container {container} needs more memory than the instance type gives it (OOMKilled, exit code {exit_code}){detail}" },
  { name = "Crashed", condition = "PodsHealthy", grace = setting "grace.crash", quiet = true,
    when = crashing { but = initializer.NAME },
    message = "Container {container} crashes: {reason}, exit code {exit_code}{detail}" },
  { name = "ContainerConfigInvalid", condition = "PodsHealthy", grace = setting "grace.config", quiet = true,
    when = any_container { waiting = CONFIG_TROUBLE },
    message = "Container {container} cannot be started: {detail}" },
  { name = "ProgressDeadline", condition = "Progressing",
    when = deployment_condition { "Progressing", "False", reason = "ProgressDeadlineExceeded" },
    message = "The model made no progress for {settings.rollout.progressDeadlineSeconds} seconds{unready}" },
}
