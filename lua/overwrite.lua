-- The patch for what server-side apply cannot take away.
--
-- When a wanted object no longer says a field, apply removes the leaves that were ours and leaves their parents:
-- a probe that was tcpSocket and becomes httpGet keeps an empty tcpSocket, a hook that goes keeps an
-- empty preStop, and the server refuses the object (422: "may not specify more than 1 handler type"). Seen on
-- Kubernetes 1.20. Then one strategic merge patch replaces whole what the manifest says about maps and keyed lists,
-- with "$patch: replace"; scalars and metadata merge as ever, and an apply may follow.

local lists = require "lists"

-- Maps that only hold fields: they are walked through, so that what others set beside ours stays.
local THROUGH = { spec = true, ["spec.template"] = true, ["spec.template.spec"] = true }

local function copy_with(value, directive)
  local copy = {}
  for k, v in pairs(value) do copy[k] = v end
  if json.is_array(value) then
    copy[#copy + 1] = directive
    return json.array(copy)
  end
  copy["$patch"] = "replace"
  return copy
end

local function fields(kind, path, map, live)
  local patch = {}
  for name, value in pairs(map) do
    local at, there = path .. "." .. name, live[name]
    -- a directive where nothing is there yet would stay, as a field
    if type(value) ~= "table" or type(there) ~= "table" or at == "spec.template.metadata" then
      patch[name] = value
    elseif THROUGH[at] then
      patch[name] = fields(kind, at, value, there)
    elseif not json.is_array(value) or lists.rule(kind, at) then
      patch[name] = copy_with(value, { ["$patch"] = "replace" })
    else
      patch[name] = value -- an atomic list is replaced anyway
    end
  end
  for name in pairs(lists.exact_lists(kind, path) or {}) do
    if map[name] == nil and live[name] ~= nil then patch[name] = json.array { { ["$patch"] = "replace" } } end
  end
  return patch
end

-- The patch that makes `live` say what `child` says; nil for kinds without a spec, or without strategic merge patch.
return function(child, live)
  if not lists.is_strategic(child.apiVersion) or type(child.spec) ~= "table" or type(live.spec) ~= "table" then return nil end
  return { spec = fields(child.kind, "spec", child.spec, live.spec) }
end
