-- Base64 (RFC 4648, padded), as ENGINE_PREDICTOR wants its JSON.

local M = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

function M.encode(bytes)
  local out, letters = {}, {}
  for i = 1, #ALPHABET do letters[i - 1] = ALPHABET:sub(i, i) end
  for i = 1, #bytes, 3 do
    local a, b, c = bytes:byte(i, i + 2)
    local word = a << 16 | (b or 0) << 8 | (c or 0)
    out[#out + 1] = letters[word >> 18] .. letters[word >> 12 & 63]
      .. (b and letters[word >> 6 & 63] or "=") .. (c and letters[word & 63] or "=")
  end
  return table.concat(out)
end

return M
