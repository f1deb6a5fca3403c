-- Pacing: an edit of a policy, or of what it reads (a group, an instance type), may change pod templates of many models. That
-- restarts them, so they move a few at a time.
--
-- A child bears a mark of what was wanted when it was last written: "POLICY.TEMPLATE", two digests. A changed template is
-- the user's if what the user asked for is another one than the child tells of (the declaration's `user_mark`); a child that tells
-- nothing, and one that another policy wrote, for which the same may read otherwise, go by the object's spec: whether it changed since its
-- child was last as wanted (after a start: since the status told of it). So an edit that was blocked or refused when it came is still
-- the user's when it is tried again, and another description moves nobody. It is a mended drift if the mark is still that of
-- what is wanted. Else the policy (or the settings, or moonphase itself: another POLICY) or an input (the same POLICY) changed it: then
-- `settings.rollout.budget` objects move at once, each waited for until it is Deployed, and the others keep the template
-- that they have until their turn. The first one that turns Failed (one that was Failed before proves nothing) stops the
-- rollout: it gets its old template back and the rest stay where they are.
--
-- A swap of policies begins a new rollout: who is still moving keeps its place, whatever it moves to now. After a start, or a change of
-- leader, nobody knows who moved, or why: so all are looked at once before the first one moves (begin, looked_at), and who is
-- found on its way takes a place until it has arrived. That it fails proves nothing then. During the trial of
-- a reload (reload/trial.lua) a stop also takes the policy itself back. A stop that an input is to blame for holds
-- the models that use it, until it is edited again (input_changed) or the model that failed is gone.
--
-- hold() is asked for every child just before it is written; observe() is told every status; advance()
-- is called when a key was worked on, and wakes one of those that wait for each place that is free.

local diff = require "diff"

local M = {}
M.__index = M

-- previous: the rollout of the policy that was live before, or nil.
function M.new(world, previous)
  local wanted = type(world.settings.rollout) == "table" and world.settings.rollout.budget or nil
  local budget = tonumber(wanted)
  if wanted ~= nil and not (budget and budget >= 1) then
    log.warn("rollout.budget is no number from 1 on; models move one at a time", { budget = tostring(wanted) })
  end
  local self = setmetatable({ world = world, budget = budget and budget >= 1 and budget // 1 or 1,
    moving = {}, moving_count = 0, held = {}, pinned = {}, stopped = false, changed = {}, halted = {},
    unseen = previous and previous.unseen or {} }, M)
  for key, moved in pairs(previous and previous.moving or {}) do
    self.moving[key] = { was = moved.was, digest = moved.digest, was_failed = moved.was_failed, cause = moved.cause, inputs = moved.inputs,
      found = moved.found, arrived = moved.found }
    self.moving_count = self.moving_count + 1
  end
  return self
end

-- Nobody moves before each of these keys was looked at.
function M:begin(keys)
  for _, key in ipairs(keys) do self.unseen[key] = true end
end

-- What is to be known of this key now is known, or was not to be had.
function M:looked_at(key)
  self.unseen[key] = nil
end

-- Whether to write `child` over `live` would restart pods.
function M.template_differs(child, live)
  return #diff.compare({ kind = child.kind, spec = { template = child.spec.template } }, live) > 0
end
local template_differs = M.template_differs

local function with(table, name, value)
  local copy = {}
  for k, v in pairs(table) do copy[k] = v end
  copy[name] = value
  return copy
end

-- What goes back to, or stays in, the cluster: the template, and the child's own annotations, which may tell of it.
local function as_it_is(live)
  return { template = live.spec.template, annotations = type(live.metadata.annotations) == "table" and live.metadata.annotations or {} }
end

-- `child` with the template that it had.
local function as_it_was(child, was)
  local annotations = {}
  for name, value in pairs(child.metadata.annotations or {}) do annotations[name] = was.annotations[name] or value end
  local copy = with(child, "spec", with(child.spec, "template", was.template))
  copy.metadata = with(child.metadata, "annotations", annotations)
  return copy
end

local function status_of(world, key)
  local object = world.objects:read(key)
  return object and type(object.status) == "table" and object.status or {}
end

-- What its user asked for, as the child tells it; nil: it does not tell.
local function asked_by(informer, child)
  local name = informer.kind and informer.kind.user_mark
  local annotations = child.metadata.annotations
  local mark = name and type(annotations) == "table" and annotations[name]
  return type(mark) == "string" and mark:match "^[^-]*" or nil
end

