-- One request after another, each chosen with what the answers so far have shown to be there.
--
-- A request is data, not a call, so that it can be printed, sent to two servers and left out when a failing sequence is
-- shrunk. What differs between the servers stands in it as a placeholder, filled in by each side from its own answers:
--
--   @{p}          what the names of this sequence begin with        @{ns}  the namespace of the request
--   @{rv:KEY}     the resourceVersion of the last answer about KEY  @{uid:KEY}, @{old:KEY} the first one seen
--   @{name:N}     the name that the server made in request N        @{continue}  the token of the last list
--
-- A KEY is KIND/NAMESPACE/NAME. A PUT has no body of its own but `base`, a KEY, and `change`, a merge patch over what that
-- side saw last.

local include = require "include"
local kinds = include "spec/sandbox/differential/kinds.lua"
local tree = include "spec/sandbox/differential/tree.lua"
local damage = include "spec/sandbox/differential/damage.lua"
local changes = include "spec/sandbox/differential/changes.lua"

local M = {}
M.__index = M

local JSON = "application/json"
local TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
local PATCHES = { merge = "application/merge-patch+json", strategic = "application/strategic-merge-patch+json",
  json = "application/json-patch+json", apply = "application/apply-patch+yaml" }

-- A set of kinds that sequences are about; nil: all.
M.only = nil

-- Whether Tables are asked for.
M.tables = true

