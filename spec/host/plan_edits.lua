-- Edits of the built-in policies, as people make them: each a few words found in a file and put in place of others.
--
-- A row: {what it is for, file, the words, what replaces them (a text, or function(r) -> text)}. `r` is a source of chance: r(n) is 1..n,
-- r{...} one of these. Rows stand for kinds of edits: labels, messages, resources, environment, ports, phases, failures,
-- children, settings, and edits that fail on some object, or that the server refuses.

local M = {}

local WORDS = { "one", "two", "blue", "green", "team-a", "x9" }
local DEPLOYMENT, MODEL, SERVICE, PHASES, FAILURES, SETTINGS = "children/deployment.lua", "children/model.lua",
  "children/service.lua", "phases.lua", "failures.lua", "settings.yaml"

local function sentence(r)
  return ("%s %s %d"):format(r { "The model is", "Now:", "Look,", "Ask #models:" }, r(WORDS), r(99))
end

M.ROWS = {
  -- labels and annotations
  { "a pod label", DEPLOYMENT, "app = s.settings.appLabel", function(r)
    return ('["example.com/%s"] = "%s", app = s.settings.appLabel'):format(r(WORDS), r(WORDS)) end },
  { "a pod label that goes", DEPLOYMENT, "[GROUP_LABEL] = labels.escape(s.group.name) }", "}" },
  { "a pod annotation", DEPLOYMENT, '["prometheus.io/scrape"] = "true",', function(r)
    return ('["prometheus.io/scrape"] = "%s",'):format(r { "false", "no" }) end },
  { "a pod annotation that goes", DEPLOYMENT, '["prometheus.io/scrape"] = "true",', "" },
  { "a label of the Deployment", DEPLOYMENT, "labels = { [M.LABEL] = s.name }, annotations", function(r)
    return ('labels = { [M.LABEL] = s.name, tier = "%s" }, annotations'):format(r(WORDS)) end },
  { "a label of the Service", SERVICE, "labels = { [deployment.LABEL] = s.name }", function(r)
    return ('labels = { [deployment.LABEL] = s.name, ["example.com/tier"] = "%s" }'):format(r(WORDS)) end },
  { "a label for some", DEPLOYMENT, "app = s.settings.appLabel", function(r)
    return ('some = s.name == "m%d" and "yes" or nil, app = s.settings.appLabel'):format(r(4)) end },
  -- messages
  { "the message of Deployed", PHASES, "Deployment is deployed and available now", sentence },
  { "the message of Stopped", PHASES, "deployment has stopped{warning}", sentence },
  { "the message of Stopping", PHASES, "deployment is stopping", sentence },
  { "the message of Deploying", PHASES, "Deployment is being deployed and not available now", sentence },
  { "the message of a bad image", FAILURES, "Image invalid or cannot be pulled: {image}{detail}", function(r) return sentence(r) .. ": {image}{detail}" end },
  { "the message of a condition", "conditions.lua", "pods are admitted", sentence },
  { "a reason of a condition", "conditions.lua", '"Admitted", "pods', function(r) return ('"%s", "pods'):format(r { "LetIn", "Fine" }) end },
  -- resources, environment, ports
  { "the engine's cpu", SETTINGS, "cpu: 300m", function(r) return ("cpu: %dm"):format(100 + 50 * r(6)) end },
  { "the engine's memory", SETTINGS, "memory: 250Mi", function(r) return ("memory: %dMi"):format(200 + r(100)) end },
  { "an engine that takes all", SETTINGS, "cpu: 300m", 'cpu: "8"' },
  { "the same memory in other words", SETTINGS, "memory: 250Mi", "memory: 256000Ki" },
  { "a variable more", MODEL, '{ name = "PREDICTOR_ID", value = "deploy" },', function(r)
    return ('{ name = "PREDICTOR_ID", value = "deploy" }, { name = "EXTRA_%d", value = "%s" },'):format(r(9), r(WORDS)) end },
  { "a variable less", MODEL, '{ name = "PREDICTOR_ID", value = "deploy" },', "" },
  { "another order of variables", MODEL, '{ name = "PREDICTIVE_UNIT_ID", value = "model" },\n    { name = "PREDICTIVE_UNIT_IMAGE", value = s.image },',
    '{ name = "PREDICTIVE_UNIT_IMAGE", value = s.image },\n    { name = "PREDICTIVE_UNIT_ID", value = "model" },' },
  { "the Service's port name", SERVICE, 'port("http", engine.REST', function(r) return ('port("%s", engine.REST'):format(r { "web", "rest" }) end },
  { "the Service's port", SERVICE, 'port("http", engine.REST, ', function(r) return ('port("http", %d, '):format(8100 + r(50)) end },
  { "a second port", SERVICE, "return {\n    apiVersion", 'ports[#ports + 1] = port("more", 8181)\n  return {\n    apiVersion' },
  { "the probes' patience", SETTINGS, "failureThreshold: 90", function(r) return ("failureThreshold: %d"):format(10 + r(50)) end },
  { "another probe", SETTINGS, "readiness: tcp", "readiness: /health/ping" },
  -- phases and failures
  { "a reason of a phase", PHASES, 'reason = "Deployed"', function(r) return ('reason = "%s"'):format(r { "Serving", "Up" }) end },
  { "a phase that comes earlier", PHASES, 'when = fact "rollout.complete"', "when = function(s) return s.rollout.available > 0 end" },
  { "no row Stopped", PHASES, "when = function(s) return s.stop and s.gone end", "when = function() return false end" },
  { "a failure that waits longer", SETTINGS, "image: 10 ", function(r) return ("image: %d "):format(r { 0, 3000 }) end },
  { "a new failure", FAILURES, "return rules {", function(r) return ([[return rules {
  { name = "NotAllowed", condition = "Progressing", when = function(s) return s.name == "m%d" end, message = "%s" },]]):format(r(4), sentence(r)) end },
  { "a new failure that blocks", FAILURES, "return rules {", function(r) return ([[return rules {
  { name = "NotAllowed", condition = "Progressing", blocks = true, message = "No: {name}",
    when = function(s) return s.name == "m%d" end },]]):format(r(4)) end },
  { "a failure that is none any more", FAILURES, "waiting = IMAGE_TROUBLE, words = PULL_WORDS", 'waiting = { "Never" }' },
  -- children
  { "no Ingress", SETTINGS, "route: Ingress", "route: none" },
  { "a route that is not served", SETTINGS, "route: Ingress", "route: HTTPRoute" },
  { "an annotation of the Ingress", SETTINGS, "  annotations: {}", function(r) return ("  annotations: {example.com/%s: %s}"):format(r(WORDS), r(WORDS)) end },
  { "the Ingress's host", SETTINGS, 'host: ""', function(r) return ("host: %s.example.com"):format(r(WORDS)) end },
  { "the Ingress's class", SETTINGS, "className: nginx", "className: other" },
  { "a ConfigMap", "phdeployment.lua", "  return children, json.array(prune), mark", function(r) return ([[
  children[#children + 1] = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = s.child_name .. "-notes" }, data = { about = "%s" } }
  return children, json.array(prune), mark]]):format(r(WORDS)) end, also = { "phdeployment.lua", "  children = {\n    deployments =",
    '  children = {\n    configmaps = { api_version = "v1", kind = "ConfigMap", resource = "configmaps", keep = "whole" },\n    deployments =' } },
  { "a kind that is not declared", "phdeployment.lua", "  return children, json.array(prune), mark", [[
  children[#children + 1] = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = s.child_name }, data = {} }
  return children, json.array(prune), mark]] },
  { "no engine", SETTINGS, "kind: seldon", "kind: none" },
  { "the engine's tag", SETTINGS, "tag: 1.4.0", function(r) return ("tag: 1.%d.0"):format(4 + r(9)) end },
  { "a registry", SETTINGS, 'imagePrefix: ""', function(r) return ("imagePrefix: registry-%d.example/"):format(r(9)) end },
  { "how it rolls out", SETTINGS, "strategy: resource-aware", "strategy: available" },
  { "how long it may take", SETTINGS, "progressDeadlineSeconds: 1200", function(r) return ("progressDeadlineSeconds: %d"):format(900 + r(900)) end },
  { "the app label", SETTINGS, "appLabel: primehub-group", "appLabel: primehub-deployment" },
  { "the address", SETTINGS, "primehubUrl: http://primehub.local", function(r) return "primehubUrl: https://" .. r(WORDS) .. ".example" end },
  { "less history", SETTINGS, "limit: 32", "limit: 1" },
  { "nothing that counts", SETTINGS, "deletions: 0", "deletions: 5" },
  { "a comment", PHASES, "return phases {", function(r) return "-- " .. sentence(r) .. "\nreturn phases {" end },
  -- edits that fail
  { "an error on one", "phdeployment.lua", "local s = facts.look(seen)", function(r)
    return ('local s = facts.look(seen)\n  if s.name == "m%d" then error("no such thing") end'):format(r(4)) end },
  { "a nil on some", DEPLOYMENT, "app = s.settings.appLabel", "app = s.spec.endpoint.clients[1].name" },
  { "no decision", "phdeployment.lua", "  return decision\nend", '  return s.name ~= "m2" and decision or nil\nend' },
  { "a loop on one", "phdeployment.lua", "local s = facts.look(seen)", 'local s = facts.look(seen)\n  while s.name == "m3" do end' },
  -- edits that the server refuses
  { "a label that is none", DEPLOYMENT, "app = s.settings.appLabel", 'tier = "not a label!", app = s.settings.appLabel' },
  { "a port that is none", SERVICE, 'port("http", engine.REST, ', 'port("http", 70000, ' },
  { "a phase that is none", PHASES, '{ "Deployed", from', '{ "Running", from' },
  { "a variable without a name", MODEL, '{ name = "PREDICTOR_ID", value = "deploy" },', '{ name = "", value = "deploy" },' },
  { "another type of Service", SERVICE, 'type = "ClusterIP"', 'type = "Nonsense"' },
}

-- Multiplicative congruential numbers (MINSTD): the same edits in every process.
local function chance(seed)
  local state = seed * 48271 % 2147483647
  if state == 0 then state = 1 end
  for _ = 1, 3 do state = state * 48271 % 2147483647 end
  return function(of)
    state = state * 48271 % 2147483647
    if type(of) == "table" then return of[state % #of + 1] end
    return state % of + 1
  end
end

local function replace(files, row, r)
  local file, old, new = row[1], row[2], row[3]
  local text = files[file]
  local from, to = text:find(old, 1, true)
  if not from then return false end -- another edit was there first
  files[file] = text:sub(1, from - 1) .. (type(new) == "function" and new(r) or new) .. text:sub(to + 1)
  return true
end

-- A copy of `files` with 1 to 3 edits drawn from this seed, and what they are as a text.
function M.make(files, seed)
  local copy, told, r = {}, {}, chance(seed)
  for name, text in pairs(files) do copy[name] = text end
  for _ = 1, r { 1, 1, 1, 2, 3 } do
    local row = M.ROWS[r(#M.ROWS)]
    if replace(copy, { row[2], row[3], row[4] }, r) then
      told[#told + 1] = row[1]
      if row.also then replace(copy, row.also, r) end
    end
  end
  return copy, table.concat(told, " and ")
end

-- With the one edit of this name.
function M.one(files, name)
  local copy = {}
  for file, text in pairs(files) do copy[file] = text end
  for _, row in ipairs(M.ROWS) do
    if row[1] == name then
      if not replace(copy, { row[2], row[3], row[4] }, chance(1)) then
        error(("%s: %s has no %s any more: this table edits it"):format(name, row[2], row[3]), 2)
      end
      if row.also then assert(replace(copy, row.also, chance(1)), name) end
      return copy
    end
  end
  error("there is no edit " .. name, 2)
end

return M
