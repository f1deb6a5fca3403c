-- The webhook's certificate: made by us and kept in a Secret, or given as files; changed while reviews go on.
--
-- A rotation must never leave an API server with an authority that does not stand for what we show. So it takes two steps. First the
-- next pair lies in the Secret beside the present one, and `ca.crt` (which becomes the caBundle of the webhook) names the
-- authorities of both. Only when that bundle has been registered for SETTLE_SECONDS, so that every API server has it,
-- the next pair becomes the present one. The Secret is the whole state: any replica can go on from any step, and all of them show
-- what is in it. Each authority signs one certificate and has no key any more (core/http/certificate.h).
--
--   tls.crt, tls.key    what is shown        ca.crt   who stands for it: the authority of the newest pair first
--   next.crt, next.key  what will be shown
--
-- The Secret is read by name and never cached; its watch keeps metadata only.

local informers = require "informers"

local M = {}
M.__index = M

M.LIFE_SECONDS = 365 * 86400
M.SETTLE_SECONDS = 60
local SKEW_SECONDS = 300 -- clocks of others may be so far behind ours
local SECRET = { api_version = "v1", kind = "Secret", resource = "secrets", keep = "metadata" }
local FIELDS = { "tls.crt", "tls.key", "ca.crt", "next.crt", "next.key" }
local PEM_MAX = 65536

-- ---------------------------------------------------------------- what is to be done, as a function of what there is

-- A new pair for these names.
local function make(names, now, life)
  return assert(certificate.make { subject = "moonphase webhook", names = names, not_before = now - SKEW_SECONDS, not_after = now + life })
end

