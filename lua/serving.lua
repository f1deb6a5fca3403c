-- Whom an operator serves and which Lease it holds, from the words of a command line: the same for who runs it (command/run.lua)
-- and for who asks which rights that takes (command/rbac.lua).

local M = {}

-- fail(status, text) ends the program.
function M.check(o, fail)
  if o.all_namespaces and #o.namespace > 0 then fail(2, "--all-namespaces and --namespace exclude each other") end
  for _, name in ipairs(o.namespace) do
    if #name > 63 or not name:match("^[a-z0-9][a-z0-9-]*$") then fail(2, "--namespace: '" .. name .. "' is no name of a namespace") end
  end
  if o.lease and not o.leader_elect then fail(2, "--lease goes with --leader-elect") end
  if o.lease and not o.lease:match("^[a-z0-9][a-z0-9.-]*$") and not o.lease:match("^[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9.-]*$") then
    fail(2, "--lease: '" .. o.lease .. "' is no NAME or NAMESPACE/NAME of a Lease")
  end
end

-- The namespaces that are served, of which `own` is the one where nobody says otherwise; nil: all.
function M.namespaces(o, own)
  if o.all_namespaces then return nil end
  return #o.namespace > 0 and o.namespace or { own }
end

-- Namespace and name of the Lease.
function M.lease(o, own)
  local namespace, name = (o.lease or ""):match("^(.-)/(.+)$")
  return namespace or own, name or o.lease or "moonphase"
end

return M
