-- One question to an HTTP source and what came back: a whole JSON answer, or one word and a sentence for why there is none.
--
-- The sentences stand in statuses of objects, so they are the same from try to try and hold nothing of what the server said; that
-- goes, bounded and without the token, to the log. A redirect is not followed: the token is meant for the one server.

local token = require "inputs.token"

local M = {}
M.__index = M

local ANSWER_MAX = 1024 * 1024
local GLIMPSE = 300

-- options: {http (a declaration's), server (of the settings), timeout (seconds), cluster, namespace (where a Secret with the token is)}
function M.new(options)
  local http = options.http
  local is_own = http.url ~= nil and not http.url:find("^{endpoint}") -- then the server's token is not meant for it
  local self = setmetatable({ http = http, server = options.server, timeout = options.timeout, statuses = {},
    token = token.new(is_own and {} or options.server, options.cluster, options.namespace) }, M)
  for _, status in ipairs(http.status or { 200 }) do self.statuses[status] = true end
  return self
end

function M.trouble(reason, message, detail)
  return nil, { reason = reason, message = message, detail = detail }
end
local trouble = M.trouble

-- A URL for people.
function M.without_query(url)
  return (url:gsub("[?#].*$", ""))
end

-- (waits) true and the headers; nil and a trouble.
local function headers(self, request)
  local list = { "Accept: application/json" }
  for _, line in ipairs(self.http.headers or {}) do list[#list + 1] = line end
  if request.body then list[#list + 1] = "Content-Type: application/json" end
  local text, why = self.token:get()
  if why then return trouble("NoToken", why) end
  if text then list[#list + 1] = "Authorization: Bearer " .. text end
  return list
end

-- (waits) The authorities that stand for the server, read anew; nil: the system's.
local function authorities(self)
  local path = self.server.caFile
  if type(path) ~= "string" or path == "" then return nil end
  local pem = fs.read(path)
  if not pem then return trouble("NoAuthority", ("the file of authorities %s cannot be read"):format(path)) end
  return pem
end

local function no_answer(self, kind, why)
  if kind == "timeout" then return trouble("Timeout", ("it does not answer within %g seconds"):format(self.timeout), why) end
  if kind == "too large" then return trouble("TooLarge", ("its answer has more than %d bytes"):format(ANSWER_MAX), why) end
  return trouble("Unreachable", "it cannot be reached", why)
end

-- What a GraphQL server, or a proxy, says of itself: the beginning, in one line, for the log.
local function glimpse(self, body)
  return self.token:without((body:sub(1, GLIMPSE):gsub("[%c\128-\255]+", " ")))
end

-- The body, as the policies get it; nil and a trouble.
local function content(self, answer)
  if not self.statuses[answer.status] then
    local seen = glimpse(self, answer.body)
    if answer.status >= 300 and answer.status < 400 then
      return trouble("Redirect", ("it redirects (%d), which is not followed"):format(answer.status), seen)
    elseif answer.status == 401 or answer.status == 403 then
      return trouble("Refused", ("it refuses us (%d): is the token right?"):format(answer.status), seen)
    end
    return trouble("HttpStatus", ("it answers %d"):format(answer.status), seen)
  end
  local value, why
  if self.http.keep then
    value, why = json.cut(answer.body, self.http.keep, ANSWER_MAX)
  else
    value, why = json.decode(answer.body)
  end
  if value == nil then return trouble("NotJson", "its answer is no JSON", tostring(why) .. ": " .. glimpse(self, answer.body)) end
  return self.http.keep and json.encode(value) or answer.body
end

local function send(self, request)
  local list, wrong = headers(self, request)
  if not list then return nil, wrong end
  local ca, unread = authorities(self)
  if unread then return nil, unread end
  local answer, why, kind = http.request { method = self.http.method or (request.body and "POST" or "GET"), url = request.url,
    headers = list, body = request.body, timeout = self.timeout, most = ANSWER_MAX, ca = ca }
  if not answer then return no_answer(self, kind, why) end
  return answer
end

-- (waits) A token that was changed meanwhile is tried at once.
local function ask(self, request)
  local answer, wrong = send(self, request)
  if answer and (answer.status == 401 or answer.status == 403) and self.token:is_wanted() then
    local before = self.token.text
    self.token:forget()
    if self.token:get() ~= before then answer, wrong = send(self, request) end
  end
  if not answer then return nil, wrong end
  local body, odd = content(self, answer)
  if not body then return nil, odd end
  return { body = body, status = answer.status, at = loop.now() }
end

-- (waits) request: of request.lua. {body (JSON text), status, at (loop.now())}; nil and a trouble {reason, message, detail}.
function M:ask(request)
  local ok, answer, wrong = pcall(ask, self, request)
  if not ok then return trouble("Unreachable", "it cannot be asked", self.token:without(tostring(answer))) end
  return answer, wrong
end

return M
