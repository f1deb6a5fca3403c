-- Quota: may this pod be created, or would its group use more than it may?
--
-- Two pure functions. `uses` says what a pod counts for, `admit` compares the group's use, with this pod, to its quota
-- (PhGroup spec.quota). The host asks them in its admission webhook (`moonphase run --webhook-addr`), adds up what
-- the pods use that it sees or has just admitted, and turns an answer with `refused`, or an error in here, into a refusal.
-- Quantities are texts and calculated with exactly: 1G is 1000000000, 1Gi is 1073741824, 0.1 + 0.2 is 300m.
--
-- Who comes first, when it does not suffice for all:
--   1. A deployment that runs keeps its place: what a pod of its own took a moment ago is kept for the pod that replaces it.
--   2. Of those that wait, the oldest comes first: a younger one is refused while what is left would do for an older one, now or
--      when the pods that are ending have gone.
--   3. Nothing is kept for one that could not start even then. So a small deployment may run beside a large one that waits in vain, and
--      one that can never fit keeps nobody waiting. The price: the large one has to wait until enough is free at once.

local primehub = require "primehub"

local M = {}

-- Where groups and their quotas are asked, when the settings name PrimeHub's GraphQL server; else they are PhGroup objects.
M.groups = primehub.GROUPS

-- Pods with this label are asked about, and count. Its value is the escaped name of the group.
M.label = "primehub.io/group"

-- What of a pod is looked at. (The host keeps no more of it.)
M.keep = {
  "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels[primehub.io/group]",
  "spec.containers.*.resources", "spec.initContainers.*.resources", "spec.initContainers.*.restartPolicy",
  "spec.resources", "spec.overhead", "status.phase",
}

-- A pod that has ended holds nothing, though it may stay as an object. One that is being deleted holds all until it is gone.
local ENDED = { Succeeded = true, Failed = true }

-- Which amount of a container counts, by the setting quota.counts: the first that it has.
local COUNTS = {
  limits = { "limits", "requests" },
  requests = { "requests", "limits" },
}

-- In this order resources are compared, and then the others by name. Amounts of those in BYTES are shown as 8Gi.
local FIRST = { "cpu", "memory" }
local BYTES = { memory = true, ["ephemeral-storage"] = true }

-- Why a pod is refused: the first row that holds. `code` is the HTTP status that the creator of the pod sees; {names} are taken
-- from what `when` returned. The words "exceeded ... quota" are those that failures.lua looks for.
local REFUSALS = {
  { name = "GroupNotFound", code = 403, message = "Group not found: {group}",
    when = function(r) return r.group.state == "missing" and { group = r.group.name or r.group.label } end },
  { name = "GroupAmbiguous", code = 403, message = "Group is ambiguous: {objects} have the same name",
    when = function(r) return r.group.state == "ambiguous" and { objects = table.concat(r.group.objects, ", ") } end },
  { name = "GroupUnknown", code = 503, message = "Group {group} cannot be looked up now: try again",
    when = function(r) return r.group.state == "unknown" and not r.group.quota and { group = r.group.name or r.group.label } end },
  { name = "QuotaInvalid", code = 403, message = "Group {group} has a quota that cannot be read: {resource} is {quota}",
    when = function(r) return M.wrong_quota(r) end },
  { name = "QuotaExceeded", code = 403,
    message = "Group {group} exceeded {resource} quota: {quota}, requesting {requested}, used: {used}, limited: {quota}",
    when = function(r) return M.exceeded(r) end },
  { name = "OlderFirst", code = 403,
    message = "Group {group} exceeded {resource} quota: {quota}, requesting {requested}, used: {used}, limited: {quota}; what is left is "
      .. "kept for deployments that come first",
    when = function(r) return M.kept_back(r) end },
}

-- ---------------------------------------------------------------- what a pod counts for

local function checked(name, amount)
  if type(name) ~= "string" then error("amounts are no map of resources", 0) end
  local sign, why = quantity.compare(amount, "0")
  if not sign then error(("the amount of %s is no quantity: %s"):format(name, why), 0) end
  if sign < 0 then error(("the amount of %s is below zero"):format(name), 0) end
  return amount
end

local function add(sum, amounts)
  for name, amount in pairs(amounts) do
    sum[name] = quantity.add(sum[name] or "0", checked(name, amount))
  end
  return sum
end

-- Of each resource the larger amount.
local function larger(one, other)
  for name, amount in pairs(other) do
    if not one[name] or quantity.compare(amount, one[name]) > 0 then one[name] = amount end
  end
  return one
end

-- What a container (or the pod as a whole) says that counts: {resource = quantity}.
local function amounts(of, lists)
  local found = {}
  local said = of.resources or {}
  if type(said) ~= "table" then error("resources are no map", 0) end
  for i = #lists, 1, -1 do -- the first list last: it wins
    for name, amount in pairs(said[lists[i]] or {}) do found[name] = checked(name, amount) end
  end
  return found
end

-- As the scheduler counts (Kubernetes, "Init Containers: resource sharing"; KEP-753 for sidecars, KEP-2837 for resources of the
-- pod as a whole, KEP-688 for overhead): all containers and sidecars together; or, if that is more, an init container beside the
-- sidecars that run before it.
function M.uses(pod, settings)
  if ENDED[pod.status and pod.status.phase] then return {} end
  local lists = COUNTS[settings.quota.counts]
  if not lists then error(("the setting quota.counts is %q: it is limits or requests"):format(tostring(settings.quota.counts)), 0) end
  local spec = pod.spec or {}
  local together, sidecars, start = {}, {}, {}
  for _, container in ipairs(spec.initContainers or {}) do
    local own = amounts(container, lists)
    if container.restartPolicy == "Always" then
      add(sidecars, own)
      larger(start, sidecars)
    else
      larger(start, add(add({}, sidecars), own))
    end
  end
  for _, container in ipairs(spec.containers or {}) do add(together, amounts(container, lists)) end
  local all = larger(add(together, sidecars), start)
  for name, amount in pairs(amounts(spec, lists)) do all[name] = amount end
  return add(all, spec.overhead or {})
