-- Which change makes work for whom.
--
-- Called for every change in the world, at once: so it only compares and puts keys on the agenda. Own writes come by here too; what a
-- controller's own status write cannot change for it is not asked again.

local accounts = require "sandbox.controllers.accounts"
local common = require "sandbox.controllers.common"
local definition = require "sandbox.controllers.definition"
local gc = require "sandbox.controllers.gc"
local kubelet = require "sandbox.controllers.kubelet"

local M = {}

local NONE = {}
local GONE = 40000 -- ms until the pods of a node that is gone are deleted

local function key_of(record) return record.namespace .. "/" .. record.name end

local function pend_owner(c, record, kind, controller)
  local owner = common.controller_of(record.object)
  if not owner then return false end
  if owner.kind == kind then c:pend(controller, record.namespace .. "/" .. owner.name) end
  return true
end

-- All objects of a kind in the namespace whose selector takes in the labels.
local function pend_selecting(c, id, controller, record)
  for _, one in ipairs(c.w:each(id, record.namespace)) do
    if common.matches(one.object.spec.selector, record.object.metadata.labels) then c:pend(controller, key_of(one)) end
  end
end

local function follow_owned(c, event, kind, id, controller)
  local record, before = event.record, event.previous
  if before and before.object.metadata.ownerReferences ~= record.object.metadata.ownerReferences then
    pend_owner(c, before, kind, controller)
  end
  if not pend_owner(c, record, kind, controller)
    and (not before or before.object.metadata.labels ~= record.object.metadata.labels
      or before.object.metadata.ownerReferences ~= record.object.metadata.ownerReferences) then
    pend_selecting(c, id, controller, record)
  end
end

-- Pods without a node are tried again: a node or room on one may be new.
local function retry_unbound(c)
  for _, key in ipairs(c.usage:waiting()) do c:pend("scheduler", key) end
end

local function endpoints_of(c, record)
  for _, service in ipairs(c.w:each("services", record.namespace)) do
    local selector = service.object.spec.selector
    if selector and next(selector) and common.labels_hold(selector, record.object.metadata.labels) then
      c:pend("endpoints", key_of(service))
    end
  end
end

-- What Endpoints show of a pod.
local function is_shown_otherwise(one, two)
  local a, b = one.status or NONE, two.status or NONE
  return a.podIP ~= b.podIP or a.phase ~= b.phase or common.is_ready(one) ~= common.is_ready(two)
    or one.metadata.deletionTimestamp ~= two.metadata.deletionTimestamp or one.metadata.labels ~= two.metadata.labels
end

-- A pod went away (or is finished): the Deployment that waits for that (Recreate) is the owner of its ReplicaSet.
local function pend_deployment_of(c, record)
  local owner = common.controller_of(record.object)
  local set = owner and owner.kind == "ReplicaSet" and c.w:get("replicasets.apps", record.namespace, owner.name)
  if set then
    pend_owner(c, set, "Deployment", "deployment")
  else
    -- The set is gone already: whoever may have owned it looks.
    for _, one in ipairs(c.w:each("deployments.apps", record.namespace)) do
      if (one.object.spec.strategy or NONE).type == "Recreate" then c:pend("deployment", key_of(one)) end
    end
  end
end

local ON = {}

function ON.pods(c, event)
  local record, before, key = event.record, event.previous, key_of(event.record)
  local pod, old = record.object, before and before.object
  if event.type == "DELETED" then
    c.w.cell[kubelet.cell_of(record.uid)] = nil
    if pod.spec.nodeName then retry_unbound(c) end
    pend_owner(c, record, "ReplicaSet", "replicaset")
    pend_deployment_of(c, record)
    return endpoints_of(c, record)
  end
  follow_owned(c, event, "ReplicaSet", "replicasets.apps", "replicaset")
  local node = pod.spec.nodeName
  if not node then
    if not old then c:pend("scheduler", key) end
  else
    local metadata, was = pod.metadata, old and old.metadata or NONE
    if not old or old.spec.nodeName ~= node or was.labels ~= metadata.labels then
      for _, other in ipairs(c.usage:waiting_for_company()) do c:pend("scheduler", other) end
    end
    if not old or old.spec.nodeName ~= node or metadata.deletionTimestamp ~= was.deletionTimestamp
      or metadata.deletionGracePeriodSeconds ~= was.deletionGracePeriodSeconds or old.spec.containers ~= pod.spec.containers then
      c:pend("kubelet", key)
    end
    if old and common.is_finished(pod) and not common.is_finished(old) then
      retry_unbound(c)
      pend_deployment_of(c, record)
    end
  end
  if not old or is_shown_otherwise(old, pod) then endpoints_of(c, record) end
