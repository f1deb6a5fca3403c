-- Groups and instance types from PrimeHub's GraphQL server: a model's life while that server answers, fails, and comes back. And
-- edits of them, from there and from objects, which restart models one after the other.
--
-- The server is one of this process; the operator is the real binary. It runs with a time to live of one second.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local reviewed = include "spec/lifecycle/reviewed.lua"

local COUNT = 4

-- ---------------------------------------------------------------- the GraphQL server

local function instance_type(name, change)
  local spec = { ["limits.cpu"] = 1, ["limits.memory"] = "2G" }
  for key, value in pairs(change or {}) do spec[key] = value end
  return { name = name, spec = spec, global = true }
end

-- {endpoint, answers (calls that were answered), group, types, odd = function(call) in place of all this}
local function serve()
  local self = { answers = 0, types = json.array { instance_type "cpu-only" }, tokens = {},
    group = { id = harness.GROUP_ID, name = "phusers", enabledDeployment = true, instanceTypes = json.array {} } }
  self.server = assert(http.serve { address = "127.0.0.1:0", handler = function(call)
    self.tokens[call.header "authorization" or ""] = true
    if self.odd then return self.odd(call) end
    if self.token and call.header "authorization" ~= "Bearer " .. self.token then return 401, { message = "who are you?" } end
    self.answers = self.answers + 1
    local asked = json.decode(call.body)
    if not asked.variables then return 200, { data = { groups = json.array { self.group } } } end
    local is_it = self.group and asked.variables.id == self.group.id
    return 200, { data = { group = is_it and self.group or json.null, instanceTypes = self.types } }
  end })
  self.endpoint = "http://" .. self.server.address .. "/api/graphql"
  return self
end

-- A world whose operator asks such a server. options.graphql: more of that setting; options.settings: other settings.
local function with(options, body)
  local primehub = serve()
  local settings = { source = { graphql = { endpoint = primehub.endpoint, ttlSeconds = 1, timeoutSeconds = 1 } } }
  for name, value in pairs(options.graphql or {}) do settings.source.graphql[name] = value end
  for name, value in pairs(options.settings or {}) do settings[name] = value end
  local ok, failure = pcall(harness.with, { settings = settings, catalogue = false, operator = options.operator },
    function(world) return body(world, primehub) end)
  primehub.server:close()
  if not ok then error(failure, 0) end
end

local function resolved(world, name)
  return harness.condition(world:get(name), "GroupResolved")
end

local function is_resolved(world, name, status)
  return harness.eventually("GroupResolved of " .. name .. " is " .. status, 20, function()
    local condition = resolved(world, name)
    return condition and condition.status == status and condition, condition and condition.message
  end)
end

local function cpu(world, name)
  return world:child("Deployment", name).spec.template.spec.containers[1].resources.limits.cpu
end

local function deploy_all(world)
  for i = 1, COUNT do world:deploy("m" .. i) end
  for i = 1, COUNT do world:phase("m" .. i, "Deployed") end
end

-- Runs body() and answers how many of the models were not Deployed at the same time, at most.
local function most_unready(world, body)
  local most, done = 0, false
  local watcher = loop.spawn(function()
    while not done do
      local unready = 0
      for i = 1, COUNT do
        if world:get("m" .. i).status.phase ~= "Deployed" then unready = unready + 1 end
      end
      most = math.max(most, unready)
      loop.sleep(0.02)
    end
  end)
  body()
  done = true
  watcher:join()
  return most
end

local function all_have(world, holds)
  harness.eventually("all models have it", 60, function()
    local n = 0
    for i = 1, COUNT do n = n + (holds("m" .. i) and 1 or 0) end
    return n == COUNT, n
  end)
  for i = 1, COUNT do world:phase("m" .. i, "Deployed") end
end

-- ---------------------------------------------------------------- its life

