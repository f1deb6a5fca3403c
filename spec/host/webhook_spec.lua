-- The parts of quota admission by themselves: reviews, the book, the verdict, certificates step by step, statuses, turns.

local admission = require "webhook.admission"
local book = require "webhook.book"
local certificates = require "webhook.certificates"
local order = require "webhook.order"
local pods = require "webhook.pods"
local review = require "webhook.review"
local usage = require "webhook.usage"
local waiting = require "webhook.waiting"

local KEEP = { "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels[primehub.io/group]", "spec.containers.*.resources" }
local PATHS = review.paths(KEEP)

local function body(fields, pod)
  local request = { uid = "r1", operation = "CREATE", namespace = "hub", resource = { resource = "pods" }, object = pod or {
    metadata = { name = "p", uid = "u1", labels = { ["primehub.io/group"] = "escaped-g", other = "x" } },
    spec = { containers = json.array { { name = "c", image = "i", resources = { limits = { cpu = "1" } } } } } } }
  for k, v in pairs(fields or {}) do request[k] = v end
  return json.encode { apiVersion = "admission.k8s.io/v1", kind = "AdmissionReview", request = request }
end

describe("A review", function()
  it("is cut down to what the rule looks at", function()
    local r = assert(review.read(body { dryRun = true }, PATHS))
    assert.equal("r1", r.uid)
    assert.equal("u1", r.pod_uid)
    assert.is_true(r.dry_run)
    assert.same({ metadata = { name = "p", uid = "u1", labels = { ["primehub.io/group"] = "escaped-g" } },
      spec = { containers = { { resources = { limits = { cpu = "1" } } } } } }, r.pod)
  end)

  it("of a pod without a uid has one of its own, and of a pod without anything is whole all the same", function()
    assert.equal("review r1", assert(review.read(body(nil, { metadata = {} }), PATHS)).pod_uid)
    local bare = assert(review.read('{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"x","object":7}}', PATHS))
    assert.same({}, bare.pod.metadata.labels)
    assert.equal("", bare.namespace)
  end)

  it("that is no review has nobody to answer; one that is too much to look at has", function()
    for _, text in ipairs { "", "x", "[]", '{"kind":"AdmissionReview","apiVersion":"v1","request":{"uid":"a"}}', body { uid = "" }, body { uid = 7 } } do
      local r, why, head = review.read(text, PATHS)
      assert.is_nil(r)
      assert.truthy(why)
      assert.is_nil(head)
    end
    local limits = {}
    for i = 1, 20000 do limits["example.com/resource-" .. i] = "1" end
    local r, why, head = review.read(body(nil, { spec = { containers = json.array { { resources = { limits = limits } } } } }), PATHS)
    assert.is_nil(r)
    assert.contains("too large to look at", why)
    assert.equal("r1", head.uid)
  end)

  it("is refused in an answer of its own version", function()
    local answer = review.answer({ version = "admission.k8s.io/v1beta1", uid = "a" }, { code = 403, message = "no" })
    assert.same({ apiVersion = "admission.k8s.io/v1beta1", kind = "AdmissionReview", response = { uid = "a", allowed = false,
      status = { status = "Failure", code = 403, reason = "Forbidden", message = "no" } } }, answer)
    assert.same({ uid = "a", allowed = true }, review.answer({ version = "v", uid = "a" }).response)
  end)
end)

