-- Pacing of an edit that changes pod templates, on a world made of plain tables.

local rollout = require "rollout"

local world, children, objects, woken, pace
local indexes -- what models name: {a = {instance_type = "cpu"}}

local informer = {
  get = function(_, key) return children[key] and { indexes = { digest = children[key].digest } } end,
  read = function(_, key) return children[key] and { metadata = { annotations = { mark = children[key].template.image, asked = children[key].asked } },
    spec = { replicas = children[key].replicas, template = children[key].template } } end,
}

local function setup(budget)
  children, objects, woken, indexes = {}, {}, {}, {}
  informer.kind = nil
  local notes = setmetatable({}, { __index = function(all, key)
    all[key] = {}
    return all[key]
  end })
  world = { digest = "new", settings = { rollout = { budget = budget } }, add = function(_, key) woken[#woken + 1] = key end,
    notes = function(_, key) return notes[key] end, objects = { read = function(_, key) return objects[key] end } }
  pace = rollout.new(world)
end

local OLD, NEW = { image = "a:1" }, { image = "a:2" }

-- A model that runs, written by the old policy.
local function running(name, phase)
  children["hub/d-" .. name] = { digest = "old", replicas = 1, template = OLD }
  objects["hub/" .. name] = { status = { phase = phase or "Deployed", observedGeneration = 1 } }
end

-- What hold() lets through; with `write` it is written. asked: what the child tells of its user.
local function hold(name, generation, write, asked)
  local child = { kind = "Deployment", spec = { replicas = 1, template = NEW } }
  child.metadata = { name = "d-" .. name, namespace = "hub", annotations = { mark = NEW.image, other = "x", asked = asked and asked .. "-template" } }
  local allowed, digest = pace:hold("hub/" .. name, { generation = generation or 1, indexes = indexes[name] }, child, informer)
  if write ~= false then
    children["hub/d-" .. name] = { digest = digest, replicas = 1, template = allowed.spec.template, asked = allowed.metadata.annotations.asked }
  end
  assert.equal(allowed.spec.template.image, allowed.metadata.annotations.mark, "the annotation that tells of the template goes with it")
  assert.equal("x", allowed.metadata.annotations.other)
  return allowed.spec.template.image, digest
end

local function observe(name, phase)
  pace:observe("hub/" .. name, { phase = phase, observedGeneration = 1 })
  pace:advance()
end

describe("an edit of the policy", function()
  before_each(function()
    setup(1)
    for _, name in ipairs { "a", "b", "c" } do running(name) end
  end)

  it("moves as many as the budget says; the others keep template and digest", function()
    assert.equal("a:2", (hold "a"))
    local image, digest = hold "b"
    assert.equal("a:1", image)
    assert.equal("old", digest)
    assert.truthy(pace:is_held "hub/b")
    setup(2)
    for _, name in ipairs { "a", "b", "c" } do running(name) end
    hold "a"
    assert.equal("a:2", (hold "b"))
    assert.equal("a:1", (hold "c"))
  end)

  it("goes on when the one that moved is Deployed with the new template", function()
    hold "a"
    hold "b"
    observe("a", "Deploying")
    assert.equal(0, #woken)
    hold "a"
    observe("a", "Deployed")
    assert.same({ "hub/b" }, woken)
    assert.equal("a:2", (hold "b"))
  end)

  it("is not misled by a Deployed that tells of the old template, when the write failed", function()
    hold("a", 1, false)
    hold "b"
    observe("a", "Deployed")
    assert.equal(0, #woken)
    assert.equal("a:1", (hold "b"))
    assert.equal("a:2", (hold "a"))
  end)

  it("wakes one for each free place, not all", function()
    for _, name in ipairs { "a", "b", "c" } do hold(name) end
    hold "a"
    observe("a", "Deployed")
    assert.equal(1, #woken)
    pace:advance() -- the woken one turned out to need no place
    assert.equal(2, #woken)
  end)

  it("lets a user's change pass at once", function()
    hold "a"
    assert.equal("a:2", (hold("b", 2)))
    assert.falsy(pace:is_held "hub/b")
  end)

  it("forgets that one was held when its user changes it", function()
    hold "a"
    hold "b"
    hold("b", 2)
    assert.equal(0, pace:waiting())
  end)

  it("lets stopped models pass: nothing runs that could be restarted", function()
    hold "a"
    children["hub/d-b"].replicas = 0
    assert.equal("a:2", (hold "b"))
  end)

  it("that changes no template holds nobody back", function()
    for _, name in ipairs { "a", "b" } do
      children["hub/d-" .. name].template = NEW
      local _, digest = hold(name)
      assert.matches("^new%.%x+$", digest)
    end
  end)

  it("does not count the mending of drift that this policy wrote", function()
    hold "a"
    children["hub/d-b"] = { digest = "new", replicas = 1, template = { image = "meddled" } }
    assert.equal("a:2", (hold "b"))
  end)

  it("frees its place when the moving object is deleted, or stopped", function()
    hold "a"
    hold "b"
    pace:forget "hub/a"
    pace:advance()
    assert.same({ "hub/b" }, woken)
    hold "b"
    hold "c"
    observe("b", "Stopped")
    assert.equal("hub/c", woken[2])
  end)
end)

describe("the first model that turns Failed", function()
  before_each(function()
    setup(1)
    for _, name in ipairs { "a", "b" } do running(name) end
    hold "a"
    hold "b"
    observe("a", "Failed")
  end)

  it("goes back to its old template and digest", function()
    assert.same({ "hub/a" }, woken)
    local image, digest = hold "a"
    assert.equal("a:1", image)
    assert.equal("old", digest)
    image = hold "a"
    assert.equal("a:1", image, "and stays there")
  end)

  it("stops the others where they are", function()
    hold "a"
    observe("a", "Deployed")
    assert.equal("a:1", (hold "b"))
    assert.equal(1, #woken)
  end)

  it("takes the new template when its user changes it", function()
    hold "a"
    assert.equal("a:2", (hold("a", 2)))
    assert.equal("a:2", (hold("a", 2)))
  end)
end)

describe("an edit of an instance type", function()
  local before

  before_each(function()
    setup(1)
    before = NEW
    world.inputs = { instance_type = {} }
    for _, name in ipairs { "a", "b", "c" } do
      running(name)
      indexes[name] = { instance_type = name == "c" and "gpu" or "cpu" }
      hold(name) -- by this policy from here on
      observe(name, "Deployed")
      hold(name)
      observe(name, "Deployed")
    end
    woken = {}
  end)

  -- The template that the policy wants of all, from now on.
  local function edit(image)
    NEW = { image = image }
  end

  local function spec(name, body)
    it(name, function()
      local ok, failure = pcall(body)
      NEW = before
      if not ok then error(failure, 0) end
    end)
  end

  spec("takes no place of a user's edit that was blocked or refused when it came, also after a swap", function()
    objects["hub/a"].status.observedGeneration = 2 -- told, and nothing written
    pace = rollout.new(world, pace)
    edit "a:3"
    assert.equal("a:3", (hold("a", 2, false)))
    assert.equal("a:3", (hold("a", 2)))
    assert.falsy(pace:is_held "hub/a")
    assert.equal("a:3", (hold "b"), "the one place is free")
    assert.equal("a:2", (hold "c"))
    hold("a", 2)
    edit "a:4"
    assert.equal("a:3", (hold("a", 2)), "what comes after it was written is an edit of the instance type")
  end)

  spec("moves as many as the budget says, under the same policy", function()
    edit "a:3"
    assert.equal("a:3", (hold "a"))
    assert.equal("a:2", (hold "b"))
    assert.truthy(pace:is_held "hub/b")
    hold "a"
    observe("a", "Deployed")
    assert.same({ "hub/b" }, woken)
    assert.equal("a:3", (hold "b"))
  end)

  spec("is no drift, which is mended at once", function()
    edit "a:3"
    hold "a"
    children["hub/d-b"].template = { image = "meddled" }
    NEW = before
    assert.equal("a:2", (hold "b"))
    assert.falsy(pace:is_held "hub/b")
  end)

  spec("that a model fails with stops those that use it, and nobody else", function()
    world.trial = { rollout_stopped = function() error("the policy is not to blame") end }
    pace:input_changed("instance_type", "cpu")
    edit "a:3"
    hold "a"
    local event = pace:observe("hub/a", { phase = "Failed", message = "no room", observedGeneration = 1 })
    assert.equal("RolloutStopped", event.reason)
    assert.contains("with an edit of its group or instance type this model failed", event.message)
    assert.equal("a:2", (hold "a"))
    assert.equal("a:2", (hold "b"))
    woken = {}
    pace:advance()
    pace:advance()
    assert.same({}, woken, "nobody is woken for nothing")
    assert.equal("a:3", (hold "c"))
  end)

  spec("goes on when it is edited again, also for the one that failed", function()
    edit "a:3"
    hold "a"
    observe("a", "Failed")
    hold "a"
    hold "b"
    pace:input_changed("instance_type", "cpu")
    edit "a:4"
    assert.equal("a:4", (hold "a"))
    assert.equal("a:2", (hold "b"))
    hold "a"
    observe("a", "Deployed")
    assert.equal("a:4", (hold "b"))
  end)

  spec("goes on when the model that failed is deleted", function()
    edit "a:3"
    hold "a"
    observe("a", "Failed")
    hold "b"
    pace:forget "hub/a"
    woken = {}
    pace:advance()
    assert.same({ "hub/b" }, woken)
    assert.equal("a:3", (hold "b"))
  end)

  describe("with children that tell what their user asked for", function()
    before_each(function()
      informer.kind = { user_mark = "asked" }
      for _, name in ipairs { "a", "b", "c" } do hold(name, 1, true, "one") end
      for _, one in pairs(children) do one.asked = "one-template" end
    end)

    spec("moves nobody whose user edits a description, also after a stop", function()
      edit "a:3"
      hold("a", 1, true, "one")
      assert.equal("a:2", (hold("b", 2, true, "one")))
      assert.truthy(pace:is_held "hub/b")
      observe("a", "Failed")
      assert.equal("a:2", (hold("a", 2, true, "one")), "it went back, and stays there")
      assert.equal("a:2", (hold("b", 3, true, "one")))
    end)

    spec("lets a restart on request pass, which is no new generation, and is not to blame where that fails", function()
      edit "a:3"
      hold("a", 1, true, "one")
      assert.equal("a:3", (hold("b", 1, true, "restart")))
      assert.falsy(pace:is_held "hub/b")
      assert.is_nil(pace:observe("hub/b", { phase = "Failed", message = "no room", observedGeneration = 1 }))
    end)

    spec("takes another policy's word for what the user asked only if the user's generation is another", function()
      world.digest = "newer"
      pace = rollout.new(world, pace)
      edit "a:3"
      assert.equal("a:3", (hold("a", 1, true, "read otherwise")))
      assert.equal("a:2", (hold("b", 1, true, "read otherwise")), "one at a time")
      assert.equal("a:2", (hold("b", 2, true, "one")))
      assert.equal("a:3", (hold("b", 2, true, "edited")))
    end)
  end)

  spec("that was before we began and that a model fails with is let go by the next edit of any that may be to blame", function()
    world.inputs.group = {}
    for _, name in ipairs { "a", "b" } do indexes[name] = { instance_type = "cpu", group = "team" } end
    edit "a:3"
    hold "a"
    observe("a", "Failed")
    hold "a"
    assert.equal("a:2", (hold "b"))
    pace:input_changed("instance_type", "cpu")
    edit "a:4"
    assert.equal("a:4", (hold "b"))
  end)

  spec("that is taken back needs no restart", function()
    edit "a:3"
    hold "a"
    hold "b"
    edit "a:2"
    assert.equal("a:2", (hold "b"))
    assert.falsy(pace:is_held "hub/b")
  end)
end)

it("a model that was Failed before proves nothing: the rollout goes on", function()
  setup(1)
  running("a", "Failed")
  running "b"
  hold "a"
  hold "b"
  observe("a", "Failed")
  assert.is_false(pace.stopped)
  assert.same({ "hub/b" }, woken)
end)

it("a budget that is no number, or none, is one", function()
  for _, budget in ipairs { "many", 0, -3, false } do
    setup(budget)
    assert.equal(1, pace.budget)
  end
  setup("3")
  assert.equal(3, pace.budget)
  world.settings = { rollout = json.null }
  assert.equal(1, rollout.new(world).budget)
end)

it("a dry run holds nobody back, so that it tells of all", function()
  setup(1)
  world.dry_run = function() end
  running "a"
  running "b"
  assert.equal("a:2", (hold "a"))
  assert.equal("a:2", (hold "b"))
end)

describe("a swap of policies in the middle of a rollout", function()
  before_each(function()
    setup(1)
    for _, name in ipairs { "a", "b" } do running(name) end
    hold "a"
    hold "b"
    pace = rollout.new(world, pace)
  end)

  it("leaves the moving model its place: no second one restarts meanwhile", function()
    world.digest = "newest"
    assert.equal("a:1", (hold "b"))
    assert.equal("a:2", (hold "a"))
    observe("a", "Deployed")
    assert.equal("a:2", (hold "b"))
  end)

  it("takes the moving model's word only when it has the newest template", function()
    world.digest = "newest"
    local before = NEW
    NEW = { image = "a:3" }
    hold("a", 1, false) -- its write failed
    observe("a", "Deployed")
    local image = hold "b"
    NEW = before
    assert.equal("a:1", image)
  end)

  it("tells the trial of the policies of the first new Failed", function()
    local told
    world.trial = { rollout_stopped = function(_, key, why) told = key .. " " .. tostring(why) end }
    hold "a"
    pace:observe("hub/a", { phase = "Failed", message = "crashed", observedGeneration = 1 })
    assert.equal("hub/a crashed", told)
  end)
end)

describe("after a start, or a change of leader,", function()
  before_each(function()
    setup(1)
    for _, name in ipairs { "a", "b", "c" } do running(name) end
    pace:begin { "hub/a", "hub/b", "hub/c" }
  end)

  local function looked_at(name)
    pace:looked_at("hub/" .. name)
    pace:advance()
  end

  -- b was moved by whoever led before, and is on its way; a and c wait.
  local function one_on_its_way()
    children["hub/d-b"] = { digest = rollout.mark("new", { spec = { template = NEW } }), replicas = 1, template = NEW }
    hold "a"
    observe("a", "Deployed")
    looked_at "a"
    hold "b"
    observe("b", "Deploying")
    looked_at "b"
    hold "c"
    observe("c", "Deployed")
    looked_at "c"
  end

  it("nobody moves before all were looked at, or are gone", function()
    assert.equal("a:1", (hold "a"))
    looked_at "a"
    pace:forget "hub/b"
    pace:advance()
    assert.equal(0, #woken)
    hold "c"
    looked_at "c"
    assert.same({ "hub/a" }, woken)
    assert.equal("a:2", (hold "a"))
    assert.equal("a:1", (hold "c"))
  end)

  it("who is found on its way keeps a place until it has arrived", function()
    one_on_its_way()
    assert.equal(0, #woken)
    assert.equal("a:1", (hold "a"))
    hold "b"
    observe("b", "Deployed")
    assert.same({ "hub/a" }, woken)
    assert.equal("a:2", (hold "a"))
    assert.equal("a:1", (hold "c"))
  end)

  it("who is found on its way is not turned round before it has arrived, also by other policies", function()
    one_on_its_way()
    world.digest = "other"
    pace = rollout.new(world, pace)
    local before = NEW
    NEW = { image = "a:3" }
    local on_its_way, waiting = hold "b", hold "a"
    observe("b", "Deployed")
    local first = woken[1]
    local after = hold "a"
    NEW = before
    assert.equal("a:2", on_its_way)
    assert.equal("a:1", waiting)
    assert.equal("hub/a", first)
    assert.equal("a:3", after)
  end)

  it("that one fails that is found on its way proves nothing: nobody knows who moved it", function()
    one_on_its_way()
    observe("b", "Failed")
    assert.is_false(pace.stopped)
    assert.same({ "hub/a" }, woken)
  end)

  it("who is Failed, Stopped, or was not decided yet takes no place", function()
    for name, phase in pairs { a = "Failed", b = "Stopped" } do
      hold(name)
      observe(name, phase)
      looked_at(name)
    end
    pace:observe("hub/c", nil)
    looked_at "c"
    assert.equal(1, #woken)
  end)
end)
