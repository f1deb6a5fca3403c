-- What a request may change in an object that exists: as a merge patch, a JSON patch, a strategic merge patch or an
-- apply configuration. Each is made from a fresh object of the same kind, so that it is mostly valid.

local include = require "include"
local tree = include "spec/sandbox/differential/tree.lua"

local M = {}

local OWNER = "99999999-8888-7777-6666-555555555555"

local function owner(s)
  return { apiVersion = "v1", kind = "ConfigMap", name = "owner", uid = OWNER, controller = s:chance(50) and true or nil }
end

-- Things that any object may have from its birth.
function M.decorate(s, object)
  local meta = object.metadata
  if s:chance(8) then meta.finalizers = json.array { s:pick { "example.com/hold", "example.com/other" } } end
  if s:chance(6) then meta.ownerReferences = json.array { owner(s) } end
  if s:chance(3) then meta.uid = OWNER end
  if s:chance(3) then meta.generation = 7 end
  if s:chance(3) then meta.creationTimestamp = "2026-01-01T00:00:00Z" end
end

local function metadata_change(s)
  return s:weighted {
    { 3, { labels = { app = s:pick { "x", "y", "z" } } } },
    { 2, { annotations = { note = s:pick { "one", "two", "three" } } } },
    { 1, { labels = { app = json.null } } },
    { 1, { labels = json.null } },
    { 1, { annotations = json.null } },
    { 2, { finalizers = json.array { s:pick { "example.com/hold", "example.com/other" } } } },
    { 2, { finalizers = json.null } },
    { 1, { finalizers = json.array {} } },
    { 1, { ownerReferences = json.array { owner(s) } } },
    { 1, { ownerReferences = json.null } },
    { 1, { annotations = { [s:pick { "example.com/a", "b" }] = s:pick { "", "x", "true" } } } },
    { 1, { generation = 99 } },
  }
end

-- Of what is seldom changeable, only what is: a Pod's images.
local function changeable(kind, object)
  if kind.kind ~= "Pod" then return object end
  local containers = json.array {}
  for i, c in ipairs(object.spec.containers) do containers[i] = { name = c.name, image = c.image } end
  return { metadata = object.metadata, spec = { containers = containers } }
end

local function body_of(object)
  local out = {}
  for k, v in pairs(object) do
    if k ~= "apiVersion" and k ~= "kind" and k ~= "metadata" then out[k] = v end
  end
  return out
end

-- A place below spec (or data ...) of a fresh object, never the whole.
local function a_place(s, object, deepest)
  local all = {}
  for _, place in ipairs(tree.places(body_of(object))) do
    if #place.path >= 1 and #place.path <= (deepest or 9) then all[#all + 1] = place end
  end
  return #all > 0 and s:pick(all) or nil
end

