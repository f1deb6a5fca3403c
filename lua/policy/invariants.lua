-- A table of invariants: what must be so, whatever happens.
--
--   return invariants {
--     { name = "stopped is empty", when = "always",
--       given = function(v) return v.phase == "Stopped" end,
--       holds = function(v) return #v.pods == 0 end,
--       text = "Stopped is told while {why}" },
--   }
--
-- Each row is tried with a view `v` of one moment (lua/types/policy.lua, View): `always` at each, `step` where there is a
-- moment before it (v.previous), `settled` only where nothing goes on any more. A row whose `given` does not hold says
-- nothing. Where `holds` answers nil or false, the row is violated; a table that it returns behind that is evidence, whose
-- fields the text may name, as it may name those of the view.
--
-- The same rows serve the host (lua/check/invariants.lua, in Lua of its own) and policies/invariants.lua, so nothing is
-- asked of either here.

local M = {}

local WHEN = { always = true, step = true, settled = true }
local KEYS = { name = true, when = true, given = true, holds = true, text = true }

local function trouble_of(row)
  if type(row) ~= "table" then return "is no table" end
  for _, field in ipairs { "name", "when", "holds", "text" } do
    if row[field] == nil then return ("has no `%s`"):format(field) end
  end
  for field in pairs(row) do
    if not KEYS[field] then return ("has a key `%s`, which means nothing"):format(tostring(field)) end
  end
  if not WHEN[row.when] then return ("has `when = %q`: it is always, step or settled"):format(tostring(row.when)) end
  for _, field in ipairs { "given", "holds" } do
    if row[field] ~= nil and type(row[field]) ~= "function" then
      return ("has a `%s` that is no function and no predicate"):format(field)
    end
  end
end

local function applies(row, v)
  if row.when == "settled" and not v.settled or row.when == "step" and not v.previous then return false end
  return not row.given or row.given(v)
end

-- The first of the rows that does not hold, and its evidence (a table); nil: all do.
function M.first(rows, v)
  for _, row in ipairs(rows) do
    if applies(row, v) then
      local fine, evidence = row.holds(v)
      if not fine then return row, type(evidence) == "table" and evidence or {} end
    end
  end
  return nil
end

-- The rows, each looked at; raises with a sentence.
function M.invariants(rows)
  for i, row in ipairs(rows) do
    local trouble = trouble_of(row)
    if trouble then
      error(("row %d of the invariants (%s) %s"):format(i, type(row) == "table" and tostring(row.name or "?") or "?", trouble), 2)
    end
  end
  return { rows = rows, check = function(v)
    local row, evidence = M.first(rows, v)
    return row and { name = row.name, text = row.text, evidence = evidence } or nil
  end }
end

return M
