-- The two sides that play a story (stories.lua): a real control plane with a played kubelet, and the sandbox on virtual time.
--
-- Both offer the words that steps use and t:look(), which lets the cluster come to rest and gives the lines of view.lua.

local include = require "include"
local view = include "spec/sandbox/stories/view.lua"

local M = {}

local Side = {}
Side.__index = Side

M.NODE = { cpu = "8", memory = "16Gi", pods = "20" }

local JSON, MERGE = "application/json", "application/merge-patch+json"

local function path_of(self, rest) return "/apis/apps/v1/namespaces/" .. self.namespace .. "/deployments" .. rest end

-- One request; raises when it is refused, unless `quiet`. -> decoded answer
function Side:request(method, path, body, content_type)
  local status, text = self.ask(method, path:gsub("NAMESPACE", self.namespace), body and json.encode(body), content_type or body and JSON)
  assert(status < 300 or method == "GET", ("%s %s: %d %s"):format(method, path, status, text))
  return json.decode(text)
end

function Side:deploy(name, change)
  local container = { name = "main", image = "reg/app:v1", resources = { requests = { cpu = "100m" } } }
  local object = { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = name, namespace = self.namespace },
    spec = { replicas = 1, selector = { matchLabels = { app = name } },
      template = { metadata = { labels = { app = name } }, spec = { containers = json.array { container } } } } }
  if change then change(object) end
  return self:request("POST", path_of(self, ""), object)
end

function Side:patch(name, body) return self:request("PATCH", path_of(self, "/" .. name), body, MERGE) end

-- Delete the Deployment "app".
function Side:delete(propagation)
  self:request("DELETE", path_of(self, "/app"), { apiVersion = "v1", kind = "DeleteOptions", propagationPolicy = propagation })
end

function Side:quota(hard)
  local path = "/api/v1/namespaces/NAMESPACE/resourcequotas"
  if self.has_quota then return self:request("PATCH", path .. "/quota", { spec = { hard = hard } }, MERGE) end
  self.has_quota = true
  self:request("POST", path, { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "quota" }, spec = { hard = hard } })
  self:look() -- it counts from when its status is there
end

function Side:service(name, spec)
  self:request("POST", "/api/v1/namespaces/NAMESPACE/services",
    { apiVersion = "v1", kind = "Service", metadata = { name = name }, spec = spec })
end

function Side:node(body) self:request("PATCH", "/api/v1/nodes/node-1", body, MERGE) end

local function first_pod(self)
  local pods = self:request("GET", "/api/v1/namespaces/NAMESPACE/pods").items
  return "/api/v1/namespaces/NAMESPACE/pods/" .. pods[1].metadata.name
end

function Side:relabel(labels) self:request("PATCH", first_pod(self), { metadata = { labels = labels } }, MERGE) end

function Side:remove_pod() self:request("DELETE", first_pod(self)) end

local function lines_of(self)
  return view.of(function(path) return self:request("GET", path).items or {} end, self.namespace, self.hashes)
end

function Side:look()
  self.rest(self.seconds, function() return table.concat(lines_of(self), "\n") end)
  return lines_of(self)
end

local function begin(self, namespace, seconds)
  self.namespace, self.hashes, self.has_quota, self.seconds = namespace, {}, false, seconds or 1
  self:request("POST", "/api/v1/namespaces", { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } })
  for name in pairs(self.images) do self:image(name, "runs") end
  self.images = {}
end

-- Play one story: array of { lines } after each step.
function M.play(self, number, story)
  begin(self, ("story-%d"):format(number), story.seconds)
  self:look()
  local views = {}
  for index = 2, #story do
    story[index](self)
    views[#views + 1] = self:look()
  end
  self.ask("DELETE", "/api/v1/namespaces/" .. self.namespace)
  for _ = 1, 100 do
    if self.ask("GET", "/api/v1/namespaces/" .. self.namespace) == 404 then break end
    self.wait()
  end
  return views
end

-- (waits) A real control plane; cluster: of kube.open{}.
function M.real(cluster)
  local self = setmetatable({ images = {} }, Side)
  self.ask = function(method, path, body, content_type)
    local answer = assert(cluster:request { method = method, path = path, body = body, content_type = content_type })
    return answer.status, answer.body
  end
  -- At rest: for the story's seconds at least, and unchanged for one.
  self.rest = function(seconds, look)
    local finish, last, since = loop.now() + seconds, nil, loop.now()
    repeat
      loop.sleep(0.25)
      local now = look()
      if now ~= last then last, since = now, loop.now() end
    until loop.now() > finish and loop.now() - since > 1
  end
  self.wait = function() loop.sleep(0.5) end
  local address = 0
  local kubelet = include("spec/cluster/kubelet.lua").start(cluster, { nodes = { ["node-1"] = M.NODE }, pod_ip = function()
    address = address + 1
    return ("10.244.%d.%d"):format(address // 250, address % 250 + 1)
  end })
  self.image = function(_, name, behaviour)
    self.images[name] = true
    kubelet:image(name, behaviour)
  end
  return self
end

-- The sandbox, with a world of its own.
function M.sandbox(seed)
  local w = require("sandbox.world").new { seed = seed or 1 }
  local registry = require("sandbox.registry").new(w)
  w.registry = registry
  local scene = assert(require("sandbox.scene").check { nodes = json.array { { name = "node-1", capacity = M.NODE } } })
  local behind = require("sandbox.cluster").new { world = w, registry = registry, verbs = require "sandbox.verbs", scene = scene }
  local api = require("sandbox.api").new { world = w, registry = registry }
  local self = setmetatable({ images = {}, world = w, cluster = behind }, Side)
  self.ask = function(method, path, body, content_type)
    local answer = api:handle { method = method, path = path, query = {}, body = body, content_type = content_type, accept = JSON }
    return answer.status, answer.body
  end
  self.rest = function(seconds) behind:run_for(seconds + 2) end
  self.wait = function() behind:run_for(1) end
  self.image = function(_, name, behaviour)
    self.images[name] = true
    assert(behind:set_image(name, behaviour))
  end
  behind:settle()
  return self
end

return M
