-- kubectl drives the sandbox as it drives a real cluster: each step of a walk is run with the machine's kubectl and with that of
-- Kubernetes 1.20, if they are there.
--
-- Run inside spec/cluster/kube, the same walk is made on the real control plane too, and what kubectl prints must be the same (steps
-- marked `same`; ages, addresses and drawn names are put aside).

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local kubelet_words = include "spec/cluster/kubelet.lua"
local scene = require "sandbox.scene"
local start = require "sandbox.start"

local FOLDER = assert(fs.temporary())

-- ------------------------------------------------------------------ programs and clusters

local function found(program)
  local result = process.run { argv = { "sh", "-c", "command -v " .. program }, timeout = 5 }
  return result and result.status == 0 and result.output:gsub("%s+$", "") or nil
end

local PROGRAMS = {}
for _, name in ipairs { "kubectl", "kubectl-1.20" } do
  local path = found(name)
  if path then PROGRAMS[#PROGRAMS + 1] = { name = name, path = path } end
end

local WORLD = { nodes = json.array { { name = "node-1", capacity = { cpu = "64", memory = "256Gi", pods = "2000" } } },
  images = { ["example/talks:*"] = { log = json.array { "one", "two" } } },
  timings = { pull = 0, check = 0, start = 0, stop = 0, init = 0 } }

local clusters

-- (waits) The clusters to walk on: { {name, config} ... }; the real one second, if there is one.
local function share()
  if clusters then return clusters end
  local sandbox = assert(start.start { seed = 1, scene = assert(scene.check(WORLD)) })
  assert(fs.write(FOLDER .. "/kubeconfig", sandbox:kubeconfig()))
  clusters = { { name = "sandbox", config = FOLDER .. "/kubeconfig" } }
  api_words.new(assert(kube.open { kubeconfig = clusters[1].config })):install_crds()
  local folder = process.env("MOONPHASE_CLUSTER_DIR")
  if folder and process.env("MOONPHASE_BACKEND") ~= "sandbox" and fs.kind(folder .. "/kubeconfig") == "file" then
    local cluster = assert(kube.open { kubeconfig = folder .. "/kubeconfig" })
    api_words.new(cluster):install_crds()
    kubelet_words.start(cluster, { nodes = { ["node-1"] = { cpu = "64", memory = "256Gi", pods = "2000" } } })
    clusters[2] = { name = "real", config = folder .. "/kubeconfig" }
  end
  return clusters
end

-- ------------------------------------------------------------------ the walk

local DEPLOYMENT = [[
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: main
        image: example/talks:v1
        ports: [{containerPort: 80, name: http, protocol: TCP}]
        resources: {limits: {cpu: 100m, memory: 64Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, name: http, protocol: TCP}]}
]]

