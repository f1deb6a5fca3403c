-- moonphase test and moonphase check, as somebody sees them who edits a folder: what passes, what is told and where, how they end.

local cases = require "cases"
local junit = require "junit"
local outline = require "outline"

local FOLDER = {
  ["settings.yaml"] = "limit: 3\n",
  ["failures.lua"] = [[
return rules {
  { name = "Crashed", condition = "PodsHealthy", when = function(s)
      for _, pod in ipairs(s.seen.pods) do
        if pod.status.phase == "Failed" then return { pod = pod.status.reason or "no reason" } end
      end
    end, message = "a pod has ended: {pod}" },
  { name = "Unreached", condition = "PodsHealthy", when = function(s) return s.object.metadata.name == "nobody" end, message = "never" },
}
]],
  ["phdeployment.lua"] = [[
local failures = require "failures"
local function decide(seen)
  local s = { seen = seen, object = seen.object, conditions = {} }
  local verdict = failures:judge(s)
  if seen.object.spec.stop then
    return { status = { phase = "Stopped", conditions = json.array {} }, children = json.array {},
      prune = json.array { { kind = "Service", name = "x" } },
        events = json.array { { type = "Normal", reason = "Stopped", message = "x" } } }
  end
  local failure = verdict.failure
  local phase = failure and "Failed" or "Deployed"
  return {
    status = { phase = phase, reason = failure and failure.name or phase, message = failure and failure.message or "it runs",
      since = seen.object.status and seen.object.status.phase or "nothing",
      conditions = json.array { { type = "PodsHealthy", status = failure and "False" or "True", reason = "X", message = "x" } } },
    children = json.array { { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "x", labels = { ["a.b/c"] = "d" } },
      spec = { replicas = seen.object.spec.replicas,
        containers = json.array { { name = "model", image = "m" }, { name = "engine", image = "e" } } } } },
    prune = json.array {}, requeue_after = seen.now,
  }
end
return controller {
  kind = { api_version = "x/v1", kind = "Thing", resource = "things", keep = "whole" }, label = "x",
  children = { deployments = { api_version = "x/v1", kind = "Deployment", resource = "deployments", keep = "whole" },
    services = { api_version = "x/v1", kind = "Service", resource = "services", keep = "whole" } },
  watches = { pods = { api_version = "x/v1", kind = "Pod", resource = "pods", keep = "whole" } }, inputs = {},
  decide = decide,
}
]],
  ["spec_world.lua"] = [[
local M = {}
function M.new()
  return { object = { metadata = { name = "x", generation = 1 },
    spec = { replicas = 2, env = json.array { { name = "A" }, { name = "B" } } } },
    pods = json.array {}, children = {}, problems = json.array {}, now = 100 }
end
function M.deployed()
  local w = M.new()
  M.roll(w, 2)
  return w
end
function M.roll(w, count)
  w.pods = json.array {}
  for i = 1, count do w.pods[i] = { metadata = { name = "pod-" .. i }, status = { phase = "Running" } } end
end
function M.edit(w, change)
  change(w.object.spec)
  w.object.metadata.generation = w.object.metadata.generation + 1
end
function M.apply(w) w.object.status = require("phdeployment").decide(w).status end
return M
]],
  ["phases_spec.lua"] = [[
local world = require "spec_world"
describe("a thing", function()
  it("runs", function()
    assert.equal("Deployed", require("phdeployment").decide(world.new()).status.phase)
  end)
end)
]],
  ["failures_cases.yaml"] = [[
worlds:
  stopped:
    base: deployed
    edit: {stop: true}
cases:
  - name: a pod that has ended
    base: deployed
    given:
      pods[0].status: {phase: Failed, reason: Evicted}
    expect:
      phase: Failed
      message: {contains: Evicted}
  - name: is stopped
    base: stopped
    expect: {phase: Stopped, absent: [Deployment], prune: [Service], events: [Stopped]}
]],
}

-- FOLDER with some files changed (false: without), in a folder of our own; body(dir).
local function with_folder(changes, body)
  local dir, files = assert(fs.temporary()), {}
  for name, text in pairs(FOLDER) do files[name] = text end
  for name, text in pairs(changes or {}) do files[name] = text or nil end
  for name, text in pairs(files) do assert(fs.write(dir .. "/" .. name, text)) end
  local ok, failure = pcall(body, dir)
  for name in pairs(files) do fs.remove(dir .. "/" .. name) end
  fs.remove(dir)
  if not ok then error(failure, 0) end
