-- Expressions, as shapes: the methods of a flow (lint/flow.lua) that read and write values.

local narrowing = require "lint.narrow"
local show = require "lint.show"
local sorted = require "sorted"
local values = require "lint.values"

local M = {}

local F = {}
M.methods = F

local ANY, NIL, NUMBER, STRING, BOOLEAN = values.ANY, values.NIL, values.NUMBER, values.STRING, values.BOOLEAN

-- ---------------------------------------------------------------- what must not be nil

-- How to guard an expression that may be nil.
local function guard(node, use)
  local text = show.text(node)
  if use == "is indexed" and (node.is == "name" or node.is == "index") then
    return ("test it first (`if %s then`), or write `(%s or {})`"):format(text, text)
  end
  if use == "is walked" then return ("write `%s or {}`"):format(text) end
  if use == "is calculated with" or use == "is compared" then return ("test it first, or write `(%s or 0)`"):format(text) end
  if use == "is joined to a text" then return ("test it first, or write `tostring(%s)` or `(%s or \"\")`"):format(text, text) end
  return ("test it first: `if %s then`"):format(text)
end

-- The shape without nil; a finding if it may be nil. `use`: what is done with it.
function F:need(node, shape, st, use)
  if shape.is ~= "maybe" and shape.is ~= "nil" then return shape end
  local path = narrowing.path_of(node)
  if shape.is == "nil" and node.is ~= "nil" and not path then return ANY end
  local why = shape.why and " (" .. shape.why .. ")" or ""
  self:report("nil", "warning", node, "%s %s, and %s nil here%s: %s", show.text(node), use, shape.is == "nil" and "is" or "may be", why,
    guard(node, use))
  if path then st.known[path] = "set" end -- once is enough
  return shape.is == "nil" and ANY or values.strip(shape)
end

local function narrowed(node, st, shape)
  local path = narrowing.path_of(node)
  local known = path and st.known[path]
  if known == "set" then return shape.is == "nil" and ANY or values.strip(shape) end
  if known == "nil" then return values.when_false(shape) or NIL end
  return shape
end

-- ---------------------------------------------------------------- fields

local PLAIN = { number = "a number", boolean = "true or false", ["function"] = "a function", builtin = "a function",
  iterator = "an iterator" }

-- Errors where it is sure that no such field is ever there; else somebody may be asking whether it is.
local function unknown_field(self, node, base, name)
  local of = show.text(node.of)
  local one = base.is == "union" and base.of[1] or base
  local hint = one.hint and one.hint(name)
  if hint then return self:report("fields", "error", node, "%s.%s: %s", of, name, hint) end
  local is_sure = base.is == "table" and (base.find ~= nil or base.name ~= nil)
  local what = base.name and base.name ~= of and (" (%s)"):format(base.name) or ""
  self:report("fields", is_sure and "error" or "warning", node, "%s%s has no field %s%s", of, what, name,
    show.suggestion(name, values.names(base)))
end

-- What a name leads to. Code that is given several tables may ask each of them: it is told only where none has such a field.
function F:read_field(node, base, name)
  if base.is == "any" then return ANY end
  if base.is == "string" then
    local method = self.globals.string.fields[name]
    if not method then self:report("fields", "error", node, "texts have no function %s%s", name,
      show.suggestion(name, values.names(self.globals.string))) end
    return method or ANY
  end
  if PLAIN[base.is] then
    self:report("fields", "error", node, "%s is %s and has no field %s", show.text(node.of), PLAIN[base.is], name)
    return ANY
  end
  local found = values.field(base, name)
  if found then
    node.was_found = true
    return found
  end
  if node.was_found then return NIL end
  unknown_field(self, node, base, name)
  return ANY
end

-- A key that is no constant.
local function dynamic(base, key, node)
  if base.is == "any" then return ANY end
  if key.is == "string" and key.words then
    local all
    for _, word in ipairs(sorted(key.words)) do all = values.join(all, values.field(base, word) or NIL) end
    if all and all ~= NIL then return all end
  end
  if key.is == "number" then
    local of_end = node.key.is == "unary" and node.key.op == "#"
    local element = values.element(base)
    if of_end and element then return values.maybe(element, "the list may be empty") end
    return element or ANY
  end
  if base.is == "table" and base.rest then return values.maybe(values.value_of_any_key(base), base.why or "there may be no such key") end
  return values.value_of_any_key(base) or ANY -- a table of constants: the key is one of its own
