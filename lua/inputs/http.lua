-- A source of inputs that is asked by HTTP: which group is this, what does that instance type offer?
--
-- A decision never waits for it. What is not known yet is "unknown", the question goes out, and the answer wakes the objects that
-- asked. Each question is asked once for all of them, by a task of its own that goes on asking: an answer is good for
-- `ttl` seconds and asked for again after four fifths of that, so that a blip is seen by nobody. Found, not there and
-- not known now are three answers. Whatever is not a whole answer that the policies' mapping understands (nobody listens, a hang, a
-- proxy's page, a redirect, too much, errors beside data) is the third: then the last known answer goes on to stand, for as
-- long as it takes, with state "unknown" beside it when it is older than its ttl.
--
-- A source belongs to a set of watches (watches.lua) and is shared by all policies that ask the same of the same server; what an
-- answer means is said by each with its own mapping, kept for each answer.

local exchange = require "inputs.exchange"
local request_of = require "inputs.request"

local M = {}
M.__index = M

local FLYING_MOST = 8         -- requests at once
local SPACING_SECONDS = 0.01  -- and no more than a hundred a second, whatever users name in their objects
local ENTRIES_MOST = 20000
local BYTES_MOST = 128 * 1024 * 1024 -- of all answers that are kept
local MEANINGS_MOST = 2000    -- of one answer: each instance type that somebody names is one
local IDLE_SECONDS = 120      -- nobody has asked for it: it is forgotten
local FIRST_RETRY, LAST_RETRY = 1, 60
local MISSING_SECONDS = 15    -- what is not there may be made any moment
local TOLD_SECONDS = 600
local TOLD_AT_ONCE = 200
local PAUSE_SECONDS = 0.004   -- no turn of the loop is longer than 10 ms

-- What people read while an answer is missing: it stands in statuses, so nothing in it may change from try to try.
local ASKING = { reason = "Asking", message = "the answer is not there yet" }

local function number(value, least, most, otherwise)
  value = tonumber(value) or otherwise
  return math.max(least, math.min(most, value))
end

-- How long a question's answer is good for, and how long it may take: the declaration's, else the server's, else ours.
local function times(http, server)
  return number(http.ttl or server.ttlSeconds, 0.1, 86400, 60), number(http.timeout or server.timeoutSeconds, 0.05, 120, 10)
end

