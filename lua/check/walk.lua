-- The walk through every reachable state of the small world (scene.lua), with faults, by the number of events.
--
-- The machine (machine.lua) goes on by itself in one way, from any state, until nothing happens any more or it comes round in a circle: a
-- chain. At the points of a chain events may happen, and each begins another chain. First comes the chain from the
-- beginning, then all chains one event away from it, then those that are two away, and so on; so the first thing that is found wrong has
-- as short a story as there is. A chain ends early where it meets a state that was seen before (state.lua), because from there on
-- everything is known.
--
-- In every state the invariants must hold. Every chain is what happens once faults stop: so it must settle, within 50 reconciles,
-- stay so without a write, and be what the spec asks for. Chains in which a view lags behind are walked with the lag, and at each of their
-- points the lag ends, too. `from` of the phases is looked at where no fault has happened.

local inprocess = require "sandbox.inprocess"
local invariants_of = require "check.invariants"
local machine = require "check.machine"
local stage = require "sandbox.stage"
local state = require "check.state"
local scene = require "check.scene"

local M = {}

local RECONCILES_MOST = 50
local CHAIN_MOST = 3000 -- steps; a chain that is longer goes nowhere
local CIRCLE_MS = 60000 -- what comes round sooner may differ in times that state.lua does not tell apart
local HELD_MOST = 150   -- steps with a view that lags
local MEMO_MOST = 3000  -- decisions that are remembered

-- ---------------------------------------------------------------- decisions, remembered

-- A decision is a pure function of what is seen: the same is not asked for twice.
local SEEN_MASK = { settings = true }

local function remembering()
  local memo, count = {}, 0
  return function(guard, seen)
    local key = digest.masked(seen, SEEN_MASK)
    local known = memo[key]
    if not known then
      local decision, failure = guard:decide(seen)
      if count >= MEMO_MOST then memo, count = {}, 0 end
      known = { decision, failure }
      memo[key], count = known, count + 1
    end
    return known[1], known[2]
  end
end

-- ---------------------------------------------------------------- `from` of the phases

-- { Deployed = { [""] = true, Deploying = true } }: what may come before a phase, by the claims of phases.lua; a phase of which a row
-- claims nothing may follow any. Policies without such a table claim nothing.
local function claims_of(generation)
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

-- ---------------------------------------------------------------- one walk

local Walk = {}
Walk.__index = Walk

local function new_walk(options)
  local generation, settings = stage.policies(options)
  local self = setmetatable({ options = options, generation = generation, seed = options.seed or 1, limit = options.limit or math.huge,
    states = 0, nodes = 0, edges = 0, seen = {}, known = {}, distance = {}, points = {}, began = os.clock(), wall = loop.now(),
    most_events = options.events or math.huge, most_faults = options.faults or 1,
    invariants = options.invariants or invariants_of.of(generation, options.files or {}), claims = claims_of(generation) }, Walk)
  self.machine = machine.new { generation = generation, declaration = stage.declaration(generation), settings = settings, seed = 1,
    decide = remembering() }
  return self
end

-- { parent =, name = } of every state that was met first by this event; the story is read backwards from it.
local function path_of(node)
  local names = {}
  while node and node.name do
    table.insert(names, 1, node.name)
    node = node.parent
  end
  return names
end

local Found = {} -- raised with what is wrong

local function fail(self, what, name, text, node)
  error(setmetatable({ invariant = what, name = name, text = text, node = node, walk = self }, Found), 0)
end

-- The key of the present state among those that were seen.
local function key_of(self)
  local m = self.machine
  local world = state.of_world(m.world, scene.NAMESPACE)
  local own = world ~ state.of_operator(m.operator, m.is_held) * 31
  if m.held then own = own * 7 ~ digest.quick(m.held) end
  if not self.seen[own] then
    self.seen[own] = true
    self.states = self.states + 1
  end
  return own ~ (state.of_used(m.world) * 3 + math.min(m.faults, 3) * 0x9E3779B97F4A7C15)
end

local function check(self, view, node)
  local name, text = invariants_of.check(self.invariants, view)
  if name then fail(self, "invariant", name, text, node) end
end

local function phase_of(view)
  local object = view and view.object
  return object and object.status and object.status.phase or ""
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name == "" and "nothing" or name end
  table.sort(list)
  return list
end

-- What must be so after each step.
local function judge(self, view, node)
  local m, before = self.machine, view.previous
  if m.failure then fail(self, "error", "the policy fails", require("guard").sentence(m.failure), node) end
  local was, is = phase_of(before), phase_of(view)
  local may = self.claims[is]
  if m.faults == 0 and before and was ~= is and may and not may[was] then
    fail(self, "from", is, ("%s came after %q, and phases.lua says that it comes after %s only"):format(is, was,
      table.concat(sorted(may), ", ")), node)
  end
  check(self, view, node)
end

local function is_over(self)
  local o = self.options
  if self.states >= self.limit then return "states" end
  if o.seconds and (o.by_processor and os.clock() - self.began or loop.now() - self.wall) >= o.seconds then return "seconds" end
  return nil
