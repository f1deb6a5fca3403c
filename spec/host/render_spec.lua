-- moonphase render: what the policies make of a file, without a cluster.

local SAMPLES = "crds/samples"

local function render(words, input)
  local argv = { process.env "MOONPHASE" or "build/moonphase", "render" }
  for _, word in ipairs(words) do argv[#argv + 1] = word end
  return assert(process.run { argv = argv, timeout = 20, input = input or "" })
end

local function samples()
  local words = {}
  for _, name in ipairs(assert(fs.list(SAMPLES))) do
    words[#words + 1] = "-f"
    words[#words + 1] = SAMPLES .. "/" .. name
  end
  return words
end

local function by_kind(text)
  local kinds = {}
  for _, object in ipairs(assert(yaml.decode(text, "render"))) do kinds[object.kind] = object end
  return kinds
end

it("prints the children of the samples as YAML, with namespace, owner and label", function()
  local result = render(samples())
  assert.equal(0, result.status, result.errors)
  local kinds = by_kind(result.output)
  for _, kind in ipairs { "Deployment", "Service", "Ingress" } do
    assert.is_not_nil(kinds[kind], kind)
    assert.equal("PhDeployment", kinds[kind].metadata.ownerReferences[1].kind)
    assert.is_not_nil(kinds[kind].metadata.namespace)
  end
end)

it("prints the same each time, and as JSON the same objects", function()
  local words = samples()
  local one = render(words).output
  assert.equal(one, render(words).output)
  words[#words + 1] = "-o"
  words[#words + 1] = "json"
  local count = 0
  for line in render(words).output:gmatch("[^\n]+") do
    assert.is_not_nil(json.decode(line).kind)
    count = count + 1
  end
  assert.equal(#assert(yaml.decode(one, "render")), count)
end)

it("reads JSON with what is beyond 16 bits as JSON writes it", function()
  local object = { apiVersion = "primehub.io/v1alpha1", kind = "PhDeployment", metadata = { name = "a", namespace = "hub" },
    spec = { displayName = "NAME", groupId = "g", predictors = json.array { { name = "p", modelImage = "i", instanceType = "t" } } } }
  local result = render({ "-f", "/dev/stdin" }, (json.encode(object):gsub("NAME", "\\ud83d\\ude00")))
  assert.contains("would be Failed", result.errors)
end)

it("says on standard error why an object would be Failed, status 1", function()
  local words = {}
  for _, name in ipairs(assert(fs.list(SAMPLES))) do
    if name:find "^phdeployment" then words = { "-f", SAMPLES .. "/" .. name } end
  end
  local result = render(words)
  assert.equal(1, result.status)
  assert.contains("would be Failed: Group not found", result.errors)
end)

describe("a file that is none ends with a sentence:", function()
  for input, sentence in pairs {
    ["5"] = "document 1 is no Kubernetes object", ["kind: Pod"] = "document 1 has no metadata.name",
    ["{kind: List, items: [{kind: PhDeployment}]}"] = "has no metadata.name",
    ["kind: [Pod"] = "line", ["kind: Pod\nmetadata: {name: x}"] = "hold no PhDeployment", [""] = "hold no PhDeployment",
  } do
    it((input:gsub("\n", " ")), function()
      local result = render({ "-f", "-" }, input)
      assert.equal(1, result.status)
      assert.contains(sentence, result.errors)
      assert.is_nil(result.errors:find("traceback", 1, true), result.errors)
    end)
  end

  it("one that is not there", function()
    local result = render { "-f", "/nonexistent.yaml" }
    assert.equal(1, result.status)
    assert.contains("/nonexistent.yaml", result.errors)
  end)
end)
