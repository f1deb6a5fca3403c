-- How long a plan of many objects takes, against whatever cluster they are in: one where nothing changes, and one where everything does
-- (each child is sent to the server for its verdict then).

local include = require "include"
local proc = include "spec/bench/proc.lua"

local M = {}

local RUNS = 3
local OLD, NEW = "app = s.settings.appLabel,", 'app = s.settings.appLabel, ["bench.example/label"] = "new",'

-- The built-in policies in `dir`, and with `edited` a further label on every pod template.
local function write_policies(dir, edited)
  assert(fs.make_folder(dir) and fs.make_folder(dir .. "/children"))
  for _, asset in ipairs(moonphase.assets "policies/") do
    local text = moonphase.read_asset(asset)
    if edited and asset == "policies/children/deployment.lua" then
      local from, to = text:find(OLD, 1, true)
      assert(from, "children/deployment.lua has another line for its labels now")
      text = text:sub(1, from - 1) .. NEW .. text:sub(to + 1)
    end
    assert(fs.write(dir .. "/" .. asset:sub(#"policies/" + 1), text))
  end
end

-- (waits) Wall seconds of the quickest of a few runs, the processor seconds of one, and the last line.
local function seconds(binary, dir, words)
  local best, last, cpu = math.huge, nil, proc.cpu_of_children()
  for _ = 1, RUNS do
    local began = loop.now()
    local result = assert(process.run { argv = { binary, "plan", dir, table.unpack(words) }, timeout = 300 })
    assert(result.status ~= 1, result.errors)
    best, last = math.min(best, loop.now() - began), result.output:match "([^\n]+)\n*$"
  end
  return best, (proc.cpu_of_children() - cpu) / RUNS, last
end

-- (waits) The two figures by `figure(name, seconds, parts)`. words: of `moonphase plan` (namespace, settings).
function M.measure(binary, folder, words, figure)
  for _, run in ipairs { { "nothing_changes", false }, { "everything_changes", true } } do
    local dir = folder .. "/" .. run[1]
    write_policies(dir, run[2])
    local best, cpu, last = seconds(binary, dir, words)
    io.write(("# %.2f s of processor time are its own. %s\n"):format(cpu, last or ""))
    figure(run[1], best, { ("%.2f s of processor, ours"):format(cpu), ("%.2f s waiting for the server"):format(math.max(0, best - cpu)) })
  end
end

return M
