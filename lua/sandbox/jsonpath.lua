-- JSONPath as kubectl and printer columns have it: `.spec.image`, `.status.conditions[?(@.type=="Ready")].status`.
-- https://kubernetes.io/docs/reference/kubectl/jsonpath/
--
-- compile(path) -> a list of steps | nil, text; find(steps, value) -> array of what it leads to. Supported: fields, ['fields'], [n],
-- [from:to:step], [*], .., unions of names and numbers, filters that compare (== != < <= > >=) or ask whether something is
-- there. No range or end, which only templates have.

local sorted = require "sorted"

local M = {}

local array_mark = getmetatable(json.array {})
local FOUND_MOST = 10000

local function is_array(value) return type(value) == "table" and getmetatable(value) == array_mark end

-- ---- reading a path

local compile

local function literal(text)
  local quoted = text:match("^'(.*)'$") or text:match('^"(.*)"$')
  if quoted then return quoted end
  if text == "true" then return true elseif text == "false" then return false end
  return tonumber(text)
end

-- One side of a comparison: { literal } or steps.
local function side(text)
  text = text:match("^%s*(.-)%s*$")
  if text:sub(1, 1) == "@" then return compile(text:sub(2)) end
  if text:sub(1, 1) == "." or text:sub(1, 1) == "$" then return compile(text:gsub("^%$", "")) end
  local value = literal(text)
  if value == nil then return nil, ("unrecognized character in filter: %s"):format(text) end
  return { literal = value }
end

local OPERATORS = { "==", "!=", "<=", ">=", "<", ">" }

