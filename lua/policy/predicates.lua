-- What a row's `when` may ask, in words: any_container {...}, pod_condition {...}, input {...}.
--
-- Each makes a function of the facts `s` that answers nil, or the evidence: a table whose fields the
-- row's message can name. Where several pods give evidence the answer must not depend on which is
-- listed first, so all of it is gathered and the smallest text is taken. Pods' names are no evidence:
-- they change without anything having changed.

local text = require "moonphase.text"

local M = {}

local LOG_MOST = 2000 -- bytes of the end of a log that are looked at

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

-- input { "group", "missing" }: a declared input is in this state. Evidence, of an ambiguous one: objects, their names.
function M.input(wanted)
  local name, state = wanted[1], wanted[2]
  return function(s)
    local found = s.seen[name]
    if not found or found.state ~= state then return nil end
    if state ~= "ambiguous" then return {} end
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

-- The words of a table of {words, pattern, ...} whose row has a pattern that the text fits; nil if none has.
local function said_in(words, message)
  for _, row in ipairs(words) do
    for i = 2, #row do
      if message:find(row[i]) then return row[1] end
    end
  end
  return nil
end

local function waiting_evidence(s, one, state, words)
  local message = text.bounded(text.without_names(state.message or "", s.child_name), words and 1000 or 300)
  if words then
    local said = said_in(words, state.reason .. ": " .. message)
    message = said and ": " .. said or ""
  end
  return { container = one.name, image = one.image, reason = state.reason, detail = message }
end

