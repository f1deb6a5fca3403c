-- Text as Go prints and encodes it: a server's messages quote what a client sent, whatever bytes that is.

local M = {}

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ["\a"] = "\\a",
  ["\b"] = "\\b", ["\f"] = "\\f", ["\v"] = "\\v" }

local function escape(byte)
  return ESCAPES[byte] or ("\\x%02x"):format(byte:byte())
end

-- text with each byte that is no UTF-8 replaced by what instead(byte) returns.
local function mend(text, instead)
  if utf8.len(text) then return text end
  local parts, at = {}, 1
  while at <= #text do
    local _, odd = utf8.len(text, at)
    parts[#parts + 1] = text:sub(at, odd and odd - 1 or -1)
    if not odd then break end
    parts[#parts + 1] = instead(text:sub(odd, odd))
    at = odd + 1
  end
  return table.concat(parts)
end

-- A string in quotes, as %q prints it (strconv.Quote; letters that Go cannot print stay as they are).
function M.quote(text)
  return '"' .. mend(text:gsub('[%c"\\\127]', escape), escape) .. '"'
end

local function replacement() return "\u{FFFD}" end

-- text with U+FFFD for each byte that is no UTF-8, as encoding/json writes it.
function M.readable(text) return mend(text, replacement) end

return M
