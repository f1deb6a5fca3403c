-- The Service of a PhDeployment: its pods' engine under one name.

local engine = require "children.engine"
local deployment = require "children.deployment"

local M = {}

local function port(name, number)
  return { name = name, port = number, targetPort = number, protocol = "TCP" }
end

function M.wanted(s)
  local ports = json.array { port("http", engine.REST) }
  if s.settings.engine.grpc then ports[#ports + 1] = port("grpc", engine.GRPC) end
  return {
    apiVersion = "v1", kind = "Service",
    metadata = { name = s.child_name, labels = { [deployment.LABEL] = s.name } },
    -- the one label that every pod of this model has, whatever `app` was when it was made
    spec = { type = "ClusterIP", ports = ports, selector = { [deployment.LABEL] = s.name } },
  }
end

return M