-- name, words, and: input; ends (exit status, default 0); has (patterns of the output); same (compared with the real server); sandbox
-- (only there: the kubelet of the real control plane runs nothing);
-- editor. same = a program's name: only that one's words. (A newer kubectl explains by OpenAPI v3, which the sandbox has and a server
-- of 1.20 has not.)
local STEPS = {
  { "apply", "apply -f -", input = DEPLOYMENT, has = { "deployment.apps/web created", "service/web created" }, same = true },
  { "apply again", "apply -f -", input = DEPLOYMENT, has = { "deployment.apps/web unchanged" }, same = true },
  { "rollout status", "rollout status deployment/web --timeout=30s", has = { "successfully rolled out" } },
  { "get", "get deployments,services,replicasets,pods", has = { "deployment.apps/web%s+2/2%s+2%s+2" }, same = true },
  { "get all", "get all -o name", has = { "pod/web%-" }, same = true },
  { "get wide", "get deployments -o wide", has = { "example/talks:v1" }, same = true },
  { "get json", "get service web -o jsonpath={.spec.ports[0].name}", has = { "^http$" }, same = true },
  { "get custom columns", "get deployments -o custom-columns=N:.metadata.name,R:.spec.replicas", has = { "web%s+2" }, same = true },
  { "get selector", "get pods -l app=web -o name", has = { "pod/web" }, same = true },
  { "get sorted", "get pods --sort-by=.metadata.name --no-headers", has = { "Running" } },
  { "get nodes", "get nodes", has = { "node%-1%s+Ready" } },
  { "describe deployment", "describe deployment web", has = { "Replicas:%s+2 desired", "NewReplicaSet:%s+web%-", "Scaled up replica set" }, same = true },
  { "describe service", "describe service web", has = { "Selector:%s+app=web", "TargetPort" } },
  { "describe pod", "describe pods -l app=web", has = { "Image:%s+example/talks:v1", "Scheduled", "QoS Class:%s+Guaranteed" } },
  { "describe node", "describe node node-1", has = { "Allocatable", "Ready%s+True" } },
  { "logs", "logs deployment/web", has = { "one\ntwo" }, sandbox = true },
  { "scale", "scale deployment/web --replicas=3", has = { "deployment.apps/web scaled" }, same = true },
  { "wait", "wait --for=condition=Available deployment/web --timeout=20s", has = { "condition met" }, same = true },
  { "strategic patch", [[patch deployment web -p {"spec":{"template":{"spec":{"containers":[{"name":"main","image":"example/talks:v2"}]}}}}]],
    has = { "deployment.apps/web patched" }, same = true },
  { "rollout status 2", "rollout status deployment/web --timeout=30s", has = { "successfully rolled out" } },
  { "rollout history", "rollout history deployment/web", has = { "REVISION" }, same = true },
  { "rollout undo", "rollout undo deployment/web", has = { "rolled back" }, same = true },
  { "image is back", "get deployment web -o jsonpath={.spec.template.spec.containers[0].image}", has = { "talks:v1" }, same = true },
  { "merge patch", [[patch service web --type=merge -p {"metadata":{"labels":{"x":"y"}}}]], has = { "service/web patched" }, same = true },
  { "json patch", [[patch service web --type=json -p [{"op":"remove","path":"/metadata/labels/x"}] ]], has = { "service/web patched" }, same = true },
  { "patch of nothing", [[patch service web --type=merge -p {}]], has = { "no change" }, same = true },
  { "edit", "edit deployment web", editor = "sed -i s/replicas:.3/replicas:\\ 1/", has = { "deployment.apps/web edited" }, same = true },
  { "edited", "get deployment web -o jsonpath={.spec.replicas}", has = { "^1$" }, same = true },
  { "label", "label deployment web tier=front", has = { "labeled" }, same = true },
  { "annotate", "annotate deployment web note=hello", has = { "annotated" }, same = true },
  { "diff", "diff -f -", input = DEPLOYMENT, ends = 1, has = { "%+  replicas: 2" } },
  { "set image", "set image deployment/web main=example/talks:v3", has = { "image updated" }, same = true },
  { "server-side apply", "apply --server-side -f -", input = DEPLOYMENT, ends = 1, has = { "conflict" } },
  { "server-side apply with force", "apply --server-side --force-conflicts -f -", input = DEPLOYMENT, has = { "serverside%-applied" }, same = true },
  { "set env", "set env deployment/web A=B", has = { "env updated" }, same = true },
  { "set resources", "set resources deployment/web --limits=cpu=200m", has = { "resource requirements updated" }, same = true },
  { "rollout restart", "rollout restart deployment/web", has = { "deployment.apps/web restarted" }, same = true },
  { "rollout pause", "rollout pause deployment/web", has = { "paused" }, same = true },
  { "rollout pause again", "rollout pause deployment/web", ends = 1, has = { "already paused" }, same = true },
  { "rollout resume", "rollout resume deployment/web", has = { "resumed" }, same = true },
  { "rollout undo to what is not there", "rollout undo deployment/web --to-revision=99", ends = 1, has = { "unable to find" }, same = true },
  { "scale from another size", "scale deployment/web --replicas=1 --current-replicas=7", ends = 1, has = { "to be 7" }, same = true },
  { "expose", "expose deployment web --name=other --port=80 --target-port=8080", has = { "service/other exposed" }, same = true },
  { "create deployment", "create deployment made --image=example/talks:v1", has = { "deployment.apps/made created" }, same = true },
  { "create service", "create service nodeport np --tcp=80:8080 --node-port=30999 --dry-run=server", has = { "service/np created" }, same = true },
  { "create ingress", "create ingress made --rule=example.com/*=web:80", has = { "ingress.networking.k8s.io/made created" }, same = true },
  { "create quota", "create quota q --hard=pods=50,requests.cpu=40", has = { "resourcequota/q created" }, same = true },
  { "delete quota", "delete quota q", has = { "deleted" }, same = true },
  { "run", "run alone --image=example/talks:v1 --labels=a=b", has = { "pod/alone created" }, same = true },
  { "wait for a pod", "wait --for=condition=Ready pod/alone --timeout=20s", has = { "condition met" }, same = true },
  { "label a pod again", "label pod alone a=c", ends = 1, has = { "already has a value" }, same = true },
  { "take a label away", "label pod alone a-", has = { "pod/alone" }, same = true },
  { "top", "top node", ends = 1, has = { "Metrics API not available" }, same = true },
  { "exec", "exec alone -- ls", ends = 1, has = { "no program runs in the containers of a sandbox" }, sandbox = true },
  { "exec in no container", "exec alone -c nobody -- ls", ends = 1, has = { "container nobody is not valid for pod alone" }, same = true },
  { "attach", "attach alone", ends = 1, has = { "attach needs a real cluster" }, sandbox = true },
  { "cp", "cp alone:/x " .. FOLDER .. "/x", ends = 1, has = { "cp need a real cluster" }, sandbox = true },
  { "port-forward", "port-forward alone 18080:80", ends = 1, has = { "nothing listens in the containers of a sandbox" }, sandbox = true },
  { "port-forward to nobody", "port-forward nobody 18080:80", ends = 1, has = { 'pods "nobody" not found' }, same = true },
  { "delete at once", "delete pod alone --grace-period=0 --force", has = { "force deleted" }, same = true },
  { "explain", "explain deployment.spec.replicas", has = { "replicas", "Number of desired pods" }, same = "kubectl-1.20" },
  { "explain whole", "explain service", has = { "Service is a named abstraction" }, same = "kubectl-1.20" },
  { "explain custom", "explain phdeployments.spec.predictors", has = { "modelImage" }, same = "kubectl-1.20" },
  { "create configmap", "create configmap c --from-literal=a=b", has = { "configmap/c created" }, same = true },
  { "create again", "create configmap c --from-literal=a=b", ends = 1, has = { 'configmaps "c" already exists' }, same = true },
  { "dry run", "create configmap d --from-literal=a=b --dry-run=server -o name", has = { "configmap/d" }, same = true },
  { "describe configmap", "describe configmap c", has = { "a:\n%-%-%-%-\nb" }, same = true },
  { "secret", "create secret generic s --from-literal=a=b", has = { "secret/s created" }, same = true },
  { "describe secret", "describe secret s", has = { "a:%s+1 bytes" }, same = true },
  { "wrong kind", "get nonsense", ends = 1, has = { "doesn't have a resource type" }, same = true },
  { "not there", "get pod nobody", ends = 1, has = { 'pods "nobody" not found' }, same = true },
  { "unknown field", "apply -f -", input = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bad}\nnonsense: 1\n", ends = 1,
    has = { "nonsense" }, same = true },
  { "invalid", "apply -f -", input = "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec: {ports: []}\n", ends = 1,
    has = { "spec.ports: Required value" }, same = true },
  { "custom", "apply -f crds/samples/phgroup.yaml", namespace = false, ends = 1, has = { "namespaces \"hub\" not found" }, same = true },
  { "may I", "auth can-i create deployments", has = { "yes" }, same = true },
  { "what may I", "auth can-i --list", has = { "%*%.%*" } },
  { "events", "get events --field-selector=involvedObject.kind=Deployment", has = { "ScalingReplicaSet" } },
  { "api resources", "api-resources --api-group=apps -o name", has = { "deployments.apps", "replicasets.apps" } },
  { "delete", "delete deployment web --wait=true", has = { 'deployment.apps "web" deleted' }, same = true },
  { "gone", "get deployment web", ends = 1, has = { "not found" }, same = true },
  { "delete by file", "delete -f - --ignore-not-found", input = DEPLOYMENT, has = { 'service "web" deleted' }, same = true },
}

