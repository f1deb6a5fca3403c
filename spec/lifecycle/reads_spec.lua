-- What the operator reads of a cluster that is full of other people's things: nothing.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

describe("pods, Secrets and Events of others", function()
  it("never reach the operator, so that its memory grows with its models and not with the cluster (fault 24)", function()
    harness.with({}, function(world)
      local function read(kind)
        local text = world:ask_operator("/metrics").body
        local total = 0
        for labels, count in text:gmatch("moonphase_watch_events_total(%b{}) (%d+)") do
          if labels:find('"' .. kind .. '"', 1, true) then total = total + tonumber(count) end
        end
        return total
      end
      world:deploy "m"
      world:phase("m", "Deployed")
      harness.eventually("its own pod is read", 5, function() return read "Pod" > 0 end)
      loop.sleep(1)
      local before = { pods = read "Pod", secrets = read "Secret", events = read "Event" }
      for i = 1, 30 do
        local meta = { name = "other-" .. i, namespace = world.namespace }
        world.api:create { apiVersion = "v1", kind = "Pod", metadata = meta,
          spec = { nodeName = "nowhere", containers = json.array { { name = "c", image = "registry.example/other:v1" } } } }
        world.api:create { apiVersion = "v1", kind = "Secret", metadata = meta, data = { key = base64.encode("not for you") } }
        world.cluster:request { method = "POST", path = "/api/v1/namespaces/" .. world.namespace .. "/events", body = {
          apiVersion = "v1", kind = "Event", metadata = meta, type = "Normal", reason = "Pulled", message = "other",
          involvedObject = { kind = "Pod", name = meta.name, namespace = world.namespace } } }
      end
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      world:phase("m", "Deployed")
      loop.sleep(1)
      assert.equal(before.secrets, read "Secret")
      assert.equal(before.events, read "Event")
      local pods = read "Pod" - before.pods
      assert.is_true(pods < 30, pods .. " events of pods for one model that was updated")
    end)
  end)
end)
