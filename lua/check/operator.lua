-- The operator of the walk: the real controller with its queue and its caches, which can be saved and put back in microseconds.
--
-- lua/controller.lua runs here as it runs in a cluster, on virtual time. What the walk puts in the place of the network are two
-- functions: a request goes straight to the simulated API, and what a watch would bring is put into the watch's cache when the walk
-- says so. So every request is a point where the operator can be stopped, lose the answer or be overtaken, and every view can
-- lag behind the world by itself. The operator works on its keys one at a time, and between two of them all that it knows lies in its
-- caches, its queue and a few tables: that is what save() takes and restore() puts back.

local controller = require "controller"
local rollout = require "rollout"

local M = {}
M.__index = M

local FOREVER = 100000000 -- seconds; the ten-minute look at everything is the walk's to order

-- ---------------------------------------------------------------- what stands for the network

local Cluster = {}
Cluster.__index = Cluster

local function fields_of(body)
  local value = body and json.decode(body)
  if type(value) ~= "table" or value.kind ~= "Status" then return "", "" end
  return value.reason or "", value.message or ""
end

-- As cluster:request of a real one. What happens to it is said by self.operator.fault(request, number): nil (it is done and
-- answered), "dropped" (it never arrives), "lost" (it is done, and the answer never comes).
function Cluster:request(options)
  local operator = self.operator
  local method, body = options.method or "GET", options.body
  if type(body) == "table" then body = json.encode(body) end
  local request = { method = method, path = options.path, query = options.query or {}, body = body,
    content_type = options.content_type or body and "application/json" or nil, accept = options.accept }
  operator.asked = operator.asked + 1
  local fault = operator.fault and operator.fault(request, operator.asked)
  if fault == "dropped" then return nil, "the connection was refused", "io" end
  local answer = operator.api:handle(request)
  if operator.answered then operator.answered(request, operator.asked, answer) end
  if fault == "lost" then return nil, "the connection was reset before the answer came", "io" end
  local reason, message = "", ""
  if answer.status >= 300 then reason, message = fields_of(answer.body) end
  return { status = answer.status, body = answer.body, reason = reason, message = message, retry_after = answer.retry_after }
end

local METADATA = "metadata"

-- A cache that the walk feeds, in the place of a watch.
function Cluster:watch(options)
  local cache = kube.cache { name = options.name, keep = options.keep ~= METADATA and options.keep or METADATA, drop = options.drop,
    indexes = options.indexes, revisions = options.revisions, on_change = options.on_change }
  local root, group, rest = options.path:match("^/(apis?)/(.-)/(.+)$")
  local version = group
  if root == "apis" then version, rest = rest:match("^(.-)/(.+)$") end
  local namespace, plural = rest:match("^namespaces/(.-)/(.+)$")
  local kind = self.operator.registry:find(root == "apis" and group or "", version, plural or rest)
  local views = self.operator.views
  views[#views + 1] = { cache = cache, id = kind and kind.id, namespace = namespace, label = options.label_selector,
    field = options.field_selector, name = options.name, at = 0, is_listed = false }
  return cache
end

