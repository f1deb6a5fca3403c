-- A name that stands twice in one table: Lua takes the last one without a word, and who wrote a new line above the old one sees
-- nothing change.

local walk = require "syntax.walk"

local M = {}

local function name_of(item)
  local key = item.key
  return (item.is == "field" or item.is == "pair") and key.is == "string" and key.value or nil
end

function M.check(tree, file, found)
  for _, node in ipairs(walk.all(tree, "table")) do
    local lines = {}
    for _, item in ipairs(node.items) do
      local name = name_of(item)
      if name and lines[name] then
        found { check = "names", severity = "error", file = file, line = lines[name],
          text = ("`%s` stands twice in this table, here and in line %d, and only the last one counts: take one away"):format(name, item.line) }
      elseif name then
        lines[name] = item.line
      end
    end
  end
end

return M
