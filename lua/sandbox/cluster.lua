-- The cluster behind the API server: controllers that react to what changes, one piece of work at a time.
--
-- A change in the world makes work: a (controller, key) in the world's agenda. step() takes one piece of it (which one is a choice
-- point, "work") and lets its controller look at that object and do the next thing. What must wait is a timer of the
-- agenda. Controllers keep nothing: what they must remember is in the world, so that a restored world goes on as if
-- nothing had been. A piece of work that the API refused is tried again after 5 ms, doubling to 1000 s.
--
-- What a controller gets (`c` in controllers/) is the cluster: w, registry, owners, usage, and the methods below.

local accounts = require "sandbox.controllers.accounts"
local common = require "sandbox.controllers.common"
local definition = require "sandbox.controllers.definition"
local deployment = require "sandbox.controllers.deployment"
local endpoints = require "sandbox.controllers.endpoints"
local events = require "sandbox.controllers.events"
local gc = require "sandbox.controllers.gc"
local images = require "sandbox.controllers.images"
local kubelet = require "sandbox.controllers.kubelet"
local managed = require "sandbox.managed"
local namespace = require "sandbox.controllers.namespace"
local owners = require "sandbox.owners"
local replicaset = require "sandbox.controllers.replicaset"
local resourcequota = require "sandbox.controllers.resourcequota"
local scene_words = require "sandbox.scene"
local scheduler = require "sandbox.controllers.scheduler"
local triggers = require "sandbox.controllers.triggers"
local usage = require "sandbox.usage"

local M = {}
M.__index = M

local NONE = {}
local RETRY, RETRY_MOST = 5, 1000000 -- ms
local MANAGER = "kube-controller-manager"

-- Each is a function(cluster, key) -> false to be called again later.
local CONTROLLERS = {
  deployment = deployment, replicaset = replicaset, scheduler = scheduler, endpoints = endpoints,
  kubelet = kubelet.sync, gc = gc.sync, podgc = gc.sync_node, namespace = namespace.sync, account = accounts.sync,
  definition = definition.sync, expiry = events.expire, resourcequota = resourcequota,
}

-- Reasons whose messages differ from one time to the next.
M.similar = { SuccessfulCreate = true, SuccessfulDelete = true, FailedCreate = true, FailedDelete = true, ScalingReplicaSet = true }

local SYSTEM = { "default", "kube-node-lease", "kube-public", "kube-system" }

-- The service by which pods would reach the API.
local API = { apiVersion = "v1", kind = "Service", metadata = { name = "kubernetes", namespace = "default",
  labels = { component = "apiserver", provider = "kubernetes" } }, spec = { clusterIP = "10.96.0.1", type = "ClusterIP",
  ports = json.array { { name = "https", port = 443, protocol = "TCP", targetPort = 6443 } } } }

-- Make one of the first objects, unless it is there.
local function furnish(self, id, object, manager)
  local metadata = object.metadata
  local record, failure = self.w:get(id, metadata.namespace or "", metadata.name), nil
  if not record then record, failure = self:create(id, metadata.namespace or "", object, manager) end
  return record or error(("%s %s: %s"):format(id, metadata.name, failure.message), 0)
end

local function add_node(self, node, number)
  local w = self.w
  local object = scene_words.node_object(node, number, w:time())
  local record = furnish(self, "nodes", object, "kubelet")
  self:write("nodes", "", node.name, function(one) return common.with_status(one, object.status) end, "kubelet")
  furnish(self, "leases.coordination.k8s.io", scene_words.lease_object(node, record.object, w:micro_time()), "kubelet")
end

-- The first objects, and what the cells of the world say of images and timings.
local function set_scene(self, scene)
  local w, kubelets = self.w, {}
  w.cell.images, w.cell.timings, w.cell.events = scene.images, scene.timings, scene.events
  for _, names in ipairs { SYSTEM, scene.namespaces or NONE } do
    for _, name in ipairs(names) do
      furnish(self, "namespaces", { apiVersion = "v1", kind = "Namespace", metadata = { name = name } }, "kube-apiserver")
    end
  end
  furnish(self, "services", API, "kube-apiserver")
  for number, node in ipairs(scene.nodes) do
    kubelets[node.name] = true
    add_node(self, node, number)
  end
  w.cell.kubelets = kubelets
end

-- options: world=, registry=, verbs=, scene= (of scene.lua; default: the one without a file), admission= (for what the controllers
-- create). The scene is set only in a world that has none yet.
function M.new(options)
  local self = setmetatable({ w = options.world, registry = options.registry, verbs = options.verbs, admission = options.admission }, M)
  self.owners, self.usage = owners.new(self.w), usage.new(self.w)
  self.w:subscribe(function(event, id) triggers.follow(self, event, id) end)
  if not self.w.cell.timings then set_scene(self, options.scene or assert(scene_words.check(nil))) end
  return self
end

-- What controllers call

function M:kind(id) return self.registry:by_id(id) end

-- -> record | nil, failure
function M:create(id, in_namespace, object, manager)
  return self.verbs.create(self.w, self:kind(id), in_namespace, object, { manager = manager or MANAGER, admission = self.admission })
end

-- An update as anybody's: f(object) -> another object or nil (no change). -> record | nil, failure
function M:modify(id, in_namespace, name, f, manager)
  return self.verbs.modify(self.w, id, in_namespace, name,
    { kind = self:kind(id), manager = manager or MANAGER, admission = self.admission }, f)
end

-- `new` in place of a record's object, as `manager` (false: nobody owns what it sets). -> record
local function put(self, kind, record, new, manager)
  local w, live = self.w, record.object
  if manager ~= false and not w.is_lean then
    new = managed.after_status(live, new, manager or MANAGER, kind.schema, live.apiVersion, w:time())
  end
  return w:put(kind.id, new)
