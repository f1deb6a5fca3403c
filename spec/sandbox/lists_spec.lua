-- Lists and watches of the sandbox: pieces, selectors, versions, and what a watch tells, as a Kubernetes 1.20.2 server does.

local api = require "sandbox.api"
local registry = require "sandbox.registry"
local request = require("include") "spec/sandbox/ask.lua"
local world = require "sandbox.world"

local MAPS = "/api/v1/namespaces/hub/configmaps"
local MERGE = "application/merge-patch+json"

local w, server

local function escape(text) return (text:gsub("[^%w]", function(char) return ("%%%02X"):format(char:byte()) end)) end

local function ask(...) return request(server, ...) end

local function names(value)
  local list = {}
  for at, item in ipairs(value.items) do list[at] = item.metadata.name end
  return table.concat(list, " ")
end

local function watch(query)
  local _, _, answer = ask("GET", MAPS .. "?watch=true&" .. query)
  return answer.watch
end

-- What a watch says now, at most so many bytes (and the rest of a line): "ADDED a 3, ...".
local function heard(stream, most)
  local list = {}
  for at, line in ipairs(stream:next(most)) do
    assert.equal("\n", line:sub(-1))
    local event = json.decode(line)
    list[at] = ("%s %s %s"):format(event.type, event.object.metadata.name or event.object.message or "-",
      event.object.metadata.resourceVersion or event.object.code)
  end
  return table.concat(list, ", ")
end

before_each(function()
  w = world.new { seed = 1, history = 100 }
  server = api.new { world = w, registry = registry.new(w) }
  ask("POST", "/api/v1/namespaces", '{"metadata":{"name":"hub"}}')
  for at = 1, 5 do ask("POST", MAPS, ('{"metadata":{"name":"l%d","labels":{"n":"%d","l":""}}}'):format(at, at)) end
end)

