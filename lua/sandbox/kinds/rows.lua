-- Cells of tables: what `kubectl get` prints. Durations as k8s.io/apimachinery/pkg/util/duration prints them.

local M = {}

local function days(year, month, day) -- since 1970-01-01
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local of_era = year - era * 400
  local of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468
end

-- Seconds since 1970 of an RFC 3339 time in UTC, or nil.
function M.seconds(time)
  if type(time) ~= "string" then return nil end
  local y, mo, d, h, mi, s = time:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)")
  if not y then return nil end
  return days(y // 1 | 0, mo // 1 | 0, d // 1 | 0) * 86400 + h * 3600 + mi * 60 + s
end

local function pair(big, big_unit, small, small_unit)
  if small == 0 then return ("%d%s"):format(big, big_unit) end
  return ("%d%s%d%s"):format(big, big_unit, small, small_unit)
end

function M.duration(seconds)
  if seconds < -1 then return "<invalid>" end
  if seconds < 0 then return "0s" end
  if seconds < 120 then return ("%ds"):format(seconds) end
  local minutes, hours = seconds // 60, seconds // 3600
  if minutes < 10 then return pair(minutes, "m", seconds % 60, "s") end
  if minutes < 180 then return ("%dm"):format(minutes) end
  if hours < 8 then return pair(hours, "h", minutes % 60, "m") end
  if hours < 48 then return ("%dh"):format(hours) end
  if hours < 192 then return pair(hours // 24, "d", hours % 24, "h") end
  if hours < 17520 then return ("%dd"):format(hours // 24) end
  if hours < 70080 then return pair(hours // 8760, "y", hours // 24 % 365, "d") end
  return ("%dy"):format(hours // 8760)
end

-- How long ago a time was.
function M.since(time, w)
  local seconds = M.seconds(time)
  return seconds and M.duration(w:now() // 1000 - math.tointeger(seconds)) or "<unknown>"
end

function M.age(object, w) return M.since(object.metadata.creationTimestamp, w) end

function M.count(map)
  local n = 0
  for _ in pairs(map or {}) do n = n + 1 end
  return n
end

-- Labels as a selector: a=b,c=d.
function M.labels(map)
  if not map or not next(map) then return "<none>" end
  local parts = {}
  for name, value in pairs(map) do parts[#parts + 1] = name .. "=" .. value end
  table.sort(parts)
  return table.concat(parts, ",")
end

local function expression(one)
  local values = {}
  for i, value in ipairs(one.values or {}) do values[i] = value end
  table.sort(values)
  if one.operator == "In" then return ("%s in (%s)"):format(one.key, table.concat(values, ",")) end
  if one.operator == "NotIn" then return ("%s notin (%s)"):format(one.key, table.concat(values, ",")) end
  return (one.operator == "DoesNotExist" and "!" or "") .. one.key
end

-- A label selector as text, its requirements by key, as the server writes it (also into status.selector of scales).
function M.selector(selector)
  local parts = {}
  local function add(key, text) parts[#parts + 1] = { key = key, place = #parts, text = text } end
  for name, value in pairs(selector and selector.matchLabels or {}) do add(name, name .. "=" .. value) end
  for _, one in ipairs(selector and selector.matchExpressions or {}) do add(one.key, expression(one)) end
  table.sort(parts, function(a, b)
    if a.key ~= b.key then return a.key < b.key end
    return a.place < b.place
  end)
  for i, part in ipairs(parts) do parts[i] = part.text end
  return table.concat(parts, ",")
end

-- "a,b" of the containers' names and of their images.
function M.containers(spec)
  local names, images = {}, {}
  for i, container in ipairs(spec.containers or {}) do names[i], images[i] = container.name, container.image end
  return table.concat(names, ","), table.concat(images, ",")
end

return M