describe("A call", function()
  it("of a server that copies no bodies gives its text, or what is cut from it, until it is answered", function()
    local socket, seen, kept = "/tmp/moonphase-uncopied-" .. process.id, {}, nil
    local server = assert(http.serve { unix = socket, uncopied = true, handler = function(call)
      loop.sleep(0.01) -- as a task
      kept = call
      seen = { body = call.body, text = call.text(), cut = { call.cut({ "a.b" }, 100) }, small = { call.cut({ "a" }, 5) } }
      return 200, "ok"
    end })
    local function post(text) return assert(http.request { method = "POST", url = "http://localhost/", unix = socket, body = text }) end
    local large = json.encode { a = { b = { 1, 2 }, c = ("x"):rep(100) }, d = 1 }
    assert.equal(200, post(large).status)
    assert.is_nil(seen.body)
    assert.equal(large, seen.text)
    assert.same({ a = { b = { 1, 2 } } }, seen.cut[1])
    assert.is_nil(seen.small[1])
    assert.is_true(#seen.small[2] > 0)
    assert.is_nil(kept.text())
    assert.is_nil(kept.cut { "a" })
    post "no json"
    assert.is_nil(seen.cut[1])
    post ""
    assert.equal("", seen.text)
    server:close()
    fs.remove(socket)
  end)
end)

local function new_book()
  local clock = { now = 1000, freed = {} }
  local b = book.new { now = function() return clock.now end, on_freed = function(label) clock.freed[#clock.freed + 1] = label end }
  return b, clock
end

describe("The book", function()
  it("counts a pod once: reserved, then seen, then gone", function()
    local b, clock = new_book()
    b:reserve("u", "g", { cpu = "1", memory = "1Gi" }, "s")
    assert.same({ cpu = "1", memory = "1073741824" }, b:used("g"))
    assert.same({}, b:seen("g"))
    b:see("u", "g", { cpu = "1", memory = "1Gi" })
    assert.same({ cpu = "1", memory = "1073741824" }, b:used("g"))
    assert.same(b:used("g"), b:seen("g"))
    assert.equal(0, b.reserved_count)
    assert.same({}, clock.freed)
    b:forget("u")
    assert.same({}, b:used("g"))
    assert.same({ "g" }, clock.freed)
  end)

  it("keeps sums exact over many amounts of every kind", function()
    local b = new_book()
    local amounts = { { cpu = "0.1" }, { cpu = "333m" }, { memory = "262144k" }, { memory = "250Mi" }, { memory = "128m" }, { ["a/b"] = "3" } }
    for round = 1, 50 do
      for i, uses in ipairs(amounts) do b:reserve(round .. "-" .. i, "g", uses, "s") end
    end
    assert.same({ cpu = "21650m", memory = "26214400006400m", ["a/b"] = "150" }, b:used("g"))
    for round = 1, 50 do
      for i in ipairs(amounts) do b:forget(round .. "-" .. i) end
    end
    assert.same({}, b:used("g"))
  end)

  it("asked about a pod that is in it leaves that one out: the same review twice is one", function()
    local b = new_book()
    b:reserve("u", "g", { cpu = "1" }, "s")
    b:reserve("v", "g", { cpu = "2" }, "s")
    assert.same({ cpu = "2" }, b:used("g", "u"))
    b:reserve("u", "g", { cpu = "1" }, "s")
    assert.same({ cpu = "3" }, b:used("g"))
    assert.equal(2, b.reserved_count)
    b:see("u", "g", { cpu = "5" })
    b:reserve("u", "g", { cpu = "1" }, "s") -- what is seen is so
    assert.same({ cpu = "7" }, b:used("g"))
  end)

  it("knows how many pods an owner has, without those that are ending, and what these will set free", function()
    local b, clock = new_book()
    b:reserve("u", "g", { cpu = "1" }, "s", "hub/m")
    b:see("v", "g", { cpu = "2" }, "hub/m")
    assert.equal(2, b:pods_of("hub/m"))
    b:see("u", "g", { cpu = "1" }, "hub/m")
    b:see("v", "g", { cpu = "2" }, "hub/m", 1060)
    assert.equal(1, b:pods_of("hub/m"))
    assert.same({ cpu = "2" }, b:ending("g"))
    assert.same({ cpu = "3" }, b:used("g"))
    clock.now = 1060 -- by now it should be gone: nobody waits for it any longer
    assert.same({}, b:ending("g"))
    b:forget("v")
    assert.same({}, b:ending("g"))
    assert.equal(1, b:pods_of("hub/m"))
  end)

  it("keeps the place of a pod that went for its owner, for 20 s or until the next one comes", function()
    local b, clock = new_book()
    for _, uid in ipairs { "u", "v" } do
      b:see(uid, "g", { cpu = "1" }, "hub/m")
      b:forget(uid)
    end
    assert.is_nil(b:places_in("other"))
    assert.equal(2, #b:places_in("g")["hub/m"].at)
    b:reserve("w", "g", { cpu = "1" }, "s", "hub/m")
    assert.equal(1, #b:places_in("g")["hub/m"].at)
    clock.now = 1021
    assert.is_nil(b:places_in("g"))
    b:see("w", "g", { cpu = "1" }, "hub/m")
    b:see("w", "g", {}, nil) -- it has ended
    assert.same({ cpu = "1" }, b:places_in("g")["hub/m"].uses)
  end)

  it("gives a reservation up after 70 s, but not while the watch is deaf", function()
    local b, clock = new_book()
    b:reserve("u", "g", { cpu = "1" }, "s")
    clock.now = 1069
    assert.equal(0, b:expire(1069))
    clock.now = 1071
    assert.equal(0, b:expire(1005))
    assert.same({ cpu = "1" }, b:used("g"))
    clock.now = 1200
    assert.equal(0, b:expire(1009))
    assert.equal(1, b:expire(1150))
    assert.same({}, b:used("g"))
    assert.same({ "g" }, clock.freed)
    assert.equal(0, b:held_by("s"))
  end)

  it("knows who holds how many reservations", function()
    local b = new_book()
    for i = 1, 5 do b:reserve("u" .. i, "g", {}, i < 3 and "a" or "b") end
    assert.equal(2, b:held_by("a"))
    b:see("u1", "g", {})
    b:forget("u2")
    assert.equal(0, b:held_by("a"))
    assert.equal(3, b:held_by("b"))
  end)

  it("tells that a group uses less when a pod shrinks or changes its group", function()
    local b, clock = new_book()
    b:see("u", "g", { cpu = "2" })
    b:see("u", "g", { cpu = "3" })
    assert.same({}, clock.freed)
    b:see("u", "g", { cpu = "1" })
    b:see("u", "h", { cpu = "1" })
    assert.same({ "g", "g" }, clock.freed)
    assert.same({}, b:used("g"))
  end)
end)

describe("What is known of pods", function()
  -- Over watches of this position, or of a position each.
  local function known(positions)
    local world = { positions = positions }
    local one = setmetatable({ dirty = {}, newest = {}, informers = { synced = function() return true end, of = function(_, key)
      local place = key:match("^(.-)/")
      return world.positions[place] and { stats = function() return { position = world.positions[place] } end }
    end } }, pods)
    return one, world
  end

  it("is not enough after a hand-over until the watches have brought what the one before had seen", function()
    local one, world = known { hub = "100", other = "90" }
    assert.is_true(one:is_complete())
    one:catch_up { hub = "102", other = "80", elsewhere = "5000" }
    assert.is_false(one:is_complete())
    world.positions.hub = "101"
    assert.is_false(one:is_complete())
    world.positions.hub = "1000"
    assert.is_true(one:is_complete())
  end)

  it("is enough after 70 s all the same", function()
    local one = known { hub = "100" }
    one:catch_up { hub = "102" }
    assert.is_false(one:is_complete())
    one.marks_until = loop.now() - 0.001
    assert.is_true(one:is_complete())
  end)
end)

-- An admission over a book of its own; the rule admits while less than `limit` CPUs are used.
local function new_admission(limit, more)
  local b = new_book()
  local world = { book = b, current = true, complete = true, refused = {} }
  local options = { book = b, label = "primehub.io/group", serves = function(namespace) return namespace == "hub" end, authenticates = false,
    settings = function() return {} end, owner = function() return "hub/m" end, about = function() return world.about end,
    judged = function(_, label, _, refused) if refused then world.refused[#world.refused + 1] = label end end,
    pods = { is_complete = function() return world.complete end, is_current = function() return world.current end,
      trouble = function() return world.trouble end },
    groups = { synced = function() return true end, find = function() return {} end },
    rule = function(_, r)
      if world.fails then return nil, "quota.lua:1: oops" end
      local total = quantity.add(r.used.cpu or "0", "1")
      return { uses = { cpu = "1" }, refused = quantity.compare(total, tostring(limit)) > 0 and "QuotaExceeded" or nil, code = 403, message = "full" }
    end }
  for k, v in pairs(more or {}) do options[k] = v end
  local a = admission.new(options)
  a:lead(false)
  return a, world
end

local function ask(a, uid, fields, source, client)
  local r = assert(review.read(body(fields, { metadata = { uid = uid, labels = { ["primehub.io/group"] = "escaped-g" } } }), PATHS))
  local verdict, refusal = a:judge(r, source or "10.0.0.1", client)
  return verdict, type(refusal) == "table" and refusal.code or refusal, type(refusal) == "table" and refusal.message or nil
end

describe("The verdict", function()
  it("admits to the last place, and each admission counts for the next", function()
    local a, world = new_admission(2)
    assert.equal("allowed", (ask(a, "a")))
    assert.equal("allowed", (ask(a, "a"))) -- asked twice
    assert.equal("allowed", (ask(a, "b")))
    assert.same({ "refused", 403, "full" }, { ask(a, "c") })
    assert.same({ "escaped-g" }, world.refused)
    world.book:forget("a")
    assert.equal("allowed", (ask(a, "c")))
  end)

  it("reserves nothing for a dry run", function()
    local a, world = new_admission(1)
    for i = 1, 3 do assert.equal("allowed", (ask(a, "d" .. i, { dryRun = true }))) end
    assert.equal(0, world.book.reserved_count)
  end)

  it("is another part's matter for other operations, kinds and namespaces", function()
    local a = new_admission(0)
    for _, fields in ipairs { { operation = "UPDATE" }, { namespace = "elsewhere" }, { subResource = "eviction" }, { resource = { resource = "nodes" } } } do
      assert.equal("allowed", (ask(a, "x", fields)))
    end
  end)

  it("refuses while pods are not all known, in the fence after a hard takeover, without the lead, at the end, and on an error", function()
    local a, world = new_admission(5)
    local function says(code, words)
      local verdict, got, message = ask(a, "x")
      assert.equal("error", verdict)
      assert.equal(code, got)
      assert.contains(words, message)
    end
    world.complete = false
    says(503, "does not know all pods yet")
    world.complete, world.trouble = true, "quota.lua:7: no"
    says(500, "cannot count a pod of this group")
    world.trouble, world.fails = nil, true
    says(500, "quota.lua failed, so nothing is admitted: quota.lua:1: oops")
    world.fails = false
    a:lead(true)
    assert.is_true(a:fenced() > 69 and a:fenced() <= 70)
    says(503, "took over a moment ago")
    a.fence_until = loop.now() - 0.001
    assert.equal("allowed", (ask(a, "x")))
    a:follow()
    says(503, "does not lead")
    a:lead(false)
    a.closing = true
    says(503, "is stopping")
  end)

  it("has to wait while pods of the group are still being counted", function()
    local a, world = new_admission(5)
    world.current = false
    assert.is_nil((ask(a, "x")))
    assert.equal("allowed", (ask(a, "x", { namespace = "elsewhere" })))
  end)

  it("lets one address hold a bounded number of reservations, and one that is known more", function()
    local most = admission.RESERVATIONS_OF_SOURCE
    admission.RESERVATIONS_OF_SOURCE = 3
    local a = new_admission(100)
    for i = 1, 3 do assert.equal("allowed", (ask(a, "u" .. i))) end
    local verdict, code = ask(a, "u4")
    assert.equal("error", verdict)
    assert.equal(429, code)
    assert.equal("allowed", (ask(a, "u4", nil, "10.0.0.2")))
    local known = new_admission(100, { authenticates = true })
    for i = 1, 5 do assert.equal("allowed", (ask(known, "u" .. i, nil, nil, "api-server"))) end
    admission.RESERVATIONS_OF_SOURCE = most
  end)

  it("is given to nobody without a certificate where one is asked for", function()
    local a, world = new_admission(100, { authenticates = true })
    local verdict, code = ask(a, "u")
    assert.equal("error", verdict)
    assert.equal(401, code)
    assert.equal(0, world.book.reserved_count)
    assert.equal("allowed", (ask(a, "u", nil, nil, "")))
  end)
end)

local NAMES = { "moonphase-webhook.hub.svc", "127.0.0.1" }
local LIFE, SETTLE, T = 300 * 86400, 60, 1600000000

describe("The certificate's next step", function()
  local function step(data, now, registered_for, names)
    return certificates.plan(data, now, names or NAMES, LIFE, SETTLE, registered_for or 0)
  end

  it("is to make one where there is none, or none that is of use", function()
    local data, why = step(nil, T)
    assert.equal("made", why)
    assert.is_nil(certificates.trouble(data["tls.crt"], data["tls.key"], data["ca.crt"], NAMES, T))
    local expired, reason = step(data, T + LIFE + 1)
    assert.equal("made", reason)
    assert.contains(data["ca.crt"], expired["ca.crt"]) -- a replica may still show the old one
    assert.equal("made", select(2, step(data, T, 0, { "other.hub.svc" })))
    for _, field in ipairs { "tls.crt", "tls.key", "ca.crt" } do
      local damaged = {}
      for k, v in pairs(data) do damaged[k] = v end
      damaged[field] = "damaged"
      assert.equal("made", select(2, step(damaged, T)), field)
      damaged[field] = nil
      assert.equal("made", select(2, step(damaged, T)), field)
    end
  end)

  it("is to wait until two thirds of its life are over", function()
    local data = step(nil, T)
    local nothing, left = step(data, T)
    assert.is_nil(nothing)
    assert.is_true(math.abs(left - LIFE * 2 // 3) < 300)
    assert.is_nil(step(data, T + LIFE * 2 // 3 - 300))
  end)

  it("is then a new one beside it, trusted first, shown when its authority was registered for a minute", function()
    local data, later = step(nil, T), T + LIFE * 3 // 4
    local two, why = step(data, later)
    assert.equal("next", why)
    assert.equal(data["tls.crt"], two["tls.crt"])
    for _, cert in ipairs { "tls", "next" } do
      assert.is_nil(certificates.trouble(two[cert .. ".crt"], two[cert .. ".key"], two["ca.crt"], NAMES, later))
    end
    local nothing, left = step(two, later + 10, 10)
    assert.is_nil(nothing)
    assert.equal(50, left)
    local three, reason = step(two, later + 60, 60)
    assert.equal("promoted", reason)
    assert.equal(two["next.crt"], three["tls.crt"])
    assert.equal(two["ca.crt"], three["ca.crt"])
    assert.is_nil(three["next.crt"])
    assert.is_nil(step(three, later + 60, 60))
    local four = step(three, later + LIFE * 3 // 4)
    assert.equal(2, certificate.read(four["ca.crt"]).count) -- the first authority is gone
    assert.is_true(four["ca.crt"]:find(data["ca.crt"], 1, true) == nil)
  end)

  it("is to drop a next one that is no good", function()
    local two = step(step(nil, T), T + LIFE * 3 // 4)
    two["next.key"] = two["tls.key"]
    local three, why = step(two, T + LIFE * 3 // 4, 1000)
    assert.equal("dropped", why)
    assert.equal(two["tls.crt"], three["tls.crt"])
    assert.is_nil(three["next.crt"])
  end)
end)

describe("A group's status", function()
  local function group(used, quota, more)
    local one = { quota = quota, status = { used = used, deployments = 1, observedGeneration = 3 }, metadata = { generation = 3 } }
    for k, v in pairs(more or {}) do one[k] = v end
    return one
  end

  it("is not written when it says the same in other words", function()
    assert.is_nil(usage.patch(group { cpu = "1000m", memory = "1Gi" }, { cpu = "1", memory = "1073741824" }, 1))
    assert.is_nil(usage.patch(group({ cpu = "0" }, { cpu = 5 }), {}, 1))
  end)

  it("is written where it differs, in words for people, and with what is used no more taken away", function()
    assert.same({ used = { memory = "3Gi", ["nvidia.com/gpu"] = "0", ["a.b/c"] = json.null } },
      usage.patch(group({ cpu = "1", memory = "1Gi", ["a.b/c"] = "1" }, { ["nvidia.com/gpu"] = 2 }), { cpu = "1", memory = "3221225472" }, 1))
    assert.same({ deployments = 2 }, usage.patch(group { cpu = "1" }, { cpu = "1" }, 2))
    assert.same({ observedGeneration = 4 }, usage.patch(group({}, nil, { metadata = { generation = 4 } }), {}, 1))
  end)
end)

-- A line of deployments in memory; world.touched: in which order. It is somebody's turn when there is room beside what is kept for
-- those who are older, as in quota.lua.
local function new_line(created)
  local world = { touched = {}, free = 0, lacks = {} }
  local cluster = kube.open { handler = function(request)
    world.touched[#world.touched + 1] = request.path:match("deployments/deploy%-(.+)$")
    return { status = 200, body = "{}" }
  end }
  local kind, line = { api_version = "apps/v1", resource = "deployments" }, nil
  line = waiting.new { cluster = cluster, created = function(key) return created[key] end, may_write = function() return true end,
    deployments = function(key) return { { kind = kind, key = "hub/deploy-" .. key:match("/(.+)$"), uid = "u" } } end,
    needs = function() return "g", { cpu = "1" } end, lacks = function(key) return world.lacks[key] or 0 end,
    fits = function(label, uses, key)
      local left = world.free
      for _, one in ipairs(line:older(key, label, 10) or {}) do
        local wants = tonumber(one.uses.cpu)
        if wants <= left then left = left - wants end
      end
      return tonumber(uses.cpu) <= left
    end }
  return line, world
end

local function older(line, key)
  local keys = {}
  for i, one in ipairs(line:older(key, "g", 10) or {}) do keys[i] = one.key:match("/(.+)$") end
  return table.concat(keys, " ")
end

describe("Deployments that wait", function()
  local CREATED = { ["hub/young"] = "2020-03-01T00:00:00Z", ["hub/old"] = "2020-01-01T00:00:00Z", ["hub/big"] = "2019-01-01T00:00:00Z",
    ["hub/next"] = "2020-03-01T00:00:00Z" }

  it("are woken the oldest first, each when it is its turn, and the rest stays asleep", function()
    local line, world = new_line(CREATED)
    line:judged("hub/young", "g", { cpu = "1" }, true)
    line:judged("hub/old", "g", { cpu = "1" }, true)
    line:judged("hub/big", "g", { cpu = "8" }, true)
    world.free = 1
    line:freed("other")
    loop.sleep(0.1)
    assert.same({}, world.touched)
    line:freed("g")
    loop.sleep(0.5)
    assert.same({ "old" }, world.touched, "and once")
    world.free = 2
    line:freed("g")
    loop.sleep(0.3)
    assert.same({ "old", "young" }, world.touched, "both at once where there is room for both")
    world.free = 1
    line:judged("hub/old", "g", { cpu = "1" }, false)
    line:decided("hub/old", false)
    assert.equal("big", older(line, "hub/young"))
    line:stop()
  end)

  it("come first by age, and of one second by name; who does not wait may be older and comes after nobody", function()
    local line = new_line(CREATED)
    assert.equal("", older(line, "hub/young"))
    for _, name in ipairs { "young", "next", "big" } do line:judged("hub/" .. name, "g", { cpu = "1" }, true) end
    assert.equal("big next", older(line, "hub/young"))
    assert.equal("big", older(line, "hub/next"))
    assert.equal("", older(line, "hub/big"))
    assert.equal("big", older(line, "hub/old"))
    line:stop()
  end)

  it("keep nobody back when they were woken and did not ask, until they do", function()
    local line = new_line(CREATED)
    line:judged("hub/big", "g", { cpu = "1" }, true)
    line.list["hub/big"].woken_at = loop.now() - 9.9
    assert.equal("big", older(line, "hub/young"))
    line.list["hub/big"].woken_at = loop.now() - 10.1
    assert.equal("", older(line, "hub/young"))
    line:judged("hub/big", "g", { cpu = "1" }, true)
    assert.equal("big", older(line, "hub/young"))
    line:stop()
  end)

  it("are remembered by what the policy decides as well, and forgotten when it says otherwise", function()
    local line, world = new_line(CREATED)
    world.free = 9
    line:decided("hub/old", true)
    line:decided("hub/young", true)
    assert.equal("old", older(line, "hub/young"), "with what their template says that they need")
    line.list["hub/young"].asked_at = loop.now() - 11
    line:decided("hub/young", false)
    line:freed(nil)
    loop.sleep(0.3)
    assert.same({ "old" }, world.touched)
    line:judged("hub/old", "g", { cpu = "1" }, true)
    line:decided("hub/old", false) -- of before the refusal
    assert.equal("old", older(line, "hub/young"))
    line:judged("hub/old", "g", { cpu = "1" }, false)
    world.lacks["hub/old"] = 1
    line:decided("hub/old", false) -- its second pod is still to come
    assert.equal("old", older(line, "hub/young"))
    world.lacks["hub/old"] = 0
    line:decided("hub/old", false)
    assert.equal("", older(line, "hub/young"))
    line:judged("hub/old", "g", { cpu = "1" }, true)
    line.list["hub/old"].asked_at = loop.now() - 11 -- it has not asked again
    line:decided("hub/old", false)
    assert.equal("", older(line, "hub/young"))
    line:stop()
  end)
end)

describe("The order", function()
  it("says who lacks how many pods: places first, then who waits", function()
    local b = new_book()
    local line = new_line { ["hub/old"] = "1", ["hub/young"] = "2", ["hub/run"] = "3" }
    local wanted = { ["hub/old"] = 3, ["hub/young"] = 1, ["hub/run"] = 2 }
    local o = order.new { book = b, waiting = function() return line end, wanted = function(key) return wanted[key] or 0 end }
    assert.is_nil(o:about("hub/young", "g"))
    line:judged("hub/old", "g", { cpu = "1" }, true)
    b:reserve("a", "g", { cpu = "1" }, "s", "hub/old")
    assert.same({ { uses = { cpu = "1" }, count = 2 } }, o:about("hub/young", "g").ahead)
    b:see("r", "g", { cpu = "4" }, "hub/run")
    b:forget("r")
    assert.same({ { uses = { cpu = "4" }, count = 1, keeps = true }, { uses = { cpu = "1" }, count = 2 } }, o:about("hub/young", "g").ahead)
    assert.same({ { uses = { cpu = "4" }, count = 1, keeps = true } }, o:about(nil, "g").ahead)
    assert.same({ cpu = "4" }, o:about("hub/run", "g").place)
    wanted["hub/run"] = 0 -- it was stopped
    assert.same({ { uses = { cpu = "1" }, count = 2 } }, o:about("hub/young", "g").ahead)
    wanted["hub/old"] = 1 -- with surge: it has what it wants in the end, and waits all the same
    assert.same({ { uses = { cpu = "1" }, count = 1 } }, o:about("hub/young", "g").ahead)
    wanted["hub/old"] = 0
    assert.is_nil(o:about("hub/young", "g"))
    line:stop()
  end)
end)
