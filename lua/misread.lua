-- What people do to YAML by accident, in words that say what to do. The reader's own words tell of its insides: "found character that
-- cannot start any token" is a tab.

local lines = require "line"

local M = {}

local INDENTED = "this line, or the one above it, is indented differently from its neighbours: names that belong together begin in the same column"

-- The reader's words; what it means; what the line must have for that (a pattern), if not every line will do.
local WORDS = {
  { "found character that cannot start any token", "a tab: YAML is indented with spaces only", "\t" },
  { "found character that cannot start any token", "a sign that may not begin a value: put the value in quotes" },
  { "did not find expected ',' or ']'", "a list that is not ended, here or above: `]` or a comma is missing" },
  { "did not find expected ',' or '}'", "a map that is not ended, here or above: `}` or a comma is missing" },
  { "did not find expected key", INDENTED },
  { "did not find expected '-' indicator", INDENTED },
  { "could not find expected ':'", "a name without a value, here or in the line above: each is written NAME: VALUE" },
  { "mapping values are not allowed", "a second `:` in a value: put the value in quotes, or begin a new line" },
}

-- The line (nil: none is named) and the words for what yaml.decode said of `text`.
function M.of(text, why)
  local number, words = why:match(" line (%d+) column %d+: (.+)$")
  if not number then return nil, why end
  local line = lines.raw(text, tonumber(number))
  for _, row in ipairs(WORDS) do
    if words:find(row[1], 1, true) and (not row[3] or line:find(row[3])) then return tonumber(number), row[2] end
  end
  return tonumber(number), words
end

return M
