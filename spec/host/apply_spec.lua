-- One child is made as it is wanted: which requests that takes, and which objects are left alone.

local apply = require "apply"
local informers = require "informers"
local fake = require("include") "spec/host/fake_cluster.lua"

local OWNER = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", name = "m", uid = "owner-1", namespace = "hub" }
local KINDS = {
  Service = { api_version = "v1", kind = "Service", resource = "services" },
  Deployment = { api_version = "apps/v1", kind = "Deployment", resource = "deployments" },
  Secret = { api_version = "v1", kind = "Secret", resource = "secrets" },
}

local cluster, ctx, allowed, not_kept

local function setup(kind)
  cluster, not_kept = fake.new(), nil
  allowed = false
  ctx = { cluster = cluster, owner_uid = OWNER.uid, digest = "d1", settled = {}, count = function() end,
    replace_allowed = function() return allowed end, not_kept = function(_, found) not_kept = found end,
    informer = informers.start(cluster, KINDS[kind or "Service"], { "hub" },
      { label_selector = "parent", indexes = { owner = { "@owner" }, digest = { "metadata.annotations[" .. apply.DIGEST .. "]" } } }) }
end

local PATH = "/api/v1/namespaces/hub/services/s"

local function service(port)
  return apply.complete({ apiVersion = "v1", kind = "Service", metadata = { name = "s" },
    spec = { selector = { app = "m" }, ports = json.array { { name = "http", port = port or 80, protocol = "TCP" } } } }, OWNER, "parent")
end

local function sent()
  local list = {}
  for i, request in ipairs(cluster.requests) do
    list[i] = request.method .. (request.content_type and " " .. request.content_type:match("/([%w-]+)") or "")
  end
  return table.concat(list, ", ")
end

local function ensure(child)
  cluster:forget_requests()
  return apply.ensure(ctx, child or service())
end

