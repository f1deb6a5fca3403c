-- What the walk stands on: caches and queues that are saved and put back, time that goes back, hashes in which times do not count,
-- and an operator that goes on from a saved state as if nothing had been in between.

local machine = require "check.machine"
local stage = require "sandbox.stage"
local state = require "check.state"

local NAMESPACE = "hub"

local function pod(name, version, change)
  local object = { metadata = { name = name, namespace = NAMESPACE, uid = "u-" .. name, resourceVersion = version, generation = 1,
    labels = { of = "m" } }, spec = { image = "a" } }
  if change then change(object) end
  return json.encode(object)
end

local function new_cache(told)
  return kube.cache { name = "pods", indexes = { of = { "metadata.labels.of" } }, revisions = true,
    on_change = told and function(key, change) told[#told + 1] = change .. " " .. key end or nil }
end

describe("a cache that its owner feeds", function()
  it("tells changes, finds by index and knows its position, as one that a watch feeds", function()
    local told = {}
    local cache = new_cache(told)
    assert.is_false(cache:synced())
    assert.is_true(cache:list({ pod("a", "5"), pod("b", "6") }, "7"))
    assert.is_true(cache:synced())
    cache:put(pod("b", "8", function(o) o.metadata.labels.of = "n" end))
    cache:position "8"
    cache:remove(pod("a", "9"))
    assert.equal("added hub/a, added hub/b, changed hub/b, removed hub/a", table.concat(told, ", "))
    assert.same({ "hub/b" }, cache:find("of", "n"))
    assert.equal("8", cache:position())
    cache:stop()
  end)

  it("holds again what it held: objects, indexes, our own writes, revisions and position", function()
    local told = {}
    local cache = new_cache(told)
    cache:list({ pod("a", "5"), pod("b", "6") }, "7")
    cache:wrote(pod("a", "9", function(o) o.spec.image = "ours" end))
    cache:deleted("hub/b", "u-b")
    local saved = cache:save()
    local before = #told
    cache:put(pod("a", "12", function(o) o.metadata.generation = 2 end))
    cache:put(pod("c", "13"))
    cache:position "13"
    cache:recorded("hub/a", 2)
    assert.is_false(cache:get("hub/a").ours)
    cache:restore(saved)
    assert.equal(before + 2, #told, "a restore tells nobody")
    assert.same({ "hub/a" }, cache:keys())
    assert.equal("ours", cache:read("hub/a").spec.image)
    assert.is_true(cache:get("hub/a").ours)
    assert.equal("7", cache:position())
    assert.equal(1, #cache:revisions "hub/a")
    assert.same({ "hub/a" }, cache:find("of", "m"))
    cache:position "10" -- the watch has passed our write, and brought no event of it: what it brought before shows again
    assert.equal("a", cache:read("hub/a").spec.image)
    cache:stop()
  end)

  it("is the same save as long as nothing changed, and a save outlives the cache", function()
    local cache = new_cache()
    cache:list({ pod("a", "5") }, "5")
    local first = cache:save()
    assert.equal(first, cache:save())
    cache:put(pod("a", "5")) -- an event that repeats is a change of the cache all the same: it may have been seen by a list
    cache:restore(first)
    assert.equal(first, cache:save())
    cache:stop()
    loop.sleep(0)
    assert.has_error(function() cache:get "hub/a" end, "was stopped")
    first = nil -- luacheck: ignore
    collectgarbage()
  end)

  it("refuses to be fed where a watch feeds it, and text that is no object", function()
    local cache = new_cache()
    local ok, why = cache:put "{}"
    assert.is_nil(ok)
    assert.contains("no usable metadata.name", why)
    local cluster = kube.open { handler = function() return nil end }
    local watch = cluster:watch { path = "/api/v1/pods", api_version = "v1", kind = "Pod" }
    assert.has_error(function() watch:put(pod("a", "1")) end, "a watch feeds")
    watch:stop()
    cache:stop()
  end)
end)

describe("a queue as a value", function()
  it("holds again who is ready, who comes later, and how often each failed", function()
    local v <close> = loop.virtual {}
    v:call(function()
      local queue = work.queue {}
      queue:add "b"
      queue:add("a", true)
      queue:add_after("c", 2)
      for _ = 1, 3 do queue:retry "d" end
      local saved = queue:save()
      assert.equal("b", queue:try_take())
      assert.has_error(function() queue:restore(saved) end, "being worked on")
      queue:done "b"
      queue:restore {}
      assert.is_nil(queue:try_take())
      queue:restore(saved)
      assert.equal("b", queue:try_take())
      assert.equal("a", queue:try_take())
      assert.is_nil(queue:try_take())
      assert.equal(3, queue:failures "d")
      assert.equal(2, select(3, queue:depth()))
    end)
    v:tick(5)
    v:tick(v:next_due())
  end)
end)

describe("virtual time", function()
  it("goes back while no timer is armed, and calls run inside it", function()
    local v <close> = loop.virtual { wall_ms = 5000 }
    assert.equal(5000, v:call(loop.wall_ms))
    v:advance(1000)
    v:rewind(5500)
    assert.equal(5500, v:wall_ms())
    assert.equal(3, v:call(function(a, b) return a + b end, 1, 2))
    local queue = v:call(work.queue)
    v:call(queue.add_after, queue, "k", 1)
    assert.has_error(function() v:rewind(5000) end, "timers are armed")
    assert.has_error(function() v:call(error, "as it is", 0) end, "as it is")
    assert.is_true(loop.wall_ms() > 1e12, "outside again")
  end)
end)

describe("digest.masked", function()
  local MASK = { time = true, deleted = "present", count = 3 }

  local function same(a, b) return digest.masked(a, MASK) == digest.masked(b, MASK) end

  it("tells values apart, but not by what the mask names", function()
    assert.is_true(same({ a = 1, time = 1 }, { a = 1, time = 2 }))
    assert.is_true(same({ a = 1, b = { time = "x" } }, { a = 1, b = {} }))
    assert.is_true(same({ deleted = "now" }, { deleted = "then" }))
    assert.is_false(same({ deleted = "now" }, {}))
    assert.is_true(same({ count = 3 }, { count = 9 }))
    assert.is_false(same({ count = 1 }, { count = 2 }))
    for _, pair in ipairs { { { 1, 2 }, { 2, 1 } }, { { a = "1" }, { a = 1 } }, { { a = true }, { a = false } }, { { a = "b" }, { b = "a" } },
      { { a = 1.5 }, { a = 2.5 } }, { { a = {} }, { b = {} } }, { policy.raw "1", policy.raw "2" } } do
      assert.is_false(same(pair[1], pair[2]), json.encode(#pair))
    end
  end)
end)

-- ---------------------------------------------------------------- the machine

local function with_machine(body)
  local generation, settings = stage.policies {}
  local m = machine.new { generation = generation, declaration = stage.declaration(generation), settings = settings }
  local ok, why = pcall(body, m)
  m:close()
  if not ok then error(why, 0) end
end

local function key(m) return state.of_world(m.world, NAMESPACE) ~ state.of_operator(m.operator, m.is_held) end

local function trail(m, steps)
  local keys = {}
  for i = 1, steps do
    if not m:calm() then break end
    keys[i] = ("%x"):format(key(m))
  end
  return table.concat(keys, " ")
end

describe("world and operator as one machine", function()
  it("deploy a model, and go on alike from a saved state, also after others", function()
    with_machine(function(m)
      for _ = 1, 15 do m:calm() end
      local saved = m:save()
      local first = trail(m, 20)
      assert.is_true(m:act "stop")
      trail(m, 30)
      m:restore(saved)
      assert.equal(first, trail(m, 20))
      repeat until not m:calm()
      assert.equal("Deployed", m.scene:object().status.phase)
    end)
  end)

  it("make an answer that is lost a write that happened, and one that is dropped none", function()
    with_machine(function(m)
      local begin = m:save()
      m:act "lost:1"
      assert.truthy(m.world:get("deployments.apps", NAMESPACE, "deploy-m"))
      m:restore(begin)
      m:act "dropped:1"
      assert.is_nil(m.world:get("deployments.apps", NAMESPACE, "deploy-m"))
      m:restore(begin)
      m:act "crash:1"
      assert.truthy(m.world:get("deployments.apps", NAMESPACE, "deploy-m"))
      assert.is_nil(m.world:get("services", NAMESPACE, "deploy-m"))
      assert.is_false(m:act "crash:9")
    end)
  end)

  it("let one view lag behind while all others go on, and catch up event by event or at once", function()
    for how, revisions in pairs { thaw = 3, skip = 1 } do
      with_machine(function(m)
        repeat until not m:calm()
        m:act "hold:phdeployments"
        m:act "replicas"
        m:act "words"
        m:act "stop"
        assert.is_false(m:is_ready())
        m:act(how)
        assert.is_true(m:is_ready())
        assert.equal(revisions, #m.operator.controller.objects:of("hub/m"):revisions "hub/m", how)
      end)
    end
  end)
end)
