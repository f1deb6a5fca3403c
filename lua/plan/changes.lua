-- What differs between two objects, both ways, field by field: what a plan shows.
--
-- diff.lua asks whether a live object says what is wanted, and only there. Here two whole objects meet, the live one and the one that the
-- server would keep, so that a field that goes is seen as well, and what the server itself fills in. Entries of lists are matched as the
-- server matches them (lists.lua), else by what names them, else by their place.

local apply = require "apply"
local lists = require "lists"

local M = {}

local SKIPPED = { apiVersion = true, kind = true, status = true, ["metadata.managedFields"] = true, ["metadata.resourceVersion"] = true,
  ["metadata.generation"] = true, ["metadata.uid"] = true, ["metadata.creationTimestamp"] = true, ["metadata.selfLink"] = true }
local DIGEST_AT = "metadata.annotations." .. apply.DIGEST
local NAMES = { "name", "type", "mountPath", "key" } -- what names an entry of a list that the server treats as one value

local between

local function join(path, name)
  if path == "" then return name end
  return name:find("^[%w_-]+$") and path .. "." .. name or ("%s[%s]"):format(path, name)
end

local function sorted_names(a, b)
  local names, seen = {}, {}
  for _, map in ipairs { a, b } do
    for name in pairs(map) do
      if not seen[name] then names[#names + 1], seen[name] = name, true end
    end
  end
  table.sort(names)
  return names
end

-- Entries by what names them, and these names in order; nil when that does not tell them apart.
local function named(list, name_of)
  local by, order = {}, {}
  for i, entry in ipairs(list) do
    local name = name_of(entry)
    if name == nil or by[name] ~= nil then return nil end
    by[name], order[i] = entry, name
  end
  return by, order
end

local function namers(rule)
  local found = {}
  if rule then
    for i, keys in ipairs { { rule.merge }, rule.keys } do
      found[i] = function(entry)
        if type(entry) ~= "table" then return tostring(entry) end
        local parts = {}
        for j, key in ipairs(keys) do parts[j] = entry[key] ~= nil and tostring(entry[key]) or key == "protocol" and "TCP" or "" end
        return table.concat(parts, "/")
      end
    end
  end
  for _, key in ipairs(NAMES) do
    found[#found + 1] = function(entry)
      local name = type(entry) == "table" and entry[key]
      return type(name) == "string" and name or nil
    end
  end
  return found
end

-- Of two lists of names those that both have, each in its order: whether it is the same, and the two.
function M.common_order(a, b)
  local left, right, in_a, in_b = json.array {}, json.array {}, {}, {}
  for _, name in ipairs(a) do in_a[name] = true end
  for _, name in ipairs(b) do in_b[name] = true end
  for _, name in ipairs(a) do if in_b[name] then left[#left + 1] = name end end
  for _, name in ipairs(b) do if in_a[name] then right[#right + 1] = name end end
  return table.concat(left, ", ") == table.concat(right, ", "), left, right
end

-- By path; of one path the order last.
function M.sort(found)
  table.sort(found, function(a, b)
    if a.path ~= b.path then return a.path < b.path end
    return not a.order and b.order == true
  end)
  return found
end

local function lists_between(found, kind, path, at, old, new)
  local rule = lists.rule(kind, path)
  for _, name_of in ipairs(namers(rule)) do
    local old_by, old_order = named(old, name_of)
    local new_by, new_order = named(new, name_of)
    if old_by and new_by then
      local function entry_between(name) between(found, kind, path, ("%s[%s]"):format(at, name), old_by[name], new_by[name]) end
      for name in pairs(new_by) do entry_between(name) end
      for name in pairs(old_by) do
        if new_by[name] == nil then entry_between(name) end
      end
      local same, before, after = M.common_order(old_order, new_order)
      if not same then found[#found + 1] = { path = at, order = true, old = before, new = after } end
      return
    end
  end
  if #old ~= #new then
    found[#found + 1] = { path = at, old = old, new = new }
    return
  end
  for i = 1, #old do between(found, kind, path, ("%s[%d]"):format(at, i - 1), old[i], new[i]) end
end

local function field_between(found, kind, path, at, name, old, new)
  if old ~= new then between(found, kind, path == "" and name or path .. "." .. name, join(at, name), old, new) end
end

-- path: without indices, as lists.lua knows it; at: for people. What is found comes in any order.
function between(found, kind, path, at, old, new)
  if SKIPPED[path] or path == DIGEST_AT then return end
  if old == json.null then old = nil end
  if new == json.null then new = nil end
  if old == nil and new == nil then return end
  local both = type(old) == "table" and type(new) == "table"
  if both and path ~= "" and json.equal(old, new) then return end -- most are
  if both and (json.is_array(old) or json.is_array(new)) then
    return lists_between(found, kind, path, at, old, new)
  elseif both then
    for name, value in pairs(new) do field_between(found, kind, path, at, name, old[name], value) end
    for name, value in pairs(old) do
      if new[name] == nil then field_between(found, kind, path, at, name, value, nil) end
    end
  elseif old == nil or new == nil or not json.equal(old, new) then
    if lists.is_quantity(path) and old ~= nil and new ~= nil and quantity.compare(tostring(old), tostring(new)) == 0 then return end
    found[#found + 1] = { path = at, old = old, new = new }
  end
end

-- Of a Secret people see where it differs and never what is there.
local HIDDEN = "(hidden)"

local function masked(found)
  for _, change in ipairs(found) do
    change.old, change.new = change.old ~= nil and HIDDEN or nil, change.new ~= nil and HIDDEN or nil
  end
  return found
end

-- {{path=, old=, new= (nil: absent), order=true: only the order of entries}...}, by path. before, after: decoded objects of this kind.
function M.of_objects(kind, before, after)
  local found = {}
  between(found, kind, "", "", before, after)
  M.sort(found)
  return kind == "Secret" and masked(found) or found
end

-- The leaves of what would be made, as {path=, new=}.
function M.of_new(kind, object)
  local found = {}
  local function walk(path, at, value)
    if SKIPPED[path] or path == DIGEST_AT or at == "metadata.ownerReferences" then return end
    if type(value) ~= "table" or next(value) == nil then
      found[#found + 1] = { path = at, new = value }
    elseif json.is_array(value) then
      local by, order
      for _, name_of in ipairs(namers(lists.rule(kind, path))) do
        by, order = named(value, name_of)
        if by then break end
      end
      for i, entry in ipairs(value) do walk(path, ("%s[%s]"):format(at, order and order[i] or i - 1), entry) end
    else
      for _, name in ipairs(sorted_names(value, {})) do walk(path == "" and name or path .. "." .. name, join(at, name), value[name]) end
    end
  end
  walk("", "", object)
  M.sort(found)
  return kind == "Secret" and masked(found) or found
end

-- ---------------------------------------------------------------- status

local function records_of(status)
  local history = type(status.history) == "table" and status.history or {}
  local parts = {}
  for i, record in ipairs(history) do parts[i] = tostring(record.generation) end
  return #parts > 0 and "generations " .. table.concat(parts, ", ") or nil
end

local function plain(status)
  local copy = {}
  for name, value in pairs(type(status) == "table" and status or {}) do copy[name] = value end
  copy.history = nil
  if type(copy.conditions) ~= "table" then return copy end
  local conditions = json.array {}
  for i, condition in ipairs(copy.conditions) do
    local one = {}
    for name, value in pairs(condition) do one[name] = value end
    one.lastTransitionTime = nil -- it follows from `status`
    conditions[i] = one
  end
  copy.conditions = conditions
  return copy
end

local FIRST = { phase = 1, reason = 2, message = 3 }

-- Two statuses of an object, for people: phase, reason and message first; records of the history by their generation.
function M.of_status(before, after)
  local found = {}
  between(found, "", "", "", plain(before), plain(after))
  local old, new = records_of(type(before) == "table" and before or {}), records_of(after or {})
  if old ~= new then
    found[#found + 1] = { path = "history", old = old, new = new }
  elseif not json.equal((before or {}).history, (after or {}).history) then
    found[#found + 1] = { path = "history", old = old, new = "the same generations, told otherwise" }
  end
  table.sort(found, function(a, b)
    local first, second = FIRST[a.path] or 9, FIRST[b.path] or 9
    if first ~= second then return first < second end
    return a.path < b.path
  end)
  return found
end

return M
