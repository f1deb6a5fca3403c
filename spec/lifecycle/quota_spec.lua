-- Group quotas, as people and API servers see them: through the admission webhook of the real binary, over TLS.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local reviewed = include "spec/lifecycle/reviewed.lua"
local pod, create, create_all, deploy, quota = reviewed.pod, reviewed.create, reviewed.create_all, reviewed.deploy, reviewed.quota

describe("The quota of a group", function()
  it("of 50 admits exactly 50 of 200 pods that are created at once (fault 35)", function()
    reviewed.with({ quota = { cpu = "50" } }, function(world)
      local pods = {}
      for i = 1, 200 do pods[i] = pod(world, "burst-" .. i, { cpu = "1" }) end
      local admitted, refusals = create_all(world, pods)
      assert.equal(50, admitted, refusals[1])
      for _, text in ipairs(refusals) do assert.contains("denied the request: Group phusers exceeded cpu quota: 50, requesting 1", text) end
    end)
  end)

  it("is the same through a replica that does not lead, which hands reviews on", function()
    local words = { "--leader-elect", "--lease", "quota-spec" }
    reviewed.with({ quota = { cpu = "50" }, words = words }, function(world)
      reviewed.start_second(world, words)
      -- the leader's configuration leads to the leader; this API server is told to ask the other one
      local there = reviewed.configuration(world)
      there.webhooks[1].clientConfig.url = "https://127.0.0.1:" .. world.port .. "/quota"
      there.metadata.name, there.metadata.resourceVersion, there.metadata.uid = "second-door", nil, nil
      world.cluster:request { method = "DELETE", path = reviewed.CONFIGURATION .. "/second-door" }
      assert.equal(201, world.cluster:request({ method = "POST", path = reviewed.CONFIGURATION, body = there }).status)
      local ok, failure = xpcall(function()
        harness.eventually("the standby hands reviews on", 10, function()
          return reviewed.ask(world, pod(world, "probe", { cpu = "1" }), { dryRun = true }).allowed
        end)
        local pods = {}
        for i = 1, 200 do pods[i] = pod(world, "burst-" .. i, { cpu = "1" }) end
        local admitted, refusals = create_all(world, pods)
        assert.equal(50, admitted, refusals[1])
      end, require "where")
      world.cluster:request { method = "DELETE", path = reviewed.CONFIGURATION .. "/second-door" }
      if not ok then error(failure, 0) end
    end)
  end)

  it("holds while the leader goes in order and another takes over at once", function()
    local words = { "--leader-elect", "--lease", "quota-spec-2" }
    reviewed.with({ quota = { cpu = "40" }, words = words }, function(world)
      local first = world.operator
      reviewed.start_second(world, words)
      world.others = {}
      local pods = {}
      for i = 1, 100 do pods[i] = pod(world, "burst-" .. i, { cpu = "1" }) end
      local burst = loop.spawn(create_all, world, pods)
      loop.sleep(0.05)
      first:signal("TERM")
      burst:join()
      assert.equal(0, first:wait(28))
      assert.is_true(reviewed.admitted_pods(world) <= 40)
      harness.eventually("the other one fills the quota to the last place, without a pause for what it cannot know", 15, function()
        for i = 1, 45 do create(world, pod(world, "later-" .. i, { cpu = "1" })) end
        return reviewed.admitted_pods(world) == 40, reviewed.admitted_pods(world)
      end)
      loop.sleep(0.5)
      assert.equal(40, reviewed.admitted_pods(world))
    end)
  end)

  it("is not known after a hard end: nothing is admitted for a while, and the refusal says so", function()
    reviewed.with({ quota = { cpu = "5" } }, function(world)
      assert.equal(201, create(world, pod(world, "before", { cpu = "1" })).status)
      world.operator:signal("KILL")
      world.operator:wait(5)
      world:start_operator { words = world.words }
      reviewed.ready(world)
      local answer = harness.eventually("the new one answers", 10, function()
        local answer = create(world, pod(world, "after", { cpu = "1" }))
        return answer.message:find("took over", 1, true) and answer, answer.message
      end)
      assert.contains("does not know yet what was admitted before: try again", answer.message)
    end)
  end)

  it("is not passed when the leader is killed: the other one takes over, and refuses what it cannot know", function()
    local words = { "--leader-elect", "--lease", "quota-spec-3" }
    reviewed.with({ quota = { cpu = "20" }, words = words }, function(world)
      local first = world.operator
      reviewed.start_second(world, words)
      world.others = {}
      local pods = {}
      for i = 1, 60 do pods[i] = pod(world, "burst-" .. i, { cpu = "1" }) end
      local burst = loop.spawn(create_all, world, pods)
      loop.sleep(0.05)
      first:signal("KILL")
      burst:join()
      first:wait(5)
      assert.is_true(reviewed.admitted_pods(world) <= 20)
      local answer = harness.eventually("the other one answers", 40, function()
        local answer = create(world, pod(world, "later", { cpu = "1" }))
        return answer.message and answer.message:find("took over", 1, true) and answer, answer.message
      end)
      assert.contains("does not know yet what was admitted before: try again", answer.message)
      assert.is_true(reviewed.admitted_pods(world) <= 20)
    end)
  end)

  it("is known at once after an end in order", function()
    reviewed.with({ quota = { cpu = "2" } }, function(world)
      assert.equal(201, create(world, pod(world, "before", { cpu = "1" })).status)
      assert.equal(0, world:stop_operator())
      world:start_operator { words = world.words }
      reviewed.ready(world)
      harness.eventually("it admits", 5, function()
        local answer = create(world, pod(world, "after", { cpu = "1" }))
        return answer.status == 201, answer.message
      end)
      assert.contains("exceeded cpu quota: 2", create(world, pod(world, "more", { cpu = "1" })).message)
    end)
  end)

  it("is not answered for before the watch has brought what the one before had seen", function()
    reviewed.with({ quota = { cpu = "2" } }, function(world)
      assert.equal(201, create(world, pod(world, "before", { cpu = "1" })).status)
      assert.equal(0, world:stop_operator())
      local note = "moonphase.primehub.io/quota-drained"
      local annotations = reviewed.configuration(world).metadata.annotations
      local seen = json.decode(annotations[note])
      assert.matches("^%d+$", seen[world.namespace])
      local path = reviewed.CONFIGURATION .. "/moonphase-" .. world.cluster.namespace
      world.cluster:request { method = "PATCH", path = path, content_type = "application/merge-patch+json",
        body = { metadata = { annotations = { [note] = json.encode { [world.namespace] = "999999999" } } } } }
      world:start_operator { words = world.words }
      reviewed.ready(world)
      harness.eventually("it leads", 10, function()
        local answer = create(world, pod(world, "after", { cpu = "1" }))
        return not (answer.message or ""):find("does not lead", 1, true), answer.message
      end)
      for _ = 1, 4 do
        assert.contains("does not know all pods yet", create(world, pod(world, "after", { cpu = "1" })).message)
        loop.sleep(0.5)
      end
    end)
  end)

  it("counts init containers, extended resources and both kinds of suffix", function()
    reviewed.with({ quota = { cpu = "3", memory = "1Gi", ["example.com/fpga"] = 2 } }, function(world)
      local heavy = json.array { { name = "i", image = "registry.example/plain:v1", resources = { limits = { cpu = "4" } } } }
      assert.contains("exceeded cpu quota: 3, requesting 4", create(world, pod(world, "init", { cpu = "1" }, { initContainers = heavy })).message)
      assert.equal(201, create(world, pod(world, "half", { memory = "512Mi" })).status)
      assert.contains("exceeded memory quota: 1Gi, requesting 537000000",
        create(world, pod(world, "decimal", { memory = "537M" })).message:gsub("requesting %S+", "requesting 537000000"))
      assert.equal(201, create(world, pod(world, "rest", { memory = "536870912" })).status)
      assert.contains("exceeded memory quota", create(world, pod(world, "byte", { memory = "1" })).message)
      assert.equal(201, create(world, pod(world, "fpga", { ["example.com/fpga"] = "2" })).status)
      assert.contains("exceeded example.com/fpga quota: 2", create(world, pod(world, "more", { ["example.com/fpga"] = "1" })).message)
      assert.equal(201, create(world, pod(world, "none", nil)).status)
    end)
  end)

  it("counts the overhead of a pod's runtime class", function()
    if harness.backend ~= "real" then return end -- the sandbox has no runtime classes
    reviewed.with({ quota = { cpu = "2" } }, function(world)
      world.cluster:request { method = "POST", path = "/apis/node.k8s.io/v1/runtimeclasses", body = { apiVersion = "node.k8s.io/v1",
        kind = "RuntimeClass", metadata = { name = "heavy" }, handler = "heavy", overhead = { podFixed = { cpu = "250m" } } } }
      local heavy = { runtimeClassName = "heavy" }
      assert.contains("exceeded cpu quota: 2, requesting 2250m", create(world, pod(world, "two", { cpu = "2" }, heavy)).message)
      assert.equal(201, create(world, pod(world, "most", { cpu = "1750m" }, heavy)).status)
      assert.contains("used: 2, limited: 2", create(world, pod(world, "more", { cpu = "1m" })).message)
      world.cluster:request { method = "DELETE", path = "/apis/node.k8s.io/v1/runtimeclasses/heavy" }
    end)
  end)

  it("reserves nothing for a dry run", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      for i = 1, 3 do assert.equal(201, create(world, pod(world, "dry-" .. i, { cpu = "1" }), { dryRun = "All" }).status) end
      assert.equal(201, create(world, pod(world, "real", { cpu = "1" })).status)
      assert.contains("exceeded", create(world, pod(world, "dry", { cpu = "1" }), { dryRun = "All" }).message)
    end)
  end)

  it("is found by the whole name, escaped as its pods bear it (fault 39)", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local function group(object, name, cpu)
        world.api:create { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = object, namespace = world.namespace },
          spec = { id = object, name = name, enabledDeployment = true, quota = { cpu = cpu } } }
      end
      group("part", "users", "2")
      group("upper", "PhUsers", "3")
      group("odd", "Ph Users_\u{e4}/1", "4")
      loop.sleep(0.5)
      local labels = require "policy.labels"
      for name, cpu in pairs { phusers = 1, users = 2, PhUsers = 3, ["Ph Users_\u{e4}/1"] = 4 } do
        local one = pod(world, "p" .. cpu, { cpu = tostring(cpu) })
        one.metadata.labels["primehub.io/group"] = labels.escape(name)
        assert.equal(201, create(world, one).status, name)
        one.metadata.name, one.spec.containers[1].resources.limits.cpu = "more" .. cpu, "1m"
        assert.contains(("Group %s exceeded cpu quota: %d, requesting 1m"):format(name, cpu), create(world, one).message)
      end
    end)
  end)

  it("refuses what no group stands for (fault 36)", function()
    reviewed.with({}, function(world)
      local stranger = pod(world, "stranger", { cpu = "1" })
      stranger.metadata.labels["primehub.io/group"] = "escaped-nobody"
      assert.contains("denied the request: Group not found: nobody", create(world, stranger).message)
    end)
  end)

  it("is the one of another namespace when the settings say so, at once", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      assert.equal(201, create(world, pod(world, "first", { cpu = "1" })).status)
      assert.equal(403, create(world, pod(world, "second", { cpu = "1" })).status)
      local other = world.namespace .. "-catalogue"
      world.api:apply { apiVersion = "v1", kind = "Namespace", metadata = { name = other } }
      world.api:apply { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = "phusers", namespace = other },
        spec = { id = harness.GROUP_ID, name = "phusers", enabledDeployment = true, quota = { cpu = "2" } } }
      world:use_settings { catalogNamespace = other }
      harness.eventually("the second pod is admitted", 20, function() return create(world, pod(world, "second", { cpu = "1" })).status == 201 end)
      assert.contains("exceeded cpu quota: 2", create(world, pod(world, "third", { cpu = "1" })).message)
      world.cluster:request { method = "DELETE", path = "/api/v1/namespaces/" .. other }
    end)
  end)

  -- The shipped policies without their specs, with one more line of quota.lua's admit; `body` gets their folder.
  local function with_rule(line, body)
    local folder = assert(fs.temporary())
    local function edit(text)
      assert(process.run { argv = { "sh", "-c", 'sed -i "/^function M.admit/a $1" "$0/quota.lua"', folder, text } }.status == 0)
    end
    assert(process.run { argv = { "sh", "-c", 'cp -r policies/. "$0" && rm "$0"/*_spec.lua "$0"/*_cases.yaml', folder } }.status == 0)
    if line then edit(line) end
    body(folder, edit)
    process.run { argv = { "rm", "-rf", folder } }
  end

  it("that its own rule cannot judge admits nothing, and its failure is counted (fault 36)", function()
    with_rule('if review.pod then error "odd" end', function(folder)
      reviewed.with({ quota = { cpu = "5" }, words = { "--policies", folder } }, function(world)
        assert.contains("quota.lua failed, so nothing is admitted: quota.lua:", create(world, pod(world, "p", { cpu = "1" })).message)
        assert.truthy(world:ask_operator "/metrics".body:find 'moonphase_policy_errors_total{outcome="error"} [1-9]')
        assert.contains("quota.lua failed: pods of groups are refused until it is mended", assert(fs.read(world.log)))
      end)
    end)
  end)

  it("that a rule on trial cannot judge takes the rule back", function()
    with_rule(nil, function(folder, edit)
      reviewed.with({ quota = { cpu = "5" }, words = { "--policies", folder } }, function(world)
        assert.equal(201, create(world, pod(world, "before", { cpu = "1" })).status)
        edit 'if review.pod.metadata.name == "after" then error "odd" end'
        harness.eventually("it is live", 20, function() return (fs.read(world.log) or ""):find("policies reloaded", 1, true) ~= nil end)
        assert.contains("quota.lua failed, so nothing is admitted: quota.lua:", create(world, pod(world, "after", { cpu = "1" })).message)
        harness.eventually("it is admitted", 20, function() return create(world, pod(world, "after", { cpu = "1" })).status == 201 end)
        assert.contains("errors on 1 object, the last on pod after: quota.lua:", world:ask_operator "/readyz?verbose".body)
      end)
    end)
  end)
