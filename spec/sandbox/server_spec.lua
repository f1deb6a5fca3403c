-- The simulated cluster as a program: moonphase sandbox, alone and around a command, over real HTTP on loopback.

local BINARY = process.env "MOONPHASE" or "build/moonphase"
local CONFIGMAPS = "/api/v1/namespaces/default/configmaps"

local function eventually(what, seconds, test)
  local deadline = loop.now() + seconds
  repeat
    local result = test()
    if result then return result end
    loop.sleep(0.02)
  until loop.now() > deadline
  error(what .. ": not so after " .. seconds .. " s", 2)
end

local function remove_folder(folder)
  for _, name in ipairs(fs.list(folder) or {}) do fs.remove(folder .. "/" .. name) end
  fs.remove(folder)
end

-- A running sandbox: { child, folder, url, cluster, request(method, path, body, more) -> status, value; status: that alone }.
-- words: more of its command line.
local function start(words)
  local self = { folder = assert(fs.temporary()) }
  local kubeconfig = self.folder .. "/kubeconfig"
  self.child = process.spawn { argv = { BINARY, "sandbox", "--kubeconfig", kubeconfig, table.unpack(words or {}) } }
  eventually("the sandbox runs", 10, function()
    local status = self.child:wait(0)
    if status then error("the sandbox ended with " .. status .. ": " .. select(2, self.child:output())) end
    return fs.kind(kubeconfig)
  end)
  self.cluster = assert(kube.open { kubeconfig = kubeconfig })
  self.url = self.cluster.server
  self.port = self.url:match ":(%d+)$"
  function self.request(method, path, body, more)
    local options = { method = method, url = self.url .. path, timeout = 10,
      body = type(body) == "table" and json.encode(body) or body, headers = { "Content-Type: application/json" } }
    for name, value in pairs(more or {}) do options[name] = value end
    local answer = assert(http.request(options))
    return answer.status, answer.content_type:find "json" and json.decode(answer.body) or answer.body, answer
  end
  function self.status(...) return (self.request(...)) end
  return self
end

local function with_sandbox(words, body)
  local sandbox = start(words)
  local ok, failure = xpcall(body, require "where", sandbox)
  sandbox.child:signal "TERM"
  local status = sandbox.child:wait(10)
  local _, errors = sandbox.child:output()
  remove_folder(sandbox.folder)
  if not ok then error(failure .. (errors ~= "" and "\nthe sandbox said: " .. errors or ""), 0) end
  assert.equal(0, status)
  assert.equal("", errors)
end

-- What somebody writes to the sandbox around it; prints its audit log.
local WRITES = [[
  local function ask(method, path, more)
    more.method, more.url = method, process.env "MOONPHASE_SANDBOX" .. "/api/v1/namespaces" .. path
    assert(http.request(more))
  end
  ask("POST", "/default/configmaps?fieldManager=me", { headers = { "Content-Type: application/json" },
    body = json.encode { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "a" } } })
  ask("DELETE", "/default/configmaps/none", { headers = { "Impersonate-User: jane" } })
  ask("GET", "", {})
  loop.sleep(0.1)
  io.write(assert(fs.read(process.env "MOONPHASE_CLUSTER_DIR" .. "/audit.log")))
]]

local function run(words, more)
  local options = { argv = { BINARY, "sandbox", table.unpack(words) }, timeout = 20 }
  for name, value in pairs(more or {}) do options[name] = value end
  return assert(process.run(options))
end

local function configmap(name, data)
  return { apiVersion = "v1", kind = "ConfigMap", metadata = { name = name }, data = data or { k = "v" } }
end

-- Say exactly these bytes to a sandbox and hear what it answers within a moment ("hold" keeps the connection for a minute).
local function raw(sandbox, bytes, hold)
  local script = ('exec 3<>/dev/tcp/127.0.0.1/%s; printf "%%b" "$0" >&3; %s'):format(sandbox.port, hold and "exec sleep 60" or "timeout 1 cat <&3; true")
  local argv = { "bash", "-c", script, (bytes:gsub("\\", "\\\\"):gsub("[^%w /:.]", function(c) return ("\\0%03o"):format(c:byte()) end)) }
  if hold then return process.spawn { argv = argv } end
  return assert(process.run { argv = argv, timeout = 10 }).output
end

