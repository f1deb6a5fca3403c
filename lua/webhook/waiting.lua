-- Deployments that wait for quota, and their turn when some is free.
--
-- Whoever was refused sleeps for up to 16 minutes (nudge.lua). So it is noted here, and when its group comes to use less, or may
-- use more, those whose turn it is are woken, the oldest first. Whose turn it is, and that nobody else gets in before it, is not a
-- matter of who is woken when: quota.lua decides it at the review of the pod (OlderFirst), and is asked the same
-- question here. What has no turn is left asleep.
--
-- That a deployment waits is known twice: from the refusal itself, at once, and from what the policy decides about it (decision.wake),
-- which survives a restart. Touching one in vain costs a write; so what does not get on by being touched is touched less and less, and
-- what does not ask for a pod when it was woken keeps nobody back (ASK_SECONDS).

local nudge = require "nudge"

local M = {}
M.__index = M

local AGAIN_SECONDS = 2      -- between two touches of one
local ASK_SECONDS = 10       -- so long after it was woken it is before the younger ones
local LEFT_SECONDS = 0.2     -- until those are looked at again who were touched and have not asked
local LOOK_SECONDS = 5
local FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 30, 600 -- without anything that became free
local MOST = 20000
local AT_ONCE = 5            -- so many are asked about in one turn (0.6 ms each where a hundred come first)

-- options: {cluster, created = function(key) -> text or nil (there is no such object), deployments = function(key) -> {{kind, key, uid}},
-- lacks = function(key) -> how many pods it lacks, needs = function(key) -> label, uses of one pod, by the Deployment's template; nil if that cannot be told,
-- fits = function(label, uses, key) -> whether it is its turn, may_write = function()}
function M.new(options)
  local self = setmetatable({ list = {}, count = 0, lines = {}, pending = {}, wake = loop.event(), stopped = false, looked_at = 0,
    nudges = metrics.counter("moonphase_nudges_total", "Deployments that were touched because quota became free", {}),
    gauge = metrics.gauge("moonphase_quota_waiting", "Deployments that wait for quota", {}) }, M)
  for _, name in ipairs { "cluster", "created", "deployments", "lacks", "needs", "fits", "may_write" } do self[name] = options[name] end
  self.nudges:add(0)
  self.gauge:set(0)
  self.task = loop.spawn(function() self:work() end)
  return self
end

-- ---------------------------------------------------------------- who waits

local function counted(self, change)
  self.count = self.count + change
  self.gauge:set(self.count)
  self.lines = {}
end

local function entry(self, key)
  local one = self.list[key]
  if not one and self.count < MOST then
    one = { tries = 0, again_at = loop.now() + FIRST_PAUSE_SECONDS, touched_at = -math.huge, asked_at = loop.now(),
      born = self.created(key) or "" }
    self.list[key] = one
    counted(self, 1)
  end
  return one
end

local function drop(self, key)
  local one = self.list[key]
  if not one then return end
  self.list[key] = nil
  counted(self, -1)
  self:freed(one.label) -- what was kept for it is free
end

-- A pod of the object `key` ("namespace/name") was judged: it would count for `uses` in the group with this label.
function M:judged(key, label, uses, is_refused)
  local one = self.list[key]
  if is_refused then one = one or entry(self, key) end
  if not one then return end
  one.asked_at, one.woken_at, one.was_admitted = loop.now(), nil, not is_refused
  if not is_refused then return end
  one.uses, one.is_over = uses, false
  if one.label ~= label then one.label, self.lines = label, {} end
end

-- Drop what waits no more: the policy says so, and it has all its pods or does not ask for the rest. (Between two of its pods, and
-- before the cluster has noted a refusal, the policy does not see that it waits.)
local function settle(self, key, one)
  local has_all = one.was_admitted and self.lacks(key) <= 0
  if one.is_over and (has_all or loop.now() - one.asked_at > ASK_SECONDS) then drop(self, key) end
end

