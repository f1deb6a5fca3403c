-- A world for one lifecycle spec: a namespace of its own, the catalogue in it, and an operator process of its own.
--
--   harness.with({ settings = {...} }, function(world) world:deploy("m"); world:phase("m", "Deployed") end)
--
-- The operator is the real binary, told by signal to end; its log is shown when the spec fails. One kubelet
-- plays for all worlds.
--
-- The same specs run on two backends, told apart by MOONPHASE_BACKEND alone: "real", a control plane (spec/cluster/kube) with the
-- kubelet of spec/cluster/kubelet.lua, and "sandbox" (spec/sandbox/serve.lua), which has a kubelet of its own. What an image does
-- is said by the same word to both.

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local kubelet_words = include "spec/cluster/kubelet.lua"

local M = {}
local World = {}
World.__index = World

M.eventually = api_words.eventually

M.backend = process.env("MOONPHASE_BACKEND") or "real"
assert(M.backend == "real" or M.backend == "sandbox", "MOONPHASE_BACKEND is real or sandbox, not " .. M.backend)

-- The sandbox's own kubelet, by the words of spec/cluster/kubelet.lua.
local SandboxKubelet = {}
SandboxKubelet.__index = SandboxKubelet

-- What ends by itself never serves before, as with the other kubelet.
local ENDS = { ["crashes"] = true, ["out of memory"] = true }

function SandboxKubelet:image(image, behaviour)
  self.api:ask { method = "PUT", path = "/sandbox/images", body = { [image] = ENDS[behaviour] and { like = behaviour, ready = false } or behaviour } }
end

function SandboxKubelet.stop() end

local function start_kubelet(api)
  if M.backend == "sandbox" then return setmetatable({ api = api }, SandboxKubelet) end
  return kubelet_words.start(api.cluster)
end

local shared

-- (waits) The cluster, its API words and the kubelet; made once.
local function share()
  if not shared then
    local cluster = assert(kube.open {})
    shared = { cluster = cluster, api = api_words.new(cluster), count = 0 }
    shared.api:install_crds()
    shared.kubelet = start_kubelet(shared.api)
  end
  return shared
end
M.share = share

M.GROUP_ID = "ca6b032e-b8be-44d2-9646-092622d6ba15"

local function catalogue(namespace)
  return {
    { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = "phusers", namespace = namespace },
      spec = { id = M.GROUP_ID, name = "phusers", enabledDeployment = true } },
    { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "cpu-only", namespace = namespace },
      spec = { displayName = "CPU", ["limits.cpu"] = 1, ["limits.memory"] = "2G" } },
  }
end

