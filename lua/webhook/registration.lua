-- The ValidatingWebhookConfiguration: made, and kept as it must be.
--
-- It says which pods we are asked about, where we are, and who stands for our certificate. Somebody who loosens it (failurePolicy
-- Ignore, a selector) switches quotas off without a word, and an old caBundle stops every pod of every group: so it is
-- compared whole and put back as soon as its watch shows a change. What the server adds of its own is learnt from
-- its answer to our write, and is no difference.
--
-- It also bears one note of ours: a moonphase that stops when nothing is reserved any more says so (DRAINED). The next one takes the
-- note away before it answers, and where there is none it has to suppose that pods are still on their way.

local informers = require "informers"

local M = {}
M.__index = M

local KIND = { api_version = "admissionregistration.k8s.io/v1", kind = "ValidatingWebhookConfiguration",
  resource = "validatingwebhookconfigurations" }
local DRAINED = "moonphase.primehub.io/quota-drained"
local TIMEOUT_SECONDS = 5
local FIGHT_WRITES, FIGHT_SECONDS = 10, 60
M.WEBHOOK = "quota.moonphase.primehub.io"

-- options: {cluster, name, label, client = {url = } or {service = }, on_change = function()}
function M.new(options)
  local self = setmetatable({ cluster = options.cluster, name = options.name, label = options.label, client = options.client, written = {},
    repaired = metrics.counter("moonphase_webhook_repairs_total", "How often the webhook's configuration was written", {}) }, M)
  self.repaired:add(0)
  self.watch = options.cluster:watch { path = informers.path(KIND), api_version = KIND.api_version, kind = KIND.kind, keep = "metadata",
    field_selector = "metadata.name=" .. options.name, name = "webhook-configuration", on_change = function() options.on_change() end }
  return self
end

-- The configuration's name for a moonphase in this namespace.
function M.name_in(namespace)
  return "moonphase-" .. namespace
end

local function path_of(self)
  return informers.path(KIND, nil, self.name)
end

local function refusal(what, answer, failure)
  return nil, ("the webhook's configuration cannot be %s: %s"):format(what, failure or ("%d %s"):format(answer.status, answer.message))
end

-- The one webhook, as it must be.
function M:wanted(bundle)
  local client = { caBundle = base64.encode(bundle) }
  for name, value in pairs(self.client) do client[name] = value end
  return {
    name = M.WEBHOOK, clientConfig = client, admissionReviewVersions = json.array { "v1", "v1beta1" },
    rules = json.array { { operations = json.array { "CREATE" }, apiGroups = json.array { "" }, apiVersions = json.array { "v1" },
      resources = json.array { "pods" }, scope = "Namespaced" } },
    failurePolicy = "Fail", matchPolicy = "Equivalent", sideEffects = "NoneOnDryRun", timeoutSeconds = TIMEOUT_SECONDS,
    namespaceSelector = {}, objectSelector = { matchExpressions = json.array { { key = self.label, operator = "Exists" } } },
  }
end

-- (waits) The live object; false if there is none; nil, text.
local function read(self)
  local answer, failure = self.cluster:request { path = path_of(self) }
  if answer and answer.status == 404 then return false end
  if not answer or answer.status ~= 200 then return refusal("read", answer or {}, failure) end
  local object = json.decode(answer.body)
  if type(object) ~= "table" or type(object.metadata) ~= "table" then return refusal("read", {}, "the answer is no object") end
  return object
end

local function send(self, live, webhooks)
  local metadata = { name = self.name, labels = { ["app.kubernetes.io/managed-by"] = "moonphase" } }
  if live then
    local before = live.metadata
    metadata = { name = self.name, resourceVersion = before.resourceVersion, uid = before.uid, annotations = before.annotations,
      labels = before.labels or metadata.labels, ownerReferences = before.ownerReferences, finalizers = before.finalizers }
  end
  return self.cluster:request { method = live and "PUT" or "POST", path = live and path_of(self) or informers.path(KIND),
    query = { fieldManager = "moonphase" },
    body = { apiVersion = KIND.api_version, kind = KIND.kind, metadata = metadata, webhooks = webhooks } }
