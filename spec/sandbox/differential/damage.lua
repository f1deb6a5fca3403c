-- Requests that a server must refuse, or take in its stride: one thing is wrong in each.

local include = require "include"
local tree = include "spec/sandbox/differential/tree.lua"

local M = {}

local WRONG = { "text", "", -1, 1.5, true, 99999, 2000000000, "UPPER_case!", json.null }

local function wrong_value(s, value)
  if type(value) == "table" and s:chance(50) then return json.is_array(value) and { a = "b" } or json.array { "x" } end
  if s:chance(10) then return {} end
  return s:pick(WRONG)
end

local function body(r) return r.body or r.change end

local function some_place(s, value)
  local all = tree.places(value)
  local fit = {}
  for _, place in ipairs(all) do
    if #place.path > 0 and place.path[1] ~= "apiVersion" and place.path[1] ~= "kind" then fit[#fit + 1] = place end
  end
  return #fit > 0 and s:pick(fit) or nil
end

local function is_apply(r) return r.content_type == "application/apply-patch+yaml" end

-- What differences.lua says is left out.
local function is_not_asked(r, path, value)
  local last = path[#path]
  if r.kind == "Secret" and (value == json.null or value == "" or type(value) == "table") then return true end
  if r.kind == "Node" and (value == json.null or type(value) == "table") and (last == "allocatable" or path[#path - 1] == "allocatable") then
    return true
  end
  if r.verb == "strategic" and type(value) == "table" and math.type(path[#path - 1]) then return true end
  return r.ns == "" and path[1] == "metadata" and last == "name" -- nobody else's names, either
end

local ways = {}

-- One value of the body becomes another, mostly of a wrong type.
function ways.value(s, r)
  local place = body(r) and some_place(s, body(r))
  if not place then return false end
  -- labels of the sequence keep it apart from others in lists
  if place.path[#place.path] == "seq" or place.path[#place.path] == "labels" then return false end
  local value = wrong_value(s, place.value)
  if is_not_asked(r, place.path, value) then return false end
  if is_apply(r) then
    local is_null = value == json.null and not (r.custom and place.path[1] == "spec")
    if is_null or value == "" and tostring(place.path[#place.path]):find("[tT]ime") then return false end
    if r.custom and place.path[1] == "metadata" and #place.path > 1 then return false end
  end
  tree.set(body(r), place.path, value)
  return true
end

function ways.unknown_field(s, r)
  if is_apply(r) and r.custom then return false end -- see differences.lua
  if not body(r) or json.is_array(body(r)) then return false end
  local objects = {}
  for _, place in ipairs(tree.places(body(r))) do
    if tree.is_object(place.value) then objects[#objects + 1] = place end
  end
  local at = s:pick(objects).value
  at[s:pick { "noSuchField", "replica", "Spec" }] = s:pick { 1, "x", { a = 1 } }
  return true
end

function ways.metadata(s, r)
  if not body(r) or json.is_array(body(r)) then return false end
  local meta = body(r).metadata
  if type(meta) ~= "table" then
    meta = {}
    body(r).metadata = meta
  end
  local field, value = table.unpack(s:pick {
    { "name", "Not Valid" }, { "name", "@{p}other" }, { "namespace", "@{p}y" }, { "labels", { seq = "@{p}q", app = "not valid!" } },
    { "labels", { seq = "@{p}q", ["-bad-"] = "x" } }, { "annotations", { ["a/b/c"] = "x" } }, { "finalizers", json.array { "nohold" } },
    { "finalizers", json.array { "not valid/x" } }, { "uid", "wrong" }, { "resourceVersion", "1" }, { "resourceVersion", "abc" },
    { "ownerReferences", json.array { { kind = "X", name = "y" } } }, { "generateName", "Bad_" }, { "deletionTimestamp", "2026-01-01T00:00:00Z" },
    { "creationTimestamp", "yesterday" }, { "clusterName", "x" }, { "name", ("x"):rep(300) }, { "name", "" }, { "labels", { seq = "@{p}q", a = 1 } },
    { "ownerReferences", json.array { { apiVersion = "v1", kind = "X", name = "y", uid = "u" }, { apiVersion = "v1", kind = "X", name = "y", uid = "u" } } },
  })
  local is_odd = field == "creationTimestamp" or field == "labels" and value.a == 1
  if is_odd and is_apply(r) and r.custom then return false end -- see differences.lua
  meta[field] = value
  return true
end

function ways.kind(s, r)
  if not body(r) or json.is_array(body(r)) then return false end
  local field, value = table.unpack(s:pick { { "kind", "Other" }, { "apiVersion", "v2" }, { "apiVersion", "apps/v1" }, { "kind", "" }, { "kind", json.null },
    { "apiVersion", json.null }, { "kind", "ConfigMap" } })
  -- see differences.lua
  if r.custom and r.verb == "status" then return false end
  if is_apply(r) and field == "kind" and (value == "ConfigMap" or r.custom and value == "" or r.kind == "Gadget") then return false end
  if type(body(r).metadata) == "table" and body(r).metadata.generateName then return false end
  if r.base and r.custom and value == json.null then return false end
  if r.change then r.change[field] = value else r.body[field] = value ~= json.null and value or nil end
  return true
end

function ways.text(s, r)
  if not r.content_type then return false end
  r.base, r.change, r.otherwise = nil, nil, nil
  r.body = nil
  r.raw = s:pick { "", "{", "null", "[]", '"text"', "{}", "12", "not json", "[{}]", '{"kind":1}', "{\"a\":1,}", "\1\2", "a: b", "[1]" }
  return true
end

function ways.content_type(s, r)
  if not r.content_type then return false end
  r.content_type = s:pick { "text/plain", "application/xml", "application/json", "application/merge-patch+json", "application/json-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/json; charset=utf-8" }
  return true
end

function ways.query(s, r)
  local name, value = table.unpack(s:pick { { "labelSelector", "a=b=c" }, { "labelSelector", "app in x" }, { "labelSelector", "!!x" }, { "limit", "abc" },
    { "limit", "-1" }, { "continue", "garbage" }, { "resourceVersion", "abc" }, { "fieldSelector", "spec.nothing=1" }, { "fieldSelector", "a" },
    { "dryRun", "Some" }, { "fieldManager", ("x"):rep(130) }, { "fieldManager", "" }, { "fieldManager", "a\nb" }, { "force", "yes" },
    { "timeoutSeconds", "x" }, { "unknownParameter", "1" }, { "pretty", "true" }, { "resourceVersionMatch", "Exact" },
    { "propagationPolicy", "Sideways" }, { "gracePeriodSeconds", "x" }, { "resourceVersion", "-1" }, { "watch", "0" } })
  if r.verb == "deletecollection" and name == "labelSelector" then return false end
  if r.kind == "Node" and name == "labelSelector" and r.verb == "list" then value = "a=b=c" end
  if name == "watch" and r.watch then return false end
  r.query[name] = value
  return true
end

function ways.path(s, r)
  local from, to = table.unpack(s:pick { { "/[^/]+$", "/NotValid" }, { "/[^/]+$", "/no-such-one" }, { "/namespaces/@{p}x", "/namespaces/@{p}nowhere" },
    { "/v1", "/v9" }, { "/apis/[^/]+", "/apis/no.such" }, { "$", "/nosub" }, { "/[^/]+$", "/a/b/c/d" }, { "/namespaces/@{p}x", "" } })
  local path, n = r.path:gsub(from, to, 1)
  -- never widen what a deletecollection or watch is about
  if n == 0 or r.verb == "deletecollection" or r.verb == "watch" or (r.verb == "list" and to == "") then return false end
  r.path, r.key = path, nil
  r.base = nil
  return true
end

function ways.method(s, r)
  if r.watch then return false end
  local method = s:pick { "PUT", "POST", "DELETE", "GET", "OPTIONS", "HEAD", "PATCH" }
  if method == r.method or method == "DELETE" or method == "HEAD" then return false end
  if method == "GET" and r.verb == "create" then return false end -- a list, of other sequences' objects too
  r.method, r.key = method, nil
  return true
end

local WEIGHTS = { { 8, "value" }, { 3, "unknown_field" }, { 4, "metadata" }, { 2, "kind" }, { 1, "text" }, { 1, "content_type" }, { 3, "query" },
  { 2, "path" }, { 1, "method" } }

-- Damage r in one way that fits.
function M.apply(s, r)
  for _ = 1, 10 do
    local way = s:weighted(WEIGHTS)
    if ways[way](s, r) then
      r.damaged = way
      return
    end
  end
end

return M
