-- What answers of PrimeHub's GraphQL server mean: found, not there, or not known now.

local primehub = require "primehub"
local world = require "spec_world"

local SETTINGS = { gpu = { defaultResource = "nvidia.com/gpu" } }

local function group(change)
  local one = { id = "g", name = "phusers", enabledDeployment = true, maxDeploy = json.null, projectQuotaCpu = json.null,
    projectQuotaGpu = json.null, projectQuotaMemory = json.null, instanceTypes = json.array {}, mlflow = json.null }
  for name, value in pairs(change or {}) do one[name] = value end
  return one
end

local function asked(answer, wanted)
  return { answer = answer, status = 200, wanted = wanted or "g", settings = SETTINGS }
end

local function read_group(change)
  return primehub.group(asked { data = { group = group(change) } })
end

-- The instance type `name` of a group with these, in a PrimeHub with those for everyone.
local function read_type(name, own, others)
  return primehub.instance_type(asked({ data = { group = own and group { instanceTypes = json.array(own) } or json.null,
    instanceTypes = json.array(others or {}) } }, name))
end

local function type_named(name, spec, global)
  return { name = name, spec = spec or { ["limits.cpu"] = 1 }, global = global }
end

describe("a group", function()
  it("is found as a PhGroup with what PrimeHub says of it", function()
    local answer = read_group { maxDeploy = 2, projectQuotaCpu = 0.5, projectQuotaGpu = 4, projectQuotaMemory = 8,
      mlflow = { trackingUri = "http://m", uiUrl = "http://ui", trackingEnvs = json.array { { name = "A", value = "" } }, artifactEnvs = json.null } }
    assert.equal("found", answer.state)
    assert.same({ id = "g", name = "phusers", enabledDeployment = true, maxDeployments = 2,
      quota = { cpu = "500m", memory = "8589934592", ["nvidia.com/gpu"] = "4" },
      mlflow = { trackingUri = "http://m", uiUrl = "http://ui", trackingEnvs = { { name = "A", value = "" } }, artifactEnvs = {} } },
      answer.object.spec)
  end)

  it("without quotas is unlimited, and null for enabledDeployment is not enabled", function()
    local spec = read_group { enabledDeployment = json.null }.object.spec
    assert.same({ id = "g", name = "phusers", enabledDeployment = false, quota = {} }, spec)
  end)

  it("without a tracking server has no MLflow", function()
    assert.is_nil(read_group { mlflow = { trackingUri = json.null } }.object.spec.mlflow)
  end)

  it("is missing only for a null without errors (fault 1)", function()
    assert.equal("missing", primehub.group(asked { data = { group = json.null } }).state)
    assert.equal("missing", primehub.group(asked { data = { group = json.null }, errors = json.array {} }).state)
    local silent = primehub.group(asked { data = { group = json.null }, errors = json.array { { message = "keycloak" } } })
    assert.same({ state = "unknown", reason = "GraphQLErrors", message = "it answers with GraphQL errors" }, silent)
  end)

  it("is not known for an answer that is not what it should be (fault 4)", function()
    local odd = { 7, "text", json.array {}, {}, { data = json.null }, { data = json.array { 1 } }, { data = {} }, { data = { group = true } },
      { data = { group = group { id = "other" } } }, { errors = json.array { { message = "no" } } } }
    for i, answer in ipairs(odd) do assert.equal("unknown", primehub.group(asked(answer)).state, i) end
    for _, change in ipairs { { name = "" }, { name = 1 }, { enabledDeployment = "yes" }, { maxDeploy = "3" }, { projectQuotaCpu = -1 },
      { projectQuotaGpu = true }, { mlflow = "x" }, { mlflow = { trackingUri = 1 } },
      { mlflow = { trackingUri = "http://m", trackingEnvs = "A=1" } }, { mlflow = { trackingUri = "http://m", artifactEnvs = json.array { { name = "A" } } } },
      { mlflow = { trackingUri = "http://m", artifactEnvs = json.array { { value = "A" } } } } } do
      local answer = read_group(change)
      assert.equal("unknown", answer.state, next(change))
      assert.equal("NotUnderstood", answer.reason)
    end
  end)
end)

