-- Looking at a candidate in a process of its own, with what is left of the processors.
--
-- Lint builds a hundred thousand small tables. In our own state the collector would walk them between two slices of the
-- work, and that is a turn of the loop which is too long; and memory that was taken once is rarely given back. So the program is
-- started a second time (moonphase look), in the background, told the files, and its answer is waited for. Where no process
-- can be started the work is done here: slower for everybody, and no less true. One that was started and never answered (it was killed, it
-- took too long) may have died of these very files: they are refused, and not looked at here.

local policies = require "policies"

local M = {}

local PROGRAM = "/proc/self/exe" -- of the new process: the same file, wherever it lies by now
local SECONDS = 60
local WALK_SECONDS = 3600 -- of a walk that is not bounded otherwise

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

local NO_PROCESS = "cannot be started"

-- (waits) What the look `what` finds (json.null: nothing), in at most `seconds` of its own if it is bounded; nil, why it could not be
-- done, and whether it was begun.
local function ask(what, files, settings, seconds, timeout)
  local argv = { PROGRAM }
  for _, word in ipairs(words_of_ours()) do argv[#argv + 1] = word end
  argv[#argv + 1] = "look"
  local result, why = process.run { argv = argv, timeout = timeout or SECONDS, background = true,
    input = json.encode { what = what, files = files, settings = settings, seconds = seconds } }
  if not result then return nil, why, not why:find(NO_PROCESS, 1, true) end
  local answer = json.decode(result.output)
  if type(answer) ~= "table" or answer.value == nil then
    return nil, type(answer) == "table" and answer.why or ("it ended with %d: %s"):format(result.status, result.errors:sub(1, 300)), true
  end
  return answer.value
end

local function unanswered(why)
  return ("looking at these policies did not come to an end (%s); to try it again, save them once more"):format(why)
end

-- (waits) What lint finds in files that are no specs, as lint.check gives it.
function M.lint(files, settings)
  local found, why, was_begun = ask("lint", policies.without_specs(files), settings)
  if found then return found end
  if was_begun then return { { check = "lint", severity = "error", text = unanswered(why) } } end
  log.warn("lint runs in the operator's own process: another one could not be had", { why = why })
  return require("lint").check(files, settings, { specs = false })
end

-- (waits) What lint or the specs refuse of files that are to be begun with, as reload/first.lua says it; nil: nothing.
function M.first(files, settings)
  local found, why, was_begun = ask("first", files, settings)
  if found == json.null then return nil end
  if found then return found end
  if was_begun then return { step = "lint", text = ("looking at them did not come to an end (%s)"):format(why) } end
  log.warn("the policies are looked over in the operator's own process: another one could not be had", { why = why })
  return require("reload.first").refusal(files, settings)
end

-- (waits) As much of the walk through the small world (check/walk.lua) as `seconds` allow; nil: all of it. -> {complete, states, text}; nil
-- and a refusal {text, replay}. Where it cannot be had, its answer says so and refuses nothing, unless all of it was asked for.
function M.check(files, settings, seconds)
  local found, why = ask("check", policies.without_specs(files), settings, seconds, seconds and seconds + SECONDS or WALK_SECONDS)
  if not found then
    log.warn("policies were not tried in a small world: that takes a process, which could not be had", { why = why })
    return { complete = false, states = 0, text = "not tried: " .. why }
  end
  local failed = found.failure
  if failed then
    return nil, { text = ("in the small world of moonphase check this goes wrong (%s): %s"):format(failed.name, failed.text), replay = failed.replay }
  end
  if found.complete then return { complete = true, states = found.states, text = ("complete, %d states"):format(found.states) } end
  return { complete = false, states = found.states, text = ("%d states; all stories of up to %d event%s, and some of %d"):format(found.states,
    found.events, found.events == 1 and "" or "s", found.events + 1) }
end

return M
