-- What ConfigMaps and Secrets share: bags of keys with a common bound, which may be sealed; and base64 (RFC 4648).

local checks = require "sandbox.kinds.checks"

local M = {}

M.MOST = 1024 * 1024 -- bytes of all values together

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local letters, numbers = {}, {}
for i = 1, 64 do
  letters[i - 1] = ALPHABET:sub(i, i)
  numbers[ALPHABET:byte(i)] = i - 1
end

function M.encode(bytes)
  local parts = {}
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local number = a << 16 | (b or 0) << 8 | (c or 0)
    parts[#parts + 1] = letters[number >> 18] .. letters[number >> 12 & 63]
      .. (b and letters[number >> 6 & 63] or "=") .. (c and letters[number & 63] or "=")
  end
  return table.concat(parts)
end

-- nil if it is no base64.
function M.decode(text)
  text = text:gsub("[\r\n]", "")
  local body = text:gsub("=+$", "")
  if #text % 4 ~= 0 or #text - #body > 2 then return nil end
  local parts = {}
  for i = 1, #body, 4 do
    local number, count = 0, math.min(4, #body - i + 1)
    for j = 0, 3 do
      local digit = j < count and numbers[body:byte(i + j)] or j >= count and 0
      if not digit then return nil end
      number = number << 6 | digit
    end
    parts[#parts + 1] = string.char(number >> 16, number >> 8 & 255, number & 255):sub(1, count - 1)
  end
  return table.concat(parts)
end

-- Bytes behind a base64 text, without decoding it.
function M.decoded_size(text)
  return #text // 4 * 3 - (text:sub(-2) == "==" and 2 or text:sub(-1) == "=" and 1 or 0)
end

-- Once `immutable` is true it stays so, and these fields stay as they are.
function M.check_immutable(errs, new, old, ...)
  if old.immutable ~= true then return end
  local words = "field is immutable when `immutable` is set"
  if new.immutable ~= true then checks.forbidden(errs, "immutable", words) end
  for _, name in ipairs { ... } do
    if not json.equal(new[name] or {}, old[name] or {}) then checks.forbidden(errs, name, words) end
  end
end

return M
