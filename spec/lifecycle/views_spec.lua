-- What an operator sees of the cluster may be late, empty, broken or silent: it acts on what it knows, and removes nothing for what it
-- does not see. The operator of these specs has its API server behind a proxy (spec/cluster/proxy.lua) that holds watches and answers.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local proxies = include "spec/cluster/proxy.lua"

local CHILDREN = { "deployments", "replicasets", "pods", "services", "ingresses" }

-- The operator of `world` sees the cluster through the proxy.
local function operator_behind(world, proxy)
  world:start_operator { words = { "--kubeconfig", proxy.kubeconfig } }
end

-- body(world, proxy): m is Deployed, by an operator behind a proxy. change: of its manifest, or nil.
local function with_deployed(change, body)
  harness.with({ operator = false }, function(world)
    local proxy <close> = proxies.start(world.cluster, world.folder)
    operator_behind(world, proxy)
    world:deploy("m", change)
    world:phase("m", "Deployed", 30)
    body(world, proxy)
  end)
end

local function is_write_of(...)
  local wanted = {}
  for _, resource in ipairs { ... } do wanted[resource] = true end
  return function(request) return request.method ~= "GET" and wanted[request.resource] end
end

-- Make the operator decide on m, and let it be done: a change of the object that no child shows.
local function nudge(world, proxy)
  proxy:asked()
  world.nudges = (world.nudges or 0) + 1
  world:edit("m", { spec = { updateMessage = "nudge " .. world.nudges } })
  harness.eventually("the status tells of this generation", 10, function()
    local m = world:get("m")
    return m.status.observedGeneration == m.metadata.generation
  end)
end

local function uids(world)
  local all = {}
  for _, kind in ipairs { "Deployment", "Service", "Ingress" } do
    local child = world:child(kind, "m")
    all[kind] = child and child.metadata.uid or "none"
  end
  return all
end

