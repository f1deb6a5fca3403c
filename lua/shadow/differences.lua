-- What two decisions on the same object say differently, in the words of a plan (plan/changes.lua): field by field, entries of lists
-- by their names, Secrets hidden.

local bounded = require "bounded"
local changes = require "plan.changes"
local sorted = require "sorted"

local M = {}

-- What a difference may be about: a part of a decision, or `error`, where one of the two could not be made.
M.WHATS = { "status", "children", "prune", "replace", "nudge", "events", "requeue_after", "error" }

local PATHS_MOST = 12  -- of one object, in a log line
local VALUE_MOST = 200 -- bytes of a value of the status, in a log line

local function children_of(decision, all)
  local by_name = {}
  for _, child in ipairs(decision.children or {}) do
    local name = child.kind .. "/" .. child.metadata.name
    by_name[name], all[name] = child, child.kind
  end
  return by_name
end

local function names_of(list)
  local names = {}
  for _, one in ipairs(list or {}) do names[one.kind .. "/" .. one.name] = true end
  return json.array(sorted(names))
end

-- live, shadow: decisions (types/policy.lua). {{what=, path=, live=, shadow= (nil: absent)}...}; empty: they say the same.
function M.compare(live, shadow)
  local found = {}
  local function add(what, path, a, b) found[#found + 1] = { what = what, path = path, live = a, shadow = b } end
  local function whole(what, a, b)
    if not json.equal(a, b) then add(what, "", a, b) end
  end
  for _, change in ipairs(changes.of_status(live.status, shadow.status)) do add("status", change.path, change.old, change.new) end
  local kinds = {}
  local of_live, of_shadow = children_of(live, kinds), children_of(shadow, kinds)
  for _, name in ipairs(sorted(kinds)) do
    for _, change in ipairs(changes.of_objects(kinds[name], of_live[name], of_shadow[name])) do
      add("children", change.path == "" and name or name .. "." .. change.path, change.old, change.new)
    end
  end
  for _, what in ipairs { "prune", "replace", "nudge" } do whole(what, names_of(live[what]), names_of(shadow[what])) end
  whole("events", json.array(live.events or {}), json.array(shadow.events or {}))
  if live.requeue_after ~= shadow.requeue_after then add("requeue_after", "", live.requeue_after, shadow.requeue_after) end
  return found
end

local function brief(value)
  if value == nil then return "nothing" end
  return bounded(type(value) == "table" and json.encode(value) or value, VALUE_MOST)
end

-- For a log line; values of children are left out: "status.phase: live Deployed, shadow Failed; children.Deployment/m.spec.replicas".
function M.sentence(found)
  local parts = {}
  for i, difference in ipairs(found) do
    if i > PATHS_MOST then
      parts[i] = ("and %d more"):format(#found - PATHS_MOST)
      break
    end
    local place = difference.what .. (difference.path ~= "" and "." .. difference.path or "")
    local shows = difference.what == "status" or difference.what == "error"
    parts[i] = shows and ("%s: live %s, shadow %s"):format(place, brief(difference.live), brief(difference.shadow)) or place
  end
  return table.concat(parts, "; ")
end

return M
