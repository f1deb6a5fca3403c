-- Quota admission, put together: the watch of pods, the book, the door, the certificate, and what follows from freed quota.
--
--   local webhook = require("webhook.start").start { ... }      webhook:drain(20)      webhook:stop()
--
-- Who leads answers, the others hand reviews on (forward.lua). Whoever begins to lead first looks whether the one before it left word
-- that nothing was on its way any more (registration.lua); if not, it refuses for a while (admission.lua). The same holds for one
-- moonphase alone, which leads from its start: it follows on its own last run.

local admission = require "webhook.admission"
local book = require "webhook.book"
local certificates = require "webhook.certificates"
local groups = require "webhook.groups"
local guard = require "guard"
local order = require "webhook.order"
local pods = require "webhook.pods"
local registration = require "webhook.registration"
local server = require "webhook.server"
local usage = require "webhook.usage"
local waiting = require "webhook.waiting"

local M = {}
M.__index = M

M.SERVICE = "moonphase-webhook"
M.SECRET = "moonphase-webhook"
local RETRY_SECONDS, LONGEST_SECONDS = 5, 30
local EXPIRE_SECONDS = 1

-- ---------------------------------------------------------------- the rule

-- What quota.lua is told of the settings.
local function settings(o)
  return { quota = o.settings().quota }
end

-- Calls of quota.lua of the live policies; what fails there is a text, and becomes a refusal.
local function rule_of(o)
  return function(name, ...)
    local policy = o.policy()
    if policy.refused then return nil, "the policy keeps something between calls: " .. guard.sentence(policy.refused) end
    local answer, failure = policy.generation:call("quota", name, ...)
    if answer ~= nil then return answer end
    failure = failure or { outcome = "value", text = "quota." .. name .. " answered nothing" }
    if o.on_failure then o.on_failure(failure, name, ...) end
    return nil, guard.sentence(failure)
  end
end

-- What quota.lua declares: {label, keep}; nil and a sentence.
local function declaration(generation)
  local said, failure = generation:describe("quota")
  if said == nil then
    return nil, "the policies have no quota.lua that loads: " .. (failure and guard.sentence(failure) or "it is not there")
  end
  for field, kind in pairs { label = "string", keep = "table" } do
    if type(said) ~= "table" or type(said[field]) ~= kind then return nil, "quota.lua must return a table with `" .. field .. "`" end
  end
  for _, field in ipairs { "uses", "admit", "fits" } do
    if said[field] ~= "function" then return nil, "quota.lua must return a table with a function `" .. field .. "`" end
  end
  return said
end

-- ---------------------------------------------------------------- certificate and registration

-- The host of an https URL with a port or without.
local function host_of(url)
  return url:match("^https://%[([^%]]+)%]") or url:match("^https://([^:/]+)")
end

-- Names that the certificate must have, and how an API server gets here: {names, client}.
local function place(o)
  if o.url then return { host_of(o.url) }, { url = o.url } end
  local namespace, name, port = o.service:match("^([^/]+)/([^/:]+):?(%d*)$")
  local base = name .. "." .. namespace
  return { base .. ".svc", base .. ".svc.cluster.local", base, name },
    { service = { namespace = namespace, name = name, path = server.PATH, port = tonumber(port) or 443 } }
end

local function tell(self, what, why)
  if self.told[what] == why then return end
  self.told[what] = why
  -- that there is none yet is no trouble for who does not lead, or has just begun
  if why and why:find("^there is no certificate for the webhook yet") then log.info(why, {})
  elseif why then log.error("the webhook has trouble", { why = why }) end
end

-- The authorities for callers: the administrator's, and our own for replicas that hand reviews on.
local function client_authorities(self, pair)
  if not self.client_ca_path then return nil end
  local text, why = fs.read(self.client_ca_path)
  if text then self.client_ca = text else tell(self, "client_ca", "--webhook-client-ca: " .. why) end
  return self.client_ca .. "\n" .. (pair.bundle or "")
end

local function show(self, pair)
  local authorities = client_authorities(self, pair)
  local mark = table.concat({ pair.cert, pair.key, authorities or "" }, "\n")
  if self.shown == mark then return true end
  local ok, why = self.server:present(pair, authorities)
  if not ok then return nil, why end
  log.info(self.shown and "the webhook shows another certificate" or "quota admission is served",
    { address = self.server.server.address, fingerprint = certificate.read(pair.cert).fingerprint:sub(1, 16) })
  self.shown, self.pair = mark, pair
  return true
end