-- Watches the ConfigMap "a" and tells of each event its type and data.n (of an error the code), and of the end.
local READER = [[
  local cluster, pieces = assert(kube.open { kubeconfig = args[1] }), {}
  local function tell(line)
    local event = json.decode(line)
    io.write(event.type, " ", event.object.code or event.object.data.n, "\n")
  end
  cluster:stream { path = args[2] .. "?watch=1&fieldSelector=metadata.name%3Da&resourceVersion=0", timeout = 60, on_bytes = function(text)
    for part, is_end in text:gmatch "([^\n]*)(\n?)" do
      pieces[#pieces + 1] = part
      if is_end == "\n" then
        tell(table.concat(pieces))
        pieces = {}
      end
    end
    io.flush()
  end }
  print "end"
]]

-- Somebody who watches "a" and does not always read: a child, with until_says(pattern) -> what he said.
local function reader(sandbox)
  local script = sandbox.folder .. "/reader.lua"
  assert(fs.write(script, READER))
  local child = process.spawn { argv = { BINARY, "repl", script, sandbox.folder .. "/kubeconfig", CONFIGMAPS } }
  return child, function(pattern)
    eventually("the reader says " .. pattern, 20, function() return child:output():find(pattern) end)
    return child:output()
  end
end

local function long(n) return configmap("a", { n = tostring(n), k = ("x"):rep(700000) }) end

describe("moonphase sandbox", function()
  it("says how to point kubectl at it, ends on SIGINT with status 0 and leaves nothing behind", function()
    local child = process.spawn { argv = { BINARY, "sandbox" } }
    local path = eventually("it says where the kubeconfig is", 10, function() return child:output():match "KUBECONFIG=(%S+)" end)
    assert.contains("http://127.0.0.1:", child:output())
    assert.equal("file", fs.kind(path))
    child:signal "INT"
    assert.equal(0, child:wait(10))
    assert.equal(nil, fs.kind(path))
    assert.equal(nil, fs.kind(path:match "^(.*)/"))
  end)

  it("refuses what it cannot use, with a sentence", function()
    local result = run { "--seed", "x" }
    assert.equal(2, result.status)
    assert.contains("--seed", result.errors)
    result = run { "--world", "/nowhere.yaml" }
    assert.equal(1, result.status)
    assert.contains("/nowhere.yaml", result.errors)
    result = run { "--http-addr", "nonsense" }
    assert.equal(1, result.status)
    assert.contains("nonsense", result.errors)
  end)

  it("runs a command with KUBECONFIG set, our input and output, and ends with its status", function()
    local result = run({ "--", "sh", "-c", 'grep -o "server: .*" "$KUBECONFIG"; echo "$MOONPHASE_SANDBOX"; cat; exit 7' }, { input = "what we say\n" })
    assert.equal(7, result.status)
    assert.matches('server: "?http://127.0.0.1:%d+', result.output)
    assert.contains("what we say", result.output)
    assert.equal(127, run({ "--", "/no/such/program" }).status)
  end)

  it("passes signals on to its command", function()
    local child = process.spawn { argv = { BINARY, "sandbox", "--", "sh", "-c", 'trap "exit 9" TERM; echo up; while :; do sleep 0.05; done' } }
    eventually("the command runs", 10, function() return child:output():find "up" end)
    child:signal "TERM"
    assert.equal(9, child:wait(10))
  end)
end)

describe("the server of a sandbox", function()
  it("says that it is Kubernetes v1.20.2 and well", function()
    with_sandbox({}, function(sandbox)
      local status, version = sandbox.request("GET", "/version")
      assert.equal(200, status)
      assert.equal("v1.20.2", version.gitVersion)
      assert.equal("ok", select(2, sandbox.request("GET", "/readyz")))
    end)
  end)

  it("streams what changes to those who watch, while others read and write", function()
    with_sandbox({}, function(sandbox)
      local seen = {}
      local watch = sandbox.cluster:watch { path = CONFIGMAPS, api_version = "v1", kind = "ConfigMap", keep = "whole",
        on_change = function(key, change) seen[#seen + 1] = change .. " " .. key end }
      assert(watch:wait_synced(10))
      seen = {}
      assert.equal(201, sandbox.status("POST", CONFIGMAPS, configmap "a"))
      eventually("the watch sees it", 2, function() return #seen == 1 end)
      assert.equal(200, sandbox.status("PUT", CONFIGMAPS .. "/a", configmap("a", { k = "w" })))
      assert.equal(200, sandbox.status("DELETE", CONFIGMAPS .. "/a"))
      eventually("the watch sees all", 2, function() return #seen == 3 end)
      assert.equal("added default/a,changed default/a,removed default/a", table.concat(seen, ","))
      watch:stop()
    end)
  end)

  it("shows who begins to watch all that there is, however much it is", function()
    with_sandbox({}, function(sandbox)
      for i = 1, 9 do assert.equal(201, sandbox.status("POST", CONFIGMAPS, configmap("b" .. i, { k = ("x"):rep(700000) }))) end
      local pieces = {}
      local fine, why = sandbox.cluster:stream { path = CONFIGMAPS .. "?watch=1&timeoutSeconds=1", timeout = 20,
        on_bytes = function(text) pieces[#pieces + 1] = text end }
      assert.truthy(fine, why)
      local names = {}
      for line in table.concat(pieces):gmatch "[^\n]+" do names[#names + 1] = json.decode(line).object.metadata.name:match "^b%d$" end
      assert.equal("b1 b2 b3 b4 b5 b6 b7 b8 b9", table.concat(names, " "))
    end)
  end)

  it("keeps what a slow reader of a watch has not had yet, and he misses nothing", function()
    with_sandbox({}, function(sandbox)
      local slow, until_says = reader(sandbox)
      sandbox.status("POST", CONFIGMAPS, configmap("a", { n = "0" }))
      until_says "ADDED 0"
      slow:signal "STOP"
      local expected = { "ADDED 0\n" }
      for i = 1, 40 do -- 28 MB, more than sockets hold
        assert.equal(200, sandbox.status("PUT", CONFIGMAPS .. "/a", long(i)))
        expected[#expected + 1] = ("MODIFIED %d\n"):format(i)
      end
      slow:signal "CONT"
      assert.equal(table.concat(expected), until_says "MODIFIED 40\n")
      slow:signal "KILL"
    end)
  end)

  it("tells a reader who is so slow that his place is forgotten that it is gone, and ends his watch", function()
    with_sandbox({}, function(sandbox)
      local slow, until_says = reader(sandbox)
      sandbox.status("POST", CONFIGMAPS, configmap("a", { n = "0" }))
      until_says "ADDED 0"
      slow:signal "STOP"
      for i = 1, 25 do assert.equal(200, sandbox.status("PUT", CONFIGMAPS .. "/a", long(i))) end
      for i = 26, 1300 do sandbox.status("PUT", CONFIGMAPS .. "/a", configmap("a", { n = tostring(i) })) end
      slow:signal "CONT"
      local said = until_says "end\n"
      assert.matches("^ADDED 0\nMODIFIED 1\nMODIFIED 2\n.*MODIFIED %d+\nERROR 410\nend\n$", said)
    end)
  end)

  it("ends a watch after timeoutSeconds, with a bookmark before for those who want it", function()
    with_sandbox({}, function(sandbox)
      local started = loop.now()
      local status, body = sandbox.request("GET", CONFIGMAPS .. "?watch=1&timeoutSeconds=1&resourceVersion=0", nil, { headers = {} })
      assert.equal(200, status)
      assert.truthy(loop.now() - started > 0.8 and loop.now() - started < 3, "it took " .. loop.now() - started)
      assert.truthy(body == nil or type(body) == "string" or type(body) == "table")
    end)
  end)

  it("gives two hundred watchers of one kind every change", function()
    with_sandbox({}, function(sandbox)
      local heard, streams = {}, {}
      for i = 1, 200 do
        heard[i] = ""
        streams[i] = loop.spawn(function()
          sandbox.cluster:stream { path = CONFIGMAPS .. "?watch=1&resourceVersion=" .. "0", timeout = 30,
            on_bytes = function(text) heard[i] = heard[i] .. text end }
        end)
      end
      loop.sleep(0.5)
      for i = 1, 20 do assert.equal(201, sandbox.status("POST", CONFIGMAPS, configmap("w" .. i))) end
      eventually("everybody sees all", 10, function()
        for i = 1, 200 do
          local _, count = heard[i]:gsub('"name":"w%d+"', "")
          if count ~= 20 then return false, count end
        end
        return true
      end)
      for i = 1, 200 do streams[i]:cancel() end
    end)
  end)

  it("writes an audit log that names user, verb, object and status of every write", function()
    local folder = assert(fs.temporary())
    assert(fs.write(folder .. "/writes.lua", WRITES))
    local result = run { "--", BINARY, "repl", folder .. "/writes.lua" }
    remove_folder(folder)
    local lines = {}
    for line in result.output:gmatch "[^\n]+" do lines[#lines + 1] = assert(json.decode(line)) end
    assert.equal(2, #lines)
    assert.equal("create", lines[1].verb)
    assert.equal("/api/v1/namespaces/default/configmaps?fieldManager=me", lines[1].requestURI)
    assert.equal("default", lines[1].objectRef.namespace)
    assert.equal("configmaps", lines[1].objectRef.resource)
    assert.equal(201, lines[1].responseStatus.code)
    assert.equal("admin", lines[1].user.username)
    assert.equal("delete", lines[2].verb)
    assert.equal("none", lines[2].objectRef.name)
    assert.equal(404, lines[2].responseStatus.code)
    assert.is_nil(lines[1].impersonatedUser)
    assert.equal("jane", lines[2].impersonatedUser.username)
  end)

  it("leaves no folder behind when its options are wrong", function()
    local folder = assert(fs.temporary())
    for _, words in ipairs { { "--seed", "x" }, { "--world", folder .. "/none" }, { "--kubeconfig", folder .. "/none/config" } } do
      assert.truthy(run(words, { env = { TMPDIR = folder } }).status ~= 0, words[1])
      assert.same({}, fs.list(folder), words[1])
    end
    remove_folder(folder)
  end)
end)

describe("a bad request to a sandbox", function()
  it("is answered as a real server does, and the next one is answered too", function()
    with_sandbox({}, function(sandbox)
      local large = { apiVersion = "v1", kind = "ConfigMap", metadata = { name = "a" }, data = { k = ("x"):rep(10 << 20) } }
      local status, body = sandbox.request("POST", CONFIGMAPS, large)
      assert.equal(413, status)
      assert.equal("RequestEntityTooLarge", body.reason)
      assert.equal("Request entity too large: limit is 3145728", body.message)
      status, body = sandbox.request("POST", CONFIGMAPS, "{")
      assert.equal(400, status)
      assert.equal("BadRequest", body.reason)
      status, body = sandbox.request("POST", "/api/v1/namespaces/default/nonsenses", {})
      assert.equal(404, status)
      assert.equal("NotFound", body.reason)
      status = sandbox.request("POST", CONFIGMAPS, configmap "b", { headers = { "Content-Type: text/plain" } })
      assert.equal(415, status)
      status = sandbox.request("POST", CONFIGMAPS .. "/b", configmap "b")
      assert.equal(405, status)
      assert.equal(201, sandbox.status("POST", CONFIGMAPS, configmap "c"))
    end)
  end)

  it("of bytes that are no HTTP is refused, and endless headers are", function()
    with_sandbox({}, function(sandbox)
      assert.truthy(not raw(sandbox, "nonsense\r\n\r\n"):find " 200 ")
      assert.matches("^HTTP/1.1 400", raw(sandbox, "GET /version\r\n\r\n"))
      assert.matches("^HTTP/1.1 400", raw(sandbox, "GET /version HTTP/1.1\r\n\r\n"))
      assert.matches("^HTTP/1.1 405", raw(sandbox, "BREW /api/v1/namespaces HTTP/1.1\r\nHost: x\r\n\r\n"))
      local answer = raw(sandbox, "GET /version HTTP/1.1\r\nHost: x\r\n" .. ("X-A: " .. ("a"):rep(1000) .. "\r\n"):rep(60))
      assert.truthy(answer == "" or answer:find "^HTTP/1.1 4", answer:sub(1, 100))
      assert.equal(200, sandbox.status("GET", "/version"))
    end)
  end)

  it("that never ends keeps nobody else waiting", function()
    with_sandbox({}, function(sandbox)
      local open = {}
      for i = 1, 20 do
        open[i] = raw(sandbox, i % 2 == 0 and "GET /version HT" or "POST " .. CONFIGMAPS .. " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", true)
      end
      loop.sleep(0.2)
      local started = loop.now()
      for i = 1, 50 do assert.equal(201, sandbox.status("POST", CONFIGMAPS, configmap("c" .. i))) end
      assert.truthy(loop.now() - started < 3, "50 creates took " .. loop.now() - started)
      for _, child in ipairs(open) do child:signal "KILL" end
      loop.sleep(0.1)
      assert.equal(200, sandbox.status("GET", "/version"))
    end)
  end)
end)

describe("the time of a sandbox", function()
  it("that is virtual stands still until it is advanced", function()
    with_sandbox({ "--virtual", "--seed", "5" }, function(sandbox)
      local _, before = sandbox.request("GET", "/sandbox")
      loop.sleep(1.1)
      local _, after = sandbox.request("GET", "/sandbox")
      assert.equal(before.time, after.time)
      local status, answer = sandbox.request("POST", "/sandbox/advance", { seconds = 90 })
      assert.equal(200, status)
      assert.truthy(answer.time > before.time)
      assert.equal(400, sandbox.status("POST", "/sandbox/advance", { seconds = -1 }))
      assert.equal(405, sandbox.status("GET", "/sandbox/advance"))
    end)
  end)

  it("is the wall's otherwise, and cannot be advanced", function()
    with_sandbox({}, function(sandbox)
      local status, answer = sandbox.request("POST", "/sandbox/advance", { seconds = 1 })
      assert.equal(400, status)
      assert.contains("--virtual", answer.message)
    end)
  end)
end)