local function words_of(step, namespace)
  local words = {}
  -- a JSON patch is one word, whatever is in it
  local head, patch = step[2]:match("^(.- %-p) (.+)$")
  for word in (head or step[2]):gmatch("%S+") do words[#words + 1] = word end
  if patch then words[#words + 1] = (patch:gsub("%s+$", "")) end
  if step.namespace == false then return words end
  local at = #words + 1
  for i, word in ipairs(words) do
    if word == "--" then at = i end -- what follows is a container's
  end
  table.insert(words, at, "-n")
  table.insert(words, at + 1, namespace)
  return words
end

local function kubectl(program, cluster, words, step)
  return assert(process.run { argv = { program.path, table.unpack(words) }, input = step and step.input, timeout = 60,
    env = { KUBECONFIG = cluster.config, KUBE_EDITOR = step and step.editor or "true" } })
end

-- Without ages, times, addresses and drawn names; runs of spaces are one, since columns are as wide as what stands in them.
local function stable(text)
  text = text:gsub("web%-%x%x%x%x+%-%w%w%w%w%w", "web-POD"):gsub("web%-%w%w%w%w%w%w%w%w%w?%w?%f[^%w]", "web-SET")
  text = text:gsub("10%.96%.%d+%.%d+", "ADDRESS"):gsub("%a%a%a, %d%d %a%a%a %d%d%d%d [%d:]+ [+-]%d+", "TIME")
  text = text:gsub("(%s)%d+[smh]%d*s?%f[%s]", "%1AGE"):gsub("k%-kubectl[%w.-]*", "NAMESPACE")
  text = text:gsub(" +", " "):gsub("%-%-%-%-+", "----")
  return text
end

local function step_on(program, cluster, step, namespace)
  local result = kubectl(program, cluster, words_of(step, namespace), step)
  local where = ("%s, %s: kubectl %s\n%s%s"):format(cluster.name, program.name, step[2], result.output, result.errors)
  assert.equal(step.ends or 0, result.status, where)
  for _, pattern in ipairs(step.has or {}) do
    if not (cluster.name == "real" and step.sandbox) then assert.matches(pattern, result.output .. result.errors, where) end
  end
  return stable(result.output .. result.errors)
end

describe("kubectl", function()
  for _, program in ipairs(PROGRAMS) do
    describe(program.name, function()
      local namespace = "k-" .. program.name:gsub("%.", "-") .. "-" .. process.id
      local function before()
        for _, cluster in ipairs(share()) do
          if not cluster[namespace] then
            cluster[namespace] = true
            assert.equal(0, kubectl(program, cluster, { "create", "namespace", namespace }).status)
          end
        end
      end

      for _, step in ipairs(STEPS) do
        it(step[1], function()
          before()
          local on_sandbox = step_on(program, clusters[1], step, namespace)
          local on_real = clusters[2] and not step.sandbox and step_on(program, clusters[2], step, namespace)
          local is_same = step.same == true or step.same == program.name
          if on_real and is_same then assert.equal(on_real, on_sandbox, "the real server's words, and the sandbox's") end
        end)
      end

      it("get -w shows a change while it waits", function()
        before()
        local cluster = clusters[1]
        kubectl(program, cluster, { "create", "configmap", "watched", "-n", namespace })
        local watcher = process.spawn { argv = { program.path, "get", "configmaps", "-w", "-n", namespace, "-o", "name" },
          env = { KUBECONFIG = cluster.config } }
        api_words.eventually("the first list is shown", 10, function() return (watcher:output()):find("configmap/watched", 1, true) end)
        kubectl(program, cluster, { "create", "configmap", "later", "-n", namespace })
        api_words.eventually("the change is shown", 10, function() return (watcher:output()):find("configmap/later", 1, true) end)
        watcher:signal("TERM")
        watcher:wait(5)
      end)
    end)
  end

  it("is there", function()
    fs.remove(FOLDER .. "/kubeconfig") -- the last of them: nobody needs it any more
    fs.remove(FOLDER)
    assert.truthy(#PROGRAMS > 0, "no kubectl is on the PATH: this spec tests nothing without")
  end)
end)
