-- The Service of a PhDeployment: what answers in its pods, the engine or the model itself, under one name and port.

local engine = require "children.engine"
local deployment = require "children.deployment"
local model = require "children.model"

local M = {}

local function port(name, number, target)
  return { name = name, port = number, targetPort = target, protocol = "TCP" }
end

function M.wanted(s)
  local ports = json.array { port("http", engine.REST, model.SERVES) }
  if s.has_engine and s.settings.engine.grpc then ports[#ports + 1] = port("grpc", engine.GRPC, engine.GRPC) end
  return {
    apiVersion = "v1", kind = "Service",
    metadata = { name = s.child_name, labels = { [deployment.LABEL] = s.name } },
    -- the one label that every pod of this model has, whatever `app` was when it was made
    spec = { type = "ClusterIP", ports = ports, selector = { [deployment.LABEL] = s.name } },
  }
end

return M
