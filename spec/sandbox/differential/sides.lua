-- A side is a server and what one sequence has seen of it. Requests with placeholders go in; normalised answers come out.
--
--   local side = sides.new(server, "s12-")   side:perform(request) -> { status=, body=, text=, events= }
--
-- A server is sides.real(cluster) (waits) or sides.sandbox() (answers at once); both take a plain request.

local include = require "include"
local normal = include "spec/sandbox/differential/normal.lua"
local tree = include "spec/sandbox/differential/tree.lua"

local M = {}
local Side = {}
Side.__index = Side

function M.new(server, prefix)
  return setmetatable({ server = server, prefix = prefix, normal = normal.new(prefix), seen = {}, first = {}, names = {}, start = "0" }, Side)
end

-- ------------------------------------------------------------------ placeholders

local function resolve_word(self, word, ns)
  local name, argument = word:match("^(%a+):?(.*)$")
  if name == "p" then return self.prefix end
  if name == "ns" then return self.prefix .. ns end
  if name == "start" then return self.start end
  if name == "continue" then return self.continue or "none" end
  if name == "name" then return self.names[tonumber(argument)] or "none" end
  local object = name == "old" and self.first[argument] or self.seen[argument]
  if name == "uid" then return object and object.metadata.uid or "none" end
  return object and object.metadata.resourceVersion or "1"
end

local function resolve(self, value, ns)
  if type(value) == "string" then
    if not value:find("@{", 1, true) then return value end
    return (value:gsub("@{(.-)}", function(word) return resolve_word(self, word, ns) end))
  elseif type(value) ~= "table" then
    return value
  end
  local out = json.is_array(value) and json.array {} or {}
  for k, v in pairs(value) do out[k] = resolve(self, v, ns) end
  return out
end

local function body_of(self, r)
  if r.raw then return r.raw end
  if r.base then
    local base = self.seen[r.base] or resolve(self, r.otherwise, r.ns)
    return json.encode(tree.merge(base, resolve(self, r.change, r.ns)))
  end
  return r.body ~= nil and json.encode(resolve(self, r.body, r.ns)) or nil
end

-- The request as this side's server gets it.
function Side:plain(r)
  return { method = r.method, path = resolve(self, r.path, r.ns), query = resolve(self, r.query, r.ns), content_type = r.content_type,
    accept = r.accept, body = body_of(self, r), watch = r.watch }
end

-- ------------------------------------------------------------------ answers

-- Keep what later requests refer to.
local function remember(self, r, status, object)
  if status >= 300 or type(object) ~= "table" or type(object.metadata) ~= "table" then return end
  if object.items then
    self.continue = object.metadata.continue
    return
  end
  if r.scale or r.query.dryRun or not object.metadata.uid then return end
  if r.generates then
    self.names[r.number] = object.metadata.name
  end
  if r.key then
    self.seen[r.key] = object
    self.first[r.key] = self.first[r.key] or object
  end
end

