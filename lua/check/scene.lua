-- The small world of the walk: one model, and everything that people and the cluster may do to it, as a table.
--
-- Each row may happen as often as it says, and only where it makes sense. How the world is now is one small value in the world
-- itself (cell.scene), so that it is saved, put back and told apart with all the rest. What may happen in which order is not said
-- here: the walk tries it all.

local inprocess = require "sandbox.inprocess"
local stage = require "sandbox.stage"

local M = {}
M.__index = M

M.NAMESPACE, M.NAME = "hub", "m"
M.CHILD = "deploy-m"

local FIRST, SECOND = "registry.example/model:v1", "registry.example/model:v2"
local GROUP_ID = "ca6b032e-b8be-44d2-9646-092622d6ba15"

local GROUP = { apiVersion = "primehub.io/v1alpha1", kind = "PhGroup", metadata = { name = "phusers", namespace = M.NAMESPACE },
  spec = { id = GROUP_ID, name = "phusers", enabledDeployment = true } }
local INSTANCE_TYPE = { apiVersion = "primehub.io/v1alpha1", kind = "InstanceType", metadata = { name = "cpu-only", namespace = M.NAMESPACE },
  spec = { displayName = "cpu-only", ["limits.cpu"] = 1, ["limits.memory"] = "2G" } }
local QUOTA = { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "small", namespace = M.NAMESPACE },
  spec = { hard = { pods = "0" } } }
-- What the model's environment is, one after the other. No order is that of the alphabet, and one variable stands in another.
local CLASS, GREETING = { name = "MODEL_CLASS", value = "Iris" }, { name = "GREETING", value = "hello, $(MODEL_CLASS)" }
local ENVS = {
  { json.array { CLASS, GREETING }, "the environment is as at first" },
  { json.array { GREETING, CLASS }, "the environment is put in another order" },
  { json.array { CLASS }, "a variable is taken out of the environment" },
}
local MODEL = { apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", metadata = { name = M.NAME, namespace = M.NAMESPACE },
  spec = { displayName = "a model", userId = "u-1", userName = "phadmin", groupId = GROUP_ID, groupName = "phusers", stop = false,
    updateMessage = "the first version", env = ENVS[1][1],
    predictors = json.array { { name = "predictor1", replicas = 1, modelImage = FIRST, instanceType = "cpu-only" } } } }
local CLIENTS = json.array { { name = "reader", token = "$apr1$Zk1sC2tW$qP0pTq1c3J1pU0n0z2ZyG0" } }

-- ---------------------------------------------------------------- the rows

local function predictor_now(self) return self:object().spec.predictors[1] end

-- The spec's predictors with a change; json.null takes a field away.
local function predictors(self, change)
  local predictor = {}
  for name, value in pairs(predictor_now(self)) do predictor[name] = value end
  for name, value in pairs(change) do predictor[name] = value ~= json.null and value or nil end
  return json.array { predictor }
end

local function edit(self, spec)
  self:person():edit(MODEL.apiVersion, MODEL.kind, M.NAMESPACE, M.NAME, { spec = spec })
end

local function image_now(self) return predictor_now(self).modelImage end

-- 1, 2, 0, and round again.
local function other_replicas(self) return (predictor_now(self).replicas + 1) % 3 end

