-- Between an operator and the sandbox in one process: requests to api.lua, watches as streams, faults, and a record of it all.
--
-- Whatever is answered goes through here, so that a test or the checker can play a network that loses things: `intercept`
-- is asked before each request of the operator. A stream holds a watch of api.lua, which is asked for lines whenever its kind
-- has moved, and gives what it has to its writer; when it arrives is the network's affair (loop.virtual's "network").

local sorted = require "sorted"

local M = {}
M.__index = M

-- owner: {api, world, note(self, ...)}
function M.new(owner)
  local self = setmetatable({ owner = owner, api = owner.api, world = owner.world, streams = {}, watched = {}, moved = {},
    has_moved = false }, M)
  self.world:subscribe(function(_, id)
    if self.watched[id] then self.moved[id], self.has_moved = true, true end
  end)
  return self
end

-- Tell what happened; bodies as they are.
local function told(self, who, request, answer)
  local query = {}
  for i, name in ipairs(sorted(request.query)) do query[i] = name .. "=" .. tostring(request.query[name]) end
  self.owner:note(who, request.method, request.path .. (query[1] and "?" .. table.concat(query, "&") or ""), request.body or "")
  self.owner:note("answer", tostring(answer.status), answer.watch and "(a watch)" or answer.body or "")
end

-- The answer of the API to a request, from whomever. What watches learn of it goes out after the answer (flush), as it does
-- from a real server, which hears from its store later than who wrote.
function M:serve(request, who)
  local answer = self.api:handle(request)
  if self.owner.trace then told(self, who, request, answer) end
  return answer
end

-- What a watch has now goes to its writer; false when either side has ended it.
local function push(self, stream)
  local writer = stream.writer
  if not writer:is_open() then return false end
  local lines = stream.watch:next()
  if not lines then
    writer:finish()
    return false
  end
  if #lines == 0 then return true end
  local text = lines[2] and table.concat(lines) or lines[1]
  if self.owner.trace then self.owner:note("events", stream.path, (text:gsub("\n$", ""))) end
  if not writer:write(text) then return false end
  if stream.watch.closed then writer:finish() end -- an ERROR event was the last
  return true
end

local function open_stream(self, request, watch)
  return function(writer)
    local stream = { writer = writer, watch = watch, path = request.path }
    self.streams[#self.streams + 1] = stream
    self.watched[watch.id] = true
    push(self, stream)
  end
end

-- A request of the operator (runs as a task of its loop). `intercept(request, go)`, if there is one, may answer in its place:
-- go() has the API do it and gives the answer; the fault may be returned before or after, as kube.open describes it:
--   function(request, go) if request.method ~= "GET" then go() return { fault = "reset" } end end   -- every answer is lost
-- nil: as usual (if go was called: its answer). false: no answer will ever come.
function M:handle(request)
  local done
  local function go()
    local answer = self:serve(request, "operator")
    done = { status = answer.status, body = not answer.watch and answer.body or nil, content_type = answer.content_type,
      headers = answer.headers, retry_after = answer.retry_after, stream = answer.watch and open_stream(self, request, answer.watch) }
    return done
  end
  local intercept = self.owner.intercept
  if intercept then
    local instead = intercept(request, go)
    if instead == false then return nil end
    if instead then return instead end
  end
  return done or go()
end

-- Give what watches have to their writers: those whose kind has moved since the last time (or all of them).
function M:flush(all)
  if self.flushing or not (self.has_moved or all) then return end
  local moved, streams, kept = self.moved, self.streams, nil
  self.flushing, self.moved, self.has_moved = true, {}, false
  for i, stream in ipairs(streams) do
    if (all or moved[stream.watch.id]) and not push(self, stream) then
      stream.watch:close()
      kept = kept or table.move(streams, 1, i - 1, 1, {})
    elseif kept then
      kept[#kept + 1] = stream
    end
  end
  self.streams, self.flushing = kept or streams, false
end

-- When a watch has something to say although the world stands still (a bookmark, its end): ms since 1970, or nil.
function M:due()
  local due
  for _, stream in ipairs(self.streams) do
    local one = stream.watch.due
    if one and (not due or one < due) then due = one end
  end
  return due
end

-- The operator has gone, and its connections with it.
function M:forget()
  for _, stream in ipairs(self.streams) do stream.watch:close() end
  self.streams, self.watched = {}, {}
end

return M
