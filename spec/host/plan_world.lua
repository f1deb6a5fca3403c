-- Four models at rest in a simulated cluster, the plan of an edited folder there, and what an operator with that folder then does:
-- all in this process and on virtual time (sandbox/inprocess.lua), so that both begin at the same instant of the same world.

local include = require "include"
local contract = require "contract"
local changes = require "plan.changes"
local execute = require "plan.execute"
local explain = require "explain"
local life = include "spec/sandbox/life.lua"
local paper = require "reload.paper"
local plan_file = require "plan.file"
local policies = require "policies"
local rollout = require "rollout"
local view = require "plan.view"
local watches = require "watches"
local whole = require "plan.whole"

local M = {}
M.__index = M

M.SETTINGS = { rollout = { budget = 100 } } -- a plan says what all come to; pacing is rollout_spec's

local function models()
  return {
    life.manifest("m1", function(o) o.metadata.namespace = "hub" end),
    life.manifest("m2", function(o)
      o.spec.predictors[1].replicas = 1
      o.spec.endpoint = { accessType = "private", clients = json.array { { name = "c", token = "a-long-token-of-a-client" } } }
    end),
    life.manifest("m3", function(o) o.spec.stop = true end),
    life.manifest("m4", function(o) o.spec.predictors[1].modelImage = "registry.example/none:v1" end),
  }
end

-- The world at rest; made once. files: the built-in policies.
function M.new()
  local files = assert(policies.files())
  local generation = assert(policies.generation(files, "built in"))
  local settings = assert(policies.settings(files))
  local s = life.new { seed = 1, generation = generation, base_settings = settings, settings = M.SETTINGS }
  s.cluster:set_image("registry.example/none:v1", "missing")
  for _, object in ipairs(models()) do s:apply(object) end
  s:run_for(400) -- the back-off of the missing image has grown long by then
  assert(s:phase("hub", "m1") == "Deployed" and s:phase("hub", "m2") == "Deployed" and s:phase("hub", "m3") == "Stopped"
    and s:phase("hub", "m4") == "Failed", "the models are not at rest")
  s:crash()
  return setmetatable({ s = s, files = files, base = { generation = generation, settings = s.settings }, saved = s.world:save() }, M)
end

function M:close() self.s:close() end

-- What these files come to: {generation, settings}, or nil when they do not load.
function M.load(files)
  local settings = policies.settings(files)
  local generation = settings and policies.generation(files, "edited")
  if not generation then return nil end
  local over = {}
  for name, value in pairs(settings) do over[name] = value end
  over.rollout = {}
  for name, value in pairs(settings.rollout) do over.rollout[name] = value end
  over.rollout.budget = M.SETTINGS.rollout.budget
  return { generation = generation, settings = over }
end

-- body() as a task of a virtual loop with a client of its own, until it returns; what it returns.
local function run(s, body)
  local virtual <close> = loop.virtual { wall_ms = s.world:now(), seed = 7 }
  local done, result, failure
  s.virtual = virtual
  virtual:spawn(function()
    local client = kube.open { namespace = "hub", handler = function(request) return s.network:handle(request) end }
    local ok
    ok, result = pcall(body, client)
    done, failure = true, not ok and result or nil
  end)
  while not done do
    if not s:step() then s:tick(assert(s:next_due(), "nothing can happen any more")) end
  end
  s.virtual = nil
  s.network:forget()
  if failure then error(failure, 0) end
  return result
end

-- The plan of `side` ({generation, settings}), made in the world at rest.
function M:plan(side)
  local s = self.s
  s:restore(self.saved, false)
  local version = s.world.version
  local result = run(s, function(client)
    local seen = assert(view.open { cluster = client, generation = side.generation, settings = side.settings, namespaces = { "hub" },
      catalog_namespace = "hub" })
    local made, kept = whole.make(seen)
    seen:close()
    if not made then error(kept.text, 0) end
    return made
  end)
  self.wrote = s.world.version ~= version
  return result
end

-- What a reload of `side` would say of it (reload/paper.lua), beside an operator with the built-in policies.
function M:verdict(side)
  local s, result = self.s, nil
  s:restore(self.saved, false)
  s.generation, s.settings = self.base.generation, self.base.settings
  s:start()
  s:run_for(2)
  s.virtual:spawn(function()
    local c = s.controller
    local declaration = assert(contract.declaration(side.generation, "phdeployment"))
    local set = watches.start(c, declaration, side.settings, c.set)
    result = assert(paper.decide_all(c, { generation = side.generation, declaration = declaration, settings = side.settings, set = set }, 100))
    set:release()
  end)
  while not result do
    if not s:step() then s:tick(assert(s:next_due(), "nothing can happen any more")) end
  end
  s:crash()
  return result
end

-- What explain says of an object: of a running operator with the built-in policies, and computed from the cluster.
function M:explain(name)
  local s = self.s
  s:restore(self.saved, false)
  s.generation, s.settings = self.base.generation, self.base.settings
  s:start()
  s:run_for(2)
  local told = s.controller:explain("hub/" .. name)
  s:crash()
  s:restore(self.saved, false)
  local computed = run(s, function(client)
    local seen = assert(view.open { cluster = client, generation = self.base.generation, settings = self.base.settings,
      namespaces = { "hub" }, catalog_namespace = "hub" })
    local answer = explain.of_view(seen, "hub/" .. name)
    seen:close()
    return answer
  end)
  return told, computed