end

local E = {}

function E.index(self, node, st)
  local base = self:need(node.of, self:eval(node.of, st), st, "is indexed")
  local key = node.key
  if key.is == "string" then return narrowed(node, st, self:read_field(node, base, key.value)) end
  local key_shape = self:eval(key, st)
  local literal = values.literal(key_shape)
  if literal then return narrowed(node, st, self:read_field(node, base, literal)) end
  if key.is == "number" then return narrowed(node, st, values.position(base, key.value) or ANY) end
  return narrowed(node, st, dynamic(base, values.strip(key_shape), node))
end

function E.name(self, node, st)
  local decl = node.decl
  if not decl then return self.globals[node.name] or ANY end
  local shape = not decl.shared and (st.vars[decl] or st.outer[decl]) or decl.all or ANY
  return narrowed(node, st, shape)
end

-- ---------------------------------------------------------------- writing

local function grow(self, of, key, shape)
  local before = of[key]
  local after = values.join(before, shape)
  if after ~= before then
    of[key], self.changed = after, true
  end
end

local function write(self, base, node, key, shape)
  for _, one in ipairs(base.is == "union" and base.of or { base }) do
    if one.is == "table" and not one.find then
      local name = values.literal(key)
      if name then
        grow(self, one.fields, name, shape)
      elseif node.is == "number" then
        grow(self, one.items, node.value, shape)
      elseif key.is == "number" then
        grow(self, one, "item", shape)
      else
        grow(self, one, "rest", shape)
      end
    end
  end
end

function F:assign(target, shape, st)
  local path = narrowing.path_of(target)
  if target.is == "name" then
    if not target.decl then return end -- lint/names.lua tells of it
    self:note_all(target.decl, shape)
    st.vars[target.decl] = shape
  else
    local base = self:need(target.of, self:eval(target.of, st), st, "is indexed")
    write(self, base, target.key, self:eval(target.key, st), shape)
  end
  if not path then return end
  narrowing.forget(st, path)
  if shape.is == "nil" then st.known[path] = "nil" elseif shape.is ~= "maybe" and shape.is ~= "any" then st.known[path] = "set" end
end

-- ---------------------------------------------------------------- constants and tables

E["nil"] = function() return NIL end
E["true"] = function() return values.TRUE end
E["false"] = function() return values.FALSE end
E["..."] = function() return ANY end
function E.number() return NUMBER end
function E.string(_, node) return values.text(node.value) end
function E.paren(self, node, st) return self:eval(node.of, st) end
E["function"] = function(self, node, st) return self:function_shape(node, st) end

-- The positions of a constructor, of which the last may be a call with many results.
local function fill_positions(self, shape, list, st)
  for i, item in ipairs(list) do
    if i == #list and (item.value.is == "call" or item.value.is == "method" or item.value.is == "...") then
      local results = self:multi({ item.value }, st)
      for n, result in ipairs(results) do grow(self, shape.items, i + n - 1, result) end
      if results.rest then grow(self, shape, "item", results.rest) end
    else
      grow(self, shape.items, i, self:eval(item.value, st))
    end
  end
end

