-- How `kubectl apply --server-side` takes over from `kubectl apply`.
--
-- kubectl's client-side apply leaves its configuration in an annotation. When the manager "kubectl" applies on the server
-- and conflicts only about fields that this configuration set and that still are as it set them, the server lets it: it
-- conflicts with itself. And as long as the annotation is there, such an apply keeps it up to date.

local atoms = require "sandbox.typed.atoms"
local compare = require "sandbox.typed.compare"
local fields = require "sandbox.typed.fields"
local fieldset = require "sandbox.fieldset"

local M = {}

M.MANAGER = "kubectl"
local LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

local function annotation(object)
  local annotations = type(object.metadata) == "table" and object.metadata.annotations
  return type(annotations) == "table" and annotations[LAST_APPLIED] or nil
end

-- The set of fields that client-side apply set and nobody changed; nil if there was none (in this version).
function M.allowed(live, api_version, schema)
  local text = annotation(live)
  local last = type(text) == "string" and text ~= "" and json.decode(text) or nil
  if not atoms.map_of(last) or last.apiVersion ~= api_version then return nil end
  local atom = atoms.root(schema)
  local ok, changed, removed = pcall(compare.compare, last, live, atom)
  if not ok then return nil end
  return fieldset.difference(fieldset.difference(fields.of(last, atom), changed), removed)
end

local function copy(map)
  local new = {}
  for key, value in pairs(map) do new[key] = value end
  return new
end

local function with_annotation(object, text)
  local new = copy(object)
  new.metadata = copy(object.metadata or {})
  new.metadata.annotations = copy(new.metadata.annotations or {})
  new.metadata.annotations[LAST_APPLIED] = text
  return new
end

local ESCAPES = { ["<"] = "\\u003c", [">"] = "\\u003e", ["&"] = "\\u0026" }

-- The object with the annotation brought up to date, if it has one.
function M.update(object, config)
  if not annotation(object) then return object end
  if annotation(config) then config = with_annotation(config, nil) end
  return with_annotation(object, json.encode(config):gsub("[<>&]", ESCAPES) .. "\n")
end

return M