function M.merge(s, kind, object)
  local roll = s:number(100)
  if roll <= 8 then return {} end
  if roll <= 45 then return { metadata = metadata_change(s) } end
  if roll <= 55 and kind.kind ~= "Pod" then
    local place = a_place(s, object, 3)
    if place and not math.type(place.path[#place.path]) and not math.type(place.path[2]) then
      local out = {}
      local at = out
      for i = 1, #place.path - 1 do
        at[place.path[i]] = {}
        at = at[place.path[i]]
      end
      at[place.path[#place.path]] = json.null
      return out
    end
  end
  local source = kind.kind == "Pod" and s:chance(70) and { metadata = object.metadata } or object
  return tree.part(s, body_of(source), 60)
end

local function json_operation(s, kind, object)
  local place = kind.kind ~= "Pod" and s:chance(55) and a_place(s, object)
  if place then
    local op = s:weighted { { 5, "replace" }, { 4, "add" }, { 3, "remove" }, { 1, "test" } }
    local path = tree.pointer(place.path)
    if op == "add" and math.type(place.path[#place.path]) and s:chance(50) then path = path:gsub("/%d+$", "/-") end
    local out = { op = op, path = path }
    if op ~= "remove" then out.value = place.value end
    return out
  end
  return s:pick {
    { op = "add", path = "/metadata/labels/app", value = s:pick { "x", "y" } },
    { op = "add", path = "/metadata/labels/app", value = s:pick { "x", "y" } },
    { op = "replace", path = "/metadata/labels/app", value = s:pick { "x", "y" } },
    { op = "remove", path = "/metadata/labels/app" },
    { op = "add", path = "/metadata/labels/example.com~1tier", value = "front" },
    { op = "add", path = "/metadata/annotations", value = { note = "one" } },
    { op = "remove", path = "/metadata/annotations" },
    { op = "test", path = "/metadata/labels/app", value = "x" },
    { op = "copy", from = "/metadata/labels/seq", path = "/metadata/labels/copied" },
    { op = "move", from = "/metadata/labels/app", path = "/metadata/labels/moved" },
    { op = "add", path = "/metadata/finalizers", value = json.array { "example.com/hold" } },
    { op = "remove", path = "/metadata/finalizers" },
    { op = "add", path = "/metadata/finalizers/-", value = "example.com/other" },
    { op = "test", path = "/metadata/name", value = object.metadata.name },
  }
end

function M.json(s, kind, object)
  local out = json.array {}
  for i = 1, s:number(2) do out[i] = json_operation(s, kind, object) end
  return out
end

-- Directives in a strategic merge patch, where there is something to direct.
local function direct(s, kind, patch)
  for _, name in ipairs { "metadata", "spec" } do
    if patch[name] == json.null then patch[name] = nil end
  end
  local pod = kind.kind == "Pod" and patch.spec or tree.get(patch, { "spec", "template", "spec" })
  if pod == json.null then pod = nil end -- (a merge patch takes fields away so)
  local roll = s:number(8)
  if roll == 1 and pod then
    pod.containers = json.array { { ["$patch"] = "delete", name = "engine" } }
  elseif roll == 2 and pod and pod.containers then
    pod["$setElementOrder/containers"] = json.array { { name = "engine" }, { name = "model" } }
  elseif roll == 3 then
    patch.metadata = patch.metadata or {}
    patch.metadata["$deleteFromPrimitiveList/finalizers"] = json.array { "example.com/hold" }
    patch.metadata.finalizers = nil -- which of the two comes first is a matter of a Go map's order
  elseif roll == 4 and kind.kind == "Deployment" then
    patch.spec = patch.spec or {}
    patch.spec.strategy = { ["$retainKeys"] = json.array { "type" }, type = "Recreate" }
  elseif roll == 5 then
    patch.metadata = patch.metadata or {}
    patch.metadata.labels = { ["$patch"] = "replace", seq = "@{p}q", only = "this" }
  elseif roll == 6 and pod and pod.containers and pod.containers[1] then
    pod.containers[1].env = json.array { { ["$patch"] = "replace" }, { name = "ONLY", value = "1" } }
  elseif roll == 7 and pod and pod.containers and pod.containers[1] then
    pod.containers[1].env = json.array { { ["$patch"] = "delete", name = "A" }, { name = "B", value = "new" } }
  elseif roll == 8 then
    patch.metadata = patch.metadata or {}
    patch.metadata.annotations = { ["$patch"] = "delete" }
  end
end

-- Bytes that are null: see differences.lua.
local function drop_null_bytes(patch)
  for _, name in ipairs { "data", "binaryData" } do
    for key, value in pairs(type(patch[name]) == "table" and patch[name] or {}) do
      if value == json.null then patch[name][key] = nil end
    end
  end
end

function M.strategic(s, kind, object)
  local roll = s:number(100)
  local patch
  if roll <= 8 then patch = {}
  elseif roll <= 30 then patch = { metadata = metadata_change(s) }
  elseif roll <= 40 then patch = M.merge(s, kind, object)
  else patch = tree.part(s, body_of(changeable(kind, object)), 60) end
  if s:chance(25) then direct(s, kind, patch) end
  drop_null_bytes(patch)
  return patch
end

-- What one manager wants: most of an object, with what every apply needs.
function M.apply(s, kind, object)
  local config = s:chance(60) and tree.copy(object) or tree.part(s, body_of(object), 75)
  if kind.kind == "Pod" and s:chance(60) then config = {} end
  if s:chance(15) then config = {} end
  config.stringData = nil -- see differences.lua
  config.apiVersion, config.kind = object.apiVersion, object.kind
  config.metadata = { name = object.metadata.name, namespace = object.metadata.namespace }
  if s:chance(70) then config.metadata.labels = tree.copy(object.metadata.labels) end
  if s:chance(20) then config.metadata.annotations = { note = s:pick { "one", "two" } } end
  if kind.kind == "Gadget" then -- the same fields each time: see differences.lua
    config.spec, config.extra = { level = s:number(3), note = s:pick { "x", "y" } }, { kept = s:chance(50) }
    config.metadata.labels = { seq = "@{p}q", app = s:pick { "x", "y" } }
    config.metadata.annotations = { note = s:pick { "one", "two" } }
    return config
  end
  if s:chance(8) then config.metadata.finalizers = json.array { "example.com/hold" } end
  return config
end

return M
