-- lint: what is wrong with the policies of a folder, found without running them.
--
-- M.check(files, settings, options) -> an array of findings {file, line, source (that line), text, severity, check}, by file and line.
--
--   severity  "error": it cannot work, or does nothing; "warning": it fails on some objects, or is surely not meant
--   check     syntax, names, clock, state (lint/names.lua, lint/twice.lua), fields, nil, settings (lint/flow.lua, lint/cases.lua),
--             rows (lint/rows.lua), order (lint/order.lua)
--
-- What is meant as it stands is said in a comment on that line or the one above it: -- lint: allow nil
-- All of it takes a tenth of a second or two, so it is done in slices: the loop has others to serve meanwhile.

local case_paths = require "lint.cases"
local flow = require "lint.flow"
local known_of = require "lint.known"
local lines = require "line"
local names = require "lint.names"
local order = require "lint.order"
local parser = require "syntax.parser"
local rows = require "lint.rows"
local twice = require "lint.twice"
local words = require "lint.words"

local M = {}

local function is_spec(name)
  local base = name:match("[^/]+$")
  return base:match("_spec%.lua$") ~= nil or base:match("^spec_") ~= nil
end

local function sorted_names(files)
  local list = {}
  for name in pairs(files) do
    if name:match("%.lua$") then list[#list + 1] = name end
  end
  table.sort(list)
  return list
end

-- line -> set of checks that a comment allows there.
local function allowed_in(tree)
  local allowed = {}
  for _, comment in ipairs(tree.comments) do
    local list = comment.text:match("lint:%s*allow%s+([%w, ]+)")
    for check in (list or ""):gmatch("%w+") do
      for _, line in ipairs { comment.line, comment.line + 1 } do
        allowed[line] = allowed[line] or {}
        allowed[line][check] = true
      end
    end
  end
  return allowed
end

local ORDER = { error = 1, warning = 2 }

local function sort(findings)
  table.sort(findings, function(a, b)
    if a.file ~= b.file then return a.file < b.file end
    if a.line ~= b.line then return a.line < b.line end
    if a.severity ~= b.severity then return ORDER[a.severity] < ORDER[b.severity] end
    return a.text < b.text
  end)
  return findings
end

-- Gathers findings: each once, none that is allowed.
local function collector(files)
  local findings, given, allowed = {}, {}, {}
  local function found(finding)
    local at = allowed[finding.file] and allowed[finding.file][finding.line]
    local key = finding.file .. ":" .. finding.line .. ":" .. finding.text
    if at and at[finding.check] or given[key] then return end
    given[key] = true
    finding.source = lines.shown(files[finding.file], finding.line)
    findings[#findings + 1] = finding
  end
  return found, findings, allowed
end

local SLICE = 0.003 -- seconds

-- A function that lets others go on, now and then, where that is possible.
local function slices()
  if not coroutine.isyieldable() then return function() end end
  local began = loop.now()
  return function()
    if loop.now() - began < SLICE then return end
    loop.sleep(0)
    began = loop.now()
  end
end

local function names_of(map)
  local list = {}
  for name in pairs(map) do list[#list + 1] = name end
  return list
end

-- (waits, in a task) files: names to texts, as a folder has them. settings: those in force; nil: those of settings.yaml. options:
-- {specs = false: specs and cases are not looked at; pause: a function that is called often, in place of letting others go on}.
function M.check(files, settings, options)
  local with_specs = not options or options.specs ~= false
  local pause = options and options.pause or slices()
  local found, findings, allowed = collector(files)
  local globals, trees, broken = names_of(words.globals()), {}, {}
  for _, file in ipairs(sorted_names(files)) do
    local tree, mistake
    if with_specs or not is_spec(file) then tree, mistake = parser.parse(files[file]) end
    if tree then
      allowed[file] = allowed_in(tree)
      names.check(tree, file, globals, is_spec(file), found)
      twice.check(tree, file, found)
    elseif mistake then
      found { check = "syntax", severity = "error", file = file, line = mistake.line, text = mistake.text }
      broken[#broken + 1] = file
    end
    if tree and not is_spec(file) then
      order.check(tree, file, found)
      trees[file] = tree
    end
    pause()
  end
  local known = known_of.gather(files, settings, pause, trees["phdeployment.lua"])
  local run = flow.new(trees, known, { found = found, pause = pause, broken = broken })
  run:run()
  rows.check(run.tables, trees, found, pause)
  if with_specs then case_paths.check(run, known.cases, found) end
  return sort(findings)
end

-- What is told of a finding, in one line.
function M.sentence(finding)
  return ("%s:%d: %s: %s"):format(finding.file, finding.line, finding.severity, finding.text)
end

return M
