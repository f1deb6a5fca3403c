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
local MODEL = { apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", metadata = { name = M.NAME, namespace = M.NAMESPACE },
  spec = { displayName = "a model", userId = "u-1", userName = "phadmin", groupId = GROUP_ID, groupName = "phusers", stop = false,
    updateMessage = "the first version",
    predictors = json.array { { name = "predictor1", replicas = 1, modelImage = FIRST, instanceType = "cpu-only" } } } }
local CLIENTS = json.array { { name = "reader", token = "$apr1$Zk1sC2tW$qP0pTq1c3J1pU0n0z2ZyG0" } }

-- ---------------------------------------------------------------- the rows

-- The spec's predictors with a change.
local function predictors(self, change)
  local predictor = {}
  for name, value in pairs(self:object().spec.predictors[1]) do predictor[name] = value end
  for name, value in pairs(change) do predictor[name] = value end
  return json.array { predictor }
end

local function edit(self, spec)
  self:person():edit(MODEL.apiVersion, MODEL.kind, M.NAMESPACE, M.NAME, { spec = spec })
end

local function image_now(self) return self:object().spec.predictors[1].modelImage end

-- 1, 2, 0, and round again.
local function other_replicas(self) return (self:object().spec.predictors[1].replicas + 1) % 3 end

local function is_there(scene, self)
  local object = self:object()
  return object ~= nil and object.metadata.deletionTimestamp == nil and not scene.deleted
end

local function may_edit(scene, self)
  return is_there(scene, self) and (scene.used.edits or 0) < 2
end

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

-- The settings as the small world has them: its one namespace holds the catalogue, groups and instance types are objects there, no
-- server outside is asked, and routes are Ingresses (it has no Gateway). All else is as the administrator set it.
function M.settings(settings, declaration)
  for _, input in pairs(declaration.inputs) do
    if input.namespace then settings = with(settings, input.namespace, "") end
    if input.http and input.http.server and input.kind then settings = with(settings, input.http.server .. ".endpoint", "") end
  end
  return settings.route and with(settings, "route", "Ingress") or settings
end

-- ---------------------------------------------------------------- a scene

-- A world with the catalogue in it, and the model, which nobody has looked at yet. options: as of stage.new (seed, now_ms).
function M.new(options)
  local there = stage.new { seed = options.seed, lean = true, namespaces = { M.NAMESPACE }, history = 64 }
  local self = setmetatable({ there = there, world = there.world }, M)
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
    silent = scene.silent }
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
