-- The bearer token of an HTTP source: from a file, or a key of a Secret; read again often, and shown to nobody.
--
-- Tokens are rotated while we run. A file is read for every request that is not sooner than REREAD_SECONDS after the last one; a
-- Secret is read by its name as often (it is never watched or cached). A server that refuses the token has it read again at once.

local informers = require "informers"

local M = {}
M.__index = M

local REREAD_SECONDS = 60
local TOKEN_MAX = 16384
local SECRETS = { api_version = "v1", resource = "secrets" }

local function is_said(value)
  return type(value) == "string" and value ~= ""
end

-- server: {tokenFile, tokenSecret = {name, key}} of the settings; cluster, namespace: where a Secret is.
function M.new(server, cluster, namespace)
  local secret = type(server.tokenSecret) == "table" and server.tokenSecret or {}
  return setmetatable({ file = is_said(server.tokenFile) and server.tokenFile or nil,
    secret = is_said(secret.name) and secret.name or nil, key = is_said(secret.key) and secret.key or "token",
    cluster = cluster, namespace = namespace }, M)
end

function M:is_wanted()
  return self.file ~= nil or self.secret ~= nil
end

local function in_secret(self)
  local place = ("the Secret %s/%s"):format(self.namespace, self.secret)
  local answer = self.cluster:request { path = informers.path(SECRETS, self.namespace, self.secret), timeout = 10 }
  if not answer or answer.status ~= 200 then
    return nil, ("%s with the token cannot be read%s"):format(place, answer and " (" .. answer.status .. ")" or "")
  end
  local object = json.decode(answer.body)
  local data = type(object) == "table" and object.data
  local encoded = type(data) == "table" and data[self.key]
  local text = type(encoded) == "string" and base64.decode(encoded)
  if not text then return nil, ("%s has no key %s"):format(place, self.key) end
  return text, place
end

local function in_file(self)
  local text = fs.read(self.file)
  if not text then return nil, ("the token file %s cannot be read"):format(self.file) end
  return text, "the token file " .. self.file
end

-- Remembered so that no log shows it; the one before as well, which a server may still speak of.
local function keep(self, text)
  if text ~= self.last then self.before, self.last = self.last, text end
  self.text, self.read_at = text, loop.now()
  return text
end

-- (waits) The token, nil where none is wanted; nil and a sentence if it cannot be had. Only what can stand in a header is one. When it
-- cannot be read again, the last one goes on.
function M:get()
  if not self:is_wanted() then return nil end
  if self.text and loop.now() - self.read_at < REREAD_SECONDS then return self.text end
  local text, place = (self.file and in_file or in_secret)(self)
  if not text then
    if self.last then return self.last end
    return nil, place
  end
  text = text:match("^%s*(.-)%s*$")
  if text == "" or #text > TOKEN_MAX or text:find("[^\x21-\x7e]") then
    return nil, place .. " holds no token: one line of visible characters is expected"
  end
  return keep(self, text)
end

-- The server refused it: the next get() reads it again.
function M:forget()
  self.text = nil
end

local function without(text, secret)
  local from, to = text:find(secret, 1, true)
  while from do
    text = text:sub(1, from - 1) .. "(token)" .. text:sub(to + 1)
    from, to = text:find(secret, from, true)
  end
  return text
end

-- `text` without the token, for a log.
function M:without(text)
  for _, secret in ipairs { self.last or false, self.before or false } do
    if secret and #secret > 3 then text = without(text, secret) end
  end
  return text
end

return M
