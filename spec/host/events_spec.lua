-- Events: written behind the work, counted up when they repeat, bounded in every way; and what the host tells of itself.

local events = require "events"
local include = require "include"
local fake = include "spec/host/fake_cluster.lua"
local inprocess = require "sandbox.inprocess"
local models = include "spec/host/models.lua"

log.configure("error", "text")

local KIND = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment" }

-- ---------------------------------------------------------------- a recorder on a simulated cluster, on virtual time

-- { s (the world), recorder, requests (what arrived, as "POST path"), fault (nil, or function(request) -> an answer in its place) }
local function new_side()
  local side = { s = inprocess.new { seed = 1, operator = false }, requests = {} }
  local s = side.s
  s.virtual = loop.virtual { wall_ms = s.world:now(), seed = 3 }
  s.virtual:spawn(function()
    side.client = kube.open { namespace = "hub", handler = function(request)
      side.requests[#side.requests + 1] = request.method
      if side.fault then
        local instead, silent = side.fault(request)
        if instead or silent then return instead end
      end
      return s.network:handle(request)
    end }
    side.recorder = events.new { cluster = side.client, kind = KIND }
  end)
  s:settle()
  return side
end

local function about(name, uid) return { uid = uid or "uid-of-" .. name, name = name, namespace = "hub", resourceVersion = "7" } end

-- Tell it inside of the virtual loop.
local function tell(side, name, reason, message, type_of, uid)
  side.s.virtual:spawn(function()
    side.recorder:tell(about(name, uid), { type = type_of or "Normal", reason = reason, message = message or "it is so" })
  end)
end

local function told(side)
  local list = {}
  for _, record in ipairs(side.s.world:each("events", "hub")) do list[#list + 1] = record.object end
  return list
end

local function written_of(side, name)
  local count = 0
  for _, event in ipairs(told(side)) do
    if event.involvedObject.name == name then count = count + event.count end
  end
  return count
end

-- What the counter says since the last time.
local seen = {}
local function results(result)
  local value = tonumber(metrics.text():match('moonphase_events_total{result="' .. result .. '"} (%d+)'))
  local before = seen[result] or 0
  seen[result] = value
  return value - before
end

local function with(body)
  local side = new_side()
  for _, result in ipairs { "created", "patched", "limited", "dropped", "refused" } do results(result) end
  local ok, failure = xpcall(body, require "where", side)
  side.s:close()
  if not ok then error(failure, 0) end
end

describe("an Event", function()
  it("is about its object, and says who tells it, what and when", function()
    with(function(side)
      tell(side, "m", "ImagePullFailed", "Image cannot be pulled", "Warning")
      side.s:run_for(1)
      local event = told(side)[1]
      assert.same({ apiVersion = KIND.api_version, kind = "PhDeployment", name = "m", namespace = "hub", uid = "uid-of-m", resourceVersion = "7" },
        event.involvedObject)
      assert.equal("Warning ImagePullFailed Image cannot be pulled", event.type .. " " .. event.reason .. " " .. event.message)
      assert.equal("moonphase", event.source.component)
      assert.equal(1, event.count)
      assert.equal(event.firstTimestamp, event.lastTimestamp)
      assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", event.firstTimestamp)
      assert.equal("uid-of-m.imagepullfailed", event.metadata.name)
      assert.equal(1, results "created")
    end)
  end)

  it("that comes again is the same one, counted, with the time and the words of the last", function()
    with(function(side)
      tell(side, "m", "Failed", "first")
      side.s:run_for(100)
      tell(side, "m", "Failed", "second")
      side.s:run_for(1)
      local list = told(side)
      assert.equal(1, #list)
      assert.equal(2, list[1].count)
      assert.equal("second", list[1].message)
      assert.is_true(list[1].firstTimestamp < list[1].lastTimestamp)
      assert.same({ "POST", "PATCH" }, side.requests)
      assert.equal(1, results "patched")
    end)
  end)

  it("is counted up also by the next process, or another replica", function()
    with(function(side)
      tell(side, "m", "Failed")
      side.s:run_for(1)
      side.s.virtual:spawn(function() side.recorder = events.new { cluster = side.client, kind = KIND } end)
      side.s:settle()
      tell(side, "m", "Failed")
      side.s:run_for(1)
      assert.equal(1, #told(side))
      assert.equal(2, told(side)[1].count)
    end)
  end)

  it("of another reason, or of another object of the same name, is another one", function()
    with(function(side)
      tell(side, "m", "Failed")
      tell(side, "m", "Recovered")
      tell(side, "m", "Failed", "", "Normal", "second-uid")
      side.s:run_for(1)
      assert.equal(3, #told(side))
    end)
  end)

  it("that the server has forgotten meanwhile is made anew", function()
    with(function(side)
      tell(side, "m", "Failed")
      side.s:run_for(1)
      side.s:delete("v1", "Event", "hub", "uid-of-m.failed")
      tell(side, "m", "Failed")
      side.s:run_for(1)
      assert.equal(1, told(side)[1].count)
      assert.equal(2, results "created")
    end)
  end)

  it("has a reason of one word and a message of at most 1,024 bytes of whole characters", function()
    with(function(side)
      tell(side, "a", "no such / word!", ("ä"):rep(1000))
      tell(side, "b", "///", "\xff\xfe")
      side.s:run_for(1)
      local list = told(side)
      assert.equal("nosuchword", list[1].reason)
      assert.is_true(#list[1].message <= 1024 and #list[1].message > 1000 and utf8.len(list[1].message) ~= nil)
      assert.equal("Unknown", list[2].reason)
      assert.equal("??", list[2].message)
    end)
  end)

  it("stays a number when somebody wrote nonsense into its count", function()
    with(function(side)
      tell(side, "m", "Failed")
      side.s:run_for(1)
      side.s:edit("v1", "Event", "hub", "uid-of-m.failed", { count = 2147483647 })
      side.s.virtual:spawn(function() side.recorder = events.new { cluster = side.client, kind = KIND } end)
      side.s:settle()
      tell(side, "m", "Failed")
      side.s:run_for(1)
      assert.equal(2147483647, told(side)[1].count)
    end)
  end)
end)

describe("too many Events", function()
  it("of one object are 25 at once and one more each 5 minutes; another object has its own", function()
    with(function(side)
      for i = 1, 40 do tell(side, "m", "Reason" .. i) end
      tell(side, "other", "Failed")
      side.s:run_for(1)
      assert.equal(25, written_of(side, "m"))
      assert.equal(1, written_of(side, "other"))
      assert.equal(15, results "limited")
      side.s:run_for(301)
      tell(side, "m", "Reason41")
      tell(side, "m", "Reason42")
      side.s:run_for(1)
      assert.equal(26, written_of(side, "m"))
      side.s:run_for(3 * 3600)
      for i = 50, 90 do tell(side, "m", "Reason" .. i) end
      side.s:run_for(1)
      assert.equal(51, written_of(side, "m"))
    end)
  end)

  it("that wait and repeat are put together before they are sent", function()
    with(function(side)
      side.fault = function() return nil, true end -- the first one hangs
      tell(side, "a", "Failed")
      side.s:run_for(1)
      for i = 1, 5 do tell(side, "b", "Failed", "message " .. i) end
      side.s:run_for(1)
      side.fault = nil
      side.s:run_for(200)
      assert.equal(5, written_of(side, "b"))
      local posts = 0
      for _, method in ipairs(side.requests) do posts = posts + (method == "POST" and 1 or 0) end
      assert.equal(3, posts) -- the one that hung, its next try, and one for all five
    end)
  end)

  it("are 1,000 that wait; the rest is left out and counted", function()
    with(function(side)
      side.fault = function() return nil, true end
      side.s.virtual:spawn(function()
        for i = 1, 1500 do side.recorder:tell(about("m" .. i), { type = "Normal", reason = "Failed", message = "" }) end
      end)
      side.s:run_for(1)
      assert.equal(500, results "dropped")
      side.fault = nil
      side.s:run_for(300)
      assert.equal(1000, #told(side))
    end)
  end)

  it("do not fill the memory: what is remembered is what was used last", function()
    local cache = events.recent(100)
    for i = 1, 10000 do
      cache.put(i, i)
      assert.equal(i, cache.get(i))
      if i > 20 then assert.equal(i - 20, cache.get(i - 20)) end
    end
    local kept = 0
    for i = 1, 10000 do kept = kept + (cache.get(i) and 1 or 0) end
    assert.is_true(kept <= 100, kept .. " of 100")
    cache.drop(10000)
    assert.is_nil(cache.get(10000))
  end)
end)

describe("an Event that cannot be written", function()
  it("is tried 12 times, 10 s apart, where no answer comes; then the next has its turn", function()
    with(function(side)
      side.fault = function(request) if request.body:find('"a"', 1, true) then return { fault = "reset" } end end
      tell(side, "a", "Failed")
      tell(side, "b", "Failed")
      side.s:run_for(95)
      assert.is_true(#side.requests >= 10 and #side.requests <= 11, #side.requests .. " requests")
      side.s:run_for(30)
      assert.equal(13, #side.requests)
      assert.equal(1, written_of(side, "b"))
      assert.equal(1, results "dropped")
    end)
  end)

  it("because the server refuses it is not tried again", function()
    with(function(side)
      side.fault = function()
        return { status = 403, body = { kind = "Status", reason = "Forbidden", message = "being terminated" } }
      end
      tell(side, "a", "Failed")
      side.s:run_for(200)
      assert.equal(1, #side.requests)
      assert.equal(1, results "refused")
    end)
  end)

  it("because this process does not lead is left out, with all that wait", function()
    with(function(side)
      side.s.virtual:spawn(function() assert(side.client:lease { namespace = "hub", name = "other" }) end) -- not held yet
      for i = 1, 5 do tell(side, "m" .. i, "Failed") end
      side.fault = function(request) if request.path:find "leases" then return nil, true end end
      side.s:run_for(300)
      assert.same({}, told(side))
      assert.equal(5, results "dropped")
    end)
  end)

  it("at the end of the process is written within the time that there is, and none after it", function()
    with(function(side)
      local took
      for i = 1, 20 do tell(side, "m" .. i, "Failed") end
      side.s.virtual:spawn(function()
        loop.sleep(0)
        local began = loop.now()
        side.recorder:stop(2)
        took = loop.now() - began
        side.recorder:tell(about "late", { type = "Normal", reason = "Failed", message = "" })
      end)
      side.s:run_for(5)
      assert.equal(20, #told(side))
      assert.is_true(took < 2)
    end)
    with(function(side)
      local took
      side.fault = function() return { fault = "reset" } end
      tell(side, "m", "Failed")
      side.s:run_for(1)
      side.s.virtual:spawn(function()
        local began = loop.now()
        side.recorder:stop(2)
        took = loop.now() - began
      end)
      side.s:run_for(60)
      assert.is_true(took <= 2.1, took .. " s")
      assert.is_true(#side.requests <= 3)
    end)
  end)
end)

-- ---------------------------------------------------------------- an operator that tells

local ROOT, EVENTS, eventually = models.ROOT, "/api/v1/namespaces/hub/events/", models.eventually

local POLICY = [[
local M = { label = "model", kind = { api_version = "example.org/v1", kind = "Model", resource = "models" },
  children = { services = { api_version = "v1", kind = "Service", resource = "services" } } }
function M.decide(seen)
  local o = seen.object
  if o.spec.port == 13 then error "thirteen is no port" end
  local phase, before = o.spec.phase or "Deployed", (o.status or {}).phase
  return { children = { { apiVersion = "v1", kind = "Service", metadata = { name = "s-" .. o.metadata.name }, spec = { sessionAffinity = "None" } } },
    status = { phase = phase, refused = seen.problems[1] and seen.problems[1].reason },
    events = o.spec.says and seen.problems[1] and { { type = "Warning", reason = o.spec.says, message = "in my own words" } }
      or (before ~= phase or o.spec.noisy) and { { type = "Normal", reason = phase, message = "it is " .. phase } } or nil }
end
return M
]]

local cluster, running

local function model(name, spec) return models.put(cluster, name, spec or {}) end
local function event(name, reason) return cluster.objects[EVENTS .. "uid-of-" .. name .. "." .. reason:lower()] end

local function spec(name, body, options)
  it(name, function()
    cluster = fake.new()
    running = models.controller(cluster, POLICY, options)
    running:run()
    local ok, failure = xpcall(body, require "where")
    running:stop(5)
    if not ok then error(failure, 0) end
  end)
end

local function place(part)
  for i, request in ipairs(cluster:writes()) do
    if request.path:find(part, 1, true) then return i end
  end
end

describe("an operator", function()
  spec("tells a phase after the status write that it belongs to", function()
    model "a"
    local said = eventually("it is told", function() return event("a", "Deployed") end)
    assert.equal("it is Deployed", said.message)
    assert.equal("Model", said.involvedObject.kind)
    assert.is_true(place "/events" > place "/status")
  end)

  spec("tells nothing at rest, even of a policy that always has news", function()
    model("a", { noisy = true })
    eventually("it is told", function() return event("a", "Deployed") end)
    loop.sleep(0.3)
    cluster:forget_requests()
    for _ = 1, 5 do
      running:add "hub/a"
      loop.sleep(0.05)
    end
    assert.equal(0, #cluster.requests)
  end)

  spec("tells once when the status had to be written twice", function()
    cluster:fail("PATCH", "/status", { status = 409, reason = "Conflict" }, 3)
    model "a"
    local said = eventually("it is told", function() return event("a", "Deployed") end)
    loop.sleep(0.2)
    assert.equal(1, said.count)
  end)

  spec("goes on with its work while no Event can be written", function()
    cluster:fail("POST", "/events", false, 1000)
    for i = 1, 5 do model("m" .. i) end
    for i = 1, 5 do
      eventually("m" .. i .. " is Deployed", function() return (cluster.objects[ROOT .. "m" .. i].status or {}).phase == "Deployed" end)
    end
  end)

  spec("tells that the policy fails on an object, and that it decides again", function()
    model("a", { port = 13 })
    local said = eventually("the failure is told", function() return event("a", "PolicyError") end)
    assert.equal("Warning", said.type)
    assert.matches("phdeployment.lua:5: .*thirteen is no port", said.message)
    model("a", { port = 14 })
    eventually("the recovery is told", function() return event("a", "PolicyRecovered") end)
    assert.is_not_nil(event("a", "Deployed"))
  end)

  spec("tells of a child that is somebody else's, once", function()
    cluster:put("/api/v1/namespaces/hub/services/s-a", { apiVersion = "v1", kind = "Service", metadata = { name = "s-a" } })
    model "a"
    local said = eventually("the conflict is told", function() return event("a", "ChildConflict") end)
    assert.contains("Service s-a", said.message)
    eventually("it was tried some more", function() return running.queue:failures "hub/a" >= 4 end)
    assert.equal(1, event("a", "ChildConflict").count)
  end)

  spec("leaves it to the policy to tell what that tells in words of its own", function()
    cluster:put("/api/v1/namespaces/hub/services/s-a", { apiVersion = "v1", kind = "Service", metadata = { name = "s-a" } })
    model("a", { says = "ChildConflict" })
    local said = eventually("the conflict is told", function() return event("a", "ChildConflict") end)
    loop.sleep(0.2)
    assert.equal("in my own words 1", said.message .. " " .. event("a", "ChildConflict").count)
  end)

  spec("tells nothing in a dry run", function()
    model "a"
    loop.sleep(0.3)
    assert.equal(0, #cluster:writes())
  end, { dry_run = true })
end)

describe("a rollout that is stopped", function()
  it("is told about the model that stopped it", function()
    local world = { settings = {}, digest = "new", add = function() end }
    local rollout = require("rollout").new(world)
    rollout.moving["hub/a"], rollout.moving_count = { was = {}, digest = "old", arrived = true }, 1
    local said = rollout:observe("hub/a", { phase = "Failed", message = "it crashes" })
    assert.equal("Warning RolloutStopped", said.type .. " " .. said.reason)
    assert.contains("goes back to its old pod template", said.message)
    assert.is_nil(rollout:observe("hub/a", { phase = "Failed" }))
  end)
end)

describe("a decision with Events that are none", function()
  for _, broken in ipairs { { "x" }, { { type = "Loud", reason = "A", message = "" } }, { { type = "Normal", message = "" } },
    { { type = "Normal", reason = "A" } } } do
    it("is refused: " .. json.encode(broken), function()
      local decision, failure = require("contract").decision { events = broken }
      assert.is_nil(decision)
      assert.contains("events[1] must say type", failure.text)
    end)
  end
end)
