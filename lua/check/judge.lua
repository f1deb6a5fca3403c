-- What a walk holds against a step, a chain and a place where nothing happens any more; what does not hold is raised as a finding.
--
-- A finding is { kind, name, text, node }: kind "invariant" (a row of invariants.lua, or of the operator's own), "error" (the policy
-- fails), "from" (a phase came after one that its row of phases.lua does not name, and there was no fault), "quiet" (a write while
-- nothing goes on) or "settle" (it does not come to rest in time). node: where it was on its way (way.lua).

local guard = require "guard"
local invariants = require "check.invariants"

local M = {}

local RECONCILES_MOST = 50

local Finding = {}

local function fail(kind, name, text, node)
  error(setmetatable({ kind = kind, name = name, text = text, node = node }, Finding), 0)
end

function M.is_finding(value) return getmetatable(value) == Finding end

-- { Deployed = { [""] = true, Deploying = true } }: what may come before a phase, by the claims of phases.lua; a phase of which a row
-- claims nothing may follow any. Policies without such a table claim nothing.
function M.claims(generation)
  local ok, told = pcall(generation.describe, generation, "phases")
  local claims = {}
  for _, row in ipairs(ok and type(told) == "table" and type(told.rows) == "table" and told.rows or {}) do
    local phase, from = row[1], row.from
    if type(from) ~= "table" then
      claims[phase] = false
    elseif claims[phase] ~= false then
      claims[phase] = claims[phase] or {}
      for _, before in ipairs(from) do claims[phase][before] = true end
    end
  end
  return claims
end

-- The phase that a view's object tells; "" if it tells none.
function M.phase(view)
  local object = view and view.object
  return object and object.status and object.status.phase or ""
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name == "" and "nothing" or name end
  table.sort(list)
  return table.concat(list, ", ")
end

local function check(walk, view, node)
  local name, text = invariants.check(walk.invariants, view)
  if name then fail("invariant", name, text, node) end
end

-- A step. walk: { machine, invariants (of invariants.lua), claims }; view: after it.
function M.step(walk, view, node)
  local machine, before = walk.machine, view.previous
  if machine.failure then fail("error", "the policy fails", guard.sentence(machine.failure), node) end
  local was, is = M.phase(before), M.phase(view)
  local may = walk.claims[is]
  if machine.faults == 0 and before and was ~= is and may and not may[was] then
    fail("from", is, ("%s came after %s, and phases.lua says that it comes after %s only"):format(is, was == "" and "nothing" or was,
      sorted(may)), node)
  end
  check(walk, view, node)
end

-- It has settled: it must stay so, and be what was asked for.
function M.rest(walk, view, node)
  local machine = walk.machine
  local before = machine:save()
  machine:resync()
  local write = machine.writes[1]
  if write then
    fail("quiet", "a cluster at rest gets no write", ("%s %s is written (%s), though nothing has changed"):format(write.kind, write.name,
      write.verb), node)
  end
  machine:restore(before)
  view.settled, view.seen, view.decision = true, nil, nil
  check(walk, view, node)
end

-- How often what serves changes in a circle: then the cluster is not at rest, and its status has to follow.
local function changes(chain, from)
  local count = 0
  for i = from, #chain do
    local before = chain[i > from and i - 1 or #chain]
    if chain[i].serves ~= before.serves then count = count + 1 end
  end
  return count
end

-- A chain came round to where it was at its state number `from`: nothing may have been written on the way, but one status for each
-- time that the number of replicas that serve is another (of a model that crashes again and again, and serves in between).
function M.circle(walk, chain, from, view, node)
  local left = changes(chain, from)
  local rests = left == 0
  for i = from, #chain do
    local write = chain[i].wrote
    left = left - (write and 1 or 0)
    if write and (left < 0 or write.verb ~= "status") then
      fail("quiet", "a cluster at rest gets no write", ("it goes in a circle, and each time %s %s is written (%s)"):format(write.kind,
        write.name, write.verb), node)
    end
  end
  if rests then M.rest(walk, view, node) end
end

-- How many replicas serve in this view.
function M.serves(view)
  local deployment = view.children and view.children.Deployment
  return deployment and deployment.status and deployment.status.availableReplicas or 0
end

-- How far each state of a chain is from where it settles, in reconciles; `beyond`: that of where it led to.
function M.measure(walk, chain, beyond, node)
  for i = #chain, 1, -1 do
    beyond = beyond + (chain[i].is_work and 1 or 0)
    walk.distance[chain[i].key] = beyond
  end
  if beyond > RECONCILES_MOST then
    fail("settle", ("it settles within %d reconciles"):format(RECONCILES_MOST), ("%d reconciles were needed"):format(beyond), node)
  end
end

function M.endless(steps, node)
  fail("settle", "it settles", ("it does not come to rest within %d steps"):format(steps), node)
end

return M
