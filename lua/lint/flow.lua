-- A policy run with shapes in place of values: what each expression may be, from `seen` through facts to every row.
--
-- Files are run as `require` would, then decide with the shape of `seen`, then what nobody called, with parameters that may be
-- anything. Tables grow with all that is written to them, so everything is run until nothing grows any more; what that last
-- run found is told. A function is run once for each list of shapes that it is given. What is not understood is `any`, of
-- which nothing is said: lint is to find mistakes, not to prove that there are none.
--
-- This file runs statements and functions; lint/eval.lua has the expressions, lint/words.lua what the host offers.

local eval = require "lint.eval"
local narrowing = require "lint.narrow"
local predicates = require "lint.predicates"
local schema = require "lint.schema"
local values = require "lint.values"
local walk = require "syntax.walk"
local words = require "lint.words"

local M = {}

local Flow = {}
Flow.__index = Flow
for name, method in pairs(eval.methods) do Flow[name] = method end

local ANY, NIL = values.ANY, values.NIL
local PASSES_MOST, CALLS_DEEP, LISTS_MOST = 8, 80, 40

-- ---------------------------------------------------------------- findings

-- severity: "error" | "warning"; check: which one it is, so that a comment can allow it.
function Flow:report(check, severity, node, text, ...)
  self.findings[#self.findings + 1] = { check = check, severity = severity, file = self.file, line = node.line,
    text = select("#", ...) > 0 and text:format(...) or text }
end

-- ---------------------------------------------------------------- states

local function copied(map)
  local new = {}
  for k, v in pairs(map) do new[k] = v end
  return new
end

function Flow.fork(_, st)
  return { vars = copied(st.vars), outer = st.outer, known = copied(st.known), made = copied(st.made), func = st.func, ctx = st.ctx,
    loop = st.loop }
end