end

-- A plan is saved, change(s) is done to the world, and the saved plan is applied: what apply told, by key, and the plan of then.
function M:apply(side, change)
  local s = self.s
  s:restore(self.saved, false)
  local place = { cluster = { server = "https://here" }, files = self.files, settings = side.settings, namespaces = { "hub" } }
  local function seen_by(client)
    return assert(view.open { cluster = client, generation = side.generation, settings = side.settings, namespaces = { "hub" },
      catalog_namespace = "hub" })
  end
  local data = run(s, function(client)
    local seen <close> = setmetatable({ view = seen_by(client) }, { __close = function(one) one.view:close() end })
    return plan_file.of(seen.view, place, {}, (whole.make(seen.view)))
  end)
  data = json.decode(json.encode(data)) -- as a file would have it
  if change then change(s) end
  return run(s, function(client)
    local seen <close> = setmetatable({ view = seen_by(client) }, { __close = function(one) one.view:close() end })
    local told = {}
    execute.run(seen.view, data, function(result) told[result.key] = result end)
    loop.sleep(1)
    return { told = told, data = data, left = (whole.make(seen.view)) }
  end)
end

-- ---------------------------------------------------------------- what then happens

local KINDS = { deployments = "Deployment", services = "Service", ingresses = "Ingress", secrets = "Secret", configmaps = "ConfigMap",
  httproutes = "HTTPRoute" }

-- What the server had before: read through the API of the world.
local function before(s, path)
  local answer = s.api:handle { method = "GET", path = path, query = {} }
  return answer.status == 200 and json.decode(answer.body) or nil
end

local function record(s, seen, request, go)
  if request.method == "GET" or request.query.dryRun or request.path:find("/events", 1, true) then return nil end
  local resource, name, sub = request.path:match("/namespaces/hub/([^/]+)/([^/]+)/?(.*)$")
  local there = not seen.first[request.path] and before(s, (request.path:gsub("/status$", ""))) or nil
  local answer = go()
  local fine = answer.status < 300
  if resource == "phdeployments" then
    local of = seen.of(name)
    assert(sub == "status", "only statuses are written: " .. request.path)
    of.statuses[#of.statuses + 1] = { at = s.world:now(), ok = fine, after = fine and json.decode(answer.body) or nil,
      before_status = there and there.status }
    return nil
  end
  local kind = assert(KINDS[resource], request.path)
  local owner = assert(name:match("^deploy%-(m%d)"), request.path)
  local id = kind .. "/" .. name
  local of = seen.of(owner)
  local one = of.children[id] or { id = id, kind = kind, before = there, methods = {}, afters = {} }
  seen.first[request.path] = true
  of.children[id] = one
  one.methods[#one.methods + 1] = request.method .. (fine and "" or " " .. answer.status)
  if fine and request.method == "PATCH" then
    one.after = json.decode(answer.body)
    one.afters[#one.afters + 1] = one.after
  elseif fine and request.method == "DELETE" then
    one.deleted, one.after, one.afters = true, nil, {}
  end
  return nil
end

-- Time goes on for the operator only.
local function run_still(s, seconds)
  local stop = s.world:now() + seconds * 1000
  repeat
    s:settle()
    local ms = math.min(s.virtual:next_due() or 1000, stop - s.world:now())
    s:tick(ms)
  until s.world:now() >= stop
  s:settle()
end

-- An operator with `side` begins in the world at rest: what it wrote in so many seconds, by the name of the object:
-- {children={["Kind/name"]={before=, after= (the last), afters=, deleted=, methods=}}, statuses={{at=, ok=, before_status=, after=}...}}.
-- still: the cluster answers, and does nothing by itself.
function M:live(side, seconds, still)
  local s, seen = self.s, { first = {}, by = {} }
  seen.of = function(name)
    seen.by[name] = seen.by[name] or { children = {}, statuses = {} }
    return seen.by[name]
  end
  s:restore(self.saved, false)
  s.generation, s.settings = side.generation, side.settings
  s.intercept = function(request, go) return record(s, seen, request, go) end
  if still then s.cluster.step = function() return false end end
  local begin = rollout.begin
  rollout.begin = function() end -- as after a swap: all are tried at once, though one of them would stop the rollout
  s:start()
  if still then
    run_still(s, seconds)
  else
    s:run_for(seconds)
  end
  s:crash()
  s.intercept, s.cluster.step, rollout.begin = nil, nil, begin
  return seen.by
end

-- What was done to a child, in the words of a plan: its action and what differs after its last write (or the one of this number); nil:
-- nothing was kept of what was tried.
function M.done_to(one, number)
  local after = number and one.afters[number] or one.after
  if one.deleted and after then return "replace", changes.of_objects(one.kind, one.before, after) end
  if one.deleted then return "prune", {} end
  if not after then return nil end
  if not one.before then return "create", changes.of_new(one.kind, after) end
  return "patch", changes.of_objects(one.kind, one.before, after)
end

return M