describe("a list", function()
  it("leaves kind and apiVersion out of its items and tells the version", function()
    local value = ask("GET", MAPS)
    assert.equal("ConfigMapList v1 6", table.concat({ value.kind, value.apiVersion, value.metadata.resourceVersion }, " "))
    assert.is_nil(value.items[1].kind)
    assert.equal("l1 l2 l3 l4 l5", names(value))
    assert.equal("", names(ask("GET", "/api/v1/namespaces/none/configmaps")))
    assert.equal("l1 l2 l3 l4 l5", names(ask("GET", "/api/v1/configmaps")))
  end)

  it("comes in pieces that show one moment", function()
    local first = ask("GET", MAPS .. "?limit=2")
    assert.equal("l1 l2", names(first))
    assert.equal(3, first.metadata.remainingItemCount)
    ask("DELETE", MAPS .. "/l3")
    ask("POST", MAPS, '{"metadata":{"name":"l35"}}')
    ask("PATCH", MAPS .. "/l4", '{"data":{"a":"b"}}', MERGE)
    local second = ask("GET", MAPS .. "?limit=2&continue=" .. first.metadata.continue)
    assert.equal("l3 l4", names(second))
    assert.is_nil(second.items[2].data)
    assert.equal("6", second.metadata.resourceVersion)
    local third = ask("GET", MAPS .. "?limit=2&continue=" .. second.metadata.continue)
    assert.equal("l5", names(third))
    assert.is_nil(third.metadata.continue)
  end)

  it("goes on with no other version, nor with a token that was made by hand", function()
    local base64 = require "sandbox.api.base64"
    local more = MAPS .. "?limit=2&continue="
    local token = ask("GET", MAPS .. "?limit=2").metadata.continue
    local function made(version, start) -- padding is left out, and base64 for paths has no other odd letters here
      return more .. base64.encode(json.encode { v = "meta.k8s.io/v1", rv = version, start = start })
    end
    assert.equal("specifying resource version is not allowed when using continue", ask("GET", more .. token .. "&resourceVersion=1").message)
    assert.equal("l3 l4", names(ask("GET", more .. token .. "&resourceVersion=0")))
    local INVALID = "invalid continue token: continue key is not valid: "
    assert.equal(INVALID .. "incorrect encoded start resourceVersion (version meta.k8s.io/v1)", ask("GET", made(0, "l1")).message)
    assert.equal(INVALID .. "encoded start key empty (version meta.k8s.io/v1)", ask("GET", made(1, "")).message)
    assert.equal(INVALID .. "../x", ask("GET", made(1, "../x")).message)
    assert.equal("etcdserver: mvcc: required revision is a future revision", ask("GET", made(9999, "l1")).message)
    assert.equal('strconv.ParseInt: parsing "99999999999999999999": value out of range', ask("GET", MAPS .. "?limit=99999999999999999999").message)
  end)

  it("whose version is forgotten is told 410, with a way on", function()
    local first = ask("GET", MAPS .. "?limit=2")
    for at = 1, 400 do ask("PATCH", MAPS .. "/l1", ('{"data":{"a":"%d"}}'):format(at), MERGE) end
    local gone = ask("GET", MAPS .. "?limit=2&continue=" .. first.metadata.continue)
    assert.equal("410 Expired", gone.code .. " " .. gone.reason)
    assert.equal("l3 l4", names(ask("GET", MAPS .. "?limit=2&continue=" .. gone.metadata.continue)))
    assert.equal("The resourceVersion for the provided list is too old.",
      ask("GET", MAPS .. "?resourceVersion=7&resourceVersionMatch=Exact").message)
  end)

  it("is of an exact version, of any, or of one that is not there yet", function()
    ask("DELETE", MAPS .. "/l1")
    assert.equal("l1 l2 l3", names(ask("GET", MAPS .. "?resourceVersion=4&resourceVersionMatch=Exact")))
    assert.equal("l2 l3 l4 l5", names(ask("GET", MAPS .. "?resourceVersion=4&resourceVersionMatch=NotOlderThan")))
    assert.equal("l2 l3 l4 l5", names(ask("GET", MAPS .. "?resourceVersion=0&limit=1")))
    local status = ask("GET", MAPS .. "?resourceVersion=999")
    assert.equal("504 Timeout Timeout: Too large resource version: 999, current: 7",
      table.concat({ status.code, status.reason, status.message }, " "))
    for _, query in ipairs { "resourceVersion=999&resourceVersionMatch=Exact", "resourceVersion=999&limit=1" } do
      status = ask("GET", MAPS .. "?" .. query)
      assert.equal("500 - etcdserver: mvcc: required revision is a future revision",
        table.concat({ status.code, status.reason or "-", status.message }, " "))
    end
    assert.equal('ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless '
      .. "resourceVersion is provided", ask("GET", MAPS .. "?resourceVersionMatch=Exact").message)
  end)

  it("is chosen by labels", function()
    local chosen = { ["n=1"] = "l1", ["n==1"] = "l1", ["n!=1"] = "l2 l3 l4 l5", ["n in (1,2)"] = "l1 l2", ["n notin (1,2),l"] = "l3 l4 l5",
      ["!n"] = "", ["n>3"] = "l4 l5", ["n>1,n<3"] = "l2", [" n = 1 "] = "l1", ["n in ()"] = "", ["n="] = "", l = "l1 l2 l3 l4 l5" }
    for selector, expected in pairs(chosen) do
      assert.equal(expected, names(ask("GET", MAPS .. "?labelSelector=" .. escape(selector))), selector)
    end
  end)

  it("says what is wrong with a selector", function()
    local wrong = {
      ["n=1,"] = "found '', expected: identifier after ','", ["n in"] = "unable to parse requirement: found '' expected: '('",
      ["n in (1"] = "unable to parse requirement: found '', expected: ',' or ')'",
      ["=x"] = "found '=', expected: !, identifier, or 'end of string'",
      ["a b"] = "unable to parse requirement: found 'b', expected: '=', '!=', '==', 'in', notin'",
      ["n>a"] = "unable to parse requirement: for 'Gt', 'Lt' operators, the value must be an integer",
      ["!"] = "unable to parse requirement: found '', expected: identifier", ["n,,l"] = "found ',', expected: identifier after ','",
      ["x===y"] = "unable to parse requirement: found '=', expected: identifier",
    }
    for selector, expected in pairs(wrong) do
      local status = ask("GET", MAPS .. "?labelSelector=" .. escape(selector))
      assert.equal("400 BadRequest " .. expected, table.concat({ status.code, status.reason, status.message }, " "), selector)
    end
    assert.equal('"foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
      ask("GET", MAPS .. "?fieldSelector=foo%3Dy").message)
    assert.equal("field label not supported: spec.foo", ask("GET", "/api/v1/pods?fieldSelector=spec.foo%3Dx").message)
    assert.equal("field label not supported: metadata.namespace", -- and not that there is no such version
      ask("GET", "/api/v1/nodes?fieldSelector=metadata.namespace%3Dx&resourceVersion=-1").message)
    assert.equal("invalid selector: 'metadata.name'; can't understand 'metadata.name'",
      ask("GET", MAPS .. "?fieldSelector=metadata.name").message)
  end)

  it("is chosen by fields", function()
    assert.equal("l1", names(ask("GET", MAPS .. "?fieldSelector=metadata.name%3Dl1")))
    assert.equal("l2 l3 l4 l5", names(ask("GET", MAPS .. "?fieldSelector=metadata.name!%3Dl1%2Cmetadata.namespace%3Dhub")))
    assert.equal("", names(ask("GET", MAPS .. "?fieldSelector=metadata.name%3Da%5C%2Cb")))
  end)
end)

