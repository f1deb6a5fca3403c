-- The table of invariants: every row can be violated, none is by what is right, and operators' own rows count like ours.

local guard = require "guard"
local invariants = require "check.invariants"
local lint = require "lint"
local machine = require "check.machine"
local policies = require "policies"
local stage = require "sandbox.stage"

log.configure("error", "text")

local SHIPPED = assert(policies.files "policies")

local function loaded(files)
  local generation, failure = policies.generation(files, "policies")
  return assert(generation, failure and guard.sentence(failure))
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local same = setmetatable({}, getmetatable(value))
  for name, one in pairs(value) do same[name] = copy(one) end
  return same
end

-- A moment of the small world, after these events and until nothing goes on any more, as a view of its own. (Before it was the same.)
local function rested(...)
  local generation = loaded(SHIPPED)
  local m = machine.new { generation = generation, declaration = stage.declaration(generation), settings = policies.settings(SHIPPED),
    seed = 1 }
  local seen, decision
  for i = 0, select("#", ...) do
    if i > 0 then m:act((select(i, ...))) end
    for _ = 1, 200 do
      if not m:calm() then break end
      seen, decision = m.seen or seen, m.decision or decision
    end
  end
  local view = copy(m:view(nil))
  view.previous = copy(view)
  view.seen, view.decision = seen, decision
  m:close()
  generation:close()
  return view
end

local DEPLOYED, STOPPED, MISSING = rested(), rested "stop", rested "image-missing"
local FAILED, DELETED, LOCKED = rested("image-missing", "image"), rested "delete", rested "private"
local FETCHED, BARE = rested "model-uri", rested "engine"

local function condition(view, kind)
  for _, one in ipairs(view.object.status.conditions) do
    if one.type == kind then return one end
  end
end

local function status(change)
  return function(view) change(view.object.status, view) end
end

local function pod_spec(change)
  return function(view) change(view.children.Deployment.spec.template.spec) end
end

local function model(change)
  return pod_spec(function(spec) change(spec.containers[1]) end)
end

local FETCHED_BY = FETCHED.children.Deployment.spec.template.spec.initContainers

