-- The canonical text of a Kubernetes quantity, as the server writes it back ("0.5" is "500m", "1024Mi" is "1Gi").
--
-- The form keeps the family of its suffix: decimal (n u m k M G T P E), binary (Ki ... Ei) or exponent (e3); in it the
-- largest suffix is taken that leaves no fraction. A binary one below 1024 becomes decimal. What is finer than a
-- billionth is rounded away from zero. (k8s.io/apimachinery/pkg/api/resource says so in its documentation.)

local M = {}

local DECIMAL = { n = -9, u = -6, m = -3, [""] = 0, k = 3, M = 6, G = 9, T = 12, P = 15, E = 18 }
local NAMES = {}
for suffix, exponent in pairs(DECIMAL) do NAMES[exponent] = suffix end
local BINARY = { Ki = 1, Mi = 2, Gi = 3, Ti = 4, Pi = 5, Ei = 6 }
local BINARY_NAMES = { "Ki", "Mi", "Gi", "Ti", "Pi", "Ei" }

-- Adds one to a text of digits.
local function increment(digits)
  local head, last, nines = digits:match("^(.-)([0-8])(9*)$")
  if not head then return "1" .. ("0"):rep(#digits) end
  return head .. last + 1 .. ("0"):rep(#nines)
end

-- digits * 10^exponent with a suffix of its own.
local function decimal(sign, digits, exponent, style)
  digits = digits:gsub("^0+", "")
  local zeros = #digits:match("0*$")
  digits, exponent = digits:sub(1, #digits - zeros), exponent + zeros
  if digits == "" then return "0" end
  if exponent < -9 then
    local cut = -9 - exponent
    digits, exponent = cut < #digits and digits:sub(1, #digits - cut) or "0", -9
    digits = increment(digits)
    return decimal(sign, digits, exponent, style)
  end
  local to = math.min(exponent - exponent % 3, style == "exponent" and exponent or 18)
  digits = digits .. ("0"):rep(exponent - to)
  if style == "exponent" then return sign .. digits .. (to ~= 0 and "e" .. to or "") end
  return sign .. digits .. NAMES[to]
end

local function binary(sign, whole, fraction, power, text)
  local number = tonumber(whole == "" and "0" or whole)
  local most = math.type(number) == "integer" and number < 1 << (62 - 10 * power) and power < 6
  if not most then return quantity.add(text, "0") end
  local bytes = number << (10 * power)
  if fraction:find("[1-9]") then
    local part = tonumber("0." .. fraction) * 2.0 ^ (10 * power)
    if bytes == 0 and part < 1024 then
      return decimal(sign, ("%.9f"):format(part):gsub("%.", ""), -9)
    end
    bytes = bytes + math.ceil(part)
  end
  if bytes < 1024 then return decimal(sign, ("%d"):format(bytes), 0) end
  local to = 0
  while bytes % 1024 == 0 and to < 6 do bytes, to = bytes // 1024, to + 1 end
  return sign .. ("%d"):format(bytes) .. (BINARY_NAMES[to] or "")
end

local function canonical(text)
  local sign, whole, fraction, suffix = text:match("^([+-]?)(%d*)%.?(%d*)(%a*[+-]?%d*)$")
  if not sign or whole == "" and fraction == "" then return nil end
  if not quantity.add(text, "0") then return nil end -- the grammar, and its bounds
  if sign == "+" then sign = "" end
  if BINARY[suffix] then return binary(sign, whole, fraction, BINARY[suffix], text) end
  local exponent = DECIMAL[suffix]
  if exponent then return decimal(sign, whole .. fraction, exponent - #fraction) end
  exponent = math.tointeger(tonumber(suffix:match("^[eE]([+-]?%d+)$")))
  return exponent and decimal(sign, whole .. fraction, exponent - #fraction, "exponent") or nil
end

local known, count = {}, 0 -- a cache: the same few texts come again and again

-- The canonical text; nil if it is no quantity.
function M.canonical(text)
  local found = known[text]
  if found == nil then
    found = canonical(text) or false
    if count >= 1000 then known, count = {}, 0 end
    known[text], count = found, count + 1
  end
  return found or nil
end

return M