end)

describe("A deployment that waits for quota", function()
  it("is Failed with the specification's words, and goes on within seconds when quota frees, the oldest first", function()
    reviewed.with({ quota = { cpu = "2" }, settings = { grace = { quota = 1 } } }, function(world)
      for i, name in ipairs { "a", "b", "c", "d", "e" } do
        deploy(world, name)
        if i <= 2 then world:phase(name, "Deployed") else world:phase(name, "Failed") end
        loop.sleep(1.1) -- ages are told in seconds
      end
      local status = world:get("c").status
      assert.equal("GroupQuotaExceeded", status.reason)
      assert.contains("Group resource not enough: Group phusers exceeded cpu quota: 2, requesting 1", status.message)
      loop.sleep(12) -- by now its ReplicaSet would sleep for more than ten seconds
      world:edit("a", { spec = { stop = true } })
      local began = loop.now()
      world:phase("c", "Deployed", 15)
      assert.is_true(loop.now() - began < 6, "it took " .. loop.now() - began .. " s")
      assert.is_not_nil(world:child("Deployment", "c").metadata.annotations["moonphase.primehub.io/nudged"])
      assert.equal("Failed", world:get("d").status.phase)
      assert.is_nil(world:child("Deployment", "d").metadata.annotations["moonphase.primehub.io/nudged"])
      -- who waits, and since when, is known to the next moonphase as well
      world:stop_operator()
      world:start_operator { words = world.words }
      reviewed.ready(world)
      quota(world, { cpu = "3" })
      world:phase("d", "Deployed", 10)
      assert.equal("Failed", world:get("e").status.phase)
      assert.is_nil(world:child("Deployment", "e").metadata.annotations["moonphase.primehub.io/nudged"])
    end)
  end)

  it("goes on before all that are younger, however many wait and whatever their ReplicaSets do", function()
    reviewed.with({ quota = { cpu = "0" }, settings = { grace = { quota = 1 } } }, function(world)
      local names = { "a", "b", "c", "d", "e", "f", "g", "h" }
      for _, name in ipairs(names) do deploy(world, name, 2) end
      for _, name in ipairs(names) do world:phase(name, "Failed", 30) end
      loop.sleep(10) -- by now each of them sleeps for ten seconds
      quota(world, { cpu = "8" })
      local began = loop.now()
      for i = 1, 4 do world:phase(names[i], "Deployed", 20) end
      assert.is_true(loop.now() - began < 12, "it took " .. loop.now() - began .. " s")
      for i = 5, 8 do assert.equal("Failed", world:get(names[i]).status.phase, names[i]) end
    end)
  end)

  it("does not take the place of one that runs and is updated, though that is younger", function()
    reviewed.with({ quota = { cpu = "2" }, settings = { grace = { quota = 1 } } }, function(world)
      deploy(world, "old")
      world:phase("old", "Deployed")
      world:edit("old", { spec = { stop = true } })
      world:phase("old", "Stopped")
      for _, name in ipairs { "b", "c" } do
        deploy(world, name)
        world:phase(name, "Deployed")
      end
      world:edit("old", { spec = { stop = false } })
      world:phase("old", "Failed")
      for i, name in ipairs { "b", "c", "b" } do
        local phases, stop = harness.phases_of(world, name)
        world:predictor(name, { modelImage = "registry.example/" .. name .. ":v" .. i + 1 })
        world:phase(name, "Deployed", 40)
        stop()
        assert.is_nil((" " .. table.concat(phases, " ") .. " "):match(" Failed "), table.concat(phases, " "))
        assert.equal("Failed", world:get("old").status.phase)
      end
      world:edit("b", { spec = { stop = true } })
      world:phase("old", "Deployed", 15)
    end)
  end)

  it("goes on when a moonphase is there again to answer", function()
    reviewed.with({ quota = { cpu = "2" }, settings = { grace = { refused = 0, quota = 0 } } }, function(world)
      deploy(world, "a")
      world:phase("a", "Deployed")
      world:stop_operator()
      local live = world:child("Deployment", "a")
      world.api:patch("Deployment", world.namespace, live.metadata.name, "merge", { spec = { replicas = 2 } })
      harness.eventually("nobody answers the webhook", 20, function()
        for _, condition in ipairs(world:child("Deployment", "a").status.conditions or {}) do
          if condition.type == "ReplicaFailure" then return condition.message:find("failed calling webhook", 1, true) ~= nil, condition.message end
        end
      end)
      world.api:patch("PhDeployment", world.namespace, "a", "merge", { spec = { replicas = 2 } })
      loop.sleep(12)
      world:start_operator { words = world.words }
      local began = loop.now()
      world:phase("a", "Deployed", 30)
      assert.is_true(loop.now() - began < 8, "it took " .. loop.now() - began .. " s")
      assert.is_not_nil(world:child("Deployment", "a").metadata.annotations["moonphase.primehub.io/nudged"])
    end)
  end)
end)

