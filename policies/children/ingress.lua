-- The Ingress of a PhDeployment: /deployment/NAME/... goes to what answers in its pods.
--
-- A private endpoint is locked by annotations of the Ingress controller, which name the Secret of clients; no configuration
-- snippet is needed (ingress-nginx refuses them by default). The lock stands over everything else that is said: an
-- administrator's annotation cannot open it. What a model is told of the client is its Authorization header; an administrator
-- who wants X-Forwarded-User sets it for all in ingress-nginx (proxy-set-headers).

local deployment = require "children.deployment"
local engine = require "children.engine"

local M = {}

local NGINX = "nginx.ingress.kubernetes.io/"

-- On the route: a digest of what was written. What is no longer said is seen by it and taken away.
M.MARK = "primehub.io/route"
local DIGITS = 16

local function given(value)
  return value ~= nil and value ~= "" and value or nil
end

local function lock(s)
  local own = s.settings.ingress.privateAnnotations
  if next(own) == nil then
    own = { [NGINX .. "auth-type"] = "basic", [NGINX .. "auth-secret"] = "{secret}",
      [NGINX .. "auth-secret-type"] = "auth-file", [NGINX .. "auth-realm"] = "Authentication Required" }
  end
  local all = {}
  for name, value in pairs(own) do
    all[name] = tostring(value):gsub("{(%l+)}", { secret = s.child_name, namespace = s.namespace })
  end
  return all
end

-- Made anew each time: annotations of one Ingress never reach another.
local function annotations(s)
  local settings = s.settings.ingress
  local all = {
    [NGINX .. "rewrite-target"] = "/$1",
    [NGINX .. "proxy-body-size"] = given(settings.bodySize),
  }
  if settings.timeoutSeconds > 0 then
    local seconds = ("%.0f"):format(settings.timeoutSeconds)
    all[NGINX .. "proxy-read-timeout"], all[NGINX .. "proxy-send-timeout"] = seconds, seconds
  end
  for name, value in pairs(settings.annotations) do all[name] = tostring(value) end
  for name, value in pairs(s.private and lock(s) or {}) do all[name] = value end
  return all
end

-- With a mark of all that it says.
function M.marked(manifest)
  local meta = manifest.metadata
  meta.annotations = meta.annotations or {}
  meta.annotations[M.MARK] = digest.sha256(json.encode { meta.annotations, manifest.spec }):sub(1, DIGITS)
  return manifest
end

function M.wanted(s)
  local ingress = s.settings.ingress
  return M.marked {
    apiVersion = "networking.k8s.io/v1", kind = "Ingress",
    metadata = { name = s.child_name, labels = { [deployment.LABEL] = s.name }, annotations = annotations(s) },
    spec = {
      ingressClassName = given(ingress.className),
      tls = json.array(ingress.tls),
      rules = json.array { {
        host = ingress.host, -- also when it is empty: another host would lead the endpoint away
        http = { paths = json.array { {
          path = "/deployment/" .. s.name .. "/(.+)", pathType = "ImplementationSpecific",
          backend = { service = { name = s.child_name, port = { number = engine.REST } } },
        } } },
      } },
    },
  }
end

return M
