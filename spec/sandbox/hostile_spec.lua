-- Requests that nobody should send: whatever comes in, an answer goes out, and the world stands.

local apart = require "include" "spec/sandbox/apart.lua"
local requests = require "include" "spec/sandbox/facts/requests.lua"

local api = require "sandbox.api"
local protobuf = require "sandbox.api.protobuf"
local registry = require "sandbox.registry"
local world = require "sandbox.world"

local NS = "/api/v1/namespaces/hub"
local w, server

local function ask(method, path, body, content_type, query)
  return server:handle { method = method, path = path, query = query or {}, body = body, content_type = content_type, accept = "*/*",
    user_agent = "" }
end

before_each(function()
  w = world.new { seed = 1 }
  server = api.new { world = w, registry = registry.new(w) }
  assert.equal(201, ask("POST", "/api/v1/namespaces", '{"metadata":{"name":"hub"}}').status)
end)

-- A message of protobuf: field NUMBER with TEXT.
local function field(number, text)
  local length, bytes = #text, ""
  repeat
    bytes = bytes .. string.char(length & 0x7F | (length > 0x7F and 0x80 or 0))
    length = length >> 7
  until length == 0
  return string.char(number << 3 | 2) .. bytes .. text
end

local function envelope(version, kind, message)
  return "k8s\0" .. field(1, field(1, version) .. field(2, kind)) .. field(2, message)
end

local MAP = envelope("v1", "ConfigMap", field(1, field(1, "a") .. field(11, field(1, "l") .. field(2, "m")))
  .. field(2, field(1, "k") .. field(2, "v")))

describe("a body in protobuf", function()
  it("is read as the same object in JSON would be", function()
    local answer = ask("POST", NS .. "/configmaps", MAP, "application/vnd.kubernetes.protobuf")
    local object = json.decode(answer.body)
    assert.equal(201, answer.status, answer.body)
    assert.equal("a m v", table.concat({ object.metadata.name, object.metadata.labels.l, object.data.k }, " "))
  end)

  it("of a kind that is not known to us that way is refused as unknown media", function()
    assert.equal(415, ask("POST", NS .. "/configmaps", envelope("v1", "Nonsense", ""), "application/vnd.kubernetes.protobuf").status)
  end)

  it("that is cut or twisted never raises", function()
    for length = 0, #MAP - 1 do protobuf.decode(MAP:sub(1, length), "ConfigMap") end
    local seed = 7
    for _ = 1, 3000 do
      seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
      local at = seed % #MAP + 1
      protobuf.decode(MAP:sub(1, at - 1) .. string.char(seed >> 8 & 0xFF) .. MAP:sub(at + 1), "ConfigMap")
    end
    local value, why = protobuf.decode("k8s\0\10\255\255\255\255\255\255\255\255\127", "ConfigMap")
    assert.is_nil(value)
    assert.equal("a field is longer than its message", why)
  end)
end)