end

-- What only the cluster's own parts may write: a status, a binding, a namespace's finalizers. f as for modify; what it makes is sound
-- by construction, so that nothing is checked, defaulted or admitted again, which is most of what a write costs. manager false:
-- what it sets nobody owns (a binding). -> record | nil
function M:write(id, in_namespace, name, f, manager)
  local record = self.w:get(id, in_namespace, name)
  if not record then return nil end
  local live = record.object
  local new = f(live)
  if new == nil or new == live or json.equal(new, live) then return record end
  return put(self, self:kind(id), record, new, manager)
end

-- As modify, for what a controller makes of its own objects: sound by construction too, but webhooks have a say, and a spec that differs
-- is a new generation (of kinds that count them). -> record | nil, failure
function M:change(id, in_namespace, name, f)
  if self.admission and self.admission:may_wait() then return self:modify(id, in_namespace, name, f) end
  return self:write(id, in_namespace, name, function(live)
    local new = f(live)
    local generation = live.metadata.generation
    if not new or not generation or json.equal(new.spec, live.spec) then return new end
    return common.with(new, { metadata = common.with(new.metadata, { generation = generation + 1 }) })
  end)
end

-- -> record | nil, failure
function M:delete(id, in_namespace, name, uid, grace, propagation)
  return self.verbs.delete(self.w, self:kind(id), in_namespace, name,
    { preconditions = { uid = uid }, grace = grace, propagation = propagation or "Background", admission = self.admission })
end

-- Make an object that nobody owns the controller's; the object as it then is.
function M:adopt(id, object, owner)
  local record = self:modify(id, object.metadata.namespace, object.metadata.name, function(one)
    local references = common.filter(one.metadata.ownerReferences, function() return true end)
    references[#references + 1] = common.controller_reference(owner)
    return common.with(one, { metadata = common.with(one.metadata, { ownerReferences = references }) })
  end)
  return record and record.object or object
end

-- The object is no longer of the controller with this UID.
function M:release(id, object, uid)
  self:modify(id, object.metadata.namespace, object.metadata.name, function(one)
    local left = common.filter(one.metadata.ownerReferences, function(reference) return reference.uid ~= uid end)
    return common.with(one, { metadata = common.with(one.metadata, { ownerReferences = left[1] and left or common.ABSENT }) })
  end)
end

function M:is_terminating(name)
  local record = self.w:get("namespaces", "", name)
  return not record or record.object.metadata.deletionTimestamp ~= nil
end

-- Whether Events may be written there.
function M:may_tell(name) return self.w.cell.events ~= false and not self:is_terminating(name) end

function M:event(source, object, type, reason, message, field_path, host)
  events.tell(self, source, object, type, reason, message, field_path, host)
end

function M:event_series(object, type, reason, message, action)
  events.tell_series(self, object, type, reason, message, action)
end

-- ms of a time that a behaviour gives (seconds), or of the timing of that name.
function M:ms(seconds, name)
  return math.ceil((seconds or self.w.cell.timings[name]) * 1000)
end

function M:pend(controller, key) self.w:pend(controller, key) end

function M:after(ms, controller, key) self.w:after(ms, controller, key) end

-- Steps

-- Timers that are due become pending work.
function M:wake()
  while true do
    local item = self.w:take_due()
    if not item then return end
    self.w:pend(item.controller, item.key)
  end
end

local function retry(self, controller, key)
  local w, name = self.w, "retry/" .. controller .. "/" .. key
  local count = (w.cell[name] or 0) + 1
  w.cell[name] = count
  w:after(math.min(RETRY << math.min(count - 1, 20), RETRY_MOST), controller, key)
end

-- Do one piece of the work that is pending now. -> false when there is none
function M:step()
  self:wake()
  local w = self.w
  local count = w:pending_count()
  if count == 0 then return false end
  local item = w:pending_at(count == 1 and 1 or w:choose("work", count))
  local controller, key = item.controller, item.key
  w:take(controller, key)
  if CONTROLLERS[controller](self, key) == false then
    retry(self, controller, key)
  else
    local name = "retry/" .. controller .. "/" .. key
    if w.cell[name] then w.cell[name] = nil end
  end
  return true
end

-- Step until nothing is pending now, at most `limit` times (100,000). -> the number of steps, whether it came to rest
function M:settle(limit)
  limit = limit or 100000
  for count = 0, limit - 1 do
    if not self:step() then return count, true end
  end
  return limit, false
end

-- When the earliest timer is due, ms since 1970; nil: none.
function M:next_due() return self.w:due() end

-- Virtual time: let `seconds` go by, with everything that falls due on the way.
function M:run_for(seconds)
  local w = self.w
  local finish = w:now() + math.ceil(seconds * 1000)
  self:settle()
  while true do
    local at = w:due()
    if not at or at > finish then break end
    if at > w:now() then w:advance(at - w:now()) end
    self:settle()
  end
  if finish > w:now() then w:advance(finish - w:now()) end
end

-- From now on the image (or all that a pattern with * means) behaves so, also under pods that wait for it or run it.
-- behaviour: a name, or a map as in a world file. -> true | nil, text
function M:set_image(name, behaviour)
  local resolved, why = scene_words.behaviour(behaviour)
  if not resolved then return nil, why end
  local w = self.w
  w.cell.images = images.changed(w.cell.images, name, resolved)
  local match = images.matcher(name)
  if (resolved.pull or "ok") ~= "ok" then
    for cell in pairs(w.cell) do
      local image = cell:match("^pulled/[^/]*/(.*)$")
      if image and match(image) then w.cell[cell] = nil end
    end
  end
  kubelet.images_changed(self, match)
  return true
end

return M
