-- What a server of 1.20 refuses in a Service, in its order.

local checks = require "sandbox.kinds.checks"
local containers = require "sandbox.kinds.containers"
local formats = require "sandbox.schema.formats"

local M = {}

local AFFINITIES = { "ClientIP", "None", ClientIP = true, None = true }
local TYPES = { "ClusterIP", "ExternalName", "LoadBalancer", "NodePort", ClusterIP = true, ExternalName = true, LoadBalancer = true,
  NodePort = true }
local SOURCES = "service.beta.kubernetes.io/load-balancer-source-ranges"
local POLICIES = { Local = true, Cluster = true }
local IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
M.IP = IP

-- An IPv4 or IPv6 address as Go reads it (leading zeros were fine to Go 1.16, and are not since).
function M.is_ip(text)
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  if a then
    for _, part in ipairs { a, b, c, d } do
      if #part > 3 or tonumber(part) > 255 or part:find("^0%d") then return false end
    end
    return true
  end
  if not text:find("^[%x:]+$") or not text:find(":") or text:find(":::") then return false end
  local _, gaps = text:gsub("::", "")
  local groups = 0
  for group in text:gmatch("%x+") do
    if #group > 4 then return false end
    groups = groups + 1
  end
  if gaps > 1 or text:find("^:[^:]") or text:find("[^:]:$") then return false end
  return gaps == 1 and groups < 8 or groups == 8
end

local function is_headless(spec)
  return spec.clusterIPs and spec.clusterIPs[1] == "None" and not spec.clusterIPs[2]
end

local function check_type_rules(errs, spec)
  if spec.type == "LoadBalancer" then
    for i, port in ipairs(spec.ports or {}) do
      if port.port == 10250 then
        checks.invalid(errs, ("spec.ports[%d]"):format(i - 1), port.port,
          "may not expose port 10250 externally since it is used by kubelet")
      end
    end
  end
  if (spec.type == "LoadBalancer" or spec.type == "NodePort") and is_headless(spec) then
    checks.invalid(errs, "spec.clusterIPs[0]", "None", ("may not be set to 'None' for %s services"):format(spec.type))
  elseif spec.type == "ExternalName" then
    if spec.clusterIPs and spec.clusterIPs[1] then
      checks.forbidden(errs, "spec.clusterIPs", "may not be set for ExternalName services")
    end
    local name = (spec.externalName or ""):gsub("%.$", "")
    if name == "" then checks.required(errs, "spec.externalName")
    else checks.report(errs, "spec.externalName", name, checks.dns_subdomain(name)) end
  end
end

local function check_port(errs, path, port, named, names)
  local name = port.name or ""
  if name == "" then
    if named then checks.required(errs, path .. ".name") end
  else
    checks.report(errs, path .. ".name", name, checks.dns_label(name))
    if names[name] then checks.duplicate(errs, path .. ".name", name) end
    names[name] = true
  end
  checks.report(errs, path .. ".port", port.port or 0, checks.port_number(port.port or 0))
  local protocol = port.protocol or ""
  if protocol == "" then checks.required(errs, path .. ".protocol")
  elseif not containers.PROTOCOLS[protocol] then checks.not_supported(errs, path .. ".protocol", protocol, containers.PROTOCOLS) end
  checks.port(errs, path .. ".targetPort", port.targetPort)
  if port.appProtocol then checks.report(errs, path .. ".appProtocol", port.appProtocol, checks.qualified_name(port.appProtocol)) end
end

local function check_affinity(errs, spec)
  local affinity, config = spec.sessionAffinity or "", spec.sessionAffinityConfig
  if not AFFINITIES[affinity] then return checks.not_supported(errs, "spec.sessionAffinity", affinity, AFFINITIES) end
  if affinity == "None" then
    if config then checks.forbidden(errs, "spec.sessionAffinityConfig", "must not be set when session affinity is None") end
    return
  end
  local seconds = config and config.clientIP and config.clientIP.timeoutSeconds
  if seconds and (seconds <= 0 or seconds > 86400) then
    checks.invalid(errs, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds, "must be greater than 0 and less than 86400")
  end
