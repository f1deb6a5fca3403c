-- Which lines of a file can be executed, and where the rows of its tables stand: what coverage is measured against.
--
-- A statement counts as reached when one of the lines of its own (not those of functions and blocks in it) was
-- executed. What makes no instruction is not counted: declarations without a value, constants, `break` right behind a
-- condition, which is part of that condition's jump.

local parser = require "syntax.parser"
local walk = require "syntax.walk"

local M = {}

local COUNTED = { ["return"] = true, ["call statement"] = true, assign = true, ["local"] = true, ["for"] = true, ["for in"] = true,
  ["break"] = true, ["while"] = true }

-- Lines of an expression without those of functions in it.
local function add_own(node, own)
  walk.visit(node, function(inner)
    if inner.is == "function" then
      own[inner.last] = true -- a function is made at its `end`
      return false
    end
    for line = inner.line, inner.is == "table" and inner.line or inner.last do own[line] = true end
  end)
end

local function own_lines(statement)
  local own = { [statement.line] = true }
  for _, part in ipairs { "values", "targets" } do
    for _, node in ipairs(statement[part] or {}) do add_own(node, own) end
  end
  for _, part in ipairs { "call", "test", "from", "to", "step" } do
    if statement[part] then add_own(statement[part], own) end
  end
  return own
end

local function is_counted(statement)
  if not COUNTED[statement.is] then return false end
  if statement.is ~= "local" then return true end
  local last = statement.names[#statement.names]
  if #statement.values == 0 or last.attrib == "const" then return false end
  local only = #statement.values == 1 and statement.values[1].is
  return only ~= "function" and only ~= "nil" -- made at its `end`; put together with the one before it
end

-- Of each statement that counts: its first line, and the lines of which one must be reached.
local function statements(tree)
  local found = {}
  local function add(line, own) found[#found + 1] = { line = line, own = own } end
  walk.visit(tree, function(node)
    if node.is == "block" then
      for i, statement in ipairs(node) do
        local is_jump = statement.is == "break" and i == 1
        if is_counted(statement) and not is_jump then add(statement.line, own_lines(statement)) end
      end
    elseif node.is == "if" then
      for _, branch in ipairs(node.branches) do
        local own = {}
        add_own(branch.test, own)
        add(branch.test.line, own)
      end
    end
  end)
  return found
end

-- { 3, 4, 5, 9 } as { "3-5", "9" }
local function ranges(lines)
  local list, at = {}, 1
  table.sort(lines)
  while at <= #lines do
    local to = at
    while lines[to + 1] == lines[to] + 1 do to = to + 1 end
    list[#list + 1] = to > at and lines[at] .. "-" .. lines[to] or tostring(lines[at])
    at = to + 1
  end
  return list
end

-- {lines, reached, missed = {"3-5"}} of a source, given the set of lines that were executed.
function M.coverage(source, hit)
  local tree = parser.parse(source)
  local by_line = {}
  for _, statement in ipairs(tree and statements(tree) or {}) do
    local reached = false
    for line in pairs(statement.own) do reached = reached or hit[line] == true end
    by_line[statement.line] = by_line[statement.line] ~= false and reached
  end
  local count, missed = 0, {}
  for line, reached in pairs(by_line) do
    count = count + 1
    if not reached then missed[#missed + 1] = line end
  end
  return { lines = count, reached = count - #missed, missed = json.array(ranges(missed)) }
end

-- The table constructors that are given to `rules` or `phases`, in order.
function M.tables(tree, word)
  local found = {}
  for _, call in ipairs(walk.all(tree, "call")) do
    if call.of.is == "name" and not call.of.decl and call.of.name == word and call.args[1] and call.args[1].is == "table" then
      found[#found + 1] = call.args[1]
    end
  end
  return found
end

-- The lines of the rows of the first `rules` or `phases` in a source that has so many of them; an empty table if none has.
function M.rows(source, word, count)
  local tree = parser.parse(source)
  for _, node in ipairs(tree and M.tables(tree, word) or {}) do
    local places = {}
    for _, item in ipairs(node.items) do
      if item.is == "item" then places[#places + 1] = item.line end
    end
    if #places == count then return places end
  end
  return {}
end

return M