-- What holds behind a branch: what holds in all states that get there.
local function merge(into, states)
  local alive = {}
  for _, st in ipairs(states) do
    if not st.dead then alive[#alive + 1] = st end
  end
  if #alive == 0 then
    into.dead = true
    return
  end
  local vars, known, made = copied(alive[1].vars), copied(alive[1].known), copied(alive[1].made)
  for i = 2, #alive do
    for decl, shape in pairs(alive[i].vars) do vars[decl] = values.join(vars[decl], shape) end
    for path, what in pairs(known) do
      if alive[i].known[path] ~= what then known[path] = nil end
    end
    for path, node in pairs(made) do
      if alive[i].made[path] ~= node then made[path] = nil end
    end
  end
  into.vars, into.known, into.made, into.dead = vars, known, made, false
end

function Flow:note_all(decl, shape)
  local all = values.join(decl.all, shape)
  if all ~= decl.all then
    decl.all, self.changed = all, true
  end
end

function Flow:declare(decl, shape, st)
  self:note_all(decl, shape)
  st.vars[decl] = shape
  narrowing.forget(st, narrowing.id_of(decl))
end

-- ---------------------------------------------------------------- statements

local S = {}

S["local"] = function(self, node, st)
  local list = self:multi(node.values, st, #node.names)
  for i, decl in ipairs(node.names) do self:declare(decl, list[i] or list.rest or NIL, st) end
end

S["local function"] = function(self, node, st)
  self:declare(node.decl, self:function_shape(node.func, st), st)
  self:function_shape(node.func, st) -- it sees itself
end

S["function statement"] = function(self, node, st)
  self:assign(node.target, self:function_shape(node.func, st), st)
end

S.assign = function(self, node, st)
  local list = self:multi(node.values, st, #node.targets)
  for i, target in ipairs(node.targets) do self:assign(target, list[i] or list.rest or NIL, st) end
  local path = #node.targets == 1 and node.targets[1].is == "index" and narrowing.path_of(node.targets[1])
  if path then st.made[path] = node.values[1] end
end

S["call statement"] = function(self, node, st)
  self:call(node.call, st)
end

S["return"] = function(self, node, st)
  local list = self:multi(node.values, st)
  st.ctx.returns[#st.ctx.returns + 1] = list
  st.dead = true
end

S["do"] = function(self, node, st) self:block(node.body, st) end

S["if"] = function(self, node, st)
  local ends, rest = {}, self:fork(st)
  for _, branch in ipairs(node.branches) do
    self:eval(branch.test, rest)
    local inside = self:fork(rest)
    narrowing.narrow(branch.test, inside, true)
    self:block(branch.body, inside)
    ends[#ends + 1] = inside
    narrowing.narrow(branch.test, rest, false)
  end
  if node.otherwise then self:block(node.otherwise, rest) end
  ends[#ends + 1] = rest
  merge(st, ends)
end

-- A body that may run often: what one round leaves behind, the next one meets. `before(inside)` is done at each round's begin.
local function rounds(self, st, body, before, always)
  local outer, breaks = st.loop, {}
  local start = self:fork(st)
  for _ = 1, 2 do
    local inside = self:fork(start)
    inside.loop = { breaks = breaks }
    if before then before(inside) end
    self:block(body, inside)
    inside.loop = outer
    merge(start, { start, inside })
  end
  local ends = breaks
  if not always then ends[#ends + 1] = start end
  merge(st, ends)
  st.loop = outer
end

S["while"] = function(self, node, st)
  local forever = node.test.is == "true"
  self:eval(node.test, st)
  rounds(self, st, node.body, function(inside) narrowing.narrow(node.test, inside, true) end, forever)
  if not st.dead and not forever then
    self:eval(node.test, st)
    narrowing.narrow(node.test, st, false)
  end
end

S["repeat"] = function(self, node, st)
  rounds(self, st, node.body)
  if not st.dead then self:eval(node.test, st) end
end

S["for"] = function(self, node, st)
  for _, part in ipairs { "from", "to", "step" } do
    if node[part] then self:need(node[part], self:eval(node[part], st), st, "is the bound of a loop") end
  end
  rounds(self, st, node.body, function(inside) self:declare(node.var, values.NUMBER, inside) end)
end

S["for in"] = function(self, node, st)
  local list = self:multi(node.values, st)
  local iterator = list[1] or ANY
  rounds(self, st, node.body, function(inside)
    for i, decl in ipairs(node.vars) do
      self:declare(decl, iterator.is == "iterator" and (iterator.vars[i] or NIL) or ANY, inside)
    end
  end)
end

S["break"] = function(self, _, st)
  if st.loop then st.loop.breaks[#st.loop.breaks + 1] = self:fork(st) end
  st.dead = true
end

S["goto"] = function() end
S.label = S["goto"]

function Flow:block(block, st)
  for _, statement in ipairs(block) do
    if st.dead then return end
    S[statement.is](self, statement, st)
  end
end

-- ---------------------------------------------------------------- functions

-- The shape of a function's text: it remembers what it saw of the locals around it.
function Flow.function_shape(_, node, st)
  local shape = node.shape or values.new { is = "function", node = node, vars = {}, known = {} }
  local is_first = node.shape == nil
  node.shape = shape
  for _, vars in ipairs { st.outer, st.vars } do
    for decl, value in pairs(vars) do
      if decl.writes == 0 and not decl.shared then shape.vars[decl] = values.join(shape.vars[decl], value) end
    end
  end
  for path, what in pairs(is_first and st.known or shape.known) do
    shape.known[path] = st.known[path] == what and what or nil
  end
  return shape
end

-- Several lists of results as one.
local function joined(lists)
  local result, most = {}, 0
  for _, list in ipairs(lists) do most = math.max(most, #list) end
  for i = 1, most do
    for _, list in ipairs(lists) do result[i] = values.join(result[i], list[i] or list.rest or NIL) end
    -- of several results the first one tells whether the others are there
    if i > 1 then result[i] = values.strip(result[i]) end
  end
  for _, list in ipairs(lists) do result.rest = values.join(result.rest, list.rest) end
  return result
end

local function run(self, shape, args)
  local node = shape.node
  self.pause()
  local st = { vars = {}, outer = shape.vars, known = copied(shape.known), made = {}, func = node, ctx = { returns = {} } }
  for i, decl in ipairs(node.params) do
    self:declare(decl, args[i] or args.rest or NIL, st)
    narrowing.assume(decl, args.known and args.known[i] or {}, st)
  end
  local file, depth = self.file, self.depth
  self.file, self.depth = node.file or file, depth + 1
  self:block(node.body, st)
  self.file, self.depth = file, depth
  if not st.dead then st.ctx.returns[#st.ctx.returns + 1] = {} end
  return joined(st.ctx.returns)
end

-- What a function returns for these arguments: a list, `rest`: what else may follow. args.known: ends of paths that are set in each.
function Flow:call_function(shape, args)
  local node, ids = shape.node, {}
  for i = 1, #node.params do
    ids[i] = (args[i] or args.rest or NIL).id .. (args.known and args.known[i] and table.concat(args.known[i], ",") or "")
  end
  local key = table.concat(ids, " ")
  local memo = self.memo[node] or { count = 0 }
  self.memo[node] = memo
  if memo[key] then return memo[key] end
  if memo.count >= LISTS_MOST or self.depth > CALLS_DEEP then return node.returns or { rest = ANY } end
  memo.count = memo.count + 1
  memo[key] = node.returns or { rest = ANY } -- while it runs
  local result = run(self, shape, args)
  memo[key] = result
  node.returns = node.returns and joined { node.returns, result } or result
  return result
end

-- ---------------------------------------------------------------- files

-- What `require` gives; nil: there is no such file.
function Flow:module(name)
  local file = self.by_module[name]
  if not file then return nil end
  local loaded = self.loaded[file]
  if loaded then return loaded.value or ANY end
  loaded = {}
  self.loaded[file] = loaded
  local chunk = self.trees[file]
  local outer, depth = self.file, self.depth
  self.file, self.depth = file, 0
  local shape = chunk.shape or values.new { is = "function", node = chunk, vars = {}, known = {} }
  chunk.shape = shape
  local result = run(self, shape, { rest = ANY })
  if not result[1] then
    self:report("names", "error", chunk.body[#chunk.body] or chunk, "the file returns nothing, so who requires it gets `true`: its last "
      .. "statement must be a `return`")
  end
  self.file, self.depth = outer, depth
  loaded.value = result[1] or values.TRUE
  if loaded.value.is == "table" then loaded.value.name = loaded.value.name or name end
  return loaded.value
end

-- The literal texts of a declared kind: {api_version, kind, keep}; nil if it is not written as such.
local function declared_kind(shape)
  if not shape or values.strip(shape).is ~= "table" then return nil end
  local function text(name)
    local field = values.field(shape, name)
    return field and values.literal(values.strip(field))
  end
  local kind = { api_version = text "api_version", kind = text "kind", keep = text "keep" }
  local keep = values.field(shape, "keep")
  if keep and values.strip(keep).is == "table" then
    kind.keep = {}
    for i, item in ipairs(values.strip(keep).items) do kind.keep[i] = values.literal(item) end
  end
  local is_asked = not kind.kind and values.field(shape, "http") -- an input of no kind, asked by HTTP
  return (is_asked or kind.api_version and kind.kind) and kind or nil
end

local function declared_kinds(shape)
  local kinds = {}
  if not shape or shape.is ~= "table" then return kinds end
  for name, one in pairs(shape.fields) do kinds[name] = declared_kind(one) end
  return kinds
end

-- What `controller {...}` was given, as far as it is plain to see; nil if decide is not.
function Flow:declaration()
  local shape = self:module "phdeployment"
  if not shape or shape.is ~= "table" or not shape.fields.decide or shape.fields.decide.is ~= "function" then return nil end
  local kind = declared_kind(shape.fields.kind)
  if not kind then return nil end
  return { kind = kind, decide = shape.fields.decide, children = declared_kinds(shape.fields.children),
    watches = declared_kinds(shape.fields.watches), inputs = declared_kinds(shape.fields.inputs) }
end

local function everything(self)
  self.memo, self.loaded, self.invariants, self.depth = {}, {}, {}, 0
  for _, name in ipairs(self.module_names) do self:module(name) end
  self.declared = self:declaration()
  if self.declared then
    self.seen_shape = self.seen_shape or schema.new(self.known):seen(self.declared, self.known.settings or {})
    self:call_function(self.declared.decide, { self.seen_shape })
    self.view_shape = self.view_shape or schema.new(self.known):view(self.declared)
    predicates.try_invariants(self, self.view_shape)
  end
  for _, func in ipairs(self.functions) do
    if not self.memo[func] and func.shape then
      self.file = func.file
      self:call_function(func.shape, { rest = ANY })
    end
  end
end

local function module_of(file)
  return (file:gsub("%.lua$", ""):gsub("/", "."))
end

-- trees: file -> tree; known: {kinds, definitions, settings}. options: {found = function(finding), told of each; pause = function(), called
-- often; broken = files that are no Lua}.
function M.new(trees, known, options)
  values.reset()
  local self = setmetatable({ trees = trees, known = known, found = options.found, pause = options.pause, findings = {},
    by_module = {}, module_names = {}, broken = {}, functions = {}, tables = {}, depth = 0 }, Flow)
  for _, file in ipairs(options.broken or {}) do self.broken[module_of(file)] = true end
  for file, tree in pairs(trees) do
    local name = module_of(file)
    self.by_module[name] = file
    self.module_names[#self.module_names + 1] = name
    tree.file = file
    self.pause()
    for _, func in ipairs(walk.all(tree, "function")) do
      func.file = file
      if func ~= tree then self.functions[#self.functions + 1] = func end
    end
  end
  table.sort(self.module_names)
  table.sort(self.functions, function(a, b) return a.file ~= b.file and a.file < b.file or a.file == b.file and a.line < b.line end)
  self.globals = words.globals(self)
  return self
end

-- Run until nothing grows, then tell.
function Flow:run()
  for _ = 1, PASSES_MOST do
    self.changed, self.findings = false, {}
    everything(self)
    if not self.changed then break end
  end
  for _, finding in ipairs(self.findings) do self.found(finding) end
end

return M
