-- The table of spec/FAULTS.md against the tests: all 47 are there, and each test file that a row names has a test with its number.

local function rows()
  local list = {}
  for number, what, here in assert(fs.read("spec/FAULTS.md")):gmatch("\n| (%d+) | (.-) | (.-) |%f[\n]") do
    list[#list + 1] = { number = tonumber(number), what = what, here = here }
  end
  return list
end

-- The numbers that stand behind "fault" or "faults" in the names of a file's tests, as a set.
local function named(path)
  local set = {}
  for line in assert(fs.read(path)):gmatch("[^\n]+") do
    local code = not line:match("^%s*%-%-") and line or ""
    for numbers in code:gmatch("faults? ([%d, and]+)") do
      for number in numbers:gmatch("%d+") do set[tonumber(number)] = true end
    end
  end
  return set
end

describe("The table of faults", function()
  it("has each of the 47 once, with a reason or a test", function()
    local list = rows()
    assert.equal(47, #list)
    for i, row in ipairs(list) do
      assert.equal(i, row.number)
      local has_test = row.here:find("_spec.lua", 1, true) ~= nil
      local has_reason = row.here:find("cannot be", 1, true)
      assert.is_true(has_test or has_reason ~= nil, "fault " .. i .. " has neither a test nor a reason")
    end
  end)

  it("names files that have a test of that number", function()
    local numbers = {}
    for _, row in ipairs(rows()) do
      for path in row.here:gmatch("`([%w/_]+_spec%.lua)`") do
        numbers[path] = numbers[path] or named(path)
        assert.is_true(numbers[path][row.number] == true, ("%s has no test that is named after fault %d"):format(path, row.number))
      end
    end
  end)
end)
