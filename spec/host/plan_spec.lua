-- A plan equals what then happens: 200 edits of the policies, drawn from a seed, are planned in a world at rest, and then an operator
-- with the edited folder begins in that same world. Its writes are the plan's, no more and no less, field by field.
--
-- Each edit is lived twice. Once while the cluster stands still, where the first status must be the planned one to the last word. And once
-- in a cluster that goes on: pods end and start by themselves there, so of a model that restarts only the phase is foretold.

local include = require "include"
local edits = include "spec/host/plan_edits.lua"
local plan_world = include "spec/host/plan_world.lua"
local print_plan = require "plan.print"
local whole = require "plan.whole"

log.configure("error", "text")

local COUNT = tonumber(process.env "PLAN_EDITS" or 200)
local STILL_SECONDS, LIVE_SECONDS = 3, 15
-- What a server draws when it keeps an object.
local DRAWN = { "^spec%.clusterIPs?", "nodePort$" }

local world

local function the_world()
  world = world or plan_world.new()
  return world
end

local function without_drawn(diff)
  local kept = json.array {}
  for _, one in ipairs(diff) do
    local drawn = false
    for _, pattern in ipairs(DRAWN) do drawn = drawn or one.path:find(pattern) ~= nil end
    if not drawn then kept[#kept + 1] = { path = one.path, old = one.old, new = one.new, order = one.order } end
  end
  return json.encode(kept)
end

-- Something was refused, the model Failed by that, and the rollout gave it its old template back (rollout.lua), with what else was wanted.
local function went_back(one, action, diff)
  if one.kind ~= "Deployment" or action ~= "patch" then return false end
  for _, field in ipairs(diff) do
    if field.path:find("^spec%.template") then return false end
  end
  return true
end

-- Whether it became what was planned, and stayed so, unless the rollout took its template back.
local function came_by(one, change)
  local wanted = without_drawn(change.diff)
  local action, diff = plan_world.done_to(one)
  if without_drawn(diff) == wanted then return true end
  if not went_back(one, action, diff) then return false end
  for i = 1, #one.afters do
    local _, then_ = plan_world.done_to(one, i)
    if without_drawn(then_) == wanted then return true end
  end
  return false
end

-- Where plan and deed differ, as sentences.
local function compare_children(name, plan, done, differs)
  local planned = {}
  for _, change in ipairs(plan and plan.changes or {}) do
    local id = change.kind .. "/" .. change.name
    planned[id] = change
    local one = done.children[id]
    local action, diff
    if one then action, diff = plan_world.done_to(one) end
    if not one then
      differs(("%s: %s of %s was planned, and nothing was tried"):format(name, change.action, id))
    elseif change.refused then
      if action and not went_back(one, action, diff) then differs(("%s: %s was to be refused, and there was a %s"):format(name, id, action)) end
    elseif action ~= change.action then
      differs(("%s: %s of %s was planned, and there was %s (%s)"):format(name, change.action, id, tostring(action), table.concat(one.methods, ",")))
    elseif action ~= "replace" and not came_by(one, change) then
      differs(("%s: %s: planned %s, done %s"):format(name, id, without_drawn(change.diff), without_drawn(diff)))
    end
  end
  for id, one in pairs(done.children) do
    if not planned[id] then differs(("%s: nothing was planned for %s, and there was %s"):format(name, id, table.concat(one.methods, ","))) end
  end
end

local function restarts(plan)
  for _, change in ipairs(plan.changes) do
    if change.restarts then return true end
  end
  return false
end

-- Whether a Deployment is patched of which no pod comes or goes: its controller has seen that before a status is written.
local function is_quiet(plan)
  for _, change in ipairs(plan and plan.changes or {}) do
    if change.kind == "Deployment" and not change.restarts then return true end
  end
  return false
end

local function compare_status(name, plan, done, exact, differs)
  local changes = require "plan.changes"
  local first, status = done.statuses[1], plan and plan.status
  if not status then
    if first and exact then differs(name .. ": no status was planned, and one was written") end
  elseif not first then
    differs(name .. ": a status was planned, and none was written")
  elseif status.refused then
    if first.ok then differs(name .. ": its status was to be refused, and was taken") end
  elseif not first.ok then
    differs(name .. ": its status was refused")
  else
    local after = first.after.status
    if exact or not restarts(plan) then
      local was, is = without_drawn(status.diff), without_drawn(changes.of_status(first.before_status, after))
      if was ~= is then differs(("%s: status: planned %s, written %s"):format(name, was, is)) end
    elseif after.phase ~= status.phase then
      differs(("%s: phase %s was planned, and %s written"):format(name, tostring(status.phase), tostring(after.phase)))
    end
  end
end

-- Plan these files, live them, compare: the plan, and what differs as a text ("" if nothing does).
local function try(files)
  local w = the_world()
  local side = plan_world.load(files)
  if not side then return nil end
  local result = w:plan(side)
  assert.is_false(w.wrote, "a plan wrote something")
  local found, by = {}, {}
  local function differs(text) found[#found + 1] = text end
  for _, plan in ipairs(result.plans) do by[plan.key:match("[^/]+$")] = plan end
  for _, still in ipairs { true, false } do
    local done = w:live(side, still and STILL_SECONDS or LIVE_SECONDS, still)
    for _, name in ipairs { "m1", "m2", "m3", "m4" } do
      local of = done[name] or { children = {}, statuses = {} }
      local function tell(text) differs((still and "while the cluster stands still: " or "in the live cluster: ") .. text) end
      compare_children(name, by[name], of, tell)
      if not (still and is_quiet(by[name])) then compare_status(name, by[name], of, still, tell) end
    end
  end
  side.generation:close()
  return result, table.concat(found, "\n")
end

describe("a plan", function()
  it("equals what then happens: " .. COUNT .. " edits of the policies", function()
    local w, tried, nothing, sums = the_world(), 0, 0, {}
    for seed = 1, COUNT do
      local files, told = edits.make(w.files, seed)
      local result, differs = try(files)
      assert.truthy(result, ("seed %d (%s) does not load"):format(seed, told))
      assert.equal("", differs, ("seed %d (%s)"):format(seed, told))
      tried = tried + 1
      if result.summary.changed == 0 then nothing = nothing + 1 end
      for name, count in pairs(result.summary) do sums[name] = (sums[name] or 0) + count end
    end
    -- the edits are worth something: each kind of change was among them
    if COUNT < 200 then return end
    assert.equal(COUNT, tried)
    assert.truthy(nothing > 0 and nothing < COUNT / 3, nothing .. " edits changed nothing")
    for _, name in ipairs { "create", "patch", "prune", "restarts", "reports", "refused", "failed", "problems" } do
      assert.truthy(sums[name] > 0, "no edit had a " .. name)
    end
  end)

  for _, row in ipairs(edits.ROWS) do
    it("equals what then happens: " .. row[1], function()
      local result, differs = try(edits.one(the_world().files, row[1]))
      assert.truthy(result, "it does not load")
      assert.equal("", differs)
    end)
  end
end)

describe("what a plan says", function()
  local function of(name)
    local w = the_world()
    local side = assert(plan_world.load(edits.one(w.files, name)))
    local result = w:plan(side)
    side.generation:close()
    return result, print_plan.text(result, {})
  end

  it("is nothing, and exit status 0, where nothing would change", function()
    local result, text = of "a comment"
    assert.equal(0, whole.exit_status(result.summary))
    assert.equal("Nothing would change: 4 objects are as these policies say.\n", text)
  end)

  it("is no word of peace where there is no object to compare: the namespace may be misspelt", function()
    local result = of "a comment"
    local summary = json.copy(result.summary)
    summary.objects = 0
    assert.contains("no PhDeployment is there. Is it another namespace", print_plan.summary_line(summary))
  end)

  it("counts the models that restart, by what their templates become", function()
    local result, text = of "a pod annotation that goes"
    assert.equal(3, result.summary.restarts) -- m3 is stopped
    assert.equal(2, whole.exit_status(result.summary))
    assert.matches("patch Deployment deploy%-m1   %(restarts the model%)\n", text)
    assert.matches("spec.template.metadata.annotations%[prometheus.io/scrape%]: \"true\" → nothing", text)
    assert.matches("3 models restart", text)
  end)

  it("counts them as the verdict of a reload does", function()
    local w = the_world()
    for _, name in ipairs { "a pod label", "a pod annotation that goes", "a variable less", "another order of variables", "the engine's tag",
      "the same memory in other words", "a label of the Deployment", "no Ingress" } do
      local side = assert(plan_world.load(edits.one(w.files, name)))
      assert.equal(w:plan(side).summary.restarts, w:verdict(side).restarts, name)
      side.generation:close()
    end
  end)

  it("holds for the pace, too: an edit that only takes something away from pods restarts one model at a time", function()
    local w = the_world()
    local side = assert(plan_world.load(edits.one(w.files, "a pod annotation that goes")))
    side.settings.rollout.budget = 1
    local written = {}
    for name, done in pairs(w:live(side, 2, true)) do
      if next(done.children) and name ~= "m3" then written[#written + 1] = name end -- m3 is stopped: nothing of it restarts
    end
    side.generation:close()
    assert.equal("m1", table.concat(written, " "))
  end)

  it("is exit status 1 where the server would refuse a write, and says its words", function()
    local result, text = of "a port that is none"
    assert.equal(1, whole.exit_status(result.summary))
    assert.matches("REFUSED by the server: Service \"deploy%-m1\" is invalid: .*70000", text)
  end)

  it("is exit status 1 where the policies fail on an object, with file, line and the line itself", function()
    local result, text = of "an error on one"
    assert.equal(1, whole.exit_status(result.summary))
    assert.equal(1, result.summary.failed)
    assert.matches("the policy fails: phdeployment.lua:%d+: .*no such thing\n +if s.name == ", text)
  end)

  it("shows no value of a Secret", function()
    local w = the_world()
    local files = edits.one(w.files, "a comment")
    local name = "children/secret.lua"
    local text, count = files[name]:gsub("type = \"Opaque\"", 'stringData = { more = "do-not-tell" }, type = "Opaque"')
    assert.equal(1, count)
    files[name] = text
    local side = assert(plan_world.load(files))
    local result = w:plan(side)
    local shown = print_plan.text(result, {}) .. json.encode(print_plan.data(result, {}))
    assert.matches("patch Secret deploy%-m2", shown)
    assert.is_nil(shown:find("do-not-tell", 1, true))
    assert.is_nil(shown:find(base64.encode("do-not-tell"), 1, true))
  end)
end)

describe("a saved plan that is applied", function()
  local function apply(name, change)
    local w = the_world()
    local side = assert(plan_world.load(edits.one(w.files, name)))
    local result = w:apply(side, change)
    side.generation:close()
    return result
  end

  local function all(result, field)
    local texts = {}
    for key, one in pairs(result.told) do
      for _, text in ipairs(one[field]) do texts[#texts + 1] = key .. ": " .. text end
    end
    table.sort(texts)
    return table.concat(texts, "\n")
  end

  it("does all of it, and leaves nothing to plan", function()
    for _, name in ipairs { "no Ingress", "a ConfigMap", "the Service's port", "a label of the Service", "the address", "an annotation of the Ingress" } do
      local result = apply(name)
      assert.equal("", all(result, "refused"), name)
      assert.equal(0, result.left.summary.changed, name)
      assert.equal(result.data.summary.changed, #result.data.objects, name)
    end
  end)

  it("restarts models one after the other, and is through when all are up", function()
    local result = apply "a pod annotation"
    assert.matches("hub/m1: patch Deployment deploy%-m1", all(result, "done"))
    assert.equal("", (all(result, "refused"):gsub("hub/m4[^\n]*\n?", ""))) -- m4 has no image, as before
    for _, plan in ipairs(result.left.plans) do assert.equal(0, #plan.changes, plan.key) end
  end)

  it("begins no other model when one does not come up", function()
    local w = the_world()
    local files = edits.one(w.files, "a comment")
    files["settings.yaml"] = files["settings.yaml"]:gsub("imagePrefix: \"\"", "imagePrefix: nowhere.example/")
    local side = assert(plan_world.load(files))
    side.settings.rollout.budget = 1
    local result = w:apply(side, function(s) s.cluster:set_image("nowhere.example/*", "missing") end)
    side.generation:close()
    local refused = all(result, "refused")
    assert.matches("hub/m1: it did not come up with its new template: Image invalid", refused)
    assert.matches("hub/m2: it has not begun: hub/m1 did not come up", refused)
    assert.is_nil(all(result, "done"):find("m2", 1, true))
  end)

  it("leaves alone an object that changed since, says so, and does the others", function()
    local result = apply("no Ingress", function(s)
      s:edit("primehub.io/v1alpha1", "PhDeployment", "hub", "m1", { metadata = { labels = { touched = "yes" } } })
    end)
    assert.matches("^hub/m1: it changed since %(resourceVersion %d+, planned on %d+%)$", all(result, "refused"))
    assert.is_nil(all(result, "done"):find("m1", 1, true))
    for _, name in ipairs { "m2", "m3", "m4" } do assert.matches("hub/" .. name .. ": prune Ingress deploy%-" .. name, all(result, "done")) end
  end)

  it("leaves alone an object whose child changed since, and names the child", function()
    local result = apply("an annotation of the Ingress", function(s)
      s:edit("networking.k8s.io/v1", "Ingress", "hub", "deploy-m2", { metadata = { labels = { touched = "yes" } } })
    end)
    assert.matches("^hub/m2: Ingress deploy%-m2 changed since %(resourceVersion %d+, planned on %d+%)$", all(result, "refused"))
  end)

  it("leaves alone an object that is gone, or another one of its name", function()
    local result = apply("no Ingress", function(s)
      s:delete("primehub.io/v1alpha1", "PhDeployment", "hub", "m3")
    end)
    assert.matches("^hub/m3: it is gone, or being deleted$", all(result, "refused"))
  end)

  it("never does more: what would be wanted besides is left, with its object", function()
    local result = apply("no Ingress", function(s)
      s:edit("v1", "Service", "hub", "deploy-m1", { spec = { selector = { app = "astray" } } })
    end)
    assert.matches("^hub/m1: there would be more to do now: patch Service deploy%-m1$", all(result, "refused"))
    assert.equal("astray", the_world().s:get("services", "hub", "deploy-m1").spec.selector.app)
  end)

  it("leaves all alone whose group changed what is wanted", function()
    local result = apply("a pod annotation", function(s)
      s:edit("primehub.io/v1alpha1", "InstanceType", "hub", "cpu-only", { spec = { ["limits.memory"] = "3G" } })
    end)
    assert.matches("hub/m1: Deployment deploy%-m1: something else is wanted of it now", all(result, "refused"))
    assert.equal("", all(result, "done"))
  end)
end)

describe("the diff that a plan shows", function()
  local changes = require "plan.changes"

  local function lines(kind, before, after)
    local parts = {}
    for i, one in ipairs(changes.of_objects(kind, before, after)) do
      parts[i] = ("%s %s %s"):format(one.order and "order " .. one.path or one.path, one.old == nil and "-" or json.encode(one.old),
        one.new == nil and "-" or json.encode(one.new))
    end
    return table.concat(parts, "\n")
  end

  local function pods(...) return { spec = { template = { spec = { containers = json.array { { name = "model", env = json.array { ... } } } } } } } end

  it("goes both ways: what comes, what goes, what differs", function()
    assert.equal('metadata.labels.a "1" -\nmetadata.labels.b - "2"\nspec.replicas 1 2', lines("Deployment",
      { metadata = { labels = { a = "1", c = "3" } }, spec = { replicas = 1 } }, { metadata = { labels = { b = "2", c = "3" } }, spec = { replicas = 2 } }))
  end)

  it("matches entries of lists as the server does, and shows an order that changed", function()
    local a, b, c = { name = "A", value = "1" }, { name = "B", value = "2" }, { name = "B", value = "3" }
    local at = "spec.template.spec.containers[model].env"
    assert.equal(at .. '[B].value "2" "3"', lines("Deployment", pods(a, b), pods(a, c)))
    assert.equal("order " .. at .. ' ["A","B"] ["B","A"]', lines("Deployment", pods(a, b), pods(b, a)))
    assert.equal(at .. '[A] {"name":"A","value":"1"} -', lines("Deployment", pods(a, b), pods(b)))
  end)

  it("passes over what every write changes, and over quantities that are the same", function()
    assert.equal("", lines("Deployment", { metadata = { resourceVersion = "1", generation = 1, managedFields = json.array {} }, status = { a = 1 } },
      { metadata = { resourceVersion = "2", generation = 2, annotations = { ["moonphase.primehub.io/policy"] = "x" } }, status = { a = 2 } }
        ):gsub("metadata.annotations[^\n]*\n?", ""))
    local function limits(cpu)
      return { spec = { template = { spec = { containers = json.array { { name = "model", resources = { limits = { cpu = cpu } } } } } } } }
    end
    assert.equal("", lines("Deployment", limits "1000m", limits "1"))
  end)

  it("shows where a Secret differs and nothing of what it holds", function()
    local text = lines("Secret", { data = { auth = "b25l" } }, { data = { auth = "dHdv", more = "eA==" } })
    assert.equal('data.auth "(hidden)" "(hidden)"\ndata.more - "(hidden)"', text)
  end)

  it("tells of a status its phase first, conditions by their type, and of the history only its generations", function()
    local parts = {}
    for i, one in ipairs(changes.of_status(
      { phase = "Deployed", history = json.array { { generation = 1 } },
        conditions = json.array { { type = "Ready", status = "True", lastTransitionTime = "a" } } },
      { phase = "Failed", message = "no", history = json.array { { generation = 2, spec = { env = "x" } }, { generation = 1 } },
        conditions = json.array { { type = "Ready", status = "False", lastTransitionTime = "b" } } })) do
      parts[i] = ("%s %s %s"):format(one.path, tostring(one.old), tostring(one.new))
    end
    assert.equal("phase Deployed Failed\nmessage nil no\nconditions[Ready].status True False\nhistory generations 1 generations 2, 1",
      table.concat(parts, "\n"))
  end)
end)

describe("a saved plan", function()
  local plan_file = require "plan.file"

  it("is refused with a sentence when it is none, damaged, or of another version", function()
    local folder = assert(fs.temporary())
    local path = folder .. "/x.plan"
    local function read(text)
      assert(fs.write(path, text))
      local data, why = plan_file.read(path)
      assert.is_nil(data)
      return why
    end
    assert.contains("is no saved plan", read "hello")
    assert.contains("is no saved plan", read '{"kind":"Pod"}')
    assert.contains("is a plan of version 9", read '{"kind":"moonphase-plan","version":9}')
    assert.contains("it has no objects or files", read '{"kind":"moonphase-plan","version":1}')
    assert.contains("an object has no key", read '{"kind":"moonphase-plan","version":1,"files":{},"objects":[{"key":"no slash"}]}')
    assert.contains("hub/m has no uid or resourceVersion", read '{"kind":"moonphase-plan","version":1,"files":{},"objects":[{"key":"hub/m"}]}')
    assert.contains("hub/m has a change without action, kind or name",
      read '{"kind":"moonphase-plan","version":1,"files":{},"objects":[{"key":"hub/m","uid":"u","resourceVersion":"1","changes":[{}]}]}')
    fs.remove(path)
    fs.remove(folder)
  end)

  it("knows other policies, other settings and another moonphase by name", function()
    local w = the_world()
    local place = { cluster = { server = "x" }, files = w.files, settings = { a = 1 } }
    local data = json.decode(json.encode { files = {}, settingsDigest = "" })
    assert.contains("phases.lua is new", plan_file.differs(data, place))
    local view_of = { warnings = {}, paper = { digest = "d" } }
    data = plan_file.of(view_of, place, {}, { plans = {}, summary = {} })
    assert.is_nil(plan_file.differs(data, place))
    assert.equal("the settings are not those that were planned with", plan_file.differs(data, { files = w.files, settings = { a = 2 } }))
    data.moonphase = "older"
    assert.contains("it was planned by moonphase older", plan_file.differs(data, place))
  end)
end)

describe("what explain says", function()
  it("is the same computed as from a running operator: rows with what they looked at, inputs, children", function()
    for _, name in ipairs { "m1", "m2", "m3", "m4" } do
      local told, computed = the_world():explain(name)
      for _, field in ipairs { "phases", "failures", "facts" } do
        assert.equal(json.encode(told.decision.trace[field]), json.encode(computed.decision.trace[field]), name)
      end
      assert.equal(json.encode(told.children), json.encode(computed.children), name)
      assert.equal(told.policy.digest, computed.policy.digest)
      assert.equal("found", told.inputs[1].state)
      assert.equal(told.inputs[1].resourceVersion, computed.inputs[1].resourceVersion)
    end
  end)

  it("holds no token of a client, whoever is asked", function()
    local told, computed = the_world():explain "m2"
    for _, answer in ipairs { told, computed } do
      local text = json.encode(answer)
      assert.contains("ClientInvalid", text)
      assert.is_nil(text:find("a-long-token-of-a-client", 1, true))
    end
  end)
end)
