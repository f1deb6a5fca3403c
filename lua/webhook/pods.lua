-- The pods with a group label, watched, and what each counts for, in the book.
--
-- What a pod counts for is asked of quota.lua, and that takes longer than a watch's callback may when a list of thousands comes. So a
-- change is noted at once and worked off a little later: by whoever asks about that group, or by a task in small pieces. That a
-- pod is gone is written down at once: it may have come and gone in between, and its reservation with it.
--
-- A pod that quota.lua cannot count makes the whole use of its group unknown. Then its group is told as broken, and
-- nothing is admitted to it until that is mended: an error refuses.

local informers = require "informers"
local time = require "policy.time"

local M = {}
M.__index = M

local AT_ONCE = 100 -- so many pods may be counted in one turn (about 5 ms)
local MARK_SECONDS = 70
local LATE_SECONDS = 30 -- so long after its time a pod that is being deleted may still be about to end

local POD = { api_version = "v1", kind = "Pod", resource = "pods" }

local function mark(self, label, key)
  local keys = self.dirty[label]
  if not keys then
    keys = { count = 0, set = {} }
    self.dirty[label] = keys
  end
  if keys.set[key] then return end
  keys.set[key] = true
  keys.count = keys.count + 1
  self.wake:notify()
end

local function mend(self, uid)
  local label = self.broken_pods[uid]
  if not label then return end
  self.broken_pods[uid] = nil
  local broken = self.broken[label]
  broken.count = broken.count - 1
  if broken.count == 0 then self.broken[label] = nil end
end

local function gone(self, side)
  self.book:forget(side.uid)
  self.counted[side.uid] = nil
  mend(self, side.uid)
end

local function changed(self, key, before, after)
  if before and (not after or after.uid ~= before.uid) then gone(self, before) end
  if after and after.indexes.group then
    mark(self, after.indexes.group, key)
  elseif after then
    gone(self, after) -- it has lost its label
  end
end