-- options: {http (a declaration's), server (of the settings: {endpoint, tokenFile, tokenSecret, caFile, timeoutSeconds, ttlSeconds}),
-- cluster, namespace (where a Secret is), on_answer = function(keys, changed): these objects should be decided again; changed: the answer
-- is another one, and not only older}
function M.new(options)
  local http, server = options.http, options.server
  local self = setmetatable({ http = http, server = server, endpoint = server.endpoint, on_answer = options.on_answer,
    entries = {}, count = 0, bytes = 0, asked = {}, flying = 0, free_at = 0, free = loop.event(), news = loop.event() }, M)
  self.total = metrics.counter("moonphase_input_requests_total", "Requests to HTTP sources, by what came of them", { "result" })
  self.total:add(0, "answered")
  local timeout
  self.ttl, timeout = times(http, server)
  self.exchange = exchange.new { http = http, server = server, timeout = timeout, cluster = options.cluster, namespace = options.namespace }
  self.name = exchange.without_query(server.endpoint or http.url)
  return self
end

-- ---------------------------------------------------------------- one question, asked again and again

-- (waits, where there are many) Wake those who asked.
local function tell(self, entry, changed)
  local keys = {}
  for key in pairs(entry.users) do keys[#keys + 1] = key end
  self.news:notify()
  for first = 1, #keys, TOLD_AT_ONCE do
    if first > 1 then loop.sleep(0) end
    if self.stopped then return end
    self.on_answer({ table.unpack(keys, first, math.min(first + TOLD_AT_ONCE - 1, #keys)) }, changed)
  end
end

local function retry_in(self, entry)
  entry.tries = entry.tries + 1
  local pause = math.min(FIRST_RETRY * 2 ^ math.min(entry.tries - 1, 10), LAST_RETRY, self.ttl)
  return pause * (0.8 + 0.4 * loop.random())
end

-- Said once, and while it stays the same every ten minutes.
local function log_trouble(self, wrong)
  local again = self.told == wrong.message and loop.now() - self.told_at < TOLD_SECONDS
  self.told, self.told_at = wrong.message, again and self.told_at or loop.now()
  local say = again and log.debug or log.warn
  say("a source of inputs has trouble: what was known last goes on", { server = self.name,
    why = wrong.message, detail = wrong.detail })
end

local function took(self, entry, answer)
  local before, was_silent = entry.answer, entry.trouble
  local is_same = before ~= nil and before.body == answer.body and before.status == answer.status
  self.bytes = self.bytes + #answer.body - (before and #before.body or 0)
  entry.answer, entry.trouble = answer, nil
  if is_same then
    answer.mapped, answer.doubted, answer.body = before.mapped, before.doubted, before.body
    if entry.good == before then entry.good = answer end
    for id, known in pairs(entry.known) do
      if known == before then entry.known[id] = answer end
    end
  end
  if answer.doubted then
    entry.due = loop.now() + retry_in(self, entry)
    return
  end
  entry.tries = 0
  entry.due = loop.now() + self.ttl * (0.75 + 0.1 * loop.random())
  if is_same and not was_silent then return end
  if self.told then log.info("a source of inputs answers again", { server = self.name }) end
  self.told = nil
  tell(self, entry, not is_same)
end

-- Nothing is known for certain from `ttl` after the last answer on; those who asked see it then.
local function failed(self, entry, wrong)
  local news = not entry.trouble or entry.trouble.reason ~= wrong.reason
  entry.trouble = wrong
  entry.due = loop.now() + retry_in(self, entry)
  log_trouble(self, wrong)
  local stale_at = entry.answer and entry.answer.at + self.ttl
  if stale_at and stale_at > loop.now() then
    entry.look_at = stale_at
  elseif news then
    tell(self, entry)
  end
end

-- (waits) One try.
local function fetch(self, entry)
  local begin = math.max(loop.now(), self.free_at)
  self.free_at = begin + SPACING_SECONDS
  if begin > loop.now() then loop.sleep(begin - loop.now()) end
  while self.flying >= FLYING_MOST do self.free:wait(1) end
  self.flying = self.flying + 1
  local answer, wrong = self.exchange:ask(entry.request)
  self.flying = self.flying - 1
  self.free:notify()
  if answer and self.bytes + #answer.body > BYTES_MOST then
    answer, wrong = exchange.trouble("TooLarge", ("its answers together have more than %d bytes"):format(BYTES_MOST))
  end
  self.total:add(1, answer and "answered" or wrong.reason)
  if answer then took(self, entry, answer) else failed(self, entry, wrong) end
end

local function drop(self, entry)
  if self.entries[entry.request.id] == entry then
    self.entries[entry.request.id] = nil
    self.count, self.bytes = self.count - 1, self.bytes - (entry.answer and #entry.answer.body or 0)
  end
end

local function keep_asking(self, entry)
  while not self.stopped do
    local now = loop.now()
    if next(entry.users) == nil and now - entry.used_at > IDLE_SECONDS then return drop(self, entry) end
    if entry.look_at and now >= entry.look_at then
      entry.look_at = nil
      tell(self, entry)
    end
    if now >= entry.due then fetch(self, entry) end
    local wait = math.min(entry.due, entry.look_at or entry.due) - loop.now()
    if wait > 0 then entry.bell:wait(math.min(wait, IDLE_SECONDS)) end
  end
end

-- The question of this request, asked from now on; nil: there are too many.
local function entry_of(self, request)
  local entry = self.entries[request.id]
  if not entry then
    if self.count >= ENTRIES_MOST or self.stopped then return nil end
    entry = { request = request, users = {}, used_at = loop.now(), due = loop.now(), tries = 0, bell = loop.event(), known = {}, known_count = 0 }
    self.entries[request.id] = entry
    self.count = self.count + 1
    entry.task = loop.spawn(keep_asking, self, entry)
  end
  entry.used_at = loop.now()
  return entry
end

local function look_sooner(entry, at)
  if at < entry.due then
    entry.due = at
    entry.bell:notify()
  end
end

-- ---------------------------------------------------------------- who asks

-- The entry that an object's fields lead to, nil if they name nothing. Remembered by generation, so that an object is decoded once
-- for each. From now on the object is decided again when the answer changes.
local function entry_for(self, view, key, handle)
  local memo = self.asked[key]
  local mark = handle.uid .. "/" .. handle.generation
  if not memo or memo.mark ~= mark then
    local object = view.objects:read(key)
    self:forget(key)
    memo = { mark = mark, request = object and request_of.about(self.http, self.endpoint, object) }
    self.asked[key] = memo
  end
  local entry = memo.request and entry_of(self, memo.request)
  if entry then
    memo.entry = entry
    entry.users[key] = true
  end
  return entry, memo.request ~= nil
end

function M:forget(key)
  local memo = self.asked[key]
  if not memo then return end
  self.asked[key] = nil
  if memo.entry then
    memo.entry.users[key] = nil
    memo.entry.used_at = loop.now()
  end
end

-- ---------------------------------------------------------------- what an answer means

local STATES = { found = true, missing = true, unknown = true }

local function said(value, otherwise)
  return type(value) == "string" and value ~= "" and value:sub(1, 300) or otherwise
end

-- What the mapping returned as {state, object (policy.raw), value (the object), reason, message}.
local function checked(result, failure)
  if result == nil then
    return { state = "unknown", reason = "MappingFailed", message = "the policies' mapping fails on its answer", detail = failure and failure.text }
  end
  if type(result) ~= "table" or not STATES[result.state] or (result.state == "found" and type(result.object) ~= "table") then
    return { state = "unknown", reason = "MappingFailed", message = "the policies' mapping of its answer says neither found, missing nor unknown" }
  end
  if result.state == "found" then
    local ok, text = pcall(json.encode, result.object)
    if ok then return { state = "found", object = policy.raw(text), value = result.object } end
    return { state = "unknown", reason = "MappingFailed", message = "the policies' mapping made something of it that JSON cannot say" }
  end
  return { state = result.state, reason = said(result.reason, "NotUnderstood"), message = said(result.message, "its answer is not understood") }
end

local function plainly(answer)
  if answer.status == 404 then return { state = "missing" } end
  return checked { state = "found", object = json.decode(answer.body) }
end

-- map: "module.function" of the policies, called with {answer, status, wanted, settings}.
local function map(view, http, answer, wanted)
  if not http.map then return plainly(answer) end
  local module, name = http.map:match("^(.+)%.([^.]+)$")
  return checked(view.generation:call(module, name, { answer = policy.raw(answer.body), status = answer.status, wanted = wanted,
    settings = view.settings }))
end

-- What `answer` says, for this input of these policies; kept beside it. The policies die before an answer does: weak keys.
local function mapped(view, http, answer, wanted, id)
  answer.mapped = answer.mapped or setmetatable({}, { __mode = "k" })
  local of_view = answer.mapped[view.generation]
  if not of_view or of_view.count > MEANINGS_MOST then
    of_view = { count = 0 }
    answer.mapped[view.generation] = of_view
  end
  if not of_view[id] then of_view[id], of_view.count = map(view, http, answer, wanted), of_view.count + 1 end
  return of_view[id]
end

local function seen_as(result, extra)
  local input = { state = result.state, object = result.object }
  for name, value in pairs(extra or {}) do input[name] = value end
  return input
end

-- The answer to entry's question for one input: the newest, if it is known; else the last known one.
-- http: the input's declaration, which says what the answer means.
local function judge(self, view, http, entry, wanted)
  local now, id = loop.now(), (http.map or "") .. "\0" .. tostring(wanted)
  local newest = entry.answer and mapped(view, http, entry.answer, wanted, id)
  local is_known = newest and newest.state ~= "unknown"
  if is_known then
    if not entry.known[id] then entry.known_count = entry.known_count + 1 end
    if entry.known_count > MEANINGS_MOST then entry.known, entry.known_count = {}, 1 end
    entry.known[id], entry.good = entry.answer, entry.answer
    if not entry.trouble then
      if newest.state == "missing" then look_sooner(entry, entry.answer.at + math.min(MISSING_SECONDS, self.ttl)) end
      return seen_as(newest), newest
    end
  elseif newest and not entry.answer.doubted then
    entry.answer.doubted = true
    log_trouble(self, newest)
    look_sooner(entry, now + retry_in(self, entry))
  end
  local wrong = entry.trouble or newest or ASKING
  local last = entry.known[id] or entry.good -- an answer that others understood may know what was not asked for then
  local known = last and mapped(view, http, last, wanted, id)
  if not known or known.state == "unknown" then
    return { state = "unknown", reason = wrong.reason, message = wrong.message }
  end
  local age = math.floor(now - last.at)
  if now < last.at + self.ttl then
    entry.look_at = math.min(entry.look_at or math.huge, last.at + self.ttl)
    entry.bell:notify()
    return seen_as(known), known
  end
  return seen_as(known, { state = known.state == "missing" and "missing" or "unknown", age = age, reason = wrong.reason,
    message = wrong.message }), known
end

-- What one input sees (objects.lua has the same); and the object as a value, where one is known.
function M:about(view, input, key, handle)
  local entry, is_asked = entry_for(self, view, key, handle)
  if entry then return judge(self, view, input.http, entry, handle.indexes[input.name]) end
  if is_asked then return { state = "unknown", reason = "TooMany", message = "too many different questions are asked of it" } end
  return { state = "missing" }
end

-- The answer to what is asked of no object: {state, value} of the mapping; entry for `known_at`.
function M:plain(view, http)
  local request = request_of.about(http, self.endpoint, {})
  local entry = request and entry_of(self, request)
  if not entry then return { state = "unknown" } end
  entry.users[""] = true
  local input, known = judge(self, view, http, entry, nil)
  return input, known
end

-- (waits) Ask about every object of `objects` (informers), and until each has its first answer, or is known to have none; at
-- most so many seconds.
function M:wait_about(view, seconds)
  local began, deadline = loop.now(), loop.now() + seconds
  for _, key in ipairs(view.objects and view.objects:keys() or {}) do
    local handle = view.objects:get(key)
    if handle and not handle.deleting then entry_for(self, view, key, handle) end
    if loop.now() - began > PAUSE_SECONDS then
      loop.sleep(0)
      began = loop.now()
    end
  end
  while loop.now() < deadline and not self.stopped do
    local waits = false
    for _, entry in pairs(self.entries) do waits = waits or not (entry.answer or entry.trouble) end
    if not waits then return true end
    self.news:wait(0.05)
  end
  return false
end

-- ---------------------------------------------------------------- as an informer is seen by a set of watches

function M.synced() return true end

-- The trouble that goes on, as text; nil when there is none.
function M:trouble()
  if not self.told then return nil end
  return ("%s: %s"):format(self.name, self.told)
end

function M:stop()
  self.stopped = true
  for _, entry in pairs(self.entries) do entry.task:cancel() end
  self.entries, self.asked = {}, {}
end

return M
