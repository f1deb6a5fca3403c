-- The words of tables of rows, as lint knows them: rules, phases, and what a row's `when` may ask.
--
-- Each predicate is a row: which keys it takes, which it needs, and what its evidence holds. When a table is judged, each of its rows is
-- tried with the shape of `s`: what `when` reads is checked like all code, and {names} of a message must be in the evidence
-- or in `s`. lint/rows.lua then looks at the rows as a whole.

local narrowing = require "lint.narrow"
local show = require "lint.show"
local sorted = require "sorted"
local values = require "lint.values"

local M = {}

local ANY, NUMBER, STRING = values.ANY, values.NUMBER, values.STRING

-- ---------------------------------------------------------------- paths

-- What a path of names leads to in a shape; a finding if it leads nowhere.
function M.at(self, node, shape, path, of)
  local at = of
  for name in path:gmatch("[^.]+") do
    shape = values.strip(shape)
    if shape.is ~= "table" and shape.is ~= "union" then return ANY end
    local found = values.field(shape, name)
    if not found then
      local is_sure = shape.find or shape.name
      self:report(of == "settings.yaml" and "settings" or "fields", is_sure and "error" or "warning", node,
        "%s has no %s (of the path %s)%s", at, name, path,
        show.suggestion(name, values.names(shape)))
      return ANY
    end
    shape, at = found, at .. "." .. name
  end
  return values.maybe(shape, "a step of the path may be missing")
end

-- ---------------------------------------------------------------- predicates

local function evidence(fields)
  local shapes = {}
  for _, name in ipairs(fields) do shapes[name] = STRING end
  shapes.code, shapes.exit_code = shapes.code and NUMBER, shapes.exit_code and NUMBER
  return values.table { fields = shapes, name = "the evidence" }
end

-- word -> keys that it takes, those that it needs, positions that it needs, and its evidence
M.PREDICATES = {
  any_container = { keys = { "waiting", "words" }, needs = { "waiting" }, gives = { "container", "image", "reason", "detail" } },
  crashing = { keys = { "reason", "container", "but" }, gives = { "container", "exit_code", "reason", "detail" } },
  pod_condition = { keys = { "reason" }, positions = 2, gives = { "reason", "message" } },
  unschedulable = { keys = { "says" }, gives = { "message" } },
  deployment_condition = { keys = { "reason" }, positions = 2, gives = { "reason", "message" } },
  refused = { keys = { "says" }, gives = { "message", "webhook" } },
  problem = { keys = { "kinds", "reason" }, gives = { "kind", "name", "code", "reason", "message" } },
  input = { keys = {}, positions = 2, gives = { "objects" } },
  mount_failed = { keys = {}, gives = { "volume", "detail" } },
}

local STATES = { "found", "missing", "unknown", "ambiguous" }

local function check_keys(self, node, word, row, given)
  local known = {}
  for _, key in ipairs(row.keys) do known[key] = true end
  for _, key in ipairs(sorted(given.fields)) do
    if not known[key] then
      self:report("rows", "error", node, "%s knows no `%s`, so it counts for nothing%s", word, key, show.suggestion(key, row.keys))
    end
  end
  for _, key in ipairs(row.needs or {}) do
    if not given.fields[key] then self:report("rows", "error", node, "%s needs `%s`", word, key) end
  end
  if row.positions and not given.items[row.positions] and not given.item then
    self:report("rows", "error", node, "%s needs %d texts, such as %s { \"A\", \"B\" }", word, row.positions, word)
  end
end

-- Nothing is one of no words. (`words` only puts into words what holds already.)
local function check_lists(self, node, word, given)
  for _, key in ipairs(sorted(given.fields)) do
    local list = values.strip(given.fields[key])
    if key ~= "words" and list.is == "table" and #list.items == 0 and next(list.fields) == nil and not list.item and not list.open
      and not list.rest and not list.find then
      self:report("rows", "error", node, "`%s` of %s is empty, so the row never holds", key, word)
    end
  end
end

local function contains(list, wanted)
  for _, one in ipairs(list) do
    if one == wanted then return true end
  end
  return false
end

local function check_input(self, node, given)
  local name, state = values.literal(given.items[1] or ANY), values.literal(given.items[2] or ANY)
  if name and self.declared and not self.declared.inputs[name] then
    self:report("rows", "error", node, "no input is called %s%s", name, show.suggestion(name, sorted(self.declared.inputs)))
  end
  if state and not contains(STATES, state) then
    self:report("rows", "error", node, "an input is never %q%s", state, show.suggestion(state, STATES))
  end
