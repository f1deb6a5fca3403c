-- A candidate decides every live object on paper, and what it would do there is counted.
--
-- Refused is a candidate that errs where the live policies do not, and one that would delete more than it was allowed to.
-- Told is how many models it would restart: a pod template that differs from the live one of a model that runs. The work
-- is done in slices, so that the loop serves everybody else in between; an object that comes or changes meanwhile meets
-- the candidate after the swap, where the trial watches (trial.lua).

local apply = require "apply"
local beside = require "beside"
local guard = require "guard"
local rollout = require "rollout"

local M = {}

local SLICE_SECONDS = 0.002
local NAMED_MOST = 5

local function slices()
  local began = loop.now()
  return function()
    if loop.now() - began < SLICE_SECONDS then return end
    loop.sleep(0)
    began = loop.now()
  end
end

local function owner_of(world, key, handle)
  local namespace, name = key:match("^(.-)/(.+)$")
  return { api_version = world.kind.api_version, kind = world.kind.kind, name = name, namespace = namespace, uid = handle.uid }
end

-- Whether writing this child restarts a model that runs.
local function restarts(world, view, key, owner, manifest)
  if not (type(manifest.spec) == "table" and manifest.spec.template) then return false end
  local informer = view.by_kind[manifest.kind]
  local child_key = owner.namespace .. "/" .. manifest.metadata.name
  local there = informer and informer:get(child_key)
  if not there or there.indexes.owner ~= owner.uid then return false end
  local child = apply.complete(manifest, owner, view.label)
  local notes = world.remembered[key]
  if notes and apply.is_settled(notes, informer, child) then return false end
  local live = informer:read(child_key)
  return live ~= nil and live.spec.replicas ~= 0 and rollout.would_restart(child, live, there.indexes.digest)
end

-- What of decision.prune is there and ours.
local function deletions_in(view, owner, decision)
  local found = {}
  for _, target in ipairs(decision.prune or {}) do
    local informer = view.by_kind[target.kind]
    local there = informer and informer:get(owner.namespace .. "/" .. target.name)
    if there and not there.deleting and there.indexes.owner == owner.uid then found[#found + 1] = target end
  end
  return found
end

local function names_target(decision, target)
  for _, other in ipairs(decision and decision.prune or {}) do
    if other.kind == target.kind and other.name == target.name then return true end
  end
  return false
end

local function take_deletions(view, live, key, owner, decision, result)
  local found = deletions_in(view, owner, decision)
  if #found == 0 then return end
  local present = live:decide((live:seen(key)))
  for _, target in ipairs(found) do
    if not names_target(present, target) then
      result.deletions[#result.deletions + 1] = ("%s %s/%s"):format(target.kind, owner.namespace, target.name)
    end
  end
end

-- The candidate's error on an object: a refusal, unless the live policies err on it too.
local function judge_error(live, key, failure, result)
  local seen = live:seen(key)
  if not seen or not live:decide(seen) then
    result.erring = result.erring + 1
    return nil
  end
  return { object = key, failure = failure, text = ("on %s, which the present policies decide: %s"):format(key, guard.sentence(failure)) }
end

local function one(world, view, live, key, result)
  local seen, handle = view:seen(key)
  if not seen then return nil end
  local decision, failure = view:decide(seen)
  if not decision and failure.outcome == "clock" then decision, failure = view:decide(seen) end -- never a verdict by itself
  result.objects = result.objects + 1
  if not decision then return judge_error(live, key, failure, result) end
  local owner = owner_of(world, key, handle)
  for _, manifest in ipairs(decision.children or {}) do
    if restarts(world, view, key, owner, manifest) then
      result.restarts = result.restarts + 1
      break
    end
  end
  take_deletions(view, live, key, owner, decision, result)
end

local function too_many_deletions(result, allowed)
  if #result.deletions <= allowed then return nil end
  local named = table.concat(result.deletions, ", ", 1, math.min(NAMED_MOST, #result.deletions))
  local more = #result.deletions > NAMED_MOST and (" and %d more"):format(#result.deletions - NAMED_MOST) or ""
  return { text = ("it would delete %d objects (%s%s), and reload.deletions of the settings allows %d: raise that in the same save if it is meant")
    :format(#result.deletions, named, more, allowed) }
end

-- (waits) world: the controller; candidate: {generation, declaration, settings, set, mistake (set meanwhile: it is refused anyway)};
-- deletions: how many are allowed.
-- {objects=, restarts=, erring= (the live policies err on them too), deletions={names}}; nil and a refusal {text=, object=, failure=}.
function M.decide_all(world, candidate, deletions)
  local result = { objects = 0, restarts = 0, erring = 0, deletions = {} }
  local view, live, breathe = beside.new(world, candidate), beside.new(world, world), slices()
  for _, key in ipairs(view.objects:keys()) do
    local refusal = one(world, view, live, key, result)
    if refusal then return nil, refusal end
    breathe()
    if candidate.mistake then return nil, { text = candidate.mistake.text } end
  end
  local clean, kept = candidate.generation:check_state()
  if not clean then return nil, { failure = kept, text = guard.sentence(kept) } end
  local refusal = too_many_deletions(result, deletions)
  if refusal then return nil, refusal end
  return result
end

return M
