-- One candidate: what a save became, on its way to the swap, step by step.
--
-- Steps are a table: each is named in verdicts and metrics, answers true and what people may read about it, or nil and a
-- refusal {text=, failure= (a PolicyError), object=}. They wait; nothing in them takes a turn of the loop for long: loading
-- and specs are worker threads', lint is another process's, decisions go in slices. Lint and specs begin as soon as it loads
-- and are waited for at the end, so that they go on beside the rest. Where several refuse, lint's words are told: they say best
-- what to do. A candidate that is dropped on the way (a newer save came) leaves nothing behind: it is a to-be-closed value.

local access = require "reload.access"
local contract = require "contract"
local guard = require "guard"
local misset = require "misset"
local paper = require "reload.paper"
local policies = require "policies"
local rules = require "reload.rules"
local specs = require "specs"
local watches = require "watches"

local M = {}
local Candidate = {}
Candidate.__index = Candidate

local SYNC_SECONDS = 30
local INPUT_SECONDS = 2

-- ---------------------------------------------------------------- steps

local function refuse_failure(failure)
  return nil, { failure = failure, text = guard.sentence(failure) }
end

-- What does not load, as lint says it, who knows the words that may have been meant.
local function in_better_words(c, failure)
  for _, finding in ipairs(c.hooks.lint and c.hooks.lint(c.files, c.settings) or {}) do
    local is_it = finding.file == failure.file and (finding.line == failure.line or finding.check == "syntax")
    if is_it and finding.severity ~= "warning" then
      return { outcome = failure.outcome, text = finding.text, file = finding.file, line = finding.line, source = finding.source,
        path = failure.path }
    end
  end
  return failure
end

local function load(c)
  local allowed, wrong = rules.of(c.settings)
  if not allowed then return refuse_failure(policies.setting_failure(c.files, c.settings_path, wrong)) end
  c.rules = allowed
  local generation, failure = policies.generation(c.files, c.name, true)
  if not generation then return refuse_failure(in_better_words(c, failure)) end
  c.generation = generation
  local declaration, why = contract.declaration(generation, c.world.module)
  if not declaration then return nil, { text = why } end
  local world = c.world
  if not json.equal(declaration.kind, world.declaration.kind) or declaration.label ~= world.label then
    return nil, { text = "the controller's kind or label is another one: that cannot change while it runs; "
      .. (c.last_good and ("delete the %s and start moonphase again"):format(c.last_good) or "start moonphase again") }
  end
  c.declaration = declaration
  local misfit = misset.failure(generation, world.module, declaration, c.files, c.settings_path, c.settings)
  if misfit then return refuse_failure(misfit) end
  return true
end

local WARNINGS_MOST = 5 -- that are told one by one

-- (in a task of its own) lint.lua: an error refuses, warnings are counted, and the first of them told.
local function lint(c)
  local warnings = 0
  for _, finding in ipairs(c.hooks.lint(c.files, c.settings)) do
    if finding.severity ~= "warning" then
      c.mistake = { outcome = "lint", text = finding.text, file = finding.file, line = finding.line, source = finding.source }
      return
    end
    warnings, c.warned = warnings + 1, c.warned or finding
    if warnings <= WARNINGS_MOST then
      log.warn("lint warns of the policies", { file = finding.file, line = finding.line, source = finding.source, why = finding.text })
    end
  end
  c.lint_words = warnings == 1 and "1 warning" or ("%d warnings"):format(warnings)
end

-- How long `step` took that began at `began`; of those that go on beside others it is their own time.
local function note_time(c, step, began) c.took[step] = loop.now() - began end

-- A task for `step`, beside what follows.
local function begin(c, step, work, ...)
  local began = loop.now()
  return loop.spawn(function(...)
    local outcome = work(...)
    note_time(c, step, began)
    return outcome
  end, ...)
end

local function begin_lint(c)
  if c.hooks.lint and not c.lint_known then c.lint_task = begin(c, "lint", lint, c) end
  return true
end

local function end_lint(c)
  if not c.lint_task then return true, c.lint_known or "none" end
  local ok, why = c.lint_task:join()
  if not ok then error(why, 0) end
  if c.mistake then return refuse_failure(c.mistake) end
  return true, c.lint_words
end

-- Files that passed need no second look: specs see nothing of the settings.
local function begin_specs(c)
  if #specs.names(c.files) == 0 or c.specs_known then return true end
  c.specs_task = begin(c, "specs", specs.run, c.files, c.name)
  return true
end

