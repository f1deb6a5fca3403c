-- Lists in strategic merge patches: finding items by key, telling what they are made of, and putting them in order.
--
-- The order of a merged list: what the patch names comes in the patch's order; what only the server has keeps its order, and
-- each such item stands before the first of the others that followed it in the live list.

local printed = require("sandbox.typed.check").printed

local M = {}

local ARRAY = getmetatable(json.array {})

function M.is_list(value) return type(value) == "table" and getmetatable(value) == ARRAY end
function M.is_map(value) return type(value) == "table" and getmetatable(value) ~= ARRAY end

local is_list, is_map = M.is_list, M.is_map

-- Give up: the HTTP status, and a sentence by string.format.
function M.fail(code, text, ...)
  error({ code = code, text = select("#", ...) > 0 and text:format(...) or text }, 0)
end

local fail = M.fail

-- What Go calls the type of a decoded value.
function M.go_type(value)
  if value == json.null then return "%!s(<nil>)" end
  if is_list(value) then return "[]interface {}" end
  if is_map(value) then return "map[string]interface {}" end
  if math.type(value) == "integer" then return "int64" end
  return ({ string = "string", boolean = "bool", number = "float64" })[type(value)]
end

-- What Go's JSON decoder calls it.
function M.json_type(value)
  if is_list(value) then return "array" end
  return ({ string = "string", boolean = "bool", number = "number" })[type(value)] or "object"
end

-- The value of an item's merge key.
function M.key_of(item, key)
  if not is_map(item) then fail(500, "expected a map[string]interface {}, but received a %s", M.go_type(item)) end
  local value = item[key]
  if value == nil then
    fail(500, "map: %s does not contain declared merge key: %s", printed(item), key)
  end
  return value
end

-- The place of the item whose key has this value, or nil.
function M.find(list, key, value)
  for i, item in ipairs(list) do
    if not is_map(item) then fail(500, "value for key %d is not a map", i - 1) end
    if item[key] == value then return i end
  end
end

function M.without(list, key, value)
  local new = json.array {}
  for i, item in ipairs(list) do
    if not is_map(item) then fail(500, "value for key %d is not a map", i - 1) end
    if item[key] ~= value then new[#new + 1] = item end
  end
  return new
end

local function set_of(list)
  local set = {}
  for _, value in ipairs(list) do set[value] = true end
  return set
end

function M.without_values(list, values)
  local gone, new = set_of(values), json.array {}
  for _, value in ipairs(list) do
    if not gone[value] then new[#new + 1] = value end
  end
  return new
end

-- All scalars of both, each once. (A double is replaced by the last one, as the server does.)
function M.unique(a, b)
  local all = table.move(a, 1, #a, 1, json.array {})
  table.move(b, 1, #b, #all + 1, all)
  local i = 1
  while i < #all do
    local j = i + 1
    while j <= #all do
      if all[i] == all[j] then
        all[j] = all[#all]
        all[#all] = nil
      else
        j = j + 1
      end
    end
    i = i + 1
  end
  return all
end

-- "map" or another type that all items have; nil if there are none.
function M.element_kind(a, b)
  local kind
  for _, list in ipairs { a, b } do
    for _, item in ipairs(list) do
      local this = M.go_type(item)
      if this == "[]interface {}" and not kind then fail(422, "lists of lists are not supported") end
      if kind and this ~= kind then
            fail(500, "list element types are not identical: [%s %s]", printed(json.array(a)), printed(json.array(b)))
      end
      kind = this
    end
  end
  return kind == "map[string]interface {}" and "map" or kind
end

local function index_of(list, item, key, kind)
  for i, other in ipairs(list) do
    if kind == "map" then
      if is_map(other) and is_map(item) and other[key] == item[key] then return i end
    elseif other == item then
      return i
    end
  end
end

-- Stable, by place in `order`; what is not there, and items that only say "$patch: delete", come last.
local function sort_by(list, order, key, kind)
  local places = {}
  for i, item in ipairs(list) do
    local is_deletion = kind == "map" and item["$patch"] == "delete"
    places[i] = { item = item, at = not is_deletion and index_of(order, item, key, kind) or math.huge, i = i }
  end
  table.sort(places, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.i < b.i
  end)
  for i, place in ipairs(places) do list[i] = place.item end
  return list
end

-- The merged list in its order: by `order` (the patch), and for what only the server has by `live`.
function M.ordered(merged, order, live, key, kind)
  local named, rest, new = {}, {}, json.array {}
  for _, item in ipairs(merged) do
    if kind == "map" and key and item[key] == nil then M.key_of(item, key) end
    local to = index_of(order, item, key, kind) and named or rest
    to[#to + 1] = item
  end
  sort_by(named, order, key, kind)
  sort_by(rest, live, key, kind)
  local i, j = 1, 1
  while rest[i] ~= nil or named[j] ~= nil do
    local take_rest = named[j] == nil
    if rest[i] ~= nil and named[j] ~= nil then
      local a, b = index_of(live, rest[i], key, kind), index_of(live, named[j], key, kind)
      take_rest = a ~= nil and b ~= nil and a < b
    end
    if take_rest then
      new[#new + 1], i = rest[i], i + 1
    else
      new[#new + 1], j = named[j], j + 1
    end
  end
  return new
end

-- What the server takes for the live order when a patch brings an order of its own: the live list after the merge, which the
-- server did in its memory. Deleted items have closed up, and new ones stand where that made room.
function M.live_order(live, patch, key)
  local order, length, replace = table.move(live, 1, #live, 1, {}), #live, false
  for _, item in ipairs(patch) do
    if item["$patch"] == "replace" then replace = true end
    if item["$patch"] == "delete" then
      for i = length, 1, -1 do
        if order[i][key] == item[key] then
          table.move(order, i + 1, length, i)
          length = length - 1
        end
      end
    end
  end
  if replace then return order end
  for _, item in ipairs(patch) do
    local is_new = item["$patch"] == nil
    for i = 1, length do
      if order[i][key] == item[key] then is_new = false end
    end
    if is_new and length == #live then return order end -- the rest goes to other memory
    if is_new then
      length = length + 1
      order[length] = item
    end
  end
  return order
end

-- Does the patch's list keep to the order that $setElementOrder states, and name nothing else?
function M.check_order(patch, order, key)
  if order[1] == nil or patch[1] == nil then return end
  local at, of = 1, 1
  while patch[at] ~= nil and order[of] ~= nil do
    local item = patch[at]
    if is_map(item) and item["$patch"] ~= nil then
      at = at + 1
    else
      local same = item == order[of]
      if key then same = M.key_of(item, key) == M.key_of(order[of], key) end
      if same then at = at + 1 end
      of = of + 1
    end
  end
  while key and is_map(patch[at]) and patch[at]["$patch"] == "delete" do at = at + 1 end
  if patch[at] == nil then return end
  fail(500, "The order in patch list:\n%s\n doesn't match $setElementOrder list:\n%s\n", printed(patch), printed(order))
end

return M
