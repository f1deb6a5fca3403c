-- Settings that can be read and make no sense: what the policies say of them, and what a reload asks of them.
--
-- An object whose settings are wrong is Failed and says so. Whoever edits them should know before: a reload, moonphase check
-- and moonphase test ask here, so that they use the same words.

local contract = require "contract"
local policies = require "policies"
local rules = require "reload.rules"

local M = {}

-- A PolicyError with the line of the setting; nil: nothing is wrong. path: of the administrator's settings, or nil.
function M.failure(generation, module, declaration, files, path, settings)
  local odd, failure = contract.settings_trouble(generation, module, declaration, settings)
  if failure then return failure end
  odd = odd or select(2, rules.of(settings))
  return odd and policies.setting_failure(files, path, odd) or nil
end

return M
