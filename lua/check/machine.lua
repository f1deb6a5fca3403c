-- World and operator as one machine: what can happen next, by name, and letting it happen.
--
-- Left alone the machine goes on in one way (calm): what was held back is delivered, the operator works on what is ready, else the cluster
-- does its next piece of work, else time goes to the next timer. Everything else is an event, which may come at every point where
-- the operator is about to look or nothing more happens at this instant (is_point). Names of events:
--
--   a row of scene.lua          what people and the cluster do
--   crash                       the operator's process ends and begins anew
--   crash:N                     the same after the Nth write of the reconcile that is due, before its answer is seen
--   lost:N, dropped:N           the answer of the Nth write never comes; the Nth write never arrives
--   between:N:ROW               a row of scene.lua happens just before the Nth write
--   hold:VIEW                   a view lags behind from now on, until
--   thaw, skip                  it learns what happened meanwhile, one event after the other, or all at once from a list
--   quick                       the operator is quick: it looks as often as it would in a moment, and the cluster does nothing meanwhile
--   slow                        the operator is slow: the cluster comes to rest before it looks

local operator = require "check.operator"
local scene = require "check.scene"

local M = {}
M.__index = M

-- What may happen between two writes of one reconcile.
local BETWEEN = { "image", "stop", "delete" }
-- Views that may lag behind.
local VIEWS = { "phdeployments", "deployments", "replicasets", "pods", "services" }

local MOMENT_MS, QUICK_MOST = 1000, 3 -- how soon a quick operator would look, and how often

local KINDS = { deployments = "Deployment", services = "Service", ingresses = "Ingress", secrets = "Secret", phdeployments = "PhDeployment" }

-- options: generation, declaration, settings, seed, decide (operator.lua)
function M.new(options)
  local settings = scene.settings(options.settings, options.declaration)
  local small = scene.new { seed = options.seed, settings = settings }
  local self = setmetatable({ scene = small, world = small.world, cluster = small.there.cluster, held = nil, faults = 0, gaps = 0, writes = {},
    reconciles = 0 }, M)
  self.operator = operator.new { there = small.there, generation = options.generation, declaration = options.declaration,
    settings = settings, namespaces = { scene.NAMESPACE },
    decide = function(guard, seen) return self:decide(guard, seen) end }
  self.ask = options.decide
  self.is_held = function(view)
    if view.name == self.held then return true end
    return (view.name == "phgroups" or view.name == "instancetypes") and self.scene:now().silent
  end
  self.operator.answered = function(request, _, answer) self:answered(request, answer) end
  self.operator:boot(self.is_held)
  return self
end

function M:close() self.operator:close() end

function M:decide(guard, seen)
  if self.traces then seen.trace = true end
  local decision, failure
  if self.ask then decision, failure = self.ask(guard, seen) else decision, failure = guard:decide(seen) end
  self.seen, self.decision, self.failure = seen, decision, failure or self.failure
  return decision, failure
end

-- ---------------------------------------------------------------- writes

local function write_of(request)
  local plural, name, part = request.path:match("/namespaces/[^/]+/([^/]+)/([^/]+)/?([^/]*)$")
  local verb = request.method == "DELETE" and "delete" or part == "status" and "status" or "apply"
  return { verb = verb, kind = KINDS[plural] or plural, name = name }
end

