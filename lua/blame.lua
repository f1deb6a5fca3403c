-- Whom an error is told to: people who edit a policies folder, in their file, on their line, in words that say what to do.
--
-- Lua blames the function that raised: for a row of `rules` that lacks a column that is a helper inside of moonphase, which nobody can
-- edit; and it tells of a syntax error in its own words. What is known better is said here: a row's own line (the helpers name the row
-- by its number), the words of our own parser, or else the first file of the folder on the way to the error. Only failures come
-- here, so nothing of it is loaded while all is well.

local lines = require "line"

local M = {}

local TABLES = { rules = true, phases = true, invariants = true }

local function at(failure, files, file, line, text)
  local told = {}
  for k, v in pairs(failure) do told[k] = v end
  told.file, told.line, told.text, told.source = file, line, text or failure.text, lines.shown(files[file], line)
  return told
end

-- ---------------------------------------------------------------- syntax

local function mistake(files, failure)
  local source = files[failure.file or ""]
  if not source or not failure.file:match("%.lua$") or not failure.text:find(" near ['<]") then return nil end
  local tree, wrong = require("syntax.parser").parse(source)
  if tree then return nil end
  return at(failure, files, failure.file, wrong.line, wrong.text)
end

-- ---------------------------------------------------------------- rows

local function text_in(item, name)
  for i, inner in ipairs(item.value.is == "table" and item.value.items or {}) do
    local is_it = inner.is == "field" and inner.key.is == "string" and inner.key.value == name or name == 1 and i == 1 and inner.is == "item"
    if is_it and inner.value.is == "string" then return inner.value.value end
  end
end

-- The line of this row in a tree: the row of that number which is called so.
local function line_of_row(tree, kind, number, name)
  for _, node in ipairs(require("syntax.lines").tables(tree, kind)) do
    local rows = {}
    for _, item in ipairs(node.items) do
      if item.is == "item" then rows[#rows + 1] = item end
    end
    local row = rows[number == "last" and #rows or number]
    if row and (number == "last" or name == "?" or text_in(row, "name") == name or text_in(row, 1) == name) then return row.line end
  end
end

-- Specs last: they may have small tables of their own.
local function lua_files(files)
  local names = {}
  for file in pairs(files) do
    if file:match("%.lua$") then names[#names + 1] = file end
  end
  table.sort(names, function(a, b)
    local first, second = a:find("_spec%.lua$") ~= nil, b:find("_spec%.lua$") ~= nil
    if first ~= second then return second end
    return a < b
  end)
  return names
end

local function row(files, failure)
  local number, kind, name = failure.text:match("^row (%d+) of the (%l+) %((.-)%)")
  if not number and failure.text:find("^no row of the phases holds") then number, kind, name = "last", "phases", "?" end
  if not TABLES[kind or ""] then return nil end
  for _, file in ipairs(lua_files(files)) do
    local tree = files[file]:find(kind, 1, true) and require("syntax.parser").parse(files[file])
    local line = tree and line_of_row(tree, kind, tonumber(number) or number, name)
    if line then return at(failure, files, file, line) end
  end
end

-- ---------------------------------------------------------------- helpers of moonphase

-- The first place of the folder on the way to what a helper raised.
local function caller(files, failure)
  if not (failure.file or ""):find("^moonphase/") then return nil end
  for file, line in (failure.traceback or ""):gmatch("([^\n]-%.lua):(%d+): in ") do
    if files[file] then return at(failure, files, file, tonumber(line)) end
  end
end

-- The PolicyError as it concerns who edits these files; the same one where it does already.
function M.of(files, failure)
  if type(failure.text) ~= "string" then return failure end
  local told = mistake(files, failure) or row(files, failure) or caller(files, failure)
  -- a spec is loaded with words of our own in front of its first line
  local is_first = not told and failure.line == 1 and files[failure.file or ""]
  return told or is_first and at(failure, files, failure.file, 1) or failure
end

return M
