-- What the pods on each node ask for, which of them want to be apart from others, and which pods have no node yet: an index that
-- follows the world (follower.lua).
--
-- cpu counts in thousandths, everything else in whole units (bytes, devices), as the scheduler does. A pod asks for the sum of
-- its containers or for the largest of its init containers, whichever is more, and for its overhead
-- (https://kubernetes.io/docs/concepts/workloads/pods/init-containers/#resources). Finished pods ask for nothing.

local common = require "sandbox.controllers.common"
local follower = require "sandbox.follower"
local sorted = require "sorted"

local M = {}
M.__index = M

local NONE = {}

-- A quantity as an integer; what is none counts as 0.
local function amount(name, text)
  text = type(text) == "number" and tostring(text) or text
  if type(text) ~= "string" then return 0 end
  return (name == "cpu" and quantity.milli(text) or name ~= "cpu" and quantity.units(text)) or 0
end
M.amount = amount

local function add(sum, list)
  for name, text in pairs(list or NONE) do sum[name] = (sum[name] or 0) + amount(name, text) end
end

local function requests_of(spec)
  local sum = {}
  for _, container in ipairs(spec.containers or NONE) do add(sum, (container.resources or NONE).requests) end
  for _, container in ipairs(spec.initContainers or NONE) do
    for name, text in pairs((container.resources or NONE).requests or NONE) do sum[name] = math.max(sum[name] or 0, amount(name, text)) end
  end
  add(sum, spec.overhead)
  return sum
end

-- { [resource] = integer } of a pod. Kept as long as its containers, which no change of a pod replaces, but for images.
function M:requests(pod)
  local containers = pod.spec.containers
  local sum = self.known[containers]
  if not sum then
    sum = requests_of(pod.spec)
    self.known[containers] = sum
  end
  return sum
end

local function count(self, record, sign)
  local pod = record.object
  local node = pod.spec.nodeName
  if not node then
    local key = record.namespace .. "/" .. record.name
    self.unbound[key] = sign > 0 and true or nil
    if (pod.spec.affinity or NONE).podAffinity then self.sociable[key] = sign > 0 and true or nil end
    return
  end
  if common.is_finished(pod) then return end
  local used = self.nodes[node] or { pods = 0, sums = {}, keys = {} }
  self.nodes[node] = used
  used.pods = used.pods + sign
  local key = record.namespace .. "/" .. record.name
  used.keys[key] = sign > 0 and true or nil
  if ((pod.spec.affinity or NONE).podAntiAffinity or NONE).requiredDuringSchedulingIgnoredDuringExecution then
    self.reserved[key] = sign > 0 and true or nil
  end
  for name, value in pairs(self:requests(pod)) do used.sums[name] = (used.sums[name] or 0) + sign * value end
end

function M:reset() self.nodes, self.unbound, self.sociable, self.reserved = {}, {}, {}, {} end

function M:change(id, before, after)
  if id ~= "pods" then return end
  if before and after then
    local one, two = before.object, after.object
    if one.spec.nodeName == two.spec.nodeName and common.is_finished(one) == common.is_finished(two) then return end
  end
  if before then count(self, before, -1) end
  if after then count(self, after, 1) end
end

function M.new(w)
  local self = { nodes = {}, unbound = {}, sociable = {}, reserved = {}, known = setmetatable({}, { __mode = "k" }) }
  return follower.follow(setmetatable(self, M), w, { pods = true })
end

-- { pods = number, sums = { [resource] = integer }, keys = set of "namespace/name" } of a node, or nil when nothing runs there.
function M:of(node)
  follower.refresh(self)
  return self.nodes[node]
end

-- Sorted keys of the pods without a node.
function M:waiting()
  follower.refresh(self)
  return sorted(self.unbound)
end

-- Those among them that want to be where others are.
function M:waiting_for_company()
  follower.refresh(self)
  return next(self.sociable) and sorted(self.sociable) or NONE
end

-- Set of the keys of pods with a node that want no others beside them (required anti-affinity).
function M:reserved_ones()
  follower.refresh(self)
  return self.reserved
end

return M