-- options: {cluster, namespaces, label, parent_label (whose a pod is), keep, book, count = function(raw pod) -> uses | nil, text,
-- on_counted = function(label), on_trouble}
function M.start(options)
  local self = setmetatable({ book = options.book, count = options.count, on_counted = options.on_counted, dirty = {},
    counted = {}, newest = {}, broken = {}, broken_pods = {}, wake = loop.event(), stopped = false }, M)
  local kind = { keep = { table.unpack(options.keep) } }
  kind.keep[#kind.keep + 1] = "metadata.deletionTimestamp"
  for name, value in pairs(POD) do kind[name] = value end
  self.informers = informers.start(options.cluster, kind, options.namespaces, {
    label_selector = options.label, on_trouble = options.on_trouble,
    indexes = { group = { "metadata.labels[" .. options.label .. "]" }, phase = { "status.phase" },
      parent = { "metadata.labels[" .. options.parent_label .. "]" }, ends = { "metadata.deletionTimestamp" } },
    on_change = function(key, _, before, after) changed(self, key, before, after) end,
  })
  self.task = loop.spawn(function() self:work() end)
  return self
end

local function note_broken(self, uid, label, text)
  if self.broken_pods[uid] then return end
  local broken = self.broken[label] or { count = 0 }
  broken.count, broken.text = broken.count + 1, text
  self.broken[label], self.broken_pods[uid] = broken, label
end

-- When a pod that is being deleted should be gone, on the loop's clock; nil of one that is not.
local function ends_at(pod)
  local at = time.parse(pod.indexes.ends)
  return at and loop.now() + at - loop.wall_ms() / 1000 + LATE_SECONDS
end

-- Whose it is, as long as it runs or will.
local function owner_of(key, pod)
  local phase = pod.indexes.phase
  if not pod.indexes.parent or phase == "Succeeded" or phase == "Failed" then return nil end
  return key:match("^(.-)/") .. "/" .. pod.indexes.parent
end

-- Numbers, though the API calls them opaque: who compares them (core/kube/cache.h does) finds out what an answer is older than.
local function number_of(version)
  return math.tointeger(tonumber(version)) or 0
end

local function note_mark(self, key, version)
  local place = self.informers.all and "*" or key:match("^(.-)/")
  if number_of(version) > number_of(self.newest[place]) then self.newest[place] = version end
end

-- Whether a watch has not come as far as the marks of who was before us.
local function is_behind(self)
  if not self.wanted_marks or loop.now() > self.marks_until then return false end
  for place, version in pairs(self.wanted_marks) do
    local watch = self.informers:of(place .. "/")
    local position = watch and watch:stats().position
    if position and number_of(position) < number_of(version) then return true end
  end
  self.wanted_marks = nil
  return false
end

-- One pod, as it is now.
local function settle(self, key)
  local pod = self.informers:get(key)
  if not pod or not pod.indexes.group then return end
  -- a status that moves counts for nothing new
  local mark_of = (self.informers:content(key) or 0) .. "/" .. (pod.indexes.phase or "") .. "/" .. (pod.indexes.ends or "")
  if self.counted[pod.uid] == mark_of then return end
  local uses, why = self.count(self.informers:raw(key))
  if not uses then
    note_broken(self, pod.uid, pod.indexes.group, why)
    return
  end
  mend(self, pod.uid)
  self.counted[pod.uid] = mark_of
  note_mark(self, key, pod.version)
  self.book:see(pod.uid, pod.indexes.group, uses, owner_of(key, pod), ends_at(pod))
  self.on_counted(pod.indexes.group)
end

-- Work off what changed in a group, up to `most` pods. Whether nothing is left.
local function drain(self, label, most)
  local keys = self.dirty[label]
  if not keys then return true end
  while most > 0 do
    local key = next(keys.set)
    if not key then
      self.dirty[label] = nil
      return true
    end
    keys.set[key] = nil
    keys.count = keys.count - 1
    settle(self, key)
    most = most - 1
  end
  return false
end

-- Whether the book is up to date about a group; works off what is not much.
function M:is_current(label)
  local keys = self.dirty[label]
  if not keys then return true end
  return keys.count <= AT_ONCE and drain(self, label, AT_ONCE)
end

-- Why the use of a group is not known, as text; nil if it is.
function M:trouble(label)
  local broken = self.broken[label]
  return broken and broken.text
end

-- Whether the first lists have come, and what the one before us had seen, and all of it is counted.
function M:is_complete()
  if self.complete then return true end
  self.complete = self.informers:synced() and not is_behind(self) and next(self.dirty) == nil
  return self.complete
end

-- How far the pods are seen: {namespace, or "*" of a watch of all = resourceVersion of the newest pod}.
function M:marks()
  return self.newest
end

-- Not complete before the watches have come as far as these marks of another moonphase: what that one admitted and saw, this one's watches
-- may still have to bring. Bounded by MARK_SECONDS, which is as long as one is afraid of who left no marks.
function M:catch_up(marks)
  self.wanted_marks, self.marks_until = marks, loop.now() + MARK_SECONDS
  self.complete = false
end

-- When every watch of pods was heard last (monotonic seconds).
function M:heard_at()
  local oldest = loop.now()
  for _, watch in ipairs(self.informers.list) do oldest = math.min(oldest, loop.now() - watch:stats().last_byte_age) end
  return oldest
end

-- The rule is another one: every pod is counted anew, and until that is done no group is known.
function M:recount()
  self.counted, self.broken, self.broken_pods = {}, {}, {}
  for _, key in ipairs(self.informers:keys()) do
    local pod = self.informers:get(key)
    if pod.indexes.group then mark(self, pod.indexes.group, key) end
  end
end

-- The task: in small pieces, so that no turn is long.
function M:work()
  while not self.stopped do
    local label = next(self.dirty)
    if label then
      drain(self, label, 20)
      loop.sleep(0)
    else
      self.wake:wait(1)
    end
  end
end

function M:stop()
  self.stopped = true
  self.informers:stop()
  self.task:cancel()
end

return M
