-- Two replicas on one simulated cluster and on virtual time: who leads, what a standby does, and what never leaves.

local controller = require "controller"
local feature = require "feature"
local include = require "include"
local inprocess = require "sandbox.inprocess"
local leader = require "leader"
local life = include "spec/sandbox/life.lua"
local stage = require "sandbox.stage"

log.configure("error", "text")

local LEASE = "leases.coordination.k8s.io"

-- A world without an operator, and a loop for replicas.
local function new_world()
  local s = inprocess.new { seed = 1, operator = false, objects = life.catalogue() }
  s.virtual = loop.virtual { wall_ms = s.world:now(), seed = 5 }
  return s
end

-- A replica's client. `cut`: nothing of it arrives any more; `writes`: what arrived, with the time.
local function new_replica(s, name, address)
  local replica = { writes = {}, leader = nil }
  s.virtual:spawn(function()
    replica.client = kube.open { namespace = "hub", handler = function(request)
      if replica.cut then return nil end
      if replica.no_watch and request.query.watch == nil and request.path:find("/leases$") and request.method == "GET" then
        return { status = 403, body = { kind = "Status", reason = "Forbidden", message = "leases is forbidden" } }
      end
      if request.method ~= "GET" and not request.path:find("/leases", 1, true) then
        replica.writes[#replica.writes + 1] = { at = s.world:now(), method = request.method, path = request.path }
      end
      return s.network:handle(request)
    end }
    replica.leader = leader.new { cluster = replica.client, namespace = "hub", name = "moonphase", address = address, identity = not address and name or nil }
  end)
  s:settle()
  return replica
end

local function begin(s, replica)
  s.virtual:spawn(function() assert(replica.leader:begin()) end)
  s:settle()
  return replica
end

-- A whole operator that takes part.
local function operate(s, replica)
  s.virtual:spawn(function()
    local generation, settings = stage.policies {}
    replica.controller = controller.new { cluster = replica.client, generation = generation, module = "phdeployment",
      declaration = stage.declaration(generation), settings = settings, namespaces = { "hub" }, catalog_namespace = "hub",
      leader = replica.leader }
    replica.controller:run()
    assert(replica.leader:begin())
  end)
  s:settle()
  return replica
end

local function holder(s)
  local lease = s:get(LEASE, "hub", "moonphase")
  return lease and lease.spec.holderIdentity
end

local function with(body)
  local s <close> = new_world()
  body(s)
end

describe("an elected leader", function()
  it("is one of two; the other says who it is and where it is reached", function()
    with(function(s)
      local a, b = begin(s, new_replica(s, "a", "10.1.2.3:9443")), begin(s, new_replica(s, "b", "10.1.2.4:9443"))
      s:run_for(3)
      assert.is_true(a.leader:is_leader())
      assert.is_false(b.leader:is_leader())
      assert.equal("leads: it holds the lease hub/moonphase", a.leader:sentence())
      assert.contains("standby: the lease hub/moonphase is held by ", b.leader:sentence())
      assert.equal("10.1.2.3:9443", b.leader:address())
      assert.is_nil(a.leader:address())
      assert.is_true(a.leader.own ~= b.leader.own)
    end)
  end)

  it("hands over at once when it is told to stop", function()
    with(function(s)
      local a, b = begin(s, new_replica(s, "a")), begin(s, new_replica(s, "b"))
      s:run_for(30)
      local given_back, released_at
      s.virtual:spawn(function() given_back, released_at = a.leader:release(3), loop.now() end)
      s:run_for(0.2)
      assert.is_true(given_back)
      assert.is_true(b.leader:is_leader())
      assert.equal("b", holder(s))
      assert.is_false(a.leader:is_leader())
      assert.is_true(released_at ~= nil)
    end)
  end)

  it("hands over within a retry where leases may not be watched", function()
    with(function(s)
      local a, b = begin(s, new_replica(s, "a")), new_replica(s, "b")
      b.no_watch = true
      begin(s, b)
      s:run_for(31)
      s.virtual:spawn(function() a.leader:release(3) end)
      s:run_for(2.5)
      assert.is_true(b.leader:is_leader())
    end)
  end)

  it("that is cut off leads no more after 10 s, and another leads after 15", function()
    with(function(s)
      local a, b = begin(s, new_replica(s, "a")), begin(s, new_replica(s, "b"))
      s:run_for(4)
      a.cut = true
      s:run_for(10)
      assert.is_false(a.leader:is_leader())
      assert.is_false(b.leader:is_leader())
      s:run_for(8)
      assert.is_true(b.leader:is_leader())
      a.cut = false
      s:run_for(30)
      assert.is_false(a.leader:is_leader())
      assert.equal("b", a.leader:holder())
    end)
  end)

  it("tells those who listen and those who wait, also when it leads a second time", function()
    with(function(s)
      local a, told, waited = new_replica(s, "a"), {}, 0
      a.leader:listen(function(leads) told[#told + 1] = tostring(leads) end)
      s.virtual:spawn(function()
        for _ = 1, 2 do
          if a.leader:wait(function() return false end) then waited = waited + 1 end
          while a.leader:is_leader() do loop.sleep(1) end
        end
      end)
      begin(s, a)
      s:run_for(5)
      a.cut = true
      s:run_for(12)
      a.cut = false
      s:run_for(12)
      assert.equal("true false true", table.concat(told, " "))
      assert.equal(2, waited)
    end)
  end)

  it("that was told to stop before it could begin takes no lease", function()
    with(function(s)
      local a = new_replica(s, "a")
      s.virtual:spawn(function() a.leader:release(1) end)
      s:settle()
      begin(s, a)
      s:run_for(5)
      assert.is_nil(holder(s))
    end)
  end)
end)

describe("an operator that stands by", function()
  it("is ready with its caches complete, writes nothing, and goes on where the leader stopped", function()
    with(function(s)
      local a, b = operate(s, new_replica(s, "a")), operate(s, new_replica(s, "b"))
      s:apply(life.manifest("m"))
      life.reach(s, "m", "Deployed")
      assert.is_true(#a.writes > 0)
      assert.equal(0, #b.writes)
      assert.is_true(b.controller.ready)
      assert.equal("Deployed", b.controller:explain("hub/m").decision.status.phase)
      a.controller:stop(5)
      s.virtual:spawn(function() a.leader:release(3) end)
      s:run_for(1)
      assert.is_true(b.leader:is_leader())
      assert.equal(0, #b.writes, "nothing differs, so nothing is written at a hand-over")
      life.edit(s, "m", { spec = { stop = true } })
      life.reach(s, "m", "Stopped")
      assert.is_true(#b.writes > 0)
    end)
  end)

  it("keeps the history of what was edited while nobody led", function()
    with(function(s)
      local a, b = operate(s, new_replica(s, "a")), operate(s, new_replica(s, "b"))
      s:apply(life.manifest("m"))
      life.reach(s, "m", "Deployed")
      a.cut = true
      for i = 1, 5 do
        life.edit(s, "m", { spec = { updateMessage = "edit " .. i } })
        s:run_for(1)
      end
      s:run_for(20)
      assert.is_true(b.leader:is_leader())
      life.reach(s, "m", "Deployed")
      local messages = {}
      for _, record in ipairs(s:get(s.PHDEPLOYMENTS, "hub", "m").status.history) do messages[#messages + 1] = record.message end
      assert.contains("edit 5 edit 4 edit 3 edit 2 edit 1", table.concat(messages, " "))
    end)
  end)

  it("writes nothing as the leader that it was, whatever was under way, and works again when it leads again", function()
    with(function(s)
      local a = operate(s, new_replica(s, "a"))
      for i = 1, 5 do s:apply(life.manifest("m" .. i)) end
      life.reach(s, "m5", "Deployed")
      a.cut = true -- also its reconciles hang in their requests
      for i = 1, 5 do life.edit(s, "m" .. i, { spec = { stop = true } }) end
      s:run_for(9)
      local lease = s:get(LEASE, "hub", "moonphase")
      s:edit("coordination.k8s.io/v1", "Lease", "hub", "moonphase", { spec = { holderIdentity = "somebody", renewTime = lease.spec.renewTime } })
      s:run_for(2)
      local before = #a.writes
      a.cut = false
      s:run_for(12) -- what hung was given up, or answered; somebody's 15 s have not passed
      assert.is_false(a.leader:is_leader())
      assert.equal(before, #a.writes)
      assert.same({}, a.controller.last_error)
      s:run_for(10)
      assert.is_true(a.leader:is_leader())
      for i = 1, 5 do life.reach(s, "m" .. i, "Stopped") end
      assert.equal(0, a.controller.queue:failures("hub/m1"))
    end)
  end)
end)

describe("the feature switch", function()
  local WRONG, RIGHT = "PRIMEHUB_FEATURE_MODEL_DEPLOYEMNT", "PRIMEHUB_FEATURE_MODEL_DEPLOYMENT"
  local function off(values) return feature.off(function(name) return values[name] end) end

  it("is on when absent, empty or true", function()
    for _, values in ipairs { {}, { [WRONG] = "" }, { [WRONG] = "true" }, { [RIGHT] = "TRUE" }, { [RIGHT] = " 1 " } } do
      local why, odd = off(values)
      assert.is_nil(why)
      assert.same({}, odd)
    end
  end)

  it("is off by either spelling, and says which", function()
    for _, name in ipairs { WRONG, RIGHT } do
      for _, word in ipairs { "false", "False", "0", "off", "no" } do assert.contains(name .. "=", off { [name] = word }) end
    end
  end)

  it("is on, with a word about it, for what is neither; off where the spellings disagree", function()
    local why, odd = off { [RIGHT] = "flase" }
    assert.is_nil(why)
    assert.contains(RIGHT, odd[1])
    why, odd = off { [RIGHT] = "true", [WRONG] = "false" }
    assert.contains(WRONG, why)
    assert.equal(1, #odd)
  end)
end)
