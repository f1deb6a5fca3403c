-- Where in a YAML text a value stands: the line of a path, so that a wrong key is told with file and line.
--
-- The YAML reader gives values without places. What people write beside policies is block style with short flow values
-- in it, and there indentation alone says which key a line belongs to. So the lines are read once more, as an
-- outline; what is written otherwise (a flow value over several lines) gets the line of the key that it stands under.

local M = {}
M.__index = M

-- The keys that a line opens: {indent, key or "-"} each. "- name: x" opens an element and a key in it.
local function openings(line)
  local found, at = {}, #line:match("^ *")
  while true do
    local dash = line:match("^%-[ ]+", at + 1) or line:match("^%-$", at + 1)
    if not dash then break end
    found[#found + 1] = { at, "-" }
    at = at + #dash
  end
  local rest = line:sub(at + 1)
  local key = rest:match('^"([^"]*)"%s*:%s') or rest:match("^'([^']*)'%s*:%s") or rest:match('^"([^"]*)"%s*:$')
    or rest:match("^'([^']*)'%s*:$")
    or rest:match("^([^%s#{%[\"'][^#]-)%s*:%s") or rest:match("^([^%s#{%[\"'][^#]-)%s*:$")
  if key then found[#found + 1] = { at, key, rest } end
  return found
end

local function child(node, name, line)
  local there = node.children[name]
  if not there then
    there = { line = line, children = {}, count = 0 }
    node.children[name] = there
  end
  return there
end

-- Whether what a key opens is a text of several lines (| or >): they are no keys.
local function is_block_text(rest)
  return rest ~= nil and rest:find(":%s+[|>][%d+-]*%s*$") ~= nil or rest ~= nil and rest:find(":%s+[|>][%d+-]*%s+#") ~= nil
end

-- The outline of a text.
function M.new(text)
  local root = { line = 1, children = {}, count = 0, indent = -1 }
  local stack, number, block = { root }, 0, nil
  for line in (text .. "\n"):gmatch("([^\n]*)\n") do
    number = number + 1
    local indent = #line:match("^ *")
    local is_empty = line:find("^%s*$") ~= nil or line:find("^%s*#") ~= nil
    if block and (is_empty or indent > block) then
      is_empty = true
    elseif not is_empty then
      block = nil
    end
    for _, opening in ipairs(is_empty and {} or openings(line)) do
      local at, key, rest = opening[1], opening[2], opening[3]
      -- an element may stand right below the key of its list: "- " is deeper than a key at the same place
      while #stack > 1 and (stack[#stack].indent > at or stack[#stack].indent == at and (stack[#stack].is_element or key ~= "-")) do
        stack[#stack] = nil
      end
      local parent = stack[#stack]
      local node
      if key == "-" then
        parent.count = parent.count + 1
        node = child(parent, parent.count, number)
        node.is_element = true
      else
        node = child(parent, key, number)
      end
      node.indent = at
      stack[#stack + 1] = node
      if is_block_text(rest) then block = at end
    end
  end
  return setmetatable({ root = root }, M)
end

-- The line of the value that these keys (texts, and positions from 1 on) lead to, or of the nearest one above it.
function M:line(keys)
  local node = self.root
  for _, key in ipairs(keys) do
    local next_node = node.children[key]
    if not next_node then break end
    node = next_node
  end
  return node.line
end

return M
