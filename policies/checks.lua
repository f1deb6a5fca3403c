-- What makes no sense before anything is tried: settings with a typo, labels that Kubernetes would refuse.
--
-- Each check answers a sentence for the object's status, or nil. A wrong setting must not take routes away or
-- touch models: failures.lua blocks all writes while one is there, and every object says which it is.

local M = {}

-- Settings that are one of a few words.
local WORDS = {
  { "quota.counts", { "limits", "requests" } },
  { "route", { "Ingress", "HTTPRoute", "none" } },
  { "engine.kind", { "seldon", "none" } },
  { "onGroupLost", { "keep", "stop" } },
  { "rollout.strategy", { "resource-aware", "available" } },
}

-- Settings that are quantities, with an example.
local QUANTITIES = { { "engine.share.cpu", "300m" }, { "engine.share.memory", "250Mi" } }

-- Settings that are whole numbers, the least that they may be, and the most.
local NUMBERS = {
  { "engine.share.percent", 0, 100 },
  { "grace.image", 0 }, { "grace.quota", 0 }, { "grace.capacity", 0 }, { "grace.refused", 0 }, { "grace.config", 0 },
  { "grace.mount", 0 }, { "grace.fetch", 0 }, { "grace.crash", 0 },
  { "crash.restarts", 1 }, { "crash.lines", 0 }, { "crash.bytes", 16 },
  { "history.limit", 1, 256 }, { "history.maxBytes", 1024 }, { "rollout.budget", 1 }, { "rollout.progressDeadlineSeconds", 1 },
  { "model.preStopSleepSeconds", 0 }, { "probes.initialDelaySeconds", 0 }, { "probes.periodSeconds", 1 },
  { "probes.timeoutSeconds", 1 }, { "probes.failureThreshold", 1 },
  { "ingress.timeoutSeconds", 0 }, { "source.graphql.timeoutSeconds", 1 }, { "source.graphql.ttlSeconds", 1 },
}

-- The paths of the rows, taken apart once: this is asked for every object, each time.
for _, rows in ipairs { WORDS, QUANTITIES, NUMBERS } do
  for _, row in ipairs(rows) do
    row.steps = {}
    for step in row[1]:gmatch("[^.]+") do row.steps[#row.steps + 1] = step end
  end
end

local function value_of(settings, row)
  local value = settings
  for _, step in ipairs(row.steps) do
    if type(value) ~= "table" then return nil end
    value = value[step]
  end
  return value
end

function M.is_quantity(value)
  return value ~= nil and quantity.milli(tostring(value)) ~= nil
end

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then return true end
  end
  return false
end

-- A value as the sentences below name it. (An emptied settings.yaml has none of them.)
local function said(value)
  return value == nil and "not set" or ("%q"):format(tostring(value))
end

-- What is wrong with the settings; nil if nothing is.
function M.settings(settings)
  for _, row in ipairs(WORDS) do
    local value = value_of(settings, row)
    if not contains(row[2], value) then
      local words = row[2]
      return ("%s is %s: it is %s or %s"):format(row[1], said(value), table.concat(words, ", ", 1, #words - 1), words[#words])
    end
  end
  for _, row in ipairs(QUANTITIES) do
    local value = value_of(settings, row)
    if not M.is_quantity(value) then return ("%s is %s: it is a quantity, such as %s"):format(row[1], said(value), row[2]) end
  end
  for _, row in ipairs(NUMBERS) do
    local value = value_of(settings, row)
    if type(value) ~= "number" or value ~= math.floor(value) or value < row[2] or value > (row[3] or value) then
      local range = row[3] and ("from %d to %d"):format(row[2], row[3]) or ("from %d on"):format(row[2])
      return ("%s is %s: it is a whole number %s"):format(row[1], said(value), range)
    end
  end
  local graphql = settings.source.graphql
  if graphql.endpoint ~= "" and not graphql.endpoint:find("^https?://[%w]") then
    return ("source.graphql.endpoint is %q: it begins with http:// or https://"):format(graphql.endpoint)
  end
  if graphql.tokenFile ~= "" and graphql.tokenSecret.name ~= "" then
    return "source.graphql has both tokenFile and tokenSecret: the token comes from one of them"
  end
  if settings.route == "HTTPRoute" and #settings.httpRoute.parentRefs == 0 then
    return "httpRoute.parentRefs is empty: an HTTPRoute needs a Gateway, such as [{name: public, namespace: gateways}]"
  end
  local readiness = settings.model.readiness
  if readiness ~= "tcp" and readiness:sub(1, 1) ~= "/" then
    return ("model.readiness is %q: it is tcp, or a path such as /health/ping"):format(readiness)
  end
  return nil
end

-- What is wrong with a label that the pods would carry or ask of nodes; nil if nothing is. (A group's label is always right: it is
-- escaped. So are the names of children: NameTooLong comes before.)
function M.labels(s)
  if not labels.is_value(s.settings.appLabel) then
    return ("the setting appLabel is %q"):format(tostring(s.settings.appLabel))
  end
  local names = {}
  for key in pairs(s.instance_type.node_selector or {}) do names[#names + 1] = key end
  table.sort(names)
  for _, key in ipairs(names) do
    local value = s.instance_type.node_selector[key]
    if not labels.is_key(key) or not labels.is_value(value) then
      return ("the node selector %s: %s of the instance type %s"):format(key, tostring(value), tostring(s.instance_type.name))
    end
  end
  return nil
end

return M
