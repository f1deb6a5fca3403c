-- What a policy sees, as shapes: from the CRDs, the OpenAPI of the built-in kinds, what each watch keeps, and the settings.
--
-- A schema comes as plain nodes (lint/known.lua makes them, in the host): {type, props, required (a set), extra (of other keys), item,
-- preserve, enum (a set), default, least (items there are at least), ref (a name in `definitions`), name}. Shapes are made of
-- them when somebody looks. A field that is not required is maybe nil, unless a server always writes it.

local values = require "lint.values"

local M = {}
M.__index = M

-- What the schema calls optional and every object from a server has.
local ALWAYS = {
  ObjectMeta = { "name", "namespace", "uid", "resourceVersion", "creationTimestamp", "generation" },
  Deployment = { "spec", "status" },
  DeploymentSpec = { "replicas", "strategy", "progressDeadlineSeconds", "revisionHistoryLimit" },
  PodTemplateSpec = { "metadata", "spec" },
  PodSpec = { "restartPolicy", "dnsPolicy", "schedulerName", "securityContext", "terminationGracePeriodSeconds" },
  Container = { "image", "imagePullPolicy", "resources", "terminationMessagePath", "terminationMessagePolicy" },
  Pod = { "spec", "status" }, PodStatus = { "phase" }, ContainerStatus = { "state", "lastState" },
  Service = { "spec", "status" }, ServiceSpec = { "ports", "type", "sessionAffinity" }, Ingress = { "spec", "status" },
  ReplicaSet = { "spec", "status" }, ReplicaSetSpec = { "replicas", "template" },
  Event = { "reason", "message", "type", "involvedObject" }, ObjectReference = { "name", "uid", "kind" },
}
local OBJECT = { "apiVersion", "kind", "metadata" }

local function set_of(list)
  local set = {}
  for _, name in ipairs(list or {}) do set[name] = true end
  return set
end

for name, list in pairs(ALWAYS) do ALWAYS[name] = set_of(list) end
OBJECT = set_of(OBJECT)

function M.new(known)
  return setmetatable({ kinds = known.kinds or {}, definitions = known.definitions or {}, made = {} }, M)
end

