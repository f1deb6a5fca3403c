-- Expressions as text, and names that may have been meant.

local M = {}

local MOST = 60

local function text_of(node)
  local is = node.is
  if is == "name" then return node.name end
  if is == "index" then
    if node.dot then return text_of(node.of) .. "." .. node.key.value end
    return text_of(node.of) .. "[" .. text_of(node.key) .. "]"
  end
  if is == "string" then return ("%q"):format(node.value) end
  if is == "number" then return tostring(node.value) end
  if is == "paren" then return "(" .. text_of(node.of) .. ")" end
  if is == "call" then return text_of(node.of) .. "(...)" end
  if is == "method" then return text_of(node.of) .. ":" .. node.name .. "(...)" end
  if is == "binary" then return text_of(node.left) .. " " .. node.op .. " " .. text_of(node.right) end
  if is == "unary" then return node.op .. (node.op == "not" and " " or "") .. text_of(node.of) end
  return is == "nil" and "nil" or "it"
end

-- As it may be written, or shorter.
function M.text(node)
  local text = text_of(node)
  return #text <= MOST and text or text:sub(1, MOST) .. "..."
end

-- How many letters must be changed, added, taken away or swapped with their neighbour.
local function distance(one, other)
  local before, above = nil, {}
  for j = 0, #other do above[j] = j end
  for i = 1, #one do
    local row = { [0] = i }
    for j = 1, #other do
      local cost = one:byte(i) == other:byte(j) and 0 or 1
      local best = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + cost)
      if before and i > 1 and j > 1 and one:byte(i) == other:byte(j - 1) and one:byte(i - 1) == other:byte(j) then
        best = math.min(best, before[j - 2] + 1)
      end
      row[j] = best
    end
    before, above = above, row
  end
  return above[#other]
end

-- The name that is most like this one, if one is like it at all.
function M.nearest(name, names)
  local best, best_distance = nil, (#name < 3 and 1 or math.max(2, #name // 3)) + 1
  for _, other in ipairs(names) do
    local d = name:lower() == other:lower() and 0 or math.abs(#name - #other) < best_distance and distance(name, other)
    if d and d < best_distance then best, best_distance = other, d end
  end
  return best
end

local LISTED = 12

-- "; did you mean x?", or "; there are a, b and c", or nothing.
function M.suggestion(name, names)
  local near = M.nearest(name, names)
  if near then return "; did you mean " .. near .. "?" end
  if #names == 0 or #names > LISTED then return "" end
  return "; there is " .. table.concat(names, ", ")
end

-- Where a node stands, and what lint has found out about it.
local NO_CODE = { line = true, last = true, within = true, decl = true, in_function = true, names = true, params = true, shape = true,
  writes = true, path = true }

-- A tree as text without places: equal for equal code.
function M.key(node)
  if type(node) ~= "table" then return tostring(node) end
  if node.is == "name" and node.decl then
    return "local:" .. node.name .. (node.decl.in_function.is_chunk and "" or "'")
  end
  local parts, names = {}, {}
  for name, value in pairs(node) do
    if not NO_CODE[name] and type(value) ~= "function" then names[#names + 1] = name end
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do parts[#parts + 1] = tostring(name) .. "=" .. M.key(node[name]) end
  return "{" .. table.concat(parts, " ") .. "}"
end

return M
