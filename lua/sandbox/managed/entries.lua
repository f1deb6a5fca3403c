-- The list metadata.managedFields: reading it, ordering it, keeping it short.
--
-- An entry is told from others by its manager and operation, and for updates by its apiVersion as well: who applies in a new
-- version keeps its entry. Entries are the tables of the object itself and are never modified.

local fieldset = require "sandbox.fieldset"

local M = {}

local UPDATERS = 10 -- more than so many entries of updates are put together
local ANCIENT = "ancient-changes"

local ARRAY = getmetatable(json.array {})

function M.new(manager, operation, api_version, time, set)
  return { manager = manager, operation = operation, apiVersion = api_version, time = time, fieldsType = "FieldsV1", fieldsV1 = set }
end

-- The entry with another set and time.
function M.with(entry, set, time)
  return M.new(entry.manager, entry.operation, entry.apiVersion, time, set)
end

-- The place of a manager's entry in a list, or nil.
function M.find(list, manager, operation, api_version)
  for i = 1, #list do
    local entry = list[i]
    if entry.manager == manager and entry.operation == operation and (operation == "Apply" or entry.apiVersion == api_version) then
      return i
    end
  end
end

local function of_object(object)
  local metadata = object and object.metadata
  local list = metadata and metadata.managedFields
  return type(list) == "table" and getmetatable(list) == ARRAY and list or nil
end

M.of_object = of_object

-- A list of one empty entry asks to forget who manages what; so does an empty list, except in a custom object, whose metadata
-- has lost it before anybody looks.
local function is_reset(list, is_custom)
  if not list then return false end
  if list[1] == nil then return not is_custom end
  return list[2] == nil and type(list[1]) == "table" and next(list[1]) == nil
end

local function text(value) return type(value) == "string" and value or nil end

-- Entries that a client sent, in our form; nil if the server could not read them.
local function read(list)
  local found = {}
  for _, entry in ipairs(list) do
    if type(entry) ~= "table" or entry.fieldsType ~= "FieldsV1" then return nil end
    local set = fieldset.read(entry.fieldsV1 == nil and json.null or entry.fieldsV1)
    if not set then return nil end
    local new = M.new(text(entry.manager), text(entry.operation), text(entry.apiVersion), text(entry.time), set)
    found[M.find(found, new.manager, new.operation, new.apiVersion) or #found + 1] = new
  end
  return found
end

local function copy(list)
  return table.move(list, 1, #list, 1, {})
end

-- The entries to start from, in a table of their own. An update may bring entries: those count, unless they cannot be read
-- or there are none (a client that does not know of them); `keep` for subresources, where they never count.
function M.start(live, new, keep, is_custom)
  local before, sent = of_object(live), not keep and of_object(new) or nil
  if is_reset(sent, is_custom) then return {} end
  if sent and sent ~= before and not (before and json.equal(sent, before)) then
    local found = read(sent)
    if found and found[1] then return found end
  end
  return before and copy(before) or {}
end

local function entry_before(a, b)
  if a.operation ~= b.operation then return (a.operation or "") < (b.operation or "") end
  if a.time ~= b.time then return (a.time or "") < (b.time or "") end
  if a.manager ~= b.manager then return (a.manager or "") < (b.manager or "") end
  return (a.apiVersion or "") < (b.apiVersion or "")
end

-- In the order in which the server shows them; an array.
function M.sorted(list)
  if list[2] then table.sort(list, entry_before) end
  return setmetatable(list, ARRAY)
end

local function oldest_first(a, b)
  if a.time ~= b.time then return (a.time or "") < (b.time or "") end
  if a.manager ~= b.manager then return (a.manager or "") < (b.manager or "") end
  return (a.apiVersion or "") < (b.apiVersion or "")
end

-- The oldest updates become one entry of their version, until there are few enough. (A single one of a version stays.)
function M.cap(list)
  local updaters, rest = {}, {}
  for _, entry in ipairs(list) do
    local to = entry.operation == "Apply" and rest or updaters
    to[#to + 1] = entry
  end
  local count = #updaters
  if count <= UPDATERS then return list end
  table.sort(updaters, oldest_first)
  local place = {} -- by version, where the old ones come together
  for i, entry in ipairs(updaters) do
    local first = place[entry.apiVersion]
    if count <= UPDATERS then
      rest[#rest + 1] = entry
    elseif first then
      local both = fieldset.union(entry.fieldsV1, rest[first].fieldsV1)
      rest[first] = M.new(ANCIENT, "Update", entry.apiVersion, updaters[i].time, both)
      count = count - 1
    else
      rest[#rest + 1] = entry
      place[entry.apiVersion] = #rest
    end
  end
  return rest
end

-- The object with these entries as its managedFields; without the field if there are none.
function M.put(object, list)
  local new, metadata = typed.clone(object, 1), typed.clone(object.metadata or {}, 1)
  metadata.managedFields = list[1] and M.sorted(list) or nil
  new.metadata = metadata
  return new
end

-- The object without managedFields: what is compared and merged.
function M.strip(object)
  local metadata = object.metadata
  if type(metadata) ~= "table" or metadata.managedFields == nil then return object end
  return M.put(object, {})
end

return M
