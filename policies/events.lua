-- What is told as Kubernetes Events: every row that holds between the status before and the status now makes one.
--
-- Compared are two statuses, so that nothing is told twice and nothing at rest. The host writes an Event after the status that
-- it tells of, puts those that repeat together, and keeps to a rate. A message holds what the status says, and no more.

local function is_failed(status)
  return status.phase == "Failed"
end

local function condition(status, kind)
  for _, one in ipairs(status.conditions or {}) do
    if one.type == kind then return one end
  end
  return {}
end

local function is_silent(status)
  return condition(status, "GroupResolved").reason == "SourceSilent"
end

-- type, reason, when(before, now), message; reason and message are texts or functions of the same two
local ROWS = {
  { "Warning", function(_, now) return now.reason end,
    when = function(before, now) return is_failed(now) and not (is_failed(before) and before.reason == now.reason) end,
    message = function(_, now) return now.message end },

  { "Normal", "Recovered",
    when = function(before, now) return is_failed(before) and (now.phase == "Deploying" or now.phase == "Deployed") end,
    message = function(before, now) return ("%s is over. %s"):format(before.reason or "The failure", now.message) end },

  { "Normal", function(_, now) return now.phase end,
    when = function(before, now) return before.phase ~= now.phase and not is_failed(now) end,
    message = function(_, now) return now.message end },

  { "Warning", "SourceSilent",
    when = function(before, now) return is_silent(now) and not is_silent(before) end,
    message = function(_, now) return condition(now, "GroupResolved").message end },

  { "Normal", "SourceAnswers",
    when = function(before, now) return is_silent(before) and not is_silent(now) end,
    message = "group and instance type can be read again" },
}

local M = {}

local function word(value, before, now)
  return type(value) == "function" and value(before, now) or value
end

-- The Events that tell how the status `before` became `now`: an array of {type, reason, message}.
function M.between(before, now)
  local list = json.array {}
  for _, row in ipairs(ROWS) do
    if row.when(before, now) then
      list[#list + 1] = { type = row[1], reason = word(row[2], before, now), message = text.bounded(word(row.message, before, now)) }
    end
  end
  return list
end

return M