describe("a PhDeployment whose group and instance type come from PrimeHub's GraphQL server", function()
  it("is Deployed by what that says; its objects are not read", function()
    with({}, function(world, primehub)
      world:deploy("m")
      local object = world:phase("m", "Deployed")
      assert.equal("True", harness.condition(object, "GroupResolved").status)
      local template = world:child("Deployment", "m").spec.template
      assert.equal("escaped-phusers", template.metadata.labels["primehub.io/group"])
      assert.equal("700m", template.spec.containers[1].resources.limits.cpu)
      assert.truthy(primehub.answers >= 1)
    end)
  end)

  local OUTAGES = {
    { "a 502 with a page of HTML (fault 4)", function() return 502, "<html>Bad Gateway</html>", "text/html" end },
    { "null and errors, 200 (fault 1)", function()
      return 200, { data = { group = json.null }, errors = json.array { { message = "connect ECONNREFUSED" } } } end },
    { "a hang (fault 5)", function()
      loop.sleep(20)
      return 200, "{}"
    end },
  }
  for _, outage in ipairs(OUTAGES) do
    it("runs on, Deployed, while the server answers with " .. outage[1] .. "; a condition tells (fault 2)", function()
      with({}, function(world, primehub)
        world:deploy("m")
        world:phase("m", "Deployed")
        local before = world:child("Deployment", "m")
        local phases, stop = harness.phases_of(world, "m")
        primehub.odd = outage[2]
        assert.equal("SourceSilent", is_resolved(world, "m", "Unknown").reason)
        local object = world:get("m")
        assert.equal("Deployed", object.status.phase)
        assert.equal("True", harness.condition(object, "Ready").status)
        world:edit("m", { spec = { predictors = json.array { { name = "predictor1", replicas = 2, instanceType = "cpu-only",
          modelImage = "registry.example/m:v1" } } } })
        harness.eventually("an edit is carried out by what was known last", 20, function()
          return world:child("Deployment", "m").spec.replicas == 2
        end)
        world:phase("m", "Deployed")
        primehub.odd = nil
        is_resolved(world, "m", "True")
        stop()
        for _, phase in ipairs(phases) do assert.truthy(phase ~= "Failed", phase) end
        assert.equal(before.metadata.uid, world:child("Deployment", "m").metadata.uid)
        assert.same(before.spec.template, world:child("Deployment", "m").spec.template)
      end)
    end)
  end

  it("is untouched when the operator starts anew while the server is down, and goes on when it is back", function()
    with({}, function(world, primehub)
      world:deploy("m")
      world:phase("m", "Deployed")
      world:stop_operator()
      local before = world:child("Deployment", "m")
      primehub.odd = function() return 503, "" end
      world:start_operator()
      is_resolved(world, "m", "Unknown")
      world:deploy("n")
      assert.equal("Waiting", world:phase("n", "Deploying").status.reason)
      local object, after = world:get("m"), world:child("Deployment", "m")
      assert.equal("Deployed", object.status.phase)
      assert.equal(before.metadata.generation, after.metadata.generation)
      assert.truthy(world:child("Service", "m") and world:child("Ingress", "m"), "nothing was taken away")
      assert.is_nil(world:child("Deployment", "n"))
      primehub.odd = nil
      world:phase("n", "Deployed")
      is_resolved(world, "m", "True")
      assert.equal(before.metadata.generation, world:child("Deployment", "m").metadata.generation)
    end)
  end)

  it("can be stopped while nothing is known of its group", function()
    with({}, function(world, primehub)
      world:deploy("m")
      world:phase("m", "Deployed")
      world:stop_operator()
      primehub.odd = function() return 503, "" end
      world:start_operator()
      is_resolved(world, "m", "Unknown")
      world:edit("m", { spec = { stop = true } })
      world:phase("m", "Stopped", 40)
      assert.equal(0, world:child("Deployment", "m").spec.replicas)
    end)
  end)

  it("is Failed when its group is gone or disabled, runs on, and recovers (fault 3)", function()
    with({}, function(world, primehub)
      world:deploy("m")
      world:phase("m", "Deployed")
      local uid, group = world:child("Deployment", "m").metadata.uid, primehub.group
      primehub.group = nil
      local object = world:phase("m", "Failed")
      assert.equal("GroupNotFound", object.status.reason)
      assert.equal("Group not found: phusers (" .. harness.GROUP_ID .. ")", object.status.message)
      assert.equal(1, object.status.availableReplicas)
      primehub.group = group
      world:phase("m", "Deployed")
      group.enabledDeployment = false
      assert.equal("DeploymentNotEnabled", world:phase("m", "Failed").status.reason)
      assert.equal(1, world:child("Deployment", "m").spec.replicas)
      group.enabledDeployment = true
      world:phase("m", "Deployed")
      assert.equal(uid, world:child("Deployment", "m").metadata.uid)
    end)
  end)

  it("is scaled to nothing when its group is gone, where onGroupLost says stop, and not for an outage", function()
    with({ settings = { onGroupLost = "stop" } }, function(world, primehub)
      world:deploy("m")
      world:phase("m", "Deployed")
      primehub.odd = function() return 500, "" end
      is_resolved(world, "m", "Unknown")
      assert.equal(1, world:child("Deployment", "m").spec.replicas)
      primehub.odd, primehub.group = nil, nil
      harness.eventually("no replica is wanted", 20, function() return world:child("Deployment", "m").spec.replicas == 0 end)
    end)
  end)

  it("was made of objects before: an edit of the settings moves it to the server, and restarts nothing", function()
    local primehub = serve()
    local settings = { reload = { check = "0" } }
    local ok, failure = pcall(harness.with, { settings = settings }, function(world)
      world:deploy("m")
      world:phase("m", "Deployed")
      local generation = world:child("Deployment", "m").metadata.generation
      local said = json.decode(fs.read(world.folder .. "/settings.yaml"))
      said.source = { graphql = { endpoint = primehub.endpoint, ttlSeconds = 1, timeoutSeconds = 1 } }
      assert(fs.write(world.folder .. "/settings.yaml", json.encode(said)))
      harness.eventually("the server is asked", 20, function() return primehub.answers > 1 end)
      harness.eventually("the settings are live", 20, function()
        return (fs.read(world.log) or ""):find("policies reloaded", 1, true)
      end)
      world.api:delete("PhGroup", world.namespace, "phusers")
      world.api:delete("InstanceType", world.namespace, "cpu-only")
      loop.sleep(0.5)
      assert.equal("Deployed", world:get("m").status.phase)
      assert.equal(generation, world:child("Deployment", "m").metadata.generation)
      primehub.group = nil
      assert.equal("GroupNotFound", world:phase("m", "Failed").status.reason)
    end)
    primehub.server:close()
    if not ok then error(failure, 0) end
  end)

  it("is Failed for an instance type that nobody knows, and Deployed when it comes", function()
    with({}, function(world, primehub)
      world:deploy("m", function(object) object.spec.predictors[1].instanceType = "gpu-1" end)
      assert.equal("InstanceType not found: gpu-1", world:phase("m", "Failed").status.message)
      primehub.group.instanceTypes = json.array { instance_type("gpu-1", { ["limits.cpu"] = 2 }) }
      world:phase("m", "Deployed")
      assert.equal("1700m", cpu(world, "m"))
    end)
  end)
end)

