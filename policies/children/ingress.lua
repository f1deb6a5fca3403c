-- The Ingress of a PhDeployment: /deployment/NAME/... goes to its engine. And the address that people use.
--
-- Only for public endpoints. Private ones (a Secret of client tokens, and authentication) are refused
-- by failures.lua until they can be served: a private model is never routed without its lock.

local engine = require "children.engine"
local deployment = require "children.deployment"

local M = {}

-- Made anew each time: annotations of one Ingress never reach another.
local function annotations(settings)
  local all = {
    ["nginx.ingress.kubernetes.io/rewrite-target"] = "/$1",
    ["nginx.ingress.kubernetes.io/proxy-body-size"] = settings.ingress.bodySize,
  }
  for name, value in pairs(settings.ingress.annotations or {}) do all[name] = tostring(value) end
  return all
end

local function given(value)
  return value ~= nil and value ~= "" and value or nil
end

function M.wanted(s)
  local ingress = s.settings.ingress
  return {
    apiVersion = "networking.k8s.io/v1", kind = "Ingress",
    metadata = { name = s.child_name, labels = { [deployment.LABEL] = s.name }, annotations = annotations(s.settings) },
    spec = {
      ingressClassName = given(ingress.className),
      tls = #(ingress.tls or {}) > 0 and json.array(ingress.tls) or nil,
      rules = json.array { {
        host = given(ingress.host),
        http = { paths = json.array { {
          path = "/deployment/" .. s.name .. "/(.+)", pathType = "ImplementationSpecific",
          backend = { service = { name = s.child_name, port = { number = engine.REST } } },
        } } },
      } },
    },
  }
end

-- status.endpoint
function M.endpoint(s)
  local path = "/api/v1.0/predictions"
  if s.settings.route == "Ingress" then
    return (s.settings.primehubUrl:gsub("/+$", "")) .. "/deployment/" .. s.name .. path
  end
  return ("http://%s.%s:%d%s"):format(s.child_name, s.namespace, engine.REST, path)
end

return M