describe("a twisted request", function()
  local BODIES = {
    { "POST", "/configmaps", '{"metadata":{"name":"%s","labels":{"a":"b"},"finalizers":["a.b/c"]},"data":{"k":"v"}}' },
    { "POST", "/pods", '{"metadata":{"name":"%s"},"spec":{"containers":[{"name":"a","image":"b","ports":[{"containerPort":1}],"env":'
      .. '[{"name":"A","value":"B"}],"resources":{"limits":{"cpu":"1"}}}],"tolerations":[{"key":"a"}],"volumes":[{"name":"v"}]}}' },
    { "POST", "/services", '{"metadata":{"name":"%s"},"spec":{"ports":[{"port":80,"targetPort":"x"}],"selector":{"a":"b"}}}' },
    { "PATCH", "/configmaps/m1", '{"metadata":{"finalizers":["a.b/c"],"ownerReferences":[{"name":"a","uid":"u"}]},"data":{"k":"w"}}' },
    { "PUT", "/configmaps/m1", '{"metadata":{"name":"m1","resourceVersion":"3"},"data":{"k":"x"}}' },
    { "DELETE", "/configmaps/m2", '{"preconditions":{"uid":"u"},"propagationPolicy":"Foreground","gracePeriodSeconds":3}' },
  }
  local TYPES = { "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json",
    "application/json-patch+json", "application/apply-patch+yaml", "application/yaml", "", "\0", "application/vnd.kubernetes.protobuf" }
  local VALUES = { json.null, true, 0, -1, 1.5, "", "x", json.array {}, {}, json.array { 1 }, { a = 1 }, json.array { json.null } }

  local function twisted(value)
    if w:random(25) == 1 then return VALUES[w:random(#VALUES)] end
    if type(value) ~= "table" then return value end
    local copy = setmetatable({}, getmetatable(value))
    for key, inner in pairs(value) do copy[key] = twisted(inner) end
    return copy
  end

  it("is answered by a status, never by a failure of ours", function()
    local counts = {}
    for at = 1, 3000 do
      local one = BODIES[w:random(#BODIES)]
      local body = json.encode(twisted(json.decode((one[3]:gsub("%%s", "m" .. at % 50)))))
      if w:random(10) == 1 then body = body:sub(1, w:random(#body)) end
      local query = w:random(5) == 1 and { dryRun = "All", fieldManager = "x", force = "true", limit = "x" } or { fieldManager = "m" }
      local content_type = TYPES[w:random(3) > 1 and (one[1] == "PATCH" and 2 or 1) or w:random(#TYPES)]
      local answer = ask(one[1], NS .. one[2], body, content_type, query)
      assert.is_true(math.type(answer.status) == "integer" and answer.status >= 200, "a status")
      assert.is_nil(answer.body:find("the sandbox failed", 1, true), answer.body)
      counts[answer.status] = (counts[answer.status] or 0) + 1
    end
    for _, status in ipairs { 200, 201, 400, 404, 409, 415, 422 } do
      assert.is_true((counts[status] or 0) > 0, "some get " .. status)
    end
  end)

  it("is answered as a real server answers it", function()
    local recorded = assert(json.decode(assert(fs.read "spec/sandbox/facts/answers.json")))
    local one, wrong = apart.new(), {}
    local made = requests.answers(function(method, path, body, content_type, accept)
      return one:ask(method, path, body, { content_type = content_type, accept = accept })
    end)
    for label in pairs(recorded) do
      if label:find "^request: " then made[label] = made[label] or "is asked no more: run spec/sandbox/facts/record" end
    end
    for label, answer in pairs(made) do
      local expected, got = json.encode(recorded[label] or json.null), json.encode(answer)
      if expected ~= got then wrong[#wrong + 1] = ("%s\n  expected %s\n  got      %s"):format(label, expected, got) end
    end
    assert.equal("", table.concat(wrong, "\n"))
  end)

  it("with bytes that are no UTF-8 is refused for what it asks, and they come back as U+FFFD", function()
    local maps = NS .. "/configmaps"
    local cut = "{" .. ("a"):rep(28) .. "\u{E4}" -- a message shows the first 30 bytes of it, and so half of a letter
    for _, one in ipairs { { 400, "POST", maps, "\xFF{" }, { 400, "PUT", maps .. "/m", "\u{FEFF}{}" }, { 500, "DELETE", maps .. "/m", "\xFF" },
      { 400, "POST", maps, cut }, { 404, "GET", maps .. "/%ff" },
      { 400, "GET", maps, query = { labelSelector = "\xFF" } }, { 400, "GET", maps, query = { limit = "\xFF" } },
      { 422, "POST", maps, "{}", query = { dryRun = "\xFF" } } } do
      local answer = ask(one[2], one[3], one[4] or "", "application/json", one.query)
      assert.equal(one[1], answer.status, answer.body)
      assert.is_nil(answer.body:find("the sandbox failed", 1, true), answer.body)
    end
    assert.matches("\u{FFFD}", ask("GET", maps .. "/%ff").body)
  end)

  it("of empty YAML is read as null", function()
    for _, body in ipairs { "", "---\n", "# nothing\n" } do
      assert.equal(422, ask("POST", NS .. "/configmaps", body, "application/yaml").status) -- without a name
    end
  end)

  it("for a path of any form is answered too", function()
    for _, path in ipairs { "", "/", "//", "/api", "/api/", "/api/v1/", "/apis/", "/apis/apps", "/apis/apps/v1/x/y/z/a/b/c",
      "/api/v1/namespaces//",
      "/api/v1/namespaces/hub/configmaps/a%2Fb", "/api/v1/namespaces/hub/configmaps/%", "/api/v1/%00/x", "/api/v1/watch", "/openapi/v9" } do
      for _, method in ipairs { "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "FOO" } do
        local answer = ask(method, path, "{}", "application/json")
        assert.is_nil(answer.body and answer.body:find("the sandbox failed", 1, true), method .. " " .. path)
      end
    end
  end)
end)
