-- Policies and settings are edited while the operator runs: a save is tried, and then it is live, or refused while
-- the policies before it go on.
--
-- Whatever tells of a save (the folder, the settings file, SIGHUP) makes one candidate from what is read now
-- (reload/candidate.lua). There is one at a time: a newer save drops the one under way. What passes every step is
-- swapped in between two calls of a policy (controller:swap), every object is queued for it, and it is on trial
-- (reload/trial.lua) with the last good ones kept beside it, states, watches and all: going back is another swap, at once, and
-- never reads the folder. The trial over, the old ones are let go, and where a `keeper` is given (reload/last_good.lua) the new ones
-- are kept for who starts next.

local policies = require "policies"
local verdict = require "reload.verdict"

local M = {}
M.__index = M

local STEADY_SECONDS = 1
local AGAIN_SECONDS = 0.05
local QUIET_MS = 5           -- until a save is tried
local SETTLED_SECONDS = 0.05 -- and until its verdict counts: by then editors have written all that belongs to it
local PASSED_MOST = 16
local LINGER_SECONDS = 60 -- a request that is under way still tells its watch what was answered

-- All that only a candidate needs is loaded with the first of them: an operator whose policies nobody edits is a fifth smaller
-- without. (Specs are run anyway: lint need not look at them.)
local function look_over(files, settings) return require("reload.apart").lint(files, settings) end

local function walk(files, settings, seconds) return require("reload.apart").check(files, settings, seconds) end

local function hooks_of(options) return options.hooks or { lint = look_over, check = options.check or walk } end

