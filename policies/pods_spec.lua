-- The rows of failures.lua that tell what becomes of pods: who refuses them, what they wait for, how they end.

local world = require "spec_world"

local after, fails_as, in_state, refuses = world.after, world.fails_as, world.in_state, world.refuses

local WEBHOOK = 'admission webhook "resources-validation-webhook.primehub.io" denied the request: '
local full = refuses(WEBHOOK .. "Group phusers exceeded cpu quota: 1.0, requesting 2.0")

local function ends(pod, at)
  pod.metadata.deletionTimestamp = time.format(at)
end

describe("the quota", function()
  it("that refuses pods fails after its grace, in the specification's words", function()
    fails_as("GroupQuotaExceeded", "Group resource not enough: Group phusers exceeded cpu quota: 1.0, requesting 2.0",
      "QuotaAdmitted", full, 15)
    local early = after(full, 14)
    assert.equal("Deploying", early.status.phase)
    assert.equal("False", world.condition(early.status, "QuotaAdmitted").status)
    assert.equal(1, early.requeue_after)
  end)

  it("of the namespace (a ResourceQuota) is another reason, without the pod's name and what others use", function()
    fails_as("ResourceQuotaExceeded", "Namespace resource not enough, its ResourceQuota refuses the pods: exceeded quota: compute, "
      .. "requested: limits.cpu=1, limited: limits.cpu=10", "QuotaAdmitted",
      refuses('pods "deploy-spam-classifier-abcxy-7d9-abcde" is forbidden: exceeded quota: compute, requested: limits.cpu=1, '
        .. "used: limits.cpu=9500m, limited: limits.cpu=10"), 15)
  end)

  it("recovers by itself", function()
    local w = world.deployed()
    full(w)
    world.apply(w)
    w.now = w.now + 20
    assert.equal("Failed", world.apply(w).status.phase)
    world.roll(w)
    local decision = world.apply(w)
    assert.equal("Deployed", decision.status.phase)
    assert.is_nil(decision.requeue_after)
  end)

  it("is of no interest when the newest ReplicaSet has all its pods: the Deployment also tells of older ones", function()
    local decision = after(function(w)
      full(w)
      w.pods[2] = world.pod("h1", "pod-2")
    end, 60)
    assert.equal("Deploying", decision.status.phase)
    assert.equal("True", world.condition(decision.status, "QuotaAdmitted").status)
  end)
end)

describe("an update at full quota", function()
  -- one pod of two was told to end, with a grace of 40 s; the next one is refused meanwhile
  local function updating()
    local w = world.deployed()
    full(w)
    w.pods[2] = world.pod("h0", "old")
    ends(w.pods[2], w.now + 40)
    return w
  end

  it("does not flicker through Failed while the old pod is ending, however long it may take", function()
    local w = updating()
    local decision = world.apply(w)
    local condition = world.condition(decision.status, "QuotaAdmitted")
    assert.equal("Unknown", condition.status)
    assert.equal("WaitingForOldPods", condition.reason)
    assert.contains("Group phusers exceeded cpu quota", condition.message)
    assert.equal(40, decision.requeue_after)
    for _, seconds in ipairs { 14, 1, 1, 23 } do
      w.now = w.now + seconds
      assert.equal("Deploying", world.apply(w).status.phase)
    end
    assert.is_nil(world.decide(w).nudge)
    w.pods[2] = nil -- it is gone; the ReplicaSet has 15 s to notice
    assert.same({ { kind = "Deployment", name = world.CHILD } }, world.decide(w).nudge)
    for _, seconds in ipairs { 0, 1, 13 } do
      w.now = w.now + seconds
      assert.equal("Deploying", world.apply(w).status.phase)
      assert.is_nil(world.decide(w).nudge, "it is woken once")
    end
    world.roll(w)
    assert.equal("Deployed", world.apply(w).status.phase)
  end)

  it("is Failed 15 s after the old pod should have gone, if the quota refuses still", function()
    local w = updating()
    world.apply(w)
    w.now = w.now + 40
    assert.equal("Deploying", world.apply(w).status.phase)
    assert.equal("False", world.condition(w.object.status, "QuotaAdmitted").status)
    w.now = w.now + 14
    assert.equal("Deploying", world.apply(w).status.phase)
    w.now = w.now + 1
    assert.equal("Failed", world.apply(w).status.phase)
  end)

  it("in a full cluster waits likewise for the node's room", function()
    local w = updating()
    w.children.deployments[world.CHILD].status.conditions = json.array {}
    w.pods[3] = world.pod("h1", "new")
    w.pods[3].status = { phase = "Pending", conditions = json.array { { type = "PodScheduled", status = "False",
      reason = "Unschedulable", message = "0/1 nodes are available: 1 Insufficient cpu." } } }
    for _, seconds in ipairs { 0, 16, 23, 1 } do
      w.now = w.now + seconds
      assert.equal("Deploying", world.apply(w).status.phase)
    end
    w.pods[2] = w.pods[3]
    w.pods[3] = nil
    assert.equal("Deploying", world.apply(w).status.phase)
    w.now = w.now + 15
    assert.equal("ClusterResourcesShort", world.apply(w).status.reason)
  end)
end)

