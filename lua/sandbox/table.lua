-- Tables: what `kubectl get` prints, made by the server. meta.k8s.io/v1 (and v1beta1)
-- https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables
--
-- The columns of built-in kinds are the real server's (they lie in openapi.json), and their cells come from the kinds. Custom kinds have
-- the columns that their definition names (additionalPrinterColumns), or the age.

local crd = require "sandbox.schema.crd"
local document = require "sandbox.schema.document"
local errors = require "sandbox.errors"
local gotext = require "sandbox.schema.gotext"
local jsonpath = require "sandbox.jsonpath"
local rows = require "sandbox.kinds.rows"
local times = require "sandbox.schema.times"

local M = {}

local null = json.null
local array = json.array

local INCLUDE = { None = true, Object = true, Metadata = true }

-- ---- columns

local function column(name, type, format, description, priority)
  return { name = name, type = type, format = format or "", description = description, priority = priority or 0 }
end

local name_column

-- "Name", with its long description: the first column of most tables.
local function of_name()
  name_column = name_column or document.columns("/api/v1/namespaces")[1]
  return name_column
end

local AGE = { name = "Age", type = "date", jsonPath = ".metadata.creationTimestamp" }

local function custom_columns(kind)
  local described = document.columns("/apis/apiextensions.k8s.io/v1/customresourcedefinitions")[2].description
  local list, given = array { of_name() }, kind.printer_columns
  if not given then
    list[2] = column(AGE.name, AGE.type, "", described)
    return list
  end
  for i, one in ipairs(given) do
    local text = one.description or ""
    if text == "" then text = "Custom resource definition column (in JSONPath format): " .. one.jsonPath end
    list[i + 1] = column(one.name, one.type, one.format, text, one.priority)
  end
  return list
end

local function builtin_columns(kind)
  local base = kind.group == "" and "/api/" or "/apis/" .. kind.group .. "/"
  return document.columns(base .. kind.version .. "/" .. kind.plural)
    or document.columns(base .. "v1/" .. kind.plural) or array { of_name() }
end

-- The column definitions of a kind; not to be modified.
function M.columns(kind)
  if not kind.table_columns then kind.table_columns = kind.crd and custom_columns(kind) or builtin_columns(kind) end
  return kind.table_columns
end

-- ---- cells

local function date(value, w)
  if type(value) ~= "string" then return null end
  local text = times.seconds(value)
  return text and rows.since(text, w) or "<invalid>"
end

local function text_of(value)
  if value == null then return "<no value>" end
  return type(value) == "table" and json.encode(value) or gotext.plain(value)
end

local function whole(value)
  local cut = value < 0 and math.ceil(value) or math.floor(value)
  return math.tointeger(cut) or math.mininteger -- as a processor does it, and so Go
end

-- A value as a cell of a column's type; what does not fit is null.
local function cell(type_name, value, w)
  if type_name == "string" then return text_of(value) end
  if type_name == "date" then return date(value, w) end
  if type_name == "boolean" then
    if type(value) == "boolean" then return value end
    return null
  end
  if type(value) ~= "number" then return null end
  return type_name == "integer" and whole(value) or value
end

local function custom_cells(kind, object, w)
  local cells = { object.metadata.name or "" }
  for i, one in ipairs(kind.printer_columns or { AGE }) do
    local steps = jsonpath.compile(one.jsonPath)
    local value = steps and steps[1] and jsonpath.find(steps, object)[1] -- the whole object is no cell
    if value == nil then cells[i + 1] = null else cells[i + 1] = cell(one.type, value, w) end
  end
  return cells
end

local FINISHED = { Succeeded = "The pod has completed successfully.", Failed = "The pod failed." }

-- kubectl hides the rows of pods that are finished by this condition.
local function conditions_of(kind, object)
  local phase = kind.id == "pods" and object.status and object.status.phase
  if not FINISHED[phase] then return nil end
  return array { { type = "Completed", status = "True", reason = phase, message = FINISHED[phase] } }
end

-- The cells of an object, and the conditions of its row (a finished pod has some) or nil.
function M.cells(kind, object, w)
  if kind.crd then return custom_cells(kind, object, w) end
  local row = kind.row or kind.strategy and kind.strategy.row
  if not row then return { object.metadata.name } end
  return row(object, w), conditions_of(kind, object)
end

-- ---- the table

local function shown(kind, object, include, version)
  if include == "None" then return null end
  if include == "Object" then
    if object.apiVersion then return object end
    local new = { apiVersion = kind.group == "" and kind.version or kind.group .. "/" .. kind.version, kind = kind.kind }
    for name, value in pairs(object) do new[name] = value end
    return new
  end
  return { kind = "PartialObjectMetadata", apiVersion = "meta.k8s.io/" .. version, metadata = object.metadata }
end

-- The Table of records of a kind. options: version ("v1"), include (includeObject), metadata (of the list, or of the one object).
-- -> table | nil, failure
function M.answer(kind, records, w, options)
  local version, include = options.version or "v1", options.include
  if include == nil or include == "" then include = "Metadata" end
  if not INCLUDE[include] then
    return nil, errors.bad_request(("Unable to convert to Table as requested: includeObject: Invalid value: %q: "
      .. "must be 'Metadata', 'Object', 'None', or empty"):format(include))
  end
  local list = array {}
  for i, record in ipairs(records) do
    local cells, conditions = M.cells(kind, record.object, w)
    list[i] = { cells = array(cells), conditions = conditions, object = shown(kind, record.object, include, version) }
  end
  local is_empty = kind.id == crd.ID and #list == 0 -- the server's generic tables have null for no rows
  return { kind = "Table", apiVersion = "meta.k8s.io/" .. version, metadata = options.metadata or {},
    columnDefinitions = M.columns(kind), rows = is_empty and null or list }
end

return M
