-- The watches that a controller's declaration asks for, as one set.
--
-- A set is made whole: the inputs, the children, what is watched beside them, the objects. A policy that is tried while
-- another is live may ask for other watches: then a second set is made beside the live one. What both ask for alike
-- they share, caches and all; what is new is started, and can be synced before anything depends on it; a watch is
-- stopped when the last set that has it is released. Until a set is opened its new watches wake nobody.

local ahead = require "ahead"
local apply = require "apply"
local informers = require "informers"
local inputs = require "inputs"
local sorted = require "sorted"

local M = {}
M.__index = M

local TROUBLE_SECONDS = 600

-- pairs by name: requests and keys come in the same order in every process.
local function by_name(map)
  local names, i = sorted(map), 0
  return function()
    i = i + 1
    return names[i], map and map[names[i]]
  end
end

-- Trouble is told once and, while it stays the same, every ten minutes. Silence is no trouble yet: a server that has had no
-- event of a kind may send no bookmarks either, and the watch is resumed where it stood. What a policy calls optional may
-- not be served, or not be ours to read: that is told once.
local function trouble_of(kind)
  local told, at
  return function(text, retry_seconds)
    local again = text == told and (kind.optional or loop.now() - at < TROUBLE_SECONDS)
    local say = (again or text:find("silent for", 1, true)) and log.debug or kind.optional and log.info or log.warn
    local what = kind.optional and "an optional kind cannot be watched; it is tried again" or "a watch has trouble"
    say(what, { resource = kind.resource, why = text, retry_seconds = retry_seconds })
    if not again then told, at = text, loop.now() end
  end
end

local function parent_indexes(label)
  return { parent = { "metadata.labels[" .. label .. "]" }, owner = { "@owner" },
    digest = { "metadata.annotations[" .. apply.DIGEST .. "]" }, replicas = ahead.CHILD.replicas }
end