end

-- It has settled: it must stay so, and be what was asked for.
local function judge_settled(self, view, node)
  local m = self.machine
  local before = m:save()
  m:resync()
  if #m.writes > 0 then
    local write = m.writes[1]
    fail(self, "quiet", "a cluster at rest gets no write", ("%s %s is written (%s), though nothing has changed"):format(write.kind,
      write.name, write.verb), node)
  end
  m:restore(before)
  view.settled, view.seen, view.decision = true, nil, nil
  check(self, view, node)
end

-- How far each state of a chain is from where it settles, in reconciles.
local function measure(self, chain, beyond, node)
  for i = #chain, 1, -1 do
    beyond = beyond + (chain[i].is_work and 1 or 0)
    self.distance[chain[i].key] = beyond
  end
  if beyond > RECONCILES_MOST then
    fail(self, "settle", "it settles within 50 reconciles", ("%d reconciles were needed"):format(beyond), node)
  end
end

-- It came round to where it was: nothing may have been written on the way.
local function judge_circle(self, chain, from, view, node)
  for i = from, #chain do
    if chain[i].wrote then
      fail(self, "quiet", "a cluster at rest gets no write", ("it goes in a circle, and each time %s %s is written (%s)"):format(
        chain[i].wrote.kind, chain[i].wrote.name, chain[i].wrote.verb), node)
    end
  end
  judge_settled(self, view, node)
end

