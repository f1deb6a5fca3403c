-- Regular expressions as Go writes them (RE2), for `pattern` in schemas of custom resources.
--
-- Lua has none, and a pattern comes from outside: it must not be able to make us search for ever. So a pattern is compiled to
-- a list of instructions and all its threads run side by side over the text (Thompson's way; see Russ Cox,
-- https://swtch.com/~rsc/regexp/regexp2.html): time is the product of both lengths at most. Only "does it match somewhere"
-- is answered. The syntax is that of https://github.com/google/re2/wiki/Syntax without Unicode classes (\p{...}),
-- \C and \Q...\E.

local M = {}

local PROGRAM_MOST = 10000
local REPEAT_MOST = 1000
local WORK_MOST = 20000000 -- instructions times bytes: some seconds

local function fail(what, text) error({ what = what, text = text }, 0) end

-- ---- classes: arrays of { first, last }, with `negated`

local DIGITS, SPACES = { { 48, 57 } }, { { 9, 10 }, { 12, 13 }, { 32, 32 } }
local WORD = { { 48, 57 }, { 65, 90 }, { 95, 95 }, { 97, 122 } }
local PERL = { d = DIGITS, s = SPACES, w = WORD }
local NAMED = { alnum = { { 48, 57 }, { 65, 90 }, { 97, 122 } }, alpha = { { 65, 90 }, { 97, 122 } }, ascii = { { 0, 127 } },
  blank = { { 9, 9 }, { 32, 32 } }, cntrl = { { 0, 31 }, { 127, 127 } }, digit = DIGITS, graph = { { 33, 126 } },
  lower = { { 97, 122 } }, print = { { 32, 126 } }, punct = { { 33, 47 }, { 58, 64 }, { 91, 96 }, { 123, 126 } },
  space = { { 9, 13 }, { 32, 32 } }, upper = { { 65, 90 } }, word = WORD, xdigit = { { 48, 57 }, { 65, 70 }, { 97, 102 } } }

local function inverse(ranges)
  local sorted, new, from = table.move(ranges, 1, #ranges, 1, {}), {}, 0
  table.sort(sorted, function(a, b) return a[1] < b[1] end)
  for _, range in ipairs(sorted) do
    if range[1] > from then new[#new + 1] = { from, range[1] - 1 } end
    from = math.max(from, range[2] + 1)
  end
  new[#new + 1] = { from, 0x10ffff }
  return new
end

local function folded(ranges)
  local new = table.move(ranges, 1, #ranges, 1, {})
  for _, range in ipairs(ranges) do
    for _, shift in ipairs { { 65, 90, 32 }, { 97, 122, -32 } } do
      local first, last = math.max(range[1], shift[1]), math.min(range[2], shift[2])
      if first <= last then new[#new + 1] = { first + shift[3], last + shift[3] } end
    end
  end
  return new
end

local function holds(ranges, code)
  for i = 1, #ranges do
    local range = ranges[i]
    if code >= range[1] and code <= range[2] then return true end
  end
  return false
end

-- ---- parsing: p = { text, at, flags }

local ESCAPES = { a = 7, f = 12, t = 9, n = 10, r = 13, v = 11 }

local function rest(p) return p.text:sub(p.at) end
local function looking(p, text) return p.text:sub(p.at, p.at + #text - 1) == text end

local function take(p)
  local ok, code = pcall(utf8.codepoint, p.text, p.at)
  if not ok then fail("invalid UTF-8", rest(p)) end
  p.at = utf8.offset(p.text, 2, p.at)
  return code
end

local function group_of(name) return PERL[name:lower()] and (name:lower() == name and PERL[name] or inverse(PERL[name:lower()])) end

-- Behind a backslash, at its letter: a code, or a class.
local function escape(p)
  local from = p.at
  if from > #p.text then fail("trailing backslash at end of expression", "") end
  local letter = p.text:sub(from, from)
  if group_of(letter) then
    p.at = from + 1
    return nil, group_of(letter)
  end
  local hex = p.text:match("^x(%x%x)", from) or p.text:match("^x(%b{})", from)
  if hex then
    p.at = from + 1 + #hex
    local code = tonumber((hex:gsub("[{}]", "")), 16)
    if code and code <= 0x10ffff then return code end
  end
  local octal = p.text:match("^0[0-7]?[0-7]?", from)
  if octal then
    p.at = from + #octal
    return tonumber(octal, 8)
  end
  if ESCAPES[letter] then
    p.at = from + 1
    return ESCAPES[letter]
  end
  if letter:find("^%p$") then return take(p) end
  fail("invalid escape sequence", "\\" .. letter)
end

local function class_item(p, ranges)
  local name = p.text:match("^%[:(%^?%l+):%]", p.at)
  if name then
    local ranges_of = NAMED[name:gsub("^%^", "")] or fail("invalid character class range", "[:" .. name .. ":]")
    if name:byte() == 94 then ranges_of = inverse(ranges_of) end
    p.at = p.at + #name + 4
    return table.move(ranges_of, 1, #ranges_of, #ranges + 1, ranges)
  end
  local function one()
    if not looking(p, "\\") then return take(p) end
    p.at = p.at + 1
    return escape(p)
  end
  local from = p.at
  local first, class = one()
  if class then return table.move(class, 1, #class, #ranges + 1, ranges) end
  local last = first
  if looking(p, "-") and not looking(p, "-]") and p.at < #p.text then
    p.at = p.at + 1
    last = one()
    if not last or last < first then fail("invalid character class range", p.text:sub(from, p.at - 1)) end
  end
  ranges[#ranges + 1] = { first, last }
end

local function class(p)
  local from, ranges = p.at, {}
  p.at = p.at + 1
  local negated = looking(p, "^")
  if negated then p.at = p.at + 1 end
  local first = true
  while first or not looking(p, "]") do
    if p.at > #p.text then fail("missing closing ]", p.text:sub(from)) end
    class_item(p, ranges)
    first = false
  end
  p.at = p.at + 1
  if p.flags.i then ranges = folded(ranges) end
  return { "set", negated and inverse(ranges) or ranges }
end

local alternation

local function flags_of(p, text)
  local new, on = {}, true
  for name, value in pairs(p.flags) do new[name] = value end
  for letter in text:gmatch(".") do
    if letter == "-" then on = false else new[letter] = on end
  end
  return new
end

local function group(p)
  local outer = p.flags
  p.at = p.at + 1
  if looking(p, "?") then
    local name = p.text:match("^%?P<([%w_]+)>", p.at)
    local flags, mark = p.text:match("^%?([imsU]*%-?[imsU]*)([:)])", p.at)
    if name then
      p.at = p.at + #name + 4
    elseif flags then
      p.at = p.at + #flags + 2
      p.flags = flags_of(p, flags)
      if mark == ")" then return { "empty" } end -- the flags hold to the end of the enclosing group
    else
      fail("invalid or unsupported Perl syntax", p.text:sub(p.at - 1, p.at + 1))
    end
  end
  local node = alternation(p)
  if not looking(p, ")") then fail("missing closing )", p.text) end
  p.at, p.flags = p.at + 1, outer
  return node
end

local function atom(p)
  local letter = p.text:sub(p.at, p.at)
  if letter == "(" then return group(p) end
  if letter == "[" then return class(p) end
  if letter == "*" or letter == "+" or letter == "?" then fail("missing argument to repetition operator", letter) end
  if letter == "." or letter == "^" or letter == "$" then
    p.at = p.at + 1
    if letter == "." then return { "set", p.flags.s and { { 0, 0x10ffff } } or inverse { { 10, 10 } } } end
    if letter == "^" then return { p.flags.m and "line start" or "start" } end
    return { p.flags.m and "line end" or "end" }
  end
  local code, ranges
  if letter == "\\" then
    p.at = p.at + 1
    local at = p.text:sub(p.at, p.at)
    local place = ({ A = "start", z = "end", b = "boundary", B = "no boundary" })[at]
    if place then
      p.at = p.at + 1
      return { place }
    end
    code, ranges = escape(p)
  else
    code = take(p)
  end
  ranges = ranges or { { code, code } }
  return { "set", p.flags.i and folded(ranges) or ranges }
end

local function repetition(p)
  local node = atom(p)
  local last_operator
  while true do
    local letter = p.text:sub(p.at, p.at)
    local least, comma, most = p.text:match("^{(%d+)(,?)(%d*)}", p.at)
    local operator
    if letter == "*" or letter == "+" or letter == "?" then
      operator, least, most = letter, letter == "+" and 1 or 0, letter == "?" and 1 or nil
    elseif least then
      operator = p.text:match("^%b{}", p.at)
      least = tonumber(least)
      most = comma == "" and least or tonumber(most)
      if least > REPEAT_MOST or most and (most > REPEAT_MOST or most < least) then fail("invalid repeat count", operator) end
    else
      return node
    end
    if last_operator then fail("invalid nested repetition operator", last_operator .. operator) end
    p.at = p.at + #operator
    last_operator = operator
    if looking(p, "?") then
      p.at = p.at + 1 -- lazy: the same for us
      last_operator = operator .. "?"
    end
    node = { "repeat", node, least, most }
  end
end

function alternation(p)
  p.depth = p.depth + 1
  if p.depth > 200 then fail("expression nests too deeply", p.text) end
  local choices, sequence = {}, { "sequence" }
  local flags = p.flags
  while p.at <= #p.text and not looking(p, ")") do
    if looking(p, "|") then
      p.at = p.at + 1
      choices[#choices + 1] = sequence
      sequence = { "sequence" }
    else
      sequence[#sequence + 1] = repetition(p)
    end
  end
  p.flags, p.depth = flags, p.depth - 1
  if #choices == 0 then return sequence end
  choices[#choices + 1] = sequence
  return { "choice", choices }
end

-- ---- compiling: instructions { "set", ranges } | { "split", a, b } | { "jump", a } | { place } | { "match" }

local function compile(program, node)
  if #program > PROGRAM_MOST then fail("expression is too large", "") end
  local kind = node[1]
  if kind == "sequence" then
    for i = 2, #node do compile(program, node[i]) end
  elseif kind == "choice" then
    local ends = {}
    for i, choice in ipairs(node[2]) do
      local split
      if i < #node[2] then
        split = { "split", #program + 2 }
        program[#program + 1] = split
      end
      compile(program, choice)
      if split then
        ends[#ends + 1] = { "jump" }
        program[#program + 1] = ends[#ends]
        split[3] = #program + 1
      end
    end
    for _, jump in ipairs(ends) do jump[2] = #program + 1 end
  elseif kind == "repeat" then
    local _, inner, least, most = table.unpack(node, 1, 4)
    for _ = 1, least do compile(program, inner) end
    if not most then
      local top = #program + 1
      local split = { "split", top + 1 }
      program[top] = split
      compile(program, inner)
      program[#program + 1] = { "jump", top }
      split[3] = #program + 1
    else
      local splits = {}
      for _ = least + 1, most do
        splits[#splits + 1] = { "split", #program + 2 }
        program[#program + 1] = splits[#splits]
        compile(program, inner)
      end
      for _, split in ipairs(splits) do split[3] = #program + 1 end
    end
  elseif kind ~= "empty" then
    program[#program + 1] = node
  end
end

-- ---- running

local function is_word(code) return code ~= nil and holds(WORD, code) end

local function place_holds(place, before, after)
  if place == "start" then return before == nil end
  if place == "end" then return after == nil end
  if place == "line start" then return before == nil or before == 10 end
  if place == "line end" then return after == nil or after == 10 end
  return (is_word(before) ~= is_word(after)) == (place == "boundary")
end

-- Adds a thread and those it leads to without a character.
local function follow(program, at, list, seen, before, after)
  local stack, top = { at }, 1
  while top > 0 do
    at, top = stack[top], top - 1
    if not seen[at] then
      seen[at] = true
      local one = program[at]
      local kind = one[1]
      if kind == "jump" then
        top = top + 1
        stack[top] = one[2]
      elseif kind == "split" then
        stack[top + 1], stack[top + 2] = one[3], one[2]
        top = top + 2
      elseif kind == "set" or kind == "match" then
        list[#list + 1] = at
      elseif place_holds(kind, before, after) then
        top = top + 1
        stack[top] = at + 1
      end
    end
  end
end

local function run(program, codes)
  local threads, before = {}, nil
  for i = 1, #codes + 1 do
    local code, seen = codes[i], {}
    local list = {}
    for _, at in ipairs(threads) do follow(program, at, list, seen, before, code) end
    follow(program, 1, list, seen, before, code)
    threads = {}
    for _, at in ipairs(list) do
      local one = program[at]
      if one[1] == "match" then return true end
      if code and holds(one[2], code) then threads[#threads + 1] = at + 1 end
    end
    before = code
  end
  return false
end

local function codes_of(text)
  local codes = {}
  if utf8.len(text) then
    for _, code in utf8.codes(text) do codes[#codes + 1] = code end
  else
    for i = 1, #text do codes[i] = text:byte(i) end
  end
  return codes
end

local function parse(pattern)
  local p = { text = pattern, at = 1, flags = {}, depth = 0 }
  local node = alternation(p)
  if p.at <= #pattern then fail("unexpected )", pattern) end
  local program = {}
  compile(program, node)
  program[#program + 1] = { "match" }
  return program
end

local known, count = {}, 0

-- A compiled pattern; nil, text (Go's: "error parsing regexp: missing closing ]: `[`").
function M.compile(pattern)
  local found = known[pattern]
  if not found then
    local ok, result = pcall(parse, pattern)
    if not ok then
      if type(result) ~= "table" then error(result, 0) end
      return nil, ("error parsing regexp: %s: `%s`"):format(result.what, result.text)
    end
    if count >= 200 then known, count = {}, 0 end
    found, count = result, count + 1
    known[pattern] = found
  end
  return found
end

-- Does the pattern match somewhere in the text? A pattern that is none matches nothing, and nothing matches in a text that
-- would keep us busy for long (a megabyte, for most patterns).
function M.matches(pattern, text)
  local program = M.compile(pattern)
  if not program or #program * #text > WORK_MOST then return false end
  return run(program, codes_of(text))
end

return M
