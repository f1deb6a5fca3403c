-- Quota: may this pod be created, or would its group use more than it may?
--
-- Two pure functions. `uses` says what a pod counts for, `admit` compares the group's use, with this pod, to its quota
-- (PhGroup spec.quota). The host asks them in its admission webhook (`moonphase run --webhook-addr`), adds up what
-- the pods use that it sees or has just admitted, and turns an answer with `refused`, or an error in here, into a refusal.
-- Quantities are texts and calculated with exactly: 1G is 1000000000, 1Gi is 1073741824, 0.1 + 0.2 is 300m.

local M = {}

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

-- review: {pod, group = {state = "found"|"missing"|"ambiguous"|"unknown", label, name, quota, objects}, used = {resource = quantity},
-- settings}. Answers {uses} when the pod may be created, {uses, refused = name of the row, code, message} when not.
function M.admit(review)
  local uses = M.uses(review.pod, review.settings)
  local r = { group = review.group, used = review.used, uses = uses }
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
  local r = { group = review.group, used = review.used, uses = review.uses }
  for _, row in ipairs(REFUSALS) do
    if row.when(r) then return false end
  end
  return true
end

return M
