-- What the specs of operator and cluster in one process share: the samples, and the life of one PhDeployment.

local inprocess = require "sandbox.inprocess"

local M = {}

local PHDEPLOYMENT = { "primehub.io/v1alpha1", "PhDeployment" }

local function read(name)
  local text = moonphase.read_asset("crds/samples/" .. name .. ".yaml")
  return assert(yaml.decode(assert(text), name))
end

-- The group and the instance types of the samples.
function M.catalogue()
  return { read("phgroup")[1], table.unpack(read("instancetypes")) }
end

-- The PhDeployment of the samples under a name; change(object) may edit it.
function M.manifest(name, change)
  local object = read("phdeployment")[1]
  object.metadata.name = name
  if change then change(object) end
  return object
end

-- A world with the catalogue, and an operator.
function M.new(options)
  options.objects = options.objects or M.catalogue()
  return inprocess.new(options)
end

function M.edit(s, name, patch)
  return s:edit(PHDEPLOYMENT[1], PHDEPLOYMENT[2], "hub", name, patch)
end

function M.delete(s, name)
  return s:delete(PHDEPLOYMENT[1], PHDEPLOYMENT[2], "hub", name)
end

function M.reach(s, name, phase, seconds)
  return s:run_until(function() return s:phase("hub", name) == phase end, seconds or 120, name .. " is " .. phase)
end

-- Objects with this label's value that are there, as "id/name", sorted.
function M.children(s, name)
  local found = {}
  for _, id in ipairs { "deployments.apps", "replicasets.apps", "pods", "services", "ingresses.networking.k8s.io" } do
    for _, record in ipairs(s.world:each(id, "hub")) do
      if (record.object.metadata.labels or {})["primehub.io/phdeployment"] == name then found[#found + 1] = id .. "/" .. record.name end
    end
  end
  return found
end

function M.gone(s, name)
  return s:run_until(function()
    return not s:get(inprocess.PHDEPLOYMENTS, "hub", name) and #M.children(s, name) == 0
  end, 120, name .. " and its children are gone")
end

-- Create, Deployed, stop, Stopped, delete, children gone.
function M.whole(s, name)
  s:apply(M.manifest(name))
  M.reach(s, name, "Deployed")
  M.edit(s, name, { spec = { stop = true } })
  M.reach(s, name, "Stopped")
  M.delete(s, name)
  M.gone(s, name)
end

return M