describe("the bearer token for the GraphQL server", function()
  it("comes from a Secret, may be rotated while models run, and is shown nowhere", function()
    local common = harness.share()
    local name, home = "primehub-" .. process.id, common.cluster.namespace
    local function put(token)
      common.api:apply { apiVersion = "v1", kind = "Secret", metadata = { name = name, namespace = home },
        stringData = { token = token } }
    end
    put "first-token-value"
    with({ graphql = { tokenSecret = { name = name } } }, function(world, primehub)
      primehub.token = "first-token-value"
      world:deploy("m")
      world:phase("m", "Deployed")
      primehub.token = "second-token-value"
      is_resolved(world, "m", "Unknown")
      assert.matches("is the token right", resolved(world, "m").message)
      put "second-token-value"
      is_resolved(world, "m", "True")
      assert.is_true(primehub.tokens["Bearer second-token-value"])
      local told = json.encode(world:get("m")) .. (fs.read(world.log) or "") .. world:ask_operator("/metrics").body
        .. json.encode(world.api:list("Event", world.namespace))
      for _, token in ipairs { "first%-token", "second%-token" } do assert.is_nil(told:find(token), "a token was shown") end
    end)
    common.api:delete("Secret", home, name)
  end)
end)

-- ---------------------------------------------------------------- quota

