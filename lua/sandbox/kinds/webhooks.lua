-- Mutating- and ValidatingWebhookConfigurations (admissionregistration.k8s.io/v1): what both have in common.
-- (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/)

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"
local selectors = require "sandbox.kinds.selectors"

local M = {}

local DEFAULTS = { failurePolicy = "Fail", matchPolicy = "Equivalent", timeoutSeconds = 10 }

local function default_hook(hook, mutating)
  for name, value in next, DEFAULTS do
    if hook[name] == nil then hook[name] = value end
  end
  if mutating and hook.reinvocationPolicy == nil then hook.reinvocationPolicy = "Never" end
  hook.namespaceSelector, hook.objectSelector = hook.namespaceSelector or {}, hook.objectSelector or {}
  for _, rule in ipairs(hook.rules or {}) do
    if rule.scope == nil then rule.scope = "*" end
  end
  local service = hook.clientConfig and hook.clientConfig.service
  if service and service.port == nil then service.port = 443 end
end

local function words(...)
  local list = { ... }
  for _, word in ipairs(list) do list[word] = true end
  return list
end

local OPERATIONS = words("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
local SCOPES = words("*", "Cluster", "Namespaced")
local FAILURES, MATCHES, REINVOCATIONS = words("Fail", "Ignore"), words("Equivalent", "Exact"), words("IfNeeded", "Never")
local EFFECTS = words("None", "NoneOnDryRun")

local function check_words(errs, path, list, title)
  if not list or not list[1] then return checks.required(errs, path) end
  for _, word in ipairs(list) do
    if word == "*" and #list > 1 then
      checks.invalid(errs, path, checks.verbatim(checks.go_strings(list)), "if '*' is present, must not specify other " .. title)
      break
    end
  end
end

-- One of a list of RESOURCE/SUBRESOURCE, given those before it with a * on either side.
local function check_pair(errs, path, name, any_sub, any_resource)
  local resource, sub = name:match("^([^/]*)/(.*)$")
  if not resource then return end
  if any_sub[resource] then
    checks.invalid(errs, path, name, ("if '%s/*' is present, must not specify %s"):format(resource, name))
  end
  if any_resource[sub] then checks.invalid(errs, path, name, ("if '*/%s' is present, must not specify %s"):format(sub, name)) end
  if sub == "*" then any_sub[resource] = true end
  if resource == "*" then any_resource[sub] = true end
end

local function check_resources(errs, path, list)
  if not list or not list[1] then return checks.required(errs, path) end
  local any_sub, any_resource, all, star, plain = {}, {}, false, false, false
  for i, name in ipairs(list) do
    local here = ("%s[%d]"):format(path, i - 1)
    if name == "" then checks.required(errs, here) end
    all, star = all or name == "*/*", star or name == "*"
    if name ~= "" and not name:find("/", 1, true) then plain = name ~= "*" end -- the last one counts, as with the server
    check_pair(errs, here, name, any_sub, any_resource)
  end
  local shown = checks.verbatim(checks.go_strings(list))
  if all and list[2] then checks.invalid(errs, path, shown, "if '*/*' is present, must not specify other resources") end
  if star and plain then
    checks.invalid(errs, path, shown, "if '*' is present, must not specify other resources without subresources")
  end
end

local function check_rule(errs, path, rule)
  local operations = rule.operations or {}
  if not operations[1] then checks.required(errs, path .. ".operations") end
  for i, operation in ipairs(operations) do
    if operation == "*" and #operations > 1 then
      local parts = {}
      for j, one in ipairs(operations) do parts[j] = checks.quote(one) end
      checks.invalid(errs, path .. ".operations", checks.verbatim("[]admissionregistration.OperationType{" .. table.concat(parts, ", ") .. "}"),
        "if '*' is present, must not specify other operations")
    end
    if not OPERATIONS[operation] then checks.not_supported(errs, ("%s.operations[%d]"):format(path, i - 1), operation, OPERATIONS) end
  end
  check_words(errs, path .. ".apiGroups", rule.apiGroups, "API groups")
  check_words(errs, path .. ".apiVersions", rule.apiVersions, "API versions")
  for i, version in ipairs(rule.apiVersions or {}) do
    if version == "" then checks.required(errs, ("%s.apiVersions[%d]"):format(path, i - 1)) end
  end
  check_resources(errs, path .. ".resources", rule.resources)
  if rule.scope and not SCOPES[rule.scope] then checks.not_supported(errs, path .. ".scope", rule.scope, SCOPES) end
end

local FORM = "; desired format: https://host[/path]"

local function check_url(errs, path, url)
  local bad = url:match("%%%x?$") or url:match("%%%X.?.?") or url:match("%%%x%X.?")
  if bad then
    return checks.required(errs, path, ('url must be a valid URL: parse "%s": invalid URL escape "%s"'):format(url, bad:sub(1, 3)) .. FORM)
  end
  local scheme, rest = url:match("^([%a][%w+.-]*)://(.*)$")
  local host = rest and rest:match("^[^/?#]*") or ""
  if scheme ~= "https" then checks.invalid(errs, path, scheme or "", "'https' is the only allowed URL scheme" .. FORM) end
  if host == "" then checks.invalid(errs, path, "", "host must be provided" .. FORM) end
  if host:find("@", 1, true) then checks.invalid(errs, path, host:match("^(.*)@"), "user information is not permitted in the URL") end
  local fragment, query = url:match("#(.+)$"), url:match("%?([^#]+)")
  if fragment then checks.invalid(errs, path, fragment, "fragments are not permitted in the URL") end
  if query then checks.invalid(errs, path, query, "query parameters are not permitted in the URL") end
end

local function check_service_path(errs, path, text)
  if text == "/" or text == "" then return end
  if text == "//" then return checks.invalid(errs, path, text, "segment[0] may not be empty") end
  if text:sub(1, 1) ~= "/" then checks.invalid(errs, path, text, "must start with a '/'") end
  local i = 0
  for step in (text:sub(2):gsub("/$", "") .. "/"):gmatch("([^/]*)/") do
    if step == "" then checks.invalid(errs, path, text, ("segment[%d] may not be empty"):format(i)) end
    for _, message in ipairs(step ~= "" and checks.dns_subdomain(step) or {}) do
      checks.invalid(errs, path, text, ("segment[%d]: %s"):format(i, message))
    end
    i = i + 1
  end
end

local function check_service(errs, path, service)
  -- The server has taken one for the other here.
  if (service.namespace or "") == "" then checks.required(errs, path .. ".name", "service name is required") end
  if (service.name or "") == "" then checks.required(errs, path .. ".namespace", "service namespace is required") end
  local port = service.port or 0
  if port < 1 or port > 65535 then
    checks.invalid(errs, path .. ".port", port, "port is not valid: must be between 1 and 65535, inclusive")
  end
  if service.path then check_service_path(errs, path .. ".path", service.path) end
end

local function check_name(errs, path, name)
  if name == "" then return checks.required(errs, path) end
  local messages = checks.dns_subdomain(name)
  if messages then return checks.invalid(errs, path, name, table.concat(messages, ",")) end
  local _, dots = name:gsub("%.", "")
  if dots < 2 then checks.invalid(errs, path, name, "should be a domain with at least three segments separated by dots") end
end

local function check_word(errs, path, value, allowed)
  if value and not allowed[value] then checks.not_supported(errs, path, value, allowed) end
end

local function check_hook(errs, path, hook)
  check_name(errs, path .. ".name", hook.name or "")
  for i, rule in ipairs(hook.rules or {}) do check_rule(errs, ("%s.rules[%d]"):format(path, i - 1), rule) end
  check_word(errs, path .. ".failurePolicy", hook.failurePolicy, FAILURES)
  check_word(errs, path .. ".matchPolicy", hook.matchPolicy, MATCHES)
  if (hook.sideEffects or "") == "" then
    checks.required(errs, path .. ".sideEffects", "must specify one of None, NoneOnDryRun")
  else
    check_word(errs, path .. ".sideEffects", hook.sideEffects, EFFECTS)
  end
  local seconds = hook.timeoutSeconds
  if seconds and (seconds > 30 or seconds < 1) then
    checks.invalid(errs, path .. ".timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
  end
  selectors.check(errs, path .. ".namespaceSelector", hook.namespaceSelector or {})
  selectors.check(errs, path .. ".objectSelector", hook.objectSelector or {})
  check_word(errs, path .. ".reinvocationPolicy", hook.reinvocationPolicy, REINVOCATIONS)
  local client = hook.clientConfig or {}
  if (client.url == nil) == (client.service == nil) then
    checks.required(errs, path .. ".clientConfig", "exactly one of url or service is required")
  elseif client.url then
    check_url(errs, path .. ".clientConfig.url", client.url)
  else
    check_service(errs, path .. ".clientConfig.service", client.service)
  end
end

local function check_versions(errs, path, versions)
  if not versions or not versions[1] then return checks.required(errs, path, "must specify one of v1, v1beta1") end
  local seen, known = {}, false
  for i, version in ipairs(versions) do
    local here = ("%s[%d]"):format(path, i - 1)
    if seen[version] then checks.invalid(errs, here, version, "duplicate version")
    else checks.report(errs, here, version, checks.dns_1035_label(version)) end
    seen[version] = true
    known = known or version == "v1" or version == "v1beta1"
  end
  if not known then
    checks.invalid(errs, path, checks.verbatim(checks.go_strings(versions)), "must include at least one of v1, v1beta1")
  end
end

local function check(errs, object)
  local names = {}
  for i, hook in ipairs(object.webhooks or {}) do
    local path = ("webhooks[%d]"):format(i - 1)
    check_hook(errs, path, hook)
    check_versions(errs, path .. ".admissionReviewVersions", hook.admissionReviewVersions)
    local name = hook.name or ""
    if names[name] then checks.duplicate(errs, path .. ".name", name) end
    names[name] = true
  end
end

-- The kind's table. mutating: its hooks may change what they see.
function M.make(kind, plural, mutating)
  local strategy = { check = check }
  function strategy.default(object)
    for _, hook in ipairs(object.webhooks or {}) do default_hook(hook, mutating) end
  end
  function strategy.prepare_create(object) object.metadata.generation = 1 end
  function strategy.prepare_update(new, old)
    kinds.count_up(new, old, not json.equal(new.webhooks or {}, old.webhooks or {}))
  end
  function strategy.validate_update(new, old)
    local errs = meta.validate_common({}, new.metadata, old.metadata)
    meta.validate_create(errs, new.metadata, false, checks.name_subdomain, false)
    check(errs, new)
    return errs
  end
  function strategy.validate_create(object)
    local errs = meta.validate_create({}, object.metadata, false, checks.name_subdomain, false)
    check(errs, object)
    return errs
  end
  local function row(object, w)
    return { object.metadata.name, #(object.webhooks or {}), rows.age(object, w) }
  end
  return kinds.make { group = "admissionregistration.k8s.io", kind = kind, plural = plural, categories = { "api-extensions" },
    namespaced = false, strategy = strategy, row = row }
end

return M
