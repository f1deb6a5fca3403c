-- The values behind server-side apply: laying a configuration over an object, and taking fields out of it.
--
-- Both follow the atoms of the schema and build new tables only where something changes. Order in lists: the live items
-- first, then the new ones in the configuration's order.

local atoms = require "sandbox.typed.atoms"

local M = {}

local EMPTY = {}
local map_of, list_of = atoms.map_of, atoms.list_of

local merge

local function merge_maps(live, config, atom)
  local new
  for name, value in next, config do
    local merged = value
    if live[name] ~= nil then merged = merge(live[name], value, atom.fields[name] or atom.element or atoms.UNTYPED_ATOM) end
    if merged ~= live[name] then
      if not new then
        new = typed.clone(live, 1)
      end
      new[name] = merged
    end
  end
  return new or live
end

local function merge_lists(live, config, atom)
  local said, new = {}, json.array {}
  for _, item in ipairs(config) do said[atoms.item_key(item, atom)] = item end
  local seen = {}
  for i, item in ipairs(live) do
    local key = atoms.item_key(item, atom)
    seen[key] = true
    new[i] = said[key] == nil and item or merge(item, said[key], atom.item)
  end
  for _, item in ipairs(config) do
    if not seen[atoms.item_key(item, atom)] then new[#new + 1] = item end
  end
  return new
end

-- Neither is nil.
function merge(live, config, atom)
  local kind, of = atom.kind, map_of
  if kind == atoms.SET or kind == atoms.KEYED then
    of = list_of
  elseif kind ~= atoms.MAP and kind ~= atoms.DEDUCED then
    return config
  end
  local was, said = of(live), of(config)
  if kind == atoms.DEDUCED and not said and config ~= json.null then return config end
  if (not was or next(was) == nil) and (not said or next(said) == nil) then return config end
  if not was then return config end
  if not said then return live end
  if of == list_of then return merge_lists(was, said, atom) end
  return merge_maps(was, said, atom)
end

-- live with config laid over it: config wins where both say one value.
function M.merge(live, config, atom) return merge(live, config, atom) end

local remove

local function remove_from_map(map, set, atom)
  local new = {}
  for name, value in next, map do
    local node = set[atoms.field_key(name)]
    if not node then
      new[name] = value
    elseif next(node) ~= nil and not node["."] then
      new[name] = remove(value, node, atom.fields[name] or atom.element or atoms.UNTYPED_ATOM)
    end
  end
  return next(new) and new or json.null
end

local function remove_from_list(list, set, atom)
  local new = json.array {}
  for _, item in ipairs(list) do
    local node = set[atoms.item_key(item, atom)]
    if not node then
      new[#new + 1] = item
    elseif next(node) ~= nil and not node["."] then
      new[#new + 1] = remove(item, node, atom.item)
    end
  end
  return new[1] ~= nil and new or json.null
end

-- A map or a list of which nothing is left is null, not absent: its parent was not asked to go.
function remove(value, set, atom)
  local kind = atom.kind
  if kind == atoms.MAP or kind == atoms.DEDUCED and map_of(value) then
    local map = map_of(value)
    return map and next(map) and remove_from_map(map, set, atom) or json.null
  elseif kind == atoms.SET or kind == atoms.KEYED then
    local list = list_of(value)
    return list and list[1] ~= nil and remove_from_list(list, set, atom) or json.null
  elseif type(value) == "table" then
    return json.null
  end
  return value
end

-- The value without the members of the set and all that is below them.
function M.remove(value, set, atom)
  if next(set) == nil then return value end
  local new = remove(value, set, atom)
  return new == json.null and EMPTY or new
end

return M
