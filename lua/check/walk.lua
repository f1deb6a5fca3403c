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

local invariants_of = require "check.invariants"
local judge = require "check.judge"
local machine = require "check.machine"
local scene = require "check.scene"
local stage = require "sandbox.stage"
local state = require "check.state"
local story = require "check.story"
local way = require "check.way"

local M = {}

M.EVENTS = 2 -- of a story, where nobody says another number

local CHAIN_MOST = 3000 -- steps; a chain that is longer goes nowhere
local CIRCLE_MS = 60000 -- what comes round sooner may differ in times that state.lua does not tell apart
local HELD_MOST = 150   -- steps with a view that lags
local LONG_STEPS, EVENT_ODDS = 600, 6 -- of a long story, and that at a point an event comes: one in so many
local SHRINK_TRIES, SHRINK_SECONDS = 200, 4
local MEMO_MOST = 3000  -- decisions that are remembered
local SEEN_MASK = { settings = true } -- what is the same in a whole walk

-- A decision is a pure function of what is seen: the same is not asked for twice.
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

-- ---------------------------------------------------------------- one walk

-- Numbers by chance, from the seed alone: chance(most) is 1 to most.
local function chance_of(seed)
  local random = seed * 0x9E3779B97F4A7C15
  return function(most)
    random = random * 6364136223846793005 + 1442695040888963407
    return (random >> 33) % math.max(most, 1) + 1
  end
end

local function new_machine(self)
  return machine.new { generation = self.generation, declaration = stage.declaration(self.generation), settings = self.settings,
    seed = 1, decide = remembering() }
end

local function set_of(list)
  if not list then return nil end
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- A walk: known (keys of states from which everything is known), distance (reconciles to rest, by key), points (of each number of events:
-- where events may still come: { saved, node, writes = of the reconcile that is due there }), cut (it ends before it is complete).
local function new_walk(options)
  local generation, settings = stage.policies(options)
  local self = { options = options, generation = generation, settings = settings, seed = options.seed or 1,
    limit = options.limit or math.huge, most_events = options.events or math.huge, most_faults = options.faults or 1,
    states = 0, nodes = 0, edges = 0, stories = 0, level = 0, seen = {}, known = {}, distance = {}, points = {}, cut = false,
    only = set_of(options.only), began = os.clock(), wall = loop.now(), chance = chance_of(options.seed or 1), claims = judge.claims(generation),
    invariants = options.invariants or invariants_of.of(generation, options.files or {}) }
  -- a quick operator is another chain at nearly every step: only as the first event, where nobody asks for it
  self.most_quick = math.min(self.most_events, self.only and self.only.quick and self.most_events or 1)
  self.machine = new_machine(self)
  self.root = self.machine:save()
  return self
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

local function is_over(self)
  local o = self.options
  if self.states >= self.limit or o.memory and moonphase.memory() > o.memory or o.is_interrupted and o.is_interrupted() then return true end
  return o.seconds ~= nil and (o.by_wall and loop.now() - self.wall or os.clock() - self.began) >= o.seconds
end

