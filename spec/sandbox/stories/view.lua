-- What a namespace looks like, as lines of text without anything that differs from one run to the next.
--
-- Times, UIDs, addresses and versions are left out; hashes of pod templates become #1, #2, ... in the order of their revisions,
-- random parts of pod names become *. Events of nodes are left out (the two kubelets differ), and how often a thing was tried again.

local M = {}

local NONE = {}
local SECRET = { lastTransitionTime = true, lastUpdateTime = true, lastProbeTime = true }
local REVISION = "deployment.kubernetes.io/revision"

-- hashes: { [hash] = "#n" }, kept over the steps of a story. sets: its ReplicaSets.
local function learn(hashes, sets)
  local new = {}
  for _, set in ipairs(sets) do
    local hash = (set.metadata.labels or NONE)["pod-template-hash"]
    if hash and not hashes[hash] then
      local revision = tonumber((set.metadata.annotations or NONE)[REVISION]) or 0
      new[#new + 1] = { hash, revision, set.metadata.creationTimestamp .. set.metadata.name }
    end
  end
  table.sort(new, function(a, b)
    if a[2] ~= b[2] then return a[2] < b[2] end
    return a[3] < b[3]
  end)
  for _, one in ipairs(new) do
    hashes.count = (hashes.count or 0) + 1
    hashes[one[1]] = "#" .. hashes.count
  end
end

local SUFFIX = "%-" .. ("[bcdfghjklmnpqrstvwxz2456789]"):rep(5)

local function plain(hashes, text)
  for hash, mark in pairs(hashes) do
    if type(mark) == "string" then text = text:gsub(hash .. SUFFIX, mark .. "-*"):gsub(hash, mark) end
  end
  return text
end

local function without_times(status)
  local copy = {}
  for name, value in pairs(status or NONE) do copy[name] = value end
  if copy.conditions then
    local conditions = json.array {}
    for index, condition in ipairs(copy.conditions) do
      conditions[index] = {}
      for name, value in pairs(condition) do
        if not SECRET[name] then conditions[index][name] = value end
      end
    end
    table.sort(conditions, function(a, b) return a.type < b.type end)
    copy.conditions = conditions
  end
  return copy
end

local function owners(object)
  local names = {}
  for _, one in ipairs(object.metadata.ownerReferences or NONE) do
    names[#names + 1] = ("%s/%s%s"):format(one.kind, one.name, one.controller and "!" or "")
  end
  return table.concat(names, ",")
end

local function workload(word, object)
  local metadata = object.metadata
  return ("%s %s generation=%d replicas=%d owner=%s %s %s%s"):format(word, metadata.name, metadata.generation, object.spec.replicas,
    owners(object), json.encode(metadata.annotations or {}), json.encode(without_times(object.status)),
    metadata.deletionTimestamp and " deleting " .. table.concat(metadata.finalizers or {}, ",") or "")
end

local function pod_line(pod)
  local parts, status = {}, pod.status
  for _, condition in ipairs(status.conditions or NONE) do
    local has_text = condition.type == "PodScheduled" and condition.status == "False"
    local why = has_text and (" (%s: %s)"):format(condition.reason, condition.message) or ""
    parts[#parts + 1] = condition.type .. "=" .. condition.status .. why
  end
  table.sort(parts)
  return ("pod %s %s on %s owner=%s app=%s %s%s"):format(pod.metadata.name, status.phase, pod.spec.nodeName or "nothing", owners(pod),
    (pod.metadata.labels or NONE).app or "", table.concat(parts, " "), pod.metadata.deletionTimestamp and " deleting" or "")
end

local AGAIN = { FailedScheduling = true, FailedCreate = true }

local function event_lines(hashes, events, lines)
  local counts = {}
  for _, event in ipairs(events) do
    local source = event.source and event.source.component or ""
    if source ~= "kubelet" and event.reason ~= "FailedToUpdateEndpoint" and not event.message:find("^skip schedule") then
      local text = plain(hashes, ("%s %s/%s %s %s"):format(event.type, event.involvedObject.kind, event.involvedObject.name, event.reason,
        event.message:gsub("^%(combined from similar events%): ", "")))
      if event.reason == "FailedCreate" then text = text:gsub("used: %S+", "used: some") end
      counts[text] = (counts[text] or 0) + (event.count or 1)
    end
  end
  for text, count in pairs(counts) do
    lines[#lines + 1] = ("event %s %s"):format(AGAIN[text:match("^%S+ %S+ (%S+)")] and "some" or "x" .. count, text)
  end
end

local function endpoints_line(object)
  local parts = {}
  for _, subset in ipairs(object.subsets or NONE) do
    parts[#parts + 1] = ("%d ready %d not ports=%s"):format(#(subset.addresses or NONE), #(subset.notReadyAddresses or NONE),
      json.encode(subset.ports or json.array {}))
  end
  return ("endpoints %s %s %s"):format(object.metadata.name, json.encode(object.metadata.labels or {}), table.concat(parts, "; "))
end

-- list(path) -> items; namespace: its name. -> array of lines, sorted
function M.of(list, namespace, hashes)
  local lines = {}
  local at = "/namespaces/" .. namespace .. "/"
  local sets = list("/apis/apps/v1" .. at .. "replicasets")
  learn(hashes, sets)
  local function add(text) lines[#lines + 1] = plain(hashes, text) end
  for _, object in ipairs(list("/apis/apps/v1" .. at .. "deployments")) do add(workload("deployment", object)) end
  for _, object in ipairs(sets) do add(workload("set", object)) end
  for _, object in ipairs(list("/api/v1" .. at .. "pods")) do add(pod_line(object)) end
  for _, object in ipairs(list("/api/v1" .. at .. "endpoints")) do add(endpoints_line(object)) end
  for _, object in ipairs(list("/api/v1" .. at .. "resourcequotas")) do add("quota " .. json.encode(object.status or {})) end
  for _, object in ipairs(list("/api/v1" .. at .. "serviceaccounts")) do add("account " .. object.metadata.name) end
  event_lines(hashes, list("/api/v1" .. at .. "events"), lines)
  for index, line in ipairs(lines) do lines[index] = line:gsub(namespace:gsub("%-", "%%-"), "NAMESPACE") end
  table.sort(lines)
  return lines
end

return M