-- The settings of this world's operator become these, over the defaults of all worlds: probes without their patience for large models
-- (the sandbox's kubelet heeds them).
function World:use_settings(extra)
  local settings = { catalogNamespace = self.namespace, probes = { initialDelaySeconds = 0, periodSeconds = 1 } }
  for k, v in pairs(extra or {}) do settings[k] = v end
  assert(fs.write(self.folder .. "/settings.yaml", json.encode(settings)))
end

-- Start (or start again) the operator of this world. options: policies = folder, words = more of the command line, env,
-- all_namespaces = true.
function World:start_operator(options)
  options = options or {}
  self.starts = (self.starts or 0) + 1
  self.log = self.folder .. "/operator-" .. self.starts .. ".log"
  self.socket = self.folder .. "/op.sock"
  local argv = { process.env("MOONPHASE") or "build/moonphase", "run", "--settings", self.folder .. "/settings.yaml",
    "--control-socket", self.socket, table.unpack(options.all_namespaces and { "--all-namespaces" } or { "--namespace", self.namespace }) }
  if options.policies then argv[#argv + 1], argv[#argv + 2] = "--policies", options.policies end
  for _, word in ipairs(options.words or {}) do argv[#argv + 1] = word end
  self.operator = assert(process.spawn { argv = { "sh", "-c", 'exec "$@" 2>"$0"', self.log, table.unpack(argv) }, env = options.env })
  return self.operator
end

function World:stop_operator()
  if self.operator then
    self.operator:signal("TERM")
    local status = self.operator:wait(28)
    self.operator = nil
    return status
  end
end

function World:ask_operator(path)
  return http.request { url = "http://localhost" .. path, unix = self.socket, timeout = 5 }
end

-- The group and the instance type that worlds start with; again after a spec took one away.
function World:add_catalogue()
  for _, object in ipairs(catalogue(self.namespace)) do self.api:apply(object) end
end

-- A PhDeployment as a person would write it; change(object) may edit it first.
function World:manifest(name, change)
  local object = {
    apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", metadata = { name = name, namespace = self.namespace },
    spec = {
      displayName = name, userId = "5f5a3b8b-6d0e-4f3c-9f7d-0c7b0a8a1d11", userName = "phadmin", groupId = M.GROUP_ID, groupName = "phusers",
      stop = false, description = "", updateMessage = "", endpoint = { accessType = "public" },
      predictors = json.array { { name = "predictor1", replicas = 1, modelImage = "registry.example/" .. name .. ":v1", instanceType = "cpu-only" } },
    },
  }
  if change then change(object) end
  return object
end

function World:deploy(name, change)
  return self.api:create(self:manifest(name, change))
end

function World:get(name)
  return self.api:get("PhDeployment", self.namespace, name)
end

function World:edit(name, patch)
  return self.api:patch("PhDeployment", self.namespace, name, "merge", patch)
end

-- Change the first predictor: {modelImage = ..., replicas = ...}.
function World:predictor(name, fields)
  local predictors = self:get(name).spec.predictors
  for k, v in pairs(fields) do predictors[1][k] = v end
  return self:edit(name, { spec = { predictors = predictors } })
end

function World:child(kind, name)
  return self.api:get(kind, self.namespace, "deploy-" .. name)
end

-- (waits) until the status of the present generation says `phase`; the object.
function World:phase(name, phase, seconds)
  return api_words.eventually(name .. " is " .. phase, seconds or 20, function()
    local object = self:get(name)
    local status = object and object.status or {}
    return status.phase == phase and status.observedGeneration == object.metadata.generation and object,
      (status.phase or "no phase") .. ": " .. (status.message or "")
  end)
end

-- The children that the built-in policies make of the samples, by the program itself.
function M.rendered_children()
  local result = assert(process.run { argv = { process.env("MOONPHASE") or "build/moonphase", "render", "-o", "json",
    "-f", "crds/samples/phdeployment.yaml", "-f", "crds/samples/phgroup.yaml", "-f", "crds/samples/instancetypes.yaml" } })
  local children = {}
  for line in result.output:gmatch("[^\n]+") do children[#children + 1] = assert(json.decode(line)) end
  assert(#children > 0, "render printed nothing: " .. result.errors)
  return children
end

-- Every phase that the object shows from now on, without those that repeat: an array that grows, and a function that ends it.
function M.phases_of(world, name)
  local seen, watch = {}, nil
  watch = world.cluster:watch { path = api_words.path("PhDeployment", world.namespace), api_version = "primehub.io/v1alpha1",
    kind = "PhDeployment", keep = "whole", name = "phases",
    on_change = function(key)
      local object = key == world.namespace .. "/" .. name and watch:read(key)
      local phase = object and object.status and object.status.phase
      if phase and seen[#seen] ~= phase then seen[#seen + 1] = phase end
    end }
  assert(watch:wait_synced(10))
  return seen, function()
    loop.sleep(0.3) -- what a GET shows already may still be on its way
    watch:stop()
  end
end

-- From now on pods of this image take so long to end. (The kubelet of a real control plane knows one time for all.)
function M.slow_ends(world, image, seconds)
  if M.backend == "sandbox" then
    world.kubelet:image(image, { stop_seconds = seconds })
  else
    world.kubelet.grace = seconds
  end
end

function M.condition(object, kind)
  for _, condition in ipairs(object.status and object.status.conditions or {}) do
    if condition.type == kind then return condition end
  end
end

local function close(self, failed)
  self:stop_operator()
  self.api:delete("Namespace", nil, self.namespace)
  if failed then
    for i = 1, self.starts or 0 do
      local text = fs.read(self.folder .. "/operator-" .. i .. ".log") or ""
      if text ~= "" then io.write("     --- operator log ", i, "\n     ", (text:sub(-4000):gsub("\n", "\n     ")), "\n") end
    end
  end
end

-- options: {settings = table over the defaults, operator = false (start none), policies = folder, catalogue = false}
function M.with(options, body)
  local common = share()
  common.count = common.count + 1
  local base = process.env("MOONPHASE_CLUSTER_DIR") or "/tmp"
  local self = setmetatable({ api = common.api, cluster = common.cluster, kubelet = common.kubelet,
    namespace = ("w%d-%d"):format(process.id, common.count) }, World)
  self.folder = base .. "/" .. self.namespace
  assert(fs.make_folder(self.folder))
  self:use_settings(options.settings)
  self.api:create { apiVersion = "v1", kind = "Namespace", metadata = { name = self.namespace } }
  if options.catalogue ~= false then self:add_catalogue() end
  if options.operator ~= false then self:start_operator { policies = options.policies } end
  local ok, failure = xpcall(body, require("where"), self)
  close(self, not ok)
  if not ok then error(failure, 0) end
end

return M
