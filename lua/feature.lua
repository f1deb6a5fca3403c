-- PrimeHub's switch for model deployments: an environment variable, with `false` the operator idles.
--
-- The specification spells its name DEPLOYEMNT, PrimeHub's console spells it right: both are read, and either switches off,
-- since whoever wrote `false` meant it. Absent or empty is on, so that nobody's models stop for want of a variable; so is a
-- value that is neither, with a warning.

local M = {}

local NAMES = { "PRIMEHUB_FEATURE_MODEL_DEPLOYEMNT", "PRIMEHUB_FEATURE_MODEL_DEPLOYMENT" }
local OFF = { ["false"] = true, ["0"] = true, ["no"] = true, ["off"] = true }
local ON = { ["true"] = true, ["1"] = true, ["yes"] = true, ["on"] = true, [""] = true }

-- nil: on; else a sentence that says which variable switches it off. And an array of sentences about what is odd.
function M.off(env)
  env = env or process.env
  local off, odd, said = nil, {}, {}
  for _, name in ipairs(NAMES) do
    local word = (env(name) or ""):match("^%s*(.-)%s*$"):lower()
    if OFF[word] then
      off = off or ("model deployment is switched off by %s=%s: nothing is watched and nothing is written"):format(name, word)
      said.off = name
    elseif not ON[word] then
      odd[#odd + 1] = ("%s is neither true nor false; that counts as true"):format(name)
    elseif word ~= "" then
      said.on = name
    end
  end
  if said.off and said.on then odd[#odd + 1] = ("%s and %s say opposite things; false counts"):format(said.off, said.on) end
  return off, odd
end

return M
