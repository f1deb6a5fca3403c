-- What a real control plane showed in each story: stories/real.txt, and the comparison with it.

local M = { PATH = "spec/sandbox/stories/real.txt" }

local HEAD = "# What Kubernetes 1.20.2 showed after each step of stories.lua. Written by stories_real.lua --write; not by hand.\n"

-- seen: array of { name=, views= array of arrays of lines }
function M.text(seen)
  local parts = { HEAD }
  for _, story in ipairs(seen) do
    for index, lines in ipairs(story.views) do
      parts[#parts + 1] = ("\n== %s / %d\n"):format(story.name, index)
      for _, line in ipairs(lines) do parts[#parts + 1] = line .. "\n" end
    end
  end
  return table.concat(parts)
end

-- -> { [name of the story] = views }
function M.read()
  local seen, lines = {}, nil
  for line in assert(fs.read(M.PATH)):gmatch("[^\n]+") do
    local name, index = line:match("^== (.*) / (%d+)$")
    if name then
      lines = {}
      seen[name] = seen[name] or {}
      seen[name][tonumber(index)] = lines
    elseif lines and line ~= "" then
      lines[#lines + 1] = line
    end
  end
  return seen
end

local function set_of(lines)
  local counts = {}
  for _, line in ipairs(lines) do counts[line] = (counts[line] or 0) + 1 end
  return counts
end

-- In how many steps a rollout goes depends on which pod is ready first: without what counts them. And the real controller
-- reads from a cache: when a write of its fails on that, "has successfully progressed" goes on naming the old set, and the first sign of
-- life of a new one is overlooked.
local function without_races(line)
  line = line:gsub("#%d+(\\\" has successfully progressed)", "#?%1")
  for _, reason in ipairs { "NewReplicaSetCreated", "ReplicaSetUpdated", "FoundNewReplicaSet" } do
    line = line:gsub('{"message":"[^{}]-","reason":"' .. reason .. '"', '{"reason":"under way"')
  end
  return line
end

local function without_steps(lines)
  local left = {}
  for _, line in ipairs(lines or {}) do
    if not line:find("^event .* ScalingReplicaSet ") and not line:find("^event .* Successful%a+ ") then
      left[#left + 1] = line:find("^set ") and line:gsub("generation=%d+ ", ""):gsub('"observedGeneration":%d+', "")
        or without_races(line)
    end
  end
  return left
end

local function missing(sign, from, other, parts)
  local counts = set_of(other)
  for _, line in ipairs(from) do
    counts[line] = (counts[line] or 0) - 1
    if counts[line] < 0 then parts[#parts + 1] = "    " .. sign .. " " .. line end
  end
end

-- nil, or what differs: lines with - only the real one has, + only the sandbox. loose: not in how many steps it came about.
function M.compare(real, sandbox, loose)
  local parts = {}
  for index, lines in ipairs(real) do
    local found, here = {}, sandbox[index] or {}
    if loose then lines, here = without_steps(lines), without_steps(here) end
    missing("-", lines, here, found)
    missing("+", here, lines, found)
    if found[1] then
      parts[#parts + 1] = "  after step " .. index
      table.move(found, 1, #found, #parts + 1, parts)
    end
  end
  return parts[1] and table.concat(parts, "\n") or nil
end

return M