-- What is asked for in these words: what `previous` has, or this set already, or what make(part) starts.
local function part_of(self, previous, words, make)
  local part = self.parts[words] or previous and previous.parts[words]
  if not part then
    part = { open = previous == nil, holders = 0 } -- the first set of all is awaited by its first lists
    part.informer = make(part)
  end
  if not self.parts[words] then
    part.holders = part.holders + 1
    self.parts[words] = part
    self.list[#self.list + 1] = part.informer
  end
  return part.informer
end

-- The informer of this role, name and kind. options: as informers.start; on_change is called once the set is open.
local function informer_of(self, previous, role, name, kind, namespaces, options)
  local words = json.encode { role = role, name = name, kind = kind, namespaces = namespaces and json.array(namespaces) or "all",
    selector = options.label_selector, indexes = options.indexes }
  return part_of(self, previous, words, function(part)
    local on_change = options.on_change
    options.on_trouble = trouble_of(kind)
    options.on_change = function(...)
      if part.open then on_change(...) end
    end
    local informer = informers.start(self.world.cluster, kind, namespaces, options)
    self.new[#self.new + 1] = { role = role, informer = informer, namespaces = namespaces }
    return informer
  end)
end

-- Inputs that ask the same of the same server share a source. One that asks of no server is never known.
local function source_of(self, previous, declared, settings)
  if not inputs.has_server(declared, settings) then return nil end
  local world = self.world
  return part_of(self, previous, inputs.source_words(declared, settings), function(part)
    self.asks_anew = true
    local source
    source = inputs.source(declared, settings, { cluster = world.cluster, namespace = world.catalog_namespace,
      on_answer = function(keys, changed)
        if part.open then world:input_answered(source, keys, changed) end
      end })
    return source
  end)
end

local function watched_input(self, previous, name, kind, settings)
  local world, words = self.world, {}
  for field, value in pairs(kind) do -- who is asked in its place does not make it another watch
    if field ~= "http" then words[field] = value end
  end
  local namespace = inputs.namespace(kind, settings, world.catalog_namespace)
  return informer_of(self, previous, "input", name, words, namespace and { namespace } or world.namespaces, {
    indexes = { identity = kind.match, limit = ahead.input(kind) },
    on_change = function(_, _, before, after, first) world:input_changed(name, before, after, first) end,
  })
end

local function start_inputs(self, declaration, settings, previous)
  for name, kind in by_name(declaration.inputs) do
    if inputs.is_asked(kind, settings) then
      self.inputs[name] = inputs.asked(name, kind, source_of(self, previous, kind.http, settings))
    else
      self.inputs[name] = inputs.watched(name, kind, watched_input(self, previous, name, kind, settings))
    end
  end
end

local function start_around(self, declaration, previous)
  local world, label = self.world, declaration.label
  local function following(role, name, kind)
    return informer_of(self, previous, role, name, kind, world.namespaces, {
      label_selector = label, indexes = parent_indexes(label),
      on_change = function(key, _, before, after, first) world:parent_changed(key, before, after, first) end,
    })
  end
  local function listening(name, kind)
    return informer_of(self, previous, "watch", name, kind, world.namespaces, {
      indexes = { about = { kind.by } },
      on_change = function(key, _, before, after, first) world:told_of(world.watches[kind.about], key, before, after, first) end,
    })
  end
  for name, kind in by_name(declaration.children) do
    self.children[name] = following("child", name, kind)
    self.by_kind[kind.kind] = self.children[name]
  end
  for name, kind in by_name(declaration.watches) do
    self.watches[name] = kind.about and listening(name, kind) or following("watch", name, kind)
  end
end

local function start_objects(self, declaration, previous)
  local world, indexes = self.world, {}
  for name, paths in pairs(ahead.OBJECT) do indexes[name] = paths end
  for name, input in pairs(declaration.inputs or {}) do indexes[name] = { input.by } end
  self.objects = informer_of(self, previous, "object", "objects", declaration.kind, world.namespaces, {
    indexes = indexes,
    on_change = function(key, _, before, after, first) world:object_changed(key, first, before, after) end,
  })
end

-- Start what `declaration` asks for; at once. world: {cluster, namespaces, catalog_namespace, watches} and the functions that changes are
-- told to: object_changed, parent_changed, input_changed, told_of. previous: the set to share with, or nil.
-- set.new: the watches that were started for it: {role, informer, namespaces}.
function M.start(world, declaration, settings, previous)
  local self = setmetatable({ world = world, inputs = {}, children = {}, watches = {}, by_kind = {}, parts = {}, list = {}, new = {} }, M)
  start_inputs(self, declaration, settings, previous)
  start_around(self, declaration, previous)
  start_objects(self, declaration, previous)
  return self
end

-- From now on every change wakes whom it concerns.
function M:open()
  for _, part in pairs(self.parts) do part.open = true end
end

-- What must be known before the first decision: the objects, their children, what is watched. Inputs are
-- not waited for: a catalogue that does not answer is "unknown" and removes nothing. Of what a policy calls optional the first
-- answer is waited for, also a refusal.
function M:synced()
  for _, group in ipairs { { self.objects }, self.children, self.watches } do
    for _, informer in pairs(group) do
      if not informer:synced() and not (informer.kind.optional and informer:trouble()) then return false end
    end
  end
  return true
end

-- (waits) Until each input answered, at most so many seconds for all of them.
function M:wait_for_inputs(seconds)
  local deadline = loop.now() + seconds
  for _, input in by_name(self.inputs) do input:wait_synced(math.max(deadline - loop.now(), 0), self) end
end

-- What was started for this set, was not waited for, and may answer later: inputs, and optional kinds. Asked once.
function M:late()
  local list = {}
  for _, part in ipairs(self.new) do
    if not part.informer:synced() then list[#list + 1] = part.informer end
  end
  self.new = {}
  return list
end

-- The trouble that goes on in some watch, as text; nil when there is none.
function M:trouble()
  local text = self.objects:trouble()
  if text then return text end
  for _, informer in ipairs(self.list) do
    text = informer:trouble()
    if text then return text end
  end
end

-- Whether a watch would stop with this set.
function M:holds_alone()
  for _, part in pairs(self.parts) do
    if part.holders == 1 then return true end
  end
  return false
end

-- This set is not needed any more: watches that no other set has are stopped. Once; later calls do nothing.
function M:release()
  if self.released then return end
  self.released = true
  for _, part in pairs(self.parts) do
    part.holders = part.holders - 1
    if part.holders == 0 then part.informer:stop() end
  end
end

-- Stop them all, whoever else has them.
function M:stop()
  for _, informer in ipairs(self.list) do informer:stop() end
end

return M
