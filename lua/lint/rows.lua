-- The rows of `rules` and `phases` as a whole: those that can never match, keys that nothing reads, phases that are a dead end.

local logic = require "lint.logic"
local show = require "lint.show"
local sorted = require "sorted"
local values = require "lint.values"
local walk = require "syntax.walk"

local M = {}

local KEYS = {
  rules = { "name", "condition", "grace", "waits", "when", "message", "quiet", "blocks", "even_when_stopped", "wake" },
  phases = { "from", "reason", "when", "message" },
}

-- ---------------------------------------------------------------- reading rows

local function text_of(shape)
  return shape and values.literal(values.strip(shape)) or nil
end

-- { "A", "B" } or "A" as a list of texts; nil if it is not constant.
local function texts_of(shape)
  if not shape then return nil end
  local one = text_of(shape)
  if one then return { one } end
  if shape.is ~= "table" or shape.item or shape.open or shape.rest then return nil end
  local list = {}
  for i, item in ipairs(shape.items) do
    list[i] = text_of(item)
    if not list[i] then return nil end
  end
  return list
end

local function line_of(row, of)
  return row.node and row.node.line or of.node.line
end

local function title(of, row)
  if of.kind == "rules" then return text_of(row.fields.name) or "without a name" end
  local phase, reason = text_of(row.items[1]) or "?", text_of(row.fields.reason)
  return reason and reason ~= phase and phase .. " (" .. reason .. ")" or phase
end

