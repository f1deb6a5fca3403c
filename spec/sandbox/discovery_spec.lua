-- Discovery: what clients learn of the kinds that are there, and how the server says that it is well.

local apart = require "include" "spec/sandbox/apart.lua"
local discovery = require "sandbox.discovery"

local AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

local server
before_each(function() server = apart.new() end)

local function named(list, name, field)
  for _, one in ipairs(list) do
    if one[field or "name"] == name then return one end
  end
end

describe("discovery", function()
  it("tells the resources of a version as a real server does", function()
    local _, list = server:ask("GET", "/apis/apps/v1")
    assert.equal("APIResourceList", list.kind)
    assert.same({ name = "deployments", singularName = "", namespaced = true, kind = "Deployment", shortNames = json.array { "deploy" },
      categories = json.array { "all" }, storageVersionHash = "8aSe+NMegvE=",
      verbs = json.array { "create", "delete", "deletecollection", "get", "list", "patch", "update", "watch" } },
      named(list.resources, "deployments"))
    assert.same({ name = "deployments/scale", singularName = "", namespaced = true, group = "autoscaling", version = "v1", kind = "Scale",
      verbs = json.array { "get", "patch", "update" } }, named(list.resources, "deployments/scale"))
    _, list = server:ask("GET", "/api/v1")
    assert.equal(nil, list.apiVersion)
    assert.equal("Eviction", named(list.resources, "pods/eviction").kind)
    assert.equal("/sY7hl8ol1U=", named(select(2, server:ask("GET", "/apis/coordination.k8s.io/v1")).resources, "leases").storageVersionHash)
  end)

  it("lists groups with the version that is preferred", function()
    local _, list = server:ask("GET", "/apis")
    local group = named(list.groups, "networking.k8s.io")
    assert.same({ "v1", "v1", "v1beta1" }, { group.preferredVersion.version, group.versions[1].version, group.versions[2].version })
    assert.equal("APIGroup", select(2, server:ask("GET", "/apis/networking.k8s.io/")).kind)
  end)

  it("tells it all at once to those who can read it", function()
    local _, list, answer = server:ask("GET", "/apis", nil, { accept = AGGREGATED })
    assert.equal("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", answer.content_type)
    local group
    for _, one in ipairs(list.items) do
      if one.metadata.name == "apps" then group = one end
    end
    local deployments = named(group.versions[1].resources, "deployments", "resource")
    assert.same({ "Namespaced", "deployment", "Deployment" },
      { deployments.scope, deployments.singularResource, deployments.responseKind.kind })
    assert.equal("Scale", named(deployments.subresources, "scale", "subresource").responseKind.kind)
    _, list = server:ask("GET", "/api", nil, { accept = AGGREGATED })
    assert.equal("configmaps", list.items[1].versions[1].resources[1].resource)
    _, list = server:ask("GET", "/apis", nil, { accept = "application/json," .. AGGREGATED })
    assert.equal("APIGroupList", list.kind)
  end)

  it("says of what is not there that it is not there", function()
    local status, text = server:ask("GET", "/apis/nope")
    assert.same({ 404, "404 page not found\n" }, { status, text })
    local answer
    status, answer = server:ask("GET", "/apis/apps/v9")
    assert.same({ 404, "the server could not find the requested resource" }, { status, answer.message })
    assert.equal(404, (server:ask("GET", "/nope")))
    assert.equal(405, (server:ask("POST", "/apis/apps/v1")))
    assert.equal(405, (server:ask("POST", "/version")))
    assert.equal(406, (server:ask("GET", "/apis", nil, { accept = "text/html" })))
  end)

  it("speaks YAML to those who want it", function()
    local _, _, answer = server:ask("GET", "/apis/apps", nil, { accept = "application/yaml" })
    assert.equal("application/yaml", answer.content_type)
    assert.equal("apps", yaml.decode(answer.body, "answer")[1].name)
  end)

  it("puts versions in the order of their maturity", function()
    local versions = { "v1alpha1", "foo", "v2beta1", "v10", "v1", "v2", "v2beta10", "v1beta1", "bar", "v11alpha2" }
    table.sort(versions, discovery.precedes)
    assert.equal("v10 v2 v1 v2beta10 v2beta1 v1beta1 v11alpha2 v1alpha1 bar foo", table.concat(versions, " "))
  end)
end)

describe("the server", function()
  it("says which version it plays, and that it is well", function()
    assert.equal("v1.20.2", select(2, server:ask("GET", "/version")).gitVersion)
    for _, path in ipairs { "/healthz", "/livez", "/readyz", "/readyz/ping" } do
      assert.equal("ok", select(3, server:ask("GET", path)).body)
    end
    assert.matches("^%[%+%]ping ok\n.*readyz check passed\n$", select(3, server:ask("GET", "/readyz?verbose=")).body)
    assert.equal(404, (server:ask("GET", "/readyz/nope")))
  end)
end)
