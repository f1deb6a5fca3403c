-- Lua 5.4's words: a text becomes tokens, each with its line.
--
-- tokens(text) -> {kinds, values, lines, comments}: three arrays of the same length. A kind is "name", "string", "number",
-- "end of file", or the keyword or sign itself; values are names, numbers and the strings' contents. A mistake raises {line, text}.
-- (Lua 5.4 reference manual, 3.1.)

local M = {}

local KEYWORDS = {}
for word in ([[and break do else elseif end false for function goto if in local nil not or repeat return then true until
  while]]):gmatch("%a+") do
  KEYWORDS[word] = true
end
M.KEYWORDS = KEYWORDS

-- Signs by their length, longest first.
local SIGNS = { {}, {}, {} }
for sign in ("... << >> // == ~= <= >= :: .. + - * / % ^ # & ~ | < > = ( ) { } [ ] ; : , ."):gmatch("%S+") do
  SIGNS[#sign][sign] = true
end

local ESCAPES = { a = "\a", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", v = "\v", ["\\"] = "\\", ['"'] = '"', ["'"] = "'",
  ["\n"] = "\n", ["\r"] = "\n" }

local function wrong(state, text)
  error({ line = state.line, text = text }, 0)
end

-- Lines that end between two places.
local function count_lines(state, from, to)
  local at = from
  while true do
    at = state.text:find("\n", at, true)
    if not at or at > to then return end
    state.line = state.line + 1
    at = at + 1
  end
end

-- The text of a long bracket that begins at `at`, and the place behind it; nil if none begins there.
local function long_bracket(state, at, what)
  local _, open, level = state.text:find("^%[(=*)%[", at)
  if not open then return nil end
  local close, last = state.text:find("]" .. level .. "]", open + 1, true)
  if not close then wrong(state, "this " .. what .. " is not ended: ]" .. level .. "] is missing") end
  local inner = state.text:sub(open + 1, close - 1):gsub("\r\n?", "\n"):gsub("^\n", "")
  local first = state.line
  count_lines(state, at, last)
  return inner, last + 1, first
end

-- One escape behind a backslash at `at`: its bytes, and the place behind it.
local function escape(state, at)
  local text = state.text
  local letter = text:sub(at, at)
  if ESCAPES[letter] then
    if letter == "\n" then state.line = state.line + 1 end
    return ESCAPES[letter], at + 1
  end
  local hex = text:match("^x(%x%x)", at)
  if hex then return string.char(tonumber(hex, 16)), at + 3 end
  local digits = text:match("^%d%d?%d?", at)
  if digits and tonumber(digits) < 256 then return string.char(tonumber(digits)), at + #digits end
  local code = text:match("^u{(%x+)}", at)
  if code then return utf8.char(tonumber(code, 16)), at + #code + 3 end
  local space = text:match("^z%s*", at)
  if space then
    count_lines(state, at, at + #space - 1)
    return "", at + #space
  end
  wrong(state, "\\" .. letter .. " is no escape in a text; a backslash itself is \\\\")
end

local function quoted(state, at, quote)
  local parts, text = {}, state.text
  at = at + 1
  while true do
    local stop = text:find("[\\\n" .. quote .. "]", at)
    local sign = stop and text:sub(stop, stop)
    if not stop or sign == "\n" then wrong(state, "this text is not ended: " .. quote .. " is missing at its end") end
    parts[#parts + 1] = text:sub(at, stop - 1)
    if sign == quote then return table.concat(parts), stop + 1 end
    parts[#parts + 1], at = escape(state, stop + 1)
  end
end

local function number(state, at)
  local text = state.text
  local digits = text:match("^0[xX][%x.]*", at)
  local exponent = digits and "[pP]" or "[eE]"
  digits = digits or text:match("^[%d.]+", at)
  local rest = text:match("^" .. exponent .. "[+-]?%d*", at + #digits) or ""
  local word = digits .. rest
  local value = tonumber(word)
  if not value or text:find("^[%w_]", at + #word) then
    wrong(state, text:match("^[%w_.]+", at) .. " is no number")
  end
  return value, at + #word
end

local function add(state, kind, value, line)
  local n = state.count + 1
  state.kinds[n], state.values[n], state.lines[n], state.count = kind, value, line or state.line, n
end

-- A comment; the place behind it.
local function comment(state, at)
  local text, line = state.text, state.line
  local inner, behind = long_bracket(state, at + 2, "comment")
  if not inner then
    behind = text:find("\n", at, true) or #text + 1
    inner = text:sub(at + 2, behind - 1)
  end
  state.comments[#state.comments + 1] = { line = line, text = inner }
  return behind
end

local QUOTED = "; a text stands between straight quotes: \"...\""
local MEANT = { ["!"] = "; not equal is ~=", ["“"] = QUOTED, ["”"] = QUOTED, ["„"] = QUOTED, ["‘"] = QUOTED, ["’"] = QUOTED }

local function sign(state, at)
  for length = 3, 1, -1 do
    local word = state.text:sub(at, at + length - 1)
    if SIGNS[length][word] then
      add(state, word)
      return at + length
    end
  end
  local odd = state.text:match("^[%z\1-\127\194-\244][\128-\191]*", at) or "?"
  if odd:find "^%c$" then odd = ("\\x%02x"):format(odd:byte()) end -- a NUL would end the message
  wrong(state, "the sign " .. odd .. " has no meaning in Lua" .. (MEANT[odd] or ""))
end

-- What is no name and no sign of one byte; the place behind it.
local function other(state, at)
  local text = state.text
  local first = text:sub(at, at)
  if first == '"' or first == "'" then
    local line = state.line
    local value, behind = quoted(state, at, first)
    add(state, "string", value, line)
    return behind
  end
  if text:find("^%.?%d", at) then
    local value, behind = number(state, at)
    add(state, "number", value)
    return behind
  end
  local long, behind, line = long_bracket(state, at, "text")
  if long then
    add(state, "string", long, line)
    return behind
  end
  return sign(state, at)
end

-- What begins with a byte: "name", or a sign that is no part of a longer one.
local BEGINS = {}
for byte = 0, 127 do
  local letter = string.char(byte)
  if letter:find "[%a_]" then BEGINS[byte] = "name" end
  if ("+*%^#&|(){}];,"):find(letter, 1, true) then BEGINS[byte] = letter end
end
-- Signs that may go on, and with what.
local LONGER = { [61] = "=", [46] = "." }
local GOES_ON = { [61] = true, [46] = true }
for byte = 48, 57 do GOES_ON[byte] = true end

function M.tokens(text)
  local state = { text = text, line = 1, count = 0, kinds = {}, values = {}, lines = {}, comments = {} }
  local kinds, values, lines, find, sub = state.kinds, state.values, state.lines, string.find, string.sub
  local at = find(text, "[^ \t\r\f\v]", text:match("^#[^\n]*()") or 1)
  while at do
    local byte = text:byte(at)
    local begins = BEGINS[byte] or LONGER[byte] and not GOES_ON[text:byte(at + 1)] and LONGER[byte]
    if begins == "name" then
      local _, last = find(text, "^[%w_]*", at + 1)
      local word, n = sub(text, at, last), state.count + 1
      kinds[n], values[n], lines[n], state.count = KEYWORDS[word] and word or "name", word, state.line, n
      at = last + 1
    elseif begins then
      local n = state.count + 1
      kinds[n], lines[n], state.count = begins, state.line, n
      at = at + 1
    elseif byte == 10 then
      state.line, at = state.line + 1, at + 1
    elseif byte == 45 and text:byte(at + 1) == 45 then
      at = comment(state, at)
    else
      at = other(state, at)
    end
    at = find(text, "[^ \t\r\f\v]", at)
  end
  add(state, "end of file")
  return state
end

return M
