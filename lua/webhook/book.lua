-- Who uses what: for each group the pods that are seen, and those that were admitted and are not seen yet.
--
-- Between the answer to an API server and the event of the watch a pod exists for nobody. Counting what is seen alone lets every
-- creation of a burst through (fault 35), so an admission reserves what its pod counts for, under the pod's UID, until that pod is seen.
-- A pod that was admitted and never came (something behind us refused it) is given up after RESERVED_SECONDS, but not
-- while the watch of pods is deaf: what it could not tell is no proof.
--
-- Sums are kept as quantities in text and never go through a float: what was added is what is taken away.
--
-- Beside the sums the book knows what order.lua asks: how many pods an owner (a model, "namespace/name") has, what will soon be free
-- because it is ending, and who lost a pod a moment ago.

local M = {}
M.__index = M

M.RESERVED_SECONDS = 70
-- So long after an admission the watch must have been heard before its silence about the pod means something.
local HEARD_SECONDS = 10
-- So long the room of a pod that went is its owner's.
M.PLACE_SECONDS = 20
local PLACES_MAX = 1000 -- of one owner

-- now: function, monotonic seconds. on_freed: function(label), called when a group has come to use less. wanted: function(owner) -> how
-- many pods it wants.
function M.new(options)
  return setmetatable({ now = options.now, on_freed = options.on_freed or function() end,
    wanted = options.wanted or function() return math.huge end, pods = {}, sums = {}, seen_sums = {},
    reserved_count = 0, queue = { first = 1, last = 0 }, by_source = {}, owned = {}, leaving = {}, places = {} }, M)
end

local function apply(sums, label, uses, change)
  local sum = sums[label]
  if not sum then
    sum = {}
    sums[label] = sum
  end
  for name, amount in pairs(uses) do
    local new = change(sum[name] or "0", amount)
    sum[name] = new ~= "0" and new or nil
  end
  if next(sum) == nil then sums[label] = nil end
end

local function own(self, owner, change)
  if not owner then return end
  local count = (self.owned[owner] or 0) + change
  self.owned[owner] = count ~= 0 and count or nil
end

local function leave(self, pod, value)
  local set = self.leaving[pod.label] or {}
  set[pod] = value
  self.leaving[pod.label] = next(set) and set or nil
end

local function add(self, pod)
  apply(self.sums, pod.label, pod.uses, quantity.add)
  if pod.seen then apply(self.seen_sums, pod.label, pod.uses, quantity.add) end
  if pod.ends_at then leave(self, pod, true) else own(self, pod.owner, 1) end
end

local function take(self, pod)
  apply(self.sums, pod.label, pod.uses, quantity.sub)
  if pod.seen then apply(self.seen_sums, pod.label, pod.uses, quantity.sub) end
  if pod.ends_at then leave(self, pod, nil) else own(self, pod.owner, -1) end
end

-- ---------------------------------------------------------------- places

-- The room of a pod that went stays its owner's for a while, if that wants another: {label, uses, at = {times, the oldest first}}.
local function keep_place(self, pod)
  if self.wanted(pod.owner) <= self:pods_of(pod.owner) then return end
  local place = self.places[pod.owner]
  if not place or place.label ~= pod.label then place = { label = pod.label, at = {} } end
  place.uses = pod.uses
  if #place.at < PLACES_MAX then place.at[#place.at + 1] = self.now() end
  self.places[pod.owner] = place
end

local function use_place(self, owner)
  local place = owner and self.places[owner]
  if not place then return end
  table.remove(place.at, 1)
  if #place.at == 0 then self.places[owner] = nil end
end

-- Who lost pods of a group a moment ago: {owner = {uses, at}}; nil if nobody did.
function M:places_in(label)
  local found
  for owner, place in pairs(self.places) do
    while place.at[1] and self.now() - place.at[1] > M.PLACE_SECONDS do table.remove(place.at, 1) end
    if #place.at == 0 then
      self.places[owner] = nil
    elseif place.label == label then
      found = found or {}
      found[owner] = place
    end
  end
  return found