describe("a child that is not there", function()
  before_each(setup)

  it("is read by name, then applied with manager, owner, label and digest", function()
    assert.equal("written", ensure())
    assert.equal("GET, PATCH apply-patch", sent())
    local request = cluster.requests[2]
    assert.same({ fieldManager = "moonphase", force = "true" }, request.query)
    assert.equal(PATH, request.path)
    assert.is_nil(request.body.metadata.uid)
    assert.equal("d1", request.body.metadata.annotations[apply.DIGEST])
    assert.equal("m", request.body.metadata.labels.parent)
    assert.equal("owner-1", request.body.metadata.ownerReferences[1].uid)
    assert.is_true(request.body.metadata.ownerReferences[1].controller)
  end)

  it("is not written again when it is as wanted, nor read", function()
    ensure()
    assert.equal("unchanged", ensure())
    assert.equal("", sent())
  end)

  it("is no reason to write when only the policy's digest is new", function()
    ensure()
    ctx.digest = "d2"
    assert.equal("unchanged", ensure())
    assert.equal("", sent())
  end)

  it("is not written when the server does not answer the question for it", function()
    cluster:fail("GET", PATH, false)
    local result, problem = ensure()
    assert.is_nil(result)
    assert.equal("NoAnswer", problem.reason)
    cluster:fail("GET", PATH, { status = 500, reason = "InternalError", message = "etcd is away" })
    result, problem = ensure()
    assert.is_nil(result)
    assert.equal(500, problem.code)
    assert.equal(0, #cluster:writes())
  end)

  it("is a problem told as a sentence when the answer is no object", function()
    for _, body in ipairs { "<html>", "5", "null", "[]", "{}", '{"metadata":5}', "" } do
      cluster:fail("GET", PATH, { status = 200, body = body })
      local result, problem = ensure()
      assert.is_nil(result)
      assert.equal("NoAnswer", problem.reason)
      assert.contains("the server's answer", problem.message)
    end
    assert.equal(0, #cluster:writes())
  end)
end)

describe("a child of this name that exists", function()
  before_each(setup)

  local function there(owner, extra)
    local object = service(81)
    object.metadata.labels = nil -- so that the watch does not show it
    object.metadata.ownerReferences = owner
    for k, v in pairs(extra or {}) do object.metadata[k] = v end
    return cluster:put(PATH, object)
  end

  it("and is ours is applied with its UID, also when our watch lost it", function()
    local live = there(json.array { { uid = "owner-1", controller = true } })
    assert.equal("written", ensure())
    assert.equal(live.metadata.uid, cluster.requests[#cluster.requests].body.metadata.uid)
  end)

  it("and has another controller is waited for", function()
    there(json.array { { uid = "owner-2", controller = true } })
    local result, problem = ensure()
    assert.is_nil(result)
    assert.equal("WaitingForOwner", problem.reason)
    assert.equal("GET", sent())
  end)

  it("and is a stranger's is left alone, and that is said", function()
    there(nil)
    local result, problem = ensure()
    assert.is_nil(result)
    assert.equal("ChildConflict", problem.reason)
    assert.contains("left alone", problem.message)
    assert.equal("GET", sent())
  end)

  it("and is being deleted gets no write", function()
    there(json.array { { uid = "owner-1", controller = true } }, { deletionTimestamp = "2026-01-01T00:00:00Z" })
    local result, problem = ensure()
    assert.is_nil(result)
    assert.equal("WaitingForDeletion", problem.reason)
    assert.equal("GET", sent())
  end)

  it("and was made anew under its name meanwhile is not taken over", function()
    ensure()
    cluster.silent = true
    cluster:remove(PATH)
    cluster:put(PATH, { apiVersion = "v1", kind = "Service", metadata = { name = "s" } })
    local result, problem = ensure(service(82))
    assert.is_nil(result)
    assert.equal(409, problem.code)
    assert.is_nil(cluster.objects[PATH].spec)
  end)
end)

describe("a child that differs", function()
  before_each(setup)

  local function meddle(change)
    ensure()
    local live = fake.copy(cluster.objects[PATH])
    change(live)
    cluster:put(PATH, live)
  end

  it("in a value is applied once", function()
    meddle(function(live) live.spec.selector.app = "other" end)
    assert.equal("written", ensure())
    assert.equal("PATCH apply-patch", sent())
    assert.equal("m", cluster.objects[PATH].spec.selector.app)
    assert.equal("unchanged", ensure())
  end)

  it("by an entry of others gets a strategic patch first, then an apply if something is left", function()
    meddle(function(live)
      live.spec.ports[1] = { name = "http", port = 99, protocol = "TCP" }
      live.spec.selector = { app = "other", more = "x" }
    end)
    assert.equal("written", ensure())
    assert.equal("PATCH strategic-merge-patch, PATCH apply-patch", sent())
    assert.equal(cluster.objects[PATH].metadata.uid, cluster.requests[1].body.metadata.uid)
    assert.same({ app = "m" }, cluster.objects[PATH].spec.selector)
    assert.equal(1, #cluster.objects[PATH].spec.ports)
  end)

  it("by an extra alone needs no apply", function()
    meddle(function(live) live.spec.selector.more = "x" end)
    ensure()
    assert.equal("PATCH strategic-merge-patch", sent())
  end)

  it("in order is ordered last, on what apply left", function()
    setup "Deployment"
    local function deployment(env)
      return apply.complete({ apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "d" }, spec = {
        template = { spec = { containers = json.array { { name = "model", image = "a", env = env } } } } } }, OWNER, "parent")
    end
    local a, b, c = { name = "A", value = "1" }, { name = "B", value = "2" }, { name = "C", value = "3" }
    ensure(deployment(json.array { a, c }))
    assert.equal("written", ensure(deployment(json.array { a, b, c })))
    assert.equal("PATCH apply-patch, PATCH strategic-merge-patch", sent())
    assert.equal("unchanged", ensure(deployment(json.array { a, b, c })))
  end)

  it("and that the server keeps otherwise is told, and counts as written", function()
    meddle(function(live) live.spec.selector.app = "other" end)
    cluster:fail("PATCH", PATH, function() return { status = 200, body = json.encode(cluster.objects[PATH]) } end)
    assert.equal("written", ensure())
    assert.equal("spec.selector.app", not_kept[1].path)
  end)

  it("and that is answered with something else than an object is a problem, not an error", function()
    meddle(function(live) live.spec.selector.app = "other" end)
    cluster:fail("PATCH", PATH, { status = 200, body = "no JSON" })
    local result, problem = ensure()
    assert.is_nil(result)
    assert.contains("not JSON", problem.message)
  end)
end)

describe("a pod template that takes several writes", function()
  local DEPLOYMENT = "/apis/apps/v1/namespaces/hub/deployments/d"

  local function deployment(names, containers, paused)
    local env = json.array {}
    for i, name in ipairs(names) do env[i] = { name = name, value = "1" } end
    local list = json.array { { name = "model", image = "a" .. #names, env = env } }
    for _, name in ipairs(containers or {}) do list[#list + 1] = { name = name, image = "b" } end
    return apply.complete({ apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "d" }, spec = {
      paused = paused, template = { spec = { containers = list } } } }, OWNER, "parent")
  end

  local stored -- how the Deployment stood after each write: what a controller could see
  before_each(function()
    setup "Deployment"
    stored = {}
    ctx.informer:of("hub/d").options.on_change = function()
      stored[#stored + 1] = cluster.objects[DEPLOYMENT]
    end
  end)

  -- "held": paused; the others by the names of env and containers.
  local function story()
    local words = {}
    for i, object in ipairs(stored) do
      local pod, all = object.spec.template.spec, {}
      for _, one in ipairs(pod.containers[1].env) do all[#all + 1] = one.name end
      for j = 2, #pod.containers do all[#all + 1] = pod.containers[j].name end
      words[i] = object.spec.paused and "held" or table.concat(all, " ")
    end
    return table.concat(words, ", ")
  end

  local function from(child)
    ensure(child)
    stored = {}
  end

  it("is shown once: held until the last of them", function()
    from(deployment({ "A", "B" }, { "engine" }, false))
    assert.equal("written", ensure(deployment({ "A", "X", "B" }, {}, false)))
    assert.equal("held, held, held, A X B", story())
    assert.equal("PATCH strategic-merge-patch, PATCH apply-patch, PATCH strategic-merge-patch, PATCH json-patch", sent())
    assert.equal("unchanged", ensure(deployment({ "A", "X", "B" }, {}, false)))
  end)

  it("takes no more writes than it needs: what one write can do is not held", function()
    from(deployment({ "A", "B" }, nil, false))
    ensure(deployment({ "A", "B", "C" }, nil, false))
    assert.equal("PATCH apply-patch", sent())
    ensure(deployment({ "A", "C", "B" }, nil, false))
    assert.equal("PATCH strategic-merge-patch", sent())
    assert.equal("A B C, A C B", story())
  end)

  it("is shown once also when the server refuses what an apply leaves behind", function()
    from(deployment({ "A" }, nil, false))
    cluster:fail("PATCH", DEPLOYMENT, { status = 422, reason = "Invalid", message = "may not specify more than 1 handler type" })
    assert.equal("written", ensure(deployment({ "A", "B" }, nil, false)))
    assert.equal("PATCH apply-patch, PATCH strategic-merge-patch, PATCH apply-patch, PATCH json-patch", sent())
    assert.equal("A B", story():gsub("held, ", ""))
  end)

  it("is shown once, and right, wherever the operator ended", function()
    for writes = 0, 4 do
      setup "Deployment"
      stored = {}
      ctx.informer:of("hub/d").options.on_change = function() stored[#stored + 1] = cluster.objects[DEPLOYMENT] end
      from(deployment({ "A", "B" }, { "engine" }, false))
      local left = writes
      cluster:fail("PATCH", DEPLOYMENT, function()
        if left == 0 then return false end
        left = left and left - 1
      end, 10)
      local result = ensure(deployment({ "A", "X", "B" }, {}, false))
      assert.equal(writes == 4 and "written" or nil, result)
      assert.equal(writes == 4 and "A X B" or "", (story():gsub("held,? ?", "")))
      left = nil
      ensure(deployment({ "A", "X", "B" }, {}, false))
      assert.equal("A X B", (story():gsub("held, ", "")), "after " .. writes .. " writes")
      assert.equal("unchanged", ensure(deployment({ "A", "X", "B" }, {}, false)))
    end
  end)

  it("is not shown at all when a write in the middle is refused, and the problem says so", function()
    from(deployment({ "A", "B" }, { "engine" }, false))
    local writes = 0
    cluster:fail("PATCH", DEPLOYMENT, function()
      writes = writes + 1
      return writes == 2 and { status = 403, reason = "Forbidden", message = "no" } or nil
    end)
    local result, problem = ensure(deployment({ "A", "X", "B" }, {}, false))
    assert.is_nil(result)
    assert.equal("Forbidden", problem.reason)
    assert.equal("held", story())
  end)

  it("is a problem while the last write is not taken: it is tried again", function()
    from(deployment({ "A", "B" }, nil, false))
    local last = { status = 503, reason = "ServiceUnavailable", message = "later" }
    cluster:fail("PATCH", DEPLOYMENT, function(options) return options.content_type:find("json-patch", 1, true) and last or nil end, 4)
    local result, problem = ensure(deployment({ "X", "A", "B" }, nil, false))
    assert.is_nil(result)
    assert.equal("ServiceUnavailable", problem.reason)
    assert.equal("written", ensure(deployment({ "X", "A", "B" }, nil, false)))
    assert.equal("X A B", (story():gsub("held, ", "")))
  end)

  it("is a problem that names the cause when something else keeps it paused", function()
    from(deployment({ "A", "B" }, nil, false))
    cluster:fail("PATCH", DEPLOYMENT, function(options)
      if not options.content_type:find("json-patch", 1, true) then return nil end
      return { status = 200, body = json.encode(cluster.objects[DEPLOYMENT]) }
    end, 4)
    local result, problem = ensure(deployment({ "X", "A", "B" }, nil, false))
    assert.is_nil(result)
    assert.equal("StillPaused", problem.reason)
    assert.contains("is paused still", problem.message)
  end)

  it("is not held where the policy does not say `paused: false`: nothing would end it", function()
    from(deployment({ "A", "B" }, { "engine" }, nil))
    ensure(deployment({ "A", "X", "B" }, {}, nil))
    assert.is_nil(story():find("held"))
  end)
end)

describe("a change that the server refuses (422)", function()
  local invalid = { status = 422, reason = "Invalid", message = "field is immutable" }
  before_each(function()
    setup()
    ensure()
  end)

  it("is a problem with the server's words when the policy does not allow to replace", function()
    cluster:fail("PATCH", PATH, invalid)
    local result, problem = ensure(service(81))
    assert.is_nil(result)
    assert.equal("Invalid", problem.reason)
    assert.equal("field is immutable", problem.message)
    assert.equal(1, #cluster:writes())
  end)

  it("deletes exactly that object and makes it anew when it does", function()
    allowed = true
    local uid = cluster.objects[PATH].metadata.uid
    cluster:fail("PATCH", PATH, invalid) -- the apply
    cluster:fail("PATCH", PATH, invalid) -- the patch that takes away what an apply cannot
    local changed = service(80)
    changed.spec.clusterIP = "10.0.0.9"
    assert.equal("written", ensure(changed))
    assert.equal("PATCH apply-patch, PATCH strategic-merge-patch, POST json, DELETE, PATCH apply-patch", sent())
    assert.equal("All", cluster.requests[3].query.dryRun)
    assert.same({ uid = uid }, cluster.requests[4].body.preconditions)
    assert.is_nil(cluster.requests[5].body.metadata.uid)
    assert.is_true(cluster.objects[PATH].metadata.uid ~= uid)
  end)

  it("deletes nothing for what the server would not make anew either: what runs stays", function()
    allowed = true
    cluster:fail("PATCH", PATH, invalid, 2)
    cluster:fail("POST", "services", { status = 422, reason = "Invalid", message = "spec.ports[0].port: Invalid value: 70000" })
    local uid, changed = cluster.objects[PATH].metadata.uid, service(80)
    changed.spec.clusterIP = "10.0.0.9"
    local result, problem = ensure(changed)
    assert.is_nil(result)
    assert.contains("70000", problem.message)
    assert.equal("PATCH apply-patch, PATCH strategic-merge-patch, POST json", sent())
    assert.equal(uid, cluster.objects[PATH].metadata.uid)
  end)

  it("is mended in place when all that is wrong is what an apply leaves behind", function()
    allowed = true
    cluster:fail("PATCH", PATH, invalid)
    local uid, changed = cluster.objects[PATH].metadata.uid, service(80)
    changed.spec.selector = { app = "other" }
    assert.equal("written", ensure(changed))
    assert.equal("PATCH apply-patch, PATCH strategic-merge-patch, PATCH apply-patch", sent())
    assert.equal("replace", cluster.requests[2].body.spec.selector["$patch"])
    assert.equal(uid, cluster.requests[2].body.metadata.uid)
    assert.equal(uid, cluster.objects[PATH].metadata.uid)
  end)

  it("does not write to what is still going when a finalizer holds it", function()
    allowed = true
    local live = fake.copy(cluster.objects[PATH])
    live.metadata.finalizers = json.array { "x/y" }
    cluster:put(PATH, live)
    cluster:fail("PATCH", PATH, invalid, 2)
    local changed = service(80)
    changed.spec.clusterIP = "10.0.0.9"
    local result, problem = ensure(changed)
    assert.is_nil(result)
    assert.equal("WaitingForDeletion", problem.reason)
    assert.contains("is being deleted and waits for its finalizers (x/y)", problem.message)
    assert.equal("PATCH apply-patch, PATCH strategic-merge-patch, POST json, DELETE", sent())
  end)
end)

it("what a server says of a Secret is not repeated", function()
  setup "Secret"
  cluster:fail("PATCH", "secrets", { status = 422, reason = "Invalid", message = "data: Invalid value: hunter2" })
  local child = apply.complete({ apiVersion = "v1", kind = "Secret", metadata = { name = "t" }, data = { a = "b" } }, OWNER, "parent")
  local _, problem = ensure(child)
  assert.equal("Invalid", problem.reason)
  assert.is_nil(problem.message:find("hunter2"))
end)

describe("a prune", function()
  before_each(setup)

  local function prune()
    cluster:forget_requests()
    return apply.prune(ctx, { kind = "Service", name = "s" }, "hub")
  end

  it("deletes what is ours, by UID", function()
    ensure()
    local uid = cluster.objects[PATH].metadata.uid
    assert.equal("written", prune())
    assert.same({ uid = uid }, cluster.requests[1].body.preconditions)
    assert.equal("unchanged", prune())
    assert.equal("", sent())
  end)

  it("leaves alone what another controls, what is going, and what is not there", function()
    assert.equal("unchanged", prune())
    local object = service()
    object.metadata.ownerReferences[1].uid = "owner-2"
    cluster:put(PATH, object)
    assert.equal("unchanged", prune())
    object.metadata.ownerReferences[1].uid, object.metadata.deletionTimestamp = "owner-1", "2026-01-01T00:00:00Z"
    cluster:put(PATH, object)
    assert.equal("unchanged", prune())
    assert.equal("", sent())
  end)
end)

it("a dry run reads and writes nothing, and says what it would do", function()
  setup()
  local said = {}
  ctx.dry_run = function(_, found)
    said[#said + 1] = type(found) == "table" and "change" or tostring(found)
    return "unchanged"
  end
  assert.equal("unchanged", ensure())
  cluster:put(PATH, service(99))
  ensure(service(80))
  apply.prune(ctx, { kind = "Service", name = "s" }, "hub")
  assert.equal("nil change delete", table.concat(said, " "))
  assert.equal(0, #cluster:writes())
end)
