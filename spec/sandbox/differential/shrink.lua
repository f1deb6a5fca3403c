-- A failing sequence made short: requests are left out, in halves and then one by one, as long as the same kind of difference
-- remains. What a later request refers to may be missing then; its placeholders say "none", on both sides alike.

local M = {}

-- (waits) attempt(list) -> failure or nil; the list ends with the request that failed. -> shorter list, its failure
function M.shrink(list, failure, attempt, most)
  local tries = 0
  local function holds(candidate)
    tries = tries + 1
    local found = attempt(candidate)
    return found and found.signature == failure.signature and found or nil
  end
  local size = math.max(1, #list // 2)
  while size >= 1 and tries < most do
    local at, removed = 1, false
    while at < #list and tries < most do
      local candidate = {}
      for i, r in ipairs(list) do
        if i < at or i >= at + size or i == #list then candidate[#candidate + 1] = r end
      end
      local found = #candidate < #list and holds(candidate)
      if found then
        list, failure, removed = table.move(candidate, 1, found.at, 1, {}), found, true
      else
        at = at + size
      end
    end
    if size == 1 and not removed then break end
    size = size > 1 and size // 2 or removed and 1 or 0
  end
  return list, failure
end

return M