-- The certificates of a PEM text, as texts.
local ONE = ("%s.-%s\n?"):format(("-----BEGIN CERTIFICATE-----"):gsub("%-", "%%-"), ("-----END CERTIFICATE-----"):gsub("%-", "%%-"))
local function each(pem)
  local list = {}
  for one in (pem or ""):gmatch(ONE) do list[#list + 1] = one end
  return list
end

-- Why this pair cannot be shown under these names; nil if it can.
local function trouble(cert, key, authorities, names, now)
  if not cert or not key or not authorities then return "it is not complete" end
  for _, name in ipairs(names) do
    local ok, why = certificate.check { cert = cert, key = key, authorities = authorities, name = name, now = now }
    if not ok then return why end
  end
end
M.trouble = trouble

-- When two thirds of a certificate's life are over.
local function due_at(cert)
  local read = assert(certificate.read(cert))
  return read.not_before + (read.not_after - read.not_before) * 2 // 3
end

-- data: the Secret's fields (decoded; nil: there is none). registered_for: seconds for which its ca.crt has been the webhook's caBundle.
-- Returns the new data and why ("made", "next", "promoted"), or nil and the seconds until the next look.
function M.plan(data, now, names, life, settle, registered_for)
  data = data or {}
  local wrong = trouble(data["tls.crt"], data["tls.key"], data["ca.crt"], names, now)
  if wrong then
    local new = make(names, now, life)
    -- what another replica still shows stays trusted
    return { ["tls.crt"] = new.cert, ["tls.key"] = new.key, ["ca.crt"] = new.authority .. (each(data["ca.crt"])[1] or "") }, "made"
  end
  if data["next.crt"] then
    if trouble(data["next.crt"], data["next.key"], data["ca.crt"], names, now) then
      return { ["tls.crt"] = data["tls.crt"], ["tls.key"] = data["tls.key"], ["ca.crt"] = data["ca.crt"] }, "dropped"
    end
    if registered_for < settle then return nil, settle - registered_for end
    return { ["tls.crt"] = data["next.crt"], ["tls.key"] = data["next.key"], ["ca.crt"] = data["ca.crt"] }, "promoted"
  end
  local due = due_at(data["tls.crt"])
  if now < due then return nil, due - now end
  local new = make(names, now, life)
  local current = {}
  for _, authority in ipairs(each(data["ca.crt"])) do -- only the one that stands for what is shown now
    local stands = certificate.check { cert = data["tls.crt"], key = data["tls.key"], authorities = authority, now = now }
    if stands then current[1] = authority end
  end
  return { ["tls.crt"] = data["tls.crt"], ["tls.key"] = data["tls.key"], ["next.crt"] = new.cert, ["next.key"] = new.key,
    ["ca.crt"] = new.authority .. (current[1] or "") }, "next"
end

-- ---------------------------------------------------------------- in a Secret

local function expiry()
  return metrics.gauge("moonphase_webhook_certificate_expiry_seconds", "When the webhook's certificate ends, in seconds since 1970", {})
end

-- `read` (nil: it failed), with every call counted under the names that controller-runtime's certwatcher has.
local function counted(read)
  return function(self)
    local reads = metrics.counter("certwatcher_read_certificate_total", "How often the webhook's certificate was read", {})
    local errors = metrics.counter("certwatcher_read_certificate_errors_total", "How often it could not be read", {})
    local pair, why = read(self)
    reads:add(1)
    errors:add(pair and 0 or 1)
    return pair, why
  end
end

-- options: {cluster, namespace, secret, names, life, settle, on_change = function()}
function M.in_secret(options)
  local self = setmetatable({ cluster = options.cluster, namespace = options.namespace, name = options.secret, names = options.names,
    life = options.life or M.LIFE_SECONDS, settle = options.settle or M.SETTLE_SECONDS,
    expiry = expiry() }, M)
  self.watch = options.cluster:watch { path = informers.path(SECRET, options.namespace), api_version = "v1", kind = "Secret",
    field_selector = "metadata.name=" .. options.secret, keep = "metadata", name = "webhook-secret",
    on_change = function() options.on_change() end }
  return self
end

local function path_of(self)
  return informers.path(SECRET, self.namespace, self.name)
end

local function refusal(what, answer, failure)
  local why = failure or ("%d %s"):format(answer.status, answer.message)
  return nil, ("the Secret of the webhook's certificate cannot be %s: %s"):format(what, why)
end

-- (waits) {data, version}; {} if there is no Secret; nil, text.
local read = counted(function(self)
  local answer, failure = self.cluster:request { path = path_of(self) }
  if answer and answer.status == 404 then return {} end
  if not answer or answer.status ~= 200 then return refusal("read", answer or {}, failure) end
  local object = json.decode(answer.body)
  local data = type(object) == "table" and type(object.data) == "table" and object.data or {}
  local decoded = {}
  for _, field in ipairs(FIELDS) do
    local text = type(data[field]) == "string" and base64.decode(data[field]) or nil
    if text and text ~= "" and #text <= PEM_MAX then decoded[field] = text end
  end
  return { data = decoded, version = object.metadata.resourceVersion }
end)

-- (waits) "written", "raced" (somebody was first), or nil, text.
local function write(self, there, data)
  local encoded = {}
  for _, field in ipairs(FIELDS) do
    encoded[field] = data[field] and base64.encode(data[field]) or there.version and json.null or nil
  end
  local labels = { ["app.kubernetes.io/managed-by"] = "moonphase" }
  local request
  if there.version then
    request = { method = "PATCH", path = path_of(self), content_type = "application/merge-patch+json",
      body = { metadata = { resourceVersion = there.version, labels = labels }, data = encoded } }
  else
    request = { method = "POST", path = informers.path(SECRET, self.namespace), body = { apiVersion = "v1", kind = "Secret",
      type = "kubernetes.io/tls", metadata = { name = self.name, labels = labels }, data = encoded } }
  end
  request.query = { fieldManager = "moonphase" }
  local answer, failure = self.cluster:request(request)
  if answer and answer.status == 409 then return "raced" end
  if not answer or answer.status >= 300 then return refusal("written", answer or {}, failure) end
  return "written"
end

local SAID = { made = "the webhook's certificate was made",
  next = "the webhook's next certificate was made; it is shown when every API server trusts it",
  promoted = "the webhook shows its next certificate", dropped = "the webhook's next certificate was no good, and is gone" }

-- (waits) One look. may_write: whether this replica leads. registered_for(bundle): for how many seconds it has been the webhook's
-- caBundle. Returns {cert, key, bundle} to show and seconds until the next look; or nil and a text.
function M:step(may_write, registered_for)
  for _ = 1, 5 do
    local there, why = read(self)
    if not there then return nil, why end
    local now = loop.wall_ms() // 1000
    local registered = there.data and registered_for(there.data["ca.crt"]) or 0
    local new, reason = M.plan(there.data, now, self.names, self.life, self.settle, registered)
    if not new or not may_write then
      local data = there.data or {}
      local wrong = trouble(data["tls.crt"], data["tls.key"], data["ca.crt"], self.names, now)
      if wrong then return nil, "there is no certificate for the webhook yet: " .. wrong end
      self.expiry:set(certificate.read(data["tls.crt"]).not_after)
      return { cert = data["tls.crt"], key = data["tls.key"], bundle = data["ca.crt"] }, new and 5 or reason
    end
    local result, failure = write(self, there, new)
    if not result then return nil, failure end
    if result == "written" then log.info(SAID[reason], { kept_in = self.namespace .. "/" .. self.name }) end
  end
  return nil, "the Secret of the webhook's certificate is changed by somebody else all the time"
end

function M:stop()
  if self.watch then self.watch:stop() end
end

-- ---------------------------------------------------------------- in files

local Files = {}
Files.__index = Files

-- options: {cert, key, ca = path or nil}. nil and a sentence if what is there cannot be shown.
function M.in_files(options)
  local self = setmetatable({ cert = options.cert, key = options.key, ca = options.ca,
    expiry = expiry() }, Files)
  local pair, why = self:read()
  if not pair then return nil, why end
  return self
end

-- The pair that the files hold now; nil and a sentence.
Files.read = counted(function(self)
  local texts = {}
  for field, path in pairs { cert = self.cert, key = self.key, bundle = self.ca } do
    local text, why = fs.read(path)
    if not text then return nil, ("%s cannot be read: %s"):format(path, why) end
    texts[field] = text
  end
  local ok, why = certificate.check { cert = texts.cert, key = texts.key, authorities = texts.bundle }
  if not ok then return nil, ("%s and %s: %s"):format(self.cert, self.key, why) end
  return texts
end)

-- A pair that cannot be shown is told, and the old one stays: step answers nil and the text.
function Files:step()
  local pair, why = self:read()
  if not pair then return nil, why end
  self.expiry:set(certificate.read(pair.cert).not_after)
  return pair, 10
end

function Files.stop() end

return M
