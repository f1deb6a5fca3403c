-- moonphase plan and apply as people call them, beside a real operator: what they say, what they write, and how they end.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local policies = include("spec/lifecycle/edited.lua").folder_of

local function program(words)
  local argv = { process.env("MOONPHASE") or "build/moonphase" }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  return assert(process.run { argv = argv, timeout = 60 })
end

local function labelled(world, name)
  return policies(world, name, "children/deployment.lua", "app = s.settings.appLabel", 'tier = "one", app = s.settings.appLabel')
end

local function plan(world, folder, ...)
  return program { "plan", folder, "--namespace", world.namespace, "--settings", world.folder .. "/settings.yaml", ... }
end

local function rest(world, names)
  for _, name in ipairs(names) do
    world:deploy(name)
  end
  for _, name in ipairs(names) do world:phase(name, "Deployed") end
  loop.sleep(0.5) -- the last events of the cluster have come
end

local function versions(world, names)
  local parts = {}
  for _, name in ipairs(names) do
    parts[#parts + 1] = world:get(name).metadata.resourceVersion
    for _, kind in ipairs { "Deployment", "Service", "Ingress" } do parts[#parts + 1] = world:child(kind, name).metadata.resourceVersion end
  end
  return table.concat(parts, " ")
end

describe("moonphase plan", function()
  it("says nothing and ends with 0 beside a cluster at rest, whoever else wrote defaults there", function()
    harness.with({}, function(world)
      rest(world, { "a", "b" })
      local result = plan(world, policies(world, "same"))
      assert.equal("Nothing would change: 2 objects are as these policies say.\n", result.output)
      assert.equal(0, result.status, result.errors)
    end)
  end)

  it("shows an edit field by field, ends with 2, and writes nothing", function()
    harness.with({}, function(world)
      rest(world, { "a", "b" })
      local before = versions(world, { "a", "b" })
      local result = plan(world, labelled(world, "labelled"))
      assert.equal(2, result.status, result.errors)
      assert.contains(world.namespace .. "/a\n  ~ patch Deployment deploy-a   (restarts the model)\n", result.output)
      assert.contains('spec.template.metadata.labels.tier: nothing → "one"', result.output)
      assert.contains("Plan: 2 of 2 objects: 0 to create, 2 to patch, 0 to prune, 2 models restart, 2 objects report differently.", result.output)
      loop.sleep(0.5)
      assert.equal(before, versions(world, { "a", "b" }))
    end)
  end)

  it("is what an operator with that folder then does: afterwards there is nothing to plan", function()
    harness.with({}, function(world)
      rest(world, { "a", "b" })
      local folder = policies(world, "none", "settings.yaml", "route: Ingress", "route: none")
      local result = plan(world, folder)
      assert.equal(2, result.status, result.errors)
      assert.contains("  - prune Ingress deploy-a\n", result.output)
      world:stop_operator()
      world:start_operator { policies = folder }
      harness.eventually("nothing is left to plan", 30, function()
        local now = plan(world, folder)
        return now.status == 0, now.output
      end)
      assert.is_nil(world:child("Ingress", "a"))
    end)
  end)

  it("tells what the server would refuse, in its words, and ends with 1", function()
    harness.with({}, function(world)
      rest(world, { "a" })
      local result = plan(world, policies(world, "bad", "children/deployment.lua", "app = s.settings.appLabel",
        'tier = "no label!", app = s.settings.appLabel'))
      assert.equal(1, result.status, result.errors)
      assert.contains("REFUSED by the server: Deployment.apps \"deploy-a\" is invalid: spec.template.labels: Invalid value: \"no label!\"", result.output)
      assert.contains("1 write is refused", result.output)
    end)
  end)

  it("tells that a Service would be refused and not replaced: what the server would not make anew is not deleted", function()
    harness.with({}, function(world)
      rest(world, { "a" })
      local folder = policies(world, "bad", "children/service.lua", 'port("http", engine.REST, ', 'port("http", 70000, ')
      local result = plan(world, folder)
      assert.equal(1, result.status, result.errors)
      assert.contains("REFUSED by the server: Service \"deploy-a\" is invalid", result.output)
      local uid = world:child("Service", "a").metadata.uid
      world:stop_operator()
      world:start_operator { policies = folder }
      world:phase("a", "Failed")
      assert.equal(uid, world:child("Service", "a").metadata.uid)
    end)
  end)

  it("names file and line where the policies fail on an object, or do not load", function()
    harness.with({}, function(world)
      rest(world, { "a" })
      local result = plan(world, policies(world, "nil", "children/deployment.lua", "app = s.settings.appLabel", "app = s.spec.nothing.here"))
      assert.equal(1, result.status, result.errors)
      assert.matches("the policy fails: children/deployment.lua:%d+: attempt to index a nil value", result.output)
      local broken = plan(world, policies(world, "broken", "phases.lua", "return phases {", "return phases {{"))
      assert.equal(1, broken.status)
      assert.matches("phases.lua:%d+: ", broken.errors)
    end)
  end)

  it("serves who may only read: what is not tried on the server is said, and is no refusal", function()
    harness.with({}, function(world)
      rest(world, { "a" })
      local rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/" .. world.namespace
      world.api:ask { method = "POST", path = rbac .. "/roles", body = { metadata = { name = "reader" }, rules = json.array {
        { apiGroups = json.array { "", "apps", "networking.k8s.io", "primehub.io" }, resources = json.array { "*" },
          verbs = json.array { "get", "list", "watch" } } } } }
      world.api:ask { method = "POST", path = rbac .. "/rolebindings", body = { metadata = { name = "reader" },
        roleRef = { apiGroup = "rbac.authorization.k8s.io", kind = "Role", name = "reader" },
        subjects = json.array { { kind = "User", apiGroup = "rbac.authorization.k8s.io", name = "system:serviceaccount:moonphase:moonphase" } } } }
      local result = plan(world, labelled(world, "labelled"), "--kubeconfig", process.env("MOONPHASE_CLUSTER_DIR") .. "/kubeconfig-operator")
      assert.equal(2, result.status, result.output .. result.errors)
      assert.matches("patch Deployment deploy%-a   %(restarts the model%)\n      not tried, for you may not: deployments.apps .-is forbidden: User ",
        result.output)
      assert.contains('spec.template.metadata.labels.tier: nothing → "one"', result.output)
    end)
  end)

  it("is JSON for programs", function()
    harness.with({}, function(world)
      rest(world, { "a" })
      local result = plan(world, labelled(world, "labelled"), "-o", "json")
      assert.equal(2, result.status, result.errors)
      local data = assert(json.decode(result.output))
      assert.equal(1, data.summary.restarts)
      local change = data.objects[1].changes[1]
      assert.equal("patch Deployment deploy-a", change.action .. " " .. change.kind .. " " .. change.name)
      assert.is_true(change.restarts)
    end)
  end)
end)

describe("moonphase apply", function()
  it("does what was planned, one model after the other, and then nothing is left to plan of the children", function()
    harness.with({}, function(world)
      rest(world, { "a", "b" })
      world:stop_operator()
      local folder, file = labelled(world, "labelled"), world.folder .. "/saved.plan"
      assert.equal(2, plan(world, folder, "--save", file).status)
      local result = program { "apply", file }
      assert.equal(0, result.status, result.output .. result.errors)
      for _, name in ipairs { "a", "b" } do
        assert.contains(world.namespace .. "/" .. name .. ": patch Deployment deploy-" .. name, result.output)
        assert.equal("one", world:child("Deployment", name).spec.template.metadata.labels.tier)
      end
      local data = assert(json.decode(plan(world, folder, "-o", "json").output))
      for _, object in ipairs(data.objects) do assert.equal(0, #object.changes, object.key) end
      local again = program { "apply", file }
      assert.equal(1, again.status)
      assert.contains("Deployment deploy-a changed since", again.output)
      world:start_operator { policies = folder }
      for _, name in ipairs { "a", "b" } do world:phase(name, "Deployed") end
    end)
  end)

  it("leaves alone what changed since, says which, and does the rest", function()
    harness.with({}, function(world)
      rest(world, { "a", "b" })
      world:stop_operator()
      local folder, file = policies(world, "none", "settings.yaml", "route: Ingress", "route: none"), world.folder .. "/saved.plan"
      assert.equal(2, plan(world, folder, "--save", file).status)
      world.api:patch("Ingress", world.namespace, "deploy-a", "merge", { metadata = { labels = { touched = "yes" } } })
      local result = program { "apply", file }
      assert.equal(1, result.status, result.output .. result.errors)
      assert.matches("/a: NOT DONE: Ingress deploy%-a changed since %(resourceVersion %d+, planned on %d+%)", result.output)
      assert.contains("/b: prune Ingress deploy-b", result.output)
      assert.truthy(world:child("Ingress", "a"))
      harness.eventually("b has no Ingress", 5, function() return world:child("Ingress", "b") == nil end)
    end)
  end)

  it("says that an operator with other policies wrote a template back, and begins no other model", function()
    harness.with({}, function(world)
      rest(world, { "a", "b" })
      local folder, file = labelled(world, "labelled"), world.folder .. "/saved.plan"
      assert.equal(2, plan(world, folder, "--save", file).status)
      local result = program { "apply", file }
      assert.equal(1, result.status, result.output .. result.errors)
      assert.contains("it was written back: does an operator run with other policies? Give it the new ones, too", result.output)
      assert.contains("/b: NOT DONE: it has not begun: ", result.output)
    end)
  end)

  it("does nothing when the folder is not the one that was planned with, and names the file", function()
    harness.with({}, function(world)
      rest(world, { "a" })
      local folder, file = labelled(world, "labelled"), world.folder .. "/saved.plan"
      assert.equal(2, plan(world, folder, "--save", file).status)
      assert(fs.append(folder .. "/phases.lua", "-- another word\n"))
      local result = program { "apply", file }
      assert.equal(1, result.status)
      assert.contains("the policies are not those that were planned with: phases.lua changed: nothing is done", result.errors)
      assert.equal("", result.output)
      local other = program { "apply", world.folder .. "/settings.yaml" }
      assert.equal(1, other.status)
      assert.contains("is no saved plan", other.errors)
    end)
  end)
end)
