-- The rows of invariants.lua: each holds of what is right, and says what is wrong.

local rows = require "invariants"

local function pod(name, labels_of)
  return { metadata = { name = name, labels = labels_of } }
end

describe("invariants", function()
  it("ask of every pod that it counts for its group", function()
    local good = pod("a", { ["primehub.io/group"] = "escaped-phusers" })
    assert.is_nil(rows.check { settled = true, pods = { good } })
    for _, bad in ipairs { pod("b", { app = "x" }), pod("b") } do
      local found = rows.check { settled = true, pods = { good, bad } }
      assert.equal("pods count for their group", found.name)
      assert.equal("b", found.evidence.why)
      assert.is_nil(rows.check { settled = false, pods = { bad } })
    end
  end)
end)
