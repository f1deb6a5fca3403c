-- A kubelet that runs nothing: it registers nodes and sets the statuses that a real one would set.
--
-- Specs drive it by a catalogue: what an image does when a pod starts it ("runs", "missing",
-- "unauthorised", "invalid", "crashes", "out of memory", "slow", "never ready"). Changing the catalogue
-- changes pods that run already, so that an image can be mended under a waiting pod, as in life.
--
--   local kubelet = require("spec.cluster.kubelet").start(cluster, { nodes = { ["node-1"] = {cpu="16", ...} } })
--   kubelet:image("registry/model:v2", "missing")
--   kubelet:stop()

local M = {}
M.__index = M

local MERGE = "application/merge-patch+json"
local NODE = { cpu = "64", memory = "256Gi", pods = "2000", ["nvidia.com/gpu"] = "8" }

local function now()
  return os.date("!%Y-%m-%dT%H:%M:%SZ")
end

-- What each behaviour makes of a container: state, and whether it is ready.
local BEHAVIOURS = {
  ["runs"] = function() return { running = { startedAt = now() } }, true end,
  ["never ready"] = function() return { running = { startedAt = now() } }, false end,
  ["missing"] = function(image)
    return { waiting = { reason = "ImagePullBackOff", message = ('Back-off pulling image "%s"'):format(image) } }, false
  end,
  ["error"] = function(image)
    return { waiting = { reason = "ErrImagePull", message = ('manifest for %s not found: manifest unknown'):format(image) } }, false
  end,
  ["invalid"] = function(image)
    return { waiting = { reason = "InvalidImageName", message = ('Failed to apply default image tag "%s": invalid reference format'):format(image) } }, false
  end,
  ["crashes"] = function()
    return { waiting = { reason = "CrashLoopBackOff", message = "back-off 10s restarting failed container" } }, false,
      { terminated = { exitCode = 1, reason = "Error", message = "ValueError: no model\n", startedAt = now(), finishedAt = now() } }
  end,
  ["out of memory"] = function()
    return { waiting = { reason = "CrashLoopBackOff", message = "back-off 10s restarting failed container" } }, false,
      { terminated = { exitCode = 137, reason = "OOMKilled", startedAt = now(), finishedAt = now() } }
  end,
  ["slow"] = function() return { waiting = { reason = "ContainerCreating" } }, false end,
}

local function container_status(self, container)
  local behaviour = BEHAVIOURS[self.images[container.image] or "runs"]
  local state, ready, last = behaviour(container.image)
  return {
    name = container.name, image = container.image, imageID = state.running and "sha256:" .. container.image or "", ready = ready, started = ready,
    restartCount = last and 1 or 0, state = state, lastState = last or {},
  }
end

local function condition(kind, status, reason)
  return { type = kind, status = status, reason = reason, lastTransitionTime = now() }
end

local function status_of(self, pod)
  local statuses, all_ready, running = json.array {}, true, true
  for i, container in ipairs(pod.spec.containers) do
    statuses[i] = container_status(self, container)
    all_ready = all_ready and statuses[i].ready
    running = running and statuses[i].state.waiting == nil
  end
  local ready = all_ready and "True" or "False"
  return {
    phase = running and "Running" or "Pending", hostIP = "127.0.0.1", podIP = self.pod_ip and self.pod_ip() or "127.0.0.1", startTime = now(),
    conditions = json.array { condition("Initialized", "True"), condition("Ready", ready, not all_ready and "ContainersNotReady" or nil),
      condition("ContainersReady", ready), condition("PodScheduled", "True") },
    containerStatuses = statuses,
  }
end

local function pod_path(key)
  local namespace, name = key:match("^(.-)/(.+)$")
  return "/api/v1/namespaces/" .. namespace .. "/pods/" .. name
end

local function finish_deletion(self, key, uid)
  loop.sleep(self.grace)
  self.cluster:request { method = "DELETE", path = pod_path(key),
    body = { apiVersion = "v1", kind = "DeleteOptions", gracePeriodSeconds = 0, preconditions = { uid = uid } } }
