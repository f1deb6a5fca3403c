-- The quota controller: what a ResourceQuota bounds, and how much of it is used, counted anew.
--
-- At creation the API server counts by itself (quota.lua); here are what goes away, a quota that is new and one that changed.

local common = require "sandbox.controllers.common"
local quota = require "sandbox.quota"

local ID = "resourcequotas"
local NONE = {}

-- Resource ids whose objects a quota's names count.
local function ids_of(hard)
  local ids = { pods = true }
  for name in pairs(hard) do
    local id = name:match("^count/(.+)$") or name:match("^(%a+)$") or name:match("^(services)%.")
    if id then ids[id] = true end
  end
  return ids
end

local function used_of(c, object, hard)
  local totals = {}
  for id in pairs(ids_of(hard)) do
    for _, record in ipairs(c.w:each(id, object.metadata.namespace)) do
      if quota.is_in_scope(object, id, record.object) then
        for name, value in pairs(quota.used_by(id, record.object)) do totals[name] = (totals[name] or 0) + value end
      end
    end
  end
  local used = {}
  for name, text in pairs(hard) do used[name] = quota.text(name, totals[name] or 0, text) end
  return used
end

-- One look at the quota "namespace/name".
return function(c, key)
  local namespace, name = common.split(key)
  c:write(ID, namespace, name, function(object)
    local hard = (object.spec or NONE).hard or {}
    return common.with(object, { status = { hard = hard, used = used_of(c, object, hard) } })
  end)
  return true
end
