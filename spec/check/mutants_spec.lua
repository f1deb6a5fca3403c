-- moonphase check itself is checked: every planted fault of mutants.lua must be found, and by whom is told in a table.
--
-- Each fault is put into a copy of the shipped policies in memory, and the steps of `moonphase check` look at it: every reachable
-- state first, which must find nearly all of them alone; what it does not find, lint or the folder's specs must. A step is over at the
-- first thing that it finds. The walk is bounded by numbers of events and states, so that the same is found on every machine: one event
-- of the whole world without faults, or the few events that a row of mutants.lua names. In all of these worlds nothing is wrong with the
-- shipped policies themselves.

local include = require "include"
local lint = require "lint"
local mutants = include "spec/check/mutants.lua"
local policies = require "policies"
local suite = require "suite"
local walk = require "check.walk"

log.configure("error", "text") -- a policy that fails says so, thousands of times

local STATES = 8000  -- of each walk, at most
local BY_STATES = 30 -- so many the walk must find alone
local AGAIN = { 1, 3, 7, 8, 14, 17, 18, 26 } -- known faults of the reference that must be among them

-- Under AddressSanitizer a walk takes ten times as long, and the same C is walked by a few of them.
local ALL = not (process.env "MOONPHASE" or ""):find("asan", 1, true)
local tried = {}
for i, mutant in ipairs(mutants) do
  if ALL or i % 8 == 1 then tried[#tried + 1] = mutant end
end

local SHIPPED = assert(policies.files "policies")

-- ---------------------------------------------------------------- planting

local function occurrences(text, part)
  local count, at = 0, 1
  while true do
    local first, last = text:find(part, at, true)
    if not first then return count end
    count, at = count + 1, last + 1
  end
end

-- The shipped files with the fault in them. Raises with a sentence when an edit does not fit any more.
local function planted(mutant)
  local files = {}
  for name, text in pairs(SHIPPED) do files[name] = text end
  for _, edit in ipairs { mutant, table.unpack(mutant.also or {}) } do
    local text = files[edit.file] or error(("mutants.lua: %s: there is no file %s any more"):format(mutant.name, edit.file), 0)
    local count = occurrences(text, edit.from)
    if count ~= 1 then
      error(("mutants.lua: %s: %s has %d times what it should have once, so the fault cannot be planted: write the edit anew: %s"):format(
        mutant.name, edit.file, count, edit.from), 0)
    end
    local first, last = text:find(edit.from, 1, true)
    files[edit.file] = text:sub(1, first - 1) .. edit.to .. text:sub(last + 1)
  end
  return files
end

-- ---------------------------------------------------------------- finding

local function overlay(settings, over)
  local copy = {}
  for name, value in pairs(settings) do copy[name] = value end
  for name, value in pairs(over or {}) do copy[name] = type(value) == "table" and overlay(copy[name], value) or value end
  return copy
end

-- The walk in the world of a row of mutants.lua ({}: one event of the whole one).
local function walked(files, row)
  local generation, failure = policies.generation(files, "mutant")
  if not generation then return { states = 0, failure = { name = "load", text = failure.text } } end
  local only
  for name in (row.only or ""):gmatch("%S+") do
    only = only or {}
    only[#only + 1] = name
  end
  local result = walk.run { generation = generation, base_settings = overlay(assert(policies.settings(files)), row.settings), files = files,
    only = only, events = row.events or 1, faults = row.faults or 0, limit = STATES, shrink = false }
  generation:close()
  return result
end

-- Each step: what it finds in these files, a few words; nil: nothing.
local STEPS = {
  { name = "states", find = function(files, mutant)
    local result = walked(files, mutant)
    return result.failure and ("%s: %s (%d states)"):format(result.failure.name, result.failure.text, result.states)
  end },
  { name = "lint", find = function(files)
    for _, finding in ipairs(lint.check(files, nil, { specs = false })) do
      if finding.severity == "error" then return finding.text end
    end
  end },
  { name = "specs", find = function(files)
    local found
    suite.run(files, { label = "mutant", tell = function(test)
      if not test.ok then found = found or test.file .. ": " .. test.name end
    end })
    return found
  end },
}

-- ---------------------------------------------------------------- the tests

local found_by, told = {}, {}

local function title(mutant)
  return mutant.name .. (mutant.fault and (" (fault %d)"):format(mutant.fault) or "")
end

describe("moonphase check finds:", function()
  for _, mutant in ipairs(tried) do
    it(title(mutant), function()
      local files = planted(mutant)
      for _, step in ipairs(STEPS) do
        local what = step.find(files, mutant)
        if what then
          found_by[mutant] = step.name
          told[#told + 1] = ("  %-7s %s\n          %s"):format(step.name, title(mutant), what:gsub("%s+", " "):sub(1, 200))
          return
        end
      end
      error(("no step finds it, and people would see: %s"):format(mutant.shows), 0)
    end)
  end
end)

describe("of the planted faults", function()
  it("none is found in the shipped policies, wherever one was looked for", function()
    local done = {}
    for _, mutant in ipairs(tried) do
      local world = ("%s, %d events, %d faults"):format(mutant.only or "everything", mutant.events or 1, mutant.faults or 0)
      if not done[world] then
        local result = walked(SHIPPED, mutant)
        assert.is_nil(result.failure and world .. ": " .. result.failure.name .. ": " .. result.failure.text)
      end
      done[world] = true
    end
  end)

  if not ALL then return end

  it("the states alone find at least 30, and which step found which is told", function()
    local by_states = 0
    for _, step in pairs(found_by) do by_states = by_states + (step == "states" and 1 or 0) end
    io.write(table.concat(told, "\n"), ("\n  %d of %d are found by the states alone\n"):format(by_states, #mutants))
    assert.is_true(by_states >= BY_STATES, "the states alone find " .. by_states)
  end)

  it("the states find each of which mutants.lua does not say why they cannot, and none of the others", function()
    for _, mutant in ipairs(mutants) do
      local by = found_by[mutant] or "nothing"
      assert.is_true((by == "states") == not mutant.beyond, title(mutant) .. " is found by " .. by)
    end
  end)

  it("some are faults 1, 3, 7, 8, 14, 17, 18 and 26 again, and the states find one of each", function()
    for _, number in ipairs(AGAIN) do
      local there = false
      for _, mutant in ipairs(mutants) do there = there or mutant.fault == number and found_by[mutant] == "states" end
      assert.is_true(there, "fault " .. number)
    end
  end)
end)
