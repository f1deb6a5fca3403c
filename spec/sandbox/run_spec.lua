-- moonphase run --sandbox: the operator and a simulated cluster in one process.

local include = require "include"
local api_words = include "spec/cluster/api.lua"

local BINARY = process.env "MOONPHASE" or "build/moonphase"

-- A running one, in namespace hub: { child, api, kubeconfig }. Its probes are for models that load at once.
local function start(folder)
  assert(fs.write(folder .. "/settings.yaml", "catalogNamespace: hub\nprobes: { initialDelaySeconds: 0, periodSeconds: 1 }\n"))
  local child = process.spawn { argv = { BINARY, "run", "--sandbox", "--namespace", "hub", "--settings", folder .. "/settings.yaml" } }
  local path = api_words.eventually("it says where its kubeconfig is", 10, function()
    return select(2, child:output()):match "kubeconfig=(%S+)"
  end)
  return { child = child, api = api_words.new(assert(kube.open { kubeconfig = path })), kubeconfig = path }
end

local function with_operator(body)
  local folder = assert(fs.temporary())
  local it_runs = start(folder)
  local ok, failure = xpcall(body, require "where", it_runs)
  it_runs.child:signal "TERM"
  local status = it_runs.child:wait(28)
  local _, said = it_runs.child:output()
  for _, name in ipairs(fs.list(folder)) do fs.remove(folder .. "/" .. name) end
  fs.remove(folder)
  if not ok then error(failure .. "\nit said: " .. said:sub(-3000), 0) end
  assert.equal(0, status)
  assert.equal(nil, fs.kind(it_runs.kubeconfig), "the kubeconfig goes with it")
end

describe("moonphase run --sandbox", function()
  it("deploys the samples on a cluster of its own, and cleans up on SIGTERM", function()
    with_operator(function(it_runs)
      local samples = api_words.manifests "crds/samples"
      for _, manifest in ipairs(samples) do
        if manifest.kind ~= "Namespace" and manifest.kind ~= "PhDeployment" then it_runs.api:apply(manifest) end
      end
      for _, manifest in ipairs(samples) do
        if manifest.kind == "PhDeployment" then it_runs.api:apply(manifest) end
      end
      api_words.eventually("the sample is Deployed", 10, function()
        local status = (it_runs.api:list("PhDeployment", "hub")[1] or {}).status or {}
        return status.phase == "Deployed", status
      end)
      assert.truthy(#it_runs.api:list("Pod", "hub") > 0)
    end)
  end)

  it("keeps settings that came through a pipe, which can be read one time only", function()
    local child = process.spawn { argv = { "bash", "-c", 'exec "$0" run --sandbox --namespace hub --settings <(echo "appLabel: mine")', BINARY } }
    local function says(text)
      api_words.eventually("it says: " .. text, 10, function()
        local _, said = child:output()
        return said:find(text, 1, true), said
      end)
    end
    says "caches are complete"
    child:signal "HUP"
    says "policies and settings are as they were"
    child:signal "TERM"
    child:wait(28)
    local _, said = child:output()
    assert.falsy(said:find "policies reloaded", said)
  end)

  it("refuses a kubeconfig beside it", function()
    local result = assert(process.run { argv = { BINARY, "run", "--sandbox", "--kubeconfig", "x" }, timeout = 10 })
    assert.equal(2, result.status)
    assert.contains("--sandbox", result.errors)
  end)
end)
