-- What the sandbox wants to reach: start, creates and gets a second, the life of one PhDeployment on virtual time, and how many states
-- the checker goes through, which stands on it.
--
-- The client (load.c) has a processor of its own, if the machine has two.

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local figure = include "spec/bench/figure.lua"

local BINARY = process.env("MOONPHASE") or "build/moonphase"
local LOAD = "build/release/spec/bench/load"
local ROUNDS = 3

local folder = assert(fs.temporary())

local function run(argv)
  local result = assert(process.run { argv = argv, timeout = 120 })
  assert(result.status == 0, table.concat(argv, " ") .. ": " .. result.errors)
  return result.output
end

-- From nothing to a command that has a cluster, and to the end of both: the best of some, in milliseconds.
local function start()
  local best = math.huge
  for _ = 1, 7 do
    local started = loop.now()
    run { BINARY, "sandbox", "--", "true" }
    best = math.min(best, (loop.now() - started) * 1000)
  end
  figure.at_most("sandbox_start_and_end", best, "ms", 50)
end

local function open_sandbox()
  local child = assert(process.spawn { argv = { BINARY, "sandbox", "--namespace", "hub", "--kubeconfig", folder .. "/kubeconfig" }, inherit = false })
  api_words.eventually("the sandbox has started", 10, function() return fs.kind(folder .. "/kubeconfig") == "file", select(2, child:output()) end)
  local text = assert(fs.read(folder .. "/kubeconfig"))
  return child, assert(text:match("http://([%d.:]+)"))
end

-- The samples' Deployment, with a number in its name.
local function write_deployment()
  local result = run { BINARY, "render", "-o", "json", "-f", "crds/samples/phdeployment.yaml", "-f", "crds/samples/phgroup.yaml",
    "-f", "crds/samples/instancetypes.yaml" }
  for line in result:gmatch("[^\n]+") do
    local object = json.decode(line)
    if object.kind == "Deployment" then
      object.metadata.name, object.metadata.ownerReferences = "deploy-@NUMBER@@", nil
      object.spec.replicas, object.spec.paused = 0, true -- the creates are measured, not what controllers make of them
      object.status = nil
      assert(fs.write(folder .. "/deployment.json", json.encode(object)))
      return
    end
  end
  error("render showed no Deployment")
end

-- Requests a second: the best of some rounds, each in a sandbox of its own.
local function rate(prepare, measure)
  local best = 0
  for _ = 1, ROUNDS do
    fs.remove(folder .. "/kubeconfig")
    local child, address = open_sandbox()
    prepare(address)
    local result = json.decode(measure(address))
    assert(result.good == result.count, ("%d of %d requests were refused"):format(result.count - result.good, result.count))
    best = math.max(best, result.count / result.seconds)
    child:signal("TERM")
    child:wait(5)
  end
  return best
end

local PATH = "/apis/apps/v1/namespaces/hub/deployments"

local function creates(address)
  return run { LOAD, address, "POST", PATH, "6000", "8", folder .. "/deployment.json" }
end

local function requests()
  local made = rate(function() end, creates)
  figure.at_least("sandbox_creates", made, "/s", 3000)
  local got = rate(function(address)
    run { LOAD, address, "POST", PATH, "100", "4", folder .. "/deployment.json" }
  end, function(address) return run { LOAD, address, "GET", PATH .. "/deploy-000000042", "60000", "16" } end)
  figure.at_least("sandbox_gets", got, "/s", 20000)
end

local function life()
  local text = assert(process.run { argv = { BINARY, "repl", "spec/sandbox/lifecycle_time.lua" }, timeout = 120 }).output
  local milliseconds = assert(tonumber(text:match("virtual time: ([%d.]+) ms")), text)
  figure.at_most("sandbox_virtual_life", milliseconds, "ms", 5, { text:match "of it: ([^\n]+)" })
end

-- States of the small world that moonphase check goes through, on one processor.
local function states()
  local text = run { BINARY, "check", "--only", "load,states", "--seconds", "10" }
  local a_minute = assert(tonumber(text:match "(%d+) states a minute"), text)
  figure.at_least("check_states_a_minute", a_minute, "", 100000)
end

write_deployment()
start()
requests()
life()
states()
for _, name in ipairs(fs.list(folder)) do fs.remove(folder .. "/" .. name) end
fs.remove(folder)
