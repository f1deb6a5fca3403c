-- The program as an operator meets it: options, health, trouble, signals, ways into a cluster.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local folder_of = include("spec/lifecycle/edited.lua").folder_of

local BINARY = process.env("MOONPHASE") or "build/moonphase"

local function run(words, env)
  return assert(process.run { argv = { BINARY, table.unpack(words) }, env = env, timeout = 20 })
end

local function address_of(log_path)
  return harness.eventually("the operator says where it serves", 10, function()
    return (fs.read(log_path) or ""):match("address=([%d.:]+)")
  end)
end

describe("moonphase run", function()
  it("refuses an unknown option with status 2 and says which", function()
    local result = run { "run", "--no-such" }
    assert.equal(2, result.status)
    assert.contains("--no-such", result.errors)
  end)

  it("refuses a policies folder that does not load, with file and line", function()
    harness.with({ operator = false }, function(world)
      local folder = world.folder .. "/policies"
      assert(fs.make_folder(folder))
      assert(fs.write(folder .. "/phdeployment.lua", "return controller {\n  kind = \n}\n"))
      local result = run { "run", "--policies", folder }
      assert.equal(1, result.status)
      assert.matches("phdeployment.lua:3", result.errors)
      result = run { "run", "--policies", world.folder .. "/nowhere" }
      assert.equal(1, result.status)
      assert.contains("nowhere", result.errors)
    end)
  end)

  it("says which setting it does not know", function()
    harness.with({ operator = false }, function(world)
      assert(fs.write(world.folder .. "/s.yaml", "no_such_setting: 1\n"))
      local result = run { "run", "--settings", world.folder .. "/s.yaml" }
      assert.equal(1, result.status)
      assert.contains("no_such_setting", result.errors)
    end)
  end)

  it("says that a port is in use", function()
    local server = assert(http.serve { address = "127.0.0.1:0", handler = function() return 200, "" end })
    local result = run { "run", "--http-addr", server.address }
    assert.equal(1, result.status)
    assert.contains(server.address, result.errors)
    assert.contains("in use", result.errors)
    server:close()
  end)

  it("says that a cluster cannot be reached, stays alive and unready, and ends on SIGTERM", function()
    harness.with({ operator = false }, function(world)
      local config = world.folder .. "/dead-kubeconfig"
      assert(fs.write(config, [[
apiVersion: v1
kind: Config
current-context: dead
contexts: [{name: dead, context: {cluster: dead, user: dead}}]
clusters: [{name: dead, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: dead, user: {}}]
]]))
      world:start_operator { words = { "--kubeconfig", config } }
      local address = address_of(world.log)
      harness.eventually("the log says so", 5, function()
        return (fs.read(world.log) or ""):find("cannot be reached", 1, true)
      end)
      assert.equal(200, http.request({ url = "http://" .. address .. "/healthz" }).status)
      assert.equal(503, http.request({ url = "http://" .. address .. "/readyz" }).status)
      assert.equal(0, world:stop_operator())
    end)
  end)

  it("serves health, readiness and the metrics that dashboards know", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local address = address_of(world.log)
      assert.equal(200, http.request({ url = "http://" .. address .. "/healthz" }).status)
      assert.equal(200, http.request({ url = "http://" .. address .. "/readyz" }).status)
      local text = http.request({ url = "http://" .. address .. "/metrics" }).body
      for _, name in ipairs { "controller_runtime_reconcile_total", "controller_runtime_reconcile_time_seconds_bucket",
        "workqueue_depth", "workqueue_adds_total", "rest_client_requests_total", "moonphase_writes_total" } do
        assert.contains(name, text)
      end
    end)
  end)

  it("explains a phase over its control socket", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local result = run { "explain", "m", "--namespace", world.namespace, "--control-socket", world.socket }
      assert.equal(0, result.status)
      assert.contains("m is Deployed", result.output)
      result = run { "explain", "nobody", "--control-socket", world.socket }
      assert.equal(1, result.status)
      assert.contains("nobody", result.errors)
    end)
  end)

  it("ends at once, with status 0, when it has nothing to do", function()
    harness.with({}, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local started = loop.now()
      assert.equal(0, world:stop_operator())
      assert.truthy(loop.now() - started < 5, "it took " .. loop.now() - started .. " s")
    end)
  end)

  it("finishes what is under way when it is told to end in the middle of work, and the next one goes on", function()
    harness.with({ operator = false }, function(world)
      for i = 1, 40 do world:deploy("m" .. i) end
      world:start_operator()
      harness.eventually("it is at work", 10, function() return world:child("Deployment", "m1") or world:child("Deployment", "m7") end)
      local started = loop.now()
      assert.equal(0, world:stop_operator())
      assert.truthy(loop.now() - started < 25, "it took " .. loop.now() - started .. " s")
      assert.contains("stopped", fs.read(world.log))
      world:start_operator()
      for i = 1, 40 do world:phase("m" .. i, "Deployed", 60) end
    end)
  end)

  it("serves the namespaces that it was given and no others, or all of them", function()
    harness.with({ operator = false }, function(world)
      local others = {}
      for i = 1, 2 do
        others[i] = world.namespace .. "-" .. i
        world.api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = others[i] } }
        world.api:create(world:manifest("m", function(object) object.metadata.namespace = others[i] end))
      end
      local function phase(namespace)
        local object = world.api:get("PhDeployment", namespace, "m")
        return object.status and object.status.phase
      end
      world:deploy("m")
      world:start_operator { words = { "--namespace", others[1] } } -- beside the world's own
      world:phase("m", "Deployed")
      harness.eventually("the second namespace is served", 10, function() return phase(others[1]) == "Deployed" end)
      assert.is_nil(phase(others[2]))
      world:stop_operator()
      world:start_operator { all_namespaces = true }
      harness.eventually("every namespace is served", 20, function() return phase(others[2]) == "Deployed" end)
      world:stop_operator()
      for _, namespace in ipairs(others) do world.api:delete("Namespace", nil, namespace) end
    end)
  end)

  it("logs in JSON when asked", function()
    harness.with({ operator = false }, function(world)
      world:start_operator { words = { "--log-format", "json" } }
      harness.eventually("it runs", 10, function() return (fs.read(world.log) or ""):find("moonphase runs", 1, true) end)
      for line in fs.read(world.log):gmatch("[^\n]+") do
        local value = json.decode(line)
        assert.truthy(value and value.message and value.level, "no JSON: " .. line)
      end
    end)
  end)

  it("writes nothing in a dry run", function()
    harness.with({ operator = false }, function(world)
      world:start_operator { words = { "--dry-run" } }
      world:deploy("m")
      harness.eventually("it says what it would do", 10, function()
        return (fs.read(world.log) or ""):find("would be written", 1, true)
      end)
      assert.is_nil(world:child("Deployment", "m"))
      assert.is_nil(world:get("m").status)
    end)
  end)
