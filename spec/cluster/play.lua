-- What `make run` shows: the operator on a cluster, the samples applied, and every phase change as it happens.
-- With --once it walks through a whole lifecycle and ends with a verdict.
--
-- Run inside a cluster: the sandbox, or a real control plane, for which a kubelet is played here:
--   build/moonphase sandbox -- build/moonphase repl spec/cluster/play.lua [--once]
--   spec/cluster/kube -- build/moonphase repl spec/cluster/play.lua [--once]

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local kubelet_words = include "spec/cluster/kubelet.lua"

local NAMESPACE, NAME = "hub", "spam-classifier-abcxy"
local once = args[1] == "--once"
local is_sandbox = process.env "MOONPHASE_SANDBOX" ~= nil
local cluster = assert(kube.open {})
local api = api_words.new(cluster)

local function say(format, ...)
  io.write(select("#", ...) > 0 and format:format(...) or format, "\n")
  io.flush()
end

local function phases()
  local last, watch = {}, nil
  watch = cluster:watch {
    path = api_words.path("PhDeployment", NAMESPACE), api_version = "primehub.io/v1alpha1", kind = "PhDeployment", keep = "whole",
    name = "phdeployments", on_change = function(key, change)
      local name = key:match("[^/]+$")
      if change == "removed" then return say("%s  %-24s deleted", os.date("%H:%M:%S"), name) end
      -- as the watch brought it: a question to the server would be answered with what came after
      local object = watch:read(key)
      local status = object and object.status or {}
      local line = (status.phase or "") .. "  " .. (status.message or "")
      if status.phase and last[key] ~= line then
        last[key] = line
        say("%s  %-24s %-10s %s", os.date("%H:%M:%S"), name, status.phase, status.message or "")
      end
    end,
  }
  return watch
end

local function start_operator()
  local folder = process.env("MOONPHASE_CLUSTER_DIR")
  local argv = { process.env("MOONPHASE") or "build/moonphase", "run", "--namespace", NAMESPACE,
    "--settings", folder .. "/settings.yaml", "--control-socket", folder .. "/moonphase.sock" }
  local settings = "catalogNamespace: " .. NAMESPACE .. "\n"
  -- The sandbox's kubelet heeds probes, and those of a large model wait half a minute; ours has nothing to load.
  if is_sandbox then settings = settings .. "probes: { initialDelaySeconds: 1, periodSeconds: 1 }\n" end
  assert(fs.write(folder .. "/settings.yaml", settings))
  local log = folder .. "/operator.log"
  return assert(process.spawn { argv = { "sh", "-c", 'exec "$@" 2>"$0"', log, table.unpack(argv) }, inherit = true }), log
end

local operator

-- An operator that has ended brings no phase any more.
local function check_operator()
  local status = operator:wait(0)
  if status then error("the operator ended with status " .. status, 0) end
end

local function wait_phase(phase, generation)
  return api_words.eventually("phase " .. phase, 60, function()
    check_operator()
    local object = api:get("PhDeployment", NAMESPACE, NAME)
    local status = object and object.status or {}
    return status.phase == phase and (status.observedGeneration or 0) >= (generation or object.metadata.generation) and object, status.phase
  end)
end

local function edit(title, patch)
  say("--- %s", title)
  return api:patch("PhDeployment", NAMESPACE, NAME, "merge", patch).metadata.generation
end

local function walk()
  wait_phase("Deployed")
  local object = api:get("PhDeployment", NAMESPACE, NAME)
  object.spec.predictors[1].modelImage = object.spec.predictors[1].modelImage .. "-next"
  wait_phase("Deployed", edit("a new image", { spec = { predictors = object.spec.predictors } }))
  wait_phase("Stopped", edit("stop", { spec = { stop = true } }))
  wait_phase("Deployed", edit("start", { spec = { stop = false } }))
  say("--- delete%s", is_sandbox and "" or " (a garbage collector needs up to 30 s to learn that a new kind can own something)")
  api:delete("PhDeployment", NAMESPACE, NAME)
  api_words.eventually("all children are gone", 60, function()
    local left = {}
    for _, kind in ipairs { "Deployment", "Service", "Ingress", "ReplicaSet", "Pod" } do
      for _, item in ipairs(api:list(kind, NAMESPACE)) do left[#left + 1] = kind .. "/" .. item.metadata.name end
    end
    return #left == 0, left
  end)
  say("--- all children are gone")
end

local function main()
  local started = loop.now()
  api:install_crds()
  local kubelet = not is_sandbox and kubelet_words.start(cluster, { start_seconds = once and 0.2 or 1 })
  api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = NAMESPACE } }
  local log
  operator, log = start_operator()
  local watch = phases()
  local samples = api_words.manifests("crds/samples")
  for _, manifest in ipairs(samples) do
    if manifest.kind ~= "Namespace" and manifest.kind ~= "PhDeployment" then api:apply(manifest) end
  end
  for _, manifest in ipairs(samples) do -- last: without its group it would be Failed for a moment
    if manifest.kind == "PhDeployment" then api:apply(manifest) end
  end
  if not once then
    say("the samples are applied. Look around from another terminal:\n")
    say("  export KUBECONFIG=%s", process.env("KUBECONFIG"))
    if not is_sandbox then say("  export PATH=$PATH:%s   # a kubectl, if there is none", process.env("PATH"):match("^[^:]+")) end
    say("  kubectl get phd -n %s -w", NAMESPACE)
    say("  build/moonphase explain %s --control-socket %s/moonphase.sock\n", NAME, process.env("MOONPHASE_CLUSTER_DIR"))
    say("the operator's log is %s; Ctrl-C ends everything\n", log)
  end
  local ended = false
  local function finish(status)
    if ended then return end
    ended = true
    if kubelet then kubelet:stop() end
    watch:stop()
    operator:signal("TERM")
    operator:wait(28)
    loop.exit(status)
  end
  local function interrupted() loop.spawn(finish, 0) end
  loop.on_signal("INT", interrupted)
  loop.on_signal("TERM", interrupted)
  if once then
    local ok, why = pcall(walk)
    if not ok then
      say("moonphase: %s", tostring(why))
      say("the end of the operator's log:\n%s", ((fs.read(log) or ""):sub(-3000)))
    else
      say("the whole lifecycle in %.1f s", loop.now() - started)
    end
    finish(ok and 0 or 1)
  else
    local status = operator:wait()
    if not ended then
      say("moonphase: the operator ended with status %s; the end of its log:\n%s", tostring(status), ((fs.read(log) or ""):sub(-3000)))
      finish(1)
    else
      loop.event():wait()
    end
  end
end

main()
