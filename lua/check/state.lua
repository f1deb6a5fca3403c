-- When two states are the same: a hash of world and operator without what only says when, in which order or under which names.
--
-- Times, UIDs, resourceVersions, addresses and the random names of pods are left out, counters that only grow are capped,
-- and what is still to come counts by how soon, in steps. So a model that was deployed twice is one state, and a pull that fails
-- every five minutes comes round to where it was. Hashes of objects are kept with their records, which never change.

local time = require "policy.time"

local digest_of = digest.masked

local M = {}

local MIX = 0x9E3779B97F4A7C15

-- Of every object.
local MASK = { resourceVersion = true, uid = true, creationTimestamp = true, managedFields = true, selfLink = true, lastUpdateTime = true,
  lastTransitionTime = true, lastProbeTime = true, lastHeartbeatTime = true, startTime = true, startedAt = true, finishedAt = true,
  time = true, podIP = true, podIPs = true, hostIP = true, clusterIP = true, clusterIPs = true, containerID = true, generateName = true,
  deletionTimestamp = "present", deletionGracePeriodSeconds = true, ["moonphase.primehub.io/nudged"] = "present", restartCount = 3,
  nodePort = true, healthCheckNodePort = true }

-- Of pods, whose names are drawn, and stand in messages.
local POD_MASK = { message = "present", ownerReferences = true }
for name, how in pairs(MASK) do POD_MASK[name] = how end

-- Of what the kubelet keeps of a pod; and of the scene, in which what was used up is looked at apart.
local KUBELET_MASK = { at = "present", since = true, killing = "present", ip = true, started = "present", message = "present", backoff = 40,
  failures = 3, restarts = 3, probes = "present", used = true }
for name, how in pairs(MASK) do KUBELET_MASK[name] = how end

local KINDS = { "phdeployments.primehub.io", "deployments.apps", "replicasets.apps", "services", "ingresses.networking.k8s.io", "secrets" }

local function mix(h)
  h = (h ~ (h >> 30)) * 0xBF58476D1CE4E5B9
  h = (h ~ (h >> 27)) * 0x94D049BB133111EB
  return h ~ (h >> 31)
end

local function text_hash(text) return digest.quick(text) end

local words = {}

-- The hash of a text that comes often.
local function word(text)
  local hash = words[text]
  if not hash then
    hash = text_hash(text)
    words[text] = hash
  end
  return hash
end

local function of_record(record)
  local hash = record.masked
  if not hash then
    hash = digest_of(record.object, MASK)
    record.masked = hash
  end
  return hash
end

local function of_pod(record)
  local hash = record.masked
  if not hash then
    local object = record.object
    local metadata = object.metadata
    hash = digest_of({ spec = object.spec, status = object.status, labels = metadata.labels, annotations = metadata.annotations,
      deletionTimestamp = metadata.deletionTimestamp }, POD_MASK)
    record.masked = hash
  end
  return hash
end

local kept = setmetatable({}, { __mode = "k" })

local function of_kept(value)
  if type(value) ~= "table" then return digest.quick(value) end
  local hash = kept[value]
  if not hash then
    hash = digest_of(value, KUBELET_MASK)
    kept[value] = hash
  end
  return hash
end

-- How soon, in steps.
local function soon(ms)
  if ms <= 0 then return 0 end
  if ms < 100 then return 1 + ms // 10 end
  if ms < 1000 then return 20 + ms // 100 end
  if ms < 20000 then return 40 + ms // 1000 end
  if ms < 120000 then return 70 + ms // 10000 end
  return 99
end

-- When the steps of a pod's containers are due.
local function due(memory, now)
  local sum = memory.killing and soon(memory.killing - now) * 7 or 0
  for name, run in pairs(memory.containers) do
    if run.at then sum = sum + mix(word(name) + soon(run.at - now)) end
  end
  return sum
end

-- The pods, with what the kubelet knows of each; by key, for the agenda.
local function pods(world, namespace)
  local sum, by_key, now = 0, {}, world:now()
  for _, record in ipairs(world:each("pods", namespace)) do
    local hash = of_pod(record)
    local memory = world.cell["kubelet/" .. record.uid]
    if memory then hash = mix(hash ~ (of_kept(memory) + due(memory, now))) end
    by_key[record.namespace .. "/" .. record.name] = hash
    sum = sum + mix(hash)
  end
  return sum, by_key
end

local function work_hash(item, by_key)
  local pod = by_key[item.key]
  if pod then return mix(word(item.controller) ~ pod) end
  if item.controller == "gc" and item.key:find("^pods/") then return word "gc of a pod" end
  return word(item.text)
