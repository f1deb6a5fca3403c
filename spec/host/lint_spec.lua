-- lint: what an operator is told of a policy before it runs. A small folder of its own, edited in one place for each finding.

local lint = require "lint"
local parser = require "syntax.parser"
local policies = require "policies"

local FILES = {
  ["settings.yaml"] = "grace: {image: 10}\nlimits: {history: 3}\nlabels: {}\n",
  ["facts.lua"] = [[
local M = {}
local function by_type(list)
  local map = {}
  for _, condition in ipairs(list or {}) do map[condition.type] = condition end
  return map
end
function M.look(seen)
  local object = seen.object
  local s = { seen = seen, object = object, spec = object.spec, settings = seen.settings, name = object.metadata.name }
  s.newest_pods = seen.pods
  s.conditions = by_type(object.status and object.status.conditions)
  s.deployment = seen.children.deployments["deploy-" .. s.name]
  s.settled = s.deployment ~= nil and s.deployment.metadata.generation > 1
  s.replicas = s.settled and s.deployment.spec.replicas or 0
  return s
end
return M
]],
  ["failures.lua"] = [[
local TROUBLE = { "ErrImagePull", "ImagePullBackOff" }
return rules {
  { name = "NameTooLong", condition = "Progressing", blocks = true,
    when = function(s) return #s.name > 63 end,
    message = "The name {name} is too long" },
  { name = "GroupNotFound", condition = "GroupResolved", when = input { "group", "missing" },
    message = "Group not found: {spec.groupName}" },
  { name = "ImagePullFailed", condition = "ImagePulled", grace = setting "grace.image",
    when = any_container { waiting = TROUBLE },
    message = "Image invalid: {image}: {reason}" },
  { name = "Refused", condition = "QuotaAdmitted", when = refused {},
    message = "Pods cannot be created: {message}" },
}
]],
  ["phases.lua"] = [[
return phases {
  { "Failed", reason = function(s) return s.failure.name end, when = function(s) return s.failure end, message = "{failure.message}" },
  { "Deployed", from = { "", "Deploying", "Failed" }, when = fact "settled", message = "it runs" },
  { "Deploying", when = always, message = "it does not run yet" },
}
]],
  ["phdeployment.lua"] = [[
local facts = require "facts"
local failures = require "failures"
local phase_table = require "phases"
local CONDITIONS = { "Progressing", "GroupResolved", "ImagePulled", "QuotaAdmitted" }
local function decide(seen)
  local s = facts.look(seen)
  s.blocked = failures:first(s, "blocks")
  local verdict = failures:judge(s)
  s.failure = verdict.failure
  s.phase = phase_table:judge(s)
  local conditions = json.array {}
  for i, name in ipairs(CONDITIONS) do
    conditions[i] = { type = name, status = verdict.by_condition[name] and "False" or "True" }
  end
  return { status = { phase = s.phase.phase, reason = s.phase.reason, message = s.phase.message, conditions = conditions } }
end
return controller {
  kind = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", resource = "phdeployments", keep = "whole" },
  label = "primehub.io/phdeployment",
  children = { deployments = { api_version = "apps/v1", kind = "Deployment", resource = "deployments", keep = "whole" } },
  watches = { pods = { api_version = "v1", kind = "Pod", resource = "pods",
    keep = { "metadata.name", "status.phase", "status.containerStatuses" } },
    replicasets = { api_version = "apps/v1", kind = "ReplicaSet", resource = "replicasets", keep = "metadata" } },
  inputs = { group = { api_version = "primehub.io/v1alpha1", kind = "PhGroup", resource = "phgroups", keep = "whole", by = "spec.groupId",
    match = { "spec.id" } } },
  decide = decide,
}
]],
}

