-- An API server of the sandbox without a network, for specs that only ask and look.

local api = require "sandbox.api"
local cluster = require "sandbox.cluster"
local registry = require "sandbox.registry"
local route = require "sandbox.api.route"
local verbs = require "sandbox.verbs"
local world = require "sandbox.world"

local M = {}
M.__index = M

function M.new()
  local w = world.new { seed = 1, now_ms = 1767225600000, history = 1000 }
  local kinds = registry.new(w)
  local self = setmetatable({ w = w, registry = kinds }, M)
  self.cluster = cluster.new { world = w, registry = kinds, verbs = verbs }
  self.api = api.new { world = w, registry = kinds }
  self.cluster:settle()
  return self
end

-- A request, and what the cluster makes of it. path may have a query. -> status, decoded answer (or its text), answer
function M:ask(method, path, body, options)
  options = options or {}
  local query = {}
  for name, value in (path:match("%?(.*)$") or ""):gmatch("([^&=]+)=?([^&]*)") do query[name] = route.decoded(value) end
  local answer = self.api:handle { method = method, path = (path:gsub("%?.*$", "")), query = query, accept = options.accept,
    content_type = options.content_type or "application/json", header = options.header, host = "127.0.0.1:1",
    body = type(body) == "table" and json.encode(body) or body or "" }
  self.cluster:settle()
  return answer.status, answer.body and json.decode(answer.body) or answer.body, answer
end

return M
