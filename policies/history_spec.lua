-- What status.history keeps.

local world = require "spec_world"

local function renamed(name)
  return function(spec) spec.displayName, spec.updateMessage = name, "message " .. name end
end

local function generations(history)
  local list = {}
  for i, record in ipairs(history) do list[i] = record.generation end
  return list
end

it("begins with the first generation, as an exact copy", function()
  local w = world.deployed()
  assert.equal(1, #w.object.status.history)
  local record = w.object.status.history[1]
  assert.equal(1, record.revision)
  assert.equal(1, record.generation)
  assert.equal("2020-03-23T02:03:15Z", record.time)
  assert.equal("first", record.message)
  assert.same(w.object.spec, record.spec)
end)

it("takes every generation that was seen, newest first, once", function()
  local w = world.deployed()
  world.edit(w, renamed "b")
  world.edit(w, renamed "c")
  local decision = world.apply(w)
  assert.equal(3, decision.recorded)
  assert.same({ 3, 2, 1 }, generations(w.object.status.history))
  assert.equal("message b", w.object.status.history[2].message)
  world.apply(w)
  assert.same({ 3, 2, 1 }, generations(w.object.status.history))
end)

it("keeps the newest of 40 edits in one second", function()
  local w = world.deployed()
  for i = 1, 40 do world.edit(w, renamed("edit " .. i)) end
  world.apply(w)
  local history = w.object.status.history
  assert.equal(32, #history)
  assert.equal(41, history[1].generation)
  assert.equal(41, history[1].revision)
  assert.equal(10, history[32].generation)
  assert.equal(10, history[32].revision)
end)

it("counts revisions on over a gap in the generations", function()
  local w = world.deployed()
  w.object.metadata.generation = 7
  world.apply(w)
  assert.same({ 7, 1 }, generations(w.object.status.history))
  assert.equal(2, w.object.status.history[1].revision)
end)

it("goes on where a restored status tells of generations that are still to come", function()
  local w = world.deployed()
  w.object.status.history = json.array { { time = "2026-01-01T00:00:00Z", generation = 12, revision = 12 } }
  world.edit(w, renamed "b")
  world.apply(w)
  world.edit(w, renamed "c")
  world.apply(w)
  assert.same({ 3, 2, 12 }, generations(w.object.status.history))
  assert.same({ 14, 13 }, { w.object.status.history[1].revision, w.object.status.history[2].revision })
end)

it("keeps as many as the setting says", function()
  local w = world.deployed()
  w.settings.history.limit = 2
  for i = 1, 5 do world.edit(w, renamed("edit " .. i)) end
  world.apply(w)
  assert.same({ 6, 5 }, generations(w.object.status.history))
  w.settings.history.limit = 1
  world.apply(w)
  assert.same({ 6 }, generations(w.object.status.history))
end)

describe("the tokens of clients (fault 19)", function()
  local function private(token, name)
    return { accessType = "private", clients = json.array { { name = name or "foo", token = token } } }
  end

  it("are in no status, Event or annotation, and no hash that a password could be tried against", function()
    local w = world.new()
    w.object.spec.endpoint = private "$apr1$secret"
    local decision = world.apply(w)
    local client = w.object.status.history[1].spec.endpoint.clients[1]
    assert.equal("foo", client.name)
    assert.matches("^sha256:%x%x%x%x%x%x%x%x$", client.token)
    decision = json.encode { decision.status, decision.events }
    assert.is_nil(decision:find("$apr1$secret", 1, true))
    assert.is_nil(decision:find(digest.sha256("$apr1$secret"):sub(1, 8), 1, true))
    assert.equal("$apr1$secret", w.object.spec.endpoint.clients[1].token, "the spec itself is left alone")
    for _, child in ipairs(world.decide(w).children) do
      assert.is_nil(json.encode(child.metadata):find("$apr1$secret", 1, true), child.kind)
      if child.kind ~= "Secret" then assert.is_nil(json.encode(child):find("$apr1$secret", 1, true), child.kind) end
    end
  end)

  it("leave a digest that tells whether one changed, and nothing of who else has the same", function()
    local w = world.new()
    w.object.spec.endpoint = private "one"
    world.apply(w)
    world.edit(w, function(spec) spec.displayName = "x" end)
    world.edit(w, function(spec) spec.endpoint = private "two" end)
    world.edit(w, function(spec) spec.endpoint = private("two", "bar") end)
    world.apply(w)
    local marks = {}
    for i, record in ipairs(w.object.status.history) do marks[i] = record.spec.endpoint.clients[1].token end
    assert.equal(marks[4], marks[3])
    assert.is_true(marks[3] ~= marks[2] and marks[2] ~= marks[1])
  end)
end)

it("stays within its size: the oldest go, and one that is too large keeps its record", function()
  local w = world.deployed()
  w.settings.history.maxBytes = 5000
  for i = 1, 4 do
    world.edit(w, function(spec) spec.description = ("x"):rep(1500) .. i end)
  end
  world.apply(w)
  assert.same({ 5, 4 }, generations(w.object.status.history))
  world.edit(w, function(spec) spec.description = ("x"):rep(9000) end)
  world.apply(w)
  local newest = w.object.status.history[1]
  assert.is_true(newest.truncated)
  assert.is_nil(newest.spec)
  assert.equal("first", newest.message)
  assert.same({ 6, 5, 4 }, generations(w.object.status.history))
end)

it("keeps the record of each spec that alone is too large, also between others", function()
  local w = world.deployed()
  w.settings.history.maxBytes = 5000
  world.edit(w, renamed "small")
  world.edit(w, function(spec) spec.description = ("x"):rep(6000) end)
  world.edit(w, function(spec) spec.description = "y" end)
  world.apply(w)
  local history = w.object.status.history
  assert.same({ 4, 3, 2, 1 }, generations(history))
  assert.same({ 4, 3, 2, 1 }, { history[1].revision, history[2].revision, history[3].revision, history[4].revision })
  assert.is_true(history[2].truncated)
  assert.is_nil(history[2].spec)
  assert.equal("y", history[1].spec.description)
end)

it("may be longer than 32, up to what the CRD takes", function()
  for limit, most in pairs { [64] = 64, [1000] = 256 } do
    local w = world.deployed()
    w.settings.history.limit, w.object.metadata.generation = limit, 301
    for generation = 2, 301 do
      w.revisions[generation - 1] = { generation = generation, time = "2020-03-23T02:03:15Z", spec = { displayName = "x" } }
    end
    local history = world.decide(w).status.history
    assert.equal(most, #history)
    assert.equal(301, history[1].generation)
    assert.equal(302 - most, history[most].generation)
  end
end)

it("is never more than 256 KiB in the store, whatever the settings say (fault 34)", function()
  local w = world.deployed()
  w.settings.history.maxBytes, w.settings.history.limit = 1 << 30, 1000
  for i = 1, 6 do
    world.edit(w, function(spec) spec.description = ("<"):rep(12000) .. i end) -- six bytes each where it is stored
  end
  world.apply(w)
  local history = w.object.status.history
  assert.same({ 7, 6, 5 }, generations(history))
  assert.is_true(#json.encode(history):gsub("<", "\\u003c") <= 262144)
end)

it("is kept while a stop, a start or a failure goes by", function()
  local w = world.deployed()
  world.edit(w, function(spec) spec.stop = true end)
  world.apply(w)
  w.group = { state = "missing" }
  world.apply(w)
  assert.same({ 2, 1 }, generations(w.object.status.history))
end)

it("waits for the watch while the view is early, so that no generation is passed over", function()
  local w = world.deployed()
  world.edit(w, renamed "two")
  world.edit(w, renamed "three")
  local revisions = w.revisions
  w.revisions, w.early = json.array {}, true
  world.apply(w)
  assert.same({ 1 }, generations(w.object.status.history))
  w.revisions, w.early = revisions, nil
  world.apply(w)
  assert.same({ 3, 2, 1 }, generations(w.object.status.history))
end)
