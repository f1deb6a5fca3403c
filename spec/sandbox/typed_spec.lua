-- What C does of the sandbox's work, held against the Lua that is the whole of it: reading typed bodies (schema/decode.lua) and
-- telling shapes of objects (typed/compare.lua). Objects are spoiled at random, with a seed that a failure names.

local atoms = require "sandbox.typed.atoms"
local builtin = require "sandbox.schema.builtin"
local compare = require "sandbox.typed.compare"
local decode = require "sandbox.schema.decode"
local empty = require "sandbox.managed.empty"
local objects = require "include" "spec/sandbox/kinds/objects.lua"
local quantity_words = require "sandbox.schema.quantity"

local ROUNDS = 150
local null = json.null

-- JSON texts that may stand anywhere.
local VALUES = { "null", '""', "0", "-1", "1", "2147483648", "9223372036854775808", "1.0", "1.5", "1e3", "false", "true", "{}", "[]", '"a"', '"é\\n"',
  '"2021-01-28T10:00:00Z"', '"2021-02-30T10:00:00Z"', '"2021-01-01T23:00:00+01:00"', '"1.5Gi"', '"0.5"', '"500m"', '"x y"', '"aGk="', '"aGk"',
  "[null]", '{"a":null}', '{"a":1,"a":null}', '["a","a"]', '{"name":"a"}', '[{"name":"a"},{"name":"a"}]' }

local function sorted_names(value)
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  return names
end

