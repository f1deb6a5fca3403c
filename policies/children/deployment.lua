-- The Deployment of a PhDeployment: the model's container, the engine's beside it, and what fetches the model's files before them.
--
-- What other parts of PrimeHub read (names, labels, ports, annotations) is as its own operator writes
-- it. What stops or redirects a model is always said: paused, replicas, the node selector, the
-- tolerations, which containers there are.

local engine = require "children.engine"
local initializer = require "children.initializer"
local model = require "children.model"

local M = {}

M.LABEL = "primehub.io/phdeployment"
local GROUP_LABEL = "primehub.io/group"

-- On the Deployment: which template it carries, as two digests, "SPEC-TEMPLATE". The first is of what the
-- user wrote and is told without group and instance type; the second of the whole template. So a rollout
-- that is still to come is seen without comparing with what the server filled in.
M.MARK = "primehub.io/template"
-- On the PhDeployment, by a user, and from there on the pods: another value restarts them.
M.RESTARTED = "primehub.io/restartedAt"
local DIGITS = 16

local function short_digest(value)
  return digest.sha256(json.encode(value)):sub(1, DIGITS)
end

local function spec_mark(s)
  local p = s.predictor
  return short_digest { groupId = s.spec.groupId, env = s.spec.env, modelImage = p.modelImage,
    instanceType = p.instanceType, modelURI = p.modelURI, modelURISecret = p.modelURISecret,
    imagePullSecret = p.imagePullSecret, engine = p.engine, readiness = p.readiness, restartedAt = s.restarted_at }
end

function M.mark(s, template)
  return spec_mark(s) .. "-" .. (template and short_digest(template) or "")
end

-- Whether a live Deployment carries this mark; one without the template's part fits any template.
function M.has_mark(live, mark)
  local there = live.metadata.annotations and live.metadata.annotations[M.MARK]
  if not there then return false end
  if mark:sub(-1) == "-" then return there:sub(1, #mark) == mark end
  return there == mark
end

-- Whether a live Deployment is as its user wants it, whatever group and instance type would make of it now. (One without a mark may be.)
function M.is_users(s, live)
  return not (live.metadata.annotations and live.metadata.annotations[M.MARK]) or M.has_mark(live, M.mark(s))
end

-- A selector cannot be changed: an existing Deployment keeps its own.
function M.selector(s)
  return s.deployment and s.deployment.spec.selector or { matchLabels = { [M.LABEL] = s.name } }
end

-- The pod labels that the selector needs stay as they are; the others are ours to set.
local function pod_labels(s)
  local wanted = { app = s.settings.appLabel, [M.LABEL] = s.name, [GROUP_LABEL] = labels.escape(s.group.name) }
  local selector = M.selector(s)
  for name, value in pairs(selector.matchLabels or {}) do wanted[name] = value end
  local template = s.deployment and s.deployment.spec.template
  local there = template and template.metadata and template.metadata.labels or {}
  for _, expression in ipairs(selector.matchExpressions or {}) do
    wanted[expression.key] = there[expression.key] or wanted[expression.key]
  end
  return wanted
end

local function pod_annotations(s)
  return {
    ["prometheus.io/scrape"] = "true",
    ["prometheus.io/port"] = ("%d"):format(s.has_engine and engine.REST or model.METRICS),
    ["prometheus.io/path"] = s.has_engine and "prometheus" or "metrics",
    [M.RESTARTED] = s.restarted_at,
    ["primehub.io/usage"] = json.encode {
      component = "model_deploy", component_name = s.name, instance_type = s.instance_type.name, group = s.group.name,
    },
  }
end

local function volumes(s)
  return initializer.add_volumes(s, json.array { {
    name = "podinfo",
    downwardAPI = { defaultMode = 420, items = json.array {
      { path = "annotations", fieldRef = { apiVersion = "v1", fieldPath = "metadata.annotations" } },
    } },
  } })
end

local function template(s)
  local pods = pod_labels(s)
  local secret, security = s.predictor.imagePullSecret, s.settings.securityContext.pod
  return {
    metadata = { labels = pods, annotations = pod_annotations(s) },
    spec = {
      nodeSelector = s.instance_type.node_selector,
      tolerations = json.array(s.instance_type.tolerations),
      automountServiceAccountToken = s.settings.model.automountServiceAccountToken,
      securityContext = next(security) ~= nil and security or nil,
      imagePullSecrets = secret and secret ~= "" and json.array { { name = secret } } or nil,
      initContainers = initializer.containers(s),
      containers = json.array { model.container(s), s.has_engine and engine.container(s, pods) or nil },
      volumes = volumes(s),
    },
  }
end

local function manifest(s, mark, spec)
  return { apiVersion = "apps/v1", kind = "Deployment",
    metadata = { name = s.child_name, labels = { [M.LABEL] = s.name }, annotations = { [M.MARK] = mark } }, spec = spec }
end

-- As it should be, and the mark of its template.
function M.wanted(s)
  local pods = template(s)
  local mark = M.mark(s, pods)
  return manifest(s, mark, {
    replicas = s.desired,
    paused = false,
    selector = M.selector(s),
    progressDeadlineSeconds = s.settings.rollout.progressDeadlineSeconds,
    strategy = { type = "RollingUpdate", rollingUpdate = s.strategy },
    template = pods,
  }), mark
end

-- As it is, but with no more replicas than wanted now: what is done when the rest is not known or is
-- blocked. nil when there is nothing to take away.
function M.held(s)
  local live = s.deployment
  if not live or (s.desired > 0 and live.spec.replicas <= s.desired) then return nil end
  local spec = {}
  for name, value in pairs(live.spec) do spec[name] = value end
  spec.replicas = math.min(s.desired, live.spec.replicas)
  return manifest(s, live.metadata.annotations and live.metadata.annotations[M.MARK], spec)
end

local refused = problem { kinds = { "Deployment" } }

-- As it should be; but where the server refuses that, and fewer replicas are wanted than there are, as it is with fewer: what keeps the
-- rest from getting through must not keep a model running. And the mark of the template that it should have.
function M.possible(s)
  local wanted, mark = M.wanted(s)
  local live = s.deployment
  local fewer = live and live.spec.replicas > s.desired and refused(s)
  return fewer and M.held(s) or wanted, mark
end

return M
