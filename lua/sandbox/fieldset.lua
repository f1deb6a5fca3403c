-- Sets of fields, as metadata.managedFields writes them (FieldsV1), and their algebra.
--
-- A set is a tree of tables, the very JSON that the API shows: the key of an entry names one step ("f:spec" a field,
-- 'k:{"name":"a"}' the item of a list by its keys, "v:1" an item of a set, "i:0" an index), its value is the tree below.
-- A node without entries is a member; a node with entries is one if it has the entry "." as well. The root is never a
-- member, so an empty root is the empty set. Since the stored form is the form to compute with, nothing is converted
-- on the way from and to an object, and a set that a request does not touch is shared by all versions of the object.
-- Sets are never modified; functions return one of their arguments, the same table, where it is the result.
--
-- The rules are structured-merge-diff's (github.com/kubernetes-sigs/structured-merge-diff, fieldpath), v4.0.2 as in
-- Kubernetes 1.20. Specs: spec/sandbox/managed_spec.lua

local sorted = require "sorted"

local M = {}

local EMPTY = {}
M.EMPTY = EMPTY -- the leaf that all members without children share

local function is_member(node) return node["."] ~= nil or next(node) == nil end

local copy = typed.clone

-- A changed copy as a node: nil if nothing is in it, the leaf if it is only itself.
local function tidy(node)
  local first = next(node)
  if first == nil then return nil end
  if first == "." and next(node, first) == nil then return EMPTY end
  return node
end

local function difference(a, b)
  if a == b then return nil end
  local b_member = is_member(b)
  if next(a) == nil then return not b_member and a or nil end
  local new
  for key, below in next, b do
    local mine = key ~= "." and a[key]
    if mine then
      local rest = difference(mine, below)
      if rest ~= mine then
        new = new or copy(a)
        new[key] = rest
      end
    end
  end
  if b_member and a["."] then
    new = new or copy(a)
    new["."] = nil
  end
  if not new then return a end
  return tidy(new)
end

-- What is in a and not in b, path by path: a child stays when only its parent is in b.
function M.difference(a, b)
  if next(a) == nil or next(b) == nil then return a end
  return difference(a, b) or EMPTY
end

local function union(a, b)
  if a == b or next(b) == nil and is_member(a) then return a end
  if next(a) == nil and is_member(b) then return b end
  local new
  for key, below in next, b do
    local mine = a[key]
    local both = mine and union(mine, below) or below
    if both ~= mine then
      new = new or copy(a)
      new[key] = both
    end
  end
  if (next(a) == nil or next(b) == nil) and not a["."] then
    new = new or copy(a)
    new["."] = EMPTY
  end
  return new or a
end

-- a itself if b adds nothing to it.
function M.union(a, b)
  if next(b) == nil then return a end
  if next(a) == nil then return b end
  return union(a, b)
end

local function intersection(a, b)
  if next(a) == nil then return is_member(b) and a or nil end
  if next(b) == nil then return a["."] and EMPTY or nil end
  local new = {}
  for key, below in next, b do
    local mine = a[key]
    if mine then new[key] = intersection(mine, below) end
  end
  return tidy(new)
end

-- What is in both.
function M.intersection(a, b)
  if next(a) == nil or next(b) == nil then return EMPTY end
  return intersection(a, b) or EMPTY
end

local function equal(a, b)
  if a == b then return true end
  for key, child in next, a do
    local other = b[key]
    if not other or not equal(child, other) then return false end
  end
  for key in next, b do
    if not a[key] then return false end
  end
  return true
end

M.equal = equal

function M.is_empty(set) return next(set) == nil end

-- The set with everything below the path (an array of keys) replaced by `node`, whose parents are made where there are none.
function M.with(set, path, node, from)
  from = from or 1
  if from > #path then return node end
  local new = copy(set)
  if from > 1 and next(set) == nil then new["."] = EMPTY end
  new[path[from]] = M.with(set[path[from]] or EMPTY, path, node, from + 1)
  return new
end

-- Keys ---------------------------------------------------------------------------------------------------------

local ESCAPES = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }

-- Texts that were written lately: the same few names are asked for again and again. Bounded, since clients choose them.
local WRITTEN, written = {}, 0
local WRITTEN_MOST, WRITTEN_BYTES = 4096, 256

local function text_scalar(value)
  local text
  if value:find('[%c"\\<>&\127-\255]') then
    text = json.encode(value):gsub("[<>&]", ESCAPES):gsub("\u{2028}", "\\u2028"):gsub("\u{2029}", "\\u2029")
  else
    text = '"' .. value .. '"'
  end
  if #value > WRITTEN_BYTES then return text end
  if written == WRITTEN_MOST then WRITTEN, written = {}, 0 end
  WRITTEN[value], written = text, written + 1
  return text
end

-- A JSON scalar as Go's encoder writes it inside a key (it escapes what HTML would take for itself).
local function scalar(value)
  if type(value) == "string" then return WRITTEN[value] or text_scalar(value) end
  if math.type(value) == "integer" then return ("%d"):format(value) end
  return json.encode(value)
end

M.scalar = scalar

-- 'k:{"containerPort":80,"protocol":"TCP"}': names sorted, values in the same order, none nil.
function M.key_of(names, values)
  local parts = {}
  for i, name in ipairs(names) do parts[i] = scalar(name) .. ":" .. scalar(values[i]) end
  return "k:{" .. table.concat(parts, ",") .. "}"
end

