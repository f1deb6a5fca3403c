-- Query parameters and DeleteOptions: read, bounded and checked, with the server's words for what is wrong.
-- (https://kubernetes.io/docs/reference/using-api/api-concepts/)

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"

local M = {}

local MANAGER_MOST = 128

local function options_kind(name) return { kind = name, group = "meta.k8s.io" } end

local function invalid(name, field, type, message)
  return errors.invalid(options_kind(name), "", { { field = field, type = type, message = message } })
end

-- Go's strconv.ParseInt of a parameter. -> integer (0 when absent, or empty unless it must be one) | nil, failure
function M.integer(text, must_be)
  if text == nil or text == "" and not must_be then return 0 end
  local is_number = text:find("^[+-]?%d+$")
  local number = #text < 20 and is_number and math.tointeger(tonumber(text))
  if number then return number end
  return nil, errors.bad_request(("strconv.ParseInt: parsing %s: %s"):format(checks.quote(text), is_number and "value out of range" or "invalid syntax"))
end

-- Go's idea of a boolean parameter of a query: there and neither "false" nor "0".
function M.boolean(text)
  return text ~= nil and text ~= "false" and text ~= "0"
end

-- A resourceVersion of a read. -> integer (nil when absent) | nil, failure
function M.version(text, is_uncached)
  if text == nil or text == "" then return nil end
  if #text < 20 and text:find("^%d+$") then return math.tointeger(tonumber(text)) end
  if is_uncached then -- what reads the storage itself has other words than the cache
    return nil, errors.bad_request(("invalid resource version: resourceVersion: Invalid value: %s: strconv.ParseUint: parsing %s: "
      .. "invalid syntax"):format(checks.quote(text), checks.quote(text)))
  end
  return nil, errors.failure(500, nil, ("resourceVersion: Invalid value: %s: strconv.ParseUint: parsing %s: invalid syntax")
    :format(checks.quote(text), checks.quote(text)))
end

-- The client's name without its version: what managedFields show when no fieldManager is given.
local function manager_of(agent)
  local name = (agent or ""):match("^[^/]*")
  return name == "" and "unknown" or name:sub(1, MANAGER_MOST)
end

local function check_manager(name, manager)
  if #manager > MANAGER_MOST then
    return invalid(name, "fieldManager", "FieldValueTooLong", "Too long: must have at most 128 bytes")
  end
  for at, code in utf8.codes(utf8.len(manager) and manager or "") do
    if code < 32 or code == 127 then
      return invalid(name, "fieldManager", "FieldValueInvalid",
        ("Invalid value: %s: invalid character U+%04X (at position %d)"):format(checks.quote(manager), code, at - 1))
    end
  end
end

local function check_dry_run(name, text)
  if text == "All" then return nil end
  return invalid(name, "dryRun", "FieldValueNotSupported",
    ('Unsupported value: []string{%s}: supported values: "All"'):format(checks.quote(text)))
end

-- Options of a write for verbs. name: "CreateOptions", "UpdateOptions" or "PatchOptions". -> options | nil, failure
function M.write(name, request, admission, is_apply)
  local query = request.query or {}
  local dry_run, manager, force = query.dryRun, query.fieldManager, query.force
  if dry_run and dry_run ~= "" then
    local failure = check_dry_run(name, dry_run)
    if failure then return nil, failure end
  end
  if manager and manager ~= "" then
    local failure = check_manager(name, manager)
    if failure then return nil, failure end
  elseif is_apply then
    return nil, invalid(name, "fieldManager", "FieldValueRequired", "Required value: is required for apply patch")
  end
  if force ~= nil and force ~= "" and name == "PatchOptions" and not is_apply then
    return nil, invalid(name, "force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch")
  end
  return { dry_run = dry_run ~= nil and dry_run ~= "", admission = admission, force = M.boolean(force),
    manager = manager and manager ~= "" and manager or manager_of(request.user_agent), field_manager = manager ~= "" and manager or nil }
end

local POLICIES = { Orphan = true, Foreground = true, Background = true }

local function text_of(value) return type(value) == "string" and value or nil end

-- DeleteOptions from the body (a table or nil) or else the query. -> options for verbs.delete | nil, failure
function M.delete(body, query, admission)
  local options = body
  if not options then
    options = { propagationPolicy = query.propagationPolicy, dryRun = query.dryRun and { query.dryRun } }
    if query.gracePeriodSeconds then
      local seconds, failure = M.integer(query.gracePeriodSeconds)
      if not seconds then return nil, failure end
      options.gracePeriodSeconds = seconds
    end
    if query.uid or query.resourceVersion then
      options.preconditions = { uid = query.uid, resourceVersion = query.resourceVersion }
    end
    if query.orphanDependents then options.orphanDependents = M.boolean(query.orphanDependents) end
  end
  local dry_run = type(options.dryRun) == "table" and options.dryRun[1] or nil
  if type(dry_run) == "string" then
    local failure = check_dry_run("DeleteOptions", dry_run)
    if failure then return nil, failure end
  end
  local policy, orphan = text_of(options.propagationPolicy), options.orphanDependents
  if policy and type(orphan) == "boolean" then
    return nil, invalid("DeleteOptions", "propagationPolicy", "FieldValueInvalid",
      ("Invalid value: %s: orphanDependents and deletionPropagation cannot be both set"):format(checks.quote(policy)))
  end
  if policy and not POLICIES[policy] then
    return nil, invalid("DeleteOptions", "propagationPolicy", "FieldValueNotSupported", ('Unsupported value: %s: supported values: '
      .. '"Foreground", "Background", "Orphan", "nil"'):format(checks.quote(policy)))
  end
  if type(orphan) == "boolean" then policy = orphan and "Orphan" or "Background" end
  local conditions = type(options.preconditions) == "table" and options.preconditions or nil
  return { grace = math.tointeger(options.gracePeriodSeconds), propagation = policy, dry_run = dry_run ~= nil, admission = admission,
    orphan_given = orphan == false or nil,
    preconditions = conditions and { uid = text_of(conditions.uid), resourceVersion = text_of(conditions.resourceVersion) } }
end

local MATCHES = { Exact = true, NotOlderThan = true }

-- Each rule that is broken is told. -> failure | nil
local function check_match(match, version_text, continue, is_watch)
  if not match or match == "" then return nil end
  local causes = {}
  local function add(type, message) causes[#causes + 1] = { field = "resourceVersionMatch", type = type, message = message } end
  if is_watch then add("FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden for watch") end
  if not version_text or version_text == "" then
    add("FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
  end
  if continue and continue ~= "" then
    add("FieldValueForbidden", "Forbidden: resourceVersionMatch is forbidden when continue is provided")
  end
  if not MATCHES[match] then
    add("FieldValueNotSupported", ('Unsupported value: %s: supported values: "Exact", "NotOlderThan", ""'):format(checks.quote(match)))
  end
  if match == "Exact" and version_text == "0" then
    add("FieldValueForbidden", 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
  end
  return causes[1] and errors.invalid(options_kind "ListOptions", "", causes) or nil
end

-- What a list or watch asks for, but for the version, which is read after the selectors:
-- { limit, continue, match, timeout (seconds, nil: unset), bookmarks } | nil, failure
function M.list(query, is_watch)
  local limit, failure = M.integer(query.limit)
  if not limit then return nil, failure end
  local timeout
  timeout, failure = M.integer(query.timeoutSeconds)
  if not timeout then return nil, failure end
  failure = check_match(query.resourceVersionMatch, query.resourceVersion, query.continue, is_watch)
  if failure then return nil, failure end
  return { limit = math.max(limit, 0), continue = query.continue ~= "" and query.continue or nil,
    match = query.resourceVersionMatch ~= "" and query.resourceVersionMatch or nil, timeout = query.timeoutSeconds and timeout or nil,
    bookmarks = M.boolean(query.allowWatchBookmarks) }
end

return M
