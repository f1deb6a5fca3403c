-- Pacing: an edit of a policy that changes pod templates restarts models, so it moves a few at a time.
--
-- A changed template is the user's if the object's spec changed, and a mended drift if the child
-- was last written by this very policy. Else the policy (or the settings, or moonphase itself)
-- changed it: then `settings.rollout.budget` objects move at once, each waited for until it is
-- Deployed, and the others keep the template that they have until their turn. The first one that
-- turns Failed (one that was Failed before proves nothing) stops the rollout: it gets its old
-- template back and the rest stay where they are.
--
-- A swap of policies begins a new rollout: who is still moving keeps its place, whatever it moves to now. During the trial of
-- a reload (reload/trial.lua) a stop also takes the policy itself back.
--
-- hold() is asked for every child just before it is written; observe() is told every status; advance()
-- is called when a key was worked on, and wakes one of those that wait for each place that is free.

local diff = require "diff"

local M = {}
M.__index = M

-- previous: the rollout of the policy that was live before, or nil.
function M.new(world, previous)
  local wanted = type(world.settings.rollout) == "table" and world.settings.rollout.budget or nil
  local budget = tonumber(wanted)
  if wanted ~= nil and not (budget and budget >= 1) then
    log.warn("rollout.budget is no number from 1 on; models move one at a time", { budget = tostring(wanted) })
  end
  local self = setmetatable({ world = world, budget = budget and budget >= 1 and budget // 1 or 1,
    moving = {}, moving_count = 0, held = {}, pinned = {}, stopped = false }, M)
  for key, moved in pairs(previous and previous.moving or {}) do
    self.moving[key] = { was = moved.was, digest = moved.digest, was_failed = moved.was_failed }
    self.moving_count = self.moving_count + 1
  end
  return self
end

-- Whether to write `child` over `live` would restart pods.
function M.template_differs(child, live)
  return #diff.compare({ kind = child.kind, spec = { template = child.spec.template } }, live) > 0
end
local template_differs = M.template_differs

local function with(table, name, value)
  local copy = {}
  for k, v in pairs(table) do copy[k] = v end
  copy[name] = value
  return copy
end

-- What goes back to, or stays in, the cluster: the template, and the child's own annotations, which may tell of it.
local function as_it_is(live)
  return { template = live.spec.template, annotations = type(live.metadata.annotations) == "table" and live.metadata.annotations or {} }
end

-- `child` with the template that it had.
local function as_it_was(child, was)
  local annotations = {}
  for name, value in pairs(child.metadata.annotations or {}) do annotations[name] = was.annotations[name] or value end
  local copy = with(child, "spec", with(child.spec, "template", was.template))
  copy.metadata = with(child.metadata, "annotations", annotations)
  return copy
end

local function is_users_change(status, handle)
  return (math.tointeger(status.observedGeneration) or 0) < handle.generation
end

local function passes(self, key, child)
  self.held[key], self.pinned[key] = nil, nil
  return child, self.world.digest
end

-- The child as it may be written now, and the policy digest to write on it.
function M:hold(key, handle, child, informer)
  local world = self.world
  if not (child.spec and child.spec.template) or world.dry_run then return child, world.digest end
  local child_key = child.metadata.namespace .. "/" .. child.metadata.name
  local there = informer:get(child_key)
  local digest = there and there.indexes.digest
  local live = digest and (digest ~= world.digest or self.pinned[key]) and informer:read(child_key)
  local moving, pinned = self.moving[key], self.pinned[key]
  if not live then
    if moving then moving.arrived = true end
    return passes(self, key, child)
  end
  local object = world.objects:read(key)
  local status = object and type(object.status) == "table" and object.status or {}
  if live.spec.replicas == 0 or is_users_change(status, handle) then return passes(self, key, child) end
  if pinned then return as_it_was(child, pinned.was), pinned.digest end
  if not template_differs(child, live) then
    if moving then moving.arrived = true end
    return passes(self, key, child)
  end
  if moving then return child, world.digest end
  if self.stopped or self.moving_count >= self.budget then
    self.held[key] = true
    return as_it_was(child, as_it_is(live)), digest
  end
  self.held[key] = nil
  self.moving[key] = { was = as_it_is(live), digest = digest, was_failed = status.phase == "Failed" }
  self.moving_count = self.moving_count + 1
  log.info("rollout: a model moves to the new policy", { key = key, policy = world.digest, waiting = self:waiting() })
  return child, world.digest
end

function M:waiting()
  local n = 0
  for _ in pairs(self.held) do n = n + 1 end
  return n
end

-- Whether what is live is right for now: it waits for its turn, or went back.
function M:is_held(key)
  return self.held[key] == true or self.pinned[key] ~= nil
end

local function release(self, key)
  self.moving[key] = nil
  self.moving_count = self.moving_count - 1
end

-- Deployed counts only once the new template is in the cluster: before that it tells of the old one. -> the Event of a rollout
-- that was stopped by this, or nil
function M:observe(key, status)
  local moved = self.moving[key]
  if not moved or not status then return end
  if (status.phase == "Deployed" and moved.arrived) or status.phase == "Stopped"
    or (status.phase == "Failed" and moved.was_failed) then
    release(self, key)
  elseif status.phase == "Failed" then
    release(self, key)
    self.stopped = true
    self.pinned[key] = moved
    log.error("rollout stopped: a model failed with the new policy and goes back to its old template",
      { key = key, policy = self.world.digest, why = status.message or "", waiting = self:waiting() })
    self.world:add(key)
    local message = ("with the new policy (%s) this model failed: it goes back to its old pod template, and models that have not moved yet "
      .. "keep theirs"):format(self.world.digest)
    if self.world.trial then self.world.trial:rollout_stopped(key, status.message) end
    return { type = "Warning", reason = "RolloutStopped", message = message }
  end
end

-- Whether some model moves, or waits for its turn.
function M:is_busy()
  return self.moving_count > 0 or next(self.held) ~= nil
end

-- One at a time: who is woken takes the place, or passes and leaves it to the next.
function M:advance()
  if next(self.held) == nil or self.stopped or self.moving_count >= self.budget then return end
  local key
  for name in pairs(self.held) do -- the first by name, so that a run can be repeated
    if not key or name < key then key = name end
  end
  self.held[key] = nil
  self.world:add(key)
end

function M:forget(key)
  self.held[key], self.pinned[key] = nil, nil
  if self.moving[key] then release(self, key) end
end

return M
