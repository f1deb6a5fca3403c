-- Parts of stored custom resources that need no second look.
--
-- A write changes little of an object and shares the rest with what is stored, which was cleaned and found valid when it was
-- stored. So the larger parts of a stored object are noted here with the schema node that they passed; met again, the same table
-- under the same node, they are passed over. Right as long as nobody modifies what is stored (world.lua).

local M = {}

local DEPTH = 3 -- spec, what is in it, and what is in that

-- Which node a table has passed.
M.by = setmetatable({}, { __mode = "k" })

local by = M.by

local function note(node, value, depth)
  if type(value) ~= "table" or not node or node.nothing then return end
  by[value] = node
  if depth >= DEPTH then return end
  local properties, items, additional = node.properties, node.items, node.additional
  for key, inner in next, value do
    if type(inner) == "table" then note(items or properties and properties[key] or additional, inner, depth + 1) end
  end
end

-- An object of the root's kind was stored, and so it is clean and valid.
function M.stored(root, object)
  for name, node in next, root.properties or {} do
    if name ~= "metadata" then note(node, object[name], 1) end
  end
end

return M