describe("what an operator wrote, it sees at once", function()
  it("children that no watch has told of are not made or asked for a second time", function()
    harness.with({ operator = false }, function(world)
      local proxy <close> = proxies.start(world.cluster, world.folder)
      operator_behind(world, proxy)
      world:deploy("first")
      world:phase("first", "Deployed", 30)
      proxy:hold("deployments", "services", "ingresses")
      world:deploy("m")
      harness.eventually("m's children are there", 10, function()
        return world:child("Deployment", "m") and world:child("Service", "m") and world:child("Ingress", "m")
      end)
      harness.eventually("m has a status", 10, function() return (world:get("m").status or {}).phase end)
      assert.truthy(#proxy:waiting("deployments") > 0, "the watch of Deployments is held")
      for _ = 1, 3 do
        nudge(world, proxy)
        local asked, words = proxy:asked(function(request) return request.name == "deploy-m" end)
        assert.equal(0, #asked, "requests about m's children:\n" .. words)
      end
      proxy:release("deployments", "services", "ingresses")
      world:phase("m", "Deployed", 30)
      local asked, words = proxy:asked(is_write_of("deployments", "services", "ingresses"))
      assert.equal(0, #asked, "writes once the watches came:\n" .. words)
    end)
  end)

  it("a change that no watch has told of is not made a second time, and the next one starts from it", function()
    with_deployed(nil, function(world, proxy)
      proxy:hold("deployments")
      world:predictor("m", { replicas = 2 })
      harness.eventually("two replicas are wanted", 10, function() return world:child("Deployment", "m").spec.replicas == 2 end)
      nudge(world, proxy)
      local asked, words = proxy:asked(is_write_of("deployments"))
      assert.equal(0, #asked, "writes:\n" .. words)
      world:predictor("m", { replicas = 1 })
      harness.eventually("one replica is wanted", 10, function() return world:child("Deployment", "m").spec.replicas == 1 end)
      proxy:release("deployments")
      world:phase("m", "Deployed", 30)
    end)
  end)

  it("a child that it deleted stays deleted until the watch tells of its end, and another one of that name is another one", function()
    local function private(object) object.spec.endpoint = { accessType = "private", clients = json.array { { name = "alice", token = "hunter2" } } } end
    with_deployed(private, function(world, proxy)
      local before = world:child("Secret", "m").metadata.uid
      local function no_writes(when)
        nudge(world, proxy)
        local asked, words = proxy:asked(is_write_of("secrets"))
        assert.equal(0, #asked, when .. "; writes:\n" .. words)
      end
      proxy:hold("secrets")
      world:edit("m", { spec = { endpoint = { accessType = "public" } } })
      harness.eventually("the Secret is gone", 10, function() return not world:child("Secret", "m") end)
      no_writes("the watch still shows the Secret")
      -- wanted again while the watch is still held: the name is free, a new one is made
      world:edit("m", { spec = { endpoint = { accessType = "private" } } })
      local now = harness.eventually("there is a Secret again", 10, function() return world:child("Secret", "m") end).metadata.uid
      assert.truthy(now ~= before, "another UID")
      no_writes("the watch shows neither the end of the old one nor the new one")
      proxy:release("secrets")
      loop.sleep(0.5)
      no_writes("the watch told of both")
      assert.equal(now, world:child("Secret", "m").metadata.uid)
    end)
  end)

  it("an answer that comes after an event that outdates it changes nothing: what somebody did since is mended", function()
    with_deployed(nil, function(world, proxy)
      proxy:hold_answers(is_write_of("services"))
      world.api:patch("Service", world.namespace, "deploy-m", "merge", { metadata = { labels = { ["primehub.io/phdeployment"] = "x" } } })
      -- the operator's write is done at the server, its answer held; then somebody writes again, and the watch tells of that
      local function label() return world:child("Service", "m").metadata.labels["primehub.io/phdeployment"] end
      harness.eventually("the label is mended", 10, function() return label() == "m" end)
      world.api:patch("Service", world.namespace, "deploy-m", "json", { { op = "replace", path = "/spec/ports/0/port", value = 8001 } })
      loop.sleep(0.5)
      assert.equal(8001, world:child("Service", "m").spec.ports[1].port, "one write of an object at a time")
      proxy:release_answers()
      harness.eventually("the port is mended", 10, function() return world:child("Service", "m").spec.ports[1].port == 8000 end)
    end)
  end)
end)

describe("what an operator does not see, it does not remove", function()
  -- An operator begins with a cluster that is not shown to it as it is.
  local function restarted(world, proxy, change)
    world:stop_operator()
    local before, generation = uids(world), world:child("Deployment", "m").metadata.generation
    change()
    proxy:asked()
    operator_behind(world, proxy)
    return function()
      local deletes, words = proxy:asked(function(request) return request.method == "DELETE" end)
      assert.equal(0, #deletes, words)
      assert.same(before, uids(world))
      assert.equal(generation, world:child("Deployment", "m").metadata.generation, "the Deployment's generation")
    end
  end

  it("when the lists of its children are empty: they are found by name, and are the same ones", function()
    with_deployed(nil, function(world, proxy)
      local nothing_happened = restarted(world, proxy, function()
        for _, resource in ipairs(CHILDREN) do proxy.empty[resource] = true end
      end)
      harness.eventually("the Deployment was asked for by name", 15, function()
        for _, request in ipairs(proxy.requests) do
          if request.method == "GET" and request.name == "deploy-m" and request.resource == "deployments" then return true end
        end
      end)
      loop.sleep(1)
      nothing_happened()
      -- and a user's edit gets through
      world:predictor("m", { replicas = 2 })
      harness.eventually("two replicas are wanted", 10, function() return world:child("Deployment", "m").spec.replicas == 2 end)
    end)
  end)

  it("when the lists of groups and instance types are empty: the status says so, the model runs on", function()
    with_deployed(nil, function(world, proxy)
      local nothing_happened = restarted(world, proxy, function() proxy.empty.phgroups, proxy.empty.instancetypes = true, true end)
      local m = world:phase("m", "Failed", 15)
      assert.contains("phusers", m.status.message)
      nothing_happened()
    end)
  end)

  it("when the lists of its children are answered with 500: nothing is written until they are known", function()
    with_deployed(nil, function(world, proxy)
      local nothing_happened = restarted(world, proxy, function() proxy.broken.deployments = true end)
      loop.sleep(2)
      local answer = world:ask_operator("/readyz?verbose")
      assert.contains("deployments", answer.body)
      assert.equal(503, answer.status)
      nothing_happened()
      proxy.broken = {}
      world:predictor("m", { replicas = 2 })
      harness.eventually("two replicas are wanted", 20, function() return world:child("Deployment", "m").spec.replicas == 2 end)
    end)
  end)

  it("when the watches of its children fall silent: a user's edit still gets through", function()
    with_deployed(nil, function(world, proxy)
      local before = uids(world)
      proxy:hold(table.unpack(CHILDREN))
      proxy:asked()
      world:predictor("m", { modelImage = "registry.example/m:v2" })
      harness.eventually("the new image is wanted", 10, function()
        return world:child("Deployment", "m").spec.template.spec.containers[1].image == "registry.example/m:v2"
      end)
      loop.sleep(2)
      local deletes, words = proxy:asked(function(request) return request.method == "DELETE" end)
      assert.equal(0, #deletes, words)
      assert.same(before, uids(world))
      proxy:release(table.unpack(CHILDREN))
      world:phase("m", "Deployed", 30)
    end)
  end)
end)

describe("an operator with a late view", function()
  it("loses the race for a status, and writes one only upon what it has read since", function()
    with_deployed(nil, function(world, proxy)
      proxy:hold("phdeployments")
      world.api:patch("PhDeployment", world.namespace, "m", "merge", { status = { message = "somebody was faster" } }, "status")
      proxy:asked()
      world.api:delete("PhGroup", world.namespace, "phusers") -- a reason to write the status
      harness.eventually("the operator wrote its status", 10, function() return world:get("m").status.reason == "GroupNotFound" end)
      local _, words = proxy:asked(function(request) return request.resource == "phdeployments" end)
      local m = "/apis/primehub.io/v1alpha1/namespaces/" .. world.namespace .. "/phdeployments/m"
      assert.equal(("PATCH %s/status 409\nGET %s 200\nPATCH %s/status 200"):format(m, m, m), words)
      proxy:release("phdeployments")
      world:phase("m", "Failed", 20)
    end)
  end)

  it("of one object works on the others: an answer that does not come delays nobody else", function()
    with_deployed(nil, function(world, proxy)
      proxy:hold_answers(function(request) return request.name == "deploy-m" end)
      world:predictor("m", { replicas = 2 })
      world:deploy("n")
      world:phase("n", "Deployed", 30)
      assert.equal(1, #world:get("m").status.history, "m still waits for its answer")
      proxy:release_answers()
      world:phase("m", "Deployed", 30)
    end)
  end)

  it("records each edit that its watch brings at once, and takes the edits of its absence for a gap", function()
    with_deployed(nil, function(world, proxy)
      local function edits(...)
        for _, tag in ipairs { ... } do world:predictor("m", { modelImage = "registry.example/m:" .. tag }) end
      end
      local function images()
        local all = {}
        for i, record in ipairs(world:get("m").status.history) do all[i] = record.spec.predictors[1].modelImage:match("[^:]*$") end
        return table.concat(all, " ")
      end
      proxy:hold("phdeployments")
      edits("v2", "v3", "v4")
      harness.eventually("the edits are held", 5, function() return #proxy:waiting("phdeployments") >= 3 end)
      proxy:release("phdeployments")
      harness.eventually("all are recorded", 10, function() return images() == "v4 v3 v2 v1", images() end)
      world:stop_operator()
      edits("v5", "v6")
      operator_behind(world, proxy)
      world:phase("m", "Deployed", 30)
      assert.equal("v6 v4 v3 v2 v1", images())
    end)
  end)
end)