-- The place of an operator outside of quotes.
local function find_operator(text)
  local quote
  for i = 1, #text do
    local char = text:sub(i, i)
    if quote then
      if char == quote then quote = nil end
    elseif char == "'" or char == '"' then
      quote = char
    else
      for _, operator in ipairs(OPERATORS) do
        if text:sub(i, i + #operator - 1) == operator then return i, operator end
      end
    end
  end
end

local function filter(text)
  local at, operator = find_operator(text)
  local left, right, why
  left, why = side(at and text:sub(1, at - 1) or text)
  if not left then return nil, why end
  if at then
    right, why = side(text:sub(at + #operator))
    if not right then return nil, why end
  end
  return { "filter", left, operator, right }
end

local function subscript(inside)
  inside = inside:match("^%s*(.-)%s*$")
  if inside == "*" then return { "all" } end
  local condition = inside:match("^%?%((.*)%)$")
  if condition then return filter(condition) end
  local names, numbers = {}, {}
  for part in (inside .. ","):gmatch("([^,]*),") do
    part = part:match("^%s*(.-)%s*$")
    local name = part:match("^'(.*)'$") or part:match('^"(.*)"$')
    local from, to, step = part:match("^(%-?%d*):?(%-?%d*):?(%-?%d*)$")
    if name then
      names[#names + 1] = name:gsub("\\(.)", "%1") -- ['limits\.cpu']
    elseif from and part ~= "" then
      local is_slice = part:find(":", 1, true) ~= nil
      numbers[#numbers + 1] = { math.tointeger(tonumber(from)), math.tointeger(tonumber(to)), math.tointeger(tonumber(step)), is_slice }
    else
      return nil, ("invalid array index %s"):format(part)
    end
  end
  if names[1] then return { "names", names } end
  return { "numbers", numbers }
end

-- The text between brackets, minding quotes and brackets in filters; the place behind it.
local function bracketed(path, at)
  local depth, quote = 0, nil
  for i = at, #path do
    local char = path:sub(i, i)
    if quote then
      if char == quote then quote = nil end
    elseif char == "'" or char == '"' then
      quote = char
    elseif char == "[" then
      depth = depth + 1
    elseif char == "]" then
      depth = depth - 1
      if depth == 0 then return path:sub(at + 1, i - 1), i + 1 end
    end
  end
end

function compile(path)
  local steps, at = {}, 1
  while at <= #path do
    local char = path:sub(at, at)
    if path:sub(at, at + 1) == ".." then
      steps[#steps + 1] = { "descend" }
      at = at + (path:sub(at + 2, at + 2) == "[" and 2 or 1)
    elseif char == "[" then
      local inside, behind = bracketed(path, at)
      if not inside then return nil, "unterminated array" end
      local step, why = subscript(inside)
      if not step then return nil, why end
      steps[#steps + 1], at = step, behind
    elseif char == "." then
      -- A dot in a name is written \. ; a trailing dot means nothing.
      local name, behind = {}, at + 1
      while behind <= #path do
        local one = path:sub(behind, behind)
        if one == "\\" then
          name[#name + 1] = path:sub(behind + 1, behind + 1)
          behind = behind + 2
        elseif one == "." or one == "[" then
          break
        else
          name[#name + 1] = one
          behind = behind + 1
        end
      end
      local text = table.concat(name)
      if text == "*" then steps[#steps + 1] = { "all" } elseif text ~= "" then steps[#steps + 1] = { "names", { text } } end
      at = behind
    else
      return nil, ("unrecognized character in action: %q"):format(char)
    end
  end
  return steps
end

local known, count = {}, 0

-- Steps of a path such as ".spec.replicas"; nil, text.
function M.compile(path)
  local found = known[path]
  if not found then
    local why
    found, why = compile(path)
    if not found then return nil, why end
    if count >= 1000 then known, count = {}, 0 end
    known[path], count = found, count + 1
  end
  return found
end

-- ---- walking

local find

local function each(value, visit)
  if type(value) ~= "table" then return end
  if is_array(value) then
    for i = 1, #value do visit(value[i]) end
  else
    for _, key in ipairs(sorted(value)) do visit(value[key]) end
  end
end

local function compare(left, operator, right)
  local a, b = left.literal, right.literal
  if type(a) ~= type(b) or math.type(a) ~= math.type(b) then return false end -- Go compares only what is of one type
  if operator == "==" then return a == b elseif operator == "!=" then return a ~= b end
  if type(a) ~= "number" and type(a) ~= "string" then return false end
  if operator == "<" then return a < b elseif operator == "<=" then return a <= b end
  if operator == ">" then return a > b end
  return a >= b
end

local function first_of(one, value)
  if one.literal ~= nil then return one end
  local found = find(one, value)
  return { literal = found[1] }, #found > 0
end

local function holds(step, value)
  local _, left, operator, right = table.unpack(step, 1, 4)
  local a, is_there = first_of(left, value)
  if not operator then return is_there end
  local b = first_of(right, value)
  if a.literal == nil or b.literal == nil then return false end
  return compare(a, operator, b)
end

local function slice(value, range, add)
  local size, from, to, step, is_slice = #value, range[1], range[2], range[3] or 1, range[4]
  if not is_slice then
    local at = from < 0 and size + from or from
    if at >= 0 and at < size then add(value[at + 1]) end
    return
  end
  from = from and (from < 0 and math.max(size + from, 0) or from) or 0
  to = to and (to < 0 and size + to or math.min(to, size)) or size
  if step < 1 then return end
  for i = from, to - 1, step do add(value[i + 1]) end
end

local function descend(value, add, depth)
  if depth > 100 then return end
  if type(value) == "table" then
    add(value)
    each(value, function(inner) descend(inner, add, depth + 1) end)
  end
end

local function take(step, value, add)
  local kind = step[1]
  if kind == "names" then
    if type(value) == "table" and not is_array(value) then
      for _, name in ipairs(step[2]) do
        if value[name] ~= nil then add(value[name]) end
      end
    end
  elseif kind == "all" then
    each(value, add)
  elseif kind == "descend" then
    descend(value, add, 0)
  elseif is_array(value) then
    if kind == "numbers" then
      for _, range in ipairs(step[2]) do slice(value, range, add) end
    else
      for i = 1, #value do
        if holds(step, value[i]) then add(value[i]) end
      end
    end
  end
end

function find(steps, value)
  local values = { value }
  for _, step in ipairs(steps) do
    local next_values = {}
    local function add(found)
      if #next_values < FOUND_MOST then next_values[#next_values + 1] = found end
    end
    for _, one in ipairs(values) do take(step, one, add) end
    values = next_values
  end
  return values
end

-- All that the steps lead to, as a Lua array; nulls among them.
function M.find(steps, value) return find(steps, value) end

return M
