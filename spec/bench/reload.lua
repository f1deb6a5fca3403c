-- Edits of the policies while an operator runs: how long from the save to the verdict, how long a swap and a plan take, and what RELOADS
-- saves one after the other do to what goes on beside them: models, the quota webhook, the lease, memory, the loop.
--
-- build/moonphase sandbox --world spec/bench/reload.yaml -- build/moonphase repl spec/bench/reload.lua [RELOADS] [MODELS]
--
-- The save counts from the write of the file: seeing it is part of it. Each of
-- the many saves is a whole candidate: load, lint, the specs of the folder, every object on paper, swap. Most of them go back and forth
-- between two texts, which lint and specs need not see twice; each fiftieth changes a message, so that every status is
-- written. Meanwhile users edit specs, reviews are asked, and the lease is watched. 10,000 of them take 17 minutes. What memory
-- grows is counted from the 400th of 1,000 on: before, allocators and collectors are still finding their size.

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local figure = include "spec/bench/figure.lua"
local plan = include "spec/bench/plan.lua"
local proc = include "spec/bench/proc.lua"

local RELOADS, MODELS = tonumber(args[1]) or 1000, tonumber(args[2]) or 1000
local BINARY = process.env("MOONPHASE") or "build/moonphase"
local SAVES = 15              -- for the time to the verdict
local UNDER_LOAD = 40         -- models that are edited beside the many reloads
local EDIT_SECONDS = 0.05
local HISTORY = 32            -- records that an object keeps
local EACH_MESSAGE = 50
local REVIEWS_A_SECOND, REVIEW_SECONDS = 50, 5
local PORT = 20000 + process.id % 20000

local folder = assert(fs.temporary())
local api = api_words.new(assert(kube.open {}))

-- ------------------------------------------------------------------ folders of policies

-- The built-in policies in a folder; keep(name): whether a file is wanted.
local function policies_in(name, keep)
  local dir = folder .. "/" .. name
  assert(fs.make_folder(dir))
  assert(fs.make_folder(dir .. "/children"))
  for _, asset in ipairs(moonphase.assets "policies/") do
    local file = asset:sub(#"policies/" + 1)
    if not keep or keep(file) then assert(fs.write(dir .. "/" .. file, moonphase.read_asset(asset))) end
  end
  return dir, assert(fs.read(dir .. "/phases.lua"))
end

-- ------------------------------------------------------------------ an operator

local Operator = {}
Operator.__index = Operator

local function start(name, words)
  local self = setmetatable({ socket = folder .. "/" .. name .. ".sock", log = folder .. "/" .. name .. ".log", read = 0 }, Operator)
  api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = name } }
  self.process = assert(process.spawn { argv = { "sh", "-c", 'exec "$@" 2>"$0"', self.log, BINARY, "run", "--namespace", name,
    "--http-addr", "", "--settings", folder .. "/settings.yaml", "--control-socket", self.socket, table.unpack(words) } })
  api_words.eventually("the operator is ready", 60, function()
    local answer = self:page "/readyz"
    return answer and answer.status == 200
  end)
  return self
end

function Operator:page(path)
  return http.request { url = "http://localhost" .. path, unix = self.socket, timeout = 10 }
end

function Operator:metric(name)
  local text = assert(self:page "/metrics").body
  return tonumber(text:match("\n" .. name:gsub("%p", "%%%0") .. " (%S+)")) or 0
end

