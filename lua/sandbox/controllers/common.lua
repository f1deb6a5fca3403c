-- What all controllers need of objects: copies that share, selectors, conditions, owners, sums of replicas.
--
-- Objects of the world are never modified. Whoever changes one makes a new table for each level on the way (`with`) and shares
-- the rest, so that a status of ten lines does not copy a pod.

local M = {}

local NONE = {}

-- A shallow copy of a table (or of nothing) with some fields replaced; M.ABSENT takes a field out. Arrays stay arrays.
M.ABSENT = {}
function M.with(source, changes)
  local copy = typed.clone(source or NONE, 2)
  for name, value in pairs(changes) do
    if value == M.ABSENT then copy[name] = nil else copy[name] = value end
  end
  return copy
end
local with = M.with

-- A deep copy, marks of arrays kept: for what is handed to somebody who may modify it.
function M.deep(value)
  if type(value) ~= "table" then return value end
  local copy = setmetatable({}, getmetatable(value))
  for name, one in pairs(value) do copy[name] = M.deep(one) end
  return copy
end

function M.key(object)
  local metadata = object.metadata
  return (metadata.namespace or "") .. "/" .. metadata.name
end

-- "namespace/name" -> namespace, name
function M.split(key)
  local slash = key:find("/", 1, true)
  return key:sub(1, slash - 1), key:sub(slash + 1)
end

-- An array of what f says true to.
function M.filter(list, f)
  local kept = json.array {}
  for _, one in ipairs(list or NONE) do
    if f(one) then kept[#kept + 1] = one end
  end
  return kept
end

-- Selectors (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)

local OPERATORS = {
  In = function(value, values)
    for _, one in ipairs(values or NONE) do
      if one == value then return true end
    end
    return false
  end,
  Exists = function(value) return value ~= nil end,
  DoesNotExist = function(value) return value == nil end,
  Gt = function(value, values) return (tonumber(value) or -math.huge) > (tonumber((values or NONE)[1]) or math.huge) end,
  Lt = function(value, values) return (tonumber(value) or math.huge) < (tonumber((values or NONE)[1]) or -math.huge) end,
}
OPERATORS.NotIn = function(value, values) return value == nil or not OPERATORS.In(value, values) end

-- Whether every requirement { key, operator, values } holds for the labels.
function M.requirements_hold(requirements, labels)
  for _, one in ipairs(requirements or NONE) do
    local test = OPERATORS[one.operator]
    if not test or not test(labels[one.key], one.values) then return false end
  end
  return true
end

-- A map of labels that all must be there.
function M.labels_hold(wanted, labels)
  for name, value in pairs(wanted or NONE) do
    if (labels or NONE)[name] ~= value then return false end
  end
  return true
end

-- A LabelSelector against an object's labels. The empty selector matches nothing here: controllers refuse it.
function M.matches(selector, labels)
  if not selector or (not next(selector.matchLabels or NONE) and not (selector.matchExpressions or NONE)[1]) then return false end
  return M.labels_hold(selector.matchLabels, labels) and M.requirements_hold(selector.matchExpressions, labels or NONE)
end

-- Owners

function M.controller_of(object)
  for _, reference in ipairs(object.metadata.ownerReferences or NONE) do
    if reference.controller == true then return reference end
  end
end

function M.controller_reference(object)
  return { apiVersion = object.apiVersion, kind = object.kind, name = object.metadata.name, uid = object.metadata.uid,
    controller = true, blockOwnerDeletion = true }
end

-- Conditions

function M.condition(status, kind)
  for _, one in ipairs(status and status.conditions or NONE) do
    if one.type == kind then return one end
  end
end

-- An array of conditions without that of one type, with `added` (or nothing) behind the others.
function M.replace_condition(conditions, kind, added)
  local list = M.filter(conditions, function(one) return one.type ~= kind end)
  if added then list[#list + 1] = added end
  return list
end

-- Seconds since 1970 of an RFC 3339 time in UTC, or nil.
local function days(year, month, day) -- civil calendar, days since 1970-01-01
  if month <= 2 then year, month = year - 1, month + 12 end
  return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
end
function M.seconds(text)
  if type(text) ~= "string" then return nil end
  local year, month, day, hour, minute, second = text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+):(%d+)")
  if not year then return nil end
  return days(tonumber(year), tonumber(month), tonumber(day)) * 86400 + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

-- Pods

function M.is_ready(pod)
  local ready = M.condition(pod.status, "Ready")
  return ready ~= nil and ready.status == "True"
end

-- Ready for at least `seconds`, by the clock of the world.
function M.is_available(pod, seconds, now_ms)
  local ready = M.condition(pod.status, "Ready")
  if not ready or ready.status ~= "True" then return false end
  if seconds <= 0 then return true end
  local since = M.seconds(ready.lastTransitionTime)
  return since ~= nil and (since + seconds) * 1000 < now_ms
end

function M.is_finished(pod)
  local phase = pod.status and pod.status.phase
  return phase == "Succeeded" or phase == "Failed"
end

-- Neither finished nor on its way out.
function M.is_active(pod)
  return not M.is_finished(pod) and not pod.metadata.deletionTimestamp
end

-- An int-or-string of a rolling update in pods of `total`; round is math.ceil or math.floor.
function M.scaled(value, total, round)
  if type(value) == "number" then return math.tointeger(value) or 0 end
  local percent = type(value) == "string" and tonumber(value:match("^(%d+)%%$"))
  return percent and math.tointeger(round(total * percent / 100)) or 0
end

-- An object with another status (other fields of its metadata too, if given).
function M.with_status(object, status)
  return with(object, { status = status })
end

return M
