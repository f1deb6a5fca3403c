-- A repeatable source of numbers: the same seed makes the same sequence of requests on every machine. (math.random would
-- do, but all sequences share it, and they run side by side.)

local M = {}
M.__index = M

function M.new(seed)
  local self = setmetatable({ seed = seed, state = seed * 2654435761 + 1013904223 }, M)
  for _ = 1, 4 do self:number(2) end -- neighbouring seeds part company
  return self
end

-- 1..most
function M:number(most)
  self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0x7fffffffffffffff
  return (self.state >> 33) % most + 1
end

function M:chance(percent)
  return self:number(100) <= percent
end

function M:pick(list)
  return list[self:number(#list)]
end

-- One of { {weight, value}, ... }
function M:weighted(list)
  local total = 0
  for _, row in ipairs(list) do total = total + row[1] end
  local at = self:number(total)
  for _, row in ipairs(list) do
    at = at - row[1]
    if at <= 0 then return row[2] end
  end
end

-- Some of a list, in order, at least one.
function M:some(list)
  local out = json.array {}
  for _, value in ipairs(list) do
    if self:chance(50) then out[#out + 1] = value end
  end
  if #out == 0 then out[1] = self:pick(list) end
  return out
end

return M
