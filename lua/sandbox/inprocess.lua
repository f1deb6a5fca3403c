-- A whole operator beside a whole cluster in one process, on virtual time, in one repeatable order.
--
--   local s <close> = inprocess.new { seed = 1 }
--   s:apply(manifest)
--   s:run_until(function() return s:phase("hub", "m") == "Deployed" end)
--
-- The operator is the real one: lua/controller.lua with its informers, queue, apply and status, and real policy
-- states, in a loop.virtual of its own; its cluster is kube.open { handler = ... }, so that requests, answers and
-- watches go through the host's client, retries and caches. The other side is the sandbox (api.lua, cluster.lua) on its
-- world. One thing happens at a time (step): the operator's tasks as far as they get, else one delivery of the network, else
-- one piece of the cluster's work; when nothing can happen at this instant, both clocks go to the next timer.
--
-- What the operator keeps (caches, queue, what it remembers) is rebuilt from the world by restart(), at any moment, as after
-- a crash: what was on the wire is lost then. So a saved world and a new operator are a whole state again (restore).

local controller = require "controller"
local network = require "sandbox.network"
local stage = require "sandbox.stage"

local M = {}
M.__index = M
M.__close = function(self) self:close() end

local LIMIT_SECONDS = 600
local STEPS_MOST = 200000 -- at one instant; more is a circle

-- options (all optional):
--   seed=1          of everything that is left to chance
--   stage           what stage.new of the same options made (world, registry, api, cluster); made here if absent
--   policies, settings   a folder (nil: built in), a table over the policies' own settings
--   generation      policies that are loaded already (with base_settings, theirs)
--   lean=true       a cluster without what an operator does not read (stage.lua)
--   namespaces      served by the operator; default { "hub" }. catalogue: namespace of the catalogue; default the first
--   objects         manifests that are there before the operator starts
--   record=true     keep what happens as text in `trace`
--   choose          function(what, count, names) -> 1..count: asked whenever several things could be next: "task", "timer",
--                   "network" (names), "side" (operator's network or the cluster's work). The world's chooser is its own.
--   operator=false  start none; start() does
--   workers, resync_seconds   of the controller
function M.new(options)
  options = options or {}
  local namespaces = options.namespaces or { "hub" }
  local there = options.stage or stage.new(options)
  local generation, settings = stage.policies(options)
  local self = setmetatable({ world = there.world, registry = there.registry, api = there.api, cluster = there.cluster,
    generation = generation, settings = settings, namespaces = namespaces, catalogue = options.catalogue or namespaces[1],
    seed = options.seed or 1, starts = 0, choose = options.choose, workers = options.workers, resync = options.resync_seconds,
    trace = options.record and {} or nil }, M)
  self.network = network.new(self)
  for _, object in ipairs(options.objects or {}) do self:apply(object) end
  if options.operator ~= false then self:start() end
  return self
end

