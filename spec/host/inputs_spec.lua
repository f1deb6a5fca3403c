-- Sources that are asked by HTTP, against a real HTTP server that misbehaves in every way that one can.
--
-- Found, not there and not known now are three answers, and no misbehaviour may turn the third into one of the others. First
-- the source alone, with the built-in policies' questions to PrimeHub; then a controller with a policy of a few lines and a source of
-- its author's own.

local beside = require "beside"
local contract = require "contract"
local controller = require "controller"
local include = require "include"
local fake = include "spec/host/fake_cluster.lua"
local inputs = require "inputs"
local models = include "spec/host/models.lua"
local policies = require "policies"
local request = require "inputs.request"

local TTL = 0.25
local eventually = models.eventually

-- ---------------------------------------------------------------- a server that does what it is told

-- {url, calls (bodies, paths, headers of what was asked), answer = function(call) -> status, body, type, headers}
local function serve(answer)
  local self = { calls = {}, answer = answer }
  self.server = assert(http.serve { address = "127.0.0.1:0", handler = function(call)
    self.calls[#self.calls + 1] = { method = call.method, path = call.path, body = call.body, authorization = call.header "authorization",
      query = call.queries() }
    return self.answer(call)
  end })
  self.url = "http://" .. self.server.address
  return self
end

local GROUP = { id = "g1", name = "phusers", enabledDeployment = true, maxDeploy = 3, projectQuotaCpu = 2.5, projectQuotaGpu = json.null,
  projectQuotaMemory = 1.5, instanceTypes = json.array { { name = "cpu-1", spec = { ["limits.cpu"] = 1, ["limits.memory"] = "2G" } } },
  mlflow = json.null }

local function with(change)
  local group = {}
  for name, value in pairs(GROUP) do group[name] = value end
  for name, value in pairs(change or {}) do group[name] = value end
  return { data = { group = group, instanceTypes = json.array { { name = "cpu-2", global = true, spec = { ["limits.cpu"] = 2 } },
    { name = "cpu-3", global = false, spec = { ["limits.cpu"] = 3 } } } } }
end

local function well() return 200, with() end

-- ---------------------------------------------------------------- the source alone

local generation, settings, declaration

local function built_in()
  if not generation then
    generation, settings = policies.load "policies"
    declaration = assert(contract.declaration(generation, "phdeployment"))
  end
  return generation
end

