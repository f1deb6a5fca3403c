-- The controller loop: watches feed a queue of keys, workers reconcile them.
--
-- A change of an object, of a child, or of an input names the keys that it concerns; the queue
-- holds each once, a worker takes one at a time, and a key that fails backs off by itself
-- without delaying another. Every key is looked at again at least every ten minutes from the
-- caches: no read, and no write unless something differs.

local ahead = require "ahead"
local contract = require "contract"
local diff = require "diff"
local events = require "events"
local guard = require "guard"
local leader = require "leader"
local reconcile = require "reconcile"
local rollout = require "rollout"
local watches = require "watches"

local M = {}
M.__index = M

local RESYNC_SECONDS = 600
local REPLACE_SECONDS = 600
local WORKERS = 32
local BURST_SECONDS = 0.05
local EVENTS_SECONDS = 2 -- to write the last ones, at the end
local SLICE_SECONDS = 0.002 -- no turn of the loop is longer than 10 ms

-- A child is replaced at most every ten minutes; more would be a fight with the server.
local function replacement_budget()
  local used = {}
  return { take = function(_, key, child)
    local now, of_key = loop.now(), used[key] or {}
    if of_key[child] and now - of_key[child] < REPLACE_SECONDS then return false end
    used[key], of_key[child] = of_key, now
    return true
  end, forget = function(_, key) used[key] = nil end }
end

local function new_metrics()
  local by = { "controller" }
  return {
    total = metrics.counter("controller_runtime_reconcile_total", "Reconciles by their result", { "controller", "result" }),
    errors = metrics.counter("controller_runtime_reconcile_errors_total", "Reconciles that failed", by),
    terminal = metrics.counter("controller_runtime_terminal_reconcile_errors_total", "Reconciles that are given up: none ever is", by),
    panics = metrics.counter("controller_runtime_reconcile_panics_total", "Decisions of the policy that ended with an error", by),
    timeouts = metrics.counter("controller_runtime_reconcile_timeouts_total", "Decisions of the policy that were stopped", by),
    time = metrics.histogram("controller_runtime_reconcile_time_seconds", "How long a reconcile takes", by),
    active = metrics.gauge("controller_runtime_active_workers", "Workers that are busy", by),
    workers = metrics.gauge("controller_runtime_max_concurrent_reconciles", "Workers", by),
    policy_errors = metrics.counter("moonphase_policy_errors_total", "Calls of a policy that failed, by outcome", { "outcome" }),
    to_write = metrics.histogram("moonphase_change_to_write_seconds", "From a change of an object's spec to the first write that follows", {},
      { 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5 }),
    writes = metrics.counter("moonphase_writes_total", "Writes sent to the API server, by kind", { "kind" }),
  }
end

-- What may never happen is there from the start, so that a panel shows 0 and not "no data".
local function begin_at_zero(m, name)
  for _, family in ipairs { m.errors, m.terminal, m.panics, m.timeouts } do family:add(0, name) end
  for _, result in ipairs { "success", "error", "requeue", "requeue_after" } do m.total:add(0, name, result) end
  for _, outcome in ipairs { "error", "memory", "budget", "clock", "value", "state" } do m.policy_errors:add(0, outcome) end
end

-- What changes children: the policies, the settings that they were given, and moonphase itself.
function M.digest_of(generation, settings)
  return digest.sha256(table.concat({ generation.digest, json.encode(settings), moonphase.version }, "\n")):sub(1, 16)
end

-- What a dry run says of a child: where it differs, never the values.
local function say_dry(child, found)
  local what = type(found) ~= "table" and tostring(found or "create") or "change " .. diff.paths(found)
  log.info("dry run: a child would be written",
    { kind = child.kind, name = child.metadata.name, namespace = child.metadata.namespace, would = what })
  return "unchanged"
end

