-- The controllers of the sandbox beside the real ones: random deployments and what is done to them, on both, and after each step
-- the same counts, conditions, annotations, revisions, words of the scheduler and Events.
--
--   spec/cluster/kube -- build/moonphase repl spec/sandbox/controllers/run.lua [option=value ...]
--     count=40   scenarios     seed=1   the first one's     at_once=10   side by side     only=SEED
--
-- Both run on the wall's clock. A step is over when each side has been at rest for a moment and both are the same; when
-- nothing has moved for PATIENCE seconds and they are not, they differ. A scenario that differs is played up to ATTEMPTS times. Ends with "N passed, N failed".

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local backoff = include "spec/sandbox/controllers/backoff.lua"
local kubelet_words = include "spec/cluster/kubelet.lua"
local random = include "spec/sandbox/differential/random.lua"
local scenario = include "spec/sandbox/controllers/scenario.lua"
local summary = include "spec/sandbox/controllers/summary.lua"
local templates = include "spec/sandbox/controllers/templates.lua"

local PATIENCE, PATIENCE_MOST = 12, 90
local ATTEMPTS = 3

local o = { count = tonumber(process.env("CONTROLLERS")) or 40, seed = tonumber(process.env("SEED")) or 1, at_once = 10 }
for _, word in ipairs(args) do
  local name, value = word:match("^([%w_]+)=(%d+)$")
  if not name then error("run.lua does not know " .. word .. ": its options are NAME=NUMBER") end
  o[name] = tonumber(value)
end
if o.only then o.seed, o.count = o.only, 1 end

local function write(text)
  io.write(text, "\n")
  io.flush()
end

-- ------------------------------------------------------------------ the two clusters

local MERGE = "application/merge-patch+json"

local function start_real()
  local cluster = assert(kube.open {})
  local nodes = {}
  for name, node in pairs(templates.NODES) do nodes[name] = node.has end
  local kubelet = kubelet_words.start(cluster, { nodes = nodes })
  templates.each_image(function(image, behaviour) kubelet.images[image] = behaviour end)
  local api = api_words.new(cluster)
  for name, node in pairs(templates.NODES) do
    if node.spec then api:ask { method = "PATCH", path = "/api/v1/nodes/" .. name, content_type = MERGE, body = { spec = node.spec } } end
  end
  function api.behave(image, behaviour) kubelet:image(image, behaviour) end
  return api
end

