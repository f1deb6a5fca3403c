-- moonphase rbac: the rights that `moonphase run` needs with these policies, as manifests for kubectl.

local contract = require "contract"
local options = require "options"
local policies = require "policies"
local rights = require "rights"
local serving = require "serving"
local sorted = require "sorted"

local SPEC = {
  about = "Print what moonphase needs to be allowed, as RBAC manifests: exactly what these policies ask for.",
  usage = "moonphase rbac --service-account NAMESPACE/NAME [options as for run]",
  { "service-account", "NS/NAME", "who runs moonphase" },
  { "namespace", "NAME", "serve this namespace (repeats; default: the service account's)", many = true },
  { "all-namespaces", nil, "serve every namespace" },
  { "policies", "DIR", "policies from a folder in place of the built-in ones" },
  { "settings", "FILE", "settings over those of the policies" },
  { "leader-elect", nil, "with the Lease of replicas" },
  { "lease", "NAME", "its name, or NAMESPACE/NAME (default: moonphase, in the service account's)" },
  { "last-good", "NAME", "with the ConfigMap of the last good policies (NAME, or NAMESPACE/NAME)" },
  { "webhook", nil, "with quota admission, whose certificate moonphase makes" },
  { "o", "yaml|json", "how to print (default yaml)" },
  example = "moonphase rbac --service-account hub/moonphase --leader-elect | kubectl apply -f -",
}

local GROUP = "rbac.authorization.k8s.io"

-- A Role and its binding in a namespace; in all of them, what is cluster-wide has a name of its own for each installation.
local function manifests_of(scope, rules, namespace, name)
  local is_wide = scope == rights.CLUSTER
  local function metadata()
    return is_wide and { name = name .. "-" .. namespace } or { name = name, namespace = scope }
  end
  local role = { apiVersion = GROUP .. "/v1", kind = is_wide and "ClusterRole" or "Role", metadata = metadata(), rules = rules }
  return role, { apiVersion = GROUP .. "/v1", kind = role.kind .. "Binding", metadata = metadata(),
    roleRef = { apiGroup = GROUP, kind = role.kind, name = role.metadata.name },
    subjects = json.array { { kind = "ServiceAccount", name = name, namespace = namespace } } }
end

local function print_one(manifest, format)
  if format == "json" then return io.write(json.encode(manifest), "\n") end
  io.write("---\n", yaml.encode(manifest))
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  if o.o and o.o ~= "yaml" and o.o ~= "json" then options.fail(2, "-o must be yaml or json, not '" .. o.o .. "'") end
  serving.check(o, options.fail)
  local own, name = (o.service_account or ""):match("^([a-z0-9-]+)/([a-z0-9.-]+)$")
  if not own then options.fail(2, "rbac needs --service-account NAMESPACE/NAME: who runs moonphase") end
  local generation, settings = policies.load(o.policies, o.settings)
  if not generation then options.fail(1, settings) end
  local declaration, why = contract.declaration(generation, "phdeployment")
  if not declaration then options.fail(1, why) end
  local lease_namespace, lease = serving.lease(o, own)
  local kept_namespace, kept = serving.last_good(o, own)
  local found = rights.of { declaration = declaration, settings = settings, own_namespace = own, webhook = o.webhook,
    namespaces = serving.namespaces(o, own), lease = o.leader_elect and { namespace = lease_namespace, name = lease } or nil,
    last_good = kept and { namespace = kept_namespace, name = kept } or nil }
  print_one({ apiVersion = "v1", kind = "ServiceAccount", metadata = { name = name, namespace = own } }, o.o)
  for _, scope in ipairs(sorted(found)) do
    local role, binding = manifests_of(scope, found[scope], own, name)
    print_one(role, o.o)
    print_one(binding, o.o)
  end
  return 0
end)
