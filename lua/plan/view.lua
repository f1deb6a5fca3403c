-- A cluster that is looked at and never written to: what plan and explain read.
--
-- It is the operator's own way of looking (watches.lua, observe.lua, beside.lua): a policy on paper sees through it what it would
-- see in an operator that starts now. Two things hold by construction and not by care: every write of `dry` goes out as a dry run
-- (dryRun=All: the server checks all of it and keeps nothing), and what is answered to a dry run never enters a cache (`shown`).

local beside = require "beside"
local contract = require "contract"
local policies = require "policies"
local watches = require "watches"

local M = {}
M.__index = M
M.MODULE = "phdeployment"

local SYNC_SECONDS = 60    -- to read what there is
local TROUBLE_SECONDS = 3  -- a watch that cannot be had for so long will not come
local INPUT_SECONDS = 5    -- for the catalogue: what is not known by then is "not known now"

-- The cluster, with dryRun=All on whatever is no GET.
local function dry(cluster)
  return { namespace = cluster.namespace, server = cluster.server, request = function(_, request)
    if (request.method or "GET") == "GET" then return cluster:request(request) end
    local copy, query = {}, {}
    for name, value in pairs(request) do copy[name] = value end
    for name, value in pairs(request.query or {}) do query[name] = value end
    query.dryRun = "All"
    copy.query = query
    return cluster:request(copy)
  end }
end

-- An informer as apply.lua reads it, and of which nothing is remembered.
local function shown(informer)
  return { kind = informer.kind, of = function() return nil end,
    get = function(_, key) return informer:get(key) end, read = function(_, key) return informer:read(key) end,
    content = function(_, key) return informer:content(key) end }
end

local function nothing() end

-- Nothing waits for a turn on paper.
local UNPACED = { is_held = function() return false end }

-- What watches.lua, observe.lua and beside.lua ask of a controller.
local function world_of(options, declaration)
  return { cluster = options.cluster, namespaces = options.namespaces, catalog_namespace = options.catalog_namespace, module = M.MODULE,
    kind = declaration.kind, label = declaration.label, problems = {}, rollout = UNPACED, watches = {}, add = nothing,
    object_changed = nothing, parent_changed = nothing, input_changed = nothing, input_answered = nothing, told_of = nothing }
end

-- What keeps a watch that is needed from being read, as text; nil: nothing does. (An optional kind may not be served.)
local function trouble_of(set)
  for _, group in ipairs { { set.objects }, set.children, set.watches } do
    for _, informer in pairs(group) do
      local trouble = not informer.kind.optional and not informer:synced() and informer:trouble()
      if trouble then return trouble end
    end
  end
end

local function wait_for(set)
  local deadline, bad_since = loop.now() + SYNC_SECONDS, nil
  while not set:synced() do
    local trouble = trouble_of(set)
    bad_since = trouble and (bad_since or loop.now()) or nil
    if trouble and loop.now() - bad_since > TROUBLE_SECONDS or loop.now() > deadline then
      return nil, "the cluster cannot be read: " .. (trouble or "no answer came")
    end
    loop.sleep(0.002)
  end
  set:wait_for_inputs(INPUT_SECONDS)
  return true
end

-- What could not be read of the catalogue, as sentences.
local function unknown_inputs(set)
  local told = {}
  for name, input in pairs(set.inputs) do
    if input.informers and not input.informers:synced() then
      told[#told + 1] = ("%s is not known: %s"):format(name, input.informers:trouble() or "no answer came")
    elseif input.source and input.source.told then
      told[#told + 1] = ("%s is not known of all objects: %s"):format(name, input.source.told)
    end
  end
  table.sort(told)
  return told
end

-- (waits) options: {cluster, generation, declaration (asked if absent), settings, namespaces (nil: all), catalog_namespace}. A view with
-- `paper` (beside.lua's), `cluster`, `dry`, `warnings`; nil and a text.
function M.open(options)
  local declaration, why = options.declaration, nil
  if not declaration then declaration, why = contract.declaration(options.generation, M.MODULE) end
  if not declaration then return nil, why end
  local world = world_of(options, declaration)
  local set = watches.start(world, declaration, options.settings)
  world.watches = set.watches
  local read, trouble = wait_for(set)
  if not read then
    set:stop()
    return nil, trouble
  end
  local side = { generation = options.generation, declaration = declaration, settings = options.settings, set = set }
  return setmetatable({ cluster = options.cluster, dry = dry(options.cluster), set = set, world = world, declaration = declaration,
    generation = options.generation, settings = options.settings, kind = declaration.kind, label = declaration.label,
    paper = beside.new(world, side), warnings = unknown_inputs(set), informers = {} }, M)
end

-- What o.cluster's kubeconfig options lead to and o.policies and o.settings hold: {cluster, generation, settings, files, namespaces,
-- catalog_namespace}, as open() takes them; nil and a text. o: a command's options.
function M.options(o)
  local generation, settings, files = policies.load(o.policies, o.settings)
  if not generation then return nil, settings end
  local cluster, why = kube.open { kubeconfig = o.kubeconfig, context = o.context }
  if not cluster then return nil, why end
  local answer, trouble = cluster:request { path = "/version", timeout = 10 }
  if not answer or answer.status >= 500 then
    return nil, ("the cluster at %s does not answer: %s"):format(cluster.server, trouble or answer.status .. " " .. answer.message)
  end
  local namespaces = nil
  if not o.all_namespaces then namespaces = #(o.namespace or {}) > 0 and o.namespace or { cluster.namespace } end
  return { cluster = cluster, generation = generation, settings = settings, files = files, namespaces = namespaces,
    catalog_namespace = o.operator_namespace or cluster.namespace }
end

-- The informer of a kind of child by its name, read only; nil: it is not declared.
function M:of_kind(kind)
  local informer = self.paper.by_kind[kind]
  if informer and not self.informers[kind] then self.informers[kind] = shown(informer) end
  return self.informers[kind]
end

-- The names of the objects, sorted: "namespace/name".
function M:keys()
  local keys = self.paper.objects:keys()
  table.sort(keys)
  return keys
end

-- Whom the children of `key` belong to, as apply.lua takes it.
function M:owner_of(key, handle)
  local namespace, name = key:match("^(.-)/(.+)$")
  return { api_version = self.kind.api_version, kind = self.kind.kind, name = name, namespace = namespace, uid = handle.uid }
end

-- The policy on what is seen. A stop by wall clock is no verdict: it is asked once more.
function M:decide(seen)
  local decision, failure = self.paper:decide(seen)
  if not decision and failure.outcome == "clock" then decision, failure = self.paper:decide(seen) end
  return decision, failure
end

function M:close()
  self.set:stop()
end

return M