-- The row of ENVS behind the present one.
local function next_env(self)
  local now = self:object().spec.env
  for i, one in ipairs(ENVS) do
    if json.equal(one[1], now) then return ENVS[i % #ENVS + 1] end
  end
end

local function has_engine(self) return predictor_now(self).engine ~= "none" end

-- Where files of models may be under these settings; nil: nowhere that the small world has.
local function model_uri(self)
  local known = (self.settings.modelUri or {}).schemes
  return type(known) == "table" and known[1] and known[1] .. "://models/iris" or nil
end

local function is_there(scene, self)
  local object = self:object()
  return object ~= nil and object.metadata.deletionTimestamp == nil and not scene.deleted
end

local function may_edit(scene, self)
  return is_there(scene, self) and (scene.used.edits or 0) < 2
end

-- Whether the status tells that the model serves, or that nothing is left of it.
local function is_at_rest(self)
  local object = self:object()
  local status = object.status or {}
  return status.observedGeneration == object.metadata.generation and (status.phase == "Deployed" or status.phase == "Stopped")
end

-- What changes the pods otherwise than the image is edited when the model is at rest, and once it was edited (was_edited(self)) at any time.
-- (An edit of the image comes at every moment, also of a trouble; the rollout is the same. Else the walk would take twice as long.)
local function may_edit_pods(was_edited)
  return function(scene, self) return may_edit(scene, self) and (is_at_rest(self) or was_edited(self)) end
end

local may_edit_env = may_edit_pods(function(self) return not json.equal(self:object().spec.env, ENVS[1][1]) end)
local may_edit_engine = may_edit_pods(function(self) return predictor_now(self).engine ~= nil end)
local may_edit_files = may_edit_pods(function(self) return predictor_now(self).modelURI ~= nil end)

local function set_allocatable(self, cpu)
  self.there.cluster:write("nodes", "", "node-1", function(node)
    local status, allocatable = {}, {}
    for name, value in pairs(node.status) do status[name] = value end
    for name, value in pairs(status.allocatable) do allocatable[name] = value end
    allocatable.cpu = cpu
    status.allocatable = allocatable
    local copy = {}
    for name, value in pairs(node) do copy[name] = value end
    copy.status = status
    return copy
  end, "kubelet")
end

-- Whatever registry the settings put before them.
local function images(self, behaviour)
  for _, image in ipairs { FIRST, SECOND } do self.there.cluster:set_image("*" .. image, behaviour) end
end

-- name: in --replay, one word. what: "user" or "world". text: told in a story. budget: what it counts for, and `most` of it (1 if not
-- said). may(scene, self): whether it can happen now. act(self): do it. after: what is another way in the scene from then on.
M.ROWS = {
  { name = "image", what = "user", budget = "edits", most = 2, may = may_edit,
    text = function(self) return "image set to " .. (image_now(self) == FIRST and SECOND or FIRST) end,
    act = function(self) edit(self, { predictors = predictors(self, { modelImage = image_now(self) == FIRST and SECOND or FIRST }) }) end },
  { name = "replicas", what = "user", budget = "edits", most = 2, may = may_edit,
    text = function(self) return "replicas set to " .. other_replicas(self) end,
    act = function(self) edit(self, { predictors = predictors(self, { replicas = other_replicas(self) }) }) end },
  { name = "env", what = "user", budget = "edits", most = 2, may = may_edit_env,
    text = function(self) return next_env(self)[2] end,
    act = function(self) edit(self, { env = next_env(self)[1] }) end },
  { name = "engine", what = "user", budget = "edits", most = 2,
    may = function(scene, self) return self.settings.engine ~= nil and may_edit_engine(scene, self) end,
    text = function(self) return has_engine(self) and "the model is to serve without an engine" or "the engine is to serve again" end,
    act = function(self) edit(self, { predictors = predictors(self, { engine = has_engine(self) and "none" or "seldon" }) }) end },
  { name = "model-uri", what = "user", budget = "edits", most = 2,
    may = function(scene, self) return model_uri(self) ~= nil and may_edit_files(scene, self) end,
    text = function(self)
      return predictor_now(self).modelURI and "the model's files are in its image again" or "the model's files are to be fetched"
    end,
    act = function(self)
      edit(self, { predictors = predictors(self, { modelURI = predictor_now(self).modelURI and json.null or model_uri(self) }) })
    end },
  { name = "words", what = "user", budget = "edits", most = 2, may = may_edit, text = "the description is changed",
    act = function(self)
      edit(self, { description = "words, generation " .. self:object().metadata.generation, updateMessage = "other words" })
    end },
  { name = "private", what = "user", budget = "edits", most = 2, may = may_edit,
    text = function(self) return self:object().spec.endpoint and "the endpoint is made public" or "the endpoint is made private" end,
    act = function(self)
      edit(self, { endpoint = self:object().spec.endpoint and json.null or { accessType = "private", clients = CLIENTS } })
    end },
  { name = "stop", what = "user", budget = "stop", text = "stop",
    may = function(scene, self) return is_there(scene, self) and not self:object().spec.stop end,
    act = function(self) edit(self, { stop = true }) end },
  { name = "start", what = "user", budget = "start", text = "start",
    may = function(scene, self) return is_there(scene, self) and self:object().spec.stop end,
    act = function(self) edit(self, { stop = false }) end },
  { name = "delete", what = "user", budget = "delete", text = "the PhDeployment is deleted", may = is_there,
    act = function(self) self:person():delete(MODEL.apiVersion, MODEL.kind, M.NAMESPACE, M.NAME) end, after = { deleted = true } },

  { name = "image-missing", what = "world", budget = "image-missing", text = "the image is missing from its registry",
    may = function(scene) return scene.image_ok and not scene.crashes end,
    act = function(self) images(self, "missing") end, after = { image_ok = false } },
  { name = "image-mended", what = "world", budget = "image-mended", text = "the image is in its registry again",
    may = function(scene) return not scene.image_ok end,
    act = function(self) images(self, "runs") end, after = { image_ok = true } },
  { name = "crashes", what = "world", budget = "crashes", text = "the model's container crashes, and would again",
    may = function(scene) return scene.image_ok and not scene.crashes end,
    act = function(self) images(self, "crashes") end, after = { crashes = true } },
  { name = "crashes-no-more", what = "world", budget = "crashes-no-more", text = "the model's container crashes no more",
    may = function(scene) return scene.crashes end,
    act = function(self) images(self, "runs") end, after = { crashes = false } },
  { name = "node-full", what = "world", budget = "node-full", text = "no node has room for another pod",
    may = function(scene) return not scene.node_full end,
    act = function(self) set_allocatable(self, "100m") end, after = { node_full = true } },
  { name = "node-room", what = "world", budget = "node-room", text = "the node has room again",
    may = function(scene) return scene.node_full end,
    act = function(self) set_allocatable(self, "16") end, after = { node_full = false } },
  { name = "quota-refuses", what = "world", budget = "quota-refuses", text = "a quota refuses pods",
    may = function(scene) return scene.quota_ok end,
    act = function(self) self:person():apply(QUOTA) end, after = { quota_ok = false } },
  { name = "quota-freed", what = "world", budget = "quota-freed", text = "the quota is lifted",
    may = function(scene) return not scene.quota_ok end,
    act = function(self) self:person():delete("v1", "ResourceQuota", M.NAMESPACE, "small") end, after = { quota_ok = true } },
  { name = "group-lost", what = "world", budget = "group-lost", text = "the group is removed",
    may = function(scene) return scene.group_there and not scene.silent end,
    act = function(self) self:person():delete(GROUP.apiVersion, GROUP.kind, M.NAMESPACE, "phusers") end, after = { group_there = false } },
  { name = "group-back", what = "world", budget = "group-back", text = "the group is there again",
    may = function(scene) return not scene.group_there and not scene.silent end,
    act = function(self) self:person():apply(GROUP) end, after = { group_there = true } },
  { name = "type-lost", what = "world", budget = "type-lost", text = "the instance type is removed",
    may = function(scene) return scene.type_there and not scene.silent end,
    act = function(self) self:person():delete(INSTANCE_TYPE.apiVersion, INSTANCE_TYPE.kind, M.NAMESPACE, "cpu-only") end,
    after = { type_there = false } },
  { name = "type-back", what = "world", budget = "type-back", text = "the instance type is there again",
    may = function(scene) return not scene.type_there and not scene.silent end,
    act = function(self) self:person():apply(INSTANCE_TYPE) end, after = { type_there = true } },
  { name = "sources-silent", what = "world", budget = "sources-silent", text = "group and instance type are not answered for any more",
    may = function(scene) return not scene.silent end, act = function() end, after = { silent = true } },
  { name = "sources-back", what = "world", budget = "sources-back", text = "group and instance type are answered for again",
    may = function(scene) return scene.silent end, act = function() end, after = { silent = false } },
}

local BY_NAME = {}
for _, row in ipairs(M.ROWS) do BY_NAME[row.name] = row end

local BEGIN = { image_ok = true, crashes = false, node_full = false, quota_ok = true, group_there = true, type_there = true, silent = false,
  deleted = false, used = {} }

-- ---------------------------------------------------------------- settings

-- A copy of `settings` with `value` at a path of names.
local function with(settings, path, value)
  local name, rest = path:match("^([^.]+)%.?(.*)$")
  local copy = {}
  for k, v in pairs(type(settings) == "table" and settings or {}) do copy[k] = v end
  if rest == "" then copy[name] = value else copy[name] = with(copy[name], rest, value) end
  return copy
end

-- What is fetched needs no Secret: the small world has none.
local function without_secrets(settings)
  local said, literal = settings.modelUri, json.array {}
  if type(said) ~= "table" then return settings end
  for _, one in ipairs(type(said.env) == "table" and said.env or {}) do
    if one.value then literal[#literal + 1] = one end
  end
  return with(with(settings, "modelUri.secret", ""), "modelUri.env", literal)
end

-- The settings as the small world has them: its one namespace holds the catalogue, groups and instance types are objects there, no
-- server outside is asked, models are fetched without credentials, and routes are Ingresses (it has no Gateway). All else is as the
-- administrator set it.
function M.settings(settings, declaration)
  settings = without_secrets(settings or {})
  for _, input in pairs(declaration.inputs) do
    if input.namespace then settings = with(settings, input.namespace, "") end
    if input.http and input.http.server and input.kind then settings = with(settings, input.http.server .. ".endpoint", "") end
  end
  return settings.route and with(settings, "route", "Ingress") or settings
end

-- ---------------------------------------------------------------- a scene

-- A world with the catalogue in it, and the model, which nobody has looked at yet. options: seed; settings: as of M.settings.
function M.new(options)
  local there = stage.new { seed = options.seed, lean = true, namespaces = { M.NAMESPACE }, history = 64 }
  local self = setmetatable({ there = there, world = there.world, settings = options.settings }, M)
  there.world.chooser = function() return 1 end
  there.world.cell.scene = BEGIN
  local person = self:person()
  person:apply(GROUP)
  person:apply(INSTANCE_TYPE)
  images(self, "runs")
  person:apply(MODEL)
  there.cluster:settle()
  return self
end

-- Somebody with kubectl.
function M:person()
  local person = self.somebody
  if not person then
    local api = self.there.api
    person = setmetatable({ registry = self.there.registry, namespaces = { M.NAMESPACE },
      network = { serve = function(_, request) return api:handle(request) end } }, inprocess)
    self.somebody = person
  end
  return person
end

local function object_of(self, id, name)
  local record = self.world:get(id, M.NAMESPACE, name)
  return record and record.object
end

-- The PhDeployment as the API server has it, or nil.
function M:object() return object_of(self, inprocess.PHDEPLOYMENTS, M.NAME) end

function M:now() return self.world.cell.scene end

function M.row(name) return BY_NAME[name] end

-- Whether this row can happen now.
function M:may(row)
  local scene = self:now()
  return (scene.used[row.budget] or 0) < (row.most or 1) and row.may(scene, self)
end

-- What is told of it, before it happens.
function M:words(row) return type(row.text) == "function" and row.text(self) or row.text end

-- Let it happen.
function M:act(row)
  row.act(self)
  local scene, used = {}, {}
  for name, value in pairs(self:now()) do scene[name] = value end
  for name, value in pairs(scene.used) do used[name] = value end
  for name, value in pairs(row.after or {}) do scene[name] = value end
  used[row.budget] = (used[row.budget] or 0) + 1
  scene.used = used
  self.world.cell.scene = scene
end

-- ---------------------------------------------------------------- what there is to see

local function state_of(is_there_now, silent, known)
  if silent and not known then return "unknown" end
  return is_there_now and "found" or "missing"
end

-- How the world is, in the words of the invariants. known: the operator knows group and instance type from before.
function M:described(known)
  local scene = self:now()
  return { image_ok = scene.image_ok, crashes = scene.crashes, node_full = scene.node_full, quota_ok = scene.quota_ok,
    group = state_of(scene.group_there, scene.silent, known), instance_type = state_of(scene.type_there, scene.silent, known),
    silent = scene.silent, was_stopped = self.settings.onGroupLost == "stop" and (scene.used["group-lost"] or 0) > 0 }
end

local CHILDREN = { Deployment = "deployments.apps", Service = "services", Ingress = "ingresses.networking.k8s.io", Secret = "secrets" }

local function objects_of(records)
  local list = {}
  for i, record in ipairs(records) do list[i] = record.object end
  return list
end

-- The view of this moment, as the invariants take it, but for what the walk alone knows.
function M:view()
  local object, children = self:object(), {}
  for kind, id in pairs(CHILDREN) do children[kind] = object_of(self, id, M.CHILD) end
  local spec = object and object.spec
  return { object = object, children = children, pods = objects_of(self.world:each("pods", M.NAMESPACE)),
    replicasets = objects_of(self.world:each("replicasets.apps", M.NAMESPACE)),
    wanted = { deleted = object == nil or object.metadata.deletionTimestamp ~= nil, stopped = spec and spec.stop or false,
      replicas = spec and spec.predictors[1].replicas, image = spec and spec.predictors[1].modelImage } }
end

return M
