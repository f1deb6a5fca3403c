-- The world: everything that the sandbox knows, as one value that is saved, restored, hashed and compared.
--
-- Objects (store.lua), the work and the timers of the controllers (agenda.lua), the time, the state of the random
-- numbers, and `cell`, where modules keep small immutable values (JSON values; replaced, never modified in place). An object
-- in here is never modified: who changes one builds new tables along the way. Not part of the value: who
-- subscribed, the chooser, the clock, and the history of events in hash and equal (in a save it is).
--
-- Every free choice is drawn here, by name (choose): from the seed, or by a chooser that enumerates them all. So a run
-- on virtual time is the same, byte for byte, whenever the seed is.

local agenda = require "sandbox.agenda"
local store = require "sandbox.store"

local M = {}
M.__index = M

local GOLDEN = 0x9E3779B97F4A7C15

-- Sebastiano Vigna's splitmix64: the next 64 bits for a state.
local function mix(state)
  local z = state
  z = (z ~ (z >> 30)) * 0xBF58476D1CE4E5B9
  z = (z ~ (z >> 27)) * 0x94D049BB133111EB
  return z ~ (z >> 31)
end

-- options: seed (integer), now_ms (virtual time at the start; ms since 1970), history (events kept of a kind; 0: none),
-- clock (function: ms since 1970; then time is the wall's and `advance` is refused).
function M.new(options)
  options = options or {}
  local self = setmetatable({ version = 0, now_ms = options.now_ms or 1767225600000, clock = options.clock, cell = {},
    seed = mix(options.seed or 1), subscribers = {} }, M)
  self.objects, self.agenda = store.new(options.history or 1000), agenda.new()
  return self
end

-- Objects

-- The record of an object, or nil. namespace "": what has none.
function M:get(id, namespace, name) return self.objects:get(id, namespace, name) end

-- Records by namespace and name (namespace nil: of all); the array is not to be modified.
function M:each(id, namespace) return self.objects:each(id, namespace) end

function M:count(id) return self.objects:count(id) end

local function with_version(object, version)
  local copy, metadata = typed.clone(object), typed.clone(object.metadata, 1)
  metadata.resourceVersion = tostring(version)
  copy.metadata = metadata
  return copy
end

local function emit(self, event, id)
  for _, subscriber in ipairs(self.subscribers) do subscriber(event, id) end
end

local function record_of(object, version)
  local metadata = object.metadata
  return { object = object, namespace = metadata.namespace or "", name = metadata.name, uid = metadata.uid, version = version }
end

-- Write an object as it stands, with the next resourceVersion; emits ADDED or MODIFIED. The object is not modified. -> record
function M:put(id, object)
  local version = self.version + 1
  self.version = version
  local record = record_of(with_version(object, version), version)
  local previous = self.objects:get(id, record.namespace, record.name)
  local event = { type = previous and "MODIFIED" or "ADDED", record = record, previous = previous, version = version }
  self.objects:set(id, record.namespace, record.name, record, event)
  emit(self, event, id)
  return record
end

-- Take an object out; emits DELETED. -> its last state under a resourceVersion of its own, or nil. `last`: the state that
-- the event shows, if it is not the stored one.
function M:remove(id, namespace, name, last)
  local previous = self.objects:get(id, namespace, name)
  if not previous then return nil end
  local version = self.version + 1
  self.version = version
  local record = record_of(with_version(last or previous.object, version), version)
  local event = { type = "DELETED", record = record, previous = previous, version = version }
  self.objects:set(id, namespace, name, nil, event)
  emit(self, event, id)
  return record
end

-- { type, record, previous, version } of a kind after `version`, oldest first; nil: too old (410).
function M:events_since(id, version) return self.objects:events_since(id, version) end

-- The version up to which the events of a kind are forgotten.
function M:floor(id) return self.objects:floor(id) end

-- A kind is gone with all it had. (Its objects are removed before.)
function M:forget(id) self.objects:forget(id) end

-- f(event, id) at every change, at once. -> a function that ends it
function M:subscribe(f)
  local subscribers = table.move(self.subscribers, 1, #self.subscribers, 1, {})
  subscribers[#subscribers + 1] = f
  self.subscribers = subscribers
  return function()
    local left = {}
    for _, one in ipairs(self.subscribers) do
      if one ~= f then left[#left + 1] = one end
    end
    self.subscribers = left
  end
end

-- The JSON text of a record's object, made once; that of its spec once for all versions that share it.
function M.bytes(record)
  local bytes = record.bytes
  if not bytes then
    local spec = record.object.spec
    if type(spec) == "table" and getmetatable(spec) == nil then typed.frozen(spec) end -- (arrays have one, and what is frozen)
    bytes = json.encode(record.object)
    record.bytes = bytes
  end
  return bytes
end

-- Time

-- ms since 1970
function M:now() return self.clock and self.clock() or self.now_ms end

-- Virtual time goes on.
function M:advance(ms)
  assert(not self.clock, "the time of this world is the wall's: it cannot be advanced")
  self.now_ms = self.now_ms + ms
end

-- RFC 3339 in UTC, whole seconds, as metav1.Time; of now, or of `ms`.
function M:time(ms)
  local second = (ms or self:now()) // 1000
  if second ~= self.time_second then self.time_second, self.time_text = second, os.date("!%Y-%m-%dT%H:%M:%SZ", second) end
  return self.time_text
end

-- The same with microseconds, as metav1.MicroTime.
function M:micro_time()
  local now = self:now()
  return os.date("!%Y-%m-%dT%H:%M:%S", now // 1000) .. (".%03d000Z"):format(now % 1000)
end

-- Chance

local function draw(self)
  self.seed = self.seed + GOLDEN
  return mix(self.seed)
end

-- 1..n from the seed
function M:random(n) return (draw(self) >> 1) % n + 1 end

-- A choice point: 1..n, by the chooser(name, n, world) if there is one, else from the seed.
function M:choose(name, n)
  if self.chooser then return self.chooser(name, n, self) end
  if n <= 1 then return 1 end
  return self:random(n)
end

-- A version 4 UUID (RFC 4122).
function M:uid()
  local high, low = draw(self), draw(self)
  return ("%08x-%04x-4%03x-%04x-%012x"):format(high >> 32 & 0xFFFFFFFF, high >> 16 & 0xFFFF, high & 0xFFF,
    low >> 48 & 0x3FFF | 0x8000, low & 0xFFFFFFFFFFFF)
end

-- Without vowels, so that no word comes out; 0, 1 and 3 look like letters (k8s.io/apimachinery/pkg/util/rand).
local LETTERS = "bcdfghjklmnpqrstvwxz2456789"

-- Five characters, as the server puts behind generateName.
function M:suffix(length)
  local text, bits = {}, draw(self) >> 1
  for index = 1, length or 5 do
    if index % 10 == 0 then bits = draw(self) >> 1 end
    local at = bits % #LETTERS + 1
    text[index], bits = LETTERS:sub(at, at), bits // #LETTERS
  end
  return table.concat(text)
end

-- Work and timers of the controllers

-- In `ms` the work of a controller on a key is due. An earlier timer of the same two stays.
function M:after(ms, controller, key) self.agenda:after(self:now() + ms, controller, key) end

-- When the earliest timer is due, ms since 1970; nil: none.
function M:due() return self.agenda:due() end

-- Take out the earliest timer if it is due: { at, controller, key } or nil.
function M:take_due() return self.agenda:take_due(self:now()) end

function M:pend(controller, key) self.agenda:pend(controller, key) end

-- Sorted array of { controller, key }; not to be modified.
function M:pending() return self.agenda:list() end

-- How many there are, and one of them by its place.
function M:pending_count() return self.agenda.count end
function M:pending_at(position) return self.agenda:at(position) end

-- Take pending work out; false when there was none of the name.
function M:take(controller, key) return self.agenda:take(controller, key) end

-- The value

-- A snapshot, which stays as it is whatever happens to the world.
function M:save()
  local cells = {}
  for name, value in pairs(self.cell) do cells[name] = value end
  return { kinds = self.objects:save(), agenda = self.agenda:save(), cell = cells, version = self.version, now_ms = self.now_ms,
    seed = self.seed }
end

-- The world is as it was at the save; subscribers are not told, its registry is.
function M:restore(saved)
  self.objects:restore(saved.kinds)
  self.agenda:restore(saved.agenda)
  local cells = {}
  for name, value in pairs(saved.cell) do cells[name] = value end
  self.cell, self.version, self.now_ms, self.seed = cells, saved.version, saved.now_ms, saved.seed
  if self.registry then self.registry:refresh() end
end

local function snapshot(value)
  return getmetatable(value) == M and { kinds = value.objects.kinds, agenda = value.agenda, cell = value.cell,
    version = value.version, now_ms = value.now_ms, seed = value.seed } or value
end

-- Hashes of values that are never modified, kept as long as the value lives.
local hashes = setmetatable({}, { __mode = "k" })

local function hash_of(value)
  if type(value) ~= "table" then return digest.quick(value) end
  local hash = hashes[value]
  if not hash then
    hash = digest.quick(value)
    hashes[value] = hash
  end
  return hash
end

function M.record_hash(record)
  local hash = record.hash
  if not hash then
    hash = digest.quick(record.object)
    record.hash = hash
  end
  return hash
end

-- A 64-bit integer, the same within this process for equal worlds. of: nil (this world) or a snapshot of it.
function M:hash(of)
  local saved = snapshot(of or self)
  local sum = mix(saved.version) + mix(saved.now_ms + GOLDEN) ~ saved.seed
  -- A record's hash holds its namespace, name and uid, but not its kind: a table of two kinds under one name is unlikely, yet told apart.
  for id, kind in pairs(saved.kinds) do
    local salt
    for _, space in pairs(kind.spaces) do
      for _, record in pairs(space.records) do
        salt = salt or digest.quick(id)
        sum = sum + mix(M.record_hash(record) ~ salt)
      end
    end
  end
  for name, value in pairs(saved.cell) do sum = sum + mix(digest.quick(name) ~ mix(hash_of(value))) end
  agenda.visit(saved.agenda, function(text, at) sum = sum + mix(digest.quick(text) + (at or 0)) end)
  return sum
end

local function same_record(a, b)
  return a.version == b.version and (not a.hash or not b.hash or a.hash == b.hash) and json.equal(a.object, b.object)
end

-- Whether two worlds (or snapshots) are the same value.
function M.equal(a, b)
  a, b = snapshot(a), snapshot(b)
  if a.version ~= b.version or a.now_ms ~= b.now_ms or a.seed ~= b.seed then return false end
  for name, value in pairs(a.cell) do
    if value ~= b.cell[name] and not json.equal(value, b.cell[name]) then return false end
  end
  for name in pairs(b.cell) do
    if a.cell[name] == nil then return false end
  end
  return agenda.equal(a.agenda, b.agenda) and store.equal(a.kinds, b.kinds, same_record)
end

return M
