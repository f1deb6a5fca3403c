-- What a policy sees: the object, its children, what is watched, its inputs, put together from caches.
--
-- Nothing here waits or asks the server: a reconcile costs the API server nothing until something
-- differs. (An input that is asked by HTTP answers from what it knows, inputs/http.lua.) Objects go into `seen` as the
-- bytes that the cache holds (policy.raw); they become tables inside the policy's own state and nowhere else.

local ahead = require "ahead"

local M = {}

local function rfc3339(ms)
  return os.date("!%Y-%m-%dT%H:%M:%SZ", ms // 1000)
end
M.rfc3339 = rfc3339

-- world: {objects, children={name=informers}, watches={name=informers}, inputs={name=of inputs.lua}, generation, settings, digest,
-- problems={key={...}}, rollout}

local function children_of(world, namespace, name, uid)
  local children = {}
  for kind_name, informer in pairs(world.children) do
    local by_name = {}
    for _, key in ipairs(informer:find(namespace, "parent", name)) do
      local handle = informer:get(key)
      if handle and handle.indexes.owner == uid then by_name[key:match("[^/]+$")] = informer:raw(key) end
    end
    children[kind_name] = by_name
  end
  return children
end

local function watched(informer, namespace, name)
  local list = json.array {}
  for _, key in ipairs(informer:find(namespace, "parent", name)) do list[#list + 1] = informer:raw(key) end
  return list
end

local TOLD_MOST = 50 -- what may be seen of what tells of an object's pods

-- What tells of the watched objects of `subjects`: Events of its pods.
local function told(informer, subjects, namespace, name)
  local list = json.array {}
  for _, subject in ipairs(subjects:find(namespace, "parent", name)) do
    for _, key in ipairs(informer:find(namespace, "about", subject:match("[^/]+$"))) do
      if #list < TOLD_MOST then list[#list + 1] = informer:raw(key) end
    end
  end
  return list
end

local function revisions_of(world, key)
  local list = json.array {}
  local watch = world.objects:of(key)
  for i, revision in ipairs(watch:revisions(key)) do
    list[i] = { generation = revision.generation, time = rfc3339(revision.time_ms), spec = policy.raw(revision.spec) }
  end
  return list
end

-- `object`: the handle that world.objects:get(key) gave.
function M.seen(world, key, object)
  local namespace, name = key:match("^(.-)/(.+)$")
  local seen = {
    object = world.objects:raw(key),
    revisions = revisions_of(world, key),
    children = children_of(world, namespace, name, object.uid),
    problems = json.array(world.problems[key] or {}),
    settings = world.settings,
    now = loop.wall_ms() // 1000,
    policy = { digest = world.digest },
    held = world.rollout:is_held(key) or nil,
    early = object.ours or nil,
    ahead = ahead.count(world, key, object),
  }
  for watch_name, informer in pairs(world.watches) do
    local about = informer.kind.about
    seen[watch_name] = about and told(informer, world.watches[about], namespace, name) or watched(informer, namespace, name)
  end
  for input_name, input in pairs(world.inputs) do seen[input_name] = input:answer(world, key, object) end
  return seen
end

return M
