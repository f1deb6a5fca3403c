-- Whether a condition can hold: `s.n > 3 and s.n < 2` cannot, nor can `s.a and s.b` behind a row that asks for `s.a`.
--
-- A condition becomes a formula of `and`, `or` and `not` over atoms: what is asked of one value ("$.stop" is true, "$.n" == 3,
-- "$.n" < 2; $ is the view that a row is given). Atoms are given truths one after the other, and what is known of a value may not contradict
-- itself. That is a search, and bounded: where it does not come to an end, nothing is said. Code that is called twice with the same
-- words is taken to answer the same twice, which is so in policies: they keep nothing between calls.
--
-- Only what could not be is told. A value that is nil makes all its comparisons false here, while in the policy they would raise or not be
-- reached: either way no truth is lost.

local show = require "lint.show"

local M = {}

local ATOMS_MOST, STEPS_MOST = 14, 4000

-- ---------------------------------------------------------------- formulas

local CONSTANTS = { ["nil"] = true, ["true"] = true, ["false"] = true, string = true, number = true }
local formula_of

-- The value that an expression stands for, as text: equal for equal values of one view.
local function term(node, func)
  if node.is == "paren" then return term(node.of, func) end
  if node.is == "name" and node.decl and node.decl == func.params[1] then return "$" end
  if node.is == "index" and node.key.is == "string" then return term(node.of, func) .. "." .. node.key.value end
  return show.key(node)
end

local function constant(node)
  if node.is == "unary" and node.op == "-" and node.of.is == "number" then return true, -node.of.value end
  if not CONSTANTS[node.is] then return false end
  if node.is == "true" or node.is == "false" then return true, node.is == "true" end
  return true, node.value -- of nil: nil
end

local function atom(is, of, value)
  local name = is .. " " .. of .. " " .. type(value) .. " " .. tostring(value)
  return { is = "atom", ask = is, of = of, value = value, name = name }
end

local function no(formula) return { is = "not", formula } end

local MIRRORED = { ["<"] = ">", [">"] = "<", ["<="] = ">=", [">="] = "<=", ["=="] = "==", ["~="] = "~=" }
-- of a comparison with a constant: the atom's, and whether it is the opposite
local ASKED = { ["=="] = { "==" }, ["~="] = { "==", true }, ["<"] = { "<" }, ["<="] = { "<=" }, [">"] = { "<=", true }, [">="] = { "<", true } }

local function comparison(node, func)
  local left, right, op = node.left, node.right, node.op
  local is_constant, value = constant(right)
  if not is_constant and constant(left) then
    is_constant, value = constant(left)
    left, op = right, MIRRORED[op]
  end
  local asked = ASKED[op]
  local made
  if is_constant then
    made = atom(asked[1], term(left, func), value)
  else -- of two values nothing else is known
    made = atom("true", ("%s %s %s"):format(term(left, func), asked[1], term(right, func)))
  end
  return asked[2] and no(made) or made
end

function formula_of(node, func)
  if node.is == "paren" then return formula_of(node.of, func) end
  if node.is == "unary" and node.op == "not" then return no(formula_of(node.of, func)) end
  if node.is == "binary" and (node.op == "and" or node.op == "or") then
    return { is = node.op, formula_of(node.left, func), formula_of(node.right, func) }
  end
  if node.is == "binary" and MIRRORED[node.op] then return comparison(node, func) end
  local is_constant, value = constant(node)
  if is_constant then return { is = "constant", value = value ~= nil and value ~= false } end
  return atom("true", term(node, func))
end

-- What a row's `when` asks, if it is one expression, `fact "path"` or `always`. -> formula | nil
function M.formula(when)
  if not when then return nil end
  if when.word == "always" then return { is = "constant", value = true } end
  if when.word == "fact" and when.path then -- it asks for `true`, which of a boolean is no more than whether it holds
    return when.is_boolean and atom("true", "$." .. when.path) or atom("==", "$." .. when.path, true)
  end
  local func = when.is == "function" and when.node
  local last = func and #func.body == 1 and func.body[1]
  if not last or last.is ~= "return" or #last.values ~= 1 then return nil end
  return formula_of(last.values[1], func)