-- (waits) One round: certificate, door, configuration. Seconds until the next.
local function keep_once(self)
  local pair, wait = self.certificates:step(self.is_leader(), function(bundle)
    return self.registration and self.registration:registered_for(bundle) or 0
  end)
  if not pair then
    tell(self, "certificate", wait)
    return RETRY_SECONDS
  end
  local ok, why = show(self, pair)
  -- not before it was read who was asked last (take_over)
  if ok and self.registration and pair.bundle and self.admission.leading and self.is_leader() then
    ok, why = self.registration:ensure(pair.bundle)
  end
  tell(self, "certificate", not ok and why or nil)
  return ok and math.min(wait, LONGEST_SECONDS) or RETRY_SECONDS
end

local function keep(self)
  while not self.stopped do
    self.rung = false
    local wait = keep_once(self)
    if not self.rung and not self.stopped then self.wake:wait(math.max(wait, 0.2)) end
  end
end

local function ring(self)
  self.rung = true
  self.wake:notify()
end

-- ---------------------------------------------------------------- leading

-- (waits) When it can answer, those that were refused meanwhile go on.
local function wake_all(self)
  while not self.stopped and self.admission.leading do
    if not self.admission:not_ready() then return self.waiting:freed(nil) end
    loop.sleep(0.05)
  end
end

-- (waits) This process leads from now on.
local function take_over(self)
  while not self.stopped and self.is_leader() do
    local hard, marks = true, nil
    if self.registration then hard, marks = self.registration:take_over() end
    if hard ~= nil then
      if marks then self.pods:catch_up(marks) end
      if hard then
        log.warn("whoever answered reviews before left no word: nothing is admitted until its pods are certain to be seen",
          { seconds = admission.FENCE_SECONDS })
      end
      self.admission:lead(hard)
      ring(self)
      return wake_all(self)
    end
    tell(self, "take_over", marks) -- why not
    loop.sleep(RETRY_SECONDS)
  end
end

function M:follow()
  self.admission:follow()
end

-- ---------------------------------------------------------------- the whole

local function follow_up(self, o)
  self.usage = usage.new { cluster = o.cluster, groups = self.groups, book = self.book, deployments = o.count_deployments,
    may_write = function() return self.admission.leading and self.pods:is_complete() end }
  self.waiting = waiting.new { cluster = o.cluster, created = o.created, deployments = o.deployments,
    may_write = function() return not self.admission:not_ready() end,
    lacks = function(key) return self.order:lacks(key) end,
    needs = function(key)
      local pod = o.template(key)
      local label = pod and pod.metadata.labels[self.label]
      return label, label and self.rule("uses", pod, settings(o))
    end,
    fits = function(label, uses, key)
      if not self.pods:is_current(label) then return false end
      local asked = { uses = uses, group = self.groups:find(label), used = self.book:used(label), settings = settings(o) }
      if self.rule("fits", asked) ~= true then return false end
      for name, value in pairs(self.order:about(key, label) or {}) do asked[name] = value end
      return asked.ahead == nil or self.rule("fits", asked) == true
    end }
end

local function start_watching(self, o, said)
  self.book = book.new { now = loop.now, wanted = o.wanted, on_freed = function(label)
    self.waiting:freed(label)
    self.usage:touch_label(label)
  end }
  self.groups = (o.groups or groups.start) { cluster = o.cluster, namespace = o.catalog_namespace, on_trouble = o.on_trouble,
    on_quota = function(label) if self.waiting then self.waiting:freed(label) end end,
    on_group = function(group) if self.usage then self.usage:touch(group.key) end end }
  self.order = order.new { book = self.book, waiting = function() return self.waiting end, wanted = o.wanted }
  self.pods = pods.start { cluster = o.cluster, namespaces = o.namespaces, label = said.label, parent_label = o.parent_label,
    keep = said.keep, book = self.book, on_trouble = o.on_trouble, count = function(raw) return self.rule("uses", raw, settings(o)) end,
    on_counted = function(label) if self.usage then self.usage:touch_label(label) end end }
end

local function serves(namespaces)
  if not namespaces then return function() return true end end
  local set = {}
  for _, name in ipairs(namespaces) do set[name] = true end
  return function(namespace) return set[namespace] == true end
end

-- Every pod counts anew when the rule or its settings are other ones.
local function follow_rule(self, o)
  local now = o.policy().generation.digest .. json.encode(settings(o))
  if self.counted_by and self.counted_by ~= now then self.pods:recount() end
  self.counted_by = now
end

-- (waits) What is due by time: reservations that nobody kept, and another rule.
local function watch_over(self, o)
  local held = metrics.gauge("moonphase_quota_reservations", "Pods that were admitted and are not seen yet", {})
  while not self.stopped do
    self.book:expire(self.pods:heard_at())
    held:set(self.book.reserved_count)
    follow_rule(self, o)
    loop.sleep(EXPIRE_SECONDS)
  end
