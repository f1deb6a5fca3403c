-- What of a wanted object is not so in the live one.
--
-- The server fills in defaults and other people own other fields, so a live object is compared
-- only where the wanted one says something: a default is no drift. Three things need more
-- care. Quantities are equal by value. Go leaves out zero values (`paused: false` comes back as
-- nothing), so a wanted false, 0, "" or {} equals absence. And some lists and maps are wanted as a
-- whole (lists.lua): there an entry that nobody asked for is a difference too.
--
-- compare() answers with what is needed to mend, not with text: `values` (apply mends them),
-- `extras` (apply cannot remove what others own), `order` (apply keeps the live order), `disorders` (the order is right,
-- but apply will append what is missing, and then it is not).

local lists = require "lists"

local M = {}

local null = json.null

local function is_zero(v)
  return v == nil or v == null or v == false or v == 0 or v == ""
    or (type(v) == "table" and next(v) == nil)
end

local function scalars_equal(path, a, b)
  if a == b then return true end
  if lists.is_quantity(path) and (type(a) == "string" or type(a) == "number")
    and (type(b) == "string" or type(b) == "number") then
    return quantity.compare(tostring(a), tostring(b)) == 0
  end
  return false
end

local function join(path, name)
  return path == "" and name or path .. "." .. name
end

-- The identity of an entry of a keyed list. protocol defaults to TCP on the server's side.
local function identity(entry, keys)
  if type(entry) ~= "table" then return tostring(entry) end
  local parts = {}
  for i, k in ipairs(keys) do
    local v = entry[k]
    if v == nil and k == "protocol" then v = "TCP" end
    parts[i] = tostring(v)
  end
  return table.concat(parts, "\0")
end

local function by_identity(list, keys)
  local map, order = {}, {}
  for i, entry in ipairs(list) do
    local id = identity(entry, keys)
    map[id] = entry
    order[i] = id
  end
  return map, order
end

-- Whether the wanted identities stand in the live list in the wanted order.
local function in_order(wanted_order, live_order)
  local place = {}
  for i, id in ipairs(live_order) do place[id] = i end
  local last = 0
  for _, id in ipairs(wanted_order) do
    local at = place[id]
    if at then
      if at < last then return false end
      last = at
    end
  end
  return true
end

local function named(at, entry, rule)
  return at .. "[" .. tostring(type(entry) == "table" and entry[rule.merge] or entry) .. "]"
end

-- What names an object rather than describes it; status is never wanted of a child.
local ENVELOPE = { apiVersion = true, kind = true, status = true }

local compare_value

