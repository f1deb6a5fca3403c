-- The scheduler: a node for each pod, or the sentence that says why there is none.
--
-- A node is asked what stands against the pod; the first plugin that objects is the one that counts, in the order of Kubernetes 1.20's
-- default profile. Nodes that fit are scored (least used, preferred affinity, few pods of the same owner), and of
-- the best ones any may be taken: a choice point. A pod that fits nowhere waits until a node changes or a pod leaves. Not
-- here: preemption, volumes, topology spread.

local common = require "sandbox.controllers.common"
local company = require "sandbox.controllers.company"
local usage = require "sandbox.usage"

local PODS, NODES = "pods", "nodes"
local NONE = {}
local with = common.with

local function labels_of(node) return node.metadata.labels or NONE end

local function tolerates(toleration, taint)
  if toleration.effect and toleration.effect ~= "" and toleration.effect ~= taint.effect then return false end
  if toleration.key and toleration.key ~= "" and toleration.key ~= taint.key then return false end
  if toleration.operator == "Exists" then return true end
  return toleration.key ~= nil and (toleration.value or "") == (taint.value or "")
end

local function is_tolerated(pod, taint)
  for _, one in ipairs(pod.spec.tolerations or NONE) do
    if tolerates(one, taint) then return true end
  end
  return false
end

local function term_holds(term, node)
  local expressions, fields = term.matchExpressions or NONE, term.matchFields or NONE
  if not expressions[1] and not fields[1] then return false end
  return common.requirements_hold(expressions, labels_of(node))
    and common.requirements_hold(fields, { ["metadata.name"] = node.metadata.name })
end

local UNSCHEDULABLE = { key = "node.kubernetes.io/unschedulable", effect = "NoSchedule" }

local function unschedulable(_, pod, node)
  if node.spec and node.spec.unschedulable == true and not is_tolerated(pod, UNSCHEDULABLE) then return { "node(s) were unschedulable" } end
end

-- A pod that asks for anything at all is counted against these too, whether it wants any of them: a node that has given away more than
-- it has (to pods that came past the scheduler) takes none but those that ask for nothing.
local ALWAYS = { "cpu", "memory", "ephemeral-storage" }

