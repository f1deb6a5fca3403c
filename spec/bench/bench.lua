-- The figures that moonphase wants to reach, measured on a real API server: memory, a storm of 1,000 objects against a
-- replay of its own requests, the way from a change to the write that follows, and rest.
--
-- Wall times are noisy, so the storm is judged by ratios against a replay of the same requests in the same minute.

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local figure = include "spec/bench/figure.lua"
local kubelet_words = include "spec/cluster/kubelet.lua"
local plan = include "spec/bench/plan.lua"
local proc = include "spec/bench/proc.lua"

local COUNT = tonumber(args[1]) or 1000
local BINARY = process.env("MOONPHASE") or "build/moonphase"
local FOLDER = process.env("MOONPHASE_CLUSTER_DIR")
local GROUP = "bench-group"

local cluster = assert(kube.open {})
local api = api_words.new(cluster)

-- ------------------------------------------------------------------ an operator under measurement

local Operator = {}
Operator.__index = Operator

local function start_operator(namespace, words)
  local settings = FOLDER .. "/bench-settings.yaml"
  assert(fs.write(settings, "catalogNamespace: default\n"))
  local self = setmetatable({ socket = FOLDER .. "/" .. namespace .. ".sock", namespace = namespace }, Operator)
  local argv = { BINARY, "run", "--namespace", namespace, "--settings", settings, "--control-socket", self.socket,
    "--log-level", "error" }
  for _, word in ipairs(words or {}) do argv[#argv + 1] = word end
  self.process = assert(process.spawn { argv = argv, inherit = true })
  return self
end

function Operator:ready()
  return api_words.eventually("the operator is ready", 60, function()
    local answer = http.request { url = "http://localhost/readyz", unix = self.socket, timeout = 5 }
    return answer and answer.status == 200
  end)
end

function Operator:stats(path)
  return json.decode(assert(http.request { url = "http://localhost" .. (path or "/stats"), unix = self.socket, timeout = 10 }).body)
end

-- (waits) Until it answers for the first time: its longest turn by then.
function Operator:note_start()
  local text
  while not text do
    local answer = http.request { url = "http://localhost/stats", unix = self.socket, timeout = 10 }
    text = answer and answer.body
    if not text then loop.sleep(0.01) end
  end
  self.start_ms = json.decode(text).turns.longest_cpu_us / 1000
end

function Operator:metrics()
  return assert(http.request { url = "http://localhost/metrics", unix = self.socket, timeout = 10 }).body
end

-- Private and resident megabytes.
function Operator:memory()
  local private, resident = proc.memory(self.process.id)
  return private / 1024, resident / 1024
end

-- Where the private ones are.
function Operator:memory_parts()
  local mapped, stats, part = proc.mapped(self.process.id), self:stats(), figure.part
  local lua, policies = stats.memory.lua / 1048576, stats.policy.memory / 1048576
  return { part(lua, "MB", "Lua of the host"), part(policies, "MB", "policies"),
    part(mapped.heap / 1024 - lua - policies, "MB", "HTTP, TLS, caches and holes of the heap"),
    part(mapped.libraries / 1024, "MB", ("data of %d libraries (%s alone %.2f)"):format(mapped.count, mapped.largest, mapped.most / 1024)),
    part(mapped.other / 1024, "MB", "stacks and our own data") }
end

function Operator:cpu() return proc.cpu(self.process.id) end

function Operator:stop()
  self.process:signal("TERM")
  self.process:wait(30)
end

-- ------------------------------------------------------------------ objects

local function manifest(namespace, i)
  return {
    apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", metadata = { name = ("model-%04d"):format(i), namespace = namespace },
    spec = { displayName = "Model " .. i, userId = "5f5a3b8b-6d0e-4f3c-9f7d-0c7b0a8a1d11", userName = "phadmin",
      groupId = GROUP, groupName = GROUP, stop = false, description = "a model", updateMessage = "", endpoint = { accessType = "public" },
      predictors = json.array { { name = "predictor1", replicas = 1, modelImage = "registry.example/model:v" .. i,
        instanceType = "bench", metadata = { LEARNING_RATE = "0.1", MINI_BATCH = "32", ACCURACY = "0.9" } } } },
  }
end

-- (waits) work(i) for 1..n, 16 at a time.
local function in_parallel(n, body)
  local next_one, tasks = 0, {}
  for t = 1, 16 do
    tasks[t] = loop.spawn(function()
      while next_one < n do
        next_one = next_one + 1
        body(next_one)
      end
    end)
  end
  for _, task in ipairs(tasks) do assert(task:join()) end
end

local function fill(namespace)
  api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } }
  in_parallel(COUNT, function(i) api:create(manifest(namespace, i)) end)