-- Dry runs make names too, and so do refused creates (in their words): those are only covered.
local function cover(self, r, object)
  if not r.generates or type(object) ~= "table" or type(r.body) ~= "table" then return end
  local meta = type(r.body.metadata) == "table" and r.body.metadata or {}
  local stem = type(meta.generateName) == "string" and resolve(self, meta.generateName, r.ns) or ""
  local name = object.kind == "Status" and object.details and object.details.name or (object.metadata or {}).name
  if stem == "" or type(name) ~= "string" or name:sub(1, #stem) ~= stem or #name ~= #stem + 5 then return end
  for _, pair in ipairs(self.normal.generated) do
    if pair[1] == name then return end
  end
  self.normal:generated_name(name, self.prefix .. "generated")
end

-- Ages pass on one clock and not on the other. columns: of an earlier event of this watch, which later ones leave out.
local function still_ages(object, columns)
  if object.kind ~= "Table" then return columns end
  if type(object.columnDefinitions) == "table" then columns = object.columnDefinitions end
  for i, column in ipairs(columns or {}) do
    if column.name == "Age" or column.name == "Last Seen" or column.name == "First Seen" then
      for _, row in ipairs(type(object.rows) == "table" and object.rows or {}) do
        if row.cells and type(row.cells[i]) == "string" then row.cells[i] = "<age>" end
      end
    end
  end
  return columns
end

local function normal_object(self, object)
  still_ages(object)
  if object.kind == "Status" then return self.normal:status(object) end
  return self.normal:value(object)
end

local function decoded(text)
  if text == nil or text == "" then return nil end
  local value = json.decode(text)
  return type(value) == "table" and value or nil
end

-- (waits, on a real server)
function Side:perform(r)
  local plain = self:plain(r)
  self.normal.unordered, self.normal.dry = r.unordered, r.query.dryRun ~= nil
  if r.settle and self.server.settle then loop.sleep(self.server.settle) end
  local answer = self.server.send(plain)
  local out = { status = answer.status, plain = plain, content_type = (answer.content_type or ""):gsub(";.*", "") }
  if answer.lines then
    out.events = json.array {}
    local columns
    for i, line in ipairs(answer.lines) do
      local event = decoded(line) or { undecodable = line }
      if type(event.object) == "table" then columns = still_ages(event.object, columns) end
      out.events[i] = event
    end
    for i, event in ipairs(self.normal:events_in_order(out.events)) do out.events[i] = self.normal:value(event) end
    return out
  end
  local object = decoded(answer.body)
  if not object then
    out.text = self.normal:text(answer.body or "")
    return out
  end
  cover(self, r, object)
  remember(self, r, answer.status, object)
  out.body = normal_object(self, object)
  return out
end

-- ------------------------------------------------------------------ servers

local function lines_of(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = line end
  return lines
end

local function send_real(cluster, request)
  if not request.watch then
    local answer, why = cluster:request { method = request.method, path = request.path, query = request.query, content_type = request.content_type,
      accept = request.accept, body = request.body, timeout = 30 }
    if not answer then return { status = 0, body = why } end
    return { status = answer.status, body = answer.body }
  end
  local pieces = {}
  local answer, why = cluster:stream { method = request.method, path = request.path, query = request.query, accept = request.accept, timeout = 10,
    on_bytes = function(text) pieces[#pieces + 1] = text end }
  if not answer then return { status = 0, body = why } end
  if answer.status ~= 200 then return { status = answer.status, body = #pieces > 0 and table.concat(pieces) or answer.body } end
  return { status = 200, lines = lines_of(table.concat(pieces)) }
end

-- A real API server. What its caches serve is asked for after a moment (`settle` seconds): they follow, they do not lead.
function M.real(cluster)
  return { name = "real", settle = 0.05, send = function(request) return send_real(cluster, request) end }
end

-- What a watch has to say now; on virtual time nothing comes later.
local function watch_lines(watch)
  local lines = {}
  while true do
    local more = watch:next()
    if not more or #more == 0 then break end
    for _, line in ipairs(more) do lines[#lines + 1] = line end
  end
  watch:close()
  return lines_of(table.concat(lines))
end

-- api: of lua/sandbox/api.lua
function M.sandbox(api)
  return { name = "sandbox", send = function(request)
    local ok, answer = xpcall(api.handle, require("where"), api, { method = request.method, path = request.path, query = request.query,
      content_type = request.content_type, accept = request.accept, user_agent = "moonphase", host = "sandbox", body = request.body or "" })
    if not ok then return { status = 599, body = "the sandbox raised: " .. tostring(answer) } end
    if answer.watch then
      local lines
      ok, lines = xpcall(watch_lines, require("where"), answer.watch)
      return ok and { status = answer.status, lines = lines } or { status = 599, body = "the sandbox raised: " .. tostring(lines) }
    end
    return { status = answer.status, body = answer.body }
  end }
end

return M
