-- The whole loop, from watches over the queue to writes, on a fake cluster and with policies of a few lines.

local contract = require "contract"
local include = require "include"
local fake = include "spec/host/fake_cluster.lua"
local models = include "spec/host/models.lua"

local ROOT, eventually = models.ROOT, models.eventually
local SERVICES = "/api/v1/namespaces/hub/services/"

local HEAD = [[
local M = { label = "model", kind = { api_version = "example.org/v1", kind = "Model", resource = "models" },
  children = { services = { api_version = "v1", kind = "Service", resource = "services" } },
  inputs = { group = { api_version = "example.org/v1", kind = "Group", resource = "groups", by = "spec.group", match = { "metadata.name" } } } }
]]

-- A Service for each Model, and a status that counts its ports.
local PLAIN = HEAD .. [[
function M.decide(seen)
  local o = seen.object
  local service = seen.children.services["s-" .. o.metadata.name]
  return { children = { { apiVersion = "v1", kind = "Service", metadata = { name = "s-" .. o.metadata.name },
      spec = { ports = { { name = "http", port = o.spec.port, protocol = "TCP" } } } } },
    status = { phase = service and "Deployed" or "Deploying", group = seen.group.state, refused = seen.problems[1] and seen.problems[1].reason,
      conditions = { { type = "Ready", status = service and "True" or "False" } }, observedGeneration = o.metadata.generation } }
end
return M
]]

local cluster, running

local function start(source, options)
  running = models.controller(cluster, source, options)
  running:run()
  return running
end

local function settled() models.settled(running, 0.1) end
local function model(name, port) return models.put(cluster, name, { port = port or 80, group = "g" }) end
local function status_of(name) return models.status_of(cluster, name) end

local function condition(name, type_of)
  for _, one in ipairs(status_of(name).conditions or {}) do
    if one.type == type_of then return one end
  end
end

-- Every spec runs in this: a cluster, and a controller that is stopped at the end.
local function with(body)
  cluster, running = fake.new(), nil
  local ok, failure = pcall(body)
  if running then running:stop(5) end
  if not ok then error(failure, 0) end
end

local function spec(name, body)
  it(name, function() with(body) end)
end