local function sync(c)
  local set = watches.start(c.world, c.declaration, c.settings, c.world.set)
  c.set = set
  if #set.new == 0 and not set.asks_anew then return true, "no new" end
  local trouble = access.trouble(c.world.cluster, set.new)
  if trouble then return nil, { text = trouble } end
  local deadline = loop.now() + SYNC_SECONDS
  while not set:synced() do
    if loop.now() > deadline then
      return nil, { text = ("a new watch is not complete after %d s: %s"):format(SYNC_SECONDS, set:trouble() or "no answer came") }
    end
    loop.sleep(0.01)
  end
  set:wait_for_inputs(INPUT_SECONDS)
  return true, ("%d new"):format(#set.new)
end

local function decide(c)
  local result, refusal = paper.decide_all(c.world, c, c.rules.deletions)
  if not result then return nil, refusal end
  c.result = result
  return true, ("%d %s, %d %s to restart"):format(result.objects, result.objects == 1 and "object" or "objects", result.restarts,
    result.restarts == 1 and "model" or "models")
end

local function end_specs(c)
  if not c.specs_task then return true, c.specs_known and "as before" or "none" end
  local ok, outcome = c.specs_task:join()
  if not ok then return nil, { text = "the specs could not be run: " .. tostring(outcome) } end
  local refusal = specs.refusal(outcome)
  if refusal then return nil, refusal end
  return true, ("%d passed"):format(outcome.count)
end

-- check(files, settings, seconds or nil for all) -> {complete=bool, states=, text=}, or nil and a refusal; waits.
local function check(c)
  local seconds = c.rules.seconds
  if not c.hooks.check or seconds == 0 then return true, "not run" end
  local result, refusal = c.hooks.check(c.files, c.settings, seconds)
  if not result then
    if refusal.replay then
      refusal.text = ("%s. To see how: %s"):format(refusal.text, require("check.again")(c.dir, c.settings_path, refusal.replay))
    end
    return nil, refusal
  end
  if not result.complete and not seconds then
    return nil, { text = "reload.check is full, and check did not come to an end: " .. tostring(result.text or "") }
  end
  return true, result.text or ("%s, %d states"):format(result.complete and "complete" or "not complete", result.states or 0)
end

local LINT = { "lint", end_lint }
local HINTED = { specs = true, decisions = true } -- where a warning of lint's may well be the reason

-- In order. Lint and specs go on beside the steps after their beginning.
M.STEPS = {
  { "load", load },
  { "lint begin", begin_lint },
  { "specs begin", begin_specs },
  { "watches", sync },
  { "decisions", decide },
  LINT,
  { "specs", end_specs },
  { "check", check },
}

-- ---------------------------------------------------------------- the candidate

-- options: {world (the controller), files, settings, name, dir (nil: the built-in ones), digest (of what was read), specs_known (these
-- files' specs passed already), lint_known (what it said of the same files and settings, which passed), hooks {lint, check},
-- settings_path (of the administrator's), last_good (where they are kept, for people; nil: nowhere)}
function M.new(options)
  return setmetatable({ world = options.world, files = options.files, settings = options.settings, name = options.name,
    settings_path = options.settings_path, dir = options.dir, digest = options.digest, last_good = options.last_good,
    specs_known = options.specs_known, lint_known = options.lint_known, hooks = options.hooks,
    began = loop.now(), said = {}, took = {} }, Candidate)
end

-- (waits) All steps: true, or nil and a refusal with the `step`.
function Candidate:try()
  for _, step in ipairs(M.STEPS) do
    local began = loop.now()
    local ok, words = step[2](self)
    if not self.took[step[1]] then note_time(self, step[1], began) end
    if not ok then
      local clean, mistake = end_lint(self)
      if not clean then step, words = LINT, mistake end
      if self.warned and HINTED[step[1]] then words.text = ("%s; lint warns: %s"):format(words.text, guard.sentence(self.warned)) end
      words.step = step[1]
      return nil, words
    end
    if words then self.said[step[1]] = words end
  end
  return true
end

-- Whether it would decide as the live ones do.
function Candidate:is_same()
  return self.generation.digest == self.world.generation.digest and json.equal(self.settings, self.world.settings)
end

function Candidate:seconds()
  return math.floor((loop.now() - self.began) * 1000 + 0.5) / 1000
end

local TOLD_FROM = 0.005 -- seconds; what is quicker is not worth a word

-- Where the time went: "decisions 0.31 s, specs 0.22 s", in the order of the steps; nil: nowhere. Together they may be more than
-- seconds(), since some go on beside others.
function Candidate:times()
  local words = {}
  for _, step in ipairs(M.STEPS) do
    local took = self.took[step[1]]
    if took and took >= TOLD_FROM then words[#words + 1] = ("%s %.2f s"):format(step[1], took) end
  end
  return words[1] and table.concat(words, ", ")
end

-- Unless it was swapped in, nothing of it stays.
function Candidate:__close()
  for _, task in pairs { specs = self.specs_task, lint = self.lint_task } do task:cancel() end
  if self.taken then return end
  if self.generation then self.generation:close() end
  if self.set then self.set:release() end
end

return M
