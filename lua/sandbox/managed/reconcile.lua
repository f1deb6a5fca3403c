-- Bringing entries up to date with a schema that has changed since they were written.
--
-- A list or map that is atomic now is owned as a whole by whoever owned something in it. One that was owned as a whole and is
-- merged by its parts now is owned with all parts that it has. The server cannot tell the second case from a map that was
-- empty when its manager said it (`emptyDir: {}`), so that manager comes to own what others put in later: that is
-- how Kubernetes 1.20 does it. Sets hardly ever need this; what is to be looked at is found once for each set.

local atoms = require "sandbox.typed.atoms"
local fields = require "sandbox.typed.fields"
local fieldset = require "sandbox.fieldset"

local M = {}

local function is_member(node) return node["."] ~= nil or next(node) == nil end

local GRANULAR = { [atoms.MAP] = true, [atoms.DEDUCED] = true, [atoms.SET] = true, [atoms.KEYED] = true }

local function child_of(atom, key)
  if atom.kind == atoms.SET or atom.kind == atoms.KEYED or key:sub(1, 2) ~= "f:" then return atom.item or atom.element end
  return atom.fields and atom.fields[key:sub(3)] or atom.element
end

local function look(node, atom, path, found)
  local leaf = is_member(node) and (next(node) == nil or next(node, next(node)) == nil)
  if GRANULAR[atom.kind] then
    if leaf then
      found[#found + 1] = { path = table.move(path, 1, #path, 1, {}), atom = atom }
      return
    end
    for key, below in pairs(node) do
      local child = key ~= "." and child_of(atom, key)
      if child then
        path[#path + 1] = key
        look(below, child, path, found)
        path[#path] = nil
      end
    end
  elseif not leaf and atom.kind ~= atoms.SCALAR then
    found[#found + 1] = { path = table.move(path, 1, #path, 1, {}), whole = true }
  end
end

local KNOWN = setmetatable({}, { __mode = "k" })

-- What in the set may need a change, by the atom of the root.
local function suspects(set, root)
  local known = KNOWN[root]
  if not known then
    known = setmetatable({}, { __mode = "k" })
    KNOWN[root] = known
  end
  local found = known[set]
  if not found then
    found = {}
    if next(set) ~= nil then look(set, root, {}, found) end
    known[set] = found
  end
  return found
end

local function item_by_key(list, key, atom)
  for _, item in ipairs(list) do
    if atoms.item_key(item, atom) == key then return item end
  end
end

-- The live value at the path, or nil.
local function value_at(value, path, atom)
  for _, key in ipairs(path) do
    if type(value) ~= "table" then return nil end
    local next_atom = child_of(atom, key)
    if atoms.list_of(value) then
      value = item_by_key(value, key, atom)
    else
      value = value[key:sub(3)]
    end
    atom = next_atom
  end
  return value
end

-- The set as the schema of today has it: the same table if nothing changed.
function M.reconcile(set, live, root)
  if root == atoms.DEDUCED_ATOM then return set end
  for _, suspect in ipairs(suspects(set, root)) do
    if suspect.whole then
      set = fieldset.with(set, suspect.path, fieldset.EMPTY)
    else
      local value = value_at(live, suspect.path, root)
      local node = value ~= nil and fields.of(value, suspect.atom) or fieldset.EMPTY
      if next(node) ~= nil then
        node["."] = fieldset.EMPTY
        set = fieldset.with(set, suspect.path, node)
      end
    end
  end
  return set
end

return M
