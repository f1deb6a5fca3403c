-- Times as Go reads and writes them: RFC 3339 in, seconds (metav1.Time) or microseconds (metav1.MicroTime) in UTC out. Of a second
-- metav1.Time takes any digits, and metav1.MicroTime six, no more and no less.

local time = require "policy.time"

local M = {}

local LENGTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_date(year, month, day)
  if month < 1 or month > 12 or day < 1 then return false end
  local leap = month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  return day <= LENGTHS[month] + (leap and 1 or 0)
end

local function refuse(text, layout)
  local first, second = layout:match("^(%d+)"), text:match("^%d%d%d%d")
  if not second then return nil, ('parsing time "%s" as "%s": cannot parse "%s" as "%s"'):format(text, layout, text, first) end
  return nil, ('parsing time "%s": it is no time of the form %s'):format(text, layout)
end

-- year, month, day, hour, minute, second, fraction (digits), offset (seconds)
local function parse(text)
  local y, mo, d, h, mi, s, rest = text:match("^(%d%d%d%d)-(%d%d)-(%d%d)T(%d%d):(%d%d):(%d%d)(.*)$")
  if not y then return nil end
  local fraction, zone = rest:match("^%.(%d+)(.*)$")
  zone = zone or rest
  local offset = 0
  if zone ~= "Z" then
    local sign, zh, zm = zone:match("^([+-])(%d%d):(%d%d)$")
    if not sign then return nil end
    offset = (zh * 3600 + zm * 60) * (sign == "-" and -1 or 1)
  end
  y, mo, d, h, mi, s = y // 1 | 0, mo // 1 | 0, d // 1 | 0, h // 1 | 0, mi // 1 | 0, s // 1 | 0
  if not is_date(y, mo, d) or h > 23 or mi > 59 or s > 59 then return nil end
  return y, mo, d, h, mi, s, fraction or "", offset // 1 | 0
end

local function written(y, mo, d, h, mi, s, offset)
  local text = ("%04d-%02d-%02dT%02d:%02d:%02d"):format(y, mo, d, h, mi, s)
  return offset == 0 and text or time.format(time.parse(text .. "Z") - offset):sub(1, -2)
end

-- RFC 3339 text in UTC without fraction; nil, text.
function M.seconds(text)
  if #text == 20 and text:find("^%d%d%d%d%-[01]%d%-[0-2]%dT[01]%d:[0-5]%d:[0-5]%dZ$") and text:sub(9, 10) < "29" then
    local month = text:sub(6, 7)
    if month >= "01" and month <= "12" and text:sub(9, 10) ~= "00" then return text end -- the usual case, at once
  end
  local y, mo, d, h, mi, s, _, offset = parse(text)
  if not y then return refuse(text, "2006-01-02T15:04:05Z07:00") end
  return written(y, mo, d, h, mi, s, offset) .. "Z"
end

local MICRO = "2006-01-02T15:04:05.000000Z07:00"

-- The same with six digits of a second, which must be there.
function M.micro(text)
  local y, mo, d, h, mi, s, fraction, offset = parse(text)
  if not y then return refuse(text, MICRO) end
  if #fraction ~= 6 then
    return nil, ('parsing time "%s" as "%s": cannot parse "%s" as ".000000"'):format(text, MICRO, text:sub(20))
  end
  return written(y, mo, d, h, mi, s, offset) .. "." .. fraction .. "Z"
end

return M
