-- One line a figure, beside its goal: NAME VALUE UNIT goal GOAL ok|short. What is short says below where the time or the memory goes:
-- a goal that is missed is a question, and who reads the figure should not have to ask it anew.

local M = {}

-- parts: texts, of what is known of it; a function is called only when it is needed (and may wait).
local function tell_parts(parts)
  if type(parts) == "function" then parts = parts() end
  if parts and parts[1] then io.write("    of it: ", table.concat(parts, ", "), "\n") end
end

-- `is_good`: whether the goal is reached. parts: optional.
function M.show(name, value, unit, goal, is_good, parts)
  io.write(("%-34s %10.2f %-5s goal %8s  %s\n"):format(name, value, unit, goal, is_good and "ok" or "short"))
  if not is_good then tell_parts(parts) end
  io.flush()
end

function M.at_most(name, value, unit, goal, parts) M.show(name, value, unit, tostring(goal), value <= goal, parts) end

function M.at_least(name, value, unit, goal, parts) M.show(name, value, unit, tostring(goal), value >= goal, parts) end

-- "1.23 s the words": a part as the others are written.
function M.part(value, unit, words) return ("%.2f %s %s"):format(value, unit, words) end

return M