describe("PhGroup", function()
  it("shows in its status what its pods use and how many models run, written only when that changes", function()
    reviewed.with({ quota = { cpu = "8", ["nvidia.com/gpu"] = 1 } }, function(world)
      deploy(world, "m", 2)
      world:phase("m", "Deployed")
      local function used(cpu, memory, deployments)
        return function()
          local status = reviewed.group(world).status or {}
          local now = status.used or {}
          return quantity.compare(now.cpu or "9999", cpu) == 0 and quantity.compare(now.memory or "0", memory) == 0
            and now["nvidia.com/gpu"] == "0" and status.deployments == deployments, status
        end
      end
      harness.eventually("two pods are counted", 15, used("2", "4Gi", 1))
      local version = reviewed.group(world).metadata.resourceVersion
      loop.sleep(7)
      assert.equal(version, reviewed.group(world).metadata.resourceVersion)
      world:edit("m", { spec = { stop = true } })
      world:phase("m", "Stopped")
      harness.eventually("none is counted", 15, used("0", "0", 0))
    end)
  end)

  it("bounds how many models run; the oldest win, and who waits goes on when one stops", function()
    harness.with({}, function(world)
      world.api:patch("PhGroup", world.namespace, "phusers", "merge", { spec = { maxDeployments = 2 } })
      for _, name in ipairs { "z-first", "y-second", "x-third", "w-fourth" } do
        deploy(world, name)
        loop.sleep(1.1)
      end
      world:phase("z-first", "Deployed")
      world:phase("y-second", "Deployed")
      local third = world:phase("x-third", "Failed")
      assert.equal("GroupDeploymentsExceeded", third.status.reason)
      assert.contains("Group resource not enough: phusers may run 2 deployments at once", third.status.message)
      assert.is_nil(world:child("Deployment", "x-third"))
      world:phase("w-fourth", "Failed")
      world:edit("z-first", { spec = { stop = true } })
      world:phase("x-third", "Deployed", 10)
      assert.equal("Failed", world:get("w-fourth").status.phase)
      world:edit("z-first", { spec = { stop = false } }) -- who runs keeps its place
      world:phase("z-first", "Failed")
      assert.equal("Deployed", world:get("x-third").status.phase)
      world.api:delete("PhDeployment", world.namespace, "y-second")
      world:phase("z-first", "Deployed", 10)
      world.api:patch("PhGroup", world.namespace, "phusers", "merge", { spec = { maxDeployments = 3 } })
      world:phase("w-fourth", "Deployed", 10)
      deploy(world, "v-fifth")
      world:phase("v-fifth", "Failed")
      world:edit("x-third", { spec = { replicas = 0 } }) -- scaled to 0 is stopped, too
      world:phase("v-fifth", "Deployed", 10)
    end)
  end)
end)