describe("pods refused by", function()
  it("another admission webhook: it is named, and the quota is not blamed", function()
    fails_as("WebhookRefused", "The admission webhook signed.example.com refuses the pods: images must be signed", "QuotaAdmitted",
      refuses 'admission webhook "signed.example.com" denied the request: images must be signed', 15)
  end)

  it("a webhook that does not answer: without its addresses", function()
    fails_as("WebhookUnavailable", "Pods cannot be created: the admission webhook quota.primehub.io does not answer", "QuotaAdmitted",
      refuses('Internal error occurred: failed calling webhook "quota.primehub.io": Post '
        .. '"https://moonphase.hub.svc:443/review?timeout=10s": ' .. "dial tcp 10.1.2.3:443: connect: connection refused"), 15)
  end)

  it("Pod Security, and by the policies that were before it", function()
    fails_as("PodSecurityRefused", 'Pod Security refuses the pods: violates PodSecurity "restricted:latest": runAsNonRoot != true',
      "QuotaAdmitted", refuses('pods "deploy-spam-classifier-abcxy-7d9-abcde" is forbidden: violates PodSecurity "restricted:latest": '
        .. "runAsNonRoot != true"), 15)
    fails_as("PodSecurityRefused", "Pod Security refuses the pods: unable to validate against any pod security policy: []", "QuotaAdmitted",
      refuses 'pods "x" is forbidden: unable to validate against any pod security policy: []', 15)
  end)

  it("anything else", function()
    fails_as("PodsRefused", "Pods cannot be created: maximum cpu usage per Container is 1, but limit is 2", "QuotaAdmitted",
      refuses 'pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2', 15)
  end)
end)

