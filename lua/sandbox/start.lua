-- A sandbox from nothing: world, kinds, cluster, admission, API and server, put together; and the kubeconfig that leads to it.

local admission = require "sandbox.admission"
local api = require "sandbox.api"
local cluster = require "sandbox.cluster"
local registry = require "sandbox.registry"
local scene_words = require "sandbox.scene"
local server = require "sandbox.server"
local verbs = require "sandbox.verbs"
local world = require "sandbox.world"

local M = {}

local HISTORY = 1000 -- events of a kind that watches can come back to

-- Seeds from the machine, for those who named none.
local function any_seed()
  return loop.wall_ms() * 1000 + process.id
end

-- The CustomResourceDefinitions of crds/ that this binary carries.
local function our_definitions()
  local all = {}
  for _, name in ipairs(moonphase.assets "crds/") do
    if name:match("^crds/[^/]+%.yaml$") then
      for _, document in ipairs(assert(yaml.decode(assert(moonphase.read_asset(name)), name))) do
        if document.kind == "CustomResourceDefinition" then all[#all + 1] = document end
      end
    end
  end
  return all
end

-- Make objects as a person would; what exists already stays. -> true | nil, text
local function install(self, objects)
  for _, object in ipairs(objects) do
    local group, version = tostring(object.apiVersion):match("^(.*)/([^/]+)$")
    local kind = self.registry:by_kind(group or "", version or object.apiVersion, object.kind)
    if not kind then return nil, ("the sandbox knows no %s %s"):format(tostring(object.apiVersion), tostring(object.kind)) end
    local record, failure = verbs.create(self.world, kind, object.metadata.namespace or "", object, { manager = "moonphase-sandbox" })
    if not record and failure.reason ~= "AlreadyExists" then return nil, failure.message end
  end
  return true
end

-- options: address ("127.0.0.1:0"), seed (integer; nil: any), virtual (true: time stands still until it is advanced), scene (of
-- sandbox/scene.lua; nil: the one without a file), audit (path), crds (true: those that this binary carries),
-- namespaces (names to make), tls, guard and idle (as server.lua's). -> sandbox { server, world, registry, cluster, seed, url } | nil, text
function M.start(options)
  local scene = options.scene or assert(scene_words.check(nil))
  local self = setmetatable({ seed = options.seed or any_seed() }, { __index = M })
  self.world = world.new { seed = self.seed, history = HISTORY, clock = not options.virtual and loop.wall_ms or nil }
  self.registry = registry.new(self.world)
  self.admission = admission.new { world = self.world, registry = self.registry, services = scene.services }
  self.cluster = cluster.new { world = self.world, registry = self.registry, verbs = verbs, scene = scene, admission = self.admission }
  self.api = api.new { world = self.world, registry = self.registry, admission = self.admission }
  local objects = options.crds and our_definitions() or {}
  for _, name in ipairs(options.namespaces or {}) do
    objects[#objects + 1] = { apiVersion = "v1", kind = "Namespace", metadata = { name = name } }
  end
  local installed, why = install(self, objects)
  if not installed then return nil, why end
  self.server, why = server.open { address = options.address or "127.0.0.1:0", world = self.world, api = self.api,
    cluster = self.cluster, admission = self.admission, audit = options.audit, tls = options.tls, guard = options.guard,
    idle = options.idle }
  if not self.server then return nil, why end
  self.url = (options.tls and "https://" or "http://") .. self.server.address
  return self
end

-- The text of a kubeconfig that leads here; namespace: the context's (nil: "default").
function M:kubeconfig(namespace)
  return yaml.encode {
    apiVersion = "v1", kind = "Config", ["current-context"] = "moonphase-sandbox",
    clusters = json.array { { name = "moonphase-sandbox", cluster = { server = self.url } } },
    users = json.array { { name = "moonphase-sandbox", user = {} } },
    contexts = json.array { { name = "moonphase-sandbox",
      context = { cluster = "moonphase-sandbox", user = "moonphase-sandbox", namespace = namespace } } },
  }
end

function M:close() self.server:close() end

return M
