-- Two replicas of the real program with --leader-elect: who leads, and how it is followed when it is told to stop, dies, or stands still.
--
-- Each replica acts as a user of its own, so that the API server's audit log tells whose a write was, and when it arrived.
-- A replica that stands still (SIGSTOP) is the hard case: nothing in it can know that time has passed.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local eventually = harness.eventually
local LEASES = "/apis/coordination.k8s.io/v1/namespaces/"

local Replica = {}
Replica.__index = Replica

-- The world's replica of this name, which is the name of its user in the world.
local function start(world, name)
  local user = world.namespace .. "-" .. name
  local config = assert(yaml.decode(assert(fs.read(process.env "KUBECONFIG")), "kubeconfig"))[1]
  config.users[1].user.as, config.users[1].user["as-groups"] = user, json.array { "system:masters" }
  local path, socket = world.folder .. "/kubeconfig-" .. name, world.folder .. "/" .. name .. ".sock"
  assert(fs.write(path, json.encode(config)))
  local process_of = world:start_operator { words = { "--kubeconfig", path, "--control-socket", socket, "--leader-elect",
    "--lease", world.namespace .. "/moonphase" } }
  world.operator = nil -- they are ended here
  return setmetatable({ world = world, user = user, socket = socket, process = process_of, log = world.log }, Replica)
end

function Replica:ask(page)
  local answer = http.request { url = "http://localhost" .. page, unix = self.socket, timeout = 5 }
  return answer and answer.status, answer and answer.body or ""
end

function Replica:says(what) return (fs.read(self.log) or ""):find(what, 1, true) ~= nil end

function Replica:is_ready() return self:ask "/readyz" == 200 end

-- Whether it says that it leads; its metric says the same.
function Replica:leads()
  local _, text = self:ask "/readyz?verbose"
  local _, numbers = self:ask "/metrics"
  local metric = numbers:match 'leader_election_master_status{name="moonphase"} (%d)'
  return text:find("leads: ", 1, true) ~= nil and metric == "1"
end