-- { "status.phase", "spec.a.*.b" } as a tree: {status = {phase = true}, ...}; true: all below it.
local function tree_of(paths)
  local tree = {}
  for _, path in ipairs(paths) do
    local node, steps = tree, {}
    for step in path:gsub("%[.-%]", ""):gmatch("[^.]+") do steps[#steps + 1] = step end
    for i, step in ipairs(steps) do
      if node[step] == true then break end
      if i == #steps then node[step] = true else node[step] = node[step] or {} end
      node = node[step]
    end
  end
  return tree
end

local METADATA = { metadata = true }

function M:resolve(node)
  local most = 10
  while node and node.ref and most > 0 do node, most = self.definitions[node.ref], most - 1 end
  return node
end

local function names_of(node, tree)
  local names = {}
  for name in pairs(node.props or {}) do
    if tree == true or tree[name] or OBJECT[name] then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- The shape of a node's field; nil if it has none, or it is not kept.
local function find(self, node, tree, where, is_object, name)
  local child = node.props and node.props[name]
  local below = true
  if tree ~= true then
    below = tree[name]
    if below == nil then
      if not (is_object and OBJECT[name]) then return nil end
      below = name == "metadata" and {} or true
    end
  end
  if not child then
    if node.extra then return values.maybe(self:shape(node.extra, below, where), "there may be no such key") end
    return nil
  end
  local shape = self:shape(child, below, where)
  local always = ALWAYS[node.name] and ALWAYS[node.name][name] or is_object and OBJECT[name]
  if node.required and node.required[name] or child.default or always then return shape end
  return values.maybe(shape, ("%s is optional in %s"):format(name, node.name or "the schema"))
end

local SCALARS = { string = values.STRING, integer = values.NUMBER, number = values.NUMBER, boolean = values.BOOLEAN }

local function make(self, node, tree, where, is_object)
  if node.enum then return values.one_of(node.enum, true) end
  if SCALARS[node.type] then return SCALARS[node.type] end
  if node.type == "array" or node.item then
    local below = type(tree) == "table" and tree["*"] or tree
    return values.table { item = node.item and self:shape(node.item, below, where) or values.ANY, filled = node.least }
  end
  if not node.props and not node.extra then return values.ANY end
  if not node.props then return values.map(self:shape(node.extra, true, where)) end
  return values.table {
    name = node.name, open = node.preserve,
    find = function(name) return find(self, node, tree, where, is_object, name) end,
    names = function() return names_of(node, tree) end,
    -- why a field that others would have is not there
    hint = function(name)
      if tree ~= true and node.props[name] then return ("%s is not kept by %s: add its path to `keep` in phdeployment.lua"):format(name,
        where) end
    end,
  }
end

-- The shape of a node, of which `tree` is kept (true: all). `where`: who keeps it.
function M:shape(node, tree, where, is_object)
  node = self:resolve(node)
  if not node then return values.ANY end
  local key = tostring(where) .. tostring(is_object)
  local of_node = self.made[node] or {}
  self.made[node] = of_node
  local of_tree = of_node[tree] or {}
  of_node[tree] = of_tree
  if not of_tree[key] then of_tree[key] = make(self, node, tree, where, is_object) end
  return of_tree[key]
end

-- The shape of an object of a declared kind: {api_version, kind, keep}. `where` is its place: "watches.pods".
function M:object(kind, where)
  local node = self.kinds[kind.api_version .. "/" .. kind.kind]
  if not node then return values.ANY end
  local tree = true
  if kind.keep == "metadata" then tree = METADATA elseif type(kind.keep) == "table" then tree = tree_of(kind.keep) end
  return self:shape(node, tree, where, true)
end

-- ---------------------------------------------------------------- plain data as a shape: the settings

-- `path` is where it stands. An empty map is one that an administrator fills.
function M.of_data(data, path)
  if type(data) == "string" then return values.STRING end
  if type(data) == "number" then return values.NUMBER end
  if type(data) == "boolean" then return values.BOOLEAN end
  if type(data) ~= "table" then return values.ANY end
  if json.is_array(data) then
    local item
    for _, one in ipairs(data) do item = values.join(item, M.of_data(one, path)) end
    return values.list(item or values.ANY)
  end
  if next(data) == nil then return values.table { rest = values.ANY, open = true } end
  local fields = {}
  for name, value in pairs(data) do fields[name] = M.of_data(value, (path == "" and "" or path .. ".") .. name) end
  return values.table { fields = fields, name = path == "" and "settings.yaml" or "settings.yaml, " .. path }
end

-- ---------------------------------------------------------------- seen

local function fields(list)
  return values.table { fields = list }
end

local STATES = values.one_of({ found = true, missing = true, unknown = true, ambiguous = true }, true)

local function input(self, kind, where)
  local object = kind.kind and self:object(kind, where) or values.ANY
  return fields { state = STATES, object = values.maybe(object, "it is there only when it was found"),
    reason = values.maybe(values.STRING, "it is there only when the source does not answer"),
    message = values.maybe(values.STRING, "it is there only when the source does not answer"),
    objects = values.maybe(values.list(values.STRING), "it is there only when it is ambiguous"),
    age = values.maybe(values.NUMBER, "it is there only when it was found before") }
end

-- What `decide` is given, for a controller that declares this; `settings`: plain data.
function M:seen(declared, settings)
  local object = self:object(declared.kind, "kind")
  local spec = values.field(object, "spec") or values.ANY
  local seen = {
    object = object,
    revisions = values.list(fields { generation = values.NUMBER, time = values.STRING, spec = spec }),
    problems = values.list(fields { kind = values.STRING, name = values.STRING, code = values.NUMBER, reason = values.STRING,
      message = values.STRING }),
    settings = M.of_data(settings, ""),
    now = values.NUMBER,
    policy = fields { digest = values.STRING },
    held = values.maybe(values.BOOLEAN), early = values.maybe(values.BOOLEAN), status_only = values.maybe(values.BOOLEAN),
    trace = values.maybe(values.BOOLEAN),
    ahead = values.maybe(values.NUMBER, "it is there only where an input has a `limit`"),
  }
  local children = {}
  for name, kind in pairs(declared.children or {}) do
    local one = self:object(kind, "children." .. name)
    children[name] = values.table { rest = one, why = "it may not have been made yet" }
  end
  seen.children = fields(children)
  for name, kind in pairs(declared.watches or {}) do seen[name] = values.list(self:object(kind, "watches." .. name)) end
  for name, kind in pairs(declared.inputs or {}) do seen[name] = input(self, kind, "inputs." .. name) end
  local shape = fields(seen)
  shape.name = "seen"
  return shape
end

-- ---------------------------------------------------------------- a view of `moonphase check`

local function whole(self, kind, where)
  return self:object({ api_version = kind.api_version, kind = kind.kind, keep = "whole" }, where)
end

-- What a row of invariants.lua is given (lua/types/policy.lua, View).
function M:view(declared)
  local object = whole(self, declared.kind, "kind")
  local status, pods = values.field(object, "status"), declared.watches and declared.watches.pods
  local children = {}
  for name, kind in pairs(declared.children or {}) do
    children[kind.kind] = values.maybe(whole(self, kind, "children." .. name), "it may not be there")
  end
  local function moment(more)
    more.object, more.status = values.maybe(object, "it may be gone"), status and values.strip(status) or values.ANY
    more.phase = values.maybe(values.STRING, "there may be no status yet")
    more.children, more.pods = fields(children), values.list(pods and whole(self, pods, "watches.pods") or values.ANY)
    local shape = fields(more)
    shape.name = "the view"
    return shape
  end
  return moment { previous = values.maybe(moment {}, "nothing is before the first view"), wants = values.NUMBER, image = values.STRING,
    current = values.BOOLEAN, settled = values.BOOLEAN, faults = values.NUMBER, scene = values.ANY,
    writes = values.list(fields { verb = values.STRING, kind = values.STRING, name = values.STRING }) }
end

return M
