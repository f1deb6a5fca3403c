-- Diff and apply against a real API server, mostly without an operator in between: after our own apply nothing differs,
-- whatever the spec and wherever an operator ended; and what cannot be changed in place is replaced only where that is allowed.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local edited = include "spec/lifecycle/edited.lua"
local apply = require "apply"
local diff = require "diff"
local policies = require "policies"

local CASES = 60

-- A repeatable source of numbers: the seed is part of a failure's text.
local function source(seed)
  local state = seed
  local s = { seed = seed }
  function s.number(most)
    state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
    return (state >> 33) % most + 1
  end
  function s.chance(percent) return s.number(100) <= percent end
  function s.pick(list) return list[s.number(#list)] end
  return s
end

local function random_env(s)
  local env = json.array {}
  for i = 1, s.number(6) - 1 do
    local name = "VAR_" .. s.pick { "A", "B", "C", "D" } .. i
    env[#env + 1] = s.pick {
      { name = name, value = s.pick { "1000m", "1", "", "$(VAR_A1)", "yes", "  spaces  " } },
      { name = name, valueFrom = { fieldRef = { fieldPath = s.pick { "metadata.name", "status.podIP" } } } },
      { name = name, valueFrom = { secretKeyRef = { name = "secret", key = "key", optional = s.chance(50) } } },
      { name = name, valueFrom = { configMapKeyRef = { name = "map", key = "key" } } },
      { name = name, valueFrom = { resourceFieldRef = { containerName = "model", resource = "limits.cpu", divisor = s.pick { "1", "1m", "0" } } } },
    }
  end
  return env
end

local function random_object(world, s, i)
  return world:manifest("p" .. i, function(object)
    local predictor = object.spec.predictors[1]
    object.metadata.uid = world.owner.metadata.uid
    object.metadata.name = world.owner.metadata.name
    object.metadata.generation = 1
    object.spec.env = s.chance(80) and random_env(s) or nil
    object.spec.stop = s.chance(20)
    object.spec.replicas = s.chance(40) and s.number(4) - 1 or nil
    predictor.replicas = s.number(3) - 1
    predictor.imagePullSecret = s.chance(30) and "pull-" .. s.number(3) or nil
    predictor.modelImage = "registry.example/model:v" .. s.number(5)
    predictor.modelURI = s.chance(50) and s.pick { "gs://b/m", "s3://b/m", "pvc://models/a", "pvc://others/a", "nfs://nas.example/models/a" } or nil
    predictor.modelURISecret = s.chance(30) and s.pick { "keys", "other-keys" } or nil
    predictor.engine = s.chance(25) and "none" or nil
    predictor.readiness = s.chance(30) and s.pick { "/health/ping", "tcp" } or nil
    object.spec.endpoint = s.chance(40) and { accessType = "private", clients = json.array { { name = "a", token = "t" .. s.number(3) } } } or nil
  end)
end

local function random_instance_type(s)
  local spec = { ["limits.cpu"] = s.pick { 0.5, 1, 2, 3.5, "1500m" }, ["limits.memory"] = s.pick { "1G", "2Gi", "1500M", "4G" } }
  if s.chance(40) then spec.nodeSelector = { disk = s.pick { "ssd", "hdd" }, zone = s.chance(50) and "a" or nil } end
  if s.chance(40) then
    spec.tolerations = json.array { { key = "gpu", operator = s.pick { "Exists", "Equal" }, effect = "NoSchedule" } }
    if spec.tolerations[1].operator == "Equal" then spec.tolerations[1].value = "yes" end
  end
  if s.chance(30) then spec["limits.nvidia.com/gpu"] = s.number(2) end
  if s.chance(30) then spec["requests.cpu"], spec["requests.memory"] = 0.3, "512M" end
  return { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "cpu-only" }, spec = spec }
end

local function random_settings(s, settings)
  local copy = json.decode(json.encode(settings))
  copy.rollout.strategy = s.chance(50) and "available" or "resource-aware"
  copy.imagePrefix = s.chance(30) and "mirror.example/" or ""
  copy.engine.grpc = s.chance(50)
  copy.ingress.host = s.chance(50) and "primehub.example" or ""
  copy.ingress.tls = s.chance(50) and json.array { { hosts = json.array { "primehub.example" }, secretName = "tls" } } or json.array {}
  copy.ingress.className = s.chance(50) and "nginx" or ""
  copy.model.preStopSleepSeconds = s.pick { 0, 10 }
  copy.ingress.timeoutSeconds = s.pick { 0, 300 }
  copy.modelUri.nfs.exports = json.array { "nas.example:/models" }
  copy.modelUri.storageLimit = s.chance(30) and "20Gi" or ""
  copy.securityContext.pod = s.chance(30) and { fsGroup = 100 } or {}
  return copy
end

-- What apply needs of an informer, over a live API server.
local function informer(world, kind)
  local known = {}
  local self = { kind = kind }
  function self.read(_, key) return known[key] end
  function self.get(_, key)
    local live = known[key]
    return live and { uid = live.metadata.uid, deleting = false, indexes = {} }
  end
  function self.content(_, key)
    return known[key] and digest.quick({ known[key].metadata.labels or {}, known[key].metadata.annotations or {},
      known[key].metadata.ownerReferences or {}, known[key].spec }) or nil
  end
  function self.of() return {
    wrote = function(_, body)
      local object = json.decode(body)
      known[object.metadata.namespace .. "/" .. object.metadata.name] = object
    end,
    deleted = function(_, key) known[key] = nil end,
  } end
  function self.fetch(child)
    return world.api:get(kind.kind, world.namespace, child.metadata.name)
  end
  return self
end

local function context(world, kind, replace)
  return { cluster = world.cluster, informer = informer(world, kind), owner_uid = world.owner.metadata.uid, digest = "test", settled = {},
    replace_allowed = function() return replace end, count = function() end,
    not_kept = function(_, found) error("a write was taken and this differs still: " .. diff.describe(found[1])) end }
end

local function owner_of(world)
  return { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", name = world.owner.metadata.name,
    namespace = world.namespace, uid = world.owner.metadata.uid }
end

local function each_child(world, generation, declaration, seen, visit)
  local decision, failure = generation:call("phdeployment", "decide", seen)
  assert(decision, failure and policies.explain_error(failure))
  for _, manifest in ipairs(decision.children) do
    local kind
    for _, declared in pairs(declaration.children) do
      if declared.kind == manifest.kind then kind = declared end
    end
    visit(kind, apply.complete(manifest, owner_of(world), declaration.label))
  end
  return decision
end

-- What a pod template names: volumes, containers, and the variables, mounts, ports and probes of each. As sorted lines.
local function named(template)
  local all = {}
  local function add(...) all[#all + 1] = table.concat({ ... }, " ") end
  for _, volume in ipairs(template.spec.volumes or {}) do
    local kinds = {}
    for name in pairs(volume) do kinds[#kinds + 1] = name end
    table.sort(kinds)
    add("volume", volume.name, table.unpack(kinds))
  end
  for _, list in ipairs { "initContainers", "containers" } do
    for _, one in ipairs(template.spec[list] or {}) do
      for _, variable in ipairs(one.env or {}) do add(one.name, "env", variable.name, variable.valueFrom and "from" or "") end
      for _, mount in ipairs(one.volumeMounts or {}) do add(one.name, "mount", mount.mountPath, mount.name) end
      for _, port in ipairs(one.ports or {}) do add(one.name, "port", tostring(port.containerPort)) end
      for _, from in ipairs(one.envFrom or {}) do add(one.name, "env from", from.secretRef.name) end
      add(one.name, one.lifecycle and "hook" or "no hook", one.readinessProbe and one.readinessProbe.httpGet and "http" or "no http")
    end
  end
  for _, secret in ipairs(template.spec.imagePullSecrets or {}) do add("pull", secret.name) end
  table.sort(all)
  return table.concat(all, "\n")
end

-- The cluster as `ctx` uses it, with an eye on Deployments: templates that came unpaused, one after the other, in `shown`. With
-- `left` writes done no other gets through, as if the operator had ended there.
local function watched(cluster, shown)
  local self = {}
  function self.request(_, options)
    local writes = options.method and options.method ~= "GET"
    if writes and self.left then
      if self.left == 0 then return nil, "the operator ended here" end
      self.left = self.left - 1
    end
    local answer, failure = cluster:request(options)
    local object = writes and answer and answer.status < 300 and json.decode(answer.body)
    if object and object.kind == "Deployment" and not object.spec.paused then
      local template = json.encode(object.spec.template)
      if shown[#shown] ~= template then shown[#shown + 1] = template end
    end
    return answer, failure
  end
  return self
end

describe("after our own apply", function()
  it(("nothing differs, nothing is left of before, and a template comes once: %d random specs over one another, each child"):format(CASES), function()
    harness.with({ operator = false }, function(world)
      world.owner = world:deploy("owner")
      local generation, settings = policies.load(nil, nil)
      local declaration = generation:describe("phdeployment")
      local seed = tonumber(process.env("SEED")) or 20261122
      local s = source(seed)
      local contexts, written, shown, ends = {}, 0, {}, 0
      for i = 1, CASES do
        local seen = { object = random_object(world, s, i), revisions = json.array {}, children = { deployments = {}, services = {}, ingresses = {} },
          pods = json.array {}, replicasets = json.array {}, problems = json.array {}, settings = random_settings(s, settings),
          now = loop.wall_ms() // 1000, policy = { digest = "test" }, instance_type = { state = "found", object = random_instance_type(s) },
          group = { state = "found", object = { metadata = { name = "phusers" }, spec = { id = harness.GROUP_ID, enabledDeployment = true } } } }
        each_child(world, generation, declaration, seen, function(kind, child)
          contexts[kind.kind] = contexts[kind.kind] or context(world, kind, false)
          local ctx = contexts[kind.kind]
          ctx.cluster = watched(world.cluster, shown)
          local before = #shown
          local where = ("seed %d, case %d, %s"):format(seed, i, child.kind)
          if child.kind == "Deployment" and s.chance(40) then
            ctx.cluster.left = s.number(3) - 1
            local _, cut = apply.ensure(ctx, child)
            if cut then ends = ends + 1 end
            ctx.cluster.left = nil
          end
          local result, trouble = apply.ensure(ctx, child)
          assert.is_nil(trouble, where)
          assert.truthy(#shown - before <= 1, where .. ": one edit makes several ReplicaSets")
          if result == "written" then written = written + 1 end
          local left = diff.compare(child, ctx.informer.fetch(child))
          assert.equal(0, #left, where .. ": " .. (left[1] and diff.describe(left[1], child.kind) or ""))
          assert.equal("unchanged", apply.ensure(ctx, child), where .. ": a second time")
          if child.kind == "Deployment" then
            assert.equal(named(child.spec.template), named(ctx.informer.fetch(child).spec.template), where)
          end
        end)
      end
      assert.truthy(written >= CASES, "most cases change something: " .. written)
      assert.truthy(ends >= CASES // 10, "an operator ends between two writes: " .. ends)
    end)
  end)
end)

describe("what cannot be changed in place", function()
  local function service(world, cluster_ip)
    return apply.complete({ apiVersion = "v1", kind = "Service", metadata = { name = "deploy-x" }, spec = { type = "ClusterIP",
      clusterIP = cluster_ip, selector = { a = "b" }, ports = json.array { { name = "http", port = 80, protocol = "TCP", targetPort = 80 } } } },
      owner_of(world), "primehub.io/phdeployment")
  end
  local KIND = { api_version = "v1", kind = "Service", resource = "services" }

  it("is told as the server says it, and nothing is deleted, where replacing is not allowed", function()
    harness.with({ operator = false }, function(world)
      world.owner = world:deploy("owner")
      local ctx = context(world, KIND, false)
      assert.equal("written", apply.ensure(ctx, service(world, nil)))
      local before = world.api:get("Service", world.namespace, "deploy-x")
      local result, trouble = apply.ensure(ctx, service(world, "None"))
      assert.is_nil(result)
      assert.equal(422, trouble.code)
      assert.contains("may not change", trouble.message)
      assert.equal(before.metadata.uid, world.api:get("Service", world.namespace, "deploy-x").metadata.uid)
    end)
  end)

  it("is deleted and made again where it is allowed, and only the very object that was seen", function()
    harness.with({ operator = false }, function(world)
      world.owner = world:deploy("owner")
      local ctx = context(world, KIND, true)
      assert.equal("written", apply.ensure(ctx, service(world, nil)))
      local before = world.api:get("Service", world.namespace, "deploy-x")
      assert.equal("written", apply.ensure(ctx, service(world, "None")))
      local after = world.api:get("Service", world.namespace, "deploy-x")
      assert.truthy(before.metadata.uid ~= after.metadata.uid)
      assert.equal("None", after.spec.clusterIP)
    end)
  end)

  it("is made again by an operator once in ten minutes, and then its status tells the refusal", function()
    harness.with({ operator = false }, function(world)
      world:start_operator { policies = edited.folder_of(world, "addressed", "children/service.lua", 'spec = { type = "ClusterIP",',
        'spec = { type = "ClusterIP", clusterIP = s.spec.description ~= "" and s.spec.description or nil,') }
      world:deploy "m"
      world:phase("m", "Deployed")
      local first = world:child("Service", "m").metadata.uid
      world:edit("m", { spec = { description = "None" } })
      harness.eventually("the Service is another one", 20, function()
        local there = world:child("Service", "m")
        return there and there.metadata.uid ~= first and there.spec.clusterIP == "None"
      end)
      local second = world:child("Service", "m").metadata.uid
      world:phase("m", "Deployed")
      world:edit("m", { spec = { description = "10.0.0.200" } })
      world:phase("m", "Failed")
      assert.contains("may not change", world:get("m").status.message)
      assert.equal(second, world:child("Service", "m").metadata.uid, "a second replacement would be a fight with the server")
    end)
  end)
end)

describe("a view that is out of date", function()
  local status = require "status"
  local KIND = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", resource = "phdeployments" }

  it("loses the race for status: nothing newer is overwritten (fault 17)", function()
    harness.with({ operator = false }, function(world)
      local old = world:deploy("m")
      local key = world.namespace .. "/m"
      assert.equal("written", status.write(world.cluster, KIND, key, status.patch(old, { phase = "Deploying" }, "2026-01-01T00:00:00Z")))
      assert.equal("conflict", status.write(world.cluster, KIND, key, status.patch(old, { phase = "Failed" }, "2026-01-01T00:00:00Z")))
      assert.equal("Deploying", world:get("m").status.phase)
    end)
  end)

  it("takes over no object that was made again under the name of ours", function()
    harness.with({ operator = false }, function(world)
      world.owner = world:deploy("owner")
      local kind = { api_version = "v1", kind = "Service", resource = "services" }
      local ctx = context(world, kind, false)
      local function service(port)
        return apply.complete({ apiVersion = "v1", kind = "Service", metadata = { name = "deploy-x" }, spec = { type = "ClusterIP",
          selector = { a = "b" }, ports = json.array { { name = "http", port = port, protocol = "TCP", targetPort = 80 } } } },
          owner_of(world), "primehub.io/phdeployment")
      end
      assert.equal("written", apply.ensure(ctx, service(80)))
      world.api:delete("Service", world.namespace, "deploy-x")
      world.api:create { apiVersion = "v1", kind = "Service", metadata = { name = "deploy-x", namespace = world.namespace },
        spec = { ports = { { port = 1234 } } } }
      -- the cache of ctx still shows the old one
      local result, trouble = apply.ensure(ctx, service(81))
      assert.is_nil(result)
      assert.truthy(trouble.code == 409 or trouble.code == 422, "the server refuses a patch of another UID: " .. trouble.message)
      local there = world.api:get("Service", world.namespace, "deploy-x")
      assert.equal(1234, there.spec.ports[1].port)
      assert.is_nil(there.metadata.ownerReferences)
    end)
  end)
end)
