-- What create and update have in common: reading the object as its kind, its namespace, admission, managed fields.
--
-- The order is that of Kubernetes' request handlers: decode, default, managed fields (of what was asked for: what admission
-- and the kind's strategy add or drop later is nobody's), admission that may change, the strategy, validation, admission that only
-- looks.

local errors = require "sandbox.errors"

local M = {}

local null = json.null

-- A deep copy that keeps the marks of arrays.
local function copy(value)
  if type(value) ~= "table" then return value end
  local new = setmetatable({}, getmetatable(value))
  for key, inner in pairs(value) do new[key] = copy(inner) end
  return new
end

M.copy = copy

function M.api_version(kind) return kind.api_version or (kind.group == "" and kind.version or kind.group .. "/" .. kind.version) end

-- Owner references that are there twice are kept once. In place.
function M.drop_twins(metadata)
  local references = metadata.ownerReferences
  if not references or not references[2] then return end
  local kept = json.array {}
  for _, one in ipairs(references) do
    local is_new = true
    for _, other in ipairs(kept) do is_new = is_new and not json.equal(one, other) end
    if is_new then kept[#kept + 1] = one end
  end
  metadata.ownerReferences = kept
end

-- Where etcd holds what it does not hold under its plural.
local STORED_AS = { services = "services/specs", endpoints = "services/endpoints", nodes = "minions",
  ["ingresses.networking.k8s.io"] = "ingress" }

-- A precondition that the storage finds broken, in its words. what: "UID" or "ResourceVersion".
function M.broken_precondition(kind, namespace, name, what, wanted, found, is_dry)
  local place = STORED_AS[kind.id] or (kind.crd or kind.group == "apiextensions.k8s.io") and kind.group .. "/" .. kind.plural or kind.plural
  return errors.conflict(kind, name, ("StorageError: invalid object, Code: 4, Key: %s/%s%s/%s, ResourceVersion: 0, "
    .. "AdditionalErrorMsg: Precondition failed: %s in precondition: %s, %s in object meta: %s")
    :format(is_dry and "" or "/registry", place, kind.namespaced and "/" .. namespace or "", name, what, wanted, what, found))
end

-- An object as its kind has it, defaults set, sharing nothing with the input. is_ours: it is decoded by its kind's schema
-- already, and becomes the result. -> object | nil, text
function M.clean(kind, object, is_ours)
  local strategy = kind.strategy or {}
  local new, why
  if is_ours then
    new = object
  elseif strategy.decode then
    new, why = strategy.decode(object)
  elseif kind.schema and not kind.crd then
    new, why = require("sandbox.schema.decode").check(kind.schema, object)
  else
    new = copy(object)
  end
  if not new then return nil, why end
  local metadata = new.metadata
  if type(metadata) ~= "table" then
    metadata = {}
    new.metadata = metadata
  end
  metadata.selfLink, metadata.clusterName = nil, nil
  if kind.crd then
    for name, value in pairs(metadata) do
      if value == null then metadata[name] = nil end
    end
  end
  if strategy.default then strategy.default(new) end
  return new
end

-- Where an object of this kind is kept.
function M.scope(kind, namespace) return kind.namespaced and namespace or "" end

-- Where Kubernetes keeps the types of a group that it works with inside; named in a message.
local PACKAGES = { [""] = "core", ["admissionregistration.k8s.io"] = "admissionregistration", ["apiextensions.k8s.io"] = "apiextensions",
  ["coordination.k8s.io"] = "coordination", ["networking.k8s.io"] = "networking", ["scheduling.k8s.io"] = "scheduling" }

-- Types that belong to every group.
local EVERYWHERE = { CreateOptions = true, DeleteOptions = true, GetOptions = true, ListOptions = true, PatchOptions = true,
  UpdateOptions = true, WatchEvent = true }

-- What is wrong with a built-in object's type, or nil. Absent is right.
function M.type_trouble(w, kind, object)
  local wanted = M.api_version(kind)
  local version, name = object.apiVersion, object.kind
  if version == nil or version == null or version == "" then version = wanted end
  if name == nil or name == null or name == "" then name = kind.kind end
  if version == wanted and name == kind.kind then return nil end
  version, name = tostring(version), tostring(name)
  local group, short = version:match("^(.+)/([^/]+)$")
  local known = w.registry and w.registry:by_kind(group or "", short or version, name)
  if known and not known.crd or EVERYWHERE[name] and (version == wanted or version == "v1") then
    return ("converting (%s.%s) to (%s.%s): unknown conversion"):format(known and known.version or short or version, name,
      PACKAGES[kind.group] or kind.group, kind.kind)
  end
  return ('no kind %q is registered for version %q in scheme "pkg/api/legacyscheme/scheme.go:30"'):format(name, version)
end

-- What is wrong with the type of a custom object is found in three places: when it is read (a kind that is missing, here), when its
-- managed fields are made (an apiVersion that is missing) and when it is validated (what does not fit).
-- -> nil when the type is right, else { manage = failure } or { validate = failure }
function M.type_later(kind, object)
  local wanted = M.api_version(kind)
  local version, name = object.apiVersion, object.kind
  if version == wanted and name == kind.kind then return nil end
  if version == nil or version == null or version == "" then
    return { manage = errors.internal("Object 'apiVersion' is missing in 'object has no apiVersion field'") }
  end
  local causes = {}
  if type(name) ~= "string" then name = "" end
  if name ~= kind.kind then
    causes[1] = { field = "kind", type = "FieldValueInvalid", message = ("Invalid value: %q: must be %s"):format(name, kind.kind) }
  end
  if version ~= wanted then
    causes[#causes + 1] = { field = "apiVersion", type = "FieldValueInvalid",
      message = ("Invalid value: %q: must be %s"):format(tostring(version), wanted) }
  end
  local metadata = type(object.metadata) == "table" and object.metadata or {}
  local group = version == wanted and kind.group or tostring(version):match("^(.+)/[^/]+$") or ""
  return { validate = errors.invalid({ kind = name, group = group },
    type(metadata.name) == "string" and metadata.name or "", causes) }
end

-- Words for a custom object without a kind, or nil.
function M.missing_kind(kind, object)
  if not kind.crd or type(object.kind) == "string" and object.kind ~= "" then return nil end
  return ("unmarshalerDecoder: Object 'Kind' is missing in '%s'"):format(json.encode(object))
end

-- An apiVersion and kind that a path does not take. -> failure | nil, what is to be said later (type_later)
function M.check_type(w, kind, object)
  local wanted = M.api_version(kind)
  local version, name = object.apiVersion, object.kind
  if kind.crd then
    local missing = M.missing_kind(kind, object)
    if missing then
      return errors.bad_request(('%s in version "%s" cannot be handled as a %s: %s'):format(kind.kind, kind.version, kind.kind, missing))
    end
    if version ~= nil and version ~= null and version ~= "" and version ~= wanted then
      return errors.bad_request(("the API version in the data (%s) does not match the expected API version (%s)")
        :format(tostring(version), wanted))
    end
    return nil, M.type_later(kind, object)
  end
  local trouble = M.type_trouble(w, kind, object)
  if not trouble then return nil end
  version = type(version) == "string" and version ~= "" and version or wanted
  return errors.bad_request(("%s in version %q cannot be handled as a %s: %s"):format(type(name) == "string" and name ~= "" and name
    or kind.kind, version:match("([^/]+)$") or version, kind.kind, trouble))
end

-- Metadata

-- The namespace of a request, for check_name; that of a Namespace is its own name.
function M.path_namespace(kind, namespace, name)
  if kind.id == "namespaces" then return name end
  return kind.namespaced and namespace or ""
end

function M.check_name(metadata, namespace, name)
  local given = metadata.name
  if given == nil or given == "" then
    return errors.bad_request(("the name of the object (%s based on URL) was undeterminable: name must be provided"):format(name))
  end
  if given ~= name then
    return errors.bad_request(("the name of the object (%s) does not match the name on the URL (%s)"):format(given, name))
  end
  if namespace ~= "" and metadata.namespace and metadata.namespace ~= "" and metadata.namespace ~= namespace then
    return errors.bad_request(("the namespace of the object (%s) does not match the namespace on the request (%s)")
      :format(metadata.namespace, namespace))
  end
end

function M.check_namespace(kind, metadata, namespace)
  if not kind.namespaced then
    metadata.namespace = nil
  elseif metadata.namespace == nil or metadata.namespace == "" then
    metadata.namespace = namespace
  elseif metadata.namespace ~= namespace then
    return errors.bad_request("the namespace of the provided object does not match the namespace sent on the request")
  end
end

-- The number in a resourceVersion; 0: none. -> integer | nil, failure
function M.version_of(metadata)
  local text = metadata.resourceVersion
  if text == nil or text == "" then return 0 end
  if #text > 19 or not text:find("^%d+$") then
    return nil, errors.failure(500, nil, ("strconv.ParseUint: parsing %q: invalid syntax"):format(text))
  end
  return math.tointeger(tonumber(text))
end

-- NamespaceLifecycle: nothing is made where no namespace is, or in one that is going away.
function M.check_lifecycle(w, kind, namespace, name, creating)
  if not kind.namespaced then return nil end
  local record = w:get("namespaces", "", namespace)
  if not record then return errors.not_found("namespaces", namespace) end
  if creating and record.object.metadata.deletionTimestamp then
    local failure = errors.forbidden(kind, name or "",
      ("unable to create new content in namespace %s because it is being terminated"):format(namespace))
    failure.details.causes = json.array { { reason = "NamespaceTerminating",
      message = ("namespace %s is being terminated"):format(namespace), field = "metadata.namespace" } }
    return failure
  end
end

-- Admission that may change the object: the kind's own plugins, then webhooks. And that which may only look at it. Webhooks may
-- wait. -> object | nil, failure
function M.mutate(options, review, w)
  local admit = review.kind.strategy and review.kind.strategy.admit
  local failure = admit and not options.subresource and admit(review.object, w, review.old)
  if failure then return nil, failure end
  local admission = options.admission
  if not admission or not admission.mutate then return review.object end
  return admission:mutate(review)
end

function M.admit(options, review)
  local admission = options.admission
  if not admission or not admission.validate then return nil end
  local _, failure = admission:validate(review)
  return failure
end

-- Managed fields of what was written by an update (not by server-side apply). -> object
function M.manage(w, kind, live, new, options)
  if w.is_lean then -- of an update nobody asks who wrote what: stage.lua
    new.metadata.managedFields = live and live.metadata.managedFields
    return new
  end
  return M.managed().after_update(live, new, options.manager or "unknown", "Update", options.subresource, kind.schema, M.api_version(kind),
    w:time())
end

function M.managed() return require "sandbox.managed" end

-- The causes of a strategy's check as a failure, or nil.
function M.invalid(kind, name, causes)
  if causes and causes[1] then return errors.invalid(kind.invalid_as or kind, name or "", causes) end
end

-- A record for an object that is not stored (dry run).
function M.unstored(object)
  local metadata = object.metadata
  return { object = object, namespace = metadata.namespace or "", name = metadata.name, uid = metadata.uid,
    version = math.tointeger(tonumber(metadata.resourceVersion)) or 0 }
end

return M
