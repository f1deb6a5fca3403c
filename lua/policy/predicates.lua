-- What a row's `when` may ask, in words: any_container {...}, pod_condition {...}, input {...}.
--
-- Each makes a function of the facts `s` that answers nil, or the evidence: a table whose fields the
-- row's message can name. Where several pods give evidence the answer must not depend on which is
-- listed first, so all of it is gathered and the smallest text is taken. Pods' names are no evidence:
-- they change without anything having changed.

local text = require "moonphase.text"

local M = {}

local function set_of(list)
  if list == nil then return nil end
  local set = {}
  for _, value in ipairs(type(list) == "table" and list or { list }) do set[value] = true end
  return set
end

local function smallest(found)
  local best, best_text
  for _, evidence in ipairs(found) do
    local as_text = json.encode(evidence)
    if best == nil or as_text < best_text then best, best_text = evidence, as_text end
  end
  return best
end

function M.always()
  return true
end

-- fact "rollout.complete": a fact of s is true.
function M.fact(path)
  return function(s) return text.at(s, path) == true end
end

-- setting "grace.image": a value of settings.yaml, as a function of s.
function M.setting(path)
  return function(s)
    local value = text.at(s.settings, path)
    if value == nil then error("settings.yaml has no " .. path, 0) end
    return value
  end
end

-- input { "group", "missing" }: a declared input is in this state.
function M.input(wanted)
  local name, state = wanted[1], wanted[2]
  return function(s)
    local found = s.seen[name]
    if not found or found.state ~= state then return nil end
    local names = {}
    for i, object in ipairs(found.objects or {}) do names[i] = object end
    table.sort(names)
    return { objects = #names > 0 and table.concat(names, ", ") or "several objects" }
  end
end

local function every_container(pod, visit)
  local status = pod.status or {}
  for _, one in ipairs(status.initContainerStatuses or {}) do visit(one, true) end
  for _, one in ipairs(status.containerStatuses or {}) do visit(one, false) end
end

local function waiting_evidence(one, state)
  return { container = one.name, image = one.image, reason = state.reason, detail = text.bounded(state.message or "", 300) }
end

-- any_container { waiting = { "ErrImagePull", ... } }: of the pods of the newest ReplicaSet one has a container
-- that waits for one of these reasons. Evidence: container, image, reason, detail.
function M.any_container(wanted)
  local reasons = set_of(wanted.waiting)
  return function(s)
    local found = {}
    for _, pod in ipairs(s.newest_pods) do
      every_container(pod, function(one)
        local state = one.state and one.state.waiting
        if state and reasons[state.reason] then found[#found + 1] = waiting_evidence(one, state) end
      end)
    end
    return smallest(found)
  end
end

local function crash_of(one, restarts)
  if one.ready then return nil end
  local state = one.state or {}
  local last = state.terminated or (one.lastState and one.lastState.terminated)
  if not last then return nil end
  local loops = state.waiting and state.waiting.reason == "CrashLoopBackOff"
  if not loops and (one.restartCount or 0) < restarts then return nil end
  return last
end

-- crashing { reason = "OOMKilled" }: a container ends again and again: it waits in CrashLoopBackOff, or was restarted
-- settings.crash.restarts times and is not ready. (One restart is no verdict, and between two crashes a
-- container runs for a moment.) Evidence: container, exit_code, reason, signal.
function M.crashing(wanted)
  local reasons = set_of(wanted and wanted.reason)
  return function(s)
    local found = {}
    for _, pod in ipairs(s.newest_pods) do
      every_container(pod, function(one, init)
        local last = crash_of(one, s.settings.crash.restarts)
        local finished = init and last and last.exitCode == 0
        if last and not finished and (not reasons or reasons[last.reason]) then
          found[#found + 1] = { container = one.name, exit_code = last.exitCode, reason = last.reason or "Error" }
        end
      end)
    end
    return smallest(found)
  end
end

local function condition_of(object, wanted)
  for _, condition in ipairs(object and object.status and object.status.conditions or {}) do
    if condition.type == wanted[1] and condition.status == wanted[2]
      and (not wanted.reason or condition.reason == wanted.reason) then
      return condition
    end
  end
  return nil
end

-- pod_condition { "PodScheduled", "False", reason = "Unschedulable" }. Evidence: reason, message.
function M.pod_condition(wanted)
  return function(s)
    local found = {}
    for _, pod in ipairs(s.newest_pods) do
      local condition = condition_of(pod, wanted)
      if condition then
        found[#found + 1] = { reason = condition.reason, message = text.bounded(condition.message or "", 500) }
      end
    end
    return smallest(found)
  end
end

-- deployment_condition { "ReplicaFailure", "True", reason = "FailedCreate", says = "exceeded.*quota" }: `says` (a Lua
-- pattern) must be in the message. It counts only once the Deployment's controller has seen the present spec.
-- Evidence: reason, message (without the pod's name).
function M.deployment_condition(wanted)
  return function(s)
    if not s.rollout.settled then return nil end
    local condition = condition_of(s.deployment, wanted)
    if not condition then return nil end
    local message = text.refusal(condition.message or "")
    if wanted.says and not message:find(wanted.says) then return nil end
    return { reason = condition.reason, message = message }
  end
end

-- What another try may mend is no verdict: no answer, server trouble, a lost race, our own credentials.
local function is_final(problem)
  local code = problem.code
  return code >= 400 and code < 500 and code ~= 401 and code ~= 408 and code ~= 409 and code ~= 429
end

-- problem { kinds = { "Deployment" } }: the API server refused to write such a child for good.
-- problem { reason = "ChildConflict" }: this reason, whatever the code. Evidence: kind, name, code, reason, message.
function M.problem(wanted)
  local kinds = set_of(wanted.kinds)
  return function(s)
    local found = {}
    for _, one in ipairs(s.seen.problems or {}) do
      local fits
      if wanted.reason then
        fits = one.reason == wanted.reason
      else
        fits = is_final(one) and one.reason ~= "ChildConflict"
      end
      if fits and (not kinds or kinds[one.kind]) then
        found[#found + 1] = { kind = one.kind, name = one.name, code = one.code, reason = one.reason,
          message = text.bounded(one.message or "", 600) }
      end
    end
    return smallest(found)
  end
end

return M
