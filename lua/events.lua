-- Kubernetes Events about our objects: what happened, told where people look for it (kubectl describe).
--
-- An Event is news and never state, so nothing may depend on one: they are written behind the work, one after the other, and
-- whatever is too much is left out and counted. What happens again is no new Event: the name is made of the object's UID and
-- the reason, so that a repetition, also after a restart or by another replica, counts the old one up
-- (count, lastTimestamp, the newest message). The numbers are client-go's (tools/record, reference/operators.md 1.6): of one object
-- 25 at once and one more each 5 minutes; 1,000 that wait; 12 tries, 10 s apart, where no answer came. What waits and repeats
-- is put together before it is sent.
--
-- Verbs needed: create, get, patch of events.

local bounded = require "bounded"

local M = {}
M.__index = M

local BURST, REFILL_SECONDS = 25, 300
local WAITING_MOST, REMEMBERED_MOST = 1000, 4096
local TRIES, RETRY_SECONDS = 12, 10
local MESSAGE_MOST, REASON_MOST = 1024, 128 -- bytes; of the API (events.k8s.io)
local COUNT_MOST = 2147483647 -- int32
local TROUBLE_SECONDS = 600
local RESULTS = { "created", "patched", "limited", "dropped", "refused" }

-- A table that keeps at most `most` of what was used last: the older half goes at once.
local function recent(most)
  local young, old, count = {}, {}, 0
  local cache = {}
  function cache.put(key, value)
    if young[key] == nil then
      if count >= most // 2 then young, old, count = {}, young, 0 end
      count = count + 1
    end
    young[key], old[key] = value, nil
  end
  function cache.get(key)
    local value = young[key]
    if value == nil and old[key] ~= nil then
      value = old[key]
      cache.put(key, value)
    end
    return value
  end
  function cache.drop(key)
    if young[key] ~= nil then young[key], count = nil, count - 1 end
    old[key] = nil
  end
  return cache
end
M.recent = recent

-- options: {cluster=, kind= (api_version, kind) of the objects, count=function() for each write}
function M.new(options)
  local self = setmetatable({ cluster = options.cluster, kind = options.kind, count_write = options.count or function() end,
    waiting = {}, first = 1, last = 0, by_name = {}, known = recent(REMEMBERED_MOST), budgets = recent(REMEMBERED_MOST),
    bell = loop.event(), at_work = false, ending = false,
    total = metrics.counter("moonphase_events_total", "Kubernetes Events by what became of them: written anew, counted up, over the rate of "
      .. "their object, left out (too many wait, or no answer came), refused by the server", { "result" }) }, M)
  for _, result in ipairs(RESULTS) do self.total:add(0, result) end
  return self
end

-- ---------------------------------------------------------------- what is told

-- One more of this object? What is kept is one number: when its bucket would be full again.
local function may_tell(self, uid)
  local now = loop.now()
  local full = math.max(self.budgets.get(uid) or 0, now)
  if full - now > (BURST - 1) * REFILL_SECONDS then return false end
  self.budgets.put(uid, full + REFILL_SECONDS)
  return true
end

local function reason_of(event)
  local reason = tostring(event.reason or ""):gsub("[^%w]", ""):sub(1, REASON_MOST)
  return reason ~= "" and reason or "Unknown"
end

