-- A counterexample as a short story: what happened, what the operator saw, which row decided, how it ends, and how to see it again.
--
-- The walk hands over every step of the way there. People want to read what matters, so two things are done: the way is made
-- shorter (shrink: steps are left out as long as the same thing still goes wrong), and what is left is told in few lines (tell:
-- what goes on by itself, looks that change nothing among it, is one line, and of what is seen only that is told which is new).
--
-- Stories are printed and end up in tickets: of what was seen they hold names of kinds, counts, phases and reasons, and no contents.

local M = {}

local WIDTH = 10       -- of the column that says who it was
local CLUSTER_MOST = 3 -- things that the cluster does in one line
local TEXT_MOST = 300  -- bytes of a sentence that comes from elsewhere
local TRIES_MOST = 400

-- Of each kind of failure: what is wrong, in front of its sentence.
local HEADLINES = {
  invariant = function(failure) return ("What must always be so is not (%s)"):format(failure.name or "?") end,
  settle = function() return "It does not come to rest as it should" end,
  quiet = function() return "It writes although nothing goes on" end,
  error = function() return "The policy fails" end,
  from = function(failure) return ("A phase comes after one that its row does not name in `from` (%s)"):format(failure.name or "?") end,
}

local function bounded(text)
  text = tostring(text):gsub("[%c%s]+", " ")
  return #text <= TEXT_MOST and text or text:sub(1, TEXT_MOST) .. " ..."
end

-- ---------------------------------------------------------------- what was seen, in words

-- What goes to a policy as bytes (policy.raw), as a table.
local function opened(value)
  if type(value) == "table" and value[policy.bytes] then return json.decode(value[policy.bytes]) end
  return type(value) == "table" and value or nil
end

local function count_of(number, word)
  return ("%d %s%s"):format(number, word, number == 1 and "" or "s")
end

local function deployment_words(deployment)
  local status, metadata = deployment.status or {}, deployment.metadata
  local image
  for _, container in ipairs(deployment.spec.template.spec.containers or {}) do
    if container.name == "model" then image = container.image end
  end
  local seen_by = (status.observedGeneration or 0) >= (metadata.generation or 0) and ""
    or (", its controller at generation %d of %d"):format(status.observedGeneration or 0, metadata.generation)
  return ("the Deployment with %s, %d wanted, %d there, %d new, %d available%s"):format(image or "no model", deployment.spec.replicas or 1,
    status.replicas or 0, status.updatedReplicas or 0, status.availableReplicas or 0, seen_by)
end

-- What a pod waits for or does, in a word or two.
local function pod_word(pod)
  if pod.metadata.deletionTimestamp then return "ending" end
  local status = pod.status or {}
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == "PodScheduled" and condition.status == "False" then return condition.reason or "not scheduled" end
  end
  for _, container in ipairs(status.containerStatuses or {}) do
    local state = container.state or {}
    if state.waiting then return state.waiting.reason or "waiting" end
    if state.terminated then return state.terminated.reason or "ended" end
  end
  for _, condition in ipairs(status.conditions or {}) do
    if condition.type == "Ready" and condition.status == "True" then return "ready" end
  end
  return status.phase or "new"
end

