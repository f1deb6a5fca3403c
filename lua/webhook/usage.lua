-- PhGroup.status: what the pods of a group use now, and how many models run.
--
-- It follows the pods, but a group's status is written at most every EVERY_SECONDS, when something in it is really different (1 and
-- 1000m are the same), and by the leader alone. A merge patch with the resourceVersion that was read loses a race and looks
-- again.

local groups_of = require "webhook.groups"
local informers = require "informers"
local resources = require "policy.resources"

local M = {}
M.__index = M

local SOON_SECONDS, EVERY_SECONDS, RETRY_SECONDS, SWEEP_SECONDS = 1, 5, 30, 60
local BYTES = { memory = true, ["ephemeral-storage"] = true }

-- options: {cluster, groups, book, may_write = function(), deployments = function(group) -> integer or nil}
function M.new(options)
  local self = setmetatable({ cluster = options.cluster, groups = options.groups, book = options.book, may_write = options.may_write,
    deployments = options.deployments, due = {}, wake = loop.event(), stopped = false, swept_at = loop.now(),
    writes = metrics.counter("moonphase_group_status_writes_total", "Writes of PhGroup statuses", {}) }, M)
  self.writes:add(0)
  self.task = loop.spawn(function() self:work() end)
  return self
end

-- A group's numbers may have changed.
function M:touch(key)
  if self.due[key] then return end
  self.due[key] = loop.now() + SOON_SECONDS
  self.wake:notify()
end

function M:touch_label(label)
  for _, group in ipairs(self.groups.by_label[label] or {}) do self:touch(group.key) end
end

local function shown(name, amount)
  local units = BYTES[name] and quantity.units(amount)
  if units and quantity.compare(units, amount) == 0 then return resources.memory_text(units) end
  return quantity.add(amount, "0")
end

-- The patch of `used` from what the status says to what is; nil: it says so already.
local function used_patch(before, group, seen)
  local patch, differs = {}, false
  local function want(name, amount)
    local old = before[name]
    if old ~= nil and quantity.compare(old, amount) == 0 then return end
    patch[name], differs = shown(name, amount), true
  end
  for name, amount in pairs(seen) do want(name, amount) end
  for name in pairs(group.quota or {}) do
    if not seen[name] then want(name, "0") end
  end
  for name in pairs(before) do
    if not seen[name] and not (group.quota or {})[name] then patch[name], differs = json.null, true end
  end
  return differs and patch or nil
end

-- The status patch of a group (of groups.lua) whose pods use `seen`; nil: nothing differs.
function M.patch(group, seen, deployments)
  local before = group.status
  local used = used_patch(type(before.used) == "table" and before.used or {}, group, seen)
  local status = { used = used }
  if deployments and before.deployments ~= deployments then status.deployments = deployments end
  if before.observedGeneration ~= group.metadata.generation then status.observedGeneration = group.metadata.generation end
  return next(status) and status or nil
end

-- (waits) Returns seconds after which to look again, or nil.
local function write(self, key)
  local group = self.groups:all()[key]
  if not group then return nil end
  local status = M.patch(group, self.book:seen(group.label), self.deployments(group))
  if not status then return nil end
  local namespace, name = key:match("^(.-)/(.+)$")
  local answer = self.cluster:request { method = "PATCH", path = informers.path(groups_of.KIND, namespace, name) .. "/status",
    query = { fieldManager = "moonphase" }, content_type = "application/merge-patch+json",
    body = { metadata = { resourceVersion = group.metadata.resourceVersion, uid = group.metadata.uid }, status = status } }
  if answer and answer.status == 200 then
    self.writes:add(1)
    self.groups:wrote(key, answer.body)
    return EVERY_SECONDS
  end
  return answer and answer.status == 409 and SOON_SECONDS or RETRY_SECONDS
end

local function sweep(self)
  if loop.now() - self.swept_at < SWEEP_SECONDS then return end
  self.swept_at = loop.now()
  for key in pairs(self.groups:all()) do self.due[key] = self.due[key] or loop.now() end
end

function M:work()
  while not self.stopped do
    self.wake:wait(SOON_SECONDS)
    if self.may_write() then
      sweep(self)
      local ready = {}
      for key, at in pairs(self.due) do
        if at <= loop.now() then ready[#ready + 1] = key end
      end
      for _, key in ipairs(ready) do
        local again = write(self, key)
        self.due[key] = again and loop.now() + again or nil
      end
    end
  end
end

function M:stop()
  self.stopped = true
  self.task:cancel()
end

return M
