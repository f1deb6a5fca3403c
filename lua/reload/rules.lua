-- settings.reload: how long a candidate may be tried, what it may delete, and for how long it is on trial.

local M = {}

local BOX_SECONDS = 2
local TRIAL_SECONDS = 600 -- every object is decided once more in this time
local LONGEST_SECONDS = 24 * 3600 -- longer is a slip of the finger: a save would never be answered, a trial never end
local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600 }

-- Seconds of "2s", "500ms", "10m", "1h" or "0", 24 h at most; nil if it is no such time.
local function seconds_of(text)
  local number, unit = tostring(text):match "^(%d+%.?%d*)(%l*)$"
  if not number then return nil end
  local seconds = UNITS[unit] and tonumber(number) * UNITS[unit] or unit == "" and tonumber(number) == 0 and 0
  return seconds and seconds <= LONGEST_SECONDS and seconds or nil
end

-- What the settings allow of a reload: {seconds (of check; nil: all it takes), deletions, trial (seconds)}; nil and a sentence.
function M.of(settings)
  local said = settings.reload
  if said == nil or said == json.null then said = {} end
  if type(said) ~= "table" then return nil, "reload must be a map of names to values" end
  local is_full = said.check == "full"
  local seconds = seconds_of(said.check == nil and BOX_SECONDS .. "s" or said.check)
  if not seconds and not is_full then return nil, "reload.check must be a time such as 2s, 24h at most, or full; it is " .. tostring(said.check) end
  local trial = seconds_of(said.trial == nil and TRIAL_SECONDS .. "s" or said.trial)
  if not trial then return nil, "reload.trial must be a time such as 10m, 24h at most; it is " .. tostring(said.trial) end
  local deletions = said.deletions == nil and 0 or math.tointeger(tonumber(said.deletions))
  if not deletions or deletions < 0 then return nil, "reload.deletions must be a whole number from 0 on" end
  return { seconds = not is_full and seconds or nil, deletions = deletions, trial = trial }
end

return M