-- From the present state on. held: with the view that lags.
local function walk_chain(self, node, view, level, held)
  local m, chain, at = self.machine, {}, {}
  local thaws = held and {} or nil
  for steps = 0, held and HELD_MOST or CHAIN_MOST do
    local key = key_of(self)
    local first = at[key]
    if first and (held or m.world:now() - chain[first].now >= CIRCLE_MS) then
      if not held then
        judge_circle(self, chain, first, view, node)
        measure(self, chain, 0, node)
      end
      return thaws
    end
    if not first and self.known[key] then
      if not held then measure(self, chain, self.distance[key] or 0, node) end
      return thaws
    end
    if not first then
      self.known[key] = true
      self.nodes = self.nodes + 1
      at[key] = #chain + 1
    end
    if steps % 16 == 15 and is_over(self) then self.cut = true end
    local point = not first and m:is_point() and level < self.most_events and m:save() or nil
    if point and thaws then thaws[#thaws + 1] = { saved = point, node = node, view = view } end
    local was_ready, now = m:is_ready(), m.world:now()
    local what = held and m:step() or not held and m:calm()
    if point then
      local points = self.points[level]
      points[#points + 1] = { saved = point, node = node, writes = was_ready and m.write_number or 0 }
    end
    if not what then
      if not held then
        measure(self, chain, 0, node)
        judge_settled(self, view, node)
      end
      return thaws
    end
    self.edges = self.edges + 1
    chain[#chain + 1] = { key = key, now = now, is_work = what == "operator", wrote = m.writes[1] }
    node = { parent = node, name = held and "step" or "calm" }
    view = m:view(view)
    judge(self, view, node)
  end
  if not held then
    fail(self, "settle", "it settles", ("it does not come to rest within %d steps"):format(CHAIN_MOST), node)
  end
  return thaws
end

-- The state that an event led to, and all that follows from it.
local function walk_from(self, name, node, before, level)
  local m = self.machine
  local view = m:view(before)
  self.edges = self.edges + 1
  node = { parent = node, name = name }
  judge(self, view, node)
  if not m.held then
    walk_chain(self, node, view, level)
    return
  end
  local thaws = walk_chain(self, node, view, level, true)
  for _, point in ipairs(thaws) do
    for _, how in ipairs { "thaw", "skip" } do
      if self.cut then return end
      m:restore(point.saved)
      if m:act(how) then walk_from(self, how, point.node, point.view, level) end
    end
  end
end

-- All events that may happen at a point.
local function expand(self, point, level)
  local m = self.machine
  m:restore(point.saved)
  local before = m:view(nil)
  local left = self.most_faults - m.faults
  local names = m:events(left)
  for _, name in ipairs(m:events_within(point.writes, left)) do names[#names + 1] = name end
  for _, name in ipairs(names) do
    if self.cut or is_over(self) then
      self.cut = true
      return
    end
    m:restore(point.saved)
    if m:act(name) then walk_from(self, name, point.node, before, level) end
  end
  if left <= 0 or point.writes == 0 then return end
  m:restore(point.saved)
  local worlds = m:worlds_after_writes()
  for n, world in ipairs(worlds) do
    if self.cut then return end
    m:restore(point.saved)
    m.faults = m.faults + 1
    m:reborn(world)
    walk_from(self, "crash:" .. n, point.node, before, level)
  end
end

-- Another order for another seed; what is tried is the same.
local function shuffled(list, seed)
  local random = seed * 0x9E3779B97F4A7C15
  for i = #list, 2, -1 do
    random = random * 6364136223846793005 + 1442695040888963407
    local j = (random >> 33) % i + 1
    list[i], list[j] = list[j], list[i]
  end
  return list
end

local function walk_all(self)
  self.points[0] = {}
  walk_chain(self, { }, self.machine:view(nil), 0)
  local level = 0
  while level < self.most_events and #self.points[level] > 0 and not self.cut do
    level = level + 1
    self.points[level], self.level = {}, level - 1
    local points = shuffled(self.points[level - 1], self.seed)
    for i, point in ipairs(points) do
      if self.cut then break end
      points[i] = false
      expand(self, point, level)
      if self.options.progress and i % 50 == 0 then self.options.progress(self.states, level, i, #points) end
    end
    self.points[level - 1] = nil
  end
  if not self.cut then self.level = level end
end

-- ---------------------------------------------------------------- what is told

-- "3 image 12 crash": how often to go on before each event.
local function text_of(names)
  local parts, calm = {}, 0
  for _, name in ipairs(names) do
    if name == "calm" then
      calm = calm + 1
    else
      if calm > 0 then parts[#parts + 1] = tostring(calm) end
      parts[#parts + 1], calm = name, 0
    end
  end
  if calm > 0 then parts[#parts + 1] = tostring(calm) end
  return table.concat(parts, " ")
end

local function names_of(text)
  local names = {}
  for word in text:gmatch("%S+") do
    local count = math.tointeger(tonumber(word))
    if count then
      for _ = 1, count do names[#names + 1] = "calm" end
    else
      names[#names + 1] = word
    end
  end
  return names
end

local function row_of(decision)
  local trace = decision and decision.trace
  if not trace then return nil end
  for _, one in ipairs(trace.phases or {}) do
    if one.held then return one.row end
  end
end

local WORDS = { crash = "the operator's process ends and begins anew", thaw = "the view catches up, event by event",
  skip = "the view catches up at once, and never sees what was in between", slow = "the operator is slow: the cluster comes to rest first",
  ["crash:"] = "the operator ends after its write number %s", ["lost:"] = "the answer to write number %s never comes",
  ["dropped:"] = "write number %s never arrives", ["hold:"] = "the view of %s lags behind from here on",
  ["between:"] = "while the operator writes, before write number %s" }

local function words_of(m, name)
  local row = scene.row(name)
  if row then return row.what, m.scene:words(row) end
  local kind, rest = name:match("^(%a+:)(.*)$")
  local number, other = (rest or ""):match("^(%d+):(.+)$")
  if number then return "user", WORDS[kind]:format(number) .. ": " .. m.scene:words(scene.row(other)) end
  return name == "slow" and "operator" or "fault", (WORDS[kind or name] or name):format(rest)
end

-- Every step of a path again, with all that can be told of it.
local function told(self, names)
  local m = machine.new { generation = self.generation, declaration = stage.declaration(self.generation),
    settings = select(2, stage.policies(self.options)), seed = 1 }
  m.traces = true
  local steps, view, began = {}, m:view(nil), m.world:now()
  for i, name in ipairs(names) do
    local step, before = {}, m.reconciles
    if name == "calm" or name == "step" then
      step.what = name == "calm" and m:calm() or m:step()
      step.text = ({ operator = "the operator looks", cluster = "the cluster goes on", time = "time passes",
        fault = WORDS.thaw })[step.what]
    else
      step.what, step.text = words_of(m, name)
      m:act(name)
    end
    if not step.what then break end
    local after = m:view(view)
    step.seen, step.decision, step.row, step.writes = m.seen, m.decision, row_of(m.decision), m.writes
    step.phase_before, step.phase_after, step.reconciled = phase_of(view), phase_of(after), m.reconciles > before
    step.seconds = (m.world:now() - began) / 1000
    step.message = after.object and after.object.status and after.object.status.message
    steps[i], view = step, after
  end
  m:close()
  return steps
end

local function failure_of(self, found)
  local names = path_of(found.node)
  return { invariant = found.invariant, kind = found.invariant, name = found.name, text = found.text, steps = told(self, names),
    replay = text_of(names) }
end

local function result_of(self, failure)
  return { complete = not self.cut and not failure, states = self.states, nodes = self.nodes, edges = self.edges,
    reconciles = self.machine.reconciles, seconds = os.clock() - self.began, seed = self.seed, events = self.level or 0, failure = failure }
end

-- options: generation and base_settings, or policies (a folder; nil: built in); settings (over theirs); files (the folder's), limit
-- (states), seconds, seed (of the order in which it is tried), events (how many a story may have at most), faults (how many of them
-- may be faults; 1), invariants, progress(states, events, done, of).
-- -> { complete, states, edges, reconciles, seconds (of the processor), seed, events (up to so many all was tried), failure }
-- failure: { kind = "invariant", "settle", "quiet", "error" or "from", name, text, steps, replay }
function M.run(options)
  inprocess.tune_memory()
  local self = new_walk(options)
  local ok, found = pcall(walk_all, self)
  local failure
  if not ok then
    if getmetatable(found) ~= Found then
      self.machine:close()
      error(found, 0)
    end
    failure = failure_of(self, found)
  end
  local result = result_of(self, failure)
  self.machine:close()
  return result
end

return M
