-- What the pods of a scenario ask for, at random: images, resources that are there, scarce or nowhere, nodes that they want or
-- avoid, neighbours, ports, classes. And the nodes on which they are to find it.
--
-- Scenarios run side by side on the same nodes, and must not feel each other: what is scarce is a resource of the scenario's
-- own (its slot: example.com/slot3; pods of a former scenario may still be going away), as are ports of the host. All of a slot is on
-- one node, so that how many pods get one does not hang on where the first was put.

local M = {}

M.SLOTS, M.SLOT_SIZE = 64, 3

-- What a node offers, of which scenarios never run out.
local function roomy(labels, more)
  local node = { cpu = "64", memory = "256Gi", pods = "5000", labels = labels }
  for name, amount in pairs(more or {}) do node[name] = amount end
  return node
end

local function slots()
  local out = {}
  for i = 1, M.SLOTS do out["example.com/slot" .. i] = tostring(M.SLOT_SIZE) end
  return out
end

local TAINT = { key = "only", value = "gpu", effect = "NoSchedule" }

-- By name: what they have, and in `spec` what keeps pods off them.
M.NODES = {
  ["node-1"] = { has = roomy({ disk = "ssd" }, slots()) },
  ["node-2"] = { has = roomy { disk = "hdd" } },
  ["node-3"] = { has = roomy { disk = "ssd", gpu = "yes" }, spec = { taints = json.array { TAINT } } },
  ["node-4"] = { has = roomy { disk = "hdd" }, spec = { unschedulable = true } },
  ["node-5"] = { has = { cpu = "1", memory = "1Gi", pods = "0", labels = { disk = "none" } } },
}

local IMAGES = { runs = "registry.example/runs:v%d", missing = "registry.example/missing:v%d", ["never ready"] = "registry.example/never:v%d",
  invalid = "registry.example/invalid:v%d" }

-- What the images do, for both kubelets. Each behaviour has nine images.
function M.each_image(visit)
  for behaviour, image in pairs(IMAGES) do
    for i = 1, 9 do visit(image:format(i), behaviour) end
  end
end

-- The image of a scenario whose pods begin and cease to serve under its hands.
function M.moody(state) return ("registry.example/moody-%d:v1"):format(state.seed) end

local function image(s, state)
  local behaviour = s:weighted { { 6, "runs" }, { 3, "missing" }, { 2, "never ready" }, { 1, "invalid" }, { 2, "moody" } }
  if behaviour == "moody" then return M.moody(state) end
  return IMAGES[behaviour]:format(s:number(9))
end

function M.container(s, state)
  local out = { name = "main", image = image(s, state) }
  local roll = s:number(12)
  if roll == 1 then out.resources = { requests = { cpu = "1000" } } -- on no node
  elseif roll == 2 then out.resources = { requests = { ["example.com/thing"] = "1" }, limits = { ["example.com/thing"] = "1" } }
  elseif roll <= 5 then out.resources = { requests = { cpu = "10m" } }
  elseif roll == 6 then
    local slot = "example.com/slot" .. state.seed % M.SLOTS + 1
    out.resources = { requests = { [slot] = "1" }, limits = { [slot] = "1" } }
    state.is_scarce = true
  end
  return out
end

local function expressions(...)
  return { requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms = json.array { { matchExpressions = json.array { ... } } } } }
end

local function beside(app)
  return json.array { { topologyKey = "kubernetes.io/hostname", labelSelector = { matchLabels = { app = app } } } }
end

-- Each changes a pod's spec.
local WISHES = {
  function(spec, s) spec.nodeSelector = { disk = s:pick { "ssd", "hdd", "none", "tape" } } end,
  function(spec) spec.tolerations = json.array { { key = "only", operator = "Exists" } } end,
  function(spec) spec.tolerations = json.array { { key = "only", operator = "Equal", value = "cpu", effect = "NoSchedule" } } end,
  function(spec) -- only where it is tolerated
    spec.nodeSelector = { gpu = "yes" }
    spec.tolerations = json.array { { key = "only", value = "gpu", effect = "NoSchedule" } }
  end,
  function(spec) spec.nodeSelector = { gpu = "yes" } end,
  function(spec, s)
    spec.affinity = { nodeAffinity = expressions({ key = "disk", operator = s:pick { "In", "NotIn" }, values = json.array { s:pick { "ssd", "none" } } }) }
  end,
  function(spec, s) spec.affinity = { nodeAffinity = expressions { key = "gpu", operator = s:pick { "Exists", "DoesNotExist" } } } end,
  function(spec, _, state)
    spec.containers[1].ports = json.array { { containerPort = 8080, hostPort = 20000 + state.seed % 20000 } }
    state.is_scarce = true
  end,
  function(spec) spec.priorityClassName = "nobody" end, -- that is not there: no pod may be made
  function(spec) spec.nodeName = "node-4" end, -- past the scheduler, and where nobody else is
  function(spec) spec.schedulerName = "another" end, -- that is not there
}

-- What only the first template of a deployment may wish: where pods of a former one are is the scheduler's free choice. One node, so
-- that nothing hangs on which of two took the first.
local FIRST_WISHES = {
  function(spec, _, state)
    spec.nodeSelector = { disk = "ssd" }
    spec.affinity = { podAntiAffinity = { requiredDuringSchedulingIgnoredDuringExecution = beside(state.name) } }
  end,
  function(spec, s, state)
    spec.nodeSelector = { disk = "ssd" }
    spec.affinity = { podAffinity = { requiredDuringSchedulingIgnoredDuringExecution = beside(s:pick { state.name, "nobody" }) } }
  end,
}

-- A pod's spec (state.name: of which deployment; is_first: its first). wished: how likely (percent) it wants something of its node.
function M.spec(s, state, wished, is_first)
  local spec = { containers = json.array { M.container(s, state) } }
  if is_first and s:chance(10) then
    s:pick(FIRST_WISHES)(spec, s, state)
    state.is_scarce = true
    return spec
  end
  if s:chance(wished) then s:pick(WISHES)(spec, s, state) end
  return spec
end

return M
