-- What a condition tells of the values in it: behind `if x.y then`, x.y is not nil.
--
-- A state remembers it by path: "#3;.spec.stop" is the field of a field of the variable 3. `known[path]` is "set" (not nil), or
-- "nil" (nil or false), and `made[path]` the expression that it was given. What is assigned to is forgotten.

local M = {}

local find = string.find
local ids = 0

local function id_of(decl)
  if not decl.path then
    ids = ids + 1
    decl.path = "#" .. ids .. ";"
  end
  return decl.path
end

local path_of

local function path_of_index(node)
  local base = path_of(node.of)
  if not base then return nil end
  local key = node.key
  if key.is == "string" then return base .. "." .. key.value end
  if key.is == "number" then return base .. "[" .. tostring(key.value) .. "]" end
  if key.is == "name" and key.decl then return base .. "[" .. id_of(key.decl) .. "]" end
  if key.is == "unary" and key.op == "#" then
    local length = path_of(key.of)
    return length and base .. "[of " .. length .. "]"
  end
  return nil
end

-- The path of an expression, or nil: names, and fields of them by constants or by names. (It is always the same: a node remembers it.)
function path_of(node)
  if node.is == "name" then return node.decl and id_of(node.decl) end
  if node.is == "paren" then return path_of(node.of) end
  if node.is ~= "index" then return nil end
  local path = node.path
  if path == nil then
    path = path_of_index(node) or false
    node.path = path
  end
  return path or nil
end
M.path_of = path_of
M.id_of = id_of

-- What was known of a path, and of what is below it, is so no more.
function M.forget(st, path)
  for _, map in ipairs { st.known, st.made } do
    for known in pairs(map) do
      local at = find(known, path, 1, true)
      if at and (at == 1 and (#known == #path or find(known, "^[.%[]", #path + 1)) or find(known, "[" .. path .. "]", 1, true)) then
        map[known] = nil
      end
    end
  end
end

local INITS_DEEP = 6

local narrow

local function set(node, st, truth, depth)
  local path = path_of(node)
  if path then st.known[path] = truth and "set" or "nil" end
  if truth and path and st.made[path] and depth < INITS_DEEP then narrow(st.made[path], st, true, depth + 1) end
  -- what x began with holds where x does: local ok = a and a.b
  local decl = node.is == "name" and node.decl
  if truth and decl and decl.init and decl.writes == 0 and depth < INITS_DEEP then narrow(decl.init, st, true, depth + 1) end
  -- x.y is not nil, so x was not
  if truth and node.is == "index" then set(node.of, st, true, INITS_DEEP) end
end

local function is_nil(node)
  return node.is == "nil"
end

-- `a == b` is `truth`
local function equality(node, st, truth, depth)
  local left, right = node.left, node.right
  if is_nil(left) then left, right = right, left end
  if is_nil(right) then return set(left, st, not truth, depth) end
  if not truth then return end
  -- equal to something that is not nil
  local constant = { string = true, number = true, ["true"] = true }
  if left.is == "call" and left.of.is == "name" and left.of.name == "type" and left.args[1] and right.is == "string"
    and right.value ~= "nil" then
    return set(left.args[1], st, true, depth)
  end
  if constant[right.is] then set(left, st, true, depth) end
  if constant[left.is] then set(right, st, true, depth) end
end

local ORDER = { ["<"] = true, [">"] = true, ["<="] = true, [">="] = true }

-- Take into `st` that `node` is true, or that it is false.
function narrow(node, st, truth, depth)
  depth = depth or 0
  if node.is == "paren" then return narrow(node.of, st, truth, depth) end
  if node.is == "unary" and node.op == "not" then return narrow(node.of, st, not truth, depth) end
  if node.is ~= "binary" then return set(node, st, truth, depth) end
  local op = node.op
  if op == "and" and truth or op == "or" and not truth then
    narrow(node.left, st, truth, depth)
    return narrow(node.right, st, truth, depth)
  end
  if op == "==" then return equality(node, st, truth, depth) end
  if op == "~=" then return equality(node, st, not truth, depth) end
  if ORDER[op] then
    set(node.left, st, true, INITS_DEEP)
    set(node.right, st, true, INITS_DEEP)
  end
end
M.narrow = narrow

local CARRIED_MOST = 16

-- What is known of the fields of an expression, as ends of paths, sorted: for whoever gets it as an argument.
function M.below(node, st)
  local path, ends = path_of(node), {}
  if not path then return ends end
  for known, what in pairs(st.known) do
    local rest = what == "set" and known:sub(1, #path) == path and known:sub(#path + 1)
    if rest and rest:find("^%.") and not rest:find("#", 1, true) then ends[#ends + 1] = rest end
  end
  table.sort(ends)
  while #ends > CARRIED_MOST do ends[#ends] = nil end
  return ends
end

-- Take into `st` that these ends of paths of a declaration are set.
function M.assume(decl, ends, st)
  for _, rest in ipairs(ends) do st.known[id_of(decl) .. rest] = "set" end
end

-- What holds of the only parameter of a function when it answers something that is true, as ends of paths.
function M.when_true(func)
  local param, last = func.params[1], func.body[#func.body]
  if not param or #func.body ~= 1 or last.is ~= "return" or #last.values ~= 1 then return {} end
  local st = { known = {}, made = {} }
  narrow(last.values[1], st, true)
  return M.below({ is = "name", decl = param }, st)
end

return M