local function canonical_key(text)
  local fields = json.decode(text)
  if type(fields) ~= "table" or json.is_array(fields) then return nil end
  local names, values = sorted(fields), {}
  for i, name in ipairs(names) do
    if type(fields[name]) == "table" then return nil end
    values[i] = fields[name]
  end
  return M.key_of(names, values)
end

local CANONICAL = {
  f = function(text) return "f:" .. text end,
  k = canonical_key,
  v = function(text)
    local value = json.decode(text)
    return value ~= nil and type(value) ~= "table" and "v:" .. scalar(value) or nil
  end,
  i = function(text)
    local index = math.tointeger(tonumber(text))
    return index and "i:" .. index or nil
  end,
}

-- A set that a client sent, in the form that the functions here expect; nil if the server could not read it. Steps of
-- a kind that 1.20 does not know are left out, as the server does.
function M.read(value, depth)
  depth = depth or 0
  if value == json.null then return EMPTY end
  if type(value) ~= "table" or json.is_array(value) or depth > 64 then return nil end
  local new = {}
  for key, below in pairs(value) do
    if key == "." then
      if depth > 0 then new["."] = EMPTY end
    elseif key:sub(2, 2) ~= ":" then
      return nil
    elseif CANONICAL[key:sub(1, 1)] then
      local name, node = CANONICAL[key:sub(1, 1)](key:sub(3)), M.read(below, depth + 1)
      if not name or not node then return nil end
      new[name] = node
    end
  end
  return tidy(new) or EMPTY
end

-- Paths for people ------------------------------------------------------------------------------------------------

local KIND_ORDER = { f = 1, k = 2, v = 3, i = 4 }
local TYPE_ORDER = { number = 1, string = 2, boolean = 3, table = 4, userdata = 5 }

local function before(a, b)
  if type(a) ~= type(b) then return TYPE_ORDER[type(a)] < TYPE_ORDER[type(b)] end
  if type(a) == "number" or type(a) == "string" then return a < b end
  return a == false and b == true
end

local function keys_before(a, b)
  local a_names, b_names = sorted(a), sorted(b)
  for i, name in ipairs(a_names) do
    local other = b_names[i]
    if not other then return false end
    if name ~= other then return name < other end
    if a[name] ~= b[other] then return before(a[name], b[other]) end
  end
  return #a_names < #b_names
end

-- The order in which the server tells fields: fields, keyed items, values, indices.
local function key_before(a, b)
  local a_kind, b_kind = a:sub(1, 1), b:sub(1, 1)
  if a_kind ~= b_kind then return (KIND_ORDER[a_kind] or 9) < (KIND_ORDER[b_kind] or 9) end
  if a_kind == "f" then return a < b end
  local a_value, b_value = json.decode(a:sub(3)), json.decode(b:sub(3))
  if a_kind == "k" then return keys_before(a_value, b_value) end
  return before(a_value, b_value)
end

local function shown(value)
  if type(value) == "string" then return '"' .. value:gsub('[\\"]', "\\%0"):gsub("\n", "\\n"):gsub("\t", "\\t") .. '"' end
  if value == json.null then return "null" end
  return json.encode(value)
end

-- One step of a path as the server writes it in messages: .spec, [name="a"], [="x"], [0].
function M.step_text(key)
  local kind, rest = key:sub(1, 1), key:sub(3)
  if kind == "f" then return "." .. rest end
  if kind == "i" then return "[" .. rest .. "]" end
  local value = json.decode(rest)
  if kind == "v" then return "[=" .. shown(value) .. "]" end
  local parts = {}
  for i, name in ipairs(sorted(value)) do parts[i] = name .. "=" .. shown(value[name]) end
  return "[" .. table.concat(parts, ",") .. "]"
end

-- Paths in conflicts are the server's, with its slip: it keeps each path as a Go slice and goes on appending to the same
-- memory, so where a slice has room (3, 5, 6, 7 ... steps above) the paths collected there all come to end like the last
-- one that was written. A slice: { steps=shared array, length=, room= }.
local function append(slice, step)
  local length, room, steps = slice.length + 1, slice.room, slice.steps
  if length > room then
    room = room == 0 and 1 or room * 2
    steps = table.move(steps, 1, slice.length, 1, {})
  end
  steps[length] = step
  return { steps = steps, length = length, room = room }
end

local function collect(node, prefix, into)
  local keys = {}
  for key in pairs(node) do
    if key ~= "." then keys[#keys + 1] = key end
  end
  table.sort(keys, key_before)
  for _, key in ipairs(keys) do
    if is_member(node[key]) then into[#into + 1] = append(prefix, key) end
  end
  for _, key in ipairs(keys) do
    if next(node[key]) ~= nil then collect(node[key], append(prefix, key), into) end
  end
  return into
end

-- The members' paths, arrays of steps, in the server's order and with its slip.
function M.paths(set)
  local slices = collect(set, { steps = {}, length = 0, room = 0 }, {})
  for i, slice in ipairs(slices) do slices[i] = table.move(slice.steps, 1, slice.length, 1, {}) end
  return slices
end

-- A path as the server writes it: ".spec.replicas", '.spec.template.spec.containers[name="a"].image'.
function M.path_text(path)
  local parts = {}
  for i, step in ipairs(path) do parts[i] = M.step_text(step) end
  return table.concat(parts)
end

-- Is the path a member of the set?
function M.has(set, path)
  local node = set
  for _, step in ipairs(path) do
    node = node[step]
    if not node then return false end
  end
  return is_member(node)
end

return M
