-- What is to be done: work that is pending now, and timers. Both are part of the world's value.
--
-- Pending work is a set of (controller, key), told in sorted order: two orders of asking give the same value, so that a
-- checker does not take them for two states. It lies in pieces of at most PIECE items, since a server that is flooded has thousands of
-- them, and taking one out of the middle of an array moves the rest. A timer is a (controller, key) with a time; asked for twice, the
-- earlier one counts, as in client-go's workqueue (AddAfter). Items are never modified; the two arrays and maps
-- are copied by the first writer after a save.

local M = {}
M.__index = M

local PIECE = 64
local NONE = {}

-- pieces: of pending work, in order, none empty; count: of their items; waiting: these items by their texts; timers: in order; times: the
-- same by their texts.
function M.new()
  return setmetatable({ pieces = {}, count = 0, waiting = {}, timers = {}, times = {} }, M)
end

local function shallow(source)
  local copy = {}
  for name, value in pairs(source) do copy[name] = value end
  return copy
end

local function own(self)
  if not self.shared then return end
  local pieces = {}
  for at, piece in ipairs(self.pieces) do pieces[at] = table.move(piece, 1, #piece, 1, {}) end
  self.pieces, self.waiting = pieces, shallow(self.waiting)
  self.timers, self.times = table.move(self.timers, 1, #self.timers, 1, {}), shallow(self.times)
  self.shared = false
end

-- The piece in which a text stands or would stand: the first whose last item is not before it, else the last one.
local function piece_of(pieces, text)
  local low, high = 1, #pieces
  while low < high do
    local middle = (low + high) // 2
    local piece = pieces[middle]
    if piece[#piece].text < text then low = middle + 1 else high = middle end
  end
  return low
end

-- Where a text stands in a piece, or would stand.
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
  self.waiting[text], self.count = item, self.count + 1
  local pieces = self.pieces
  local at = piece_of(pieces, text)
  local piece = pieces[at]
  if not piece then
    pieces[1] = { item }
    return
  end
  table.insert(piece, place(piece, text), item)
  local count = #piece
  if count <= PIECE then return end
  local half = count // 2
  table.insert(pieces, at + 1, table.move(piece, half + 1, count, 1, {}))
  for index = count, half + 1, -1 do piece[index] = nil end
end

-- Take one out; false when it was not there.
function M:take(controller, key)
  local item = self.waiting[text_of(controller, key)]
  if not item then return false end
  own(self)
  self.waiting[item.text], self.count = nil, self.count - 1
  local pieces = self.pieces
  local at = piece_of(pieces, item.text)
  local piece = pieces[at]
  table.remove(piece, place(piece, item.text))
  if not piece[1] then table.remove(pieces, at) end
  return true
end

-- The item at a position of pending work, 1 .. count.
function M:at(position)
  for _, piece in ipairs(self.pieces) do
    if position <= #piece then return piece[position] end
    position = position - #piece
  end
end

-- All pending work in order; not to be modified.
local function list_of(self)
  local pieces = self.pieces
  if not pieces[2] then return pieces[1] or NONE end
  local list = {}
  for _, piece in ipairs(pieces) do table.move(piece, 1, #piece, #list + 1, list) end
  return list
end
M.list = list_of

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
  return { pieces = self.pieces, count = self.count, waiting = self.waiting, timers = self.timers, times = self.times }
end

function M:restore(saved)
  self.pieces, self.count, self.waiting = saved.pieces, saved.count, saved.waiting
  self.timers, self.times = saved.timers, saved.times
  self.shared = true
end

-- f(text, at|nil) for every item, in order.
function M.visit(saved, f)
  for _, item in ipairs(list_of(saved)) do f(item.text) end
  for _, item in ipairs(saved.timers) do f(item.text, item.at) end
end

function M.equal(a, b)
  if a.count ~= b.count or #a.timers ~= #b.timers then return false end
  local others = list_of(b)
  for index, item in ipairs(list_of(a)) do
    if item.text ~= others[index].text then return false end
  end
  for index, item in ipairs(a.timers) do
    local other = b.timers[index]
    if item.text ~= other.text or item.at ~= other.at then return false end
  end
  return true
end

return M
