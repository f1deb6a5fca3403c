-- moonphase look: looks at the policies of a candidate for an operator that runs, in a process of its own (reload/apart.lua). No
-- command for people: they have moonphase check.
--
-- Standard input is one JSON object: {what, files (names to texts), settings, seconds}. What is found is printed as JSON: {value} or {why}.

local MEMORY_MOST = 96 << 20 -- bytes: the operator's neighbour in its container
local GARBAGE_MOST = 48 << 10 -- kilobytes until the collector runs: a folder like ours is looked at with half of that, and the process ends

local LOOKS = {}

function LOOKS.lint(asked)
  local function pause()
    if collectgarbage "count" > GARBAGE_MOST then collectgarbage "restart" end
  end
  collectgarbage "stop"
  return json.array(require("lint").check(asked.files, asked.settings, { specs = false, pause = pause }))
end

-- What is refused of files that an operator is to begin with.
function LOOKS.first(asked)
  return require("reload.first").refusal(asked.files, asked.settings) or json.null
end

-- As much of the walk through the small world as its time allows (seconds; none: all of it).
function LOOKS.check(asked)
  local generation, failure = require("policies").generation(asked.files, "policies")
  if not generation then error(failure.text, 0) end
  local walk = require "check.walk"
  local found = walk.run { generation = generation, base_settings = asked.settings, files = asked.files, seconds = asked.seconds,
    by_wall = true, events = walk.EVENTS, faults = 1, memory = asked.seconds and MEMORY_MOST or nil, seed = asked.seed }
  local failed = found.failure
  return { complete = found.complete, states = found.states, events = found.events, seed = found.seed,
    failure = failed and { kind = failed.kind, name = failed.name, text = failed.text, replay = failed.replay } or nil }
end

return function()
  local text, unread = fs.read "/dev/stdin"
  local asked, why = json.decode(text or "")
  local look = type(asked) == "table" and LOOKS[asked.what]
  local answer
  if look then
    local ok, value = pcall(look, asked)
    answer = ok and { value = value } or { why = tostring(value) }
  else
    answer = { why = unread or why or "nothing known was asked for" }
  end
  io.write(json.encode(answer), "\n")
  return answer.why and 1 or 0
end
