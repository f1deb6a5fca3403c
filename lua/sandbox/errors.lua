-- What a Kubernetes API server says when it refuses: codes, reasons, messages and details, word for word.
--
-- A failure is a table { code, reason, message, details }; status(failure) is the Status object that goes out. The words are
-- those that Kubernetes 1.20.2 answers with (the specs in spec/sandbox compare them with a real one).

local quote = require("sandbox.go_text").quote

local M = {}

local array = json.array

-- "deployments.apps" -> "apps"
local function group_of(id)
  return id:match("^[^.]+%.(.+)$")
end

-- "deployments.apps" -> "deployments"
local function plural_of(id)
  return id:match("^[^.]+")
end

-- kind: a kind of the registry, or a resource id as text.
local function id_of(kind)
  return type(kind) == "table" and kind.id or kind
end

-- details as the server gives them for a resource: the "kind" there is the plural.
local function details_of(kind, name, more)
  local id = id_of(kind)
  local details = { name = name ~= "" and name or nil, group = group_of(id), kind = plural_of(id) }
  for key, value in pairs(more or {}) do details[key] = value end
  return details
end

local function failure(code, reason, message, details)
  return { code = code, reason = reason, message = message, details = details }
end

M.failure = failure

function M.not_found(kind, name)
  return failure(404, "NotFound", ("%s %s not found"):format(id_of(kind), quote(name)), details_of(kind, name))
end

function M.already_exists(kind, name)
  return failure(409, "AlreadyExists", ("%s %s already exists"):format(id_of(kind), quote(name)), details_of(kind, name))
end

local function conflict(kind, name, text)
  return failure(409, "Conflict", ('Operation cannot be fulfilled on %s "%s": %s'):format(id_of(kind), name, text),
    details_of(kind, name))
end

M.conflict = conflict

function M.modified(kind, name)
  return conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")
end

function M.forbidden(kind, name, text)
  if name == "" then return failure(403, "Forbidden", ("%s is forbidden: %s"):format(id_of(kind), text), details_of(kind, name)) end
  return failure(403, "Forbidden", ("%s %s is forbidden: %s"):format(id_of(kind), quote(name), text), details_of(kind, name))
end

function M.bad_request(message)
  return failure(400, "BadRequest", message)
end

-- Bodies that cannot be read as the object: the server wraps the decoder's sentence in nothing.
function M.gone(message)
  return failure(410, "Expired", message)
end

function M.method_not_allowed(kind, verb)
  local id = id_of(kind)
  return failure(405, "MethodNotAllowed", ("%s is not supported on resources of kind %q"):format(verb, id), details_of(id))
end

-- A method that nobody serves at a path.
function M.no_such_method()
  return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})
end

-- The path leads nowhere.
function M.no_such_path()
  return failure(404, "NotFound", "the server could not find the requested resource", {})
end

function M.not_acceptable(types)
  return failure(406, "NotAcceptable", "only the following media types are accepted: " .. table.concat(types, ", "))
end

function M.unsupported_media(types)
  return failure(415, "UnsupportedMediaType",
    "the body of the request was in an unknown format - accepted media types include: " .. table.concat(types, ", "))
end

function M.too_large(message)
  return failure(413, "RequestEntityTooLarge", message or "Request entity too large: limit is 3145728")
end

function M.too_many(message, seconds)
  return failure(429, "TooManyRequests", message, { retryAfterSeconds = seconds })
end

function M.internal(text)
  return failure(500, "InternalError", "Internal error occurred: " .. text, { causes = array { { message = text } } })
end

-- The object is not valid: 422 with a cause for each field error { field=, type=, message= }, in their order; `message` is all
-- that follows the field ("Invalid value: -1: must be ..."). kind: of the registry, or { kind=, group= }. The sentence says
-- each trouble once, the causes as often as it was found, as the server does.
function M.invalid(kind, name, causes)
  local list, texts, seen = array {}, {}, {}
  for _, one in ipairs(causes) do
    list[#list + 1] = { reason = one.type, message = one.message, field = one.field }
    local whole = one.field .. ": " .. one.message
    if not seen[whole] then
      seen[whole] = true
      texts[#texts + 1] = whole
    end
  end
  local text = #texts == 1 and texts[1] or "[" .. table.concat(texts, ", ") .. "]"
  local group = kind.group ~= "" and kind.group or nil
  local title = group and kind.kind .. "." .. group or kind.kind
  return failure(422, "Invalid", ('%s "%s" is invalid: %s'):format(title, name, text),
    { name = name ~= "" and name or nil, group = group, kind = kind.kind ~= "" and kind.kind or nil, causes = list })
end

-- Conflicts of server-side apply: array of { field=, manager=, text= }.
function M.apply_conflicts(conflicts)
  local causes, by_manager, managers = array {}, {}, {}
  for _, one in ipairs(conflicts) do
    causes[#causes + 1] = { reason = "FieldManagerConflict", message = "conflict with " .. one.manager, field = one.field }
    if not by_manager[one.manager] then
      by_manager[one.manager] = {}
      managers[#managers + 1] = one.manager
    end
    table.insert(by_manager[one.manager], one.field)
  end
  local lines = {}
  for _, manager in ipairs(managers) do
    local fields = by_manager[manager]
    if #conflicts == 1 then
      lines[1] = ("conflict with %s: %s"):format(manager, fields[1])
    else
      lines[#lines + 1] = ("conflicts with %s:\n- %s"):format(manager, table.concat(fields, "\n- "))
    end
  end
  local head = #conflicts == 1 and "Apply failed with 1 conflict: " or ("Apply failed with %d conflicts: "):format(#conflicts)
  return failure(409, "Conflict", head .. table.concat(lines, "\n"), { causes = causes })
end

-- The Status object of a failure.
function M.status(one)
  return { kind = "Status", apiVersion = "v1", metadata = {}, status = "Failure", message = one.message, reason = one.reason,
    details = one.details, code = one.code }
end

-- The Status object of a success; details: { name=, group=, kind=, uid= } or nil.
function M.success(details)
  return { kind = "Status", apiVersion = "v1", metadata = {}, status = "Success", details = details }
end

return M
