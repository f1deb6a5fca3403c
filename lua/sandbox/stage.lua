-- What an operator and a cluster in one process are made of: a sandbox with our kinds in it, and policies that are loaded.
--
-- Both cost milliseconds, and tests make thousands: so a folder of policies is loaded once, and a furnished world (our
-- CustomResourceDefinitions, the namespaces, the nodes at rest) is made once and restored from there under another seed.

local contract = require "contract"
local policies = require "policies"

local M = {}

local generations, declarations, furnished = {}, setmetatable({}, { __mode = "k" }), {}

local function overlay(base, over)
  local out = {}
  for name, value in pairs(base) do out[name] = value end
  for name, value in pairs(over) do
    local below = base[name]
    local deeper = type(value) == "table" and type(below) == "table" and not json.is_array(value) and not json.is_array(below)
    out[name] = deeper and overlay(below, value) or value
  end
  return out
end

-- A generation and its settings. options: policies (a folder; nil: built in), settings (a table over theirs), or generation and
-- base_settings (loaded already). Raises when they do not load.
function M.policies(options)
  local generation, base = options.generation, options.base_settings
  if not generation then
    local folder = options.policies or ""
    local loaded = generations[folder]
    if not loaded then
      local made, settings = policies.load(options.policies)
      if not made then error(settings, 3) end
      loaded = { generation = made, settings = settings }
      generations[folder] = loaded
    end
    generation, base = loaded.generation, loaded.settings
  end
  return generation, options.settings and overlay(base or {}, options.settings) or base
end

-- What the policies declare, asked once for a generation.
function M.declaration(generation)
  local declaration = declarations[generation]
  if not declaration then
    local why
    declaration, why = contract.declaration(generation, "phdeployment")
    if not declaration then error(why, 2) end
    declarations[generation] = declaration
  end
  return declaration
end

-- Our CustomResourceDefinitions, as this binary carries them.
local function definitions()
  local list = {}
  for _, name in ipairs(moonphase.assets "crds/") do
    if name:match("^crds/[^/]+%.yaml$") then
      for _, document in ipairs(assert(yaml.decode(assert(moonphase.read_asset(name)), name))) do
        if document.kind == "CustomResourceDefinition" then list[#list + 1] = document end
      end
    end
  end
  return list
end

local function furnish(there, namespaces)
  local verbs = require "sandbox.verbs"
  local function put(id, object)
    local record, failure = verbs.create(there.world, there.registry:by_id(id), "", object, { manager = "moonphase-sandbox" })
    if not record and failure.reason ~= "AlreadyExists" then error("the sandbox is not furnished: " .. failure.message, 0) end
  end
  for _, definition in ipairs(definitions()) do put("customresourcedefinitions.apiextensions.k8s.io", definition) end
  for _, name in ipairs(namespaces) do put("namespaces", { apiVersion = "v1", kind = "Namespace", metadata = { name = name } }) end
  there.cluster:settle()
end

local function around(world, scene)
  local registry = require("sandbox.registry").new(world)
  return { world = world, registry = registry, api = require("sandbox.api").new { world = world, registry = registry },
    cluster = require("sandbox.cluster").new { world = world, registry = registry, verbs = require "sandbox.verbs", scene = scene } }
end

local function new_world(options, seed)
  local world = require("sandbox.world").new { seed = seed, now_ms = options.now_ms, history = options.history }
  world.is_lean = options.lean or nil
  return world
end

-- { world, registry, api, cluster }. options: seed (1), now_ms, namespaces ({ "hub" }), scene (of sandbox/scene.lua), history (events of a
-- kind that watches can come back to; 1000), lean (nothing that an operator does not read: no managedFields of updates (those of
-- server-side apply are kept), no Events of the cluster's own parts; a third less work). What it is furnished with is the same for
-- every seed.
function M.new(options)
  local namespaces = options.namespaces or { "hub" }
  local key = ("%s %s %s"):format(options.now_ms or "", options.lean and "lean" or "", table.concat(namespaces, ","))
  local saved = not options.scene and furnished[key]
  if not saved then
    local there = around(new_world(options, 1), options.scene)
    furnish(there, namespaces)
    if options.lean then there.world.cell.events = false end
    saved = there.world:save()
    if not options.scene then furnished[key] = saved end
  end
  local world = new_world(options, options.seed)
  local seed = world.seed
  world:restore(saved)
  world.seed = seed
  return around(world, options.scene)
end

return M
