-- Deciding with policies that are not the live ones: a candidate before its swap, the last good ones after it, a shadow.
--
-- They see what the live ones would see now, from the same caches, with settings, digest and further watches of their own.
-- Nothing is written and nothing is remembered.

local contract = require "contract"
local controller = require "controller"
local observe = require "observe"

local M = {}

-- What observe asks of a world and is the same for all.
local COMMON = { problems = true, rollout = true }

function M.__index(self, name)
  if COMMON[name] then return rawget(self, "world")[name] end
  return M[name]
end

-- world: the controller. side: {generation, declaration, settings, set}: as controller:swap takes them.
function M.new(world, side)
  return setmetatable({ world = world, generation = side.generation, settings = side.settings,
    digest = controller.digest_of(side.generation, side.settings), label = side.declaration.label,
    objects = side.set.objects, children = side.set.children, watches = side.set.watches, inputs = side.set.inputs,
    by_kind = side.set.by_kind }, M)
end

-- What it sees of an object; nil if there is none, or it is going.
function M:seen(key)
  local handle = self.objects:get(key)
  if not handle or handle.deleting then return nil end
  return observe.seen(self, key, handle), handle
end

-- The decision on what is seen; nil and a PolicyError.
function M:decide(seen)
  local decision, failure = self.generation:call(self.world.module, "decide", seen)
  if decision == nil and failure then return nil, failure end
  return contract.decision(decision)
end

return M
