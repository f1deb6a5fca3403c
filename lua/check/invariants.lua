-- The invariants: what must be so in every state that moonphase check reaches, as a table.
--
-- Rows are of three sorts. `always` rows say that the status never lies on the way. `step` rows compare with the moment
-- before. `settled` rows say that, once faults have stopped and nothing goes on any more, the cluster is what the spec asks for.
-- They are about any policies that keep PhDeployments, so they ask what is in the cluster and never how it was decided; some look at
-- what the operator saw, because what it saw may be old, and to be wrong about that is no lie.
--
-- The words of the rows are in sight.lua; what takes more than a line to compare is in truths.lua and rest.lua. An operator adds rows of
-- their own in policies/invariants.lua: the same table, in the policies' sandbox.

local guard = require "guard"
local rest = require "check.rest"
local sight = require "check.sight"
local table_of = require "policy.invariants"
local text = require "policy.text"
local truths = require "check.truths"

local M = {}

local PHASES = { Deploying = true, Deployed = true, Stopping = true, Stopped = true, Failed = true }

local no = truths.no

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

local function of_type(v, kind)
  return v.conditions[kind] or {}
end

local BAD = { GroupResolved = "False", QuotaAdmitted = "False", ImagePulled = "False", ModelFetched = "False", PodsHealthy = "False",
  RouteReady = "False", Progressing = "False", ChildConflict = "True" }

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
  { name = "lastTransitionTime moves with the status", when = "step", given = same_and_fresh, holds = truths.transitions,
    text = "lastTransitionTime: {why}" },
  { name = "an orderly history", when = "always", given = fresh, holds = truths.orderly, text = "the history is out of order: {why}" },
  { name = "a faithful history", when = "always", given = fresh, holds = truths.faithful, text = "the history is wrong: {why}" },
  { name = "history is not rewritten", when = "step", given = same_and_fresh, holds = truths.kept,
    text = "the history was changed: {why}" },
  { name = "tokens stay secret", when = "always", given = fresh,
    holds = function(v)
      local client = truths.told_token(v, v.status)
      if client then return no("%s", client) end
      return true
    end,
    text = "the status holds the token of the client {why}" },

  -- the status never lies
  -- (of a stop with its group, and of the start after it, no generation tells: the Deployment is written before the status)
  { name = "Deployed is deployed", when = "always",
    given = function(v) return v.current and v.phase == "Deployed" and not v.scene.was_stopped end,
    holds = function(v)
      local why = not v.deployment and "there is no Deployment" or sight.differs(v.deployment, v.spec)
      if not why and (v.deployment.status.observedGeneration or 0) < v.deployment.metadata.generation then
        why = sight.unfinished(v.deployment)
      end
      return not why, { why = why }
    end,
    text = "Deployed is told, and {why}" },
  { name = "what was taken out is gone", when = "always", given = tells "Deployed", holds = truths.taken_out,
    text = "Deployed is told, and its model still has the variable {why}, which was taken out of the spec" },
  { name = "Deployed was seen", when = "always", given = function(v) return v.fresh and v.seen and v.phase == "Deployed" end,
    holds = truths.saw_it_deployed, text = "Deployed is told, and {why}" },
  { name = "Failed was seen", when = "always", given = function(v) return v.fresh and v.seen and v.phase == "Failed" end,
    holds = truths.saw_it_failed, text = "Failed ({status.reason}) is told, and {why}" },
  { name = "Stopped was seen", when = "always", given = function(v) return v.fresh and v.seen and v.phase == "Stopped" end,
    holds = truths.saw_it_stopped, text = "Stopped is told, and {why}" },
  { name = "what is fetched was seen", when = "always",
    given = function(v)
      return v.fresh and v.seen and of_type(v, "ModelFetched").status == "True" and sight.names_files(v.saw("object", "spec"))
    end,
    holds = truths.saw_it_fetched, text = "ModelFetched is True, and {why}" },
  -- (a view of the pods that lags may show none of them)
  { name = "Stopped is empty", when = "always", given = function(v) return v.current and v.phase == "Stopped" and v.faults == 0 end,
    holds = rest.is_empty, text = "Stopped is told, and {why}" },
  { name = "a ready route is there", when = "always",
    given = function(v) return v.fresh and v.current and of_type(v, "RouteReady").status == "True" end,
    holds = function(v) return v.service ~= nil and v.ingress ~= nil end,
    text = "RouteReady is True, and there is no Service or no Ingress" },
  { name = "the endpoint is this object's", when = "always", given = function(v) return v.fresh and v.status.endpoint end,
    holds = function(v) return v.status.endpoint:find("/deployment/" .. v.name .. "/api/v1.0/predictions", 1, true) end,
    text = "the endpoint {status.endpoint} is not this object's" },

  -- children
  { name = "what runs is not removed", when = "step", given = lives, holds = truths.stays,
    text = "the PhDeployment is there, and {why}" },
  { name = "replicas are asked for", when = "step", given = function(v) return v.same and v.deployment and v.previous.deployment end,
    holds = truths.asked_for, text = "the Deployment was scaled: {why}" },
  { name = "no restart without a change", when = "step", given = function(v) return v.same and v.deployment and v.previous.deployment end,
    holds = truths.same_template, text = "the pod template was changed, so that the model restarts, and the user changed nothing of it" },
  { name = "others' objects are left alone", when = "step", given = function(v) return v.same end, holds = truths.left_alone,
    text = "an object that belongs to somebody else was written: {why}" },
  { name = "children have their owner", when = "always", given = is_there, holds = truths.owned, text = "{why}" },

  -- when nothing goes on any more
  { name = "a status of the present spec", when = "settled", given = is_there,
    holds = function(v) return v.current end,
    text = "the status tells of generation {status.observedGeneration}, and the object is at {generation}" },
  { name = "what is wrong is told", when = "settled", given = wants_some, holds = rest.told_right, text = "{why}" },
  { name = "what is deployed is what was asked for", when = "settled", given = tells "Deployed",
    holds = function(v)
      local why = not v.deployment and "there is no Deployment" or sight.differs(v.deployment, v.spec) or sight.unfinished(v.deployment)
      return not why, { why = why }
    end,
    text = "Deployed is told, and {why}" },
  { name = "a stop is a stop", when = "settled", given = function(v) return is_there(v) and v.wants == 0 end, holds = rest.is_empty,
    text = "the model should be stopped, and {why}" },
  { name = "a stop is told", when = "settled", given = function(v) return v.current and v.wants == 0 end,
    holds = function(v) return v.phase == "Stopped" or v.status.reason == "ChildConflict" end,
    text = "the model has stopped, and {phase} is told: {status.message}" },
  { name = "the endpoint leads to the model", when = "settled", given = tells "Deployed", holds = rest.is_routed,
    text = "Deployed is told, and nobody reaches it: {why}" },
  { name = "private is locked, public is open", when = "settled", given = is_there, holds = rest.is_locked, text = "{why}" },
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
  { name = "no generation is lost", when = "settled", given = function(v) return is_there(v) and v.gaps == 0 end, holds = truths.complete,
    text = "the history is not complete: {why}" },
  { name = "nothing is left", when = "settled", given = function(v) return v.object == nil end, holds = rest.nothing_left,
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

-- Whether this step changed anything that rows look at: of a view in which all is as before, they have answered already.
local function has_changed(view)
  local before = view.previous
  if not before or before.object ~= view.object or #before.pods ~= #view.pods then return true end
  for kind, child in pairs(view.children) do
    if before.children[kind] ~= child then return true end
  end
  for kind in pairs(before.children) do
    if not view.children[kind] then return true end
  end
  for i, pod in ipairs(view.pods) do
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
  if not view.settled and not has_changed(view) then return nil end
  local v = sight.of(view)
  local row, evidence = table_of.first(invariants.rows or invariants, v)
  if row then return row.name, text.fill(row.text, evidence, v) end
  if invariants.own and (v.settled or invariants.on_the_way) then return first_of_own(invariants.own, v) end
  return nil
end

return M