end

-- What is looked at of a pod under review: what the rule asks for, and whose it is.
local function with_label(wanted, label)
  local paths = { table.unpack(wanted) }
  paths[#paths + 1] = "metadata.labels[" .. label .. "]"
  return paths
end

local function open_certificates(self, o, names)
  local on_change = function() ring(self) end
  if o.cert then
    local files, why = certificates.in_files { cert = o.cert, key = o.key, ca = o.ca }
    if not files then return nil, why end
    return files
  end
  return certificates.in_secret { cluster = o.cluster, namespace = o.operator_namespace, secret = M.SECRET, names = names, life = o.life,
    settle = o.settle, on_change = on_change }
end

-- options: {cluster, policy = function() -> the live guard, settings = function(), namespaces (nil: all), catalog_namespace,
-- operator_namespace, address, url or service, cert, key, ca (paths: certificates of the administrator's), client_ca (path),
-- parent_label, created, deployments, template = function(key) -> the Deployment's pod template, wanted (order.lua),
-- count_deployments (usage.lua), leader (leader.lua), forward = function(pair, name) -> forward.lua's, on_trouble, life, settle,
-- on_failure = function(PolicyError, name, ...) for the function `name` of quota.lua that failed on these arguments (nil: nobody is told),
-- groups = a function like groups.start for groups that are no PhGroup objects}. nil and a sentence if it cannot be.
function M.start(o)
  local said, why = declaration(o.policy().generation)
  if not said then return nil, why end
  local self = setmetatable({ told = {}, wake = loop.event(), stopped = false, is_leader = function() return o.leader:is_leader() end,
    rule = rule_of(o), client_ca_path = o.client_ca, label = said.label }, M)
  if o.client_ca then
    self.client_ca, why = fs.read(o.client_ca)
    if not self.client_ca then return nil, "--webhook-client-ca: " .. why end
  end
  local names, client = place(o)
  self.certificates, why = open_certificates(self, o, names)
  if not self.certificates then return nil, why end
  if not o.cert or o.ca then
    self.registration = registration.new { cluster = o.cluster, name = registration.name_in(o.operator_namespace), label = said.label,
      client = client, on_change = function() ring(self) end }
  end
  start_watching(self, o, said)
  self.admission = admission.new { pods = self.pods, groups = self.groups, book = self.book, rule = self.rule,
    serves = serves(o.namespaces), settings = function() return settings(o) end, authenticates = o.client_ca ~= nil, label = said.label,
    owner = function(r)
      local name = r.pod.metadata.labels[o.parent_label]
      local key = type(name) == "string" and r.namespace .. "/" .. name
      return key and o.created(key) and key or nil
    end,
    about = function(key, label) return self.order:about(key, label) end,
    judged = function(key, label, uses, is_refused) self.waiting:judged(key, label, uses, is_refused) end }
  follow_up(self, o)
  self.server = server.new { address = o.address, admission = self.admission, is_leader = self.is_leader,
    keep = with_label(said.keep, o.parent_label), forward = o.forward and o.forward(function() return self.pair end, names[1]) }
  self.tasks = { loop.spawn(keep, self), loop.spawn(watch_over, self, o) }
  o.leader:listen(function(leads)
    if leads then loop.spawn(take_over, self) else self:follow() end
  end)
  if self.is_leader() then loop.spawn(take_over, self) end
  return self
end

-- What the policy decided about an object: whether it waits for quota.
function M:decided(key, decision)
  self.waiting:decided(key, decision ~= nil and decision.wake == true)
end

-- Whether it can be asked, and why not.
function M:ready()
  if not self.shown then return false, self.told.certificate or "the webhook has no certificate yet" end
  return true
end

-- (waits) The clean end of who answers reviews: admit nothing more, let what was admitted be seen, and leave word, so that whoever comes
-- next may answer at once. The lease must still be held. Reviews are refused from here on.
function M:drain(seconds)
  local deadline = loop.now() + seconds
  local answered = self.admission.leading and not self.admission:not_ready()
  self.admission.closing = true
  self.usage:stop()
  self.waiting:stop()
  while self.book.reserved_count > 0 and loop.now() < deadline do loop.sleep(0.05) end
  if not answered or self.book.reserved_count > 0 or not self.is_leader() then return false end
  return self.registration ~= nil and self.registration:note_drained(self.pods:marks()) == true
end

function M:stop()
  self.stopped = true
  self.server:close()
  for _, task in ipairs(self.tasks) do task:cancel() end
  for _, part in ipairs { self.pods, self.groups, self.certificates } do part:stop() end
  if self.registration then self.registration:stop() end
end

return M