end

local function moonphase(...)
  return assert(process.run { argv = { process.env "MOONPHASE" or "build/moonphase", "--lua", "lua", ... }, timeout = 60 })
end

local function test(changes, ...)
  local words, result = { ... }, nil
  with_folder(changes, function(dir) result = moonphase("test", dir, table.unpack(words)) end)
  return result
end

-- The walk through the small world is spec/check's.
local function check(changes, ...)
  local words, result = { "--states", "0", ... }, nil
  with_folder(changes, function(dir) result = moonphase("check", dir, table.unpack(words)) end)
  return result
end

-- One case in place of those of the folder: the sentences of what does not hold, and the status.
local function case(text)
  local result = test { ["failures_cases.yaml"] = "cases:\n  - name: it\n" .. text:gsub("([^\n]+)", "    %1") .. "\n" }
  return result.output, result.status
end

local function passes(text)
  local output, status = case(text)
  assert.equal(0, status, output)
end

local function fails(text, ...)
  local output, status = case(text)
  assert.equal(1, status, output)
  for _, part in ipairs { ... } do assert.contains(part, output) end
end

-- ---------------------------------------------------------------- moonphase test

describe("moonphase test", function()
  it("runs specs and cases, names rows that none reached with file and line, and ends with 0", function()
    local result = test()
    assert.equal(0, result.status, result.output .. result.errors)
    assert.contains("ok   phases_spec.lua: a thing runs", result.output)
    assert.contains("ok   failures_cases.yaml: a pod that has ended", result.output)
    assert.contains("ok   failures_cases.yaml: keeps nothing between calls", result.output)
    assert.contains("failures.lua:7: the row Unreached of the rules was reached by no spec", result.output)
    assert.is_nil(result.output:find("the row Crashed", 1, true))
    assert.matches("coverage: %d+%.%d %% of %d+ lines, 1 of 2 rows", result.output)
    assert.contains("5 passed, 0 failed", result.output)
  end)

  it("finds no row of the policies that moonphase brings along which no spec reaches", function()
    local all = assert(json.decode(moonphase("test", "policies", "-o", "json").output))
    assert.equal(0, all.failed)
    assert.same({}, all.coverage[1].unreached)
    assert.truthy(all.coverage[1].rows > 40)
  end)

  it("says which lines no spec reached", function()
    local result = test({ ["failures_cases.yaml"] = false }, "--coverage")
    assert.matches("phdeployment.lua  not reached: 6\n", result.output)
    assert.matches("failures.lua  not reached: 4\n", result.output)
    assert.matches("100.0 %%  phdeployment.lua\n", test(nil, "--coverage").output)
  end)

  it("ends with 1 when a test fails, and tells file, line and that line", function()
    local result = test { ["phases_spec.lua"] = "it('is wrong', function()\n  assert.equal(1, 2)\nend)\n" }
    assert.equal(1, result.status)
    assert.contains("FAIL phases_spec.lua: is wrong", result.output)
    assert.contains("phases_spec.lua:2: expected 1, got 2\n         assert.equal(1, 2)", result.output)
  end)

  it("ends with 1 when there is nothing to run, and with 2 when it is used wrongly", function()
    local result = test { ["phases_spec.lua"] = false, ["failures_cases.yaml"] = false }
    assert.equal(1, result.status)
    assert.contains("no test was found", result.errors)
    assert.equal(2, moonphase("test", "--odd").status)
    assert.equal(2, moonphase("test", "policies", "-o", "xml").status)
  end)

  it("runs one file, or those tests that have a text in their name", function()
    with_folder(nil, function(dir)
      local result = moonphase("test", dir .. "/failures_cases.yaml")
      assert.equal(0, result.status, result.output)
      assert.is_nil(result.output:find("phases_spec", 1, true))
      result = moonphase("test", dir, "--filter", "a thing")
      assert.contains("2 passed, 0 failed",
        result.output:gsub("ok   failures_cases.yaml: keeps nothing between calls\n", ""):gsub("3 passed", "2 passed"))
      assert.is_nil(result.output:find("a pod that has ended", 1, true))
    end)
  end)

  it("stops a spec at the limits of production", function()
    local result = test { ["phases_spec.lua"] = "it('spins', function()\n  while true do end\nend)\nit('is next', function() end)\n" }
    assert.contains("phases_spec.lua:2: stopped after 2000000 instructions", result.output)
    assert.contains("ok   phases_spec.lua: is next", result.output)
  end)

  it("offers a spec nothing that production has not", function()
    local result = test { ["phases_spec.lua"] = "it('asks', function() return os.time() end)\n" }
    assert.contains('the variable "os" is not declared', result.output)
  end)

  it("fails for a policy that keeps something between calls", function()
    local files = { ["failures.lua"] = "local count = 0\n" .. FOLDER["failures.lua"]:gsub("for _, pod", "count = count + 1 for _, pod") }
    local result = test(files)
    assert.equal(1, result.status)
    assert.contains("FAIL phases_spec.lua: keeps nothing between calls", result.output)
    assert.contains('the local "count" changed between calls', result.output)
  end)

  it("says once of a file of the policies that it does not load, in the words of check, and runs no spec of them", function()
    local result = test { ["failures.lua"] = FOLDER["failures.lua"]:gsub("PodsHealthy\", when", "PodsHealthy\" when") }
    assert.equal(1, result.status)
    assert.contains("FAIL failures.lua: loads\n     failures.lua:2: `}` or a comma was expected in the table of line 2, and here is `when`",
      result.output)
    assert.contains("0 passed, 1 failed", result.output)
  end)

  it("shows a mistake that keeps several spec files from loading with the first of them", function()
    local result = test { ["spec_world.lua"] = "local x = nil\nreturn { new = function() return x.y end, deployed = x.y }\n",
      ["a_spec.lua"] = "local world = require 'spec_world'\nit('x', function() assert(world) end)\n",
      ["b_spec.lua"] = "local world = require 'spec_world'\nit('x', function() assert(world) end)\n" }
    assert.contains("FAIL b_spec.lua: loads\n     as in a_spec.lua: spec_world.lua:2: attempt to index a nil value", result.output)
    assert.equal(1, select(2, result.output:gsub("\n         return { new", "")))
  end)

  it("says of a folder of policies without its phdeployment.lua that this is missing", function()
    local result = test { ["phdeployment.lua"] = false }
    assert.equal(1, result.status)
    assert.contains("holds no phdeployment.lua", result.errors)
  end)

  it("says which setting is wrong, in the words of check: what cannot be read, and what the policies cannot use", function()
    local result = test { ["settings.yaml"] = "limit: [3\n" }
    assert.equal(1, result.status)
    assert.contains("FAIL settings.yaml: the settings make sense\n     settings.yaml:", result.output)
    local files = { ["settings.yaml"] = "other: 1\nlimit: 3\n", ["phdeployment.lua"] = FOLDER["phdeployment.lua"]:gsub("decide = decide",
      "decide = decide, check_settings = function(s) return s.limit > 2 and 'limit is ' .. s.limit .. ': 2 at most' or nil end") }
    assert.contains("FAIL settings.yaml: the settings make sense\n     settings.yaml:2: limit is 3: 2 at most\n         limit: 3\n",
      test(files).output)
    files["settings.yaml"] = "limit: 2\nreload: {check: soon}\n"
    assert.contains("settings.yaml:2: reload.check must be a time such as 2s, 24h at most, or full", test(files).output)
    files["settings.yaml"] = "limit: 2\n"
    assert.equal(0, test(files).status)
  end)

  it("says of a file that does not load which line is wrong, and runs the others", function()
    local result = test { ["phases_spec.lua"] = "it('x', function(\n" }
    assert.contains("FAIL phases_spec.lua: loads", result.output)
    assert.contains("ok   failures_cases.yaml: is stopped", result.output)
    assert.equal(1, result.status)
  end)

  it("writes JUnit's XML for CI, with what failed", function()
    local result = test({ ["phases_spec.lua"] = "it('is <wrong> & \"odd\"', function() error 'a\\1<b>' end)\n" }, "-o", "junit")
    assert.equal(1, result.status)
    assert.contains('<testsuites name="moonphase" tests="5" failures="1">', result.output)
    assert.contains('<testcase classname="phases_spec.lua" name="is &lt;wrong&gt; &amp; &quot;odd&quot;"', result.output)
    assert.matches('<failure message="phases_spec.lua:1: a%?&lt;b&gt;">', result.output)
    assert.matches('^<%?xml version="1.0" encoding="UTF%-8"%?>', result.output)
  end)

  it("writes JSON for programs", function()
    local all = assert(json.decode(test(nil, "-o", "json").output))
    assert.equal(5, all.passed)
    assert.equal(5, #all.tests)
    assert.equal("Unreached", all.coverage[1].unreached[1].row)
    assert.equal(7, all.coverage[1].unreached[1].line)
  end)
end)

-- ---------------------------------------------------------------- table cases

describe("a case", function()
  it("is told with the line of what does not hold, all of it at once", function()
    fails("base: deployed\nexpect:\n  phase: Failed\n  status: {replicas: 3}\n  children:\n    Deployment:\n      spec.replicas: 7",
      'failures_cases.yaml:5: phase: expected "Failed", got "Deployed"', "failures_cases.yaml:6: replicas: expected 3, got nothing",
      "failures_cases.yaml:9: Deployment spec.replicas: expected 7, got 2", "phase: Failed")
  end)

  it("looks into children by path: names, positions, every element, keys with dots, nothing", function()
    passes([[
base: new
expect:
  children:
    Deployment:
      spec.containers[model].image: m
      spec.containers[1].name: engine
      metadata.labels[a.b/c]: d
      spec.paused: null
      spec.containers[*].command: null
    Service: null]])
    fails("base: new\nexpect:\n  children:\n    Deployment:\n      spec.containers[*].image: m",
      'spec.containers[*].image: expected "m", got "e"')
    fails("base: new\nexpect:\n  children:\n    Deployment:\n      spec.containers[nobody].image: m", "the path finds no element nobody")
    fails("base: new\nexpect:\n  children:\n    Deployment:\n      spec.containers[2].image: m",
      "the path names element [2] of 2; [0] is the first")
    fails("base: new\nexpect:\n  children:\n    Deployment:\n      spec.containers.image: m",
      "the path meets a list at `image`: say which element")
    fails("base: new\nexpect:\n  children:\n    Service: {spec: 1}", "there is no Service among the children: Deployment")
    fails("base: new\nexpect:\n  children:\n    Deployment: null", "there is a Deployment among the children")
  end)

  it("changes the world by path: one element, every element, a new map, nothing", function()
    passes("base: deployed\ngiven:\n  pods[*].status.phase: Failed\n  pods[*].status.reason: Evicted\nexpect: {reason: Crashed}")
    passes("base: deployed\ngiven:\n  pods[pod-2].status.phase: Failed\nexpect: {message: \"a pod has ended: no reason\"}")
    passes("base: deployed\ngiven: {object.spec.replicas: null}\nexpect: {children: {Deployment: {spec.replicas: null}}}")
    passes("base: deployed\ngiven: {object.status.phase: Odd}\nexpect: {status: {since: Odd}}")
    fails("base: new\ngiven:\n  pods[*].status.phase: Failed\nexpect: {phase: x}",
      "failures_cases.yaml:5: given: the path pods[*].status.phase wants the elements [*] of an empty list")
    fails("base: new\ngiven: {podz: 1}\nexpect: {phase: x}", "failures_cases.yaml:4: given: nothing called podz is seen")
  end)

  it("takes steps: the user edits, the operator acts, time passes", function()
    passes([[
base: new
steps:
  - after: 0
    expect: {status: {since: Deployed}, requeue_after: 100}
  - roll: 1
    after: 15
    expect: {requeue_after: 115, conditions: {PodsHealthy: "True"}}
  - edit: {stop: true}
    expect: {phase: Stopped, conditions: {PodsHealthy: null}, events: [Stopped]}
]])
  end)

  it("may bring its whole world along, without a spec_world.lua", function()
    local text = "cases:\n  - name: it\n    seen: {object: {metadata: {name: x}, spec: {}}, pods: []}\n    expect: {phase: Deployed}\n"
    assert.equal(0, test({ ["spec_world.lua"] = false, ["phases_spec.lua"] = false, ["failures_cases.yaml"] = text }).status)
    local result = test { ["spec_world.lua"] = false, ["phases_spec.lua"] = false }
    assert.contains("there is no spec_world.lua in the folder", result.output)
  end)

  it("fails where another order of the pods makes another decision", function()
    local result = test { ["failures_cases.yaml"] = [[
cases:
  - name: two reasons
    base: deployed
    given:
      pods[0].status: {phase: Failed, reason: A}
      pods[1].status: {phase: Failed, reason: B}
    expect: {phase: Failed}
]] }
    assert.contains("another order of pods, events or conditions makes another decision: decision.status.message differs", result.output)
    assert.equal(1, result.status)
  end)

  it("tells an error of the policy with the policy's line", function()
    fails("base: new\ngiven: {object.spec: null}\nexpect: {phase: x}", "phdeployment.lua:5: attempt to index a nil value (field 'spec')")
  end)

  it("that begins with a world that there is not, says which function is missing", function()
    fails("base: gone\nexpect: {phase: x}", 'failures_cases.yaml:3: spec_world.lua has no function "gone"')
  end)

  it("whose path leads nowhere in what is seen, fails: it would change nothing", function()
    local text = "cases:\n  - name: it\n    base: new\n    given: {object.spec.stp: true}\n    expect: {phase: Deployed}\n"
    local files = { ["failures_cases.yaml"] = text }
    files["phdeployment.lua"] = FOLDER["phdeployment.lua"]:gsub('api_version = "x/v1", kind = "Thing"',
      'api_version = "primehub.io/v1alpha1", kind = "PhDeployment"')
    local result = test(files)
    assert.equal(1, result.status)
    assert.contains("failures_cases.yaml:4: seen.object.spec has no stp; did you mean stop?", result.output)
  end)
end)

-- What is wrong with a text of cases: line and sentence.
local function mistake(text)
  local read, wrong = cases.read(text, "x_cases.yaml")
  assert.is_nil(read, "it was read")
  return ("%d: %s"):format(wrong.line, wrong.text)
end

describe("a key of cases that is not known is refused with its line:", function()
  for name, row in pairs {
    ["of the file"] = { "case:\n  - name: a\n", '1: a file of cases has no key "case"; it may have worlds, cases' },
    ["of a case"] = { "cases:\n  - name: a\n    bse: new\n    expect: {phase: x}\n", '3: a case has no key "bse"' },
    ["of what is expected"] = { "cases:\n  - name: a\n    expect:\n      phase: x\n      mesage: y\n", '5: expect has no key "mesage"' },
    ["of a condition"] = { "cases:\n  - name: a\n    expect:\n      conditions:\n        Ready: {stats: x}\n",
      '5: a condition has no key "stats"' },
    ["of a step"] = { "cases:\n  - name: a\n    steps:\n      - after: 1\n      - wait: 1\n        expect: {phase: x}\n",
      '5: a step has no key "wait"' },
    ["of a world"] = { "worlds:\n  w:\n    base: new\n    expect: {phase: x}\ncases:\n  - name: a\n    base: w\n    expect: {phase: x}\n",
      '4: a world has no key "expect"' },
  } do
    it(name, function() assert.contains(row[2], mistake(row[1])) end)
  end
end)

describe("what makes no sense in a file of cases is refused with its line:", function()
  for name, row in pairs {
    ["no case"] = { "cases: []\n", "1: cases is a list of cases, and there is none" },
    ["a case without a name"] = { "cases:\n  - expect: {phase: x}\n", "2: case 1 has no name" },
    ["two of a name"] = { "cases:\n  - name: a\n    expect: {phase: x}\n  - name: a\n    expect: {phase: x}\n",
      '4: two cases are called "a"' },
    ["a case that expects nothing"] = { "cases:\n  - name: a\n    base: new\n", '2: the case "a" expects nothing' },
    ["an empty expectation"] = { "cases:\n  - name: a\n    expect: {}\n", "3: expect is empty" },
    ["a status that is no text"] = { "cases:\n  - name: a\n    expect:\n      conditions: {Ready: True}\n",
      '4: the status of a condition is a text: write "True" in quotes' },
    ["a time that is no number"] = { "cases:\n  - name: a\n    after: soon\n    expect: {phase: x}\n",
      "3: after is a whole number from 0 on" },
    ["a path that is no path"] = { "cases:\n  - name: a\n    given:\n      pods[.x: 1\n    expect: {phase: x}\n",
      "4: the path pods[.x has a bracket that is not closed" },
    ["worlds in a circle"] = { "worlds:\n  a: {base: b}\n  b: {base: a}\ncases:\n  - name: x\n    base: a\n    expect: {phase: x}\n",
      "in a circle" },
    ["a base and a whole world"] = { "cases:\n  - name: a\n    base: new\n    seen: {}\n    expect: {phase: x}\n",
      "4: a base and a whole `seen` are one too many" },
    ["no YAML"] = { "cases:\n  - name: a\n   base: x\n", "3: this line, or the one above it, is indented differently" },
    ["brackets in braces"] = { "cases:\n  - name: a\n    given: {pods[0].x: 1}\n",
      "Put a path with brackets in quotes, or on a line of its own" },
    ["two documents"] = { "cases: []\n---\ncases: []\n", "a file of cases is one document" },
  } do
    it(name, function() assert.contains(row[2], mistake(row[1])) end)
  end
end)

describe("the outline of a YAML text", function()
  it("knows the line of a key, of an element and of what stands in a flow value", function()
    local text = outline.new(table.concat({ "# first", "a:", "  b: 1", "  \"c.d\": {e: 1}", "list:", "- x: 1", "  y: 2", "-   - deep: 1",
      "other:",
      "  text: |", "    no: key", "  end: 1" }, "\n"))
    for path, line in pairs { ["a"] = 2, ["a b"] = 3, ["a c.d"] = 4, ["a c.d e"] = 4, ["list"] = 5, ["list 1 x"] = 6, ["list 1 y"] = 7,
      ["list 2 1 deep"] = 8,
      ["other end"] = 12, ["other no"] = 9, ["other text no"] = 10 } do
      local keys = {}
      for key in path:gmatch "%S+" do keys[#keys + 1] = math.tointeger(tonumber(key)) or key end
      assert.equal(line, text:line(keys), path)
    end
  end)
end)

describe("JUnit's XML", function()
  it("holds no byte that XML cannot hold", function()
    local text = junit.text { { file = "a", name = "x\0\1\27<&>\"\n", ok = false, text = "y\8\nz" } }
    assert.is_nil(text:find "[%z\1-\8\11-\31\127]")
    assert.contains("x???&lt;&amp;&gt;&quot;&#10;", text)
  end)
end)

-- ---------------------------------------------------------------- moonphase check

describe("moonphase check", function()
  it("says of each step how it ended, that states are not walked where that is asked for, and ends with 0", function()
    local result = check()
    assert.equal(0, result.status, result.output .. result.errors)
    for _, line in ipairs { "load:   ok    6 files", "lint:   ok    0 errors", "specs:  ok    5 passed, 0 failed;",
      "order:  ok    no decision hangs on the order of pairs",
      "states: -     not walked" } do
      assert.contains(line, result.output)
    end
    assert.contains("failures.lua:7: warning: the row Unreached of the rules was reached by no spec", result.output)
  end)

  it("ends with 1 for warnings only where that is asked for", function()
    assert.equal(1, check(nil, "--strict").status)
  end)

  it("ends with 1 for what lint finds, with file, line and the line", function()
    local result = check { ["failures.lua"] = FOLDER["failures.lua"]:gsub('message = "never"', 'mesage = "never", message = "x"') }
    assert.equal(1, result.status)
    assert.contains("failures.lua:7: error: the row Unreached says `mesage`, which nothing reads; did you mean message?\n"
      .. "    { name = \"Unreached\"", result.output)
    assert.contains("lint:   FAILS 1 error", result.output)
  end)

  it("ends with 1 for a spec that fails, and shows it", function()
    local result = check { ["phases_spec.lua"] = "it('is wrong', function()\n  assert.equal(1, 2)\nend)\n" }
    assert.equal(1, result.status)
    assert.contains("phases_spec.lua:2: error: phases_spec.lua: is wrong: expected 1, got 2\n    assert.equal(1, 2)", result.output)
    assert.contains("specs:  FAILS", result.output)
  end)

  it("tells what does not load once, and runs no spec of it", function()
    local result = check { ["failures.lua"] = "return rules {\n" }
    assert.equal(1, result.status)
    assert.contains("failures.lua:2: error: a value was expected, and here is the end of the file", result.output)
    assert.equal(1, select(2, result.output:gsub("failures.lua:2:", "")))
    assert.contains("specs:  -     not run: the policies do not load", result.output)
  end)

  it("refuses what the host cannot use", function()
    local result = check { ["phdeployment.lua"] = "return { kind = { api_version = 'x', kind = 'x', resource = 'x' } }" }
    assert.contains("error: the policies cannot be used: phdeployment.lua: the controller has no `label`", result.output)
    assert.contains("load:   FAILS", result.output)
    assert.equal(1, result.status)
  end)

  it("warns of a decision that hangs on the order of pairs", function()
    local result = check { ["failures.lua"] = FOLDER["failures.lua"]:gsub('return { pod = pod.status.reason or "no reason" }',
      'local words = "" for k in pairs(pod.status) do words = words .. k end return { pod = words .. "Evicted" }') }
    assert.contains("failures.lua:4: warning: `words` is put together in the order of pairs", result.output)
    assert.contains("failures_cases.yaml: warning: a pod that has ended: comes out differently when pairs goes the other way",
      result.output)
    assert.contains("order:  ok    1 test hangs on the order of pairs", result.output)
  end)

  it("tells a mistake that many specs meet once, and how many there are", function()
    local result = check({ ["phdeployment.lua"] = FOLDER["phdeployment.lua"]:gsub("seen = seen, object", "x = seen.no.thing, seen = seen, object") },
      "--only", "load,specs")
    assert.equal(1, select(2, result.output:gsub("phdeployment.lua:3: error: ", "")), result.output)
    assert.matches("attempt to index a nil value %(field 'no'%) %(and %d+ more like it%)", result.output)
  end)

  it("refuses settings that the policies themselves call wrong, with file and line", function()
    local files = { ["phdeployment.lua"] = FOLDER["phdeployment.lua"]:gsub("  decide = decide,",
      "  decide = decide,\n  check_settings = function(s) return s.limit > 9 and 'limit is ' .. s.limit .. ': 9 is the most' or nil end,") }
    assert.contains("load:   ok", check(files, "--only", "load").output)
    files["settings.yaml"] = "# at most 9\nlimit: 10\n"
    assert.contains("settings.yaml:2: error: limit is 10: 9 is the most\n    limit: 10\nload:   FAILS", check(files, "--only", "load").output)
    files["settings.yaml"] = "limit: 1\n"
    files["over.yaml"] = "limit: 11\n"
    with_folder(files, function(dir)
      local result = moonphase("check", dir, "--only", "load", "--settings", dir .. "/over.yaml")
      assert.contains(dir .. "/over.yaml:1: error: limit is 11: 9 is the most", result.output)
    end)
  end)

  it("tells what does not load also where lint is not asked", function()
    assert.contains("failures.lua:2: error: ", check({ ["failures.lua"] = "return rules {\n" }, "--only", "load").output)
  end)

  it("takes an administrator's settings, and refuses wrong ones", function()
    with_folder({ ["over.yaml"] = "limt: 4\n" }, function(dir)
      local result = moonphase("check", dir, "--settings", dir .. "/over.yaml")
      assert.equal(1, result.status)
      assert.contains("unknown setting limt", result.output)
    end)
  end)

  it("writes JSON for programs, and says what it is used for when it is used wrongly", function()
    local all = assert(json.decode(check(nil, "-o", "json").output))
    assert.is_true(all.ok)
    assert.equal("load", all.steps[1].name)
    assert.equal("states", all.steps[5].name)
    assert.is_nil(all.steps[5].ok)
    assert.equal(2, moonphase("check", "a", "b").status)
    assert.equal(2, moonphase("check", "-o", "yaml").status)
    assert.equal(1, moonphase("check", "/nonexistent").status)
  end)
end)
