-- Endpoints. https://kubernetes.io/docs/reference/kubernetes-api/service-resources/endpoints-v1/

local checks = require "sandbox.kinds.checks"
local containers = require "sandbox.kinds.containers"
local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"
local service_checks = require "sandbox.kinds.service_checks"

local strategy = { unconditional_update = true, create_on_update = true }

function strategy.default(object)
  for _, subset in ipairs(object.subsets or {}) do
    for _, port in ipairs(subset.ports or {}) do
      if (port.protocol or "") == "" then port.protocol = "TCP" end
    end
  end
end

local IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

local function check_address(errs, path, one)
  local ip = one.ip or ""
  local is_ip = service_checks.is_ip(ip)
  if not is_ip then checks.invalid(errs, path .. ".ip", ip, IP) end
  if (one.hostname or "") ~= "" then checks.report(errs, path .. ".hostname", one.hostname, checks.dns_label(one.hostname)) end
  if one.nodeName then checks.report(errs, path .. ".nodeName", one.nodeName, checks.dns_subdomain(one.nodeName)) end
  if not is_ip then checks.invalid(errs, path .. ".ip", ip, "must be a valid IP address") -- said again, as the server does
  elseif ip == "0.0.0.0" or ip == "::" then checks.invalid(errs, path .. ".ip", ip, "may not be unspecified (0.0.0.0)")
  elseif ip:find("^127%.") or ip == "::1" then checks.invalid(errs, path .. ".ip", ip, "may not be in the loopback range (127.0.0.0/8)")
  elseif ip:find("^169%.254%.") then checks.invalid(errs, path .. ".ip", ip, "may not be in the link-local range (169.254.0.0/16)")
  elseif ip:find("^224%.0%.0%.") then
    checks.invalid(errs, path .. ".ip", ip, "may not be in the link-local multicast range (224.0.0.0/24)")
  end
end

local function check_port(errs, path, port, named)
  local name, protocol = port.name or "", port.protocol or ""
  if named and name == "" then checks.required(errs, path .. ".name")
  elseif name ~= "" then checks.report(errs, path .. ".name", name, checks.dns_label(name)) end
  checks.report(errs, path .. ".port", port.port or 0, checks.port_number(port.port or 0))
  if protocol == "" then checks.required(errs, path .. ".protocol")
  elseif not containers.PROTOCOLS[protocol] then checks.not_supported(errs, path .. ".protocol", protocol, containers.PROTOCOLS) end
end

function strategy.check(errs, object)
  for i, subset in ipairs(object.subsets or {}) do
    local path, ready, other = ("subsets[%d]"):format(i - 1), subset.addresses or {}, subset.notReadyAddresses or {}
    if not ready[1] and not other[1] then checks.required(errs, path, "must specify `addresses` or `notReadyAddresses`") end
    for j, one in ipairs(ready) do check_address(errs, ("%s.addresses[%d]"):format(path, j - 1), one) end
    for j, one in ipairs(other) do check_address(errs, ("%s.notReadyAddresses[%d]"):format(path, j - 1), one) end
    local ports = subset.ports or {}
    for j, port in ipairs(ports) do check_port(errs, ("%s.ports[%d]"):format(path, j - 1), port, #ports > 1) end
  end
end

local MOST = 3

-- Port by port, as the server lists them.
local function addresses(object)
  local list, count = {}, 0
  for _, subset in ipairs(object.subsets or {}) do
    local ports = subset.ports or {}
    for i = 1, math.max(1, #ports) do
      for _, one in ipairs(subset.addresses or {}) do
        count = count + 1
        if count <= MOST then list[count] = ports[i] and ("%s:%d"):format(one.ip, ports[i].port) or one.ip end
      end
    end
  end
  if count == 0 then return "<none>" end
  return table.concat(list, ",") .. (count > MOST and (" + %d more..."):format(count - MOST) or "")
end

local function row(object, w)
  return { object.metadata.name, addresses(object), rows.age(object, w) }
end

local kind = kinds.make { kind = "Endpoints", plural = "endpoints", short_names = { "ep" }, strategy = strategy, row = row }
kind.list_kind = "EndpointsList"
return kind
