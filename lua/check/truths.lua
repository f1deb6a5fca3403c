-- What the invariants compare on the way: histories, what the operator saw, and what became of children.
--
-- Each function takes a sight (sight.lua) and answers true, or false and { why = a sentence }. They are the longer ones; what fits
-- into a row of invariants.lua stands there.

local sight = require "check.sight"

local M = {}

local LABEL = "primehub.io/phdeployment"
local MOST_RECORDS = 32 -- of the CRD

-- { why = "..." } behind false: what a row's text names.
function M.no(format, ...)
  return false, { why = format:format(...) }
end

local no = M.no

-- The generations of a history, newest first, one each, revisions counted on by one, and no more than the limit.
function M.orderly(v)
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
function M.faithful(v)
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
function M.kept(v)
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
function M.complete(v)
  local history = v.status.history or {}
  for i = 2, #history do
    local wanted = history[i - 1].generation - 1
    if history[i].generation ~= wanted then return no("generation %d has no record", wanted) end
  end
  return true
end

-- Tokens of clients, as texts that must be nowhere.
function M.told_token(v, value)
  local written
  for _, client in ipairs(v.spec.endpoint and v.spec.endpoint.clients or {}) do
    written = written or json.encode(value)
    if (client.token or "") ~= "" and written:find(client.token, 1, true) then return client.name or "?" end
  end
  return nil
end

function M.transitions(v)
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

-- Variables that an older spec of the history had and the present one has not are the model's no more.
function M.taken_out(v)
  local model, asked = v.deployment and sight.model(v.deployment), {}
  for _, one in ipairs(v.spec.env or {}) do asked[one.name] = true end
  local there = {}
  for _, one in ipairs(model and model.env or {}) do there[one.name] = true end
  for _, record in ipairs(v.status.history or {}) do
    for _, one in ipairs(record.spec and record.spec.env or {}) do
      if there[one.name] and not asked[one.name] then return no("%s", one.name) end
    end
  end
  return true
end

-- What the operator saw when it told Deployed, not what has become of it meanwhile.
function M.saw_it_deployed(v)
  local object, seen = v.saw "object", v.saw("children", "deployments", "deploy-" .. v.name)
  if not seen then return no("the operator saw no Deployment") end
  local why = sight.differs(seen, object.spec) or sight.unfinished(seen)
  if why then return no("the operator saw that %s", why) end
  return true
end

function M.saw_it_stopped(v)
  local object, seen, pods = v.saw "object", v.saw("children", "deployments", "deploy-" .. v.name), 0
  for i = 1, #(v.saw "pods" or {}) do
    if sight.holds_something(v.saw("pods", i)) then pods = pods + 1 end
  end
  if sight.wants(object.spec) > 0 then return no("the operator saw that the spec asks for %d replicas", sight.wants(object.spec)) end
  if pods > 0 then return no("the operator saw %d pods", pods) end
  if not seen then return true end
  if seen.spec.replicas ~= 0 then return no("the operator saw a Deployment with %d replicas", seen.spec.replicas) end
  local by_now, generation = seen.status and seen.status.observedGeneration or 0, seen.metadata.generation
  -- a Deployment that was made with 0 replicas, or a model that was stopped already, starts nothing
  if by_now < generation and generation > 1 and (object.status or {}).phase ~= "Stopped" then
    return no("the operator saw that the Deployment's controller has not seen the stop")
  end
  return true
end

function M.saw_it_fetched(v)
  for i = 1, #(v.saw "pods" or {}) do
    if sight.has_fetched(v.saw("pods", i)) then return true end
  end
  return no("the operator saw no pod that has fetched them")
end

-- Of failures that speak of inputs: what the operator must have seen.
local SEEN_FOR = {
  GroupNotFound = function(v) return v.saw("group", "state") == "missing" end,
  GroupAmbiguous = function(v) return v.saw("group", "state") == "ambiguous" end,
  InstanceTypeNotFound = function(v) return v.saw("instance_type", "state") == "missing" end,
  ImagePullFailed = function(v) return v.status.message:find(sight.image(v.saw("object", "spec")), 1, true) end,
}

function M.saw_it_failed(v)
  local check = SEEN_FOR[v.status.reason]
  if not check or check(v) then return true end
  return no("the operator saw group %s, instance type %s, image %s", v.saw("group", "state"), v.saw("instance_type", "state"),
    sight.image(v.saw("object", "spec") or {}))
end

-- A Deployment may get replicas that some spec of this object asks for, and no others.
function M.asked_for(v)
  local now, before = v.deployment.spec.replicas, v.previous.deployment.spec.replicas
  if now == before or now == v.wants or now == v.previous.wants or (now == 0 and v.scene.was_stopped) then return true end
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

function M.same_template(v)
  local now, before = v.deployment, v.previous.deployment
  if now == before or now.metadata.uid ~= before.metadata.uid or now.metadata.generation == before.metadata.generation
    or json.equal(now.spec.template, before.spec.template) then return true end
  return not json.equal(user_part(v, now), user_part(v, before))
end

-- Children that belong to somebody else, and were written by us.
function M.left_alone(v)
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

function M.owned(v)
  for kind, child in pairs(v.children) do
    local labels, has_owner = child.metadata.labels or {}, false
    for _, owner in ipairs(child.metadata.ownerReferences or {}) do has_owner = has_owner or owner.controller end
    if labels[LABEL] and not has_owner then return no("%s %s has the label of a PhDeployment and no owner", kind, child.metadata.name) end
  end
  return true
end

local REMOVED = { "Deployment", "Service", "Ingress" }

function M.stays(v)
  for _, kind in ipairs(REMOVED) do
    local before, now = v.previous.children[kind], v.children[kind]
    if before and sight.is_ours(before, v.uid) then
      if not now then return no("its %s is gone", kind) end
      if now.metadata.uid ~= before.metadata.uid then return no("its %s was deleted and made anew", kind) end
    end
  end
  return true
end

return M