end

local function play(self, key)
  local pod = self.pods:read(key)
  if not pod or not pod.spec.nodeName or not self.nodes[pod.spec.nodeName] then return end
  if pod.metadata.deletionTimestamp then return finish_deletion(self, key, pod.metadata.uid) end
  local wanted = {}
  for i, container in ipairs(pod.spec.containers) do wanted[i] = self.images[container.image] or "runs" end
  local signature = pod.metadata.uid .. table.concat(wanted, ",")
  if self.played[key] == signature then return end
  self.played[key] = signature
  if self.start_seconds > 0 then loop.sleep(self.start_seconds) end
  self.cluster:request { method = "PATCH", path = pod_path(key) .. "/status", content_type = MERGE,
    body = { metadata = { uid = pod.metadata.uid }, status = status_of(self, pod) } }
end

-- Work on `key` in a task of its own, one at a time; a change meanwhile plays again.
local function schedule(self, key)
  if self.busy[key] then
    self.again[key] = true
    return
  end
  self.busy[key] = true
  loop.spawn(function()
    repeat
      self.again[key] = nil
      local ok, why = pcall(play, self, key)
      if not ok and not self.stopped then log.warn("the kubelet stumbled", { pod = key, why = tostring(why) }) end
    until not self.again[key] or self.stopped
    self.busy[key] = nil
    if not self.stopped and not self.pods:get(key) then self.played[key] = nil end
  end)
end

local function register(self, name, allocatable)
  local node = { apiVersion = "v1", kind = "Node", metadata = { name = name, labels = { ["kubernetes.io/hostname"] = name } } }
  local labels = allocatable.labels
  for k, v in pairs(labels or {}) do node.metadata.labels[k] = v end
  self.cluster:request { method = "POST", path = "/api/v1/nodes", body = node }
  local resources = {}
  for k, v in pairs(allocatable) do
    if k ~= "labels" then resources[k] = v end
  end
  local status = { capacity = resources, allocatable = resources, conditions = json.array { condition("Ready", "True", "KubeletReady") } }
  for _ = 1, 20 do -- the taint controller may race with us
    local answer = self.cluster:request { method = "PATCH", path = "/api/v1/nodes/" .. name .. "/status", content_type = MERGE,
      body = { status = status } }
    self.cluster:request { method = "PATCH", path = "/api/v1/nodes/" .. name, content_type = MERGE,
      body = { spec = { taints = json.null } } }
    if answer and answer.status == 200 then return end
    loop.sleep(0.1)
  end
  error("node " .. name .. " could not be registered")
end

-- (waits) options: {nodes={name=allocatable}, start_seconds=0, grace=0, pod_ip=function() -> address}: Endpoints take no loopback
function M.start(cluster, options)
  options = options or {}
  local self = setmetatable({ cluster = cluster, nodes = options.nodes or { ["node-1"] = NODE }, images = {}, played = {},
    busy = {}, again = {}, start_seconds = options.start_seconds or 0, grace = options.grace or 0,
    pod_ip = options.pod_ip }, M)
  for name, allocatable in pairs(self.nodes) do register(self, name, allocatable) end
  self.pods = cluster:watch { path = "/api/v1/pods", api_version = "v1", kind = "Pod", name = "pods", keep = "whole",
    on_change = function(key, change)
      if change ~= "removed" then schedule(self, key) else self.played[key] = nil end
    end }
  assert(self.pods:wait_synced(120), "the kubelet cannot watch pods") -- an API server behind a storm of writes takes its time
  return self
end

-- From now on `image` behaves so; pods that use it are told.
function M:image(image, behaviour)
  assert(BEHAVIOURS[behaviour], "no behaviour is called " .. tostring(behaviour))
  self.images[image] = behaviour
  for _, key in ipairs(self.pods:keys()) do schedule(self, key) end
end

function M:stop()
  self.stopped = true
  self.pods:stop()
end

return M