-- The folder with one text of a file replaced by another.
local function edited(file, old, new)
  local files = {}
  for name, text in pairs(FILES) do files[name] = text end
  if not file then return files end
  local from, to = files[file]:find(old, 1, true)
  assert(from, "the fixture has no " .. old)
  files[file] = files[file]:sub(1, from - 1) .. new .. files[file]:sub(to + 1)
  return files
end

local function sentences(findings)
  local list = {}
  for i, finding in ipairs(findings) do list[i] = lint.sentence(finding) end
  return table.concat(list, "\n")
end

-- An edit is told exactly so, first of all.
local function tells(name, file, old, new, expected)
  it(name, function()
    local findings = lint.check(edited(file, old, new))
    assert.truthy(findings[1], "nothing was found")
    local all = sentences(findings)
    assert.contains(expected, all)
  end)
end

local function accepts(name, file, old, new)
  it(name, function() assert.equal("", sentences(lint.check(edited(file, old, new)))) end)
end

local LONG = "return #s.name > 63"

-- In front of the last row: one more that waits for these reasons, for this condition.
local LAST = '  { name = "Refused"'
local function one_more(condition, reasons)
  return ('  { name = "Pull", condition = "%s", message = "x", when = any_container { waiting = %s } },\n%s'):format(condition, reasons, LAST)
end

describe("a folder in order", function()
  accepts "is not complained about"

  it("as the shipped one is not complained about", function()
    assert.equal("", sentences(lint.check(assert(policies.files "policies"))))
  end)
end)

describe("a finding", function()
  it("has file, line, the line's text, a severity and the name of the check", function()
    local findings = lint.check(edited("failures.lua", LONG, "return #s.nmae > 63"))
    assert.equal(1, #findings)
    local finding = findings[1]
    assert.same({ "failures.lua", 4, "warning", "fields" }, { finding.file, finding.line, finding.severity, finding.check })
    assert.equal("when = function(s) return #s.nmae > 63 end,", finding.source)
  end)

  accepts("is left out where a comment allows it", "failures.lua", "    when = function(s) " .. LONG,
    "    -- lint: allow fields\n    when = function(s) return #s.nmae > 63")

  it("is not left out by a comment that allows another one", function()
    assert.equal(1, #lint.check(edited("failures.lua", "    when = function(s) " .. LONG,
      "    -- lint: allow nil\n    when = function(s) return #s.nmae > 63")))
  end)

  it("comes while the loop serves others", function()
    local turns, longest, last = 0, 0, loop.now()
    local watcher = loop.spawn(function()
      while true do
        loop.sleep(0)
        turns, longest, last = turns + 1, math.max(longest, loop.now() - last), loop.now()
      end
    end)
    lint.check(assert(policies.files "policies"))
    watcher:cancel()
    assert.truthy(turns > 10, "turns: " .. turns)
  end)
end)

