-- The controller loop: watches feed a queue of keys, workers reconcile them.
--
-- A change of an object, of a child, or of an input names the keys that it concerns; the queue
-- holds each once, a worker takes one at a time, and a key that fails backs off by itself
-- without delaying another. Every key is looked at again at least every ten minutes from the
-- caches: no read, and no write unless something differs.

local apply = require "apply"
local contract = require "contract"
local diff = require "diff"
local guard = require "guard"
local informers = require "informers"
local observe = require "observe"
local reconcile = require "reconcile"
local rollout = require "rollout"

local M = {}
M.__index = M

local RESYNC_SECONDS = 600
local REPLACE_SECONDS = 600
local WORKERS = 32
local BURST_SECONDS = 0.05
local TROUBLE_SECONDS = 600

-- By name: requests and keys come in the same order in every process.
local function sorted(map)
  local names = {}
  for name in pairs(map or {}) do names[#names + 1] = name end
  table.sort(names)
  local i = 0
  return function()
    i = i + 1
    return names[i], map and map[names[i]]
  end
end

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
    time = metrics.histogram("controller_runtime_reconcile_time_seconds", "How long a reconcile takes", by),
    active = metrics.gauge("controller_runtime_active_workers", "Workers that are busy", by),
    workers = metrics.gauge("controller_runtime_max_concurrent_reconciles", "Workers", by),
    policy_errors = metrics.counter("moonphase_policy_errors_total", "Calls of a policy that failed, by outcome", { "outcome" }),
    to_write = metrics.histogram("moonphase_change_to_write_seconds", "From a change of an object to the first write that follows", {},
      { 0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5 }),
    writes = metrics.counter("moonphase_writes_total", "Writes sent to the API server, by kind", { "kind" }),
  }
end

-- What changes children: the policies, the settings that they were given, and moonphase itself.
local function digest_of(generation, settings)
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
-- or nil for all), catalog_namespace, dry_run, workers, resync_seconds}
function M.new(options)
  local declaration = options.declaration
  if not declaration then
    local why
    declaration, why = contract.declaration(options.generation, options.module)
    if not declaration then error(why, 0) end
  end
  local self = setmetatable({
    cluster = options.cluster, generation = options.generation, module = options.module,
    declaration = declaration, settings = options.settings, digest = digest_of(options.generation, options.settings),
    guard = guard.new(options.generation, options.module), dry_run = options.dry_run and say_dry or nil,
    kind = declaration.kind, label = declaration.label, namespaces = options.namespaces,
    catalog_namespace = options.catalog_namespace,
    children = {}, watches = {}, inputs = {}, by_kind = {}, problems = {}, last_error = {}, remembered = {},
    replacements = replacement_budget(), metrics = new_metrics(), workers = options.workers or WORKERS,
    queue = work.queue { name = declaration.kind.resource }, name = declaration.kind.resource:lower(),
    busy = 0, stopping = false, changed_at = {}, resync = options.resync_seconds or RESYNC_SECONDS,
  }, M)
  self.rollout = rollout.new(self)
  self.metrics.errors:add(0, self.name)
  for _, result in ipairs { "success", "error", "requeue", "requeue_after" } do self.metrics.total:add(0, self.name, result) end
  return self
end

-- Trouble is told once and, while it stays the same, every ten minutes. Silence is no trouble yet: a server that has had no
-- event of a kind may send no bookmarks either, and the watch is resumed where it stood.
local function trouble_of(kind)
  local told, at
  return function(text, retry_seconds)
    local again = text == told and loop.now() - at < TROUBLE_SECONDS
    local say = (again or text:find("silent for", 1, true)) and log.debug or log.warn
    say("a watch has trouble", { resource = kind.resource, why = text, retry_seconds = retry_seconds })
    if not again then told, at = text, loop.now() end
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

-- What is remembered of a key from one reconcile to the next, beside its problems: {uid, conflicts, told_at, not_kept}.
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
end

function M:input_changed(name, before, after, first_list)
  local old, new = before and before.indexes.identity, after and after.indexes.identity
  local function touch(value)
    if value then
      for _, key in ipairs(self.objects:find_anywhere(name, value)) do self:add(key, first_list) end
    end
  end
  touch(new)
  if old ~= new then touch(old) end
end

local function parent_indexes(label)
  return { parent = { "metadata.labels[" .. label .. "]" }, owner = { "@owner" },
    digest = { "metadata.annotations[" .. apply.DIGEST .. "]" } }
end

