-- What a write changed: the fields that are new or different, and the fields that are gone.
--
-- Both objects are walked side by side along the atoms of their schema. What is equal costs nothing but the walk (nothing
-- at all where both share a table), and the result is a pair of field sets, so a status update makes a small one however
-- large the object is. A value that is null on one side only is a value; a map or list that is empty or null on both
-- sides is compared as a whole, which keeps "empty" apart from "absent", as structured-merge-diff does.
--
-- compare(live, new, atom) -> changed, removed      field sets; errors raise { text= } (a list whose items share a key)

local atoms = require "sandbox.typed.atoms"
local fieldset = require "sandbox.fieldset"

local M = {}

local EMPTY = fieldset.EMPTY
local MAP, SET, KEYED, DEDUCED, UNTYPED_ATOM = atoms.MAP, atoms.SET, atoms.KEYED, atoms.DEDUCED, atoms.UNTYPED_ATOM
local map_of, list_of, field_key, item_key = atoms.map_of, atoms.list_of, atoms.field_key, atoms.item_key
local ARRAY = getmetatable(json.array {})
local getmetatable, type, next, same = getmetatable, type, next, json.equal

local function fail(text) error({ text = text }, 0) end

local function key_of(item, atom)
  local key, why = item_key(item, atom)
  return key or fail(why)
end

local full

-- Every path at and below each item, into `into`.
local function full_list(value, atom, into)
  local item_atom = atom.item
  for i = 1, #value do
    local key = key_of(value[i], atom)
    if into[key] then fail("duplicate entries for key " .. fieldset.step_text(key)) end
    into[key] = full(value[i], item_atom)
  end
  return into
end

local function full_map(value, atom, into)
  local fields, element = atom.fields, atom.element
  for name, below in next, value do
    local node = EMPTY
    if type(below) == "table" then node = full(below, fields[name] or element or UNTYPED_ATOM) end
    into[field_key(name)] = node
  end
  return into
end

-- The node of a value that is there on one side only.
function full(value, atom)
  if type(value) ~= "table" then return EMPTY end
  local kind = atom.kind
  if kind == MAP or kind == DEDUCED then
    if getmetatable(value) == ARRAY or next(value) == nil then return EMPTY end
    return full_map(value, atom, { ["."] = EMPTY })
  elseif kind == KEYED or kind == SET then
    if getmetatable(value) ~= ARRAY or value[1] == nil then return EMPTY end
    return full_list(value, atom, { ["."] = EMPTY })
  end
  return EMPTY
end

local function compare_leaf(live, new)
  if type(live) == "table" and type(new) == "table" and same(live, new) then return nil, nil end
  return EMPTY, nil
end

local compare

-- Both are maps, or one of them is and the other null. Either may be nil (null).
local function compare_map(live, new, atom)
  local fields, element = atom.fields, atom.element
  local changed, removed
  for name, value in next, new or EMPTY do
    local was = live and live[name]
    if was ~= value then
      local node, gone = compare(was, value, fields[name] or element or UNTYPED_ATOM)
      if node then
        changed = changed or {}
        changed[field_key(name)] = node
      end
      if gone then
        removed = removed or {}
        removed[field_key(name)] = gone
      end
    end
  end
  for name, value in next, live or EMPTY do
    if not new or new[name] == nil then
      removed = removed or {}
      removed[field_key(name)] = full(value, fields[name] or element or UNTYPED_ATOM)
    end
  end
  return changed, removed
end

local function compare_list(live, new, atom)
  local changed, removed
  local by_key, item_atom = {}, atom.item
  for _, item in ipairs(live or EMPTY) do by_key[key_of(item, atom)] = item end
  local seen = {}
  for _, item in ipairs(new or EMPTY) do
    local key = key_of(item, atom)
    if seen[key] then fail("duplicate entries for key " .. fieldset.step_text(key)) end
    seen[key] = true
    local node, gone = compare(by_key[key], item, item_atom)
    if node then
      changed = changed or {}
      changed[key] = node
    end
    if gone then
      removed = removed or {}
      removed[key] = gone
    end
  end
  for key, item in next, by_key do
    if not seen[key] then
      removed = removed or {}
      removed[key] = full(item, item_atom)
    end
  end
  return changed, removed
end

local function is_map_or_null(value) return value == json.null or map_of(value) ~= nil end

-- Values of unknown type, of which one is neither a map nor null.
local function compare_deduced(live, new, atom)
  local was, is = map_of(live), map_of(new)
  local changed, removed = EMPTY, nil
  if is and next(is) ~= nil then changed = full_map(is, atom, { ["."] = EMPTY }) end
  if was and next(was) ~= nil then removed = full_map(was, atom, {}) end
  return changed, removed
end

-- Nodes of what changed and of what is gone; nil where nothing is.
function compare(live, new, atom)
  if live == new then return nil, nil end
  if live == nil then return full(new, atom), nil end
  if new == nil then return nil, full(live, atom) end
  if type(live) ~= "table" and type(new) ~= "table" then return EMPTY, nil end
  local kind, of = atom.kind, map_of
  if kind == KEYED or kind == SET then
    of = list_of
  elseif kind ~= MAP and kind ~= DEDUCED then
    return compare_leaf(live, new)
  end
  local was, is = of(live), of(new)
  if (not was or next(was) == nil) and (not is or next(is) == nil) then return compare_leaf(live, new) end
  if of == list_of then return compare_list(was, is, atom) end
  if kind == DEDUCED and not (is_map_or_null(live) and is_map_or_null(new)) then return compare_deduced(live, new, atom) end
  return compare_map(was, is, atom)
end

function M.compare(live, new, atom)
  local changed, removed = compare(live, new, atom)
  return changed or EMPTY, removed or EMPTY
end

return M
