-- Counterexamples as people read them: what is told, what is left out, and how they are made shorter.

local story = require "check.story"

local function of(object)
  return policy.raw(json.encode(object))
end

local function seen()
  return {
    object = of { metadata = { name = "m", generation = 2 }, status = { phase = "Deployed", observedGeneration = 1 },
      spec = { predictors = { { replicas = 2, modelImage = "model:v2" } }, endpoint = { clients = { { name = "ann", token = "hunter2" } } } } },
    children = { deployments = { ["deploy-m"] = of { metadata = { generation = 3 }, status = { observedGeneration = 2, replicas = 2, updatedReplicas = 2,
      availableReplicas = 1 }, spec = { replicas = 2, template = { spec = { containers = { { name = "model", image = "model:v1" } } } } } } } },
    pods = json.array { of { metadata = {}, status = { conditions = { { type = "Ready", status = "True" } } } },
      of { metadata = {}, status = { containerStatuses = { { state = { waiting = { reason = "ErrImagePull" } } } } } } },
    group = { state = "unknown" }, instance_type = { state = "found" },
    problems = { { kind = "Service", name = "deploy-m", reason = "Invalid" } },
  }
end

local function failure()
  return { kind = "invariant", name = "Deployed is deployed", text = "Deployed is told, and its Deployment runs model:v1, not model:v2",
    replay = "image,look:2,lost", steps = {
      { what = "user", text = "the image is set to model:v2" },
      { what = "operator", text = "the operator looks", seen = "a first look", phase_before = "Deployed", phase_after = "Deployed", writes = {} },
      { what = "cluster", text = "the Deployment's controller looks" }, { what = "cluster", text = "a pod starts" },
      { what = "fault", text = "the view of pods lags behind" },
      { what = "operator", seen = seen(), row = "Deployed", phase_before = "Deploying", phase_after = "Deployed",
        writes = { { verb = "apply", kind = "Deployment", name = "deploy-m" }, { verb = "apply", kind = "Service", name = "deploy-m" },
          { verb = "delete", kind = "Secret", name = "deploy-m" }, { verb = "status", kind = "PhDeployment", name = "m" } } },
    } }
end

