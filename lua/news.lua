-- What is told as Events, and when: after the status write that it belongs to, and never at rest.
--
-- A policy says its own news (decision.events), by comparing two statuses. The host adds its own refusals: a policy that fails, a
-- child that is somebody else's, a rollout that was stopped. What it notices before a status is written waits in the notes
-- of the key; a status that stays as it is takes it away, so that a restart tells nothing again.

local status = require "status"

local M = {}

local NOTED_MOST = 10 -- of one object, until its next status

-- Remember an Event {type, reason, message} (nil: none) until the status of `key` is written.
function M.note(world, key, event)
  if not event then return end
  local notes = world:notes(key)
  notes.untold = notes.untold or {}
  if #notes.untold < NOTED_MOST then table.insert(notes.untold, event) end
end

-- Children of somebody else's that were none at the last look.
function M.note_conflicts(world, key, before, problems)
  local known = {}
  for _, problem in ipairs(before or {}) do known[problem.reason .. "/" .. problem.kind .. "/" .. problem.name] = true end
  for _, problem in ipairs(problems) do
    if problem.reason == "ChildConflict" and not known[problem.reason .. "/" .. problem.kind .. "/" .. problem.name] then
      M.note(world, key, { type = "Warning", reason = problem.reason, message = ("%s %s: %s"):format(problem.kind, problem.name, problem.message) })
    end
  end
end

-- `list`, but for the reasons of `other`.
local function tell(world, object, list, other)
  local meta, said = object.metadata, {}
  for _, event in ipairs(other or {}) do said[event.reason] = true end
  for _, event in ipairs(world.events and list or {}) do
    if not said[event.reason] then
      world.events:tell({ uid = meta.uid, name = meta.name, namespace = meta.namespace, resourceVersion = meta.resourceVersion }, event)
    end
  end
end

-- The status of `object` (as it was read before) was written; `decided`: what the policy tells, or nil.
function M.written(world, key, object, decided)
  local failed = status.condition(object, status.POLICY_ERROR)
  if failed and failed.status == "True" then
    M.note(world, key, { type = "Normal", reason = "PolicyRecovered", message = "the policy decides about this object again" })
  end
  local notes = world:notes(key)
  tell(world, object, notes.untold, decided) -- what a policy says in its own words is not said twice
  tell(world, object, decided)
  notes.untold = nil
end

-- The status said it already.
function M.unchanged(world, key)
  world:notes(key).untold = nil
end

-- The condition PolicyError was written.
function M.policy_failed(world, object, message)
  tell(world, object, { { type = "Warning", reason = status.POLICY_ERROR, message = message } })
end

return M
