-- What a scenario does to a namespace, step by step, chosen at random: deployments that roll out, get stuck, are scaled,
-- paused and deleted; quotas that refuse pods; pods that go.
--
-- A step is data: { words =, run = function(api, namespace) }, made once and played on both backends. After each, both must come
-- to rest in the same state (summary.lua), also where rest means "stuck": how many pods of the old and the new template are left
-- then is the arithmetic of surge and unavailability.

local M = {}

local IMAGES = { runs = "registry.example/runs:v%d", missing = "registry.example/missing:v%d", ["never ready"] = "registry.example/never:v%d",
  invalid = "registry.example/invalid:v%d" }

-- What the images do, for both kubelets. Each behaviour has nine images.
function M.each_image(visit)
  for behaviour, image in pairs(IMAGES) do
    for i = 1, 9 do visit(image:format(i), behaviour) end
  end
end

local function image(s, behaviour)
  return IMAGES[behaviour or s:weighted { { 6, "runs" }, { 3, "missing" }, { 2, "never ready" }, { 1, "invalid" } }]:format(s:number(9))
end

local function strategy(s)
  return s:weighted { { 3, json.null }, { 1, { type = "Recreate" } },
    { 5, { type = "RollingUpdate",
      rollingUpdate = { maxSurge = s:pick { 0, 1, 2, "25%", "50%", "100%" }, maxUnavailable = s:pick { 1, 2, "25%", "50%" } } } },
    { 1, { type = "RollingUpdate", rollingUpdate = { maxSurge = 1, maxUnavailable = 0 } } } }
end

local function container(s)
  local out = { name = "main", image = image(s) }
  local roll = s:number(10)
  if roll == 1 then out.resources = { requests = { cpu = "1000" } } -- on no node
  elseif roll == 2 then out.resources = { requests = { ["example.com/thing"] = "1" }, limits = { ["example.com/thing"] = "1" } }
  elseif roll <= 5 then out.resources = { requests = { cpu = "10m" } } end
  return out
end

local function deployment(s, name)
  local spec = { replicas = s:number(5) - 1, selector = { matchLabels = { app = name } },
    template = { metadata = { labels = { app = name } }, spec = { containers = json.array { container(s) } } } }
  local chosen = strategy(s)
  if chosen ~= json.null then spec.strategy = chosen end
  if s:chance(15) then spec.template.spec.nodeSelector = { disk = s:pick { "ssd", "none" } } end
  if s:chance(15) then spec.revisionHistoryLimit = s:number(3) - 1 end
  if s:chance(15) then spec.paused = true end
  if s:chance(15) then spec.progressDeadlineSeconds = 2 end
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
  local object = deployment(s, "d" .. state.made)
  state.deployments[#state.deployments + 1] = object.metadata.name
  return { words = "create " .. json.encode(object.spec), run = function(api, namespace) api:create(in_namespace(object, namespace)) end }
end

local function with_deployment(make)
  return function(s, state)
    if #state.deployments == 0 then return nil end
    return make(s, s:pick(state.deployments), state)
  end
end

steps.scale = with_deployment(function(s, name) return patching("scale " .. name, "Deployment", name, { spec = { replicas = s:number(6) - 1 } }) end)

steps.image = with_deployment(function(s, name)
  return patching("image of " .. name, "Deployment", name, { spec = { template = { spec = { containers = json.array { container(s) } } } } })
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
steps.lose = with_deployment(function(_, name)
  return { words = "delete the pods of " .. name, run = function(api, namespace)
    api:ask { method = "DELETE", path = api.path("Pod", namespace), query = { labelSelector = "app=" .. name } }
  end }
end)

-- What tells pods apart that does not differ from backend to backend: whether it serves, and its image.
local function rank(pod)
  local ready = "2"
  for _, c in ipairs(pod.status.conditions or {}) do
    if c.type == "Ready" and c.status == "True" then ready = "1" end
  end
  return ready .. pod.spec.containers[1].image
end

-- One is taken out of the selector: it is let go of, and another made.
steps.release = with_deployment(function(_, name)
  return { words = "relabel a pod of " .. name, run = function(api, namespace)
    local pods = api:list("Pod", namespace, "app=" .. name)
    table.sort(pods, function(x, y) return rank(x) < rank(y) end)
    if pods[1] then api:patch("Pod", namespace, pods[1].metadata.name, "merge", { metadata = { labels = { app = "released" } } }) end
  end }
end)

function steps.quota(s, state)
  if state.quota then
    state.quota = nil
    return { words = "delete the quota", run = function(api, namespace) api:delete("ResourceQuota", namespace, "quota") end }
  end
  state.quota = true
  local hard = { pods = tostring(s:number(4) - 1) }
  return { words = "a quota of " .. hard.pods .. " pods", run = function(api, namespace)
    api:create { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "quota", namespace = namespace }, spec = { hard = hard } }
  end }
end

-- Under a quota a rollout is a race for the room that is left; scaling is none.
local CALM = { { 4, "scale" }, { 2, "quota" }, { 1, "annotate" } }

local WEIGHTS = { { 3, "create" }, { 4, "scale" }, { 6, "image" }, { 2, "pause" }, { 2, "strategy" }, { 1, "annotate" }, { 1, "delete" }, { 1, "lose" },
  { 1, "release" } }

-- The steps of one scenario.
function M.make(s)
  local state = { made = 0, deployments = {} }
  local list = { steps.create(s, state) }
  local calm = s:chance(20)
  for _ = 1, 3 + s:number(3) do
    local step = steps[s:weighted(calm and CALM or WEIGHTS)](s, state)
    if step then list[#list + 1] = step end
  end
  return list
end

return M