local function note(found, kind, path, wanted, live)
  found[kind] = true
  found[#found + 1] = { kind = kind, path = path, wanted = wanted, live = live }
end

local function compare_keyed(found, kind, path, at, wanted, live, rule)
  local live_by, live_order = by_identity(live, rule.keys)
  local wanted_by, wanted_order = by_identity(wanted, rule.keys)
  local missing = false
  for i, entry in ipairs(wanted) do
    local there = live_by[wanted_order[i]]
    local here = named(at, entry, rule)
    if there == nil then
      note(found, "values", here, entry, nil)
      missing = true
    else
      if missing and rule.ordered then found.disorders = true end
      compare_value(found, kind, path, here, entry, there)
    end
  end
  if rule.exact then
    for i, entry in ipairs(live) do
      if not wanted_by[live_order[i]] then
        note(found, "extras", named(at, entry, rule), nil, entry)
      end
    end
  end
  if rule.ordered and not in_order(wanted_order, live_order) then
    note(found, "order", at, wanted_order, live_order)
  end
end

local function compare_atomic(found, kind, path, at, wanted, live)
  if #wanted ~= #live then
    return note(found, "values", at, wanted, live)
  end
  for i = 1, #wanted do
    if wanted[i] ~= live[i] then compare_value(found, kind, path, at .. "[" .. i - 1 .. "]", wanted[i], live[i]) end
  end
end

local function compare_map(found, kind, path, at, wanted, live)
  for name, value in pairs(wanted) do
    local there = live[name]
    if value ~= there and not (type(there) == "table" and json.equal(value, there)) then -- most are equal
      compare_value(found, kind, join(path, name), join(at, name), value, there)
    end
  end
  for name, rule in pairs(lists.exact_lists(kind, path) or {}) do
    local there = live[name]
    if wanted[name] == nil and type(there) == "table" then
      compare_keyed(found, kind, join(path, name), join(at, name), json.array {}, there, rule)
    end
  end
  local ours = lists.our_keys(kind, path)
  if not ours then return end
  for name, value in pairs(live) do
    if wanted[name] == nil and ours[name] then note(found, "extras", join(at, name), nil, value) end
  end
end

-- path: as lists.lua knows it (no indices); at: for people.
function compare_value(found, kind, path, at, wanted, live)
  if type(wanted) ~= "table" then
    if live == nil and is_zero(wanted) then return end
    if not scalars_equal(path, wanted, live) then note(found, "values", at, wanted, live) end
  elseif type(live) ~= "table" then
    -- an exact map that is wanted empty and is absent is as it should be
    if not (is_zero(wanted) and (live == nil or live == null)) then note(found, "values", at, wanted, live) end
  elseif json.is_array(wanted) or json.is_array(live) then
    local rule = lists.rule(kind, path)
    if rule then
      compare_keyed(found, kind, path, at, wanted, live, rule)
    else
      compare_atomic(found, kind, path, at, wanted, live)
    end
  else
    compare_map(found, kind, path, at, wanted, live)
  end
end

-- What differs: an array of {kind="values"|"extras"|"order", path, wanted, live}, empty when nothing does, with
-- the fields values, extras, order, disorders set where there are such. Both are decoded objects.
function M.compare(wanted, live)
  local found = {}
  for name, value in pairs(wanted) do
    if not ENVELOPE[name] then compare_value(found, wanted.kind, name, name, value, live[name]) end
  end
  return found
end

-- ---------------------------------------------------------------- mending by strategic merge patch

local repair_value

local function key_only(entry, rule)
  return { [rule.merge] = entry[rule.merge] }
end

local function copy(entry)
  local out = {}
  for k, v in pairs(entry) do out[k] = v end
  return out
end

-- The patch of one keyed list: delete what nobody asked for, put what is missing, set the order.
local function repair_keyed(kind, path, wanted, live, rule)
  local live_by, live_order = by_identity(live, rule.keys)
  local wanted_by, wanted_order = by_identity(wanted, rule.keys)
  local patch, order, extras, goes = json.array {}, json.array {}, false, {}
  if rule.exact then
    for i, entry in ipairs(live) do
      if not wanted_by[live_order[i]] then
        extras, goes[entry[rule.merge]] = true, true
        local gone = key_only(entry, rule)
        gone["$patch"] = "delete"
        patch[#patch + 1] = gone
      end
    end
  end
  for i, entry in ipairs(wanted) do
    order[i] = key_only(entry, rule)
    local there = live_by[wanted_order[i]]
    local inner
    if there == nil and extras or goes[entry[rule.merge]] then
      -- whole: what is missing may have waited for the extra to go, and a delete by the merge key (a Service's
      -- port) takes the entry that shares it (the same port, another protocol)
      inner = copy(entry)
    elseif there == nil then
      inner = nil -- an entry that is missing without an extra is apply's work
    else
      inner = repair_value(kind, path, entry, there)
    end
    if inner ~= nil then
      for _, k in ipairs(rule.keys) do inner[k] = entry[k] end
      patch[#patch + 1] = inner
    end
  end
  local reorder = rule.ordered and not in_order(wanted_order, live_order)
  if #patch == 0 and not reorder then return nil end
  return patch, reorder and order or nil
end

function repair_value(kind, path, wanted, live)
  if type(wanted) ~= "table" or type(live) ~= "table" or json.is_array(wanted) then return nil end
  local patch = {}
  for name, value in pairs(wanted) do
    local inner_path, there = join(path, name), live[name]
    if type(value) == "table" and type(there) == "table" then
      local rule = json.is_array(value) and lists.rule(kind, inner_path)
      if rule then
        local list, order = repair_keyed(kind, inner_path, value, there, rule)
        if list and #list > 0 then patch[name] = list end
        if order then patch["$setElementOrder/" .. name] = order end
      else
        patch[name] = repair_value(kind, inner_path, value, there)
      end
    end
  end
  for name, rule in pairs(lists.exact_lists(kind, path) or {}) do
    local there = live[name]
    if wanted[name] == nil and type(there) == "table" then
      patch[name] = repair_keyed(kind, join(path, name), json.array {}, there, rule)
    end
  end
  local ours = lists.our_keys(kind, path)
  if ours then
    for name in pairs(live) do
      if wanted[name] == nil and ours[name] then patch[name] = null end
    end
  end
  if next(patch) == nil then return nil end
  return patch
end

-- The strategic merge patch that removes extras and restores order; nil if there is nothing of the kind.
function M.repair(wanted, live)
  return repair_value(wanted.kind, "", { metadata = wanted.metadata, spec = wanted.spec }, live)
end

-- ---------------------------------------------------------------- merge patches (status)

local function is_map(v)
  return type(v) == "table" and not json.is_array(v)
end

local function is_empty(v)
  return type(v) == "table" and next(v) == nil
end

-- The JSON merge patch (RFC 7386) that turns `current` into `wanted`; nil if they are equal.
-- A wanted empty map or array equals absence, and each other: Lua's {} cannot say which it is.
function M.merge_patch(current, wanted)
  if not is_map(current) then current = {} end
  local patch = {}
  for name, value in pairs(wanted) do
    local old = current[name]
    if is_map(value) and is_map(old) then
      patch[name] = M.merge_patch(old, value)
    elseif is_empty(value) and (old == nil or is_empty(old)) then
      patch[name] = nil -- equal
    elseif is_empty(value) and json.is_array(old) then
      patch[name] = json.array {}
    elseif not json.equal(value, old == nil and null or old) then
      patch[name] = value
    end
  end
  for name in pairs(current) do
    if wanted[name] == nil then patch[name] = null end
  end
  if next(patch) == nil then return nil end
  return patch
end

-- A difference with its values, for specs and for people who asked: an env may hold anything. Of a Secret its path only.
function M.describe(difference, kind)
  local function short(v)
    if kind == "Secret" then return "…" end
    if v == nil then return "nothing" end
    local text = json.encode(v)
    return #text > 80 and text:sub(1, 77) .. "..." or text
  end
  if difference.kind == "order" then return difference.path .. ": order" end
  return difference.path .. ": " .. short(difference.live) .. " -> " .. short(difference.wanted)
end

-- Where they differ, as one sorted line for logs: paths, never values (an env or a Secret may hold any).
function M.paths(found)
  local paths = {}
  for i, difference in ipairs(found) do
    paths[i] = difference.path .. (difference.kind == "order" and " (order)" or difference.kind == "extras" and " (not ours)" or "")
  end
  table.sort(paths)
  return table.concat(paths, ", ", 1, math.min(#paths, 8)) .. (#paths > 8 and (" and %d more"):format(#paths - 8) or "")
end

return M
