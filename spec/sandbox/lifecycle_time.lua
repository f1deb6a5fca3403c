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
print(("in a lean cluster: %.2f ms (best %.2f)"):format(measure({ seed = 1, lean = true }, lives)))
return median <= 5 and 0 or 1