-- Of what was read: files and settings together, and of what specs can see, which is all but the settings.
local function digests(files, settings)
  local lines = {}
  for name, text in pairs(files) do
    if name ~= "settings.yaml" then lines[#lines + 1] = name .. " " .. digest.sha256(text) end
  end
  table.sort(lines)
  local of_files = digest.sha256(table.concat(lines, "\n"))
  return digest.sha256(of_files .. json.encode(settings)):sub(1, 16), of_files
end

-- options: {controller, dir (nil: the built-in policies), settings_path (nil: none), files (what the live ones were loaded from), check
-- (candidate.lua says what), hooks = {lint, check} in place of ours, trial_seconds (in place of settings.reload.trial),
-- on_verdict = function(refusal or nil, words), keeper (last_good.lua; nil: none), kept (what it had, if that is what is live)}
function M.new(options)
  local world, kept = options.controller, options.kept
  local self = setmetatable({ world = world, dir = options.dir, settings_path = options.settings_path, hooks = hooks_of(options),
    metrics = verdict.metrics(), trial_seconds = options.trial_seconds, on_verdict = options.on_verdict,
    watching = {}, since = verdict.now(), passed = {}, unproven = 0, keeper = options.keeper,
    kept = kept and { digest = kept.digest, taken_back = kept.taken_back } }, M)
  self.digest = self.kept and self.kept.digest or digests(options.files, world.settings)
  if self.keeper and not self.kept then self.text = { files = options.files, settings = world.settings, digest = self.digest } end
  self.metrics.info:set(1, world.digest)
  return self
end

-- {files, settings, digest (of both), files_digest}; nil and a refusal.
local function read(self)
  local files, why = policies.files(self.dir, true)
  if not files then return nil, { step = "read", text = why } end
  local settings, trouble, place = policies.settings(files, self.settings_path)
  if not settings then return nil, { step = "settings", text = trouble, failure = place } end
  local both, of_files = digests(files, settings)
  return { files = files, settings = settings, digest = both, files_digest = of_files }
end

-- ---------------------------------------------------------------- the live ones and those before

-- text: what it was loaded from, {files, settings, digest}, until that is kept (last_good.lua); nil where nothing is.
local function standing(self)
  local world = self.world
  return { generation = world.generation, declaration = world.declaration, settings = world.settings, set = world.set, digest = world.digest,
    text = self.text }
end

-- Let go of policies that decide no more: of their watches stays what others have.
local function let_go(side)
  loop.spawn(function() -- not from inside of a call into them
    side.generation:close()
    if side.set:holds_alone() then loop.sleep(LINGER_SECONDS) end
    side.set:release()
  end)
end

local function end_trial(self)
  if self.trial_task then self.trial_task:cancel() end
  self.trial_task, self.world.trial = nil, nil
end

-- Swap `side` in and have every object decided again.
local function swap(self, side, first_key)
  local world, began = self.world, loop.now()
  self.metrics.info:set(0, world.digest)
  world:swap(side)
  self.text = side.text
  self.metrics.info:set(1, world.digest)
  self.since = verdict.now()
  world:await_late()
  if first_key then world:add(first_key) end
  loop.spawn(function()
    world:decide_all()
    self.metrics.swap:observe(loop.now() - began)
  end)
end

local function keep(self)
  if self.keeper and self.text then self.keeper:keep(self.text) end
  self.text = nil
end

-- (waits) Until the time of a trial is over. It is the leader's: what a standby decides never meets the cluster, and proves nothing.
local function wait_for_proof(self)
  local world = self.world
  while not world.ready do loop.sleep(STEADY_SECONDS) end
  world.leader:wait(function() return self.stopped end)
  loop.sleep(self.trial_seconds or require("reload.rules").of(world.settings).trial)
  while world.rollout:is_busy() do loop.sleep(STEADY_SECONDS) end
end

-- Of what a first start began with there is nothing to go back to: it is kept unless it cannot decide.
local function prove_first(self)
  wait_for_proof(self)
  self.trial_task = nil
  if not self.world:refusal() then keep(self) end
end

local function prove(self)
  local world = self.world
  wait_for_proof(self)
  local old = self.last_good
  keep(self)
  self.last_good, world.trial, self.trial_task, self.unproven = nil, nil, nil, 0
  let_go(old)
  log.info("the policies have proven themselves; the ones before are let go", { policy = world.digest })
end

local function tell(self, refusal, result, words)
  local is_news = result ~= "unchanged" or self.refused ~= nil
  self.metrics.total:add(1, result)
  self.refused, self.words = refusal, words
  self.metrics.refused:set(refusal and 1 or 0)
  if self.on_verdict and is_news then self.on_verdict(refusal, words) end
end

-- Back to the last good ones, now. What the folder holds is refused from here on.
local function go_back(self, refusal)
  local world, bad, digest = self.world, standing(self), self.digest
  local good = self.last_good
  if self.building then self.building:cancel() end -- it was tried beside what goes now
  end_trial(self)
  self.last_good = nil
  swap(self, good, refusal.object)
  let_go(bad)
  refusal.step = "trial"
  if self.unproven > 1 then
    refusal.text = ("%s (with it goes what was saved before and had not stood its trial either: %d saves in all)"):format(refusal.text, self.unproven)
  end
  self.unproven = 0
  local told = verdict.refusal(refusal, bad.digest)
  log.error("the new policies are taken back: the last good ones decide again", verdict.fields(told, world.digest))
  keep(self)
  if self.keeper then self.keeper:take_back(digest, told) end
  tell(self, told, "went back")
  if self.again then self:request("a save that came before") end
end

local function go_live(self, c)
  local world, before = self.world, standing(self)
  local tried_before = self.last_good -- not proven themselves: what is good is what was before them
  end_trial(self)
  self.last_good = tried_before or before
  c.taken, self.unproven = true, self.unproven + 1
  c.text = self.keeper and { files = c.files, settings = c.settings, digest = c.digest } or nil
  swap(self, c)
  if tried_before then let_go(before) end
  world.trial = require("reload.trial").new(world, self.last_good, { deletions = c.rules.deletions, back = function(refusal) go_back(self, refusal) end })
  self.trial_task = loop.spawn(prove, self)
end

-- ---------------------------------------------------------------- one candidate

local function words_of(c)
  local words, said = {}, c.said
  for _, step in ipairs(require("reload.candidate").STEPS) do
    if said[step[1]] then words[#words + 1] = step[1] .. ": " .. said[step[1]] end
  end
  return table.concat(words, "; ")
end

local function refuse(self, refusal, digest)
  local told = verdict.refusal(refusal, digest)
  log.error("policies refused: the ones before them go on", verdict.fields(told, self.world.digest))
  tell(self, told, "refused")
end

local function take(self, c, cause)
  local world, was = self.world, self.world.digest
  local seconds = c:seconds()
  self.metrics.seconds:observe(seconds)
  if c:is_same() then
    log.info("policies and settings decide as before", { policy = was, cause = cause, specs = c.said.specs })
    return tell(self, nil, "unchanged", self.refused and "mended: policies and settings decide as before" or "nothing changed")
  end
  go_live(self, c)
  log.info("policies reloaded", { policy = world.digest, was = was, cause = cause, seconds = seconds, took = c:times(), objects = c.result.objects,
    restarts = c.result.restarts, failing = c.result.erring > 0 and c.result.erring or nil,
    deletions = #c.result.deletions > 0 and #c.result.deletions or nil, specs = c.said.specs,
    check = c.said.check, lint = c.said.lint, watches = c.said.watches })
  tell(self, nil, "swapped", words_of(c))
end

-- What lint and the specs said of the last few texts that passed: who goes back to one of them need not wait for that again.
local function passed_before(self, digest)
  for _, one in ipairs(self.passed) do
    if one.digest == digest then return one.said end
  end
end

local function remember(self, digest, said)
  if passed_before(self, digest) then return end
  table.insert(self.passed, 1, { digest = digest, said = said })
  self.passed[PASSED_MOST] = nil
end

-- (waits) until the save that is looked at is settled. Trying it need not wait for that.
local function settle(self)
  local left = self.asked + SETTLED_SECONDS - loop.now()
  if left > 0 then loop.sleep(left) end
end

-- (waits) What was read, tried. "again" if something else is there by now.
local function try(self, found, cause)
  local c <close> = require("reload.candidate").new { world = self.world, files = found.files, settings = found.settings,
    name = self.dir or "built-in policies", dir = self.dir, settings_path = self.settings_path, digest = found.digest,
    lint_known = passed_before(self, found.digest), hooks = self.hooks, last_good = self.keeper and self.keeper:place(),
    specs_known = self.dir == nil or passed_before(self, found.files_digest) ~= nil }
  local ok, why = c:try()
  settle(self)
  local present = read(self)
  if not present or present.digest ~= found.digest then return "again" end -- half of a save was read, or a new one came
  if not ok then return refuse(self, why, found.digest) end
  remember(self, found.digest, c.said.lint)
  remember(self, found.files_digest, true)
  take(self, c, cause)
  self.digest = found.digest
end

-- (waits) What is there now, until it stays the same while it is tried.
local function look(self, cause)
  repeat
    local found, refusal = read(self)
    if not found then
      settle(self)
      found, refusal = read(self)
    end
    if not found then return refuse(self, refusal) end
    if found.digest == self.digest and not self.refused and not self.world:refusal() then
      return log.info("policies and settings are as they were", { policy = self.world.digest, cause = cause })
    end
    loop.sleep(0)
    local again = try(self, found, cause)
    if again then
      self.metrics.total:add(1, "superseded")
      loop.sleep(AGAIN_SECONDS)
    end
  until not again
end

-- Try what is there now; a candidate under way is dropped for it. cause: for people.
function M:request(cause)
  if self.stopped then return end
  if self.building and not self.building:done() then
    self.building:cancel()
    self.metrics.total:add(1, "superseded")
  end
  self.again, self.asked = true, loop.now()
  self.building = loop.spawn(function()
    while not (self.world.ready or self.stopped) do loop.sleep(AGAIN_SECONDS) end
    local ok, why = pcall(look, self, cause)
    self.again = false
    self.world.rollout:resume() -- an operator that began with its last good policies has waited for this verdict
    if not ok then refuse(self, { step = "reload", text = "an error of moonphase itself: " .. tostring(why) }) end
  end)
end

-- ---------------------------------------------------------------- from outside

-- Watch the folder and the settings file from now on, and look once at what changed since they were read.
function M:start()
  for _, path in pairs { self.dir or false, self.settings_path or false } do
    local watch, why
    if path then watch, why = loop.watch_path(path, function() self:request("a change of " .. path) end, QUIET_MS) end
    if watch then self.watching[#self.watching + 1] = watch end
    if why then log.warn("edits are not seen by themselves: send SIGHUP after one", { why = why }) end
  end
  if self.text and not self.trial_task then self.trial_task = loop.spawn(prove_first, self) end
  local found = read(self)
  local back = self.kept and self.kept.taken_back
  if found and back and found.digest == back.digest then
    self.digest = found.digest
    self.world.rollout:resume()
    return refuse(self, { step = "trial", text = ("this save went live at an earlier run, and was taken back at %s: %s. Edit it, or send SIGHUP to try "
      .. "it again"):format(back.at, back.text) }, found.digest)
  end
  if not found or found.digest ~= self.digest then return self:request "a change at the start" end
  self.world.rollout:resume()
end

-- Lines for /readyz?verbose.
function M:lines()
  local before = self.last_good and self.last_good.digest
  return verdict.lines({ digest = self.world.digest, since = self.since, before = before }, self.refused, self.words)
end

function M:stop()
  self.stopped = true
  for _, watch in ipairs(self.watching) do watch:close() end
  if self.building then self.building:cancel() end
  if self.keeper then self.keeper:stop() end
  end_trial(self)
end

return M