end

local function agenda(world, by_key)
  local sum, it, now = 0, world.agenda, world:now()
  for i = 1, it.count do sum = sum + mix(work_hash(it:at(i), by_key)) end
  for _, timer in ipairs(it.timers) do
    if timer.controller ~= "expiry" then sum = sum + mix(work_hash(timer, by_key) * MIX + soon(timer.at - now)) end
  end
  return sum
end

local NO_CELL = { images = true, timings = true, events = true, kubelets = true, scene = true, ["kubelet-ip"] = true }

local function cells(world)
  local sum = 0
  for name, value in pairs(world.cell) do
    if not NO_CELL[name] and not name:find("^kubelet/") and not name:find("^told/") and not name:find("^gone/") then
      if name:find("^retry/") then
        if not name:find "^retry/%a+/.-/.*%-%w+%-%w+$" then sum = sum + mix(word(name) + math.min(value, 3)) end
      else
        sum = sum + mix(word(name) ~ of_kept(value))
      end
    end
  end
  return sum
end

-- Grace counts from when a condition turned: how long that is ago, in steps, for the one that turned last.
local GRACES = { 10, 15, 30 } -- seconds; settings.yaml

local function since(record, now)
  local turned = record.turned
  if not turned then
    local latest = ""
    for _, condition in ipairs((record.object.status or {}).conditions or {}) do
      if (condition.lastTransitionTime or "") > latest then latest = condition.lastTransitionTime end
    end
    turned = time.parse(latest) or 0
    record.turned = turned
  end
  for i, grace in ipairs(GRACES) do
    if now // 1000 - turned < grace then return i end
  end
  return 0
end

-- ---------------------------------------------------------------- the world

-- The hash of the world.
function M.of_world(world, namespace)
  local sum = 0
  for _, id in ipairs(KINDS) do
    local salt = word(id)
    for _, record in ipairs(world:each(id, namespace)) do sum = sum + mix(of_record(record) ~ salt) end
  end
  for _, record in ipairs(world:each(KINDS[1], namespace)) do sum = sum + mix(since(record, world:now()) + MIX) end
  local pods_sum, by_key = pods(world, namespace)
  return mix(sum + pods_sum + agenda(world, by_key) + cells(world)) ~ of_kept(world.cell.scene)
end

-- The hash of what the scene has used up: two states of which one allows more are told apart by it.
function M.of_used(world)
  return digest_of(world.cell.scene.used, MASK)
end

-- ---------------------------------------------------------------- the operator

local function of_queue(items, now)
  local sum = 0
  for _, item in ipairs(items) do
    local hash = word(item.key) + (item.queued and 1 or 0) + (item.background and 2 or 0) + math.min(item.failures, 3) * 8
    if item.due_ms and item.due_ms - now < 100000000 then hash = hash + (1 + soon(item.due_ms - now)) * 64 end
    sum = sum + mix(hash)
  end
  return sum
end

-- What a view that lags behind shows.
local function of_lagging(view, now_version)
  if view.at >= now_version then return 0 end
  local sum = word(view.name)
  for _, key in ipairs(view.cache:keys()) do sum = sum + mix(digest_of(view.cache:read(key), POD_MASK)) end
  return mix(sum)
end

-- The hash of what the operator knows beside what it sees in the world. lags(view): whether it may be behind.
function M.of_operator(operator, lags)
  local it, sum = operator.controller, 0
  sum = sum + of_queue(it.queue:save(), math.tointeger(math.floor(operator.virtual:now() * 1000 + 0.5)))
  for key, problems in pairs(it.problems) do sum = sum + mix(word(key) ~ digest_of(problems, MASK)) end
  for key in pairs(it.last_error) do sum = sum + mix(word(key) + 77) end
  for key, notes in pairs(it.remembered) do
    local known = (notes.conflicts or 0) > 0 and 1 or 0
    if notes.told_at then known = known + 2 end
    if notes.untold and #notes.untold > 0 then known = known + 4 end
    known = known + 8 * (notes.current or 0)
    if known > 0 then sum = sum + mix(word(key) + known * 5) end
    for _, revision in ipairs(it.objects:of(key):revisions(key)) do sum = sum + mix(word(key) + revision.generation * 1001) end
  end
  for _, view in ipairs(operator.views) do
    if view.id and not view.is_listed then sum = sum + mix(word(view.name) + 13) end
    if lags and view.id and lags(view) then sum = sum + of_lagging(view, operator.world.version) end
  end
  return sum
end

return M
