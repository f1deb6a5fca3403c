-- Objects of all kinds, with a bounded history of what happened to them, that can be saved in no time.
--
-- A save is one table handed out: from then on whoever writes copies the level that it writes to (the
-- kind, the namespace, the last piece of history) and shares the rest. Which levels are ours alone is told by
-- a token: a level that carries the present token was copied since the last save. Without saves nothing is
-- ever copied, so that a server pays for none of this. `restores` counts restores: indexes beside the world learn from it that they
-- missed something.
--
-- Per kind: spaces[namespace] = { records = {name -> record}, names = sorted, list = records in that order (made when
-- asked for) } and the history, in pieces of PIECE events: a watch that comes back after more than `history`
-- events of its kind is told 410 (Kubernetes: "Efficient detection of changes").

local M = {}
M.__index = M

local PIECE = 64

-- history: how many events of a kind are kept at least (up to 63 more).
function M.new(history)
  return setmetatable({ kinds = {}, token = {}, history = history, restores = 0 }, M)
end

local shallow = typed.clone

-- The level of a kind, ours to write to.
local function own_kind(self, id)
  local kind = self.kinds[id]
  if kind and kind.token == self.token then return kind end
  if kind then
    kind = { spaces = shallow(kind.spaces), pieces = table.move(kind.pieces, 1, #kind.pieces, 1, {}), floor = kind.floor,
      count = kind.count, token = self.token }
  else
    kind = { spaces = {}, pieces = {}, floor = 0, count = 0, token = self.token }
  end
  if self.kinds_token ~= self.token then self.kinds, self.kinds_token = shallow(self.kinds), self.token end
  self.kinds[id] = kind
  return kind
end

local function own_space(self, kind, namespace)
  local space = kind.spaces[namespace]
  if space and space.token == self.token then return space end
  if space then
    space = { records = shallow(space.records), names = table.move(space.names, 1, #space.names, 1, {}), token = self.token }
  else
    space = { records = {}, names = {}, token = self.token }
  end
  kind.spaces[namespace] = space
  return space
end

-- Where `name` stands in the sorted names, or would stand.
local function place(names, name)
  local low, high = 1, #names + 1
  if high > 1 and names[high - 1] < name then return high end
  while low < high do
    local middle = (low + high) // 2
    if names[middle] < name then low = middle + 1 else high = middle end
  end
  return low
end

local function remember(self, kind, event)
  if self.history <= 0 then
    kind.floor = event.version
    return
  end
  local pieces = kind.pieces
  local last = pieces[#pieces]
  if not last or #last == PIECE then
    last = { token = self.token }
    pieces[#pieces + 1] = last
    if (#pieces - 2) * PIECE >= self.history then
      local oldest = table.remove(pieces, 1)
      kind.floor = oldest[#oldest].version
    end
  elseif last.token ~= self.token then
    last = table.move(last, 1, #last, 1, { token = self.token })
    pieces[#pieces] = last
  end
  last[#last + 1] = event
end

function M:get(id, namespace, name)
  local kind = self.kinds[id]
  local space = kind and kind.spaces[namespace]
  return space and space.records[name]
end

-- Put a record in (nil record: take it out) and remember the event.
function M:set(id, namespace, name, record, event)
  local kind = own_kind(self, id)
  local space = own_space(self, kind, namespace)
  local before = space.records[name]
  if record and not before then
    table.insert(space.names, place(space.names, name), name)
    kind.count = kind.count + 1
  elseif before and not record then
    table.remove(space.names, place(space.names, name))
    kind.count = kind.count - 1
  end
  space.records[name] = record
  space.list, kind.list = nil, nil
  remember(self, kind, event)
end

local function list_of(space)
  local list = space.list
  if not list then
    list = {}
    local records = space.records
    for index, name in ipairs(space.names) do list[index] = records[name] end
    space.list = list
  end
  return list
end

local NONE = {}

-- The namespaces that hold objects of this kind, sorted.
function M:namespaces(id)
  local kind, names = self.kinds[id], {}
  for namespace, space in pairs(kind and kind.spaces or NONE) do
    if #space.names > 0 then names[#names + 1] = namespace end
  end
  table.sort(names)
  return names
end

-- A sorted array that is not to be modified. namespace nil: of all.
function M:each(id, namespace)
  local kind = self.kinds[id]
  if not kind then return NONE end
  if namespace then
    local space = kind.spaces[namespace]
    return space and list_of(space) or NONE
  end
  local all = kind.list
  if all then return all end
  local names = self:namespaces(id)
  if #names == 1 then
    all = list_of(kind.spaces[names[1]])
  else
    all = {}
    for _, name in ipairs(names) do
      local list = list_of(kind.spaces[name])
      table.move(list, 1, #list, #all + 1, all)
    end
  end
  kind.list = all
  return all
end

function M:count(id)
  local kind = self.kinds[id]
  return kind and kind.count or 0
end

-- The version up to which events of a kind were forgotten.
function M:floor(id)
  local kind = self.kinds[id]
  return kind and kind.floor or 0
end

-- Events of a kind after `version`, oldest first; nil when some of them are forgotten.
function M:events_since(id, version)
  local kind, found = self.kinds[id], {}
  if not kind then return found end
  if version < kind.floor then return nil end
  local pieces = kind.pieces
  local first = #pieces
  while first > 1 and pieces[first][1].version > version do first = first - 1 end
  for index = math.max(first, 1), #pieces do
    local piece = pieces[index]
    local last = #piece
    local from = last + 1 -- from the end: mostly the last one alone is asked for
    while from > 1 and piece[from - 1].version > version do from = from - 1 end
    table.move(piece, from, last, #found + 1, found)
  end
  return found
end

-- Nothing of this kind is left, and nobody remembers it (a custom kind whose definition is gone).
function M:forget(id)
  own_kind(self, id)
  self.kinds[id] = nil
end

function M:save()
  self.token = {}
  return self.kinds
end

function M:restore(kinds)
  self.kinds, self.token, self.restores = kinds, {}, self.restores + 1
end

-- f(id, namespace, record) for every record, in an order of its own.
function M.visit(kinds, f)
  for id, kind in pairs(kinds) do
    for namespace, space in pairs(kind.spaces) do
      for _, record in pairs(space.records) do f(id, namespace, record) end
    end
  end
end

local function same_space(a, b, same)
  if a == b then return true end
  local other = b and b.records or NONE
  local names, others = a and a.names or NONE, b and b.names or NONE
  if #names ~= #others then return false end
  for _, name in ipairs(names) do
    local one, two = a.records[name], other[name]
    if one ~= two and not (two and same(one, two)) then return false end
  end
  return true
end

local function covers(a, b, same)
  for namespace, space in pairs(a.spaces) do
    if not same_space(space, b and b.spaces[namespace], same) then return false end
  end
  return true
end

-- Whether two saves hold the same objects, by same(record, record). What is shared is not looked at.
function M.equal(a, b, same)
  for id, kind in pairs(a) do
    if kind ~= b[id] and not covers(kind, b[id], same) then return false end
  end
  for id, kind in pairs(b) do
    if not a[id] and kind.count > 0 then return false end
    if a[id] and a[id] ~= kind and a[id].count ~= kind.count then return false end
  end
  return true
end

return M
