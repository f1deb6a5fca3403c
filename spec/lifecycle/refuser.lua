-- An admission webhook for specs: it refuses pods of one world, with words that the spec chooses, until told to let them in.
--
--   refuser.with(world, function(webhook) webhook.words = "images must be signed" ... webhook.words = nil ... end)
--
-- TLS with a certificate made for the occasion: an API server calls nothing else.

local M = {}

local CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"

local function certificate(folder)
  local made = assert(process.run { timeout = 30, argv = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
    "-nodes", "-days", "2", "-config", "/dev/null", "-subj", "/CN=refuser", "-addext", "subjectAltName=IP:127.0.0.1",
    "-keyout", folder .. "/refuser.key", "-out", folder .. "/refuser.crt" } })
  assert(made.status == 0, "openssl made no certificate: " .. made.errors)
  return assert(fs.read(folder .. "/refuser.crt")), assert(fs.read(folder .. "/refuser.key"))
end

local function answer(webhook, call)
  local review = assert(json.decode(call.body))
  webhook.calls = webhook.calls + 1
  local response = { uid = review.request.uid, allowed = webhook.words == nil }
  if webhook.words then response.status = { code = 403, message = webhook.words } end
  return 200, { apiVersion = "admission.k8s.io/v1", kind = "AdmissionReview", response = response }, "application/json"
end

local function base64_of(path)
  return assert(process.run { argv = { "base64", "-w", "0", path } }).output
end

local function register(world, webhook, url)
  world.api:patch("Namespace", nil, world.namespace, "merge", { metadata = { labels = { refuser = world.namespace } } })
  world.api:ask { method = "POST", path = CONFIGURATIONS, body = {
    apiVersion = "admissionregistration.k8s.io/v1", kind = "ValidatingWebhookConfiguration", metadata = { name = world.namespace },
    webhooks = json.array { { name = webhook.name, sideEffects = "None", failurePolicy = "Fail", timeoutSeconds = 5,
      admissionReviewVersions = json.array { "v1" }, namespaceSelector = { matchLabels = { refuser = world.namespace } },
      rules = json.array { { apiGroups = json.array { "" }, apiVersions = json.array { "v1" }, resources = json.array { "pods" },
        operations = json.array { "CREATE" } } },
      clientConfig = { url = url, caBundle = base64_of(world.folder .. "/refuser.crt") } } } } }
end

-- (waits) body({name=, words= text or nil, calls=, close=function}): called with the webhook in place; it is gone afterwards.
function M.with(world, name, body)
  local cert, key = certificate(world.folder)
  local webhook = { name = name, calls = 0, words = "not yet" }
  local server = assert(http.serve { address = "127.0.0.1:0", cert = cert, key = key,
    handler = function(call) return answer(webhook, call) end })
  local open = true
  function webhook.close()
    if open then server:close() end
    open = false
  end
  register(world, webhook, "https://" .. server.address .. "/review")
  local ok, failure = xpcall(body, require("where"), webhook)
  world.api:ask({ method = "DELETE", path = CONFIGURATIONS .. "/" .. world.namespace }, { [404] = true })
  webhook.close()
  if not ok then error(failure, 0) end
end

return M
