-- One container on a node, from the pull of its image to its end: a machine of states with times.
--
-- A container's state is a small value in the world that is replaced at every step, never modified:
--   { step=, at= (ms of the next step; nil: it waits for something else), shown = what the status says, last = how it ended before,
--     restarts=, failures= (pulls), backoff= (seconds), started=, probes=, ready=, started_ok= }
-- The steps, their reasons, messages, Events and back-offs are those of the kubelet of Kubernetes 1.20 with Docker: pulls and
-- restarts wait 10 s, doubling up to 5 minutes, and a container that ran for 10 minutes starts over. The first
-- restart comes at once. Each step happens at its own time `at`, however late it is looked at.

local common = require "sandbox.controllers.common"
local probes = require "sandbox.controllers.probes"
local references = require "sandbox.kinds.references"

local M = {}

local NONE = {}
local with, ABSENT = common.with, common.ABSENT
local BACKOFF, BACKOFF_MOST, FORGIVEN = 10, 300, 600 -- seconds
local NOTICE = 1000 -- ms until the kubelet sees what it caused (its relist of containers)

local CREATING = { waiting = { reason = "ContainerCreating" } }
local INITIALIZING = { waiting = { reason = "PodInitializing" } }

M.CREATING, M.INITIALIZING = CREATING, INITIALIZING

-- A container before its first step. at: when that is; nil: not before somebody says so.
function M.fresh(spec, at, shown)
  return { step = "begin", image = spec.image, at = at, shown = shown or CREATING, restarts = 0 }
end

local function waiting(reason, message)
  return { waiting = { reason = reason, message = message } }
end

