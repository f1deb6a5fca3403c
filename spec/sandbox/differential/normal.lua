-- An answer without what differs from run to run: UIDs, resource versions, times, addresses and generated names become
-- labels, numbered in the order in which a sequence meets them. So "the same version as before" and "another version" can be
-- told apart, on both sides alike.

local M = {}
M.__index = M

-- prefix: what the names of this sequence begin with on this side ("s12-").
function M.new(prefix)
  return setmetatable({ prefix = prefix, pattern = prefix:gsub("%-", "%%-"), labels = {}, counts = {}, generated = {}, owner = "" }, M)
end

local function label(self, class, value)
  local key = class .. value
  local found = self.labels[key]
  if not found and self.frozen then return "<" .. class .. ">" end
  if not found then
    self.counts[class] = (self.counts[class] or 0) + 1
    found = "<" .. class .. " " .. self.counts[class] .. ">"
    self.labels[key] = found
  end
  return found
end

local UUID = "%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x"
-- Times that the requests say themselves are kept: they are of the year 2026's first day (and the servers are not).
local TIME = "20%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.?%d*Z"
local FIXED = "^2026%-01%-01T00:00:0"

-- A name that the server made: PREFIX plus five characters.
function M:generated_name(name, stem)
  self.generated[#self.generated + 1] = { name, label(self, "name of " .. stem:sub(#self.prefix + 1), name) }
end

local function replace(text, from, to)
  local at, out = 1, nil
  while true do
    local a, b = text:find(from, at, true)
    if not a then break end
    out = (out or "") .. text:sub(at, a - 1) .. to
    at = b + 1
  end
  return out and out .. text:sub(at) or text
end

function M:text(text)
  if #text >= 3 then
    for _, pair in ipairs(self.generated) do
      if text:find(pair[1], 1, true) then text = replace(text, pair[1], pair[2]) end
    end
    if text:find(self.prefix, 1, true) then text = replace(text, self.prefix, "SEQ-") end
    if text:find("%-%x%x%x%x%-") then text = text:gsub(UUID, function(u) return label(self, "uid", u) end) end
    if text:find("%d%dT%d%d:") then text = text:gsub(TIME, function(t) return not t:find(FIXED) and "<time>" or nil end) end
    if text:find("esourceVersion in", 1, true) then
      text = text:gsub("(in record %()(%d+)", function(w, v) return w .. label(self, "version", v) end)
      text = text:gsub("(in the precondition %()(%d%d+)", function(w, v) return w .. label(self, "version", v) end)
      text = text:gsub("(in precondition: )(%d%d+)", function(w, v) return w .. label(self, "version", v) end)
      text = text:gsub("(in object meta: )(%d+)", function(w, v) return w .. label(self, "version", v) end)
    end
    if text:find("resourceVersion", 1, true) then
      text = text:gsub('(resourceVersion\\?":\\?")(%d+)', function(w, v) return w .. label(self, "version", v) end)
    end
    if text:find(":3%d%d%d%d/") then text = text:gsub(":(3%d%d%d%d)/", function(n) return ":" .. label(self, "node port", n) .. "/" end) end
    if text:find("10.96.", 1, true) then text = text:gsub("10%.96%.%d+%.%d+", function(a) return label(self, "address", self.owner .. a) end) end
  end
  return text
end

-- Generated names sort by what was drawn, and what the real server serves from its caches comes in no order (self.unordered):
-- such a list is put in the order of names.
local function in_order(self, items)
  if #self.generated == 0 and not self.unordered or type(items) ~= "table" then return items end
  local named, out = {}, json.array {}
  for i, item in ipairs(items) do
    local object = type(item) == "table" and item.object or item -- a row of a Table
    local meta = type(object) == "table" and object.metadata
    named[i] = { meta and self:text((meta.namespace or "") .. "/" .. (meta.name or "")) or "", item }
  end
  table.sort(named, function(x, y) return x[1] < y[1] end)
  for i, pair in ipairs(named) do out[i] = pair[2] end
  return out
end

-- Events of one deletecollection come in the order of names; those of a watch that begins with all there is, in none.
function M:events_in_order(events)
  if #self.generated == 0 and not self.unordered then return events end
  local out, run = json.array {}, json.array {}
  local function close()
    for _, event in ipairs(in_order(self, run)) do out[#out + 1] = event end
    run = json.array {}
  end
  for _, event in ipairs(events) do
    if #run > 0 and run[1].type ~= event.type or event.type ~= (self.unordered and "ADDED" or "DELETED") then close() end
    run[#run + 1] = event
  end
  close()
  return out
end

-- By manager, where the server sorts by time first: a second may end in between on one side.
local function managers_in_order(entries)
  local out = json.array(table.move(entries, 1, #entries, 1, {}))
  local function key(e) return type(e) == "table" and ("%s %s %s"):format(e.manager, e.operation, e.apiVersion) or "" end
  table.sort(out, function(x, y) return key(x) < key(y) end)
  return out
end

-- A Status: what it shows for the first time gets no label, since one side may show more of a body than the other.
function M:status(value)
  self.frozen = true
  local out = self:value(value)
  self.frozen = false
  return out
end

-- Of a Go map, since the server adds its own on deletion.
local function texts_in_order(texts)
  for _, text in ipairs(texts) do
    if type(text) ~= "string" then return texts end
  end
  local out = json.array(table.move(texts, 1, #texts, 1, {}))
  table.sort(out)
  return out
end

-- Decoded JSON, as a new value.
function M:value(value, key, is_list)
  local kind = type(value)
  if kind == "string" then
    if key == "resourceVersion" then return is_list and "<list version>" or value ~= "" and label(self, "version", value) or "" end
    if key == "continue" and value ~= "" then return "<continue>" end
    return self:text(value)
  elseif kind == "number" then
    if key == "nodePort" and value >= 30000 and self.dry then return "<node port>" end -- drawn anew, and given back
    if key == "nodePort" and value >= 30000 then return label(self, "node port", self.owner .. value) end
    return value
  elseif kind ~= "table" then
    return value
  end
  if json.is_array(value) then
    local out = json.array {}
    if key == "managedFields" then value = managers_in_order(value) end
    if key == "finalizers" then value = texts_in_order(value) end
    for i, item in ipairs(value) do out[i] = self:value(item, key) end
    return out
  end
  local uid, owner = type(value.metadata) == "table" and value.metadata.uid, self.owner
  if type(uid) == "string" then self.owner = uid end -- addresses and ports are drawn, and drawn again when their Service is gone
  local out, keys = {}, {}
  local list = value.items ~= nil or value.rows ~= nil
  for k in pairs(value) do keys[#keys + 1] = k end
  table.sort(keys) -- labels are given in the order of the walk
  for _, k in ipairs(keys) do
    local v = value[k]
    if k == "metadata" and list then
      local meta = {}
      for name, inner in pairs(v) do meta[name] = self:value(inner, name, true) end
      out[k] = meta
    elseif list and (k == "items" or k == "rows") then
      out[k] = self:value(in_order(self, v), k)
    else
      out[type(k) == "string" and #k > 8 and self:text(k) or k] = self:value(v, k)
    end
  end
  self.owner = owner
  return out
end

return M
