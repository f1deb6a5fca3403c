-- What counts for a quota, and what is refused. Amounts are compared exactly, whatever they are written in.

local quota = require "quota"
local world = require "spec_world"

local SETTINGS = { quota = { counts = "limits" } }

local function container(limits, requests, more)
  local one = { resources = { limits = limits, requests = requests } }
  for k, v in pairs(more or {}) do one[k] = v end
  return one
end

local function pod(...)
  return { metadata = { name = "p", namespace = "hub", uid = "u" }, spec = { containers = json.array { ... } } }
end

local function uses(p, counts)
  return quota.uses(p, { quota = { counts = counts or "limits" } })
end

local function review(p, limits, used, group)
  group = group or { state = "found", label = "escaped-phusers", name = "phusers", quota = limits }
  return quota.admit { pod = p, group = group, used = used or {}, settings = SETTINGS }
end

describe("What a pod counts for:", function()
  it("its containers together", function()
    assert.same({ cpu = "1500m", memory = "3221225472" },
      uses(pod(container { cpu = "1", memory = "2Gi" }, container { cpu = "500m", memory = "1Gi" })))
  end)

  it("limits, or what it requests where it has no limit", function()
    local one = container({ cpu = "2" }, { cpu = "1", memory = "1Gi" })
    assert.same({ cpu = "2", memory = "1073741824" }, uses(pod(one)))
    assert.same({ cpu = "1", memory = "1073741824" }, uses(pod(one), "requests"))
    assert.same({ cpu = "2" }, uses(pod(container { cpu = "2" }), "requests"))
  end)

  it("any extended resource", function()
    assert.same({ ["nvidia.com/gpu"] = "3", ["example.com/fpga"] = "1" },
      uses(pod(container { ["nvidia.com/gpu"] = "1" }, container { ["nvidia.com/gpu"] = "2", ["example.com/fpga"] = "1" })))
  end)

  it("the largest init container, where that is more than all containers", function()
    local p = pod(container { cpu = "1", memory = "1Gi" }, container { cpu = "1", memory = "1Gi" })
    p.spec.initContainers = json.array { container { cpu = "3", memory = "1Gi" }, container { cpu = "1", memory = "1536Mi" } }
    assert.same({ cpu = "3", memory = "2147483648" }, uses(p))
  end)

  it("sidecars beside containers, and beside the init containers that come after them", function()
    local p = pod(container { cpu = "1" })
    p.spec.initContainers = json.array { container({ cpu = "500m" }, nil, { restartPolicy = "Always" }), container { cpu = "2" } }
    assert.same({ cpu = "2500m" }, uses(p))
    p.spec.initContainers = json.array { container { cpu = "2" }, container({ cpu = "500m" }, nil, { restartPolicy = "Always" }) }
    assert.same({ cpu = "2" }, uses(p))
    p.spec.initContainers = json.array { container { cpu = "1" }, container({ cpu = "500m" }, nil, { restartPolicy = "Always" }) }
    assert.same({ cpu = "1500m" }, uses(p))
  end)

  it("the overhead of its runtime class on top", function()
    local p = pod(container { cpu = "1" })
    p.spec.overhead = { cpu = "250m", memory = "120Mi" }
    assert.same({ cpu = "1250m", memory = "125829120" }, uses(p))
  end)

  it("what the pod says as a whole in place of its containers", function()
    local p = pod(container { cpu = "1", memory = "1Gi" }, container { cpu = "1", memory = "1Gi" })
    p.spec.resources = { limits = { cpu = "3" } }
    p.spec.overhead = { cpu = "100m" }
    assert.same({ cpu = "3100m", memory = "2147483648" }, uses(p))
  end)

  it("nothing once it has ended, and all of it while it is being deleted", function()
    local p = pod(container { cpu = "1" })
    for _, phase in ipairs { "Succeeded", "Failed" } do
      p.status = { phase = phase }
      assert.same({}, uses(p))
    end
    p.status, p.metadata.deletionTimestamp = { phase = "Running" }, "2020-03-23T02:03:15Z"
    assert.same({ cpu = "1" }, uses(p))
  end)

  it("decimal and binary amounts exactly (faults 37 and 38)", function()
    assert.same({ memory = "262144000" }, uses(pod(container { memory = "262144k" })))
    assert.same({ memory = "262144000" }, uses(pod(container { memory = "250Mi" })))
    assert.same({ memory = "2073741824" }, uses(pod(container { memory = "1G" }, container { memory = "1Gi" })))
    local small = container { cpu = "0.0005" }
    assert.same({ memory = "1099511627776", cpu = "1m" }, uses(pod(container { memory = "1Ti", cpu = "0.0005" }, small)))
    assert.same({ cpu = "300m" }, uses(pod(container { cpu = 0.1 }, container { cpu = "0.2" })))
    assert.same({ memory = "128m" }, uses(pod(container { memory = "128m" })))
  end)

  it("an amount that is none, or below zero, is an error, and so a refusal", function()
    assert.has_error(function() uses(pod(container { cpu = "a lot" })) end, "the amount of cpu is no quantity")
    assert.has_error(function() uses(pod(container { memory = "-1Gi" })) end, "below zero")
    assert.has_error(function() uses(pod(container { cpu = "1" }), "guesses") end, "quota.counts")
  end)
end)

