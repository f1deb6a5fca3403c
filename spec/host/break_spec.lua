-- The policies broken as people break them: what moonphase check says of each, which is the file, the line and what to do.
--
-- Each edit is made in a copy of the folder that moonphase brings along. What only shows on live objects (a policy that
-- would delete them) is the reload's to refuse: reload_spec.lua.

local root = assert(process.run { argv = { "pwd" } }).output:gsub("\n$", "")

-- Name, file, text there (false: the file goes), what it becomes; then what is said: file and line (where the text stands, or `at` lines below), and words.
-- nowhere: no line is to blame.
local BREAKS = {
  { "a comma is missing", "phases.lua", 'when = fact "rollout.complete",', 'when = fact "rollout.complete"', at = 1,
    says = "`}` or a comma was expected" },
  { "a value that may be nil is indexed", "facts.lua", "s.spec.endpoint ~= nil and s.spec.endpoint.accessType", "s.spec.endpoint.accessType",
    says = "s.spec.endpoint is indexed, and may be nil here (endpoint is optional in PhDeployment): test it first" },
  { "a field of what is seen is misspelt", "facts.lua", "s.spec.endpoint ~= nil and", "s.spec.endpont ~= nil and",
    says = "s.spec (PhDeployment) has no field endpont; did you mean endpoint?" },
  { "a word is misspelt", "failures.lua", "when = any_container { waiting = IMAGE_TROUBLE", "when = any_contaner { waiting = IMAGE_TROUBLE",
    says = "the name `any_contaner` is not declared: did you mean any_container?" },
  { "a file returns nothing", "phases.lua", "return phases {", "local all = phases {",
    says = "the file returns nothing, so who requires it gets `true`: its last statement must be a `return`" },
  { "a rule loops for ever", "phases.lua", "when = function(s) return s.silent end", "when = function(s) while true do end return s.silent end",
    says = "stopped after 2000000 instructions: it loops, or does too much for one call" },
  { "a rule takes all memory", "phases.lua", "when = function(s) return s.silent end",
    "when = function(s) local t = {} while true do t[#t + 1] = {} end return s.silent end",
    says = "needs more than 16384 KiB of memory" },
  { "a phase is misspelt", "phases.lua", '{ "Deployed", from = { "", "Deploying",', '{ "Deployed", from = { "", "Deployng",',
    says = '`from` of Deployed names "Deployng", which is no phase; did you mean Deploying?' },
  { "a setting is of another type", "settings.yaml", "  image: 10 ", "  image: ten ",
    says = "the setting grace.image must be a number" },
  { "a row covers the one below it", "failures.lua", 'when = unschedulable { says = { "[Pp]ersistent[Vv]olume[Cc]laim" } }', "when = unschedulable {}", at = 2,
    says = "the row ClusterResourcesShort can never count: VolumeNotFound in line" },
  { "a global is written", "facts.lua", "  s.private = s.spec.endpoint", "  private = true\n  s.private = s.spec.endpoint",
    says = "the global `private` is written: write `local` in front of its first use" },
  { "the clock is asked", "facts.lua", "  s.private = s.spec.endpoint", "  s.at = os.time()\n  s.private = s.spec.endpoint",
    says = "a policy has no clock and no machine: the time is seen.now" },
  { "a word in braces is misspelt", "failures.lua", "Group not found: {spec.groupName}", "Group not found: {spec.groupNam}", at = -1,
    says = "groupNam" },
  { "every child is deleted", "phdeployment.lua", "decision.children, decision.prune = children, prune",
    'decision.children, decision.prune = json.array {}, json.array { { kind = "Deployment", name = s.child_name } }',
    nowhere = true, says = "the policies made no Deployment, or pruned it: look at `children` and `prune` of what decide returns" },
  { "a row has no message", "failures.lua", 'message = "Group not found: {spec.groupName} ({spec.groupId})" },', "},", at = -1,
    says = "row 7 of the rules (GroupNotFound) has no `message`" },
  { "a row asks nothing", "phases.lua", "    when = function(s) return s.wants_none end,\n    message = \"deployment is stopping\"",
    '    message = "deployment is stopping"', at = -1, says = "row 4 of the phases (Stopping) has no `when`" },
  { "a question is put in quotes", "phases.lua", 'when = fact "rollout.complete"', 'when = "rollout.complete"', at = -1,
    says = "row 5 of the phases (Deployed) has a `when` that is no question" },
  { "a message is no text", "phases.lua", 'message = "deployment is stopping"', "message = 5", at = -2,
    says = "row 4 of the phases (Stopping) has a `message` that is no text: write it in quotes" },
  { "a grace time has a unit", "failures.lua", 'grace = setting "grace.image"', 'grace = "10s"',
    says = "of the rules (ImagePullFailed) has a `grace` that is no number of seconds: write 10, or setting" },
  { "the name of a row is no text", "failures.lua", 'name = "GroupNotFound"', "name = 5",
    says = "row 7 of the rules (?) has a `name` that is no text: write it in quotes" },
  { "the condition of a row is no text", "failures.lua", 'name = "GroupNotFound", condition = "GroupResolved"',
    'name = "GroupNotFound", condition = 5', says = "row 7 of the rules (GroupNotFound) has a `condition` that is no text" },
  { "a phase is no text", "phases.lua", '{ "Stopping", reason', "{ 5, reason", says = "row 4 of the phases (?) has a phase that is no text" },
  { "a row waits for a number", "failures.lua", "waits = for_ending_pods, wake = true", "waits = 30, wake = true",
    says = "has a `waits` that is no function: write function(s) return 30 end" },
  { "the settings are emptied of one", "settings.yaml", "\nroute: Ingress", "", nowhere = true,
    says = "route is not set: it is Ingress, HTTPRoute or none" },
  { "a message loses the {detail} that its row promises", "failures.lua", "Image invalid or cannot be pulled: {image}{detail}",
    "Image cannot be pulled: {image}. Ask #registry.", at = -2,
    says = "of the rules (ImagePullFailed) is quiet: its message must end in {detail}" },
  { "no row of the phases holds", "phases.lua", "    when = always,\n", '    when = fact "silent",\n', at = -1,
    says = "no row of the phases holds; let the last one be `when = always`" },
  { "a setting is indented with a tab", "settings.yaml", "  image: 10 ", "\timage: 10 ",
    says = "a tab: YAML is indented with spaces only" },
  { "a setting has a unit", "settings.yaml", "  image: 10 ", "  image: 10s ",
    says = 'the setting grace.image must be a number, not the text "10s": it is written without a unit' },
  { "a setting is a word that there is not", "settings.yaml", "\nroute: Ingress", "\nroute: ingress", at = 1,
    says = 'route is "ingress": it is Ingress, HTTPRoute or none' },
  { "nothing is called null", "failures.lua", "s.settings_wrong ~= nil", "s.settings_wrong ~= null",
    says = "there is no `null`: what is not there is nil" },
  { "`and` is written &&", "phases.lua", "return s.stop and s.gone", "return s.stop && s.gone", says = '"and" is the word `and`' },
  { "= is written for ==", "phases.lua", "return s.silent end", "return s.silent = true end", says = "to compare is ==" },
  { "a comment begins with //", "phases.lua", "return phases {", "// ours\nreturn phases {", says = "a comment begins with --" },
  { "elseif is written as two words", "facts.lua", "  s.private = s.spec.endpoint",
    "  if s.stop then s.x = 1 else if s.gone then s.x = 2 end\n  s.private = s.spec.endpoint", nowhere = true,
    says = "`else if` in line LINE is one word, elseif" },
  { "a file that others need is gone", "children/service.lua", false, "", nowhere = true,
    says = 'phdeployment.lua:20: error: there is no file children/service.lua for require "children.service"' },
  { "a byte that is no text", "phases.lua", "return phases {", "return phases \0{", says = "the sign \\x00 has no meaning in Lua" },
  { "a child is of a kind that is not declared", "children/service.lua", 'kind = "Service"', 'kind = "ConfigMap"', nowhere = true,
    says = "a child of the kind ConfigMap, which phdeployment.lua does not declare under `children`" },
  { "a new message stands above the old one", "phases.lua", 'message = "deployment is stopping"',
    'message = "is being stopped",\n    message = "deployment is stopping"', says = "`message` stands twice in this table, here and in line" },
  { "a setting is misspelt", "settings.yaml", "  bodySize:", "  bodysize:",
    says = "the setting ingress.bodysize is none that there is; did you mean bodySize?" },
  { "the budget of rollouts is none", "settings.yaml", "  budget: 1\n", "  budget: 0\n", says = 'rollout.budget is "0": it is a whole number from 1 on' },
  { "decide answers what nothing reads", "phdeployment.lua", "requeue_after = verdict.requeue_after,",
    "requeue_after = verdict.requeue_after, requeue_afterr = 5,",
    nowhere = true, steps = "load,states", says = "nothing reads its field requeue_afterr; did you mean requeue_after?" },
  { "a row says what nothing reads", "failures.lua", 'message = "Group not found:', 'mesage = "Group not found:', at = -1,
    says = "mesage" },
}