-- Start every watch. Returns at once; wait_synced() waits.
function M:start_watches()
  local object_indexes = {}
  for name, input in pairs(self.declaration.inputs or {}) do object_indexes[name] = { input.by } end
  for name, kind in sorted(self.declaration.inputs) do
    local namespace = kind.namespace and (self.settings[kind.namespace] or self.catalog_namespace)
    if namespace == "" then namespace = self.catalog_namespace end
    self.inputs[name] = { declaration = kind, informers = informers.start(self.cluster, kind, namespace and { namespace } or self.namespaces, {
      indexes = { identity = kind.match }, on_trouble = trouble_of(kind),
      on_change = function(_, _, before, after, first) self:input_changed(name, before, after, first) end,
    }) }
  end
  local function following(kind)
    return informers.start(self.cluster, kind, self.namespaces, {
      label_selector = self.label, indexes = parent_indexes(self.label), on_trouble = trouble_of(kind),
      on_change = function(key, _, before, after, first) self:parent_changed(key, before, after, first) end,
    })
  end
  for name, kind in sorted(self.declaration.children) do
    self.children[name] = following(kind)
    self.by_kind[kind.kind] = self.children[name]
  end
  for name, kind in sorted(self.declaration.watches) do self.watches[name] = following(kind) end
  self.objects = informers.start(self.cluster, self.kind, self.namespaces, {
    indexes = object_indexes, on_trouble = trouble_of(self.kind),
    on_change = function(key, _, _, _, first)
      if not first then self.changed_at[key] = loop.now() end
      self:add(key, first)
    end,
  })
end

function M:all_informers()
  local list = { self.objects }
  for _, set in ipairs { self.children, self.watches } do
    for _, informer in sorted(set) do list[#list + 1] = informer end
  end
  for _, input in sorted(self.inputs) do list[#list + 1] = input.informers end
  return list
end

-- What must be known before the first decision: the objects, their children, what is watched. Inputs are
-- not waited for: a catalogue that does not answer is "unknown" and removes nothing.
function M:synced()
  if not self.objects then return false end
  for _, set in ipairs { { self.objects }, self.children, self.watches } do
    for _, informer in pairs(set) do
      if not informer:synced() then return false end
    end
  end
  return true
end

-- Why it does not decide now, as text; nil when it does.
function M:refusal()
  return self.guard.refused and "the policy keeps something between calls: " .. guard.sentence(self.guard.refused)
end

-- The trouble that goes on in some watch, as text; nil when there is none.
function M:trouble()
  for _, informer in ipairs(self:all_informers()) do
    local text = informer:trouble()
    if text then return text end
  end
end

function M:forget(key)
  self.problems[key], self.last_error[key], self.remembered[key] = nil, nil, nil
  self.replacements:forget(key)
  self.rollout:forget(key)
end

-- One reconcile of a taken key, and what becomes of the key.
function M:work(key)
  local started, name = loop.now(), self.name
  self.busy = self.busy + 1
  self.metrics.active:set(self.busy, name)
  local ok, result, next_look = pcall(reconcile.key, self, key)
  self.busy = self.busy - 1
  self.metrics.active:set(self.busy, name)
  self.metrics.time:observe(loop.now() - started, name)
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
end

-- An input that nothing was known of answers now: whoever was decided without it is decided again.
function M:await_inputs()
  for _, input in sorted(self.inputs) do
    if not input.informers:synced() then
      loop.spawn(function()
        if not input.informers:wait_synced() or self.stopping then return end
        for _, key in ipairs(self.objects:keys()) do self:add(key, true) end
      end)
    end
  end
end

-- (waits) until the caches are complete, then start the workers.
function M:run()
  self:start_watches()
  while not self:synced() do
    if self.stopping then return end
    loop.sleep(0.01)
  end
  log.info("caches are complete", { objects = #self.objects:keys() })
  -- give the catalogue a moment: a start that decides before it would only decide twice
  for _, input in sorted(self.inputs) do input.informers:wait_synced(2) end
  self.ready = true
  self:await_inputs()
  self.metrics.workers:set(self.workers, self.name)
  self.tasks = {}
  for i = 1, self.workers do
    self.tasks[i] = loop.spawn(function()
      for key in function() return self.queue:take() end do self:work(key) end
    end)
  end
end

-- (waits) Take no more work; wait up to `seconds` for what is under way. Whether all ended.
function M:stop(seconds)
  self.stopping = true
  self.queue:stop()
  local deadline = loop.now() + seconds
  while self.busy > 0 and loop.now() < deadline do loop.sleep(0.02) end
  for _, informer in ipairs(self.objects and self:all_informers() or {}) do informer:stop() end
  return self.busy == 0
end

-- Children for people: of a Secret a digest stands for each value.
local function without_secrets(children)
  local shown = json.array {}
  for i, child in ipairs(children or {}) do
    if child.kind == "Secret" then
      child = { apiVersion = child.apiVersion, kind = child.kind, metadata = { name = child.metadata.name },
        digest = "sha256:" .. digest.sha256(json.encode(child)) }
    end
    shown[i] = child
  end
  return shown
end

-- What would be decided about a key now, and why; nil if there is no such object. Decided anew: a decision
-- is a pure function of what is seen, so keeping a thousand of them would only cost memory.
function M:explain(key)
  local handle = self.objects and self.objects:get(key)
  if not handle then return nil end
  local seen = observe.seen(self, key, handle)
  seen.trace = true
  local decision, failure = self.guard:decide(seen)
  if decision then decision.children = without_secrets(decision.children) end
  return { key = key, generation = handle.generation, resourceVersion = handle.version, decision = decision or nil,
    failure = failure or nil, problems = self.problems[key] and json.array(self.problems[key]) or nil,
    last_error = self.last_error[key], held = self.rollout:is_held(key) or nil, policy = { digest = self.digest } }
end

return M
