-- Virtual time and the network in memory: what runs in loop.virtual lives through hours in a moment, in one
-- repeatable order, and cannot tell a Lua function from an API server.

local EPOCH = 1767225600000

-- body(virtual, say) inside a virtual loop, which is closed however it ends; what was said, as one text.
local function with_loop(options, body)
  local said = {}
  local function say(...) said[#said + 1] = table.concat({ ... }, " ") end
  local v <close> = loop.virtual(options)
  body(v, say)
  return table.concat(said, "; ")
end

-- A cluster in memory, opened inside `v`; its handler is asked in turn.
local function open(v, handler)
  local cluster
  v:spawn(function() cluster = kube.open { handler = handler, namespace = "hub" } end)
  v:settle()
  return cluster
end

-- One request after the other from inside; says status or kind of failure, and when.
local function ask(v, say, cluster, requests)
  v:spawn(function()
    local begin = loop.now()
    for _, request in ipairs(requests) do
      local answer, _, kind = cluster:request(request)
      say(("%g"):format(loop.now() - begin), answer and tostring(answer.status) or kind)
    end
  end)
end

describe("a loop on virtual time", function()
  it("sleeps for hours in no time, and wakes at the very millisecond", function()
    local started = loop.now()
    local said = with_loop({ wall_ms = EPOCH }, function(v, say)
      v:spawn(function()
        loop.sleep(7200.5)
        say(tostring(loop.wall_ms() - EPOCH))
      end)
      v:advance(7200499)
      say("not yet")
      v:advance(1)
    end)
    assert.equal("not yet; 7200500", said)
    assert.is_true(loop.now() - started < 5)
  end)

  it("stands still while nobody advances it", function()
    local said = with_loop({}, function(v, say)
      v:spawn(function() loop.sleep(0.001) say("woken") end)
      v:settle()
      loop.sleep(0.02)
      v:settle()
      say("asleep", tostring(v:next_due()))
    end)
    assert.equal("asleep 1", said)
  end)

  it("runs beside the program's own tasks, and neither sees the other's time", function()
    local outer = loop.now()
    with_loop({}, function(v)
      local before = v:now()
      v:spawn(function() loop.sleep(1000) end)
      v:advance(1000000)
      assert.equal(1000, v:now() - before)
      loop.sleep(0.005)
      assert.equal(1000, v:now() - before)
    end)
    assert.is_true(loop.now() - outer < 5)
  end)

  it("hands out queue keys after their backoff on its own time", function()
    local said = with_loop({}, function(v, say)
      v:spawn(function()
        local queue, begin = work.queue(), loop.now()
        queue:add("k")
        for _ = 1, 4 do
          local key = queue:take()
          say(("%.3f"):format(loop.now() - begin))
          queue:retry(key)
          queue:done(key)
        end
      end)
      v:advance(1000)
    end)
    assert.equal("0.000; 0.005; 0.015; 0.035", said)
  end)

  it("draws the same chance from the same seed, and another from another", function()
    local function draw(seed)
      return with_loop({ seed = seed }, function(v, say)
        v:spawn(function() for _ = 1, 3 do say(("%.17g"):format(loop.random())) end end)
        v:settle()
      end)
    end
    assert.equal(draw(7), draw(7))
    assert.is_true(draw(7) ~= draw(8))
  end)

  it("takes the first in line of several tasks and timers, or whom the chooser names", function()
    local function run(choose)
      return with_loop({ choose = choose }, function(v, say)
        for _, name in ipairs { "a", "b", "c" } do
          v:spawn(function() say(name) loop.sleep(1) say(name .. "2") end)
        end
        v:advance(1000)
      end)
    end
    assert.equal("a; b; c; a2; b2; c2", run(nil))
    local asked = {}
    assert.equal("c; b; a; c2; b2; a2", run(function(what, count)
      asked[what] = math.max(asked[what] or 0, count)
      return what == "task" and count or 1
    end))
    assert.equal(3, asked.task)
    assert.equal(3, asked.timer)
  end)

  it("says when it goes in circles in place of hanging", function()
    with_loop({}, function(v)
      v:spawn(function() while true do loop.sleep(0) end end)
      local ok, why = pcall(v.advance, v, 1)
      assert.is_false(ok)
      assert.matches("virtual time stands still", why)
    end)
  end)

  it("refuses what has to do with the machine", function()
    local said = with_loop({}, function(v, say)
      v:spawn(function()
        for _, call in ipairs { function() http.request { url = "http://127.0.0.1:1/" } end, function() process.run { argv = { "true" } } end,
          function() http.serve { address = "127.0.0.1:0", handler = print } end, function() loop.on_signal("USR1", print) end,
          function() loop.watch_path("/tmp", print) end, function() kube.open {} end } do
          local ok, why = pcall(call)
          say(not ok and why:match("[%w_.]+: there is no such thing on virtual time") and "refused" or tostring(why))
        end
      end)
      v:settle()
    end)
    assert.equal(("refused; "):rep(6), said .. "; ")
  end)

  it("is not closed by a call into it", function()
    local v = loop.virtual {}
    local ok, why = pcall(v.call, v, function() v:close() end)
    assert.is_false(ok)
    assert.matches("cannot be run or closed from inside itself", why)
    assert.truthy(v:call(loop.now))
    v:close()
  end)

  it("may end the task that runs it: that one goes on to its next wait", function()
    local v, said, outer = loop.virtual {}, {}, nil
    outer = loop.spawn(function()
      v:spawn(function() outer:cancel() end)
      v:settle()
      said[#said + 1] = "went on"
      loop.sleep(0.01)
      said[#said + 1] = "slept"
    end)
    assert.is_false((outer:join()))
    assert.same({ "went on" }, said)
    v:close()
  end)

  it("leaves nothing behind when it is closed: tasks end, their <close> variables run, what it opened raises", function()
    local closed, queue = false, nil
    local v = loop.virtual {}
    local task = v:spawn(function()
      queue = work.queue()
      local _ <close> = setmetatable({}, { __close = function() closed = true end })
      loop.sleep(10)
    end)
    v:settle()
    v:close()
    assert.is_true(closed and task:done())
    local ok, why = pcall(queue.add, queue, "k")
    assert.is_false(ok)
    assert.matches("gone with its realm", why)
    ok, why = pcall(v.settle, v)
    assert.is_false(ok)
    assert.matches("was closed", why)
    v:close()
  end)

  it("is not run or closed from inside itself", function()
    local said = with_loop({}, function(v, say)
      v:spawn(function()
        for _, name in ipairs { "settle", "advance", "close" } do
          local ok, why = pcall(v[name], v, 1)
          say(not ok and why:match("from inside itself") or "it was")
        end
      end)
      v:settle()
    end)
    assert.equal("from inside itself; from inside itself; from inside itself", said)
  end)

  it("works beside another one that is run from a task of the first", function()
    local said = with_loop({}, function(outer, say)
      outer:spawn(function()
        local inner <close> = loop.virtual {}
        inner:spawn(function() loop.sleep(5) say("inner") end)
        inner:advance(5000)
        loop.sleep(1)
        say("outer")
      end)
      outer:advance(1000)
    end)
    assert.equal("inner; outer", said)
  end)

  it("loads a policy in the background at once", function()
    local said = with_loop({}, function(v, say)
      v:spawn(function()
        local generation = policy.load { files = { ["a.lua"] = "return { f = function(x) return x + 1 end }" }, background = true }
        say(tostring(generation:call("a", "f", 1)))
      end)
      v:settle()
    end)
    assert.equal("2", said)
  end)
end)

describe("a cluster in memory", function()
  it("carries method, path, query, content type and bytes as they are", function()
    local bytes = "{\"a\":1.50,\"z\":\"\\u00e9\"}\n"
    local seen
    with_loop({}, function(v, say)
      local cluster = open(v, function(request)
        seen = request
        return { status = 201, body = request.body, content_type = "application/json" }
      end)
      assert.equal("hub", cluster.namespace)
      v:spawn(function()
        local answer = cluster:request { method = "POST", path = "/api/v1/x%20y?one=1", query = { ["a b"] = "c&d=é" }, body = bytes,
          content_type = "application/apply-patch+yaml", accept = "application/json;as=Table" }
        say(answer.body)
        assert.equal(bytes, answer.body)
        assert.equal(201, answer.status)
      end)
      v:settle()
    end)
    assert.same({ method = "POST", path = "/api/v1/x%20y", query = { one = "1", ["a b"] = "c&d=é" }, body = bytes,
      content_type = "application/apply-patch+yaml", accept = "application/json;as=Table" }, seen)
  end)

  it("waits as Retry-After says, on virtual time, and tries again", function()
    local tries = 0
    local said = with_loop({}, function(v, say)
      local cluster = open(v, function()
        tries = tries + 1
        return tries < 3 and { status = 429, retry_after = 7, body = {} } or { body = {} }
      end)
      ask(v, say, cluster, { { method = "PATCH", path = "/x", body = "{}" } })
      v:advance(60000)
    end)
    assert.equal("14 200", said)
    assert.equal(3, tries)
  end)

  it("plays the faults of a network: no answer, a lost one, half of one, a late one, nobody there", function()
    local done = {}
    local said = with_loop({}, function(v, say)
      local cluster = open(v, function(request)
        done[#done + 1] = request.path
        if request.path == "/none" then return nil end
        if request.path == "/lost" then return { fault = "reset" } end
        if request.path == "/half" then return { body = "{\"a\":1}", cut = 3 } end
        if request.path == "/late" then return { body = {}, delay = 3.5 } end
        if request.path == "/slow" then loop.sleep(2) return { body = {} } end
        return { fault = "refused" }
      end)
      local requests = {}
      for i, path in ipairs { "/none", "/lost", "/half", "/late", "/slow", "/refused" } do
        requests[i] = { method = "PATCH", path = path, body = "{}", timeout = 10 }
      end
      ask(v, say, cluster, requests)
      v:advance(60000)
    end)
    assert.equal("10 timeout; 10 io; 10 io; 13.5 200; 15.5 200; 15.5 io", said)
    assert.equal("/none /lost /half /late /slow /refused", table.concat(done, " "))
  end)

  it("answers 500 when its handler fails or says something that is no answer", function()
    log.configure("error", "text")
    local said = with_loop({}, function(v, say)
      local cluster = open(v, function(request) return request.path == "/odd" and { stauts = 200 } or error({}) end)
      ask(v, say, cluster, { { method = "PUT", path = "/odd" }, { method = "PUT", path = "/fails" } })
      v:settle()
    end)
    assert.equal("0 500; 0 500", said)
  end)

  it("streams what its writer writes, when it is written, until either side ends it", function()
    local writer
    local said = with_loop({}, function(v, say)
      local cluster = open(v, function(request)
        return { stream = function(w)
          writer = w
          if request.path == "/now" then w:write("one") w:write("two") w:finish() end
        end }
      end)
      local function read(path, timeout)
        return v:spawn(function()
          local answer, _, kind = cluster:stream { path = path, timeout = timeout, on_bytes = function(bytes) say(bytes) end }
          say(path, answer and tostring(answer.status) or kind)
        end)
      end
      read("/now")
      v:settle()
      read("/later")
      v:advance(1000)
      assert.is_true(writer:write("three"))
      v:settle()
      assert.is_true(writer:is_open())
      writer:finish()
      v:settle()
      read("/broken")
      v:settle()
      writer:write("four")
      writer:reset()
      v:settle()
      read("/silent", 30)
      v:advance(30000)
      say(tostring(writer:write("nobody hears")))
      local task = read("/left")
      v:settle()
      task:cancel()
      say(tostring(writer:is_open()))
    end)
    assert.equal("onetwo; /now 200; three; /later 200; four; /broken io; /silent timeout; false; false", said)
  end)

  it("lets the chooser deliver answers in another order, by their names", function()
    local function run(choose)
      return with_loop({ choose = choose }, function(v, say)
        local cluster = open(v, function(request) return { body = { path = request.path } } end)
        for _, path in ipairs { "/a", "/b" } do ask(v, function() say(path) end, cluster, { { path = path } }) end
        v:settle()
      end)
    end
    local names = {}
    assert.equal("/a; /b", run(nil))
    assert.equal("/b; /a", run(function(what, count, list)
      if what == "network" then names[#names + 1] = table.concat(list, ", ") end
      return what == "network" and count or 1
    end))
    assert.equal("request GET /a, request GET /b", names[1])
  end)

  it("feeds a watch: list, events, a lost stream resumed where it stood, a list again when that is gone", function()
    local writer, asked, gone = nil, {}, false
    local function object(name, version)
      return { apiVersion = "v1", kind = "Pod", metadata = { name = name, namespace = "hub", uid = "u-" .. name, resourceVersion = version } }
    end
    local function event(type, name, version) return json.encode { type = type, object = object(name, version) } .. "\n" end
    local said = with_loop({}, function(v, say)
      local cluster = open(v, function(request)
        if request.query.watch then
          asked[#asked + 1] = "watch " .. request.query.resourceVersion
          if gone then
            gone = false
            return { status = 410, body = { kind = "Status", reason = "Expired", message = "too old", code = 410 } }
          end
          return { stream = function(w) writer = w end }
        end
        asked[#asked + 1] = "list"
        return { body = { kind = "PodList", apiVersion = "v1", metadata = { resourceVersion = "10" }, items = json.array { object("a", "5") } } }
      end)
      local watch
      v:spawn(function()
        watch = cluster:watch { path = "/api/v1/namespaces/hub/pods", api_version = "v1", kind = "Pod",
          on_change = function(key, change) say(change, key) end }
        watch:wait_synced()
        say("synced")
      end)
      v:settle()
      writer:write(event("ADDED", "b", "11"))
      v:settle()
      writer:reset()
      v:advance(2000)
      gone = true
      writer:finish()
      v:advance(20000)
      say(table.concat(watch:keys(), ","))
    end)
    assert.equal("added hub/a; synced; added hub/b; removed hub/b; hub/a", said)
    assert.equal("list, watch 10, watch 11, watch 11, list, watch 10", table.concat(asked, ", "))
  end)

  it("serves on the machine's time too", function()
    local cluster = kube.open { handler = function(request)
      loop.sleep(0.005)
      return { body = { path = request.path } }
    end }
    local tasks = {}
    for i = 1, 20 do tasks[i] = loop.spawn(function() return cluster:request { path = "/" .. i } end) end
    for i, task in ipairs(tasks) do
      local ok, answer = task:join()
      assert.is_true(ok)
      assert.equal('{"path":"/' .. i .. '"}', answer.body)
    end
  end)

  it("is not mixed up with a kubeconfig", function()
    for _, options in ipairs { { handler = print, kubeconfig = "x" }, { handler = print, context = "x" }, { namespace = "x" }, { handler = 5 } } do
      assert.is_false((pcall(kube.open, options)))
    end
  end)
end)