local function line_of(text, at)
  return select(2, text:sub(1, at - 1):gsub("\n", "")) + 1
end

local function run(folder, steps)
  local result = assert(process.run { timeout = 120, argv = { process.env "MOONPHASE" or "build/moonphase", "--lua", "lua", "check",
    folder .. "/mine", "--only", steps or "load,lint,specs" } })
  process.run { argv = { "rm", "-rf", folder } }
  return result
end

local function check(break_)
  local folder = assert(fs.temporary())
  assert(process.run({ argv = { "cp", "-r", root .. "/policies", folder .. "/mine" } }).status == 0)
  local path = folder .. "/mine/" .. break_[2]
  local text = assert(fs.read(path))
  if not break_[3] then
    assert(fs.remove(path))
    return run(folder, break_.steps), 0
  end
  local from, to = text:find(break_[3], 1, true)
  assert(from, break_[2] .. " has no " .. break_[3] .. " any more: this spec edits it")
  assert(fs.write(path, text:sub(1, from - 1) .. break_[4] .. text:sub(to + 1)))
  return run(folder, break_.steps), line_of(text, from)
end

describe("moonphase check says where and what to do when", function()
  for _, break_ in ipairs(BREAKS) do
    it(break_[1], function()
      local result, line = check(break_)
      assert.equal(1, result.status, result.output .. result.errors)
      local said, wanted = nil, (break_.says:gsub("LINE", tostring(line))) -- LINE: that of the edit
      for found in result.output:gmatch "[^\n]+" do
        if not said and found:find(wanted, 1, true) then said = found end
      end
      assert.truthy(said, "nothing says " .. wanted .. ":\n" .. result.output:sub(1, 3000))
      if not break_.nowhere then assert.contains(("%s:%d: "):format(break_[2], line + (break_.at or 0)), said) end
    end)
  end
end)