-- there: a table that the runner keeps: KEY -> true while the object exists.
function M.new(s, there)
  local self = setmetatable({ s = s, there = there, count = 0, focus = {} }, M)
  local rows = {}
  for _, kind in ipairs(kinds.all) do
    if not M.only or M.only[kind.kind] then rows[#rows + 1] = { kind.weight, kind } end
  end
  for i = 1, 2 + s:number(2) do self.focus[i] = s:weighted(rows) end
  return self
end

-- Where a request goes: kind, namespace (without the prefix), short name, whether it is there.
function M:target(want_there)
  local s = self.s
  local kind = s:pick(self.focus)
  local namespace = kind.cluster and "" or s:chance(85) and "x" or "y"
  local stems = {}
  for _, stem in ipairs { "a", "b", "c" } do
    local key = kind.kind .. "/" .. namespace .. "/" .. stem
    if want_there == nil or (self.there[key] ~= nil) == want_there then stems[#stems + 1] = stem end
  end
  local stem = #stems > 0 and s:pick(stems) or s:pick { "a", "b", "c" }
  local target = { kind = kind, ns = namespace, stem = stem, key = kind.kind .. "/" .. namespace .. "/" .. stem }
  target.name = (kind.cluster and "@{p}" or "") .. stem
  target.exists = self.there[target.key] ~= nil
  if target.exists and self.there[target.key] ~= true then target.name = self.there[target.key] end
  return target
end

local function url(t, subresource, no_name)
  return kinds.url(t.kind, t.ns ~= "" and "@{p}" .. t.ns or nil, not no_name and t.name or nil, subresource)
end

local function request(verb, method, t, rest)
  local r = { verb = verb, method = method, kind = t.kind.kind, custom = t.kind.custom, ns = t.ns, key = t.key,
    path = rest.path or url(t, rest.subresource), query = {} }
  for k, v in pairs(rest) do r[k] = v end
  return r
end

local function writer(self, r)
  local s = self.s
  r.query.fieldManager = s:pick { "m1", "m1", "m2", "kubectl", r.verb ~= "apply" and nil or "m2" }
  if s:chance(7) then r.query.dryRun = "All" end
  return r
end

local function fresh(self, t)
  return kinds.object(self.s, t.kind, t.stem, t.name, "@{p}" .. t.ns)
end

-- ------------------------------------------------------------------ verbs

local verbs = {}

function verbs.create(self)
  local s = self.s
  local t = self:target(not s:chance(88))
  local object = fresh(self, t)
  if s:chance(12) then
    object.metadata.name = nil
    object.metadata.generateName = t.kind.cluster and "@{p}g-" or "g-"
    t.key = t.kind.kind .. "/" .. t.ns .. "/g" .. self.count
    t.generates = true
    self.generated = true -- their order is drawn: no pages from here on
  elseif s:chance(8) and t.kind.status then
    object.status = t.kind.new_status(s) -- dropped, or not
  end
  changes.decorate(s, object)
  local r = request("create", "POST", t, { path = url(t, nil, true), body = object, content_type = JSON, generates = t.generates })
  return writer(self, r)
end

function verbs.get(self)
  local t = self:target(not self.s:chance(10))
  local r = request("get", "GET", t, {})
  if self.s:chance(15) and M.tables then r.accept, r.key = TABLE, nil end
  if self.s:chance(6) then r.query.resourceVersion, r.settle = "0", true end
  return r
end

local SELECTORS = { "app=x", "app!=x", "app in (x,y)", "app notin (y)", "app", "!app", "example.com/tier=", "app=x,seq=@{p}q", "app==y" }

local function selectors(self, query, all)
  local s = self.s
  local label = s:chance(40) and s:pick(SELECTORS) or nil
  if all then label = (label and label .. "," or "") .. "seq=@{p}q" end
  query.labelSelector = label
  if s:chance(15) then query.fieldSelector = s:pick { "metadata.name=a", "metadata.name!=a", "metadata.namespace=@{p}x", "metadata.name=@{p}a" } end
end

function verbs.list(self)
  local s = self.s
  local t = self:target()
  local all = t.kind.cluster or s:chance(8)
  if all then t.ns = "" end
  local r = request("list", "GET", t, { path = url(t, nil, true), key = json.null })
  r.key = nil
  selectors(self, r.query, all)
  if s:chance(25) and not self.generated and not all then -- others' objects are counted too
    r.query.limit = s:pick { "1", "2", "500" }
    self.paged = { path = r.path, kind = r.kind, query = tree.copy(r.query), target = t }
  elseif s:chance(10) then
    r.query.resourceVersion, r.settle, r.unordered = "0", true, true
  end
  if s:chance(15) then r.accept = M.tables and s:chance(50) and TABLE or "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" end
  return r
end

-- The next page of the last list with a limit.
function verbs.continue(self)
  if not self.paged or self.generated then return nil end
  local r = request("list", "GET", self.paged.target, { path = self.paged.path })
  r.key = nil
  for k, v in pairs(self.paged.query) do r.query[k] = v end
  r.query.continue = "@{continue}"
  return r
end

function verbs.watch(self)
  local s = self.s
  local t = self:target(true)
  local all = t.kind.cluster
  local r = request("watch", "GET", t, { path = url(t, nil, true), watch = true })
  r.key = nil
  r.query.watch, r.query.timeoutSeconds = "true", "1"
  if all then r.query.labelSelector = "seq=@{p}q" elseif s:chance(40) then r.query.labelSelector = s:pick(SELECTORS) end
  if s:chance(15) then r.query.fieldSelector = "metadata.name=" .. t.name end
  if s:chance(80) then
    r.query.resourceVersion = "@{start}"
  elseif s:chance(50) then
    r.query.resourceVersion, r.unordered = "0", true
  else
    r.unordered = true
  end
  r.settle = true
  if s:chance(10) and M.tables and not r.unordered then r.accept = TABLE end
  return r
end

function verbs.update(self)
  local s = self.s
  local t = self:target(not s:chance(8))
  local r = request("update", "PUT", t, { base = t.key, change = changes.merge(s, t.kind, fresh(self, t), t), content_type = JSON })
  r.otherwise = fresh(self, t) -- where this side has seen none
  local metadata = r.change.metadata or {}
  r.change.metadata = metadata
  if s:chance(15) then metadata.resourceVersion = json.null
  elseif s:chance(8) then metadata.resourceVersion = "@{old:" .. t.key .. "}" end
  if s:chance(5) then metadata.managedFields = json.null end
  return writer(self, r)
end

local function patch(style)
  return function(self)
    local s = self.s
    local t = self:target(not s:chance(6))
    local body = changes[style](s, t.kind, fresh(self, t), t)
    local r = request(style, "PATCH", t, { body = body, content_type = PATCHES[style] })
    if style ~= "json" and s:chance(8) then
      body.metadata = body.metadata or {}
      if s:chance(40) then
        body.metadata.uid = "@{uid:" .. t.key .. "}"
      else
        body.metadata.resourceVersion = s:pick { "@{rv:" .. t.key .. "}", "@{old:" .. t.key .. "}" }
      end
    end
    return writer(self, r)
  end
end
verbs.json, verbs.merge, verbs.strategic = patch "json", patch "merge", patch "strategic"

function verbs.apply(self)
  local s = self.s
  local t = self:target(not s:chance(30))
  local config = changes.apply(s, t.kind, fresh(self, t))
  local r = request("apply", "PATCH", t, { body = config, content_type = PATCHES.apply })
  writer(self, r)
  if s:chance(45) then r.query.force = "true" end
  return r
end

function verbs.delete(self)
  local s = self.s
  local t = self:target(not s:chance(12))
  local options = { apiVersion = "v1", kind = "DeleteOptions" }
  if s:chance(30) then options.propagationPolicy = s:pick { "Background", "Foreground", "Orphan", "Background" } end
  if s:chance(20) then options.gracePeriodSeconds = s:pick { 0, 0, 10 } end
  if s:chance(20) then options.preconditions = { uid = s:chance(70) and "@{uid:" .. t.key .. "}" or "11111111-2222-3333-4444-555555555555" } end
  if s:chance(15) then options.preconditions = { resourceVersion = s:chance(60) and "@{rv:" .. t.key .. "}" or "1" } end
  local r = request("delete", "DELETE", t, { body = options, content_type = JSON })
  if s:chance(25) then
    r.body, r.content_type = nil, nil
    if s:chance(30) then r.query.propagationPolicy = s:pick { "Background", "Orphan" } end
    if s:chance(30) then r.query.gracePeriodSeconds = "0" end
  end
  if s:chance(7) then r.query.dryRun = "All" end
  return r
end

function verbs.deletecollection(self)
  local s = self.s
  local t = self:target(true)
  local r = request("deletecollection", "DELETE", t, { path = url(t, nil, true) })
  r.key = nil
  r.query.labelSelector = t.kind.cluster and "seq=@{p}q,app=x" or s:pick { "app=x", "app in (x,y)", "!app" }
  if s:chance(20) then r.query.dryRun = "All" end
  return r
end

function verbs.status(self)
  local s = self.s
  local t = self:target(not s:chance(8))
  local style = s:pick { "get", "put", "merge", "merge", "json", "apply", "strategic" }
  local status = t.kind.new_status and t.kind.new_status(s) or { phase = "Running" }
  if not t.exists and t.kind.kind == "Service" and (style == "put" or style == "apply") then style = "merge" end -- see differences.lua
  local r
  if style == "get" then
    r = request("status", "GET", t, { subresource = "status" })
  elseif style == "put" then
    r = request("status", "PUT", t, { subresource = "status", base = t.key, content_type = JSON,
      change = { status = status, metadata = s:chance(30) and { labels = { app = "y" } } or nil } })
    r.otherwise = fresh(self, t)
  elseif style == "json" then
    r = request("status", "PATCH", t, { subresource = "status", content_type = PATCHES.json,
      body = json.array { { op = "add", path = "/status", value = status } } })
  else
    local body = { status = status }
    if style == "apply" then
      body.apiVersion, body.kind, body.metadata = t.kind.api, t.kind.kind, { name = t.name }
    elseif s:chance(25) then
      body.spec = fresh(self, t).spec -- ignored
    end
    r = request("status", "PATCH", t, { subresource = "status", body = body, content_type = PATCHES[style] })
  end
  if r.method ~= "GET" then writer(self, r) end
  if style == "apply" then r.query.force = "true" end
  r.part = true
  return r
end

function verbs.scale(self)
  local s = self.s
  local t = self:target(not s:chance(8))
  local style = s:pick { "get", "put", "merge", "json" }
  local replicas = s:number(5) - 1
  local r
  if style == "get" then
    r = request("scale", "GET", t, { subresource = "scale" })
  elseif style == "put" then
    r = request("scale", "PUT", t, { subresource = "scale", content_type = JSON, body = { apiVersion = "autoscaling/v1", kind = "Scale",
      metadata = { name = t.name, namespace = "@{p}" .. t.ns,
        resourceVersion = s:chance(25) and s:pick { "@{rv:" .. t.key .. "}", "@{old:" .. t.key .. "}" } or nil },
      spec = { replicas = replicas } } })
  elseif style == "merge" then
    r = request("scale", "PATCH", t, { subresource = "scale", content_type = PATCHES.merge, body = { spec = { replicas = replicas } } })
  else
    r = request("scale", "PATCH", t, { subresource = "scale", content_type = PATCHES.json,
      body = json.array { { op = s:pick { "replace", "add" }, path = "/spec/replicas", value = replicas } } })
  end
  if r.method ~= "GET" then writer(self, r) end
  r.scale = true
  return r
end

local WEIGHTS = { { 16, "create" }, { 6, "get" }, { 7, "list" }, { 3, "continue" }, { 3, "watch" }, { 8, "update" }, { 8, "json" }, { 8, "merge" },
  { 8, "strategic" }, { 11, "apply" }, { 6, "delete" }, { 3, "deletecollection" }, { 5, "status" }, { 4, "scale" } }

-- The next request. careful: only what should succeed.
function M:next(careful)
  self.count = self.count + 1
  while true do
    local verb = careful and self.s:pick { "get", "list", "merge", "create" } or self.s:weighted(WEIGHTS)
    local r = verbs[verb](self)
    if r then
      local often = (verb == "watch" or verb == "deletecollection") and 30 or 11
      if not careful and self.s:chance(often) then damage.apply(self.s, r) end
      r.number = self.count
      return r
    end
  end
end

M.VERBS = { "get", "list", "watch", "create", "update", "json", "merge", "strategic", "apply", "delete", "deletecollection", "status", "scale" }

return M
