-- The walk through the small world: that the shipped policies pass it, that it finds what is planted, and that it says honestly how far it came.
-- (What it finds of the planted faults: mutants_spec.lua.)

local apart = require "reload.apart"
local guard = require "guard"
local policies = require "policies"
local walk = require "check.walk"

local SHIPPED = policies.files()
local SETTINGS = policies.settings(SHIPPED)

local function planted(file, from, to)
  local files = {}
  for name, text in pairs(SHIPPED) do files[name] = text end
  local first, last = files[file]:find(from, 1, true)
  assert(first, file .. " has no " .. from .. " any more: this spec edits it")
  files[file] = files[file]:sub(1, first - 1) .. to .. files[file]:sub(last + 1)
  return files
end

-- Run or replay with these files.
local function with(files, options, f)
  local generation, failure = policies.generation(files, "policies")
  assert(generation, failure and guard.sentence(failure))
  options.generation, options.base_settings, options.files = generation, options.base_settings or SETTINGS, files
  local result = (f or walk.run)(options)
  generation:close()
  return result
end

local function failure_text(result)
  local failure = result.failure
  return failure and ("%s: %s: %s: --replay '%s'"):format(failure.kind, failure.name, failure.text, failure.replay) or "nothing"
end

local function passes(result)
  assert.equal("nothing", failure_text(result))
  return result
end

local function moonphase(...)
  return assert(process.run { argv = { process.env "MOONPHASE" or "build/moonphase", "--lua", "lua", ... }, timeout = 120 })
end

describe("the shipped policies", function()
  it("hold in every state that one event leads to, faults among them", function()
    local result = passes(with(SHIPPED, { events = 1, faults = 1 }))
    assert.is_true(result.complete)
    assert.equal(1, result.events)
    assert.is_true(result.states > 1500, result.states .. " states")
  end)

  it("hold in the first 15,000 states that two events lead to", function()
    local result = passes(with(SHIPPED, { events = 2, faults = 1, limit = 15000 }))
    assert.is_false(result.complete)
    assert.is_true(result.states >= 15000)
  end)

  it("hold in 100 long stories", function()
    local result = passes(with(SHIPPED, { events = 0, faults = 2, stories = 100 }))
    assert.equal(100, result.stories)
  end)

  it("hold with other settings: another catalogue, routes by a Gateway, a registry in front, no grace", function()
    local settings = assert(policies.settings(SHIPPED))
    settings.catalogNamespace, settings.route, settings.imagePrefix = "elsewhere", "HTTPRoute", "registry.local/"
    settings.httpRoute.parentRefs = json.array { { name = "public", namespace = "gateways" } }
    for name in pairs(settings.grace) do settings.grace[name] = 0 end
    assert.is_true(passes(with(SHIPPED, { events = 1, faults = 0, base_settings = settings })).complete)
  end)

  it("hold where a model stops with its group", function()
    local settings = json.copy(SETTINGS)
    settings.onGroupLost = "stop"
    passes(with(SHIPPED, { events = 2, faults = 1, limit = 12000, base_settings = settings }))
  end)
end)

