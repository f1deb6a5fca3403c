-- Who may use a private endpoint: the Secret of its clients, a file as `htpasswd` writes it, a line "NAME:HASH" for each.
--
-- A token of the spec is either such a hash already (PrimeHub's console writes $apr1$...) and stays as it is, or it is the
-- token itself and is hashed here. The salt is made of the object's UID and the client's name: the same spec makes the same file,
-- so that nothing is written twice, and no two clients share a hash.
--
-- The contents go nowhere else: moonphase caches a Secret's metadata only, and shows a digest where it shows children.

local deployment = require "children.deployment"

local M = {}

-- The key in it that ingress-nginx reads (auth-secret-type: auth-file).
local KEY = "auth"

-- What counts as a hash, a Lua pattern and the fewest and most characters: $apr1$ and $1$, bcrypt, SHA-crypt, {SHA} and {SSHA}. (Not
-- {PLAIN}, and not the 13 letters of DES: those are tokens.)
local HASHES = {
  { "^%$apr1%$[./%w]+%$[./%w]+$", 30, 37 }, { "^%$1%$[./%w]+%$[./%w]+$", 27, 34 },
  { "^%$2[abxy]%$%d%d%$[./%w]+$", 60, 60 },
  { "^%$5%$[./%w=%$]+$", 48, 80 }, { "^%$6%$[./%w=%$]+$", 91, 123 },
  { "^{SHA}[%w+/]+=$", 33, 33 }, { "^{SSHA}[%w+/]+=*$", 38, 128 },
}

local function is_hash(token)
  for _, row in ipairs(HASHES) do
    if #token >= row[2] and #token <= row[3] and token:find(row[1]) then return true end
  end
  return false
end

-- Why a client can have no line in the file; nil if it can. (A colon ends the name, # begins a comment.)
local function trouble_of(client, given)
  local name = client.name or ""
  if name == "" then return "has no name" end
  if name:find("[:%c]") then return "has a colon or a line break in its name" end
  if name:sub(1, 1) == "#" then return "has a name that begins with #" end
  if given[name] then return "is there twice" end
  if (client.token or "") == "" then return "has no token" end
  return nil
end

-- The clients that can be served, and the first that cannot: {client, why}.
local function sorted_out(s)
  local good, given, trouble = {}, {}, nil
  local clients = s.spec.endpoint and s.spec.endpoint.clients or {}
  for _, client in ipairs(clients) do
    local why = trouble_of(client, given)
    if why then
      trouble = trouble or { client = text.bounded(client.name or "?", 100), why = why }
    else
      good[#good + 1], given[client.name] = client, true
    end
  end
  return good, trouble
end

-- For a row of failures.lua: a client of a private endpoint that is left out. Evidence: client, why.
function M.client_trouble(s)
  if not s.private then return nil end
  local _, trouble = sorted_out(s)
  return trouble
end

local function line(s, client)
  local hash = is_hash(client.token) and client.token
    or digest.htpasswd(client.token, (s.object.metadata.uid or "") .. "\n" .. client.name)
  return client.name .. ":" .. hash
end

-- Without clients nobody passes: the file is there and names nobody.
function M.wanted(s)
  local lines = { "# clients of " .. s.name }
  for _, client in ipairs((sorted_out(s))) do lines[#lines + 1] = line(s, client) end
  return {
    apiVersion = "v1", kind = "Secret", type = "Opaque",
    metadata = { name = s.child_name, labels = { [deployment.LABEL] = s.name } },
    data = { [KEY] = base64.encode(table.concat(lines, "\n") .. "\n") },
  }
end

return M
