-- What is made in the order of `pairs`.
--
-- In a policy `pairs` walks by name, so that two processes decide the same. But that is nobody's order: a list that is
-- made so changes its places when a name comes or goes, and the first one found is the first by name. Lists that are sorted
-- afterwards are fine. What else is meant so is said with a comment: -- lint: allow order

local show = require "lint.show"
local walk = require "syntax.walk"

local M = {}

local function is_global_call(node, name)
  return node and node.is == "call" and node.of.is == "name" and not node.of.decl and node.of.name == name
end

local function is_library_call(node, library, name)
  return node.is == "call" and node.of.is == "index" and node.of.dot and node.of.key.value == name and node.of.of.is == "name"
    and not node.of.of.decl and node.of.of.name == library
end

local function is_same(one, other)
  return one.is == "name" and other.is == "name" and one.decl ~= nil and one.decl == other.decl
end

-- The list that a node puts an element at the end of: t[#t + 1] = x, or table.insert(t, x).
local function appended(node)
  if node.is == "call statement" and is_library_call(node.call, "table", "insert") then return node.call.args[1] end
  if node.is ~= "assign" then return nil end
  local target = node.targets[1]
  if target.is ~= "index" or target.key.is ~= "binary" or target.key.op ~= "+" then return nil end
  local length = target.key.left
  return length.is == "unary" and length.op == "#" and is_same(length.of, target.of) and target.of or nil
end

-- s = s .. x
local function is_joined(node)
  if node.is ~= "assign" or node.targets[1].is ~= "name" then return false end
  local value = node.values[1]
  while value.is == "binary" and value.op == ".." do
    if is_same(value.left, node.targets[1]) then return true end
    value = value.left
  end
  return false
end

local function uses(node, decls)
  local found = false
  walk.visit(node, function(inner)
    found = found or inner.is == "name" and inner.decl ~= nil and decls[inner.decl] == true
  end)
  return found
end

-- Whether the list is sorted in this function behind the line.
local function is_sorted_after(func, list, line)
  local found = false
  walk.visit(func.body, function(node)
    if is_library_call(node, "table", "sort") and node.args[1] and is_same(node.args[1], list) and node.line >= line then found = true end
  end)
  return found
end

local function declared_inside(loop)
  local decls = {}
  walk.visit(loop.body, function(node)
    for _, decl in ipairs(node.is == "local" and node.names or {}) do decls[decl] = true end
  end)
  return decls
end

local COMPARES = { ["=="] = true, ["~="] = true, ["<"] = true, [">"] = true, ["<="] = true, [">="] = true }

-- Whether it is true or false, and so the same whoever comes first.
local function is_truth(node)
  return node.is == "unary" and node.op == "not" or node.is == "binary" and COMPARES[node.op] == true
end

-- The name that is asked to be empty: not x, x == nil.
local function empty_in(condition)
  if condition.is == "unary" and condition.op == "not" then return condition.of end
  if condition.is == "binary" and condition.op == "==" and condition.right.is == "nil" then return condition.left end
end

-- The name that takes the first value and keeps it: x = x or v, or: if not x then x = v end. nil: none.
local function kept_first(node, vars)
  if node.is == "assign" then
    local target, value = node.targets[1], node.values[1]
    local keeps = value.is == "binary" and value.op == "or" and is_same(value.left, target)
    return keeps and uses(value.right, vars) and not is_truth(value.right) and target or nil
  end
  local only = node.is == "if" and #node.branches == 1 and not node.otherwise and node.branches[1]
  local first = only and only.body.is == "block" and #only.body == 1 and only.body[1]
  local name = only and empty_in(only.test)
  if not (name and first and first.is == "assign" and is_same(first.targets[1], name)) then return nil end
  return uses(first.values[1], vars) and name or nil
end

local function check_loop(loop, func, report)
  local vars, own = {}, declared_inside(loop)
  for _, decl in ipairs(loop.vars) do vars[decl] = true end
  walk.visit(loop.body, function(node)
    if node.is == "function" then return false end
    local list, first = appended(node), kept_first(node, vars)
    if first and not own[first.decl] then
      report(node, ("`%s` is the first one found by pairs, which walks by name: say which one is meant"):format(show.text(first)))
    elseif list and list.is == "name" and list.decl and not own[list.decl] and not is_sorted_after(func, list, loop.line) then
      report(node, ("`%s` is filled in the order of pairs, which is that of the names: sort it behind the loop"):format(show.text(list)))
    elseif is_joined(node) and not own[node.targets[1].decl] then
      report(node, ("`%s` is put together in the order of pairs, which is that of the names: gather the parts, sort and join them"):format(
        show.text(node.targets[1])))
    elseif node.is == "return" then
      for _, value in ipairs(node.values) do
        if uses(value, vars) then
          report(node, "what is returned is the first one found by pairs, which walks by name: say which one is meant")
          break
        end
      end
    end
  end)
end

function M.check(tree, file, found)
  local function report(node, text)
    found { check = "order", severity = "warning", file = file, line = node.line, text = text }
  end
  for _, func in ipairs(walk.all(tree, "function")) do
    walk.visit(func.body, function(node)
      if node.is == "function" then return false end
      if node.is == "for in" and is_global_call(node.values[1], "pairs") then check_loop(node, func, report) end
    end)
  end
end

return M
