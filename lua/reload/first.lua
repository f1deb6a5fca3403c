-- What an operator begins with.
--
-- A folder is looked over first: what lint or its specs refuse would never have gone live by an edit, and must not by a restart,
-- when a pod is moved or crashes with a refused save in its folder. It ends the program, as what does not load does: models go on
-- serving as they are, and a Deployment's new pod that never gets ready leaves the old one in its place. With --last-good there
-- is something better to begin with: what has proven itself (last_good.lua). The folder is a save like any other then.
--
-- The built-in policies are not looked over: they passed when moonphase was built.

local contract = require "contract"
local guard = require "guard"
local misset = require "misset"
local policies = require "policies"

local M = {}

local MODULE = "phdeployment"

-- (waits) What lint or the specs refuse of these files, first of all: {step=, text=, failure=}; nil: nothing. (Not to be done in the
-- operator's own process, unless there is no other: reload/apart.lua.)
function M.refusal(files, settings)
  for _, finding in ipairs(require("lint").check(files, settings, { specs = false })) do
    if finding.severity ~= "warning" then return { step = "lint", text = guard.sentence(finding), failure = finding } end
  end
  local specs = require "specs"
  local refusal = #specs.names(files) > 0 and specs.refusal(specs.run(files, "policies")) or nil
  if refusal then refusal.step = "specs" end
  return refusal
end

local function refused(dir, refusal, keeper)
  local source = refusal.failure and refusal.failure.source
  local others = keeper and ("%s holds none that have proven themselves and could be begun with."):format(keeper:place())
    or "With --last-good NAME an operator begins with those that have proven themselves."
  return nil, ("the policies of %s are refused, step %s: %s%s\nMend them, and see them pass: moonphase check %s. (%s)"):format(dir,
    refusal.step, refusal.text, source and source ~= "" and "\n    " .. source:gsub("^%s+", "") or "", dir, others)
end

-- (waits) The policies of a folder (nil: the built-in ones) with the administrator's settings: {generation, declaration, settings, files};
-- nil and a text. keeper: who was asked before (nil: nobody).
function M.of_folder(dir, settings_path, keeper)
  local generation, settings, files = policies.load(dir, settings_path, true)
  if not generation then return nil, settings end
  local declaration, why = contract.declaration(generation, MODULE)
  if not declaration then return nil, why end
  local misfit = misset.failure(generation, MODULE, declaration, files, settings_path, settings)
  if misfit then return nil, guard.sentence(misfit) end
  local refusal = dir and require("reload.apart").first(files, settings)
  if refusal then return refused(dir, refusal, keeper) end
  return { generation = generation, declaration = declaration, settings = settings, files = files }
end

local function of_kept(kept)
  local generation, failure = policies.generation(kept.files, "the last good policies", true)
  if not generation then return nil, guard.sentence(failure) end
  local declaration, why = contract.declaration(generation, MODULE)
  if not declaration then
    generation:close()
    return nil, why
  end
  return { generation = generation, declaration = declaration, settings = kept.settings, files = kept.files, kept = kept }
end

-- (waits) What `keeper` (last_good.lua) has, and if it has nothing that can be used, the folder: as of_folder, and `kept`, if it is that.
function M.of_keeper(keeper, dir, settings_path)
  local kept, why = keeper:read()
  if why then return nil, why end
  if kept then
    local found, trouble = of_kept(kept)
    if found then return found end
    log.warn("the last good policies cannot be used any more: the folder is begun with", { where = keeper:place(), why = trouble })
  end
  return M.of_folder(dir, settings_path, keeper)
end

return M