end

local function count(kind, namespace)
  local list = json.decode(api:ask({ path = api_words.path(kind, namespace), query = { limit = "1" } }).body)
  return #list.items + (list.metadata.remainingItemCount or 0)
end

local function watch_phases(namespace)
  return cluster:watch { path = api_words.path("PhDeployment", namespace), api_version = "primehub.io/v1alpha1", kind = "PhDeployment",
    name = "bench", keep = { "metadata.name", "metadata.namespace", "metadata.resourceVersion", "metadata.uid", "status.phase" },
    indexes = { phase = { "status.phase" } } }
end

local function has_phase(watch)
  local n = 0
  for _, phase in ipairs { "Deploying", "Deployed", "Failed" } do n = n + #watch:find("phase", phase) end
  return n
end

local function everything_is_there(namespace, watch)
  -- looking must cost nothing that the replay does not pay: the watch tells, and the server is asked once at the end
  while has_phase(watch) < COUNT do loop.sleep(0.25) end
  for _, kind in ipairs { "Deployment", "Service", "Ingress" } do
    assert(count(kind, namespace) == COUNT, kind .. "s are missing after the storm")
  end
end

-- ------------------------------------------------------------------ the figures

local function idle_memory()
  api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = "bench-idle" } }
  local operator = start_operator("bench-idle")
  operator:ready()
  loop.sleep(3)
  local private, resident = operator:memory()
  figure.at_most("memory_idle_private", private, "MB", 3, operator:memory_parts())
  figure.at_most("memory_idle_resident", resident, "MB", 15)
  operator:stop()
end

-- Wall and processor seconds of a storm in a fresh namespace.
local function storm(namespace, words)
  fill(namespace)
  local watch = watch_phases(namespace)
  watch:wait_synced(30)
  loop.sleep(2)
  local started = loop.now()
  local operator = start_operator(namespace, words)
  operator:note_start()
  everything_is_there(namespace, watch)
  local wall, cpu = loop.now() - started, operator:cpu()
  watch:stop()
  return wall, cpu, operator
end

local function uids(namespace)
  local map = {}
  for _, item in ipairs(api:list("PhDeployment", namespace)) do map[item.metadata.uid] = item.metadata.name end
  return map
end

-- `text` with every `from` as `to`, both taken literally (a namespace has dashes, which are magic in a pattern).
local function replaced(text, from, to)
  return (text:gsub(from:gsub("%p", "%%%0"), (to:gsub("%%", "%%%%"))))
end