-- was, wanted: what the live child and the wanted one tell of the user.
local function is_users_change(self, key, handle, cause, was, wanted)
  local told = was and wanted
  if told and was == wanted then return false end
  if told and cause ~= "policy" then return true end
  return (self.world:notes(key).current or math.tointeger(status_of(self.world, key).observedGeneration) or 0) < handle.generation
end

local function passes(self, key, child, mark)
  self.held[key], self.pinned[key] = nil, nil
  return child, mark
end

-- The child that is there is as wanted, but for what needs no restart.
local function settles(self, key, handle, child, mark)
  local moving = self.moving[key]
  if moving then moving.arrived = true end
  self.world:notes(key).current = handle.generation
  return passes(self, key, child, mark)
end

-- ---------------------------------------------------------------- marks, and who changed what

-- The mark of a child that the policy of this digest wants. (With a template about 15 microseconds.)
function M.mark(policy_digest, child)
  local template = child.spec and child.spec.template
  return template and policy_digest .. "." .. digest.sha256(json.encode(template)):sub(1, 16) or policy_digest
end

-- Whether to write `child` over `live`, which bears this mark (nil: none), restarts pods. What a template only says no more is in
-- no comparison of the two, but in their marks; and if nothing at all differs, nothing is written.
function M.would_restart(child, live, mark)
  if template_differs(child, live) then return true end
  local before, wanted = mark and mark:match("%.(.+)$"), M.mark("", child):match("%.(.+)$")
  return before ~= nil and before ~= wanted and #diff.compare(child, live) > 0
end

-- Why what is wanted may differ from what is live, by its mark: "policy", "input", or nil: then somebody else changed it.
local function cause_of(mark, wanted)
  local policy_of, template = mark:match("^([^.]*)%.?(.*)$")
  local wanted_policy, wanted_template = wanted:match("^([^.]*)%.(.*)$")
  if policy_of ~= wanted_policy then return "policy" end
  return template ~= "" and template ~= wanted_template and "input" or nil -- marks of earlier versions have no template
end

