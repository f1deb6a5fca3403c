-- Base64 for URLs (RFC 4648, section 5), without padding: continue tokens.

local M = {}

local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

local VALUES = {}
for at = 1, #LETTERS do VALUES[LETTERS:byte(at)] = at - 1 end

function M.encode(text)
  local out = {}
  for at = 1, #text, 3 do
    local a, b, c = text:byte(at, at + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    for place = 0, b and (c and 3 or 2) or 1 do
      local value = bits >> (18 - 6 * place) & 63
      out[#out + 1] = LETTERS:sub(value + 1, value + 1)
    end
  end
  return table.concat(out)
end

-- The text, or nil when it is no base64.
function M.decode(text)
  local out, bits, count = {}, 0, 0
  for at = 1, #text do
    local value = VALUES[text:byte(at)]
    if not value then return nil end
    bits, count = (bits << 6 | value) & 0xFFFFFF, count + 6
    if count >= 8 then
      count = count - 8
      out[#out + 1] = string.char(bits >> count & 0xFF)
    end
  end
  return table.concat(out)
end

return M
