-- Spoils an object at random places, with values that are likely to be wrong: of the right type, so that it is the
-- kind's checks that answer and not the decoder.

local M = {}

local TEXTS = { "", "a", "A", "a_b", "-a", "a.", "a..b", "x/y", "/", "x y", "Foo", "metadata.name", "10", "200%", "0%", "1.2.3.4", "..", "../x",
  "a/../b", "*", "*.a.b", "http", ("a"):rep(64), ("a"):rep(254), "é", "None", "127.0.0.1", "a.b/c", "https://x", "v1" }
local NUMBERS = { 0, 1, -1, 80, 65535, 65536, 100, 2147483647, 30000, 512, 3 }
local AMOUNTS = { "1", "0", "-1", "500m", "1000m", "2G", "2000M", "1024Mi", "1.5Gi", "100k", "1e3" }
local RESOURCES = { "foo", "hugepages-2Mi", "memory", "x y", "storage", "ephemeral-storage" }
local OF_AMOUNTS = { limits = true, requests = true, hard = true, capacity = true }
local OF_TEXTS = { labels = true, annotations = true, matchLabels = true, nodeSelector = true, selector = true }
local AMOUNT = { divisor = true, sizeLimit = true }
local LEFT_ALONE = { apiVersion = true, kind = true, data = true, binaryData = true, finalizers = true }

local function gather(list, parent, key, value, inside)
  list[#list + 1] = { parent = parent, key = key, value = value, inside = inside }
  if type(value) ~= "table" or LEFT_ALONE[key] then return end
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do gather(list, value, name, value[name], key) end
end

local function replace(pick, place)
  local value, key = place.value, place.key
  if OF_AMOUNTS[place.inside] or AMOUNT[key] then return pick(AMOUNTS) end
  if type(value) == "string" then return pick(TEXTS) end
  if type(value) == "number" then return pick(NUMBERS) end
  if type(value) == "boolean" then return not value end
  if json.is_array(value) then
    if #value > 0 then value[#value + 1] = json.decode(json.encode(pick(value))) end
  elseif OF_TEXTS[key] then
    value[pick(TEXTS)] = pick(TEXTS)
  elseif OF_AMOUNTS[key] then
    value[pick(RESOURCES)] = pick(AMOUNTS)
  end
  return value
end

-- Change the object (which is the caller's) in one place; pick(list) -> one of it.
function M.once(object, pick)
  local places = {}
  for _, name in ipairs { "metadata", "spec", "status", "webhooks", "subsets", "value", "preemptionPolicy", "type", "data", "involvedObject" } do
    local value = object[name]
    if value ~= nil then gather(places, object, name, value) end
  end
  local place = pick(places)
  if LEFT_ALONE[place.key] or place.parent == object and place.key == "metadata" then return end
  if pick { 1, 2, 3, 4 } > 1 then
    place.parent[place.key] = replace(pick, place)
  elseif json.is_array(place.parent) then
    table.remove(place.parent, place.key)
  else
    place.parent[place.key] = nil
  end
end

return M
