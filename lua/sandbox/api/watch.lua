-- A watch: what changed since a version, as one JSON line for each change.
--
-- The stream is pulled: whoever owns the connection calls next() when the world changed or `due` has come, and gets lines. Who can
-- send only so much at once says so, and calls again when that is sent, while has_more(): a slow reader misses nothing as long as
-- the history goes back to where it is.
--
-- Without a version (or with "0") the present objects come first as ADDED. A version whose events are forgotten gets one
-- ERROR line with a 410 Status, and the end. With a selector, an object that begins to match is ADDED and one that ceases
-- is DELETED, shown as it last matched (k8s.io/apiserver's cacher). Bookmarks come each minute, and two seconds before the
-- end of the watch, to those who asked (KEP-956).

local errors = require "sandbox.errors"
local list = require "sandbox.api.list"
local view = require "sandbox.api.view"

local M = {}
M.__index = M

local BOOKMARK_MS = 60 * 1000
local BEFORE_END_MS = 2 * 1000
-- The server ends a watch without timeoutSeconds after 30 to 60 minutes.
local LONGEST_S = 45 * 60

-- Schedule the next bookmark: a minute from now, or two seconds before the end if that is sooner.
local function plan(self, now)
  if not self.bookmarks then return end
  local before_end = self.ends - BEFORE_END_MS
  self.bookmark = now + BOOKMARK_MS
  if before_end < self.bookmark and before_end > now then self.bookmark = before_end end
  if self.bookmark >= self.ends then self.bookmark = nil end
end

local function set_due(self)
  self.due = self.bookmark and math.min(self.bookmark, self.ends) or self.ends
end

-- options: of parameters.list; form(kind, record) -> text of an object (nil: JSON of itself). Whoever opened it may set
-- is_served, a function that turns false when the kind is no more.
function M.new(w, kind, filter, options, form)
  local now = w:now()
  local self = setmetatable({ w = w, kind = kind, id = kind.id, filter = filter, form = form, version = options.version or 0,
    fresh = (options.version or 0) == 0, bookmarks = options.bookmarks }, M)
  local seconds = options.timeout and options.timeout > 0 and options.timeout or LONGEST_S
  self.ends = now + seconds * 1000
  plan(self, now)
  set_due(self)
  return self
end

local function text_of(self, record)
  return self.form and self.form(self.kind, record) or view.bytes(self.kind, record)
end

local function line(self, type, record)
  return '{"type":"' .. type .. '","object":' .. text_of(self, record) .. "}\n"
end

-- A record with the resourceVersion of a later event.
local function at_version(record, version)
  local object, metadata = typed.clone(record.object), typed.clone(record.object.metadata)
  metadata.resourceVersion = tostring(version)
  object.metadata = metadata
  return { object = object, namespace = record.namespace, name = record.name, uid = record.uid, version = version }
end

-- The line of an event, or nil when it is none of this watch's.
local function line_of(self, event)
  local filter, record = self.filter, event.record
  if filter.namespace and record.namespace ~= filter.namespace then return nil end
  if not filter.labels and not filter.fields then
    if self.form or record.object.apiVersion ~= self.kind.api_version then return line(self, event.type, record) end
    local memo = event.line
    if not memo then
      memo = line(self, event.type, record)
      event.line = memo
    end
    return memo
  end
  local before = event.previous and list.passes(filter, event.previous.object)
  local after = event.type ~= "DELETED" and list.passes(filter, record.object)
  if after then return line(self, before and "MODIFIED" or "ADDED", record) end
  if not before then return nil end
  return line(self, "DELETED", event.type == "DELETED" and record or at_version(event.previous, event.version))
end

-- The present objects, as if they were made now.
local function present(self)
  local events = {}
  for index, record in ipairs(self.w:each(self.id, self.filter.namespace)) do events[index] = { type = "ADDED", record = record } end
  return events
end

local function error_line(failure)
  return ('{"type":"ERROR","object":%s}\n'):format(json.encode(errors.status(failure)))
end

local function bookmark_line(self)
  local kind = self.kind
  local object = { kind = kind.kind, apiVersion = kind.api_version, metadata = { resourceVersion = tostring(self.version),
    creationTimestamp = json.null } }
  if self.form_bookmark then object = self.form_bookmark(object) end
  return ('{"type":"BOOKMARK","object":%s}\n'):format(json.encode(object))
end

-- What there is to tell: self.events, from self.at on. -> false: some of it is forgotten
local function look(self)
  local w = self.w
  self.events, self.at = self.fresh and present(self) or w:events_since(self.id, self.version), 1
  if not self.events then return false end
  self.fresh, self.version = false, math.max(self.version, w.version)
  return true
end

local function forgotten(self)
  self.closed = true
  local oldest = self.w:floor(self.id) + 1
  return { error_line(errors.gone(("too old resource version: %d (%d)"):format(self.version, oldest))) }
end

-- Lines of the events that are left, until they are `most` bytes or more.
local function tell(self, most)
  local lines, bytes, events, at = {}, 0, self.events, self.at
  while at <= #events and bytes < most do
    local text = line_of(self, events[at])
    if text then
      lines[#lines + 1] = text
      bytes = bytes + #text
    end
    at = at + 1
  end
  self.at = at
  if at > #events then self.events = nil end
  return lines
end

-- Whether next() has lines although nothing has changed.
function M:has_more() return self.events ~= nil end

-- Lines since the last call (perhaps none); nil when the watch is over. most: so many bytes, and the rest of the last line, are enough
-- (nil: all there is). Does not wait.
function M:next(most)
  if self.closed then return nil end
  local w = self.w
  local now = w:now()
  if now >= self.ends or self.is_served and not self.is_served() then
    self.closed = true
    return nil
  end
  if not self.events and not look(self) then return forgotten(self) end
  local lines = tell(self, most or math.huge)
  if self.bookmark and now >= self.bookmark and not self.events then
    lines[#lines + 1] = bookmark_line(self)
    plan(self, now)
    set_due(self)
  end
  return lines
end

-- Nobody reads it any more.
function M:close() self.closed = true end

return M
