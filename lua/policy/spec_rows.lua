-- Which rows of `rules` and `phases` a spec reached: coverage by rule.
--
-- A row counts as reached when it held in a decision: a failure row with its evidence, a phase row as the
-- phase. Nothing may be kept between two calls of a policy state, so each run says at once what it reached.

local rules = require "moonphase.rules"

local M = {}

local function is_rows(value)
  return type(value) == "table" and type(value.rows) == "table" and type(value.judge) == "function"
end

local function name_of(row)
  if type(row) ~= "table" then return "?" end
  local name = row.name or row[1]
  local reason = type(row.reason) == "string" and row.reason ~= name and " (" .. row.reason .. ")" or ""
  return tostring(name) .. reason
end

-- The tables of rows that these modules return, alone or in a field: an array of {module, field, rows, of}.
local function tables_of(modules)
  local found = {}
  local function take(module, field, value)
    if is_rows(value) then found[#found + 1] = { module = module, field = field, of = value } end
  end
  for _, module in ipairs(modules) do
    local value = require(module)
    take(module, "", value)
    for field, inner in pairs(type(value) == "table" and not is_rows(value) and value or {}) do
      if type(field) == "string" then take(module, field, inner) end
    end
  end
  return found
end

-- Every row of the modules: an array of {module, field, kind = "rules" | "phases", names}.
function M.list(modules)
  local all = json.array {}
  for i, one in ipairs(tables_of(modules)) do
    local names = json.array {}
    for j, row in ipairs(one.of.rows) do names[j] = name_of(row) end
    all[i] = { module = one.module, field = one.field, kind = one.of.first and "rules" or "phases", names = names }
  end
  return all
end

-- Run body(...) and give back its result and the rows that held meanwhile: an array of {number in M.list, row}.
function M.during(modules, body, ...)
  local reached, tables, count = {}, tables_of(modules), 0
  rules.listen(function(of, row)
    for i, one in ipairs(tables) do
      if one.of == of then
        local key = i * 100000 + row
        if not reached[key] then count = count + 1 end
        reached[key] = true
      end
    end
  end)
  local result = body(...)
  rules.listen(nil)
  local list = json.array {}
  for key in pairs(reached) do list[#list + 1] = json.array { key // 100000, key % 100000 } end
  return result, list
end

-- After a body that raised: nobody listens any more.
function M.reset()
  rules.listen(nil)
  return true
end

-- What a wrapped spec file returns (spec.lua): its tests as functions that the host can call by name.
function M.module(tests)
  return {
    list = tests.list,
    rows = M.list,
    reset = M.reset,
    run = function(i, modules)
      local _, rows = M.during(modules or {}, tests.run, i)
      return { rows = rows }
    end,
  }
end

return M
