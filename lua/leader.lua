-- Who may write, of several moonphases that serve the same objects: the one that holds a Lease.
--
-- Holding, renewing, losing and fencing are core/kube/lease.h: while the lease is not ours, no write leaves the cluster that
-- it was begun on, whoever sends it. Here is what the rest of lua/ asks, so as not to begin work in vain, in the same words
-- for a moonphase that runs alone. A standby does all but work: its caches are complete, and it serves.
--
-- A lease that is given back is seen at once, by a watch on it. Where that is not allowed, the next try comes within 2.4 s.

local M = {}

local Leader = {}
Leader.__index = Leader

local NAME_MOST = 63
local RANDOM = "_(%x+)$"

-- ---------------------------------------------------------------- alone

local Alone = {}
Alone.__index = Alone

-- The leader where nobody is elected.
function M.alone() return setmetatable({}, Alone) end

function Alone.is_leader() return true end
function Alone.wait() return true end
function Alone.listen() end
function Alone.wake() end
function Alone.begin() return true end
function Alone.release() return true end
function Alone.address() end
function Alone.sentence() return "leads: it runs without --leader-elect" end

-- ---------------------------------------------------------------- elected

-- "pod-name_10.1.2.3:9443_5c1f...": for people, for a standby that has to reach the leader, and never twice the same.
local function identity_of(address)
  local host = process.env("HOSTNAME") or (fs.read("/proc/sys/kernel/hostname") or ""):match("^[%w.-]+") or "moonphase"
  local random = digest.sha256(("%d %d %.9f %.17g"):format(process.id, loop.wall_ms(), loop.now(), loop.random())):sub(1, 32)
  return host:sub(1, NAME_MOST) .. (address and "_" .. address or "") .. "_" .. random
end

-- options: {cluster=, namespace=, name= of the Lease, address= "host:port" that a standby may reach us at (nil: none),
-- identity= (nil: made)}. It takes no part yet: begin() does.
function M.new(options)
  return setmetatable({ cluster = options.cluster, namespace = options.namespace, name = options.name,
    own = options.identity or identity_of(options.address), changed = loop.event(), listeners = {} }, Leader)
end

-- fn(leads) is called at each change; it must not wait.
function Leader:listen(fn)
  self.listeners[#self.listeners + 1] = fn
end

local function tell(self, leads)
  for _, fn in ipairs(self.listeners) do fn(leads) end
  self.changed:notify()
end

local function look_when_free(self)
  local function on_change(_, _, _, after)
    local holder = after and after.indexes.holder
    if (holder or "") == "" then self.lease:look() end
  end
  local function on_trouble(text)
    log.debug("the lease cannot be watched; a standby looks every 2 s", { why = text })
    if text:find("forbidden", 1, true) then self.watch:stop() end
  end
  self.watch = self.cluster:watch { path = "/apis/coordination.k8s.io/v1/namespaces/" .. kube.escape(self.namespace) .. "/leases",
    api_version = "coordination.k8s.io/v1", kind = "Lease", field_selector = "metadata.name=" .. self.name, name = "leases",
    keep = { "metadata.name", "metadata.namespace", "metadata.uid", "metadata.resourceVersion", "spec.holderIdentity" },
    indexes = { holder = { "spec.holderIdentity" } }, on_change = on_change, on_trouble = on_trouble }
end

-- Take part from now on: once caches are complete, so that nobody leads who cannot work. true, or nil and a sentence.
function Leader:begin()
  if self.ended then return true end -- told to stop before it could begin
  local lease, why = self.cluster:lease { namespace = self.namespace, name = self.name, identity = self.own,
    on_started = function()
      self.since = loop.now()
      tell(self, true)
    end,
    on_lost = function()
      self.since = nil
      tell(self, false)
    end }
  if not lease then return nil, why end
  self.lease = lease
  look_when_free(self)
  return true
end

-- Whether a write may leave now.
function Leader:is_leader()
  return self.lease ~= nil and self.lease:may_write()
end

-- (waits) until it leads: true; or false when given_up() says so (somebody must wake it then).
function Leader:wait(given_up)
  while not given_up() do
    if self:is_leader() then return true end
    self.changed:wait()
  end
  return false
end

-- Those who wait look whether they should give up.
function Leader:wake() self.changed:notify() end

-- Who holds the lease, as last seen; "" for nobody.
function Leader:holder()
  return self.lease and self.lease:holder() or ""
end

-- Where the leader is reached, if it is another process and said so; else nil.
function Leader:address()
  local holder = self:holder()
  if holder == "" or holder == self.own then return nil end
  return (holder:gsub(RANDOM, "")):match("_([^_]+)$")
end

-- (waits) The clean stop, when all work has ended: give the lease back, so that another leads at once.
function Leader:release(seconds)
  self.ended = true
  if self.watch then self.watch:stop() end
  local given_back = self.lease == nil or self.lease:release(seconds)
  self:wake()
  return given_back
end

-- For /readyz?verbose.
function Leader:sentence()
  local lease, holder = self.namespace .. "/" .. self.name, self:holder()
  if self:is_leader() then return "leads: it holds the lease " .. lease end
  if holder == "" or holder == self.own then return "standby: nobody holds the lease " .. lease .. " yet" end
  return ("standby: the lease %s is held by %s"):format(lease, holder)
end

return M