describe("the controller", function()
  spec("takes its time, and says why, when somebody takes a child away as often as it is made", function()
    start(PLAIN)
    model "a"
    eventually("it says that somebody undoes its writes", function()
      if cluster.objects[SERVICES .. "s-a"] then cluster:remove(SERVICES .. "s-a") end
      return (running.last_error["hub/a"] or ""):find("again and again", 1, true)
    end)
    eventually("it is there when nobody takes it away any more", function() return status_of "a".phase == "Deployed" end)
  end)

  spec("replaces a child that cannot be changed once in ten minutes, however often the server refuses the change", function()
    start((PLAIN:gsub("return { children =", 'return { replace = { { kind = "Service", name = "s-a" } }, children =')))
    model "a"
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    local function patch_refused(options)
      local is_there = cluster.objects[SERVICES .. "s-a"] ~= nil
      local is_try = (options.query or {}).dryRun ~= nil
      return is_there and not is_try and { status = 422, reason = "Invalid", message = "spec.ports: field is immutable" } or nil
    end
    cluster:fail("PATCH", "services/s-a", patch_refused, 1000)
    cluster:forget_requests()
    local function deletes()
      local count = 0
      for _, request in ipairs(cluster:writes()) do
        if request.method == "DELETE" and request.path:find("services/s-a", 1, true) then count = count + 1 end
      end
      return count
    end
    model("a", 81)
    eventually("it is made anew", function()
      local service = cluster.objects[SERVICES .. "s-a"]
      return service and service.spec.ports[1].port == 81
    end)
    assert.equal(1, deletes())
    for port = 82, 84 do
      model("a", port)
      eventually("the refusal is told", function() return status_of "a".observedGeneration == cluster.objects[ROOT .. "a"].metadata.generation end)
      settled()
    end
    assert.equal(1, deletes(), "a second one within ten minutes would be a fight with the server")
    assert.equal(81, cluster.objects[SERVICES .. "s-a"].spec.ports[1].port)
    assert.equal("Invalid", status_of "a".refused)
  end)

  spec("makes children and status, and then writes nothing more", function()
    model "a"
    start(PLAIN)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    settled()
    assert.equal(80, cluster.objects[SERVICES .. "s-a"].spec.ports[1].port)
    cluster:forget_requests()
    for _ = 1, 3 do
      running:add "hub/a"
      settled()
    end
    assert.equal(0, #cluster.requests)
  end)

  spec("mends a child that somebody changed or deleted", function()
    model "a"
    start(PLAIN)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    cluster:remove(SERVICES .. "s-a")
    eventually("the Service is back", function() return cluster.objects[SERVICES .. "s-a"] end)
  end)

  spec("does not let one key that fails delay another", function()
    cluster:fail("PATCH", "s-a", { status = 500, reason = "InternalError", message = "no" }, 1000)
    model "a"
    model "b"
    start(PLAIN)
    eventually("b is Deployed", function() return status_of "b".phase == "Deployed" end)
    eventually("a's status tells of the refusal", function() return status_of "a".refused == "InternalError" end)
    assert.is_true(running.queue:failures "hub/a" >= 1)
    assert.contains("no", running.last_error["hub/a"])
  end)

  spec("forgets everything of a key whose object is gone", function()
    cluster:fail("PATCH", "s-a", { status = 500, reason = "InternalError", message = "no" }, 1000)
    model "a"
    start(PLAIN)
    eventually("it failed", function() return running.last_error["hub/a"] end)
    cluster:remove(ROOT .. "a")
    eventually("it is forgotten", function() return not running.last_error["hub/a"] and not running.problems["hub/a"] end)
    settled()
    assert.same({}, running.remembered)
    assert.same({}, running.changed_at)
    assert.equal(0, running.queue:failures "hub/a")
  end)

  spec("starts anew with another object of the same name", function()
    model "a"
    start(PLAIN)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    settled()
    running:notes("hub/a").conflicts = 4
    cluster.objects[ROOT .. "a"] = nil
    cluster:put(ROOT .. "a", { apiVersion = "example.org/v1", kind = "Model", metadata = { name = "a", uid = "second" }, spec = { port = 80 } })
    eventually("the second is known", function() return running:notes("hub/a").uid == "second" end)
    settled()
    assert.falsy(running:notes("hub/a").conflicts == 4)
  end)

  spec("decides again at once after a lost race for the status", function()
    model "a"
    cluster:fail("PATCH", "/status", { status = 409, reason = "Conflict" })
    start(PLAIN)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    assert.equal(0, running.queue:failures "hub/a")
  end)

  spec("backs off when every write of a status is a conflict", function()
    model "a"
    cluster:fail("PATCH", "/status", { status = 409, reason = "Conflict" }, 100000)
    start(PLAIN)
    eventually("it backs off", function() return running.queue:failures "hub/a" >= 3 end)
    loop.sleep(0.3)
    assert.is_true(#cluster:writes() < 40, #cluster:writes() .. " writes")
    assert.contains("changed by somebody else", running.last_error["hub/a"])
  end)

  spec("writes a status over the very version that was decided on", function()
    model "a"
    cluster:fail("GET", "s-a", function() -- while the child is asked for, the user changes the object
      local object = fake.copy(cluster.objects[ROOT .. "a"])
      object.spec.port = 81
      cluster:put(ROOT .. "a", object)
      return { status = 500, reason = "InternalError", message = "no" }
    end)
    start(PLAIN)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    local first
    for _, request in ipairs(cluster:writes()) do
      if request.path:find("/status$") then first = first or request end
    end
    assert.equal(2, first.body.status.observedGeneration)
  end)

  spec("a status that was changed while a child stayed unanswered for is decided anew", function()
    model "a"
    cluster:put(SERVICES .. "s-a", { apiVersion = "v1", kind = "Service", metadata = { name = "s-a" } }) -- a stranger
    start(PLAIN)
    eventually("the conflict is told", function() return status_of "a".refused == "ChildConflict" end)
    assert.is_nil(cluster.objects[SERVICES .. "s-a"].spec)
  end)

  spec("an input that answers late is decided on when it answers", function()
    model "a"
    local watch = cluster.watch
    function cluster:watch(options)
      local w = watch(self, options)
      if options.path:find "groups" then
        w.unsynced = true
        self.groups = w
      end
      return w
    end
    start(PLAIN)
    eventually("group is unknown", function() return status_of "a".group == "unknown" end)
    cluster.groups.unsynced = false
    eventually("group is missing", function() return status_of "a".group == "missing" end)
  end)

  spec("a dry run sends only reads", function()
    model "a"
    start(PLAIN, { dry_run = true })
    settled()
    assert.equal(0, #cluster:writes())
  end)

  spec("with other settings or policies has another digest on what it writes", function()
    local one = start(PLAIN)
    one:stop(1)
    local other = start(PLAIN, { settings = { a = 1 } })
    assert.is_true(one.digest ~= other.digest)
  end)

  spec("explains without the values of Secrets", function()
    model "a"
    start((PLAIN:gsub('status = { phase', 'prune = {}, %0'):gsub('children = { { api', 'children = { { apiVersion = "v1", kind = "Secret", '
      .. 'metadata = { name = "t" }, data = { token = "hunter2" } }, { api')))
    settled()
    local answer = running:explain "hub/a"
    assert.is_nil(json.encode(answer):find("hunter2", 1, true))
    assert.contains("sha256:", answer.decision.children[1].digest)
    assert.is_nil(running:explain "hub/nobody")
    assert.is_nil(running:explain "elsewhere/a")
  end)
end)

describe("a policy that fails on an object", function()
  local BROKEN = PLAIN:gsub("local o = seen.object", "%0\nif o.spec.port == 13 then error('thirteen is no port') end")

  spec("is told on that object with file and line, and the others go on", function()
    model("a", 13)
    model "b"
    start(BROKEN)
    local told = eventually("the condition is there", function() return condition("a", "PolicyError") end)
    assert.equal("True", told.status)
    assert.equal("Error", told.reason)
    assert.matches("^phdeployment.lua:%d+: .*thirteen is no port", told.message)
    assert.equal(1, told.observedGeneration)
    assert.is_not_nil(told.lastTransitionTime)
    eventually("b is Deployed", function() return status_of "b".phase == "Deployed" end)
    assert.is_nil(condition("b", "PolicyError"))
  end)

  local function counted(what)
    return tonumber(metrics.text():match("controller_runtime_reconcile_" .. what .. '_total{controller="%w+"} (%d+)') or 0)
  end

  spec("is counted, as a panic where it errs", function()
    local panics, timeouts = counted "panics", counted "timeouts"
    model("a", 13)
    start(BROKEN)
    eventually("the panic is counted", function() return counted "panics" > panics end)
    assert.equal(timeouts, counted "timeouts")
  end)

  spec("is counted, as a timeout where it had to be stopped", function()
    local panics, timeouts = counted "panics", counted "timeouts"
    model("a", 13)
    start((BROKEN:gsub("error%b()", "while true do end")))
    eventually("the timeout is counted", function() return counted "timeouts" > timeouts end)
    assert.equal(panics, counted "panics")
  end)

  spec("keeps the conditions that are there, and is told once", function()
    model "a"
    start(BROKEN)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    model("a", 13)
    eventually("the condition is there", function() return condition("a", "PolicyError") end)
    assert.equal("True", condition("a", "Ready").status)
    assert.equal("Deployed", status_of "a".phase)
    cluster:forget_requests()
    eventually("it was tried some more", function() return running.queue:failures "hub/a" >= 4 end)
    assert.equal(0, #cluster.requests)
  end)

  spec("whose message is another each time does not write each time", function()
    model "a"
    start((PLAIN:gsub("local o = seen.object", "%0\nerror('at ' .. o.metadata.resourceVersion)")))
    eventually("it was tried some times", function() return running.queue:failures "hub/a" >= 5 end)
    assert.equal(2, #cluster:writes()) -- a status, and an Event that tells of it
  end)

  spec("is forgotten with the next good decision", function()
    model("a", 13)
    start(BROKEN)
    eventually("the condition is there", function() return condition("a", "PolicyError") end)
    model("a", 80)
    eventually("a is Deployed", function() return status_of "a".phase == "Deployed" end)
    settled()
    assert.is_nil(condition("a", "PolicyError"))
  end)

  spec("is forgotten also by a decision that leaves the status alone", function()
    model("a", 13)
    start((HEAD .. "function M.decide(seen) if seen.object.spec.port == 13 then error('no') end return {} end return M"))
    eventually("the condition is there", function() return condition("a", "PolicyError") end)
    model("a", 80)
    eventually("it is gone", function() return not condition("a", "PolicyError") end)
  end)

  spec("writes nothing in a dry run", function()
    model("a", 13)
    start(BROKEN, { dry_run = true })
    eventually("it failed", function() return running.last_error["hub/a"] end)
    assert.equal(0, #cluster:writes())
  end)

  for name, answer in pairs {
    ["nothing"] = "nil", ["a number"] = "5", ["a child without metadata"] = "{ children = { { apiVersion = 'v1', kind = 'Service' } } }",
    ["a child that is text"] = "{ children = { 'x' } }", ["children that are no array"] = "{ children = { a = 1 } }",
    ["a prune without a name"] = "{ prune = { { kind = 'Service' } } }", ["a status that is text"] = "{ status = 'fine' }",
    ["a condition without a type"] = "{ status = { conditions = { { status = 'True' } } } }",
    ["a requeue_after in the past"] = "{ requeue_after = -1 }",
  } do
    spec("by answering " .. name .. " is told so in a sentence", function()
      model "a"
      start(HEAD .. "function M.decide() return " .. answer .. " end return M")
      local told = eventually("the condition is there", function() return condition("a", "PolicyError") end)
      assert.equal("Value", told.reason)
      assert.contains("what decide returned cannot be used: ", told.message)
    end)
  end

  spec("by asking to be called again at once does not spin", function()
    model "a"
    start(HEAD .. "function M.decide() return { requeue_after = 0 } end return M")
    settled()
    local before = running.generation:stats().calls
    loop.sleep(0.5)
    assert.is_true(running.generation:stats().calls - before <= 6)
  end)
end)

it("a status list that the policy did not mark as an array is not written again and again", function()
  with(function()
    model "a"
    start(HEAD .. "function M.decide() return { status = { history = { { time = 'x' } }, none = {} } } end return M")
    settled()
    assert.equal(1, #cluster:writes())
  end)
end)

describe("a policy that keeps something between calls", function()
  local KEEPS = "local count = 0\n" .. PLAIN:gsub("local o = seen.object", "count = count + 1 %0")

  spec("is not asked again after its first decision, and changes nothing", function()
    model "a"
    start(KEEPS)
    eventually("it is refused", function() return running:refusal() end)
    settled()
    assert.contains("phdeployment.lua", running:refusal())
    assert.contains("count", running:refusal())
    assert.is_nil(cluster.objects[SERVICES .. "s-a"])
    assert.equal("State", condition("a", "PolicyError").reason)
    assert.equal(1, running.generation:stats().calls)
    assert.matches("moonphase_policy_refused 1", metrics.text())
  end)

  spec("late is found out after a thousand decisions", function()
    model "a"
    start("local count = 0\n" .. PLAIN:gsub("local o = seen.object", "%0 if o.spec.port == 81 then count = count + 1 end"))
    settled()
    assert.falsy(running:refusal())
    model("a", 81)
    settled()
    for _ = 1, 1001 do running.guard:decide({ object = { metadata = { name = "x" }, spec = {} }, children = { services = {} },
      group = {}, problems = {} }) end
    assert.truthy(running:refusal())
  end)

  spec("is no trouble for one that keeps nothing", function()
    model "a"
    start(PLAIN)
    settled()
    assert.falsy(running:refusal())
    assert.matches("moonphase_policy_refused 0", metrics.text())
  end)
end)

describe("a folder of policies that cannot be used ends with a sentence:", function()
  local function trouble(source)
    local generation = assert(policy.load { files = { ["phdeployment.lua"] = source }, name = "spec" })
    local declaration, why = contract.declaration(generation, "phdeployment")
    assert.is_nil(declaration)
    return why
  end
  for sentence, source in pairs {
    ["it returns no controller"] = "return 5",
    ["the controller's kind has no `api_version`"] = "return {}",
    ["the controller has no `label`"] = "return { kind = { api_version = 'v1', kind = 'A', resource = 'as' } }",
    ["the controller has no function `decide`"] = HEAD .. "return M",
    ["children.x has no `resource`"] = HEAD .. "M.children.x = { api_version = 'v1', kind = 'B' } function M.decide() end return M",
    ["are the same kind"] = HEAD .. "function M.decide() end M.children.x = M.children.services return M",
    ["watches.children would hide seen.children"] = HEAD .. "function M.decide() end M.watches = { children = M.kind } return M",
    ["inputs.group must say `by`"] = HEAD .. "function M.decide() end M.inputs.group.match = {} return M",
    ["`keep`"] = HEAD .. "function M.decide() end M.children.services.keep = 'half' return M",
    ["there are 5 inputs; 4 are possible"] = HEAD .. "function M.decide() end for i = 1, 4 do M.inputs['i' .. i] = M.inputs.group end return M",
  } do
    it(sentence, function()
      local why = trouble(source)
      assert.contains("the policies cannot be used: phdeployment.lua: ", why)
      if sentence ~= "`keep`" then assert.contains(sentence, why) else assert.contains("services.keep must be", why) end
    end)
  end

  it("also from moonphase run", function()
    local dir = assert(fs.temporary())
    assert(fs.write(dir .. "/phdeployment.lua", "return { decide = 1 }"))
    local result = assert(process.run { argv = { process.env "MOONPHASE" or "build/moonphase", "run", "--policies", dir }, timeout = 20,
      env = { KUBECONFIG = "/nonexistent/config" } })
    fs.remove(dir .. "/phdeployment.lua")
    fs.remove(dir)
    assert.equal(1, result.status)
    assert.contains("moonphase: the policies cannot be used: phdeployment.lua: the controller's kind has no `api_version`", result.errors)
    assert.is_nil(result.errors:find("traceback", 1, true))
  end)
end)

describe("an edit of the policy that changes pod templates", function()
  local PODS = [[
local M = { label = "model", kind = { api_version = "example.org/v1", kind = "Model", resource = "models" },
  children = { deployments = { api_version = "apps/v1", kind = "Deployment", resource = "deployments" } } }
function M.decide(seen)
  local o = seen.object
  local live = seen.children.deployments["d-" .. o.metadata.name]
  local served = live and live.status and live.status.serves
  local current = served and served == live.spec.template.spec.containers[1].image and (seen.held or live.metadata.annotations.mark == "IMAGE")
  return { children = { { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "d-" .. o.metadata.name, annotations = { mark = "IMAGE" } },
      spec = { replicas = 1, template = { spec = { containers = { { name = "model", image = "IMAGE" } } } } } } },
    status = { phase = current and "Deployed" or "Deploying", observedGeneration = o.metadata.generation } }
end
return M
]]
  local DEPLOYMENTS = "/apis/apps/v1/namespaces/hub/deployments/"
  local function image(name) return cluster.objects[DEPLOYMENTS .. "d-" .. name].spec.template.spec.containers[1].image end
  local function serves(name, value)
    local live = fake.copy(cluster.objects[DEPLOYMENTS .. "d-" .. name])
    live.status = { serves = value }
    cluster:put(DEPLOYMENTS .. "d-" .. name, live)
  end
  local function all(names, what, holds)
    eventually(what, function()
      for _, name in ipairs(names) do
        if not holds(name) then return false end
      end
      return true
    end)
  end
  local function deployed(name) return status_of(name).phase == "Deployed" end

  spec("leaves those that wait Deployed and unwritten, and moves one after the other", function()
    local names = { "a", "b", "c" }
    for _, name in ipairs(names) do model(name) end
    start((PODS:gsub("IMAGE", "one")))
    all(names, "all have a Deployment", function(name) return cluster.objects[DEPLOYMENTS .. "d-" .. name] end)
    settled()
    for _, name in ipairs(names) do serves(name, "one") end
    all(names, "all are Deployed", deployed)
    running:stop(1)
    cluster.watches = {}
    cluster:forget_requests()
    start((PODS:gsub("IMAGE", "two")))
    for turn = 1, 3 do
      settled()
      local moving, waiting = {}, 0
      for _, name in ipairs(names) do
        if not deployed(name) then moving[#moving + 1] = name end
        if image(name) == "one" then waiting = waiting + 1 end
      end
      assert.equal(1, #moving, "turn " .. turn)
      assert.equal("two", image(moving[1]))
      assert.equal(3 - turn, waiting, "turn " .. turn)
      serves(moving[1], "two")
    end
    all(names, "all have moved", function(name) return image(name) == "two" end)
    all(names, "all are Deployed", deployed)
    settled()
    assert.equal(9, #cluster:writes(), "each one: template, Deploying, Deployed")
  end)

  spec("goes back where the first one fails, and leaves the others as they are", function()
    local names = { "a", "b", "c" }
    for _, name in ipairs(names) do model(name) end
    start((PODS:gsub("IMAGE", "one")))
    all(names, "all have a Deployment", function(name) return cluster.objects[DEPLOYMENTS .. "d-" .. name] end)
    settled()
    for _, name in ipairs(names) do serves(name, "one") end
    all(names, "all are Deployed", deployed)
    running:stop(1)
    cluster.watches = {}
    start((PODS:gsub("IMAGE", "two"):gsub('or "Deploying"', 'or served and "Failed" or "Deploying"')))
    all(names, "all run the old image, Deployed", function(name) return image(name) == "one" and deployed(name) end)
    settled()
    assert.is_true(running.rollout.stopped)
    assert.equal(2, running.rollout:waiting())
    cluster:forget_requests()
    for _, name in ipairs(names) do running:add("hub/" .. name) end
    settled()
    assert.equal(0, #cluster.requests)
  end)
end)
