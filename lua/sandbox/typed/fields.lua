-- The set of fields that a configuration says, which is what server-side apply gives its manager.
--
-- Other than a comparison, it has leaves only: scalars, atomic lists and maps, the entries of maps whose names are free, the
-- items of lists. A struct, a map or a list is not said by its parts, so it stays when they are taken away.

local atoms = require "sandbox.typed.atoms"
local fieldset = require "sandbox.fieldset"

local M = {}

local EMPTY = fieldset.EMPTY

-- The node below a value; nil if nothing of it is said; a leaf if it is one value.
local function of(value, atom)
  local kind = atom.kind
  if kind == atoms.MAP or kind == atoms.DEDUCED and atoms.map_of(value) then
    local map, node = atoms.map_of(value), {}
    for name, below in next, map or EMPTY do
      local field = atom.fields[name]
      local child = of(below, field or atom.element or atoms.UNTYPED_ATOM)
      if not field then
        child = child or EMPTY
        if next(child) ~= nil then child["."] = EMPTY end
      end
      node[atoms.field_key(name)] = child
    end
    return next(node) and node
  elseif kind == atoms.SET or kind == atoms.KEYED then
    local list, node = atoms.list_of(value), {}
    for _, item in ipairs(list or EMPTY) do
      local key = atoms.item_key(item, atom)
      if key then
        local child = of(item, atom.item) or EMPTY
        if next(child) ~= nil then child["."] = EMPTY end
        node[key] = child
      end
    end
    return next(node) and node
  elseif kind == atoms.DEDUCED and value == json.null then
    return nil
  end
  return EMPTY
end

-- The field set of a value, in tables of its own.
function M.of(value, atom) return of(value, atom) or EMPTY end

return M
