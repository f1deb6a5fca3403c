-- Lua 5.4's grammar, by recursive descent: tokens become a tree with lines. (Lua 5.4 reference manual, 9.)
--
-- A node is a table whose `is` says what it is, and `line` and `last` where it begins and ends; what else it has stands beside the
-- function that makes it. Names are resolved on the way: a name node has `decl`, the declaration that it means, or none if it
-- is a global. A declaration is {name, line, attrib, in_function, writes (how often it is assigned to), shared (also by a function
-- inside of the one that it is declared in), init (the expression that it alone begins with)}.

local expressions = require "syntax.expressions"
local lexer = require "syntax.lexer"

local M = {}

local P = {}
P.__index = P
for name, method in pairs(expressions) do P[name] = method end

local DEPTH_MOST = 180 -- as Lua's own compiler: 200 levels

-- ---------------------------------------------------------------- tokens

function P:wrong(text)
  error({ line = self.lines[self.at], text = text }, 0)
end

local SHOWN = { name = true, string = true, number = true }

-- What stands at the present place, for a sentence.
function P:shown()
  local value = self.values[self.at]
  if SHOWN[self.kind] and value ~= nil then return "`" .. tostring(value):sub(1, 40) .. "`" end
  return self.kind == "end of file" and "the end of the file" or "`" .. self.kind .. "`"
end

function P:next()
  self.last = self.lines[self.at]
  self.at = self.at + 1
  self.kind = self.kinds[self.at]
end

function P:ahead()
  return self.kinds[self.at + 1]
end

function P:line()
  return self.lines[self.at]
end

function P:take(kind)
  if self.kind ~= kind then return false end
  self:next()
  return true
end

function P:expect(kind, what)
  if self.kind ~= kind then self:wrong(("%s was expected %s, and here is %s"):format(kind == "name" and "a name" or "`" .. kind .. "`",
    what, self:shown())) end
  local value = self.values[self.at]
  self:next()
  return value
end

-- The word that ends what began at `line` with `opener`.
function P:close(kind, opener, line)
  if self.kind == kind then return self:next() end
  local hint = kind == "end" and self.else_if and ("; `else if` in line %d is one word, elseif, or it needs an `end` of its own"):format(self.else_if)
  self:wrong(("`%s` was expected, to end the `%s` of line %d, and here is %s%s"):format(kind, opener, line, self:shown(), hint or ""))
end

function P:deeper()
  self.depth = self.depth + 1
  if self.depth > DEPTH_MOST then self:wrong("this is nested too deep") end
end

function P:node(is, line, fields)
  fields = fields or {}
  fields.is, fields.line, fields.last = is, line, self.last
  return fields
end

-- ---------------------------------------------------------------- names

function P:open_scope()
  self.scope = { above = self.scope, names = {} }
end

function P:close_scope()
  self.scope = self.scope.above
end

function P:declare(name, line, attrib)
  local decl = { name = name, line = line, attrib = attrib, in_function = self.func, writes = 0 }
  self.scope.names[name] = decl
  return decl
end

function P:written(decl)
  decl.writes = decl.writes + 1
  if decl.in_function ~= self.func then decl.shared = true end
end

function P:resolve(name)
  local scope = self.scope
  while scope do
    local decl = scope.names[name]
    if decl then return decl end
    scope = scope.above
  end
  return nil
end

-- ---------------------------------------------------------------- statements

local ENDS = { ["end"] = true, ["else"] = true, ["elseif"] = true, ["until"] = true, ["end of file"] = true }

