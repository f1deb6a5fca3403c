-- Deployments (apps/v1). https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/deployment-v1/

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"
local scale = require "sandbox.kinds.scale"
local selectors = require "sandbox.kinds.selectors"
local templates = require "sandbox.kinds.templates"

local strategy = { unconditional_update = true }

function strategy.default(object)
  local spec = object.spec
  if not spec then
    spec = {}
    object.spec = spec
  end
  if spec.replicas == nil then spec.replicas = 1 end
  local how = spec.strategy
  if not how then
    how = {}
    spec.strategy = how
  end
  if (how.type or "") == "" then how.type = "RollingUpdate" end
  if how.type == "RollingUpdate" then
    local rolling = how.rollingUpdate or {}
    how.rollingUpdate = rolling
    if rolling.maxUnavailable == nil then rolling.maxUnavailable = "25%" end
    if rolling.maxSurge == nil then rolling.maxSurge = "25%" end
  end
  if spec.revisionHistoryLimit == nil then spec.revisionHistoryLimit = 10 end
  if spec.progressDeadlineSeconds == nil then spec.progressDeadlineSeconds = 600 end
  templates.default(spec)
end

function strategy.prepare_create(object)
  object.status = {}
  object.metadata.generation = 1
end

function strategy.prepare_update(new, old)
  new.status = old.status
  kinds.count_up(new, old, not json.equal(new.spec, old.spec)
    or not json.equal(new.metadata.annotations or {}, old.metadata.annotations or {}))
end

function strategy.prepare_status(new, old)
  kinds.keep(new, old, "spec")
  new.metadata.labels = old.metadata.labels
end

local function amount(value)
  if type(value) ~= "string" then return value or 0 end
  return math.tointeger(tonumber(value:match("^(%d+)%%$"))) or 0
end

local function check_amount(errs, path, value)
  if type(value) ~= "string" then
    if value and value < 0 then checks.invalid(errs, path, value, checks.NOT_NEGATIVE) end
  else
    local messages = checks.percent(value)
    if messages then checks.report(errs, path, checks.go_int_or_string(value), messages) end
  end
end

local function check_rolling(errs, path, rolling)
  local unavailable, surge = rolling.maxUnavailable, rolling.maxSurge
  check_amount(errs, path .. ".maxUnavailable", unavailable)
  check_amount(errs, path .. ".maxSurge", surge)
  if amount(unavailable) == 0 and amount(surge) == 0 then
    checks.invalid(errs, path .. ".maxUnavailable", checks.go_int_or_string(unavailable), "may not be 0 when `maxSurge` is 0")
  end
  if type(unavailable) == "string" and amount(unavailable) > 100 then
    checks.invalid(errs, path .. ".maxUnavailable", checks.go_int_or_string(unavailable), "must not be greater than 100%")
  end
end

local function check_strategy(errs, path, how)
  if how.type == "RollingUpdate" then
    check_rolling(errs, path .. ".rollingUpdate", how.rollingUpdate or {})
  elseif how.type == "Recreate" then
    if how.rollingUpdate then
      checks.forbidden(errs, path .. ".rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    end
  else
    checks.not_supported(errs, path, checks.verbatim(("apps.DeploymentStrategy{Type:%s, RollingUpdate:(*apps.RollingUpdateDeployment)(%s)}")
      :format(checks.quote(how.type or ""), how.rollingUpdate and "0xc000000000" or "nil")), { "Recreate", "RollingUpdate" })
  end
end

function strategy.check(errs, object)
  local spec = object.spec
  checks.not_negative(errs, "spec", "replicas", spec.replicas)
  templates.check(errs, spec)
  check_strategy(errs, "spec.strategy", spec.strategy)
  checks.not_negative(errs, "spec", "minReadySeconds", spec.minReadySeconds)
  checks.not_negative(errs, "spec", "revisionHistoryLimit", spec.revisionHistoryLimit)
  local deadline = spec.progressDeadlineSeconds
  if deadline then
    checks.not_negative(errs, "spec", "progressDeadlineSeconds", deadline)
    if deadline <= (spec.minReadySeconds or 0) then
      checks.invalid(errs, "spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    end
  end
end

function strategy.validate_update(new, old)
  local errs = kinds.update_meta(new, old)
  strategy.check(errs, new)
  checks.unchanged(errs, "spec.selector", new.spec.selector, old.spec.selector, selectors.shown)
  return errs
end

local COUNTS = { "replicas", "updatedReplicas", "readyReplicas", "availableReplicas", "unavailableReplicas" }

function strategy.validate_status(new, old)
  local errs, status = kinds.update_meta(new, old), new.status or {}
  checks.not_negative(errs, "status", "observedGeneration", status.observedGeneration)
  for _, name in ipairs(COUNTS) do checks.not_negative(errs, "status", name, status[name]) end
  checks.not_negative(errs, "status", "collisionCount", status.collisionCount)
  local replicas, available, ready = status.replicas or 0, status.availableReplicas or 0, status.readyReplicas or 0
  local function most(name, value, limit, whose)
    if value > limit then checks.invalid(errs, "status." .. name, value, "cannot be greater than " .. whose) end
  end
  most("updatedReplicas", status.updatedReplicas or 0, replicas, "status.replicas")
  most("readyReplicas", ready, replicas, "status.replicas")
  most("availableReplicas", available, replicas, "status.replicas")
  most("availableReplicas", available, ready, "readyReplicas")
  if (status.collisionCount or 0) < (old.status and old.status.collisionCount or 0) then
    checks.invalid(errs, "status.collisionCount", status.collisionCount or 0, "cannot be decremented")
  end
  return errs
end

local function row(object, w)
  local status, names, images = object.status or {}, rows.containers(object.spec.template.spec)
  return { object.metadata.name, ("%d/%d"):format(status.readyReplicas or 0, object.spec.replicas or 0), status.updatedReplicas or 0,
    status.availableReplicas or 0, rows.age(object, w), names, images, rows.selector(object.spec.selector) }
end

return kinds.make { group = "apps", kind = "Deployment", plural = "deployments", short_names = { "deploy" }, categories = { "all" },
  subresources = { status = true, scale = scale }, strategy = strategy, row = row }
