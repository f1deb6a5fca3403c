-- What the system says of a process, by its id: its memory and its processor time (proc(5), status and stat).

local M = {}

-- Private (RssAnon) and resident (VmRSS) kilobytes.
function M.memory(id)
  local text = assert(fs.read("/proc/" .. id .. "/status"))
  return tonumber(text:match("RssAnon:%s+(%d+)")), tonumber(text:match("VmRSS:%s+(%d+)"))
end

-- Two times of stat, user and system, from the `first` field behind the name on: seconds (100 ticks are one on Linux).
local function seconds(id, first)
  local fields = {}
  for field in assert(fs.read("/proc/" .. id .. "/stat")):match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = field end
  return (tonumber(fields[first]) + tonumber(fields[first + 1])) / 100
end

-- Seconds of processor time so far.
function M.cpu(id) return seconds(id, 12) end

-- Of the programs that were run and waited for from here.
function M.cpu_of_children() return seconds(process.id, 14) end

return M
