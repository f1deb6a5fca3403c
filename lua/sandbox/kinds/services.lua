-- Services. https://kubernetes.io/docs/reference/kubernetes-api/service-resources/service-v1/
--
-- A server of 1.20 gives a service its addresses and node ports out of two ranges (service_ports.lua). Dual stack was an
-- alpha feature then: ipFamilies and ipFamilyPolicy are dropped.

local addresses = require "sandbox.kinds.service_addresses"
local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"
local service_checks = require "sandbox.kinds.service_checks"

local strategy = { unconditional_update = true, name = checks.name_1035 }

function strategy.default(object)
  local spec = object.spec
  if not spec then
    spec = {}
    object.spec = spec
  end
  if (spec.sessionAffinity or "") == "" then spec.sessionAffinity = "None" end
  if spec.sessionAffinity == "None" then spec.sessionAffinityConfig = nil end
  if spec.sessionAffinity == "ClientIP" then
    local config = spec.sessionAffinityConfig
    if not (config and config.clientIP and config.clientIP.timeoutSeconds) then
      spec.sessionAffinityConfig = { clientIP = { timeoutSeconds = 10800 } }
    end
  end
  if (spec.type or "") == "" then spec.type = "ClusterIP" end
  for _, port in ipairs(spec.ports or {}) do
    if (port.protocol or "") == "" then port.protocol = "TCP" end
    if port.targetPort == nil or port.targetPort == 0 or port.targetPort == "" then port.targetPort = port.port end
  end
  if (spec.type == "NodePort" or spec.type == "LoadBalancer") and (spec.externalTrafficPolicy or "") == "" then
    spec.externalTrafficPolicy = "Cluster"
  end
  spec.ipFamilies, spec.ipFamilyPolicy, spec.allocateLoadBalancerNodePorts = nil, nil, nil
  object.status = object.status or {}
  object.status.loadBalancer = object.status.loadBalancer or {}
end

-- One address each: the second family is for dual stack.
local function cut(spec)
  if spec.clusterIPs and spec.clusterIPs[2] then spec.clusterIPs = json.array { spec.clusterIPs[1] } end
end

function strategy.prepare_create(object)
  local spec = object.spec
  object.status = { loadBalancer = {} }
  if (spec.clusterIP or "") ~= "" and not (spec.clusterIPs and spec.clusterIPs[1]) then
    spec.clusterIPs = json.array { spec.clusterIP }
  end
  cut(spec)
end

-- clusterIP is the older field: who changes it alone means both.
local function align(spec, before)
  local ip, old = spec.clusterIP or "", before.clusterIP or ""
  local same = json.equal(spec.clusterIPs or {}, before.clusterIPs or {})
  if ip == old then
    if ip ~= "" and not (spec.clusterIPs and spec.clusterIPs[1]) then spec.clusterIPs = json.array { ip } end
  elseif ip == "" then
    if same then spec.clusterIPs = nil end
  elseif same then
    spec.clusterIPs = json.array { ip }
  end
end

local NEEDS_PORTS = { NodePort = true, LoadBalancer = true }

local function ports_of(spec)
  local set = {}
  for _, port in ipairs(spec.ports or {}) do set[port.nodePort or 0] = true end
  set[0] = nil
  return set
end

local function needs_check_port(spec) return spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local" end

local function without_ports(spec)
  local ports = json.array {}
  for i, port in ipairs(spec.ports or {}) do
    local new = {}
    for name, value in next, port do new[name] = value end
    new.nodePort = nil
    ports[i] = new
  end
  spec.ports = ports[1] and ports or spec.ports
end

-- Who changes the type and leaves what was given for the old one, does not mean it.
local function drop(spec, before)
  if before.type ~= "ExternalName" and spec.type == "ExternalName" and json.equal(spec.clusterIPs or {}, before.clusterIPs or {}) then
    spec.clusterIP, spec.clusterIPs = nil, nil
  end
  if NEEDS_PORTS[before.type] and not NEEDS_PORTS[spec.type] then
    if json.equal(ports_of(spec), ports_of(before)) then without_ports(spec) end
    if spec.externalTrafficPolicy == before.externalTrafficPolicy then spec.externalTrafficPolicy = nil end
  end
  if needs_check_port(before) and not needs_check_port(spec) and spec.healthCheckNodePort == before.healthCheckNodePort then
    spec.healthCheckNodePort = nil
  end
end

function strategy.prepare_update(new, old)
  new.status = old.status
  local spec, before = new.spec, old.spec
  align(spec, before)
  cut(spec)
  drop(spec, before)
  if needs_check_port(spec) and needs_check_port(before) and (spec.healthCheckNodePort or 0) == 0 then
    spec.healthCheckNodePort = before.healthCheckNodePort
  end
end

function strategy.prepare_status(new, old)
  kinds.keep(new, old, "spec")
end

-- What is well gets its addresses here: the server gives them out after its checks, too.
-- options: of the verb; a dry run takes none, and the server does not look whether it could.
function strategy.check(errs, object, w, old, options)
  local before = #errs
  service_checks.check(errs, object)
  if #errs == before then service_checks.check_traffic_type(errs, object.spec) end
  if errs[1] or not w then return end
  if not (options and options.dry_run) then addresses.check(errs, object, old, w) end
  if not errs[1] then addresses.allocate(object, w, options and options.dry_run) end
end

function strategy.validate_create(object, w, options)
  local errs = kinds.new_meta(object, true, strategy.name)
  strategy.check(errs, object, w, nil, options)
  return errs
end

function strategy.validate_update(new, old, w, options)
  local errs = kinds.update_meta(new, old)
  service_checks.check_change(errs, new, old)
  meta.validate_create(errs, new.metadata, true, strategy.name)
  strategy.check(errs, new, w, old, options)
  return errs
end

function strategy.validate_status(new, old)
  local errs = kinds.update_meta(new, old)
  service_checks.check_balancer(errs, new.status)
  return errs
end

strategy.fields = {}

local function port_text(port)
  local number = (port.nodePort or 0) ~= 0 and ("%d:%d"):format(port.port, port.nodePort) or tostring(port.port)
  return number .. "/" .. (port.protocol or "TCP")
end

local function external(spec, status)
  local list = {}
  for _, ip in ipairs(spec.externalIPs or {}) do list[#list + 1] = ip end
  if spec.type == "ExternalName" then return spec.externalName end
  if spec.type == "LoadBalancer" then
    local given = {}
    for _, one in ipairs(status and status.loadBalancer and status.loadBalancer.ingress or {}) do
      given[#given + 1] = one.ip and one.ip ~= "" and one.ip or one.hostname
    end
    for _, ip in ipairs(list) do given[#given + 1] = ip end
    return given[1] and table.concat(given, ",") or "<pending>"
  end
  return list[1] and table.concat(list, ",") or "<none>"
end

local function row(object, w)
  local spec, ports = object.spec, {}
  for i, port in ipairs(spec.ports or {}) do ports[i] = port_text(port) end
  return { object.metadata.name, spec.type, (spec.clusterIP or "") ~= "" and spec.clusterIP or "<none>", external(spec, object.status),
    ports[1] and table.concat(ports, ",") or "<none>", rows.age(object, w), rows.labels(spec.selector) }
end

return kinds.make { kind = "Service", plural = "services", short_names = { "svc" }, categories = { "all" },
  verbs = { "create", "delete", "get", "list", "patch", "update", "watch" }, subresources = { status = true }, strategy = strategy,
  row = row }
