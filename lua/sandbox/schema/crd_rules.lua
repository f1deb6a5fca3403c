-- May this be a CustomResourceDefinition? What is wrong with it outside of its schemas, with the server's words and paths.
--
-- The server reads a v1 definition into its internal type, which has places for what all versions share: so the path of a schema
-- that is the same in all versions (or of the only version) is spec.validation, not spec.versions[0].schema; columns and
-- subresources likewise. A test on a real server says these words: spec/sandbox/crd_spec.lua.

local checks = require "sandbox.kinds.checks"
local meta = require "sandbox.kinds.meta"
local rules = require "sandbox.schema.rules"

local M = {}

local null = json.null
local NONE = {}
local APPROVAL = "api-approved.kubernetes.io"
M.APPROVAL = APPROVAL

local COLUMN_TYPES = { "boolean", "date", "integer", "number", "string" }
local COLUMN_FORMATS = { "byte", "date", "date-time", "double", "float", "int32", "int64", "password" }

local function has(list, value)
  for _, one in ipairs(list) do
    if one == value then return true end
  end
  return false
end

-- ---- how Go prints versions

local function go_version(version)
  return ('apiextensions.CustomResourceDefinitionVersion{Name:%s, Served:%s, Storage:%s, Deprecated:%s, DeprecationWarning:(*string)(nil), '
    .. 'Schema:(*apiextensions.CustomResourceValidation)(nil), Subresources:(*apiextensions.CustomResourceSubresources)(nil), '
    .. 'AdditionalPrinterColumns:[]apiextensions.CustomResourceColumnDefinition(nil)}'):format(checks.quote(version.name or ""),
    tostring(version.served or false), tostring(version.storage or false), tostring(version.deprecated or false))
end

local function go_versions(versions)
  if #versions == 0 then return checks.verbatim("[]apiextensions.CustomResourceDefinitionVersion(nil)") end
  local parts = {}
  for i, version in ipairs(versions) do parts[i] = go_version(version) end
  return checks.verbatim("[]apiextensions.CustomResourceDefinitionVersion{" .. table.concat(parts, ", ") .. "}")
end

-- ---- names

local function check_label(errs, path, text, before)
  local messages = checks.dns_1035_label(text:lower())
  if not before then messages = checks.dns_1035_label(text) end
  if messages then checks.invalid(errs, path, text, (before or "") .. table.concat(messages, ",")) end
end

local MIXED = "may have mixed case, but should otherwise match: "

-- acceptedNames have the same rules, apart from what is required.
local function check_names(errs, path, names)
  if names.plural and names.plural ~= "" then check_label(errs, path .. ".plural", names.plural) end
  if names.singular and names.singular ~= "" then check_label(errs, path .. ".singular", names.singular) end
  if names.kind and names.kind ~= "" then check_label(errs, path .. ".kind", names.kind, MIXED) end
  if names.listKind and names.listKind ~= "" then check_label(errs, path .. ".listKind", names.listKind, MIXED) end
  for i, name in ipairs(names.shortNames or NONE) do check_label(errs, ("%s.shortNames[%d]"):format(path, i - 1), name) end
  if names.kind and names.kind ~= "" and names.kind == names.listKind then
    checks.invalid(errs, path .. ".listKind", names.listKind, "kind and listKind may not be the same")
  end
  for i, name in ipairs(names.categories or NONE) do check_label(errs, ("%s.categories[%d]"):format(path, i - 1), name) end
end

-- ---- parts of a version

