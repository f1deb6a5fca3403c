-- What is known of a value without running anything: its shape.
--
--   any                      nothing is known; nothing is said about it
--   nil, boolean, number     {is=}; a boolean may have `value`
--   string                   `words`: the set of texts that it may be, if there are few; `enum`: and it can be no other
--   table                    `fields` by name, `items` by position, `item` (of a list), `rest` (what other keys lead to), `open` (other
--                            keys may lead to anything); a schema's table has `find(name)` in place of fields
--   function, builtin        a function of the policies, or one that the host offers
--   maybe                    {of, why}: that, or nil (or false)
--   union                    {of = {tables}}: one of these
--
-- Shapes are made once and compared by identity, so that what was found for one is found again. Tables that policies make have
-- one shape for each place of their text, which grows with all that is written to it.

local sorted = require "sorted"

local M = {}

local count = 0
local function new(shape)
  count = count + 1
  shape.id = count
  return shape
end
M.new = new

M.ANY = new { is = "any" }
M.NIL = new { is = "nil" }
M.BOOLEAN = new { is = "boolean" }
M.TRUE = new { is = "boolean", value = true }
M.FALSE = new { is = "boolean", value = false }
M.NUMBER = new { is = "number" }
M.STRING = new { is = "string" }

local WORDS_MOST, UNION_MOST = 12, 60

local strings, maybes, unions = {}, {}, {}

-- Forget what was made for the files before; ids go on.
function M.reset()
  strings, maybes, unions = {}, {}, {}
end

-- A text that is one of `words` (a set); as `enum` it can be no other.
function M.one_of(words, enum)
  local list = sorted(words)
  if #list > WORDS_MOST then return M.STRING end
  local key = (enum and "!" or "") .. table.concat(list, "\0")
  strings[key] = strings[key] or new { is = "string", words = words, enum = enum }
  return strings[key]
end

function M.text(word)
  return M.one_of { [word] = true }
end

-- The only text that a string can be, or nil.
function M.literal(shape)
  if shape.is ~= "string" or not shape.words then return nil end
  local first = next(shape.words)
  return next(shape.words, first) == nil and first or nil
end

-- `why`: a half sentence that says when it is nil.
function M.maybe(shape, why)
  if shape.is == "any" or shape.is == "nil" or shape.is == "maybe" then return shape end
  if shape.is == "boolean" then return M.BOOLEAN end
  local key = shape.id .. " " .. (why or "")
  maybes[key] = maybes[key] or new { is = "maybe", of = shape, why = why }
  return maybes[key]
end

-- Without nil.
function M.strip(shape)
  return shape.is == "maybe" and shape.of or shape
end

-- What is left when it is known to be true, and to be false (nil: it cannot be).
function M.when_true(shape)
  if shape.is == "nil" or shape == M.FALSE then return nil end
  if shape.is == "boolean" then return M.TRUE end
  return M.strip(shape)
end

function M.when_false(shape)
  if shape.is == "any" then return M.ANY end
  if shape.is == "nil" or shape.is == "maybe" then return M.NIL end
  if shape.is == "boolean" and shape.value ~= true then return M.FALSE end
  return nil
end

function M.table(fields)
  fields = fields or {}
  fields.is, fields.fields, fields.items = "table", fields.fields or {}, fields.items or {}
  return new(fields)
end

function M.list(item)
  return M.table { item = item }
end

function M.map(rest)
  return M.table { rest = rest }
end

-- ---------------------------------------------------------------- one of two

