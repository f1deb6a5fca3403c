-- Events as controllers tell them: one for each thing that happened to an object, counted when it happens again.
--
-- What a source told of an object is a small value of the world, cell["told/SOURCE/UID"]: the names of its Events by what makes
-- them the same (reason, message), so that telling again finds the old one and counts it up, and how many it may still tell. As in
-- client-go's correlator, a source may tell 25 at once and one more each 5 minutes, and one that has told more than ten different
-- messages of one reason within ten minutes goes on in one combined Event. The scheduler tells in the style of events.k8s.io:
-- eventTime and a series instead of counts.

local common = require "sandbox.controllers.common"

local M = {}

local with = common.with
local ID = "events"
local SIMILAR = 10
local WINDOW = 600 -- seconds
local COMBINED = "(combined from similar events): "

local function reference(object, field_path)
  local metadata = object.metadata
  return { apiVersion = object.apiVersion, kind = object.kind, name = metadata.name, namespace = metadata.namespace, uid = metadata.uid,
    resourceVersion = metadata.resourceVersion, fieldPath = field_path }
end

local BURST, REFILL = 25, 300
local SERIES = 360 -- seconds between two writes of a series
local EXPIRY = 600000 -- ms between two looks for old ones

local function memory_of(w, source, uid) return w.cell["told/" .. source .. "/" .. uid] end

local function remember(w, source, uid, memory) w.cell["told/" .. source .. "/" .. uid] = memory end

-- Names end in the time in nanoseconds, so that lists are in order; the version makes two of one millisecond differ.
local function new_name(w, object)
  return ("%s.%x"):format(object.metadata.name, w:now() * 1000000 + w.version % 1000000)
end

local ALL = {}
local REFERENCE = { ["f:apiVersion"] = ALL, ["f:kind"] = ALL, ["f:name"] = ALL, ["f:namespace"] = ALL, ["f:resourceVersion"] = ALL,
  ["f:uid"] = ALL }
local TOLD = { ["f:count"] = ALL, ["f:firstTimestamp"] = ALL, ["f:involvedObject"] = REFERENCE, ["f:lastTimestamp"] = ALL,
  ["f:message"] = ALL, ["f:reason"] = ALL, ["f:source"] = { ["f:component"] = ALL }, ["f:type"] = ALL }
local TOLD_BY_NODE = with(TOLD, { ["f:involvedObject"] = with(REFERENCE, { ["f:fieldPath"] = ALL }),
  ["f:source"] = { ["f:component"] = ALL, ["f:host"] = ALL } })
local SCHEDULED = { ["f:action"] = ALL, ["f:eventTime"] = ALL, ["f:note"] = ALL, ["f:reason"] = ALL, ["f:regarding"] = REFERENCE,
  ["f:reportingController"] = ALL, ["f:reportingInstance"] = ALL, ["f:type"] = ALL }

-- Events are written as they stand, with constant managed fields: they come from ourselves, and seven of them go with every pod.
-- -> its name
local function put_new(c, object, event, manager, api_version, fields)
  local w = c.w
  local now = w:time()
  event.apiVersion, event.kind = "v1", "Event"
  event.metadata = { name = new_name(w, object), namespace = object.metadata.namespace or "default", uid = w:uid(),
    creationTimestamp = now, managedFields = json.array { { manager = manager, operation = "Update", apiVersion = api_version, time = now,
      fieldsType = "FieldsV1", fieldsV1 = fields } } }
  w:put(ID, event)
  local kept = w.cell.timings.event_ttl
  if kept > 0 then w:after(math.ceil(math.max(kept * 1000, EXPIRY)), "expiry", "events") end
  return event.metadata.name
end

local function count_up(c, record, message)
  local event = record.object
  c.w:put(ID, with(event, { count = (event.count or 1) + 1, lastTimestamp = c.w:time(), message = message or event.message }))
end