end)

describe("the feature switch", function()
  -- Started so, it idles: healthy and ready, it says so, and a PhDeployment stays as it was written.
  local function idles(options, name)
    harness.with({ operator = false }, function(world)
      if options.env_file then
        assert(fs.write(world.folder .. "/.env", options.env_file))
        options.words = { "--env-file", world.folder .. "/.env" }
      end
      world:start_operator(options)
      local url = "http://" .. address_of(world.log)
      world:deploy("m")
      assert.equal(200, http.request({ url = url .. "/healthz" }).status)
      local ready = http.request({ url = url .. "/readyz" })
      assert.equal(200, ready.status)
      assert.contains("switched off by " .. name .. "=false", ready.body)
      assert.contains("moonphase idles", fs.read(world.log))
      assert.equal(503, world:ask_operator("/explain?name=m").status)
      assert.equal(200, world:ask_operator("/stats").status)
      loop.sleep(1)
      assert.is_nil(world:child("Deployment", "m"))
      assert.is_nil(world:get("m").status)
      world.operator:signal("HUP")
      assert.equal(0, world:stop_operator())
      world:start_operator()
      world:phase("m", "Deployed")
    end)
  end

  it("idles the operator by the name as the specification spells it", function()
    idles({ env = { PRIMEHUB_FEATURE_MODEL_DEPLOYEMNT = "false" } }, "PRIMEHUB_FEATURE_MODEL_DEPLOYEMNT")
  end)

  it("idles the operator by the right spelling, from --env-file", function()
    idles({ env_file = "# a feature\nPRIMEHUB_FEATURE_MODEL_DEPLOYMENT=false\n" }, "PRIMEHUB_FEATURE_MODEL_DEPLOYMENT")
  end)

  it("is on when it says true", function()
    harness.with({ operator = false }, function(world)
      world:start_operator { env = { PRIMEHUB_FEATURE_MODEL_DEPLOYMENT = "true", PRIMEHUB_FEATURE_MODEL_DEPLOYEMNT = "true" } }
      world:deploy("m")
      world:phase("m", "Deployed")
    end)
  end)

  it("idles also without a cluster to ask", function()
    harness.with({ operator = false }, function(world)
      world:start_operator { env = { PRIMEHUB_FEATURE_MODEL_DEPLOYMENT = "false", KUBECONFIG = world.folder .. "/nowhere" } }
      assert.equal(200, http.request({ url = "http://" .. address_of(world.log) .. "/readyz" }).status)
      assert.equal(0, world:stop_operator())
    end)
  end)
end)

