-- The kubelet of the nodes that are ours: pods bound to them get containers, a status, and an end.
--
-- What a kubelet remembers of a pod is one value of the world, cell["kubelet/UID"] = { ip=, since=, containers=, killing= }; each look at a
-- pod advances its containers (container.lua) to now, writes the status if it changed, and asks to be woken at the
-- next step. Pods on nodes that somebody else registered are nobody's business here.

local common = require "sandbox.controllers.common"
local container = require "sandbox.controllers.container"
local images = require "sandbox.controllers.images"

local M = {}

local PODS = "pods"
local NONE = {}
local with = common.with

local function cell_of(uid) return "kubelet/" .. uid end
M.cell_of = cell_of

-- Next free address of the pod network (10.244.0.0/16, round and round).
local function new_ip(w)
  local number = (w.cell["kubelet-ip"] or 1) % 65000 + 1
  w.cell["kubelet-ip"] = number
  return ("10.244.%d.%d"):format(number // 250, number % 250 + 2)
end

-- What a step of one container needs to know.
local function context(c, pod, spec, memory, is_init)
  return { c = c, pod = pod, spec = spec, is_init = is_init, ip = memory.ip, behaviour = images.behaviour(c.w, spec.image),
    tell = function(type, reason, message)
      c:event("kubelet", pod, type, reason, message,
        ("spec.%s{%s}"):format(is_init and "initContainers" or "containers", spec.name), pod.spec.nodeName)
    end }
end

local function each_container(c, pod, memory, f)
  for _, spec in ipairs(pod.spec.initContainers or NONE) do f(context(c, pod, spec, memory, true)) end
  for _, spec in ipairs(pod.spec.containers) do f(context(c, pod, spec, memory, false)) end
end

-- A volume whose source is not there holds all containers back: the sentence, or nil.
local function missing_volume(c, pod)
  local namespace = pod.metadata.namespace
  for _, volume in ipairs(pod.spec.volumes or NONE) do
    local secret, map = volume.secret, volume.configMap
    if secret and secret.optional ~= true and not c.w:get("secrets", namespace, secret.secretName or "") then
      return ('MountVolume.SetUp failed for volume "%s" : secret "%s" not found'):format(volume.name, secret.secretName or "")
    end
    if map and map.optional ~= true and not c.w:get("configmaps", namespace, map.name or "") then
      return ('MountVolume.SetUp failed for volume "%s" : configmap "%s" not found'):format(volume.name, map.name or "")
    end
  end
end

-- A pod that this node sees for the first time.
local function begin(c, pod)
  local now, inits = c.w:now(), pod.spec.initContainers or NONE
  local memory = { ip = new_ip(c.w), since = now, containers = {} }
  for index, spec in ipairs(inits) do
    memory.containers[spec.name] = container.fresh(spec, index == 1 and now or nil, index > 1 and container.INITIALIZING or nil)
  end
  for _, spec in ipairs(pod.spec.containers) do
    memory.containers[spec.name] = container.fresh(spec, not inits[1] and now or nil, inits[1] and container.INITIALIZING or nil)
  end
  return memory
end

local function is_done_well(run) return run.step == "done" and run.shown.terminated ~= nil and run.shown.terminated.exitCode == 0 end

-- Init containers run one after the other, the rest when all of them are done. Lets the next ones begin; -> changed containers
local function let_begin(pod, containers, now)
  local inits = pod.spec.initContainers
  if not inits or not inits[1] then return containers end
  for _, spec in ipairs(inits) do
    local run = containers[spec.name]
    if not is_done_well(run) then
      if run.step ~= "begin" or run.at then return containers end
      return with(containers, { [spec.name] = with(run, { at = now }) })
    end
  end
  local changes = {}
  for _, spec in ipairs(pod.spec.containers) do
    local run = containers[spec.name]
    if run.step == "begin" and not run.at and run.shown == container.INITIALIZING then changes[spec.name] = with(run, { at = now }) end
  end
  return next(changes) and with(containers, changes) or containers
end

local function advance(c, pod, memory)
  local now, containers = c.w:now(), memory.containers
  for _ = 1, 100 do
    local changes = {}
    each_container(c, pod, memory, function(x)
      local run = containers[x.spec.name]
      if run and run.image ~= x.spec.image then run = container.replaced(x, run, now) end
      local new = run and container.advance(x, run, now)
      if new ~= containers[x.spec.name] then changes[x.spec.name] = new end
    end)
    if next(changes) then containers = with(containers, changes) end
    local more = let_begin(pod, containers, now)
    if more == containers then break end
    containers = more
  end
  return containers ~= memory.containers and with(memory, { containers = containers }) or memory
end

-- Status

local function phase_of(pod, containers)
  local policy = pod.spec.restartPolicy or "Always"
  for _, spec in ipairs(pod.spec.initContainers or NONE) do
    local run = containers[spec.name]
    if not is_done_well(run) then return run.step == "done" and policy == "Never" and "Failed" or "Pending" end
  end
  local running, stopped, succeeded = 0, 0, 0
  for _, spec in ipairs(pod.spec.containers) do
    local run = containers[spec.name]
    if run.shown.running then
      running = running + 1
    elseif run.shown.terminated or run.last then
      stopped = stopped + 1
      if run.shown.terminated and run.shown.terminated.exitCode == 0 then succeeded = succeeded + 1 end
    else
      return "Pending"
    end
  end
  if running > 0 or policy == "Always" then return "Running" end
  if stopped == succeeded then return "Succeeded" end
  return policy == "Never" and "Failed" or "Running"
end

-- A condition; the very table that is there, if nothing of it is news.
local function condition(pod, now, kind, status, reason, message)
  local known = common.condition(pod.status, kind)
  if known and known.status == status then
    if known.reason == reason and known.message == message then return known end
    now = known.lastTransitionTime
  end
  return { type = kind, status = status, reason = reason, message = message, lastProbeTime = json.null, lastTransitionTime = now }
end

local function names(list) return "[" .. table.concat(list, " ") .. "]" end

-- The list that is there, if the new one has the very same tables: comparing is then no work.
local function unchanged(old, new)
  if not old or #old ~= #new then return new end
  for index, one in ipairs(new) do
    if old[index] ~= one then return new end
  end
  return old
end

local function conditions_of(c, pod, phase, unready, uninitialized)
  local now = c.w:time()
  local list = json.array {}
  if uninitialized[1] then
    list[1] = condition(pod, now, "Initialized", "False", "ContainersNotInitialized",
      "containers with incomplete status: " .. names(uninitialized))
  else
    list[1] = condition(pod, now, "Initialized", "True", phase == "Succeeded" and "PodCompleted" or nil)
  end
  for index, kind in ipairs { "Ready", "ContainersReady" } do
    if phase == "Succeeded" then
      list[index + 1] = condition(pod, now, kind, "False", "PodCompleted")
    elseif unready[1] then
      list[index + 1] = condition(pod, now, kind, "False", "ContainersNotReady", "containers with unready status: " .. names(unready))
    else
      list[index + 1] = condition(pod, now, kind, "True")
    end
  end
  local scheduled = common.condition(pod.status, "PodScheduled")
  list[4] = scheduled or condition(pod, now, "PodScheduled", "True")
  for _, one in ipairs((pod.status or NONE).conditions or NONE) do
    local ours = one.type == "Initialized" or one.type == "Ready" or one.type == "ContainersReady" or one.type == "PodScheduled"
    if not ours then list[#list + 1] = one end
  end
  return unchanged((pod.status or NONE).conditions, list)
end

local function host_ip(c, name)
  local node = c.w:get("nodes", "", name)
  for _, address in ipairs(node and (node.object.status or NONE).addresses or NONE) do
    if address.type == "InternalIP" then return address.address end
  end
end

local function status_of(c, pod, memory)
  local containers, phase = memory.containers, phase_of(pod, memory.containers)
  local main, inits, unready, uninitialized, has_sandbox = json.array {}, json.array {}, {}, {}, false
  each_container(c, pod, memory, function(x)
    local run = containers[x.spec.name]
    local list = x.is_init and inits or main
    list[#list + 1] = container.status(x, run)
    if x.is_init and not is_done_well(run) then uninitialized[#uninitialized + 1] = x.spec.name end
    if not x.is_init and not run.ready then unready[#unready + 1] = x.spec.name end
    has_sandbox = has_sandbox or run.shown ~= container.CREATING and run.shown ~= container.INITIALIZING
  end)
  local status = with(pod.status, { phase = phase, hostIP = host_ip(c, pod.spec.nodeName),
    startTime = (pod.status or NONE).startTime or c.w:time(memory.since),
    conditions = conditions_of(c, pod, phase, unready, uninitialized), containerStatuses = main,
    initContainerStatuses = inits[1] and inits or nil })
  if has_sandbox and status.podIP ~= memory.ip then status.podIP, status.podIPs = memory.ip, json.array { { ip = memory.ip } } end
  return status
end

local function write_status(c, pod, memory)
  c:write(PODS, pod.metadata.namespace, pod.metadata.name, function(object)
    if object.metadata.uid ~= pod.metadata.uid then return nil end
    return with(object, { status = status_of(c, object, memory) })
  end, "kubelet")
end

local function remember(c, pod, memory)
  c.w.cell[cell_of(pod.metadata.uid)] = memory
  local at = memory.killing
  if not at then
    for _, run in pairs(memory.containers) do
      if run.at and (not at or run.at < at) then at = run.at end
    end
  end
  if at then c:after(math.max(at - c.w:now(), 0), "kubelet", common.key(pod)) end
end

-- The end

local function finish(c, pod)
  c:delete(PODS, pod.metadata.namespace, pod.metadata.name, pod.metadata.uid, 0)
  return true
end

-- A pod on its way out: its containers are told to end, and when they have, the pod is deleted for good.
local function terminate(c, pod, memory)
  local now, grace = c.w:now(), pod.metadata.deletionGracePeriodSeconds or 0
  if not memory or common.is_finished(pod) then return finish(c, pod) end
  if not memory.killing then
    local longest = 0
    each_container(c, pod, memory, function(x)
      local run = memory.containers[x.spec.name]
      if run and run.step == "running" then
        x.tell("Normal", "Killing", "Stopping container " .. x.spec.name)
        longest = math.max(longest, c:ms(x.behaviour.stop_seconds, "stop"))
      end
    end)
    memory = with(memory, { killing = now + math.min(longest, grace * 1000), killed = longest > grace * 1000 })
  elseif memory.killing > now + grace * 1000 then
    memory = with(memory, { killing = now + grace * 1000, killed = true }) -- the grace was shortened
  end
  if memory.killing > now then
    remember(c, pod, memory)
    return true
  end
  local containers = {}
  each_container(c, pod, memory, function(x)
    containers[x.spec.name] = container.stopped(x, memory.containers[x.spec.name], memory.killing, memory.killed)
  end)
  memory = with(memory, { containers = containers })
  c.w.cell[cell_of(pod.metadata.uid)] = memory
  write_status(c, pod, memory)
  return finish(c, pod)
end

local function is_ours(w, node) return (w.cell.kubelets or NONE)[node] == true end

-- One look at the pod "namespace/name".
function M.sync(c, key)
  local record = c.w:get(PODS, common.split(key))
  local pod = record and record.object
  if not pod or not pod.spec.nodeName or not is_ours(c.w, pod.spec.nodeName) then return true end
  local memory = c.w.cell[cell_of(pod.metadata.uid)]
  if pod.metadata.deletionTimestamp then return terminate(c, pod, memory) end
  if common.is_finished(pod) then return true end
  local first = memory == nil
  memory = memory or begin(c, pod)
  if first then write_status(c, pod, memory) end
  local trouble = missing_volume(c, pod)
  if trouble and memory.held ~= trouble and first then
    c:event("kubelet", pod, "Warning", "FailedMount", trouble, nil, pod.spec.nodeName)
  end
  if trouble and (first or memory.held) then
    c.w.cell[cell_of(pod.metadata.uid)] = with(memory, { held = trouble })
    return true
  end
  if memory.held then
    local freed = begin(c, pod) -- the clock of its containers starts now
    memory = with(freed, { ip = memory.ip, since = memory.since })
  end
  local advanced = advance(c, pod, memory)
  if advanced ~= memory then write_status(c, pod, advanced) end
  remember(c, pod, advanced)
  return true
end

-- A ConfigMap or Secret of the namespace changed: pods that wait for one look again.
function M.sources_changed(c, namespace)
  for _, record in ipairs(c.w:each(PODS, namespace)) do
    local memory = c.w.cell[cell_of(record.uid)]
    if memory then
      local containers, waits = {}, memory.held ~= nil
      for name, run in pairs(memory.containers) do
        containers[name] = container.retry(run, c.w:now())
        waits = waits or containers[name] ~= run
      end
      if waits then
        c.w.cell[cell_of(record.uid)] = with(memory, { containers = containers })
        c:pend("kubelet", record.namespace .. "/" .. record.name)
      end
    end
  end
end

-- Images that match(image) behave otherwise now.
function M.images_changed(c, match)
  for _, record in ipairs(c.w:each(PODS)) do
    local pod = record.object
    local memory = c.w.cell[cell_of(record.uid)]
    if memory and not memory.killing then
      local changes = {}
      each_container(c, pod, memory, function(x)
        if match(x.spec.image) then
          changes[x.spec.name] = container.image_changed(x, memory.containers[x.spec.name], c.w:now())
        end
      end)
      if next(changes) then
        local changed = with(memory, { containers = with(memory.containers, changes) })
        c.w.cell[cell_of(record.uid)] = changed
        write_status(c, pod, changed)
        c:pend("kubelet", record.namespace .. "/" .. record.name)
      end
    end
  end
end

-- What a container wrote, all of it when it began, as `kubectl logs` shows it. options: previous (of the one before), timestamps, since
-- (RFC3339: nothing before). -> text, whether the container runs
function M.log(w, pod, name, options)
  local text, state = images.log(w, pod, name, options.previous)
  local ran = state and (state.running or state.terminated)
  local time = ran and ran.startedAt or w:time()
  local runs = state and state.running ~= nil
  if options.since and time < options.since then text = "" end
  if not options.timestamps then return text, runs end
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = time:gsub("Z$", ".000000000Z ") .. line .. "\n" end
  return table.concat(lines), runs
end

return M
