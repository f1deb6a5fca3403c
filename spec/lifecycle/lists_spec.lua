-- The table of list kinds (lua/lists.lua) held against the OpenAPI document of the server that the specs run on.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local lists = require "lists"

local ROOTS = {
  Deployment = "io.k8s.api.apps.v1.Deployment", Service = "io.k8s.api.core.v1.Service",
  Ingress = "io.k8s.api.networking.v1.Ingress",
}

-- The schema at a path without indices, through references and items; nil where the server knows no such field.
local function schema_at(document, root, path)
  local function resolve(schema)
    while schema and schema["$ref"] do
      schema = document.definitions[schema["$ref"]:match("[^/]+$")]
    end
    return schema
  end
  local schema, field = resolve(document.definitions[root])
  for step in path:gmatch("[^.]+") do
    if not schema then return nil end
    if schema.items then schema = resolve(schema.items) end
    field = schema.properties and schema.properties[step]
    -- merge keys stand on the field, not on what it refers to
    schema = field and (field["$ref"] and resolve(field) or field)
  end
  return field
end

-- Every list field below a schema: path -> field.
local function walk(document, root, visit)
  local function go(schema, path, depth)
    if schema["$ref"] then schema = document.definitions[schema["$ref"]:match("[^/]+$")] end
    if not schema or depth > 12 then return end
    for name, field in pairs(schema.properties or {}) do
      local at = path == "" and name or path .. "." .. name
      if not (path == "" and name == "status") then
        if field.type == "array" then visit(at, field) end
        go(field.items or field, at, depth + 1)
      end
    end
  end
  go(document.definitions[root], "", 0)
end

describe("the table of list kinds", function()
  local document

  before_each(function()
    local answer = harness.share().cluster:request { path = "/openapi/v2", timeout = 60 }
    document = document or assert(json.decode(answer.body))
  end)

  for kind, root in pairs(ROOTS) do
    it("says of " .. kind .. " what the server says", function()
      local checked = 0
      for path, rule in pairs(lists.of(kind)) do
        local field = assert(schema_at(document, root, path), kind .. " has no field " .. path)
        assert.equal(rule.merge, field["x-kubernetes-patch-merge-key"], path .. ": merge key")
        -- without map keys of its own, apply uses the merge key
        local keys = field["x-kubernetes-list-map-keys"] or { field["x-kubernetes-patch-merge-key"] }
        assert.same(rule.keys, json.decode(json.encode(keys)), path .. ": map keys")
        checked = checked + 1
      end
      assert.truthy(checked > 0)
    end)

    it("misses no keyed list of " .. kind .. " that the policies write", function()
      local wanted = {}
      for _, manifest in ipairs(harness.rendered_children()) do
        if manifest.kind == kind then
          local function mark(value, path)
            if type(value) ~= "table" then return end
            if json.is_array(value) then
              wanted[path] = true
              for _, item in ipairs(value) do mark(item, path) end
            else
              for name, inner in pairs(value) do mark(inner, path == "" and name or path .. "." .. name) end
            end
          end
          mark(manifest, "")
        end
      end
      walk(document, root, function(path, field)
        if wanted[path] and field["x-kubernetes-patch-merge-key"] then
          assert.truthy(lists.rule(kind, path), "lists.lua does not know " .. kind .. " " .. path)
        end
      end)
    end)
  end
end)
