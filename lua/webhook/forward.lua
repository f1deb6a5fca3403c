-- Reviews that came to a replica that does not lead: handed to the one that does, byte for byte.
--
-- The leader is known by the certificate that both of us show, whatever address it has; and with --webhook-client-ca it knows us by the
-- same. A second hop is never made (server.lua), so two replicas that are of two minds refuse instead of playing ball.

local M = {}

local SECONDS = 4 -- less than the API server waits for us

-- options: {address = function() -> "10.0.0.7:9443" or nil, pair = function() -> {cert, key, bundle} or nil, name = one of the
-- certificate's}. Returns function(body) -> status, body; (waits); nil, text if nobody answers.
function M.new(options)
  return function(body)
    local address, pair = options.address(), options.pair()
    if not address then return nil, "nobody leads just now" end
    if not pair then return nil, "there is no certificate to show yet" end
    local answer, why = http.request { method = "POST", url = "https://" .. address .. require("webhook.server").PATH, body = body,
      timeout = SECONDS, ca = pair.bundle, server_name = options.name, cert = pair.cert, key = pair.key,
      headers = { "Content-Type: application/json", "X-Moonphase-Forwarded: 1" } }
    if not answer then return nil, why end
    return answer.status, answer.body
  end
end

return M