describe("an instance type", function()
  it("is the group's own first, then one for everyone, and nobody else's", function()
    local own, others = { type_named("a", { ["limits.cpu"] = 1 }) }, { type_named("a", { ["limits.cpu"] = 2 }, true), type_named("b", nil, true),
      type_named("c", nil, false) }
    assert.equal(1, read_type("a", own, others).object.spec["limits.cpu"])
    assert.equal("found", read_type("b", own, others).state)
    assert.equal("missing", read_type("c", own, others).state)
    assert.equal("missing", read_type("d", own, others).state)
    assert.equal(2, read_type("a", nil, others).object.spec["limits.cpu"], "of a group that is not there")
  end)

  it("keeps what pods are made of, and nothing else", function()
    local spec = { displayName = "x", ["limits.cpu"] = 0.5, ["limits.memory"] = "2G", ["limits.gpu"] = json.null, ["requests.cpu"] = json.null,
      gpuResourceName = "amd.com/gpu", nodeSelector = { disk = "ssd" },
      tolerations = json.array { { key = "k", operator = "Exists", effect = json.null, other = 1 } } }
    assert.same({ ["limits.cpu"] = 0.5, ["limits.memory"] = "2G", gpuResourceName = "amd.com/gpu", nodeSelector = { disk = "ssd" },
      tolerations = { { key = "k", operator = "Exists" } } }, read_type("a", { type_named("a", spec) }).object.spec)
  end)

  it("is not known for an answer that is not what it should be", function()
    for _, spec in ipairs { "x", { ["limits.cpu"] = true }, { nodeSelector = "disk" }, { nodeSelector = { a = 1 } }, { tolerations = "all" },
      { tolerations = json.array { "all" } }, { tolerations = json.array { { key = 1 } } } } do
      assert.equal("unknown", read_type("a", { type_named("a", spec) }).state)
    end
    assert.equal("unknown", read_type("a", { "a" }).state)
    assert.equal("unknown", primehub.instance_type(asked { data = { group = group(), instanceTypes = json.null } }).state)
    assert.equal("unknown", primehub.instance_type(asked { data = { group = group { instanceTypes = json.null }, instanceTypes = json.array {} } }).state)
  end)
end)

describe("all groups", function()
  it("come with their quotas", function()
    local answer = primehub.groups(asked { data = { groups = json.array { group { projectQuotaCpu = 2 }, group { id = "h", name = "other" } } } })
    assert.same({ { id = "g", name = "phusers", quota = { cpu = "2000m" } }, { id = "h", name = "other", quota = {} } }, answer.object.groups)
  end)

  it("are not known for anything but a list of groups", function()
    for _, data in ipairs { { groups = json.null }, { groups = { a = 1 } }, { groups = json.array { 1 } }, {} } do
      assert.equal("unknown", primehub.groups(asked { data = data }).state)
    end
  end)
end)

-- ---------------------------------------------------------------- what people read of it

local function resolved(decision)
  return world.condition(decision.status, "GroupResolved")
end

describe("a model whose group is being asked for", function()
  it("waits, and nobody is told of trouble", function()
    local w = world.new()
    w.group = { state = "unknown", reason = "Asking", message = "the answer is not there yet" }
    local decision = world.apply(w)
    assert.same({}, decision.children)
    assert.equal("Waiting: the group cannot be read at the moment (the answer is not there yet)", decision.status.message)
    assert.equal("Asking", resolved(decision).reason)
    for _, event in ipairs(decision.events) do assert.equal("Normal", event.type) end
  end)

  it("goes on as it is, if it runs: a restart of the operator is no news to it", function()
    local w = world.deployed()
    w.group, w.instance_type = { state = "unknown", reason = "Asking" }, { state = "unknown", reason = "Asking" }
    local decision = world.decide(w)
    assert.equal("Deployed", decision.status.phase)
    assert.same({}, decision.children)
    assert.same({}, decision.events)
  end)
end)

describe("a model whose source does not answer any more", function()
  it("says why in a condition, the same in each try, and is written as before", function()
    local w = world.deployed()
    local before = world.decide(w)
    w.group.state, w.group.reason, w.group.message = "unknown", "Timeout", "it does not answer within 10 seconds"
    w.group.age = 75
    local decision = world.decide(w)
    assert.equal("group or instance type cannot be read at the moment (it does not answer within 10 seconds): what was known last goes on",
      resolved(decision).message)
    assert.equal("Unknown", resolved(decision).status)
    assert.same(before.children, decision.children)
    w.group.age, w.now = 135, w.now + 60
    assert.same(decision.status, world.decide(w).status, "that it lasts is no news")
  end)

  it("asks for a source that an administrator can set right", function()
    local w = world.deployed()
    for path, wrong in pairs { endpoint = "primehub/graphql", ttlSeconds = 0, tokenFile = "/token" } do
      w.settings = world.settings()
      w.settings.source.graphql.tokenSecret.name = "token"
      w.settings.source.graphql[path] = wrong
      assert.matches("^A setting of the operator is wrong: source%.graphql", world.decide(w).status.message, path)
    end
  end)
end)