end

local function check_kinds(self, node, given)
  local kinds = given.fields.kinds
  if not kinds or kinds.is ~= "table" or not self.declared then return end
  local declared = {}
  for _, kind in pairs(self.declared.children) do declared[kind.kind] = true end
  for _, item in ipairs(kinds.items) do
    local kind = values.literal(item)
    if kind and not declared[kind] then
      self:report("rows", "error", node, "no child is a %s%s", kind, show.suggestion(kind, sorted(declared)))
    end
  end
end

local NOTHING = values.table {}

local function predicate(builtin, word, row)
  local gives = values.maybe(evidence(row.gives), "the row may not hold")
  return builtin(function(self, args, node)
    local given = args[1] or NOTHING
    if given.is == "table" then
      check_keys(self, node, word, row, given)
      check_lists(self, node, word, given)
      if word == "input" then check_input(self, node, given) end
      if word == "problem" then check_kinds(self, node, given) end
    end
    -- the same place makes the same predicate
    node.predicate = node.predicate or builtin(function() return { gives } end)
    node.predicate.word, node.predicate.given = word, given
    return { node.predicate }
  end)
end

-- ---------------------------------------------------------------- fact, setting, always

local function fact(builtin)
  return builtin(function(_, args, node)
    local path = values.literal(args[1] or ANY)
    node.predicate = node.predicate or builtin(function(flow, given)
      local shape = path and given[1] and M.at(flow, node, values.strip(given[1]), path, "s") or ANY
      node.predicate.is_boolean = values.strip(shape).is == "boolean" and node.predicate.is_boolean ~= false
      return { values.BOOLEAN }
    end)
    node.predicate.word, node.predicate.path = "fact", path
    return { node.predicate }
  end)
end

local function setting(builtin)
  return builtin(function(self, args, node)
    local path = values.literal(args[1] or ANY)
    local settings = self.seen_shape and self.seen_shape.fields.settings
    if path and settings then M.at(self, node, settings, path, "settings.yaml") end
    node.predicate = node.predicate or builtin(function() return { ANY } end)
    return { node.predicate }
  end)
end

-- ---------------------------------------------------------------- tables of rows