local function add_members(shape, members, set)
  for _, one in ipairs(shape.is == "union" and shape.of or { shape }) do
    if not set[one] then members[#members + 1], set[one] = one, true end
  end
end

local function by_id(a, b)
  return a.id < b.id
end

local function union(shapes)
  local members, set = {}, {}
  for _, shape in ipairs(shapes) do add_members(shape, members, set) end
  if #members == 1 then return members[1] end
  if #members > UNION_MOST then return M.ANY end
  table.sort(members, by_id)
  local ids = {}
  for i, member in ipairs(members) do ids[i] = member.id end
  local key = table.concat(ids, " ")
  unions[key] = unions[key] or new { is = "union", of = members }
  return unions[key]
end

local function join_strings(one, other)
  if not one.words or not other.words then return M.STRING end
  local words = {}
  for word in pairs(one.words) do words[word] = true end
  for word in pairs(other.words) do words[word] = true end
  return M.one_of(words)
end

-- The shape of what is the one or the other; `one` may be nil: nothing was known.
function M.join(one, other)
  if one == other or other == nil then return one end
  if one == nil then return other end
  if one.is == "any" or other.is == "any" then return M.ANY end
  local one_maybe, other_maybe = one.is == "maybe" or one.is == "nil", other.is == "maybe" or other.is == "nil"
  if one_maybe or other_maybe then
    local why = one.is == "maybe" and one.why or other.is == "maybe" and other.why or nil
    if one.is == "nil" then return M.maybe(other, why) end
    if other.is == "nil" then return M.maybe(one, why) end
    return M.maybe(M.join(M.strip(one), M.strip(other)), why)
  end
  if one.is == "boolean" and other.is == "boolean" then return M.BOOLEAN end
  if one == M.FALSE then return M.maybe(other, "it may be false") end
  if other == M.FALSE then return M.maybe(one, "it may be false") end
  if one.is == "string" and other.is == "string" then return join_strings(one, other) end
  local tables = { table = true, union = true }
  if tables[one.is] and tables[other.is] then return union { one, other } end
  return M.ANY
end

-- The shape of what is one of many; nil for none. (Rows of a table: put together at once.)
function M.join_all(shapes)
  local all_tables = #shapes > 2
  for _, shape in ipairs(shapes) do all_tables = all_tables and shape.is == "table" end
  if all_tables then return union(shapes) end
  local all
  for _, shape in ipairs(shapes) do all = M.join(all, shape) end
  return all
end

-- ---------------------------------------------------------------- reading

-- What a table's name leads to, or nil: it has no such field.
local function field_of(shape, name)
  if shape.find then
    local found = shape.find(name)
    if found then return found end
  end
  if shape.fields[name] then return shape.fields[name] end
  if shape.rest then return M.maybe(shape.rest, "there may be no such key") end
  if shape.open then return M.ANY end
  return nil
end

local function is_empty(shape)
  return not shape.find and not shape.item and not shape.rest and next(shape.fields) == nil and next(shape.items) == nil
end

local function member(shape, get, ...)
  if shape.is == "any" then return M.ANY end
  if shape.is == "table" then return get(shape, ...) end
  if shape.is ~= "union" then return nil end
  local all = {}
  for _, one in ipairs(shape.of) do all[#all + 1] = get(one, ...) end
  return M.join_all(all)
end

-- Whether one of the tables is the {} of `x or {}`.
local function has_default(shape)
  for _, one in ipairs(shape.is == "union" and shape.of or {}) do
    if is_empty(one) then return true end
  end
  return false
end

-- The shape behind a name; nil: there is no such field in any of them. (Where one of several tables lacks it, the policy knows which
-- one it has; but the {} of `x or {}` lacks everything.)
function M.field(shape, name)
  local found = member(shape, field_of, name)
  return found and has_default(shape) and M.maybe(found, "the {} behind `or` has none") or found
end

local function position_of(shape, number)
  if shape.items[number] then return shape.items[number] end
  if shape.item then
    if shape.filled and number <= shape.filled then return shape.item end
    return M.maybe(shape.item, "the list may be shorter")
  end
  if shape.rest or shape.open or shape.find or next(shape.fields) ~= nil then return M.ANY end
  return M.NIL
end

function M.position(shape, number)
  local found = member(shape, position_of, number)
  return found and has_default(shape) and M.maybe(found, "the list may be empty") or found
end

-- What every element of a list is; nil if nothing is in it.
local function element_of(shape)
  local all = { shape.item }
  for _, one in pairs(shape.items) do all[#all + 1] = one end
  return M.join_all(all) or shape.rest or shape.open and M.ANY or nil
end

function M.element(shape)
  return member(shape, element_of)
end

-- What keys that are not known lead to.
local function any_of(shape)
  if shape.find or shape.open then return M.ANY end
  local all = { shape.rest }
  for _, one in pairs(shape.fields) do all[#all + 1] = one end
  for _, one in pairs(shape.items) do all[#all + 1] = one end
  all[#all + 1] = shape.item
  return M.join_all(all)
end

function M.value_of_any_key(shape)
  return member(shape, any_of)
end

-- The names of the fields, for a suggestion.
function M.names(shape)
  local set = {}
  for _, one in ipairs(shape.is == "union" and shape.of or { shape }) do
    for name in pairs(one.fields or {}) do set[name] = true end
    for _, name in ipairs(one.names and one.names() or {}) do set[name] = true end
  end
  return sorted(set)
end

return M
