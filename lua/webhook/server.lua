-- The door: reviews over TLS, one path, bounded in every direction, and counted.
--
-- A review that can be answered at once is, inside the server's callback; one that has to wait (for a leader elsewhere, for a
-- burst of pods that is not counted yet) becomes a task.

local review = require "webhook.review"

local M = {}
M.__index = M

M.PATH = "/quota"
local CONNECTIONS, PER_ADDRESS = 1024, 512
local IDLE_SECONDS = 120    -- an API server keeps connections for 90 s; it must be the one who closes them
local REQUEST_SECONDS = 10  -- to send one request
local WAIT_SECONDS = 5      -- for the book to catch up

local function new_metrics()
  local labels = { "webhook", "code" }
  return {
    requests = metrics.counter("controller_runtime_webhook_requests_total", "Reviews, by HTTP status", labels),
    latency = metrics.histogram("controller_runtime_webhook_latency_seconds", "How long a review takes", { "webhook" },
      { 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.1, 1, 10 }),
    in_flight = metrics.gauge("controller_runtime_webhook_requests_in_flight", "Reviews under way", { "webhook" }),
    verdicts = metrics.counter("moonphase_quota_reviews_total", "Reviews of pods, by verdict", { "verdict" }),
  }
end

-- options: {address, admission, is_leader = function(), forward = function(body) -> status, body, may be nil}
function M.new(options)
  local self = setmetatable({ admission = options.admission, is_leader = options.is_leader, forward = options.forward,
    address = options.address, paths = review.paths(options.keep), metrics = new_metrics(), in_flight = 0 }, M)
  for _, verdict in ipairs { "allowed", "refused", "error" } do self.metrics.verdicts:add(0, verdict) end
  self.metrics.requests:add(0, M.PATH, "200")
  self.metrics.in_flight:set(0, M.PATH)
  return self
end

local function count(self, started, status)
  self.metrics.requests:add(1, M.PATH, tostring(status))
  self.metrics.latency:observe(loop.precise() - started, M.PATH)
end

local function reply(self, started, head, verdict, refusal)
  self.metrics.verdicts:add(1, verdict)
  count(self, started, 200)
  return 200, review.answer(head, refusal), "application/json"
end

local function plain(self, started, status, text)
  count(self, started, status)
  return status, text .. "\n"
end

-- What can be said at once; nil: it has to wait.
local function at_once(self, call)
  local started = loop.precise()
  if call.path ~= M.PATH then return 404, "there is nothing here but " .. M.PATH .. "\n" end
  if call.method ~= "POST" then return plain(self, started, 405, "reviews are posted") end
  if not self.is_leader() then return nil end
  local r, why, head = review.read(call.cut, self.paths)
  if not r then
    if not head then return plain(self, started, 400, why) end
    return reply(self, started, head, "error", { code = 403, message = why })
  end
  local verdict, refusal = self.admission:judge(r, call.peer(), call.client())
  if not verdict then return nil end
  return reply(self, started, r, verdict, refusal)
end

-- (waits) for a group whose pods are still being counted.
local function later(self, call, started, peer, client)
  local r, why, head = review.read(call.cut, self.paths)
  if not r then
    if not head then return plain(self, started, 400, why) end
    return reply(self, started, head, "error", { code = 403, message = why })
  end
  local deadline = loop.now() + WAIT_SECONDS
  while true do
    local verdict, refusal = self.admission:judge(r, peer, client)
    if verdict then return reply(self, started, r, verdict, refusal) end
    if loop.now() > deadline then
      return reply(self, started, r, "error", { code = 503, message = "moonphase has not counted all pods of the group yet: try again" })
    end
    loop.sleep(0.005)
  end
end

-- (waits) The leader answers in our place.
local function pass_on(self, call, started)
  local r, why, head = review.read(call.cut, self.paths)
  head = r or head
  if not head then return plain(self, started, 400, why) end
  local function give_up(code, text) return reply(self, started, head, "error", { code = code, message = text }) end
  if self.admission.authenticates and not call.client() then
    return give_up(401, "the caller is not known: --webhook-client-ca wants a certificate that this authority signed")
  end
  if call.header("X-Moonphase-Forwarded") then return give_up(503, "each moonphase takes the other for the leader: try again") end
  if not self.forward then return give_up(503, "this moonphase does not lead: try again") end
  local status, body = self.forward(call.text())
  if status ~= 200 then
    log.debug("a review could not be handed on", { why = tostring(body):sub(1, 300) })
    return give_up(503, "the moonphase that leads does not answer: try again")
  end
  count(self, started, 200)
  return 200, body, "application/json"
end

local function in_turn(self, call)
  local started, peer, client = loop.precise(), call.peer(), call.client()
  self.in_flight = self.in_flight + 1
  self.metrics.in_flight:set(self.in_flight, M.PATH)
  local ok, status, body, kind = pcall(self.is_leader() and later or pass_on, self, call, started, peer, client)
  self.in_flight = self.in_flight - 1
  self.metrics.in_flight:set(self.in_flight, M.PATH)
  if not ok then error(status, 0) end
  return status, body, kind
end

-- Open the door, or change the certificate of the open one. pair: {cert, key}; client_ca: PEM or nil. true | nil, text.
function M:present(pair, client_ca)
  if self.server then return self.server:set_certificate { cert = pair.cert, key = pair.key, client_ca = client_ca } end
  local server, why = http.serve { address = self.address, cert = pair.cert, key = pair.key, client_ca = client_ca,
    body_max = review.BODY_MAX, connections = CONNECTIONS, per_address = PER_ADDRESS, idle_timeout = IDLE_SECONDS,
    request_timeout = REQUEST_SECONDS, uncopied = true, direct = function(call) return at_once(self, call) end,
    handler = function(call) return in_turn(self, call) end }
  if not server then return nil, why end
  self.server = server
  return true
end

function M:close()
  if self.server then self.server:close() end
  self.server = nil
end

return M
