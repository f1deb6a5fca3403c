-- The line that `kubectl get pods` prints for a pod: its state in one word, out of phase, conditions and containers.

local rows = require "sandbox.kinds.rows"

local M = {}

local function ended(state)
  if state.reason and state.reason ~= "" then return state.reason end
  if (state.signal or 0) ~= 0 then return ("Signal:%d"):format(state.signal) end
  return ("ExitCode:%d"):format(state.exitCode or 0)
end

-- What the init containers say: a word when they are not done, and their restarts.
local function of_init(pod)
  local restarts, status = 0, pod.status or {}
  for i, one in ipairs(status.initContainerStatuses or {}) do
    restarts = restarts + (one.restartCount or 0)
    local state = one.state or {}
    local waiting = state.waiting and state.waiting.reason or ""
    if not (state.terminated and (state.terminated.exitCode or 0) == 0) then
      if state.terminated then return "Init:" .. ended(state.terminated), restarts end
      if waiting ~= "" and waiting ~= "PodInitializing" then return "Init:" .. waiting, restarts end
      return ("Init:%d/%d"):format(i - 1, #(pod.spec.initContainers or {})), restarts
    end
  end
  return nil, restarts
end

local function is_ready(pod)
  for _, condition in ipairs(pod.status and pod.status.conditions or {}) do
    if condition.type == "Ready" then return condition.status == "True" end
  end
  return false
end

local function of_containers(pod, word)
  local restarts, ready, running = 0, 0, false
  local list = pod.status and pod.status.containerStatuses or {}
  for i = #list, 1, -1 do
    local one = list[i]
    local state = one.state or {}
    restarts = restarts + (one.restartCount or 0)
    if state.waiting and (state.waiting.reason or "") ~= "" then word = state.waiting.reason
    elseif state.terminated then word = ended(state.terminated)
    elseif one.ready and state.running then
      running = true
      ready = ready + 1
    end
  end
  if word == "Completed" and running then word = is_ready(pod) and "Running" or "NotReady" end
  return word, restarts, ready
end

local function gates(pod)
  local list = pod.spec.readinessGates
  if not list or not list[1] then return "<none>" end
  local met = 0
  for _, gate in ipairs(list) do
    for _, condition in ipairs(pod.status and pod.status.conditions or {}) do
      if condition.type == gate.conditionType then
        if condition.status == "True" then met = met + 1 end
        break
      end
    end
  end
  return ("%d/%d"):format(met, #list)
end

local function or_none(text)
  return text and text ~= "" and text or "<none>"
end

function M.row(pod, w)
  local status = pod.status or {}
  local word = status.phase or ""
  if status.reason and status.reason ~= "" then word = status.reason end
  local ready = 0
  local init, restarts = of_init(pod)
  if init then word = init
  else word, restarts, ready = of_containers(pod, word) end
  if pod.metadata.deletionTimestamp then
    word = status.reason == "NodeLost" and "Unknown" or "Terminating"
  end
  return { pod.metadata.name, ("%d/%d"):format(ready, #(pod.spec.containers or {})), word, restarts, rows.age(pod, w),
    or_none(status.podIPs and status.podIPs[1] and status.podIPs[1].ip or status.podIP), or_none(pod.spec.nodeName),
    or_none(status.nominatedNodeName), gates(pod) }
end

return M