-- A point of a chain, where events may come: saved before the step that follows, which tells how often the operator then writes. quick:
-- one between two steps of the cluster, where nothing may happen but that the operator is quick.
local function note_point(self, level, saved, node, writes, quick)
  local points = self.points[level]
  points[#points + 1] = { saved = saved, node = node, writes = writes, quick = quick }
end

-- Whether this state is new to the walk; it is known from now on.
local function is_new(self, key, chain, at)
  if self.known[key] then return false end
  self.known[key], at[key] = true, #chain + 1
  self.nodes = self.nodes + 1
  return true
end

-- What follows from the present state until nothing happens any more, it comes round in a circle, or it meets what is known.
local function walk_chain(self, node, view, level)
  local m, chain, at = self.machine, {}, {}
  for steps = 0, CHAIN_MOST do
    local key = key_of(self)
    local first = at[key]
    if first and m.world:now() - chain[first].now >= CIRCLE_MS then
      judge.circle(self, chain, first, view, node)
      return judge.measure(self, chain, 0, node)
    end
    local new = is_new(self, key, chain, at)
    if not new and not first then return judge.measure(self, chain, self.distance[key] or 0, node) end
    if steps % 16 == 15 and is_over(self) then self.cut = true end
    local is_point = new and level < self.most_events and m:is_point()
    local quick = new and not is_point and level < self.most_quick and m:may_be_quick()
    local point = (is_point or quick) and m:save()
    local now = m.world:now()
    local what = m:calm()
    if point then note_point(self, level, point, node, what == "operator" and m.write_number or 0, quick) end
    if not what then
      judge.rest(self, view, node)
      return judge.measure(self, chain, 0, node)
    end
    self.edges = self.edges + 1
    chain[#chain + 1] = { key = key, now = now, is_work = what == "operator", wrote = m.writes[1], serves = judge.serves(view) }
    node, view = { parent = node, name = "calm" }, m:view(view)
    judge.step(self, view, node)
  end
  judge.endless(CHAIN_MOST, node)
end

-- The same while a view lags behind; it need not settle. -> where the lag may end: { saved, node, view }
local function walk_lagging(self, node, view, level)
  local m, chain, at, ends = self.machine, {}, {}, {}
  for _ = 0, HELD_MOST do
    if not is_new(self, key_of(self), chain, at) then break end
    local point = m:is_point() and m:save()
    local what = m:step()
    if point then
      ends[#ends + 1] = { saved = point, node = node, view = view }
      if level < self.most_events then note_point(self, level, point, node, what == "operator" and m.write_number or 0) end
    end
    if not what then break end
    self.edges = self.edges + 1
    node, view = { parent = node, name = "step" }, m:view(view)
    judge.step(self, view, node)
  end
  return ends
end

-- The state that an event led to, and all that follows from it.
local function walk_from(self, name, node, before, level)
  local m = self.machine
  local view = m:view(before)
  self.edges = self.edges + 1
  node = { parent = node, name = name }
  judge.step(self, view, node)
  if not m.held then return walk_chain(self, node, view, level) end
  for _, point in ipairs(walk_lagging(self, node, view, level)) do
    for _, how in ipairs { "thaw", "skip" } do
      if self.cut then return end
      m:restore(point.saved)
      if m:act(how) then walk_from(self, how, point.node, point.view, level) end
    end
  end
end

-- Whether the walk is to try this event: "hold:pods" by its name or as "hold".
local function is_of_interest(self, name)
  local only = self.only
  return not only or only[name] or only[name:match("^[^:]+")] or false
end

-- Every one of these events, at a point.
local function expand_by(self, point, level, before, names)
  local m = self.machine
  for _, name in ipairs(names) do
    self.cut = self.cut or is_over(self)
    if self.cut then return end
    if is_of_interest(self, name) then
      m:restore(point.saved)
      if m:act(name) then walk_from(self, name, point.node, before, level) end
    end
  end
end

-- What is no fault of anything: what people and the cluster do, and a slow operator.
local function expand_calmly(self, point, level)
  local m = self.machine
  m:restore(point.saved)
  local before = m:view(nil)
  if point.quick then return expand_by(self, point, level, before, { "quick" }) end
  local names, within = m:events(), m:events_within(point.writes)
  expand_by(self, point, level, before, table.move(within, 1, #within, #names + 1, names))
end

local function expand_by_faults(self, point, level)
  local m = self.machine
  m:restore(point.saved)
  if m.faults >= self.most_faults or point.quick then return end
  local before = m:view(nil)
  local names, within = m:faults_here(), m:faults_within(point.writes)
  expand_by(self, point, level, before, table.move(within, 1, #within, #names + 1, names))
  if self.cut or point.writes == 0 then return end
  m:restore(point.saved)
  for n, world in ipairs(m:worlds_after_writes()) do
    if self.cut then return end
    m:restore(point.saved)
    m.faults = m.faults + 1
    m:reborn(world)
    walk_from(self, "crash:" .. n, point.node, before, level)
  end
end

-- Another order for another seed; what is tried is the same.
local function shuffled(self, list)
  for i = #list, 2, -1 do
    local j = self.chance(i)
    list[i], list[j] = list[j], list[i]
  end
  return list
end

local function walk_level(self, level)
  local points, done = shuffled(self, self.points[level - 1]), 0
  for _, expand in ipairs(self.most_faults > 0 and { expand_calmly, expand_by_faults } or { expand_calmly }) do
    for _, point in ipairs(points) do
      if self.cut then return end
      expand(self, point, level)
      done = done + 1
      if self.options.progress and done % 50 == 0 then self.options.progress(self.states, level, done, 2 * #points) end
    end
  end
end

local function walk_all(self)
  self.points[0] = {}
  walk_chain(self, {}, self.machine:view(nil), 0)
  while not self.cut and self.level < self.most_events and #self.points[self.level] > 0 do
    local level = self.level + 1
    self.points[level] = {}
    walk_level(self, level)
    self.points[level - 1] = nil
    if not self.cut then self.level = level end
  end
end

-- One long story: events as chance has it, as many as the scene allows, and then until it settles.
local function walk_long(self)
  local m, chance = self.machine, self.chance
  m:restore(self.root)
  local node, view = {}, m:view(nil)
  for _ = 1, LONG_STEPS do
    local name = m.held and "step" or "calm"
    if m:is_point() and chance(EVENT_ODDS) == 1 then
      local names = m:events()
      if m.faults < self.most_faults and chance(2) == 1 then names = m:faults_here() end
      if m.held then names[#names + 1] = chance(2) == 1 and "thaw" or "skip" end
      name = names[chance(#names)] or name
    end
    if m:act(name) then
      node = { parent = node, name = name }
      self.edges = self.edges + 1
      view = m:view(view)
      judge.step(self, view, node)
      key_of(self)
    elseif not m.held then
      break
    else
      m:act "thaw"
      node, view = { parent = node, name = "thaw" }, m:view(view)
    end
  end
  if m.held and m:act "thaw" then node, view = { parent = node, name = "thaw" }, m:view(view) end
  self.points[self.most_events] = self.points[self.most_events] or {}
  walk_chain(self, node, view, self.most_events)
end

local function walk_everything(self)
  walk_all(self)
  for _ = 1, self.options.stories or 0 do
    if self.cut or is_over(self) then break end
    walk_long(self)
    self.stories = self.stories + 1
  end
end

-- ---------------------------------------------------------------- a way, played again

-- From the begin on by these names (what cannot happen is left out), then until it settles. Raises what it finds.
local function play(self, names)
  local m, node = self.machine, {}
  m:restore(self.root)
  self.known, self.distance, self.points = {}, {}, { [0] = {} }
  local view = m:view(nil)
  for _, name in ipairs(names) do
    if m:act(name) then
      node = { parent = node, name = name }
      view = m:view(view)
      judge.step(self, view, node)
    end
  end
  if m.held and m:act "thaw" then node, view = { parent = node, name = "thaw" }, m:view(view) end
  self.most_events, self.most_quick = 0, 0
  walk_chain(self, node, view, 0)
end

-- ---------------------------------------------------------------- what is told

-- Whether walking raised one of ours: what it found, or nil.
local function caught(self, f, ...)
  local ok, found = pcall(f, self, ...)
  if ok then return nil end
  if not judge.is_finding(found) then
    self.machine:close()
    error(found, 0)
  end
  return { kind = found.kind, name = found.name, text = found.text, names = way.to(found.node) }
end

-- The failure with the shortest way to it that is found in a moment, and all its steps.
local function failure_of(self, found)
  local began = os.clock()
  if self.options.shrink ~= false then
    local function try(words) return caught(self, play, way.names(table.concat(words, " "))) end
    found = story.shrink(found, way.words(found.names), try,
      { tries = SHRINK_TRIES, more = function() return os.clock() - began < SHRINK_SECONDS end })
  end
  local fresh = new_machine(self)
  local steps = way.steps(fresh, found.names)
  fresh:close()
  return { kind = found.kind, name = found.name, text = found.text, steps = steps, replay = way.text(found.names) }
end

local function result_of(self, found)
  return { complete = not self.cut and not found, states = self.states, nodes = self.nodes, edges = self.edges, stories = self.stories,
    reconciles = self.machine.reconciles, seconds = os.clock() - self.began, seed = self.seed, events = self.level,
    faults = self.most_faults, failure = found and failure_of(self, found) or nil }
end

-- While thousands of operators fail on purpose, none of them writes a log.
local function silently(f)
  local kept = {}
  for _, level in ipairs { "debug", "info", "warn", "error" } do
    kept[level] = log[level]
    rawset(log, level, function() end)
  end
  local result = table.pack(pcall(f))
  for level, write in pairs(kept) do rawset(log, level, write) end
  if not result[1] then error(result[2], 0) end
  return table.unpack(result, 2, result.n)
end

local function run_with(options, f, ...)
  local more = table.pack(...)
  return silently(function()
    local self = new_walk(options)
    local result = result_of(self, caught(self, f, table.unpack(more, 1, more.n)))
    self.machine:close()
    return result
  end)
end

-- options: generation and base_settings, or policies (a folder; nil: built in); settings (over theirs); files (the folder's), limit
-- (states), seconds (of the processor; by_wall: of the wall), memory (bytes of the host state), seed (of the order in which it is tried,
-- and of long stories), events (how many a story may have at most), faults (how many of them may be faults; 1), stories (long
-- ones, in the end), invariants (of invariants.lua), shrink (false: the failure as it was found), progress(states, events, done, of).
-- -> { complete, states, edges, reconciles, seconds (of the processor), seed, events (up to so many all was tried), stories, failure }
-- failure: { kind = "invariant", "settle", "quiet", "error" or "from", name, text, steps, replay }
function M.run(options)
  return run_with(options, walk_everything)
end

-- One way again, as a failure's `replay` tells it, and until it settles. options as for run, and replay. -> as run
function M.replay(options)
  return run_with(options, play, way.names(options.replay))
end

return M
