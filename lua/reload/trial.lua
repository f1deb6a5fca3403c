-- After a swap: the new policies are on trial, and the ones before are kept until it is over.
--
-- What was tried beforehand cannot be everything: objects change, pods are created, and the server's answers come only to what is
-- really written. So for a while errors, refusals, deletions and the rollout are watched. At errors on 3 objects or 1 %, whichever
-- is more (or on all, where there are fewer), be it that the policies fail or that the server refuses what they say, at the first
-- deletion or re-creation beyond what was allowed beforehand, and at a model that turns Failed in the rollout, `back` is called, at
-- once. Only what the new policies are to blame for counts: what the ones before would have done as well, on what is seen now, does not.

local beside = require "beside"
local guard = require "guard"

local M = {}
M.__index = M

local ERRORS, PERCENT = 3, 1

-- How a server refuses what it was sent, and not when, or who sent it: bad, forbidden (by another admission), of an odd form, too large.
local REFUSALS = { [400] = true, [403] = true, [413] = true, [415] = true, [422] = true }

-- world: the controller; before: {generation, declaration, settings, set} of the ones before; options: {deletions = how many are
-- allowed, back = function(refusal): go back; it must not wait}. refusal: {text=, object=, failure=}.
function M.new(world, before, options)
  local objects = #world.objects:keys()
  local limit = math.max(ERRORS, math.ceil(objects * PERCENT / 100))
  return setmetatable({ before = beside.new(world, before), limit = math.max(1, math.min(limit, objects)), deletions = options.deletions,
    back = options.back, errors = {}, error_count = 0, deleted = 0 }, M)
end

-- What the ones before would decide on the same object now; nil if they err as well, or it is gone.
local function decision_before(self, key)
  local seen = self.before:seen(key)
  return seen and self.before:decide(seen)
end

-- One more object on which something went wrong; `at_once`: one is enough.
local function count(self, key, words, failure, at_once)
  if self.errors[key] then return end
  self.errors[key] = true
  self.error_count = self.error_count + 1
  if self.error_count < self.limit and not at_once then return end
  self.back { object = key, failure = failure, text = ("errors on %d object%s, the last on %s: %s"):format(self.error_count,
    self.error_count == 1 and "" or "s", key, words) }
end

-- The live policies failed on an object.
function M:erred(key, failure)
  if failure.outcome == "clock" or self.errors[key] then return end -- a stop by wall clock is no verdict
  if decision_before(self, key) then count(self, key, guard.sentence(failure), failure, failure.outcome == "state") end
end

-- Their quota.lua failed on a pod: it was asked `name` with these arguments.
function M:rule_erred(pod, failure, name, ...)
  if failure.outcome == "clock" or self.errors[pod] then return end
  if self.before.generation:call("quota", name, ...) ~= nil then count(self, pod, guard.sentence(failure), failure, failure.outcome == "state") end
end

local function child_named(decision, child)
  for _, manifest in ipairs(decision.children or {}) do
    if manifest.kind == child.kind and manifest.metadata.name == child.metadata.name then return manifest end
  end
end

-- The server refused a child that they decided: `status` is HTTP's, `words` say which child and why.
function M:refused(key, child, status, words)
  if not REFUSALS[status] or self.errors[key] then return end
  local before = decision_before(self, key)
  if before and not json.equal(child_named(before, child) or json.null, child) then count(self, key, words) end
end

-- Or the status of the object itself.
function M:status_refused(key, wanted, status, words)
  if not REFUSALS[status] or self.errors[key] then return end
  local before = decision_before(self, key)
  if before and not json.equal(before.status or json.null, wanted) then count(self, key, words) end
end

-- Whether the ones before would have had this deleted too: named under prune, or (of what is made anew) wanted in the same words.
local function was_so_before(decision, child)
  for _, target in ipairs(decision.prune or {}) do
    if target.kind == child.kind and target.name == child.metadata.name then return true end
  end
  local manifest = child_named(decision, child)
  return manifest ~= nil and child.spec ~= nil and json.equal(manifest.spec, child.spec)
end

-- A child is about to be deleted (to be made anew if it has a spec). Whether it may be.
function M:may_delete(key, child)
  local before = decision_before(self, key)
  if before and was_so_before(before, child) then return true end
  if self.deleted < self.deletions then
    self.deleted = self.deleted + 1
    return true
  end
  local what = child.spec and "delete %s %s and make it anew" or "delete %s %s"
  self.back { object = key, text = ("it would %s, for %s, and reload.deletions of the settings allows %d"):format(
    what:format(child.kind, child.metadata.name), key, self.deletions) }
  return false
end

-- A model that moved to the new policies turned Failed.
function M:rollout_stopped(key, message)
  self.back { object = key, text = ("the model %s failed with its new pod template: %s"):format(key, tostring(message or "")) }
end

return M
