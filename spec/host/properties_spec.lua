-- What policies/properties_spec.lua tries on a few random worlds, tried on many.
--
-- Whoever saves a policy waits for its specs, so the folder's own go through few seeds. Here there is time.

local guard = require "guard"
local policies = require "policies"
local specs = require "specs"

local NAME, SEEDS = "properties_spec.lua", 200

describe("the properties of the shipped policies", function()
  it(("hold in %d random worlds, too"):format(SEEDS), function()
    local files = assert(policies.files "policies")
    for _, name in ipairs(specs.names(files)) do
      if name ~= NAME then files[name] = nil end
    end
    local text, found = files[NAME]:gsub("\nlocal SEEDS = %d+", ("\nlocal SEEDS = %d"):format(SEEDS))
    assert.equal(1, found, "the number of seeds stands in " .. NAME)
    files[NAME] = text
    local outcome = specs.run(files, "policies")
    local failed = {}
    for i, what in ipairs(outcome.failed) do failed[i] = (what.test or what.file or "") .. ": " .. guard.sentence(what.failure) end
    assert.equal("", table.concat(failed, "\n"))
    assert.equal(2 * SEEDS, outcome.count)
  end)
end)
