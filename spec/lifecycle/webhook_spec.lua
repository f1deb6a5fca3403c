-- The door of quota admission: its certificate and configuration, and callers who mean no good.

local include = require "include"
local guard = require "guard"
local harness = include "spec/lifecycle/harness.lua"
local leader = require "leader"
local policies = require "policies"
local reviewed = include "spec/lifecycle/reviewed.lua"
local start = require "webhook.start"
local pod, create, ask, post = reviewed.pod, reviewed.create, reviewed.ask, reviewed.post

local DAY = 86400

local function live_webhook(world)
  local object = reviewed.configuration(world)
  return object and object.webhooks and object.webhooks[1], object
end

local function write_pair(world, name, pair)
  assert(fs.write(world.folder .. "/" .. name .. ".crt", pair.cert))
  assert(fs.write(world.folder .. "/" .. name .. ".key", pair.key))
  assert(fs.write(world.folder .. "/" .. name .. ".ca", pair.authority))
end

local function make_pair(names, life)
  local now = loop.wall_ms() // 1000
  return assert(certificate.make { subject = "spec", names = names or { "127.0.0.1" }, not_before = now - 60, not_after = now + (life or DAY) })
end

describe("The webhook's configuration", function()
  it("is made whole, with a certificate of one year that it stands for", function()
    reviewed.with({}, function(world)
      local webhook = live_webhook(world)
      assert.equal("Fail", webhook.failurePolicy)
      assert.same({ matchExpressions = { { key = "primehub.io/group", operator = "Exists" } } }, webhook.objectSelector)
      assert.is_nil(next(webhook.namespaceSelector))
      assert.equal("NoneOnDryRun", webhook.sideEffects)
      local data, now = reviewed.secret(world), loop.wall_ms() // 1000
      assert.equal(data["ca.crt"], base64.decode(webhook.clientConfig.caBundle))
      assert.is_true(certificate.check { cert = data["tls.crt"], key = data["tls.key"], authorities = data["ca.crt"], name = "127.0.0.1", now = now })
      local life = certificate.read(data["tls.crt"]).not_after - now
      assert.is_true(life > 364 * DAY and life <= 365 * DAY)
    end)
  end)

  it("is put right when somebody spoils caBundle, failurePolicy or a selector, or deletes it", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local path = reviewed.CONFIGURATION .. "/moonphase-" .. world.cluster.namespace
      local function spoil(change)
        local _, object = live_webhook(world)
        change(object.webhooks[1])
        assert.equal(200, world.cluster:request({ method = "PUT", path = path, body = object }).status)
      end
      local before = live_webhook(world)
      local function is_right(what)
        harness.eventually(what .. " is put right", 5, function() return json.equal(live_webhook(world) or {}, before) end)
      end
      spoil(function(webhook) webhook.clientConfig.caBundle = base64.encode(make_pair().authority) end)
      is_right("the bundle")
      spoil(function(webhook) webhook.failurePolicy = "Ignore" end)
      is_right("the failure policy")
      spoil(function(webhook) webhook.namespaceSelector = { matchLabels = { never = "there" } } end)
      is_right("the selector")
      assert.equal(200, world.cluster:request({ method = "DELETE", path = path }).status)
      is_right("the whole")
      harness.eventually("it still refuses", 5, function()
        local answer = create(world, pod(world, "big", { cpu = "2" }), { dryRun = "All" })
        return answer.message:find("exceeded cpu quota", 1, true) ~= nil, answer.message
      end)
    end)
  end)

  it("goes when the operator is switched off, so that pods can be created, and comes back when it is switched on", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      assert.contains("exceeded cpu quota", create(world, pod(world, "big", { cpu = "2" })).message)
      assert.equal(0, world:stop_operator())
      assert.contains("failed calling webhook", create(world, pod(world, "nobody-answers", { cpu = "1" })).message)
      world:start_operator { words = world.words, env = { PRIMEHUB_FEATURE_MODEL_DEPLOYMENT = "false" } }
      harness.eventually("a pod can be created", 10, function()
        local answer = create(world, pod(world, "big", { cpu = "2" }))
        return answer.status == 201, answer.message
      end)
      local ready = world:ask_operator("/readyz")
      assert.equal(200, ready.status)
      assert.contains("switched off", ready.body)
      assert.is_nil(live_webhook(world))
      world:stop_operator()
      world:start_operator { words = world.words }
      reviewed.ready(world)
      harness.eventually("the quota bounds again", 5, function()
        local answer = create(world, pod(world, "more", { cpu = "1" }), { dryRun = "All" })
        return answer.message:find("exceeded cpu quota: 1, requesting 1, used: 2", 1, true) ~= nil, answer.message
      end)
    end)
  end)

  it("is not written while all is right", function()
    reviewed.with({}, function(world)
      loop.sleep(1)
      local _, before = live_webhook(world)
      loop.sleep(4)
      local _, after = live_webhook(world)
      assert.equal(before.metadata.resourceVersion, after.metadata.resourceVersion)
    end)
  end)