-- any_container { waiting = { "ErrImagePull", ... }, words = { { "access is denied", "denied", "unauthorized" }, ... } }: of the pods of
-- the newest ReplicaSet one has a container that waits for one of these reasons. Evidence: container, image, reason, and as
-- detail what its message says; with `words` (rows of words and Lua patterns) only the words, after ": ", or nothing.
function M.any_container(wanted)
  local reasons = set_of(wanted.waiting)
  return function(s)
    local found, silent = {}, {}
    for _, pod in ipairs(s.newest_pods) do
      every_container(pod, function(one)
        local state = one.state and one.state.waiting
        if not state or not reasons[state.reason] then return end
        local evidence = waiting_evidence(s, one, state, wanted.words)
        local list = evidence.detail ~= "" and found or silent
        list[#list + 1] = evidence
      end)
    end
    return smallest(found) or smallest(silent) -- a back-off says nothing that the pull before it has not said
  end
end

-- Which containers a row means: all, or those of `container`, and not those of `but`.
local function means(wanted, one)
  return (not wanted.container or one.name == wanted.container) and one.name ~= wanted.but
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

-- crashing { reason = "OOMKilled", container = "model", but = "model-storage-initializer" }: a container ends again and again: it waits
-- in CrashLoopBackOff, or was restarted settings.crash.restarts times and is not ready. (One restart is no verdict, and
-- between two crashes a container runs for a moment.) Evidence: container, exit_code, reason, and as detail, after ": ", the
-- end of its termination message or log.
function M.crashing(wanted)
  local reasons = set_of(wanted.reason)
  local function evidence(s, one, init)
    local last = means(wanted, one) and crash_of(one, s.settings.crash.restarts)
    if not last or (init and last.exitCode == 0) or (reasons and not reasons[last.reason]) then return nil end
    local crash = s.settings.crash
    local log = text.without_names((last.message or ""):sub(-LOG_MOST), s.child_name)
    local said = text.tail(log, crash.lines, math.min(crash.bytes, LOG_MOST // 2))
    return { container = one.name, exit_code = last.exitCode, reason = last.reason or "Error", detail = said ~= "" and ": " .. said or "" }
  end
  return function(s)
    local found = {}
    for _, pod in ipairs(s.newest_pods) do
      every_container(pod, function(one, init) found[#found + 1] = evidence(s, one, init) end)
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

-- pod_condition { "PodScheduled", "False", reason = "Unschedulable" }: of a pod of the newest ReplicaSet. Evidence: reason, message.
function M.pod_condition(wanted)
  return function(s)
    local found = {}
    for _, pod in ipairs(s.newest_pods) do
      local condition = condition_of(pod, wanted)
      if condition then
        local message = text.without_names(condition.message or "", s.child_name)
        found[#found + 1] = { reason = condition.reason, message = text.bounded(message, 500) }
      end
    end
    return smallest(found)
  end
end

local function says(message, patterns)
  if not patterns then return true end
  for _, pattern in ipairs(type(patterns) == "table" and patterns or { patterns }) do
    if message:find(pattern) then return true end
  end
  return false
end

-- unschedulable { says = "PersistentVolumeClaim" }: the scheduler finds no node for a pod of the newest ReplicaSet, and says so
-- in these words (a Lua pattern; none: whatever it says). Evidence: message, without counts.
function M.unschedulable(wanted)
  return function(s)
    local found = {}
    for _, pod in ipairs(s.newest_pods) do
      local condition = condition_of(pod, { "PodScheduled", "False", reason = "Unschedulable" })
      local message = condition and text.capacity(text.without_names(condition.message or "", s.child_name))
      if message and says(message, wanted.says) then found[#found + 1] = { message = message } end
    end
    return smallest(found)
  end
end

-- deployment_condition { "Progressing", "False", reason = "ProgressDeadlineExceeded" }. It counts only once the Deployment's
-- controller has seen the present spec, and while replicas are wanted. Evidence: reason, message.
function M.deployment_condition(wanted)
  return function(s)
    if not s.rollout.settled or s.desired == 0 then return nil end
    local condition = condition_of(s.deployment, wanted)
    if not condition then return nil end
    return { reason = condition.reason, message = text.bounded(text.without_names(condition.message or "", s.child_name)) }
  end
end

-- refused { says = { "exceeded quota: " } }: pods that are wanted cannot be created, and the API server says why in one of
-- these words (Lua patterns; none: whatever it says). Counts while the newest ReplicaSet lacks a pod: the Deployment also tells of
-- older ones. Evidence: message (without the pod's name and what others use), webhook.
function M.refused(wanted)
  return function(s)
    if not s.rollout.settled or #s.newest_pods >= s.desired then return nil end
    local condition = condition_of(s.deployment, { "ReplicaFailure", "True", reason = "FailedCreate" })
    if not condition then return nil end
    local said = text.bounded(condition.message or "", 4096)
    if not says(said, wanted.says) then return nil end
    return { message = text.without_names(text.refusal(said), s.child_name),
      webhook = said:match('^admission webhook "([^"]+)"') or said:match('failed calling webhook "([^"]+)"') or "?" }
  end
end

-- Nothing of the pod ran yet: what it waits for is its node, its volumes or its first image.
local function never_ran(pod)
  local ran, status = false, pod.status or {}
  every_container(pod, function(one)
    local state = one.state or {}
    ran = ran or state.running ~= nil or state.terminated ~= nil or (one.restartCount or 0) > 0
  end)
  return not ran and condition_of(pod, { "PodScheduled", "True" }) ~= nil and #(status.containerStatuses or {}) > 0
end

-- What a FailedMount Event says: {volume, detail}, and whether it tells the cause. Two kinds come in turn: "MountVolume.SetUp failed for
-- volume "x" : why" (with the commands that were run; the last line is the answer), and after two minutes "Unable to attach or mount
-- volumes: unmounted volumes=[x], unattached volumes=[in any order]: timed out".
local function mount_evidence(s, message)
  message = text.without_names(message or "", s.child_name)
  local waited = message:match("unmounted volumes=%[([^%]]*)%]")
  if waited then
    local names = {}
    for name in waited:gmatch("[^%s,]+") do names[#names + 1] = name end
    table.sort(names)
    return { volume = table.concat(names, ", "), detail = "it could not be mounted in time" }, false
  end
  local volume = message:match('for volume "([^"]+)"') or "?"
  return { volume = volume, detail = text.tail(message:match('for volume "[^"]+" ?: (.+)$') or message, 1, 300) }, true
end

-- mount_failed(): a pod of the newest ReplicaSet has not started, and its node says in Events of this very pod that a volume
-- cannot be mounted. (Old Events of a pod that runs by now are no evidence.) Evidence: volume, detail.
function M.mount_failed()
  return function(s)
    local causes, others = {}, {}
    for _, pod in ipairs(s.newest_pods) do
      local waits = #(s.seen.events or {}) > 0 and never_ran(pod)
      for _, event in ipairs(waits and s.seen.events or {}) do
        if event.reason == "FailedMount" and event.involvedObject and event.involvedObject.uid == pod.metadata.uid then
          local evidence, is_cause = mount_evidence(s, event.message)
          local list = is_cause and causes or others
          list[#list + 1] = evidence
        end
      end
    end
    return smallest(causes) or smallest(others)
  end
end

-- A field of a wrong type, or one that says what is no amount, is a refusal, though a server that cannot read an apply calls it 500.
-- (Converting is a webhook's work for kinds of others: it may be away.)
local function is_unreadable(message)
  if message:find("failed to create typed patch object", 1, true) then return true end
  return message:find("failed to convert new object", 1, true) and not message:find("webhook", 1, true)
end

-- What another try may mend is no verdict: no answer, server trouble, a lost race, our own credentials.
local function is_final(problem)
  local code = problem.code
  if code == 500 and is_unreadable(problem.message or "") then return true end
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
