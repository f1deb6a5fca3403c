-- Stories of a cluster: what people do to Deployments, told once and played on the sandbox and on a real control plane.
--
-- A story is a list of steps; each does something and then waits until the cluster has come to rest, where both sides must look
-- the same. `t` is the side that plays (sides.lua): t:deploy(name, change), t:patch(name, body), t:image(name, behaviour),
-- t:request(method, path, body), t:delete(propagation), t:quota(hard) ... seconds: how long each step needs at least. loose: in how
-- many steps a rollout goes depends on which pod is ready first, and is not compared.

local function image(version)
  return { spec = { template = { spec = { containers = json.array { { name = "main", image = "reg/app:" .. version,
    resources = { requests = { cpu = "100m" } } } } } } } }
end

local function paused(value) return { spec = { paused = value } } end

local function replicas(count) return { spec = { replicas = count } } end

local function with(changes)
  return function(object)
    for name, value in pairs(changes) do object.spec[name] = value end
  end
end

local function rolling(surge, unavailable)
  return { type = "RollingUpdate", rollingUpdate = { maxSurge = surge, maxUnavailable = unavailable } }
end

local function only(key, operator, ...)
  return { nodeAffinity = { requiredDuringSchedulingIgnoredDuringExecution = { nodeSelectorTerms = json.array {
    { matchExpressions = json.array { { key = key, operator = operator, values = json.array { ... } } } } } } } }
end

local TAINT = { key = "only", value = "gpu", effect = "NoSchedule" }

local RECREATE = { replicas = 2, strategy = { type = "Recreate" } }

