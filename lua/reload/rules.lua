-- settings.reload: how long a candidate may be tried, and what it may delete.

local M = {}

local BOX_SECONDS = 2

-- "2s", "500ms", "0" or "full": seconds, or nil for no limit. Then a sentence if it is none of these.
local function time_box(text)
  if text == "full" then return nil end
  if text == nil then return BOX_SECONDS end
  local number, unit = tostring(text):match("^(%d+%.?%d*)(m?s?)$")
  if not number or unit == "m" then return nil, "reload.check must be a time such as 2s, or full; it is " .. tostring(text) end
  return tonumber(number) / (unit == "ms" and 1000 or 1)
end

-- What the settings allow of a reload: {seconds (nil: all), deletions}; nil and a sentence.
function M.of(settings)
  local said = settings.reload
  if said == nil or said == json.null then said = {} end
  if type(said) ~= "table" then return nil, "reload must be a map of names to values" end
  local seconds, wrong = time_box(said.check)
  if wrong then return nil, wrong end
  local deletions = said.deletions == nil and 0 or math.tointeger(tonumber(said.deletions))
  if not deletions or deletions < 0 then return nil, "reload.deletions must be a whole number from 0 on" end
  return { seconds = seconds, deletions = deletions }
end

return M
