-- The invariants: what must be so in every state that moonphase check reaches, as a table.
--
-- Rows are of three sorts. `always` rows say that the status never lies on the way. `step` rows compare with the moment
-- before. `settled` rows say that, once faults have stopped and nothing goes on any more, the cluster is what the spec asks for.
-- They are about any policies that keep PhDeployments, so they ask what is in the cluster and never how it was decided; two look at
-- what the operator saw, because what it saw may be old, and to be wrong about that is no lie. The words are in sight.lua. An
-- operator adds rows of their own in policies/invariants.lua: same table, in the policies' sandbox.

local guard = require "guard"
local sight = require "check.sight"
local table_of = require "policy.invariants"
local text = require "policy.text"

local M = {}

local PHASES = { Deploying = true, Deployed = true, Stopping = true, Stopped = true, Failed = true }
local NGINX_LOCK = "nginx.ingress.kubernetes.io/auth-secret"
local LABEL = "primehub.io/phdeployment"
local MOST_RECORDS = 32 -- of the CRD

-- { why = "..." } behind false: what a row's text names.
local function no(format, ...)
  return false, { why = format:format(...) }
end

-- ---------------------------------------------------------------- what a row's `given` may ask

local function fresh(v) return v.fresh end
local function same_and_fresh(v) return v.fresh and v.same end

-- The status tells this phase of the present spec.
local function tells(phase)
  return function(v) return v.current and v.phase == phase end
end

-- The object is there, is not being deleted, and was there a step before.
local function lives(v)
  return v.same and not v.deleting
end

local function is_there(v)
  return v.object ~= nil and not v.deleting
end

local function wants_some(v)
  return v.current and v.wants > 0
end

-- ---------------------------------------------------------------- what is compared

local function of_type(v, kind)
  return v.conditions[kind] or {}
end

local BAD = { GroupResolved = "False", QuotaAdmitted = "False", ImagePulled = "False", ModelFetched = "False", PodsHealthy = "False",
  RouteReady = "False", Progressing = "False", ChildConflict = "True" }

-- The generations of a history, newest first, one each, revisions counted on by one, and no more than the limit.
local function orderly(v)
  local history, limit = v.status.history or {}, v.settings.history and v.settings.history.limit or MOST_RECORDS
  if #history > limit then return no("it has %d records, and the limit is %d", #history, limit) end
  for i, record in ipairs(history) do
    local older = history[i + 1]
    local is = record.generation or 0
    if is > v.generation then return no("it tells of generation %d, and there are %d", is, v.generation) end
    if older and is == older.generation then return no("it has generation %d twice", is) end
    if older and is < older.generation then return no("generation %d stands above %d", is, older.generation) end
    if older and record.revision ~= older.revision + 1 then return no("revision %s follows %s", record.revision, older.revision) end
  end
  return true
end

local function without_clients(spec)
  local copy = {}
  for k, value in pairs(spec or {}) do copy[k] = value end
  copy.endpoint = nil
  return copy
end

-- A record holds its generation's spec: the newest that of the object, and no two that follow each other the same.
local function faithful(v)
  local history = v.status.history or {}
  local newest = history[1]
  if newest and newest.generation == v.generation and not json.equal(without_clients(newest.spec), without_clients(v.spec)) then
    return no("the record of generation %d is not its spec", v.generation)
  end
  for i = 2, #history do
    local older, newer = history[i], history[i - 1]
    if older.generation == newer.generation - 1 and json.equal(older.spec, newer.spec) then
      return no("the records of generations %d and %d are the same", older.generation, newer.generation)
    end
  end
  return true
end

-- What was recorded stays as it was.
local function kept(v)
  local now = {}
  for _, record in ipairs(v.status.history or {}) do now[record.generation] = record end
  for _, record in ipairs(v.previous.status.history or {}) do
    local there = now[record.generation]
    if there and not (json.equal(there.spec, record.spec) and there.time == record.time and there.revision == record.revision) then
      return no("the record of generation %d is another than before", record.generation)
    end
  end
  return true
end

