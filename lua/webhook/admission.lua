-- The verdict on one review: who may ask, whether we know enough to answer, what quota.lua says, and the reservation.
--
-- Everything between reading the book and writing the reservation happens without waiting: so however many reviews are under way,
-- each sees what those before it were given. Whatever is not known refuses, and says in words what is missing.
--
-- Whoever took over from a moonphase that did not end in order does not know what that one admitted a moment ago: pods of it may
-- still be on their way. For FENCE_SECONDS it refuses (an API server gives a request 60 s).

local review = require "webhook.review"

local M = {}
M.__index = M

M.FENCE_SECONDS = 70
-- Reservations that one address may hold when callers are not known by a certificate; an API server has about as many pods on
-- their way as it serves writes at once (200; 600 with priority and fairness).
M.RESERVATIONS_OF_SOURCE = 1000
M.RESERVATIONS = 20000

-- options: {pods, groups, book, label, rule = function(name, argument) -> answer | nil, text, serves = function(namespace),
-- settings = function(), authenticates = bool, owner = function(review) -> key of the deployment that the pod is of, or nil,
-- about = function(key, label) -> order.lua's, judged = function(key, label, uses, is_refused)}
function M.new(options)
  local self = setmetatable({ fence_until = nil, leading = false, closing = false }, M)
  for _, name in ipairs { "pods", "groups", "book", "rule", "serves", "settings", "authenticates", "owner", "about", "judged", "label" } do
    self[name] = options[name]
  end
  return self
end

-- Answer from now on; hard: somebody else may have admitted pods a moment ago, and left no word.
function M:lead(hard)
  self.leading = true
  self.fence_until = hard and loop.now() + M.FENCE_SECONDS or nil
end

function M:follow()
  self.leading = false
end

-- Seconds until the fence falls; nil if there is none.
function M:fenced()
  local left = self.fence_until and self.fence_until - loop.now()
  return left and left > 0 and left or nil
end

local function refuse(code, format, ...)
  return { code = code, message = format:format(...) }
end

-- Why nothing can be decided now; nil if it can.
function M:not_ready()
  if self.closing then return "moonphase is stopping: try again" end
  if not self.leading then return "this moonphase does not lead: try again" end
  if not self.pods:is_complete() or not self.groups:synced() then
    return "moonphase has just started and does not know all pods yet: try again"
  end
  if self:fenced() then return "moonphase took over a moment ago and does not know yet what was admitted before: try again" end
end

-- Whether a review concerns us at all; the rest is allowed, because another part of the cluster decides about it.
local function concerns(self, r)
  return r.operation == "CREATE" and r.resource == "pods" and (r.subresource or "") == "" and self.serves(r.namespace)
    and r.pod.metadata.labels[self.label] ~= nil
end

local function may_reserve(self, source)
  if self.book.reserved_count >= M.RESERVATIONS then return false end
  return self.authenticates or self.book:held_by(source) < M.RESERVATIONS_OF_SOURCE
end

-- The rule's answer about a pod of `owner` in a group; nil, text. Who comes before it is told only when it would get in else: where a
-- group is full, each of many that wait is refused without a look at all the others.
local function answer_of(self, r, label, owner)
  local asked = { pod = r.pod, group = self.groups:find(label), used = self.book:used(label, r.pod_uid), settings = self.settings() }
  local answer, why = self.rule("admit", asked)
  local about = type(answer) == "table" and not answer.refused and self.about(owner, label)
  if not about then return answer, why end
  for name, value in pairs(about) do asked[name] = value end
  return self.rule("admit", asked)
end

-- The rule's word, and the reservation. nil: allowed.
local function decide(self, r, label, source)
  local owner = self.owner(r)
  local answer, why = answer_of(self, r, label, owner)
  if not answer then return refuse(500, "quota.lua failed, so nothing is admitted: %s", why) end
  if type(answer) ~= "table" or type(answer.uses) ~= "table" then return refuse(500, "quota.lua answered without `uses`, so nothing is admitted") end
  if owner and not r.dry_run then self.judged(owner, label, answer.uses, answer.refused ~= nil) end
  if answer.refused then
    return { code = math.type(answer.code) == "integer" and answer.code or 403, message = tostring(answer.message) }
  end
  if r.dry_run then return nil end
  if not may_reserve(self, source) then return refuse(429, "moonphase has admitted too many pods that were never created: try again") end
  self.book:reserve(r.pod_uid, label, answer.uses, source, owner)
  return nil
end

-- May this be created? r: of review.read; source: an address; client: the name in the caller's certificate, or nil.
-- Returns "allowed", "refused" or "error", and the refusal; or nil when the caller has to wait for is_current(label) first.
function M:judge(r, source, client)
  if self.authenticates and not client then
    return "error", refuse(401, "the caller is not known: --webhook-client-ca wants a certificate that this authority signed")
  end
  if not concerns(self, r) then return "allowed" end
  local why = self:not_ready()
  if why then return "error", refuse(503, "%s", why) end
  local label = tostring(r.pod.metadata.labels[self.label])
  if not self.pods:is_current(label) then return nil, label end
  local broken = self.pods:trouble(label)
  if broken then return "error", refuse(500, "quota.lua cannot count a pod of this group, so nothing is admitted: %s", broken) end
  local refusal = decide(self, r, label, source)
  if not refusal then return "allowed" end
  return refusal.code == 403 and "refused" or "error", refusal
end

M.answer = review.answer

return M
