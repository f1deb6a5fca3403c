-- Endpoints of Services: the addresses of the pods that a Service selects, ready and not ready, with its ports.
--
-- https://kubernetes.io/docs/concepts/services-networking/service/ . A Service without a selector has Endpoints of somebody else's making.

local common = require "sandbox.controllers.common"

local ID = "endpoints"
local NONE = {}
local with = common.with

-- The number that a Service's targetPort means in a pod, or nil.
local function port_in(pod, port)
  local target = port.targetPort
  if target == nil or target == 0 then return port.port end
  if type(target) == "number" then return target end
  for _, container in ipairs(pod.spec.containers) do
    for _, one in ipairs(container.ports or NONE) do
      if one.name == target and (one.protocol or "TCP") == (port.protocol or "TCP") then return one.containerPort end
    end
  end
end

local function ports_for(service, pod)
  local list = json.array {}
  for _, port in ipairs(service.spec.ports or NONE) do
    local number = port_in(pod, port)
    if number then
      list[#list + 1] = { name = port.name, port = number, protocol = port.protocol or "TCP", appProtocol = port.appProtocol }
    end
  end
  table.sort(list, function(a, b) return (a.name or "") < (b.name or "") end)
  return list
end

local function address_of(pod)
  local metadata = pod.metadata
  return { ip = pod.status.podIP, nodeName = pod.spec.nodeName, targetRef = { kind = "Pod", namespace = metadata.namespace,
    name = metadata.name, uid = metadata.uid, resourceVersion = metadata.resourceVersion } }
end

-- Whether a pod that is not ready still belongs to the addresses at all.
local function counts(pod)
  local phase, policy = pod.status.phase, pod.spec.restartPolicy or "Always"
  if policy == "Never" then return phase ~= "Failed" and phase ~= "Succeeded" end
  if policy == "OnFailure" then return phase ~= "Succeeded" end
  return true
end

-- Pods with the same ports share a subset.
local function subsets_of(c, service)
  local subsets, by_ports, everybody = {}, {}, service.spec.publishNotReadyAddresses == true
  local pods = {}
  for _, record in ipairs(c.w:each("pods", service.metadata.namespace)) do
    local pod = record.object
    if common.labels_hold(service.spec.selector, pod.metadata.labels) and pod.status and pod.status.podIP
      and not pod.metadata.deletionTimestamp then
      pods[#pods + 1] = pod
    end
  end
  table.sort(pods, function(a, b) return a.metadata.uid < b.metadata.uid end)
  for _, pod in ipairs(pods) do
    local ports = ports_for(service, pod)
    local is_ready = everybody or common.is_ready(pod)
    if (is_ready or counts(pod)) and (ports[1] or not (service.spec.ports or NONE)[1]) then
      local text = json.encode(ports)
      local subset = by_ports[text]
      if not subset then
        subset = { ports = ports[1] and ports or nil }
        by_ports[text], subsets[#subsets + 1] = subset, subset
      end
      local field = is_ready and "addresses" or "notReadyAddresses"
      subset[field] = subset[field] or json.array {}
      subset[field][#subset[field] + 1] = address_of(pod)
    end
  end
  return json.array(subsets), pods
end

-- Which pods are ready and which are not: { [uid] = field of the subset }.
local function places(subsets)
  local found = {}
  for _, subset in ipairs(subsets or NONE) do
    for _, field in ipairs { "addresses", "notReadyAddresses" } do
      for _, address in ipairs(subset[field] or NONE) do found[(address.targetRef or NONE).uid or ""] = field end
    end
  end
  return found
end

-- Since when what is new is so: the earliest of the new Service and of the pods that came or changed; nil when nothing came.
local function trigger(service, known, subsets, pods)
  local first = not known and service.metadata.creationTimestamp or nil
  local before, now = places(known and known.object.subsets), places(subsets)
  for _, pod in ipairs(pods) do
    local uid, ready = pod.metadata.uid, common.condition(pod.status, "Ready")
    if now[uid] and now[uid] ~= before[uid] and ready and (not first or ready.lastTransitionTime < first) then
      first = ready.lastTransitionTime
    end
  end
  return first
end

local function without_versions(subsets)
  local list = {}
  for index, subset in ipairs(subsets or NONE) do
    local copy = { ports = subset.ports }
    for _, field in ipairs { "addresses", "notReadyAddresses" } do
      for _, address in ipairs(subset[field] or NONE) do
        copy[field] = copy[field] or {}
        table.insert(copy[field], with(address, { targetRef = with(address.targetRef, { resourceVersion = common.ABSENT }) }))
      end
    end
    list[index] = copy
  end
  return list
end

local HEADLESS = "service.kubernetes.io/headless" -- alone, this label brings nothing up to date
local NO_ADDRESS = { None = true, [""] = true } -- "": an ExternalName's

local TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time"

-- One look at the Service "namespace/name".
return function(c, key)
  local namespace, name = common.split(key)
  local record = c.w:get("services", namespace, name)
  local known = c.w:get(ID, namespace, name)
  if not record then
    if known then c:delete(ID, namespace, name, known.uid) end
    return true
  end
  local service = record.object
  if not service.spec.selector or not next(service.spec.selector) then return true end
  local subsets, pods = subsets_of(c, service)
  local labels = service.metadata.labels
  if known and json.equal(without_versions(known.object.subsets), without_versions(subsets))
    and json.equal(with(known.object.metadata.labels, { [HEADLESS] = common.ABSENT }), labels or NONE) then
    return true
  end
  if NO_ADDRESS[service.spec.clusterIP or ""] then labels = with(labels, { [HEADLESS] = "" }) end
  local annotations = with(known and known.object.metadata.annotations,
    { [TRIGGER] = trigger(service, known, subsets, pods) or common.ABSENT })
  if not next(annotations) then annotations = nil end
  if not known then
    return (c:create(ID, namespace, { apiVersion = "v1", kind = "Endpoints", subsets = subsets[1] and subsets or nil,
      metadata = { name = name, namespace = namespace, labels = labels, annotations = annotations } })) ~= nil
  end
  return c:change(ID, namespace, name, function(object)
    return with(object, { metadata = with(object.metadata, { labels = labels or common.ABSENT,
      annotations = annotations or common.ABSENT }),
      subsets = subsets[1] and subsets or common.ABSENT })
  end) ~= nil
end