-- What the policy decided about an object: whether it waits for quota. Of one that is gone: false.
function M:decided(key, waits)
  local one = self.list[key]
  if waits and not one then
    one = entry(self, key)
    if one then one.label, one.uses = self.needs(key) end
  end
  if not one then return end
  one.is_over = not waits
  settle(self, key, one)
end

-- A group uses less, or may use more; label nil: every group.
function M:freed(label)
  self.pending[label or "*"] = true
  self.wake:notify()
end

-- ---------------------------------------------------------------- the line

local function is_before(a, a_key, b, b_key)
  if a ~= b then return a < b end
  return a_key < b_key
end

-- The keys that wait in a group (of "*": all), the oldest first. (Ages are told in seconds; of one second, by name.)
local function line(self, label)
  local keys = self.lines[label]
  if keys then return keys end
  keys = {}
  for key, one in pairs(self.list) do
    if label == "*" or one.label == nil or one.label == label then keys[#keys + 1] = key end
  end
  table.sort(keys, function(a, b) return is_before(self.list[a].born, a, self.list[b].born, b) end)
  self.lines[label] = keys
  return keys
end

-- Whether it was woken and does not ask.
local function is_asleep(one)
  return one.woken_at ~= nil and loop.now() - one.woken_at > ASK_SECONDS
end

-- Those of a group that wait and are older than `key`, the oldest first: at most `most` of {key, uses}; nil if there are none.
function M:older(key, label, most)
  if self.count == 0 then return nil end
  local found, born = nil, self.created(key) or ""
  for _, other in ipairs(line(self, label)) do
    local one = self.list[other]
    if other == key or not is_before(one.born, other, born, key) or found and #found >= most then break end
    if one.label == label and one.uses and not is_asleep(one) then
      found = found or {}
      found[#found + 1] = { key = other, uses = one.uses }
    end
  end
  return found
end

-- ---------------------------------------------------------------- their turn

-- (waits) Whether something was touched.
local function wake(self, key, one)
  one.touched_at = loop.now()
  one.woken_at = one.woken_at or loop.now()
  local touched = false
  for _, child in ipairs(self.deployments(key)) do
    touched = nudge.touch(self.cluster, child.kind, child.key, child.uid) or touched
  end
  if touched then self.nudges:add(1) end
  return touched
end

local function has_turn(self, key, one)
  return one.uses == nil or self.fits(one.label, one.uses, key)
end

-- (waits) each(key, one) for those whose turn it is, until it answers false.
local function each_in_turn(self, label, each)
  for i, key in ipairs { table.unpack(line(self, label)) } do
    if i % AT_ONCE == 0 then loop.sleep(0) end
    if self.stopped or not self.may_write() then return false end
    local one = self.list[key]
    if one and not self.created(key) then
      drop(self, key)
    elseif one and has_turn(self, key, one) then
      each(key, one)
    end
  end
  return true
end

-- (waits) Whether somebody must be looked at again soon.
local function serve(self, label)
  local left = false
  local done = each_in_turn(self, label, function(key, one)
    if is_asleep(one) then return end
    left = true
    if loop.now() - one.touched_at >= AGAIN_SECONDS and wake(self, key, one) then
      log.info("quota became free: a deployment that waits is woken", { key = key })
    end
  end)
  return left or not done
end

-- (waits) Those whose turn it is though nothing was said to have become free: something was missed, or they wait for something else as
-- well.
local function look(self)
  if loop.now() - self.looked_at < LOOK_SECONDS then return end
  self.looked_at = loop.now()
  for key, one in pairs(self.list) do settle(self, key, one) end
  each_in_turn(self, "*", function(key, one)
    if loop.now() < one.again_at then return end
    one.tries = one.tries + 1
    one.again_at = loop.now() + math.min(FIRST_PAUSE_SECONDS * 2 ^ one.tries, LONGEST_PAUSE_SECONDS)
    wake(self, key, one)
  end)
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
      loop.sleep(LEFT_SECONDS)
      for _, label in ipairs(left) do self.pending[label] = true end
    end
  end
end

function M:stop()
  self.stopped = true
  self.task:cancel()
end

return M
