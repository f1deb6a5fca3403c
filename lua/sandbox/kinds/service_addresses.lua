-- The addresses and node ports of services: given out of two ranges, never twice.
--
-- What is taken is told by the services that there are, so nothing must be kept beside them. Addresses come from 10.96.0.0/16
-- (the first is the server's own), node ports from 30000-32767.
-- (https://kubernetes.io/docs/reference/networking/virtual-ips/#ip-address-objects)

local checks = require "sandbox.kinds.checks"
local follower = require "sandbox.follower"

local M = {}

local PREFIX, FIRST_PORT, LAST_PORT = "10.96.", 30000, 32767

-- ---- What is taken: an index that follows the world -------------------------------------------------------------

local function count(index, record, by)
  local spec = record.object.spec or {}
  local ip = spec.clusterIP
  if ip and ip ~= "" and ip ~= "None" then index.ips[ip] = (index.ips[ip] or 0) + by end
  for _, port in ipairs(spec.ports or {}) do
    if (port.nodePort or 0) ~= 0 then index.ports[port.nodePort] = (index.ports[port.nodePort] or 0) + by end
  end
  local check_port = spec.healthCheckNodePort
  if check_port then index.ports[check_port] = (index.ports[check_port] or 0) + by end
end

local function reset(index) index.ips, index.ports = {}, {} end

local function change(index, id, before, after)
  if id ~= "services" then return end
  if before then count(index, before, -1) end
  if after then count(index, after, 1) end
end

local indexes = setmetatable({}, { __mode = "k" })

local function taken(w)
  local index = indexes[w]
  if not index then
    index = follower.follow({ reset = reset, change = change, ips = {}, ports = {} }, w, { services = true })
    indexes[w] = index
  end
  follower.refresh(index)
  return index
end

-- ---- Giving ----------------------------------------------------------------------------------------------------

local function free_ip(w)
  local ips = taken(w).ips
  for _ = 1, 70000 do
    local number = w:random(65534)
    local ip = ("%s%d.%d"):format(PREFIX, number >> 8, number & 255)
    if (ips[ip] or 0) == 0 and number > 1 then return ip end
  end
end

local function free_port(w, used)
  local ports = taken(w).ports
  for _ = 1, 20000 do
    local port = FIRST_PORT - 1 + w:random(LAST_PORT - FIRST_PORT + 1)
    if (ports[port] or 0) == 0 and not used[port] then return port end
  end
end

local function ports_of(spec)
  local set = {}
  for _, port in ipairs(spec.ports or {}) do set[port.nodePort or 0] = true end
  return set
end

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return setmetatable(new, getmetatable(t))
end

local function give_ports(spec, w)
  local used, by_number, ports = {}, {}, copy(spec.ports)
  for _, port in ipairs(ports) do
    if (port.nodePort or 0) ~= 0 then used[port.nodePort] = true end
  end
  for i, port in ipairs(ports) do
    if (port.nodePort or 0) == 0 then
      port = copy(port)
      port.nodePort = by_number[port.port] or free_port(w, used) -- one number for both protocols
      ports[i] = port
      used[port.nodePort] = true
    end
    by_number[port.port] = port.nodePort
  end
  spec.ports = ports
end

-- Fill in what is missing. In place on object.spec; ports are replaced, not changed.
function M.allocate(object, w, is_dry_run)
  local spec = object.spec
  if spec.type == "ExternalName" then return end
  if not is_dry_run and (spec.clusterIP or "") == "" and not (spec.clusterIPs and spec.clusterIPs[1]) and spec.ports and spec.ports[1] then
    spec.clusterIP = free_ip(w)
    spec.clusterIPs = json.array { spec.clusterIP }
  end
  if (spec.type == "NodePort" or spec.type == "LoadBalancer") and spec.ports then give_ports(spec, w) end
  if spec.type == "LoadBalancer" and spec.externalTrafficPolicy == "Local" and (spec.healthCheckNodePort or 0) == 0 then
    spec.healthCheckNodePort = free_port(w, ports_of(spec))
  end
end

-- ---- What was asked for ----------------------------------------------------------------------------------------

local function check_port(errs, path, number, ports)
  if number < FIRST_PORT or number > LAST_PORT then
    checks.invalid(errs, path, number, ("provided port is not in the valid range. The range of valid ports is %d-%d")
      :format(FIRST_PORT, LAST_PORT))
    return
  end
  if (ports[number] or 0) > 0 then checks.invalid(errs, path, number, "provided port is already allocated") end
end

-- That nothing is asked for which another service has, or which is out of range.
function M.check(errs, object, old, w)
  local spec, before, index = object.spec, old and old.spec or {}, taken(w)
  local ip = spec.clusterIP or ""
  if ip ~= "" and ip ~= "None" and ip ~= before.clusterIP then
    local text
    if ip:sub(1, #PREFIX) ~= PREFIX then
      text = ("failed to allocated ip:%s with error:provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/16"):format(ip)
    elseif (index.ips[ip] or 0) > 0 then
      text = ("failed to allocated ip:%s with error:provided IP is already allocated"):format(ip)
    end
    if text then return checks.invalid(errs, "spec.clusterIPs", checks.verbatim(checks.go_strings { ip }), text) end
  end
  local had = {}
  for _, port in ipairs(before.ports or {}) do had[port.nodePort or 0] = true end
  for i, port in ipairs(spec.ports or {}) do
    local number = port.nodePort or 0
    if number ~= 0 and not had[number] then
      check_port(errs, ("spec.ports[%d].nodePort"):format(i - 1), number, index.ports)
      if errs[1] then return end
    end
  end
end

return M
