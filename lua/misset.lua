-- Settings that can be read and make no sense: what the policies say of them, and what a reload asks of them.
--
-- An object whose settings are wrong is Failed and says so. Whoever edits them should know before: moonphase check and moonphase
-- test ask here, with the words that a refused reload has.

local candidate = require "reload.candidate"
local contract = require "contract"
local policies = require "policies"

local M = {}

-- A PolicyError with the line of the setting; nil: nothing is wrong. path: of the administrator's settings, or nil.
function M.failure(generation, declaration, files, path, settings)
  local odd, failure = contract.settings_trouble(generation, "phdeployment", declaration, settings)
  if failure then return failure end
  odd = odd or select(2, candidate.rules(settings))
  return odd and policies.setting_failure(files, path, odd) or nil
end

return M
