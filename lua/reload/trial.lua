-- After a swap: the new policies are on trial, and the ones before are kept until it is over.
--
-- What was tried beforehand cannot be everything: objects change, and the server's answers come only to what is really
-- written. So for a while errors, deletions and the rollout are watched. At errors on 3 objects or 1 %, whichever is
-- more (or on all, where there are fewer), at the first deletion or re-creation beyond what was allowed beforehand, and at
-- a model that turns Failed in the rollout, `back` is called, at once. Only what the new policies are to blame for counts:
-- what the ones before would have done as well, on what is seen now, does not.

local beside = require "beside"
local guard = require "guard"

local M = {}
M.__index = M

local ERRORS, PERCENT = 3, 1

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

-- The live policies failed on an object.
function M:erred(key, failure)
  if failure.outcome == "clock" or self.errors[key] then return end -- a stop by wall clock is no verdict
  if not decision_before(self, key) then return end
  self.errors[key] = true
  self.error_count = self.error_count + 1
  if self.error_count < self.limit and failure.outcome ~= "state" then return end
  self.back { object = key, failure = failure, text = ("errors on %d object%s, the last on %s: %s"):format(self.error_count,
    self.error_count == 1 and "" or "s", key, guard.sentence(failure)) }
end

-- Whether the ones before would have had this deleted too: named under prune, or (of what is made anew) wanted in the same words.
local function was_so_before(decision, child)
  for _, target in ipairs(decision.prune or {}) do
    if target.kind == child.kind and target.name == child.metadata.name then return true end
  end
  for _, manifest in ipairs(decision.children or {}) do
    if manifest.kind == child.kind and manifest.metadata.name == child.metadata.name then
      return child.spec ~= nil and json.equal(manifest.spec, child.spec)
    end
  end
  return false
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
