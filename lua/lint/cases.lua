-- The paths of table cases (NAME_cases.yaml), against what is seen and decided: a path that is misspelt changes nothing, and a
-- case that changes nothing may pass.

local schema = require "lint.schema"
local show = require "lint.show"
local sorted = require "sorted"
local values = require "lint.values"

local M = {}

local function stepped(shape, step)
  shape = values.strip(shape)
  if shape.is ~= "table" and shape.is ~= "union" then return values.ANY end
  if step.key or step.name and not values.element(shape) then
    return values.field(shape, step.key or step.name), step.key or step.name
  end
  return values.element(shape) or values.ANY
end

-- What is wrong with a path; nil if it leads somewhere.
local function trouble(shape, path, from)
  local at = from
  for _, step in ipairs(path) do
    local next_shape, name = stepped(shape, step)
    if not next_shape then
      local of = values.strip(shape)
      local hint = of.hint and of.hint(name)
      return hint or ("%s has no %s%s"):format(at, name, show.suggestion(name, values.names(of)))
    end
    shape = next_shape
    at = step.key and at .. "." .. step.key or at
  end
  return nil
end

local function child_shape(flow, schemas, kind)
  for _, declared in pairs(flow.declared.children) do
    if declared.kind == kind then return schemas:object({ api_version = declared.api_version, kind = kind, keep = "whole" }, "children") end
  end
  return nil
end

-- Where the path of a step of a case begins: a shape, and its name; nil: nowhere that is known.
local function root_of(flow, schemas, op)
  local seen = flow.seen_shape
  if op.op == "given" then return seen, "seen" end
  if op.op == "edit" then return values.field(seen.fields.object, "spec"), "spec" end
  if op.op == "status" then return values.field(seen.fields.object, "status"), "status" end
  if op.op == "child" then return child_shape(flow, schemas, op.kind), op.kind end
  return nil
end

local function check_op(flow, schemas, file, op, found)
  local function report(text)
    found { check = "fields", severity = "error", file = file, line = op.line, text = text }
  end
  if op.op == "child" or op.op == "absent" or op.op == "present" then
    local shape = child_shape(flow, schemas, op.kind)
    if not shape then
      local kinds = {}
      for _, declared in pairs(flow.declared.children) do kinds[declared.kind] = true end
      return report(("no child is a %s%s"):format(op.kind, show.suggestion(op.kind, sorted(kinds))))
    end
  end
  local root, name = root_of(flow, schemas, op)
  local text = root and trouble(values.strip(root), op.path, name)
  if text then report(text .. " (of the path " .. op.text .. ")") end
end

-- flow: a flow that has run; all: what lint/known.lua read of the cases.
function M.check(flow, all, found)
  local schemas = schema.new(flow.known)
  for _, one in ipairs(all) do
    if one.mistake then
      found { check = "syntax", severity = "error", file = one.file, line = one.mistake.line, text = one.mistake.text }
    end
    for _, case in ipairs(flow.seen_shape and one.cases or {}) do
      for _, op in ipairs(case.program) do check_op(flow, schemas, one.file, op, found) end
    end
  end
end

return M
