-- The one way into a policy's decide, and the watch over what it must not do: keep something between calls.
--
-- A policy that counts, caches or remembers decides differently tomorrow on what it sees today; plan, explain
-- and tests would say nothing about it. So what its functions reach is compared with what it was
-- after load: after the first decision, and then every 1,000 decisions or ten minutes. A policy that
-- kept something is not asked again: models stay as they are until it is mended.

local contract = require "contract"

local M = {}
M.__index = M

local CALLS, SECONDS = 1000, 600

function M.new(generation, module)
  return setmetatable({ generation = generation, module = module, unchecked = CALLS, checked_at = loop.now(), refused = nil,
    gauge = metrics.gauge("moonphase_policy_refused", "1 while the policy is not asked because it keeps state between calls", {}) }, M)
end

-- "phases.lua:12: attempt to ..." without addresses, which differ each time.
function M.sentence(failure)
  local place = ""
  if failure.file and failure.file ~= "" then
    place = failure.file .. ((failure.line or 0) > 0 and ":" .. failure.line or "") .. ": "
  end
  local text = (place .. tostring(failure.text)):gsub("0x%x+", "(address)")
  return text
end

local function look(self)
  self.unchecked = self.unchecked + 1
  if self.unchecked < CALLS and loop.now() - self.checked_at < SECONDS then return end
  self.unchecked, self.checked_at = 0, loop.now()
  local clean, kept = self.generation:check_state()
  if clean then
    self.gauge:set(0)
    return
  end
  self.refused = kept
  self.gauge:set(1)
  log.error("the policy keeps something between calls; nothing is decided until it is mended",
    { why = M.sentence(kept), policy = self.generation.digest })
end

-- What the policy decides on `seen`; nil and a PolicyError.
function M:decide(seen)
  if self.refused then return nil, self.refused end
  local decision, failure = self.generation:call(self.module, "decide", seen)
  look(self)
  if self.refused then return nil, self.refused end
  if decision == nil and failure then return nil, failure end
  return contract.decision(decision)
end

return M
