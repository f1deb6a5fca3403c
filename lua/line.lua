-- A line of a text by its number, from 1 on: what refusals show beside the place that they name.

local M = {}

local SHOWN_MOST = 200 -- bytes

-- As it stands there, without its end; "" where there is none.
function M.raw(text, number)
  local at = 1
  for _ = 2, number do
    at = text:find("\n", at, true)
    if not at then return "" end
    at = at + 1
  end
  return text:match("^[^\n]*", at)
end

-- As people are shown it.
function M.shown(text, number)
  return (M.raw(text, number):match("^%s*(.-)%s*$"):sub(1, SHOWN_MOST))
end

return M
