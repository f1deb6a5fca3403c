-- What the system says of a process, by its id: its memory and its processor time (proc(5), status and stat).

local M = {}

-- Private (RssAnon) and resident (VmRSS) kilobytes.
function M.memory(id)
  local text = assert(fs.read("/proc/" .. id .. "/status"))
  return tonumber(text:match("RssAnon:%s+(%d+)")), tonumber(text:match("VmRSS:%s+(%d+)"))
end

-- Private kilobytes by where they are mapped: {heap=, other= (stacks and what threads have), libraries= (of all), count=, largest= (name
-- of the library with most), most= (its)}.
function M.mapped(id)
  local by_name, at = {}, nil
  for line in assert(fs.read("/proc/" .. id .. "/smaps")):gmatch "[^\n]+" do
    local name = line:match "^%x+%-%x+ %S+ %S+ %S+ %S+%s*(.*)$"
    at = name or at
    local kilobytes = line:match "^Anonymous:%s+(%d+)"
    if kilobytes then by_name[at] = (by_name[at] or 0) + tonumber(kilobytes) end
  end
  local found = { heap = 0, other = 0, libraries = 0, count = 0, most = 0 }
  for name, kilobytes in pairs(by_name) do
    local library = name:match "([^/]+)%.so[.%d]*$"
    if name == "[heap]" then
      found.heap = kilobytes
    elseif library then
      found.libraries, found.count = found.libraries + kilobytes, found.count + 1
      if kilobytes > found.most then found.largest, found.most = library, kilobytes end
    else
      found.other = found.other + kilobytes
    end
  end
  return found
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