-- (waits) until the log tells one more verdict: whether it is a refusal. Only what is new of the log is looked at: it has a line for
-- each model, and to search all of it again and again would take a processor from the operator that is being timed.
function Operator:verdict()
  local deadline = loop.now() + 60
  while loop.now() < deadline do
    local text = fs.read(self.log) or ""
    local word, stop = text:match("policies (re%a+) ()", self.read + 1)
    self.read = stop and stop - 1 or math.max(self.read, #text - #"policies reloaded ")
    if word then return word == "refused" end
    loop.sleep(0.002)
  end
  error("no verdict within a minute: " .. (fs.read(self.log) or ""):sub(-500))
end

-- Where the time of the last verdict went, as the log says it.
function Operator:last_took()
  local last
  for took in (fs.read(self.log) or ""):gmatch 'policies reloaded [^\n]-took="([^"]+)"' do last = took end
  return last or "nothing that takes 5 ms"
end

-- (waits) until it decides by other policies than `before`: by which, and whether the save was refused.
function Operator:other_policies(before)
  local deadline = loop.now() + 60
  while loop.now() < deadline do
    local text = self:page("/readyz?verbose").body
    local digest = text:match "^policy (%x+)"
    if digest ~= before then return digest, false end
    if text:find("reload: refused", 1, true) then return digest, true end
    loop.sleep(0.003)
  end
  error("no verdict within a minute: " .. (fs.read(self.log) or ""):sub(-500))
end

-- Kilobytes that are its own.
function Operator:memory() return (proc.memory(self.process.id)) end

function Operator:cpu() return proc.cpu(self.process.id) end

function Operator:stop()
  self.process:signal "TERM"
  self.process:wait(30)
end

-- (waits) until it has nothing to do: a save is no edit of an operator that still does what the one before brought about.
function Operator:rest()
  local deadline, before = loop.now() + 60, self:cpu()
  repeat
    loop.sleep(0.5)
    local now = self:cpu()
    if now - before < 0.02 then return end
    before = now
  until loop.now() > deadline
  error("the operator is at work for a minute")
end

-- ------------------------------------------------------------------ models

local function name_of(i) return ("m%04d"):format(i) end

local function manifest(namespace, i)
  return { apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", metadata = { name = name_of(i), namespace = namespace },
    spec = { displayName = "Model " .. i, userId = "u", userName = "phadmin", groupId = "bench", groupName = "bench", stop = false,
      description = "", updateMessage = "", endpoint = { accessType = "public" }, replicas = 1,
      predictors = json.array { { name = "p", replicas = 1, modelImage = "registry.example/model:v1", instanceType = "bench" } } } }
end

local function deploy(namespace, count)
  for i = 1, count do api:create(manifest(namespace, i)) end
  api_words.eventually("all are Deployed", 600, function()
    local deployed = 0
    for _, object in ipairs(api:list("PhDeployment", namespace)) do
      if (object.status or {}).phase == "Deployed" then deployed = deployed + 1 end
    end
    loop.sleep(0.5)
    return deployed == count, deployed
  end)
end

-- ------------------------------------------------------------------ save to verdict

local function median(list)
  table.sort(list)
  return list[(#list + 1) // 2]
end

local function save_to_verdict()
  local dir, phases = policies_in("whole")
  local operator = start("verdicts", { "--policies", dir })
  deploy("verdicts", MODELS)
  operator:rest()
  operator:page "/turns/reset"
  local times, began = {}, operator:cpu()
  for i = 1, SAVES do
    operator:rest()
    local saved = loop.now()
    assert(fs.write(dir .. "/phases.lua", phases .. "-- edit " .. i .. "\n"))
    assert(not operator:verdict(), "a save was refused: " .. (fs.read(operator.log) or ""):sub(-800))
    times[i] = (loop.now() - saved) * 1000
  end
  operator:rest()
  local spent = (operator:cpu() - began) * 1000 / SAVES
  local turns = json.decode(operator:page("/stats").body).turns
  local swaps = operator:metric "moonphase_reload_swap_seconds_count"
  local swap = 1000 * operator:metric "moonphase_reload_swap_seconds_sum" / swaps
  io.write(("# %d models; %.0f ms of processor time a save, on all threads\n"):format(MODELS, spent))
  figure.at_most("reload_save_to_verdict", median(times), "ms", 300, { "of the last one " .. operator:last_took(), "some beside others" })
  figure.at_most("reload_swap", swap, "ms", 50)
  figure.show("reload_swaps_over_50ms", swaps - operator:metric 'moonphase_reload_swap_seconds_bucket{le="0.05"}', "", "0",
    swaps == operator:metric 'moonphase_reload_swap_seconds_bucket{le="0.05"}')
  figure.at_most("reload_longest_turn_processor", turns.longest_cpu_us / 1000, "ms", 10)
  plan.measure(BINARY, folder, { "--namespace", "verdicts", "--settings", folder .. "/settings.yaml" },
    function(name, seconds) figure.at_most("plan_in_sandbox_" .. name, seconds, "s", 2) end)
  operator:stop()
end

-- ------------------------------------------------------------------ many reloads under load

-- As many edits of each model as its history keeps: objects that are still growing would look like memory that reloads keep.
local function fill_histories(namespace)
  for n = 1, HISTORY do
    for i = 1, UNDER_LOAD do
      api:patch("PhDeployment", namespace, name_of(i), "merge", { spec = { displayName = "edit " .. n .. " of the beginning" } })
    end
  end
  api_words.eventually("every history is full", 120, function()
    for i = 1, UNDER_LOAD do
      local object = api:get("PhDeployment", namespace, name_of(i))
      if #object.status.history < HISTORY or object.status.observedGeneration ~= object.metadata.generation then return false, i end
    end
    return true
  end)
end

-- Edits specs, each time another model's: display names restart nothing, replicas change a child. What each should be in the end.
local function edit_specs(namespace, state)
  local n = 0
  while not state.over do
    n = n + 1
    local i = n % UNDER_LOAD + 1
    local wanted = { displayName = "edit " .. n, replicas = n % 3 == 0 and 2 or 1 }
    state.wanted[i] = wanted
    api:patch("PhDeployment", namespace, name_of(i), "merge", { spec = wanted })
    state.edits = n
    loop.sleep(EDIT_SECONDS)
  end
end

-- Looks at the lease: its holder, and how long it was not renewed.
local function watch_lease(state)
  local path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/moonphase"
  local renewed, at
  while not state.over do
    local spec = json.decode(api:ask({ path = path }).body).spec
    state.holders[spec.holderIdentity .. "/" .. tostring(spec.leaseTransitions)] = true
    if spec.renewTime ~= renewed then renewed, at = spec.renewTime, loop.now() end
    state.unrenewed = math.max(state.unrenewed, loop.now() - at)
    loop.sleep(0.25)
  end
end

local function review(group)
  return json.encode { apiVersion = "admission.k8s.io/v1", kind = "AdmissionReview", request = { uid = "@NUMBER@@", operation = "CREATE",
    namespace = "many", dryRun = true, kind = { group = "", version = "v1", kind = "Pod" }, resource = { group = "", version = "v1",
    resource = "pods" }, userInfo = { username = "system:serviceaccount:kube-system:replicaset-controller" },
    object = { apiVersion = "v1", kind = "Pod", metadata = { name = "p-@NUMBER@@", namespace = "many",
      labels = { ["primehub.io/group"] = "escaped-" .. group } }, spec = { containers = json.array { { name = "model", image = "x",
      resources = { limits = { cpu = "1" } } } } } } } }
end

-- Asks reviews as an API server does, until it is over: how many, how many were wrong, and the worst p99.
local function ask_reviews(caller, state)
  local secret = json.decode(api:ask({ path = "/api/v1/namespaces/default/secrets/moonphase-webhook" }).body)
  local function file(name, text)
    assert(fs.write(folder .. "/" .. name, text))
    return folder .. "/" .. name
  end
  local argv = { "build/release/spec/bench/reviews", tostring(PORT), file("bundle", base64.decode(secret.data["ca.crt"])),
    file("cert", caller.cert), file("key", caller.key), tostring(REVIEWS_A_SECOND), tostring(REVIEW_SECONDS), "4",
    "+" .. file("wide", review "wide"), "-" .. file("full", review "full") }
  while not state.over do
    local result = assert(process.run { argv = argv, timeout = 120 })
    assert(result.status == 0, result.errors)
    local found = json.decode(result.output)
    state.reviews, state.wrong, state.p99 = state.reviews + found.total, state.wrong + found.failed, math.max(state.p99, found.p99)
    state.p99s[#state.p99s + 1] = found.p99
  end
end

local function start_under_load(dir)
  local now = loop.wall_ms() // 1000
  local caller = assert(certificate.make { subject = "api server", names = { "api" }, not_before = now - 60, not_after = now + 86400 })
  local operator = start("many", { "--policies", dir, "--leader-elect", "--webhook-addr", "127.0.0.1:" .. PORT })
  deploy("many", UNDER_LOAD)
  fill_histories("many")
  return operator, caller
end

-- What of the objects is not as it was asked for in the end, or was recorded twice or not at all.
local function wrong_objects(namespace, state, message)
  local dropped, twice = 0, 0
  for i = 1, UNDER_LOAD do
    local object = api:get("PhDeployment", namespace, name_of(i))
    local child, status = api:get("Deployment", namespace, "deploy-" .. name_of(i)), object.status
    local wanted = state.wanted[i] or { replicas = 1 }
    local is_right = status.observedGeneration == object.metadata.generation and child.spec.replicas == wanted.replicas
      and status.history[1].generation == object.metadata.generation and status.message == message
    if not is_right then dropped = dropped + 1 end
    for n = 2, #status.history do
      local newer, older = status.history[n - 1].generation, status.history[n].generation
      if newer == older then twice = twice + 1 end
      if newer > older + 1 then dropped = dropped + 1 end
    end
  end
  return dropped, twice
end

local function count(map)
  local n = 0
  for _ in pairs(map) do n = n + 1 end
  return n
end

local MESSAGE = "Deployment is deployed and available now"

local function many_reloads()
  -- the table cases alone: all specs would be most of the time
  local dir, phases = policies_in("table", function(file) return not file:match "_spec%.lua$" end)
  for _, name in ipairs(fs.list(dir)) do
    local text = name:match "_cases%.yaml$" and assert(fs.read(dir .. "/" .. name))
    -- the message that is edited here
    if text then assert(fs.write(dir .. "/" .. name, (text:gsub("\n *message: " .. MESSAGE .. "\n", "\n")))) end
  end
  local operator, caller = start_under_load(dir)
  local state = { wanted = {}, edits = 0, holders = {}, unrenewed = 0, reviews = 0, wrong = 0, p99 = 0, p99s = {} }
  local tasks = { loop.spawn(edit_specs, "many", state), loop.spawn(watch_lease, state),
    loop.spawn(ask_reviews, caller, state) }
  local warm, refused, message, memory = math.min(RELOADS, math.max(100, RELOADS * 2 // 5)), 0, MESSAGE, nil
  local began, cpu, digest = loop.now(), operator:cpu(), operator:page("/readyz?verbose").body:match "^policy (%x+)"
  local is_refused
  for i = 1, RELOADS do
    if i == warm then memory = operator:memory() end
    if i % EACH_MESSAGE == 0 then message = "It serves: " .. i end
    local text = phases:gsub(MESSAGE:gsub("%p", "%%%0"), message)
    assert(fs.write(dir .. "/phases.lua", text .. "-- edit " .. i % 2 .. "\n"))
    digest, is_refused = operator:other_policies(digest)
    refused = refused + (is_refused and 1 or 0)
    if i == 1 then operator:page "/turns/reset" end
  end
  local seconds, spent = loop.now() - began, operator:cpu() - cpu
  local turns = json.decode(operator:page("/stats").body).turns
  state.over = true
  for _, task in ipairs(tasks) do assert(task:join()) end
  api_words.eventually("every object is as it should be", 60, function() return (wrong_objects("many", state, message)) == 0 end)
  local dropped, twice = wrong_objects("many", state, message)
  io.write(("# %d reloads in %.0f s, %.0f ms of processor time each; %d edits of specs, %d reviews, longest turn %.1f ms on the wall\n")
    :format(RELOADS, seconds, spent * 1000 / RELOADS, state.edits, state.reviews, turns.longest_us / 1000))
  figure.at_most("reloads_refused", refused, "", 0)
  figure.at_most("reloads_keys_dropped", dropped, "", 0)
  figure.at_most("reloads_keys_done_twice", twice, "", 0)
  figure.at_most("reloads_errors_of_reconciles", operator:metric 'controller_runtime_reconcile_errors_total{controller="phdeployment"}', "", 0)
  figure.at_most("reloads_memory_grown", (operator:memory() - memory) / 1024, "MB", 0.5)
  figure.at_most("reloads_longest_turn_processor", turns.longest_cpu_us / 1000, "ms", 10)
  figure.at_most("reloads_reviews_failed", state.wrong, "", 0)
  figure.at_most("reloads_review_p99_median", median(state.p99s), "ms", 10)
  figure.at_most("reloads_lease_holders", count(state.holders), "", 1)
  figure.at_most("reloads_lease_unrenewed", state.unrenewed, "s", 5)
  operator:stop()
end

-- ------------------------------------------------------------------

api:install_crds()
for _, group in ipairs { { "bench", "100000" }, { "wide", "1000000" }, { "full", "0" } } do
  api:create { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = group[1], namespace = "default" },
    spec = { enabledDeployment = true, quota = { cpu = group[2] } } }
end
api:create { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "bench", namespace = "default" },
  spec = { ["limits.cpu"] = 1, ["limits.memory"] = "1Gi" } }
assert(fs.write(folder .. "/settings.yaml", 'catalogNamespace: default\nreload: {check: "0"}\nprobes: {initialDelaySeconds: 0, periodSeconds: 1}\n'))
if MODELS > 0 then save_to_verdict() end
if RELOADS > 0 then many_reloads() end
process.run { argv = { "rm", "-rf", folder } }
