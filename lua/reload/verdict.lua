-- What became of a save, in words: for the log, for /readyz?verbose, for metrics.

local observe = require "observe"

local M = {}

local RESULTS = { "swapped", "unchanged", "refused", "superseded", "went back" }

function M.metrics()
  local m = {
    total = metrics.counter("moonphase_reloads_total", "Saves of policies or settings, by what became of them", { "result" }),
    refused = metrics.gauge("moonphase_reload_refused", "1 while what the policies folder and the settings hold is refused", {}),
    seconds = metrics.histogram("moonphase_reload_seconds", "From a save that was seen to its verdict", {},
      { 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 30 }),
    swap = metrics.histogram("moonphase_reload_swap_seconds", "Until every object is queued for the policies that were swapped in", {},
      { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5 }),
    info = metrics.gauge("moonphase_policy_info", "1 for the policies that decide", { "digest" }),
  }
  for _, result in ipairs(RESULTS) do m.total:add(0, result) end
  m.refused:set(0)
  return m
end

local function now()
  return observe.rfc3339(loop.wall_ms())
end

-- A refusal of a step, as it is kept: {at=, step=, text=, object=, file=, line=, source=, path=, digest=}.
function M.refusal(refusal, digest)
  local failure = refusal.failure or {}
  local function said(text) return text ~= "" and text or nil end
  local is_nil = (failure.text or ""):find "nil value" ~= nil
  return { at = now(), step = refusal.step, text = refusal.text, object = refusal.object, digest = digest, file = said(failure.file),
    line = (failure.line or 0) > 0 and failure.line or nil, source = failure.source and said((failure.source:gsub("^%s+", ""))),
    path = said(is_nil and failure.path) }
end

-- The fields of a log line.
function M.fields(refusal, live_digest)
  return { step = refusal.step, why = refusal.text, object = refusal.object, file = refusal.file, line = refusal.line, source = refusal.source,
    nil_path = refusal.path, policy = live_digest, refused = refusal.digest }
end

-- Lines for /readyz?verbose: what decides, and what was refused. `live`: {digest, since, before (of the ones to go back to, or nil)}.
function M.lines(live, refusal, last)
  local lines = { "policy " .. live.digest .. (live.since and " since " .. live.since or "") }
  if live.before then lines[#lines + 1] = ("on trial: at trouble it goes back to policy %s"):format(live.before) end
  if last then lines[#lines + 1] = "reload: " .. last end
  if refusal then
    lines[#lines + 1] = ("reload: refused at %s, step %s: %s"):format(refusal.at, refusal.step, refusal.text)
    if refusal.source then lines[#lines + 1] = ("    %s:%s: %s"):format(refusal.file or "?", refusal.line or "?", refusal.source) end
    if refusal.path then lines[#lines + 1] = "    nil was: " .. refusal.path .. " (nothing is there: test it before it is used)" end
  end
  return table.concat(lines, "\n")
end

M.now = now
return M