describe("A quota", function()
  it("is full to the last byte, and one more is refused", function()
    local p = pod(container { memory = "1Gi" })
    assert.is_nil(review(p, { memory = "2Gi" }, { memory = "1073741824" }).refused)
    assert.equal("QuotaExceeded", review(p, { memory = "2Gi" }, { memory = "1073741825" }).refused)
    assert.equal("QuotaExceeded", review(p, { memory = "2G" }, { memory = "1073741824" }).refused)
  end)

  it("of 1 GiB takes a pod of 1Gi whose engine has 250Mi of it (fault 37)", function()
    assert.is_nil(review(pod(container { memory = "774Mi" }, container { memory = "262144k" }), { memory = "1Gi" }).refused)
  end)

  it("names group, resource, quota and request, as PrimeHub did, and what is used", function()
    local answer = review(pod(container { cpu = "1500m" }), { cpu = 4 }, { cpu = "3" })
    assert.equal("Group phusers exceeded cpu quota: 4, requesting 1500m, used: 3, limited: 4", answer.message)
    assert.equal(403, answer.code)
    assert.equal("Group phusers exceeded memory quota: 8Gi, requesting 512Mi, used: 8Gi, limited: 8Gi",
      review(pod(container { memory = "512Mi" }), { memory = "8Gi" }, { memory = "8589934592" }).message)
  end)

  it("says the same while what others use changes", function()
    local said = {}
    for i, used in ipairs { "3", "3500m" } do
      said[i] = text.refusal('admission webhook "w" denied the request: '
        .. review(pod(container { cpu = "2" }), { cpu = "4" }, { cpu = used }).message)
    end
    assert.equal(said[1], said[2])
    assert.equal("Group phusers exceeded cpu quota: 4, requesting 2, limited: 4", said[1])
  end)

  it("bounds cpu first, then memory, then the others by name, each by its own amount (fault 41)", function()
    local p = pod(container { cpu = "2", memory = "2Gi", ["a.b/c"] = "2", ["nvidia.com/gpu"] = "2" })
    local limits = { cpu = "1", memory = "1Gi", ["a.b/c"] = "1", ["nvidia.com/gpu"] = "1" }
    for _, name in ipairs { "cpu", "memory", "a.b/c", "nvidia.com/gpu" } do
      assert.contains("exceeded " .. name .. " quota", review(p, limits).message)
      limits[name] = nil
    end
    assert.is_nil(review(p, limits).refused)
  end)

  it("does not bound what it does not name, nor a pod that asks for none of it", function()
    assert.is_nil(review(pod(container { cpu = "100" }), { memory = "1Gi" }).refused)
    assert.is_nil(review(pod(container { memory = "1Gi" }), { cpu = "1", memory = "2Gi" }, { cpu = "5" }).refused)
    assert.is_nil(review(pod(container { cpu = "100" }), nil).refused)
    assert.is_nil(review(pod(container { cpu = "0" }), { cpu = "1" }, { cpu = "5" }).refused)
  end)

  it("of 0 admits nothing that asks for it", function()
    assert.equal("QuotaExceeded", review(pod(container { ["nvidia.com/gpu"] = "1" }), { ["nvidia.com/gpu"] = 0 }).refused)
  end)

  it("that cannot be read refuses", function()
    local answer = review(pod(container { cpu = "1" }), { cpu = "many" })
    assert.equal("QuotaInvalid", answer.refused)
    assert.contains("cpu is many", answer.message)
  end)

  it("of a group that is not there, or there twice, or not known now, refuses (fault 36)", function()
    local p = pod(container { cpu = "1" })
    assert.equal("GroupNotFound", review(p, nil, nil, { state = "missing", label = "escaped-a" }).refused)
    assert.equal("GroupAmbiguous", review(p, nil, nil, { state = "ambiguous", label = "escaped-a", objects = { "a", "b" } }).refused)
    local unknown = review(p, nil, nil, { state = "unknown", label = "escaped-a" })
    assert.equal("GroupUnknown", unknown.refused)
    assert.equal(503, unknown.code)
  end)

  it("that was known last goes on while the source is silent", function()
    local silent = { state = "unknown", label = "escaped-a", name = "a", quota = { cpu = "1" } }
    assert.is_nil(review(pod(container { cpu = "1" }), nil, nil, silent).refused)
    assert.equal("QuotaExceeded", review(pod(container { cpu = "2" }), nil, nil, silent).refused)
  end)

  it("is asked for pods that wait by the same rule", function()
    local group = { state = "found", label = "l", name = "g", quota = { cpu = "2" } }
    assert.is_true(quota.fits { uses = { cpu = "1" }, group = group, used = { cpu = "1" } })
    assert.is_false(quota.fits { uses = { cpu = "1500m" }, group = group, used = { cpu = "1" } })
    local older = { { uses = { cpu = "1" }, count = 1 } }
    assert.is_false(quota.fits { uses = { cpu = "1" }, group = group, used = { cpu = "1" }, ahead = older })
  end)
end)