end

-- ---------------------------------------------------------------- what is known of one value

local function is_ordered(a, b) return type(a) == type(b) and (type(a) == "number" or type(a) == "string") end

-- Can it be `value`, for all that is said of it?
local function fits(value, said)
  for one, truth in pairs(said) do
    local is
    if one.ask == "==" then
      is = value == one.value
    elseif one.ask == "true" then
      is = value ~= nil and value ~= false
    elseif is_ordered(value, one.value) then
      is = one.ask == "<" and value < one.value or one.ask == "<=" and value <= one.value
    else
      is = false -- it would have raised, or was not asked
    end
    if is ~= truth then return false end
  end
  return true
end

-- The bounds that comparisons set must leave something between them: `lower` is the highest that it is at least or above.
local function has_room(said)
  local lower, lower_open, upper, upper_open
  for one, truth in pairs(said) do
    local value = one.value
    if one.ask == "<" or one.ask == "<=" then
      local is_open = (one.ask == "<") == truth
      if truth and (not upper or is_ordered(value, upper) and (value < upper or value == upper and is_open)) then
        upper, upper_open = value, is_open
      elseif not truth and (not lower or is_ordered(value, lower) and (value > lower or value == lower and is_open)) then
        lower, lower_open = value, is_open
      end
    end
  end
  if lower == nil or upper == nil or not is_ordered(lower, upper) then return true end
  return lower < upper or lower == upper and not lower_open and not upper_open
end

-- said: atom -> truth, of one value.
local function is_possible(said)
  local is_false, is_compared
  for one, truth in pairs(said) do
    if one.ask == "==" and truth then return fits(one.value, said) end
    if one.ask == "true" and not truth then is_false = true end
    if (one.ask == "<" or one.ask == "<=") and truth then is_compared = true end
  end
  return not (is_false and is_compared) and has_room(said)
end

-- ---------------------------------------------------------------- the search

local function atoms_of(formula, list, known)
  if formula.is == "atom" then
    if not known[formula.name] then
      known[formula.name] = formula
      list[#list + 1] = formula
    end
  else
    for _, part in ipairs(formula) do atoms_of(part, list, known) end
  end
  return list
end

-- true, false, or nil: not known yet.
local function truth_of(formula, truths)
  local is = formula.is
  if is == "constant" then return formula.value end
  if is == "atom" then return truths[formula.name] end
  local left = truth_of(formula[1], truths)
  if is == "not" then
    if left == nil then return nil end
    return not left
  end
  local decides = is == "or"
  if left == decides then return decides end
  local right = truth_of(formula[2], truths)
  if right == decides then return decides end
  if left == nil or right == nil then return nil end
  return not decides
end

local function truth_of_all(formulas, truths)
  local all = true
  for _, formula in ipairs(formulas) do
    local truth = truth_of(formula, truths)
    if truth == false then return false end
    if truth == nil then all = nil end
  end
  return all
end

local function search(formulas, atoms, at, truths, said, budget)
  local all = truth_of_all(formulas, truths)
  if all ~= nil then return all end
  budget.steps = budget.steps - 1
  if budget.steps < 0 then return true end
  local one = atoms[at]
  local about = said[one.of]
  for _, truth in ipairs { true, false } do
    truths[one.name], about[one] = truth, truth
    if is_possible(about) and search(formulas, atoms, at + 1, truths, said, budget) then return true end
  end
  truths[one.name], about[one] = nil, nil
  return false
end

-- Whether all formulas can hold together. (true where it is not known)
function M.can_hold(formulas)
  local atoms, known = {}, {}
  for _, formula in ipairs(formulas) do atoms_of(formula, atoms, known) end
  if #atoms > ATOMS_MOST then return true end
  local said = {}
  for _, one in ipairs(atoms) do said[one.of] = said[one.of] or {} end
  return search(formulas, atoms, 1, {}, said, { steps = STEPS_MOST })
end

M.no = no

return M