-- For programs that live through thousands of worlds: collect young garbage often (what is used again is still in the
-- processor's cache: a sixth of the time) and the rest seldom. The steps of the collector
-- are longer then than an operator could bear, which is why it is not the default.
function M.tune_memory() collectgarbage("generational", 5, 100) end

-- One line of the trace.
function M:note(...)
  local trace = self.trace
  if trace then trace[#trace + 1] = ("%d %s"):format(self.world:now(), table.concat({ ... }, " ")) end
end

-- The operator

-- Start the operator, as a process that begins now.
function M:start()
  self.starts = self.starts + 1
  self:note("operator starts")
  local virtual = loop.virtual { wall_ms = self.world:now(), seed = self.seed * 1000003 + self.starts, choose = self.choose }
  self.virtual = virtual
  virtual:spawn(function()
    self.client = kube.open { namespace = self.catalogue, handler = function(request) return self.network:handle(request) end }
    self.controller = controller.new { cluster = self.client, generation = self.generation, module = "phdeployment",
      declaration = stage.declaration(self.generation), settings = self.settings, namespaces = self.namespaces,
      catalog_namespace = self.catalogue, workers = self.workers, resync_seconds = self.resync,
      events = not self.world.is_lean }
    self.controller:run()
  end)
end

-- The operator is gone at once, in whatever it did; what was on the wire is lost.
function M:crash()
  if not self.virtual then return end
  self:note("operator crashes")
  self.virtual:close()
  self.virtual, self.client, self.controller = nil, nil, nil
  self.network:forget()
end

function M:restart()
  self:crash()
  self:start()
end

-- The world as it was when it was saved (world:save()), and an operator that begins there (unless operator is false).
function M:restore(saved, operator)
  self:crash()
  self.world:restore(saved)
  self.registry:refresh()
  if operator ~= false then self:start() end
end

function M:close()
  if self.virtual then self.virtual:close() end
  self.virtual = nil
end

-- Time

local function side(self, work)
  return self.choose and work and self.choose("side", 2, { "network", "cluster" }) or 1
end

local function has_work(self)
  local due = self.world:due()
  return self.world:pending_count() > 0 or (due ~= nil and due <= self.world:now())
end

-- One thing that can happen at this instant; false: nothing can.
function M:step()
  local virtual = self.virtual
  if virtual and virtual:turn() > 0 then return true end
  self.network:flush()
  local work = has_work(self)
  local waiting = virtual and select(2, virtual:busy())
  if waiting and side(self, work) == 1 then return virtual:deliver() end
  if work and self.cluster:step() then return true end
  return waiting and virtual:deliver() or false
end

-- Until nothing can happen at this instant. -> how many things happened
function M:settle()
  for steps = 0, STEPS_MOST do
    if not self:step() then return steps end
  end
  error(("%d things happened at one instant and more are to come: operator and cluster go in circles"):format(STEPS_MOST), 2)
end

local function sooner(a, b)
  return a and b and math.min(a, b) or a or b
end

-- Milliseconds to the next timer of operator, cluster or watches; nil: there is none.
function M:next_due()
  local mine, at = self.virtual and self.virtual:next_due(), sooner(self.cluster:next_due(), self.network:due())
  return sooner(mine, at and math.max(0, at - self.world:now()))
end

-- Both clocks go on by `ms`, at most to the next timer; what is due then can happen.
function M:tick(ms)
  self.world:advance(ms)
  if self.virtual then self.virtual:tick(ms) end
  local due = self.network:due()
  self.network:flush(due and due <= self.world:now())
end

-- Let `seconds` pass.
function M:run_for(seconds)
  local left = math.floor(seconds * 1000 + 0.5)
  repeat
    self:settle()
    local ms = math.min(self:next_due() or left, left)
    self:tick(ms)
    left = left - ms
  until left <= 0
  self:settle()
end

-- Let time pass until test() gives something true, which is returned. It is asked whenever the world has changed, and raises
-- with `what` after `seconds` (default 600) of virtual time.
function M:run_until(test, seconds, what)
  local deadline, seen = self.world:now() + (seconds or LIMIT_SECONDS) * 1000, nil
  local steps = 0
  while true do
    if self.world.version ~= seen then
      seen = self.world.version
      local result = test()
      if result then return result end
    end
    steps = steps + 1
    if not self:step() then
      steps = 0
      local ms = self:next_due()
      if not ms or self.world:now() + ms > deadline then break end
      self:tick(ms)
      local result = test()
      if result then return result end
    elseif steps > STEPS_MOST then
      error("operator and cluster go in circles at one instant", 2)
    end
  end
  error(("%s: not so within %g seconds of virtual time"):format(what or "what was waited for", seconds or LIMIT_SECONDS), 2)
end

-- What people do

-- A request as of kubectl: {method, path, query, body (text or table), content_type, accept} -> {status, body (text), ...}
function M:request(request)
  request.query = request.query or {}
  if type(request.body) == "table" then request.body = json.encode(request.body) end
  local answer = self.network:serve(request, "person")
  return answer
end

local function expect(self, request)
  local answer = self:request(request)
  if answer.status >= 300 then
    error(("%s %s: %d %s"):format(request.method, request.path, answer.status, answer.body), 3)
  end
  return json.decode(answer.body)
end

local function path_of(self, api_version, kind, namespace, name)
  local group, version = api_version:match("^(.-)/(.+)$")
  local known = self.registry:by_kind(group or "", version or api_version, kind)
  if not known then error("the sandbox has no kind " .. api_version .. " " .. kind, 3) end
  local scope = known.namespaced and "/namespaces/" .. (namespace or self.namespaces[1]) or ""
  return (group and "/apis/" or "/api/") .. api_version .. scope .. "/" .. known.plural .. (name and "/" .. name or "")
end

-- Create or change an object by server-side apply, as a person. -> the object
function M:apply(object, manager)
  local metadata = object.metadata
  return expect(self, { method = "PATCH", path = path_of(self, object.apiVersion, object.kind, metadata.namespace, metadata.name),
    query = { fieldManager = manager or "person", force = "true" }, content_type = "application/apply-patch+yaml", body = object })
end

function M:create(object)
  return expect(self, { method = "POST", path = path_of(self, object.apiVersion, object.kind, object.metadata.namespace),
    content_type = "application/json", body = object })
end

-- Merge patch.
function M:edit(api_version, kind, namespace, name, patch)
  return expect(self, { method = "PATCH", path = path_of(self, api_version, kind, namespace, name), query = { fieldManager = "person" },
    content_type = "application/merge-patch+json", body = patch })
end

function M:delete(api_version, kind, namespace, name, propagation)
  return expect(self, { method = "DELETE", path = path_of(self, api_version, kind, namespace, name), content_type = "application/json",
    body = { apiVersion = "v1", kind = "DeleteOptions", propagationPolicy = propagation or "Background" } })
end

-- An object of the world by its resource id ("deployments.apps"), not to be modified; nil if there is none.
function M:get(id, namespace, name)
  local record = self.world:get(id, namespace or "", name)
  return record and record.object
end

M.PHDEPLOYMENTS = "phdeployments.primehub.io"

-- The phase that the status of the present generation tells; nil if it tells of an older one, or nothing.
function M:phase(namespace, name)
  local object = self:get(M.PHDEPLOYMENTS, namespace, name)
  local status = object and object.status
  return status and status.observedGeneration == object.metadata.generation and status.phase or nil
end

-- What happened so far, as one text (record = true).
function M:story()
  return table.concat(self.trace or {}, "\n")
end

return M
