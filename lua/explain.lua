-- Why an object is in its phase: what is decided about it now, on what, and what was done about it last.
--
-- A decision is a pure function of what is seen: it is made anew when somebody asks, with a record of the rows that were tried. A running
-- operator answers from its caches (of_controller); where none does, the same is made of the cluster's own state by a view
-- that only reads (of_view): what the operator remembers (its writes and their answers, its turn in a rollout) is not there
-- then, and who wrote the children last stands in their managedFields.

local informers = require "informers"
local masked = require "masked"
local observe = require "observe"
local writes = require "writes"

local M = {}

-- Seconds since the server last said anything on these watches: what is known is so old at most.
local function silence(list)
  local age
  for _, watch in ipairs(list) do
    local of_one = watch:stats().last_byte_age
    if of_one and of_one >= 0 then age = math.max(age or 0, of_one) end
  end
  return age and math.floor(age * 10 + 0.5) / 10
end

local function watched_input(input, key, handle)
  local wanted, namespace = handle.indexes[input.name], input:place(key:match "^(.-)/")
  local keys = wanted and input.informers:find(namespace, "identity", wanted) or {}
  local found = #keys == 1 and input.informers:get(keys[1])
  return { key = found and keys[1], namespace = namespace, resourceVersion = found and found.version, age = silence(input.informers.list),
    trouble = input.informers:trouble() }
end

-- Each input: {name, wanted, state, key, namespace (where it is looked for), resourceVersion, age (seconds), trouble, message}.
local function inputs_of(world, key, handle)
  local list = json.array {}
  for name, input in pairs(world.inputs) do
    local answer = input:answer(world, key, handle)
    local one = { name = name, wanted = handle.indexes[name], state = answer.state, age = answer.age, message = answer.message,
      reason = answer.reason }
    if input.informers then
      for field, value in pairs(watched_input(input, key, handle)) do one[field] = value end
    end
    list[#list + 1] = one
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

-- The children that are there: {kind, name, resourceVersion, generation, digest}.
local function children_of(world, key, handle)
  local namespace, name = key:match("^(.-)/(.+)$")
  local list = json.array {}
  for _, informer in pairs(world.children) do
    for _, child_key in ipairs(informer:find(namespace, "parent", name)) do
      local child = informer:get(child_key)
      if child and child.indexes.owner == handle.uid then
        list[#list + 1] = { kind = informer.kind.kind, name = child_key:match("[^/]+$"), resourceVersion = child.version,
          generation = child.generation, policy = child.indexes.digest and child.indexes.digest:match "^[^.]*" }
      end
    end
  end
  table.sort(list, function(a, b) return a.kind .. "/" .. a.name < b.kind .. "/" .. b.name end)
  return list
end

-- What the object says now, as far as people compare it.
local function told(world, key)
  local object = world.objects:read(key)
  local status = object and type(object.status) == "table" and object.status or {}
  return { phase = status.phase, reason = status.reason, message = status.message, observedGeneration = status.observedGeneration }
end

-- decide(seen) with the fullest record that fits into the budget of one call.
local function decide(seen_of, decide_on)
  local decision, failure
  for _, trace in ipairs { "all", true } do
    local seen = seen_of()
    if not seen then return nil end
    seen.trace = trace
    decision, failure = decide_on(seen)
    if decision or failure.outcome ~= "budget" and failure.outcome ~= "clock" then break end
  end
  if decision then decision.children = masked.children(decision.children) end
  return decision, failure
end

-- What a running operator (controller.lua) says about a key; nil if there is no such object.
function M.of_controller(world, key)
  local handle = world.objects and world.objects:get(key)
  if not handle then return nil end
  local decision, failure = decide(function() return observe.seen(world, key, handle) end,
    function(seen) return world.guard:decide(seen) end)
  return { key = key, generation = handle.generation, resourceVersion = handle.version, decision = decision or nil,
    failure = failure or nil, problems = world.problems[key] and json.array(world.problems[key]) or nil, last_error = world.last_error[key],
    held = world.rollout:is_held(key) or nil, policy = { digest = world.digest }, status = told(world, key),
    inputs = inputs_of(world, key, handle), children = children_of(world, key, handle), writes = writes.list(world.remembered[key]) }
end

-- ---------------------------------------------------------------- computed from the cluster

local FIELDS_MOST = 10

-- Who wrote an object and when, of its managedFields, the newest first: {manager, operation, subresource, time}.
local function writers(object)
  local list = {}
  for _, entry in ipairs(type(object.metadata.managedFields) == "table" and object.metadata.managedFields or {}) do
    if #list < FIELDS_MOST then
      list[#list + 1] = { manager = tostring(entry.manager), operation = tostring(entry.operation), subresource = entry.subresource,
        time = type(entry.time) == "string" and entry.time or "" }
    end
  end
  table.sort(list, function(a, b) return a.time > b.time end)
  return list
end

-- (waits) The last writes of the object and its children, as the cluster tells of them: {kind, name, manager, operation, subresource,
-- time}.
local function written(view, key, children)
  local namespace, name = key:match("^(.-)/(.+)$")
  local places, list = { { view.kind, name } }, json.array {}
  for _, child in ipairs(children) do
    local informer = view.paper.by_kind[child.kind]
    places[#places + 1] = { informer.kind, child.name }
  end
  for _, place in ipairs(places) do
    local answer = view.cluster:request { path = informers.path(place[1], namespace, place[2]) }
    local object = answer and answer.status == 200 and json.decode(answer.body)
    for _, one in ipairs(type(object) == "table" and type(object.metadata) == "table" and writers(object) or {}) do
      one.kind, one.name = place[1].kind, place[2]
      list[#list + 1] = one
    end
  end
  table.sort(list, function(a, b)
    if a.time ~= b.time then return a.time > b.time end
    return a.kind .. a.manager < b.kind .. b.manager
  end)
  return list
end

-- (waits) The same, computed from the cluster by a view (plan/view.lua); nil if there is no such object.
function M.of_view(view, key)
  local paper = view.paper
  local handle = paper.objects:get(key)
  if not handle then return nil end
  local decision, failure = decide(function() return (paper:seen(key)) end,
    function(seen) return view:decide(seen) end)
  if not decision and not failure then return nil end -- it is being deleted
  local children = children_of(paper, key, handle)
  return { key = key, generation = handle.generation, resourceVersion = handle.version, decision = decision or nil,
    failure = failure or nil, policy = { digest = paper.digest }, status = told(paper, key),
    inputs = inputs_of(paper, key, handle), children = children, written = written(view, key, children),
    warnings = #view.warnings > 0 and json.array(view.warnings) or nil }
end

return M