describe("the quota of a group from PrimeHub's GraphQL server", function()
  it("bounds its pods, also while the server is silent, and an edit of it is taken up", function()
    local primehub = serve()
    primehub.group.projectQuotaCpu = 2
    local settings = { source = { graphql = { endpoint = primehub.endpoint, ttlSeconds = 1, timeoutSeconds = 1 } } }
    local ok, failure = pcall(reviewed.with, { settings = settings }, function(world)
      local function create(name)
        local answer = reviewed.create(world, reviewed.pod(world, name, { cpu = "1" }))
        return answer.status, answer.message
      end
      harness.eventually("quotas are known", 20, function() return (create "first") == 201 end)
      primehub.odd = function() return 502, "<html>" end
      loop.sleep(1.5) -- longer than an answer is good for
      assert.equal(201, (create "second"))
      local status, message = create "third"
      assert.equal(403, status)
      assert.contains("Group phusers exceeded cpu quota: 2, requesting 1", message)
      primehub.odd, primehub.group.projectQuotaCpu = nil, 3
      harness.eventually("the third is admitted", 20, function() return (create "third") == 201 end)
      local stranger = reviewed.pod(world, "stranger", { cpu = "1" })
      stranger.metadata.labels["primehub.io/group"] = "escaped-nobody"
      assert.contains("Group not found: nobody", reviewed.create(world, stranger).message)
    end)
    primehub.server:close()
    if not ok then error(failure, 0) end
  end)
end)

-- ---------------------------------------------------------------- edits

-- The same on both sources: edit(spec) makes another spec of the instance type cpu-only.
local SOURCES = {
  { "PrimeHub's GraphQL server", function(body)
    with({ settings = { grace = { capacity = 0 } } }, function(world, primehub)
      body(world, function(change) primehub.types = json.array { instance_type("cpu-only", change) } end)
    end)
  end },
  { "objects", function(body)
    harness.with({ settings = { grace = { capacity = 0 } } }, function(world)
      body(world, function(change)
        local spec = { nodeSelector = json.null, ["limits.cpu"] = 1 }
        for key, value in pairs(change) do spec[key] = value end
        world.api:patch("InstanceType", world.namespace, "cpu-only", "merge", { spec = spec })
      end)
    end)
  end },
}

for _, source in ipairs(SOURCES) do
  describe("an edit of an instance type from " .. source[1], function()
    it("reaches the models that use it, one after the other (fault 26)", function()
      source[2](function(world, edit)
        deploy_all(world)
        local most = most_unready(world, function()
          edit { ["limits.cpu"] = 2 }
          all_have(world, function(name) return cpu(world, name) == "1700m" end)
        end)
        assert.truthy(most <= 1, most .. " models were not Deployed at the same time")
      end)
    end)

    it("that was made while no operator ran is paced as well", function()
      source[2](function(world, edit)
        deploy_all(world)
        world:stop_operator()
        edit { ["limits.cpu"] = 2 }
        local most = most_unready(world, function()
          world:start_operator()
          all_have(world, function(name) return cpu(world, name) == "1700m" end)
        end)
        assert.truthy(most <= 1, most .. " models were not Deployed at the same time")
      end)
    end)

    it("that the first model fails with stops there, and goes on when it is mended", function()
      source[2](function(world, edit)
        deploy_all(world)
        edit { ["limits.cpu"] = 2, nodeSelector = { disk = "nowhere" } }
        harness.eventually("the log says that the rollout stopped", 40, function()
          return (fs.read(world.log) or ""):find("rollout stopped", 1, true)
        end)
        all_have(world, function(name) return cpu(world, name) == "700m" end)
        edit { ["limits.cpu"] = 3 }
        all_have(world, function(name) return cpu(world, name) == "2700m" end)
      end)
    end)
  end)
end
