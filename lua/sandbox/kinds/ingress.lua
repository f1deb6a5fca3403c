-- Ingresses (networking.k8s.io), v1 and v1beta1. https://kubernetes.io/docs/concepts/services-networking/ingress/

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"
local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"
local service_checks = require "sandbox.kinds.service_checks"
local versions = require "sandbox.kinds.ingress_versions"

local M = {}

local TYPES = { "Exact", "ImplementationSpecific", "Prefix", Exact = true, ImplementationSpecific = true, Prefix = true }
local CLASS = "kubernetes.io/ingress.class"
local IS_DEFAULT = "ingressclass.kubernetes.io/is-default-class"

-- How the fields of a backend are called in messages, by version.
local NAMES = {
  v1 = { default = "defaultBackend", name = ".service.name", port_name = ".service.port.name", port = ".service.port.number" },
  v1beta1 = { default = "backend", name = ".serviceName", port_name = ".servicePort", port = ".servicePort" },
}

-- Of what an ingress or a class of ingresses points at.
function M.check_reference(errs, path, reference)
  local group = reference.apiGroup
  if group and group ~= json.null then checks.report(errs, path .. ".apiGroup", group, checks.dns_subdomain(group)) end
  for _, field in ipairs { "kind", "name" } do
    local value = reference[field] or ""
    if value == "" then checks.required(errs, path .. "." .. field, field .. " is required")
    else checks.report(errs, path .. "." .. field, value, checks.name_path_segment(value)) end
  end
end

local function check_port(errs, path, port, names)
  local name, number = port.name or "", port.number or 0
  if name ~= "" and number ~= 0 then checks.invalid(errs, path, "", "cannot set both port name & port number")
  elseif name ~= "" then checks.report(errs, path .. names.port_name, name, checks.port_name(name))
  elseif number ~= 0 then checks.report(errs, path .. names.port, number, checks.port_number(number))
  else checks.required(errs, path, "port name or number is required") end
end

local function check_backend(errs, path, backend, names)
  local resource, service = backend.resource, backend.service
  if resource and service then return checks.invalid(errs, path, "", "cannot set both resource and service backends") end
  if resource then return M.check_reference(errs, path .. ".resource", resource) end
  if not service then return checks.invalid(errs, path, "", "resource or service backend is required") end
  local name = service.name or ""
  if name == "" then checks.required(errs, path .. names.name)
  else checks.report(errs, path .. names.name, name, checks.name_1035(name)) end
  check_port(errs, path, service.port or {}, names)
end

