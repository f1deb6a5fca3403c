-- The status patch: only what differs, only over what was read, and when a condition last changed.

local status = require "status"
local fake = require("include") "spec/host/fake_cluster.lua"

local KIND = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", resource = "phdeployments" }
local PATH = "/apis/primehub.io/v1alpha1/namespaces/hub/phdeployments/m"

local function ready(value, message)
  return { type = "Ready", status = value, message = message or "" }
end

local function object(conditions)
  return { metadata = { name = "m", namespace = "hub", uid = "u", resourceVersion = "7" },
    status = conditions and { conditions = json.array(conditions) } or nil }
end

local OLD, NOW = "2026-01-01T00:00:00Z", "2026-02-02T00:00:00Z"

describe("lastTransitionTime", function()
  local function time_after(before, after)
    before.lastTransitionTime = OLD
    return status.complete({ conditions = { after } }, object({ before }).status, NOW).conditions[1].lastTransitionTime
  end

  it("stays while the status is the same, whatever the message says", function()
    assert.equal(OLD, time_after(ready("False", "one"), ready("False", "two")))
  end)

  it("moves when the status changes", function()
    assert.equal(NOW, time_after(ready "False", ready "True"))
  end)

  it("is now for a condition that is new, and for one that had no time", function()
    assert.equal(NOW, status.complete({ conditions = { ready "True" } }, nil, NOW).conditions[1].lastTransitionTime)
    assert.equal(NOW, status.complete({ conditions = { ready "True" } }, { conditions = { ready "True" } }, NOW).conditions[1].lastTransitionTime)
  end)

  it("is now when the present status is nonsense", function()
    for _, broken in ipairs { json.null, { conditions = json.null }, { conditions = "x" } } do
      assert.equal(NOW, status.complete({ conditions = { ready "True" } }, broken, NOW).conditions[1].lastTransitionTime)
    end
  end)
end)

describe("the patch", function()
  it("is nothing when nothing differs, so that a quiet cluster stays quiet", function()
    local present = object { { type = "Ready", status = "True", message = "", lastTransitionTime = OLD } }
    assert.is_nil(status.patch(present, { conditions = { ready "True" } }, NOW))
  end)

  it("holds resourceVersion and UID of what was read, and what differs", function()
    local patch = status.patch(object { ready "False" }, { phase = "Deployed", conditions = { ready "False" } }, NOW)
    assert.equal("7", patch.metadata.resourceVersion)
    assert.equal("u", patch.metadata.uid)
    assert.equal("Deployed", patch.status.phase)
  end)

  it("takes away what the policy does not say any more", function()
    local present = object {}
    present.status.endpoint = "http://x"
    assert.equal(json.null, status.patch(present, { phase = "Stopped" }, NOW).status.endpoint)
  end)
end)

describe("a write of status", function()
  local cluster, body
  before_each(function()
    cluster = fake.new()
    local stored = cluster:put(PATH, { metadata = { name = "m" }, spec = {} })
    body = { metadata = { resourceVersion = stored.metadata.resourceVersion }, status = { phase = "Deployed" } }
  end)
  local function write() return status.write(cluster, KIND, "hub/m", body) end

  it("goes through the subresource", function()
    assert.equal("written", (write()))
    assert.equal(PATH .. "/status", cluster.requests[1].path)
    assert.equal("Deployed", cluster.objects[PATH].status.phase)
  end)

  it("over a stale view is a conflict and changes nothing", function()
    cluster:put(PATH, { metadata = { name = "m", uid = "uid-1" }, spec = { a = 1 } })
    assert.equal("conflict", (write()))
    assert.is_nil(cluster.objects[PATH].status)
  end)

  it("of an object that is gone says so", function()
    cluster:remove(PATH)
    assert.equal("gone", (write()))
  end)

  it("that is refused or not answered gives the words", function()
    cluster:fail("PATCH", PATH, { status = 422, reason = "Invalid", message = "status.phase: unsupported" })
    local result, why = write()
    assert.is_nil(result)
    assert.equal("status.phase: unsupported (422 Invalid)", why)
    cluster:fail("PATCH", PATH, false)
    result, why = write()
    assert.is_nil(result)
    assert.contains("no answer", why)
  end)
end)

describe("a condition of the host's own", function()
  local ERROR = { type = "PolicyError", status = "True", message = "x" }

  it("stands beside the policy's conditions and is replaced by its next", function()
    local present = object { ready "True" }
    present.status = status.with_condition(present, ERROR)
    assert.equal(2, #present.status.conditions)
    present.status = status.with_condition(present, { type = "PolicyError", status = "True", message = "y" })
    assert.equal(2, #present.status.conditions)
    assert.equal("y", status.condition(present, "PolicyError").message)
    assert.equal("True", status.condition(present, "Ready").status)
  end)

  it("can be taken away, also where there is no status at all", function()
    assert.is_nil(status.condition({ status = status.with_condition(object { ERROR }, nil) }, "PolicyError"))
    assert.equal(0, #status.with_condition(object(), nil).conditions)
  end)

  it("tells of an error once, however long its words and whatever bytes they are of", function()
    for _, text in ipairs { ("é"):rep(1500), "a" .. ("é"):rep(1500), "ab" .. ("漢"):rep(900), "caf\xe9 " .. ("x"):rep(3000), "short" } do
      local failure = { outcome = "error", text = text, file = "phases.lua", line = 7 }
      local condition = status.of_failure(object {}, failure)
      assert.truthy(#condition.message <= 2000 and utf8.len(condition.message), "a message that an API server keeps as it is")
      local kept = json.decode(json.encode(object { condition }))
      assert.equal(nil, status.of_failure(kept, failure))
    end
  end)
end)