-- Times (seconds since 1970) at which writes of this replica arrived, but for those to the lease; and where they went.
function Replica:writes()
  loop.sleep(1.5) -- the audit log is written in batches
  local times, where = {}, {}
  for line in assert(fs.tail(process.env "MOONPHASE_CLUSTER_DIR" .. "/audit.log", 16 << 20)):gmatch "[^\n]+" do
    if line:find(self.user .. '"', 1, true) and not line:find('"resource":"leases"', 1, true) then
      local entry = assert(json.decode(line))
      local at = entry.requestReceivedTimestamp
      local y, mo, d, h, mi, s = at:match "^(%d+)-(%d+)-(%d+)T(%d+):(%d+):([%d.]+)Z$"
      times[#times + 1] = os.time { year = y, month = mo, day = d, hour = h, min = mi, sec = 0 } + tonumber(s)
      where[#where + 1] = at .. " " .. entry.verb .. " " .. entry.requestURI
    end
  end
  return times, where
end

-- Seconds since 1970 as os.time above counts them: of a machine in any time zone.
local function now()
  return os.time(os.date("!*t", loop.wall_ms() // 1000)) + loop.wall_ms() % 1000 / 1000
end

-- body(world, leader, standby); both are ended, whatever happens.
local function with_two(body)
  harness.with({ operator = false }, function(world)
    local a = start(world, "a")
    eventually("the first leads", 20, function() return a:leads() end)
    local b = start(world, "b")
    eventually("the second is ready", 20, function() return b:is_ready() end)
    local ok, failure = xpcall(body, require "where", world, a, b)
    for _, replica in ipairs { a, b } do
      replica.process:signal "CONT"
      replica.process:signal "KILL"
      replica.process:wait(5)
    end
    if not ok then error(failure, 0) end
  end)
end

local function holder(world)
  local answer = world.api:ask { path = LEASES .. world.namespace .. "/leases/moonphase" }
  return json.decode(answer.body).spec.holderIdentity
end

-- Two of these wait for a lease to end: they run side by side.
local function killed()
  with_two(function(world, a, b)
    for i = 1, 10 do world:deploy("m" .. i) end
    eventually("it is at work", 10, function() return world:child("Deployment", "m1") or world:child("Deployment", "m7") end)
    local at = loop.now()
    a.process:signal "KILL"
    eventually("the other leads", 25, function() return b:leads() end)
    local after = loop.now() - at
    assert.is_true(after >= 11 and after <= 19, "the other led after " .. after .. " s")
    for i = 1, 10 do world:phase("m" .. i, "Deployed", 60) end
  end)
end

local function stopped()
  with_two(function(world, a, b)
    for i = 1, 20 do world:deploy("m" .. i) end
    eventually("it is at work", 10, function() return world:child("Deployment", "m1") or world:child("Deployment", "m9") end)
    a.process:signal "STOP"
    local stood_at = now()
    eventually("the other leads", 25, function() return b:leads() end)
    for i = 1, 20 do world:phase("m" .. i, "Deployed", 60) end
    for i = 1, 5 do world:edit("m" .. i, { spec = { stop = true } }) end -- what the old leader has not seen
    for i = 1, 5 do world:phase("m" .. i, "Stopped", 30) end
    loop.sleep(math.max(0, stood_at + 20 - now()))
    a.process:signal "CONT"
    eventually("the old leader says that it lost the lease", 10, function() return a:says "lost the lease" end)
    loop.sleep(3)
    assert.is_false(a:leads())
    assert.is_true(a:is_ready())
    local times, where = a:writes()
    assert.is_true(#times > 0, "the audit log shows what the first replica wrote")
    for i, time in ipairs(times) do
      assert.is_true(time < stood_at + 10, "the old leader wrote " .. time - stood_at .. " s after it stood still: " .. where[i])
    end
    for i = 1, 5 do assert.equal("Stopped", world:get("m" .. i).status.phase) end
    -- without a restart it leads again, and works
    b.process:signal "TERM"
    eventually("the first leads again", 5, function() return a:leads() end)
    world:edit("m1", { spec = { stop = false } })
    world:phase("m1", "Deployed", 30)
  end)
end

local running = {}

local function join(name)
  harness.share() -- made once, and not by two at a time
  if not running.killed then running.killed, running.stopped = loop.spawn(killed), loop.spawn(stopped) end
  local ok, why = running[name]:join()
  if not ok then error(why, 0) end
end

describe("of two replicas with --leader-elect", function()
  it("one leads; the other is ready, says so, has warm caches and writes nothing", function()
    with_two(function(world, a, b)
      world:deploy "m"
      world:phase("m", "Deployed")
      assert.is_true(a:leads())
      assert.is_false(b:leads())
      local status, text = b:ask "/readyz?verbose"
      assert.equal(200, status)
      assert.contains("standby: the lease " .. world.namespace .. "/moonphase is held by " .. holder(world), text)
      assert.is_true(b:says "observed holder of the lease")
      assert.contains('"phase":"Deployed"', select(2, b:ask("/explain?name=m&namespace=" .. world.namespace)))
      local times, where = b:writes()
      assert.equal(0, #times, table.concat(where, "\n"))
    end)
  end)

  it("the other leads within a second when the leader is told to stop, and goes on with its work", function()
    with_two(function(world, a, b)
      for i = 1, 10 do world:deploy("m" .. i) end
      eventually("it is at work", 10, function() return world:child("Deployment", "m1") or world:child("Deployment", "m7") end)
      a.process:signal "TERM"
      assert.equal(0, a.process:wait(25))
      local at = loop.now()
      eventually("the other leads", 10, function() return b:leads() end)
      assert.is_true(loop.now() - at <= 1, "it took " .. loop.now() - at .. " s")
      assert.is_true(a:says "released the lease")
      for i = 1, 10 do world:phase("m" .. i, "Deployed", 60) end
      b.process:signal "TERM"
      assert.equal(0, b.process:wait(25))
      assert.equal("", holder(world))
    end)
  end)

  it("the other leads when the lease has ended, after the leader was killed (SIGKILL), and goes on with its work", function()
    join "killed"
  end)

  it("the one that stood still for 20 s (SIGSTOP, SIGCONT) writes nothing more as the old leader, and can lead again", function()
    join "stopped"
  end)
end)

describe("moonphase run --leader-elect", function()
  local function refused(...)
    local result = assert(process.run { argv = { process.env "MOONPHASE" or "build/moonphase", "run", ... }, timeout = 20 })
    assert.equal(2, result.status)
    return result.errors
  end

  it("refuses what does not go together", function()
    assert.contains("--lease goes with --leader-elect", refused("--lease", "x"))
    assert.contains("no NAME or NAMESPACE/NAME", refused("--leader-elect", "--lease", "a/b/c"))
    assert.contains("--dry-run", refused("--leader-elect", "--dry-run"))
  end)
end)