-- row, view, edit (settled: the view is one at rest)
local LIES = {
  { "one of five phases", DEPLOYED, status(function(s) s.phase = "Happy" end) },
  { "reason and message", DEPLOYED, status(function(s) s.message = "" end) },
  { "short messages", DEPLOYED, status(function(s) s.message = ("x"):rep(1025) end) },
  { "no names of pods", DEPLOYED, status(function(s, view) s.message = "see " .. view.pods[1].metadata.name end) },
  { "Ready agrees with the phase", DEPLOYED, function(view) condition(view, "Ready").status = "False" end },
  { "Stopped agrees with the phase", STOPPED, function(view) condition(view, "Stopped").status = "False" end },
  { "Available agrees with the count", DEPLOYED, status(function(s) s.availableReplicas = 0 end) },
  { "a failure has its condition", FAILED, function(view) condition(view, "ImagePulled").reason = "Pulled" end },
  { "the phase fits the spec", DEPLOYED, function(view) view.object.spec.stop, view.children.Deployment.spec.replicas = true, 0 end },
  { "no generation that is not there", DEPLOYED, status(function(s) s.observedGeneration = 2 end) },
  { "observedGeneration never falls", DEPLOYED, function(view) view.previous.object.status.observedGeneration = 2 end },
  { "conditions are of the status", DEPLOYED, function(view) condition(view, "Available").observedGeneration = 0 end },
  { "lastTransitionTime moves with the status", DEPLOYED,
    function(view) condition(view, "Available").lastTransitionTime = "2026-01-01T11:00:00Z" end },
  { "an orderly history", DEPLOYED, status(function(s) s.history[2] = copy(s.history[1]) end) },
  { "a faithful history", DEPLOYED, status(function(s) s.history[1].spec.displayName = "another" end) },
  { "history is not rewritten", DEPLOYED, status(function(s) s.history[1].time = "2020-01-01T00:00:00Z" end) },
  { "tokens stay secret", LOCKED, status(function(s, view) s.message = view.object.spec.endpoint.clients[1].token end) },
  { "Deployed is deployed", DEPLOYED,
    function(view) view.children.Deployment.spec.template.spec.containers[1].image = "another:v7" end },
  { "Deployed is deployed", DEPLOYED, function(view) view.children.Deployment.status.observedGeneration = 0 end },
  { "Deployed is deployed", DEPLOYED, model(function(one) one.env[#one.env].value = "another" end) },
  { "Deployed is deployed", DEPLOYED, model(function(one) table.insert(one.env, 1, table.remove(one.env)) end) },
  { "Deployed is deployed", FETCHED, pod_spec(function(spec) spec.initContainers = nil end) },
  { "Deployed is deployed", FETCHED, pod_spec(function(spec) spec.initContainers[1].args[1] = "s3://another" end) },
  { "Deployed is deployed", FETCHED, model(function(one) one.volumeMounts = nil end) },
  { "Deployed is deployed", DEPLOYED, pod_spec(function(spec) spec.initContainers = FETCHED_BY end) },
  { "Deployed is deployed", BARE, pod_spec(function(spec) spec.containers[2] = { name = "seldon-container-engine" } end) },
  { "Deployed is deployed", DEPLOYED, function(view)
    view.object.spec.predictors[1].engine = "seldon"
    table.remove(view.children.Deployment.spec.template.spec.containers)
  end },
  { "what was taken out is gone", DEPLOYED, function(view) table.remove(view.object.spec.env) end },
  { "Stopped is empty", STOPPED, function(view) view.pods = copy(DEPLOYED.pods) end },
  { "a ready route is there", DEPLOYED, function(view) view.children.Ingress, view.previous.children.Ingress = nil, nil end },
  { "the endpoint is this object's", DEPLOYED, status(function(s) s.endpoint = "http://x/deployment/other/api/v1.0/predictions" end) },
  { "what runs is not removed", DEPLOYED, function(view) view.children.Service = nil end },
  { "what runs is not removed", DEPLOYED, function(view) view.children.Service.metadata.uid = "another" end },
  { "replicas are asked for", STOPPED, function(view)
    view.children.Deployment.spec.replicas, view.object.status = 7, nil
  end },
  { "no restart without a change", DEPLOYED, function(view)
    local deployment = view.children.Deployment
    deployment.metadata.generation, deployment.status.observedGeneration = 2, 2
    deployment.spec.template.metadata.labels.more = "labels"
  end },
  { "others' objects are left alone", DEPLOYED, function(view)
    view.previous.children.Secret = { metadata = { name = "deploy-m" } }
    view.children.Secret = { metadata = { name = "deploy-m", labels = { ours = "now" } } }
    view.writes = { { verb = "apply", kind = "Secret", name = "deploy-m" } }
  end },
  { "children have their owner", DEPLOYED, function(view) view.children.Service.metadata.ownerReferences = nil
    view.previous.children.Service = nil end },
  { "a status of the present spec", DEPLOYED, function(view) view.object.metadata.generation = 2 end, settled = true },
  { "what is wrong is told", DEPLOYED, function(view) view.scene.group = "missing" end, settled = true },
  { "what is wrong is told", FAILED, function(view) view.scene.image_ok = true end, settled = true },
  { "what is deployed is what was asked for", DEPLOYED, function(view)
    view.children.Deployment.status.availableReplicas, view.scene.node_full = 0, true
  end, settled = true, also = "what is wrong is told" },
  { "a stop is a stop", STOPPED, function(view)
    view.object.status, view.pods = { observedGeneration = 2 }, copy(DEPLOYED.pods)
  end, settled = true, also = "a status of the present spec" },
  { "a stop is told", STOPPED, status(function(s)
    s.phase = "Stopping"
    for _, one in ipairs(s.conditions) do one.status = "False" end
  end), settled = true },
  { "the endpoint leads to the model", DEPLOYED, function(view) view.children.Service.spec.selector = { app = "else" } end,
    settled = true },
  { "the endpoint leads to the model", BARE, function(view) view.children.Service.spec.ports[1].targetPort = 8000 end, settled = true },
  { "private is locked, public is open", LOCKED, function(view) view.children.Ingress.metadata.annotations = {} end, settled = true },
  { "the counts are right", DEPLOYED, status(function(s) s.updatedReplicas = 0 end), settled = true },
  { "the newest record", DEPLOYED, status(function(s) s.history = json.array {} end), settled = true },
  { "no generation is lost", STOPPED, status(function(s)
    s.history[2].generation, s.observedGeneration = 0, 2
  end), settled = true, also = "history is not rewritten" },
  { "nothing is left", DELETED, function(view) view.children.Secret = copy(LOCKED.children.Secret) end, settled = true },
}

describe("the invariants", function()
  for name, view in pairs { Deployed = DEPLOYED, Stopped = STOPPED, Failed = FAILED, ["Deployed, its image missing since"] = MISSING,
    deleted = DELETED, private = LOCKED, fetched = FETCHED,
    ["without an engine"] = BARE, ["told its environment in another order"] = rested "env" } do
    it("hold of a model that is " .. name .. ", on the way and at rest", function()
      for _, settled in ipairs { false, true } do
        local given = copy(view)
        given.seen, given.settled = view.seen, settled
        assert.same({}, { invariants.check(invariants.ROWS, given) })
      end
    end)
  end

  for _, lie in ipairs(LIES) do
    it("find what is against: " .. lie[1], function()
      local view = copy(lie[2])
      view.settled = lie.settled
      lie[3](view)
      local rows = {}
      for _, one in ipairs(invariants.ROWS) do
        if one.name == lie[1] then rows[1] = one end
      end
      local name, text = invariants.check(rows, view)
      assert.equal(lie[1], name)
      assert.is_nil(text:find("{", 1, true), text)
      assert.truthy(invariants.check(invariants.ROWS, view))
    end)
  end

  it("are each tried above", function()
    local tried = {} -- by mutants_spec.lua, what an operator saw
    for _, what in ipairs { "Deployed", "Failed", "Stopped", "what is fetched" } do tried[what .. " was seen"] = true end
    for _, lie in ipairs(LIES) do tried[lie[1]] = true end
    for _, one in ipairs(invariants.ROWS) do assert.is_true(tried[one.name], "no lie is told against: " .. one.name) end
  end)
end)

local function with_own(source)
  local files = copy(SHIPPED)
  files["invariants.lua"] = source
  return files
end

-- What the rows of an operator say of a view.
local function own(source, view)
  local files = with_own(source)
  local generation = loaded(files)
  local name, text = invariants.check(invariants.of(generation, files), view)
  generation:close()
  return name, text
end

-- A table of one row with these columns.
local function row(columns)
  return "return invariants { { name = 'n', when = 'always', " .. columns .. " } }"
end

describe("an operator's own invariants", function()
  it("hold beside ours, with evidence and the view in their text", function()
    local name, text = own([[return invariants { { name = "few pods", when = "always",
      given = function(v) return v.phase == "Deployed" end,
      holds = function(v) return #v.pods == 0, { why = #v.pods } end,
      text = "{phase} with {why} pod of {object.metadata.name}, {status.observedGeneration}" } }]], DEPLOYED)
    assert.equal("few pods", name)
    assert.equal("Deployed with 1 pod of m, 1", text)
  end)

  it("are asked at each step, of what was before, or at rest, as they say", function()
    local before = [[return invariants { { name = "n", when = "step", text = "t",
      holds = function(v) return v.previous.phase == nil end } }]]
    local rest = [[return invariants { { name = "n", when = "settled", holds = function() return false end, text = "t" } }]]
    local view = copy(STOPPED)
    assert.equal("n", (own(before, view)))
    view.previous = nil
    assert.is_nil((own(before, view)))
    assert.is_nil((own(rest, view)))
    view.settled = true
    assert.equal("n", (own(rest, view)))
  end)

  it("may be that of the guide", function()
    local guide = assert(fs.read "policies/README.md")
    local example = assert(guide:match("\n( +{ name = \"models have an owner\".-},)\n\n"), "policies/README.md has no such row any more")
    assert.is_nil((own("return invariants {" .. example .. "}", DEPLOYED)))
    local view = copy(DEPLOYED)
    view.object.spec.userName, view.object.status.history = "", json.array {}
    local name, text = own("return invariants {" .. example .. "}", view)
    assert.equal("models have an owner", name)
    assert.equal("m runs, and nobody knows whose it is", text)
  end)

  it("that fail are told with file and line", function()
    local name, text = own(row("\nholds = function(v) return v.nothing.there end, text = 't'"), DEPLOYED)
    assert.equal("invariants.lua", name)
    assert.contains("invariants.lua:2: ", text)
  end)

  it("run in the sandbox of policies: no clock, and an end to what never ends", function()
    local _, clock = own(row "holds = function() return os.time() end, text = 't'", DEPLOYED)
    assert.contains("os", clock)
    local _, endless = own(row "holds = function() while true do end end, text = 't'", DEPLOYED)
    assert.contains("instructions", endless)
  end)

  it("that make no sense are refused when they are loaded, with the row", function()
    local function refusal(columns)
      local generation, failure = policies.generation(with_own(row(columns)), "p")
      assert.is_nil(generation)
      return guard.sentence(failure)
    end
    assert.contains("row 1 of the invariants (n) has no `text`", refusal "holds = always")
    assert.contains("has a key `hold`, which means nothing", refusal "text = 't', hold = 1, holds = always")
    assert.contains("it is always, step or settled", refusal "text = 't', when = 'never', holds = always")
    assert.contains("no function", refusal "text = 't', holds = true")
  end)

  it("are looked at by lint: names of rows, and of what a view has", function()
    local function finding(source)
      for _, one in ipairs(lint.check(with_own(source), nil, { specs = false })) do
        if one.file == "invariants.lua" then return one.severity .. ": " .. one.text end
      end
    end
    assert.is_nil(finding(SHIPPED["invariants.lua"]))
    assert.contains("an invariant knows no `hold`", finding(row "hold = always, text = 't'"))
    assert.contains("never \"settle\"", finding "return invariants { { name = 'n', when = 'settle', holds = always, text = 't' } }")
    assert.contains("phaes", finding(row "holds = function(v) return v.phaes == 'Deployed' end, text = 't'"))
    assert.contains("may be nil", finding(row "holds = function(v) return v.object.metadata.name ~= '' end, text = 't'"))
  end)
end)
