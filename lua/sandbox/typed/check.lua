-- Is a configuration one that server-side apply can merge? The API server looks at it before anything else, against its
-- OpenAPI document, and refuses with one line for each mistake: a field that the schema does not have, a text for a number,
-- two items of a list with the same key. The words are structured-merge-diff's, printed as Go prints values.

local atoms = require "sandbox.typed.atoms"
local fieldset = require "sandbox.fieldset"
local sorted = require "sorted"

local M = {}

-- Go's %v of a decoded value; with quotes, %#v of the text inside.
local function printed(value)
  if value == json.null then return "<nil>" end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if json.is_array(value) then
    for i, item in ipairs(value) do parts[i] = printed(item) end
    return "[" .. table.concat(parts, " ") .. "]"
  end
  for i, name in ipairs(sorted(value)) do parts[i] = name .. ":" .. printed(value[name]) end
  return "map[" .. table.concat(parts, " ") .. "]"
end

M.printed = printed

-- Go's %#v of a decoded value.
local function literal(value)
  if value == json.null then return "interface {}(nil)" end
  if type(value) == "string" then return '"' .. value:gsub('[\\"]', "\\%0") .. '"' end
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  if json.is_array(value) then
    for i, item in ipairs(value) do parts[i] = literal(item) end
    return "[]interface {}{" .. table.concat(parts, ", ") .. "}"
  end
  for i, name in ipairs(sorted(value)) do parts[i] = ('"%s":%s'):format(name, literal(value[name])) end
  return "map[string]interface {}{" .. table.concat(parts, ", ") .. "}"
end

local WRONG = {
  number = function(value)
    return type(value) ~= "number" and "expected numeric (int or float), got *value.valueUnstructured"
  end,
  string = function(value)
    return type(value) ~= "string" and "expected string, got &value.valueUnstructured{Value:" .. literal(value) .. "}"
  end,
  boolean = function(value)
    return type(value) ~= "boolean" and "expected boolean, got &{" .. printed(value) .. "}"
  end,
}

local check

local function check_map(value, atom, path, errors)
  local map = atoms.map_of(value)
  if not map then
    errors[#errors + 1] = path .. ": expected map, got &{" .. printed(value) .. "}"
    return
  end
  for _, name in ipairs(sorted(map)) do
    local field = atom.fields[name] or atom.element
    if not field then
      errors[#errors + 1] = path .. "." .. name .. ": field not declared in schema"
      return
    end
    check(map[name], field, path .. "." .. name, errors)
  end
end

local function check_list(value, atom, path, errors)
  local list = atoms.list_of(value)
  if not list then
    errors[#errors + 1] = path .. ": expected list, got &{" .. printed(value) .. "}"
    return
  end
  local seen = {}
  for i, item in ipairs(list) do
    local step = "[" .. i - 1 .. "]"
    if atom.kind ~= atoms.ATOMIC_LIST then
      local key, why = atoms.item_key(item, atom)
      if not key then
        errors[#errors + 1] = ("%s: element %d: %s"):format(path, i - 1, why)
        return
      end
      step = fieldset.step_text(key)
      if seen[key] then errors[#errors + 1] = ("%s: duplicate entries for key %s"):format(path, step) end
      seen[key] = true
    end
    check(item, atom.item, path .. step, errors)
  end
end

function check(value, atom, path, errors)
  local kind = atom.kind
  if value == json.null then return end
  if kind == atoms.SCALAR then
    local wrong = WRONG[atom.scalar]
    local text = wrong and wrong(value)
    if text then errors[#errors + 1] = path .. ": " .. text end
  elseif kind == atoms.MAP or kind == atoms.ATOMIC_MAP then
    check_map(value, atom, path, errors)
  elseif kind == atoms.SET or kind == atoms.KEYED or kind == atoms.ATOMIC_LIST then
    check_list(value, atom, path, errors)
  end
end

local fits

local function map_fits(map, atom)
  local fields, element = atom.fields, atom.element
  for name, value in next, map do
    local field = fields[name] or element
    if not field or not fits(value, field) then return false end
  end
  return true
end

local function list_fits(list, atom)
  local seen, item_atom, has_keys = {}, atom.item, atom.kind ~= atoms.ATOMIC_LIST
  for _, item in ipairs(list) do
    if has_keys then
      local key = atoms.item_key(item, atom)
      if not key or seen[key] then return false end
      seen[key] = true
    end
    if not fits(item, item_atom) then return false end
  end
  return true
end

-- Is there nothing to say? Without words, and so much quicker.
function fits(value, atom)
  local kind = atom.kind
  if value == json.null then return true end
  if kind == atoms.SCALAR then
    return atom.scalar == nil or type(value) == atom.scalar
  elseif kind == atoms.MAP or kind == atoms.ATOMIC_MAP then
    local map = atoms.map_of(value)
    return map ~= nil and map_fits(map, atom)
  elseif kind == atoms.SET or kind == atoms.KEYED or kind == atoms.ATOMIC_LIST then
    local list = atoms.list_of(value)
    return list ~= nil and list_fits(list, atom)
  end
  return true
end

-- nil, or what is wrong with the value in the server's words.
function M.problem(value, atom)
  if fits(value, atom) then return nil end
  local errors = {}
  check(value, atom, "", errors)
  for i, text in ipairs(errors) do errors[i] = text:gsub("^: ", "") end
  if #errors < 2 then return errors[1] end
  return "errors:\n  " .. table.concat(errors, "\n  ")
end

return M