end

-- ---------------------------------------------------------------- what a group may use

-- The resources of a quota, in the order in which they are compared.
local function ordered(quota)
  local names, given = {}, {}
  for _, name in ipairs(FIRST) do
    if quota[name] ~= nil then names[#names + 1] = name end
    given[name] = true
  end
  local others = {}
  for name in pairs(quota) do
    if not given[name] then others[#others + 1] = name end
  end
  table.sort(others)
  for _, name in ipairs(others) do names[#names + 1] = name end
  return names
end

-- An amount for people: 8Gi, 500m, 3.
local function shown(name, amount)
  local units = BYTES[name] and quantity.units(amount)
  if units and quantity.compare(units, amount) == 0 then return resources.memory_text(units) end
  return quantity.add(amount, "0")
end

function M.wrong_quota(r)
  for _, name in ipairs(ordered(r.group.quota or {})) do
    local limit = r.group.quota[name]
    if not quantity.compare(limit, "0") then return { group = r.group.name, resource = name, quota = tostring(limit) } end
  end
  return nil
end

-- What the pod does not ask for cannot be too much: a group that is over its quota already may still run what needs none of it.
function M.exceeded(r)
  for _, name in ipairs(ordered(r.group.quota or {})) do
    local limit, asked, used = r.group.quota[name], r.uses[name], r.used[name] or "0"
    if asked and quantity.compare(asked, "0") > 0 and quantity.compare(quantity.add(used, asked), limit) > 0 then
      return { group = r.group.name, resource = name, quota = shown(name, limit), requested = shown(name, asked), used = shown(name, used) }
    end
  end
  return nil
end

-- ---------------------------------------------------------------- who comes first

local function times(amount, count)
  local sum = "0"
  while count > 0 do
    if count % 2 == 1 then sum = quantity.add(sum, amount) end
    amount, count = quantity.add(amount, amount), count // 2
  end
  return sum
end

-- Whether a pod that counts for `uses` can be added to what is `used`.
local function has_room(quota, used, uses)
  for name, limit in pairs(quota) do
    local asked = uses[name]
    local wants = asked and quantity.compare(asked, "0") > 0
    if wants and quantity.compare(quantity.add(used[name] or "0", asked), limit) > 0 then return false end
  end
  return true
end

-- What is kept of the quota for those in r.ahead: {resource = quantity}. Each of them comes after those before it.
local function kept(r)
  local quota, sum, soon = r.group.quota, {}, {}
  for name in pairs(quota) do
    sum[name], soon[name] = "0", quantity.sub(r.used[name] or "0", (r.ending or {})[name] or "0")
  end
  for _, one in ipairs(r.ahead) do
    if one.keeps or has_room(quota, soon, one.uses) then
      for name in pairs(quota) do
        local amount = times(one.uses[name] or "0", one.count)
        sum[name], soon[name] = quantity.add(sum[name], amount), quantity.add(soon[name], amount)
      end
    end
  end
  return sum
end

-- Whether nothing of `uses` is more than in `place`.
local function is_within(uses, place)
  for name, amount in pairs(uses) do
    if quantity.compare(amount, place[name] or "0") > 0 then return false end
  end
  return true
end

-- Too much beside what is kept for others. Whoever has a place of its own, and asks for no more, needs to mind the places of
-- others only.
function M.kept_back(r)
  if not r.ahead or #r.ahead == 0 or not r.group.quota then return nil end
  local ahead = r.ahead
  if r.place and is_within(r.uses, r.place) then
    ahead = {}
    for _, one in ipairs(r.ahead) do
      if one.keeps then ahead[#ahead + 1] = one end
    end
  end
  local used = {}
  for name, amount in pairs(kept { group = r.group, used = r.used, ending = r.ending, ahead = ahead }) do
    used[name] = quantity.add(amount, r.used[name] or "0")
  end
  local evidence = M.exceeded { group = r.group, uses = r.uses, used = used }
  if evidence then evidence.used = shown(evidence.resource, r.used[evidence.resource] or "0") end
  return evidence
end

-- review: {pod, group = {state = "found"|"missing"|"ambiguous"|"unknown", label, name, quota, objects}, used = {resource = quantity},
-- settings}, and when others come first: ahead = array of {uses, count, keeps = whether it has run and keeps its place}, ending = {what
-- the pods use that are ending}, place = {what is kept for the deployment of this pod}.
-- Answers {uses} when the pod may be created, {uses, refused = name of the row, code, message} when not.
---@param review QuotaReview
---@return QuotaAnswer
function M.admit(review)
  local uses = M.uses(review.pod, review.settings)
  local r = { group = review.group, used = review.used, uses = uses, ahead = review.ahead, ending = review.ending, place = review.place }
  for _, row in ipairs(REFUSALS) do
    local evidence = row.when(r)
    if evidence then
      return { uses = uses, refused = row.name, code = row.code, message = text.fill(row.message, evidence) }
    end
  end
  return { uses = uses }
end

-- Whether a pod that counts for `uses` would be admitted now: asked for pods that wait, before they are tried again.
function M.fits(review)
  for _, row in ipairs(REFUSALS) do
    if row.when(review) then return false end
  end
  return true
end

return M
