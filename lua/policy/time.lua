-- Times as Kubernetes writes them (RFC 3339, UTC or with an offset) and as one calculates: seconds since 1970.

local M = {}

-- Days since 1970-01-01 of a date in the Gregorian calendar, and back: years begin in March, so that
-- the leap day is the last.
local function days_from_date(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = year // 400
  local year_of_era = year - era * 400
  local day_of_year = (153 * (month + (month > 2 and -3 or 9)) + 2) // 5 + day - 1
  return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468
end

local function date_from_days(days)
  days = days + 719468
  local era = days // 146097
  local day_of_era = days - era * 146097
  local year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
  local day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
  local shifted = (5 * day_of_year + 2) // 153
  local month = shifted + (shifted < 10 and 3 or -9)
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return year, month, day_of_year - (153 * shifted + 2) // 5 + 1
end

-- "2020-03-23T02:03:15Z" -> 1584928995; fractions are dropped. nil if it is no time.
function M.parse(s)
  if type(s) ~= "string" then return nil end
  local year, month, day, hour, minute, second, rest =
    s:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt](%d%d):(%d%d):(%d%d)(.*)$")
  if not year then return nil end
  year, month, day = math.tointeger(tonumber(year)), math.tointeger(tonumber(month)), math.tointeger(tonumber(day))
  if month < 1 or month > 12 or day < 1 or day > 31 then return nil end
  local zone = rest:match("^%.%d+(.*)$") or rest
  local offset = 0
  if zone ~= "Z" and zone ~= "z" then
    local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
    if not sign then return nil end
    offset = (math.tointeger(tonumber(hours)) * 3600 + math.tointeger(tonumber(minutes)) * 60) * (sign == "-" and -1 or 1)
  end
  local clock = math.tointeger(tonumber(hour)) * 3600 + math.tointeger(tonumber(minute)) * 60
    + math.tointeger(tonumber(second))
  return days_from_date(year, month, day) * 86400 + clock - offset
end

-- 1584928995 -> "2020-03-23T02:03:15Z"
function M.format(seconds)
  seconds = math.floor(seconds)
  local year, month, day = date_from_days(seconds // 86400)
  local clock = seconds % 86400
  return ("%04d-%02d-%02dT%02d:%02d:%02dZ"):format(year, month, day, clock // 3600, clock // 60 % 60, clock % 60)
end

return M