describe("What is left of a quota", function()
  -- The row that refuses a pod of `cpu` in a group with this quota of cpu; nil: it is admitted.
  local function judged(cpu, limit, used, more)
    local asked = { pod = pod(container { cpu = cpu }), used = { cpu = used }, settings = { quota = { counts = "limits" } },
      group = { state = "found", label = "l", name = "g", quota = { cpu = limit, ["nvidia.com/gpu"] = "2" } } }
    for k, v in pairs(more) do asked[k] = v end
    local answer = quota.admit(asked)
    return answer.refused, answer.message
  end
  local function ahead(...)
    local list = {}
    for i, one in ipairs { ... } do list[i] = { uses = { cpu = one[1] }, count = one[2] or 1, keeps = one.keeps } end
    return list
  end

  it("is kept for an older deployment that waits, and the refusal says so", function()
    local refused, message = judged("1", "4", "3", { ahead = ahead { "1" } })
    assert.equal("OlderFirst", refused)
    assert.equal("Group g exceeded cpu quota: 4, requesting 1, used: 3, limited: 4; what is left is kept for deployments that come first",
      message)
    assert.is_nil(judged("1", "4", "2", { ahead = ahead { "1" } }))
    assert.equal("OlderFirst", (judged("1", "4", "2", { ahead = ahead { "1", 2 } })))
    assert.equal("OlderFirst", (judged("1", "4", "2", { ahead = ahead({ "1" }, { "1" }) })))
  end)

  it("is kept for as many pods as an older one lacks, as soon as one of them can start", function()
    assert.equal("OlderFirst", (judged("1", "8", "6", { ahead = ahead { "2", 3 } })))
    assert.is_nil(judged("1", "8", "7", { ahead = ahead { "2", 3 } }))
  end)

  it("is not kept for one that could not start: a large one keeps no small one waiting", function()
    assert.is_nil(judged("1", "4", "2", { ahead = ahead { "3" } }))
    assert.is_nil(judged("1", "4", "0", { ahead = ahead { "5" } }))
    assert.is_nil(judged("1", "4", "0", { ahead = ahead({ "3" }, { "4" }) })) -- not for the second, once the first has its own
    assert.is_nil(judged("1", "4", "0", { ahead = { { uses = { cpu = "2", ["nvidia.com/gpu"] = "3" }, count = 9 } } }))
  end)

  it("is kept for one that can start when pods that are ending have gone", function()
    assert.equal("OlderFirst", (judged("1", "4", "3", { ahead = ahead { "3" }, ending = { cpu = "2" } })))
    assert.is_nil(judged("1", "4", "3", { ahead = ahead { "3" }, ending = { cpu = "1" } }))
  end)

  it("is kept by kind: who needs nothing of it goes on", function()
    assert.is_nil(judged("1", "4", "1", { ahead = { { uses = { ["nvidia.com/gpu"] = "2" }, count = 1 } } }))
  end)

  it("by a pod that went a moment ago is its own deployment's, before all that wait", function()
    assert.equal("OlderFirst", (judged("1", "4", "3", { ahead = ahead { "1", keeps = true } })))
    assert.is_nil(judged("1", "4", "3", { ahead = ahead { "1" }, place = { cpu = "1" } }))
    assert.equal("OlderFirst", (judged("2", "4", "2", { ahead = ahead { "1" }, place = { cpu = "1" } })))
    assert.equal("OlderFirst", (judged("1", "4", "3", { ahead = ahead { "1", keeps = true }, place = { cpu = "1" } })))
  end)
end)

