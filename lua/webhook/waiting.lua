-- Deployments that wait for quota, and their turn when some is free.
--
-- Whoever was refused sleeps for up to 16 minutes (nudge.lua). So it is noted here, and when its group comes to use less, or may
-- use more, those that fit now are woken, the oldest first, one after the other: each has its pods admitted before the
-- next one is asked about. What does not fit is left asleep.
--
-- That a deployment waits is known twice: from the refusal itself, at once, and from what the policy decides about it (decision.wake),
-- which survives a restart. Touching one in vain costs a write; so what does not get on by being touched is touched less and less.

local nudge = require "nudge"

local M = {}
M.__index = M

local PACE_SECONDS = 0.25    -- between two deployments of a group
local AGAIN_SECONDS = 2      -- between two touches of one
local LOOK_SECONDS = 5
local FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30, 600 -- without anything that became free
local FRESH_SECONDS = 5      -- so long a refusal is believed before the cluster's own word of it has come
local MOST = 20000

-- options: {cluster, created = function(key) -> text or nil (there is no such object), deployments = function(key) -> {{kind, key, uid}},
-- fits = function(label, uses), may_write = function()}
function M.new(options)
  local self = setmetatable({ list = {}, count = 0, pending = {}, wake = loop.event(), stopped = false, looked_at = 0,
    nudges = metrics.counter("moonphase_nudges_total", "Deployments that were touched because quota became free", {}),
    gauge = metrics.gauge("moonphase_quota_waiting", "Deployments that wait for quota", {}) }, M)
  for _, name in ipairs { "cluster", "created", "deployments", "fits", "may_write" } do self[name] = options[name] end
  self.nudges:add(0)
  self.gauge:set(0)
  self.task = loop.spawn(function() self:work() end)
  return self
end

local function entry(self, key)
  local one = self.list[key]
  if not one and self.count < MOST then
    one = { tries = 0, again_at = loop.now() + FIRST_PAUSE_SECONDS, touched_at = -math.huge, refused_at = -math.huge }
    self.list[key] = one
    self.count = self.count + 1
    self.gauge:set(self.count)
  end
  return one
end

local function drop(self, key)
  if not self.list[key] then return end
  self.list[key] = nil
  self.count = self.count - 1
  self.gauge:set(self.count)
end

-- A pod of the object `key` ("namespace/name") was refused; it would count for `uses` in the group with this label.
function M:refused(key, label, uses)
  if not self.created(key) then return end -- whoever made that pod, it was not we
  local one = entry(self, key)
  if one then one.label, one.uses, one.refused_at = label, uses, loop.now() end
end

-- What the policy decided about an object: whether it waits for quota. Of one that is gone: false.
function M:decided(key, waits)
  if waits then
    entry(self, key)
  else
    local one = self.list[key]
    if one and loop.now() - one.refused_at > FRESH_SECONDS then drop(self, key) end
  end
end

-- A group uses less, or may use more; label nil: every group.
function M:freed(label)
  self.pending[label or "*"] = true
  self.wake:notify()
end

-- The keys that wait in a group (of "*": all), the oldest first.
local function line(self, label)
  local keys, born = {}, {}
  for key, one in pairs(self.list) do
    if label == "*" or one.label == nil or one.label == label then
      born[key] = self.created(key)
      if born[key] then keys[#keys + 1] = key else drop(self, key) end
    end
  end
  table.sort(keys, function(a, b)
    if born[a] ~= born[b] then return born[a] < born[b] end
    return a < b
  end)
  return keys
end

-- (waits) Whether something was touched.
local function touch(self, key)
  local touched = false
  for _, child in ipairs(self.deployments(key)) do
    touched = nudge.touch(self.cluster, child.kind, child.key, child.uid) or touched
  end
  return touched
end

local function fits(self, one)
  return one.uses == nil or self.fits(one.label, one.uses)
end

-- (waits) One after the other. Whether somebody was skipped who must be looked at again soon.
local function serve(self, label)
  local left = false
  for _, key in ipairs(line(self, label)) do
    local one = self.list[key]
    if self.stopped or not self.may_write() then return true end
    if one and fits(self, one) then
      if loop.now() - one.touched_at < AGAIN_SECONDS then
        left = true
      elseif touch(self, key) then
        one.touched_at = loop.now()
        self.nudges:add(1)
        log.info("quota became free: a deployment that waits is woken", { key = key })
        loop.sleep(PACE_SECONDS)
      end
    end
  end
  return left
end

-- (waits) Those that fit though nothing was said to have become free: something was missed, or they wait for something else as well.
local function look(self)
  if loop.now() - self.looked_at < LOOK_SECONDS then return end
  self.looked_at = loop.now()
  for _, key in ipairs(line(self, "*")) do
    local one = self.list[key]
    if one and loop.now() >= one.again_at and self.may_write() and fits(self, one) then
      one.tries = one.tries + 1
      one.again_at = loop.now() + math.min(FIRST_PAUSE_SECONDS * 2 ^ one.tries, LONGEST_PAUSE_SECONDS)
      if touch(self, key) then self.nudges:add(1) end
      loop.sleep(PACE_SECONDS)
    end
  end
end

function M:work()
  while not self.stopped do
    if next(self.pending) == nil then self.wake:wait(1) end
    local labels, left = self.pending, {}
    self.pending = {}
    for label in pairs(labels) do
      if serve(self, label) then left[#left + 1] = label end
    end
    look(self)
    if #left > 0 then
      loop.sleep(PACE_SECONDS)
      for _, label in ipairs(left) do self.pending[label] = true end
    end
  end
end

function M:stop()
  self.stopped = true
  self.task:cancel()
end

return M