describe("the walk", function()
  it("tries the same in another order with another seed", function()
    local one, two = with(SHIPPED, { events = 1, faults = 0, seed = 1 }), with(SHIPPED, { events = 1, faults = 0, seed = 77 })
    assert.is_true(one.complete and two.complete)
    assert.is_true(math.abs(one.states - two.states) < one.states / 20, one.states .. " and " .. two.states .. " states")
    assert.equal(one.states, with(SHIPPED, { events = 1, faults = 0, seed = 1 }).states)
  end)

  it("says that it is complete only when it is: not beyond its states, its seconds or its memory", function()
    for _, bound in ipairs { { limit = 300 }, { seconds = 0.05 }, { memory = 1 } } do
      bound.events = 1
      local result = passes(with(SHIPPED, bound))
      assert.is_false(result.complete)
      assert.equal(0, result.events)
    end
  end)

  it("finds a phase that comes too soon, in few steps, and plays it again", function()
    local files = planted("phases.lua", "s.stop and s.gone", "s.stop")
    local found = with(files, { events = 2, limit = 20000 }).failure
    assert.truthy(found)
    assert.equal("invariant", found.kind)
    assert.contains("stop", found.replay)
    assert.is_true(#found.steps < 100, #found.steps .. " steps")
    local again = with(files, { replay = found.replay }, walk.replay).failure
    assert.equal(found.name, again.name)
    assert.equal(found.text, again.text)
    passes(with(SHIPPED, { replay = found.replay }, walk.replay))
  end)

  it("finds a status that is written again and again though nothing goes on", function()
    local found = with(planted("phases.lua", 'message = "Deployment is deployed and available now"',
      'message = function(s) return "deployed, and it is " .. s.now end'), { events = 0 }).failure
    assert.truthy(found)
    assert.equal("quiet", found.kind)
    assert.contains("PhDeployment m is written (status)", found.text)
  end)

  it("finds a policy that never stops asking to look again", function()
    local found = with(planted("phdeployment.lua", "requeue_after = verdict.requeue_after,", "requeue_after = 0.1,"), { events = 0 }).failure
    assert.truthy(found)
    assert.equal("settle", found.kind)
    assert.contains("reconciles were needed", found.text)
  end)

  it("finds a policy that fails in a state that one event leads to, with file and line", function()
    local found = with(planted("phases.lua", "when = function(s) return s.stop and s.gone end",
      "when = function(s) return s.stop and s.gone and s.no.such end"), { events = 1 }).failure
    assert.truthy(found)
    assert.equal("error", found.kind)
    assert.matches("^phases%.lua:%d+: ", found.text)
  end)

  it("finds that a row of the phases claims too much in `from`, where there is no fault", function()
    local found = with(planted("phases.lua", 'from = { "", "Deploying", "Failed" }', 'from = { "" }'), { events = 0 }).failure
    assert.truthy(found)
    assert.equal("from", found.kind)
    assert.contains("Deployed came after Deploying", found.text)
  end)

  it("tells each step: who, what, what was seen, which row decided, what was written", function()
    local found = with(planted("phases.lua", 'message = "Deployment is deployed and available now"',
      'message = function(s) return "deployed, and it is " .. s.now end'), { events = 0 }).failure
    local looks, writes = 0, {}
    for _, step in ipairs(found.steps) do
      assert.contains(step.what, "user world fault operator cluster time")
      assert.truthy(step.text)
      if step.reconciled then
        looks = looks + 1
        assert.truthy(step.seen and step.row)
      end
      for _, write in ipairs(step.writes) do writes[write.verb .. " " .. write.kind] = true end
    end
    assert.is_true(looks > 2)
    assert.is_true(writes["apply Deployment"] and writes["status PhDeployment"])
  end)

  it("leaves nothing behind: no memory, and a log that speaks", function()
    local function memory()
      passes(with(SHIPPED, { limit = 400, events = 1 }))
      collectgarbage()
      collectgarbage()
      return _G.moonphase.memory()
    end
    memory()
    local before = memory()
    memory()
    local more = memory() - before
    assert.is_true(more < 1000000, more .. " bytes more")
    assert.equal("function", type(log.error))
  end)
end)

describe("reload.check", function()
  it("is the same walk in a process of its own: a verdict, or a refusal that says how to see it", function()
    local result = assert(apart.check(SHIPPED, SETTINGS, 0.5))
    assert.is_false(result.complete)
    assert.matches("%d+ states; all stories of up to %d events?, and some of %d", result.text)
    local refused
    result, refused = apart.check(planted("phases.lua", 'from = { "", "Deploying", "Failed" }', 'from = { "" }'), SETTINGS, 30)
    assert.is_nil(result)
    assert.contains("Deployed came after Deploying", refused.text)
    assert.matches("^%d", refused.replay)
  end)
end)

describe("moonphase check, states", function()
  it("prints complete with the number of states, or how far it came", function()
    local all = moonphase("check", "policies", "--only", "states", "--events", "0", "--stories", "2")
    assert.equal(0, all.status, all.errors)
    assert.matches("states: ok    complete, %d+ states %(stories of up to 0 events, at most one a fault; 2 long ones by chance %(seed 1%); ", all.output)
    local some = moonphase("check", "policies", "--only", "states", "--states", "200")
    assert.matches("states: ok    not complete: %d+ states; all stories of up to 0 events, .*and some of 1 event %(seed 1; ", some.output)
    local answer = json.decode(moonphase("check", "policies", "--only", "states", "--events", "0", "-o", "json").output)
    assert.is_true(answer.states.complete)
  end)

  it("ends at Ctrl-C and says how far it came", function()
    local child = process.spawn { argv = { process.env "MOONPHASE" or "build/moonphase", "check", "policies", "--only", "states", "--events", "all" } }
    loop.sleep(3)
    child:signal "INT"
    local status = child:wait(30)
    local said, errors = child:output()
    assert.equal(130, status, errors)
    assert.matches("states: ok    not complete: %d+ states; all stories of up to ", said)
  end)

  it("plays a way again, and says what is wrong with its words", function()
    local played = moonphase("check", "policies", "--only", "states", "--replay", "16 stop 5")
    assert.contains("states: ok    nothing goes wrong on this way", played.output)
    assert.equal(2, moonphase("check", "policies", "--only", "stats").status)
    assert.contains("--events must be a whole number from 0 on, or all", moonphase("check", "policies", "--events", "x").errors)
    local unknown = moonphase("check", "policies", "--only", "states", "--replay", "16 stopp 5")
    assert.equal(2, unknown.status)
    assert.contains("stopp", unknown.errors)
  end)
end)
