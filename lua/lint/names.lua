-- Names that mean nothing, names that a policy may not have (the clock, the machine, chance), and what is kept between calls.
--
-- At run time a name that nobody declared raises when it is reached, maybe in the one branch that no spec reaches.

local show = require "lint.show"
local sorted = require "sorted"
local walk = require "syntax.walk"

local M = {}

-- Why a name of stock Lua is not here: the words of core/script/sandbox.c.
local HINTS = {
  os = "a policy has no clock and no machine: the time is seen.now",
  io = "a policy does no I/O: declare an input",
  print = "a policy prints nothing: put it in the decision's trace, or raise it with error()",
  coroutine = "a policy is one call from begin to end", debug = "a policy cannot look at itself",
  load = "a policy is text in its files", loadstring = "a policy is text in its files", loadfile = "use require", dofile = "use require",
  package = "use require", collectgarbage = "memory is the host's matter", xpcall = "use pcall",
  getmetatable = "metatables cannot be read here", rawset = "plain assignment does", rawget = "plain indexing does",
  _G = "there is no table of globals",
  -- words of other languages
  null = "what is not there is nil (and what JSON calls null is json.null)", None = "what is not there is nil", undefined = "what is not there is nil",
  True = "it is written true", False = "it is written false",
}

local SPEC_WORDS = { "describe", "it", "before_each" }

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- The name that an expression begins with: x of x.y[1].
local function root_of(node)
  while node.is == "index" or node.is == "paren" do node = node.of end
  return node.is == "name" and node or nil
end

local function global_read(report, node, known)
  if known[node.name] then return end
  if HINTS[node.name] then
    local check = node.name == "os" and "clock" or "names"
    return report(check, "error", node, ("there is no `%s`: %s"):format(node.name, HINTS[node.name]))
  end
  local near = show.nearest(node.name, sorted(known))
  report("names", "error", node, ("the name `%s` is not declared: %s"):format(node.name,
    near and "did you mean " .. near .. "?" or "write `local` in front of its first use, or correct its spelling"))
end

local function global_write(report, node)
  report("names", "error", node, ("the global `%s` is written: write `local` in front of its first use"):format(node.name))
end

-- What a function writes to a local of the file is there in the next call, too.
local function kept(report, target, func)
  local root = root_of(target)
  if func.is_chunk or not root or not root.decl or not root.decl.in_function.is_chunk then return end
  report("state", "warning", target,
    ("`%s` is written here and belongs to the file: a policy that keeps something between two calls is refused"):format(
    show.text(target)))
end

local function look(report, tree, known, is_spec)
  local written = {}
  local function targets(list, func)
    for _, target in ipairs(list) do
      if target.is == "name" and not target.decl then
        written[target] = true
        global_write(report, target)
      elseif not is_spec then
        kept(report, target, func)
      end
    end
  end
  local function inside(func)
    walk.visit(func.body, function(node)
      if node.is == "function" then
        inside(node)
        return false
      end
      if node.is == "assign" then targets(node.targets, func) end
      if node.is == "function statement" then targets({ node.target }, func) end
      if node.is == "name" and not node.decl and not written[node] then global_read(report, node, known) end
    end)
  end
  inside(tree)
end

-- globals: names that policies have.
function M.check(tree, file, globals, is_spec, found)
  local known = set_of(globals)
  for _, name in ipairs(is_spec and SPEC_WORDS or {}) do known[name] = true end
  look(function(check, severity, node, text)
    found { check = check, severity = severity, file = file, line = node.line, text = text }
  end, tree, known, is_spec)
end

return M
