-- The image catalogue: what an image does when a node pulls and starts it.
--
-- A behaviour is a table of the fields below; names stand for common ones, and the table may say { like = NAME, ... } to change some
-- of it. The catalogue is a value of the world (w.cell.images): exact names, and patterns with * in the order given.
-- An image that nobody described runs.

local references = require "sandbox.kinds.references"

local M = {}

local NONE = {}

-- field -> type; what may be said of an image. Times are seconds.
M.FIELDS = {
  like = "string",          -- the behaviour that this one changes
  pull = "string",          -- "ok", "missing", "unauthorised", "error" (stays ErrImagePull), "invalid" or "never" (it goes on pulling)
  pull_seconds = "number",
  start_seconds = "number",
  start_error = "string",   -- the container cannot be run: RunContainerError with this text
  exit_code = "integer",    -- it ends with this status ...
  exit_after = "number",    -- ... so many seconds after its start
  reason = "string",        -- of the end: "OOMKilled" (default: "Error", "Completed" for 0)
  message = "string",       -- its termination message
  ready = "boolean",        -- false: it never serves
  ready_after = "number",   -- it serves so many seconds after its start
  live_seconds = "number",  -- its liveness probe fails so many seconds after its start
  stop_seconds = "number",  -- how long it takes to end when told to
  log = "strings",          -- lines that it writes
}

M.NAMED = {
  ["runs"] = {},
  ["missing"] = { pull = "missing" },
  ["unauthorised"] = { pull = "unauthorised" },
  ["error"] = { pull = "error" },
  ["invalid"] = { pull = "invalid" },
  ["slow"] = { pull = "never" },
  ["crashes"] = { exit_code = 1, exit_after = 0.5, message = "ValueError: no model\n" },
  ["out of memory"] = { exit_code = 137, exit_after = 0.5, reason = "OOMKilled" },
  ["never ready"] = { ready = false },
  ["completes"] = { exit_code = 0, exit_after = 0.5 },
  ["cannot start"] = { start_error = 'failed to start container "main": Error response from daemon: OCI runtime create failed: '
    .. 'container_linux.go:349: starting container process caused "exec: \\"serve\\": executable file not found in $PATH": unknown' },
  ["hangs"] = { live_seconds = 5 },
}

M.PULLS = { ok = true, missing = true, unauthorised = true, error = true, invalid = true, never = true }

-- A behaviour by name or table, with what it is like filled in. -> table | nil, text
function M.resolve(behaviour)
  if type(behaviour) == "string" then
    local named = M.NAMED[behaviour]
    if named then return named end
    return nil, ('no behaviour is called "%s"'):format(behaviour)
  end
  local base, why = M.resolve(behaviour.like or "runs")
  if not base then return nil, why end
  local result = {}
  for name, value in pairs(base) do result[name] = value end
  for name, value in pairs(behaviour) do result[name] = value end
  result.like = nil
  return result
end

-- "registry/*:v?" as a Lua pattern: * is any text.
local function pattern_of(text)
  return "^" .. text:gsub("[%^%$%(%)%%%.%[%]%+%-%?]", "%%%0"):gsub("%*", ".*") .. "$"
end

-- -> function(image): whether the name (or pattern with *) means it
function M.matcher(name)
  if not name:find("*", 1, true) then return function(image) return image == name end end
  local pattern = pattern_of(name)
  return function(image) return image:find(pattern) ~= nil end
end

-- catalogue: { exact = { [image] = behaviour }, patterns = array of { pattern=, lua= (as a Lua pattern), behaviour= } }
function M.catalogue(entries)
  local exact, patterns = {}, json.array {}
  for _, entry in ipairs(entries or NONE) do
    if entry.name:find("*", 1, true) then
      patterns[#patterns + 1] = { pattern = entry.name, lua = pattern_of(entry.name), behaviour = entry.behaviour }
    else
      exact[entry.name] = entry.behaviour
    end
  end
  return { exact = exact, patterns = patterns }
end

-- A catalogue in which one image, or pattern, behaves otherwise: it comes before all others.
function M.changed(catalogue, name, behaviour)
  local exact = {}
  for image, one in pairs(catalogue.exact) do exact[image] = one end
  if not name:find("*", 1, true) then
    exact[name] = behaviour
    return { exact = exact, patterns = catalogue.patterns }
  end
  local patterns = json.array { { pattern = name, lua = pattern_of(name), behaviour = behaviour } }
  for _, one in ipairs(catalogue.patterns) do
    if one.pattern ~= name then patterns[#patterns + 1] = one end
  end
  return { exact = exact, patterns = patterns }
end

local INVALID = { pull = "invalid" }

-- What the image does, as the catalogue of the world has it.
function M.behaviour(w, image)
  local catalogue = w.cell.images
  local found = catalogue and catalogue.exact[image]
  if found then return found end
  for _, one in ipairs(catalogue and catalogue.patterns or NONE) do
    if image:find(one.lua) then return one.behaviour end
  end
  return references.parse(image) and NONE or INVALID
end

local function named(list, name)
  for _, one in ipairs(list or NONE) do
    if one.name == name then return one end
  end
end

-- What `kubectl logs` shows of a container: its lines and, after a crash, its termination message. -> text, the state that it is of
-- (nil: it never ran)
function M.log(w, pod, name, previous)
  local of = pod.status or NONE
  local container = named(pod.spec.containers, name) or named(pod.spec.initContainers, name)
  local status = named(of.containerStatuses, name) or named(of.initContainerStatuses, name)
  if not container or not status then return "" end
  local state = previous and status.lastState or status.state
  if not state or not (state.running or state.terminated) then state = status.lastState end
  if not state or not (state.running or state.terminated) then return "" end
  local behaviour = M.behaviour(w, container.image)
  local lines = table.concat(behaviour.log or NONE, "\n")
  if lines ~= "" then lines = lines .. "\n" end
  if state.terminated and behaviour.message then lines = lines .. behaviour.message end
  return lines, state
end

return M
