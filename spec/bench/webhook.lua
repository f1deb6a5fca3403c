-- Admission reviews under load: 2,000 a second over TLS, as an API server posts them, for SECONDS; how long each takes as the caller
-- sees it.
--
-- build/moonphase sandbox -- build/moonphase repl spec/bench/webhook.lua [SECONDS] [RATE]
-- Two cores that nobody else uses, please: other work shows as stalls. (`chrt -r 10` before it keeps that out.)
--
-- Reviews are sent when they are due, whether earlier ones were answered or not: a webhook that stalls is seen to stall. Half of
-- them admit a pod and reserve for it, a quarter are dry runs, a quarter are refused. The pod is as large as a model's (8 KB).

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local figure = include "spec/bench/figure.lua"
local proc = include "spec/bench/proc.lua"

local SECONDS, RATE = tonumber(args[1]) or 8, tonumber(args[2]) or 2000
local BINARY = process.env("MOONPHASE") or "build/moonphase"
local PORT = 20000 + process.id % 20000
local GOAL_MS = 2
local CONNECTIONS = 16

local folder = assert(fs.temporary())
local cluster = assert(kube.open {})
local api = api_words.new(cluster)
api:install_crds()
for _, group in ipairs { { "wide", "1000000" }, { "full", "0" } } do
  api:create { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = group[1], namespace = "default" },
    spec = { enabledDeployment = true, quota = { cpu = group[2], memory = "1000Ti" } } }
end

-- The one caller is known by its certificate: without one an address may hold 1,000 reservations.
local now = loop.wall_ms() // 1000
local caller = assert(certificate.make { subject = "api server", names = { "api" }, not_before = now - 60, not_after = now + 3600 })
assert(fs.write(folder .. "/ca", caller.authority))
local operator = assert(process.spawn { inherit = true, argv = { BINARY, "run", "--namespace", "default", "--http-addr", "",
  "--webhook-addr", "127.0.0.1:" .. PORT, "--webhook-client-ca", folder .. "/ca", "--control-socket", folder .. "/sock", "--log-level", "error" } })
api_words.eventually("the webhook answers", 30, function()
  local answer = http.request { url = "http://localhost/readyz", unix = folder .. "/sock", timeout = 5 }
  return answer and answer.status == 200
end)
local bundle = base64.decode(json.decode(api:ask({ path = "/api/v1/namespaces/default/secrets/moonphase-webhook" }).body).data["ca.crt"])

-- The pod of a model, with what an API server adds, cut at the places that differ from review to review.
local function template(group, dry_run)
  local function container(name, cpu)
    local env = json.array {}
    for i = 1, 20 do env[i] = { name = "VARIABLE_" .. i, value = ("some value or other "):rep(2) } end
    return { name = name, image = "registry.example/team/" .. name .. ":v1", env = env,
      resources = { limits = { cpu = cpu, memory = "1Gi" }, requests = { cpu = cpu, memory = "1Gi" } },
      livenessProbe = { tcpSocket = { port = 9000 }, periodSeconds = 10 }, readinessProbe = { tcpSocket = { port = 9000 }, periodSeconds = 10 } }
  end
  return json.encode { apiVersion = "admission.k8s.io/v1", kind = "AdmissionReview", request = {
    uid = "@NUMBER@@", operation = "CREATE", namespace = "default", dryRun = dry_run, kind = { group = "", version = "v1", kind = "Pod" },
    resource = { group = "", version = "v1", resource = "pods" }, userInfo = { username = "system:serviceaccount:kube-system:replicaset-controller" },
    object = { apiVersion = "v1", kind = "Pod",
      metadata = { name = "deploy-m-7d9f8-@NUMBER@@", namespace = "default", uid = "@NUMBER@@", labels = { ["primehub.io/group"] = "escaped-" .. group,
        ["primehub.io/phdeployment"] = "m" }, managedFields = json.array { { manager = "kube-controller-manager",
          fieldsV1 = { ["f:spec"] = { ["f:containers"] = { x = ("field "):rep(200) } } } } } },
      spec = { containers = json.array { container("model", "700m"), container("seldon-container-engine", "300m") } } } } }
end
local function file(name, text)
  assert(fs.write(folder .. "/" .. name, text))
  return folder .. "/" .. name
end
local argv = { "build/release/spec/bench/reviews", tostring(PORT), file("bundle", bundle), file("cert", caller.cert), file("key", caller.key),
  tostring(RATE), tostring(SECONDS), tostring(CONNECTIONS) }
for i, kind in ipairs { { "+", "wide", false }, { "-", "full", false }, { "+", "wide", false }, { "+", "wide", true } } do
  argv[#argv + 1] = kind[1] .. file("body" .. i, template(kind[2], kind[3]))
end
-- once to warm up, with other names
local function load(words)
  local result = assert(process.run { argv = words, timeout = 600 })
  assert(result.status == 0, result.errors)
  return json.decode(result.output)
end
local warm = { table.unpack(argv) }
warm[6], warm[7] = "200", "1"
load(warm)
http.request { url = "http://localhost/turns/reset", unix = folder .. "/sock" }
local cpu_before = proc.cpu(operator.id)
local found = load(argv)
local spent = proc.cpu(operator.id) - cpu_before

local text = http.request({ url = "http://localhost/metrics", unix = folder .. "/sock" }).body
local function inside(le) return tonumber(text:match('controller_runtime_webhook_latency_seconds_bucket{webhook="/quota",le="' .. le .. '"} (%d+)')) or 0 end

figure.show("reviews a second", found.total / found.seconds, "/s", tostring(RATE), found.total / found.seconds >= 0.98 * RATE)
figure.show("reviews failed or wrong", found.failed, "", "0", found.failed == 0)
figure.show("review p50, as the caller sees it", found.p50, "ms", "-", true)
figure.show("review p99, as the caller sees it", found.p99, "ms", tostring(GOAL_MS), found.p99 <= GOAL_MS)
figure.show("review p99.9", found.p999, "ms", "-", true)
figure.show("reviews within 0.25 ms inside", 100 * inside("0.00025") / inside("%+Inf"), "%", "-", true)
local turns = json.decode(http.request({ url = "http://localhost/stats", unix = folder .. "/sock" }).body).turns
figure.show("longest turn, in processor time", turns.longest_cpu_us / 1000, "ms", "10", turns.longest_cpu_us <= 10000)
figure.show("processor time a review", spent * 1e6 / found.total, "us", "-", true)

operator:signal("TERM")
operator:wait(30)
for _, name in ipairs(fs.list(folder) or {}) do fs.remove(folder .. "/" .. name) end
fs.remove(folder)