-- Go's time.Duration of whole seconds.
local function duration(seconds)
  if seconds < 60 then return seconds .. "s" end
  return ("%dm%ds"):format(seconds // 60, seconds % 60)
end

local function container_id(pod, spec, restarts)
  return "docker://" .. digest.sha256(pod.metadata.uid .. spec.name .. restarts)
end

local function pulled_cell(node, image) return "pulled/" .. node .. "/" .. image end

-- The container whose amounts a variable tells must be one of the pod.
local function no_container(pod, reference)
  local name = reference and reference.containerName or ""
  if name == "" then return nil end
  for _, list in ipairs { pod.spec.containers, pod.spec.initContainers or NONE } do
    for _, one in ipairs(list) do
      if one.name == name then return nil end
    end
  end
  return ("container %s not found"):format(name)
end

-- What stands in the way of its environment: the sentence, or nil.
local function trouble_with(c, pod, spec)
  local namespace = pod.metadata.namespace
  local function look(id, word, reference)
    if not reference or reference.optional == true then return nil end
    local record = c.w:get(id, namespace, reference.name or "")
    if not record then return ('%s "%s" not found'):format(word:lower(), reference.name or "") end
    local key = reference.key
    if key and (record.object.data or NONE)[key] == nil and (record.object.binaryData or NONE)[key] == nil then
      return ("couldn't find key %s in %s %s/%s"):format(key, word, namespace, reference.name)
    end
  end
  for _, source in ipairs(spec.envFrom or NONE) do
    local trouble = look("configmaps", "ConfigMap", source.configMapRef) or look("secrets", "Secret", source.secretRef)
    if trouble then return trouble end
  end
  for _, variable in ipairs(spec.env or NONE) do
    local source = variable.valueFrom or NONE
    local trouble = look("configmaps", "ConfigMap", source.configMapKeyRef) or look("secrets", "Secret", source.secretKeyRef)
      or no_container(pod, source.resourceFieldRef)
    if trouble then return trouble end
  end
end

local function pull_words(image, pull)
  if pull == "unauthorised" then
    return ("rpc error: code = Unknown desc = Error response from daemon: pull access denied for %s, repository does not exist or may "
      .. "require 'docker login': denied: requested access to the resource is denied"):format(image)
  end
  return ("rpc error: code = Unknown desc = Error response from daemon: manifest for %s not found: manifest unknown: manifest unknown")
    :format(image)
end

local STEPS = {}

-- x: { c, pod, spec (of the container), behaviour, is_init, tell = function(type, reason, message) }

local function start(x, run, at)
  local trouble = trouble_with(x.c, x.pod, x.spec)
  if trouble then
    x.tell("Warning", "Failed", "Error: " .. trouble)
    return with(run, { step = "config", at = ABSENT, shown = waiting("CreateContainerConfigError", trouble) })
  end
  return with(run, { step = "starting", at = at + x.c:ms(x.behaviour.start_seconds, "start") })
end

function STEPS.begin(x, run, at)
  local spec, behaviour, w = x.spec, x.behaviour, x.c.w
  if behaviour.pull == "invalid" then
    local text = ('Failed to apply default image tag "%s": couldn\'t parse image reference "%s": %s'):format(spec.image, spec.image,
      select(2, references.parse(spec.image)) or "invalid reference format")
    x.tell("Warning", "InspectFailed", text)
    x.tell("Warning", "Failed", "Error: InvalidImageName")
    return with(run, { step = "invalid", at = ABSENT, shown = waiting("InvalidImageName", text) })
  end
  local policy, present = spec.imagePullPolicy, w.cell[pulled_cell(x.pod.spec.nodeName, spec.image)]
  if present and policy ~= "Always" then
    x.tell("Normal", "Pulled", ('Container image "%s" already present on machine'):format(spec.image))
    return start(x, run, at)
  end
  if policy == "Never" then
    local text = ('Container image "%s" is not present with pull policy of Never'):format(spec.image)
    x.tell("Warning", "ErrImageNeverPull", text)
    x.tell("Warning", "Failed", "Error: ErrImageNeverPull")
    return with(run, { step = "invalid", at = ABSENT, shown = waiting("ErrImageNeverPull", text) })
  end
  x.tell("Normal", "Pulling", ('Pulling image "%s"'):format(spec.image))
  if behaviour.pull == "never" then return with(run, { step = "pulling", at = ABSENT }) end
  return with(run, { step = "pulling", at = at + x.c:ms(behaviour.pull_seconds, present and "check" or "pull") })
end

function STEPS.pulling(x, run, at)
  local image, pull = x.spec.image, x.behaviour.pull or "ok"
  if pull == "ok" then
    local took = x.c:ms(x.behaviour.pull_seconds, "pull")
    x.c.w.cell[pulled_cell(x.pod.spec.nodeName, image)] = true
    x.tell("Normal", "Pulled", ('Successfully pulled image "%s" in %s'):format(image,
      took < 1000 and ("%dms"):format(took) or ("%gs"):format(took / 1000)))
    return start(x, with(run, { failures = ABSENT }), at)
  end
  local text = pull_words(image, pull)
  x.tell("Warning", "Failed", ('Failed to pull image "%s": %s'):format(image, text))
  x.tell("Warning", "Failed", "Error: ErrImagePull")
  return with(run, { step = "pull_error", failures = (run.failures or 0) + 1, at = pull ~= "error" and at + NOTICE or ABSENT,
    shown = waiting("ErrImagePull", text) })
end

function STEPS.pull_error(x, run, at)
  local text = ('Back-off pulling image "%s"'):format(x.spec.image)
  x.tell("Normal", "BackOff", text)
  x.tell("Warning", "Failed", "Error: ImagePullBackOff")
  local seconds = math.min(BACKOFF << math.min(run.failures - 1, 8), BACKOFF_MOST)
  return with(run, { step = "begin", at = at - NOTICE + seconds * 1000, shown = waiting("ImagePullBackOff", text) })
end

-- When a running container comes to its end by itself, or nil.
local function end_of(x, run)
  if x.behaviour.exit_code then return run.started + math.ceil((x.behaviour.exit_after or 0.5) * 1000) end
  if x.is_init then return run.started + x.c:ms(nil, "init") end
end

-- When something happens to a running container next; nil: never.
local function next_of(x, run)
  local at = end_of(x, run)
  local tick = probes.next(run.probes)
  if tick and (not at or tick < at) then at = tick end
  if not run.ready and not x.spec.readinessProbe and run.started_ok and x.behaviour.ready ~= false then
    local ready = run.started + math.ceil((x.behaviour.ready_after or 0) * 1000)
    if not at or ready < at then at = ready end
  end
  return at
end

local function with_next(x, run)
  run.at = next_of(x, run)
  return run
end

function STEPS.starting(x, run, at)
  local spec, behaviour = x.spec, x.behaviour
  x.tell("Normal", "Created", "Created container " .. spec.name)
  if behaviour.start_error then
    x.tell("Warning", "Failed", "Error: " .. behaviour.start_error)
    local time = x.c.w:time(at)
    return with(run, { step = "exited", at = at + NOTICE, shown = waiting("RunContainerError", behaviour.start_error), ready = false,
      last = { exitCode = 127, reason = "ContainerCannotRun", message = behaviour.start_error, startedAt = time, finishedAt = time,
        containerID = container_id(x.pod, spec, run.restarts) } })
  end
  x.tell("Normal", "Started", "Started container " .. spec.name)
  local running = with(run, { step = "running", started = at, shown = { running = { startedAt = x.c.w:time(at) } },
    probes = probes.begin(spec, at), started_ok = spec.startupProbe == nil })
  running.ready = running.started_ok and not spec.readinessProbe and probes.serves_unprobed(behaviour, at, at)
  return with_next(x, running)
end

local function ended(x, run, at, code, reason, message)
  local terminated = { exitCode = code, reason = reason or (code == 0 and "Completed" or "Error"), message = message,
    startedAt = x.c.w:time(run.started), finishedAt = x.c.w:time(at), containerID = container_id(x.pod, x.spec, run.restarts) }
  return with(run, { step = "exited", at = at + NOTICE, shown = { terminated = terminated }, ready = false, started_ok = false,
    probes = ABSENT, backoff = at - run.started >= FORGIVEN * 1000 and ABSENT or run.backoff })
end

function STEPS.running(x, run, at)
  local behaviour = x.behaviour
  local finish = end_of(x, run)
  if finish and finish <= at then return ended(x, run, at, behaviour.exit_code or 0, behaviour.reason, behaviour.message) end
  local tick, name = probes.next(run.probes)
  if tick and tick <= at then
    local state, ready, started_ok, kill = probes.tick(name, x.spec, behaviour, run, run.started, x.ip, function(message)
      x.tell("Warning", "Unhealthy", message)
    end)
    if kill then
      x.tell("Normal", "Killing", ("Container %s failed %s probe, will be restarted"):format(x.spec.name, kill))
      return ended(x, run, at, 137)
    end
    return with_next(x, with(run, { probes = state, ready = ready, started_ok = started_ok }))
  end
  if not run.ready and not x.spec.readinessProbe then
    run = with(run, { ready = probes.serves_unprobed(behaviour, run.started, at) })
  end
  return with_next(x, run)
end

local function may_restart(x, code)
  local policy = x.pod.spec.restartPolicy or "Always"
  if x.is_init then return policy ~= "Never" and code ~= 0 end
  return policy == "Always" or policy == "OnFailure" and code ~= 0
end

local function again(x, run, at)
  local terminated = run.shown.terminated or run.last
  local backoff = math.min((run.backoff or BACKOFF // 2) * 2, BACKOFF_MOST)
  return STEPS.begin(x, with(run, { restarts = run.restarts + 1, last = terminated, backoff = backoff }), at)
end

function STEPS.exited(x, run, at)
  local terminated = run.shown.terminated or run.last
  if not may_restart(x, terminated.exitCode) then return with(run, { step = "done", at = ABSENT }) end
  if not run.backoff then return again(x, run, at) end
  x.tell("Warning", "BackOff", "Back-off restarting failed container")
  local metadata = x.pod.metadata
  return with(run, { step = "crashed", last = terminated, at = math.max(at, at - NOTICE + run.backoff * 1000),
    shown = waiting("CrashLoopBackOff", ("back-off %s restarting failed container=%s pod=%s_%s(%s)"):format(duration(run.backoff),
      x.spec.name, metadata.name, metadata.namespace, metadata.uid)) })
end

STEPS.crashed = again

-- Every step that is due at `now`. -> the container then
function M.advance(x, run, now)
  for _ = 1, 1000 do
    if not run.at or run.at > now then return run end
    run = STEPS[run.step](x, run, run.at)
  end
  return run
end

-- Something outside changed (a Secret is there now): what waits for it tries again.
function M.retry(run, now)
  if run.step == "config" then return with(run, { step = "begin", at = now }) end
  return run
end

-- The pod was given another image for it: what runs is ended, and starts again with that one.
function M.replaced(x, run, now)
  if run.step == "running" then
    x.tell("Normal", "Killing", ("Container %s definition changed, will be restarted"):format(x.spec.name))
    return with(ended(x, run, now, 0), { image = x.spec.image })
  end
  if run.step == "done" or not run.at and run.step == "begin" then return with(run, { image = x.spec.image }) end
  return with(run, { image = x.spec.image, step = run.step == "crashed" and "crashed" or "begin", at = now, failures = ABSENT })
end

-- Its image behaves otherwise from now on: what waits for the image tries at once, what runs feels it.
function M.image_changed(x, run, now)
  local step = run.step
  if step == "begin" or step == "pulling" or step == "pull_error" or step == "invalid" or step == "crashed" then
    if not run.at and step == "begin" then return run end -- an init container before it must end
    return with(run, { step = step == "crashed" and "crashed" or "begin", at = now, failures = ABSENT })
  end
  if step ~= "running" then return run end
  local running = with(run, { probes = run.started_ok and probes.begin(with(x.spec, { startupProbe = ABSENT }), now) or run.probes })
  if not x.spec.readinessProbe and run.started_ok then running.ready = probes.serves_unprobed(x.behaviour, run.started, now) end
  return with_next(x, running)
end

-- Told to end: its state after that, with Docker's exit status.
function M.stopped(x, run, at, killed)
  if run.step ~= "running" then return with(run, { step = "done", at = ABSENT, ready = false }) end
  return with(ended(x, run, at, killed and 137 or 0), { step = "done", at = ABSENT })
end

-- The entry of status.containerStatuses.
function M.status(x, run)
  local spec = x.spec
  local running = run.shown.running ~= nil
  local terminated = run.shown.terminated
  local ready = run.ready or false
  if x.is_init then ready = terminated ~= nil and terminated.exitCode == 0 end
  local status = { name = spec.name, image = spec.image, restartCount = run.restarts, ready = ready, state = run.shown,
    lastState = run.last and run.last ~= terminated and { terminated = run.last } or {},
    imageID = run.started and "docker-pullable://" .. (spec.image:match("^(.*):[^/:]*$") or spec.image) .. "@sha256:"
      .. digest.sha256(spec.image) or "" }
  if not x.is_init then status.started = running and run.started_ok or false end
  if running then
    status.containerID = container_id(x.pod, spec, run.restarts)
  else
    status.containerID = terminated and terminated.containerID or run.last and run.last.containerID
  end
  return status
end

return M
