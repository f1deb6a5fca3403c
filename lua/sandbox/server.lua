-- The sandbox over HTTP: requests to the API, watches as streams, and the cluster behind it, all on one loop.
--
-- A request is answered at once, inside the server's callback, and that is what makes it fast; only a write that webhooks
-- may hold up becomes a task. Two more tasks do the rest between requests, in small pieces: the feeder hands changes to
-- the watches that are open (many changes at once are one write to each), and the worker lets the cluster's controllers
-- work. They are two because a controller's write may wait for a webhook, and watches must not. A watch gets a piece at a time, and
-- the next one when that is sent: what a slow reader has not had yet waits in the world's history, not here.
--
-- Beside the API there are a few paths of our own, for specs and for people: see pages.lua.

local audit = require "sandbox.audit"
local errors = require "sandbox.errors"
local pages = require "sandbox.pages"

local M = {}
M.__index = M

local BODY_MAX = 3 * 1024 * 1024 -- as a real server's; its answer to more:
local TOO_LARGE = json.encode(errors.status(errors.too_large()))
local CONNECTIONS = 4000
local IDLE_SECONDS = 90
local PIECE = 256 * 1024 -- bytes of a watch that wait to be sent, and the rest of a line
local LINE_MAX = 64 * 1024 * 1024 -- more than an object can be that was let in
local STEP_SECONDS = 0.001 -- of the cluster's work at a time
local BUSY_STEP_SECONDS = 0.00025 -- when there were requests meanwhile: who waits for an answer comes first

local READS = { GET = true, HEAD = true }

-- A bell that is rung once until somebody has heard it.
local function ring(bell)
  if bell.rung then return end
  bell.rung = true
  bell.event:notify()
end

-- (waits) at most so many seconds (nil: for ever), not at all if it was rung meanwhile.
local function listen(bell, seconds)
  if not bell.rung then bell.event:wait(seconds) end
  bell.rung = false
end

-- ---- watches

-- The feeder looks at this watch when its time has come.
local function expect(self, watch)
  if watch.due >= self.watch_due then return end
  self.watch_due = watch.due
  ring(self.feed_bell)
end

local function close_watch(self, open)
  open.watch:close()
  self.watches[open] = nil
end

local function next_lines(open)
  local fine, lines = pcall(open.watch.next, open.watch, PIECE)
  if fine then return lines end
  log.error("a watch of the sandbox failed", { kind = open.watch.id, why = tostring(lines) })
end

-- A piece of what is new goes out; the stream ends with its watch (an ERROR line is the last), and a watch that fails with its stream.
local function feed(self, open)
  if open.sending then
    open.is_behind = true
    return
  end
  local watch = open.watch
  local lines = next_lines(open)
  if lines and lines[1] then
    open.sending = open.stream:write(table.concat(lines))
    if not open.sending then return close_watch(self, open) end
  end
  open.is_behind = watch.has_more and watch:has_more()
  if lines and not watch.closed then return end
  open.stream:finish()
  close_watch(self, open)
end

local function begin_watch(self, call, answer)
  local open = { watch = answer.watch }
  self.watches[open] = true
  open.stream = call.stream { content_type = answer.content_type or "application/json", backlog = LINE_MAX,
    on_end = function() close_watch(self, open) end,
    on_drain = function()
      open.sending = false
      if open.is_behind then feed(self, open) end
      expect(self, open.watch)
    end }
  if open.stream then feed(self, open) else close_watch(self, open) end
end

-- Feed the watches whose kind has changed or whose time has come.
local function feed_watches(self)
  local now, dirty = self.world:now(), self.dirty
  if not next(dirty) and now < self.watch_due then return end
  self.dirty = {}
  local due = math.huge
  for open in pairs(self.watches) do
    if dirty[open.watch.id] or now >= open.watch.due then feed(self, open) end
  end
  for open in pairs(self.watches) do
    if not open.sending then due = math.min(due, open.watch.due) end -- else on_drain looks
  end
  self.watch_due = due
end

-- ---- requests

