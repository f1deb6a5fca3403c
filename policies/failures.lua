-- Why a model does not run: the first row that holds is the reason, and its message is what people read.
--
--   name       the reason, in status.reason and in the condition
--   condition  the condition that turns False while the row holds (ChildConflict turns True)
--   grace      seconds that it must hold until the phase is Failed; 0 if not said
--   when       what must hold; the words are in lua/policy/predicates.lua
--   message    {names} are taken from the evidence of `when`, then from the facts (facts.lua)
--   blocks     children are not written while this holds: what runs goes on, and nothing starts
--   even_when_stopped  Failed also while the model is being stopped, which this keeps from happening

local model = require "children.model"

local IMAGE_TROUBLE = { "InvalidImageName", "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull",
  "ImageInspectError", "RegistryUnavailable" }
local CONFIG_TROUBLE = { "CreateContainerConfigError", "CreateContainerError", "RunContainerError" }

-- While a pod of this model is still ending, it holds what the next one waits for.
local function capacity_grace(name)
  local grace = setting("grace." .. name)
  return function(s) return grace(s) + s.terminating_grace end
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
  { name = "NameInvalid", condition = "Progressing", blocks = true,
    when = function(s) return #s.child_name > 63 or s.name:find(".", 1, true) ~= nil end,
    message = "The name is too long or has a dot: its Service {child_name} may have 63 characters and no dot" },
  { name = "ImageInvalid", condition = "ImagePulled", blocks = true,
    when = function(s) return s.image == "" or s.image:find("%s") ~= nil end,
    message = "Image invalid or cannot be pulled: modelImage is empty or has a space in it" },
  { name = "EnvInvalid", condition = "Progressing", blocks = true, when = model.env_conflict,
    message = "Environment variable {name} {why}: choose another name in spec.env" },

  -- not served by these policies yet
  { name = "ModelUriUnsupported", condition = "Progressing", blocks = true,
    when = function(s) return (s.predictor.modelURI or "") ~= "" end,
    message = "modelURI is not supported yet: build the model into the image" },
  { name = "PrivateEndpointUnsupported", condition = "RouteReady", blocks = true,
    when = function(s) return s.spec.endpoint ~= nil and s.spec.endpoint.accessType == "private" end,
    message = "Private endpoints are not supported yet: the model is not exposed without its lock" },

  -- group and instance type
  { name = "GroupNotFound", condition = "GroupResolved", blocks = true, when = input { "group", "missing" },
    message = "Group not found: {spec.groupName} ({spec.groupId})" },
  { name = "GroupAmbiguous", condition = "GroupResolved", blocks = true, when = input { "group", "ambiguous" },
    message = "Group is ambiguous: {objects} have the same id {spec.groupId}" },
  { name = "DeploymentNotEnabled", condition = "GroupResolved", blocks = true,
    when = function(s) return s.group.known and not s.group.enabled end,
    message = "The model deployment is not enabled for the selected group: {group.name}" },
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

  -- what the API server says
  { name = "ChildConflict", condition = "ChildConflict", even_when_stopped = true, when = problem { reason = "ChildConflict" },
    message = "{kind} {name} exists and belongs to somebody else: {message}" },
  { name = "DeploymentRefused", condition = "Progressing", even_when_stopped = true,
    when = problem { kinds = { "Deployment" } },
    message = "The cluster refuses the Deployment: {message}" },
  { name = "RouteRefused", condition = "RouteReady", when = problem { kinds = { "Service", "Ingress" } },
    message = "The cluster refuses the {kind}: {message}" },

  -- what becomes of the pods
  { name = "GroupQuotaExceeded", condition = "QuotaAdmitted", grace = capacity_grace "quota",
    when = deployment_condition { "ReplicaFailure", "True", reason = "FailedCreate", says = "exceeded.*quota" },
    message = "Group resource not enough: {message}" },
  { name = "PodsRefused", condition = "QuotaAdmitted", grace = setting "grace.quota",
    when = deployment_condition { "ReplicaFailure", "True", reason = "FailedCreate" },
    message = "Pods cannot be created: {message}" },
  { name = "ImagePullFailed", condition = "ImagePulled", grace = setting "grace.image",
    when = any_container { waiting = IMAGE_TROUBLE },
    message = "Image invalid or cannot be pulled: {image}" },
  { name = "ClusterResourcesShort", condition = "PodsHealthy", grace = capacity_grace "capacity",
    when = pod_condition { "PodScheduled", "False", reason = "Unschedulable" },
    message = "Cluster resource not enough: {message}" },
  { name = "ContainerConfigInvalid", condition = "PodsHealthy", grace = setting "grace.config",
    when = any_container { waiting = CONFIG_TROUBLE },
    message = "Container {container} cannot be started: {detail}" },
  { name = "OutOfMemory", condition = "PodsHealthy", when = crashing { reason = "OOMKilled" },
    message = "Container {container} needs more memory than the instance type gives it (OOMKilled, exit code {exit_code})" },
  { name = "Crashed", condition = "PodsHealthy", when = crashing {},
    message = "Container {container} crashes: {reason}, exit code {exit_code}" },
  { name = "ProgressDeadline", condition = "Progressing",
    when = deployment_condition { "Progressing", "False", reason = "ProgressDeadlineExceeded" },
    message = "The model made no progress for {settings.rollout.progressDeadlineSeconds} seconds" },
}
