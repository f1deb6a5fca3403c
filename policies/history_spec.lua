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

it("holds no client's token, only a digest of it", function()
  local w = world.new()
  w.object.spec.endpoint = { accessType = "private", clients = json.array { { name = "foo", token = "$apr1$secret" } } }
  local decision = world.apply(w)
  local client = w.object.status.history[1].spec.endpoint.clients[1]
  assert.equal("foo", client.name)
  assert.equal("sha256:" .. digest.sha256("$apr1$secret"), client.token)
  assert.is_nil(json.encode(decision.status):find("$apr1$secret", 1, true))
  assert.equal("$apr1$secret", w.object.spec.endpoint.clients[1].token)
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

it("is kept while a stop, a start or a failure goes by", function()
  local w = world.deployed()
  world.edit(w, function(spec) spec.stop = true end)
  world.apply(w)
  w.group = { state = "missing" }
  world.apply(w)
  assert.same({ 2, 1 }, generations(w.object.status.history))
end)