local function note(self, request, status)
  self.audit_lines[#self.audit_lines + 1] = audit.line(request, status, self.world:uid(), self.world:now())
  ring(self.feed_bell)
end

local function request_of(call)
  local header = call.header
  return { method = call.method, path = call.path, query = call.queries(), accept = header "accept", content_type = header "content-type",
    user_agent = header "user-agent", host = header "host", body = call.body, header = header }
end

local function answer(self, call)
  local request = request_of(call)
  self.was_asked = true
  local page = pages.find(request.path)
  if page then
    ring(self.work_bell) -- what it changes may be nothing that the world tells of
    return page(self, request)
  end
  local guarded = self.guard and self.guard(request, call.header "authorization")
  if guarded then return guarded.status, guarded.body, guarded.content_type end
  request.received_ms = self.audit_path and self.world:now()
  local result = self.api:handle(request)
  if self.audit_path and audit.is_write(request.method) then note(self, request, result.status) end
  if not result.watch then
    return result.status, result.body, result.content_type, result.headers
      or result.retry_after and { ["Retry-After"] = tostring(result.retry_after) } or nil
  end
  begin_watch(self, call, result)
  expect(self, result.watch)
end

-- A write that a webhook may hold up must be a task; so must one that lets time pass.
local function is_slow(self, call)
  return not READS[call.method] and (self.admission:may_wait() or pages.find(call.path) ~= nil)
end

-- ---- what goes on between requests

local function flush_audit(self)
  if #self.audit_lines == 0 then return end
  local text = table.concat(self.audit_lines)
  self.audit_lines = {}
  local fine, why = fs.append(self.audit_path, text)
  if not fine and not self.audit_failed then
    self.audit_failed = true
    log.error("the audit log cannot be written; going on without", { why = why })
  end
end

-- Let the cluster work for a moment. -> whether there is more to do now
local function step(self)
  local until_then = loop.now() + (self.was_asked and BUSY_STEP_SECONDS or STEP_SECONDS)
  self.was_asked = false
  repeat
    if not self.cluster:step() then return false end
  until loop.now() >= until_then
  return true
end

-- Seconds from the world's now to a moment (ms; nil, huge: never) on the wall's time; nil on virtual time: it comes by advance.
local function seconds_to(self, due)
  if not due or due == math.huge or not self.world.clock then return nil end
  return math.max(0, (due - self.world:now()) / 1000)
end

local function work(self)
  while not self.closed do
    if step(self) then
      loop.sleep(0)
    else
      listen(self.work_bell, seconds_to(self, self.cluster:next_due()))
    end
  end
end

local function feed_all(self)
  while not self.closed do
    feed_watches(self)
    flush_audit(self)
    listen(self.feed_bell, seconds_to(self, self.watch_due))
  end
end

-- What fails must not end the cluster: it is told, and what it was about is dropped.
local function keep_going(self, body)
  while not self.closed do
    local fine, why = xpcall(body, debug.traceback, self)
    if fine then return end
    log.error("the simulated cluster stumbled", { why = why })
    loop.sleep(0.05)
  end
end

-- options: address ("127.0.0.1:0"), world, api (sandbox/api.lua), cluster (sandbox/cluster.lua), admission, audit (path of a
-- file to append to; nil: none), tls { cert, key } (PEM; nil: plain HTTP), guard (f(request, authorization) -> an answer to give in the
-- API's place, or nil; for specs that play a cluster with users), idle (true: the cluster does nothing). -> server { address = "127.0.0.1:43121" } | nil, text
function M.open(options)
  local self = setmetatable({ world = options.world, api = options.api, cluster = options.cluster, admission = options.admission,
    guard = options.guard, audit_path = options.audit, audit_lines = {}, watches = {}, watch_due = math.huge, dirty = {},
    feed_bell = { event = loop.event() }, work_bell = { event = loop.event() } }, M)
  local tls = options.tls or {}
  local http_server, why = http.serve {
    address = options.address, cert = tls.cert, key = tls.key, body_max = BODY_MAX, too_large = TOO_LARGE, any_method = true,
    connections = CONNECTIONS, idle_timeout = IDLE_SECONDS,
    direct = function(call)
      if not is_slow(self, call) then return answer(self, call) end
    end,
    handler = function(call) return answer(self, call) end,
  }
  if not http_server then return nil, why end
  self.http, self.address = http_server, http_server.address
  self.unsubscribe = self.world:subscribe(function(_, id)
    self.dirty[id] = true
    ring(self.feed_bell)
    ring(self.work_bell)
  end)
  self.tasks = { loop.spawn(keep_going, self, feed_all), not options.idle and loop.spawn(keep_going, self, work) or nil }
  return self
end

-- Virtual time passes, with all that is due in it. options.world must have no clock. seconds: a number. -> true | nil, text
function M:advance(seconds)
  local world, cluster = self.world, self.cluster
  if world.clock then return nil, "the time of this sandbox is the wall's; start it with --virtual to set the time yourself" end
  local target = world:now() + math.floor(seconds * 1000)
  repeat
    while step(self) do loop.sleep(0) end
    local due = cluster:next_due()
    local next_stop = math.min(math.max(due or target, world:now()), target)
    local is_last = not due or due > target
    world:advance(next_stop - world:now())
    feed_watches(self)
  until is_last
  return true
end

-- Stop serving: streams end, what is open is answered with 503.
function M:close()
  if self.closed then return end
  self.closed = true
  self.unsubscribe()
  for _, task in ipairs(self.tasks) do task:cancel() end
  self.http:close()
  flush_audit(self)
end

return M