end

-- ---------------------------------------------------------------- sums

-- A pod without a reservation stays as it is.
local function end_reservation(self, pod)
  local source = pod.source
  if not source then return end
  pod.source = nil
  self.reserved_count = self.reserved_count - 1
  local left = self.by_source[source] - 1
  self.by_source[source] = left > 0 and left or nil
end

-- Whether `new` has less of something than `old`.
local function is_less(old, new)
  for name, amount in pairs(old) do
    if quantity.compare(new[name] or "0", amount) < 0 then return true end
  end
  return false
end

-- What the pods of a group use: {resource = quantity}; without the pod `but`, if that is one of them. Not to be changed.
function M:used(label, but)
  local pod = but and self.pods[but]
  if not pod or pod.label ~= label then return self.sums[label] or {} end
  local sums = { [label] = {} }
  for name, amount in pairs(self.sums[label] or {}) do sums[label][name] = amount end
  apply(sums, label, pod.uses, quantity.sub)
  return sums[label] or {}
end

-- The same of the pods that are seen.
function M:seen(label)
  return self.seen_sums[label] or {}
end

-- What a group will use less when those of its pods have gone that are ending, and whose time to end is not over.
function M:ending(label)
  local sums = {}
  for pod in pairs(self.leaving[label] or {}) do
    if pod.ends_at > self.now() then apply(sums, label, pod.uses, quantity.add) end
  end
  return sums[label] or {}
end

-- How many pods an owner has, seen or on their way, without those that are ending.
function M:pods_of(owner)
  return self.owned[owner] or 0
end

-- How many reservations a source holds.
function M:held_by(source)
  return self.by_source[source] or 0
end

-- A pod (of owner, or nil) was admitted. One that is seen already stays as it is seen.
function M:reserve(uid, label, uses, source, owner)
  local there = self.pods[uid]
  if there and there.seen then return end
  if there then
    take(self, there)
    end_reservation(self, there)
  else
    use_place(self, owner)
  end
  local pod = { uid = uid, label = label, uses = uses, owner = owner, source = source, at = self.now() }
  self.pods[uid] = pod
  add(self, pod)
  self.queue.last = self.queue.last + 1
  self.queue[self.queue.last] = pod
  self.reserved_count = self.reserved_count + 1
  self.by_source[source] = (self.by_source[source] or 0) + 1
end

-- A pod is there and counts for this. owner: whose it is, or nil; ends_at: of one that is being deleted, when it should be gone (on
-- the clock of `now`).
function M:see(uid, label, uses, owner, ends_at)
  local old = self.pods[uid]
  if old then
    take(self, old)
    end_reservation(self, old)
  end
  self.pods[uid] = { label = label, uses = uses, seen = true, owner = owner, ends_at = ends_at }
  add(self, self.pods[uid])
  if old and old.seen and old.owner and not owner then keep_place(self, old) end -- it has ended, and will be replaced
  if old and (old.label ~= label or is_less(old.uses, uses)) then self.on_freed(old.label) end
end

-- A pod is gone, or was given up.
function M:forget(uid)
  local old = self.pods[uid]
  if not old then return end
  take(self, old)
  end_reservation(self, old)
  self.pods[uid] = nil
  if old.seen and old.owner then keep_place(self, old) end
  self.on_freed(old.label)
end

-- Give up reservations whose time is over. heard_at: when the watch of pods was last heard (monotonic seconds). How many.
function M:expire(heard_at)
  local queue, now, count = self.queue, self.now(), 0
  while queue.first <= queue.last do -- the oldest first: all have the same time
    local oldest = queue[queue.first]
    if oldest.source then
      if now - oldest.at < M.RESERVED_SECONDS or heard_at < oldest.at + HEARD_SECONDS then break end
      self:forget(oldest.uid)
      count = count + 1
    end
    queue[queue.first] = nil
    queue.first = queue.first + 1
  end
  return count
end

return M