-- The names in a message, and whether there are such.
local function check_message(self, node, message, found, s)
  -- a warning, since somebody may mean the brace
  local left = message:gsub("{[%w_.]+}", "")
  local brace = left:match("{[^{}]*}?") or left:match("[%w_.]*}")
  if brace then
    self:report("rows", "warning", node, "%s in the message is no name between braces, such as {image}: people would read it as it stands",
      "`" .. brace .. "`")
  end
  for path in message:gmatch("{([%w_.]+)}") do
    local first = path:match("^[^.]+")
    local in_evidence = found and found.is ~= "boolean" and found.is ~= "any" and values.field(found, first)
    if not in_evidence and not (found and found.is == "any") and s.is == "table" then
      if values.field(s, first) then
        M.at(self, node, s, path, "s")
      else
        local names = values.names(s)
        for _, name in ipairs(found and found.is == "table" and values.names(found) or {}) do names[#names + 1] = name end
        self:report("rows", "error", node, "{%s} is neither in the evidence of the row nor a fact: people would read \"?\"%s", path,
          show.suggestion(first, names))
      end
    end
  end
end

-- `ends`: what is known of the fields of s.
local function called(self, shape, s, node, st, ends)
  if not shape then return nil end
  shape = values.strip(shape)
  if shape.is == "function" then return self:call_function(shape, { s, known = { ends } })[1] end
  if shape.is == "builtin" then return shape.call(self, { s }, node, st)[1] end
  return nil
end

-- Where a row stands: the file is that of the table.
local function at_row(self, of, row, body)
  local outer = self.file
  self.file = of.file
  body(row.node or of.node)
  self.file = outer
end

local function try_row(self, of, row, s, st)
  at_row(self, of, row, function(node)
    local fields = row.fields
    local held = called(self, fields.when, s, node, st)
    local when = fields.when and values.strip(fields.when)
    local ends = when and when.is == "function" and narrowing.when_true(when.node) or {}
    for _, name in ipairs { "grace", "waits", "message", "reason" } do called(self, fields[name], s, node, st, ends) end
    local message = fields.message and values.literal(fields.message)
    if message then check_message(self, node, message, held and values.when_true(held), s) end
  end)
end

local function rows_of(shape)
  local rows = {}
  for i, row in ipairs(shape.is == "table" and shape.items or {}) do
    if row.is == "table" then rows[i] = row end
  end
  return rows
end

-- What `rules` or `phases` gives: a table that knows its rows; methods(of) makes what else it can do.
local function of_rows(builtin, kind, methods)
  return builtin(function(self, args, node)
    local made = node.made
    if not made then
      made = { kind = kind, file = self.file, node = node }
      made.shape = values.table { name = kind, fields = methods(builtin, made) }
      node.made = made
      self.tables[#self.tables + 1] = made
    end
    made.given = args[1] or ANY
    made.shape.fields.rows = made.given
    return { made.shape }
  end)
end

local function each_row(self, of, s, st)
  for _, row in ipairs(rows_of(of.given)) do try_row(self, of, row, s, st) end
end

local function result_of(of)
  local row = values.element(of.given) or ANY
  return values.table { name = "what a rule found", fields = { name = STRING, condition = STRING, row = row, evidence = ANY, grace = NUMBER,
    waiting = values.maybe(NUMBER), message = STRING, remaining = values.maybe(NUMBER) } }
end

local function rules_methods(builtin, of)
  local function result()
    of.result = of.result or result_of(of)
    of.result.fields.row = values.element(of.given) or ANY
    return of.result
  end
  return {
    judge = builtin(function(self, args, _, st)
      each_row(self, of, args[2] or ANY, st)
      if of.verdict then
        result()
        return { of.verdict }
      end
      of.verdict = values.table { name = "the verdict",
        fields = { failure = values.maybe(result(), "no rule may hold"), held = values.list(result()),
          by_condition = values.map(result()), trace = ANY, requeue_after = values.maybe(NUMBER, "nothing may be waited for") } }
      return { of.verdict }
    end),
    first = builtin(function(self, args, _, st)
      each_row(self, of, args[2] or ANY, st)
      return { values.maybe(result(), "no such rule may hold") }
    end),
  }
end

local PHASE = values.table { name = "a phase", fields = { phase = STRING, reason = STRING, message = STRING, row = NUMBER } }

local function phases_methods(builtin, of)
  return { judge = builtin(function(self, args, _, st)
    each_row(self, of, args[2] or ANY, st)
    return { PHASE, ANY }
  end) }
end

-- ---------------------------------------------------------------- invariants

local INVARIANT_KEYS = { "name", "when", "given", "holds", "text" }
local TIMES = { "always", "step", "settled" }

local function check_invariant(self, node, row)
  for _, key in ipairs(sorted(row.fields)) do
    if not contains(INVARIANT_KEYS, key) then
      self:report("rows", "error", node, "an invariant knows no `%s`%s", key, show.suggestion(key, INVARIANT_KEYS))
    end
  end
  local when = row.fields.when and values.literal(values.strip(row.fields.when))
  if when and not contains(TIMES, when) then
    self:report("rows", "error", node, "an invariant is tried always, at each step, or settled, never %q%s", when, show.suggestion(when, TIMES))
  end
end

-- What invariants {} gives; its rows are tried when the shape of a view is known (M.try_invariants).
local function invariants(builtin)
  return builtin(function(self, args, node)
    node.made = node.made or { file = self.file, node = node }
    node.made.given = args[1] or ANY
    self.invariants[node] = node.made
    for _, row in pairs(rows_of(node.made.given)) do at_row(self, node.made, row, function(at) check_invariant(self, at, row) end) end
    return { values.table { name = "invariants", fields = { rows = node.made.given, check = builtin(function() return { ANY } end) } } }
  end)
end

-- Every row of every such table with the shape of a view.
function M.try_invariants(self, view)
  for node, of in pairs(self.invariants) do
    for _, row in pairs(rows_of(of.given)) do
      at_row(self, of, row, function()
        local st = { vars = {}, known = {}, made = {} }
        called(self, row.fields.given, view, node, st)
        local given = row.fields.given and values.strip(row.fields.given)
        called(self, row.fields.holds, view, node, st, given and given.is == "function" and narrowing.when_true(given.node) or {})
      end)
    end
  end
end

-- The words, as shapes by name. `builtin(call)` makes one.
function M.words(builtin)
  local all = {}
  for word, row in pairs(M.PREDICATES) do all[word] = predicate(builtin, word, row) end
  all.fact, all.setting = fact(builtin), setting(builtin)
  all.always = builtin(function() return { values.TRUE } end)
  all.always.word = "always"
  all.rules = of_rows(builtin, "rules", rules_methods)
  all.phases = of_rows(builtin, "phases", phases_methods)
  all.invariants = invariants(builtin)
  all.controller = builtin(function(_, args) return { args[1] or ANY } end)
  return all
end

return M