describe("a mistake in the language", function()
  tells("names the line and what was expected", "failures.lua", LONG, "retrun #s.name > 63",
    "failures.lua:4: error: a statement was expected")
  tells("says which `then` has no `end`", "facts.lua", "  return s\nend", "  if s.settled then\n  return s\nend",
    "`end` was expected, to end the `function` of line 7")
  tells("in a comparison says what to compare with", "facts.lua", "return map", "if map = 1 then return 1 end return map",
    "`then` was expected behind the condition, and here is `=`")

  it("in one file is not blamed on those that require it", function()
    assert.equal(1, #lint.check(edited("facts.lua", "local M", "locl M")))
  end)

  tells("that is a `return` of nothing is told where it is", "facts.lua", "return M", "return", "error: the file returns nothing")
end)

describe("a name", function()
  tells("that nobody declared is told with the one that may be meant", "facts.lua", "ipairs(list", "ipair(list",
    "facts.lua:4: error: the name `ipair` is not declared: did you mean ipairs?")
  tells("that is written without local is told", "facts.lua", "local s = {", "s = {", "the global `s` is written")
  tells("of the clock is told with what to use", "failures.lua", LONG, "return os.time() > 1",
    "there is no `os`: a policy has no clock and no machine: the time is seen.now")
  tells("of chance is told", "failures.lua", LONG, "return math.random() > 1", "there is no chance in a policy")
  tells("of a file that is not there is told", "phdeployment.lua", 'require "facts"', 'require "fact"',
    'there is no file fact.lua for require "fact"; did you mean facts?')
  tells("of a function that a file does not have is told", "phdeployment.lua", "facts.look(", "facts.lock(",
    "facts has no field lock; did you mean look?")
  tells("of a library's function is told", "facts.lua", "return map", "return text.bouned('x')",
    "text has no field bouned; did you mean bounded?")
  tells("of a text's function is told", "facts.lua", "return map", "return ('x'):uper()",
    "texts have no function uper; did you mean upper?")
end)

describe("what is kept between calls", function()
  tells("is told where it is written", "facts.lua", "function M.look(seen)", "local count = 0\nfunction M.look(seen)\n  count = count + 1",
    "facts.lua:9: warning: `count` is written here and belongs to the file")
end)

describe("a field of what is seen", function()
  tells("that the CRD does not have is told", "failures.lua", LONG, "return s.spec.groupNam == ''",
    "failures.lua:4: error: s.spec (PhDeployment) has no field groupNam; did you mean groupName?")
  tells("deep in a list is told", "failures.lua", LONG, "return s.spec.predictors[1].modelImg == ''",
    "has no field modelImg; did you mean modelImage?")
  tells("of a built-in kind is told", "facts.lua", "s.deployment.spec.replicas", "s.deployment.spec.replica",
    "has no field replica; did you mean replicas?")
  tells("that the watch does not keep is told with what to do", "failures.lua", LONG,
    "return s.newest_pods[1] ~= nil and s.newest_pods[1].status.podIP == ''",
    "podIP is not kept by watches.pods: add its path to `keep` in phdeployment.lua")
  tells("of what only metadata is kept of is told", "failures.lua", LONG, "for _, r in ipairs(s.seen.replicasets) do return r.spec end",
    "spec is not kept by watches.replicasets")
  tells("of seen itself is told", "facts.lua", "seen.pods", "seen.podz", "seen has no field podz; did you mean pods?")
  tells("that no file sets is told", "failures.lua", LONG, "return s.nmae == ''",
    "failures.lua:4: warning: s has no field nmae; did you mean name?")
  tells("that is compared with what it never is, is told", "failures.lua", LONG, "return s.seen.group.state == 'gone'",
    'it is never "gone": it is one of ambiguous, found, missing, unknown')
end)

describe("a setting", function()
  tells("that settings.yaml does not have is told", "failures.lua", LONG, "return s.settings.limits.histori > 1",
    "s.settings.limits (settings.yaml, limits) has no field histori; did you mean history?")
  tells("of a row is told", "failures.lua", 'setting "grace.image"', 'setting "grace.img"',
    "settings.yaml.grace has no img (of the path grace.img); did you mean image?")
  accepts("in a map that is empty is the administrator's", "failures.lua", LONG, "return s.settings.labels.team == 'x'")
end)

describe("what may be nil", function()
  tells("is told with why and how to guard it: an optional field", "failures.lua", LONG, "return s.object.metadata.annotations.x == ''",
    "failures.lua:4: warning: s.object.metadata.annotations is indexed, and may be nil here (annotations is optional in ObjectMeta): "
    .. "test it first (`if s.object.metadata.annotations then`), or write `(s.object.metadata.annotations or {})`")
  tells("is told of a child that is not there yet", "failures.lua", LONG, "return s.deployment.spec.replicas > 1",
    "s.deployment is indexed, and may be nil here (it may not have been made yet)")
  tells("is told of a condition that the object has not yet", "failures.lua", LONG, "return s.conditions.Ready.status == 'True'",
    "s.conditions.Ready is indexed, and may be nil")
  tells("is told of the first of a list", "failures.lua", LONG, "return s.newest_pods[1].status.phase == 'Running'",
    "s.newest_pods[1] is indexed, and may be nil here (the list may be shorter)")
  tells("is told where it is walked", "failures.lua", LONG, "for _ in ipairs(s.spec.env) do return true end",
    "s.spec.env is walked, and may be nil here (env is optional in PhDeployment): write `s.spec.env or {}`")
  tells("is told where it is joined to a text", "failures.lua", LONG, "return ('x' .. s.spec.description) == ''",
    "s.spec.description is joined to a text, and may be nil")
  tells("is told where it is calculated with", "failures.lua", LONG, "return s.spec.replicas + 1 > 2",
    "s.spec.replicas is calculated with, and may be nil")
  tells("is told of the {} behind `or`", "failures.lua", LONG, "return (s.spec.endpoint or {}).clients[1] == nil", "may be nil")
  tells("is told of what a pattern answers", "failures.lua", LONG, "return s.name:match('x(.)'):upper() == ''",
    "may be nil here (it answers nil where nothing fits)")

  for name, code in pairs {
    ["behind `if`"] = "local a = s.object.metadata.annotations if a then return a.x == '' end return false",
    ["behind `and`"] = "return s.object.metadata.annotations and s.object.metadata.annotations.x == ''",
    ["with a default"] = "return (s.object.metadata.annotations or {}).x == ''",
    ["behind an early return"] = "local a = s.object.metadata.annotations if a == nil then return false end return a.x == ''",
    ["behind `not`"] = "if not s.spec.endpoint then return false end return s.spec.endpoint.accessType == 'private'",
    ["in a list that is there"] = "for _, one in ipairs(s.spec.env or {}) do if one.name == 'x' then return true end end return false",
    ["that a fact stands for"] = "return s.settled and s.deployment ~= nil and s.deployment.spec.replicas > 1",
    ["in the body of a loop"] = "for _, p in ipairs(s.newest_pods) do local st = p.status if st.containerStatuses then return #st.containerStatuses end end",
    ["of the first predictor, which the CRD asks for"] = "return s.spec.predictors[1].modelImage == ''",
    ["by its type"] = "if type(s.spec.description) == 'string' then return #s.spec.description > 1 end return false",
  } do
    accepts("is not told " .. name, "failures.lua", LONG, code)
  end
end)

describe("a row", function()
  accepts("that holds always and tells another condition hides none", "failures.lua", 'when = input { "group", "missing" }',
    "when = always")
  tells("whose `when` stands above can never count", "phases.lua",
    '{ "Deployed", from = { "", "Deploying", "Failed" }, when = fact "settled"', '{ "Deployed", when = function(s) return s.failure end',
    "phases.lua:3: error: the row Deployed can never count: Failed in line 2 holds whenever it does, and comes first")
  tells("behind `always` can never count", "phases.lua", 'when = fact "settled"', "when = always",
    "the row Deploying can never count: Deployed in line 3")
  tells("whose words a row above has all, can never count", "failures.lua", LAST,
    one_more("ImagePulled", '{ "ErrImagePull" }'),
    "failures.lua:11: error: the row Pull can never count: ImagePullFailed in line 8 holds whenever it does, and comes first")
  accepts("of another condition counts all the same", "failures.lua", LAST,
    one_more("Progressing", '{ "ErrImagePull" }'))
  accepts("that asks for more than those above counts", "failures.lua", LAST,
    one_more("ImagePulled", '{ "ErrImagePull", "Other" }'))
  tells("that asks for more than a row above can never count", "phases.lua", '{ "Deploying", when = always',
    '{ "Slow", from = { "" }, when = function(s) return s.settled and s.replicas > 1 end, message = "m" },\n  { "Deploying", when = always',
    "phases.lua:4: error: the row Slow can never count: Deployed in line 3 holds whenever it does, and comes first")
  tells("that several above leave nothing can never count", "phases.lua", '{ "Deploying", when = always', [[
{ "Many", when = function(s) return s.replicas >= 2 end, message = "m" },
  { "Few", when = function(s) return s.replicas < 3 end, message = "m" },
  { "Deploying", when = always]],
    "phases.lua:6: error: the row Deploying can never count: whenever it holds so does one of those above it, Many in line 4, Few in line 5")
  accepts("behind a fact that may be more than true or false counts", "phases.lua", '{ "Deploying", when = always', [[
{ "Odd", reason = "A", from = { "" }, when = fact "deployment", message = "m" },
  { "Odd", reason = "B", when = function(s) return s.deployment end, message = "m" },
  { "Deploying", when = always]])
  accepts("that the one above leaves something counts", "phases.lua", '{ "Deploying", when = always', [[
{ "Deploying", reason = "Many", when = function(s) return s.replicas > 2 end, message = "m" },
  { "Deploying", reason = "Few", when = function(s) return s.replicas > 1 end, message = "m" },
  { "Deploying", when = always]])
  tells("whose list of words is empty is told", "failures.lua", "waiting = TROUBLE", "waiting = {}",
    "`waiting` of any_container is empty, so the row never holds")
  accepts("whose list is made elsewhere counts", "failures.lua", "when = any_container { waiting = TROUBLE }",
    "when = any_container { waiting = (function() local list = {} list[#list + 1] = 'ErrImagePull' return list end)() }")
  tells("that contradicts itself is told", "failures.lua", LONG, "return #s.name > 63 and #s.name < 10",
    "the row NameTooLong never holds: its `when` contradicts itself")
  tells("that is always false is told", "failures.lua", LONG, "return false", "the row NameTooLong never holds")
  tells("with a key that nothing reads is told", "failures.lua", 'name = "Refused",', 'name = "Refused", grce = 5,',
    "the row Refused says `grce`, which nothing reads; did you mean grace?")
  tells("with a condition that is nowhere is told", "failures.lua", 'condition = "ImagePulled"', 'condition = "ImagePuled"',
    "no condition is called ImagePuled: nothing would show what this row finds; did you mean ImagePulled?")
  tells("with a predicate's misspelt key is told", "failures.lua", "waiting = TROUBLE", "wating = TROUBLE",
    "any_container knows no `wating`, so it counts for nothing; did you mean waiting?")
  tells("that asks for an input that is not declared is told", "failures.lua", '"group", "missing"', '"grup", "missing"',
    "no input is called grup; did you mean group?")
  tells("that asks for a state that there is not is told", "failures.lua", '"group", "missing"', '"group", "gone"',
    'an input is never "gone"')
  tells("that asks of a kind that is no child is told", "failures.lua", "when = refused {}", 'when = problem { kinds = { "Deploymnt" } }',
    "no child is a Deploymnt; did you mean Deployment?")
  tells("whose message names what is not there is told", "failures.lua", "{image}: {reason}", "{imagee}: {reason}",
    "{imagee} is neither in the evidence of the row nor a fact: people would read \"?\"; did you mean image?")
  tells("whose message has a brace that is never closed is told", "failures.lua", "{image}: {reason}", "{image: {reason}",
    "`{image: ` in the message is no name between braces, such as {image}: people would read it as it stands")
  tells("whose message has two words between braces is told", "failures.lua", "{image}: {reason}", "{the image}: {reason}",
    "`{the image}` in the message is no name between braces")
  tells("whose message names a path that leads nowhere is told", "failures.lua", "{spec.groupName}", "{spec.groupNam}",
    "s.spec has no groupNam (of the path spec.groupNam); did you mean groupName?")
  tells("whose reason is no word is told", "failures.lua", '"ImagePullFailed"', '"Image pull failed"', "is no reason: it is one word")
  tells("of a fact that nobody sets is told", "phases.lua", 'fact "settled"', 'fact "setled"',
    "s has no setled (of the path setled); did you mean settled?")
end)

describe("a phase", function()
  tells("that nothing leaves is told", "phases.lua", FILES["phases.lua"], [[
return phases {
  { "Failed", from = { "Deploying" }, when = function(s) return s.failure end, message = "{failure.message}" },
  { "Deployed", from = { "Deploying" }, when = fact "settled", message = "it runs" },
  { "Deploying", from = { "", "Failed" }, when = always, message = "it does not run yet" },
}
]], "phases.lua:3: warning: nothing leaves the phase Deployed: no other row's `from` has it")
  tells("that nothing leads to is told", "phases.lua", 'from = { "", "Deploying", "Failed" }', "from = {}",
    "nothing leads to the phase Deployed: its `from` is empty")
  accepts("that every other one may follow is left", "phases.lua", '{ "Failed", reason', '{ "Failed", from = { "Deploying" }, reason')
  tells("that `from` names and that is none, is told", "phases.lua", '"", "Deploying", "Failed"', '"", "Deplyoing", "Failed"',
    '`from` of Deployed names "Deplyoing", which is no phase; did you mean Deploying?')
  tells("that is misspelt in its own row is told there", "phases.lua", FILES["phases.lua"], FILES["phases.lua"]:gsub('{ "Failed"', '{ "Faild"')
    :gsub('{ "Deploying", ', '{ "Deploying", from = { "", "Failed" }, '),
    "no row's `from` names the phase \"Faild\", and \"Failed\", which they name, is none: is it misspelt here?")
  tells("table whose last row may not hold is told", "phases.lua", "when = always", "when = function(s) return s.settled end",
    "the last row does not hold always")
end)

describe("the order of pairs", function()
  tells("that fills a list is told", "facts.lua", "return map",
    "local list = {} for k in pairs(map) do list[#list + 1] = k end return list",
    "`list` is filled in the order of pairs, which is that of the names: sort it behind the loop")
  tells("that makes a text is told", "facts.lua", "return map", "local all = '' for k in pairs(map) do all = all .. k end return all",
    "`all` is put together in the order of pairs")
  tells("that chooses is told", "facts.lua", "return map", "for k, v in pairs(map) do return v end return map",
    "the first one found by pairs")
  tells("that keeps the first one is told", "facts.lua", "return map", "local one for k in pairs(map) do one = one or k end return one",
    "`one` is the first one found by pairs, which walks by name: say which one is meant")
  tells("that takes one where none is yet is told", "facts.lua", "return map",
    "local one for _, v in pairs(map) do if not one then one = v end end return one", "`one` is the first one found by pairs")
  accepts("is not told of the least, nor of a flag", "facts.lua", "return map",
    "local one, has for k in pairs(map) do if not one or k < one then one = k end has = has or k == 'x' end return one, has")
  accepts("is not told of a list that is sorted then", "facts.lua", "return map",
    "local list = {} for k in pairs(map) do list[#list + 1] = k end table.sort(list) return map")
  accepts("is not told of maps", "facts.lua", "return map", "local copy = {} for k, v in pairs(map) do copy[k] = v end return copy")
end)

describe("a path in a table of cases", function()
  local function cases(text)
    local files = edited()
    files["x_cases.yaml"] = text
    return sentences(lint.check(files))
  end

  it("that leads nowhere is told with its line", function()
    local all = cases [[
cases:
  - name: a
    base: new
    given:
      pods[*].status.phse: Failed
    expect:
      phase: x
      status: {replica: 1}
]]
    assert.contains("x_cases.yaml:5: error: seen.pods.status has no phse; did you mean phase?", all)
    assert.contains("x_cases.yaml:8: error: status has no replica; did you mean replicas?", all)
  end)

  it("of what is not kept, or of a child that is none, is told", function()
    local all = cases [[
cases:
  - name: a
    given: {"pods[0].status.podIP": x}
    expect: {children: {Ingress: {spec: 1}, Deployment: {spec.replica: 1}}}
]]
    assert.contains("podIP is not kept by watches.pods", all)
    assert.contains("no child is a Ingress", all)
    assert.contains("Deployment.spec has no replica; did you mean replicas?", all)
  end)

  it("that is right is not complained about", function()
    assert.equal("", cases [[
cases:
  - name: a
    edit:
      predictors[0].modelImage: x
    given:
      pods[*].status.containerStatuses[model].ready: true
      object.metadata.annotations[a.b/c]: x
    expect: {phase: x, status: {"conditions[Ready].status": x}, children: {Deployment: {"metadata.labels[a/b]": x}}}
]])
  end)
end)

describe("the parser", function()
  it("takes what Lua takes, and refuses what Lua refuses", function()
    for _, folder in ipairs { "lua", "lua/policy", "lua/lint", "lua/command", "policies", "policies/children", "spec/host" } do
      for _, name in ipairs(assert(fs.list(folder))) do
        if name:match "%.lua$" then assert.truthy(parser.parse(assert(fs.read(folder .. "/" .. name))), folder .. "/" .. name) end
      end
    end
    for _, text in ipairs { "x = = 1", "return {a=1 b=2}", "if x then", "local x <const> = 1 x = 2", "for i=1 do end", "x.y",
      "return 1 x=2", "a = 'abc", "a != b",
      "return 3x", "local function f( return end", "x = }", "end", "a = [[x", "if a = b then end", "f(1,", "a = '\\q'", "x = 0x",
        "local x <odd> = 1", "(a) = 1; (b", "::x" } do
      assert.is_nil((parser.parse(text)), text)
      assert.is_nil((load(text)), text)
    end
  end)

  it("refuses what is nested too deep, and does not fall over it", function()
    local tree, mistake = parser.parse("return " .. ("("):rep(5000) .. "1" .. (")"):rep(5000))
    assert.is_nil(tree)
    assert.contains("nested too deep", mistake.text)
    assert.is_nil((parser.parse("x = " .. ("{"):rep(5000))))
    assert.is_nil((parser.parse(("do "):rep(5000))))
  end)
end)

describe("the words that lint knows", function()
  -- Asked in a policy's own state: `missing`, what lint knows and is not there; `prelude`, what the prelude offers.
  local ASKED = [[
local M = {}
function M.prelude()
  local names = json.array {}
  for name, value in pairs(require "moonphase.prelude") do
    names[#names + 1] = name
    for field in pairs(type(value) == "table" and value or {}) do names[#names + 1] = name .. "." .. field end
  end
  return names
end
function M.missing()
  local missing = json.array {}
  %s
  return missing
end
return M
]]

  local function line_for(expression)
    return ("if %s == nil then missing[#missing + 1] = %q end"):format(expression, expression)
  end

  it("are those of the prelude and of the sandbox, with all their functions", function()
    local globals, lines = require("lint.words").globals(), {}
    for name, shape in pairs(globals) do
      if name ~= "_ENV" then lines[#lines + 1] = line_for(name) end
      for field in pairs(shape.fields or {}) do lines[#lines + 1] = line_for(name .. "." .. field) end
    end
    local source = ASKED:gsub("%%s", function() return table.concat(lines, "\n  ") end)
    local generation = assert(policy.load { files = { ["p.lua"] = source } })
    assert.same({}, assert(generation:call("p", "missing")))
    for _, name in ipairs(assert(generation:call("p", "prelude"))) do
      local word, field = name:match "^([^.]+)%.?(.*)$"
      assert.truthy(globals[word], "lint/words.lua and lint/predicates.lua do not know the prelude's " .. name)
      if field ~= "" then assert.truthy(globals[word].fields[field], "lint/words.lua does not know " .. name) end
    end
    generation:close()
  end)
end)