describe("the image", function()
  it("that cannot be had fails after its grace, for each reason (faults 7, 13)", function()
    for reason, why in pairs { InvalidImageName = ": its name is not valid", ErrImagePull = "", ImagePullBackOff = "",
      ErrImageNeverPull = ": it is not on the node, and the pull policy is Never", ImageInspectError = "",
      RegistryUnavailable = ": the registry does not answer" } do
      local waits = in_state { waiting = { reason = reason, message = "Back-off" } }
      fails_as("ImagePullFailed", "Image invalid or cannot be pulled: infuseai/spam:1.0" .. why, "ImagePulled", waits, 10)
      local early = after(waits, 9)
      assert.equal(1, early.requeue_after)
      assert.is_false(early.status.phase == "Failed")
    end
  end)

  it("is told why, in words of our own, and those stay in the back-off between two pulls", function()
    for words, said in pairs {
      ["the registry has no such image"] = "Error response from daemon: manifest for infuseai/spam:1.0 not found: manifest unknown",
      ["access is denied; is the pull secret right?"] = "pull access denied for x, repository does not exist or may require 'docker login'",
      ["the registry does not answer"] = 'Get "https://user:secret@registry/v2/": dial tcp: lookup registry: no such host',
    } do
      local w = world.deployed()
      in_state { waiting = { reason = "ErrImagePull", message = "rpc error: code = Unknown desc = " .. said } }(w)
      world.apply(w)
      w.now = w.now + 10
      local message = "Image invalid or cannot be pulled: infuseai/spam:1.0: " .. words
      assert.equal(message, world.apply(w).status.message)
      in_state { waiting = { reason = "ImagePullBackOff", message = 'Back-off pulling image "infuseai/spam:1.0"' } }(w)
      assert.equal(message, world.apply(w).status.message)
      w.pods[1].status.containerStatuses[1].state.waiting = { reason = "ErrImagePull", message = said }
      assert.equal(message, world.apply(w).status.message)
    end
  end)

  it("of an init container counts too", function()
    fails_as("ImagePullFailed", "Image invalid or cannot be pulled: init:1", "ImagePulled", function(w)
      w.pods[1].status.initContainerStatuses = json.array { { name = "init", image = "init:1", ready = false, restartCount = 0,
        state = { waiting = { reason = "ErrImagePull" } } } }
    end, 10)
  end)

  it("of the ReplicaSet before is nobody's failure (fault 13)", function()
    local w = world.deployed()
    in_state { waiting = { reason = "ErrImagePull" } }(w)
    local old = w.pods
    world.roll(w, 1, 2)
    for _, pod in ipairs(old) do w.pods[#w.pods + 1] = pod end
    world.apply(w)
    w.now = w.now + 60
    assert.equal("Deploying", world.decide(w).status.phase)
  end)

  it("is not judged by old pods after an edit: Failed becomes Deploying at once", function()
    local w = world.deployed()
    in_state { waiting = { reason = "ErrImagePull" } }(w)
    world.apply(w)
    w.now = w.now + 10
    assert.equal("Failed", world.apply(w).status.phase)
    world.edit(w, function(spec) spec.predictors[1].modelImage = "infuseai/spam:2.0" end)
    local decision = world.apply(w)
    assert.equal("Unknown", world.condition(decision.status, "ImagePulled").status)
    assert.is_false(decision.status.phase == "Failed")
  end)
end)

local function pending(message)
  return function(w)
    for _, pod in ipairs(w.pods) do
      pod.status = { phase = "Pending", conditions = json.array { { type = "PodScheduled", status = "False",
        reason = "Unschedulable", message = message } } }
    end
  end
end

describe("pods without a node", function()
  it("are told of without counts, which other people's pods change", function()
    fails_as("ClusterResourcesShort", "Cluster resource not enough: no nodes are available: Insufficient cpu, "
      .. "node(s) had taint {gpu: yes}, that the pod didn't tolerate", "PodsHealthy",
      pending "0/30 nodes are available: 1 node(s) had taint {gpu: yes}, that the pod didn't tolerate, 29 Insufficient cpu.", 15)
    fails_as("ClusterResourcesShort", "Cluster resource not enough: no nodes are available: Insufficient memory", "PodsHealthy",
      pending("0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims found "
        .. "for incoming pod."), 15)
  end)

  it("because their volume is not there are no matter of capacity", function()
    fails_as("VolumeNotFound", 'A volume of the model is not there: persistentvolumeclaim "phfs" not found', "PodsHealthy",
      pending 'persistentvolumeclaim "phfs" not found', 30)
  end)
end)

describe("a volume", function()
  local function creating(w)
    for _, pod in ipairs(w.pods) do
      for _, one in ipairs(pod.status.containerStatuses) do
        one.ready, one.state, one.imageID = false, { waiting = { reason = "ContainerCreating" } }, ""
      end
      pod.status.conditions = json.array { { type = "Ready", status = "False" }, { type = "PodScheduled", status = "True" } }
    end
  end

  local function event(w, n, message, uid)
    w.events[#w.events + 1] = { metadata = { name = "e" .. #w.events }, reason = "FailedMount", message = message,
      involvedObject = { name = w.pods[n].metadata.name, uid = uid or w.pods[n].metadata.uid } }
  end
  local NFS = 'MountVolume.SetUp failed for volume "nfs" : mount failed: exit status 32\nMounting command: systemd-run\n'
    .. "Mounting arguments: --description=Kubernetes transient mount for /var/lib/kubelet/pods/0f8fad5b-d9cb-469f-a165-70867728950e/nfs\n"
    .. "Output: Running scope as unit: run-r9f2.scope\nmount.nfs: Connection refused\n"
  local LATE = "Unable to attach or mount volumes: unmounted volumes=[nfs], unattached volumes=[podinfo nfs]: timed out waiting"

  it("that cannot be mounted is told with the node's reason, whatever its kind (fault 13: NFS is not blamed for others)", function()
    fails_as("MountFailed", "The volume nfs cannot be mounted: mount.nfs: Connection refused", "PodsHealthy", function(w)
      creating(w)
      event(w, 1, LATE)
      event(w, 2, NFS)
    end, 30)
    fails_as("MountFailed", 'The volume keys cannot be mounted: secret "keys" not found', "PodsHealthy", function(w)
      creating(w)
      event(w, 1, 'MountVolume.SetUp failed for volume "keys" : secret "keys" not found')
    end, 30)
    fails_as("MountFailed", "The volume a, nfs cannot be mounted: it could not be mounted in time", "PodsHealthy", function(w)
      creating(w)
      event(w, 1, (LATE:gsub("=%[nfs%]", "=[nfs a]")))
    end, 30)
  end)

  it("of another pod, or mounted by now, is no failure (fault 13: stale Events count)", function()
    local decision = after(function(w)
      creating(w)
      event(w, 1, NFS, "somebody-else")
    end, 60)
    assert.equal("Unknown", world.condition(decision.status, "PodsHealthy").status)
    decision = after(function(w)
      in_state { running = {} }(w)
      event(w, 1, NFS)
    end, 60)
    assert.is_false(decision.status.phase == "Failed")
  end)
end)

describe("pods", function()
  it("that cannot be configured", function()
    fails_as("ContainerConfigInvalid", 'Container model cannot be started: secret "s" not found', "PodsHealthy",
      in_state { waiting = { reason = "CreateContainerConfigError", message = 'secret "s" not found' } }, 10)
  end)

  local function exited(code, reason, message)
    return { terminated = { exitCode = code, reason = reason, message = message } }
  end
  local LOOP = { waiting = { reason = "CrashLoopBackOff" } }
  local TRACE = "loading\n\nTraceback (most recent call last):\n  File \"/app/Model.py\", line 7\nValueError: no model\n"

  it("that crash tell exit code and last lines, in the back-off and between two crashes", function()
    local message = 'Container model crashes: Error, exit code 1: Traceback (most recent call last): | File "/app/Model.py", line 7 '
      .. "| ValueError: no model"
    fails_as("Crashed", message, "PodsHealthy", in_state(LOOP, { lastState = exited(1, "Error", TRACE), restartCount = 1 }))
    fails_as("Crashed", message, "PodsHealthy", in_state({ running = {} }, { lastState = exited(1, "Error", TRACE), restartCount = 2 }))
    fails_as("Crashed", "Container model crashes: Error, exit code 1", "PodsHealthy",
      in_state(LOOP, { lastState = exited(1, "Error"), restartCount = 1 }))
  end)

  it("that crash keep their last words within bounds", function()
    local decision = after(in_state(LOOP, { lastState = exited(1, "Error", ("é"):rep(3000) .. "the end"), restartCount = 1 }))
    assert.contains("exit code 1: …é", decision.status.message)
    assert.matches("the end$", decision.status.message)
    assert.is_true(#decision.status.message < 500)
    assert.is_not_nil(utf8.len(decision.status.message))
  end)

  it("that crashed once are no verdict (fault 13)", function()
    local decision = after(in_state({ running = {} }, { lastState = exited(1, "Error"), restartCount = 1 }))
    assert.is_false(decision.status.phase == "Failed")
  end)

  it("out of memory", function()
    fails_as("OutOfMemory", "Container model needs more memory than the instance type gives it (OOMKilled, exit code 137): loading weights",
      "PodsHealthy", in_state(LOOP, { lastState = exited(137, "OOMKilled", "loading weights"), restartCount = 1 }))
  end)

  it("that cannot be run are crashes from the back-off on, not now this and now that", function()
    local ran = exited(127, "ContainerCannotRun", 'exec: "serve": not found')
    local message = 'Container model crashes: ContainerCannotRun, exit code 127: exec: "serve": not found'
    fails_as("Crashed", message, "PodsHealthy", in_state(LOOP, { lastState = ran, restartCount = 3 }))
    fails_as("Crashed", message, "PodsHealthy",
      in_state({ waiting = { reason = "RunContainerError", message = "x" } }, { lastState = ran, restartCount = 4 }))
  end)

  it("that never get ready, and which container it is (fault 7)", function()
    local deadline = world.says { type = "Progressing", status = "False", reason = "ProgressDeadlineExceeded" }
    fails_as("ProgressDeadline", "The model made no progress for 1200 seconds", "Progressing", deadline)
    fails_as("ProgressDeadline", "The model made no progress for 1200 seconds; container model runs and is not ready", "Progressing",
      function(w)
        in_state({ running = {} })(w)
        deadline(w)
      end)
  end)
end)

describe("the model's files", function()
  local function fetcher(state, more)
    return function(w)
      w.object.spec.predictors[1].modelURI = "s3://key:secret@bucket/model?token=secret"
      for _, pod in ipairs(w.pods) do
        local one = { name = "model-storage-initializer", image = "fetch:1", ready = false, restartCount = 0, state = state }
        for k, v in pairs(more or {}) do one[k] = v end
        pod.status.initContainerStatuses = json.array { one }
        pod.status.containerStatuses[1].state, pod.status.containerStatuses[1].ready = { waiting = { reason = "PodInitializing" } }, false
        pod.status.conditions = json.array { { type = "PodScheduled", status = "True" } }
      end
    end
  end
  -- a model that was made with its URI
  local function fetching(state, more)
    local w = world.deployed(function(new) new.object.spec.predictors[1].modelURI = "s3://key:secret@bucket/model?token=secret" end)
    fetcher(state, more)(w)
    world.apply(w)
    return world.decide(w).status
  end

  it("that cannot be fetched are told with the exit code and the end of the log, and without keys of the address", function()
    local status = fetching({ waiting = { reason = "CrashLoopBackOff" } },
      { restartCount = 1, lastState = { terminated = { exitCode = 1, reason = "Error", message = "NoSuchBucket: bucket\n" } } })
    assert.equal("ModelFetchFailed", status.reason)
    assert.equal("The model cannot be fetched from s3://bucket/model: Error, exit code 1: NoSuchBucket: bucket", status.message)
    assert.equal("False", world.condition(status, "ModelFetched").status)
    assert.equal("Unknown", world.condition(status, "PodsHealthy").status)
  end)

  it("are fetched, being fetched, or in the image", function()
    assert.equal("Fetching", world.condition(fetching { running = {} }, "ModelFetched").reason)
    assert.equal("NotFetchedYet", world.condition(fetching { waiting = { reason = "PodInitializing" } }, "ModelFetched").reason)
    assert.equal("Fetched", world.condition(fetching { terminated = { exitCode = 0 } }, "ModelFetched").reason)
    assert.equal("InImage", world.condition(world.deployed().object.status, "ModelFetched").reason)
  end)
end)