describe("A deployment", function()
  local function limited(limit, ahead)
    return function(w)
      w.group.object.spec.maxDeployments, w.ahead = limit, ahead
    end
  end

  it("that has no place among those of its group is Failed with the specification's words, and nothing of it is made", function()
    local w = world.new()
    limited(2, 2)(w)
    local decision = world.decide(w)
    assert.equal("Failed", decision.status.phase)
    assert.equal("GroupDeploymentsExceeded", decision.status.reason)
    assert.contains("Group resource not enough: phusers may run 2 deployments at once", decision.status.message)
    assert.equal("False", world.condition(decision.status, "QuotaAdmitted").status)
    assert.equal(0, #decision.children)
  end)

  it("that runs is not stopped when the number becomes smaller", function()
    local w = world.deployed()
    limited(0, 0)(w)
    local decision = world.apply(w)
    assert.equal("GroupDeploymentsExceeded", decision.status.reason)
    assert.equal(2, w.children.deployments[world.CHILD].spec.replicas)
  end)

  it("has its place without a limit, below it, and when it is stopped", function()
    for _, case in ipairs { { nil, nil }, { nil, 7 }, { 3, 2 } } do
      local w = world.new()
      limited(case[1], case[2])(w)
      assert.equal("Deploying", world.decide(w).status.phase)
    end
    local w = world.new()
    limited(1, 5)(w)
    w.object.spec.stop = true
    assert.equal("Stopped", world.apply(w).status.phase)
  end)

  it("is woken when quota frees, if that is what it waits for", function()
    local function wakes(message)
      local w = world.deployed()
      world.refuses(message)(w)
      return world.decide(w).wake
    end
    assert.is_true(wakes('admission webhook "w.x.y" denied the request: Group g exceeded cpu quota: 4, requesting 2, used: 3, limited: 4'))
    assert.is_true(wakes('Internal error occurred: failed calling webhook "w.x.y": Post "https://w": EOF'))
    assert.is_true(wakes('admission webhook "w.x.y" denied the request: moonphase took over a moment ago and does not know yet what was '
      .. "admitted before: try again"))
    assert.is_nil(wakes('admission webhook "w.x.y" denied the request: images must be signed'))
    assert.is_nil(wakes('pods "p" is forbidden: exceeded quota: q, requested: cpu=1, used: cpu=1, limited: cpu=1'))
    assert.is_nil(world.decide(world.deployed()).wake)
  end)

  it("is not Failed while moonphase itself does not know what its group uses, for two minutes", function()
    local refuse = world.refuses('admission webhook "w.x.y" denied the request: moonphase has just started and does not know all pods '
      .. "yet: try again")
    assert.equal("Deploying", world.after(refuse, 119).status.phase)
    local decision = world.after(refuse, 120)
    assert.equal("QuotaUnknown", decision.status.reason)
    assert.contains("The group's quota cannot be checked now: moonphase has just started", decision.status.message)
  end)
end)
