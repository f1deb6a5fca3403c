-- A second policies folder that decides beside the live one, on live events, and is never obeyed.
--
-- Whenever the controller worked on an object, both decide it on what is seen then, in a task of the shadow's own; what
-- they decide differently is counted, logged when it changes, and told by `moonphase explain --shadow`. The shadow
-- writes nothing. Its folder may be edited too, and the settings of both: what loads replaces it and decides everything anew, what does
-- not load is logged and the one before goes on. Values of children are never logged, only where they differ.

local beside = require "beside"
local contract = require "contract"
local differences = require "shadow.differences"
local guard = require "guard"
local policies = require "policies"
local watches = require "watches"

local M = {}
M.__index = M

local SYNC_SECONDS = 30
local INPUT_SECONDS = 2

-- options: {controller, dir, settings_path}. load() and start() follow.
function M.new(options)
  local self = setmetatable({ world = options.controller, dir = options.dir, settings_path = options.settings_path,
    waiting = {}, bell = loop.event(), told = {}, differing = 0, watching = {},
    total = metrics.counter("moonphase_shadow_differences_total", "Objects that the shadow policies decided differently, by what differed", { "what" }),
    objects = metrics.gauge("moonphase_shadow_objects_differing", "Objects on which live and shadow policies differ now", {}) }, M)
  for _, what in ipairs(differences.WHATS) do self.total:add(0, what) end
  return self
end

-- ---------------------------------------------------------------- one object

-- (waits) Both decisions on what is seen now, each in a turn of its own: the differences; nil if the object is gone.
local function look(self, key)
  local view, live_view = self.view, beside.new(self.world, self.world)
  local seen, seen_live = view:seen(key), live_view:seen(key)
  if not seen or not seen_live then return nil end
  seen.now = seen_live.now -- a second that began in between is no difference of theirs
  local live, live_failure = live_view:decide(seen_live)
  loop.sleep(0)
  if self.view ~= view then return look(self, key) end -- another shadow meanwhile
  local decision, failure = view:decide(seen)
  if decision and live then return differences.compare(live, decision) end
  if not decision and not live then return {} end
  return { { what = "error", path = "", live = live_failure and guard.sentence(live_failure), shadow = failure and guard.sentence(failure) } }
end

local function tell(self, key, found)
  local text = found and #found > 0 and differences.sentence(found) or nil
  local before = self.told[key]
  if text == before then return end
  self.told[key] = text
  self.differing = self.differing + (text and 1 or 0) - (before and 1 or 0)
  self.objects:set(self.differing)
  if not found then return end
  if not text then return log.info("shadow: decides as the live policies again", { key = key, shadow = self.side.generation.digest }) end
  local whats = {}
  for _, difference in ipairs(found) do whats[difference.what] = true end
  for what in pairs(whats) do self.total:add(1, what) end
  log.info("shadow: decides otherwise", { key = key, shadow = self.side.generation.digest, differs = text })
end

-- An object is gone.
function M:forget(key)
  for _, input in pairs(self.side and self.side.set.inputs or {}) do input:forget(key) end
end

-- The controller worked on this key.
function M:touch(key)
  if self.waiting[key] then return end
  self.waiting[key] = true
  self.bell:notify()
end

local function work(self)
  while not self.stopped do
    local key = next(self.waiting)
    if not key then
      self.bell:wait(1)
    else
      self.waiting[key] = nil
      if self.view then
        tell(self, key, look(self, key))
      end
      loop.sleep(0)
    end
  end
end

-- ---------------------------------------------------------------- the folder

local function refuse(self, why)
  self.refused = why
  log.error("the shadow policies are refused" .. (self.side and ": the ones before them go on" or ""), { why = why, dir = self.dir })
  return nil, why
end

local function drop(side)
  if side.generation then side.generation:close() end
  if side.set then side.set:release() end
end

-- (waits) Until what it watches beyond the live ones is complete; a text if that does not come.
local function sync(set)
  local deadline = loop.now() + SYNC_SECONDS
  while not set:synced() do
    if loop.now() > deadline then return "a watch of theirs is not complete: " .. (set:trouble() or "no answer came") end
    loop.sleep(0.01)
  end
  set:wait_for_inputs(INPUT_SECONDS)
  set:open()
end

local function replace(self, side)
  local old = self.side
  self.side, self.refused, self.told, self.differing = side, nil, {}, 0
  self.objects:set(0)
  self.view = beside.new(self.world, side)
  if old then drop(old) end
  log.info("shadow policies decide beside the live ones", { shadow = side.generation.digest, dir = self.dir, policy = self.world.generation.digest })
  for _, key in ipairs(self.world.objects:keys()) do self:touch(key) end
end

-- (waits) Read the folder and decide beside from now on. true; nil and a text when it is refused.
function M:load()
  local files, why = policies.files(self.dir)
  if not files then return refuse(self, why) end
  local settings, trouble = policies.settings(files, self.settings_path)
  if not settings then return refuse(self, trouble) end
  local side <close> = setmetatable({ settings = settings }, { __close = function(side)
    if self.side ~= side then drop(side) end
  end })
  local failure
  side.generation, failure = policies.generation(files, self.dir, true)
  if not side.generation then return refuse(self, policies.explain_error(failure)) end
  side.declaration, failure = contract.declaration(side.generation, self.world.module)
  if not side.declaration then return refuse(self, failure) end
  side.set = watches.start(self.world, side.declaration, settings, self.world.set)
  local late = sync(side.set)
  if late then return refuse(self, late) end
  replace(self, side)
  return true
end

-- Read folder and settings again; a load under way is dropped for it.
function M:request()
  if self.stopped then return end
  if self.loading then self.loading:cancel() end
  self.loading = loop.spawn(function() self:load() end)
end

-- Decide beside the controller from now on (it has to be ready), and again when the folder or the settings are edited.
function M:start()
  self.world.shadow = self
  for _, path in pairs { self.dir, self.settings_path } do
    local watch, why = loop.watch_path(path, function() self:request() end)
    self.watching[#self.watching + 1] = watch
    if why then log.warn("edits of the shadow are not seen by themselves: send SIGHUP after one", { why = why }) end
  end
  self:request()
  loop.spawn(work, self)
end

function M:stop()
  self.stopped, self.world.shadow = true, nil
  for _, watch in ipairs(self.watching) do watch:close() end
  if self.loading then self.loading:cancel() end
end

-- ---------------------------------------------------------------- for people

-- What it decides differently about a key now: {digest=, differences={{what, path, live, shadow}...}} or {refused=}; nil: no such object.
function M:explain(key)
  if not self.view then return { refused = self.refused or "it is not loaded yet" } end
  local found = look(self, key)
  if not found then return nil end
  return { digest = self.side.generation.digest, differences = json.array(found), refused = self.refused }
end

-- For /readyz?verbose.
function M:lines()
  if not self.side then return "shadow: " .. (self.refused and "refused: " .. self.refused or "is being loaded") end
  return ("shadow %s: differs on %d objects%s"):format(self.side.generation.digest, self.differing,
    self.refused and "; refused: " .. self.refused or "")
end

return M
