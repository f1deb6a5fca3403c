-- The JSON that clients send, read as Go reads it.
--
-- RFC 8259 leaves open what a text means that is no Unicode; json.decode refuses it, so that nothing odd gets into the operator. A real
-- API server takes it: each byte that is no UTF-8 and each \u escape that is half of a pair become U+FFFD (encoding/json, Unmarshal).
-- Text that is as it should be is read once; only what was refused is mended and tried again.

local go_text = require "sandbox.go_text"

local M = {}

-- The first sentence of a JSON parser of Go about text that is none, as far as can be told.
function M.trouble(body)
  local first = body:match("^%s*(.)")
  if not first then return "unexpected end of JSON input" end
  if not first:find('[%[{"%-%dtfn]') then
    return ("invalid character '%s' looking for beginning of value"):format(utf8.char(first:byte()))
  end
  return "unexpected end of JSON input"
end

local function is_high(code) return code >= 0xD800 and code < 0xDC00 end
local function is_low(code) return code >= 0xDC00 and code < 0xE000 end

-- text with \ufffd for each escape that is half of a surrogate pair without the other half. Behind a first half the next escape is read
-- with it, and not with what follows, even if it is no second half (so does the server's json-iterator).
local function mend_escapes(text)
  local parts, kept = {}, 1
  local behind_first, is_pair
  for from, letter, digits, behind in text:gmatch("()\\(.)(%x?%x?%x?%x?)()") do
    local code = letter == "u" and #digits == 4 and tonumber(digits, 16) or 0
    local is_half, is_second = is_high(code) or is_low(code), from == behind_first
    if not is_second then
      local next_code = is_high(code) and text:match("^\\u(%x%x%x%x)", behind)
      behind_first, is_pair = next_code and behind, next_code and is_low(tonumber(next_code, 16))
    end
    if is_half and not is_pair then
      parts[#parts + 1] = text:sub(kept, from - 1) .. "\\ufffd"
      kept = behind
    end
    if is_second then is_pair = false end
  end
  return table.concat(parts) .. text:sub(kept)
end

-- -> value (json.null for null) | nil: no JSON
function M.decode(text)
  local value = json.decode(text)
  if value ~= nil then return value end
  local mended = mend_escapes(go_text.readable(text))
  if mended ~= text then return json.decode(mended) end
end

return M
