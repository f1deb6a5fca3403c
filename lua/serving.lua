-- Whom an operator serves, which Lease it holds and where it keeps its last good policies, from the words of a command line: the
-- same for who runs it (command/run.lua) and for who asks which rights that takes (command/rbac.lua).

local M = {}

-- fail(status, text) ends the program.
function M.check(o, fail)
  if o.all_namespaces and #o.namespace > 0 then fail(2, "--all-namespaces and --namespace exclude each other") end
  for _, name in ipairs(o.namespace) do
    if #name > 63 or not name:match("^[a-z0-9][a-z0-9-]*$") then fail(2, "--namespace: '" .. name .. "' is no name of a namespace") end
  end
  if o.lease and not o.leader_elect then fail(2, "--lease goes with --leader-elect") end
  for _, said in ipairs { { "lease", "Lease" }, { "last_good", "ConfigMap" } } do
    local option, kind = table.unpack(said)
    local name = o[option]
    if name and not name:match("^[a-z0-9][a-z0-9.-]*$") and not name:match("^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*$") then
      fail(2, ("--%s: '%s' is no NAME or NAMESPACE/NAME of a %s"):format(option:gsub("_", "-"), name, kind))
    end
  end
end

-- The namespaces that are served, of which `own` is the one where nobody says otherwise; nil: all.
function M.namespaces(o, own)
  if o.all_namespaces then return nil end
  return #o.namespace > 0 and o.namespace or { own }
end

-- Namespace and name of what is said as NAME or NAMESPACE/NAME.
local function place(said, own)
  local namespace, name = said:match("^(.-)/(.+)$")
  return namespace or own, name or said
end

-- Namespace and name of the Lease.
function M.lease(o, own) return place(o.lease or "moonphase", own) end

-- Namespace and name of the ConfigMap of the last good policies; nil without one.
function M.last_good(o, own)
  if o.last_good then return place(o.last_good, own) end
end

return M