describe("ways into a cluster", function()
  local function works(config_text, env)
    harness.with({ operator = false }, function(world)
      local config = world.folder .. "/kubeconfig"
      assert(fs.write(config, config_text(world)))
      local operator_words = { "--kubeconfig", config }
      world:start_operator { words = operator_words, env = env }
      world:deploy("m")
      world:phase("m", "Deployed")
    end)
  end
  local base = function() return assert(yaml.decode(assert(fs.read(process.env("KUBECONFIG"))), "kubeconfig"))[1] end

  it("a client certificate from files", function()
    works(function() return assert(fs.read(process.env("MOONPHASE_CLUSTER_DIR") .. "/kubeconfig-cert")) end)
  end)

  it("a token file", function()
    works(function(world)
      local config = base()
      local user = config.users[1].user
      assert(fs.write(world.folder .. "/token", user.token .. "\n"))
      user.token, user.tokenFile = nil, world.folder .. "/token"
      return json.encode(config)
    end)
  end)

  it("an exec plugin", function()
    works(function(world)
      local config = base()
      local user = config.users[1].user
      local answer = json.encode { apiVersion = "client.authentication.k8s.io/v1beta1", kind = "ExecCredential",
        status = { token = user.token } }
      assert(fs.write(world.folder .. "/plugin.sh", "cat <<'END'\n" .. answer .. "\nEND\n"))
      config.users[1].user = { exec = { apiVersion = "client.authentication.k8s.io/v1beta1", command = "sh",
        args = json.array { world.folder .. "/plugin.sh" } } }
      return json.encode(config)
    end)
  end)

  it("tls-server-name, and a wrong one is refused in words", function()
    works(function()
      local config = base()
      config.clusters[1].cluster["tls-server-name"] = "localhost"
      return json.encode(config)
    end)
    harness.with({ operator = false }, function(world)
      local config = base()
      config.clusters[1].cluster["tls-server-name"] = "elsewhere.example"
      assert(fs.write(world.folder .. "/kubeconfig", json.encode(config)))
      world:start_operator { words = { "--kubeconfig", world.folder .. "/kubeconfig" } }
      harness.eventually("the log names the certificate", 10, function()
        return (fs.read(world.log) or ""):lower():find("certificate", 1, true)
      end)
    end)
  end)

  it("insecure-skip-tls-verify", function()
    works(function()
      local config = base()
      config.clusters[1].cluster["certificate-authority-data"] = nil
      config.clusters[1].cluster["insecure-skip-tls-verify"] = true
      return json.encode(config)
    end)
  end)
end)

describe("a policy that fails", function()
  it("costs only the object that it was deciding on", function()
    harness.with({ operator = false }, function(world)
      local folder = folder_of(world, "policies")
      local main = fs.read(folder .. "/phdeployment.lua")
      assert(fs.write(folder .. "/phdeployment.lua", [[local poison = function(seen)
  if seen.object.metadata.name == "loops" then while true do end end
  if seen.object.metadata.name == "hoards" then local t = {} for i = 1, 1e9 do t[i] = { i } end end
  if seen.object.metadata.name == "errs" then return seen.object.nothing.here end
end
local make = function(...) ]] .. main .. [[ end
local declaration = make()
local decide = declaration.decide
declaration.decide = function(seen) poison(seen) return decide(seen) end
return declaration
]]))
      world:start_operator { policies = folder }
      for _, name in ipairs { "loops", "hoards", "errs", "good" } do world:deploy(name) end
      world:phase("good", "Deployed")
      harness.eventually("each failure is told", 20, function()
        local log = fs.read(world.log) or ""
        return log:find("/loops", 1, true) and log:find("/hoards", 1, true) and log:find("/errs", 1, true)
      end)
      assert.is_nil(world:child("Deployment", "loops"))
      world:edit("good", { spec = { stop = true } })
      world:phase("good", "Stopped")
    end)
  end)
end)
