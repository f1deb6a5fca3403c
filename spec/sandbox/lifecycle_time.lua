-- How long the life of one PhDeployment takes on virtual time: create, Deployed, stop, Stopped, delete, children gone; the whole
-- operator and the whole cluster with two replicas, one process. Prints milliseconds of processor time (goal: 5), the median and the
-- best of the rounds, for the cluster as it is and for a lean one (stage.lua).
--   build/moonphase repl spec/sandbox/lifecycle_time.lua [LIVES-A-ROUND]
-- With the word "story" it prints what happened in one life, and a digest of it.

local include = require "include"
local life = include "spec/sandbox/life.lua"

local function round(s, lives, from)
  local started = os.clock()
  for i = 1, lives do life.whole(s, "m" .. from + i) end
  return (os.clock() - started) / lives * 1000
end

log.configure("error", "text")
if args[1] == "story" then
  local s <close> = life.new { seed = tonumber(args[2] or 1), record = true }
  life.whole(s, "m")
  io.write(s:story(), "\n", digest.sha256(s:story()), "\n")
  return 0
end
local inprocess = require "sandbox.inprocess"
inprocess.tune_memory()

-- Count the processor seconds in what `object` calls `name`: {seconds=, calls=}.
local function timed(object, name)
  local spent, work = { seconds = 0, calls = 0 }, object[name]
  object[name] = function(...)
    local began = os.clock()
    local a, b = work(...)
    spent.seconds, spent.calls = spent.seconds + os.clock() - began, spent.calls + 1
    return a, b
  end
  return spent
end

-- Of a life on another such world: who has how much of it. The operator is what is left.
local function parts(lives)
  local s <close> = life.new { seed = 1 }
  round(s, 20, 0)
  local server, cluster = timed(s.api, "handle"), timed(s.cluster, "step")
  local decisions, calls = s.generation:stats().seconds, s.generation:stats().calls
  local whole = round(s, lives, 1000)
  local stats = s.generation:stats()
  decisions = (stats.seconds - decisions) * 1000 / lives
  local served, worked = server.seconds * 1000 / lives, cluster.seconds * 1000 / lives
  return ("%.1f ms %d requests at the API server, %.1f ms controllers, scheduler and kubelet, %.1f ms %d decisions, "
    .. "%.1f ms the rest of the operator, and the wire")
    :format(served, server.calls // lives, worked, decisions, (stats.calls - calls) // lives, whole - served - worked - decisions)
end

-- Median and best of nine rounds.
local function measure(options, lives)
  local s <close> = life.new(options)
  round(s, 20, 0)
  local times = {}
  for i = 1, 9 do times[i] = round(s, lives, i * 1000) end
  table.sort(times)
  return times[5], times[1]
end

local lives = tonumber(args[1] or 20)
local median, best = measure({ seed = 1 }, lives)
print(("a life on virtual time: %.2f ms (best %.2f)"):format(median, best))
print("of it: " .. parts(lives))
print(("in a lean cluster: %.2f ms (best %.2f)"):format(measure({ seed = 1, lean = true }, lives)))
return median <= 5 and 0 or 1
