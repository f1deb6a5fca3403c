-- Looking at a candidate in a process of its own, with what is left of the processors.
--
-- Lint builds a hundred thousand small tables. In our own state the collector would walk them between two slices of the
-- work, and that is a turn of the loop which is too long; and memory that was taken once is rarely given back. So the program is
-- started a second time (moonphase look), told the files, and its answer is waited for. Where no process can be started the
-- work is done here: slower for everybody, and no less true.

local M = {}

local PROGRAM = "/proc/self/exe" -- of the new process: the same file, wherever it lies by now
local SECONDS = 60

-- The words before the command with which we were started: --lua DIR.
local function words_of_ours()
  local words, own = {}, {}
  for word in (fs.read "/proc/self/cmdline" or ""):gmatch "[^%z]+" do words[#words + 1] = word end
  for i = 2, #words do
    if words[i] == "--lua" and words[i + 1] then
      own = { "--lua", words[i + 1] }
    elseif words[i]:match "^%-%-lua=" then
      own = { words[i] }
    end
    if words[i]:sub(1, 1) ~= "-" and words[i - 1] ~= "--lua" then break end
  end
  return own
end

local function is_spec(name)
  local base = name:match "[^/]+$"
  return base:match "_spec%.lua$" or base:match "^spec_" or base:match "_cases%.yaml$"
end

local function without_specs(files)
  local kept = {}
  for name, text in pairs(files) do
    if not is_spec(name) then kept[name] = text end
  end
  return kept
end

-- (waits) What the look `what` finds; nil and why it could not be done.
local function ask(what, files, settings)
  local argv = { PROGRAM }
  for _, word in ipairs(words_of_ours()) do argv[#argv + 1] = word end
  argv[#argv + 1] = "look"
  local result, why = process.run { argv = argv, timeout = SECONDS,
    input = json.encode { what = what, files = without_specs(files), settings = settings } }
  if not result then return nil, why end
  local answer = json.decode(result.output)
  if type(answer) ~= "table" or answer.value == nil then
    return nil, type(answer) == "table" and answer.why or ("it ended with %d: %s"):format(result.status, result.errors:sub(1, 300))
  end
  return answer.value
end

-- (waits) What lint finds in files that are no specs, as lint.check gives it.
function M.lint(files, settings)
  local found, why = ask("lint", files, settings)
  if found then return found end
  log.warn("lint runs in the operator's own process: another one could not be had", { why = why })
  return require("lint").check(files, settings, { specs = false })
end

return M