end)

-- A webhook in this process, whose certificates live shortly.
local function with_short_lives(world, options, body)
  local generation, settings = policies.load("policies", nil)
  assert(generation, settings)
  local policy = guard.new(generation, "phdeployment")
  local webhook = assert(start.start { cluster = world.cluster, policy = function() return policy end, settings = function() return settings end,
    namespaces = { world.namespace }, catalog_namespace = world.namespace, operator_namespace = world.cluster.namespace,
    address = "127.0.0.1:" .. world.port, url = "https://127.0.0.1:" .. world.port .. "/quota", leader = leader.alone(),
    parent_label = "primehub.io/phdeployment", created = function() return nil end, deployments = function() return {} end,
    template = function() return nil end, wanted = function() return 0 end, count_deployments = function() return nil end,
    on_trouble = function() end, life = options.life, settle = options.settle })
  local ok, failure = xpcall(body, require "where", webhook)
  webhook:drain(1)
  webhook:stop()
  if not ok then error(failure, 0) end
end

describe("The webhook's certificate", function()
  it("is rotated while pods are created, and not one creation meets a certificate that nobody stands for", function()
    harness.with({ operator = false }, function(world)
      reviewed.forget(world)
      world.port = reviewed.free_port()
      -- two thirds of a certificate's life are over 4 s after it was made
      with_short_lives(world, { life = 156, settle = 1 }, function()
        harness.eventually("the webhook answers", 20, function() return reviewed.configuration(world) ~= nil end)
        harness.eventually("pods are admitted", 10, function()
          return create(world, pod(world, "first", { cpu = "1" }), { dryRun = "All" }).status == 201
        end)
        local seen, count, rotations, failures, deadline = {}, 0, 0, {}, loop.now() + 22
        while loop.now() < deadline do
          count = count + 1
          local answer, why = create(world, pod(world, "p" .. count, { cpu = "1" }), { dryRun = "All" })
          if not answer or answer.status ~= 201 then failures[#failures + 1] = why or answer.message end
          -- a caller that knows nothing but the bundle
          local bundle = base64.decode(live_webhook(world).clientConfig.caBundle)
          local direct, trouble = post(world, reviewed.review(world.namespace, pod(world, "d" .. count, {}), { dryRun = true }), { ca = bundle })
          if not direct or direct.status ~= 200 then failures[#failures + 1] = trouble or direct.body end
          local shown = certificate.read(reviewed.secret(world)["tls.crt"]).fingerprint
          if not seen[shown] then seen[shown], rotations = true, rotations + 1 end
        end
        assert.equal(0, #failures, failures[1])
        assert.is_true(rotations >= 3, rotations .. " certificates in 22 s")
        assert.is_true(count >= 50, "only " .. count .. " creations")
      end)
      reviewed.forget(world)
    end)
  end)

  it("is made anew when its Secret is deleted or spoilt", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local path = "/api/v1/namespaces/" .. world.cluster.namespace .. "/secrets/moonphase-webhook"
      local first = reviewed.secret(world)["tls.crt"]
      local function refuses_again(what)
        harness.eventually("reviews are answered after the Secret was " .. what, 15, function()
          local answer = create(world, pod(world, "big", { cpu = "2" }), { dryRun = "All" })
          return answer.message:find("exceeded cpu quota", 1, true) ~= nil, answer.message
        end)
      end
      assert.equal(200, world.cluster:request({ method = "DELETE", path = path }).status)
      harness.eventually("there is another", 10, function()
        local answer = world.cluster:request { path = path }
        return answer.status == 200 and reviewed.secret(world)["tls.crt"] ~= first
      end)
      refuses_again("deleted")
      local second = reviewed.secret(world)["tls.crt"]
      world.cluster:request { method = "PATCH", path = path, content_type = "application/merge-patch+json",
        body = { data = { ["tls.key"] = base64.encode("nonsense") } } }
      harness.eventually("there is another", 10, function() return reviewed.secret(world)["tls.crt"] ~= second end)
      refuses_again("spoilt")
    end)
  end)

  it("can be given as files, which are read again when they change; a pair that does not fit is passed over", function()
    local one, two = make_pair(), make_pair()
    harness.with({ operator = false }, function(world)
      reviewed.forget(world)
      world.port = reviewed.free_port()
      write_pair(world, "web", one)
      local files = world.folder .. "/web"
      world:start_operator { words = { "--webhook-addr", "127.0.0.1:" .. world.port, "--webhook-cert", files .. ".crt", "--webhook-key",
        files .. ".key", "--webhook-ca", files .. ".ca" } }
      reviewed.ready(world)
      assert.equal(one.authority, base64.decode(live_webhook(world).clientConfig.caBundle))
      assert(post(world, "{}", { ca = one.authority }))
      assert(fs.write(files .. ".crt", two.cert)) -- the key is still the old one
      loop.sleep(12)
      assert(post(world, "{}", { ca = one.authority }))
      write_pair(world, "web", two)
      harness.eventually("the new pair is shown and registered", 25, function()
        local answer, why = post(world, "{}", { ca = two.authority })
        return answer ~= nil and base64.decode(live_webhook(world).clientConfig.caBundle) == two.authority, why
      end)
      world:stop_operator()
      reviewed.forget(world)
    end)
  end)
end)

describe("A caller", function()
  it("without a certificate of --webhook-client-ca is refused in an answer, and reserves nothing", function()
    local clients, others = make_pair { "api-server" }, make_pair { "somebody" }
    local path = "/tmp/moonphase-client-ca-" .. process.id
    assert(fs.write(path, clients.authority))
    reviewed.with({ quota = { cpu = "2" }, words = { "--webhook-client-ca", path } }, function(world)
      local known = { cert = clients.cert, key = clients.key }
      for i, stranger in ipairs { {}, { cert = others.cert, key = others.key } } do
        local response = ask(world, pod(world, "stranger-" .. i, { cpu = "1" }), nil, stranger)
        assert.is_false(response.allowed)
        assert.equal(401, response.status.code)
      end
      assert.is_true(ask(world, pod(world, "one", { cpu = "1" }), nil, known).allowed)
      assert.is_true(ask(world, pod(world, "two", { cpu = "1" }), nil, known).allowed)
      assert.equal(403, ask(world, pod(world, "three", { cpu = "1" }), nil, known).status.code)
      -- this API server shows none
      assert.contains("the caller is not known", create(world, pod(world, "real", { cpu = "1" })).message)
    end)
    fs.remove(path)
  end)

  it("that is known may ask a replica that does not lead, which shows the leader its own certificate", function()
    local clients = make_pair { "api-server" }
    local path = "/tmp/moonphase-client-ca-" .. process.id
    assert(fs.write(path, clients.authority))
    local words = { "--leader-elect", "--lease", "webhook-spec", "--webhook-client-ca", path }
    reviewed.with({ quota = { cpu = "1" }, words = words }, function(world)
      reviewed.start_second(world, words)
      local known = { cert = clients.cert, key = clients.key }
      harness.eventually("the standby hands reviews on", 10, function()
        local response = ask(world, pod(world, "probe", { cpu = "1" }), { dryRun = true }, known)
        return response.allowed, response
      end)
      assert.equal(401, ask(world, pod(world, "stranger", { cpu = "1" })).status.code)
      assert.is_true(ask(world, pod(world, "one", { cpu = "1" }), nil, known).allowed)
      assert.equal(403, ask(world, pod(world, "two", { cpu = "1" }), nil, known).status.code)
    end)
    fs.remove(path)
  end)

  it("that sends nonsense is told so, and harms nobody", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local deep = ("["):rep(100000)
      local function shaped(change)
        local body = reviewed.review(world.namespace, pod(world, "odd", { cpu = "1" }), { dryRun = true })
        change(body.request, body)
        return body
      end
      for _, body in ipairs { "", "{", "[]", "null", "17", deep, "\xff\xfe{}", '{"kind":"AdmissionReview"}',
        '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}',
        '{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview","request":{"uid":"a"}}',
        '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":["a"]}}',
        '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"' .. ("u"):rep(5000) .. '"}}' } do
        local answer = assert(post(world, body))
        assert.equal(400, answer.status, body:sub(1, 80))
      end
      for name, change in pairs {
        ["resources that are no map"] = function(r) r.object.spec.containers[1].resources = "many" end,
        ["limits that are no map"] = function(r) r.object.spec.containers[1].resources = { limits = json.array { "1" } } end,
        ["an amount that is none"] = function(r) r.object.spec.containers[1].resources.limits.cpu = "a lot" end,
        ["an amount below zero"] = function(r) r.object.spec.containers[1].resources.limits.cpu = "-1" end,
        ["an amount that is a map"] = function(r) r.object.spec.containers[1].resources.limits.cpu = {} end,
        ["containers that are a map"] = function(r) r.object.spec.containers = { a = { resources = { limits = { cpu = "9" } } } } end,
        ["too much to look at"] = function(r)
          for i = 1, 30000 do r.object.spec.containers[1].resources.limits["example.com/r" .. i] = "1" end
        end,
      } do
        local answer = assert(post(world, shaped(change)))
        assert.equal(200, answer.status, name .. ": " .. answer.body)
        local response = json.decode(answer.body).response
        -- what is no array has no containers, and asks for nothing
        if name ~= "containers that are a map" then assert.is_false(response.allowed, name) end
        assert.equal("r-odd", response.uid, name)
      end
      assert.equal(413, assert(post(world, ("x"):rep(8 << 20))).status)
      assert.equal(405, http.request({ url = "https://127.0.0.1:" .. world.port .. "/quota", insecure = true }).status)
      assert.equal(404, http.request({ url = "https://127.0.0.1:" .. world.port .. "/metrics", insecure = true }).status)
      assert.is_true(ask(world, pod(world, "elsewhere", { cpu = "9" }), { namespace = "not-served" }).allowed)
      assert.is_true(ask(world, pod(world, "update", { cpu = "9" }), { operation = "UPDATE" }).allowed)
      assert.is_true(ask(world, pod(world, "binding", { cpu = "9" }), { subResource = "binding" }).allowed)
      assert.equal(201, create(world, pod(world, "good", { cpu = "1" })).status)
    end)
  end)

  it("that speaks admission.k8s.io/v1beta1 is answered in it", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local body = reviewed.review(world.namespace, pod(world, "old", { cpu = "2" }))
      body.apiVersion = "admission.k8s.io/v1beta1"
      local answer = json.decode(assert(post(world, body)).body)
      assert.equal("admission.k8s.io/v1beta1", answer.apiVersion)
      assert.is_false(answer.response.allowed)
    end)
  end)

  it("that sends a review a byte at a time is shown out; others are served meanwhile", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local drip = "(printf 'POST /quota HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 1000000\\r\\n\\r\\n'; while printf x; do sleep 0.2; done) "
        .. "| openssl s_client -quiet -connect 127.0.0.1:$0 2>/dev/null; echo closed"
      local callers = {}
      for i = 1, 10 do callers[i] = assert(process.spawn { argv = { "sh", "-c", drip, tostring(world.port) } }) end
      loop.sleep(1)
      for i = 1, 20 do
        local began = loop.now()
        assert.equal(201, create(world, pod(world, "p" .. i, { cpu = "1" }), { dryRun = "All" }).status)
        assert.is_true(loop.now() - began < 2)
      end
      for i, caller in ipairs(callers) do
        harness.eventually("caller " .. i .. " is shown out", 25, function() return caller:output():find("closed", 1, true) ~= nil end)
      end
    end)
  end)

  it("that opens connections and says nothing is shown out; others are served meanwhile", function()
    reviewed.with({ quota = { cpu = "1" } }, function(world)
      local script = 'for i in $(seq 300); do exec {fd}<>/dev/tcp/127.0.0.1/$0; fds="$fds $fd"; done; echo open; '
        .. 'for fd in $fds; do cat <&$fd >/dev/null; done; echo closed'
      local silent = assert(process.spawn { argv = { "bash", "-c", script, tostring(world.port) } })
      harness.eventually("they are connected", 10, function() return silent:output():find("open", 1, true) ~= nil end)
      for i = 1, 20 do
        local began = loop.now()
        assert.equal(201, create(world, pod(world, "p" .. i, { cpu = "1" }), { dryRun = "All" }).status)
        assert.is_true(loop.now() - began < 2)
      end
      harness.eventually("they are shown out", 25, function() return silent:output():find("closed", 1, true) ~= nil end)
    end)
  end)
end)
