-- What policies find without asking for it, as shapes: Lua's libraries, json and quantity, and the words of the prelude.
--
-- A word is a row: its results, and which arguments must not be nil. Those that look at what they are given (require, pairs, rules,
-- setting ...) are functions of their own, here and in lint/predicates.lua. A spec compares the names with what the
-- prelude and the sandbox really offer.

local narrowing = require "lint.narrow"
local predicates = require "lint.predicates"
local show = require "lint.show"
local values = require "lint.values"

local M = {}

local ANY, NIL, NUMBER, STRING, BOOLEAN = values.ANY, values.NIL, values.NUMBER, values.STRING, values.BOOLEAN

local function builtin(call)
  return values.new { is = "builtin", call = call }
end

-- "number?" and so on: what a result is called in the rows below.
local RESULTS = {
  any = ANY, ["nil"] = NIL, number = NUMBER, text = STRING, boolean = BOOLEAN,
  ["number?"] = values.maybe(NUMBER, "it answers nil for what is none"),
    ["text?"] = values.maybe(STRING, "it answers nil where nothing fits"),
}

-- A function by a row: {results..., needs = how many of the first arguments must not be nil}.
local function plain(row)
  local results = {}
  for i, name in ipairs(row) do results[i] = RESULTS[name] or name end
  if row.more then results.rest = RESULTS[row.more] end
  return builtin(function(self, args, node, st)
    local nodes = node.args
    local shift = node.is == "method" and 1 or 0
    for i = 1, row.needs or 0 do
      local arg = nodes[i - shift]
      if arg and args[i] then self:need(arg, args[i], st, "is given to " .. (node.name or show.text(node.of))) end
    end
    return results
  end)
end

local function library(name, rows)
  local fields = {}
  for word, row in pairs(rows) do fields[word] = row.is and row or plain(row) end
  return values.table { fields = fields, name = name }
end

local LIBRARIES = {
  string = { format = { "text", needs = 1 }, sub = { "text", needs = 2 }, lower = { "text", needs = 1 }, upper = { "text", needs = 1 },
    rep = { "text", needs = 2 }, reverse = { "text", needs = 1 }, len = { "number", needs = 1 },
      byte = { "number?", more = "number?", needs = 1 },
    char = { "text" }, find = { "number?", "number?", more = "text?", needs = 2 }, match = { "text?", more = "text", needs = 2 },
    gsub = { "text", "number", needs = 3 } },
  table = { concat = { "text", needs = 1 }, remove = { "any" }, unpack = { more = "any", needs = 1 }, move = { "any" } },
  math = { type = { "text?" }, tointeger = { "number?" } },
  utf8 = { char = { "text" }, codepoint = { "number", more = "number" }, len = { "number?", more = "any" }, offset = { "number?" },
    codes = { "any" } },
  json = { encode = { "text" }, decode = { "any", "text?" }, is_array = { "boolean" }, equal = { "boolean" }, copy = { "any", needs = 1 } },
  quantity = { compare = { "number", "text?" }, add = { "text", "text?" }, sub = { "text", "text?" }, milli = { "number?", "text?" },
    units = { "number?", "text?" } },
  digest = { sha256 = { "text", needs = 1 }, htpasswd = { "text", needs = 2 } },
  base64 = { encode = { "text", needs = 1 } },
  time = { parse = { "number?" }, format = { "text", needs = 1 } },
  labels = { escape = { "text", needs = 1 }, unescape = { "text?", needs = 1 }, is_value = { "boolean" }, is_key = { "boolean" } },
  text = { bounded = { "text", needs = 1 }, trim = { "text", needs = 1 }, fill = { "text", needs = 1 },
    without_names = { "text", needs = 1 },
    refusal = { "text", needs = 1 }, capacity = { "text", needs = 1 }, tail = { "text", needs = 3 },
      same_but_numbers = { "boolean", needs = 2 } },
  resources = { read = { "any", "text?", needs = 1 }, split = { "any", "any", needs = 1 }, cpu_text = { "text", needs = 1 },
    memory_text = { "text", needs = 1 } },
}

for name in ("abs ceil cos deg exp floor fmod log max min modf rad sin sqrt tan ult acos asin atan"):gmatch("%w+") do
  LIBRARIES.math[name] = { "number", more = "number", needs = 1 }
end

local BASE = {
  tostring = { "text" }, tonumber = { "number?" }, type = { "text" }, rawequal = { "boolean" }, rawlen = { "number" },
    select = { more = "any" },
  next = { "any", "any", needs = 1 },
}

-- ---------------------------------------------------------------- functions of their own

