-- CustomResourceDefinitions (apiextensions.k8s.io/v1): the kind itself; its rules are in sandbox/schema/crd*.lua.

local definition = require "sandbox.controllers.definition"
local crd = require "sandbox.schema.crd"
local kinds = require "sandbox.kinds.kind"

local strategy = crd.strategy

-- Served at once, without waiting for the cluster's next step.
function strategy.after_create(object, w)
  definition.accept(w, object.metadata.name)
end

local function row(object)
  return { object.metadata.name, object.metadata.creationTimestamp }
end

return kinds.make { group = "apiextensions.k8s.io", kind = "CustomResourceDefinition", plural = "customresourcedefinitions",
  short_names = { "crd", "crds" }, categories = { "api-extensions" }, namespaced = false, subresources = { status = true },
  strategy = strategy, row = row }
