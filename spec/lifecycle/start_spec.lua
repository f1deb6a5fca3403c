-- What the real operator begins with: a folder that passes, or the policies that have proven themselves, whatever the folder holds.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local edited = include "spec/lifecycle/edited.lua"

local folder_of, edit, logged, log_has, verbose, message_is, OLD = edited.folder_of, edited.edit, edited.logged, edited.log_has, edited.verbose,
  edited.message_is, edited.DEPLOYED

local QUICK = { reload = { trial = "1s", check = "0s" } }
local KEPT = "are kept as the last good ones"

local function config_map(world, method, body)
  return world.cluster:request { method = method, path = "/api/v1/namespaces/" .. world.namespace .. "/configmaps/kept", body = body,
    content_type = method == "PATCH" and "application/merge-patch+json" or nil }
end

local function start(world, folder)
  world:start_operator { policies = folder, words = { "--last-good", world.namespace .. "/kept" } }
end

local function crash(world)
  world.operator:signal("KILL")
  world.operator:wait(10)
  world.operator = nil
end

-- It ends by itself, with status 1: its last words.
local function ends(world)
  assert.equal(1, world.operator:wait(20), "it should have ended with status 1")
  world.operator = nil
  return assert(fs.read(world.log))
end

describe("run --policies", function()
  it("does not begin with what lint refuses, and says where it is", function()
    harness.with({ operator = false }, function(world)
      local folder = folder_of(world, "policies")
      edit(folder, "failures.lua", "Group not found: {spec.groupName}", "Group not found: {spec.groupNam}")
      world:start_operator { policies = folder }
      local said = ends(world)
      assert.contains("are refused, step lint: failures.lua:", said)
      assert.contains("groupNam", said)
      assert.contains("moonphase check " .. folder, said)
    end)
  end)

  it("does not begin with what fails its specs, nor with settings that make no sense", function()
    harness.with({ operator = false }, function(world)
      local folder = folder_of(world, "policies")
      assert(fs.write(folder .. "/own_spec.lua", [[
describe("a model", function()
  it("is never called that", function() assert.equal("two", "t" .. "oo") end)
end)
]]))
      world:start_operator { policies = folder }
      assert.contains('step specs: own_spec.lua: a model is never called that: own_spec.lua:2: expected "two", got "too"', ends(world))
      assert(fs.remove(folder .. "/own_spec.lua"))
      world:use_settings { grace = { image = -1 } }
      world:start_operator { policies = folder }
      assert.contains("grace.image is \"-1\": it is a whole number from 0 on", ends(world))
    end)
  end)
end)

describe("run --last-good", function()
  local function serves(world, folder)
    start(world, folder)
    world:deploy "m"
    world:phase("m", "Deployed")
    logged(world, KEPT)
  end

  it("keeps what has proven itself, and a save that was refused is not live after a crash either", function()
    harness.with({ operator = false, settings = QUICK }, function(world)
      local folder = folder_of(world, "policies")
      serves(world, folder)
      edit(folder, "phases.lua", OLD, '"{nothing.here}"')
      logged(world, "policies refused")
      crash(world)
      start(world, folder)
      logged(world, "begun with the last good policies")
      logged(world, "policies refused")
      assert.contains("reload: refused at", verbose(world))
      world:deploy "n"
      message_is(world, "n", OLD:sub(2, -2), 30)
      edit(folder, "phases.lua", '"{nothing.here}"', '"It serves."')
      message_is(world, "m", "It serves.")
      logged(world, KEPT)
      crash(world)
      start(world, folder)
      logged(world, "caches are complete")
      world:deploy "o"
      message_is(world, "o", "It serves.", 30)
      assert.is_false(log_has(world, "policies reloaded"), "the folder holds what is kept: nothing is to be tried")
    end)
  end)

  it("restarts no model for an edit that was on trial and goes on being so", function()
    harness.with({ operator = false, settings = QUICK }, function(world)
      local folder = folder_of(world, "policies")
      serves(world, folder)
      world:use_settings { reload = { trial = "1h", check = "0s" } }
      logged(world, "policies reloaded")
      edit(folder, "children/deployment.lua", "app = s.settings.appLabel", 'tier = "one", app = s.settings.appLabel')
      local function template() return world:child("Deployment", "m").spec.template.metadata.labels.tier end
      harness.eventually("the edit moved the model", 20, function() return template() == "one" end)
      world:phase("m", "Deployed")
      local before = world:child("Deployment", "m").metadata.generation
      crash(world)
      start(world, folder)
      logged(world, "begun with the last good policies")
      logged(world, "policies reloaded")
      loop.sleep(1)
      assert.equal("one", template())
      assert.equal(before, world:child("Deployment", "m").metadata.generation, "it was written in between")
    end)
  end)

  it("does not try a save anew that was taken back, until it is edited", function()
    harness.with({ operator = false, settings = QUICK }, function(world)
      local folder = folder_of(world, "policies")
      serves(world, folder)
      world:use_settings { reload = { trial = "1h", check = "0s" } }
      logged(world, "policies reloaded")
      edit(folder, "facts.lua", "  s.private = s.spec.endpoint", '  if s.name == "odd" then error "odd indeed" end\n  s.private = s.spec.endpoint')
      harness.eventually("the edit is live", 20, function() return select(2, (fs.read(world.log) or ""):gsub("policies reloaded", "")) == 2 end)
      world:deploy "odd"
      logged(world, "the new policies are taken back")
      world:phase("odd", "Deployed")
      harness.eventually("it is noted", 20, function() return config_map(world, "GET").body:find("odd indeed", 1, true) ~= nil end)
      crash(world)
      start(world, folder)
      logged(world, "this save went live at an earlier run, and was taken back at ")
      assert.contains("odd indeed", verbose(world))
      edit(folder, "facts.lua", 'error "odd indeed"', "s.odd = true")
      logged(world, "policies reloaded")
    end)
  end)

  it("begins with the folder where what is kept does not load any more, and leaves a stranger's ConfigMap alone", function()
    harness.with({ operator = false, settings = QUICK }, function(world)
      local folder = folder_of(world, "policies")
      serves(world, folder)
      world:stop_operator()
      assert.equal(200, config_map(world, "PATCH", { data = { ["policies.json"] = '{"files":{"phdeployment.lua":"oops oops"},"settings":{}}' } }).status)
      start(world, folder)
      logged(world, "the last good policies cannot be used any more")
      message_is(world, "m", OLD:sub(2, -2))
      logged(world, KEPT)
      world:stop_operator()
      assert.equal(200, config_map(world, "PATCH", { data = { ["policies.json"] = "oops" } }).status)
      edit(folder, "failures.lua", "Group not found: {spec.groupName}", "Group not found: {spec.groupNam}")
      start(world, folder)
      local said = ends(world)
      assert.contains("what is kept as the last good policies is none: somebody else wrote it", said)
      assert.contains("/kept holds none that have proven themselves and could be begun with", said)
      assert.equal(200, config_map(world, "PATCH", { metadata = { labels = { ["app.kubernetes.io/managed-by"] = "somebody" } } }).status)
      start(world, folder)
      assert.contains("is not moonphase's", ends(world))
    end)
  end)
end)
