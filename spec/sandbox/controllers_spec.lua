-- The cluster behind the sandbox: Deployments, pods on nodes, owners and namespaces, on virtual time.
--
-- The first part plays the stories that a real Kubernetes 1.20.2 was asked about (stories/real.txt) and must show the same; the rest
-- is what a kubelet does, of which spec/cluster's control plane has none.

local include = require "include"
local cluster_words = require "sandbox.cluster"
local record = include "spec/sandbox/stories/record.lua"
local registry_words = require "sandbox.registry"
local scene = require "sandbox.scene"
local sides = include "spec/sandbox/stories/sides.lua"
local stories = include "spec/sandbox/stories/stories.lua"
local verbs = require "sandbox.verbs"
local world = require "sandbox.world"

describe("after each step of a story the sandbox shows what Kubernetes 1.20.2 showed:", function()
  local seen = record.read()
  for number, story in ipairs(stories) do
    it(story[1], function()
      assert.is_not_nil(seen[story[1]])
      assert.is_nil(record.compare(seen[story[1]], sides.play(sides.sandbox(number), number, story), story.loose))
    end)
  end

  it("in whatever order the controllers work", function()
    for seed = 101, 120 do
      local number = seed % #stories + 1
      local story = stories[number]
      assert.is_nil(record.compare(seen[story[1]], sides.play(sides.sandbox(seed), number, story), story.loose))
    end
  end)
end)

-- A world of one spec.
local w, c

local function start(document, seed)
  w = world.new { seed = seed or 7 }
  local registry = registry_words.new(w)
  w.registry = registry
  c = cluster_words.new { world = w, registry = registry, verbs = verbs, scene = assert(scene.check(document)) }
  c:settle()
end

local function create(id, object)
  local kind = w.registry:by_id(id)
  if kind.namespaced then object.metadata.namespace = object.metadata.namespace or "default" end
  local made, failure = verbs.create(w, kind, object.metadata.namespace or "", object, { manager = "person" })
  assert.is_nil(failure and failure.message)
  return made.object
end

local function pod(change)
  local object = { apiVersion = "v1", kind = "Pod", metadata = { name = "p" }, spec = { containers = json.array {
    { name = "main", image = "reg/app:v1", resources = {} } } } }
  if change then change(object) end
  return create("pods", object)
end

local function deployment(change)
  local object = { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "app" }, spec = { replicas = 1,
    selector = { matchLabels = { app = "app" } }, template = { metadata = { labels = { app = "app" } }, spec = { containers = json.array {
      { name = "main", image = "reg/app:v1", resources = {} } } } } } }
  if change then change(object) end
  return create("deployments.apps", object)
end

local function get(id, name)
  local found = w:get(id, "default", name)
  return found and found.object
end

local function status() return get("pods", "p").status end

local function main() return status().containerStatuses[1] end

local function condition(kind)
  for _, one in ipairs(status().conditions) do
    if one.type == kind then return one.status, one.reason, one.message end
  end
end