local function world()
  local out = { nodes = json.array {}, images = {}, timings = { pull = 0, check = 0, start = 0, stop = 0, init = 0 } }
  for name, node in pairs(templates.NODES) do
    local one = { name = name, capacity = {}, labels = node.has.labels }
    for resource, amount in pairs(node.has) do
      if resource ~= "labels" then one.capacity[resource] = amount end
    end
    for field, value in pairs(node.spec or {}) do one[field] = value end
    out.nodes[#out.nodes + 1] = one
  end
  templates.each_image(function(image, behaviour) out.images[image] = behaviour end)
  return out
end

local function start_sandbox()
  local folder = process.env("MOONPHASE_CLUSTER_DIR")
  assert(fs.write(folder .. "/world.yaml", json.encode(world())))
  local argv = { process.env("MOONPHASE") or "build/moonphase", "sandbox", "--world", folder .. "/world.yaml",
    "--kubeconfig", folder .. "/kubeconfig-sandbox", "--seed", tostring(o.seed) }
  local child = assert(process.spawn { argv = argv })
  api_words.eventually("the sandbox has started", 10, function() return fs.kind(folder .. "/kubeconfig-sandbox") == "file", select(2, child:output()) end)
  local api = api_words.new(assert(kube.open { kubeconfig = folder .. "/kubeconfig-sandbox" }))
  function api.behave(image, behaviour) api:ask { method = "PUT", path = "/sandbox/images", body = { [image] = behaviour } } end
  return api, child
end

-- ------------------------------------------------------------------ rest, and difference

local function difference(a, b, path)
  if type(a) ~= "table" or type(b) ~= "table" then
    return a ~= b and ("%s: sandbox %s, real %s"):format(path, tostring(a), tostring(b)) or nil
  end
  local keys, sorted = {}, {}
  for k in pairs(a) do keys[k] = true end
  for k in pairs(b) do keys[k] = true end
  for k in pairs(keys) do sorted[#sorted + 1] = k end
  table.sort(sorted)
  local found = {}
  for _, k in ipairs(sorted) do found[#found + 1] = difference(a[k], b[k], path == "" and k or path .. " / " .. k) end
  return #found > 0 and table.concat(found, "\n       ") or nil
end

-- Whether pods serve that have not yet done so for minReadySeconds: a moment later more happens by itself.
local function is_waiting(one)
  for _, set in pairs(one.sets) do
    if (set.status.readyReplicas or 0) > (set.status.availableReplicas or 0) then return true end
  end
  return false
end

-- (waits) nil, or how they differ when nothing has moved for PATIENCE seconds. Both must have said the same twice.
local function rest(backends, namespace, memories)
  local began = loop.now()
  local moved, last_a, last_b = began, nil, nil
  local found
  repeat
    loop.sleep(0.3)
    local a, in_a = summary.of(backends[1], namespace, memories[1])
    local b, in_b = summary.of(backends[2], namespace, memories[2])
    if in_a or in_b then
      summary.without_steps(a)
      summary.without_steps(b)
    end
    found = difference(a, b, "")
    local text_a, text_b = json.encode(a), json.encode(b)
    if text_a ~= last_a or text_b ~= last_b then
      moved = loop.now() -- (on a busy machine the real one is slow, not wrong)
    elseif not found and not is_waiting(a) then
      return nil
    end
    last_a, last_b = text_a, text_b
  until loop.now() > moved + PATIENCE or loop.now() > began + PATIENCE_MOST
  return found or "no rest"
end

-- attempt: 1 .. ATTEMPTS. -> the steps; and if they differ: at which step, how
local function play(backends, seed, attempt)
  local namespace = ("c%d%s"):format(seed, attempt > 1 and "-" .. attempt or "")
  local list, memories = scenario.make(random.new(seed), seed), { {}, {} }
  for _, api in ipairs(backends) do api:create { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } } end
  local last = 0
  for i, step in ipairs(list) do
    -- of two replica sets made within a second, which is the older one is decided by their names
    loop.sleep(math.max(0, last + 1.05 - loop.now()))
    last = loop.now()
    for _, api in ipairs(backends) do
      local ok, why = pcall(step.run, api, namespace)
      if not ok then return list, i, tostring(why) end
    end
    local found = rest(backends, namespace, memories)
    if found then return list, i, found end
  end
  for _, api in ipairs(backends) do api:delete("Namespace", nil, namespace) end
  return list
end

-- What is wrong differs each time; what is a matter of moments (which of two replica sets tells its status first decides, in Kubernetes
-- 1.20, whether a rollout without room to spare is noticed as one) does not.
local function play_again(backends, seed)
  local list, at, found
  for attempt = 1, ATTEMPTS do
    list, at, found = play(backends, seed, attempt)
    if not found then return list, nil, nil, attempt end
  end
  return list, at, found, ATTEMPTS
end

local function tell(seed, list, at, found)
  write(("FAIL seed %d: step %d of %d"):format(seed, at, #list))
  for i = 1, at do write(("  %d. %s"):format(i, list[i].words)) end
  write("       " .. found)
end

-- ------------------------------------------------------------------ all of them

local function main()
  local sandbox, child = start_sandbox()
  local backends = { sandbox, start_real() }
  local next_seed, passed, failed, steps, again = o.seed, 0, 0, 0, 0
  local started, tasks = loop.now(), {}
  write(("scenarios for the controllers: %d from seed %d"):format(o.count, o.seed))
  for t = 1, math.min(o.at_once, templates.SLOTS // 2) do
    tasks[t] = loop.spawn(function()
      while next_seed < o.seed + o.count do
        local seed = next_seed
        next_seed = seed + 1
        local list, at, found, attempts = play_again(backends, seed)
        steps = steps + (at or #list)
        if not found and attempts > 1 then again = again + 1 end
        if found then
          failed = failed + 1
          tell(seed, list, at, found)
        else
          passed = passed + 1
        end
      end
    end)
  end
  for _, task in ipairs(tasks) do
    local ok, why = task:join()
    if not ok then error(why, 0) end
  end
  write(("%d scenarios, %d steps in %.1f s; %d were the same only when they were played again"):format(passed + failed, steps,
    loop.now() - started, again))
  if not o.only then
    local found = backoff.compare(backends, "backoff", write)
    if found then write("FAIL " .. found) end
    passed, failed = passed + (found and 0 or 1), failed + (found and 1 or 0)
  end
  child:signal("TERM")
  child:wait(5)
  write(("%d passed, %d failed"):format(passed, failed))
  loop.exit(failed == 0 and 0 or 1)
end

main()