function E.table(self, node, st)
  local shape = node.shape or values.table { node = node }
  node.shape = shape
  local positions = {}
  for _, item in ipairs(node.items) do
    if item.is == "item" then
      positions[#positions + 1] = item
    else
      local key = self:eval(item.key, st)
      local value = self:eval(item.value, st)
      local name = values.literal(key)
      if name then
        grow(self, shape.fields, name, value)
      elseif item.key.is == "number" then
        grow(self, shape.items, item.key.value, value)
      else
        grow(self, shape, "rest", value)
      end
    end
  end
  fill_positions(self, shape, positions, st)
  return shape
end

-- ---------------------------------------------------------------- operators

local function both_need(self, node, st, use)
  return self:need(node.left, self:eval(node.left, st), st, use), self:need(node.right, self:eval(node.right, st), st, use)
end

-- Comparing with a text that it can never be.
local function check_words(self, node, shape, other)
  local word = values.literal(other)
  shape = values.strip(shape)
  if not word or shape.is ~= "string" or not shape.enum or shape.words[word] then return end
  self:report("fields", "error", node, "it is never %q: it is one of %s", word, table.concat(sorted(shape.words), ", "))
end

local BINARY = {}

BINARY["and"] = function(self, node, st)
  local left = self:eval(node.left, st)
  local inside = self:fork(st)
  narrowing.narrow(node.left, inside, true)
  local right = self:eval(node.right, inside)
  if values.when_true(left) == nil then return left end
  local otherwise = left.is == "any" and NIL or values.when_false(left)
  return otherwise and values.join(otherwise, right) or right
end

BINARY["or"] = function(self, node, st)
  local left = self:eval(node.left, st)
  local inside = self:fork(st)
  narrowing.narrow(node.left, inside, false)
  local right = self:eval(node.right, inside)
  local truth = values.when_true(left)
  if left.is ~= "any" and values.when_false(left) == nil then return left end
  return truth and values.join(truth, right) or right
end

BINARY["=="] = function(self, node, st)
  local left, right = self:eval(node.left, st), self:eval(node.right, st)
  check_words(self, node, left, right)
  check_words(self, node, right, left)
  return BOOLEAN
end
BINARY["~="] = BINARY["=="]

BINARY["<"] = function(self, node, st)
  both_need(self, node, st, "is compared")
  return BOOLEAN
end
BINARY[">"], BINARY["<="], BINARY[">="] = BINARY["<"], BINARY["<"], BINARY["<"]

BINARY[".."] = function(self, node, st)
  local left, right = both_need(self, node, st, "is joined to a text")
  local one, other = values.literal(left), values.literal(right)
  return one and other and values.text(one .. other) or STRING
end

local function arithmetic(self, node, st)
  both_need(self, node, st, "is calculated with")
  return NUMBER
end
for op in ("+ - * / // % ^ & | ~ << >>"):gmatch("%S+") do BINARY[op] = arithmetic end

function E.binary(self, node, st)
  return BINARY[node.op](self, node, st)
end

function E.unary(self, node, st)
  local shape = self:eval(node.of, st)
  if node.op == "not" then return BOOLEAN end
  self:need(node.of, shape, st, node.op == "#" and "is measured" or "is calculated with")
  return NUMBER
end

-- ---------------------------------------------------------------- calls

local function apply(self, shape, args, node, st)
  if shape.is == "function" then return self:call_function(shape, args) end
  if shape.is == "builtin" then return shape.call(self, args, node, st) end
  if shape.is == "string" or shape.is == "number" or shape.is == "boolean" then
    self:report("fields", "error", node, "%s is no function", show.text(node.of))
  end
  return { rest = ANY }
end

-- What is known of the fields of each argument.
local function carried(node, st, shift)
  local known = {}
  for i = 1, #node.args + shift do known[i] = i > shift and narrowing.below(node.args[i - shift], st) or {} end
  return known
end

-- The results of a call: a list, with `rest` for what may follow.
function F:call(node, st)
  if node.is == "method" then
    local base = self:need(node.of, self:eval(node.of, st), st, "is indexed")
    local method = self:read_field(node, base, node.name)
    local args = self:multi(node.args, st)
    table.insert(args, 1, base)
    args.known = carried(node, st, 1)
    return apply(self, values.strip(method), args, node, st)
  end
  local shape = self:need(node.of, self:eval(node.of, st), st, "is called")
  local args = self:multi(node.args, st)
  args.known = carried(node, st, 0)
  return apply(self, shape, args, node, st)
end

function E.call(self, node, st)
  local list = self:call(node, st)
  return list[1] or list.rest or NIL
end
E.method = E.call

function F:eval(node, st)
  return E[node.is](self, node, st)
end

-- A list of expressions; the last one may give several values. `want`: how many are used.
function F:multi(nodes, st, want)
  local list = {}
  for i, node in ipairs(nodes) do
    if i == #nodes and (node.is == "call" or node.is == "method") then
      local results = self:call(node, st)
      for n, result in ipairs(results) do list[i + n - 1] = result end
      list.rest = results.rest
      if #results == 0 and not results.rest and (want or i) >= i then list[i] = NIL end
    elseif i == #nodes and node.is == "..." then
      list.rest = ANY
    else
      list[i] = self:eval(node, st)
    end
  end
  return list
end

return M
