-- What `moonphase rbac` prints is enough for `moonphase run`, on an API server that asks for rights: as a service account that
-- may do that and nothing else, an operator lives through everything that it has to do.

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local harness = include "spec/lifecycle/harness.lua"
local reviewed = include "spec/lifecycle/reviewed.lua"

local function printed(...)
  local result = assert(process.run { argv = { process.env("MOONPHASE") or "build/moonphase", "rbac", "-o", "json", ... }, timeout = 20 })
  assert.equal(0, result.status, result.errors)
  local manifests = {}
  for line in result.output:gmatch "[^\n]+" do manifests[#manifests + 1] = assert(json.decode(line)) end
  return manifests
end

-- A kubeconfig like ours with this token in place of what we show. Its path.
local function kubeconfig_of(world, token)
  local config = assert(yaml.decode(assert(fs.read(process.env "KUBECONFIG"))))[1]
  for _, entry in ipairs(config.users) do entry.user = { token = token } end
  for _, entry in ipairs(config.contexts) do entry.context.namespace = world.namespace end
  local path = world.folder .. "/limited.kubeconfig"
  assert(fs.write(path, json.encode(config)))
  return path
end

-- The token that the control plane makes for a service account.
local function token_of(world, name)
  local secret = api_words.eventually("the service account has a token", 20, function()
    local account = world.api:get("ServiceAccount", world.namespace, name)
    local entry = account and account.secrets and account.secrets[1]
    local found = entry and world.api:get("Secret", world.namespace, entry.name)
    return found and found.data and found.data.token and found
  end)
  return base64.decode(secret.data.token)
end

local function without_rights(log)
  for line in (fs.read(log) or ""):gmatch "[^\n]+" do
    if line:find "forbidden" or line:find " 403" then return line end
  end
end

local function lives(world, words)
  world:start_operator { words = words }
  world:deploy("m", function(object) object.spec.endpoint = { accessType = "private", clients = json.array { { name = "c", token = "$apr1$x" } } } end)
  world:phase("m", "Deployed")
  world:predictor("m", { modelImage = "registry.example/m:v2" })
  world:phase("m", "Deployed")
  world.api:patch("Deployment", world.namespace, "deploy-m", "json", json.array { { op = "replace", path = "/spec/replicas", value = 3 } })
  harness.eventually("a foreign edit is mended", 20, function() return world:child("Deployment", "m").spec.replicas == 1 end)
  world.api:delete("Service", world.namespace, "deploy-m")
  harness.eventually("the Service is made anew", 20, function() return world:child("Service", "m") end)
  world:edit("m", { spec = { endpoint = { accessType = "public" } } })
  harness.eventually("the Secret is gone", 20, function() return not world:child("Secret", "m") end)
  harness.eventually("an Event tells of it", 20, function()
    for _, event in ipairs(world.api:list("Event", world.namespace)) do
      if event.source.component == "moonphase" then return true end
    end
  end)
  world:edit("m", { spec = { stop = true } })
  world:phase("m", "Stopped")
  harness.eventually("the policies are kept", 10, function() return fs.read(world.log):find("are kept as the last good ones", 1, true) end)
  assert.equal(nil, without_rights(world.log))
end

-- What lies outside of the world's namespace: a webhook whose operator is gone refuses the pods of every spec that follows.
local function forget(world)
  world:stop_operator()
  local rbac = "/apis/rbac.authorization.k8s.io/v1/"
  for _, path in ipairs { reviewed.CONFIGURATION .. "/moonphase-", rbac .. "clusterrolebindings/limited-", rbac .. "clusterroles/limited-" } do
    local status = world.cluster:request({ method = "DELETE", path = path .. world.namespace }).status
    assert.truthy(status == 200 or status == 404, path) -- 404: it did not come so far
  end
end

describe("the rights that moonphase rbac prints", function()
  if harness.backend ~= "real" then return end -- the sandbox lets everybody do everything

  it("are enough for a model's life, replicas of the operator, its last good policies and quota admission", function()
    harness.with({ operator = false, settings = { reload = { trial = "1s" } } }, function(world)
      local settings = world.folder .. "/settings.yaml"
      for _, manifest in ipairs(printed("--service-account", world.namespace .. "/limited", "--settings", settings, "--leader-elect", "--webhook",
        "--last-good", "kept")) do
        world.api:apply(manifest)
      end
      local ok, failure = xpcall(lives, require "where", world, { "--kubeconfig", kubeconfig_of(world, token_of(world, "limited")),
        "--leader-elect", "--last-good", "kept", "--webhook-addr", "127.0.0.1:" .. reviewed.free_port() })
      forget(world)
      if not ok then error(failure, 0) end
    end)
  end)

  it("are needed: without those on a kind the operator says which are missing", function()
    harness.with({ operator = false }, function(world)
      local settings = world.folder .. "/settings.yaml"
      for _, manifest in ipairs(printed("--service-account", world.namespace .. "/limited", "--settings", settings)) do
        for i, rule in ipairs(manifest.rules or {}) do
          if rule.resources[1] == "ingresses" then table.remove(manifest.rules, i) break end
        end
        world.api:apply(manifest)
      end
      world:start_operator { words = { "--kubeconfig", kubeconfig_of(world, token_of(world, "limited")) } }
      harness.eventually("the log names what is missing", 20, function()
        local line = without_rights(world.log)
        return line and line:find "ingresses", fs.read(world.log)
      end)
    end)
  end)
end)
