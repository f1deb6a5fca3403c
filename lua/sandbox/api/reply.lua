-- Answers: objects, lists and failures as text, in the form that the client wants.

local errors = require "sandbox.errors"
local go_text = require "sandbox.go_text"
local list = require "sandbox.api.list"
local view = require "sandbox.api.view"

local M = {}

local JSON, YAML = "application/json", "application/yaml"

local function answer(status, text, wanted)
  if wanted and wanted.format == "yaml" then return { status = status, body = yaml.encode(json.decode(text)), content_type = YAML } end
  return { status = status, body = text, content_type = JSON }
end

-- A decoded value.
function M.value(status, value, wanted) return answer(status, json.encode(value), wanted) end

-- What a client sent may stand in a failure, in a message that was cut between two bytes of a letter too: bytes that are no UTF-8
-- become U+FFFD, as in Go's JSON. -> value
local function readable(value)
  if type(value) == "string" then return go_text.readable(value) end
  if type(value) ~= "table" then return value end
  local copy = setmetatable({}, getmetatable(value))
  for key, inner in pairs(value) do copy[key] = readable(inner) end
  return copy
end

function M.failure(failure)
  if failure == "page" then return { status = 404, body = "404 page not found\n", content_type = "text/plain; charset=utf-8" } end
  local status = readable(errors.status(failure))
  if failure.metadata then status.metadata = failure.metadata end
  return { status = failure.code, body = json.encode(status), content_type = JSON,
    retry_after = failure.details and failure.details.retryAfterSeconds }
end

local function table_of(context, records, metadata)
  local wanted = context.wanted
  return require("sandbox.table").answer(context.kind, records, context.w, { version = wanted.version,
    include = context.query.includeObject, metadata = metadata })
end

-- Who asks for one object's metadata of a list, or the other way round, gets neither.
local function misfit(context, is_list)
  local kind, as = context.kind, context.wanted.as
  if (as == "PartialObjectMetadataList") == is_list then return nil end
  local package = kind.group == "" and "core" or kind.group:match("^[^.]*")
  local go = kind.crd and "unstructured.Unstructured" .. (is_list and "List" or "")
    or ("%s.%s%s"):format(package, kind.kind, is_list and "List" or "")
  return errors.failure(406, "NotAcceptable", ("you requested %s, but the requested object is %sa list (*%s)")
    :format(as, is_list and "" or "not ", go))
end

-- One object.
function M.record(status, context, record)
  local wanted = context.wanted
  if not wanted.as then return answer(status, view.bytes(context.kind, record), wanted) end
  if wanted.as == "Table" then
    local value, failure = table_of(context, { record }, { resourceVersion = record.object.metadata.resourceVersion })
    if not value then return M.failure(failure) end
    return M.value(status, value, wanted)
  end
  local refused = misfit(context, false)
  if refused then return M.failure(refused) end
  return M.value(status, view.partial(record, wanted.version), wanted)
end

-- A list of records.
function M.list(context, records, metadata)
  local wanted = context.wanted
  if not wanted.as then return answer(200, list.body(context.kind, records, metadata), wanted) end
  if wanted.as == "Table" then
    local value, failure = table_of(context, records, metadata)
    if not value then return M.failure(failure) end
    return M.value(200, value, wanted)
  end
  local refused = misfit(context, true)
  if refused then return M.failure(refused) end
  local items = json.array {}
  for at, record in ipairs(records) do items[at] = view.partial(record, wanted.version) end
  metadata.remainingItemCount = nil
  if #items == 0 then items = json.null end -- a nil slice there, and here alone
  return M.value(200, { kind = "PartialObjectMetadataList", apiVersion = "meta.k8s.io/" .. wanted.version, metadata = metadata,
    items = items }, wanted)
end

-- How a watch shows its objects: a function(kind, record) -> text, or nil for plain JSON.
function M.form(context)
  local wanted = context.wanted
  if wanted.as == "Table" then
    local is_first = true
    return function(_, record)
      local value, failure = table_of(context, { record }, { resourceVersion = record.object.metadata.resourceVersion })
      if not value then return json.encode(errors.status(failure)) end
      if not is_first then value.columnDefinitions = json.null end
      is_first = false
      return json.encode(value)
    end
  elseif wanted.as then
    return function(_, record) return json.encode(view.partial(record, wanted.version)) end
  end
end

return M
