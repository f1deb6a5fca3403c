-- The subresources that only pods have: log, binding, eviction.
--
-- A subresource function gets the world and a request, and answers with what goes out:
--   f(w, request) -> { status=, object= | text= } | nil, failure
--   request = { verbs=, kind=, record=, namespace=, name=, query={name=value}, body=<decoded object or nil>, options=<of verbs> }
-- (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/)

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"

local M = {}

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return setmetatable(new, getmetatable(t))
end

local function success(code)
  local object = errors.success()
  object.code = code
  return { status = code, object = object }
end

-- ---- pods/log ----------------------------------------------------------------------------------------------------

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

local function status_of(pod, name)
  for _, field in ipairs { "containerStatuses", "initContainerStatuses" } do
    for _, one in ipairs(pod.status and pod.status[field] or {}) do
      if one.name == name then return one end
    end
  end
end

-- What the kubelet refuses to give: the log of what never ran.
local function check_started(pod, name, previous)
  local one = status_of(pod, name) or {}
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

-- Bounds of what is asked for.
local function check_options(query, name)
  local errs = {}
  local function need(option, least, words)
    local number = math.tointeger(tonumber(query[option]))
    if number and number < least then checks.invalid(errs, option, number, words) end
  end
  need("tailLines", 0, checks.NOT_NEGATIVE)
  need("limitBytes", 1, "must be greater than 0")
  need("sinceSeconds", 1, "must be greater than 0")
  if errs[1] then return errors.invalid({ group = "", kind = "PodLogOptions" }, name, errs) end
end

local function log_source()
  local found, kubelet = pcall(require, "sandbox.controllers.kubelet")
  return found and type(kubelet) == "table" and kubelet.log or nil
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

-- query: container, previous, tailLines, limitBytes, timestamps. The lines are those of the simulated kubelet:
-- controllers/kubelet.lua's log(w, pod, container, { previous=, timestamps= }) -> text.
function M.log(w, request)
  local pod, query = request.record.object, request.query or {}
  local refused = check_options(query, request.name)
  if refused then return nil, refused end
  local name, failure = choose_container(pod, query.container)
  if not name then return nil, failure end
  if (pod.spec.nodeName or "") == "" then return { status = 204, text = "" } end
  local previous = query.previous == "true" or query.previous == "1"
  failure = check_started(pod, name, previous)
  if failure then return nil, failure end
  local source = log_source()
  local text = source and source(w, pod, name, { previous = previous, timestamps = query.timestamps == "true" }) or ""
  return { status = 200, text = cut(text, query) }
end

-- ---- pods/binding -----------------------------------------------------------------------------------------------

-- The server says this in its own way: 500, and no causes.
local function check_binding(body)
  local errs, target, texts = {}, body.target or {}, {}
  if (target.kind or "") ~= "" and target.kind ~= "Node" then
    checks.not_supported(errs, "target.kind", target.kind, { "Node", "<empty>" })
  end
  if (target.name or "") == "" then checks.required(errs, "target.name") end
  for i, one in ipairs(errs) do texts[i] = one.field .. ": " .. one.message end
  if not texts[1] then return nil end
  return errors.failure(500, nil, texts[2] and "[" .. table.concat(texts, ", ") .. "]" or texts[1])
end

local function bound(w, object, body)
  local new = copy(object)
  new.spec, new.metadata, new.status = copy(object.spec), copy(object.metadata), copy(object.status or {})
  new.spec.nodeName = body.target.name
  for name, value in next, body.metadata and body.metadata.annotations or {} do
    new.metadata.annotations = copy(new.metadata.annotations or {})
    new.metadata.annotations[name] = value
  end
  local conditions = json.array {}
  for _, condition in ipairs(new.status.conditions or {}) do
    if condition.type ~= "PodScheduled" then conditions[#conditions + 1] = condition end
  end
  conditions[#conditions + 1] = { type = "PodScheduled", status = "True", lastProbeTime = json.null, lastTransitionTime = w:time() }
  new.status.conditions = conditions
  return new
end

-- Bind a pod to a node. Also for the scheduler: bind(w, record, node) -> object | nil, failure.
function M.bind(w, record, body)
  local pod = record.object
  if pod.metadata.deletionTimestamp then
    return nil, errors.conflict("pods/binding", record.name, ("pod %s is being deleted, cannot be assigned to a host"):format(record.name))
  end
  if (pod.spec.nodeName or "") ~= "" then
    return nil, errors.conflict("pods/binding", record.name,
      ('pod %s is already assigned to node "%s"'):format(record.name, pod.spec.nodeName))
  end
  return bound(w, pod, body)
end

function M.binding(w, request)
  local body = request.body or {}
  local name = body.metadata and body.metadata.name or ""
  if name ~= request.name then return nil, errors.bad_request("name in URL does not match name in Binding object") end
  local refused = check_binding(body)
  if refused then return nil, refused end
  local new, failure = M.bind(w, request.record, body)
  if not new then return nil, failure end
  if not (request.options and request.options.dry_run) then w:put("pods", new) end
  return success(201)
end

-- ---- pods/eviction ----------------------------------------------------------------------------------------------

-- No disruption budgets here: every eviction is a delete.
function M.eviction(w, request)
  local body = request.body or {}
  local about, wanted = body.metadata or {}, body.deleteOptions or {}
  if (about.name or "") ~= request.name then
    return nil, errors.bad_request("name in URL does not match name in Eviction object")
  end
  local options = copy(request.options or {})
  options.grace = wanted.gracePeriodSeconds
  options.propagation = wanted.propagationPolicy
  options.preconditions = wanted.preconditions
  local record, failure = request.verbs.delete(w, request.kind, request.namespace, request.name, options)
  if not record then return nil, failure end
  return success(201)
end

return M
