-- How many pods each ReplicaSet of a Deployment may have: the arithmetic of rolling updates.
--
-- Rules of https://kubernetes.io/docs/concepts/workloads/controllers/deployment/ : maxSurge is rounded up, maxUnavailable down,
-- and if both come to nothing one pod may be missing; while a rollout is under way a change of size is shared
-- out in proportion to what each ReplicaSet has. Pure functions on objects.

local common = require "sandbox.controllers.common"

local M = {}

M.DESIRED = "deployment.kubernetes.io/desired-replicas"
M.MAX = "deployment.kubernetes.io/max-replicas"

local NONE = {}

function M.wanted(object) return object.spec.replicas or 1 end
local wanted = M.wanted

function M.is_rolling(deployment)
  return (deployment.spec.strategy or NONE).type ~= "Recreate"
end

local function fenceposts(deployment)
  local rolling, total = (deployment.spec.strategy or NONE).rollingUpdate or NONE, wanted(deployment)
  local surge = common.scaled(rolling.maxSurge or 0, total, math.ceil)
  local unavailable = common.scaled(rolling.maxUnavailable or 0, total, math.floor)
  if surge == 0 and unavailable == 0 then unavailable = 1 end
  return surge, unavailable
end

function M.max_surge(deployment)
  if not M.is_rolling(deployment) then return 0 end
  return (fenceposts(deployment))
end

function M.max_unavailable(deployment)
  if not M.is_rolling(deployment) or wanted(deployment) == 0 then return 0 end
  local _, unavailable = fenceposts(deployment)
  return math.min(unavailable, wanted(deployment))
end

-- Sum of a number of each set: of its spec (nil) or of a field of its status.
function M.sum(sets, field)
  local total = 0
  for _, set in ipairs(sets) do
    total = total + (field and ((set.status or NONE)[field] or 0) or wanted(set))
  end
  return total
end

-- Sets that have, or want, pods.
function M.active(sets)
  return common.filter(sets, function(set) return wanted(set) > 0 end)
end

-- Oldest first; of one second, by name.
function M.by_age(sets)
  local sorted = table.move(sets, 1, #sets, 1, {})
  table.sort(sorted, function(a, b)
    local one, two = a.metadata.creationTimestamp, b.metadata.creationTimestamp
    if one ~= two then return one < two end
    return a.metadata.name < b.metadata.name
  end)
  return sorted
end

-- What the new set should have now, given all sets.
function M.new_size(deployment, sets, new)
  if not M.is_rolling(deployment) then return wanted(deployment) end
  local most, present = wanted(deployment) + M.max_surge(deployment), M.sum(sets)
  if present >= most then return wanted(new) end
  return wanted(new) + math.min(most - present, wanted(deployment) - wanted(new))
end

local function annotated(set, name)
  return math.tointeger(tonumber((set.metadata.annotations or NONE)[name]))
end
M.annotated = annotated

-- Whether the new set carries the Deployment alone.
function M.is_saturated(deployment, new)
  local total = wanted(deployment)
  return new ~= nil and annotated(new, M.DESIRED) == total and wanted(new) == total
    and (new.status.availableReplicas or 0) == total
end

-- The set that carries everything (if only one has pods), or the newest when none has; nil when several have.
function M.active_or_latest(new, old)
  if not new and #old == 0 then return nil end
  local all = table.move(old, 1, #old, 1, {})
  all[#all + 1] = new
  local active = M.active(all)
  if #active == 0 then return new or M.by_age(old)[#old] end
  return #active == 1 and active[1] or nil
end

local function round(x)
  return math.tointeger(x < 0 and math.ceil(x - 0.5) or math.floor(x + 0.5))
end

local function share(deployment, set)
  if wanted(deployment) == 0 then return -wanted(set) end
  local most = annotated(set, M.MAX) or (deployment.status or NONE).replicas or 0
  if most == 0 then return 0 end
  return round(wanted(set) * (wanted(deployment) + M.max_surge(deployment)) / most) - wanted(set)
end

-- When a Deployment is resized in the middle of a rollout: array of { set, size }.
function M.proportional(deployment, sets)
  local total, order = wanted(deployment), M.by_age(sets)
  local add = (total > 0 and total + M.max_surge(deployment) or 0) - M.sum(sets)
  -- The larger first; of one size, the newer first when growing, the older first when shrinking.
  local age = {}
  for index, set in ipairs(order) do age[set] = add > 0 and -index or index end
  table.sort(order, function(a, b)
    if wanted(a) ~= wanted(b) then return wanted(a) > wanted(b) end
    return age[a] < age[b]
  end)
  local sizes, added = {}, 0
  for index, set in ipairs(order) do
    local part = 0
    if add ~= 0 and wanted(set) > 0 and add ~= added then
      part = share(deployment, set)
      part = add > 0 and math.min(part, add - added) or math.max(part, add - added)
    end
    sizes[index], added = { set = set, size = wanted(set) + part }, added + part
  end
  if sizes[1] and add ~= 0 then sizes[1].size = math.max(sizes[1].size + add - added, 0) end
  return sizes
end

return M
