-- What a scenario does to a namespace, step by step, chosen at random: deployments that roll out, get stuck, are scaled, paused,
-- taken back, orphaned and deleted; quotas that refuse pods; pods that go, fail, or cease to serve.
--
-- A step is data: { words =, run = function(api, namespace) }, made once and played on both backends. After each, both must come
-- to rest in the same state (summary.lua), also where rest means "stuck": how many pods of the old and the new template are left
-- then is the arithmetic of surge and unavailability. What pods ask for is templates.lua's.

local include = require "include"
local templates = include "spec/sandbox/controllers/templates.lua"

local M = {}

local function strategy(s)
  return s:weighted { { 3, json.null }, { 1, { type = "Recreate" } },
    { 5, { type = "RollingUpdate",
      rollingUpdate = { maxSurge = s:pick { 0, 1, 2, "25%", "50%", "100%" }, maxUnavailable = s:pick { 1, 2, "25%", "50%" } } } },
    { 1, { type = "RollingUpdate", rollingUpdate = { maxSurge = 1, maxUnavailable = 0 } } } }
end

local function replicas(s) return s:weighted { { 8, s:number(5) - 1 }, { 2, 4 + s:number(8) } } end

local function deployment(s, state, name)
  state.name = name
  local spec = { replicas = replicas(s), selector = { matchLabels = { app = name } },
    template = { metadata = { labels = { app = name } }, spec = templates.spec(s, state, 30, true) } }
  local chosen = strategy(s)
  if chosen ~= json.null then spec.strategy = chosen end
  if s:chance(15) then spec.revisionHistoryLimit = s:number(3) - 1 end
  if s:chance(15) then spec.paused = true end
  if s:chance(15) then spec.progressDeadlineSeconds = 2 end
  if s:chance(15) then spec.minReadySeconds = 1 end
  return { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = name }, spec = spec }
end

local function in_namespace(object, namespace)
  local copy = json.decode(json.encode(object))
  copy.metadata.namespace = namespace
  return copy
end

local function patching(words, kind, name, patch)
  return { words = words .. " " .. json.encode(patch), run = function(api, namespace) api:patch(kind, namespace, name, "merge", patch) end }
end

local steps = {}

