-- Strategic merge patch: a merge patch that knows which lists are merged by a key.
--
-- Maps merge, null deletes, other values replace. A list whose schema says "merge" is merged by its merge key, or as a
-- set if it has none; all others are replaced. Directives in the patch steer it: `$patch: replace|delete` in a map or an item,
-- `$retainKeys` (what of a map stays), `$setElementOrder/LIST` (the order of merged items), `$deleteFromPrimitiveList/LIST`.
-- As on the server (apimachinery's strategicpatch, 1.20), a value that is new to the object is taken as it stands, directives
-- and all: decoding it afterwards drops what the type does not know.
-- https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/

local errors = require "sandbox.errors"
local gotext = require "sandbox.schema.gotext"
local lists = require "sandbox.patch.lists"
local printed = require("sandbox.typed.check").printed

local M = {}

local DELETE, ORDER = "$deleteFromPrimitiveList", "$setElementOrder"

local is_list, is_map, fail = lists.is_list, lists.is_map, lists.fail

local merge_map

local function child_of(node, name)
  return node and (node.properties and node.properties[name] or type(node.additional) == "table" and node.additional) or nil
end

-- "merge", "replace" or nil: the patch strategy without retainKeys.
local function strategy(node)
  local words = node and node.merge or ""
  for name in words:gmatch("[^,]+") do
    if name ~= "retainKeys" then return name end
  end
end

-- A map inside a map whose names are free has no strategy to look up; the server gives up on it.
local function check_struct(node)
  if node and not node.properties and node.additional then
    fail(500, "merging an object in json but data type is not struct, instead is: map")
  end
end

-- $retainKeys: the names that stay; all of the patch must be among them.
local function retain(object, patch)
  local names = patch["$retainKeys"]
  if names == nil then return object end
  if not is_list(names) then fail(400, "invalid patch format of retainKeys") end
  local stays, new = {}, {}
  for _, name in ipairs(names) do stays[name] = true end
  for name, value in pairs(patch) do
    local is_directive = name == "$retainKeys" or name:sub(1, #DELETE) == DELETE or name:sub(1, #ORDER) == ORDER
    if value ~= json.null and not is_directive and not stays[name] then fail(400, "invalid patch format of retainKeys") end
  end
  for name, value in pairs(object) do
    if stays[name] then new[name] = value end
  end
  return new
end

-- Items of the patch laid over those of the object with the same key, and behind them the new ones.
local function merge_items(object, patch, key, node)
  local new = table.move(object, 1, #object, 1, json.array {})
  for _, item in ipairs(patch) do
    local at = lists.find(new, key, lists.key_of(item, key))
    if at then
      new[at] = merge_map(new[at], item, node)
    else
      new[#new + 1] = item
    end
  end
  return new
end

-- Items with $patch: what they say is done; the rest of the patch is returned.
local function special_items(object, patch, key)
  local rest, replace = json.array {}, false
  for _, item in ipairs(patch) do
    local directive = item["$patch"]
    if directive == nil then
      rest[#rest + 1] = item
    elseif directive == "delete" then
      object = lists.without(object, key, lists.key_of(item, key))
    elseif directive == "replace" then
      replace = true
    elseif directive == "merge" then
      fail(500, "merging lists cannot yet be specified in the patch")
    else
      fail(500, "unknown patch type: %s in map: %s", gotext.as_text(directive), printed(item))
    end
  end
  if replace then return rest, json.array {} end
  return object, rest
end

local function merge_list(object, patch, node, is_deletion)
  if object[1] == nil and patch[1] == nil then return object end
  local kind, key = lists.element_kind(object, patch), node and node.merge_key
  local merged
  if kind ~= "map" then
    if is_deletion then return lists.without_values(object, patch) end
    merged = lists.unique(object, patch)
  else
    if not key then fail(500, "cannot merge lists without merge key for struct") end
    object, patch = special_items(object, patch, key)
    merged = merge_items(object, patch, key, node.items)
  end
  return lists.ordered(merged, patch, object, key, kind)
end

local function merge_field(was, value, node, is_deletion)
  if is_map(was) and is_map(value) then
    if strategy(node) == "replace" then return value end
    return merge_map(was, value, node)
  elseif is_list(was) and is_list(value) then
    if strategy(node) ~= "merge" then return value end
    return merge_list(was, value, node, is_deletion)
  end
  return value
end

-- "$setElementOrder/env" -> "env"
local function list_name(directive, prefix, words)
  if directive:sub(#prefix + 1, #prefix + 1) ~= "/" then fail(400, words) end
  return directive:sub(#prefix + 2)
end

local function list_or_nothing(value)
  if value == nil or is_list(value) then return value end
  fail(500, "expected a []interface {}, but received a %s", lists.go_type(value))
end

-- A list that the patch orders: merged, then sorted as told. Into `new`.
local function merge_ordered(new, patch, directive, node)
  local order = patch[directive]
  if not is_list(order) then fail(500, "expected a []interface {}, but received a %s", lists.go_type(order)) end
  local name = list_name(directive, ORDER, "invalid patch format of setElementOrder list")
  local was, said = list_or_nothing(new[name]), list_or_nothing(patch[name])
  local child = child_of(node, name)
  local key = child and child.merge_key
  if said then lists.check_order(said, order, key) end
  if not was and not said then return name end
  local merged = was or said
  if was and said then merged = merge_field(was, said, child, false) end
  local kind = lists.element_kind(was or {}, said or {})
  if not kind then fail(500, "no elements in any of the given slices") end
  local live = was and said and kind == "map" and strategy(child) == "merge" and lists.live_order(was, said, key) or was or {}
  new[name] = lists.ordered(merged, order, live, key, kind)
  return name
end

local function directive_of_map(patch)
  local directive = patch["$patch"]
  if directive == "delete" then return {} end
  if directive ~= "replace" then fail(500, "unknown patch type: %s in map: %s", gotext.as_text(directive), printed(patch)) end
  local new = {}
  for name, value in pairs(patch) do
    if name ~= "$patch" then new[name] = value end
  end
  return new
end

-- What one field becomes; nil if it goes.
local function patched(was, value, node, name, is_deletion)
  if value == json.null then return nil end
  if was == nil then return value end
  if is_map(was) and is_map(value) or is_list(was) and is_list(value) then check_struct(node) end
  return merge_field(was, value, child_of(node, name), is_deletion)
end

function merge_map(object, patch, node)
  if patch["$patch"] ~= nil then return directive_of_map(patch) end
  local new, done = {}, { ["$retainKeys"] = true }
  for name, value in pairs(retain(object, patch)) do new[name] = value end
  for name in pairs(patch) do
    if name:sub(1, #ORDER) == ORDER then
      done[name] = true
      done[merge_ordered(new, patch, name, node)] = true
    end
  end
  for name, value in pairs(patch) do
    local is_deletion = name:sub(1, #DELETE) == DELETE
    local target = is_deletion and list_name(name, DELETE, "invalid patch format of primitive list") or name
    if not done[name] then new[target] = patched(new[target], value, node, target, is_deletion) end
  end
  return new
end

local REASONS = { [400] = "BadRequest", [422] = "Invalid" }

-- The patched object, sharing what did not change, to be decoded as a body is; nil, text and a failure (of sandbox/errors) if
-- the patch is wrong. schema: the kind's node.
function M.apply(object, patch, schema)
  if not is_map(patch) then
    local text = "json: cannot unmarshal " .. lists.json_type(patch) .. " into Go value of type map[string]interface {}"
    return nil, text, errors.bad_request(text)
  end
  local ok, result = pcall(merge_map, object, patch, schema)
  if ok then return result end
  if type(result) ~= "table" or not result.text then error(result, 0) end
  local message, details = result.text, nil
  if result.code == 422 then message, details = "the server rejected our request due to an error in our request", {} end
  return nil, result.text, errors.failure(result.code, REASONS[result.code], message, details)
end

return M
