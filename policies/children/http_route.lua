-- The HTTPRoute of a PhDeployment (Gateway API, https://gateway-api.sigs.k8s.io): the same path as an Ingress has, taken up by
-- the Gateways of settings.httpRoute.parentRefs. TLS and class are the Gateway's; a size limit is none of its words.
--
-- The Gateway API has no basic authentication of its own. So a private endpoint needs filters of the implementation
-- (settings.httpRoute.privateFilters); without them it gets no route: a private model is never routed without its lock.

local deployment = require "children.deployment"
local engine = require "children.engine"
local ingress = require "children.ingress"

local M = {}

-- Whether this endpoint can be routed with its lock.
function M.can_lock(s)
  return not s.private or #s.settings.httpRoute.privateFilters > 0
end

local function filters(s)
  local all = json.array { { type = "URLRewrite", urlRewrite = { path = { type = "ReplacePrefixMatch", replacePrefixMatch = "/" } } } }
  for _, filter in ipairs(s.private and s.settings.httpRoute.privateFilters or {}) do all[#all + 1] = filter end
  return all
end

function M.wanted(s)
  local settings = s.settings.httpRoute
  return ingress.marked {
    apiVersion = "gateway.networking.k8s.io/v1", kind = "HTTPRoute",
    metadata = { name = s.child_name, labels = { [deployment.LABEL] = s.name } },
    spec = {
      parentRefs = json.array(settings.parentRefs),
      hostnames = json.array(settings.hostnames),
      rules = json.array { {
        matches = json.array { { path = { type = "PathPrefix", value = "/deployment/" .. s.name } } },
        filters = filters(s),
        backendRefs = json.array { { name = s.child_name, port = engine.REST } },
        timeouts = settings.timeout ~= "" and { request = settings.timeout } or nil,
      } },
    },
  }
end

-- Whether a Gateway took it up: true, false with its words, or nil while none has said anything.
function M.accepted(route)
  local parents, taken = route.status and route.status.parents or {}, nil
  for _, parent in ipairs(parents) do
    for _, condition in ipairs(parent.conditions or {}) do
      if condition.type == "Accepted" and condition.status == "False" then
        return false, text.bounded(("%s: %s"):format(condition.reason or "", condition.message or ""), 300)
      end
      taken = taken or condition.type == "Accepted" and condition.status == "True" or nil
    end
  end
  return taken
end

return M
