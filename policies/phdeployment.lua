-- The controller of PhDeployment objects: what it watches, and what it decides.
--
-- decide(seen) is a pure function: what is seen goes in, what should be comes out (lua/types/policy.lua).
-- It only puts together what the other files answer:
--   facts.lua       what is seen, in the words of the tables
--   failures.lua    why it does not run          phases.lua      which phase that is
--   children/*.lua  what should exist            conditions.lua, history.lua   what the status keeps
--   events.lua      what is told as Kubernetes Events

local checks = require "checks"
local conditions = require "conditions"
local deployment = require "children.deployment"
local events = require "events"
local facts = require "facts"
local failures = require "failures"
local history = require "history"
local phase_table = require "phases"
local primehub = require "primehub"
local route = require "children.route"
local service = require "children.service"

-- Children that may be deleted and made again where the server refuses a change.
local REPLACED = { "Service", "Secret", "Ingress", "HTTPRoute" }

-- The children that should be, what is to go, and the mark of the wanted pod template.
local function children_of(s)
  local children = json.array {}
  local mark, routes, prune
  if s.blocked or s.silent then
    children[1], mark = deployment.held(s), deployment.mark(s)
    routes, prune = route.locked(s)
  else
    children[1], mark = deployment.possible(s)
    children[2] = service.wanted(s)
    routes, prune = route.wanted(s)
  end
  for _, child in ipairs(routes) do children[#children + 1] = child end
  return children, json.array(prune), mark
end

-- The selector as text: what an autoscaler finds the pods by.
local function selector_text(s)
  local parts = {}
  for name, value in pairs(deployment.selector(s).matchLabels or {}) do parts[#parts + 1] = name .. "=" .. value end
  table.sort(parts)
  return table.concat(parts, ",")
end

local function status_of(s, verdict, records)
  return {
    phase = s.phase.phase,
    reason = s.phase.reason,
    message = s.phase.message,
    observedGeneration = s.generation,
    replicas = s.rollout.replicas,
    availableReplicas = s.rollout.available,
    updatedReplicas = s.rollout.updated,
    endpoint = route.endpoint(s),
    selector = selector_text(s),
    restartedAt = s.rollout.current and s.restart_told or s.status.restartedAt,
    conditions = conditions.all(s, verdict.by_condition),
    history = records,
  }
end

-- The old pod, whose resources the new one waited for, has just gone: the ReplicaSet need not sleep on.
local function nudges(s, verdict)
  local held, before = verdict.by_condition.QuotaAdmitted, s.conditions.QuotaAdmitted
  if not held or held.waiting or not before or before.reason ~= conditions.WAITING then return nil end
  return json.array { { kind = "Deployment", name = s.child_name } }
end

-- For `explain`: which rows were tried, and the facts that most of them ask for.
local function trace_of(s, phases_tried, verdict)
  return { phases = json.array(phases_tried), failures = json.array(verdict.trace),
    facts = { desired = s.desired, blocked = s.blocked and s.blocked.name, silent = s.silent, rollout = s.rollout,
      pods_left = s.pods_left, pods_counted = #s.newest_pods } }
end

-- Whether its pods wait for quota, so that the host should wake it when some is free.
local function waits_for_quota(verdict)
  local held = verdict.by_condition.QuotaAdmitted
  return held and held.row.wake or nil
end

local function decide(seen)
  local s = facts.look(seen)
  s.blocked = failures:first(s, "blocks")
  local children, prune, mark = children_of(s)
  facts.follow(s, mark)

  local verdict = failures:judge(s)
  s.failure = verdict.failure
  s.warning = s.failure and "; it cannot start: " .. s.failure.message or ""
  local phases_tried
  s.phase, phases_tried = phase_table:judge(s)

  local records, recorded = history.record(s)
  local status = status_of(s, verdict, records)
  local decision = {
    status = status,
    events = events.between(s.status, status),
    nudge = nudges(s, verdict),
    recorded = recorded,
    wake = waits_for_quota(verdict),
    requeue_after = verdict.requeue_after,
    trace = seen.trace and trace_of(s, phases_tried, verdict) or nil,
  }
  if not seen.status_only then
    decision.children, decision.prune = children, prune
    -- never the Deployment: a change that the server refuses must not cost the model that runs
    decision.replace = json.array {}
    for i, kind in ipairs(REPLACED) do decision.replace[i] = { kind = kind, name = s.child_name } end
  end
  return decision
end

return controller {
  kind = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", resource = "phdeployments", keep = "whole",
    revisions = true },
  label = deployment.LABEL,
  children = {
    deployments = { api_version = "apps/v1", kind = "Deployment", resource = "deployments", keep = "whole", user_mark = deployment.MARK },
    services = { api_version = "v1", kind = "Service", resource = "services", keep = "whole" },
    ingresses = { api_version = "networking.k8s.io/v1", kind = "Ingress", resource = "ingresses", keep = "whole" },
    -- Secrets are written, never cached: not even what kubectl remembers of them in an annotation
    secrets = { api_version = "v1", kind = "Secret", resource = "secrets", keep = "metadata",
      drop = { "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]" } },
    -- many clusters have no Gateway API
    http_routes = { api_version = "gateway.networking.k8s.io/v1", kind = "HTTPRoute", resource = "httproutes", keep = "whole",
      optional = true },
  },
  watches = {
    replicasets = { api_version = "apps/v1", kind = "ReplicaSet", resource = "replicasets", keep = "metadata" },
    pods = { api_version = "v1", kind = "Pod", resource = "pods", keep = {
      "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion", "metadata.labels",
      "metadata.ownerReferences", "metadata.deletionTimestamp",
      "status.phase", "status.conditions", "status.initContainerStatuses", "status.containerStatuses",
    } },
    -- A volume that cannot be mounted shows nowhere else: the pod's status is that of a long pull. Only these Events leave the
    -- server (on most days none), and nothing waits for them: without the right to read Events the reason is ProgressDeadline.
    events = { api_version = "v1", kind = "Event", resource = "events", about = "pods", by = "involvedObject.name", optional = true,
      field_selector = "involvedObject.kind=Pod,reason=FailedMount", keep = {
        "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion",
        "involvedObject.name", "involvedObject.uid", "reason", "message",
      } },
  },
  -- From objects; or, where the settings name PrimeHub's GraphQL server, asked there (`http`).
  inputs = {
    group = { http = primehub.GROUP,
      api_version = "primehub.io/v1alpha1", kind = "PhGroup", resource = "phgroups", keep = "whole", limit = "spec.maxDeployments",
      namespace = "catalogNamespace", by = "spec.groupId", match = { "spec.id", "metadata.name" } },
    instance_type = { http = primehub.INSTANCE_TYPE,
      api_version = "primehub.io/v1alpha1", kind = "InstanceType", resource = "instancetypes", keep = "whole",
      namespace = "catalogNamespace", by = "spec.predictors.*.instanceType", match = { "metadata.name" } },
  },
  decide = decide,
  check_settings = checks.settings,
}