-- A block in a scope of its own, unless that is open already.
function P:block(has_scope)
  if not has_scope then self:open_scope() end
  local block = { is = "block", line = self:line() }
  while not ENDS[self.kind] do
    if self.kind == "return" then
      block[#block + 1] = self:return_statement()
      break
    end
    local statement = self:statement()
    if statement then block[#block + 1] = statement end
  end
  block.last = self.last or block.line
  if not has_scope then self:close_scope() end
  return block
end

-- {values}
function P:return_statement()
  local line, values = self:line(), {}
  self:next()
  if not ENDS[self.kind] and self.kind ~= ";" then values = self:expression_list() end
  self:take ";"
  local statement = self:node("return", line, { values = values })
  if not ENDS[self.kind] then
    self:wrong("`return` is the last statement of its block, and here is " .. self:shown()
      .. (self.kind == "=" and "; to compare is ==, and a function ends with `end`" or ""))
  end
  return statement
end

-- {names: declarations, values}
function P:local_statement(line)
  local names, attribs = {}, {}
  repeat
    names[#names + 1] = { self:expect("name", "behind `local`"), self.last }
    if self:take "<" then
      local attrib = self:expect("name", "as an attribute")
      if attrib ~= "const" and attrib ~= "close" then self:wrong("there are the attributes <const> and <close>, not <" .. attrib .. ">") end
      attribs[#names] = attrib
      self:expect(">", "behind an attribute")
    end
  until not self:take ","
  local values = self:take "=" and self:expression_list() or {}
  local decls = {}
  for i, name in ipairs(names) do decls[i] = self:declare(name[1], name[2], attribs[i]) end
  if #names == 1 and #values == 1 then decls[1].init = values[1] end
  return self:node("local", line, { names = decls, values = values })
end

-- {decl, func}
function P:local_function(line)
  self:next()
  local name = self:expect("name", "as the function's name")
  local decl = self:declare(name, self.last)
  local func = self:function_body(line, name)
  return self:node("local function", line, { decl = decl, func = func })
end

-- {target: an expression, func}
function P:function_statement()
  local line = self:line()
  self:next()
  local name = self:expect("name", "as the function's name")
  local target, full, is_method = self:name_node(name, line), name, false
  while self.kind == "." or self.kind == ":" do
    is_method = self.kind == ":"
    self:next()
    target = self:field_node(target, line)
    full = full .. (is_method and ":" or ".") .. target.key.value
    if is_method then break end
  end
  if target.decl then self:written(target.decl) end
  return self:node("function statement", line, { target = target, func = self:function_body(line, full, is_method) })
end

-- {branches: {test, body, line}, otherwise: a block or nil}
function P:if_statement()
  local line, branches, otherwise = self:line(), {}, nil
  repeat
    local at = self:line()
    self:next()
    local test = self:expression()
    self:expect("then", "behind the condition")
    branches[#branches + 1] = { test = test, body = self:block(), line = at }
  until self.kind ~= "elseif"
  if self.kind == "else" then
    self:next()
    if self.kind == "if" then self.else_if = self:line() end
    otherwise = self:block()
  end
  self:close("end", "if", line)
  return self:node("if", line, { branches = branches, otherwise = otherwise })
end

-- {test, body}
function P:while_statement()
  local line = self:line()
  self:next()
  local test = self:expression()
  self:expect("do", "behind the condition of `while`")
  local body = self:block()
  self:close("end", "while", line)
  return self:node("while", line, { test = test, body = body })
end

-- {body, test}: the test sees the body's locals
function P:repeat_statement()
  local line = self:line()
  self:next()
  self:open_scope()
  local body = self:block(true)
  self:close("until", "repeat", line)
  local test = self:expression()
  self:close_scope()
  return self:node("repeat", line, { body = body, test = test })
end

-- "for": {var, from, to, step, body}; "for in": {vars, values, body}
function P:for_statement()
  local line = self:line()
  self:next()
  local names = { { self:expect("name", "behind `for`"), self.last } }
  local is_numeric = self.kind == "="
  local values
  if is_numeric then
    self:next()
    values = self:expression_list()
    if #values < 2 or #values > 3 then self:wrong("a numeric `for` has a first and a last value, and maybe a step") end
  else
    while self:take "," do names[#names + 1] = { self:expect("name", "in `for`"), self.last } end
    self:expect("in", "in `for`")
    values = self:expression_list()
  end
  self:expect("do", "in `for`")
  self:open_scope()
  local vars = {}
  for i, name in ipairs(names) do vars[i] = self:declare(name[1], name[2]) end
  local body = self:block(true)
  self:close_scope()
  self:close("end", "for", line)
  if is_numeric then
    return self:node("for", line, { var = vars[1], from = values[1], to = values[2], step = values[3], body = body })
  end
  return self:node("for in", line, { vars = vars, values = values, body = body })
end

-- "call statement": {call}; "assign": {targets, values}
function P:expression_statement()
  local line = self:line()
  local first = self:suffixed()
  if self.kind ~= "=" and self.kind ~= "," then
    if first.is ~= "call" and first.is ~= "method" then
      self:wrong("a statement was expected: an assignment, a call, `local`, `if`, `for`, `return`; and here is " .. self:shown())
    end
    return self:node("call statement", line, { call = first })
  end
  local targets = { first }
  while self:take "," do targets[#targets + 1] = self:suffixed() end
  self:expect("=", "in an assignment")
  local values = self:expression_list()
  for _, target in ipairs(targets) do
    if target.is ~= "name" and target.is ~= "index" then self:wrong("only a name or a field can be assigned to") end
    if target.decl then
      if target.decl.attrib then self:wrong(("`%s` is <%s> and cannot be assigned to"):format(target.decl.name, target.decl.attrib)) end
      self:written(target.decl)
    end
  end
  return self:node("assign", line, { targets = targets, values = values })
end

local STATEMENTS = { ["if"] = P.if_statement, ["while"] = P.while_statement, ["repeat"] = P.repeat_statement, ["for"] = P.for_statement,
  ["function"] = P.function_statement }

STATEMENTS["do"] = function(self)
  local line = self:line()
  self:next()
  local body = self:block()
  self:close("end", "do", line)
  return self:node("do", line, { body = body })
end

STATEMENTS["local"] = function(self)
  local line = self:line()
  self:next()
  if self.kind == "function" then return self:local_function(line) end
  return self:local_statement(line)
end

STATEMENTS["break"] = function(self)
  local line = self:line()
  self:next()
  return self:node("break", line)
end

STATEMENTS["goto"] = function(self)
  local line = self:line()
  self:next()
  return self:node("goto", line, { label = self:expect("name", "behind `goto`") })
end

STATEMENTS["::"] = function(self)
  local line = self:line()
  self:next()
  local label = self:expect("name", "as a label")
  self:expect("::", "behind a label")
  return self:node("label", line, { label = label })
end

-- nil for a lone semicolon.
function P:statement()
  if self:take ";" then return nil end
  self:deeper()
  local method = STATEMENTS[self.kind] or self.expression_statement
  local statement = method(self)
  statement.last = self.last
  self.depth = self.depth - 1
  return statement
end

-- ---------------------------------------------------------------- all of it

local function parse(text)
  local tokens = lexer.tokens(text)
  local p = setmetatable({ kinds = tokens.kinds, values = tokens.values, lines = tokens.lines, at = 1, kind = tokens.kinds[1],
    last = 1, depth = 0 }, P)
  local chunk = { is = "function", params = {}, vararg = true, line = 1, name = "the file itself", is_chunk = true }
  p.func = chunk
  chunk.body = p:block()
  if p.kind ~= "end of file" then p:wrong("`" .. p.kind .. "` ends nothing here") end
  chunk.last, chunk.comments = p.last, tokens.comments
  return chunk
end

-- The tree of a text: a function node without parameters, with `comments`. nil, {line, text} if it is no Lua.
function M.parse(text)
  local ok, result = pcall(parse, text)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  return nil, result
end

return M
