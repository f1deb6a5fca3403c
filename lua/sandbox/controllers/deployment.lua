-- The Deployment controller: one look at a Deployment, and the next step towards what it asks for.
--
-- A step makes at most a few writes and then waits for what comes of them, as the real controller does: so that what a watcher sees
-- is the same sequence. Arithmetic is in replicas.lua, the ReplicaSets and their revisions in revisions.lua, the status in
-- progress.lua. Each function that writes returns the object as it then is; `nil` means that the API refused, and the
-- step is tried again later.

local common = require "sandbox.controllers.common"
local progress = require "sandbox.controllers.progress"
local replicas = require "sandbox.controllers.replicas"
local revisions = require "sandbox.controllers.revisions"

local ID, SETS = "deployments.apps", "replicasets.apps"
local SOURCE = "deployment-controller"
local NONE = {}
local with = common.with

-- Write status (and annotations, which the status subresource of Deployments takes too).
local function write_status(c, deployment, status, annotations)
  local record = c:write(ID, deployment.metadata.namespace, deployment.metadata.name, function(object)
    if object.metadata.uid ~= deployment.metadata.uid then return nil end
    local metadata = annotations and with(object.metadata, { annotations = with(object.metadata.annotations, annotations) })
      or object.metadata
    return with(object, { metadata = metadata, status = status })
  end)
  return record and record.object
end

local function write_set(c, set, change)
  local record = c:change(SETS, set.metadata.namespace, set.metadata.name, function(object)
    return object.metadata.uid == set.metadata.uid and change(object) or nil
  end)
  return record and record.object
end

