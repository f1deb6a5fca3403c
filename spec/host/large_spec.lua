-- The largest object that the CRD lets through, edited many times before anybody looked, is decided within the limits of one call:
-- what a policy may use grows with what it is given (script/limits.h). A decision that is stopped would be stopped each time, since
-- revisions wait until a status has recorded them.

local contract = require "contract"
local policies = require "policies"

local CLIENTS, EDITS = 1000, 32

local function spec_of(name_bytes, token_bytes, edit)
  local clients = json.array {}
  for i = 1, CLIENTS do
    clients[i] = { name = ("c%d"):format(i) .. ("n"):rep(name_bytes - 5), token = ("t%d-%d"):format(i, edit) .. ("k"):rep(token_bytes - 10) }
  end
  return { groupId = "g", groupName = "g", displayName = "m", endpoint = { accessType = "private", clients = clients },
    predictors = json.array { { name = "p", replicas = 1, modelImage = "registry.example/model:v1", instanceType = "t" } } }
end

-- What a policy would see of it: a new object, with its group and instance type, after `edits` edits.
local function seen_of(declaration, settings, digest, name_bytes, token_bytes, edits)
  local revisions = json.array {}
  for i = 1, edits do
    revisions[i] = { generation = i, time = "2026-01-01T00:00:00Z", spec = spec_of(name_bytes, token_bytes, i) }
  end
  local seen = { revisions = revisions, children = {}, problems = json.array {}, settings = settings, now = 1767225600, policy = { digest = digest },
    object = { apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", spec = spec_of(name_bytes, token_bytes, edits),
      metadata = { name = "m", namespace = "hub", uid = "00000000-0000-0000-0000-000000000000", generation = edits,
        creationTimestamp = "2026-01-01T00:00:00Z" } } }
  for name in pairs(declaration.children) do seen.children[name] = {} end
  for name in pairs(declaration.watches or {}) do seen[name] = json.array {} end
  for name in pairs(declaration.inputs or {}) do seen[name] = { state = "missing" } end
  seen.group = { state = "found", object = { spec = { id = "g", name = "g", enabledDeployment = true } } }
  seen.instance_type = { state = "found", object = { metadata = { name = "t" }, spec = { ["limits.cpu"] = "1", ["limits.memory"] = "1Gi" } } }
  return seen
end

local function decided(name_bytes, token_bytes, edits)
  local generation, settings = policies.load()
  assert.is_not_nil(generation, settings)
  local declaration = assert(contract.declaration(generation, "phdeployment"))
  local decision, failure = generation:call("phdeployment", "decide",
    seen_of(declaration, settings, generation.digest, name_bytes, token_bytes, edits))
  assert.is_not_nil(decision, failure and failure.text)
  return decision
end

it("with 1,000 clients, their names and tokens as long as may be", function()
  local decision = decided(253, 1024, 1)
  assert.equal("Deploying", decision.status.phase, decision.status.message)
  for _, child in ipairs(decision.children) do
    if child.kind == "Secret" then
      assert.equal(1 + CLIENTS, select(2, base64.decode(child.data.auth):gsub("\n", "")))
      return
    end
  end
  error "no Secret was made"
end)

it("with 1,000 clients and 32 edits that no status has recorded yet", function()
  local decision = decided(20, 40, EDITS)
  assert.equal("Deploying", decision.status.phase, decision.status.message)
  assert.is_true(#decision.status.history >= 1)
  assert.equal(EDITS, decision.status.history[1].generation)
end)