end

ON["replicasets.apps"] = function(c, event)
  if event.type ~= "DELETED" then c:pend("replicaset", key_of(event.record)) end
  follow_owned(c, event, "Deployment", "deployments.apps", "deployment")
end

ON["deployments.apps"] = function(c, event)
  if event.type ~= "DELETED" then c:pend("deployment", key_of(event.record)) end
end

function ON.nodes(c, event)
  local old, node = event.previous and event.previous.object, event.record.object
  if event.type == "DELETED" then return c:after(GONE, "podgc", event.record.name) end
  if not old or old.spec ~= node.spec or old.metadata.labels ~= node.metadata.labels
    or not json.equal((old.status or NONE).allocatable or NONE, (node.status or NONE).allocatable or NONE) then
    retry_unbound(c)
  end
end

function ON.services(c, event) c:pend("endpoints", key_of(event.record)) end

function ON.endpoints(c, event)
  if event.type == "DELETED" then c:pend("endpoints", key_of(event.record)) end
end

function ON.namespaces(c, event)
  local record = event.record
  if event.type == "DELETED" then return end
  if not record.object.metadata.deletionTimestamp then
    if event.type == "ADDED" then c:pend("account", record.name .. "/") end
  elseif not event.previous or not event.previous.object.metadata.deletionTimestamp then
    c:after(c:ms(nil, "namespace"), "namespace", record.name)
  end
end

function ON.serviceaccounts(c, event)
  if event.type == "ADDED" then return c:pend("account", key_of(event.record)) end
  if event.type ~= "DELETED" then return end
  accounts.forget(c, event.record.object)
  c:pend("account", event.record.namespace .. "/")
end

function ON.configmaps(c, event)
  if event.type == "DELETED" then
    if event.record.name == "kube-root-ca.crt" then c:pend("account", event.record.namespace .. "/") end
  else
    kubelet.sources_changed(c, event.record.namespace)
  end
end

function ON.secrets(c, event)
  if event.type ~= "DELETED" then kubelet.sources_changed(c, event.record.namespace) end
end

function ON.resourcequotas(c, event)
  local record, before = event.record, event.previous
  if event.type ~= "DELETED" and (not before or before.object.spec ~= record.object.spec) then c:pend("resourcequota", key_of(record)) end
end

-- What was counted is gone, or a pod is finished: its namespace's quotas are counted anew.
local function follow_quotas(c, event, id)
  local quotas = c.w:each("resourcequotas", event.record.namespace)
  if #quotas == 0 or id == "resourcequotas" then return end
  local freed = event.type == "DELETED"
    or id == "pods" and event.previous and common.is_finished(event.record.object) and not common.is_finished(event.previous.object)
  for _, record in ipairs(freed and quotas or NONE) do c:pend("resourcequota", key_of(record)) end
end

-- event: of the world; id: its resource.
function M.follow(c, event, id)
  if id == "events" then return end
  local on = ON[id]
  if on then on(c, event) end
  gc.follow(c, event, id)
  definition.follow(c, event, id)
  follow_quotas(c, event, id)
  if event.type == "DELETED" and event.record.namespace ~= "" then
    local record = c.w:get("namespaces", "", event.record.namespace)
    if record and record.object.metadata.deletionTimestamp then c:pend("namespace", record.name) end
  end
end

return M
