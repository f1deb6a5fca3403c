-- Secrets are written, never cached, and never shown.

local apply = require "apply"
local informers = require "informers"
local masked = require "masked"
local fake = require("include") "spec/host/fake_cluster.lua"

local OWNER = { api_version = "primehub.io/v1alpha1", kind = "PhDeployment", name = "m", uid = "owner-1", namespace = "hub" }
local PATH = "/api/v1/namespaces/hub/secrets/s"

local cluster, ctx

local function restart()
  ctx = { cluster = cluster, owner_uid = OWNER.uid, digest = "d1", settled = {}, count = function() end,
    replace_allowed = function() return false end, not_kept = function() end,
    informer = informers.start(cluster, { api_version = "v1", kind = "Secret", resource = "secrets", keep = "metadata" }, { "hub" },
      { label_selector = "parent", indexes = { owner = { "@owner" } } }) }
end

local function secret(token)
  return apply.complete({ apiVersion = "v1", kind = "Secret", type = "Opaque", metadata = { name = "s" }, data = { auth = token or "c2VjcmV0" } },
    OWNER, "parent")
end

local function sent()
  local list = {}
  for i, request in ipairs(cluster.requests) do list[i] = request.method end
  return table.concat(list, ", ")
end

local function ensure(token)
  cluster:forget_requests()
  local result, problem = apply.ensure(ctx, secret(token))
  assert.is_nil(problem and problem.message)
  return result
end

local function edit(change)
  local object = fake.copy(cluster.objects[PATH])
  change(object)
  cluster:put(PATH, object)
end

describe("a Secret, of which only metadata is cached,", function()
  before_each(function()
    cluster = fake.new()
    restart()
  end)

  it("is written once, read once after that, and then left in peace", function()
    assert.equal("written", ensure())
    assert.equal("GET, PATCH", sent())
    assert.equal("unchanged", ensure())
    assert.equal("GET", sent())
    assert.equal("unchanged", ensure())
    assert.equal("", sent())
  end)

  it("is written again when what is wanted of it changes", function()
    ensure()
    ensure()
    assert.equal("written", ensure "bmV3")
    assert.equal("bmV3", cluster.objects[PATH].data.auth)
  end)

  it("is mended when somebody else edits its contents", function()
    ensure()
    ensure()
    edit(function(object) object.data.auth = "Zm9yZWlnbg==" end)
    assert.equal("written", ensure())
    assert.equal("c2VjcmV0", cluster.objects[PATH].data.auth)
  end)

  it("costs one read and no write when somebody else puts a label on it", function()
    ensure()
    ensure()
    edit(function(object) object.metadata.labels.theirs = "x" end)
    assert.equal("unchanged", ensure())
    assert.equal("GET", sent())
    assert.equal("unchanged", ensure())
    assert.equal("", sent())
  end)

  it("is not written by another process that finds it as wanted, and mended by one that does not", function()
    ensure()
    restart()
    assert.equal("unchanged", ensure())
    assert.equal("GET", sent())
    edit(function(object) object.data.auth = "Zm9yZWlnbg==" end)
    restart()
    assert.equal("written", ensure())
  end)

  it("is shown to readers without its contents", function()
    ensure()
    ensure()
    assert.is_nil(ctx.informer:read("hub/s").data)
  end)

  it("bears no digest of its contents", function()
    ensure()
    local one = json.encode(cluster.objects[PATH].metadata.annotations)
    ensure "bmV3"
    assert.equal(one, json.encode(cluster.objects[PATH].metadata.annotations))
  end)
end)

it("a watch that keeps metadata keeps no more of the answer to a write, and not what kubectl remembers in an annotation", function()
  local memory = assert(kube.open { namespace = "hub", handler = function(request)
    if request.query.watch then return { status = 200, stream = function() end } end
    return { status = 200, body = { kind = "PartialObjectMetadataList", apiVersion = "meta.k8s.io/v1",
      metadata = { resourceVersion = "10" }, items = json.array {} } }
  end })
  local watch = memory:watch { path = "/api/v1/namespaces/hub/secrets", api_version = "v1", kind = "Secret", keep = "metadata",
    drop = { "metadata.annotations[kubectl.kubernetes.io/last-applied-configuration]" } }
  assert.is_true(watch:wait_synced(5))
  assert(watch:wrote(json.encode { apiVersion = "v1", kind = "Secret", data = { auth = "hunter2" }, stringData = { auth = "hunter2" },
    metadata = { name = "s", namespace = "hub", uid = "u", resourceVersion = "12",
      annotations = { a = "b", ["kubectl.kubernetes.io/last-applied-configuration"] = "hunter2" } } }))
  local text = json.encode(watch:read "hub/s")
  watch:stop()
  assert.contains('"a":"b"', text)
  assert.is_nil(text:find("hunter2", 1, true))
end)

it("children for people have a digest in place of a Secret's contents", function()
  local given = { secret "aHVudGVyMg==", { apiVersion = "v1", kind = "Service", metadata = { name = "s" }, spec = { a = 1 } } }
  local shown = masked.children(given)
  assert.is_nil(json.encode(shown):find("aHVudGVyMg", 1, true))
  assert.matches("^sha256:%x+$", shown[1].digest)
  assert.equal("m", shown[1].metadata.labels.parent)
  assert.same(given[2], shown[2])
  assert.equal("aHVudGVyMg==", given[1].data.auth)
end)