local function now_text() return os.date("!%Y-%m-%dT%H:%M:%SZ", loop.wall_ms() // 1000) end

-- Tell `event` {type, reason, message} about `object` {uid, name, namespace, resourceVersion}. Never waits.
function M:tell(object, event)
  if self.ending then return end
  local reason, now = reason_of(event), now_text()
  local name = object.uid .. "." .. reason:lower()
  if not may_tell(self, object.uid) then return self.total:add(1, "limited") end
  local entry = self.by_name[name]
  if not entry then
    if self.last - self.first + 1 >= WAITING_MOST then return self.total:add(1, "dropped") end
    entry = { name = name, times = 0, first = now, tries = 0 }
    self.last = self.last + 1
    self.waiting[self.last], self.by_name[name] = entry, entry
  end
  entry.object, entry.reason, entry.type = object, reason, event.type == "Warning" and "Warning" or "Normal"
  entry.message, entry.last, entry.times = bounded(event.message, MESSAGE_MOST), now, entry.times + 1
  self:wake()
end

-- ---------------------------------------------------------------- how it is written

local function path_of(entry, name)
  return "/api/v1/namespaces/" .. kube.escape(entry.object.namespace) .. "/events" .. (name and "/" .. kube.escape(name) or "")
end

local function request(self, options)
  if options.method then
    self.count_write()
    options.query = { fieldManager = "moonphase" }
  end
  return self.cluster:request(options)
end

-- The answer, text and kind of failure; and true if it was made.
local function create(self, entry)
  local object = entry.object
  local answer, why, kind = request(self, { method = "POST", path = path_of(entry), body = { apiVersion = "v1", kind = "Event",
    metadata = { name = entry.name, namespace = object.namespace },
    involvedObject = { apiVersion = self.kind.api_version, kind = self.kind.kind, name = object.name, namespace = object.namespace,
      uid = object.uid, resourceVersion = object.resourceVersion },
    type = entry.type, reason = entry.reason, message = entry.message, count = entry.times,
    firstTimestamp = entry.first, lastTimestamp = entry.last,
    source = { component = "moonphase" }, reportingComponent = "moonphase" } })
  local made = answer ~= nil and answer.status == 201
  if made then self.known.put(entry.name, entry.times) end
  return answer, why, kind, made
end

-- The same; and true if it was counted up.
local function count_up(self, entry, count)
  count = math.min(count + entry.times, COUNT_MOST)
  local answer, why, kind = request(self, { method = "PATCH", path = path_of(entry, entry.name), content_type = "application/merge-patch+json",
    body = { count = count, lastTimestamp = entry.last, message = entry.message, type = entry.type } })
  local counted = answer ~= nil and answer.status == 200
  if counted then self.known.put(entry.name, count) else self.known.drop(entry.name) end
  return answer, why, kind, counted
end

-- How often the Event of this name was told, by an earlier process; or nil, answer, text, kind of failure.
local function count_there(self, entry)
  local answer, why, kind = request(self, { path = path_of(entry, entry.name) })
  if not answer or answer.status ~= 200 then return nil, answer, why, kind end
  local live = json.decode(answer.body)
  local count = type(live) == "table" and math.tointeger(live.count) or 1
  return math.max(1, math.min(count, COUNT_MOST))
end

-- One try: what became of it ("created", "patched"), or nil, the last answer (nil: none came), text, kind of failure.
local function try(self, entry)
  local count = self.known.get(entry.name)
  if count then
    local answer, why, kind, counted = count_up(self, entry, count)
    if counted then return "patched" end
    if not answer or answer.status ~= 404 then return nil, answer, why, kind end -- else it is gone: Events live for an hour
  end
  local answer, why, kind, made = create(self, entry)
  if made then return "created" end
  if not answer or answer.status ~= 409 then return nil, answer, why, kind end
  local there, failed_answer, text, failed_kind = count_there(self, entry)
  if not there then return nil, failed_answer, text, failed_kind end
  local counted
  answer, why, kind, counted = count_up(self, entry, there)
  if counted then return "patched" end
  return nil, answer, why, kind
end

local function say(self, text)
  local again = self.said == text and loop.now() - self.said_at < TROUBLE_SECONDS
  local how = again and log.debug or log.warn
  how("an Event was not written", { why = text })
  if not again then self.said, self.said_at = text, loop.now() end
end

-- What becomes of an entry that was tried: a result, or nil to try again.
local function judge(entry, result, answer, why)
  if result then return result end
  entry.tries = entry.tries + 1
  local may_come = not answer or answer.status == 429 or answer.status >= 500
  if may_come and entry.tries < TRIES then return nil end
  local has_left = answer and (answer.status == 404 or answer.message:find("being terminated", 1, true)) -- the namespace goes
  if has_left then return "refused" end
  return may_come and "dropped" or "refused", why or ("%s (%d %s)"):format(answer.message, answer.status, answer.reason)
end

local function forget_all(self)
  self.total:add(self.last - self.first + 1, "dropped")
  self.waiting, self.by_name, self.first, self.last = {}, {}, 1, 0
end

-- Who is being sent is not added to any more: what comes meanwhile is an entry of its own.
local function send_first(self)
  local entry = self.waiting[self.first]
  if self.by_name[entry.name] == entry then self.by_name[entry.name] = nil end
  local ok, result, answer, why, kind = pcall(try, self, entry)
  if not ok then result, answer, why = "refused", nil, result end
  if kind == "fenced" then return forget_all(self) end -- another leads, and tells what it sees
  local text = not ok and why or nil
  if ok then result, text = judge(entry, result, answer, why) end
  if result then
    self.total:add(1, result)
    if text then say(self, text) end
    self.waiting[self.first], self.first = nil, self.first + 1
  elseif self.ending then
    forget_all(self)
  else
    self.bell:wait(entry.tries == 1 and RETRY_SECONDS * loop.random() or RETRY_SECONDS)
  end
end

-- Begin to write what waits, if nobody does.
function M:wake()
  if self.at_work then return end
  self.at_work = true
  loop.spawn(function()
    while self.first <= self.last do send_first(self) end
    self.waiting, self.first, self.last = {}, 1, 0
    self.at_work = false
  end)
end

-- (waits) The clean stop: write what waits, at most so many seconds; the rest is left out. Nothing is told any more.
function M:stop(seconds)
  local deadline = loop.now() + seconds
  self.ending = true
  self.bell:notify()
  while self.at_work and loop.now() < deadline do loop.sleep(0.02) end
  if self.at_work then forget_all(self) end
end

return M