local function check_path(errs, path, text, under)
  if not text or text == "" then return checks.required(errs, path) end
  if text:byte() ~= 46 then return checks.invalid(errs, path, text, "must be a simple json path starting with .") end
  if not under then return end
  for _, prefix in ipairs(under) do
    if text:sub(1, #prefix + 1) == prefix .. "." then return end
  end
  local words = under[2] and "either " .. table.concat(under, " or ") or under[1]
  checks.invalid(errs, path, text, "should be a json path under " .. words)
end

local function check_column(errs, path, column)
  if (column.name or "") == "" then checks.required(errs, path .. ".name") end
  local types = "must be one of " .. table.concat(COLUMN_TYPES, ",")
  if (column.type or "") == "" then
    checks.required(errs, path .. ".type", types)
  elseif not has(COLUMN_TYPES, column.type) then
    checks.invalid(errs, path .. ".type", column.type, types)
  end
  if (column.format or "") ~= "" and not has(COLUMN_FORMATS, column.format) then
    checks.invalid(errs, path .. ".format", column.format, "must be one of " .. table.concat(COLUMN_FORMATS, ","))
  end
  check_path(errs, path .. ".JSONPath", column.jsonPath)
end

local function check_columns(errs, path, columns)
  for i, column in ipairs(columns or NONE) do check_column(errs, ("%s[%d]"):format(path, i - 1), column) end
end

local function check_subresources(errs, path, subresources)
  local scale = subresources and subresources.scale
  if not scale then return end
  path = path .. ".scale"
  check_path(errs, path .. ".specReplicasPath", scale.specReplicasPath, { ".spec" })
  check_path(errs, path .. ".statusReplicasPath", scale.statusReplicasPath, { ".status" })
  if (scale.labelSelectorPath or "") ~= "" then
    check_path(errs, path .. ".labelSelectorPath", scale.labelSelectorPath, { ".spec", ".status" })
  end
end

local function schema_of(version) return version.schema and version.schema.openAPIV3Schema end

local function check_schema(errs, path, version)
  local schema = schema_of(version)
  if schema then rules.check(errs, path .. ".openAPIV3Schema", schema) end
end

-- Is this part the same in all versions?
local function is_shared(versions, part)
  for i = 2, #versions do
    local first, other = versions[1][part], versions[i][part]
    if not json.equal(first == nil and null or first, other == nil and null or other) then return false end
  end
  return #versions > 0
end

local PARTS = {
  { "schema", "schema", "validation", check_schema },
  { "subresources", "subresources", "subresources",
    function(errs, path, version) check_subresources(errs, path, version.subresources) end },
  { "additionalPrinterColumns", "additionalPrinterColumns", "additionalPrinterColumns",
    function(errs, path, version) check_columns(errs, path, version.additionalPrinterColumns) end },
}

-- What the versions say one by one, or what they share: `shared` chooses.
local function check_parts(errs, versions, index, shared)
  for _, part in ipairs(PARTS) do
    if is_shared(versions, part[1]) == shared then
      local path = shared and "spec." .. part[3] or ("spec.versions[%d].%s"):format(index - 1, part[2])
      part[4](errs, path, versions[index])
    end
  end
end

local function check_versions(errs, spec)
  local versions, storages, names, unique = spec.versions or NONE, 0, {}, true
  for i, version in ipairs(versions) do
    if not schema_of(version) then
      checks.required(errs, ("spec.versions[%d].schema.openAPIV3Schema"):format(i - 1), "schemas are required")
    end
  end
  for i, version in ipairs(versions) do
    local name = version.name or ""
    if version.storage then storages = storages + 1 end
    unique = unique and not names[name]
    names[name] = true
    check_label(errs, ("spec.versions[%d].name"):format(i - 1), name)
    check_parts(errs, versions, i, false)
  end
  if not unique then checks.invalid(errs, "spec.versions", go_versions(versions), "must contain unique version names") end
  if storages ~= 1 then
    checks.invalid(errs, "spec.versions", go_versions(versions), "must have exactly one version marked as storage version")
  end
  if versions[1] and versions[1].name ~= "" then check_label(errs, "spec.version", versions[1].name) end
end

local function check_conversion(errs, conversion)
  if not conversion then return end
  local path, webhook = "spec.conversion", conversion.webhook
  local strategy, reviews = conversion.strategy or "", webhook and webhook.conversionReviewVersions or NONE
  if strategy == "" then
    checks.required(errs, path .. ".strategy")
  elseif strategy ~= "None" and strategy ~= "Webhook" then
    checks.not_supported(errs, path .. ".strategy", strategy, { "None", "Webhook" })
  end
  if strategy == "Webhook" then
    if not webhook or not webhook.clientConfig then
      checks.required(errs, path .. ".webhookClientConfig", "required when strategy is set to Webhook")
    end
    if #reviews == 0 then checks.required(errs, path .. ".conversionReviewVersions") end
  else
    if webhook and webhook.clientConfig then
      checks.forbidden(errs, path .. ".webhookClientConfig", "should not be set when strategy is not set to Webhook")
    end
    if strategy == "None" and #reviews > 0 then
      checks.forbidden(errs, path .. ".conversionReviewVersions", "should not be set when strategy is not set to Webhook")
    end
  end
end

local function check_group(errs, group)
  if group == "" then return checks.required(errs, "spec.group") end
  local messages = checks.dns_subdomain(group)
  if messages then return checks.invalid(errs, "spec.group", group, table.concat(messages, ",")) end
  if not group:find(".", 1, true) then checks.invalid(errs, "spec.group", group, "should be a domain with at least one dot") end
end

local function check_spec(errs, spec)
  check_group(errs, spec.group or "")
  local scope = spec.scope or ""
  if scope == "" then checks.required(errs, "spec.scope")
  elseif scope ~= "Cluster" and scope ~= "Namespaced" then
    checks.not_supported(errs, "spec.scope", scope, { "Cluster", "Namespaced" })
  end
  check_versions(errs, spec)
  local names = spec.names or NONE
  for _, name in ipairs { "plural", "singular", "kind", "listKind" } do
    if (names[name] or "") == "" then checks.required(errs, "spec.names." .. name) end
  end
  check_names(errs, "spec.names", names)
  if spec.versions and spec.versions[1] then check_parts(errs, spec.versions, 1, true) end
  check_conversion(errs, spec.conversion)
end

-- ---- the status

local function check_stored(errs, object)
  local stored = object.status and object.status.storedVersions
  local path = "status.storedVersions"
  if type(stored) ~= "table" or #stored == 0 then
    return checks.invalid(errs, path, checks.verbatim("[]string(nil)"), "must have at least one stored version")
  end
  local known = {}
  for _, version in ipairs(object.spec.versions or NONE) do
    known[version.name or ""] = true
    if version.storage and not has(stored, version.name) then
      checks.invalid(errs, path, checks.verbatim(go_version(version)), "must have the storage version " .. (version.name or ""))
    end
  end
  for i, name in ipairs(stored) do
    if not known[name] then checks.invalid(errs, ("%s[%d]"):format(path, i - 1), name, "must appear in spec.versions") end
  end
end

local function is_protected(group)
  return group == "k8s.io" or group == "kubernetes.io" or group:sub(-7) == ".k8s.io" or group:sub(-14) == ".kubernetes.io"
end
M.is_protected = is_protected

local function check_approval(errs, object)
  local annotations = object.metadata.annotations or NONE
  if is_protected(object.spec.group or "") and (annotations[APPROVAL] or "") == "" then
    checks.required(errs, ("metadata.annotations[%s]"):format(APPROVAL), ('protected groups must have approval annotation "%s", see %s')
      :format(APPROVAL, "https://github.com/kubernetes/enhancements/pull/1111"))
  end
end

local function check_preserve(errs, spec)
  if spec.preserveUnknownFields then
    checks.invalid(errs, "spec.preserveUnknownFields", true,
      "cannot set to true, set x-preserve-unknown-fields to true in spec.versions[*].schema instead")
  end
end

-- ---- the whole

function M.create(object)
  local spec, errs = object.spec or NONE, {}
  local wanted = ((spec.names or NONE).plural or "") .. "." .. (spec.group or "")
  meta.validate_create(errs, object.metadata, false, function(name, prefix)
    local messages = checks.name_subdomain(name, prefix) or {}
    if name ~= wanted then messages[#messages + 1] = 'must be spec.names.plural+"."+spec.group' end
    return messages
  end)
  check_spec(errs, spec)
  check_names(errs, "status.acceptedNames", (object.status or NONE).acceptedNames or NONE)
  check_stored(errs, object)
  check_approval(errs, object)
  check_preserve(errs, spec)
  return errs
end

local function is_established(object)
  for _, condition in ipairs(object.status and object.status.conditions or NONE) do
    if condition.type == "Established" then return condition.status == "True" end
  end
  return false
end

function M.update(new, old)
  local errs = meta.validate_update({}, new.metadata, old.metadata)
  local spec, before = new.spec, old.spec
  check_spec(errs, spec)
  if is_established(old) then
    checks.unchanged(errs, "spec.scope", spec.scope, before.scope)
    checks.unchanged(errs, "spec.names.kind", spec.names.kind, before.names.kind)
  end
  checks.unchanged(errs, "spec.group", spec.group, before.group)
  checks.unchanged(errs, "spec.names.plural", spec.names.plural, before.names.plural)
  check_stored(errs, new)
  check_approval(errs, new)
  if not before.preserveUnknownFields then check_preserve(errs, spec) end
  return errs
end

function M.status(new, old)
  local errs = meta.validate_update({}, new.metadata, old.metadata)
  check_names(errs, "status.acceptedNames", (new.status or NONE).acceptedNames or NONE)
  check_stored(errs, new)
  return errs
end

return M
