-- The string formats that the server checks in custom resources (github.com/go-openapi/strfmt's names).
--
-- FORMATS[name](text) -> is it one? Formats that are not here are not checked, as the server ignores those it does not know.

local times = require "sandbox.schema.times"

local function matches(pattern)
  return function(text) return text:find(pattern) ~= nil end
end

local function ipv4(text)
  local parts = { text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  for _, part in ipairs(parts) do
    if #part > 3 or tonumber(part) > 255 then return false end
  end
  return parts[1] ~= nil
end

local function ipv6(text)
  if not text:find(":", 1, true) then return false end
  local tail = text:match("([%d.]+)$")
  local words = 8
  if tail and tail:find(".", 1, true) then
    if not ipv4(tail) then return false end
    text, words = text:sub(1, -#tail - 1), 6
    if text:sub(-2) ~= "::" then text = text:sub(1, -2) end
  end
  local head, rest = text:match("^(.-)::(.*)$")
  if rest and rest:find("::", 1, true) then return false end
  local count = 0
  for _, side in ipairs { head or text, rest or "" } do
    if side ~= "" then
      for word in (side .. ":"):gmatch("([^:]*):") do
        if not word:find("^%x%x?%x?%x?$") then return false end
        count = count + 1
      end
    end
  end
  if head then return count < words end
  return count == words
end

local function cidr(text)
  local address, bits = text:match("^(.*)/(%d+)$")
  if not address then return false end
  return ipv4(address) and tonumber(bits) <= 32 or ipv6(address) and tonumber(bits) <= 128
end

local function uuid(version)
  return function(text)
    local plain = text:lower():gsub("%-", "")
    local whole = text:lower():find("^%x+%-?%x+%-?%x+%-?%x+%-?%x+$") and #plain == 32
    if not whole then return false end
    return not version or plain:sub(13, 13) == version and (version == "3" or plain:sub(17, 17):find("[89ab]") ~= nil)
  end
end

local function hostname(text)
  if #text > 255 or text == "" then return false end
  local last
  for label in (text .. "."):gmatch("([^.]*)%.") do
    if not label:find("^%w[%w%-]*$") or label:find("%-$") or #label > 63 then return false end
    last = label
  end
  -- A top level domain has two letters or more; a single label may be anything.
  return not text:find(".", 1, true) or last:find("^%a%a+$") ~= nil
end

local UNITS = { ns = true, us = true, ["µs"] = true, ms = true, s = true, m = true, h = true }

local WORDS = {}
for word in ("ns nano nanosecond us µs micro microsecond ms milli millisecond s sec second m min minute h hr hour d day w wk week")
  :gmatch("%S+") do
  WORDS[word], WORDS[word .. "s"] = true, true
end

local function duration(text)
  local rest, whole = text:gsub("^[-+]", ""), false
  if rest == "0" then return true end
  while rest ~= "" do
    local number, unit, after = rest:match("^(%d*%.?%d*)([^%d.]+)(.*)$")
    if not number or number == "" or number == "." or not UNITS[unit] then break end
    rest, whole = after, true
  end
  if whole and rest == "" then return true end
  local number, word = text:match("^(%d+)%s*(%S+)$")
  return number ~= nil and WORDS[word] ~= nil
end

local function luhn(text)
  local digits, sum = text:gsub("[ %-]", ""), 0
  if not digits:find("^%d+$") or #digits < 13 or #digits > 19 then return false end
  for i = #digits, 1, -1 do
    local digit = digits:byte(i) - 48
    if (#digits - i) % 2 == 1 then digit = digit * 2 > 9 and digit * 2 - 9 or digit * 2 end
    sum = sum + digit
  end
  return sum % 10 == 0
end

local function isbn10(text)
  local sum = 0
  if not text:find("^%d%d%d%d%d%d%d%d%d[%dX]$") then return false end
  for i = 1, 10 do
    local char = text:sub(i, i)
    sum = sum + (11 - i) * (char == "X" and 10 or tonumber(char))
  end
  return sum % 11 == 0
end

local function isbn13(text)
  local sum = 0
  if not text:find("^%d+$") or #text ~= 13 then return false end
  for i = 1, 13 do sum = sum + tonumber(text:sub(i, i)) * (i % 2 == 1 and 1 or 3) end
  return sum % 10 == 0
end

local function isbn(text)
  local plain = text:gsub("[ %-]", "")
  return isbn10(plain) or isbn13(plain)
end

local function rgb(text)
  local parts = { text:match("^rgb%(%s*(%d+)%s*,%s*(%d+)%s*,%s*(%d+)%s*%)$") }
  for _, part in ipairs(parts) do
    if tonumber(part) > 255 then return false end
  end
  return parts[1] ~= nil
end

local function mac(text)
  return text:find("^%x%x[:-]%x%x[:-]%x%x[:-]%x%x[:-]%x%x[:-]%x%x$") ~= nil
    or text:find("^%x%x%x%x%.%x%x%x%x%.%x%x%x%x$") ~= nil
end

local FORMATS = {
  ["date-time"] = function(text)
    if times.seconds(text) then return true end
    return text:find("^%d%d%d%d%-%d%d%-%d%d[T ]%d%d:%d%d:%d%d") ~= nil and times.seconds(text:gsub(" ", "T") .. "Z") ~= nil
  end,
  date = function(text) return #text == 10 and times.seconds(text .. "T00:00:00Z") ~= nil end,
  byte = function(text) return #text % 4 == 0 and text:find("^[%w+/]*=?=?$") ~= nil end,
  uri = function(text) return text:find("^%a[%w+.-]*:[^%s%%]*") ~= nil or text:find("^/[^%s%%]*$") ~= nil end,
  email = matches("^[^@%s<>]+@[^@%s<>]+$"),
  ipv4 = ipv4, ipv6 = ipv6, cidr = cidr, mac = mac, hostname = hostname, duration = duration,
  uuid = uuid(), uuid3 = uuid("3"), uuid4 = uuid("4"), uuid5 = uuid("5"),
  bsonobjectid = matches("^" .. ("%x"):rep(24) .. "$"),
  creditcard = luhn, isbn = isbn, isbn10 = isbn10, isbn13 = isbn13,
  ssn = matches("^%d%d%d[- ]?%d%d[- ]?%d%d%d%d$"),
  hexcolor = function(text) return text:find("^#?%x%x%x$") ~= nil or text:find("^#?%x%x%x%x%x%x$") ~= nil end,
  rgbcolor = rgb,
}

return FORMATS