local function iterator(...)
  return values.new { is = "iterator", vars = { ... } }
end

-- pairs and ipairs: what they walk over must be there.
local function walker(of)
  return builtin(function(self, args, node, st)
    local list = args[1] or NIL
    if node.args[1] then list = self:need(node.args[1], list, st, "is walked") end
    return { of(list) }
  end)
end

local OWN = {}

OWN.ipairs = walker(function(list) return iterator(NUMBER, values.element(list) or ANY) end)
OWN.pairs = walker(function(map) return iterator(map.is == "table" and map.item and ANY or (map.rest or map.find) and STRING or ANY,
  values.value_of_any_key(map) or ANY) end)

OWN.error = builtin(function(_, _, _, st)
  st.dead = true
  return {}
end)

OWN.assert = builtin(function(_, args, node, st)
  if node.args[1] then narrowing.narrow(node.args[1], st, true) end
  local first = args[1] and values.strip(args[1]) or ANY
  return { first.is == "nil" and ANY or first, rest = ANY }
end)

OWN.pcall = builtin(function(self, args)
  if args[1] and args[1].is == "function" then self:call_function(args[1], { table.unpack(args, 2) }) end
  return { BOOLEAN, rest = ANY }
end)

OWN.setmetatable = builtin(function(_, args)
  if args[1] and args[1].is == "table" and not args[1].find then args[1].open = true end
  return { args[1] or ANY }
end)

-- "; did you mean children.route?": of one folder, only what is behind the dot may be misspelt.
local function in_folder(name, modules)
  local folder, own = name:match("^(.*%.)([^.]+)$")
  if not folder then return show.suggestion(name, modules) end
  local names = {}
  for _, module in ipairs(modules) do
    if module:sub(1, #folder) == folder then names[#names + 1] = module:sub(#folder + 1) end
  end
  local near = show.nearest(own, names)
  return near and "; did you mean " .. folder .. near .. "?" or ""
end

OWN.require = builtin(function(self, args, node)
  local name = args[1] and values.literal(args[1])
  if not name then return { ANY } end
  if name:match("^moonphase%.") then return { self.globals[name:match("%.(.+)$")] or ANY } end
  local shape = self:module(name)
  if not shape and self.broken[name] then return { ANY } end -- it is told of already
  if not shape then
    self:report("names", "error", node, "there is no file %s.lua for require \"%s\"%s", name:gsub("%.", "/"), name,
      in_folder(name, self.module_names))
  end
  return { shape or ANY }
end)

local function own_libraries(globals)
  globals.string.fields.gmatch = builtin(function() return { iterator(STRING, STRING, STRING, STRING) } end)
  globals.table.fields.insert = builtin(function(self, args)
    local list, value = args[1], args[3] or args[2]
    if list and list.is == "table" and value then
      local item = values.join(list.item, value)
      if item ~= list.item then list.item, self.changed = item, true end
    end
    return {}
  end)
  globals.table.fields.sort = builtin(function(self, args, node, st)
    if node.args[1] then self:need(node.args[1], args[1] or NIL, st, "is sorted") end
    local element = args[1] and values.element(args[1]) or ANY
    if args[2] and args[2].is == "function" then self:call_function(args[2], { element, element }) end
    return {}
  end)
  globals.table.fields.pack = builtin(function() return { values.table { item = ANY, fields = { n = NUMBER } } } end)
  globals.json.fields.array = builtin(function(_, args) return { args[1] or ANY } end)
  globals.json.fields.null = ANY
  globals.utf8.fields.charpattern = STRING
  for _, name in ipairs { "pi", "huge", "maxinteger", "mininteger" } do globals.math.fields[name] = NUMBER end
  globals.math.hint = function(name)
    if name == "random" or name == "randomseed" then return "there is no chance in a policy: what is decided follows from what is seen" end
  end
  globals.text.fields.LIMIT = NUMBER
  globals.text.fields.at = builtin(function(self, args, node)
    local path = args[2] and values.literal(args[2])
    if not path or not args[1] then return { ANY } end
    return { predicates.at(self, node, values.strip(args[1]), path, show.text(node.args[1])) }
  end)
end

-- Globals by name, for one flow.
function M.globals()
  local globals = {}
  for name, rows in pairs(LIBRARIES) do globals[name] = library(name, rows) end
  own_libraries(globals)
  for name, row in pairs(BASE) do globals[name] = plain(row) end
  for name, shape in pairs(OWN) do globals[name] = shape end
  for name, shape in pairs(predicates.words(builtin)) do globals[name] = shape end
  globals._ENV = ANY
  return globals
end

return M
