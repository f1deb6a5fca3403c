-- A cluster for specs: a table of objects behind the calls that lua/ makes (request, watch), in the same turn.
--
-- It knows resourceVersions, generations, UIDs, preconditions, and of apply and strategic merge patch as much
-- as lua/lists.lua says of lists. It is no API server: what a real one does is for spec/lifecycle.
-- Every request is kept in `requests`; fail() scripts answers; with `silent` set, watches learn nothing until
-- deliver() (what a caller hands to watch:wrote is seen at once, as in the real cache).

local lists = require "lists"

local M = {}
M.__index = M

local function copy(value)
  return json.decode(json.encode(value))
end
M.copy = copy

function M.new()
  return setmetatable({ objects = {}, requests = {}, scripts = {}, watches = {}, pending = {}, version = 100, uids = 0,
    namespace = "hub", server = "http://fake" }, M)
end

-- The next `times` (default 1) requests of this method whose path has `part` are answered by `answer`: a table
-- {status=, reason=, message=, body=}, false (no answer came), or a function(options) returning one of these or nil (go on).
function M:fail(method, part, answer, times)
  self.scripts[#self.scripts + 1] = { method = method, part = part, answer = answer, left = times or 1 }
end

function M:writes()
  local list = {}
  for _, request in ipairs(self.requests) do
    if request.method ~= "GET" then list[#list + 1] = request end
  end
  return list
end

function M:forget_requests()
  self.requests = {}
end

-- ---------------------------------------------------------------- watches

local function at_path(object, path)
  if path == "@owner" then
    for _, reference in ipairs(object.metadata.ownerReferences or {}) do
      if reference.controller then return reference.uid end
    end
    return nil
  end
  local before, name = path:match("^(.-)%[(.+)%]$")
  local value = object
  for step in (before or path):gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[step == "*" and 1 or step]
  end
  if name then return type(value) == "table" and value[name] or nil end
  return value
end

local Watch = {}
Watch.__index = Watch

local function handle_of(watch, key, object)
  if not object then return nil end
  local indexes = {}
  for name, paths in pairs(watch.options.indexes or {}) do
    for _, path in ipairs(paths) do
      if indexes[name] == nil then indexes[name] = at_path(object, path) end
    end
  end
  return { key = key, uid = object.metadata.uid, version = object.metadata.resourceVersion, generation = object.metadata.generation,
    deleting = object.metadata.deletionTimestamp ~= nil, indexes = indexes, bytes = json.encode(object) }
end

local function selected(watch, object)
  local selector = watch.options.label_selector
  return object ~= nil and (not selector or (object.metadata.labels or {})[selector] ~= nil)
end

-- What a watch keeps of an object.
local function kept(watch, object)
  return watch.options.keep == "metadata" and { metadata = copy(object.metadata) } or copy(object)
end

local function show(watch, key, object, first)
  local before = watch.view[key]
  local after = selected(watch, object) and kept(watch, object) or nil
  if not before and not after then return end
  watch.view[key] = after
  if watch.options.on_change then
    watch.options.on_change(key, not after and "removed" or before and "changed" or "added", handle_of(watch, key, before),
      handle_of(watch, key, after), first)
  end
end

function Watch:synced() return not self.unsynced end
function Watch:wait_synced(timeout)
  local deadline = loop.now() + (timeout or 5)
  while self.unsynced and loop.now() < deadline do loop.sleep(0.005) end
  return not self.unsynced
end
function Watch:get(key) return handle_of(self, key, self.view[key]) end
function Watch:read(key) return self.view[key] and copy(self.view[key]) end
function Watch:content(key)
  local object = self.view[key]
  if not object then return nil end
  local said = json.decode(json.encode(object))
  said.status, said.metadata.resourceVersion, said.metadata.generation = nil, nil, nil
  return digest.quick(said)
end
function Watch:raw(key) return self.view[key] and policy.raw(json.encode(self.view[key])) end
function Watch:keys()
  local keys = {}
  for key in pairs(self.view) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end
function Watch:find(index, value)
  local keys = {}
  for _, key in ipairs(self:keys()) do
    if self:get(key).indexes[index] == value then keys[#keys + 1] = key end
  end
  return keys
end
function Watch:count() return #self:keys() end
function Watch:wrote(body)
  local object = json.decode(body)
  if type(object) ~= "table" or type(object.metadata) ~= "table" then return nil, "no object" end
  local key = object.metadata.namespace .. "/" .. object.metadata.name
  local known = self.view[key]
  if not known or known.metadata.uid ~= object.metadata.uid
    or kube.compare_versions(known.metadata.resourceVersion, object.metadata.resourceVersion) < 0 then
    self.view[key] = selected(self, object) and kept(self, object) or nil
  end
  return true
end
function Watch:deleted(key, uid)
  if self.view[key] and self.view[key].metadata.uid == uid then self.view[key] = nil end
end
function Watch.revisions() return {} end
function Watch:recorded(key, generation) self.was_recorded[key] = generation end
function Watch:stats() return { error = self.error } end
function Watch:stop() self.stopped = true end

function M:watch(options)
  local watch = setmetatable({ options = options, view = {}, was_recorded = {} }, Watch)
  self.watches[#self.watches + 1] = watch
  for path, object in pairs(self.objects) do
    if path:sub(1, #options.path + 1) == options.path .. "/" then
      show(watch, object.metadata.namespace .. "/" .. object.metadata.name, object, true)
    end
  end
  return watch
end

local function tell(self, path, key)
  for _, watch in ipairs(self.watches) do
    if path:sub(1, #watch.options.path + 1) == watch.options.path .. "/" then show(watch, key, self.objects[path], false) end
  end
end

local function changed(self, path, key)
  if self.silent then
    self.pending[#self.pending + 1] = { path, key }
  else
    tell(self, path, key)
  end
end

-- What was held back by `silent`.
function M:deliver()
  local pending = self.pending
  self.pending, self.silent = {}, false
  for _, entry in ipairs(pending) do tell(self, entry[1], entry[2]) end
end

-- ---------------------------------------------------------------- objects

local function next_version(self)
  self.version = self.version + 1
  return tostring(self.version)
end

-- Store an object as if somebody else wrote it; answers what is stored.
function M:put(path, object)
  local old = self.objects[path]
  object = copy(object)
  local meta = object.metadata
  meta.namespace = meta.namespace or "hub"
  if not meta.uid then
    self.uids = self.uids + 1
    meta.uid = old and old.metadata.uid or "uid-" .. self.uids
  end
  if old and json.encode(old) == json.encode(object) then return old end
  local spec_changed = old == nil or not json.equal(old.spec or {}, object.spec or {})
  meta.generation = old and old.metadata.generation + (spec_changed and 1 or 0) or meta.generation or 1
  meta.resourceVersion = next_version(self)
  self.objects[path] = object
  changed(self, path, meta.namespace .. "/" .. meta.name)
  return object
end

function M:remove(path)
  local object = self.objects[path]
  self.objects[path] = nil
  if object then changed(self, path, object.metadata.namespace .. "/" .. object.metadata.name) end
end

local function identity(entry, keys)
  local parts = {}
  for i, name in ipairs(keys) do parts[i] = tostring(entry[name] or (name == "protocol" and "TCP") or "") end
  return table.concat(parts, "|")
end

local function index_of(list, entry, keys)
  for i, other in ipairs(list) do
    if identity(other, keys) == identity(entry, keys) then return i end
  end
end

-- Server-side apply with force, without memory of who owned what.
local function apply_onto(kind, path, live, wanted)
  if type(wanted) ~= "table" or type(live) ~= "table" then return copy(wanted) end
  if json.is_array(wanted) then
    local rule = lists.rule(kind, path)
    if not rule then return copy(wanted) end
    for _, entry in ipairs(wanted) do
      local i = index_of(live, entry, rule.keys)
      if i then live[i] = apply_onto(kind, path, live[i], entry) else live[#live + 1] = copy(entry) end
    end
    return live
  end
  for name, value in pairs(wanted) do
    local inner = path == "" and name or path .. "." .. name
    live[name] = apply_onto(kind, inner, live[name], value)
  end
  return live
end
M.apply_onto = apply_onto

local merge_strategic

local function merge_list(kind, path, live, patch, order, rule)
  local merge, result = { rule.merge }, json.array {}
  for _, entry in ipairs(live or {}) do
    local gone = false
    for _, change in ipairs(patch or {}) do
      gone = gone or change["$patch"] == "delete" and identity(change, merge) == identity(entry, merge)
    end
    if not gone then result[#result + 1] = entry end
  end
  for _, change in ipairs(patch or {}) do
    if change["$patch"] ~= "delete" then
      local i = index_of(result, change, merge)
      if i then result[i] = merge_strategic(kind, path, result[i], change) else result[#result + 1] = copy(change) end
    end
  end
  if not order then return result end
  local sorted = json.array {}
  for _, entry in ipairs(order) do
    local i = index_of(result, entry, merge)
    if i then sorted[#sorted + 1] = table.remove(result, i) end
  end
  for _, entry in ipairs(result) do sorted[#sorted + 1] = entry end
  return sorted
end

function merge_strategic(kind, path, live, patch)
  local orders = {}
  for name, value in pairs(patch) do
    local list = name:match("^%$setElementOrder/(.+)$")
    if list then orders[list] = value end
  end
  for list, order in pairs(orders) do
    local inner = path == "" and list or path .. "." .. list
    live[list] = merge_list(kind, inner, live[list], patch[list], order, lists.rule(kind, inner))
  end
  for name, value in pairs(patch) do
    local inner = path == "" and name or path .. "." .. name
    if name:sub(1, 1) ~= "$" and not orders[name] then
      local rule = json.is_array(value) and lists.rule(kind, inner)
      if value == json.null then
        live[name] = nil
      elseif rule then
        live[name] = merge_list(kind, inner, live[name], value, nil, rule)
      elseif type(value) == "table" and not json.is_array(value) and type(live[name]) == "table" then
        live[name] = merge_strategic(kind, inner, live[name], value)
      else
        live[name] = copy(value)
      end
    end
  end
  return live
end
M.merge_strategic = merge_strategic

-- RFC 7386.
local function merge_patch(target, patch)
  if type(patch) ~= "table" or json.is_array(patch) then return patch end
  if type(target) ~= "table" or json.is_array(target) then target = {} end
  for name, value in pairs(patch) do
    if value == json.null then target[name] = nil else target[name] = merge_patch(target[name], value) end
  end
  return target
end
M.merge_patch = merge_patch

-- As much of RFC 6902 as moonphase says: test, add and remove of members of maps. nil: a test failed.
local function json_patch(target, patch)
  for _, one in ipairs(patch) do
    local at, name = target, nil
    for step in one.path:gmatch("[^/]+") do
      if name then at = at[name] end
      name = step
    end
    if one.op == "test" and not json.equal(at[name], one.value) then return nil end
    if one.op == "add" then at[name] = one.value elseif one.op == "remove" then at[name] = nil end
  end
  return target
end

-- ---------------------------------------------------------------- requests

local function answer(status, object, reason, message)
  return { status = status, body = object and json.encode(object) or "", reason = reason or "", message = message or "" }
end

local function patched(self, options, path, body)
  local live = self.objects[path]
  local meta = type(body) == "table" and body.metadata or {}
  if not live and options.content_type ~= "application/apply-patch+yaml" then return answer(404, nil, "NotFound", "not found") end
  if meta.uid and (not live or live.metadata.uid ~= meta.uid) then return answer(409, nil, "Conflict", "uid mismatch") end
  if meta.resourceVersion and live.metadata.resourceVersion ~= meta.resourceVersion then
    return answer(409, nil, "Conflict", "the object has been modified")
  end
  local object
  if options.content_type == "application/apply-patch+yaml" then
    object = live and apply_onto(body.kind, "", copy(live), body) or copy(body)
  elseif options.content_type == "application/strategic-merge-patch+json" then
    object = merge_strategic(live.kind, "", copy(live), body)
  elseif options.content_type == "application/json-patch+json" then
    object = json_patch(copy(live), body)
    if not object then return answer(422, nil, "Invalid", "testing value failed") end
  else
    object = merge_patch(copy(live), body)
    object.metadata = copy(live.metadata)
  end
  return answer(live and 200 or 201, self:put(path, object))
end

local function created(self, path, body)
  path = path .. "/" .. body.metadata.name
  if self.objects[path] then return answer(409, nil, "AlreadyExists", "it is there already") end
  return answer(201, self:put(path, body))
end

local function deleted(self, path, body)
  local live = self.objects[path]
  if not live then return answer(404, nil, "NotFound", "not found") end
  local wanted = body and body.preconditions and body.preconditions.uid
  if wanted and wanted ~= live.metadata.uid then return answer(409, nil, "Conflict", "uid precondition failed") end
  if live.metadata.finalizers then
    local going = copy(live)
    going.metadata.deletionTimestamp = "2026-01-01T00:00:00Z"
    return answer(200, self:put(path, going))
  end
  self:remove(path)
  return answer(200, { kind = "Status", status = "Success" })
end

function M:request(options)
  local method, path = options.method or "GET", options.path
  local body = type(options.body) == "table" and copy(options.body) or options.body
  self.requests[#self.requests + 1] = { method = method, path = path, query = options.query, content_type = options.content_type, body = body }
  for _, script in ipairs(self.scripts) do
    if script.left > 0 and script.method == method and path:find(script.part, 1, true) then
      local said = script.answer
      if type(said) == "function" then said = said(options) end
      if said ~= nil then
        script.left = script.left - 1
        if said == false then return nil, "no answer came within 30 s", "timeout" end
        return { status = said.status, body = said.body or "", reason = said.reason or "", message = said.message or "" }
      end
    end
  end
  if method == "PATCH" then return patched(self, options, (path:gsub("/status$", "")), body) end
  if method == "POST" then return created(self, path, body) end
  if method == "DELETE" then return deleted(self, path, body) end
  local object = self.objects[path]
  if not object then return answer(404, nil, "NotFound", path .. " not found") end
  return answer(200, object)
end

return M