end

-- Whether one more write is due: whoever writes the same object against us would make both of us write all the time.
local function may_write(self)
  local now = loop.now()
  while self.written[1] and now - self.written[1] > FIGHT_SECONDS do table.remove(self.written, 1) end
  return #self.written < FIGHT_WRITES
end

-- (waits) Make it so. true | nil, text.
function M:ensure(bundle)
  for _ = 1, 5 do
    local live, why = read(self)
    if live == nil then return nil, why end
    local webhooks = json.array { self:wanted(bundle) }
    local learnt = self.learnt and self.learnt.bundle == bundle and self.learnt.webhooks
    if live and (json.equal(live.webhooks or {}, webhooks) or learnt and json.equal(live.webhooks or {}, learnt)) then
      if self.right_bundle ~= bundle then self.right_bundle, self.right_since = bundle, loop.now() end
      return true
    end
    if not may_write(self) then
      return nil, "the webhook's configuration is changed by somebody else again and again: is there a second moonphase?"
    end
    self.written[#self.written + 1] = loop.now()
    local answer, failure = send(self, live, webhooks)
    if not answer or (answer.status >= 300 and answer.status ~= 409) then return refusal("written", answer or {}, failure) end
    if answer.status < 300 then
      self.repaired:add(1)
      log.info(live and "the webhook's configuration was put right" or "the webhook's configuration was made", { name = self.name })
      self.right_bundle, self.right_since = bundle, loop.now()
      local object = json.decode(answer.body)
      self.learnt = { bundle = bundle, webhooks = type(object) == "table" and object.webhooks or nil }
      return true
    end
  end
  return nil, "the webhook's configuration is changed by somebody else all the time"
end

-- Seconds for which this bundle has been registered, as far as we know.
function M:registered_for(bundle)
  return bundle and self.right_bundle == bundle and loop.now() - self.right_since or 0
end

local function annotate(self, value)
  return self.cluster:request { method = "PATCH", path = path_of(self), query = { fieldManager = "moonphase" },
    content_type = "application/merge-patch+json", body = { metadata = { annotations = { [DRAINED] = value } } } }
end

-- (waits) Whether somebody who left no word may have admitted pods a moment ago; the note of one who did is taken away, and what it says is
-- answered too: pods.lua's marks. nil, text.
function M:take_over()
  local live, why = read(self)
  if live == nil then return nil, why end
  if not live then return false end -- nobody was ever asked
  local noted = live.metadata.annotations and live.metadata.annotations[DRAINED]
  if not noted then return true end
  local answer, failure = annotate(self, json.null)
  if not answer or answer.status ~= 200 then return refusal("written", answer or {}, failure) end
  local marks = json.decode(noted)
  return false, type(marks) == "table" and marks or nil
end

-- (waits) Leave word that nothing is reserved any more, and how far the pods were seen.
function M:note_drained(marks)
  local answer, failure = annotate(self, json.encode(marks))
  if not answer or answer.status ~= 200 then return refusal("written", answer or {}, failure) end
  return true
end

-- (waits) Of one that serves no more: what it registered is deleted, so that no API server asks where nobody answers. Whether there was
-- anything; nil, text.
function M.withdraw(cluster, name)
  local self = { cluster = cluster, name = name }
  local live, why = read(self)
  if not live then return live, why end
  local answer, failure = cluster:request { method = "DELETE", path = path_of(self), body = { apiVersion = "v1", kind = "DeleteOptions",
    preconditions = { uid = live.metadata.uid } } }
  if answer and (answer.status == 200 or answer.status == 404) then return true end
  return refusal("deleted", answer or {}, failure)
end

function M:stop()
  self.watch:stop()
end

return M