-- All places of an object: { parent, key }.
local function places(value, list)
  for _, key in ipairs(sorted_names(value)) do
    list[#list + 1] = { value, key }
    if type(value[key]) == "table" then places(value[key], list) end
  end
  return list
end

-- The text of the object with another value, a twin or a stranger at `count` places.
local function spoiled(object, count)
  local marks = {}
  for _ = 1, count do
    local all = places(object, {})
    local place = all[math.random(#all)]
    local what, mark = math.random(10), ("@%d@"):format(#marks)
    local text = VALUES[math.random(#VALUES)]
    if what <= 2 and not json.is_array(place[1]) then
      place[1]["x" .. math.random(3)] = mark
    elseif what == 3 and not json.is_array(place[1]) then
      text = json.encode(place[1][place[2]]) .. "," .. json.encode(place[2]) .. ":" .. text
      place[1][place[2]] = mark
    else
      place[1][place[2]] = mark
    end
    marks[#marks + 1] = { mark = '"' .. mark .. '"', text = text }
  end
  local text = json.encode(object)
  for index = #marks, 1, -1 do
    local one = marks[index]
    local from, to = text:find(one.mark, 1, true)
    if from then text = text:sub(1, from - 1) .. one.text .. text:sub(to + 1) end
  end
  return text
end

local function node_of(name) return builtin.node(objects[name].group or "", objects[name].version or "v1", objects[name].make().kind) end

-- What Lua alone makes of a text, or nil.
local function by_lua(node, text)
  local value = json.decode(text)
  return type(value) == "table" and decode.thorough(node, value) or nil
end

local function canonical(text) return quantity_words.canonical(text) end

local function shown(value) return value == nil and "nothing" or json.encode(value) end

describe("a typed body that C reads", function()
  it("is read at all when it is as usual", function()
    for _, name in ipairs(sorted_names(objects)) do
      local node, text = node_of(name), json.encode(objects[name].make())
      if objects[name].make().kind ~= "CustomResourceDefinition" and objects[name].make().kind ~= "Lease" then
        assert.is_true(decode.text(node, text) ~= nil, name)
      end
    end
  end)

  it("is what Lua makes of it, whatever is in it", function()
    local seed = loop.wall_ms()
    math.randomseed(seed)
    local read, also = 0, 0
    for _, name in ipairs(sorted_names(objects)) do
      local node = node_of(name)
      for round = 1, ROUNDS do
        local text = spoiled(objects[name].make(), math.random(0, 3))
        local mine, theirs = decode.text(node, text), by_lua(node, text)
        local about = ("%s, seed %d, round %d: %s"):format(name, seed, round, text)
        if mine ~= nil then
          read = read + 1
          assert.equal(shown(theirs), shown(mine), about)
        end
        local cleaned = typed.clean(node, json.decode(text), canonical)
        if cleaned ~= nil then
          also = also + 1
          assert.equal(shown(theirs), shown(cleaned), "from tables, " .. about)
        end
      end
    end
    assert.is_true(read > 4 * ROUNDS and also >= read, "too few were read: " .. read .. " and " .. also)
  end)

  it("is left to Lua when it is no JSON, no object, or deeper than JSON may be", function()
    local node = builtin.node("", "v1", "ConfigMap")
    for _, text in ipairs { "", "{", "{}x", "[]", "1", "null", '"a"', '{"data":{"a":"b"}', '{"data":{"a":"\xff"}}', ('{"data":'):rep(200) } do
      assert.equal(nil, decode.text(node, text), text)
    end
    assert.equal('{"metadata":{"creationTimestamp":null}}', json.encode(decode.text(node, "{}")))
  end)

  it("shares nothing with the tables that it was made from, but what is frozen", function()
    local set = typed.frozen { ["f:data"] = {} }
    local value = { metadata = { labels = { a = "b" }, managedFields = json.array { { fieldsV1 = set } } }, data = { k = "v" } }
    local new = typed.clean(builtin.node("", "v1", "ConfigMap"), value, canonical)
    assert.is_true(new.metadata.managedFields[1].fieldsV1 == set)
    new.metadata.labels.a, new.data.k, new.metadata.managedFields[1].manager = "c", "w", "m"
    assert.equal("b", value.metadata.labels.a)
    assert.equal("v", value.data.k)
    assert.equal(nil, value.metadata.managedFields[1].manager)
  end)

  it("has all the members of long lists and maps", function()
    local data, items = {}, json.array {}
    for index = 1, 1000 do
      data["k" .. index] = "v"
      items[index] = { name = "e" .. index, value = "1" }
    end
    local text = json.encode { data = data }
    assert.equal(1000, #sorted_names(decode.text(builtin.node("", "v1", "ConfigMap"), text).data))
    local pod = decode.text(builtin.node("", "v1", "Pod"), json.encode { spec = { containers = json.array { { name = "a", env = items } } } })
    assert.equal(1000, #pod.spec.containers[1].env)
    assert.equal("e777", pod.spec.containers[1].env[777].name)
  end)
end)

-- Other texts and numbers at the places where they stand, so that the shape stays.
local function reworded(value)
  local new = setmetatable({}, getmetatable(value))
  for key, below in pairs(value) do
    if type(below) == "table" then new[key] = reworded(below)
    elseif math.random(8) == 1 and type(below) == "string" and key ~= "name" then new[key] = below .. math.random(2)
    elseif math.random(40) > 1 then new[key] = below end
  end
  return new
end

describe("the shape of an object", function()
  it("is another one whenever its field set is", function()
    local seed = loop.wall_ms()
    math.randomseed(seed)
    local same = 0
    for _, name in ipairs(sorted_names(objects)) do
      local node, sets = node_of(name), {}
      local atom = atoms.root(node)
      for _ = 1, ROUNDS do
        local object = decode.thorough(node, reworded(objects[name].make()))
        local shape = object and typed.shape(object, empty.of(node), atom)
        local ok, changed = pcall(compare.compare, empty.of(node), object or {}, atom)
        if shape and ok then
          local text = json.encode(changed)
          if sets[shape] then
            same = same + 1
            assert.equal(sets[shape], text, ("%s, seed %d"):format(name, seed))
          end
          sets[shape] = text
        end
      end
    end
    assert.is_true(same > 200, "too few shapes came again: " .. same)
  end)

  it("does not depend on values, but for those of keys", function()
    local node = builtin.node("apps", "v1", "Deployment")
    local atom = atoms.root(node)
    local function shape(image, env)
      return typed.shape({ spec = { replicas = #image, template = { spec = { containers = json.array {
        { name = "a", image = image, env = json.array { { name = env, value = "x" } } } } } } } }, empty.of(node), atom)
    end
    assert.equal(shape("one", "A"), shape("three", "A"))
    assert.is_true(shape("one", "A") ~= shape("one", "B"))
  end)

  it("is none where the long way refuses: a key twice, an item that has none", function()
    local node = builtin.node("", "v1", "Pod")
    local atom = atoms.root(node)
    assert.equal(nil, typed.shape({ spec = { containers = json.array { null } } }, empty.of(node), atom))
    assert.equal(nil, typed.shape({ metadata = { finalizers = json.array { {} } } }, empty.of(node), atom))
  end)
end)

describe("a clone of a table", function()
  local function many(count)
    local names = {}
    for index = 1, count do names["k" .. index] = { index } end
    return names
  end

  it("has what the table has, as the same values, and is its own", function()
    local frozen = typed.frozen { a = {} }
    for _, one in ipairs { {}, { a = {}, b = json.null, c = false }, json.array {}, json.array { 1, {}, "x" }, many(47), many(48), many(49),
      many(500), { 1, 2, x = 3 }, frozen } do
      local clone = typed.clone(one, 3)
      assert.is_true(clone ~= one)
      assert.equal(json.is_array(one), json.is_array(clone))
      for key, value in pairs(one) do assert.is_true(rawequal(value, clone[key])) end
      for key in pairs(clone) do assert.is_true(one[key] ~= nil) end
      clone.added = true
      assert.equal(nil, one.added)
    end
    local clone = typed.clone(frozen)
    clone.b = 1
    assert.equal('{"a":{},"b":1}', json.encode(clone))
  end)
end)

describe("a frozen table", function()
  it("is written as it was, alone and inside of others, and compares by its content", function()
    local set = typed.frozen { b = {}, a = json.array { 1, "x" } }
    assert.equal('{"a":[1,"x"],"b":{}}', json.encode(set))
    assert.equal('{"x":[{"a":[1,"x"],"b":{}}]}', json.encode { x = json.array { set } })
    assert.is_true(json.equal(set, { a = json.array { 1, "x" }, b = {} }))
    assert.equal('{\n  "a": [\n    1,\n    "x"\n  ],\n  "b": {}\n}', json.encode(set, "pretty"))
    assert.equal(digest.quick { a = json.array { 1, "x" }, b = {} }, digest.quick(set))
  end)

  it("is an object to all that ask, and a copy of it is no frozen one", function()
    local set = typed.frozen { a = {} }
    assert.is_true(not json.is_array(set))
    local copy = setmetatable({ b = {} }, getmetatable(set))
    assert.equal('{"b":{}}', json.encode(copy))
  end)
end)