-- Its ReplicaSets: those it owns, and those without an owner that its selector takes in. A set that no longer matches is let go.
local function claim(c, deployment)
  local metadata, selector = deployment.metadata, deployment.spec.selector
  local sets = json.array {}
  for _, set in ipairs(c.owners:controlled(metadata.uid, SETS, metadata.namespace)) do
    if common.matches(selector, set.metadata.labels) then
      sets[#sets + 1] = set
    elseif not metadata.deletionTimestamp then
      c:release(SETS, set, metadata.uid)
    end
  end
  if metadata.deletionTimestamp then return sets end
  for _, set in ipairs(c.owners:free(SETS, metadata.namespace)) do
    if not set.metadata.deletionTimestamp and common.matches(selector, set.metadata.labels) then
      sets[#sets + 1] = c:adopt(SETS, set, deployment)
    end
  end
  return sets
end

-- A view of the Deployment and its sets that the steps below pass on.
local function all_of(view)
  local all = table.move(view.old, 1, #view.old, 1, {})
  all[#all + 1] = view.new
  return all
end

local function keep(view, set)
  if view.new and view.new.metadata.uid == set.metadata.uid then view.new = set end
  for index, one in ipairs(view.old) do
    if one.metadata.uid == set.metadata.uid then view.old[index] = set end
  end
end

-- Give a set another size. `quiet` resizes annotations alone without an Event. -> whether the size changed
local function resize(c, view, set, size)
  local deployment, before = view.deployment, replicas.wanted(set)
  local notes = {}
  revisions.note_sizes(notes, deployment)
  local annotations = set.metadata.annotations or NONE
  if before == size and annotations[replicas.DESIRED] == notes[replicas.DESIRED] and annotations[replicas.MAX] == notes[replicas.MAX] then
    return false
  end
  local written = write_set(c, set, function(object)
    return with(object, { metadata = with(object.metadata, { annotations = with(object.metadata.annotations, notes) }),
      spec = with(object.spec, { replicas = size }) })
  end)
  if not written then
    view.failed = true
    return false
  end
  keep(view, written)
  if before == size then return false end
  c:event(SOURCE, deployment, "Normal", "ScalingReplicaSet",
    ("Scaled %s replica set %s to %d"):format(size > before and "up" or "down", set.metadata.name, size))
  return true
end

-- As resize, but leaves a set of that size as it is.
local function scale_to(c, view, set, size)
  return replicas.wanted(set) ~= size and resize(c, view, set, size)
end

local function note_revision(c, view, revision, condition)
  local deployment = view.deployment
  local annotations
  if (deployment.metadata.annotations or NONE)[revisions.REVISION] ~= revision then annotations = { [revisions.REVISION] = revision } end
  local status = deployment.status or NONE
  if condition then status = with(status, { conditions = progress.set_condition(status.conditions, condition) }) end
  if not annotations and not condition then return true end
  view.deployment = write_status(c, deployment, status, annotations)
  return view.deployment ~= nil
end

-- The new set exists: bring its annotations up to date, then the Deployment's revision.
local function sync_new_set(c, view, revision)
  local deployment, new = view.deployment, view.new
  local annotations = revisions.annotations(deployment, new, revision, true)
  local ready = deployment.spec.minReadySeconds
  if not json.equal(annotations, new.metadata.annotations or NONE) or (new.spec.minReadySeconds or 0) ~= (ready or 0) then
    local written = write_set(c, new, function(object)
      return with(object, { metadata = with(object.metadata, { annotations = annotations }),
        spec = with(object.spec, { minReadySeconds = ready or common.ABSENT }) })
    end)
    if not written then return false end
    view.new = written
    return true
  end
  local condition
  if progress.deadline(deployment) and not common.condition(deployment.status, "Progressing") then
    condition = progress.new_condition("Progressing", "True", "FoundNewReplicaSet",
      ('Found new replica set "%s"'):format(new.metadata.name), c.w:time())
  end
  return note_revision(c, view, annotations[revisions.REVISION], condition)
end

-- The API refused the new set.
local function creation_failed(c, view, set, failure)
  local deployment = view.deployment
  if failure.reason == "AlreadyExists" then
    local taken = c.w:get(SETS, set.metadata.namespace, set.metadata.name)
    local owner = taken and common.controller_of(taken.object)
    if owner and owner.uid == deployment.metadata.uid and revisions.same_template(taken.object.spec.template, deployment.spec.template) then
      view.new = taken.object
      return note_revision(c, view, taken.object.metadata.annotations[revisions.REVISION])
    end
    local status = deployment.status or NONE
    write_status(c, deployment, with(status, { collisionCount = (status.collisionCount or 0) + 1 }))
    return false
  end
  if c:is_terminating(deployment.metadata.namespace) then return false end
  local message = ('Failed to create new replica set "%s": %s'):format(set.metadata.name, failure.message)
  if progress.deadline(deployment) then
    local status = deployment.status or NONE
    write_status(c, deployment, with(status, { conditions = progress.set_condition(status.conditions,
      progress.new_condition("Progressing", "False", "ReplicaSetCreateError", message, c.w:time())) }))
  end
  c:event(SOURCE, deployment, "Warning", "ReplicaSetCreateError", message)
  return false
end

local function create_new_set(c, view, revision)
  local deployment = view.deployment
  local set = revisions.make(deployment, revision)
  local all = all_of(view)
  all[#all + 1] = set
  set.spec.replicas = replicas.new_size(deployment, all, set)
  local size = set.spec.replicas
  local record, failure = c:create(SETS, set.metadata.namespace, set)
  if not record then return creation_failed(c, view, set, failure) end
  view.new = record.object
  local name = record.name
  if size > 0 then
    c:event(SOURCE, deployment, "Normal", "ScalingReplicaSet", ("Scaled up replica set %s to %d"):format(name, size))
  end
  local condition = progress.deadline(deployment)
    and progress.new_condition("Progressing", "True", "NewReplicaSetCreated", ('Created new replica set "%s"'):format(name), c.w:time())
  return note_revision(c, view, tostring(revision), condition)
end

-- Find the new set and settle revisions; make it if asked to. false: try again later.
local function sync_sets(c, view, create)
  local revision = revisions.next_revision(view.old)
  if view.new then return sync_new_set(c, view, revision) end
  return not create or create_new_set(c, view, revision)
end

-- Old sets without pods beyond revisionHistoryLimit go, the oldest first.
local function clean_up(c, view)
  local limit = view.deployment.spec.revisionHistoryLimit
  if not limit or limit == 2147483647 then return end
  local candidates = common.filter(view.old, function(set) return not set.metadata.deletionTimestamp end)
  local surplus = #candidates - limit
  for index, set in ipairs(surplus > 0 and replicas.by_age(candidates) or NONE) do
    local status = set.status or NONE
    if index > surplus then break end
    if (status.replicas or 0) == 0 and replicas.wanted(set) == 0 and set.metadata.generation <= (status.observedGeneration or 0) then
      c:delete(SETS, set.metadata.namespace, set.metadata.name, set.metadata.uid)
    end
  end
end

-- Status

local function put_status(c, view, status)
  local deployment = view.deployment
  if json.equal(status, deployment.status or NONE) then return deployment end
  return write_status(c, deployment, status)
end

local function sync_status(c, view)
  return put_status(c, view, progress.calculate(view.deployment, all_of(view), view.new, c.w:time())) ~= nil
end

local function rollout_status(c, view)
  if view.failed then return false end
  local written = put_status(c, view, progress.of_rollout(view.deployment, all_of(view), view.new, c.w))
  if not written then return false end
  local after = progress.check_after(written, c.w)
  if after then c:after(after, "deployment", common.key(written)) end
  return true
end

-- Steps

-- Sizes only: a paused Deployment, or one whose size was changed.
local function scale(c, view)
  local deployment, new, old = view.deployment, view.new, view.old
  local alone = replicas.active_or_latest(new, old)
  if alone then return scale_to(c, view, alone, replicas.wanted(deployment)) end
  if replicas.is_saturated(deployment, new) then
    for _, set in ipairs(replicas.active(old)) do scale_to(c, view, set, 0) end
  elseif replicas.is_rolling(deployment) then
    for _, one in ipairs(replicas.proportional(deployment, replicas.active(all_of(view)))) do resize(c, view, one.set, one.size) end
  end
end

local function sync_sizes(c, view)
  if not sync_sets(c, view, false) then return false end
  scale(c, view)
  if view.failed then return false end
  if view.deployment.spec.paused == true then clean_up(c, view) end
  return sync_status(c, view)
end

-- Whether `replicas` changed since the sets were last told.
local function is_resized(view)
  for _, set in ipairs(replicas.active(all_of(view))) do
    local noted = replicas.annotated(set, replicas.DESIRED)
    if noted and noted ~= replicas.wanted(view.deployment) then return true end
  end
  return false
end

-- Take `most` unhealthy pods from old sets, the oldest first: they serve nobody. -> how many; nil when a set has not come down yet
-- to what it was told to be: what it says of its pods is old, and nothing may be reckoned with it.
local function drop_unhealthy(c, view, old, most)
  local total = 0
  for _, set in ipairs(replicas.by_age(old)) do
    local missing = replicas.wanted(set) - ((set.status or NONE).availableReplicas or 0)
    if total >= most then break end
    if replicas.wanted(set) > 0 and missing < 0 then return nil end
    if replicas.wanted(set) > 0 and missing > 0 then
      local count = math.min(most - total, missing)
      scale_to(c, view, set, replicas.wanted(set) - count)
      total = total + count
    end
  end
  return total
end

local function drop_healthy(c, view, most_missing)
  local deployment = view.deployment
  local spare = replicas.sum(all_of(view), "availableReplicas") - (replicas.wanted(deployment) - most_missing)
  local total = 0
  for _, set in ipairs(replicas.by_age(replicas.active(view.old))) do
    if total >= spare then break end
    local count = math.min(replicas.wanted(set), spare - total)
    scale_to(c, view, set, replicas.wanted(set) - count)
    total = total + count
  end
  return total
end

-- -> whether old sets were made smaller
local function shrink_old(c, view)
  local old, new, deployment = replicas.active(view.old), view.new, view.deployment
  if #old == 0 then return false end
  local most_missing = replicas.max_unavailable(deployment)
  local new_missing = replicas.wanted(new) - ((new.status or NONE).availableReplicas or 0)
  local most = replicas.sum(all_of(view)) - (replicas.wanted(deployment) - most_missing) - new_missing
  if most <= 0 then return false end
  local dropped = drop_unhealthy(c, view, old, most)
  return dropped ~= nil and dropped + drop_healthy(c, view, most_missing) > 0
end

local function roll(c, view)
  if not sync_sets(c, view, true) then return false end
  local deployment = view.deployment
  local size = math.min(replicas.new_size(deployment, all_of(view), view.new), replicas.wanted(deployment))
  if not scale_to(c, view, view.new, size) and not shrink_old(c, view) and progress.is_complete(deployment, deployment.status or NONE) then
    clean_up(c, view)
  end
  return rollout_status(c, view)
end

-- Whether pods of old sets are still there (whatever they do, as long as they are not finished).
local function old_pods_run(c, view)
  if replicas.sum(view.old, "replicas") > 0 then return true end
  for _, set in ipairs(view.old) do
    for _, pod in ipairs(c.owners:controlled(set.metadata.uid, "pods", set.metadata.namespace)) do
      if not common.is_finished(pod) then return true end
    end
  end
  return false
end

local function recreate(c, view)
  if not sync_sets(c, view, false) then return false end
  local shrunk = false
  for _, set in ipairs(replicas.active(view.old)) do shrunk = scale_to(c, view, set, 0) or shrunk end
  if shrunk or old_pods_run(c, view) then return rollout_status(c, view) end
  if not view.new and not sync_sets(c, view, true) then return false end
  scale_to(c, view, view.new, replicas.wanted(view.deployment))
  if progress.is_complete(view.deployment, view.deployment.status or NONE) then clean_up(c, view) end
  return rollout_status(c, view)
end

-- One step for "namespace/name". -> false: the API refused something, try again later
return function(c, key)
  local namespace, name = common.split(key)
  local record = c.w:get(ID, namespace, name)
  if not record then return true end
  local view = { deployment = record.object }
  view.new, view.old = revisions.split(view.deployment, claim(c, view.deployment))
  if view.deployment.metadata.deletionTimestamp then return sync_sets(c, view, false) and sync_status(c, view) end
  local conditions = progress.of_pause(view.deployment, c.w:time())
  if conditions then
    view.deployment = write_status(c, view.deployment, with(view.deployment.status, { conditions = conditions }))
    if not view.deployment then return false end
  end
  if view.deployment.spec.paused == true then return sync_sizes(c, view) end
  if not sync_sets(c, view, false) then return false end
  if is_resized(view) then return sync_sizes(c, view) end
  if replicas.is_rolling(view.deployment) then return roll(c, view) end
  return recreate(c, view)
end