describe("a watch", function()
  it("tells what is there, then what happens", function()
    local stream = watch "labelSelector=n%3D1"
    assert.equal("ADDED l1 2", heard(stream))
    assert.equal("", heard(stream))
    ask("PATCH", MAPS .. "/l1", '{"data":{"a":"b"}}', MERGE)
    ask("POST", MAPS, '{"metadata":{"name":"other"}}')
    ask("DELETE", MAPS .. "/l1")
    assert.equal("MODIFIED l1 7, DELETED l1 9", heard(stream))
  end)

  it("from a version tells what happened since", function()
    assert.equal("ADDED l4 5, ADDED l5 6", heard(watch "resourceVersion=4"))
    assert.equal("", heard(watch "resourceVersion=6"))
    assert.equal("", heard(watch "resourceVersion=999"))
  end)

  it("adds what begins to match its selector and deletes what ceases, shown as it last matched", function()
    local stream = watch "resourceVersion=6&labelSelector=n%3D1"
    ask("PATCH", MAPS .. "/l1", '{"metadata":{"labels":{"n":"7"}}}', MERGE)
    local event = json.decode(stream:next()[1])
    assert.equal("DELETED 1 7", table.concat({ event.type, event.object.metadata.labels.n, event.object.metadata.resourceVersion }, " "))
    ask("PATCH", MAPS .. "/l1", '{"metadata":{"labels":{"n":"1"}}}', MERGE)
    assert.equal("ADDED l1 8", heard(stream))
  end)

  it("of a forgotten version gets one 410 and ends", function()
    for at = 1, 400 do ask("PATCH", MAPS .. "/l1", ('{"data":{"a":"%d"}}'):format(at), MERGE) end
    local stream = watch "resourceVersion=3"
    local event = json.decode(stream:next()[1])
    assert.equal("ERROR 410 Expired", table.concat({ event.type, event.object.code, event.object.reason }, " "))
    assert.truthy(event.object.message:find("^too old resource version: 3 %(%d+%)$"))
    assert.is_nil(stream:next())
  end)

  it("comes in pieces to who can take only so much, and misses nothing meanwhile", function()
    local stream = watch "resourceVersion=0"
    assert.equal("ADDED l1 2", heard(stream, 1))
    assert.is_true(stream:has_more())
    ask("PATCH", MAPS .. "/l1", '{"data":{"a":"1"}}', MERGE)
    ask("DELETE", MAPS .. "/l5")
    assert.equal("ADDED l2 3, ADDED l3 4", heard(stream, 600))
    assert.equal("ADDED l4 5, ADDED l5 6", heard(stream))
    assert.is_false(stream:has_more())
    assert.equal("MODIFIED l1 7", heard(stream, 1))
    assert.is_true(stream:has_more())
    assert.equal("DELETED l5 8", heard(stream, 1))
    assert.equal("", heard(stream, 1))
  end)

  it("ends at its timeout, and tells when it wants to be called", function()
    local stream = watch "resourceVersion=6&timeoutSeconds=10"
    assert.equal(w:now() + 10000, stream.due)
    w:advance(9999)
    assert.equal("", heard(stream))
    w:advance(1)
    assert.is_nil(stream:next())
  end)

  it("brings bookmarks each minute to who asked", function()
    local stream, plain = watch "resourceVersion=6&allowWatchBookmarks=true", watch "resourceVersion=6"
    ask("POST", "/api/v1/namespaces", '{"metadata":{"name":"later"}}')
    assert.equal("", heard(stream))
    w:advance(60000)
    assert.is_true(stream.due <= w:now())
    assert.equal("BOOKMARK - 7", heard(stream))
    assert.equal("", heard(stream))
    assert.equal("", heard(plain))
    w:advance(60000)
    assert.equal("BOOKMARK - 7", heard(stream))
  end)

  it("whose parameters make no sense is refused", function()
    local status = ask("GET", MAPS .. "?watch=true&timeoutSeconds=abc")
    assert.equal('400 strconv.ParseInt: parsing "abc": invalid syntax', status.code .. " " .. status.message)
    status = ask("GET", MAPS .. "?watch=true&resourceVersion=abc")
    assert.equal('500 resourceVersion: Invalid value: "abc": strconv.ParseUint: parsing "abc": invalid syntax',
      status.code .. " " .. status.message)
  end)
end)