local function check_text(errs, path, text)
  for _, part in ipairs { "//", "/./", "/../", "%2f", "%2F" } do
    if text:find(part, 1, true) then checks.invalid(errs, path, text, ("must not contain '%s'"):format(part)) end
  end
  for _, ending in ipairs { "/..", "/." } do
    if text:sub(-#ending) == ending then checks.invalid(errs, path, text, ("cannot end with '%s'"):format(ending)) end
  end
end

local function check_path(errs, path, one, names)
  local kind, text = one.pathType, one.path or ""
  if kind == nil then return checks.required(errs, path .. ".pathType", "pathType must be specified") end
  local is_absolute = text:sub(1, 1) == "/"
  if kind == "Exact" or kind == "Prefix" then
    if not is_absolute then checks.invalid(errs, path .. ".path", text, "must be an absolute path") end
    if text ~= "" then check_text(errs, path .. ".path", text) end
  elseif kind == "ImplementationSpecific" then
    if text ~= "" and not is_absolute then checks.invalid(errs, path .. ".path", text, "must be an absolute path") end
  else
    checks.not_supported(errs, path .. ".pathType", kind, TYPES)
  end
  check_backend(errs, path .. ".backend", one.backend or {}, names)
end

local function check_host(errs, path, host)
  if host:find("*", 1, true) then checks.report(errs, path, host, checks.wildcard_subdomain(host))
  else checks.report(errs, path, host, checks.dns_subdomain(host)) end
end

local function check_rule(errs, path, rule, names)
  local host = rule.host or ""
  if host ~= "" then
    if service_checks.is_ip(host) then checks.invalid(errs, path .. ".host", host, "must be a DNS name, not an IP address") end
    check_host(errs, path .. ".host", host)
  end
  if names == NAMES.v1beta1 and host:find("*", 1, true) then return end -- as it was before such hosts were looked at
  if not rule.http then return end
  local paths = rule.http.paths
  if not paths or not paths[1] then return checks.required(errs, path .. ".http.paths") end
  for i, one in ipairs(paths) do check_path(errs, ("%s.http.paths[%d]"):format(path, i - 1), one, names) end
end

local function check_spec(errs, spec, names)
  local rules = spec.rules or {}
  if not rules[1] and not spec.defaultBackend then
    checks.invalid(errs, "spec", checks.verbatim "[]networking.IngressRule(nil)",
      ("either `%s` or `rules` must be specified"):format(names.default))
  end
  if spec.defaultBackend then check_backend(errs, "spec." .. names.default, spec.defaultBackend, names) end
  for i, rule in ipairs(rules) do check_rule(errs, ("spec.rules[%d]"):format(i - 1), rule, names) end
  for i, tls in ipairs(spec.tls or {}) do
    for j, host in ipairs(tls.hosts or {}) do check_host(errs, ("spec.tls[%d].hosts[%d]"):format(i - 1, j - 1), host) end
    if names == NAMES.v1 and (tls.secretName or "") ~= "" then
      checks.report(errs, ("spec.tls[%d].secretName"):format(i - 1), tls.secretName, checks.dns_subdomain(tls.secretName))
    end
  end
  local class = spec.ingressClassName
  if class then checks.report(errs, "spec.ingressClassName", class, checks.dns_subdomain(class)) end
end

local function class_of(object) return object.metadata.annotations and object.metadata.annotations[CLASS] end

-- A new ingress without a class gets the default one, if there is one.
local function admit(object, w, old)
  if old or object.spec and object.spec.ingressClassName or class_of(object) then return nil end
  local found
  for _, record in ipairs(w:each("ingressclasses.networking.k8s.io")) do
    if (record.object.metadata.annotations or {})[IS_DEFAULT] == "true" then
      if found then
        return errors.forbidden("ingresses.networking.k8s.io", object.metadata.name or "",
          "2 default IngressClasses were found, only 1 allowed")
      end
      found = record.name
    end
  end
  if found and object.spec then object.spec.ingressClassName = found end
end

local function row(object, w)
  local spec, hosts, ips = versions.to_v1(object).spec or {}, {}, {}
  for _, rule in ipairs(spec.rules or {}) do
    if (rule.host or "") ~= "" then hosts[#hosts + 1] = rule.host end
  end
  local more = #hosts - 3
  local shown = more > 0 and table.concat(hosts, ",", 1, 3) .. (" + %d more..."):format(more) or hosts[1] and table.concat(hosts, ",") or "*"
  for _, one in ipairs(object.status and object.status.loadBalancer and object.status.loadBalancer.ingress or {}) do
    ips[#ips + 1] = (one.ip or "") ~= "" and one.ip or one.hostname
  end
  return { object.metadata.name, spec.ingressClassName or "<none>", shown, table.concat(ips, ","), spec.tls and spec.tls[1] and "80, 443"
    or "80", rows.age(object, w) }
end

-- The kind of a version.
function M.make(version)
  local names = NAMES[version]
  local strategy = { unconditional_update = true, admit = admit,
    from_storage = version == "v1" and versions.to_v1 or versions.to_beta }

  function strategy.default(object)
    local status = object.status or {}
    object.status, status.loadBalancer = status, status.loadBalancer or {}
    if version == "v1" then return end
    for _, rule in ipairs(object.spec and object.spec.rules or {}) do
      for _, path in ipairs(rule.http and rule.http.paths or {}) do
        if path.pathType == nil then path.pathType = "ImplementationSpecific" end
      end
    end
  end

  function strategy.prepare_create(object)
    object.status = { loadBalancer = {} }
    object.metadata.generation = 1
  end

  function strategy.prepare_update(new, old)
    new.status = old.status
    kinds.count_up(new, old, not json.equal(versions.to_v1(new).spec or {}, versions.to_v1(old).spec or {}))
  end

  function strategy.prepare_status(new, old)
    new.spec = strategy.from_storage(old).spec
  end

  function strategy.check(errs, object)
    check_spec(errs, versions.to_v1(object).spec or {}, names)
  end

  function strategy.validate_create(object)
    local errs = kinds.new_meta(object, true)
    strategy.check(errs, object)
    if class_of(object) and object.spec and object.spec.ingressClassName then
      checks.invalid(errs, "annotations." .. CLASS, class_of(object), "can not be set when the class field is also set")
    end
    return errs
  end

  function strategy.validate_status(new, old)
    local errs = kinds.update_meta(new, old)
    service_checks.check_balancer(errs, new.status)
    return errs
  end

  return kinds.make { group = "networking.k8s.io", version = version, kind = "Ingress", plural = "ingresses", short_names = { "ing" },
    subresources = { status = true }, strategy = strategy, row = row,
    invalid_as = { group = "extensions", kind = "Ingress" } } -- the group in which the server's Go type was registered first
end

return M
