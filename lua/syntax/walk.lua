-- Visiting a tree: every node once, in the order of the text.

local M = {}

-- What a node holds, in order: names of fields, or "*" before one that is an array.
local PARTS = {
  block = { "*" },
  ["return"] = { "*values" }, ["local"] = { "*values" }, ["local function"] = { "func" },
  ["function statement"] = { "target", "func" }, ["while"] = { "test", "body" }, ["repeat"] = { "body", "test" },
  ["for"] = { "from", "to", "step", "body" }, ["for in"] = { "*values", "body" }, ["do"] = { "body" },
  ["call statement"] = { "call" }, assign = { "*targets", "*values" }, ["if"] = {},
  ["function"] = { "body" }, index = { "of", "key" }, call = { "of", "*args" }, method = { "of", "*args" },
  binary = { "left", "right" }, unary = { "of" }, paren = { "of" }, table = { "*items" },
  item = { "value" }, field = { "value" }, pair = { "key", "value" },
}

local function each(list, visit)
  for _, node in ipairs(list) do M.visit(node, visit) end
end

-- Call visit(node) for the node and all below it; what it returns false for is not entered.
function M.visit(node, visit)
  if visit(node) == false then return end
  if node.is == "if" then
    for _, branch in ipairs(node.branches) do
      M.visit(branch.test, visit)
      M.visit(branch.body, visit)
    end
    if node.otherwise then M.visit(node.otherwise, visit) end
    return
  end
  for _, part in ipairs(PARTS[node.is] or {}) do
    if part == "*" then
      each(node, visit)
    elseif part:sub(1, 1) == "*" then
      each(node[part:sub(2)], visit)
    elseif node[part] then
      M.visit(node[part], visit)
    end
  end
end

-- All nodes of a kind.
function M.all(tree, is)
  local found = {}
  M.visit(tree, function(node)
    if node.is == is then found[#found + 1] = node end
  end)
  return found
end

return M