local function pods_words(pods)
  if #pods == 0 then return "no pods" end
  local words = {}
  for i, pod in ipairs(pods) do words[i] = pod_word(opened(pod)) end
  table.sort(words)
  return count_of(#pods, "pod") .. " (" .. table.concat(words, ", ") .. ")"
end

local function object_words(object)
  local spec, status = object.spec or {}, object.status or {}
  local predictor = spec.predictors and spec.predictors[1] or {}
  local asks = spec.stop and "stop" or ("%s times %s"):format(spec.replicas or predictor.replicas or 1, predictor.modelImage or "no image")
  local tells = ", with no status"
  if status.phase then tells = (", and tells %s of generation %s"):format(status.phase, status.observedGeneration or "?") end
  return ("generation %s, which asks for %s%s"):format(object.metadata.generation or "?", asks, tells)
end

local function inputs_words(seen, parts)
  for _, name in ipairs { "group", "instance_type" } do
    local input = seen[name]
    if input and input.state ~= "found" then parts[#parts + 1] = ("the %s: %s"):format((name:gsub("_", " ")), input.state) end
  end
  for _, problem in ipairs(seen.problems or {}) do
    parts[#parts + 1] = ("%s %s was refused (%s)"):format(problem.kind, problem.name, problem.reason)
  end
end

-- What the operator saw when it decided, as parts of a sentence. (seen: what observe.lua puts together; or a text, as it stands.)
local function parts_of(seen)
  if type(seen) ~= "table" then return { bounded(seen) } end
  local parts, object = {}, opened(seen.object)
  if object then parts[1] = object_words(object) end
  local one
  for _, deployment in pairs(seen.children and seen.children.deployments or {}) do one = opened(deployment) end
  parts[#parts + 1] = one and deployment_words(one) or "no Deployment"
  parts[#parts + 1] = pods_words(seen.pods or {})
  inputs_words(seen, parts)
  return parts
end

-- The same as a sentence: of what was told of the look before (an array of parts) only what is new.
local function saw(seen, before)
  local parts, known, new = parts_of(seen), {}, {}
  for _, part in ipairs(before) do known[part] = true end
  for _, part in ipairs(parts) do
    if not known[part] then new[#new + 1] = part end
  end
  return "saw " .. (#new > 0 and table.concat(new, "; ") or "nothing new"), parts
end

-- ---------------------------------------------------------------- lines

local VERBS = { apply = "wrote", delete = "deleted" }

-- "wrote Deployment deploy-m, Service deploy-m", "wrote the status".
local function writes_words(writes)
  local words, verb = {}, nil
  for _, write in ipairs(writes or {}) do
    local is = VERBS[write.verb] or write.verb or "wrote"
    if write.verb == "status" then
      words[#words + 1], verb = "wrote the status", nil
    else
      words[#words + 1] = ("%s%s %s"):format(is ~= verb and is .. " " or "", write.kind or "?", write.name or "")
      verb = is
    end
  end
  return #words > 0 and table.concat(words, ", ") or nil
end

local function decided(step)
  local row, before, after = step.row, step.phase_before, step.phase_after
  if not row and not after then return nil end
  local function word(phase) return phase and phase ~= "" and phase or "no phase" end
  if word(after) == "no phase" then return row and ("the row %s decided"):format(row) end
  local change = before == after and word(after) .. " as before" or ("%s after %s"):format(word(after), word(before))
  return row and ("the row %s decided: %s"):format(row, change) or "decided: " .. change
end

-- What happens by itself and changes nothing that people are told of: a piece of the cluster's work, time, and a look of the operator that
-- writes no child and tells the phase of before.
local function is_quiet(step)
  if step.what == "cluster" or step.what == "time" then return true end
  if step.what ~= "operator" or not step.seen or step.phase_before ~= step.phase_after then return false end
  for _, write in ipairs(step.writes or {}) do
    if write.kind ~= "PhDeployment" then return false end
  end
  return true
end

-- What is said of a step as it stands says nothing: the walk's words for going on.
local EMPTY = { ["the operator looks"] = true, ["the cluster goes on"] = true, ["time passes"] = true }

-- The lines of one step behind its number. known: what was told of the look before. -> lines, what is known now
local function step_lines(step, known)
  local lines = {}
  if step.text and step.text ~= "" and not EMPTY[step.text] then lines[1] = bounded(step.text) end
  if not step.seen then return lines, known end
  lines[#lines + 1], known = saw(step.seen, known)
  lines[#lines + 1] = decided(step)
  lines[#lines + 1] = writes_words(step.writes)
  return lines, known
end

-- Quiet steps in a row, in one line.
local function quiet_line(steps, from, to)
  local words, count, looks = {}, 0, 0
  for i = from, to do
    local step = steps[i]
    if step.what == "operator" then
      looks = looks + 1
    elseif step.text and not EMPTY[step.text] then
      count = count + 1
      if count <= CLUSTER_MOST then words[count] = bounded(step.text) end
    end
  end
  local line = count > 0 and table.concat(words, "; ") or "goes on"
  if count > CLUSTER_MOST then line = ("%s; and %d things more"):format(line, count - CLUSTER_MOST) end
  local seconds = (steps[to].seconds or 0) - (steps[from - 1] and steps[from - 1].seconds or 0)
  if seconds >= 1 then line = line .. (", for %.0f s"):format(seconds) end
  if looks > 0 then line = ("%s; %s of the operator, and it tells no other phase"):format(line, count_of(looks, "look")) end
  return line
end

-- Steps as they are told: {who, lines}. The last step is always told in full, for it is how it ends.
local function told(steps)
  local list, known, i = {}, {}, 1
  while i <= #steps do
    local last = i
    while last < #steps - 1 and is_quiet(steps[i]) and is_quiet(steps[last + 1]) do last = last + 1 end
    if is_quiet(steps[i]) and i < #steps then
      list[#list + 1] = { who = "cluster", lines = { quiet_line(steps, i, last) } }
    else
      local lines
      lines, known = step_lines(steps[i], known)
      if #lines == 0 then lines[1] = quiet_line(steps, i, i) end
      list[#list + 1] = { who = steps[i].what == "time" and "cluster" or steps[i].what, lines = lines }
    end
    i = last + 1
  end
  return list
end

-- The story of a failure that walk.run gave, as text. again: the command that shows it again, if that is known; else the
-- failure's own words behind --replay.
function M.tell(failure, again)
  local headline = HEADLINES[failure.kind] or function() return "It goes wrong" end
  local lines = { headline(failure) .. ": " .. bounded(failure.text), "" }
  for i, one in ipairs(told(failure.steps or {})) do
    for j, line in ipairs(one.lines) do
      local lead = j == 1 and ("%4d  %-" .. WIDTH .. "s"):format(i, one.who) or (" "):rep(6 + WIDTH)
      lines[#lines + 1] = lead .. line
    end
  end
  lines[#lines + 1] = ""
  lines[#lines + 1] = "So it ends: " .. bounded(failure.text)
  if again or failure.replay then lines[#lines + 1] = "To see it again: " .. (again or "--replay " .. failure.replay) end
  return table.concat(lines, "\n")
end

-- ---------------------------------------------------------------- shorter

local function without(list, from, count)
  local rest = {}
  for i, item in ipairs(list) do
    if i < from or i >= from + count then rest[#rest + 1] = item end
  end
  return rest
end

-- The fewest of these moves that still go wrong in the same way. try(moves) plays them from the begin: the failure, or nil. Halves are
-- left out first, then smaller pieces, down to one (delta debugging: Zeller and Hildebrandt, 2002). -> the failure, its moves
-- options: {tries = at most so many (400), more = function(): false when no time is left}
function M.shrink(failure, moves, try, options)
  local most, more = options and options.tries or TRIES_MOST, options and options.more or function() return true end
  local size, tries = math.max(1, #moves // 2), 0
  while #moves > 0 do
    local before, from = #moves, 1
    while from <= #moves do
      if tries >= most or not more() then return failure, moves end
      tries = tries + 1
      local rest = without(moves, from, size)
      local found = try(rest)
      if found and found.kind == failure.kind and found.name == failure.name then
        failure, moves = found, rest
      else
        from = from + size
      end
    end
    if size == 1 and #moves == before then break end
    size = math.max(1, size // 2)
  end
  return failure, moves
end

return M
