-- Calls of a generation on a worker thread: what comes back, and what happens to a generation meanwhile.

local FILES = { ["p.lua"] = [[
local M = {}
function M.double(n) return { n = n * 2, list = json.array {} } end
function M.fails() local x; return x.y end
function M.spins() while true do end end
function M.odd() return function() end end
function M.nothing() end
function M.three(a, b, c) return { a == json.null, b, c } end
return M
]] }

local function load()
  local generation, failure = policy.load { files = FILES, name = "spec", limits = { instructions = 2000000 }, background = true }
  return assert(generation, failure and failure.text)
end

describe("calls apart", function()
  it("answer in order, failures with file, line, source and path, and the next call goes on", function()
    local generation <close> = setmetatable({ it = load() }, { __close = function(g) g.it:close() end })
    local results = generation.it:call_apart { { "p", "double", 21 }, { "p", "fails" }, { "p", "spins" }, { "p", "odd" }, { "p", "nothing" },
      { "p", "three", json.null, "two", json.array { 3 } }, { "q", "x" } }
    assert.equal(7, #results)
    assert.equal(42, results[1].value.n)
    assert.is_true(json.is_array(results[1].value.list))
    assert.equal("p.lua", results[2].failure.file)
    assert.equal(3, results[2].failure.line)
    assert.contains("x.y", results[2].failure.source)
    assert.equal("budget", results[3].failure.outcome)
    assert.equal("value", results[4].failure.outcome)
    assert.truthy(results[5].value == nil or results[5].value == json.null)
    assert.same({ true, "two", { 3 } }, results[6].value)
    assert.contains("no file q.lua", results[7].failure.text)
    assert.same(84, generation.it:call("p", "double", 42).n)
  end)

  it("leave the loop to others, and the generation to nobody", function()
    local generation = load()
    local calls = {}
    for i = 1, 20 do calls[i] = { "p", "spins" } end
    local task = loop.spawn(function() return generation:call_apart(calls) end)
    local turns, refused = 0, nil
    while not task:done() do
      loop.sleep(0.001)
      turns = turns + 1
      if not task:done() then
        local ok, why = pcall(generation.call, generation, "p", "double", 1)
        refused = refused or not ok and why
      end
    end
    assert.truthy(turns > 3, turns .. " turns of the loop meanwhile")
    assert.contains("on a worker thread", refused)
    assert.equal(20, #select(2, task:join()))
    generation:close()
  end)

  it("end soon when nobody waits for them any more, also of a generation that is closed", function()
    local generation = load()
    local calls = {}
    for i = 1, 10000 do calls[i] = { "p", "spins" } end
    local task = loop.spawn(function() return generation:call_apart(calls) end)
    loop.sleep(0.02)
    local started = loop.now()
    task:cancel()
    generation:close()
    assert.has_error(function() generation:call("p", "double", 1) end, "was closed")
    local other = load()
    assert.equal(2, other:call_apart({ { "p", "double", 1 } })[1].value.n)
    assert.truthy(loop.now() - started < 5)
    other:close()
  end)

  it("refuse what is no call", function()
    local generation = load()
    assert.has_error(function() generation:call_apart { { "p" } } end, "each call is {module, function")
    assert.has_error(function() generation:call_apart { { "p", "double", print } } end, "function")
    assert.same({}, generation:call_apart {})
    generation:close()
  end)
end)
