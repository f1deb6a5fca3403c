-- How many of the objects that share a group come before this one, where the group bounds how many may run.
--
-- An input may declare `limit`, the path of such a bound ("spec.maxDeployments" of a PhGroup). Only then, and only for objects of
-- a group that has one, the others are looked at: from the caches' indexes, without decoding any. Those that run come
-- before those that do not yet, the older before the younger. So whoever runs keeps its place, and a place that becomes
-- free goes to the one that was created first. What is stopped, scaled to 0 or being deleted takes no place.
--
-- Whoever was told that there are too many before it is remembered as crowded, so that it is looked at again when another stops.

local M = {}

-- Indexes that this needs: of the objects, of their children, of an input with a limit.
M.OBJECT = { ["@created"] = { "metadata.creationTimestamp" }, ["@stop"] = { "=spec.stop" }, ["@replicas"] = { "=spec.replicas" },
  ["@first"] = { "=spec.predictors.*.replicas" } }
M.CHILD = { replicas = { "=spec.replicas" } }
function M.input(kind) return kind.limit and { "=" .. kind.limit } or nil end

-- The kind of child that runs an object's pods.
local RUNS = "Deployment"

local function runs(world, key, handle)
  local children = world.by_kind[RUNS]
  if not children then return false end
  local namespace, name = key:match("^(.-)/(.+)$")
  for _, child_key in ipairs(children:find(namespace, "parent", name)) do
    local child = children:get(child_key)
    if child and child.indexes.owner == handle.uid and (child.indexes.replicas or "1") ~= "0" then return true end
  end
  return false
end

-- Whether it is wanted to run, and so takes a place. handle: what world.objects has of it.
function M.takes_place(handle)
  local indexes = handle.indexes
  return not handle.deleting and indexes["@stop"] ~= "true" and (indexes["@replicas"] or indexes["@first"]) ~= "0"
end

local function place_of(world, key, handle)
  return { key = key, runs = runs(world, key, handle), created = handle.indexes["@created"] or "" }
end

local function is_before(a, b)
  if a.runs ~= b.runs then return a.runs end
  if a.created ~= b.created then return a.created < b.created end
  return a.key < b.key
end

-- How many objects come before `key` (handle: what world.objects has of it); nil where nothing bounds them.
function M.count(world, key, handle)
  for name, input in pairs(world.inputs) do
    local wanted = handle.indexes[name]
    local limit = wanted and input:limit(world, key, handle)
    if limit then
      local own, before = place_of(world, key, handle), 0
      for _, other_key in ipairs(world.objects:find_anywhere(name, wanted)) do
        local other = other_key ~= key and world.objects:get(other_key)
        if other and M.takes_place(other) and is_before(place_of(world, other_key, other), own) then
          before = before + 1
        end
      end
      M.remember(world, name, wanted, key, before >= limit)
      return before
    end
  end
end

function M.remember(world, name, value, key, is_crowded)
  local crowded = world.crowded
  if not crowded then return end -- a policy on paper wakes nobody
  local id = name .. "/" .. value
  if is_crowded then
    crowded[id] = crowded[id] or {}
    crowded[id][key] = true
  elseif crowded[id] then
    crowded[id][key] = nil
    if next(crowded[id]) == nil then crowded[id] = nil end
  end
end

-- An object of these indexes (a side of a change) may have made room, or taken it: those that had none are looked at again.
function M.wake(world, side)
  if not side or next(world.crowded) == nil then return end
  for name in pairs(world.inputs) do
    local value = side.indexes[name]
    for key in pairs(value and world.crowded[name .. "/" .. value] or {}) do world:add(key, true) end
  end
end

return M