local function rows_of(of)
  local rows = {}
  for _, row in ipairs(of.given.is == "table" and of.given.items or {}) do
    if row.is == "table" then rows[#rows + 1] = row end
  end
  return rows
end

-- ---------------------------------------------------------------- one row covers another

local function covers_list(above, below)
  if not above then return true end
  local set = {}
  for _, word in ipairs(texts_of(above) or {}) do set[word] = true end
  local list = below and texts_of(below)
  if not list then return false end
  for _, word in ipairs(list) do
    if not set[word] then return false end
  end
  return true
end

local function covers_but(above, below)
  local left_out = text_of(above.fields.but)
  if not above.fields.but then return true end
  local own = text_of(below.fields.container)
  return left_out ~= nil and (left_out == text_of(below.fields.but) or own ~= nil and own ~= left_out)
end

-- Whether a predicate holds whenever another of the same word does.
local function covers_predicate(above, below)
  if above.path then return above.path == below.path end
  local a, b = above.given, below.given
  if not a or not b or a.is ~= "table" or b.is ~= "table" then return false end
  for i, item in ipairs(a.items) do
    if text_of(item) == nil or text_of(item) ~= text_of(b.items[i] or values.NIL) then return false end
  end
  -- `problem` with a reason asks something else than without
  if above.word == "problem" and (a.fields.reason ~= nil) ~= (b.fields.reason ~= nil) then return false end
  for name, restriction in pairs(a.fields) do
    if name ~= "words" and name ~= "but" and not covers_list(restriction, b.fields[name]) then return false end
  end
  return covers_but(a, b)
end

local function returned(shape)
  local func = shape and shape.is == "function" and shape.node
  local last = func and #func.body == 1 and func.body[1]
  return last and last.is == "return" and #last.values == 1 and last.values[1] or nil
end

local function is_always(shape)
  local value = returned(shape)
  return shape ~= nil and (shape.word == "always" or value ~= nil and value.is == "true")
end

local function is_never(shape)
  local value = returned(shape)
  return value ~= nil and (value.is == "false" or value.is == "nil")
end

-- Whether a function is made by another one, whose values it may use: two of those differ.
local function looks_made(func)
  local found = false
  walk.visit(func.body, function(node)
    local of = node.is == "name" and node.decl and node.decl.in_function
    while of and of ~= func and not of.is_chunk do of = of.within end
    if node.is == "name" and node.decl and of ~= func and not node.decl.in_function.is_chunk then found = true end
  end)
  return found
end

-- A function of a node that is asked once: each row is compared with all below it.
local function once(ask)
  local answers = setmetatable({}, { __mode = "k" })
  return function(node)
    local answer = answers[node]
    if answer == nil then
      answer = ask(node)
      answers[node] = answer
    end
    return answer
  end
end

local is_made, key_of = once(looks_made), once(show.key)

local function covers(above, below)
  if not above or not below then return false end
  if is_always(above) then return true end
  if above.word and above.word == below.word then return covers_predicate(above, below) end
  if above.is ~= "function" or below.is ~= "function" or #above.node.params ~= #below.node.params or is_made(above.node) then return false end
  return above == below or key_of(above.node.body) == key_of(below.node.body)
end

-- Whether a row above is one that row below need not be asked behind.
local function counts(of, above, below)
  return of.kind == "phases" or text_of(above.fields.condition) == text_of(below.fields.condition)
    and not (below.fields.blocks and not above.fields.blocks)
end

-- The row above `i` because of which it never counts, or nil.
local function covered_by(of, rows, i)
  local row = rows[i]
  for j = 1, i - 1 do
    local above = rows[j]
    if counts(of, above, row) and covers(above.fields.when, row.fields.when) then return above end
  end
  return nil
end

-- The rows above `i` of which, by what they ask, one holds whenever it does: as few as that takes; or nil.
local function covered_together(of, rows, i, formulas)
  if not formulas[i] then return nil end
  local asked, above = { formulas[i] }, {}
  for j = 1, i - 1 do
    if formulas[j] and counts(of, rows[j], rows[i]) then
      asked[#asked + 1], above[#above + 1] = logic.no(formulas[j]), rows[j]
    end
  end
  if #above == 0 or logic.can_hold(asked) then return nil end
  for j = #above, 1, -1 do
    local one, row = table.remove(asked, j + 1), table.remove(above, j)
    if logic.can_hold(asked) then
      table.insert(asked, j + 1, one)
      table.insert(above, j, row)
    end
  end
  return above
end

-- ---------------------------------------------------------------- checks of a table

local function tell_covered(of, row, above, report)
  if #above == 1 then
    return report("error", row, ("the row %s can never count: %s in line %d holds whenever it does, and comes first"):format(title(of, row),
      title(of, above[1]), line_of(above[1], of)))
  end
  local named = {}
  for i, one in ipairs(above) do named[i] = ("%s in line %d"):format(title(of, one), line_of(one, of)) end
  report("error", row, ("the row %s can never count: whenever it holds so does one of those above it, %s"):format(title(of, row),
    table.concat(named, ", ")))
end

local function check_matching(of, rows, report)
  local formulas = {}
  for i, row in ipairs(rows) do
    local when = row.fields.when
    formulas[i] = not (when and when.is == "function" and is_made(when.node)) and logic.formula(when) or nil
    local above = covered_by(of, rows, i)
    if above then
      tell_covered(of, row, { above }, report)
    elseif is_never(when) then
      report("error", row, ("the row %s never holds: its `when` is always false"):format(title(of, row)))
    elseif formulas[i] and not logic.can_hold { formulas[i] } then
      report("error", row, ("the row %s never holds: its `when` contradicts itself"):format(title(of, row)))
    else
      local all = covered_together(of, rows, i, formulas)
      if all then tell_covered(of, row, all, report) end
    end
  end
end

local function check_keys(of, rows, read, report)
  local known = {}
  for _, key in ipairs(KEYS[of.kind]) do known[key] = true end
  for _, row in ipairs(rows) do
    for _, key in ipairs(sorted(row.fields)) do
      if not known[key] and not read[key] then
        report("error", row, ("the row %s says `%s`, which nothing reads%s"):format(title(of, row), key,
          show.suggestion(key, KEYS[of.kind])))
      end
    end
  end
end

-- A reason is one word for programs. (Kubernetes API conventions, conditions.)
local function check_reasons(of, rows, report)
  for _, row in ipairs(rows) do
    local reason = text_of(row.fields[of.kind == "rules" and "name" or "reason"])
    if reason and not reason:find "^%a[%w_,:]*$" then
      report("error", row, ("%q is no reason: it is one word, such as ImagePullFailed"):format(reason))
    end
  end
end

local function check_conditions(rows, said, report)
  local others = {}
  for word in pairs(said) do
    if word:find "^%u%a+$" then others[#others + 1] = word end
  end
  table.sort(others)
  for _, row in ipairs(rows) do
    local condition = text_of(row.fields.condition)
    if condition and not said[condition] then
      local near = show.nearest(condition, others)
      report("error", row, ("no condition is called %s: nothing would show what this row finds%s"):format(condition,
        near and "; did you mean " .. near .. "?" or ""))
    end
  end
end

-- ---------------------------------------------------------------- phases

-- phase -> set of the phases that may come before it, or true: all.
local function ways(rows)
  local into, names = {}, {}
  for _, row in ipairs(rows) do
    local phase, from = text_of(row.items[1]), row.fields.from
    if not phase then return nil end
    names[phase] = true
    if not from then
      into[phase] = true
    elseif into[phase] ~= true then
      into[phase] = into[phase] or {}
      for _, before in ipairs(texts_of(from) or {}) do into[phase][before] = true end
    end
  end
  return into, names
end

-- fn(row, phase) for each phase that a row's `from` names.
local function each_from(rows, fn)
  for _, row in ipairs(rows) do
    for _, before in ipairs(row.fields.from and texts_of(row.fields.from) or {}) do
      if before ~= "" then fn(row, before) end
    end
  end
end

-- The row that says the phase `near` wrongly: no `from` names it, while several name another one, which is much like it and no phase.
local function misspelt_row(rows, near, named, before)
  if not near or named[near] or named[before] < 2 then return nil end
  for _, row in ipairs(rows) do
    if text_of(row.items[1]) == near then return row end
  end
end

local function check_from(of, rows, names, report)
  local list, named, told = sorted(names), {}, {}
  each_from(rows, function(_, before) named[before] = (named[before] or 0) + 1 end)
  each_from(rows, function(row, before)
    if names[before] then return end
    local near = show.nearest(before, list)
    local wrong = misspelt_row(rows, near, named, before)
    if not wrong then
      report("error", row, ("`from` of %s names %q, which is no phase%s"):format(title(of, row), before, show.suggestion(before, list)))
    elseif not told[before] then
      told[before] = true
      report("error", wrong, ("no row's `from` names the phase %q, and %q, which they name, is none: is it misspelt here?"):format(near, before))
    end
  end)
end

local function check_phases(of, rows, report)
  local into, names = ways(rows)
  if not into then return end
  check_from(of, rows, names, report)
  for _, phase in ipairs(sorted(names)) do
    local leaves, row = false, nil
    for _, one in ipairs(rows) do
      if not row and text_of(one.items[1]) == phase then row = one end
    end
    for other, before in pairs(into) do
      if other ~= phase and (before == true or before[phase]) then leaves = true end
    end
    if not leaves then report("warning", row, ("nothing leaves the phase %s: no other row's `from` has it"):format(phase)) end
    if into[phase] ~= true and next(into[phase]) == nil then
      report("warning", row, ("nothing leads to the phase %s: its `from` is empty"):format(phase))
    end
  end
  local last = rows[#rows]
  if last and not is_always(last.fields.when) then
    report("warning", last, "the last row does not hold always: where none holds there is an error; let its `when` be always")
  end
end

-- ---------------------------------------------------------------- all

-- What is read somewhere: names behind dots, and texts (but for the keys and values of rows themselves).
local function words_read(trees, pause)
  local read, said = {}, {}
  for _, tree in pairs(trees) do
    pause()
    local skip = {}
    walk.visit(tree, function(node)
      if node.is == "call" and node.of.is == "name" and (node.of.name == "rules" or node.of.name == "phases") then
        for _, row in ipairs(node.args[1] and node.args[1].items or {}) do
          for _, item in ipairs(row.value.is == "table" and row.value.items or {}) do skip[item.value] = true end
        end
      end
      if node.is == "field" then skip[node.key] = true end
      if node.is == "index" and node.key.is == "string" then read[node.key.value] = true end
      if node.is == "string" and not skip[node] then read[node.value], said[node.value] = true, true end
    end)
  end
  return read, said
end

-- tables: what a flow met (lint/predicates.lua); pause: called often.
function M.check(tables, trees, found, pause)
  local read, said = words_read(trees, pause)
  for _, of in ipairs(tables) do
    pause()
    local function report(severity, row, text)
      found { check = "rows", severity = severity, file = of.file, line = line_of(row, of), text = text }
    end
    local rows = rows_of(of)
    check_matching(of, rows, report)
    check_keys(of, rows, read, report)
    check_reasons(of, rows, report)
    if of.kind == "rules" then check_conditions(rows, said, report) else check_phases(of, rows, report) end
  end
end

return M