-- options: {cluster, generation, module, declaration (contract.declaration's; nil: asked here), settings, namespaces (array
-- or nil for all), catalog_namespace, dry_run, workers, resync_seconds, leader (leader.lua; nil: it runs alone),
-- events (false: tell none)}
function M.new(options)
  local declaration = options.declaration
  if not declaration then
    local why
    declaration, why = contract.declaration(options.generation, options.module)
    if not declaration then error(why, 0) end
  end
  local self = setmetatable({
    cluster = options.cluster, module = options.module, dry_run = options.dry_run and say_dry or nil,
    kind = declaration.kind, label = declaration.label, namespaces = options.namespaces,
    catalog_namespace = options.catalog_namespace, problems = {}, last_error = {}, remembered = {},
    replacements = replacement_budget(), metrics = new_metrics(), workers = options.workers or WORKERS,
    queue = work.queue { name = declaration.kind.kind:lower() }, name = declaration.kind.kind:lower(), -- as controller-runtime calls them
    busy = 0, stopping = false, changed_at = {}, resync = options.resync_seconds or RESYNC_SECONDS,
    leader = options.leader or leader.alone(), crowded = {}, on_decided = function() end,
  }, M)
  self:swap { generation = options.generation, declaration = declaration, settings = options.settings }
  if options.events ~= false and not options.dry_run then
    self.events = events.new { cluster = options.cluster, kind = self.kind, count = function() self.metrics.writes:add(1, "Event") end }
  end
  begin_at_zero(self.metrics, self.name)
  return self
end

