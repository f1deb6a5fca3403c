-- The operator itself beside the simulated cluster, in one process and on virtual time: a model's whole life, repeated byte for byte,
-- with crashes, lost answers and every order of things.

local include = require "include"
local life = include "spec/sandbox/life.lua"

log.configure("error", "text")

local function writes(s) return s.client:counts().writes end

-- The specs of a model's children, and what its status says: what must be the same however they came about.
local function outcome(s, name)
  local parts = {}
  for _, id in ipairs { "deployments.apps", "services", "ingresses.networking.k8s.io" } do
    local object, spec = s:get(id, "hub", "deploy-" .. name), {}
    for field, value in pairs(object and object.spec or { missing = id }) do
      if field ~= "clusterIP" and field ~= "clusterIPs" then spec[field] = value end -- drawn by chance
    end
    parts[#parts + 1] = json.encode(spec)
  end
  local status = s:get(s.PHDEPLOYMENTS, "hub", name).status
  parts[#parts + 1] = status.phase .. ": " .. tostring(status.message)
  return table.concat(parts, "\n")
end

describe("operator and cluster in one process", function()
  it("take a model from its creation to Deployed, Stopped and gone", function()
    local s <close> = life.new { seed = 1 }
    s:apply(life.manifest("m"))
    life.reach(s, "m", "Deployed")
    local object = s:get("deployments.apps", "hub", "deploy-m")
    assert.equal(2, object.status.readyReplicas)
    life.edit(s, "m", { spec = { stop = true } })
    life.reach(s, "m", "Stopped")
    assert.equal(0, s:get("deployments.apps", "hub", "deploy-m").spec.replicas)
    life.delete(s, "m")
    life.gone(s, "m")
  end)

  it("tell times of virtual time", function()
    local s <close> = life.new { seed = 1, now_ms = 1893456000000 } -- 2030
    s:apply(life.manifest("m"))
    life.reach(s, "m", "Deployed")
    local status = s:get(s.PHDEPLOYMENTS, "hub", "m").status
    for _, condition in ipairs(status.conditions) do assert.matches("^2030%-01%-01T00:0", condition.lastTransitionTime) end
  end)

  it("repeat a run byte for byte under the same seed: requests, answers, events", function()
    local function story(seed)
      local s <close> = life.new { seed = seed, record = true }
      life.whole(s, "m")
      return s:story()
    end
    local first = story(11)
    assert.is_true(#first > 10000)
    assert.equal(first, story(11))
    assert.is_true(first ~= story(12))
  end)

  it("repeat it in another process, too", function()
    local function digest_of()
      local moonphase_path = process.env("MOONPHASE") or "build/moonphase"
      local result = assert(process.run { argv = { moonphase_path, "--lua", "lua", "repl", "spec/sandbox/lifecycle_time.lua", "story", "5" }, timeout = 60 })
      assert.equal(0, result.status)
      return result.output:match("(%x+)\n$")
    end
    local first = digest_of()
    assert.equal(64, #first)
    assert.equal(first, digest_of())
  end)

  it("are at rest for a day: no write by the operator", function()
    local s <close> = life.new { seed = 1 }
    s:apply(life.manifest("m"))
    life.reach(s, "m", "Deployed")
    s:run_for(60)
    local before, version = writes(s), s:get(s.PHDEPLOYMENTS, "hub", "m").metadata.resourceVersion
    s:run_for(86400)
    assert.equal(before, writes(s))
    assert.equal(version, s:get(s.PHDEPLOYMENTS, "hub", "m").metadata.resourceVersion)
  end)

  it("come to the same end when the operator crashes after any step", function()
    local calm
    do
      local s <close> = life.new { seed = 1 }
      s:apply(life.manifest("m"))
      life.reach(s, "m", "Deployed")
      calm = outcome(s, "m")
    end
    local crashes = 0
    for point = 1, 60 do
      local s <close> = life.new { seed = 1 }
      s:apply(life.manifest("m"))
      local done = 0
      while done < point and s:step() do done = done + 1 end
      s:restart()
      crashes = crashes + (done == point and 1 or 0)
      life.reach(s, "m", "Deployed")
      assert.equal(calm, outcome(s, "m"))
    end
    assert.is_true(crashes > 30)
  end)

  it("come to the same end when answers of writes are lost", function()
    local lost = 0
    local s <close> = life.new { seed = 1 }
    local seen = {}
    s.intercept = function(request, go)
      local what = request.method .. " " .. request.path
      if request.method == "GET" or seen[what] then return nil end
      seen[what] = true
      lost = lost + 1
      go()
      return { fault = "reset" }
    end
    s:apply(life.manifest("m"))
    life.reach(s, "m", "Deployed")
    life.edit(s, "m", { spec = { stop = true } })
    life.reach(s, "m", "Stopped")
    assert.is_true(lost >= 4)
  end)

  it("come to the same end when the API answers nothing for a while, or refuses", function()
    local s <close> = life.new { seed = 1 }
    local left = 12
    s.intercept = function()
      left = left - 1
      if left < 0 then return nil end
      if left % 3 == 0 then return false end
      return left % 3 == 1 and { status = 503, retry_after = 1, body = {} } or { fault = "refused" }
    end
    s:apply(life.manifest("m"))
    life.reach(s, "m", "Deployed", 600)
  end)

  it("come to the same end in whatever order things happen", function()
    local ends = {}
    for seed = 1, 25 do
      local state = seed * 7919
      local s <close> = life.new { seed = 1, choose = function(_, count)
        state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
        return (state >> 33) % count + 1
      end }
      s:apply(life.manifest("m"))
      life.reach(s, "m", "Deployed")
      s:run_for(5)
      ends[outcome(s, "m")] = true
    end
    local count = 0
    for _ in pairs(ends) do count = count + 1 end
    assert.equal(1, count)
  end)

  it("go on from a saved world with a new operator, which finds nothing to write", function()
    local s <close> = life.new { seed = 1 }
    s:apply(life.manifest("m"))
    life.reach(s, "m", "Deployed")
    s:run_for(30)
    local saved = s.world:save()
    local hash = s.world:hash()
    life.edit(s, "m", { spec = { stop = true } })
    life.reach(s, "m", "Stopped")
    s:restore(saved)
    assert.equal("Deployed", s:phase("hub", "m"))
    assert.equal(hash, s.world:hash())
    s:settle()
    assert.equal(0, writes(s))
    life.edit(s, "m", { spec = { stop = true } })
    life.reach(s, "m", "Stopped")
  end)

  it("meet again after a failure: a missing image that is there later", function()
    local s <close> = life.new { seed = 1 }
    s.cluster:set_image("registry.example/late:v1", "missing")
    s:apply(life.manifest("m", function(o) o.spec.predictors[1].modelImage = "registry.example/late:v1" end))
    life.reach(s, "m", "Failed", 1200)
    s.cluster:set_image("registry.example/late:v1", "runs")
    life.reach(s, "m", "Deployed", 1200)
  end)

  it("leave nothing behind: a hundred worlds cost no memory once they are closed", function()
    local function some(count)
      for i = 1, count do
        local s <close> = life.new { seed = i }
        s:apply(life.manifest("m"))
        s:settle()
      end
      collectgarbage()
      collectgarbage()
      return moonphase.memory()
    end
    some(5)
    local before = some(5)
    local after = some(40)
    assert.is_true(after - before < 200000, ("%d bytes more"):format(after - before))
  end)
end)