function M:answered(request, answer)
  if request.method == "GET" then return end
  if answer.status < 300 then self.writes[#self.writes + 1] = write_of(request) end
  self.write_number = self.write_number + 1
  if self.after_write then self.after_write(self.write_number) end
end

-- ---------------------------------------------------------------- as a value

function M:save()
  return { world = self.world:save(), operator = self.operator:save(), held = self.held, faults = self.faults, gaps = self.gaps }
end

function M:restore(saved)
  self.world:restore(saved.world)
  self.operator:restore(saved.operator)
  self.held, self.faults, self.gaps = saved.held, saved.faults, saved.gaps
end

-- ---------------------------------------------------------------- going on

local function begin(self)
  self.writes, self.seen, self.decision, self.failure, self.write_number = {}, nil, nil, nil, 0
end

local function follow(self) self.operator:follow_all(self.is_held) end

-- One reconcile. fault: as of operator.lua, by the number of the write.
local function work(self, fault)
  local op, number = self.operator, 0
  op.fault = fault and function(request)
    if request.method == "GET" then return nil end
    number = number + 1
    return fault(number)
  end
  local key = op:work()
  op.fault = nil
  if key then self.reconciles = self.reconciles + 1 end
  follow(self)
end

function M:is_ready() return self.operator:is_ready() end

-- Whether an event may come here: the operator is about to look, or nothing more happens at this instant.
function M:is_point()
  return self.operator:is_ready() or self.world:pending_count() == 0 and (self.world:due() or math.huge) > self.world:now()
end

local function sooner(a, b) return a and b and math.min(a, b) or a or b end

-- Go on by one step, without delivering what is held back. -> "operator", "cluster", "time", or nil: nothing will ever happen.
function M:step()
  begin(self)
  if self.operator:is_ready() then
    work(self)
    return "operator"
  end
  if self.cluster:step() then
    follow(self)
    return "cluster"
  end
  local due = self.world:due()
  local ms = sooner(self.operator:next_due(), due and math.max(0, due - self.world:now()))
  if not ms then return nil end
  self.world:advance(ms)
  self.operator:tick(ms)
  return "time"
end

-- Everything is looked at once more, as it is every ten minutes.
function M:resync()
  begin(self)
  self.operator:resync()
  work(self)
end

local function release(self, at_once)
  local op = self.operator
  for _, view in ipairs(op.views) do
    if view.name == self.held then
      self.held = nil
      if at_once then op:list(view) else op:follow(view) end
      return true
    end
  end
  self.held = nil
  return false
end

-- The way on without faults: what is held back is delivered first.
function M:calm()
  if self.held then
    begin(self)
    release(self)
    return "fault"
  end
  return self:step()
end

-- ---------------------------------------------------------------- events

local ACTS = {}

-- A process that begins reads everything as it is now.
function ACTS.crash(self)
  self.held, self.gaps = nil, self.gaps + 1
  self.operator:boot(self.is_held)
  return true
end

-- The world as it was just after each write of the reconcile that is due.
function M:worlds_after_writes()
  local worlds = {}
  begin(self)
  self.after_write = function(n) worlds[n] = self.world:save() end
  work(self)
  self.after_write = nil
  return worlds
end

-- Another life on a world that an earlier one left.
function M:reborn(world)
  begin(self)
  self.world:restore(world)
  self.held, self.gaps = nil, self.gaps + 1
  self.operator:boot(self.is_held)
end

ACTS["crash:"] = function(self, n)
  local worlds = self:worlds_after_writes()
  if not worlds[n] then return false end
  self:reborn(worlds[n])
  return true
end

local function faulted(how)
  return function(self, n)
    local happened = false
    work(self, function(number)
      if number ~= n then return nil end
      happened = true
      return how
    end)
    return happened
  end
end

ACTS["lost:"], ACTS["dropped:"] = faulted "lost", faulted "dropped"

ACTS["between:"] = function(self, n, name)
  local row, happened = scene.row(name), false
  work(self, function(number)
    if number == n and self.scene:may(row) then
      happened = true
      self.scene:act(row)
      follow(self)
    end
  end)
  return happened
end

ACTS["hold:"] = function(self, name)
  self.held = name
  return true
end

function ACTS.thaw(self) return release(self) end
function ACTS.skip(self)
  self.gaps = self.gaps + 1
  return release(self, true)
end

function ACTS.slow(self)
  local any = false
  while self.cluster:step() do any = true end
  follow(self)
  return any
end

-- Whether the operator has something to look at in a moment, and the cluster something to do before.
function M:may_be_quick()
  local ms = self.operator:next_due()
  return ms ~= nil and ms <= MOMENT_MS and not self.operator:is_ready() and self.world:pending_count() > 0
end

function ACTS.quick(self)
  local looks = 0
  while looks < QUICK_MOST and (self.operator:is_ready() or self:may_be_quick()) do
    if self.operator:is_ready() then
      work(self)
      looks = looks + 1
    else
      local ms = self.operator:next_due()
      self.world:advance(ms)
      self.operator:tick(ms)
    end
  end
  return looks > 0
end

-- Which of them are no faults of anything.
local CALM = { slow = true, quick = true, thaw = true, ["between:"] = true }

local function parsed(name)
  local kind, rest = name:match("^(%a+:)(.*)$")
  if not kind then return name end
  local number, row = rest:match("^(%d+):?(.*)$")
  if number then return kind, math.tointeger(tonumber(number)), row end
  return kind, rest
end

-- Whether there is an event of this name.
function M.knows(name)
  return name == "step" or name == "calm" or scene.row(name) ~= nil or ACTS[(parsed(name))] ~= nil
end

-- Let the event happen; false: it cannot, here.
function M:act(name)
  if name == "step" then return self:step() ~= nil end
  if name == "calm" then return self:calm() ~= nil end
  begin(self)
  local row = scene.row(name)
  if row then
    if not self.scene:may(row) then return false end
    self.scene:act(row)
    follow(self)
    return true
  end
  local kind, first, second = parsed(name)
  local act = ACTS[kind]
  if not act then error("the walk knows no event " .. name, 0) end
  if not CALM[kind] then self.faults = self.faults + 1 end
  return act(self, first, second)
end

-- Names of what may happen here beside going on, and is no fault of anything.
function M:events()
  local list = {}
  for _, row in ipairs(scene.ROWS) do
    if self.scene:may(row) then list[#list + 1] = row.name end
  end
  if self.operator:is_ready() and self.world:pending_count() > 0 then list[#list + 1] = "slow" end
  return list
end

-- The same within the reconcile that is due, which writes so many times.
function M:events_within(writes)
  local list = {}
  for n = 1, writes do
    for _, name in ipairs(BETWEEN) do
      if self.scene:may(scene.row(name)) then list[#list + 1] = ("between:%d:%s"):format(n, name) end
    end
  end
  return list
end

-- Names of the faults that may come here, and within the reconcile that is due. (crash:N is left out: worlds_after_writes is cheaper.)
function M:faults_here()
  local list = { "crash" }
  for _, name in ipairs(self.held and {} or VIEWS) do list[#list + 1] = "hold:" .. name end
  return list
end

function M:faults_within(writes) -- luacheck: ignore self
  local list = {}
  for n = 1, writes do
    list[#list + 1] = "lost:" .. n
    list[#list + 1] = "dropped:" .. n
  end
  return list
end

-- ---------------------------------------------------------------- what there is to see

local function knows_sources(self)
  for _, view in ipairs(self.operator.views) do
    if (view.name == "phgroups" or view.name == "instancetypes") and not view.is_listed then return false end
  end
  return true
end

-- The view of this moment (sight.lua), previous: that of the step before.
function M:view(previous)
  local view = self.scene:view()
  if previous then previous.previous = nil end
  view.previous, view.scene, view.faults = previous, self.scene:described(knows_sources(self)), self.faults
  view.gaps = self.gaps -- how often events may have gone by unseen
  view.writes, view.seen, view.decision, view.lagging = self.writes, self.seen, self.decision, self.held
  return view
end

return M