-- The inputs that an object names, as texts: "group=...".
local function inputs_of(self, handle)
  local found = {}
  for name in pairs(self.world.inputs or {}) do
    local value = handle.indexes and handle.indexes[name]
    if value then found[#found + 1] = name .. "=" .. value end
  end
  return found
end

local function is_halted(self, cause, handle)
  if cause == "policy" then return self.stopped end
  if next(self.halted) == nil then return false end
  for _, id in ipairs(inputs_of(self, handle)) do
    if self.halted[id] then return true end
  end
  return false
end

-- The inputs that a failed model is held against: those of its own that changed since we began, or all, if that was before.
local function suspects(self, moved)
  local found = {}
  for _, id in ipairs(moved.inputs or {}) do
    if self.changed[id] then found[#found + 1] = id end
  end
  return #found > 0 and found or moved.inputs or {}
end

-- Which of several inputs is to blame is not always known: those that one stop halted are let go together.
local function halt(self, ids)
  local together = {}
  for _, id in ipairs(ids) do
    for other in pairs(self.halted[id] or { [id] = true }) do together[other] = true end
  end
  for id in pairs(together) do self.halted[id] = together end
end

local function let_go(self, ids)
  for _, id in ipairs(ids or {}) do
    for other in pairs(self.halted[id] or {}) do self.halted[other] = nil end
  end
  for _, one in pairs(self.held) do one.halted = nil end -- each is looked at again in its turn
end

-- The input of this name that objects call `value` was edited.
function M:input_changed(name, value)
  if not value then return end
  local id = name .. "=" .. value
  self.changed[id] = true
  if self.halted[id] then let_go(self, { id }) end
end

-- ---------------------------------------------------------------- children on their way

-- The child as it may be written now, and the policy digest to write on it.
function M:hold(key, handle, child, informer)
  local world = self.world
  if not (child.spec and child.spec.template) or world.dry_run then return child, world.digest end
  local child_key = child.metadata.namespace .. "/" .. child.metadata.name
  local there = informer:get(child_key)
  local mark = there and there.indexes.digest
  local wanted = M.mark(world.digest, child)
  local cause = mark and cause_of(mark, wanted)
  local live = mark and (cause or self.pinned[key]) and informer:read(child_key)
  local moving, pinned = self.moving[key], self.pinned[key]
  if not live then return settles(self, key, handle, child, wanted) end
  if live.spec.replicas == 0 or is_users_change(self, key, handle, cause, asked_by(informer, live), asked_by(informer, child)) then
    return passes(self, key, child, wanted)
  end
  if pinned and (pinned.cause == "policy" or pinned.failed == wanted) then return as_it_was(child, pinned.was), pinned.digest end
  if not M.would_restart(child, live, mark) then return settles(self, key, handle, child, wanted) end
  if moving and not moving.found then
    moving.wanted = wanted
    return child, wanted
  end
  return self:start_moving(key, handle, child, { was = as_it_is(live), digest = mark, was_failed = status_of(world, key).phase == "Failed",
    cause = cause or "policy", inputs = inputs_of(self, handle), wanted = wanted })
end

-- Whether one more may move now.
local function has_room(self)
  return not self.paused and next(self.unseen) == nil and self.moving_count < self.budget
end

-- The child with its new template if there is a free place; else as it is, until its turn.
function M:start_moving(key, handle, child, moved)
  local halted = is_halted(self, moved.cause, handle)
  self.pinned[key] = nil
  if halted or not has_room(self) then
    self.held[key] = { cause = moved.cause, halted = halted or nil }
    return as_it_was(child, moved.was), moved.digest
  end
  self.held[key], self.moving[key] = nil, moved
  self.moving_count = self.moving_count + 1
  local waiting = self:waiting() -- so far: nobody is known to wait when the first one moves, and a 0 would read as if it were the only one
  log.info(moved.cause == "policy" and "rollout: a model moves to the new policy" or "rollout: a model takes an edit of its group or instance type",
    { key = key, policy = self.world.digest, waiting = waiting > 0 and waiting or nil })
  return child, moved.wanted
end

function M:waiting()
  local n = 0
  for _ in pairs(self.held) do n = n + 1 end
  return n
end

-- Whether what is live is right for now: it waits for its turn, or went back.
function M:is_held(key)
  return self.held[key] ~= nil or self.pinned[key] ~= nil
end

local function release(self, key)
  self.moving[key] = nil
  self.moving_count = self.moving_count - 1
end

-- What a model that failed with its new template stops: -> the words for its Event.
local function stop(self, key, moved, message)
  if moved.cause ~= "policy" then
    moved.halts = suspects(self, moved)
    halt(self, moved.halts)
    return "with an edit of its group or instance type this model failed"
  end
  self.stopped = true
  if self.world.trial then self.world.trial:rollout_stopped(key, message) end
  return ("with the new policy (%s) this model failed"):format(self.world.digest)
end

-- Deployed counts only once the new template is in the cluster: before that it tells of the old one. -> the Event of a rollout
-- that was stopped by this, or nil
function M:observe(key, status)
  if not status then return end
  if self.unseen[key] and not self.moving[key] and status.phase == "Deploying" then
    self.moving[key] = { found = true, arrived = true, was_failed = true, cause = "policy" }
    self.moving_count = self.moving_count + 1
  end
  local moved = self.moving[key]
  if not moved then return end
  if (status.phase == "Deployed" and moved.arrived) or status.phase == "Stopped"
    or (status.phase == "Failed" and moved.was_failed) then
    release(self, key)
  elseif status.phase == "Failed" then
    release(self, key)
    moved.failed = moved.wanted
    self.pinned[key] = moved
    log.error(("rollout stopped: a model failed with %s and goes back to its old template"):format(moved.cause == "policy" and "the new policy"
      or "an edit of its group or instance type"), { key = key, policy = self.world.digest, why = status.message or "", waiting = self:waiting() })
    self.world:add(key)
    local words = stop(self, key, moved, status.message)
    return { type = "Warning", reason = "RolloutStopped",
      message = words .. ": it goes back to its old pod template, and models that have not moved yet keep theirs" }
  end
end

-- Whether some model that we moved is on its way, or one waits for its turn.
function M:is_busy()
  for _, moved in pairs(self.moving) do
    if not moved.found then return true end
  end
  return next(self.held) ~= nil
end

-- One at a time: who is woken takes the place, or passes and leaves it to the next.
function M:advance()
  if next(self.held) == nil or not has_room(self) then return end
  local key
  for name, one in pairs(self.held) do -- the first by name, so that a run can be repeated
    local may_go = not one.halted and not (one.cause == "policy" and self.stopped)
    if may_go and (not key or name < key) then key = name end
  end
  if not key then return end
  self.held[key] = nil
  self.world:add(key)
end

-- From now on nobody begins to move, until resume(): other policies may be swapped in soon, and would move it back.
function M:pause() self.paused = true end

function M:resume()
  self.paused = false
  self:advance()
end

function M:forget(key)
  if self.pinned[key] then let_go(self, self.pinned[key].halts) end
  self.held[key], self.pinned[key], self.unseen[key] = nil, nil, nil
  if self.moving[key] then release(self, key) end
end

return M
