-- Which resource a path means: /api/v1/... and /apis/GROUP/VERSION/..., with the deprecated /watch/ form.
--
-- find(registry, path as it was sent) -> route | nil, what is wrong: a failure of errors.lua, or "page" where the server's router says no
-- more than "404 page not found" (groups that are not there).
--   route = { kind=, namespace= ("" : all, or none), name=, subresource=, watch=bool }

local errors = require "sandbox.errors"

local M = {}

-- The path of a request as it is meant: without its percent-escapes.
function M.decoded(path)
  return (path:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end))
end

-- What stands between its slashes; of those at both ends it has none.
local function parts_of(path)
  local parts = {}
  for part in M.decoded(path):gsub("^/+", ""):gsub("/+$", ""):gmatch("[^/]*") do parts[#parts + 1] = part end
  return parts
end

-- Groups of a real server that this one has nothing of.
local OTHER_GROUPS = { ["apiregistration.k8s.io"] = true, autoscaling = true, batch = true, ["certificates.k8s.io"] = true,
  ["discovery.k8s.io"] = true, ["events.k8s.io"] = true, extensions = true, ["flowcontrol.apiserver.k8s.io"] = true,
  ["node.k8s.io"] = true, policy = true, ["rbac.authorization.k8s.io"] = true, ["storage.k8s.io"] = true }

-- Built-in groups say it in a Status, the others' router in a line.
local function unknown(registry, group)
  if OTHER_GROUPS[group] then return errors.no_such_path() end
  for _, one in ipairs(registry:all()) do
    if one.group == group and not one.crd then return errors.no_such_path() end
  end
  return "page"
end

-- Namespaces' own subresources share their path's form with the kinds in a namespace.
local NAMESPACE_PARTS = { status = true, finalize = true }

local function scoped(registry, group, version, parts, at)
  local namespace, plural, name, subresource = "", parts[at], parts[at + 1], parts[at + 2]
  local is_scoped = plural == "namespaces" and parts[at + 2] ~= nil
    and not (group == "" and #parts == at + 2 and NAMESPACE_PARTS[parts[at + 2]])
  if is_scoped then namespace, plural, name, subresource = parts[at + 1], parts[at + 2], parts[at + 3], parts[at + 4] end
  local kind = registry:find(group, version, plural)
  -- The handler of custom resources does not look at what follows a subresource.
  if not kind or not kind.crd and #parts > at + (is_scoped and 4 or 2) then return nil, unknown(registry, group) end
  if is_scoped ~= kind.namespaced and (is_scoped or name) then return nil, unknown(registry, group) end
  return { kind = kind, namespace = namespace, name = name, subresource = subresource }
end

function M.find(registry, path)
  local parts = parts_of(path)
  local group, version, at
  if parts[1] == "api" then
    group, version, at = "", parts[2], 3
  elseif parts[1] == "apis" then
    group, version, at = parts[2], parts[3], 4
  end
  if group == "" and parts[1] == "apis" then return nil, "page" end
  if not version or not parts[at] then return nil, errors.no_such_path() end
  local is_watch = parts[at] == "watch" and parts[at + 1] ~= nil
  local route, trouble = scoped(registry, group, version, parts, is_watch and at + 1 or at)
  if route then route.watch = is_watch end
  return route, trouble
end

return M