-- Every generation has its record, back to the oldest one. (What was before the operator's first look is not known.)
local function complete(v)
  local history = v.status.history or {}
  for i = 2, #history do
    local wanted = history[i - 1].generation - 1
    if history[i].generation ~= wanted then return no("generation %d has no record", wanted) end
  end
  return true
end

-- Tokens of clients, as texts that must be nowhere.
local function told_token(v, value)
  local written
  for _, client in ipairs(v.spec.endpoint and v.spec.endpoint.clients or {}) do
    written = written or json.encode(value)
    if (client.token or "") ~= "" and written:find(client.token, 1, true) then return client.name or "?" end
  end
  return nil
end

local function transitions(v)
  for kind, now in pairs(v.conditions) do
    local before = v.previous.conditions[kind]
    if before and before.status == now.status and before.lastTransitionTime ~= now.lastTransitionTime then
      return no("%s was %s before, since %s, and is now since %s", kind, now.status, before.lastTransitionTime, now.lastTransitionTime)
    end
    if before and before.status ~= now.status and (now.lastTransitionTime or "") < (before.lastTransitionTime or "") then
      return no("%s has turned %s at %s, before it turned %s", kind, now.status, now.lastTransitionTime, before.status)
    end
  end
  return true
end

-- What the operator saw when it told Deployed, not what has become of it meanwhile.
local function saw_it_deployed(v)
  local object, seen = v.saw "object", v.saw("children", "deployments", "deploy-" .. v.name)
  if not seen then return no("the operator saw no Deployment") end
  local why = sight.differs(seen, object.spec) or sight.unfinished(seen)
  if why then return no("the operator saw that %s", why) end
  return true
end

-- Of failures that speak of inputs: what the operator must have seen.
local SEEN_FOR = {
  GroupNotFound = function(v) return v.saw("group", "state") == "missing" end,
  GroupAmbiguous = function(v) return v.saw("group", "state") == "ambiguous" end,
  InstanceTypeNotFound = function(v) return v.saw("instance_type", "state") == "missing" end,
  ImagePullFailed = function(v) return v.status.message:find(sight.image(v.saw("object", "spec")), 1, true) end,
}

local function saw_it_failed(v)
  local check = SEEN_FOR[v.status.reason]
  if not check or check(v) then return true end
  return no("the operator saw group %s, instance type %s, image %s", v.saw("group", "state"), v.saw("instance_type", "state"),
    sight.image(v.saw("object", "spec") or {}))
end

-- A Deployment may get replicas that some spec of this object asks for, and no others.
local function asked_for(v)
  local now, before = v.deployment.spec.replicas, v.previous.deployment.spec.replicas
  if now == before or now == v.wants or now == v.previous.wants then return true end
  if v.seen and now == sight.wants(v.saw("object", "spec") or {}) then return true end
  for _, record in ipairs(v.status.history or {}) do
    if record.spec and now == sight.wants(record.spec) then return true end
  end
  return no("%d replicas became %d, and %d are asked for", before, now, v.wants)
end

local function annotation(metadata, name)
  return metadata and metadata.annotations and metadata.annotations[name]
end

local RESTARTED = "primehub.io/restartedAt"

-- What of a pod template a user can change. (What policies or settings change is no matter here: they stay the same.)
local function user_part(v, deployment)
  local model, template = sight.model(deployment) or {}, deployment.spec.template
  local annotations = template.metadata and template.metadata.annotations or {}
  local restarted = annotations[RESTARTED]
  return { image = model.image, env = model.env, resources = model.resources, readiness = model.readinessProbe,
    restarted = restarted == annotation(v.object.metadata, RESTARTED) and restarted or nil, usage = annotations["primehub.io/usage"],
    init = template.spec.initContainers, secrets = template.spec.imagePullSecrets, count = #template.spec.containers }
end

local function same_template(v)
  local now, before = v.deployment, v.previous.deployment
  if now == before or now.metadata.uid ~= before.metadata.uid or now.metadata.generation == before.metadata.generation
    or json.equal(now.spec.template, before.spec.template) then return true end
  return not json.equal(user_part(v, now), user_part(v, before))
end

-- Children that belong to somebody else, and were written by us.
local function left_alone(v)
  for kind, before in pairs(v.previous.children) do
    if not sight.is_ours(before, v.previous.uid) then
      for _, write in ipairs(v.writes) do
        local is_it = write.kind == kind and write.name == before.metadata.name
        if is_it and v.children[kind] ~= before then return no("%s %s was changed", kind, write.name) end
      end
    end
  end
  return true
end

local function owned(v)
  for kind, child in pairs(v.children) do
    local labels, has_owner = child.metadata.labels or {}, false
    for _, owner in ipairs(child.metadata.ownerReferences or {}) do has_owner = has_owner or owner.controller end
    if labels[LABEL] and not has_owner then return no("%s %s has the label of a PhDeployment and no owner", kind, child.metadata.name) end
  end
  return true
end

local REMOVED = { "Deployment", "Service", "Ingress" }

local function stays(v)
  for _, kind in ipairs(REMOVED) do
    local before, now = v.previous.children[kind], v.children[kind]
    if before and sight.is_ours(before, v.uid) then
      if not now then return no("its %s is gone", kind) end
      if now.metadata.uid ~= before.metadata.uid then return no("its %s was deleted and made anew", kind) end
    end
  end
  return true
end

-- ---------------------------------------------------------------- when nothing goes on any more

-- What is wrong with the world, and the reasons and words that people may then read. `runs`: only what does not run already fails.
local TROUBLES = {
  { given = function(v) return v.scene.group == "missing" end, reasons = { "GroupNotFound" }, says = "Group not found: " },
  { given = function(v) return v.scene.group == "disabled" end, reasons = { "DeploymentNotEnabled" },
    says = "The model deployment is not enabled for the selected group" },
  { given = function(v) return v.scene.group == "unknown" or v.scene.instance_type == "unknown" end, runs = true, phase = "Deploying",
    reasons = { "Waiting", "Deploying", "PartlyAvailable" } },
  { given = function(v) return v.scene.instance_type == "missing" end, reasons = { "InstanceTypeNotFound" },
    says = "InstanceType not found: " },
  { given = function(v) return v.scene.quota_ok == false end, runs = true, reasons = { "GroupQuotaExceeded", "ResourceQuotaExceeded" },
    says = "resource not enough" },
  { given = function(v) return v.scene.node_full end, runs = true, reasons = { "ClusterResourcesShort" }, says = "Cluster resource not enough" },
  { given = function(v) return v.scene.image_ok == false end, runs = true, reasons = { "ImagePullFailed" },
    says = "Image invalid or cannot be pulled: " },
  { given = function(v) return v.scene.crashes end, runs = true, reasons = { "Crashed", "OutOfMemory" }, says = "Container model " },
}

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

-- All that may be told now, and whether what runs may be called Deployed all the same.
local function troubles_of(v)
  local found, runs = {}, true
  for _, row in ipairs(TROUBLES) do
    if row.given(v) then
      found[#found + 1] = row
      runs = runs and row.runs
    end
  end
  return found, runs
end

local function told_right(v)
  local found, may_run = troubles_of(v)
  local runs = v.deployment and not sight.differs(v.deployment, v.spec) and not sight.unfinished(v.deployment)
  local is = ("%s (%s: %s)"):format(v.phase, v.status.reason, v.status.message)
  if runs and may_run or #found == 0 then
    if v.phase == "Deployed" then return true end
    return no(runs and "all replicas serve, and it tells %s" or "nothing is wrong, and it tells %s", is)
  end
  local words = {}
  for i, row in ipairs(found) do
    if v.phase == (row.phase or "Failed") and contains(row.reasons, v.status.reason)
      and (not row.says or v.status.message:find(row.says, 1, true)) then return true end
    words[i] = row.reasons[1]
  end
  return no("%s is what is wrong, and it tells %s", table.concat(words, " or "), is)
end

local function is_routed(v)
  local service, rule = v.service, v.ingress and v.ingress.spec.rules and v.ingress.spec.rules[1]
  if not service then return no("it has no Service") end
  if (service.spec.selector or {})[LABEL] ~= v.name then return no("its Service does not select its pods") end
  for _, pod in ipairs(v.pods) do
    for name, value in pairs(service.spec.selector or {}) do
      if (pod.metadata.labels or {})[name] ~= value then return no("its Service does not select the pod by %s", name) end
    end
  end
  if not rule then return no("it has no Ingress") end
  local path = rule.http.paths[1]
  if path.path ~= "/deployment/" .. v.name .. "/(.+)" then return no("its Ingress leads %s to it", path.path) end
  if path.backend.service.name ~= service.metadata.name then return no("its Ingress leads to the Service %s", path.backend.service.name) end
  for _, port in ipairs(service.spec.ports) do
    if port.port == path.backend.service.port.number then return true end
  end
  return no("its Ingress leads to port %s, which the Service does not have", path.backend.service.port.number)
end

local function is_locked(v)
  local lock = v.ingress and (v.ingress.metadata.annotations or {})[NGINX_LOCK]
  if v.ingress and v.private and lock ~= "deploy-" .. v.name then return no("it is private, and its Ingress has no lock") end
  if v.scene.group == "missing" or v.scene.group == "disabled" then return true end -- nothing but a lock is written meanwhile
  if v.ingress and not v.private and lock then return no("it is public, and its Ingress is locked") end
  if v.private and v.ingress and not v.secret then return no("it is private, and has no Secret") end
  if v.secret and not v.private then return no("it is public, and its Secret is still there") end
  return true
end

local function nothing_left(v)
  for kind, child in pairs(v.children) do
    if (child.metadata.labels or {})[LABEL] then return no("its %s %s", kind, child.metadata.name) end
  end
  if #v.replicasets > 0 then return no("its ReplicaSet %s", v.replicasets[1].metadata.name) end
  if #v.pods > 0 then return no("its pod %s", v.pods[1].metadata.name) end
  return true
end

local function is_empty(v)
  if v.pods_left > 0 then return no("%d pods are there", v.pods_left) end
  if v.deployment and v.deployment.spec.replicas ~= 0 then return no("its Deployment has %d replicas", v.deployment.spec.replicas) end
  return true
end

-- ---------------------------------------------------------------- the rows

local ROWS = {
  -- a status that people can read
  { name = "one of five phases", when = "always", given = fresh,
    holds = function(v) return PHASES[v.phase] end,
    text = "{phase} is no phase" },
  { name = "reason and message", when = "always", given = fresh,
    holds = function(v) return (v.status.reason or "") ~= "" and (v.status.message or "") ~= "" end,
    text = "{phase} is told without a reason and a message" },
  { name = "short messages", when = "always", given = fresh,
    holds = function(v) return #v.status.message <= 1024 and not v.status.message:find("[\r\n]") end,
    text = "the message is longer than 1024 bytes, or not one sentence: {status.message}" },
  { name = "no names of pods", when = "always", given = fresh,
    holds = function(v)
      for _, pod in ipairs(v.pods) do
        if v.status.message:find(pod.metadata.name, 1, true) then return no("%s", pod.metadata.name) end
      end
      return true
    end,
    text = "the message names the pod {why}, which the next one is not called" },
  { name = "Ready agrees with the phase", when = "always", given = fresh,
    holds = function(v) return (of_type(v, "Ready").status == "True") == (v.phase == "Deployed") end,
    text = "the condition Ready does not say what the phase {phase} says" },
  { name = "Stopped agrees with the phase", when = "always", given = fresh,
    holds = function(v) return (of_type(v, "Stopped").status == "True") == (v.phase == "Stopped") end,
    text = "the condition Stopped does not say what the phase {phase} says" },
  { name = "Available agrees with the count", when = "always", given = fresh,
    holds = function(v) return (of_type(v, "Available").status == "True") == ((v.status.availableReplicas or 0) > 0) end,
    text = "the condition Available does not say what availableReplicas says ({status.availableReplicas})" },
  { name = "a failure has its condition", when = "always", given = function(v) return v.fresh and v.phase == "Failed" end,
    holds = function(v)
      for kind, bad in pairs(BAD) do
        local condition = of_type(v, kind)
        if condition.status == bad and condition.reason == v.status.reason then return true end
      end
      return false
    end,
    text = "Failed ({status.reason}) is told, and no condition tells that reason" },
  { name = "the phase fits the spec", when = "always", given = function(v) return v.fresh and v.current and v.phase ~= "Failed" end,
    holds = function(v) return (v.wants == 0) == (v.phase == "Stopping" or v.phase == "Stopped") end,
    text = "{phase} is told, and the spec asks for {wants} replicas" },

  -- generations
  { name = "no generation that is not there", when = "always", given = fresh,
    holds = function(v) return (v.status.observedGeneration or 0) >= 1 and v.status.observedGeneration <= v.generation end,
    text = "observedGeneration is {status.observedGeneration}, and the object's generation {generation}" },
  { name = "observedGeneration never falls", when = "step", given = same_and_fresh,
    holds = function(v) return v.status.observedGeneration >= (v.previous.status.observedGeneration or 0) end,
    text = "observedGeneration was {previous.status.observedGeneration} and is {status.observedGeneration}" },
  { name = "conditions are of the status", when = "always", given = fresh,
    holds = function(v)
      for kind, one in pairs(v.conditions) do
        if kind ~= "PolicyError" and one.observedGeneration ~= v.status.observedGeneration then return no("%s", kind) end
      end
      return true
    end,
    text = "the condition {why} has another observedGeneration than the status" },
  { name = "lastTransitionTime moves with the status", when = "step", given = same_and_fresh, holds = transitions,
    text = "lastTransitionTime: {why}" },
  { name = "an orderly history", when = "always", given = fresh, holds = orderly, text = "the history is out of order: {why}" },
  { name = "a faithful history", when = "always", given = fresh, holds = faithful, text = "the history is wrong: {why}" },
  { name = "history is not rewritten", when = "step", given = same_and_fresh, holds = kept, text = "the history was changed: {why}" },
  { name = "tokens stay secret", when = "always", given = fresh,
    holds = function(v)
      local client = told_token(v, v.status)
      if client then return no("%s", client) end
      return true
    end,
    text = "the status holds the token of the client {why}" },

  -- the status never lies
  { name = "Deployed is deployed", when = "always", given = tells "Deployed",
    holds = function(v)
      local why = not v.deployment and "there is no Deployment" or sight.differs(v.deployment, v.spec)
      if not why and (v.deployment.status.observedGeneration or 0) < v.deployment.metadata.generation then
        why = sight.unfinished(v.deployment)
      end
      return not why, { why = why }
    end,
    text = "Deployed is told, and {why}" },
  { name = "Deployed was seen", when = "always", given = function(v) return v.fresh and v.seen and v.phase == "Deployed" end,
    holds = saw_it_deployed, text = "Deployed is told, and {why}" },
  { name = "Failed was seen", when = "always", given = function(v) return v.fresh and v.seen and v.phase == "Failed" end,
    holds = saw_it_failed, text = "Failed ({status.reason}) is told, and {why}" },
  { name = "Stopped is empty", when = "always", given = tells "Stopped", holds = is_empty, text = "Stopped is told, and {why}" },
  { name = "a ready route is there", when = "always",
    given = function(v) return v.fresh and v.current and of_type(v, "RouteReady").status == "True" end,
    holds = function(v) return v.service ~= nil and v.ingress ~= nil end,
    text = "RouteReady is True, and there is no Service or no Ingress" },
  { name = "the endpoint is this object's", when = "always", given = function(v) return v.fresh and v.status.endpoint end,
    holds = function(v) return v.status.endpoint:find("/deployment/" .. v.name .. "/api/v1.0/predictions", 1, true) end,
    text = "the endpoint {status.endpoint} is not this object's" },

  -- children
  { name = "what runs is not removed", when = "step", given = lives, holds = stays,
    text = "the PhDeployment is there, and {why}" },
  { name = "replicas are asked for", when = "step", given = function(v) return v.same and v.deployment and v.previous.deployment end,
    holds = asked_for, text = "the Deployment was scaled: {why}" },
  { name = "no restart without a change", when = "step", given = function(v) return v.same and v.deployment and v.previous.deployment end,
    holds = same_template, text = "the pod template was changed, so that the model restarts, and the user changed nothing of it" },
  { name = "others' objects are left alone", when = "step", given = function(v) return v.same end, holds = left_alone,
    text = "an object that belongs to somebody else was written: {why}" },
  { name = "children have their owner", when = "always", given = is_there, holds = owned, text = "{why}" },

  -- when nothing goes on any more
  { name = "a status of the present spec", when = "settled", given = is_there,
    holds = function(v) return v.current end,
    text = "the status tells of generation {status.observedGeneration}, and the object is at {generation}" },
  { name = "what is wrong is told", when = "settled", given = wants_some, holds = told_right, text = "{why}" },
  { name = "what is deployed is what was asked for", when = "settled", given = tells "Deployed",
    holds = function(v)
      local why = not v.deployment and "there is no Deployment" or sight.differs(v.deployment, v.spec) or sight.unfinished(v.deployment)
      return not why, { why = why }
    end,
    text = "Deployed is told, and {why}" },
  { name = "a stop is a stop", when = "settled", given = function(v) return is_there(v) and v.wants == 0 end, holds = is_empty,
    text = "the model should be stopped, and {why}" },
  { name = "a stop is told", when = "settled", given = function(v) return v.current and v.wants == 0 end,
    holds = function(v) return v.phase == "Stopped" or v.status.reason == "ChildConflict" end,
    text = "the model has stopped, and {phase} is told: {status.message}" },
  { name = "the endpoint leads to the model", when = "settled", given = tells "Deployed", holds = is_routed,
    text = "Deployed is told, and nobody reaches it: {why}" },
  { name = "private is locked, public is open", when = "settled", given = is_there, holds = is_locked, text = "{why}" },
  { name = "the counts are right", when = "settled", given = function(v) return v.current and v.deployment end,
    holds = function(v)
      for _, counted in ipairs { "replicas", "updatedReplicas", "availableReplicas" } do
        local told, is = v.status[counted] or 0, v.deployment.status[counted] or 0
        if told ~= is then return no("%s is %d, and the Deployment says %d", counted, told, is) end
      end
      return true
    end,
    text = "{why}" },
  { name = "the newest record", when = "settled", given = is_there,
    holds = function(v) return v.status.history and v.status.history[1] and v.status.history[1].generation == v.generation end,
    text = "generation {generation} is not recorded in the history" },
  { name = "no generation is lost", when = "settled", given = function(v) return is_there(v) and v.faults == 0 end, holds = complete,
    text = "the history is not complete: {why}" },
  { name = "nothing is left", when = "settled", given = function(v) return v.object == nil end, holds = nothing_left,
    text = "the PhDeployment is deleted, and left is {why}" },
}

M.ROWS = table_of.invariants(ROWS).rows

-- ---------------------------------------------------------------- the rows of an operator

-- What of a view a policy's rows get: plain data.
local function for_policy(v)
  local function moment(of)
    return { object = of.object, status = of.object and of.status or nil, phase = of.phase, children = of.children, pods = of.pods }
  end
  local given = moment(v)
  given.previous = v.previous and moment(v.previous) or nil
  given.wants, given.image, given.current, given.settled, given.faults = v.wants, v.image, v.current, v.settled or false, v.faults
  given.scene, given.writes = v.scene, json.array(v.writes)
  return given
end

-- Whether this step changed anything that rows look at.
local function has_changed(v)
  local before = v.previous
  if not before or before.object ~= v.object or #before.pods ~= #v.pods then return true end
  for kind, child in pairs(v.children) do
    if before.children[kind] ~= child then return true end
  end
  for kind in pairs(before.children) do
    if not v.children[kind] then return true end
  end
  for i, pod in ipairs(v.pods) do
    if before.pods[i] ~= pod then return true end
  end
  return false
end

-- All that is to hold under these policies: our rows, and those of their invariants.lua (a generation that is loaded). To ask a
-- policy costs as much as all the rest of a step, so it is asked only where a row of its own can say something.
function M.of(generation, files)
  local told = files["invariants.lua"] and generation:describe("invariants")
  local rows = type(told) == "table" and type(told.rows) == "table" and told.rows or {}
  local on_the_way = false
  for _, row in ipairs(rows) do on_the_way = on_the_way or row.when ~= "settled" end
  return { rows = M.ROWS, own = #rows > 0 and generation or nil, on_the_way = on_the_way }
end

-- The first row of an operator that does not hold: its name and a sentence. One that errs does not hold: it says nothing about the
-- state that it met.
local function first_of_own(generation, v)
  local found, failure = generation:call("invariants", "check", for_policy(v))
  if failure then return "invariants.lua", guard.sentence(failure) end
  if type(found) ~= "table" then return nil end
  return found.name, text.fill(found.text, found.evidence or {}, v)
end

-- Whether all holds. invariants: M.of's, or an array of rows (M.ROWS); view: sight.lua. -> nil, or the name of the first row that
-- does not, and a sentence for people.
function M.check(invariants, view)
  local v = sight.of(view)
  local row, evidence = table_of.first(invariants.rows or invariants, v)
  if row then return row.name, text.fill(row.text, evidence, v) end
  if invariants.own and (v.settled or invariants.on_the_way and has_changed(v)) then return first_of_own(invariants.own, v) end
  return nil
end

return M
