-- Probes of a running container: when it counts as started, ready, and alive.
--
-- Whether an image serves is a function of the time since its start, so only ticks that can change something need a
-- timer: a probe that succeeds and will go on to succeed rests; one that fails ticks on, for its Events, up to
-- the 25 that the real kubelet's spam filter lets through. The first tick comes initialDelaySeconds after the start
-- (the real one's comes up to a period later).
-- https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/

local M = {}

local NONE = {}
local TOLD = 25

local function period(probe) return (probe.periodSeconds or 10) * 1000 end

local function serves(behaviour, since)
  return behaviour.ready ~= false and since >= (behaviour.ready_after or 0) * 1000
end

local function lives(behaviour, since)
  return not behaviour.live_seconds or since < behaviour.live_seconds * 1000
end

-- The first tick of a probe at or after `at` (ms); first: its first tick of all.
local function tick_after(first, probe, at)
  if at <= first then return first end
  return first + (at - first + period(probe) - 1) // period(probe) * period(probe)
end

-- What the container's image does at its probes, from `at` on. -> { startup=, readiness=, liveness= } of { at=, good=, bad=, first= }
function M.begin(spec, at)
  local probes = {}
  local function add(name, probe)
    if not probe then return end
    local first = at + (probe.initialDelaySeconds or 0) * 1000
    probes[name] = { at = first, first = first, good = 0, bad = 0 }
  end
  if spec.startupProbe then
    add("startup", spec.startupProbe)
  else
    add("readiness", spec.readinessProbe)
    add("liveness", spec.livenessProbe)
  end
  return probes
end

-- After the startup probe: the others begin.
local function begin_rest(spec, probes, at)
  local rest = M.begin({ readinessProbe = spec.readinessProbe, livenessProbe = spec.livenessProbe }, at)
  rest.startup = { good = 1, bad = 0, first = probes.startup.first }
  return rest
end

-- Ready at `now` (ms), with no readiness probe to say it.
function M.serves_unprobed(behaviour, started, now) return serves(behaviour, now - started) end

local WORDS = { startup = "Startup", readiness = "Readiness", liveness = "Liveness" }

local function complaint(name, probe, ip)
  local port = probe.tcpSocket and probe.tcpSocket.port
  if port then return ("%s probe failed: dial tcp %s:%s: connect: connection refused"):format(WORDS[name], ip or "", port) end
  if probe.exec then return WORDS[name] .. " probe failed: " end
  return WORDS[name] .. " probe failed: HTTP probe failed with statuscode: 503"
end

local function replaced(probes, name, one)
  local copy = {}
  for key, value in pairs(probes) do copy[key] = value end
  copy[name] = one
  return copy
end

-- One tick. run: { probes=, ready=, started_ok= }, not modified. tell(message) is called for a failure.
-- -> probes, ready, started_ok, kill ("liveness" or "startup" when the container is to be ended)
local function tick(name, spec, behaviour, run, started, ip, tell)
  local probe, state = spec[name .. "Probe"], run.probes[name]
  local at = state.at
  local good = name == "liveness" and lives(behaviour, at - started) or name ~= "liveness" and serves(behaviour, at - started)
  local next_state = { first = state.first, good = good and state.good + 1 or 0, bad = good and 0 or state.bad + 1, told = state.told }
  local ready, started_ok, kill = run.ready, run.started_ok, nil
  if good then
    if name == "startup" then
      return begin_rest(spec, run.probes, at), spec.readinessProbe == nil and serves(behaviour, at - started), true
    end
    if name == "readiness" and next_state.good >= (probe.successThreshold or 1) then
      ready = true -- it serves from now on: no more ticks
    elseif name == "readiness" then
      next_state.at = at + period(probe)
    elseif behaviour.live_seconds then
      next_state.at = tick_after(state.first, probe, started + math.ceil(behaviour.live_seconds * 1000))
    end
  else
    next_state.told = (state.told or 0) + 1
    if next_state.told <= TOLD then tell(complaint(name, probe, ip)) end
    local most = probe.failureThreshold or 3
    if name == "readiness" then
      if next_state.bad >= most then ready = false end
      if next_state.told < TOLD then
        next_state.at = at + period(probe)
      elseif behaviour.ready ~= false then
        next_state.at = tick_after(state.first, probe, math.max(at + 1, started + math.ceil((behaviour.ready_after or 0) * 1000)))
      end
    elseif next_state.bad >= most then
      kill = name
    else
      next_state.at = at + period(probe)
    end
  end
  return replaced(run.probes, name, next_state), ready, started_ok, kill
end

-- The time of the earliest tick, and its probe; or nil.
function M.next(probes)
  local at, name
  for _, one in ipairs { "startup", "readiness", "liveness" } do
    local state = (probes or NONE)[one]
    if state and state.at and (not at or state.at < at) then at, name = state.at, one end
  end
  return at, name
end

M.tick = tick

return M