end

local function check_addresses(errs, spec)
  local ips, ip = spec.clusterIPs or {}, spec.clusterIP or ""
  if spec.type == "ExternalName" then return end
  if ip ~= "" and not ips[1] then checks.required(errs, "spec.clusterIPs") end
  if ip == "" and ips[1] then checks.invalid(errs, "spec.clusterIPs", checks.verbatim(checks.go_strings(ips)),
    "must be empty when clusterIP is empty") end
  if ips[1] and ip ~= "" and ips[1] ~= ip then
    checks.invalid(errs, "spec.clusterIPs", checks.verbatim(checks.go_strings(ips)), "element [0] must match clusterIP")
  end
  for i, one in ipairs(ips) do
    if one ~= "None" and not M.is_ip(one) then
      checks.invalid(errs, ("spec.clusterIPs[%d]"):format(i - 1), one, IP)
    end
  end
end

local function check_outer_ips(errs, list)
  for i, ip in ipairs(list or {}) do
    local path = ("spec.externalIPs[%d]"):format(i - 1)
    if not M.is_ip(ip) then checks.invalid(errs, path, ip, IP)
    elseif ip == "0.0.0.0" or ip == "::" then checks.invalid(errs, path, ip, "may not be unspecified (0.0.0.0)")
    elseif ip:find("^127%.") or ip == "::1" then checks.invalid(errs, path, ip, "may not be in the loopback range (127.0.0.0/8)")
    elseif ip:find("^169%.254%.") then checks.invalid(errs, path, ip, "may not be in the link-local range (169.254.0.0/16)")
    elseif ip:find("^224%.0%.0%.") then checks.invalid(errs, path, ip, "may not be in the link-local multicast range (224.0.0.0/24)") end
  end
end

local function check_doubles(errs, spec)
  local node_ports, ports = {}, {}
  for i, port in ipairs(spec.ports or {}) do
    if (port.nodePort or 0) ~= 0 then
      local key = ("%s/%d"):format(port.protocol, port.nodePort)
      if node_ports[key] then checks.duplicate(errs, ("spec.ports[%d].nodePort"):format(i - 1), port.nodePort) end
      node_ports[key] = true
    end
  end
  for i, port in ipairs(spec.ports or {}) do
    local key = ("%s/%d"):format(port.protocol, port.port or 0)
    if ports[key] then
      checks.duplicate(errs, ("spec.ports[%d]"):format(i - 1), checks.verbatim(('core.ServicePort{Name:"", Protocol:%s, AppProtocol:'
        .. '(*string)(nil), Port:%d, TargetPort:intstr.IntOrString{Type:0, IntVal:0, StrVal:""}, NodePort:0}')
        :format(checks.quote(port.protocol), port.port or 0)))
    end
    ports[key] = true
  end
end