return {
  { "a Deployment from nothing to nothing",
    function(t) t:deploy("app") end,
    function(t) t:patch("app", replicas(3)) end,
    function(t) t:patch("app", image "v2") end,
    function(t) t:patch("app", replicas(1)) end,
    function(t) t:patch("app", replicas(0)) end,
    function(t) t:patch("app", replicas(2)) end,
    function(t) t:delete("Background") end },
  { "a rollout that gets stuck, and goes back",
    function(t) t:deploy("app", with { replicas = 4 }) end,
    function(t)
      t:image("reg/app:v2", "never ready")
      t:patch("app", image "v2")
    end,
    function(t) t:patch("app", replicas(8)) end,
    function(t) t:patch("app", replicas(5)) end,
    function(t) t:patch("app", image "v1") end,
    function(t)
      t:image("reg/app:v2", "runs")
      t:patch("app", image "v2")
    end,
    loose = true },
  { "surge and unavailable in numbers and percent",
    function(t) t:deploy("app", with { replicas = 5, strategy = rolling(0, 2) }) end,
    function(t)
      t:image("reg/app:v2", "never ready")
      t:patch("app", image "v2")
    end,
    function(t) t:patch("app", { spec = { strategy = rolling("50%", "10%") } }) end,
    function(t) t:image("reg/app:v2", "runs") end,
    loose = true },
  { "paused, changed, resized, resumed",
    function(t) t:deploy("app") end,
    function(t) t:patch("app", paused(true)) end,
    function(t) t:patch("app", image "v2") end,
    function(t) t:patch("app", replicas(3)) end,
    function(t) t:patch("app", paused(false)) end },
  { "made paused",
    function(t) t:deploy("app", with { paused = true }) end,
    function(t) t:patch("app", paused(false)) end },
  { "a missing image",
    function(t)
      t:image("reg/app:v1", "missing")
      t:deploy("app")
    end,
    function(t) t:image("reg/app:v1", "runs") end },
  { "the progress deadline",
    function(t)
      t:image("reg/app:v1", "never ready")
      t:deploy("app", with { replicas = 2, progressDeadlineSeconds = 2 })
    end,
    function(t) t:patch("app", replicas(3)) end,
    function(t) t:image("reg/app:v1", "runs") end,
    function(t)
      t:image("reg/app:v2", "never ready")
      t:patch("app", image "v2")
    end,
    seconds = 4 },
  { "without a progress deadline",
    function(t) t:deploy("app", with { progressDeadlineSeconds = 2147483647 }) end,
    function(t) t:patch("app", image "v2") end },
  { "Recreate",
    function(t) t:deploy("app", with(RECREATE)) end,
    function(t) t:patch("app", image "v2") end,
    function(t) t:patch("app", replicas(1)) end,
    function(t) t:patch("app", { spec = { strategy = { type = "RollingUpdate" } } }) end,
    function(t) t:patch("app", image "v1") end,
    loose = true },
  { "few revisions are kept",
    function(t) t:deploy("app", with { revisionHistoryLimit = 1 }) end,
    function(t) t:patch("app", image "v2") end,
    function(t) t:patch("app", image "v3") end,
    function(t) t:patch("app", image "v4") end,
    function(t) t:patch("app", image "v3") end,
    function(t) t:patch("app", { spec = { revisionHistoryLimit = 0 } }) end },
  { "labels and annotations",
    function(t) t:deploy("app") end,
    function(t)
      t:patch("app", { metadata = { annotations = { ["kubernetes.io/change-cause"] = "why not" }, labels = { team = "a" } } })
    end,
    function(t) t:patch("app", { spec = { template = { metadata = { annotations = { note = "x" } } } } }) end,
    function(t) t:patch("app", { metadata = { annotations = { note = "y" } } }) end },
  { "ready for a while before it counts",
    function(t) t:deploy("app", with { minReadySeconds = 2, replicas = 2 }) end,
    function(t) t:patch("app", image "v2") end,
    function(t) t:patch("app", { spec = { minReadySeconds = 0 } }) end,
    seconds = 12 },
  { "no room",
    function(t) t:deploy("app", function(o) o.spec.template.spec.containers[1].resources.requests.cpu = "100" end) end,
    function(t) t:deploy("label", function(o) o.spec.template.spec.nodeSelector = { no = "where" } end) end,
    function(t) t:deploy("device", function(o)
      o.spec.template.spec.containers[1].resources = { limits = { ["example.com/gpu"] = "1" } }
    end) end,
    function(t) t:deploy("both", function(o)
      o.spec.template.spec.containers[1].resources = { requests = { cpu = "9", memory = "999Gi" } }
    end) end,
    function(t) t:deploy("neither", function(o)
      o.spec.template.spec.containers[1].resources = { requests = { cpu = "9" } }
      o.spec.template.spec.nodeSelector = { no = "where" }
    end) end,
    function(t) t:deploy("name", function(o)
      o.spec.template.spec.affinity = only("kubernetes.io/hostname", "NotIn", "node-1")
    end) end,
    function(t) t:patch("app", image "v1") end },
  { "a node that is closed, and one with a taint",
    function(t) t:node({ spec = { unschedulable = true } }) end,
    function(t) t:deploy("app") end,
    function(t) t:node({ spec = { unschedulable = json.null, taints = json.array { TAINT } } }) end,
    function(t) t:deploy("big", function(o)
      o.spec.template.spec.containers[1].resources.requests.cpu = "100"
      o.spec.template.spec.nodeSelector = { no = "where" }
    end) end,
    function(t) t:deploy("tolerant", function(o)
      o.spec.template.spec.tolerations = json.array { { key = "only", operator = "Equal", value = "gpu", effect = "NoSchedule" } }
    end) end,
    function(t) t:node({ spec = { taints = json.null } }) end },
  { "pods that keep apart",
    function(t) t:deploy("app", function(o)
      o.spec.replicas = 2
      o.spec.template.spec.affinity = { podAntiAffinity = { requiredDuringSchedulingIgnoredDuringExecution = json.array {
        { topologyKey = "kubernetes.io/hostname", labelSelector = { matchLabels = { app = "app" } } } } } }
    end) end,
    function(t) t:deploy("friend", function(o)
      o.spec.template.spec.affinity = { podAffinity = { requiredDuringSchedulingIgnoredDuringExecution = json.array {
        { topologyKey = "kubernetes.io/hostname", labelSelector = { matchLabels = { app = "app" } } } } } }
    end) end,
    function(t) t:deploy("lonely", function(o)
      o.spec.template.spec.affinity = { podAffinity = { requiredDuringSchedulingIgnoredDuringExecution = json.array {
        { topologyKey = "kubernetes.io/hostname", labelSelector = { matchLabels = { app = "late" } } } } } }
    end) end,
    function(t) t:deploy("late") end },
  { "a port of the node, twice",
    function(t) t:deploy("app", function(o)
      o.spec.replicas = 2
      o.spec.template.spec.containers[1].ports = json.array { { containerPort = 80, hostPort = 8080 } }
    end) end },
  { "more pods than a node takes",
    function(t) t:deploy("app", with { replicas = 25 }) end,
    function(t) t:patch("app", replicas(3)) end,
    loose = true },
  { "a quota in the way",
    function(t) t:quota({ pods = "2" }) end,
    function(t) t:deploy("app", with { replicas = 4 }) end,
    function(t) t:patch("app", image "v2") end,
    function(t) t:quota({ pods = "20" }) end,
    seconds = 14, loose = true },
  { "a quota of computing power",
    function(t) t:quota({ ["requests.cpu"] = "250m", ["limits.memory"] = "1Gi" }) end,
    function(t) t:deploy("app") end,
    function(t)
      local container = { name = "main", image = "reg/app:v1", resources = { requests = { cpu = "100m" }, limits = { memory = "256Mi" } } }
      t:patch("app", { spec = { replicas = 3, template = { spec = { containers = json.array { container } } } } })
    end,
    seconds = 6 },
  { "deleted in the foreground",
    function(t) t:deploy("app", with { replicas = 2 }) end,
    function(t) t:delete("Foreground") end },
  { "orphans, adopted again",
    function(t) t:deploy("app", with { replicas = 2 }) end,
    function(t) t:delete("Orphan") end,
    function(t) t:deploy("app", with { replicas = 3 }) end },
  { "a pod relabelled is replaced, and one labelled is taken in",
    function(t) t:deploy("app", with { replicas = 2 }) end,
    function(t) t:relabel({ app = "other" }) end,
    function(t) t:delete("Background") end },
  { "a pod deleted by hand",
    function(t) t:deploy("app", with { replicas = 2 }) end,
    function(t) t:remove_pod() end },
  { "the addresses of a Service",
    function(t)
      t:service("web", { selector = { app = "app" }, ports = json.array { { name = "http", port = 80, targetPort = 8080 } } })
    end,
    function(t) t:deploy("app", with { replicas = 2 }) end,
    function(t) t:image("reg/app:v1", "never ready") end,
    function(t) t:image("reg/app:v1", "runs") end,
    function(t) t:service("named", {
      clusterIP = "None", selector = { app = "app" }, ports = json.array { { name = "http", port = 80, targetPort = "http" } },
    }) end,
    function(t) t:patch("app", replicas(0)) end,
    function(t) t:request("DELETE", "/api/v1/namespaces/NAMESPACE/services/web") end },
  { "a namespace with all that is in it",
    function(t) t:deploy("app", with { replicas = 2 }) end,
    function(t) t:request("DELETE", "/api/v1/namespaces/NAMESPACE") end,
    seconds = 9 },
}
