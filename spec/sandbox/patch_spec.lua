-- What the four ways to patch make of an object, and what they refuse, as Kubernetes 1.20.2 does.
-- (spec/sandbox/patch_real.lua compares them with a real server, at random.)

local builtin = require "sandbox.schema.builtin"
local json_patch = require "sandbox.patch.json"
local merge_patch = require "sandbox.patch.merge"
local strategic = require "sandbox.patch.strategic"

local array = json.array

local function text(value) return json.encode(value) end

-- The patched document as JSON text, or the error's text.
local function operated(document, ...)
  local new, why = json_patch.apply(json.decode(document), array { ... })
  return new and text(new) or why
end

local function merged(document, patch)
  return text(assert(merge_patch.apply(json.decode(document), json.decode(patch))))
end

describe("a JSON patch", function()
  it("adds, replaces and removes in maps and lists", function()
    assert.equal('{"a":2,"l":[0,1,2,3]}', operated('{"a":1,"b":0,"l":[1,2]}', { op = "replace", path = "/a", value = 2 },
      { op = "remove", path = "/b" }, { op = "add", path = "/l/0", value = 0 }, { op = "add", path = "/l/-", value = 3 }))
  end)

  it("moves and copies", function()
    assert.equal('{"b":{"x":1},"c":1}', operated('{"a":{"x":1}}', { op = "move", from = "/a", path = "/b" },
      { op = "copy", from = "/b/x", path = "/c" }))
  end)

  it("does not let a copy change with its original", function()
    assert.equal('{"a":{"x":2},"b":{"x":1}}', operated('{"a":{"x":1}}', { op = "copy", from = "/a", path = "/b" },
      { op = "replace", path = "/a/x", value = 2 }))
    assert.equal('{"a":{"x":{"y":2}},"b":{"x":{"y":1}}}', operated('{"a":{"x":{"y":1}}}', { op = "replace", path = "/a/x/y", value = 1 },
      { op = "copy", from = "/a", path = "/b" }, { op = "replace", path = "/a/x/y", value = 2 }))
  end)

  it("reads ~1 and ~0 in paths", function()
    assert.equal('{"a/b":2,"c~d":3}', operated('{"a/b":1,"c~d":1}', { op = "replace", path = "/a~1b", value = 2 },
      { op = "replace", path = "/c~0d", value = 3 }))
  end)

  it("leaves the live object as it was", function()
    local live = json.decode '{"a":{"b":[1]}}'
    json_patch.apply(live, array { { op = "add", path = "/a/b/-", value = 2 }, { op = "remove", path = "/a/b/0" } })
    assert.equal('{"a":{"b":[1]}}', text(live))
  end)

  it("counts from the end for a negative index", function()
    assert.equal('{"l":[1]}', operated('{"l":[1,2]}', { op = "remove", path = "/l/-1" }))
  end)

  it("adds what it is told to replace, as the server does", function()
    assert.equal('{"a":1,"b":2}', operated('{"a":1}', { op = "replace", path = "/b", value = 2 }))
  end)

  it("takes null for nothing in a test", function()
    assert.equal('{"a":1}', operated('{"a":1}', { op = "test", path = "/b", value = json.null }, { op = "test", path = "/a", value = 1 }))
  end)

  it("fails as a whole, with 422 and words that do not say why", function()
    local new, why, failure = json_patch.apply({ a = 1 }, array { { op = "test", path = "/a", value = 2 } })
    assert.is_nil(new)
    assert.equal("testing value /a failed: test failed", why)
    assert.same({ code = 422, reason = "Invalid", message = "the server rejected our request due to an error in our request", details = {} }, failure)
  end)

  it("says what cannot be done", function()
    assert.equal("Unable to remove nonexistent key: b: missing value", operated('{"a":1}', { op = "remove", path = "/b" }))
    assert.equal('add operation does not apply: doc is missing path: "/b/c": missing value',
      operated('{"a":1}', { op = "add", path = "/b/c", value = 1 }))
    assert.equal("Unable to access invalid index: 2: invalid index referenced", operated('{"l":[1]}', { op = "add", path = "/l/2", value = 1 }))
    assert.equal("Unexpected kind: grow", operated('{"a":1}', { op = "grow", path = "/a" }))
  end)

  it("cannot grow a small document without bound by copying it into itself", function()
    local operations = array { { op = "add", path = "/a/x", value = ("x"):rep(1000) } }
    for i = 1, 40 do operations[#operations + 1] = { op = "copy", from = "/a", path = "/a/b" .. i } end
    local _, why, failure = json_patch.apply({ a = {} }, operations)
    assert.matches("^Unable to complete the copy, the accumulated size increase of copy is %d+, exceeding the limit 3145728$", why)
    assert.equal(422, failure.code)
  end)

  it("is refused when it is none, or has over 10,000 operations", function()
    local _, _, failure = json_patch.apply({}, { op = "add" })
    assert.equal(400, failure.code)
    local many = array {}
    for i = 1, 10001 do many[i] = { op = "remove", path = "/a" } end
    _, _, failure = json_patch.apply({}, many)
    assert.equal(413, failure.code)
    assert.equal("The allowed maximum operations in a JSON patch is 10000, got 10001", failure.message)
  end)
end)

describe("a merge patch", function()
  it("merges maps, replaces lists and takes away what is null", function()
    assert.equal('{"a":{"x":1,"z":3},"l":[3]}', merged('{"a":{"x":1,"y":2},"l":[1,2]}', '{"a":{"y":null,"z":3},"l":[3]}'))
  end)

  it("takes nulls out of what is new, in lists too", function()
    assert.equal('{"a":{"b":[1]}}', merged("{}", '{"a":{"b":[1,null],"c":null}}'))
  end)

  it("puts a map where something else was", function()
    assert.equal('{"a":{"b":1}}', merged('{"a":1}', '{"a":{"b":1,"c":null}}'))
  end)

  it("is refused when it is no map", function()
    local new, why, failure = merge_patch.apply({}, array { 1 })
    assert.is_nil(new)
    assert.equal("Invalid JSON Patch", why)
    assert.equal(500, failure.code)
  end)
end)

local NODE = builtin.node("apps", "v1", "Deployment")

local function pod(containers, more)
  local spec = { containers = array(containers) }
  for key, value in pairs(more or {}) do spec[key] = value end
  return { metadata = { labels = { a = "1", b = "2" }, finalizers = array { "x", "y" } },
    spec = { strategy = { type = "RollingUpdate", rollingUpdate = { maxSurge = 1 } }, template = { spec = spec } } }
end

local function patched(live, patch)
  local new, why, failure = strategic.apply(live, patch, NODE)
  return new, why, failure
end

local function names(list)
  local found = {}
  for i, item in ipairs(list) do found[i] = type(item) == "table" and item.name or item end
  return table.concat(found, " ")
end

describe("a strategic merge patch", function()
  it("merges lists by their keys, the patch's items in its order", function()
    local live = pod { { name = "a", image = "1" }, { name = "b", image = "1" }, { name = "c", image = "1" } }
    local new = patched(live, pod { { name = "d", image = "2" }, { name = "b", image = "2" } })
    local containers = new.spec.template.spec.containers
    assert.equal("d a b c", names(containers))
    assert.equal("2", containers[3].image)
    assert.equal("a b c", names(live.spec.template.spec.containers))
  end)

  it("merges lists of words, and replaces lists without a key", function()
    local live = pod { { name = "a", args = array { "x" } } }
    local new = patched(live, { metadata = { finalizers = array { "z" } },
      spec = { template = { spec = { containers = array { { name = "a", args = array { "y" } } } } } } })
    assert.equal("z x y", names(new.metadata.finalizers))
    assert.equal("y", names(new.spec.template.spec.containers[1].args))
  end)

  it("takes away fields that are null, and items that say $patch: delete", function()
    local new = patched(pod { { name = "a" }, { name = "b" } }, { metadata = { labels = { a = json.null } },
      spec = { template = { spec = { containers = array { { name = "a", ["$patch"] = "delete" } } } } } })
    assert.equal("b", names(new.spec.template.spec.containers))
    assert.same({ b = "2" }, new.metadata.labels)
  end)

  it("replaces maps and lists that say $patch: replace", function()
    local new = patched(pod { { name = "a" }, { name = "b" } }, { metadata = { labels = { c = "3", ["$patch"] = "replace" } },
      spec = { template = { spec = { containers = array { { name = "c" }, { ["$patch"] = "replace" } } } } } })
    assert.equal("c", names(new.spec.template.spec.containers))
    assert.same({ c = "3" }, new.metadata.labels)
  end)

  it("empties a map that says $patch: delete", function()
    local new = patched(pod {}, { metadata = { labels = { ["$patch"] = "delete" } } })
    assert.same({}, new.metadata.labels)
  end)

  it("keeps of a map what $retainKeys names", function()
    local new = patched(pod {}, { spec = { strategy = { ["$retainKeys"] = array { "type" }, type = "Recreate" } } })
    assert.same({ type = "Recreate" }, new.spec.strategy)
  end)

  it("refuses a $retainKeys that forgets what the patch sets", function()
    local new, why, failure = patched(pod {}, { spec = { strategy = { ["$retainKeys"] = array { "type" }, rollingUpdate = {} } } })
    assert.is_nil(new)
    assert.equal("invalid patch format of retainKeys", why)
    assert.equal(400, failure.code)
  end)

  it("orders a list as $setElementOrder says", function()
    local new = patched(pod { { name = "a" }, { name = "b" }, { name = "c" } }, { spec = { template = { spec = {
      containers = array { { name = "d" } },
      ["$setElementOrder/containers"] = array { { name = "c" }, { name = "d" }, { name = "a" } } } } } })
    assert.equal("b c d a", names(new.spec.template.spec.containers))
  end)

  it("puts an item that it deletes and brings anew last, as the server does", function()
    local new = patched(pod { { name = "a" }, { name = "b" } }, { spec = { template = { spec = {
      containers = array { { name = "a", image = "2" }, { name = "a", ["$patch"] = "delete" } },
      ["$setElementOrder/containers"] = array { { name = "a" } } } } } })
    assert.equal("b a", names(new.spec.template.spec.containers))
  end)

  it("refuses an order that is not the patch's own", function()
    local _, why, failure = patched(pod { { name = "a" } }, { spec = { template = { spec = {
      containers = array { { name = "b" }, { name = "a" } },
      ["$setElementOrder/containers"] = array { { name = "a" }, { name = "b" } } } } } })
    assert.equal("The order in patch list:\n[map[name:b] map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:a] map[name:b]]\n", why)
    assert.equal(500, failure.code)
  end)

  it("takes words out of a list by $deleteFromPrimitiveList", function()
    local new = patched(pod {}, { metadata = { ["$deleteFromPrimitiveList/finalizers"] = array { "x" } } })
    assert.equal("y", names(new.metadata.finalizers))
  end)

  it("refuses items without the key, and directives that it does not know", function()
    local _, why = patched(pod { { name = "a" } }, { spec = { template = { spec = { containers = array { { image = "x" } } } } } })
    assert.equal("map: map[image:x] does not contain declared merge key: name", why)
    _, why = patched(pod {}, { metadata = { labels = { ["$patch"] = "grow", a = "1" } } })
    assert.equal("unknown patch type: grow in map: map[$patch:grow a:1]", why)
  end)

  it("is refused when it is no map", function()
    local _, _, failure = patched(pod {}, array { 1 })
    assert.equal(400, failure.code)
    assert.equal("json: cannot unmarshal array into Go value of type map[string]interface {}", failure.message)
  end)
end)