function steps.create(s, state)
  state.made = state.made + 1
  local object = deployment(s, state, "d" .. state.made)
  state.deployments[#state.deployments + 1] = object.metadata.name
  return { words = "create " .. json.encode(object.spec), run = function(api, namespace) api:create(in_namespace(object, namespace)) end }
end

local function with_deployment(make)
  return function(s, state)
    if #state.deployments == 0 then return nil end
    return make(s, s:pick(state.deployments), state)
  end
end

steps.scale = with_deployment(function(s, name) return patching("scale " .. name, "Deployment", name, { spec = { replicas = replicas(s) } }) end)

-- With a deployment, and only while nothing is scarce: which of the pods that wait gets the room of one that goes is a
-- matter of moments on both sides.
local function with_room(make)
  return with_deployment(function(s, name, state) return not state.is_scarce and make(s, name, state) or nil end)
end

steps.image = with_room(function(s, name, state)
  return patching("image of " .. name, "Deployment", name,
    { spec = { template = { spec = { containers = json.array { templates.container(s, state) } } } } })
end)

-- The whole template, with what it wants of nodes.
steps.template = with_room(function(s, name, state)
  state.name = name
  local spec = templates.spec(s, state, 60)
  return { words = "template of " .. name .. " " .. json.encode(spec), run = function(api, namespace)
    api:patch("Deployment", namespace, name, "json", json.array { { op = "replace", path = "/spec/template/spec", value = spec } })
  end }
end)

local function revision(rs) return tonumber((rs.metadata.annotations or {})["deployment.kubernetes.io/revision"]) or 0 end

-- As kubectl rollout undo: the template of an earlier revision, here the first that is kept.
steps.undo = with_room(function(_, name)
  return { words = "undo " .. name, run = function(api, namespace)
    local sets = api:list("ReplicaSet", namespace, "app=" .. name)
    table.sort(sets, function(x, y) return revision(x) < revision(y) end)
    if not sets[1] then return end
    local template = sets[1].spec.template
    template.metadata.labels["pod-template-hash"] = nil
    api:patch("Deployment", namespace, name, "json", json.array { { op = "replace", path = "/spec/template", value = template } })
  end }
end)

steps.restart = with_room(function(s, name)
  local at = ("2026-01-01T00:00:%02dZ"):format(s:number(60) - 1)
  return patching("restart " .. name, "Deployment", name,
    { spec = { template = { metadata = { annotations = { ["kubectl.kubernetes.io/restartedAt"] = at } } } } })
end)

steps.pause = with_deployment(function(s, name) return patching("pause " .. name, "Deployment", name, { spec = { paused = s:chance(40) } }) end)

steps.strategy = with_deployment(function(s, name)
  local chosen = strategy(s)
  if chosen == json.null then return nil end
  if chosen.type == "Recreate" then chosen.rollingUpdate = json.null end
  return patching("strategy of " .. name, "Deployment", name, { spec = { strategy = chosen } })
end)

steps.annotate = with_deployment(function(s, name)
  return patching("annotate " .. name, "Deployment", name,
    { metadata = { annotations = { note = tostring(s:number(3)) }, labels = { l = tostring(s:number(3)) } } })
end)

steps.delete = with_deployment(function(s, name, state)
  local policy = s:pick { "Background", "Foreground" }
  for i, known in ipairs(state.deployments) do
    if known == name then table.remove(state.deployments, i) end
  end
  return { words = "delete " .. name .. " " .. policy, run = function(api, namespace)
    api:ask { method = "DELETE", path = api.path("Deployment", namespace, name), body = { propagationPolicy = policy } }
  end }
end)

-- Each pod of a deployment goes: they are made again.
steps.lose = with_room(function(_, name)
  return { words = "delete the pods of " .. name, run = function(api, namespace)
    api:ask { method = "DELETE", path = api.path("Pod", namespace), query = { labelSelector = "app=" .. name } }
  end }
end)

-- What tells pods apart that does not differ from backend to backend: whether it serves, has a node, has ended, its image, and the
-- revision that it is of.
local function rank(pod, revisions)
  local ready = pod.spec.nodeName and "2" or "3"
  for _, c in ipairs(pod.status.conditions or {}) do
    if c.type == "Ready" and c.status == "True" then ready = "1" end
  end
  local owner = (pod.metadata.ownerReferences or {})[1]
  return ("%s%s%s%d"):format(ready, pod.status.phase == "Failed" and "ended" or "", pod.spec.containers[1].image,
    owner and revisions[owner.name] or 0)
end

-- (waits) The name of the first pod of a deployment by its rank, or nil.
local function first_pod(api, namespace, name)
  local pods, revisions = api:list("Pod", namespace, "app=" .. name), {}
  for _, rs in ipairs(api:list("ReplicaSet", namespace, "app=" .. name)) do revisions[rs.metadata.name] = revision(rs) end
  table.sort(pods, function(x, y) return rank(x, revisions) < rank(y, revisions) end)
  return pods[1] and pods[1].metadata.name
end

-- One is taken out of the selector: it is let go of, and another made.
steps.release = with_room(function(_, name)
  return { words = "relabel a pod of " .. name, run = function(api, namespace)
    local pod = first_pod(api, namespace, name)
    if pod then api:patch("Pod", namespace, pod, "merge", { metadata = { labels = { app = "released" } } }) end
  end }
end)

-- The newest of its ReplicaSets is scaled, or deleted, behind its back.
local function behind_its_back(words, act)
  return with_deployment(function(_, name)
    return { words = words .. " " .. name, run = function(api, namespace)
      local sets = api:list("ReplicaSet", namespace, "app=" .. name)
      table.sort(sets, function(x, y) return revision(x) > revision(y) end)
      if sets[1] then act(api, namespace, sets[1].metadata.name) end
    end }
  end)
end

-- (To nothing: of pods that are too many and go at once, whether the scheduler has said something is a matter of moments.)
steps.meddle = behind_its_back("scale to nothing the replica set of", function(api, namespace, name)
  api:patch("ReplicaSet", namespace, name, "merge", { spec = { replicas = 0 } })
end)

steps.unset = behind_its_back("delete the replica set of", function(api, namespace, name) api:delete("ReplicaSet", namespace, name) end)

-- One of its pods is evicted, as by a kubelet that runs out of room: it stays, Failed, and another is made.
steps.evict = with_room(function(_, name)
  return { words = "evict a pod of " .. name, run = function(api, namespace)
    local pod = first_pod(api, namespace, name)
    if not pod then return end
    api:patch("Pod", namespace, pod, "merge",
      { status = { phase = "Failed", reason = "Evicted", message = "The node was low on resource: memory." } }, "status")
  end }
end)

-- Deleted without what it has, and made again: it takes back what is there.
steps.orphan = with_deployment(function(_, name)
  return { words = "delete " .. name .. " Orphan, and make it again", run = function(api, namespace)
    local object = api:get("Deployment", namespace, name)
    api:ask { method = "DELETE", path = api.path("Deployment", namespace, name), body = { propagationPolicy = "Orphan" } }
    api.eventually(name .. " is gone", 10, function() return not api:get("Deployment", namespace, name) end)
    api:create { apiVersion = object.apiVersion, kind = object.kind, spec = object.spec,
      metadata = { name = name, namespace = namespace, labels = object.metadata.labels } }
  end }
end)

-- The moody image serves, or does not any more.
function steps.mood(_, state)
  state.serves = not state.serves
  local behaviour = state.serves and "runs" or "never ready"
  return { words = templates.moody(state) .. ": " .. behaviour, run = function(api) api.behave(templates.moody(state), behaviour) end }
end

-- What a quota may allow; the second kind refuses pods that do not say what they want.
local function hard(s)
  return s:weighted { { 4, { pods = tostring(s:number(4) - 1) } }, { 1, { ["requests.cpu"] = s:pick { "20m", "35m" } } },
    { 1, { pods = "3", ["requests.cpu"] = "20m" } }, { 1, { ["count/replicasets.apps"] = "1" } } }
end

function steps.quota(s, state)
  if state.quota then
    state.quota = nil
    return { words = "delete the quota", run = function(api, namespace) api:delete("ResourceQuota", namespace, "quota") end }
  end
  state.quota = true
  local allowed = hard(s)
  return { words = "a quota of " .. json.encode(allowed), run = function(api, namespace)
    api:create { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "quota", namespace = namespace }, spec = { hard = allowed } }
  end }
end

-- Under a quota a rollout is a race for the room that is left; scaling is none.
local CALM = { { 4, "scale" }, { 2, "quota" }, { 1, "annotate" } }

local WEIGHTS = { { 3, "create" }, { 4, "scale" }, { 5, "image" }, { 4, "template" }, { 2, "undo" }, { 1, "restart" }, { 2, "pause" }, { 2, "strategy" },
  { 1, "annotate" }, { 1, "delete" }, { 1, "lose" }, { 1, "release" }, { 1, "meddle" }, { 1, "unset" }, { 1, "evict" }, { 1, "orphan" }, { 2, "mood" } }

-- The steps of one scenario; seed: its own.
function M.make(s, seed)
  local state = { seed = seed, serves = true, made = 0, deployments = {} }
  local list = { steps.create(s, state) }
  local calm = s:chance(20)
  for _ = 1, 4 + s:number(4) do
    local step = steps[s:weighted(calm and CALM or WEIGHTS)](s, state)
    if step then list[#list + 1] = step end
  end
  return list
end

return M