-- A source, and ask(input, wanted): what a policy sees of that input.
local function open(server, change)
  built_in()
  local said = { endpoint = server.url .. "/api/graphql", ttlSeconds = TTL, timeoutSeconds = 0.3 }
  for name, value in pairs(change or {}) do said[name] = value end
  local woken = {}
  local source = inputs.source(declaration.inputs.group.http, { source = { graphql = said } }, { cluster = server.cluster, namespace = "ops",
    on_answer = function(keys, changed) woken[#woken + 1] = { keys = keys, changed = changed } end })
  local function ask(name, wanted, id)
    local object = { spec = { groupId = id or "g1" } }
    local view = { generation = generation, settings = settings, objects = { read = function() return object end } }
    local handle = { uid = "u", generation = 1, indexes = { group = id or "g1", instance_type = wanted or "cpu-1" } }
    return source:about(view, { name = name or "group", http = declaration.inputs[name or "group"].http }, "hub/" .. (id or "m"), handle)
  end
  return source, ask, woken
end

local function with_source(answer, body, change)
  local server = serve(answer)
  local source, ask, woken = open(server, type(change) == "function" and change(server) or change)
  local ok, failure = xpcall(body, require "where", ask, server, source, woken)
  source:stop()
  server.server:close()
  if not ok then error(failure, 0) end
end

local function found(ask, name, wanted)
  return eventually("it is found", function()
    local input = ask(name, wanted)
    return input.state == "found" and input
  end)
end

local function object_of(input)
  return json.decode(input.object[policy.bytes])
end

describe("a group of PrimeHub's GraphQL server", function()
  it("is not known at first, asked for once, and found with quota, limit and without MLflow", function()
    with_source(well, function(ask, server, _, woken)
      local first = ask()
      assert.equal("unknown", first.state)
      assert.equal("Asking", first.reason)
      for _ = 1, 20 do ask() end
      local group = object_of(found(ask))
      assert.equal(1, #server.calls)
      assert.equal("POST", server.calls[1].method)
      assert.equal("/api/graphql", server.calls[1].path)
      assert.same({ id = "g1" }, json.decode(server.calls[1].body).variables)
      assert.same({ id = "g1", name = "phusers", enabledDeployment = true, maxDeployments = 3, quota = { cpu = "2500m", memory = "1610612736" } },
        group.spec)
      assert.same({ "hub/m" }, woken[1].keys)
      assert.is_true(woken[1].changed)
    end)
  end)

  it("brings its instance types in the same answer: its own first, then those that everyone may use", function()
    with_source(well, function(ask, server)
      assert.equal(1, object_of(found(ask, "instance_type")).spec["limits.cpu"])
      assert.equal("found", ask("instance_type", "cpu-2").state)
      assert.equal("missing", ask("instance_type", "cpu-3").state, "somebody else's")
      assert.equal("missing", ask("instance_type", "none").state)
      assert.equal(1, #server.calls)
    end)
  end)

  it("is missing when the server says null and no error beside it", function()
    with_source(function() return 200, { data = { group = json.null, instanceTypes = json.array {} } } end, function(ask)
      eventually("it is missing", function() return ask().state == "missing" end)
    end)
  end)

  it("has the MLflow that models:/ URIs need", function()
    local said = { trackingUri = "http://mlflow", uiUrl = json.null, trackingEnvs = json.array { { name = "A", value = "1" } } }
    with_source(function() return 200, with { mlflow = said } end, function(ask)
      assert.same({ trackingUri = "http://mlflow", trackingEnvs = { { name = "A", value = "1" } }, artifactEnvs = {} },
        object_of(found(ask)).spec.mlflow)
    end)
  end)

  it("is asked for anew when its time is over, and who asked is woken by another answer only", function()
    local name = "phusers"
    with_source(function() return 200, with { name = name } end, function(ask, server, _, woken)
      found(ask)
      eventually("it is asked again", function() return #server.calls >= 3 end)
      assert.equal(1, #woken)
      name = "renamed"
      eventually("it is renamed", function() return object_of(ask()).spec.name == "renamed" end)
      assert.equal(2, #woken)
    end)
  end)
end)

-- Each misbehaves, and is not known for that reason.
local ODD = {
  { "an HTML page of a proxy, 502", "HttpStatus", function() return 502, "<html>Bad Gateway</html>", "text/html" end },
  { "an HTML page, 200", "NotJson", function() return 200, "<html>Welcome</html>", "text/html" end },
  { "null and errors, 200 (fault 1)", "GraphQLErrors", function()
    return 200, { data = { group = json.null }, errors = json.array { { message = "keycloak: connect ECONNREFUSED" } } } end },
  { "a group and errors", "GraphQLErrors", function()
    local answer = with()
    answer.errors = json.array { { message = "half of it" } }
    return 200, answer
  end },
  { "errors that are a text", "GraphQLErrors", function() return 200, { data = { group = json.null }, errors = "boom" } end },
  { "no data", "NotUnderstood", function() return 200, { message = "hello" } end },
  { "data without a group", "NotUnderstood", function() return 200, { data = { user = { id = "u" } } } end },
  { "data that are a list", "NotUnderstood", function() return 200, { data = json.array { 1 } } end },
  { "another group", "NotUnderstood", function() return 200, with { id = "g2" } end },
  { "a group that is a text", "NotUnderstood", function() return 200, { data = { group = "phusers" } } end },
  { "a name that is a number", "NotUnderstood", function() return 200, with { name = 7 } end },
  { "enabledDeployment that is a text", "NotUnderstood", function() return 200, with { enabledDeployment = "false" } end },
  { "a quota that is a text", "NotUnderstood", function() return 200, with { projectQuotaCpu = "4" } end },
  { "a negative quota", "NotUnderstood", function() return 200, with { projectQuotaMemory = -1 } end },
  { "an mlflow that is a list", "NotUnderstood", function() return 200, with { mlflow = json.array { 1 } } end },
  { "a list", "NotUnderstood", function() return 200, "[]", "application/json" end },
  { "a bare null", "NotUnderstood", function() return 200, "null", "application/json" end },
  { "nothing at all", "NotJson", function() return 200, "", "application/json" end },
  { "half of a JSON text", "NotJson", function() return 200, '{"data": {"group"', "application/json" end },
  { "ten thousand brackets", "NotJson", function() return 200, ("["):rep(10000), "application/json" end },
  { "an answer without end", "TooLarge", function() return 200, '{"data": "' .. ("x"):rep(2000000) .. '"}', "application/json" end },
  { "a redirect, which it does not follow", "Redirect", function(call)
    if call.path == "/login" then return well() end
    return 302, "", "text/plain", { Location = "/login" }
  end },
  { "401", "Refused", function() return 401, { message = "who are you" } end },
  { "404", "HttpStatus", function() return 404, { message = "no such page" } end },
  { "500", "HttpStatus", function() return 500, { data = { group = json.null } } end },
  { "204", "HttpStatus", function() return 204, "" end },
  { "a hang", "Timeout", function() loop.sleep(5) return well() end },
  { "one byte every now and then", "Timeout", function(call)
    local stream = call.stream { status = 200, content_type = "application/json" }
    for _ = 1, 40 do
      stream:write(" ")
      loop.sleep(0.1)
    end
    stream:finish()
  end },
}

describe("a server that answers with", function()
  for _, row in ipairs(ODD) do
    local name, reason, odd = row[1], row[2], row[3]
    it(name .. " is not known now, takes nothing away, and recovers by itself", function()
      with_source(odd, function(ask, server)
        eventually("it is " .. reason, function() return ask().reason == reason end)
        assert.equal("unknown", ask().state)
        assert.is_nil(ask().object)
        server.answer = well
        found(ask)
        server.answer = odd
        local stale = eventually("it is not known any more", function()
          local input = ask()
          assert.truthy(input.state == "found" or input.state == "unknown", input.state)
          return input.state == "unknown" and input
        end)
        assert.equal(reason, stale.reason)
        assert.equal("phusers", object_of(stale).spec.name)
        assert.equal("number", type(stale.age))
        assert.equal("1", tostring(object_of(ask "instance_type").spec["limits.cpu"]))
        server.answer = well
        found(ask)
      end)
    end)
  end

  it("nothing, because nobody listens, is not known now, and recovers by itself", function()
    local server = serve(well)
    local address = server.server.address
    local source, ask = open(server)
    found(ask)
    server.server:close()
    local stale = eventually("it is unknown", function()
      local input = ask()
      return input.state == "unknown" and input
    end)
    assert.equal("Unreachable", stale.reason)
    assert.equal("it cannot be reached", stale.message)
    assert.truthy(stale.object)
    local again = eventually("the port is free", function() return http.serve { address = address, handler = well } end)
    found(ask)
    again:close()
    source:stop()
  end)

  it("one odd instance type leaves the group and the others known", function()
    local odd = with { instanceTypes = json.array { { name = "cpu-1", spec = { ["limits.cpu"] = 1 } }, { name = "odd", spec = "none" },
      { name = "odder", spec = { nodeSelector = { a = 1 } } }, { name = "oddest", spec = { tolerations = { key = "a" } } },
      { name = "amount", spec = { ["limits.cpu"] = { 1 } } } } }
    with_source(function() return 200, odd end, function(ask)
      found(ask)
      for _, name in ipairs { "odd", "odder", "oddest", "amount" } do assert.equal("unknown", ask("instance_type", name).state, name) end
      assert.equal("found", ask("instance_type", "cpu-1").state)
    end)
  end)
end)

describe("an outage", function()
  it("that is shorter than an answer is good for is seen by nobody", function()
    with_source(well, function(ask, server, _, woken)
      found(ask)
      local fail, since = true, loop.now()
      server.answer = function() if fail then return 500, "" end return well() end
      eventually("it failed", function() return #server.calls > 1 end)
      fail = false
      while loop.now() < since + 2 * TTL do
        assert.equal("found", ask().state)
        loop.sleep(0.01)
      end
      for i = 2, #woken do assert.is_falsy(woken[i].changed) end
    end, { ttlSeconds = 1.5 })
  end)

  it("leaves what was missing missing: nothing recovers because nothing is heard", function()
    with_source(function() return 200, { data = { group = json.null } } end, function(ask, server)
      eventually("it is missing", function() return ask().state == "missing" end)
      server.answer = function() return 502, "" end
      eventually("it is old", function() return ask().age end)
      assert.equal("missing", ask().state)
    end)
  end)

  it("is met with fewer and fewer questions, with a few at a time, and with a hundred a second at most", function()
    local now, most, began = 0, 0, nil
    with_source(function()
      now, began = now + 1, began or loop.now()
      most = math.max(most, now)
      loop.sleep(0.05)
      now = now - 1
      return 503, ""
    end, function(ask, server)
      for i = 1, 60 do ask("group", nil, "group-" .. i) end
      eventually("all were asked", function() return #server.calls >= 60 end)
      assert.truthy(most <= 8, most .. " at once")
      assert.truthy(loop.now() - began > 0.5, "60 of them in " .. loop.now() - began .. " s")
      local count = #server.calls
      loop.sleep(0.7)
      assert.truthy(#server.calls - count <= 60, "the second try of each comes after a second: " .. #server.calls - count)
    end, { ttlSeconds = 60 })
  end)
end)

-- Files of a folder of our own, by name, for body(folder).
local function with_files(files, body)
  local folder = assert(fs.temporary())
  for name, text in pairs(files) do assert(fs.write(folder .. "/" .. name, text)) end
  local ok, failure = xpcall(body, require "where", folder)
  for name in pairs(files) do fs.remove(folder .. "/" .. name) end
  fs.remove(folder)
  if not ok then error(failure, 0) end
end

describe("the bearer token", function()
  it("is read from its file, and read again when the server refuses it", function() with_files({ token = "old\n" }, function(folder)
    local path = folder .. "/token"
    local right = "Bearer old"
    with_source(function(call)
      if call.header "authorization" ~= right then return 401, "" end
      return well()
    end, function(ask, server)
      found(ask)
      assert.equal("Bearer old", server.calls[1].authorization)
      right = "Bearer new"
      assert(fs.write(path, "new"))
      eventually("the new one is used", function() return server.calls[#server.calls].authorization == "Bearer new" end)
      loop.sleep(TTL)
      assert.equal("found", ask().state)
    end, { tokenFile = path })
  end) end)

  it("is read from a Secret by its name, and read again when the server refuses it", function()
    local cluster = fake.new()
    local function put(text)
      cluster:put("/api/v1/namespaces/ops/secrets/primehub", { apiVersion = "v1", kind = "Secret",
        metadata = { name = "primehub", namespace = "ops" }, data = { ["shared-secret"] = base64.encode(text) } })
    end
    put "one"
    local right = "Bearer one"
    with_source(function(call)
      if call.header "authorization" ~= right then return 403, "" end
      return well()
    end, function(ask)
      found(ask)
      right = "Bearer two"
      put "two"
      loop.sleep(2 * TTL)
      assert.equal("found", ask().state)
      for _, asked in ipairs(cluster.requests) do assert.equal("/api/v1/namespaces/ops/secrets/primehub", asked.path) end
    end, function(server)
      server.cluster = cluster
      return { tokenSecret = { name = "primehub", key = "shared-secret" } }
    end)
  end)

  it("that cannot be had, or could not stand in a header, asks nothing and is told without its value", function() with_files({
    two = "top-secret\nX-Admin: yes", none = "\n" }, function(folder)
    for _, name in ipairs { "two", "none", "absent" } do
      with_source(well, function(ask, server)
        local input = eventually("it is told", function()
          local one = ask()
          return one.reason == "NoToken" and one
        end)
        assert.contains(folder .. "/" .. name, input.message)
        assert.is_nil(input.message:find("top-secret", 1, true))
        assert.equal(0, #server.calls)
      end, { tokenFile = folder .. "/" .. name })
    end
  end) end)
end)

describe("an https server", function()
  local pair = certificate.make { subject = "spec", names = { "127.0.0.1" }, not_before = loop.wall_ms() // 1000 - 60,
    not_after = loop.wall_ms() // 1000 + 600 }

  local function state_with(change)
    local server = serve(well)
    server.server:close()
    server.server = assert(http.serve { address = "127.0.0.1:0", cert = pair.cert, key = pair.key, handler = well })
    server.url = "https://" .. server.server.address
    local source, ask = open(server, change)
    local input = eventually("there is an answer", function()
      local one = ask()
      return one.reason ~= "Asking" and one
    end)
    source:stop()
    server.server:close()
    return input
  end

  it("is believed only when its certificate is", function() with_files({ ["ca.pem"] = pair.authority }, function(folder)
    local path = folder .. "/ca.pem"
    assert.equal("found", state_with({ caFile = path, timeoutSeconds = 5 }).state)
    assert.equal("Unreachable", state_with({ timeoutSeconds = 5 }).reason)
    assert.equal("NoAuthority", state_with({ caFile = path .. ".none" }).reason)
  end) end)
end)

-- ---------------------------------------------------------------- templates

describe("a field of an object in a question", function()
  local HTTP = { url = "{endpoint}/groups/{spec.group}?of={metadata.namespace}" }
  local function url_of(group)
    local about = request.about(HTTP, "http://h", { spec = { group = group }, metadata = { namespace = "hub" } })
    return about and about.url
  end

  it("changes nothing of the URL but its own place", function()
    assert.equal("http://h/groups/a%2Fb%3Fx%3D1%23y%25%20%26?of=hub", url_of "a/b?x=1#y% &")
    assert.equal("http://h/groups/%E7%A0%94?of=hub", url_of "研")
    assert.equal("http://h/groups/7?of=hub", url_of(7))
  end)

  it("that is absent, no text, or a step of a path asks nothing", function()
    for _, odd in ipairs { "", ".", "..", "...", "a\nb", "a\0b", ("x"):rep(513), true, { "a" } } do assert.is_nil(url_of(odd)) end
    assert.is_nil(url_of(nil))
  end)

  it("is a JSON text in a body, and other braces stay as they are", function()
    local http = { body = { query = "query { group { id {name} } }", variables = { id = "{spec.group}", n = 1 } } }
    local about = request.about(http, "http://h", { spec = { group = '"},{"x' } })
    assert.same({ query = "query { group { id {name} } }", variables = { id = '"},{"x', n = 1 } }, json.decode(about.body))
    assert.equal("http://h", about.url)
  end)
end)

-- ---------------------------------------------------------------- a controller with a source of its author's own

local TOY = [[
local M = { label = "model", kind = { api_version = "example.org/v1", kind = "Model", resource = "models" },
  children = { services = { api_version = "v1", kind = "Service", resource = "services" } },
  inputs = { team = { by = "spec.team", limit = "most", http = { server = "teams", url = "{endpoint}/teams/{spec.team}", status = { 200, 404 } } } } }
function M.decide(seen)
  local team, o = seen.team, seen.object
  local ports = team.object and team.object.port and { { name = "http", port = team.object.port, protocol = "TCP" } }
  return { status = { team = team.state, says = team.object and team.object.says, why = team.reason, ahead = seen.ahead },
    children = ports and { { apiVersion = "v1", kind = "Service", metadata = { name = "s-" .. o.metadata.name }, spec = { ports = ports } } } or {} }
end
return M
]]

local ROOT = models.ROOT
local cluster, running, teams

local function model(name, team) return models.put(cluster, name, { team = team }) end
local function status_of(name) return models.status_of(cluster, name) end

local function start(source, said)
  local toy
  running, toy = models.controller(cluster, source or TOY, { catalog_namespace = "ops",
    settings = { teams = said or { endpoint = teams.url, ttlSeconds = TTL, timeoutSeconds = 0.3 } } })
  running:run()
  return toy
end

local function spec(name, answer, body)
  it(name, function()
    cluster, running, teams = fake.new(), nil, serve(answer)
    local ok, failure = xpcall(body, require "where")
    if running then running:stop(5) end
    teams.server:close()
    if not ok then error(failure, 0) end
  end)
end

local function by_path(call)
  local name = call.path:match("^/teams/(.+)$")
  if name == "hung" then loop.sleep(10) end
  if name == "none" then return 404, { message = "no such team" } end
  return 200, { says = "I am " .. name, port = 80 }
end

describe("an HTTP source that a policy declares", function()
  spec("answers by URL and fields of the object; 404 is not there, where the policy says so", by_path, function()
    model("a", "red")
    model("b", "none")
    start()
    eventually("a is told", function() return status_of "a".says == "I am red" end)
    eventually("b is told", function() return status_of "b".team == "missing" end)
    assert.equal("GET", teams.calls[1].method)
  end)

  spec("wakes what came while its answer was on its way", by_path, function()
    start()
    model("a", "red")
    eventually("a is told", function() return status_of "a".says == "I am red" end)
    model("c", "red")
    eventually("c is told", function() return status_of "c".says == "I am red" end)
    local count = 0
    for _, call in ipairs(teams.calls) do count = count + (call.path == "/teams/red" and 1 or 0) end
    assert.truthy(count <= 1 + loop.now(), "asked once for both")
  end)

  spec("that hangs keeps nobody else waiting (fault 5)", by_path, function()
    for i = 1, 50 do model("h" .. i, "hung") end
    start(nil, { endpoint = teams.url, ttlSeconds = 60, timeoutSeconds = 60 })
    loop.turns(true)
    local began = loop.now()
    model("a", "red")
    eventually("a is told", function() return status_of "a".says == "I am red" end)
    assert.truthy(loop.now() - began < 30, "it would have waited for 60 s")
    assert.equal("unknown", status_of "h1".team)
  end)

  spec("an edit of what it says reaches the objects that use it, and no others", by_path, function()
    model("a", "red")
    model("b", "blue")
    start()
    eventually("both are told", function() return status_of "a".says and status_of "b".says end)
    teams.answer = function(call)
      if call.path == "/teams/red" then return 200, { says = "I was red", port = 81 } end
      return by_path(call)
    end
    cluster:forget_requests()
    eventually("a is told anew", function() return status_of "a".says == "I was red" end)
    eventually("its child follows", function() return cluster.objects["/api/v1/namespaces/hub/services/s-a"].spec.ports[1].port == 81 end)
    for _, write in ipairs(cluster:writes()) do assert.is_nil(write.path:find("b$"), write.path) end
  end)

  spec("an outage takes nothing away and writes nothing but that it is there", by_path, function()
    model("a", "red")
    start()
    eventually("a is told", function() return status_of "a".says end)
    local service = eventually("its child is there", function() return cluster.objects["/api/v1/namespaces/hub/services/s-a"] end)
    teams.answer = function() return 502, "<html>" end
    eventually("a says so", function() return status_of "a".team == "unknown" end)
    assert.equal("I am red", status_of "a".says)
    assert.equal(service, cluster.objects["/api/v1/namespaces/hub/services/s-a"])
    cluster:forget_requests()
    loop.sleep(4 * TTL)
    assert.equal(0, #cluster:writes(), "an outage that goes on writes nothing more")
    teams.answer = by_path
    eventually("it recovers", function() return status_of "a".team == "found" end)
  end)

  spec("a start while it is down writes no child and takes none away", function() return 502, "" end, function()
    model("a", "red")
    cluster:put("/api/v1/namespaces/hub/services/s-a", { apiVersion = "v1", kind = "Service", metadata = { name = "s-a", uid = "s",
      labels = { model = "a" }, ownerReferences = json.array { { uid = "uid-of-a", controller = true, kind = "Model", name = "a",
        apiVersion = "example.org/v1" } } }, spec = { ports = json.array { { name = "http", port = 80, protocol = "TCP" } } } })
    start()
    eventually("it is told", function() return status_of "a".team == "unknown" and status_of "a".why == "HttpStatus" end)
    for _, write in ipairs(cluster:writes()) do assert.contains("/models/a", write.path) end
    teams.answer = by_path
    eventually("it recovers", function() return status_of "a".team == "found" end)
  end)

  spec("bounds how many run, by a path in what it says", function() return 200, { says = "x", most = 1 } end, function()
    model("a", "red")
    model("b", "red")
    start()
    eventually("one is ahead of the other", function() return status_of "a".ahead == 0 and status_of "b".ahead == 1 end)
  end)

  spec("is seen by policies on paper as well, and asked no more for them", by_path, function()
    model("a", "red")
    local toy = start()
    eventually("a is told", function() return status_of "a".says end)
    local count = #teams.calls
    local view = beside.new(running, { generation = toy, settings = running.settings, declaration = running.declaration, set = running.set })
    assert.equal("I am red", view:decide(view:seen "hub/a").status.says)
    assert.equal(count, #teams.calls)
  end)

  spec("forgets who asked when the object is gone", by_path, function()
    model("a", "red")
    start()
    eventually("a is told", function() return status_of "a".says end)
    local source = running.inputs.team.source
    cluster:remove(ROOT .. "a")
    eventually("it is forgotten", function() return next(source.asked) == nil end)
  end)

  spec("without a server in the settings is never known, and says so", by_path, function()
    model("a", "red")
    start(nil, { endpoint = "" })
    eventually("a is told", function() return status_of "a".why == "NotConfigured" end)
  end)
end)

describe("a mapping", function()
  local MAPPED = TOY:gsub("status = { 200, 404 }", 'map = "teams.read"')
  local function mapped_by(source, state, why)
    local toy = assert(policy.load { files = { ["phdeployment.lua"] = MAPPED, ["teams.lua"] = "return { read = function(asked) " .. source
      .. " end }" }, name = "toy" })
    cluster, teams = fake.new(), serve(by_path)
    model("a", "red")
    running = controller.new { cluster = cluster, generation = toy, module = "phdeployment", namespaces = { "hub" }, catalog_namespace = "ops",
      settings = { teams = { endpoint = teams.url }, prefix = "we are " } }
    running:run()
    local ok, failure = pcall(eventually, source .. " is " .. state, function()
      return status_of "a".team == state and status_of "a".why == why and status_of "a"
    end)
    running:stop(5)
    teams.server:close()
    assert.is_true(ok, failure)
    return failure
  end

  it("is called with the answer, what is wanted and the settings", function()
    assert.equal("we are red, I am red", mapped_by([[return { state = "found", object = { says = asked.settings.prefix .. asked.wanted .. ", "
      .. asked.answer.says } }]], "found").says)
    mapped_by([[return { state = asked.status == 200 and "missing" or "found" }]], "missing")
    mapped_by([[return { state = "unknown", reason = "Strange" }]], "unknown", "Strange")
  end)

  it("that fails, loops or answers nonsense is not known, and costs nothing else", function()
    for _, source in ipairs { "error('no')", "while true do end", "return nil", "return { state = 'maybe' }", "return { state = 'found' }",
      "return { state = 'found', object = { n = 0/0 } }", "return 7" } do
      mapped_by(source, "unknown", "MappingFailed")
    end
  end)
end)

it("a declaration of a source that cannot be is refused with its place", function()
  local rows = {
    { "http = { url = 'ftp://x' }", "inputs.team.http has no `url`" },
    { "http = { url = 'http://{spec.team}.example/' }", "inputs.team.http has no `url`" },
    { "http = {}", "inputs.team.http has no `url`" },
    { "http = { url = 'http://x', mthod = 'GET' }", "inputs.team.http has no field mthod" },
    { "http = { url = 'http://x', method = 'DELETE' }", "neither GET nor POST" },
    { "http = { url = 'http://x', status = 200 }", "no list of HTTP statuses" },
    { "http = { url = 'http://x', map = 'phdeployment.none' }", "no function of the policies" },
    { "http = { url = 'http://x', ttl = 0 }", "no number of seconds" },
    { "http = 'http://x'", "must be a table" },
  }
  for _, row in ipairs(rows) do
    local source = TOY:gsub("http = %b{}", function() return row[1] end)
    local toy = assert(policy.load { files = { ["phdeployment.lua"] = source }, name = "toy" })
    local declared, why = contract.declaration(toy, "phdeployment")
    assert.is_nil(declared, row[1])
    assert.contains(row[2], why)
  end
end)