-- What decides from now on: {generation, declaration, settings, set (watches.start's; nil: not started yet)}. Nothing waits in
-- here, and a call of a policy is whole: each decision is of one generation. A reconcile that is under way sees that `guard` is
-- another and begins anew. The kind and its label stay what they were.
function M:swap(next)
  self.generation, self.declaration, self.settings = next.generation, next.declaration, next.settings
  self.digest = M.digest_of(next.generation, next.settings)
  self.guard = guard.new(next.generation, self.module)
  self.rollout = rollout.new(self, self.rollout)
  self:use(next.set)
end

function M:use(set)
  self.set = set
  self.objects, self.by_kind = set and set.objects, set and set.by_kind or {}
  self.children, self.watches, self.inputs = set and set.children or {}, set and set.watches or {}, set and set.inputs or {}
  if set then set:open() end
end

-- (waits) Every object is decided again, after what users change meanwhile.
function M:decide_all()
  local began = loop.now()
  for _, key in ipairs(self.objects:keys()) do
    if self.stopping then return end
    self:add(key, true)
    if loop.now() - began > SLICE_SECONDS then
      loop.sleep(0)
      began = loop.now()
    end
  end
end

-- A write is about to be sent: counted, and timed if it is the first after a change of the object.
function M:count_write(kind, key)
  self.metrics.writes:add(1, kind)
  local since = self.changed_at[key]
  if since then
    self.changed_at[key] = nil
    self.metrics.to_write:observe(loop.now() - since)
  end
end

-- What is remembered of a key from one reconcile to the next, beside its problems: {uid, conflicts, told_at, not_kept, untold,
-- current: the generation whose pod template its child had last}.
function M:notes(key)
  local notes = self.remembered[key]
  if not notes then
    notes = {}
    self.remembered[key] = notes
  end
  return notes
end

-- A write was taken and yet something differs: an admission webhook, or another manager, has the last word.
function M:not_kept(key, child, found)
  local notes, text = self:notes(key), child.kind .. " " .. child.metadata.name .. ": " .. diff.paths(found)
  if notes.not_kept == text then return end
  notes.not_kept = text
  log.warn("the server took a write and kept something else", { key = key, what = text })
end

function M:add(key, first_list)
  self.queue:add(key, first_list)
end

-- A child or watched object names its parent by the label; the parent of before and after are both told.
-- Children change in bursts (a Deployment's status moves several times while its pods come up), so their parent
-- waits a moment and sees the burst at once. And it waits behind what users changed and, in a storm, behind the
-- objects that nothing was done for yet: when its turn comes, it sees everything that happened meanwhile.
function M:parent_changed(key, before, after, first_list)
  local namespace = key:match("^(.-)/")
  local old, new = before and before.indexes.parent, after and after.indexes.parent
  local function touch(parent)
    if first_list then self:add(parent, true) else self.queue:add_after(parent, BURST_SECONDS, true) end
  end
  if new then touch(namespace .. "/" .. new) end
  if old and old ~= new then touch(namespace .. "/" .. old) end
  if not first_list and (not before or not after or before.indexes.replicas ~= after.indexes.replicas) then
    ahead.wake(self, self.objects and self.objects:get(namespace .. "/" .. (new or old or "")))
  end
end

-- An object that is an input came, changed or went. Of one whose spec stayed the same (a status) the rollout need not know.
function M:input_changed(name, before, after, first_list)
  local old, new = before and before.indexes.identity, after and after.indexes.identity
  if not first_list and not (before and after and before.generation == after.generation) then
    for _, value in ipairs { old or new, new } do self.rollout:input_changed(name, value) end
  end
  local function touch(value)
    if value then
      for _, key in ipairs(self.objects:find_anywhere(name, value)) do self:add(key, first_list) end
    end
  end
  touch(new)
  if old ~= new then touch(old) end
end

-- What was asked by HTTP has an answer; `changed`: another one than before. Behind what users changed.
function M:input_answered(source, keys, changed)
  for _, key in ipairs(keys) do
    local handle = changed and self.objects:get(key)
    for name, input in pairs(handle and self.inputs or {}) do
      if input.source == source then self.rollout:input_changed(name, handle.indexes[name]) end
    end
    self:add(key, true)
  end
end

-- Something that tells of an object of another watch (an Event of a pod) concerns that one's parent.
function M:told_of(subjects, key, before, after, first_list)
  local about = (after or before).indexes.about
  local subject = about and subjects and subjects:get(key:match("^(.-)/") .. "/" .. about)
  if subject then self:parent_changed(key, nil, subject, first_list) end
end

-- A user changed an object, or its status was written (by us, as a rule: that is no change for which somebody waits).
function M:object_changed(key, first_list, before, after)
  local is_new = not before or not after or before.generation ~= after.generation
  if is_new and not first_list and self.leader:is_leader() then self.changed_at[key] = loop.now() end
  if not after then self:forget_inputs(key) end
  self:add(key, first_list)
  if is_new or after.deleting then
    ahead.wake(self, before)
    ahead.wake(self, after)
  end
end

-- Start every watch. Returns at once.
function M:start_watches()
  self:use(watches.start(self, self.declaration, self.settings))
end

function M:synced()
  return self.set ~= nil and self.set:synced()
end

-- Why it does not decide now, as text; nil when it does.
function M:refusal()
  return self.guard.refused and "the policy keeps something between calls: " .. guard.sentence(self.guard.refused)
end

-- The trouble that goes on in some watch, as text; nil when there is none.
function M:trouble()
  return self.set and self.set:trouble()
end

function M:forget_inputs(key)
  for _, input in pairs(self.inputs) do input:forget(key) end
  if self.shadow then self.shadow:forget(key) end
end

function M:forget(key)
  self:forget_inputs(key)
  self.problems[key], self.last_error[key], self.remembered[key] = nil, nil, nil
  self.replacements:forget(key)
  self.rollout:forget(key)
  self.on_decided(key, nil)
end

-- Taken, and not ours to do any more: it waits until this process leads again.
local function put_back(self, key)
  self.queue:add(key)
  self.queue:done(key)
end

-- One reconcile of a taken key, and what becomes of the key.
function M:work(key)
  if not self.leader:is_leader() then return put_back(self, key) end
  local started, name = loop.now(), self.name
  self.busy = self.busy + 1
  self.metrics.active:set(self.busy, name)
  local ok, result, next_look = pcall(reconcile.key, self, key)
  if result ~= "again" and result ~= "wrote" then self.rollout:looked_at(key) end
  self.busy = self.busy - 1
  self.metrics.active:set(self.busy, name)
  self.metrics.time:observe(loop.now() - started, name)
  if not self.leader:is_leader() then return put_back(self, key) end
  if not ok then result, next_look = nil, "an error of moonphase itself: " .. tostring(result) end
  if result == nil then
    local text = tostring(next_look)
    local delay = self.queue:retry(key)
    self.metrics.total:add(1, name, "error")
    self.metrics.errors:add(1, name)
    if self.last_error[key] ~= text then log.error("reconcile failed", { key = key, why = text, retry_seconds = delay }) end
    self.last_error[key] = text
  else
    self.queue:forget(key)
    self.last_error[key] = nil
    if result == "again" or result == "wrote" then
      self.metrics.total:add(1, name, "requeue")
      if result == "again" then self.queue:add(key) else self.queue:add_after(key, BURST_SECONDS, true) end
    else
      self.metrics.total:add(1, name, next_look and "requeue_after" or "success")
      if next_look then self.queue:add_after(key, next_look) end
      if not self.stopping and self.objects:get(key) then
        self.queue:add_after(key, self.resync * (0.9 + 0.1 * loop.random()), true)
      end
    end
  end
  -- nothing had to be written; a change that came meanwhile keeps its time
  if self.changed_at[key] and self.changed_at[key] <= started then self.changed_at[key] = nil end
  self.queue:done(key)
  self.rollout:advance()
  if self.shadow then self.shadow:touch(key) end
end

-- An input that nothing was known of answers now, or a kind of child is served: whoever was decided without it is decided again.
function M:await_late()
  for _, informer in ipairs(self.set:late()) do
    loop.spawn(function()
      if informer:wait_synced() and not self.stopping then self:decide_all() end
    end)
  end
end

-- This process leads from now on. What it remembers is of an earlier time in which it led, and others wrote since.
local function take_over(self)
  self.problems, self.last_error, self.remembered, self.changed_at = {}, {}, {}, {}
  local is_paused = self.rollout.paused
  self.rollout = rollout.new(self)
  self.rollout.paused = is_paused
  self.rollout:begin(self.objects:keys())
  loop.spawn(self.decide_all, self)
end

-- (waits) until the caches are complete, then start the workers, which wait until this process leads.
function M:run()
  self:start_watches()
  while not self:synced() do
    if self.stopping then return end
    loop.sleep(0.01)
  end
  log.info("caches are complete", { objects = #self.objects:keys() })
  -- give the catalogue a moment: a start that decides before it would only decide twice
  self.set:wait_for_inputs(2)
  self.ready = true
  self.rollout:begin(self.objects:keys())
  self.leader:listen(function(leads)
    if leads then take_over(self) end
  end)
  self:await_late()
  self.metrics.workers:set(self.workers, self.name)
  self.tasks = {}
  local function stopping() return self.stopping end
  local function next_key() return self.leader:wait(stopping) and self.queue:take() or nil end
  for i = 1, self.workers do
    self.tasks[i] = loop.spawn(function()
      for key in next_key do self:work(key) end
    end)
  end
end

-- (waits) Take no more work; wait up to `seconds` for what is under way. Whether all ended.
function M:stop(seconds)
  self.stopping = true
  self.queue:stop()
  self.leader:wake()
  local deadline = loop.now() + seconds
  while self.busy > 0 and loop.now() < deadline do loop.sleep(0.02) end
  if self.events then self.events:stop(EVENTS_SECONDS) end
  if self.set then self.set:stop() end
  return self.busy == 0
end

-- What would be decided about a key now, and why; nil if there is no such object. Decided anew: a decision
-- is a pure function of what is seen, so keeping a thousand of them would only cost memory.
function M:explain(key)
  return require("explain").of_controller(self, key) -- loaded when somebody asks
end

return M
