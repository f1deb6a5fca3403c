-- The half of the parser that reads expressions: methods of the parser (parser.lua), by precedence climbing.

local E = {}

-- How tight each operator binds, to the left and to the right: the right one is smaller for those that group from the right.
-- (Lua 5.4 reference manual, 3.4.8.)
local BINDING = {
  ["or"] = { 1, 1 }, ["and"] = { 2, 2 },
  ["<"] = { 3, 3 }, [">"] = { 3, 3 }, ["<="] = { 3, 3 }, [">="] = { 3, 3 }, ["~="] = { 3, 3 }, ["=="] = { 3, 3 },
  ["|"] = { 4, 4 }, ["~"] = { 5, 5 }, ["&"] = { 6, 6 }, ["<<"] = { 7, 7 }, [">>"] = { 7, 7 }, [".."] = { 9, 8 },
  ["+"] = { 10, 10 }, ["-"] = { 10, 10 }, ["*"] = { 11, 11 }, ["/"] = { 11, 11 }, ["//"] = { 11, 11 }, ["%"] = { 11, 11 },
  ["^"] = { 14, 13 },
}
local UNARY = { ["not"] = true, ["-"] = true, ["#"] = true, ["~"] = true }
local UNARY_BINDING = 12

-- What other languages write, for the sentence of a mistake.
local FOREIGN = { ["="] = "; to compare is ==", ["//"] = "; a comment begins with --", ["#"] = "; a comment begins with --",
  ["&"] = "; \"and\" is the word `and`", ["|"] = "; \"or\" is the word `or`" }

-- (Nodes that trees are full of are made at their size, without P:node.)

-- {name, decl}
function E:name_node(name, line)
  return { is = "name", line = line, last = self.last, name = name, decl = self:resolve(name) }
end

-- {of, key, dot}: a name behind a dot.
function E:field_node(of, line)
  local at = self:line()
  local name = self:expect("name", "behind a dot")
  local key = { is = "string", line = at, last = self.last, value = name }
  return { is = "index", line = line, last = self.last, of = of, key = key, dot = true }
end

function E:expression_list()
  local list = { self:expression() }
  while self:take "," do list[#list + 1] = self:expression() end
  return list
end

-- "item": {value}; "field" and "pair": {key: an expression, value}
function E:table_item()
  local line = self:line()
  if self.kind == "name" and self:ahead() == "=" then
    local name = self.values[self.at]
    self:next()
    local key = { is = "string", line = line, last = self.last, value = name }
    self:next()
    local value = self:expression()
    return { is = "field", line = line, last = self.last, key = key, value = value }
  end
  if self:take "[" then
    local key = self:expression()
    self:expect("]", "behind a key")
    self:expect("=", "behind a key")
    return self:node("pair", line, { key = key, value = self:expression() })
  end
  return self:node("item", line, { value = self:expression() })
end

-- {items}
function E:table_constructor()
  local line, items = self:line(), {}
  self:next()
  while self.kind ~= "}" do
    local item = self:table_item()
    item.last = self.last
    items[#items + 1] = item
    if not self:take "," and not self:take ";" then break end
  end
  if self.kind ~= "}" then
    self:wrong(("`}` or a comma was expected in the table of line %d, and here is %s"):format(line, self:shown()))
  end
  self:next()
  return self:node("table", line, { items = items })
end

-- {params: declarations, vararg, body, name}
function E:function_body(line, name, is_method)
  local func = { is = "function", line = line, params = {}, vararg = false, name = name or "a function", within = self.func }
  self.func = func
  self:open_scope()
  if is_method then func.params[1] = self:declare("self", line) end
  self:expect("(", "behind the function's name")
  if self.kind ~= ")" then
    repeat
      if self:take "..." then
        func.vararg = true
        break
      end
      func.params[#func.params + 1] = self:declare(self:expect("name", "as a parameter"), self.last)
    until not self:take ","
  end
  self:expect(")", "behind the parameters")
  func.body = self:block(true)
  self:close_scope()
  self:close("end", "function", line)
  self.func, func.last = func.within, self.last
  return func
end

function E:arguments()
  if self.kind == "string" then
    local node = { is = "string", line = self:line(), last = self.last, value = self.values[self.at] }
    self:next()
    return { node }
  end
  if self.kind == "{" then return { self:table_constructor() } end
  local line = self:line()
  self:expect("(", "for the arguments")
  local list = self.kind ~= ")" and self:expression_list() or {}
  self:close(")", "(", line)
  return list
end

function E:primary()
  local line = self:line()
  if self.kind == "name" then
    local name = self.values[self.at]
    self:next()
    return self:name_node(name, line)
  end
  if self:take "(" then
    local inner = self:expression()
    self:close(")", "(", line)
    return self:node("paren", line, { of = inner })
  end
  self:wrong("a value was expected, and here is " .. self:shown() .. (FOREIGN[self.kind] or ""))
end

local CALLS = { ["("] = true, ["{"] = true, string = true }

-- "index": {of, key, dot}; "call": {of, args}; "method": {of, name, args}
function E:suffixed()
  local line = self:line()
  local node = self:primary()
  while true do
    local kind = self.kind
    if kind == "." then
      self:next()
      node = self:field_node(node, line)
    elseif CALLS[kind] then
      local args = self:arguments()
      node = { is = "call", line = line, last = self.last, of = node, args = args }
    elseif kind == "[" then
      self:next()
      local key = self:expression()
      self:expect("]", "behind an index")
      node = self:node("index", line, { of = node, key = key })
    elseif kind == ":" then
      self:next()
      local name = self:expect("name", "behind a colon")
      node = self:node("method", line, { of = node, name = name, args = self:arguments() })
      node.last = self.last
    else
      return node
    end
  end
end

local PLAIN = { ["nil"] = true, ["true"] = true, ["false"] = true, ["..."] = true }

-- "nil", "true", "false", "..."; "number" and "string": {value}
function E:simple()
  local kind, line = self.kind, self:line()
  if kind == "name" then return self:suffixed() end
  if kind == "number" or kind == "string" then
    local value = self.values[self.at]
    self:next()
    -- a quoted text is a value, and only in brackets has it methods
    return { is = kind, line = line, last = self.last, value = value }
  end
  if PLAIN[kind] then
    self:next()
    return self:node(kind, line)
  end
  if kind == "{" then return self:table_constructor() end
  if kind == "function" then
    self:next()
    return self:function_body(line)
  end
  return self:suffixed()
end

-- "unary": {op, of}; "binary": {op, left, right}. `limit`: operators that bind looser are left to the caller.
function E:expression(limit)
  limit = limit or 0
  self:deeper()
  local line = self:line()
  local left
  if UNARY[self.kind] then
    local op = self.kind
    self:next()
    left = self:node("unary", line, { op = op, of = self:expression(UNARY_BINDING) })
    left.last = self.last
  else
    left = self:simple()
  end
  local binding = BINDING[self.kind]
  while binding and binding[1] > limit do
    local op = self.kind
    self:next()
    local right = self:expression(binding[2])
    left = { is = "binary", line = line, last = self.last, op = op, left = left, right = right }
    binding = BINDING[self.kind]
  end
  self.depth = self.depth - 1
  return left
end

return E
