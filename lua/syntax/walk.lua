-- Visiting a tree: every node once, in the order of the text.

local M = {}

local visit_node

local function each(list, visit)
  for i = 1, #list do visit_node(list[i], visit) end
end

-- A visitor of what a node of a kind holds, in order: names of fields, with a * before one that is an array. (Written out as
-- code for one, two and three: lint walks every tree several times.)
local function parts(first, second, third)
  local function part(field)
    if not field then return nil end
    local name = field:match "^%*(.+)$"
    if name then return function(node, visit) each(node[name], visit) end end
    return function(node, visit)
      local inner = node[field]
      if inner then visit_node(inner, visit) end
    end
  end
  local one, two, three = part(first), part(second), part(third)
  if not two then return one end
  return function(node, visit)
    one(node, visit)
    two(node, visit)
    if three then three(node, visit) end
  end
end

local INSIDE = {
  block = each,
  ["return"] = parts "*values", ["local"] = parts "*values", ["local function"] = parts "func",
  ["function statement"] = parts("target", "func"), ["while"] = parts("test", "body"), ["repeat"] = parts("body", "test"),
  ["for in"] = parts("*values", "body"), ["do"] = parts "body", ["call statement"] = parts "call",
  assign = parts("*targets", "*values"), ["function"] = parts "body", index = parts("of", "key"), call = parts("of", "*args"),
  method = parts("of", "*args"), binary = parts("left", "right"), unary = parts "of", paren = parts "of", table = parts "*items",
  item = parts "value", field = parts "value", pair = parts("key", "value"),
}

local bounds = parts("from", "to", "step")
INSIDE["for"] = function(node, visit)
  bounds(node, visit)
  visit_node(node.body, visit)
end

INSIDE["if"] = function(node, visit)
  for _, branch in ipairs(node.branches) do
    visit_node(branch.test, visit)
    visit_node(branch.body, visit)
  end
  if node.otherwise then visit_node(node.otherwise, visit) end
end

-- Call visit(node) for the node and all below it; what it returns false for is not entered.
function visit_node(node, visit)
  if visit(node) == false then return end
  local inside = INSIDE[node.is]
  if inside then inside(node, visit) end
end
M.visit = visit_node

-- All nodes of a kind.
function M.all(tree, is)
  local found = {}
  visit_node(tree, function(node)
    if node.is == is then found[#found + 1] = node end
  end)
  return found
end

return M