-- Events of the pod as lines "Reason: message" with their counts, in the order of their first times.
local function told(name)
  local events = {}
  for _, one in ipairs(w:each("events", "default")) do
    if one.object.involvedObject.name == (name or "p") then events[#events + 1] = one.object end
  end
  table.sort(events, function(a, b) return tonumber(a.metadata.resourceVersion) < tonumber(b.metadata.resourceVersion) end)
  local lines = {}
  for index, event in ipairs(events) do
    lines[index] = ("%s: %s%s"):format(event.reason, event.message, (event.count or 1) > 1 and " x" .. event.count or "")
  end
  return table.concat(lines, "\n")
end

local function waiting() return main().state.waiting and main().state.waiting.reason end

describe("a pod's log", function()
  before_each(function()
    start { timings = { pull = 0, check = 0, start = 0, stop = 0, init = 0 }, images = {
      ["reg/talks:v1"] = { log = json.array { "one", "two" } }, ["reg/prepares:v1"] = { like = "completes", log = json.array { "prepared" } },
      ["reg/breaks:v1"] = { like = "crashes", exit_after = 5, log = json.array { "trying" }, message = "no weights\n" } } }
  end)

  local function log(query)
    return (assert(w.registry:by_id("pods").subresources.log(w, { record = w:get("pods", "default", "p"), name = "p", query = query })))
  end

  it("has what the container wrote, from when and how much is asked for", function()
    pod(function(object)
      object.spec.initContainers = json.array { { name = "first", image = "reg/prepares:v1", resources = {} } }
      object.spec.containers[1].image = "reg/talks:v1"
    end)
    c:run_for(3)
    assert.equal("one\ntwo\n", log({}).text)
    assert.equal("prepared\n", log({ container = "first" }).text)
    assert.equal("two\n", log({ tailLines = "1" }).text)
    assert.equal("one\nt", log({ limitBytes = "5" }).text)
    local began = main().state.running.startedAt
    assert.equal(began:gsub("Z$", ".000000000Z one\n") .. began:gsub("Z$", ".000000000Z two\n"), log({ timestamps = "true" }).text)
    assert.equal("one\ntwo\n", log({ sinceSeconds = "60" }).text)
    assert.equal("one\ntwo\n", log({ sinceTime = began }).text)
    c:run_for(100)
    assert.equal("", log({ sinceSeconds = "60" }).text)
  end)

  it("is followed to the end of the container", function()
    pod(function(object) object.spec.containers[1].image = "reg/breaks:v1" end)
    c:run_for(1)
    local stream = log({ follow = "true" }).watch
    assert.same({ "trying\n" }, stream:next())
    assert.same({}, stream:next())
    c:run_for(4.5)
    assert.same({ "no weights\n" }, stream:next())
    assert.equal(nil, stream:next())
    c:run_for(30)
    assert.equal("trying\nno weights\n", log({ previous = "true" }).text)
  end)

  it("ends for who follows when the pod goes", function()
    pod(function(object) object.spec.containers[1].image = "reg/talks:v1" end)
    c:run_for(1)
    local stream = log({ follow = "true" }).watch
    assert.same({ "one\ntwo\n" }, stream:next())
    assert(verbs.delete(w, w.registry:by_id("pods"), "default", "p", { grace = 0 }))
    c:run_for(1)
    stream:next()
    assert.equal(nil, stream:next())
  end)
end)

describe("a pod on a node", function()
  before_each(function() start { timings = { pull = 2, start = 1, stop = 1 } } end)

  it("is pulled, created and started, each at its time", function()
    pod()
    c:settle()
    assert.equal("Pending", status().phase)
    assert.equal("ContainerCreating", waiting())
    assert.is_nil(status().podIP)
    assert.equal("ContainersNotReady", select(2, condition "Ready"))
    c:run_for(2.5)
    assert.equal("ContainerCreating", waiting())
    c:run_for(0.5)
    assert.equal("Running", status().phase)
    assert.equal("2026-01-01T00:00:03Z", main().state.running.startedAt)
    assert.is_true(main().ready and main().started)
    assert.equal("True", condition "Ready")
    assert.matches("^10%.244%.", status().podIP)
    assert.equal("10.0.0.2", status().hostIP)
    assert.equal([[
Scheduled: Successfully assigned default/p to node-1
Pulling: Pulling image "reg/app:v1"
Pulled: Successfully pulled image "reg/app:v1" in 2s
Created: Created container main
Started: Started container main]], told())
  end)

  it("does not pull an image that is there, unless its policy is Always", function()
    pod()
    c:run_for(5)
    pod(function(o) o.metadata.name = "second" end)
    c:run_for(1)
    assert.equal("Running", get("pods", "second").status.phase)
    assert.contains('Pulled: Container image "reg/app:v1" already present on machine', told "second")
    pod(function(o)
      o.metadata.name = "third"
      o.spec.containers[1].imagePullPolicy = "Always"
    end)
    c:run_for(1.1)
    assert.contains('Pulling image "reg/app:v1"', told "third")
  end)

  it("alternates between ErrImagePull and ImagePullBackOff, waiting twice as long each time, while its image is missing", function()
    c:set_image("reg/app:v1", "missing")
    pod()
    c:run_for(2)
    assert.equal("ErrImagePull", waiting())
    assert.equal("rpc error: code = Unknown desc = Error response from daemon: manifest for reg/app:v1 not found: manifest unknown: "
      .. "manifest unknown", main().state.waiting.message)
    c:run_for(1)
    assert.equal("ImagePullBackOff", waiting())
    assert.equal('Back-off pulling image "reg/app:v1"', main().state.waiting.message)
    assert.equal("Pending", status().phase)
    c:run_for(10.9)
    assert.equal("ImagePullBackOff", waiting())
    c:run_for(0.3)
    assert.equal("ErrImagePull", waiting())
    c:run_for(1)
    assert.equal("ImagePullBackOff", waiting())
    c:run_for(20.5)
    assert.equal("ImagePullBackOff", waiting())
    c:run_for(0.6)
    assert.equal("ErrImagePull", waiting())
    assert.contains("Failed: Error: ErrImagePull x3", told())
    c:set_image("reg/app:v1", "runs")
    c:run_for(3)
    assert.equal("Running", status().phase)
    assert.equal(0, main().restartCount)
  end)

  it("says who may not pull, and what is no image name", function()
    c:set_image("reg/app:v1", "unauthorised")
    pod()
    c:run_for(2)
    assert.contains("pull access denied for reg/app:v1, repository does not exist or may require 'docker login'",
      main().state.waiting.message)
    pod(function(o)
      o.metadata.name = "bad"
      o.spec.containers[1].image = "reg/Bad:v1"
    end)
    c:run_for(1)
    local one = get("pods", "bad").status.containerStatuses[1].state.waiting
    assert.equal("InvalidImageName", one.reason)
    assert.equal('Failed to apply default image tag "reg/Bad:v1": couldn\'t parse image reference "reg/Bad:v1": invalid reference format: '
      .. "repository name must be lowercase", one.message)
  end)

  it("tells names of images from what is none, as Docker's reference grammar does", function()
    local hex, format = ("0123456789abcdef"):rep(4), "invalid reference format"
    local wrong = {
      ["reg/app:" .. ("t"):rep(129)] = format, ["reg/app:-x"] = format, ["reg/a..b:v1"] = format, ["reg/app-:v1"] = format, ["reg//app"] = format,
      ["reg/app@sha256:12"] = format, ["reg/app@sha256:" .. hex:sub(1, 63)] = "invalid checksum digest length",
      ["reg/app@sha256:" .. hex:upper()] = "invalid checksum digest format", ["reg/app@md5:" .. hex] = "unsupported digest algorithm",
      ["reg/" .. ("n"):rep(260)] = "repository name must not be more than 255 characters",
      [hex] = ("invalid repository name (%s), cannot specify 64-byte hexadecimal strings"):format(hex),
    }
    local count = 0
    local function state_of(image)
      count = count + 1
      pod(function(o) o.metadata.name, o.spec.containers[1].image = "n" .. count, image end)
      c:run_for(3)
      return get("pods", "n" .. count).status.containerStatuses[1].state
    end
    for image, words in pairs(wrong) do
      local one = state_of(image).waiting
      assert.equal("InvalidImageName", one.reason, image)
      assert.contains(('couldn\'t parse image reference "%s": %s'):format(image, words), one.message)
    end
    for _, image in ipairs { "app", "localhost:5000/a__b/c--d:v1", "REG.example/app:" .. ("T"):rep(128), "reg/app:v1@sha256:" .. hex } do
      assert.is_not_nil(state_of(image).running, image)
    end
  end)

  it("restarts at once after its first crash, then waits 10 s, 20 s, up to 5 minutes", function()
    c:set_image("reg/app:v1", { like = "crashes", exit_after = 1 })
    pod()
    c:run_for(4)
    assert.equal(1, main().state.terminated.exitCode)
    assert.equal("Error", main().state.terminated.reason)
    assert.equal("ValueError: no model\n", main().state.terminated.message)
    assert.equal("Running", status().phase)
    c:run_for(2)
    assert.equal(1, main().restartCount)
    assert.is_not_nil(main().state.running)
    assert.equal(1, main().lastState.terminated.exitCode)
    c:run_for(2.1)
    assert.equal("CrashLoopBackOff", waiting())
    assert.equal(("back-off 10s restarting failed container=main pod=p_default(%s)"):format(get("pods", "p").metadata.uid),
      main().state.waiting.message)
    assert.equal("False", (condition "Ready"))
    c:run_for(13)
    assert.equal(2, main().restartCount)
    assert.contains("back-off 20s", main().state.waiting.message)
    c:run_for(300)
    assert.contains("back-off 2m40s", main().state.waiting.message)
    c:run_for(3600)
    assert.contains("back-off 5m0s", main().state.waiting.message)
    assert.contains("BackOff: Back-off restarting failed container x", told())
  end)

  it("dies of memory with 137 and OOMKilled", function()
    c:set_image("reg/app:v1", "out of memory")
    pod()
    c:run_for(8)
    assert.equal("CrashLoopBackOff", waiting())
    assert.equal(137, main().lastState.terminated.exitCode)
    assert.equal("OOMKilled", main().lastState.terminated.reason)
  end)

  it("cannot be run: RunContainerError, then CrashLoopBackOff", function()
    c:set_image("reg/app:v1", { start_error = "no such file" })
    pod()
    c:run_for(3)
    assert.equal("RunContainerError", waiting())
    assert.equal("no such file", main().state.waiting.message)
    c:run_for(4)
    assert.equal("CrashLoopBackOff", waiting())
    assert.equal("ContainerCannotRun", main().lastState.terminated.reason)
  end)

  it("keeps to its restart policy", function()
    c:set_image("reg/ok:v1", "completes")
    c:set_image("reg/bad:v1", "crashes")
    for name, image in pairs { ok = "reg/ok:v1", bad = "reg/bad:v1" } do
      pod(function(o)
        o.metadata.name, o.spec.restartPolicy, o.spec.containers[1].image = name, "Never", image
      end)
    end
    c:run_for(10)
    assert.equal("Succeeded", get("pods", "ok").status.phase)
    assert.equal("PodCompleted", get("pods", "ok").status.conditions[2].reason)
    assert.equal("Failed", get("pods", "bad").status.phase)
    assert.equal(0, get("pods", "bad").status.containerStatuses[1].restartCount)
  end)

  it("cannot be made when a variable tells of another container's amount, and there is none of that name", function()
    local function asks(name)
      return json.array { { name = "A", valueFrom = { resourceFieldRef = { containerName = name, resource = "limits.cpu" } } } }
    end
    pod(function(o) o.spec.containers[1].env = asks "nobody" end)
    c:run_for(5)
    assert.equal("CreateContainerConfigError", waiting())
    assert.equal("container nobody not found", main().state.waiting.message)
    pod(function(o) o.metadata.name, o.spec.containers[1].env = "fine", asks(o.spec.containers[1].name) end)
    c:run_for(5)
    assert.equal("Running", get("pods", "fine").status.phase)
  end)

  it("waits for a Secret or ConfigMap that it needs, and for one of its keys", function()
    pod(function(o)
      o.spec.containers[1].env = json.array { { name = "A", valueFrom = { secretKeyRef = { name = "s", key = "k" } } } }
    end)
    c:run_for(5)
    assert.equal("CreateContainerConfigError", waiting())
    assert.equal('secret "s" not found', main().state.waiting.message)
    create("secrets", { apiVersion = "v1", kind = "Secret", metadata = { name = "s" }, data = { other = "eA==" } })
    c:run_for(5)
    assert.equal("couldn't find key k in Secret default/s", main().state.waiting.message)
    verbs.patch(w, w.registry:by_id "secrets", "default", "s", "merge", { data = { k = "eA==" } }, {})
    c:run_for(5)
    assert.equal("Running", status().phase)
    assert.contains('Failed: Error: secret "s" not found', told())
  end)

  it("stays ContainerCreating while a volume's source is missing", function()
    pod(function(o) o.spec.volumes = json.array { { name = "v", configMap = { name = "m" } } } end)
    c:run_for(60)
    assert.equal("ContainerCreating", waiting())
    assert.contains('FailedMount: MountVolume.SetUp failed for volume "v" : configmap "m" not found', told())
    create("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "m" }, data = {} })
    c:run_for(5)
    assert.equal("Running", status().phase)
  end)

  it("runs its init containers one after the other first", function()
    pod(function(o)
      o.spec.initContainers = json.array { { name = "one", image = "reg/init:v1" }, { name = "two", image = "reg/init:v2" } }
    end)
    c:run_for(3)
    assert.equal("PodInitializing", waiting())
    assert.equal("False", condition "Initialized")
    assert.equal("containers with incomplete status: [one two]", select(3, condition "Initialized"))
    assert.is_not_nil(status().initContainerStatuses[1].state.running)
    assert.equal("PodInitializing", status().initContainerStatuses[2].state.waiting.reason)
    c:run_for(10)
    assert.equal("Running", status().phase)
    assert.equal("Completed", status().initContainerStatuses[2].state.terminated.reason)
    assert.is_true(status().initContainerStatuses[1].ready)
  end)

  it("is killed gently: containers end within the grace, then it is gone", function()
    pod()
    c:run_for(5)
    c:delete("pods", "default", "p", get("pods", "p").metadata.uid)
    c:settle()
    assert.equal(30, get("pods", "p").metadata.deletionGracePeriodSeconds)
    assert.contains("Killing: Stopping container main", told())
    c:run_for(0.9)
    assert.is_not_nil(get("pods", "p"))
    c:run_for(0.2)
    assert.is_nil(get("pods", "p"))
    assert.is_nil(w:due() and w:due() < w:now() + 60000 or nil)
  end)

  it("is killed hard at the end of its grace when it does not stop", function()
    c:set_image("reg/app:v1", { stop_seconds = 100 })
    pod(function(o) o.spec.terminationGracePeriodSeconds = 5 end)
    c:run_for(5)
    local last
    local stop = w:subscribe(function(event)
      if event.type == "MODIFIED" and event.record.name == "p" then last = event.record.object end
    end)
    c:delete("pods", "default", "p", get("pods", "p").metadata.uid)
    c:run_for(4.9)
    assert.is_not_nil(get("pods", "p"))
    c:run_for(0.2)
    stop()
    assert.is_nil(get("pods", "p"))
    assert.equal(137, last.status.containerStatuses[1].state.terminated.exitCode)
  end)

  it("leaves nothing in the world's cells when it is gone", function()
    local before = 0
    for _ in pairs(w.cell) do before = before + 1 end
    pod()
    c:run_for(5)
    c:delete("pods", "default", "p", get("pods", "p").metadata.uid)
    c:run_for(2 * 3600 + 1200)
    local left = {}
    for name in pairs(w.cell) do left[#left + 1] = name end
    -- the address counter, and the image that the node has now
    assert.equal(before + 2, #left)
    assert.equal(0, #w:each("events"))
  end)

  it("is restarted with another image when it is given one", function()
    pod()
    c:run_for(5)
    verbs.patch(w, w.registry:by_id "pods", "default", "p", "strategic",
      { spec = { containers = json.array { { name = "main", image = "reg/app:v2" } } } }, {})
    c:run_for(5)
    assert.equal("reg/app:v2", main().image)
    assert.equal(1, main().restartCount)
    assert.is_true(main().ready)
    assert.contains("Killing: Container main definition changed, will be restarted", told())
  end)

  it("is deleted some time after its node is", function()
    pod()
    c:run_for(5)
    c:delete("nodes", "", "node-1")
    c:run_for(30)
    assert.is_not_nil(get("pods", "p"))
    c:run_for(11)
    assert.is_nil(get("pods", "p"))
  end)

  it("on a node that somebody else registered is left to them", function()
    start { nodes = json.array {} }
    create("nodes", { apiVersion = "v1", kind = "Node", metadata = { name = "mine" },
      status = { allocatable = { cpu = "4", pods = "10" } } })
    pod()
    c:run_for(10)
    assert.equal("mine", get("pods", "p").spec.nodeName)
    assert.is_nil(status().containerStatuses)
  end)
end)

describe("a probe", function()
  before_each(function() start { timings = { pull = 0, start = 0 } } end)

  local function probed(kind, probe)
    return pod(function(o) o.spec.containers[1][kind] = probe end)
  end

  it("of readiness makes a container ready after its delay, and only when the image serves", function()
    c:set_image("reg/app:v1", { ready_after = 12 })
    probed("readinessProbe", { httpGet = { path = "/", port = 80 }, initialDelaySeconds = 5, periodSeconds = 5 })
    c:run_for(1)
    assert.equal("Running", status().phase)
    assert.is_false(main().ready)
    assert.is_true(main().started)
    c:run_for(13)
    assert.is_false(main().ready)
    c:run_for(1.5)
    assert.is_true(main().ready)
    assert.contains("Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503 x2", told())
  end)

  it("of readiness that never succeeds is told 25 times and no more, and then nothing stirs", function()
    c:set_image("reg/app:v1", "never ready")
    probed("readinessProbe", { tcpSocket = { port = 80 }, periodSeconds = 1 })
    c:run_for(100)
    assert.is_false(main().ready)
    assert.matches("Unhealthy: Readiness probe failed: dial tcp [%d.]+:80: connect: connection refused x2%d", told())
    assert.equal("expiry", w.agenda.timers[1].controller)
  end)

  it("of liveness restarts the container", function()
    c:set_image("reg/app:v1", "hangs")
    probed("livenessProbe", { exec = { command = json.array { "true" } }, periodSeconds = 2, failureThreshold = 2 })
    c:run_for(20)
    assert.is_true(main().restartCount >= 1)
    assert.equal(137, main().lastState.terminated.exitCode)
    assert.contains("Killing: Container main failed liveness probe, will be restarted", told())
  end)

  it("of startup holds the others back", function()
    c:set_image("reg/app:v1", { ready_after = 7 })
    pod(function(o)
      o.spec.containers[1].startupProbe = { tcpSocket = { port = 80 }, periodSeconds = 5, failureThreshold = 5 }
      o.spec.containers[1].livenessProbe = { tcpSocket = { port = 80 }, periodSeconds = 1, failureThreshold = 1 }
    end)
    c:run_for(6)
    assert.is_false(main().started)
    assert.is_false(main().ready)
    c:run_for(5)
    assert.is_true(main().started)
    assert.is_true(main().ready)
    assert.equal(0, main().restartCount)
  end)

  it("of startup that fails too often ends the container", function()
    c:set_image("reg/app:v1", "never ready")
    probed("startupProbe", { tcpSocket = { port = 80 }, periodSeconds = 1, failureThreshold = 3 })
    c:run_for(5)
    assert.equal(1, main().restartCount)
    assert.contains("Container main failed startup probe, will be restarted", told())
  end)
end)

describe("an image that changes under its pods", function()
  before_each(function() start { timings = { pull = 0, start = 0 } } end)

  it("is felt by those that run and by those that wait", function()
    deployment()
    c:run_for(1)
    local name = w:each("pods", "default")[1].name
    local function ready() return get("pods", name).status.containerStatuses[1].ready end
    assert.is_true(ready())
    assert.is_true(c:set_image("reg/*", "never ready"))
    c:settle()
    assert.is_false(ready())
    c:set_image("reg/app:v1", "crashes")
    c:run_for(5)
    assert.equal("CrashLoopBackOff", get("pods", name).status.containerStatuses[1].state.waiting.reason)
    c:set_image("reg/app:v1", "runs")
    c:settle()
    assert.is_true(ready())
    assert.equal(1, get("deployments.apps", "app").status.availableReplicas)
  end)

  it("must behave in a way that there is", function()
    local done, why = c:set_image("reg/app:v1", "explodes")
    assert.is_nil(done)
    assert.contains('there is no behaviour "explodes"', why)
  end)
end)

describe("the scheduler", function()
  it("spreads the pods of an owner over nodes that fit", function()
    start { nodes = json.array { { name = "n", count = 3, capacity = { cpu = 4 } } } }
    deployment(function(o) o.spec.replicas = 6 end)
    c:run_for(3)
    local counts = {}
    for _, one in ipairs(w:each("pods", "default")) do
      counts[one.object.spec.nodeName] = (counts[one.object.spec.nodeName] or 0) + 1
    end
    assert.same({ ["n-1"] = 2, ["n-2"] = 2, ["n-3"] = 2 }, counts)
  end)

  it("counts init containers and overhead, and frees what finished pods had", function()
    start { nodes = json.array { { name = "n", capacity = { cpu = 2 } } } }
    c:set_image("reg/job:v1", { like = "completes", exit_after = 5 })
    pod(function(o)
      o.metadata.name, o.spec.restartPolicy = "job", "Never"
      o.spec.containers[1] = { name = "main", image = "reg/job:v1", resources = { requests = { cpu = "1" } } }
      o.spec.initContainers = json.array { { name = "init", image = "reg/i:v1", resources = { requests = { cpu = "2" } } } }
    end)
    pod(function(o) o.spec.containers[1].resources = { requests = { cpu = "1" } } end)
    c:settle()
    c:run_for(1)
    local bound = get("pods", "job").spec.nodeName and "job" or "p"
    if bound == "p" then return end -- the seed took the other first: then there is room for that alone
    assert.is_nil(get("pods", "p").spec.nodeName)
    assert.equal("0/1 nodes are available: 1 Insufficient cpu.", select(3, condition "PodScheduled"))
    c:run_for(10)
    assert.equal("Succeeded", get("pods", "job").status.phase)
    assert.equal("n", get("pods", "p").spec.nodeName)
  end)

  it("says of each node what stands against the pod", function()
    start { nodes = json.array { { name = "a", capacity = { cpu = 1 } }, { name = "b", unschedulable = true },
      { name = "c", taints = json.array { { key = "k", value = "v", effect = "NoSchedule" } } }, { name = "d", capacity = { cpu = 1 } } } }
    pod(function(o) o.spec.containers[1].resources = { requests = { cpu = "2" } } end)
    c:settle()
    assert.equal("0/4 nodes are available: 1 node(s) had taint {k: v}, that the pod didn't tolerate, 1 node(s) were unschedulable, "
      .. "2 Insufficient cpu.", select(3, condition "PodScheduled"))
  end)

  local function apart_from(app)
    return { podAntiAffinity = { requiredDuringSchedulingIgnoredDuringExecution = json.array {
      { topologyKey = "kubernetes.io/hostname", labelSelector = { matchLabels = { app = app } } } } } }
  end

  it("keeps a pod away from one that wants none like it beside it, until that one goes", function()
    start { nodes = json.array { { name = "n" } } }
    pod(function(o) o.metadata.name, o.spec.affinity = "alone", apart_from "loud" end)
    c:settle()
    pod(function(o) o.metadata.labels = { app = "loud" } end)
    c:settle()
    assert.equal("0/1 nodes are available: 1 node(s) didn't match pod affinity/anti-affinity, 1 node(s) didn't satisfy existing pods "
      .. "anti-affinity rules.", select(3, condition "PodScheduled"))
    c:delete("pods", "default", "alone", nil, 0)
    c:run_for(5)
    assert.equal("n", get("pods", "p").spec.nodeName)
  end)

  it("does not take a pod that means another namespace's, or none, for one that keeps others away", function()
    start { nodes = json.array { { name = "n" } }, namespaces = json.array { "other" } }
    pod(function(o)
      o.metadata.name, o.metadata.namespace, o.spec.affinity = "alone", "other", apart_from "loud"
    end)
    c:settle()
    pod(function(o) o.metadata.labels = { app = "loud" } end)
    c:settle()
    assert.equal("n", get("pods", "p").spec.nodeName)
  end)

  it("gives a node that gave away more than it has only to pods that ask for nothing", function()
    start { nodes = json.array { { name = "n", capacity = { cpu = 1 } } } }
    pod(function(o)
      o.metadata.name, o.spec.nodeName = "greedy", "n"
      o.spec.containers[1].resources = { requests = { cpu = "5" } }
    end)
    c:settle()
    pod(function(o) o.spec.containers[1].resources = { requests = { memory = "1Mi" } } end)
    pod(function(o) o.metadata.name = "modest" end)
    c:settle()
    assert.equal("0/1 nodes are available: 1 Insufficient cpu.", select(3, condition "PodScheduled"))
    assert.equal("n", get("pods", "modest").spec.nodeName)
  end)

  it("says when there are no nodes at all", function()
    start { nodes = json.array {} }
    pod()
    c:settle()
    assert.equal("no nodes available to schedule pods", select(3, condition "PodScheduled"))
  end)
end)

describe("a deployment", function()
  it("that is scaled in the middle of a stuck rollout keeps a pod that serves, in whatever order the controllers work", function()
    for seed = 1, 30 do
      start(nil, seed)
      c:set_image("reg/app:v2", "never ready")
      deployment(function(o)
        o.spec.replicas, o.spec.strategy = 4, { type = "RollingUpdate", rollingUpdate = { maxSurge = 1, maxUnavailable = 0 } }
      end)
      c:run_for(5)
      local function patch(body)
        assert.truthy(verbs.patch(w, w.registry:by_id "deployments.apps", "default", "app", "merge", body, {}))
        c:run_for(5)
      end
      patch { spec = { template = { spec = { containers = json.array { { name = "main", image = "reg/app:v2" } } } } } }
      patch { spec = { replicas = 1 } }
      local status_of = get("deployments.apps", "app").status
      assert.equal("1 of 2 available", ("%d of %d available"):format(status_of.availableReplicas or 0, status_of.replicas), "seed " .. seed)
    end
  end)

  it("whose pods are refused before they have a name says so with the beginning of it", function()
    start()
    deployment(function(o) o.spec.template.spec.priorityClassName = "nobody" end)
    c:run_for(5)
    local set = w:each("replicasets.apps", "default")[1]
    local failure
    for _, one in ipairs(get("deployments.apps", "app").status.conditions) do
      if one.type == "ReplicaFailure" then failure = one end
    end
    assert.equal(('pods "%s-" is forbidden: no PriorityClass with name nobody was found'):format(set.name), failure.message)
  end)
end)

describe("the Endpoints of a Service", function()
  local HEADLESS = "service.kubernetes.io/headless"

  local function service(spec)
    spec.selector = { app = "none" }
    create("services", { apiVersion = "v1", kind = "Service", metadata = { name = "s", labels = { a = "b" } }, spec = spec })
    c:settle()
  end

  it("are there without an address, and of a name elsewhere too, and tell when the Service has none itself", function()
    start()
    service { type = "ExternalName", externalName = "elsewhere.example" }
    assert.equal("", get("endpoints", "s").metadata.labels[HEADLESS])
    start()
    service { clusterIP = "None", ports = json.array { { port = 80 } } }
    assert.equal("", get("endpoints", "s").metadata.labels[HEADLESS])
    start()
    service { ports = json.array { { port = 80 } } }
    assert.equal('{"a":"b"}', json.encode(get("endpoints", "s").metadata.labels))
  end)

  it("keep saying so when the Service gets an address, as long as nothing else changes", function()
    start()
    service { type = "ExternalName", externalName = "elsewhere.example" }
    local before = get("endpoints", "s")
    verbs.patch(w, w.registry:by_id "services", "default", "s", "merge",
      { spec = { type = "ClusterIP", externalName = json.null, ports = json.array { { port = 80 } } } }, {})
    c:settle()
    assert.equal(before, get("endpoints", "s"))
    verbs.patch(w, w.registry:by_id "services", "default", "s", "merge", { metadata = { labels = { a = "c" } } }, {})
    c:settle()
    assert.equal('{"a":"c"}', json.encode(get("endpoints", "s").metadata.labels))
  end)
end)

describe("the garbage collector", function()
  before_each(function() start() end)

  local function owned(name, ...)
    local references = json.array {}
    for _, owner in ipairs { ... } do
      references[#references + 1] = { apiVersion = "v1", kind = "ConfigMap", name = owner.metadata.name, uid = owner.metadata.uid,
        blockOwnerDeletion = true }
    end
    return create("configmaps", { apiVersion = "v1", kind = "ConfigMap", data = {},
      metadata = { name = name, ownerReferences = references } })
  end

  local function delete(name, propagation)
    c:delete("configmaps", "default", name, nil, nil, propagation)
    c:settle()
  end

  it("deletes what has no owner left, all the way down", function()
    local a = owned "a"
    owned("c", owned("b", a))
    delete("a", "Background")
    assert.is_nil(get("configmaps", "b"))
    assert.is_nil(get("configmaps", "c"))
  end)

  it("keeps what has another owner, without the reference to the one that is gone", function()
    local a, b = owned "a", owned "b"
    owned("c", a, b)
    delete("a", "Background")
    assert.equal("b", get("configmaps", "c").metadata.ownerReferences[1].name)
    assert.is_nil(get("configmaps", "c").metadata.ownerReferences[2])
  end)

  it("waits in the foreground for dependents that are held", function()
    local a = owned "a"
    owned("b", a)
    verbs.patch(w, w.registry:by_id "configmaps", "default", "b", "merge",
      { metadata = { finalizers = json.array { "example.com/hold" } } }, {})
    delete("a", "Foreground")
    assert.same({ "foregroundDeletion" }, table.move(get("configmaps", "a").metadata.finalizers, 1, 9, 1, {}))
    assert.is_not_nil(get("configmaps", "b").metadata.deletionTimestamp)
    verbs.patch(w, w.registry:by_id "configmaps", "default", "b", "merge", { metadata = { finalizers = json.null } }, {})
    c:settle()
    assert.is_nil(get("configmaps", "a"))
    assert.is_nil(get("configmaps", "b"))
  end)

  it("lets dependents go when they are to be orphans", function()
    local a = owned "a"
    owned("b", a)
    delete("a", "Orphan")
    assert.is_nil(get("configmaps", "a"))
    assert.is_nil(get("configmaps", "b").metadata.ownerReferences)
  end)

  it("deletes what custom objects owned, also when their kind goes with them", function()
    create("customresourcedefinitions.apiextensions.k8s.io", { apiVersion = "apiextensions.k8s.io/v1", kind = "CustomResourceDefinition",
      metadata = { name = "toys.example.com" }, spec = { group = "example.com", scope = "Namespaced",
        names = { plural = "toys", kind = "Toy", singular = "toy", listKind = "ToyList" },
        versions = json.array { { name = "v1", served = true, storage = true, schema = { openAPIV3Schema = { type = "object" } } } } } })
    c:settle()
    local toy = create("toys.example.com", { apiVersion = "example.com/v1", kind = "Toy", metadata = { name = "t" } })
    create("configmaps", { apiVersion = "v1", kind = "ConfigMap", data = {}, metadata = { name = "m", ownerReferences = json.array {
      { apiVersion = "example.com/v1", kind = "Toy", name = "t", uid = toy.metadata.uid } } } })
    c:settle()
    assert.is_not_nil(get("configmaps", "m"))
    c:delete("customresourcedefinitions.apiextensions.k8s.io", "", "toys.example.com")
    c:run_for(10)
    assert.is_nil(get("configmaps", "m"))
    assert.is_nil(w:get("customresourcedefinitions.apiextensions.k8s.io", "", "toys.example.com"))
    assert.is_nil(w.cell["gone/" .. toy.metadata.uid])
  end)

  it("deletes what names an owner that is not there, or another UID of its name", function()
    local a = owned "a"
    owned("b", { metadata = { name = "a", uid = "another" } })
    owned("c", { metadata = { name = "nobody", uid = "nowhere" } })
    owned("d", a)
    c:settle()
    assert.is_nil(get("configmaps", "b"))
    assert.is_nil(get("configmaps", "c"))
    assert.is_not_nil(get("configmaps", "d"))
  end)
end)

describe("a namespace", function()
  before_each(function() start { namespaces = json.array { "hub" } } end)

  it("has a service account, again when it is deleted", function()
    local account = w:get("serviceaccounts", "hub", "default")
    local secret = account.object.secrets[1].name
    assert.equal("kubernetes.io/service-account-token", w:get("secrets", "hub", secret).object.type)
    c:delete("serviceaccounts", "hub", "default")
    c:settle()
    assert.is_not_nil(w:get("serviceaccounts", "hub", "default"))
    assert.is_nil(w:get("secrets", "hub", secret))
    assert.equal(1, #w:each("secrets", "hub"))
  end)

  it("says in its conditions what holds it back, and goes when that is gone", function()
    create("configmaps", { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "m", namespace = "hub",
      finalizers = json.array { "example.com/hold" } } })
    c:delete("namespaces", "", "hub")
    c:run_for(1)
    local conditions = w:get("namespaces", "", "hub").object.status.conditions
    assert.equal("SomeResourcesRemain", conditions[4].reason)
    assert.equal("Some resources are remaining: configmaps. has 1 resource instances", conditions[4].message)
    assert.equal("Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances", conditions[5].message)
    verbs.patch(w, w.registry:by_id "configmaps", "hub", "m", "merge", { metadata = { finalizers = json.null } }, {})
    c:run_for(1)
    assert.is_nil(w:get("namespaces", "", "hub"))
    assert.equal(0, #w:each("configmaps", "hub"))
  end)
end)

describe("the cluster as a value", function()
  local function life(seed)
    start({}, seed)
    deployment(function(o) o.spec.replicas = 3 end)
    c:run_for(20)
    verbs.patch(w, w.registry:by_id "deployments.apps", "default", "app", "merge", { spec = { replicas = 1 } }, {})
    c:run_for(20)
    local texts = {}
    for _, id in ipairs { "deployments.apps", "replicasets.apps", "pods", "events" } do
      for _, one in ipairs(w:each(id)) do texts[#texts + 1] = world.bytes(one) end
    end
    return table.concat(texts, "\n")
  end

  it("is the same, byte for byte, for the same seed, and another for another", function()
    assert.equal(life(3), life(3))
    assert.is_false(life(3) == life(4))
  end)

  it("goes on after a restore as if nothing had been", function()
    start()
    deployment(function(o) o.spec.replicas = 2 end)
    for _ = 1, 12 do c:step() end
    local saved, hash = w:save(), w:hash()
    c:run_for(20)
    local after = w:hash()
    w:restore(saved)
    assert.equal(hash, w:hash())
    c:run_for(20)
    assert.equal(after, w:hash())
    w:restore(saved)
    c:delete("deployments.apps", "default", "app")
    c:run_for(20)
    assert.equal(0, #w:each("pods"))
    assert.equal(0, #w:each("replicasets.apps"))
  end)

  it("comes to rest: nothing is pending, and no timer but the one that forgets Events", function()
    start()
    deployment(function(o) o.spec.replicas = 2 end)
    c:run_for(700)
    assert.equal(0, #w:pending())
    assert.equal(1, #w.agenda.timers)
    assert.equal("expiry", w.agenda.timers[1].controller)
  end)

  it("comes to rest too when a rollout that was done turns bad, or never got done", function()
    start { events = false }
    deployment()
    c:run_for(10)
    c:set_image("reg/app:v1", "never ready")
    c:run_for(2000)
    assert.is_nil(w:due())
    verbs.patch(w, w.registry:by_id "deployments.apps", "default", "app", "merge",
      { spec = { template = { metadata = { annotations = { again = "yes" } } } } }, {})
    c:run_for(2000)
    assert.is_nil(w:due())
    assert.contains("ProgressDeadlineExceeded", json.encode(get("deployments.apps", "app").status))
  end)

  it("writes no Events when the scene says so", function()
    start { events = false }
    deployment()
    c:run_for(700)
    assert.equal(0, #w:each("events"))
    assert.is_nil(w:due())
  end)
end)