-- The recorded requests, as they would be for the objects of another namespace.
local function retarget(record, from, to, path)
  local new = {}
  for uid, name in pairs(uids(to)) do new[name] = uid end
  local old, lines, flying, most = uids(from), {}, 0, 0
  for line in assert(fs.read(record)):gmatch("[^\n]+") do
    local request = json.decode(line)
    if request.done then
      flying = flying - 1
    else
      flying = flying + 1
      most = math.max(most, flying)
      request.path = replaced(request.path, "/namespaces/" .. from .. "/", "/namespaces/" .. to .. "/")
      if request.body then
        local body = request.body:gsub("%x+%-%x+%-%x+%-%x+%-%x+", function(uid) return old[uid] and new[old[uid]] end)
        body = json.decode(replaced(body, '"namespace":"' .. from .. '"', '"namespace":"' .. to .. '"'))
        local meta = body.metadata or {} -- the count of an Event is patched without
        meta.resourceVersion = nil -- of another object's history
        if not old[meta.uid] and request.path:find("/status", 1, true) == nil then meta.uid = nil end
        request.body = json.encode(body)
      end
      lines[#lines + 1] = json.encode(request)
    end
  end
  assert(fs.write(path, table.concat(lines, "\n") .. "\n"))
  return most, #lines
end

-- Wall and processor seconds of the same requests in namespace `to`, sent with nothing else to do.
local function replay(record, from, to)
  fill(to)
  loop.sleep(2)
  local path = FOLDER .. "/replay.jsonl"
  local most, requests = retarget(record, from, to, path)
  local result = assert(process.run { argv = { "build/release/spec/bench/replay", path, tostring(most) }, timeout = 300 })
  local figures = assert(json.decode(result.output), result.errors)
  io.write(("# the replay is %d requests, at most %d in flight; %d were refused\n"):format(requests, most, figures.refused))
  return figures.wall, figures.cpu
end

-- A Lease that somebody else holds for an hour.
local function hold_lease(namespace)
  local now = os.date("!%Y-%m-%dT%H:%M:%S.000000Z", loop.wall_ms() // 1000)
  api:apply { apiVersion = "coordination.k8s.io/v1", kind = "Lease", metadata = { name = "bench", namespace = namespace },
    spec = { holderIdentity = "bench", leaseDurationSeconds = 3600, acquireTime = now, renewTime = now, leaseTransitions = 0 } }
end

-- The same once more beside somebody who only watches: a standby, whose caches are warm and who decides nothing. An API server serves
-- its watchers from the processors that serve its writers, so this tells what the watches alone cost: the wall seconds, and the standby's
-- of processor.
local function watched_replay(record, from)
  local namespace = "storm-watched"
  api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } }
  hold_lease(namespace)
  local standby = start_operator(namespace, { "--leader-elect", "--lease", namespace .. "/bench" })
  standby:ready()
  local began = standby:cpu()
  local wall = replay(record, from, namespace)
  local cpu = standby:cpu() - began
  standby:stop()
  return wall, cpu
end

local function storms()
  local record = FOLDER .. "/record.jsonl"
  local _, _, recorder = storm("storm-record", { "--record", record })
  recorder:stop()
  local replay_wall, replay_cpu = replay(record, "storm-record", "storm-replay")
  local wall, cpu, operator = storm("storm-run")
  io.write(("# storm: %.2f s, %.2f s of processor; replay: %.2f s, %.2f s\n"):format(wall, cpu, replay_wall, replay_cpu))
  local decisions = operator:stats().policy.seconds
  local watched, watching = watched_replay(record, "storm-record")
  io.write(("# the same requests beside a client that only watches: %.2f s; against that the storm is %.2f times\n"):format(watched, wall / watched))
  local parts = { figure.part(replay_cpu, "s", "the requests as the replay makes them"), figure.part(watching, "s", "what is watched as a standby has it"),
    figure.part(decisions, "s", "decisions"), figure.part(cpu - replay_cpu - watching - decisions, "s", "the rest: what is compared, put together and noted") }
  figure.at_most("storm_time_against_replay", wall / replay_wall, "times", 1.25)
  figure.at_most("storm_processor_against_replay", cpu / replay_cpu, "times", 2, parts)
  local stats = operator:stats()
  io.write(("# per object: %.1f requests, %.1f decisions of about %d instructions\n"):format((stats.requests.reads + stats.requests.writes) / COUNT,
    stats.policy.calls / COUNT, stats.policy.instructions))
  return operator
end

local function loaded_memory(operator, nodes)
  local kubelet = kubelet_words.start(cluster, nodes)
  local watch = watch_phases("storm-run")
  watch:wait_synced(30)
  api_words.eventually("all are Deployed", 300, function()
    return #watch:find("phase", "Deployed") == COUNT, #watch:find("phase", "Deployed")
  end)
  loop.sleep(5)
  local private, resident = operator:memory()
  figure.at_most("memory_1000_private", private, "MB", 16, operator:memory_parts())
  figure.at_most("memory_1000_resident", resident, "MB", 28)
  watch:stop()
  return kubelet
