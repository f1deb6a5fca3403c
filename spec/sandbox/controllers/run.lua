-- The controllers of the sandbox beside the real ones: random deployments and what is done to them, on both, and after each step
-- the same counts, conditions, annotations, revisions, words of the scheduler and Events.
--
--   spec/cluster/kube -- build/moonphase repl spec/sandbox/controllers/run.lua [option=value ...]
--     count=40   scenarios     seed=1   the first one's     at_once=10   side by side     only=SEED
--
-- Both run on the wall's clock. A step is over when each side has been at rest for a moment and both are the same; when that
-- takes more than PATIENCE seconds they differ. Ends with "N passed, N failed".

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local kubelet_words = include "spec/cluster/kubelet.lua"
local random = include "spec/sandbox/differential/random.lua"
local scenario = include "spec/sandbox/controllers/scenario.lua"
local summary = include "spec/sandbox/controllers/summary.lua"

local PATIENCE = 12
local NODES = { ["node-1"] = { cpu = "64", memory = "256Gi", pods = "5000", labels = { disk = "ssd" } },
  ["node-2"] = { cpu = "64", memory = "256Gi", pods = "5000", labels = { disk = "hdd" } } }

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

local function start_real()
  local cluster = assert(kube.open {})
  local nodes = {}
  for name, node in pairs(NODES) do nodes[name] = node end
  local kubelet = kubelet_words.start(cluster, { nodes = nodes })
  scenario.each_image(function(image, behaviour) kubelet.images[image] = behaviour end)
  return api_words.new(cluster)
end

local function start_sandbox()
  local folder = process.env("MOONPHASE_CLUSTER_DIR")
  local world = { nodes = json.array {}, images = {}, timings = { pull = 0, check = 0, start = 0, stop = 0, init = 0 } }
  for name, node in pairs(NODES) do
    world.nodes[#world.nodes + 1] = { name = name, capacity = { cpu = node.cpu, memory = node.memory, pods = node.pods }, labels = node.labels }
  end
  scenario.each_image(function(image, behaviour) world.images[image] = behaviour end)
  assert(fs.write(folder .. "/world.yaml", json.encode(world)))
  local child = assert(process.spawn { argv = { process.env("MOONPHASE") or "build/moonphase", "sandbox", "--world", folder .. "/world.yaml",
    "--kubeconfig", folder .. "/kubeconfig-sandbox", "--seed", tostring(o.seed) } })
  api_words.eventually("the sandbox has started", 10, function() return fs.kind(folder .. "/kubeconfig-sandbox") == "file", select(2, child:output()) end)
  return api_words.new(assert(kube.open { kubeconfig = folder .. "/kubeconfig-sandbox" })), child
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

-- (waits) nil, or how they differ at last. Both must have said the same twice.
local function rest(backends, namespace, memories)
  local deadline, last = loop.now() + PATIENCE, nil
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
    local text = json.encode(a)
    if not found and last == text then return nil end
    last = text
  until loop.now() > deadline
  return found or "no rest"
end

local function play(backends, seed)
  local namespace, list, memories = "c" .. seed, scenario.make(random.new(seed)), { {}, {} }
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

local function tell(seed, list, at, found)
  write(("FAIL seed %d: step %d of %d"):format(seed, at, #list))
  for i = 1, at do write(("  %d. %s"):format(i, list[i].words)) end
  write("       " .. found)
end

-- ------------------------------------------------------------------ all of them

local function main()
  local sandbox, child = start_sandbox()
  local backends = { sandbox, start_real() }
  local next_seed, passed, failed, steps = o.seed, 0, 0, 0
  local started, tasks = loop.now(), {}
  write(("scenarios for the controllers: %d from seed %d"):format(o.count, o.seed))
  for t = 1, o.at_once do
    tasks[t] = loop.spawn(function()
      while next_seed < o.seed + o.count do
        local seed = next_seed
        next_seed = seed + 1
        local list, at, found = play(backends, seed)
        steps = steps + (at or #list)
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
  child:signal("TERM")
  child:wait(5)
  write(("%d scenarios, %d steps in %.1f s"):format(passed + failed, steps, loop.now() - started))
  write(("%d passed, %d failed"):format(passed, failed))
  loop.exit(failed == 0 and 0 or 1)
end

main()
