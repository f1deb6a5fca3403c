-- lint/logic.lua: what cannot hold is found, and what can hold never is.

local logic = require "lint.logic"
local parser = require "syntax.parser"

local function formula(expression)
  local tree = assert(parser.parse("return function(s) return " .. expression .. " end", "x.lua"))
  return assert(logic.formula { is = "function", node = tree.body[1].values[1] })
end

describe("a condition", function()
  for _, text in ipairs { "s.a and not s.a", "s.n > 3 and s.n < 2", "s.n > 3 and s.n <= 3", "3 < s.n and s.n == 1", "s.x == 'a' and s.x == 'b'",
    "s.x == 'a' and not s.x", "s.x == nil and s.x", "s.n < 0 and not s.n", "s.n ~= 1 and s.n == 1", "not (s.a or s.b) and s.b",
    "(s.a or s.b) and not s.a and not s.b", "s.x == true and s.x == false", "f(s.a) and not f(s.a)", "s.x < 'b' and s.x > 'c'",
    "s.n > -1 and s.n < -2", "s.list[1] and not s.list[1]", "s.a == s.b and s.a ~= s.b", "s.a > s.b and s.a <= s.b", "false", "nil" } do
    it("cannot hold: " .. text, function() assert.is_false(logic.can_hold { formula(text) }) end)
  end
  for _, text in ipairs { "s.a and not s.b", "s.n > 3 and s.n <= 4", "s.n >= 3 and s.n <= 3", "s.x ~= 'a' and s.x ~= 'b'", "s.x == false and not s.x",
    "s.x ~= nil and not s.x", "not s.x or s.x > 3", "s.a.b and not s.a.c", "f(s.a) and not f(s.b)", "s.n > 1 and s.m < 0", "s.x < 3 or s.x < 'a'",
    "s.x == 0 and s.x", "true", "s.n == 1 and s.n == 1.0", "s[s.a] and not s[s.b]" } do
    it("can hold: " .. text, function() assert.is_true(logic.can_hold { formula(text) }) end)
  end

  it("of a word is that of the same in code", function()
    local fact = assert(logic.formula { word = "fact", path = "a.b" })
    assert.is_false(logic.can_hold { fact, formula "not s.a.b" })
    assert.is_true(logic.can_hold { formula "s.a.b", logic.no(fact) }) -- 5, for one
    assert.is_false(logic.can_hold { formula "s.a.b", logic.no(logic.formula { word = "fact", path = "a.b", is_boolean = true }) })
    assert.is_false(logic.can_hold { formula "s.a", logic.no(logic.formula { word = "always" }) })
    assert.is_nil(logic.formula { word = "crashing" })
  end)

  it("that is too long to be searched is taken to hold", function()
    local parts = {}
    for i = 1, 40 do parts[i] = ("(s.a%d or s.b%d)"):format(i, i) end
    assert.is_true(logic.can_hold { formula(table.concat(parts, " and ") .. " and s.a1 and not s.a1") })
  end)
end)

-- Random conditions over two values, tried with every value that there is: one that can hold for any of them may not be told.
describe("what a search finds", function()
  local VALUES = { n = 10, false, true, 0, 1, 2, 3, "a", "b", "c" } -- and nil
  local CONSTANTS = { { "1", 1 }, { "2", 2 }, { "'a'", "a" }, { "'b'", "b" }, { "nil", nil }, { "true", true }, { "false", false } }
  local COMPARED = { ["=="] = function(a, b) return a == b end, ["~="] = function(a, b) return a ~= b end,
    ["<"] = function(a, b) return a < b end, ["<="] = function(a, b) return a <= b end,
    [">"] = function(a, b) return a > b end, [">="] = function(a, b) return a >= b end }
  local OPS = { "==", "~=", "<", "<=", ">", ">=" }

  local function source(seed)
    local state = seed
    return function(most)
      state = (state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
      return (state >> 33) % most + 1
    end
  end

  -- An expression as text, and a function of x and y that is what it says (it raises where the code would).
  local function random_expression(number, depth)
    local kind = depth == 0 and number(2) or number(5)
    local name = number(2) == 1 and "x" or "y"
    if kind == 1 then return "s." .. name, function(v) return v[name] end end
    if kind == 2 then
      local op, constant = OPS[number(#OPS)], CONSTANTS[number(#CONSTANTS)]
      return ("s.%s %s %s"):format(name, op, constant[1]), function(v) return COMPARED[op](v[name], constant[2]) end
    end
    local left, left_of = random_expression(number, depth - 1)
    if kind == 3 then return "not (" .. left .. ")", function(v) return not left_of(v) end end
    local right, right_of = random_expression(number, depth - 1)
    if kind == 4 then return ("(%s) and (%s)"):format(left, right), function(v) return left_of(v) and right_of(v) end end
    return ("(%s) or (%s)"):format(left, right), function(v) return left_of(v) or right_of(v) end
  end

  local function holds_somewhere(of)
    for i = 1, VALUES.n do
      for j = 1, VALUES.n do
        local ok, truth = pcall(of, { x = VALUES[i], y = VALUES[j] })
        if ok and truth then return ("x = %s, y = %s"):format(tostring(VALUES[i]), tostring(VALUES[j])) end
      end
    end
  end

  it("is true of every value", function()
    local found = 0
    for seed = 1, 4000 do
      local text, of = random_expression(source(seed), 4)
      if not logic.can_hold { formula(text) } then
        found = found + 1
        local where = holds_somewhere(of)
        assert(not where, ("seed %d: told as one that cannot hold, but it does with %s: %s"):format(seed, tostring(where), text))
      end
    end
    assert(found > 100, ("only %d of 4,000 random conditions cannot hold: the test tries nothing"):format(found))
  end)
end)