end

-- The quantile of a Prometheus histogram without labels, as the upper bound of its bucket.
local function quantile(text, name, q)
  local total = tonumber(text:match(name .. "_count%S* (%S+)"))
  for bound, n in text:gmatch(name .. '_bucket{[^}]-le="([^"]+)"} (%S+)') do
    if tonumber(n) >= q * total then return tonumber(bound) or math.huge, total end
  end
  return math.huge, total
end

-- With a kubelet, which ends the pods that a smaller number of replicas takes away: without one they would pile up, a hundred of them
-- by the end, and each decision would be one about a model whose pods never go.
local function latency(nodes)
  local kubelet = kubelet_words.start(cluster, nodes)
  local namespace = "bench-latency"
  api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } }
  local operator = start_operator(namespace)
  operator:ready()
  api:create(manifest(namespace, 1))
  api_words.eventually("it is there", 30, function() return api:get("Deployment", namespace, "deploy-model-0001") end)
  loop.sleep(2)
  for i = 1, 120 do
    api:patch("PhDeployment", namespace, "model-0001", "merge", { spec = { replicas = i % 5 + 1 } })
    loop.sleep(0.25) -- the cluster is idle again
  end
  local text, policy = operator:metrics(), operator:stats().policy
  local p99, seen = quantile(text, "moonphase_change_to_write_seconds", 0.99)
  local mean = tonumber(text:match "moonphase_change_to_write_seconds_sum%S* (%S+)") / seen
  io.write(("# %d changes were measured\n"):format(seen))
  figure.at_most("change_to_write_p99", p99 * 1000, "ms", 5, { figure.part(mean * 1000, "ms", "in the mean"),
    figure.part(policy.seconds / policy.calls * 1000, "ms", "a decision") })
  operator:stop()
  kubelet:stop()
end

-- A turn is judged by the processor time that it took: on a machine whose processors are all busy with the control plane, what
-- the clock on the wall says of a turn is mostly about who else was run meanwhile. It stands beside.
local function longest_turn(name, operator)
  local turns = operator:stats().turns
  figure.at_most(name, turns.longest_cpu_us / 1000, "ms", 10, operator.start_ms and { figure.part(operator.start_ms, "ms", "its longest while it started") })
  io.write(("# by the wall: %.1f ms, %d of %d turns over 10 ms\n"):format(turns.longest_us / 1000, turns.over_10ms, turns.count))
end

local function rest()
  local operator = start_operator("storm-run", { "--resync-seconds", "5" })
  operator:ready()
  loop.sleep(10)
  local before = operator:stats().requests.writes
  http.request { url = "http://localhost/turns/reset", unix = operator.socket }
  loop.sleep(60)
  figure.at_most("rest_writes", operator:stats().requests.writes - before, "", 0)
  longest_turn("rest_longest_turn", operator)
  operator:stop()
end

local function plans()
  plan.measure(BINARY, FOLDER, { "--namespace", "storm-run", "--settings", FOLDER .. "/bench-settings.yaml" },
    function(name, seconds) figure.at_most("plan_" .. name, seconds, "s", 2) end)
end

api:install_crds()
api:apply { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = GROUP, namespace = "default" },
  spec = { id = GROUP, name = GROUP, enabledDeployment = true } }
api:apply { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "bench", namespace = "default" },
  spec = { ["limits.cpu"] = 0.5, ["limits.memory"] = "1G" } }
idle_memory()
-- From here on there is a node, for a while without a kubelet: pods are bound and wait. Without a node the scheduler would try all of
-- them again at every new Service, and each part of this bench would be slower than the one before.
local NODES = { nodes = { ["node-1"] = { cpu = "8000", memory = "16Ti", pods = "10000" } } }
latency(NODES)
local operator = storms()
longest_turn("storm_longest_turn", operator)
local kubelet = loaded_memory(operator, NODES)
longest_turn("pods_longest_turn", operator)
operator:stop()
rest()
plans()
kubelet:stop()
loop.exit(0)