-- Events older than the scene's event_ttl go (the real server forgets them after an hour), and what was noted of what was told.
function M.expire(c)
  local w = c.w
  local oldest = w:now() // 1000 - w.cell.timings.event_ttl
  local old, left = {}, false
  for _, record in ipairs(w:each(ID)) do
    local object = record.object
    local last = object.lastTimestamp ~= json.null and object.lastTimestamp or object.metadata.creationTimestamp
    if (common.seconds(last) or 0) <= oldest then old[#old + 1] = record else left = true end
  end
  for _, record in ipairs(old) do w:remove(ID, record.namespace, record.name) end
  for name, seen in pairs(w.cell) do
    if name:sub(1, 5) == "told/" and seen.since <= oldest then w.cell[name] = nil end
  end
  if left then w:after(EXPIRY, "expiry", "events") end
  return true
end

-- What a source may still tell of an object, one less. -> { left=, since=, names=, floods= } | nil: nothing
local function spend(memory, second)
  if not memory then return { left = BURST - 1, since = second, names = {} } end
  local more = (second - memory.since) // REFILL
  local left = math.min(memory.left + more, BURST)
  if left == 0 then return nil end
  return with(memory, { left = left - 1, since = memory.since + more * REFILL })
end

-- Count one more different message of a reason (in place, in a memory of ours). -> whether there were too many of late
local function is_flood(memory, key, second)
  local seen = memory.floods and memory.floods[key]
  if not seen or second - seen.since > WINDOW then seen = { since = second, count = 0 } end
  memory.floods = with(memory.floods, { [key] = { since = seen.since, count = seen.count + 1 } })
  return seen.count >= SIMILAR
end

-- source: the component; host: the node, if it is a kubelet.
function M.tell(c, source, object, type, reason, message, field_path, host)
  local namespace = object.metadata.namespace or "default"
  if not c:may_tell(namespace) then return end
  local w, uid = c.w, object.metadata.uid or ""
  local second = w:now() // 1000
  local memory = spend(memory_of(w, source, uid), second)
  if not memory then return end
  local key = table.concat({ type, reason, message, field_path or "" }, "\0")
  local name = memory.names[key]
  local known = name and w:get(ID, namespace, name)
  if not known and c.similar[reason] and is_flood(memory, type .. reason, second) then
    key, message = type .. reason, COMBINED .. message
    name = memory.names[key]
    known = name and w:get(ID, namespace, name)
  end
  if known then
    count_up(c, known, message)
  else
    local now = w:time()
    memory.names = with(memory.names, { [key] = put_new(c, object, { involvedObject = reference(object, field_path), type = type,
      reason = reason, message = message, count = 1, firstTimestamp = now, lastTimestamp = now, eventTime = json.null,
      reportingComponent = "", reportingInstance = "", source = { component = source, host = host } },
      host and "kubelet" or "kube-controller-manager", "v1", host and TOLD_BY_NODE or TOLD) })
  end
  remember(w, source, uid, memory)
end

-- In the scheduler's style. action: "Binding" or "Scheduling". Told again of the same version of the object it is the same Event,
-- whatever its message: that is how events.k8s.io counts.
function M.tell_series(c, object, type, reason, message, action)
  local metadata = object.metadata
  if not c:may_tell(metadata.namespace) then return end
  local w = c.w
  local memory = memory_of(w, "scheduler", metadata.uid)
  local key = metadata.resourceVersion .. reason
  local known = memory and memory.names[key] and w:get(ID, metadata.namespace, memory.names[key])
  if known then
    local series, second = known.object.series, w:now() // 1000
    if series and second - common.seconds(series.lastObservedTime) < SERIES then return end
    w:put(ID, with(known.object, { series = { count = (series and series.count or 0) + 1, lastObservedTime = w:micro_time() } }))
    return
  end
  local name = put_new(c, object, { involvedObject = reference(object), type = type, reason = reason, message = message, action = action,
    eventTime = w:micro_time(), firstTimestamp = json.null, lastTimestamp = json.null, reportingComponent = "default-scheduler",
    reportingInstance = "default-scheduler-sandbox", source = {} }, "kube-scheduler", "events.k8s.io/v1", SCHEDULED)
  remember(w, "scheduler", metadata.uid, { since = w:now() // 1000, names = with(memory and memory.names, { [key] = name }) })
end

return M
