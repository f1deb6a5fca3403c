-- Names of groups as label values, and back: the escaping that PrimeHub's parts agree on.
--
-- A lowercase ASCII letter or a digit stays, every other byte of the UTF-8 text becomes "-" and two
-- hex digits, and "escaped-" stands before it: `ml-team` is `escaped-ml-2dteam`. (ASCII, not Unicode:
-- PrimeHub's Go code leaves é as it is, and then the label is invalid.)
--
-- A label value holds 63 characters. A name that needs more, and the empty one, become the
-- beginning of their escaped form, "--", and 16 hex digits of the name's SHA-256: always a valid
-- value, the same for the same name, and never the escaped form of another name: in those no
-- hyphen follows a hyphen but the prefix's own.

local M = {}

local PREFIX = "escaped-"
local MAX = 63
local DIGITS = 16

local function shortened(escaped, name)
  local kept = MAX - #PREFIX - 2 - DIGITS
  local head = ""
  for unit in escaped:gmatch("-?%w%w?") do
    -- a unit is "-xx", or one or two plain characters
    if #head + #unit > kept then break end
    head = head .. unit
  end
  return PREFIX .. head .. "--" .. digest.sha256(name):sub(1, DIGITS)
end

function M.escape(name)
  local escaped = name:gsub("[^a-z0-9]", function(c) return ("-%02x"):format(c:byte()) end)
  if escaped == "" or #PREFIX + #escaped > MAX then return shortened(escaped, name) end
  return PREFIX .. escaped
end

-- The name again; nil if `label` was shortened or is none of ours.
function M.unescape(label)
  local escaped = label:match("^escaped%-(.+)$")
  if not escaped then return nil end
  local name = escaped:gsub("-(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  if escaped:gsub("-%x%x", ""):find("[^a-z0-9]") then return nil end
  return name
end

-- Whether a text can be the value of a label: at most 63 letters, digits, - _ . with a letter or digit at both ends; or
-- empty. (Kubernetes, "Labels and Selectors: syntax and character set".)
function M.is_value(value)
  if type(value) ~= "string" or #value > MAX then return false end
  return value == "" or value:find("^%w[%w_.-]*$") ~= nil and value:find("%w$") ~= nil
end

-- Whether a text can be a label's key: a name like a value, but not empty, with or without a DNS subdomain and "/" before it.
function M.is_key(key)
  if type(key) ~= "string" then return false end
  local prefix, name = key:match("^([^/]*)/([^/]*)$")
  if not prefix then name = key end
  if name == "" or not M.is_value(name) then return false end
  return prefix == nil or #prefix <= 253 and prefix:find("^[a-z0-9][a-z0-9.-]*$") ~= nil and prefix:find("[a-z0-9]$") ~= nil
end

return M
