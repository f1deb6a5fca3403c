-- Watches that tell of objects of another watch: Events of pods, which have no label of ours.

local contract = require "contract"
local controller = require "controller"
local fake = require("include") "spec/host/fake_cluster.lua"

local function source(about)
  return ([[
local M = { label = "model", kind = { api_version = "example.org/v1", kind = "Model", resource = "models" },
  watches = { pods = { api_version = "v1", kind = "Pod", resource = "pods" },
    events = { api_version = "v1", kind = "Event", resource = "events", %s, field_selector = "reason=FailedMount", optional = true } } }
function M.decide(seen)
  local said = {}
  for i, event in ipairs(seen.events) do said[i] = event.message end
  return { status = { message = table.concat(said, ", "), observedGeneration = seen.object.metadata.generation } }
end
return M
]]):format(about)
end

local GOOD = 'about = "pods", by = "involvedObject.name"'

local function put(cluster, resource, object)
  object.metadata.namespace, object.metadata.uid = "hub", "uid-of-" .. object.metadata.name
  local root = resource == "models" and "/apis/example.org/v1" or "/api/v1"
  return cluster:put(root .. "/namespaces/hub/" .. resource .. "/" .. object.metadata.name, object)
end

local function pod(cluster, name, model)
  put(cluster, "pods", { apiVersion = "v1", kind = "Pod", metadata = { name = name, labels = { model = model } } })
end

local function event(cluster, name, about, message)
  put(cluster, "events", { apiVersion = "v1", kind = "Event", metadata = { name = name }, message = message, involvedObject = { name = about } })
end

local function eventually(what, holds)
  local deadline = loop.now() + 5
  repeat
    if holds() then return end
    loop.sleep(0.005)
  until loop.now() > deadline
  error("never: " .. what, 2)
end

it("an Event of a pod wakes the pod's object, which sees the Events of its own pods and no others", function()
  local cluster = fake.new()
  local generation, failure = policy.load { files = { ["phdeployment.lua"] = source(GOOD) }, name = "spec" }
  assert(generation, failure and failure.text)
  for _, name in ipairs { "a", "b" } do
    put(cluster, "models", { apiVersion = "example.org/v1", kind = "Model", metadata = { name = name }, spec = {} })
    pod(cluster, name .. "-1", name)
    pod(cluster, name .. "-2", name)
  end
  event(cluster, "e1", "a-1", "one")
  local running = controller.new { cluster = cluster, generation = generation, module = "phdeployment", settings = {}, namespaces = { "hub" } }
  running:run()
  local function message(name) return (cluster.objects["/apis/example.org/v1/namespaces/hub/models/" .. name].status or {}).message end
  local ok, why = pcall(function()
    eventually("what was there is seen", function() return message "a" == "one" and message "b" == "" end)
    event(cluster, "e2", "a-2", "two")
    event(cluster, "e3", "somebody-else", "three")
    eventually("a sees both", function() return message "a" == "one, two" end)
    assert.equal("", message "b")
    cluster:remove "/api/v1/namespaces/hub/events/e1"
    eventually("an Event that is forgotten is seen no more", function() return message "a" == "two" end)
  end)
  running:stop(5)
  if not ok then error(why, 0) end
end)

it("a declaration that tells of nothing is refused with a sentence", function()
  for about, sentence in pairs {
    ['about = "services", by = "x"'] = "the controller's watches.events is about services, which is no other watch found by the label",
    ['about = "events", by = "x"'] = "the controller's watches.events is about events, which is no other watch found by the label",
    ['about = "pods"'] = "the controller's watches.events must say `by`: the path of the name of what it is about",
  } do
    local generation = assert(policy.load { files = { ["phdeployment.lua"] = source(about) }, name = "spec" })
    local declaration, why = contract.declaration(generation, "phdeployment")
    assert.is_nil(declaration)
    assert.contains(sentence, why)
  end
end)
