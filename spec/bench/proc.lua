-- What the system says of a process, by its id: its memory and its processor time (proc(5), status and stat).

local M = {}

-- Private (RssAnon) and resident (VmRSS) kilobytes.
function M.memory(id)
  local text = assert(fs.read("/proc/" .. id .. "/status"))
  return tonumber(text:match("RssAnon:%s+(%d+)")), tonumber(text:match("VmRSS:%s+(%d+)"))
end

-- Seconds of processor time so far (100 ticks a second on Linux).
function M.cpu(id)
  local fields = {}
  for field in assert(fs.read("/proc/" .. id .. "/stat")):match("%) (.*)"):gmatch("%S+") do fields[#fields + 1] = field end
  return (tonumber(fields[12]) + tonumber(fields[13])) / 100
end

return M