local function names_of(wanted)
  local names = {}
  for name, value in pairs(wanted) do
    if value > 0 then names[#names + 1] = name end
  end
  for _, name in ipairs(names[1] and ALWAYS or NONE) do
    if (wanted[name] or 0) == 0 then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

local function resources(c, pod, node)
  local used, allocatable = c.usage:of(node.metadata.name), (node.status or NONE).allocatable or NONE
  local reasons, wanted = {}, c.usage:requests(pod)
  if (used and used.pods or 0) + 1 > usage.amount("pods", allocatable.pods) then reasons[1] = "Too many pods" end
  for _, name in ipairs(names_of(wanted)) do
    if (wanted[name] or 0) > usage.amount(name, allocatable[name]) - (used and used.sums[name] or 0) then
      reasons[#reasons + 1] = "Insufficient " .. name
    end
  end
  return reasons[1] and reasons or nil
end

local function host_name(_, pod, node)
  local name = pod.spec.nodeName
  if name and name ~= node.metadata.name then return { "node(s) didn't match the requested hostname" } end
end

local function ports_of(pod)
  local ports = {}
  for _, container in ipairs(pod.spec.containers) do
    for _, port in ipairs(container.ports or NONE) do
      if port.hostPort and port.hostPort > 0 then ports[(port.protocol or "TCP") .. "/" .. port.hostPort] = true end
    end
  end
  return ports
end

local function host_ports(c, pod, node)
  local wanted = ports_of(pod)
  if not next(wanted) then return nil end
  local used = c.usage:of(node.metadata.name)
  for key in pairs(used and used.keys or NONE) do
    local other = c.w:get(PODS, common.split(key))
    for port in pairs(other and ports_of(other.object) or NONE) do
      if wanted[port] then return { "node(s) didn't have free ports for the requested pod ports" } end
    end
  end
end

local function node_affinity(_, pod, node)
  local reason = { "node(s) didn't match Pod's node affinity" }
  if not common.labels_hold(pod.spec.nodeSelector, labels_of(node)) then return reason end
  local required = ((pod.spec.affinity or NONE).nodeAffinity or NONE).requiredDuringSchedulingIgnoredDuringExecution
  if not required then return nil end
  for _, term in ipairs(required.nodeSelectorTerms or NONE) do
    if term_holds(term, node) then return nil end
  end
  return reason
end

local function taints(_, pod, node)
  for _, taint in ipairs((node.spec or NONE).taints or NONE) do
    if taint.effect ~= "PreferNoSchedule" and not is_tolerated(pod, taint) then
      return { ("node(s) had taint {%s: %s}, that the pod didn't tolerate"):format(taint.key, taint.value or "") }
    end
  end
end

local PLUGINS = { unschedulable, host_name, taints, node_affinity, host_ports, resources }

local function objections(c, pod, node, others)
  for _, plugin in ipairs(PLUGINS) do
    local reasons = plugin(c, pod, node)
    if reasons then return reasons end
  end
  return company.against(others, node)
end

-- The larger the better; whole numbers, so that ties are ties.
local function score(c, pod, node)
  local used, allocatable = c.usage:of(node.metadata.name), (node.status or NONE).allocatable or NONE
  local total = 0
  for _, name in ipairs { "cpu", "memory" } do
    local most = usage.amount(name, allocatable[name])
    local taken = (used and used.sums[name] or 0) + (c.usage:requests(pod)[name] or 0)
    total = total + (most > 0 and (most - taken) * 50 // most or 0)
  end
  for _, one in ipairs(((pod.spec.affinity or NONE).nodeAffinity or NONE).preferredDuringSchedulingIgnoredDuringExecution or NONE) do
    if term_holds(one.preference or NONE, node) then total = total + (one.weight or 0) end
  end
  for _, taint in ipairs((node.spec or NONE).taints or NONE) do
    if taint.effect == "PreferNoSchedule" and not is_tolerated(pod, taint) then total = total - 100 end
  end
  local owner = common.controller_of(pod)
  for _, sibling in ipairs(owner and c.owners:controlled(owner.uid, PODS, pod.metadata.namespace) or NONE) do
    if sibling.spec.nodeName == node.metadata.name then total = total - 20 end
  end
  return total
end

-- -> a node, or nil and the sentence
local function select(c, pod)
  local best, most, counts = {}, nil, {}
  local nodes = c.w:each(NODES)
  if #nodes == 0 then return nil, "no nodes available to schedule pods" end
  local others = company.of(c, pod)
  for _, record in ipairs(nodes) do
    local reasons = objections(c, pod, record.object, others)
    for _, reason in ipairs(reasons or NONE) do counts[reason] = (counts[reason] or 0) + 1 end
    if not reasons then
      local points = #nodes > 1 and score(c, pod, record.object) or 0
      if not most or points > most then best, most = {}, points end
      if points == most then best[#best + 1] = record.object end
    end
  end
  if best[1] then return best[c.w:choose("node", #best)] end
  local parts = {}
  for reason, count in pairs(counts) do parts[#parts + 1] = count .. " " .. reason end
  table.sort(parts)
  return nil, ("0/%d nodes are available: %s."):format(#nodes, table.concat(parts, ", "))
end

-- Its first refusal adds a condition, and thereby a manager of fields; Kubernetes 1.20 takes that for a change of the pod and
-- tries once more at once.
local function refuse(c, pod, message)
  c:event_series(pod, "Warning", "FailedScheduling", message, "Scheduling")
  local first = false
  c:write(PODS, pod.metadata.namespace, pod.metadata.name, function(object)
    local known = common.condition(object.status, "PodScheduled")
    if known and known.status == "False" and known.reason == "Unschedulable" and known.message == message then return nil end
    first = known == nil
    local condition = { type = "PodScheduled", status = "False", reason = "Unschedulable", message = message, lastProbeTime = json.null,
      lastTransitionTime = known and known.status == "False" and known.lastTransitionTime or c.w:time() }
    return with(object, { status = with(object.status, {
      conditions = common.replace_condition((object.status or NONE).conditions, "PodScheduled", condition) }) })
  end, "kube-scheduler")
  if first then c:pend("scheduler", common.key(pod)) end
end

local function bind(c, pod, node)
  local record = c:write(PODS, pod.metadata.namespace, pod.metadata.name, function(object)
    if object.metadata.uid ~= pod.metadata.uid or object.spec.nodeName then return nil end
    local condition = { type = "PodScheduled", status = "True", lastProbeTime = json.null, lastTransitionTime = c.w:time() }
    return with(object, { spec = with(object.spec, { nodeName = node.metadata.name }), status = with(object.status, {
      conditions = common.replace_condition((object.status or NONE).conditions, "PodScheduled", condition) }) })
  end, false)
  if record then
    c:event_series(pod, "Normal", "Scheduled",
      ("Successfully assigned %s/%s to %s"):format(pod.metadata.namespace, pod.metadata.name, node.metadata.name), "Binding")
  end
  return record ~= nil
end

-- One try for the pod "namespace/name".
return function(c, key)
  local record = c.w:get(PODS, common.split(key))
  local pod = record and record.object
  if not pod or pod.spec.nodeName or pod.metadata.deletionTimestamp or common.is_finished(pod)
    or (pod.spec.schedulerName or "default-scheduler") ~= "default-scheduler" then
    return true
  end
  local node, why = select(c, pod)
  if node then return bind(c, pod, node) end
  refuse(c, pod, why)
  return true
end