function Cluster:counts() return { reads = 0, writes = 0, watches = #self.operator.views, retries = 0 } end -- luacheck: ignore self

-- ---------------------------------------------------------------- a life

-- options: there (of sandbox/stage.lua: world, registry, api), generation, declaration, settings, namespaces, decide(guard, seen)
-- (asked in the place of the policy's guard; nil: the guard itself). No view is filled yet: boot() does that.
function M.new(options)
  local there = options.there
  local self = setmetatable({ world = there.world, registry = there.registry, api = there.api, views = {}, asked = 0 }, M)
  self.virtual = loop.virtual { wall_ms = self.world:now(), seed = 1 }
  self.virtual:call(function()
    self.controller = controller.new { cluster = setmetatable({ operator = self, namespace = options.namespaces[1] }, Cluster),
      generation = options.generation, module = "phdeployment", declaration = options.declaration, settings = options.settings,
      namespaces = options.namespaces, catalog_namespace = options.namespaces[1], resync_seconds = FOREVER, events = false }
    self.controller:start_watches()
  end)
  local guard = self.controller.guard
  if options.decide then
    self.controller.guard = { decide = function(_, seen) return options.decide(guard, seen) end }
  end
  self.guard = guard
  self.blank = self:save()
  return self
end

function M:close()
  self.virtual:close()
end

-- ---------------------------------------------------------------- views

local function concerns(view, record)
  if view.namespace and record.namespace ~= view.namespace then return false end
  if view.field then return false end -- Events of pods: there are none in a small world
  local labels = record.object.metadata.labels
  return not view.label or labels ~= nil and labels[view.label] ~= nil
end

-- The view learns everything at once, as from a list: what happened in between is never seen.
function M:list(view)
  local world, texts = self.world, {}
  if not view.id then return end
  for _, record in ipairs(world:each(view.id, view.namespace)) do
    if concerns(view, record) then texts[#texts + 1] = world.bytes(record) end
  end
  self.virtual:call(view.cache.list, view.cache, texts, tostring(world.version))
  view.at, view.is_listed = world.version, true
end

local function take(view, event, bytes)
  local cache = view.cache
  if not concerns(view, event.record) then return end
  if event.type == "DELETED" then cache:remove(bytes(event.record)) else cache:put(bytes(event.record)) end
  cache:position(tostring(event.version))
end

-- The view learns what happened since it was fed, event by event.
function M:follow(view)
  local world = self.world
  if not view.is_listed or view.at >= world.version then return end
  local events = world:events_since(view.id, view.at)
  if not events then return self:list(view) end
  if #events > 0 then
    self.virtual:call(function()
      for _, event in ipairs(events) do take(view, event, world.bytes) end
    end)
  end
  view.at = world.version
end

-- All views learn what happened, but those that `is_held(view)` holds back. One that answers for the first time is late, and everything
-- is decided again (controller.lua, await_late).
function M:follow_all(is_held)
  for _, view in ipairs(self.views) do
    if view.id and not (is_held and is_held(view)) then
      if view.is_listed then
        self:follow(view)
      else
        self:list(view)
        self:resync()
      end
    end
  end
end

-- ---------------------------------------------------------------- work

-- Work on the next key that is ready, to its end: its name, or nil if there is none.
function M:work()
  self.asked = 0
  return self.virtual:call(function()
    local key = self.controller.queue:try_take()
    if key then self.controller:work(key) end
    return key
  end)
end

function M:is_ready() return (self.controller.queue:depth()) > 0 end

-- Milliseconds to the next thing that the operator would do by itself; nil: nothing in sight.
function M:next_due()
  local ms = self.virtual:next_due()
  return ms and ms < FOREVER * 500 and ms or nil
end

function M:tick(ms) self.virtual:tick(ms) end

-- Everything is looked at again, as every ten minutes.
function M:resync()
  self.virtual:call(function()
    for _, key in ipairs(self.controller.objects:keys()) do self.controller:add(key, true) end
  end)
end

-- ---------------------------------------------------------------- as a value

local function copied(source)
  local copy = {}
  for name, value in pairs(source) do copy[name] = value end
  return copy
end

-- Tables of tables, whose inner ones are changed in place.
local function copied_twice(source)
  local copy = {}
  for name, value in pairs(source) do copy[name] = type(value) == "table" and copied(value) or value end
  return copy
end

local function copied_notes(remembered)
  local copy = {}
  for key, notes in pairs(remembered) do
    local one = copied(notes)
    if one.untold then one.untold = copied(one.untold) end
    copy[key] = one
  end
  return copy
end

function M:save()
  local it, views = self.controller, {}
  for i, view in ipairs(self.views) do views[i] = { cache = view.cache:save(), at = view.at, is_listed = view.is_listed } end
  return { wall_ms = self.virtual:wall_ms(), views = views, queue = it.queue:save(), problems = copied(it.problems),
    last_error = copied(it.last_error), remembered = copied_notes(it.remembered), crowded = copied_twice(it.crowded),
    moving = next(it.rollout.moving) and it.rollout or nil }
end

-- The operator knows again what it knew. The world is put back by the caller, before.
function M:restore(saved)
  local it, queue = self.controller, self.controller.queue
  queue:restore {}
  self.virtual:rewind(saved.wall_ms)
  queue:restore(saved.queue)
  for i, view in ipairs(self.views) do
    local one = saved.views[i]
    view.cache:restore(one.cache)
    view.at, view.is_listed = one.at, one.is_listed
  end
  it.problems, it.last_error = copied(saved.problems), copied(saved.last_error)
  it.remembered, it.crowded, it.changed_at = copied_notes(saved.remembered), copied_twice(saved.crowded), {}
  it.busy = 0
end

-- The process has ended and begins anew: everything is read again from the world as it is, but what `is_held(view)`, which does not
-- answer now.
function M:boot(is_held)
  self:restore(self.blank)
  self.controller.queue:restore {}
  self.virtual:rewind(self.world:now())
  self.controller.rollout = rollout.new(self.controller)
  for _, view in ipairs(self.views) do
    if not (is_held and is_held(view)) then self:list(view) end
  end
end

return M
