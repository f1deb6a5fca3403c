-- Schemas: what Go's decoder makes of built-in kinds, and what structural schemas make of custom ones. The questions about
-- custom ones are those of facts/ask.lua, whose answers a real Kubernetes 1.20.2 server gave (facts/record).

local apart = require "include" "spec/sandbox/apart.lua"
local ask = require "include" "spec/sandbox/facts/ask.lua"
local builtin = require "sandbox.schema.builtin"
local decode = require "sandbox.schema.decode"
local quantity = require "sandbox.schema.quantity"
local regexp = require "sandbox.schema.regexp"
local times = require "sandbox.schema.times"

local function decoded(kind, text, group, version)
  local clean, why = decode.check(builtin.node(group or "", version or "v1", kind), json.decode(text))
  return clean and json.encode(clean) or why
end

local function pod_spec(text)
  local clean, why = decode.check(builtin.definition("io.k8s.api.core.v1.PodSpec"), json.decode(text))
  return clean and json.encode(clean) or why
end

describe("a body of a built-in kind", function()
  it("loses fields that its type does not have, and nulls", function()
    assert.equal('{"data":{"a":"b"},"metadata":{"creationTimestamp":null,"name":"x"}}',
      decoded("ConfigMap", '{"metadata":{"name":"x","bogus":1,"labels":null},"data":{"a":"b"},"nope":[]}'))
  end)

  it("keeps the zero of a pointer and loses that of a plain field", function()
    assert.equal('{"containers":[{"name":"a","resources":{}}],"terminationGracePeriodSeconds":0}',
      pod_spec('{"containers":[{"name":"a","image":"","stdin":false,"env":[],"ports":null}],"hostNetwork":false,'
        .. '"terminationGracePeriodSeconds":0,"nodeSelector":{}}'))
  end)

  it("gets the structs that Go always writes", function()
    assert.equal('{"metadata":{"creationTimestamp":null},"spec":{"strategy":{},"template":{"metadata":{"creationTimestamp":null},'
      .. '"spec":{}}},"status":{}}', decoded("Deployment", '{"spec":{}}', "apps"))
  end)

  it("has canonical quantities and times", function()
    assert.equal('{"limits":{"cpu":"500m","memory":"1Gi"},"requests":{"cpu":"2"}}', json.encode(decode.check(
      builtin.definition("io.k8s.api.core.v1.ResourceRequirements"),
      json.decode '{"limits":{"cpu":0.5,"memory":"1024Mi"},"requests":{"cpu":"2000m"}}')))
    assert.equal('{"metadata":{"creationTimestamp":null},"spec":{"renewTime":"2026-01-01T10:00:00.120000Z"}}',
      decoded("Lease", '{"spec":{"renewTime":"2026-01-01T12:00:00.120000+02:00"}}', "coordination.k8s.io"))
  end)

  it("is refused with the way to the wrong type, in Go's names", function()
    assert.equal("v1.Deployment.Spec: v1.DeploymentSpec.Replicas: readUint32: unexpected character: \u{fffd}",
      decoded("Deployment", '{"spec":{"replicas":"x"}}', "apps"))
    assert.equal('v1.ConfigMap.ObjectMeta: v1.ObjectMeta.Labels: ReadString: expects " or n, but found 1',
      decoded("ConfigMap", '{"metadata":{"labels":{"a":1}}}'))
    assert.equal('v1.PodSpec.Containers: []v1.Container: v1.Container.Ports: []v1.ContainerPort: decode slice: expect [ or n, but found "',
      pod_spec '{"containers":[{"name":"a","ports":"x"}]}')
  end)

  it("is refused for numbers that do not fit", function()
    assert.contains("can not decode float as int", decoded("Deployment", '{"spec":{"replicas":1.5}}', "apps"))
    assert.contains("overflow", decoded("Deployment", '{"spec":{"replicas":3000000000}}', "apps"))
  end)

  it("is refused for what is no quantity, time or base64", function()
    assert.contains("quantities must match", decoded("ResourceQuota", '{"spec":{"hard":{"pods":"many"}}}'))
    assert.contains('cannot parse "x" as "2006"', decoded("Pod", '{"metadata":{"deletionTimestamp":"x"}}'))
    assert.contains("v1.Secret.Data: decode base64: illegal base64 data at input byte 0", decoded("Secret", '{"data":{"a":"%%%%"}}'))
  end)

  it("may say bytes one by one", function()
    assert.equal('{"data":{"a":"AQID","b":""},"metadata":{"creationTimestamp":null}}', decoded("Secret", '{"data":{"a":[1,2,3],"b":[]}}'))
    assert.contains("ReadUint8: overflow: 300", decoded("Secret", '{"data":{"a":[300]}}'))
    assert.contains("[]uint8: readUint32", decoded("Secret", '{"data":{"a":["x"]}}'))
  end)

  it("that is nested without end is refused, not followed", function()
    local node = builtin.node("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    local schema = { type = "object" }
    for _ = 1, 200 do schema = { type = "object", properties = { a = schema } } end
    local versions = json.array { { name = "v1", schema = { openAPIV3Schema = schema } } }
    local clean, why = decode.check(node, { spec = { versions = versions } })
    assert.equal(nil, clean)
    assert.contains("nested more than 100 deep", why)
  end)

  it("shares nothing with what came in", function()
    local given = json.decode '{"metadata":{"name":"x","labels":{"a":"b"}},"data":{"k":"v"}}'
    local clean = decode.check(builtin.node("", "v1", "ConfigMap"), given)
    clean.metadata.labels.a, clean.data.k = "changed", "changed"
    assert.equal("b", given.metadata.labels.a)
    assert.equal("v", given.data.k)
  end)
end)

describe("an object that is all zeros", function()
  local recorded = assert(json.decode(assert(fs.read "spec/sandbox/facts/answers.json")))
  for _, kind in ipairs(ask.ZEROS) do
    it("keeps of a " .. kind[3] .. " what Go's types keep", function()
      local clean = assert(decode.check(builtin.node(table.unpack(kind)), ask.zeros(table.unpack(kind))))
      assert.equal(json.encode(recorded["zeros: " .. kind[3]]), json.encode(ask.without_env(clean)))
    end)
  end
end)

describe("quantities", function()
  it("are written as the server writes them", function()
    for text, wanted in pairs { ["0.5"] = "500m", ["1000m"] = "1", ["1024Mi"] = "1Gi", ["1500Mi"] = "1500Mi", ["1.5Gi"] = "1536Mi",
      ["1e3"] = "1e3", ["12e6"] = "12e6", ["0.1Ki"] = "102400m", ["0.5Ki"] = "512", ["1000k"] = "1M", ["+1"] = "1",
      ["-1500m"] = "-1500m", ["0.0000000001"] = "1n", ["0"] = "0", [".5"] = "500m", ["1."] = "1" } do
      assert.equal(wanted, quantity.canonical(text), text)
    end
  end)
  it("that are none are refused", function()
    for _, text in ipairs { "x", "", "1Zi", "1 Gi", "--1", "1e" } do assert.equal(nil, quantity.canonical(text), text) end
  end)
end)

describe("times", function()
  it("become UTC, with the digits of their type", function()
    assert.equal("2020-03-01T04:00:00Z", times.seconds "2020-02-29T23:00:00.9-05:00")
    assert.equal("2019-12-31T22:00:00.123000Z", times.micro "2020-01-01T00:00:00.123000+02:00")
  end)
  it("with microseconds have six digits of them", function()
    for _, rest in ipairs { "Z", ".5Z", ".1234567Z", ".12345+01:00" } do
      local text, why = times.micro("2020-01-01T00:00:00" .. rest)
      assert.equal(nil, text)
      assert.contains(('cannot parse "%s" as ".000000"'):format(rest), why)
    end
  end)
  it("that no calendar has are refused", function()
    for _, text in ipairs { "2021-02-29T00:00:00Z", "2020-13-01T00:00:00Z", "2020-01-00T00:00:00Z", "2020-01-01T24:00:00Z",
      "2020-01-01" } do
      assert.equal(nil, (times.seconds(text)), text)
    end
  end)
end)

describe("patterns", function()
  it("match as Go's do", function()
    for _, one in ipairs {
      { "^a$", "a", true }, { "^a$", "a\n", false }, { "^(a|b)*c$", "ababc", true }, { "(?i)^[a-z]+$", "A", true },
      { "^\\d{2,3}$", "1234", false }, { "\\bfoo\\b", "afoo", false }, { "^.$", "é", true }, { "^[[:alpha:]_]+$", "a_b", true },
      { "^[]a]$", "]", true }, { "^a(?i)b$", "aB", true }, { "^(a(?i))b$", "aB", false }, { "(a*)*$", "b", true },
      { "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$", "* * * * */5", true }, { "", "x", true },
    } do
      assert.equal(one[3], regexp.matches(one[1], one[2]), one[1])
    end
  end)
  it("take time by their length, not by what they repeat", function()
    local started = loop.now()
    assert.equal(true, regexp.matches("^(a?){40}a{40}$", ("a"):rep(40)))
    assert.equal(false, regexp.matches("^(a+)+$", ("a"):rep(2000) .. "b"))
    assert.equal(true, loop.now() - started < 2)
  end)
  it("that are none are told of in Go's words", function()
    local _, why = regexp.compile "["
    assert.equal("error parsing regexp: missing closing ]: `[`", why)
    _, why = regexp.compile("(" .. ("a{1000}"):rep(30) .. "){1000}")
    assert.contains("too large", why)
  end)
end)

-- One test for each question: what a real server answered must come from the sandbox.
describe("a custom resource as on a real server", function()
  local recorded = assert(json.decode(assert(fs.read "spec/sandbox/facts/answers.json")))
  local answers

  local function ours(label)
    if not answers then
      local server = apart.new()
      answers = ask.values(function(...) return server:ask(...) end, function() end)
    end
    return answers[label]
  end

  local labels = {}
  for label in pairs(recorded) do
    local about = label:match("^(%l+): ")
    if about ~= "schema" and about ~= "definition" and about ~= "zeros" and about ~= "request" then labels[#labels + 1] = label end
  end
  table.sort(labels)
  for _, label in ipairs(labels) do
    it(label, function() assert.equal(json.encode(recorded[label]), json.encode(ours(label) or json.null)) end)
  end
end)