-- Who may come in through a load balancer: a list in the spec, or a text in an annotation of old.
local function check_sources(errs, object)
  local ranges, annotation = object.spec.loadBalancerSourceRanges or {}, (object.metadata.annotations or {})[SOURCES]
  if not ranges[1] and not annotation then return end
  local path, shown = "spec.LoadBalancerSourceRanges", "[" .. table.concat(ranges, " ") .. "]"
  if not ranges[1] then
    path, shown, ranges = ("metadata.annotations[%s]"):format(SOURCES), annotation, {}
    for range in annotation:gmatch "[^,]+" do ranges[#ranges + 1] = range end
  end
  if object.spec.type ~= "LoadBalancer" then checks.forbidden(errs, path, "may only be used when `type` is 'LoadBalancer'") end
  for _, range in ipairs(ranges) do
    if not formats.cidr(range:match "^%s*(.-)%s*$") then
      return checks.invalid(errs, path, shown, "must be a list of IP ranges. For example, 10.240.0.0/24,10.250.0.0/24 ")
    end
  end
end

local function check_traffic(errs, spec)
  local policy, check_port_number = spec.externalTrafficPolicy or "", spec.healthCheckNodePort or 0
  if policy ~= "" and not POLICIES[policy] then
    checks.invalid(errs, "spec.externalTrafficPolicy", policy, "ExternalTrafficPolicy must be empty, Cluster or Local")
  end
  if check_port_number < 0 then
    checks.invalid(errs, "spec.healthCheckNodePort", check_port_number, "HealthCheckNodePort must be not less than 0")
  end
end

-- What the server looks at when all else is well: fields that do not go together.
function M.check_traffic_type(errs, spec)
  local policy, check_port_number = spec.externalTrafficPolicy or "", spec.healthCheckNodePort or 0
  if policy ~= "" and spec.type ~= "NodePort" and spec.type ~= "LoadBalancer" then
    checks.invalid(errs, "spec.externalTrafficPolicy", policy, "ExternalTrafficPolicy can only be set on NodePort and LoadBalancer service")
  end
  if check_port_number > 0 and not (spec.type == "LoadBalancer" and policy == "Local") then
    checks.invalid(errs, "spec.healthCheckNodePort", check_port_number,
      "HealthCheckNodePort can only be set on LoadBalancer service with ExternalTrafficPolicy=Local")
  end
end

function M.check(errs, object)
  local spec = object.spec
  local ports = spec.ports or {}
  if not ports[1] and not is_headless(spec) and spec.type ~= "ExternalName" then checks.required(errs, "spec.ports") end
  check_type_rules(errs, spec)
  local names = {}
  for i, port in ipairs(ports) do check_port(errs, ("spec.ports[%d]"):format(i - 1), port, #ports > 1, names) end
  checks.labels(errs, "spec.selector", spec.selector)
  check_affinity(errs, spec)
  check_addresses(errs, spec)
  check_outer_ips(errs, spec.externalIPs)
  if not TYPES[spec.type] then checks.not_supported(errs, "spec.type", spec.type or "", TYPES) end
  if spec.type == "ClusterIP" then
    for i, port in ipairs(ports) do
      if (port.nodePort or 0) ~= 0 then
        checks.forbidden(errs, ("spec.ports[%d].nodePort"):format(i - 1), "may not be used when `type` is 'ClusterIP'")
      end
    end
  end
  check_doubles(errs, spec)
  check_sources(errs, object)
  check_traffic(errs, spec)
end

-- The status of a Service or an Ingress: where it is reached from outside.
function M.check_balancer(errs, status)
  for i, one in ipairs(status and status.loadBalancer and status.loadBalancer.ingress or {}) do
    local path, ip, host = ("status.loadBalancer.ingress[%d]"):format(i - 1), one.ip or "", one.hostname or ""
    if ip ~= "" and not M.is_ip(ip) then checks.invalid(errs, path .. ".ip", ip, "must be a valid IP address") end
    if host ~= "" then
      checks.report(errs, path .. ".hostname", host, checks.dns_subdomain(host))
      if M.is_ip(host) then checks.invalid(errs, path .. ".hostname", host, "must be a DNS name, not an IP address") end
    end
  end
end

-- An address, once given, stays.
function M.check_change(errs, new, old)
  local spec, before = new.spec, old.spec
  if spec.type == "ExternalName" or before.type == "ExternalName" then return end
  local ips, had = spec.clusterIPs or {}, before.clusterIPs or {}
  if had[1] and not ips[1] then
    checks.invalid(errs, "spec.clusterIPs[0]", checks.verbatim "[]string(nil)", "primary clusterIP can not be unset")
  elseif had[1] and ips[1] ~= had[1] then
    checks.invalid(errs, "spec.clusterIPs[0]", checks.verbatim(checks.go_strings(ips)), "may not change once set")
  end
end

return M
