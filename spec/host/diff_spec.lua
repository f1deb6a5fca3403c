-- What is drift and what is not, and the patches that mend it.

local diff = require "diff"
local fake = require("include") "spec/host/fake_cluster.lua"

local function deployment(pod, spec)
  spec = spec or {}
  spec.template = { metadata = { labels = { app = "m" } }, spec = pod }
  return { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "d", namespace = "hub" }, spec = spec }
end

local function container(fields)
  fields.name = fields.name or "model"
  return deployment { containers = json.array { fields } }
end

local function found(wanted, live)
  return diff.paths(diff.compare(wanted, live))
end

describe("a difference is", function()
  it("a value that is not the wanted one, named by its path", function()
    assert.equal("spec.template.spec.containers[model].image",
      found(container { image = "a:2" }, container { image = "a:1" }))
  end)

  it("not what the server or others filled in where we say nothing", function()
    local live = container { image = "a:1", imagePullPolicy = "Always", terminationMessagePath = "/dev/x" }
    live.spec.strategy = { type = "RollingUpdate" }
    live.status = { replicas = 1 }
    live.metadata.labels = { theirs = "yes" }
    assert.equal("", found(container { image = "a:1" }, live))
  end)

  it("an init container that nobody asked for, also where none is wanted: it is taken away", function()
    local function pod(names)
      local list = json.array {}
      for i, name in ipairs(names) do list[i] = { name = name, image = "a" } end
      return deployment { containers = json.array { { name = "model" } }, initContainers = #names > 0 and list or nil }
    end
    assert.equal("spec.template.spec.initContainers[theirs] (not ours)", found(pod {}, pod { "theirs" }))
    assert.equal("spec.template.spec.initContainers[theirs] (not ours)", found(pod { "ours" }, pod { "ours", "theirs" }))
    assert.equal("", found(pod {}, pod {}))
    assert.equal('{"spec":{"template":{"spec":{"initContainers":[{"$patch":"delete","name":"theirs"}]}}}}',
      json.encode(diff.repair(pod {}, pod { "theirs" })))
  end)

  it("a lock that nobody wants on an Ingress, and no other annotation of others", function()
    local function ingress(annotations)
      return { apiVersion = "networking.k8s.io/v1", kind = "Ingress", metadata = { name = "i", annotations = annotations }, spec = {} }
    end
    local live = ingress { a = "b", theirs = "x", ["nginx.ingress.kubernetes.io/auth-type"] = "basic",
      ["nginx.ingress.kubernetes.io/whitelist-source-range"] = "10.0.0.0/8" }
    assert.equal("metadata.annotations.nginx.ingress.kubernetes.io/auth-type (not ours)", found(ingress { a = "b" }, live))
    assert.equal('{"metadata":{"annotations":{"nginx.ingress.kubernetes.io/auth-type":null}}}',
      json.encode(diff.repair(ingress { a = "b" }, live)))
    assert.equal("", found(ingress { ["nginx.ingress.kubernetes.io/auth-type"] = "basic" }, live))
  end)

  it("not a zero value that Go leaves out", function()
    assert.equal("", found(deployment({ containers = json.array {} }, { paused = false, minReadySeconds = 0 }), deployment { }))
    assert.equal("spec.paused", found(deployment({}, { paused = false }), deployment({}, { paused = true })))
    assert.equal("spec.paused", found(deployment({}, { paused = true }), deployment({})))
  end)

  it("a quantity only if its value differs, and only where a quantity stands", function()
    local function limits(cpu) return container { resources = { limits = { cpu = cpu } } } end
    assert.equal("", found(limits "1000m", limits "1"))
    assert.equal("", found(limits(2), limits "2"))
    assert.equal("spec.template.spec.containers[model].resources.limits.cpu", found(limits "1001m", limits "1"))
    local function env(v) return container { env = json.array { { name = "CPU", value = v } } } end
    assert.equal("spec.template.spec.containers[model].env[CPU].value", found(env "1000m", env "1"))
    local function note(v)
      local d = deployment {}
      d.metadata.annotations = { ["x.limits.cpu"] = v }
      return d
    end
    assert.equal("metadata.annotations.x.limits.cpu", found(note "1000m", note "1"))
  end)

  it("of keyed lists an entry by its key, whatever its place", function()
    local function ports(...) return container { ports = json.array { ... } } end
    local a, b = { containerPort = 1, protocol = "TCP" }, { containerPort = 2 }
    assert.equal("", found(ports(a, b), ports({ containerPort = 2, protocol = "TCP" }, a)))
    assert.equal("spec.template.spec.containers[model].ports[2]", found(ports(a, b), ports(a)))
    assert.equal("", found(ports(a), ports(a, b)), "a port that another added is theirs")
  end)

  it("the whole of an atomic list: length and order", function()
    local function args(...) return container { args = json.array { ... } } end
    assert.equal("", found(args("a", "b"), args("a", "b")))
    assert.equal("spec.template.spec.containers[model].args", found(args("a", "b"), args("a", "b", "c")))
    assert.contains("args[0]", found(args("a", "b"), args("b", "a")))
  end)

  it("an entry that nobody asked for, where the list or map is wanted as a whole", function()
    local live = container { image = "a" }
    table.insert(live.spec.template.spec.containers, { name = "sidecar", image = "x" })
    live.spec.template.spec.nodeSelector = { a = "1", b = "2" }
    local wanted = container { image = "a" }
    wanted.spec.template.spec.nodeSelector = { a = "1" }
    local differences = diff.compare(wanted, live)
    assert.is_true(differences.extras)
    assert.is_nil(differences.values)
    assert.equal("spec.template.spec.containers[sidecar] (not ours), spec.template.spec.nodeSelector.b (not ours)", diff.paths(differences))
  end)

  it("the order of env, and of nothing else keyed", function()
    local a, b = { name = "A", value = "1" }, { name = "B", value = "2" }
    local theirs = { name = "X", value = "9" }
    local wanted = container { env = json.array { a, b } }
    assert.contains("(order)", found(wanted, container { env = json.array { b, a } }))
    assert.equal("", found(wanted, container { env = json.array { a, theirs, b } }), "a stranger between ours is no matter")
  end)

  it("told without an error when a policy or a server puts the wrong thing in a list", function()
    assert.contains("containers[x]", found(deployment { containers = json.array { "x" } }, deployment { containers = json.array {} }))
    assert.truthy(#diff.compare(container { image = "a" }, deployment { containers = "none" }) > 0)
    assert.truthy(#diff.compare(container { image = "a" }, deployment(json.null)) > 0)
  end)

  it("told by paths, never by values", function()
    local wanted = { apiVersion = "v1", kind = "Secret", metadata = { name = "s" }, data = { token = "aGVsbG8=" } }
    assert.equal("data.token", found(wanted, { metadata = { name = "s" }, data = { token = "b3RoZXI=" } }))
  end)
end)

describe("a repair", function()
  local function mended(wanted, live)
    return fake.merge_strategic(wanted.kind, "", fake.copy(live), fake.copy(diff.repair(wanted, live)))
  end

  it("is nothing when only values differ", function()
    assert.is_nil(diff.repair(container { image = "a" }, container { image = "b" }))
  end)

  it("deletes an extra container and an extra key of the node selector", function()
    local wanted, live = container { image = "a" }, container { image = "a" }
    wanted.spec.template.spec.nodeSelector = {}
    live.spec.template.spec.nodeSelector = { zone = "b" }
    table.insert(live.spec.template.spec.containers, { name = "sidecar" })
    local patch = diff.repair(wanted, live)
    assert.same({ { name = "sidecar", ["$patch"] = "delete" } }, patch.spec.template.spec.containers)
    assert.equal(json.null, patch.spec.template.spec.nodeSelector.zone)
    assert.equal("", found(wanted, mended(wanted, live)))
  end)

  it("restores the order of env by $setElementOrder, with ours first", function()
    local a, b, c = { name = "A", value = "1" }, { name = "B", value = "$(A)" }, { name = "C", value = "3" }
    local wanted, live = container { env = json.array { a, b } }, container { env = json.array { b, c, a } }
    local patch = diff.repair(wanted, live)
    assert.same({ { name = "A" }, { name = "B" } }, patch.spec.template.spec.containers[1]["$setElementOrder/env"])
    assert.equal("", found(wanted, mended(wanted, live)))
  end)

  local function service(...)
    return { apiVersion = "v1", kind = "Service", metadata = { name = "s" }, spec = { selector = { app = "m" }, ports = json.array { ... } } }
  end

  it("takes a colliding Service port away and puts ours in the same patch", function()
    local wanted = service { name = "http", port = 80, protocol = "TCP", targetPort = 8000 }
    local live = service { name = "http", port = 8080, protocol = "TCP", targetPort = 8000 }
    assert.is_true(diff.compare(wanted, live).extras)
    assert.equal("", found(wanted, mended(wanted, live)))
  end)

  it("keeps our port when an extra one has its number and another protocol", function()
    local ours = { name = "http", port = 80, protocol = "TCP", targetPort = 8000 }
    local wanted, live = service(ours), service(ours, { name = "dns", port = 80, protocol = "UDP", targetPort = 53 })
    assert.equal("", found(wanted, mended(wanted, live)))
  end)

  it("does not write into what it was given", function()
    local wanted = service { name = "http", port = 80, protocol = "TCP" }
    local before = json.encode(wanted)
    diff.repair(wanted, service { name = "x", port = 80, protocol = "UDP" })
    assert.equal(before, json.encode(wanted))
  end)
end)

-- ---------------------------------------------------------------- laws

local function some_name() return string.char(97 + math.random(0, 5)) end

local function some_manifest()
  local containers = json.array {}
  for i = 1, math.random(1, 3) do
    local env, ports, limits = json.array {}, json.array {}, {}
    for e = 1, math.random(0, 4) do env[e] = { name = "E" .. e, value = tostring(math.random(9)) } end
    for p = 1, math.random(0, 3) do ports[p] = { containerPort = p, protocol = math.random(2) == 1 and "TCP" or "UDP" } end
    for _, name in ipairs { "cpu", "memory" } do limits[name] = tostring(math.random(9)) end
    containers[i] = { name = "c" .. i, image = some_name(), env = env, ports = ports, resources = { limits = limits },
      args = json.array { some_name(), some_name() } }
  end
  local wanted = deployment({ containers = containers, nodeSelector = { [some_name()] = "1" } },
    { replicas = math.random(0, 3), paused = false })
  wanted.metadata.labels = { [some_name()] = some_name() }
  return wanted
end

-- As a server stores what was applied: lists that are sets come back in some order, defaults stand
-- where nothing was said, zero values are left out, quantities are canonical, others own some entries.
local function as_stored(wanted)
  local live = fake.copy(wanted)
  live.spec.paused = nil
  live.spec.progressDeadlineSeconds = 600
  live.metadata.annotations = { theirs = "1" }
  for _, one in ipairs(live.spec.template.spec.containers) do
    one.imagePullPolicy = "Always"
    if #one.env == 0 then one.env = nil else table.insert(one.env, math.random(#one.env + 1), { name = "THEIRS", value = "1" }) end
    for i = #one.ports, 2, -1 do
      local j = math.random(i)
      one.ports[i], one.ports[j] = one.ports[j], one.ports[i]
    end
    one.resources.limits.cpu = tostring(tonumber(one.resources.limits.cpu) * 1000) .. "m"
  end
  local list = live.spec.template.spec.containers
  for i = #list, 2, -1 do
    local j = math.random(i)
    list[i], list[j] = list[j], list[i]
  end
  return live
end

-- Somebody edits what is stored: values, entries, order.
local function meddled(live)
  local pod = live.spec.template.spec
  if math.random(2) == 1 then pod.nodeSelector[some_name() .. "x"] = "2" end
  if math.random(2) == 1 then table.insert(pod.containers, math.random(#pod.containers + 1), { name = "extra", image = "x" }) end
  for _, one in ipairs(pod.containers) do
    if math.random(3) == 1 then one.image = "other" end
    if one.env and #one.env > 1 and math.random(2) == 1 then table.insert(one.env, table.remove(one.env, 1)) end
    if one.env and math.random(3) == 1 then table.remove(one.env) end
  end
  if math.random(2) == 1 then live.spec.paused = true end
  return live
end

describe("for any manifest", function()
  it("what apply stored is no difference (500 manifests)", function()
    for i = 1, 500 do
      math.randomseed(i)
      local wanted = some_manifest()
      assert.equal("", found(wanted, as_stored(wanted)), "seed " .. i)
    end
  end)

  it("apply and one repair before or after mend every meddling (500 manifests)", function()
    for i = 1, 500 do
      math.randomseed(i)
      local wanted = some_manifest()
      local live = meddled(as_stored(wanted))
      local differences = diff.compare(wanted, live)
      local function repair()
        local patch = diff.repair(wanted, live)
        if patch then live = fake.merge_strategic("Deployment", "", live, fake.copy(patch)) end
      end
      if differences.extras then repair() end
      live = fake.apply_onto("Deployment", "", live, wanted)
      if diff.compare(wanted, live).order then repair() end
      assert.equal("", found(wanted, live), "seed " .. i)
    end
  end)
end)

local function some_json(depth)
  local pick = math.random(depth > 3 and 4 or 6)
  if pick == 1 then return math.random(100) end
  if pick == 2 then return some_name() end
  if pick == 3 then return math.random(2) == 1 end
  if pick == 4 then return math.random() end
  local value = pick == 5 and json.array {} or {}
  for i = 1, math.random(1, 4) do value[pick == 5 and i or some_name()] = some_json(depth + 1) end
  return value
end

local function some_map()
  local map = {}
  for _ = 1, math.random(4) do map[some_name()] = some_json(0) end
  return map
end

describe("a merge patch", function()
  it("applied to what it was made against gives what was wanted (2,000 pairs)", function()
    for i = 1, 2000 do
      math.randomseed(i)
      local a, b = some_map(), some_map()
      for name, value in pairs(a) do
        if math.random(3) == 1 then b[name] = fake.copy(value) end
      end
      local patch = diff.merge_patch(a, b)
      local result = patch and fake.merge_patch(fake.copy(a), fake.copy(patch)) or a
      assert.is_true(json.equal(b, result), ("seed %d: %s\n -> %s\n by %s"):format(i, json.encode(a), json.encode(b), patch and json.encode(patch) or "nil"))
      assert.is_nil(diff.merge_patch(b, b), "seed " .. i)
    end
  end)

  it("empties a map that is wanted empty", function()
    assert.same({ x = { a = json.null } }, diff.merge_patch({ x = { a = 1 } }, { x = {} }))
  end)

  it("is nothing where empty meets absence, or {} meets []", function()
    assert.is_nil(diff.merge_patch({}, { x = {} }))
    assert.is_nil(diff.merge_patch({ x = json.array {} }, { x = {} }))
    assert.is_nil(diff.merge_patch({ x = {} }, { x = json.array {} }))
  end)

  it("empties a list by a list, also when the policy's {} cannot say that it is one", function()
    assert.equal('{"x":[]}', json.encode(diff.merge_patch({ x = json.array { 1 } }, { x = {} })))
  end)

  it("takes a missing or broken status for an empty one", function()
    assert.same({ a = 1 }, diff.merge_patch(nil, { a = 1 }))
    assert.same({ a = 1 }, diff.merge_patch(json.null, { a = 1 }))
    assert.same({ a = 1 }, diff.merge_patch(json.array { 1 }, { a = 1 }))
  end)
end)
