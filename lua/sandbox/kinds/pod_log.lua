-- A pod's log: which container is meant, what of its log is asked for, and whether the caller stays to see it end.
--
-- The lines are those of the image catalogue (world file), written at the start of the container (controllers/kubelet.lua has them). A
-- caller who follows gets what is there and then waits: the stream ends with the container, as `kubectl logs -f` on a real cluster does.
-- (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#get-read-log-of-the-specified-pod)

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"
local parameters = require "sandbox.api.parameters"
local times = require "sandbox.schema.times"

local M = {}

local function container_names(pod)
  local names = {}
  for _, container in ipairs(pod.spec.containers or {}) do names[#names + 1] = container.name end
  return names
end

local function has_container(pod, name)
  for _, field in ipairs { "containers", "initContainers" } do
    for _, container in ipairs(pod.spec[field] or {}) do
      if container.name == name then return true end
    end
  end
  return false
end

-- The container that is meant, or a failure.
local function choose_container(pod, wanted)
  local name = pod.metadata.name
  if wanted and wanted ~= "" then
    if has_container(pod, wanted) then return wanted end
    return nil, errors.bad_request(("container %s is not valid for pod %s"):format(wanted, name))
  end
  local names = container_names(pod)
  if #names == 1 then return names[1] end
  local text = ("a container name must be specified for pod %s, choose one of: [%s]"):format(name, table.concat(names, " "))
  local init = {}
  for _, container in ipairs(pod.spec.initContainers or {}) do init[#init + 1] = container.name end
  if init[1] then text = text .. (" or one of the init containers: [%s]"):format(table.concat(init, " ")) end
  return nil, errors.bad_request(text)
end
M.choose_container = choose_container

-- The status of a container, or nil.
function M.status_of(pod, name)
  for _, field in ipairs { "containerStatuses", "initContainerStatuses" } do
    for _, one in ipairs(pod.status and pod.status[field] or {}) do
      if one.name == name then return one end
    end
  end
end

-- What the kubelet refuses to give: the log of what never ran.
local function check_started(pod, name, previous)
  local one = M.status_of(pod, name) or {}
  local state = previous and one.lastState or one.state or {}
  if previous and not state.terminated then
    return errors.bad_request(('previous terminated container "%s" in pod "%s" not found'):format(name, pod.metadata.name))
  end
  local waiting = state.waiting
  if waiting and not (one.lastState and one.lastState.terminated) then
    return errors.bad_request(('container "%s" in pod "%s" is %s'):format(name, pod.metadata.name,
      waiting.reason == "ContainerCreating" and "waiting to start: ContainerCreating"
      or "waiting to start: " .. (waiting.message or waiting.reason or "no status")))
  end
end

-- What is asked for, looked at before there is a pod to ask about. -> failure | nil
function M.check(query, name)
  local errs = {}
  for _, option in ipairs { "limitBytes", "sinceSeconds", "tailLines" } do
    local text, least = query[option], option == "tailLines" and 0 or 1
    local number, failure = parameters.integer(text ~= nil and text or "0", true)
    if failure then return failure end
    if text and number < least then checks.invalid(errs, option, number, least == 0 and checks.NOT_NEGATIVE or "must be greater than 0") end
  end
  if (query.sinceTime or "") ~= "" then
    local _, why = times.seconds(query.sinceTime)
    if why then return errors.bad_request(why) end
    if query.sinceSeconds then errs[#errs + 1] = { field = "[]", type = "FieldValueForbidden",
      message = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified" } end
  end
  if errs[1] then return errors.invalid({ group = "", kind = "PodLogOptions" }, name, errs) end
end

local function cut(text, query)
  local tail, bytes = math.tointeger(tonumber(query.tailLines)), math.tointeger(tonumber(query.limitBytes))
  if tail then
    local lines = {}
    for line in text:gmatch("[^\n]*\n?") do
      if line ~= "" then lines[#lines + 1] = line end
    end
    text = table.concat(lines, "", math.max(1, #lines - tail + 1))
  end
  return bytes and text:sub(1, bytes) or text
end

local function is_set(query, name) return query[name] == "true" or query[name] == "1" end

-- The moment (RFC3339) before which lines are left out, or nil.
local function since(w, query)
  local seconds = math.tointeger(tonumber(query.sinceSeconds))
  if seconds then return w:time(w:now() - seconds * 1000) end
  return query.sinceTime and times.seconds(query.sinceTime) or nil
end

-- The text, and whether the container that wrote it runs.
local function read(w, pod, name, query)
  return require("sandbox.controllers.kubelet").log(w, pod, name, { previous = is_set(query, "previous"),
    timestamps = is_set(query, "timestamps"), since = since(w, query) })
end

-- A stream for who follows: what is there, and what is new when the container ends, and the end. See api/watch.lua for what a stream is.
local Follower = {}
Follower.__index = Follower

function Follower:next()
  if self.is_over then return nil end
  local record = self.w:get("pods", self.namespace, self.name)
  local status = record and record.uid == self.uid and M.status_of(record.object, self.container)
  local state = status and status.restartCount == self.restarts and status.state or {}
  if not state.running then
    self.is_over, self.due = true, 0
  elseif self.sent then
    return {}
  end
  local before = self.sent
  if state.running or state.terminated then self.sent = read(self.w, record.object, self.container, self.query) end
  if not before then return { cut(self.sent or "", self.query) } end
  return { self.sent:sub(1, #before) == before and self.sent:sub(#before + 1) or "" }
end

function Follower:close() self.is_over = true end

local function follow(w, record, container, query)
  return setmetatable({ w = w, id = "pods", due = math.huge, namespace = record.namespace, name = record.name, uid = record.uid,
    container = container, restarts = M.status_of(record.object, container).restartCount, query = query }, Follower)
end

-- query: container, previous, follow, tailLines, limitBytes, sinceSeconds, sinceTime, timestamps.
-- -> { status=, text= | watch= } | nil, failure
function M.get(w, request)
  local pod, query = request.record.object, request.query or {}
  local name, failure = choose_container(pod, query.container)
  if not name then return nil, failure end
  if (pod.spec.nodeName or "") == "" then return { status = 204, text = "" } end
  failure = check_started(pod, name, is_set(query, "previous"))
  if failure then return nil, failure end
  local text, is_running = read(w, pod, name, query)
  if is_running and is_set(query, "follow") and not is_set(query, "previous") then
    return { status = 200, watch = follow(w, request.record, name, query) }
  end
  return { status = 200, text = cut(text, query) }
end

return M
