-- What specs of a running controller share: a kind Model on a fake cluster, and a policy of a few lines that runs over it.
--
-- Every function says which cluster or controller it means; a spec keeps those of its own, and gives its own words to what
-- it does often.

local controller = require "controller"

local M = {}

M.ROOT = "/apis/example.org/v1/namespaces/hub/models/"

-- (waits) Until holds() answers something true: that. Raises after `seconds` (default 10).
function M.eventually(what, holds, seconds)
  local deadline = loop.now() + (seconds or 10)
  while loop.now() < deadline do
    local value = holds()
    if value then return value end
    loop.sleep(0.005)
  end
  error("never: " .. what, 2)
end

-- (waits) Until nothing is to be done but what waits for its time. A change of a child is looked at 50 ms later, and what
-- follows from that a moment after it: `seconds` to wait for both before the first look.
function M.settled(running, seconds)
  local quiet = 0
  loop.sleep(seconds)
  M.eventually("the queue is empty", function()
    local ready, in_work = running.queue:depth()
    quiet = (ready == 0 and in_work == 0 and running.busy == 0) and quiet + 1 or 0
    return quiet > 3
  end)
end

-- Make or change a Model; its status stays.
function M.put(cluster, name, spec)
  local old = cluster.objects[M.ROOT .. name]
  return cluster:put(M.ROOT .. name, { apiVersion = "example.org/v1", kind = "Model",
    metadata = { name = name, uid = "uid-of-" .. name }, spec = spec, status = old and old.status })
end

function M.status_of(cluster, name) return cluster.objects[M.ROOT .. name].status or {} end

-- A controller of the policy `source`, with further options of controller.new, not yet running. Returns its generation too.
function M.controller(cluster, source, options)
  local generation, failure = policy.load { files = { ["phdeployment.lua"] = source }, name = "spec" }
  assert(generation, failure and failure.text)
  local all = { cluster = cluster, generation = generation, module = "phdeployment", settings = {}, namespaces = { "hub" } }
  for name, value in pairs(options or {}) do all[name] = value end
  return controller.new(all), generation
end

return M
