-- World files: what may stand in one, and the sentence for what may not.

local scene = require "sandbox.scene"
local images = require "sandbox.controllers.images"

local function refusal(text)
  local found, why = scene.parse(text, "world.yaml")
  assert.is_nil(found)
  return why
end

local function read(text) return assert(scene.parse(text, "world.yaml")) end

describe("a world file", function()
  it("may be missing or empty: one node, and every image runs", function()
    for _, one in ipairs { assert(scene.check(nil)), read "", read "# nothing\n" } do
      assert.equal("node-1", one.nodes[1].name)
      assert.equal("16", one.nodes[1].capacity.cpu)
      assert.is_nil(one.images.patterns[1])
      assert.is_true(one.events)
    end
  end)

  it("names nodes with room, labels and taints, also several alike", function()
    local one = read [[
nodes:
- name: big
  capacity: {cpu: 64, memory: 256Gi, nvidia.com/gpu: 8}
  labels: {zone: a, rank: 1}
  taints: [{key: gpu, value: "yes", effect: NoSchedule}]
  unschedulable: true
- {name: small, count: 3, capacity: {cpu: 500m}}
- plain
]]
    assert.equal(5, #one.nodes)
    assert.same({ cpu = "64", memory = "256Gi", ["nvidia.com/gpu"] = "8", pods = "110" }, one.nodes[1].capacity)
    assert.same({ zone = "a", rank = "1" }, one.nodes[1].labels)
    assert.equal("small-3", one.nodes[4].name)
    assert.equal("500m", one.nodes[4].capacity.cpu)
    local object = scene.node_object(one.nodes[1], 1, "2026-01-01T00:00:00Z")
    assert.is_true(object.spec.unschedulable)
    assert.equal("gpu", object.spec.taints[1].key)
    assert.equal("big", object.metadata.labels["kubernetes.io/hostname"])
  end)

  it("says what images do, by name or pattern, the longest pattern first", function()
    local one = read [[
images:
  reg/model:v1: crashes
  "reg/*": missing
  "reg/team/*:v?": {like: crashes, exit_code: 3, message: no weights, log: [loading, "failed: no weights"]}
]]
    local w = { cell = { images = one.images } }
    assert.equal(1, images.behaviour(w, "reg/model:v1").exit_code)
    assert.equal("missing", images.behaviour(w, "reg/other:v1").pull)
    assert.equal(3, images.behaviour(w, "reg/team/x:v?").exit_code)
    assert.equal("failed: no weights", images.behaviour(w, "reg/team/x:v?").log[2])
    assert.same({}, images.behaviour(w, "elsewhere/x:v1"))
    assert.equal("invalid", images.behaviour(w, "elsewhere/Upper:v1").pull)
  end)

  it("sets timings, and may switch Events off", function()
    local one = read "timings: {pull: 3, start: 0}\nevents: false\nnamespaces: [hub]\n"
    assert.equal(3, one.timings.pull)
    assert.equal(0, one.timings.start)
    assert.equal(scene.TIMINGS.stop, one.timings.stop)
    assert.is_false(one.events)
    assert.equal("hub", one.namespaces[1])
  end)

  it("refuses keys that nobody knows, naming them and those that are known", function()
    assert.equal('world.yaml: the world file: there is no key "node"; known are events, images, namespaces, nodes, services, timings',
      refusal "node: []\n")
    assert.contains('world.yaml: nodes[0]: there is no key "cpu"; known are', refusal "nodes: [{name: a, cpu: 4}]\n")
    assert.contains('timings: there is no key "pulls"', refusal "timings: {pulls: 4}\n")
    assert.contains('images["x"]: there is no key "crash"', refusal "images: {x: {crash: true}}\n")
  end)

  it("refuses values of a wrong kind with their place", function()
    assert.contains("nodes: must be a list", refusal "nodes: {a: 1}\n")
    assert.contains("nodes[1].name: must be lower-case", refusal "nodes: [a, B]\n")
    assert.contains('nodes[1].name: there is another node "a"', refusal "nodes: [a, a]\n")
    assert.contains("nodes[0].capacity.cpu: is no quantity", refusal "nodes: [{name: a, capacity: {cpu: lots}}]\n")
    assert.contains("nodes[0].taints[0].effect: must be NoSchedule", refusal "nodes: [{name: a, taints: [{key: b}]}]\n")
    assert.contains("nodes[0].count: must be a whole number", refusal "nodes: [{name: a, count: 0}]\n")
    assert.contains('images["x"]: there is no behaviour "explodes"', refusal "images: {x: explodes}\n")
    assert.contains('images["x"].exit_code: must be 0 to 255', refusal "images: {x: {exit_code: 256}}\n")
    assert.contains('images["x"].pull: must be one of', refusal "images: {x: {pull: fast}}\n")
    assert.contains("timings.pull: must be a number of seconds", refusal "timings: {pull: soon}\n")
    assert.contains("events: must be true or false", refusal "events: 1\n")
    assert.contains("must be a map", refusal "- a\n")
    assert.contains("is one YAML document", refusal "nodes: []\n---\nnodes: []\n")
    assert.contains("world.yaml", refusal "nodes: [\n")
  end)
end)