describe("a counterexample", function()
  it("says in its first line what is wrong, and in its last one how to see it again", function()
    local text = story.tell(failure())
    assert.equal("What must always be so is not (Deployed is deployed): Deployed is told, and its Deployment runs model:v1, not model:v2",
      text:match("^[^\n]+"))
    assert.contains("\nSo it ends: Deployed is told, and its Deployment runs model:v1, not model:v2\n", text)
    assert.equal("To see it again: --replay image,look:2,lost", text:match("[^\n]+$"))
    assert.equal("To see it again: moonphase check DIR --replay x", story.tell(failure(), "moonphase check DIR --replay x"):match("[^\n]+$"))
  end)

  it("tells step by step who did what, what was seen, which row decided and what was written", function()
    local text = story.tell(failure())
    assert.contains("   1  user      the image is set to model:v2\n", text)
    assert.contains("   2  cluster   the Deployment's controller looks; a pod starts; 1 look of the operator, and it tells no other phase\n", text)
    assert.contains("   3  fault     the view of pods lags behind\n", text)
    assert.contains("   4  operator  saw generation 2, which asks for 2 times model:v2, and tells Deployed of generation 1; "
      .. "the Deployment with model:v1, 2 wanted, 2 there, 2 new, 1 available, its controller at generation 2 of 3; "
      .. "2 pods (ErrImagePull, ready); the group: unknown; Service deploy-m was refused (Invalid)\n", text)
    assert.contains("\n                the row Deployed decided: Deployed after Deploying\n", text)
    assert.contains("\n                wrote Deployment deploy-m, Service deploy-m, deleted Secret deploy-m, wrote the status\n", text)
  end)

  it("of what is seen tells what is new since the look before", function()
    local again = failure()
    again.steps[7] = { what = "operator", text = "the operator looks", seen = seen(), phase_before = "Deployed", phase_after = "Failed" }
    again.steps[7].seen.group = { state = "missing" }
    assert.contains("   5  operator  saw the group: missing\n                decided: Failed after Deployed\n", story.tell(again))
    again.steps[7].seen = seen()
    assert.contains("   5  operator  saw nothing new\n", story.tell(again))
  end)

  it("says how long things go on by themselves", function()
    local steps = { { what = "user", text = "stop", seconds = 10 }, { what = "cluster", text = "the cluster goes on", seconds = 10 },
      { what = "time", text = "time passes", seconds = 40 }, { what = "operator", text = "the operator looks", seen = "x", seconds = 40 },
      { what = "fault", text = "the answer to write number 1 never comes", seconds = 40, seen = "y", phase_before = "Deployed",
        phase_after = "Stopping" } }
    local text = story.tell { kind = "settle", text = "t", steps = steps }
    assert.contains("   2  cluster   goes on, for 30 s; 1 look of the operator, and it tells no other phase\n", text)
    assert.contains("   3  fault     the answer to write number 1 never comes\n                saw y\n"
      .. "                decided: Stopping after Deployed\n", text)
  end)

  it("puts what the cluster does by itself into one line, and counts what is too much for it", function()
    local steps = {}
    for i = 1, 6 do steps[i] = { what = "cluster", text = "thing " .. i } end
    steps[7] = { what = "user", text = "stop" }
    local text = story.tell { kind = "settle", text = "it is Deploying for ever", steps = steps }
    assert.contains("   1  cluster   thing 1; thing 2; thing 3; and 3 things more\n", text)
    assert.contains("It does not come to rest as it should: it is Deploying for ever", text)
  end)

  it("holds no tokens, and is bounded, whatever was seen", function()
    local long = failure()
    long.text = ("x"):rep(5000)
    assert.is_nil(story.tell(failure()):find("hunter2", 1, true))
    assert.is_true(#story.tell(long) < 2500)
  end)

  it("of each kind says what is wrong", function()
    for kind, part in pairs { quiet = "writes although nothing goes on", error = "policy fails", from = "`from`", other = "goes wrong" } do
      assert.contains(part, story.tell { kind = kind, name = "n", text = "t", steps = {} })
    end
  end)
end)

-- A failure that shows whenever all of `needed` are among the moves, in order.
local function shows_with(needed)
  local tries = 0
  return function(moves)
    tries = tries + 1
    local at = 1
    for _, move in ipairs(moves) do
      if move == needed[at] then at = at + 1 end
    end
    return at > #needed and { kind = "invariant", name = "n", moves = #moves } or nil
  end, function() return tries end
end

describe("a counterexample is made shorter", function()
  local moves = {}
  for i = 1, 64 do moves[i] = i end

  it("until every move that is left matters", function()
    for _, needed in ipairs { { 1 }, { 64 }, { 3, 4 }, { 1, 31, 33, 64 }, {} } do
      local try = shows_with(needed)
      local found, left = story.shrink({ kind = "invariant", name = "n" }, moves, try)
      assert.same(needed, left)
      assert.equal(#needed, found.moves)
    end
  end)

  it("and stays the same failure: another one that a shorter way meets is not taken", function()
    local function try(rest)
      return { kind = #rest < 64 and "settle" or "invariant", name = "n" }
    end
    local found, left = story.shrink({ kind = "invariant", name = "n" }, moves, try)
    assert.equal("invariant", found.kind)
    assert.equal(64, #left)
  end)

  it("in no more tries than allowed, and not when the time is over", function()
    local try, tries = shows_with { 1, 31, 33, 64 }
    story.shrink({ kind = "invariant", name = "n" }, moves, try, { tries = 10 })
    assert.equal(10, tries())
    story.shrink({ kind = "invariant", name = "n" }, moves, try, { more = function() return false end })
    assert.equal(10, tries())
  end)
end)
