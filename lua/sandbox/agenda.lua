-- What is to be done: work that is pending now, and timers. Both are part of the world's value.
--
-- Pending work is a set of (controller, key), told in sorted order: two orders of asking give the same value, so that a
-- checker does not take them for two states. A timer is a (controller, key) with a time; asked for twice, the
-- earlier one counts, as in client-go's workqueue (AddAfter). Items are never modified; the two arrays and maps
-- are copied by the first writer after a save.

local M = {}
M.__index = M

function M.new()
  return setmetatable({ pending = {}, waiting = {}, timers = {}, times = {} }, M)
end

local function shallow(source)
  local copy = {}
  for name, value in pairs(source) do copy[name] = value end
  return copy
end

local function own(self)
  if not self.shared then return end
  self.pending, self.waiting = table.move(self.pending, 1, #self.pending, 1, {}), shallow(self.waiting)
  self.timers, self.times = table.move(self.timers, 1, #self.timers, 1, {}), shallow(self.times)
  self.shared = false
end

-- Where a text stands in pending work, or would stand.
local function place(items, text)
  local low, high = 1, #items + 1
  if high > 1 and items[high - 1].text < text then return high end
  while low < high do
    local middle = (low + high) // 2
    if items[middle].text < text then low = middle + 1 else high = middle end
  end
  return low
end

-- The same for timers, which are ordered by time first.
local function place_in_time(items, item)
  local at, text, low, high = item.at, item.text, 1, #items + 1
  while low < high do
    local middle = (low + high) // 2
    local other = items[middle]
    if other.at < at or other.at == at and other.text < text then low = middle + 1 else high = middle end
  end
  return low
end

local function text_of(controller, key) return controller .. "\0" .. key end

function M:pend(controller, key)
  local text = text_of(controller, key)
  if self.waiting[text] then return end
  own(self)
  local item = { controller = controller, key = key, text = text }
  self.waiting[text] = item
  table.insert(self.pending, place(self.pending, item.text), item)
end

-- Take one out; false when it was not there.
function M:take(controller, key)
  local item = self.waiting[text_of(controller, key)]
  if not item then return false end
  own(self)
  self.waiting[item.text] = nil
  table.remove(self.pending, place(self.pending, item.text))
  return true
end

function M:after(at, controller, key)
  local text = text_of(controller, key)
  local before = self.times[text]
  if before and before.at <= at then return end
  own(self)
  if before then table.remove(self.timers, place_in_time(self.timers, before)) end
  local item = { at = at, controller = controller, key = key, text = text }
  self.times[text] = item
  table.insert(self.timers, place_in_time(self.timers, item), item)
end

-- The time of the earliest timer, or nil.
function M:due()
  local first = self.timers[1]
  return first and first.at
end

-- Take out the earliest timer that is due at `now`: the item, or nil.
function M:take_due(now)
  local first = self.timers[1]
  if not first or first.at > now then return nil end
  own(self)
  table.remove(self.timers, 1)
  self.times[first.text] = nil
  return first
end

function M:save()
  self.shared = true
  return { pending = self.pending, waiting = self.waiting, timers = self.timers, times = self.times }
end

function M:restore(saved)
  self.pending, self.waiting, self.timers, self.times = saved.pending, saved.waiting, saved.timers, saved.times
  self.shared = true
end

-- f(text, at|nil) for every item, in order.
function M.visit(saved, f)
  for _, item in ipairs(saved.pending) do f(item.text) end
  for _, item in ipairs(saved.timers) do f(item.text, item.at) end
end

function M.equal(a, b)
  if #a.pending ~= #b.pending or #a.timers ~= #b.timers then return false end
  for index, item in ipairs(a.pending) do
    if item.text ~= b.pending[index].text then return false end
  end
  for index, item in ipairs(a.timers) do
    local other = b.timers[index]
    if item.text ~= other.text or item.at ~= other.at then return false end
  end
  return true
end

return M
