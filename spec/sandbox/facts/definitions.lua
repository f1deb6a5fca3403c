-- CustomResourceDefinitions that a server takes or refuses: a sound one with one thing changed.
-- Each is { name, function(object, spec, version) }, which changes the definition in place.

local A = json.array

local function copy(value)
  if type(value) ~= "table" then return value end
  local new = setmetatable({}, getmetatable(value))
  for key, inner in pairs(value) do new[key] = copy(inner) end
  return new
end

local function column(name, type, path, format)
  return { name = name, type = type, jsonPath = path, format = format }
end

local function scale(spec, status, selector)
  return { scale = { specReplicasPath = spec, statusReplicasPath = status, labelSelectorPath = selector } }
end

return {
  { "as it is", function() end },
  { "another name", function(o) o.metadata.name = "bars.ex.io" end },
  { "no group", function(_, s) s.group = nil end },
  { "a group that is none", function(o, s)
    s.group = "ex_io"
    o.metadata.name = "foos.ex_io"
  end },
  { "a group without a dot", function(o, s)
    s.group = "ex"
    o.metadata.name = "foos.ex"
  end },
  { "an unknown scope", function(_, s) s.scope = "X" end },
  { "no scope", function(_, s) s.scope = nil end },
  { "no names", function(_, s) s.names = nil end },
  { "a plural with capitals", function(o, s)
    s.names.plural = "Foos"
    o.metadata.name = "Foos.ex.io"
  end },
  { "a kind that is no name", function(_, s) s.names.kind = "F_oo" end },
  { "no kind", function(_, s) s.names.kind = nil end },
  { "a singular that is no name", function(_, s) s.names.singular = "F_oo" end },
  { "a list of the kind's name", function(_, s) s.names.listKind = "Foo" end },
  { "short names and categories that are none", function(_, s) s.names.shortNames, s.names.categories = A { "A_" }, A { "C_" } end },
  { "no versions", function(_, s) s.versions = nil end },
  { "a version that is no name", function(_, _, v) v.name = "V_1" end },
  { "a version twice", function(_, s, v)
    s.versions[2] = copy(v)
    s.versions[2].storage = false
  end },
  { "no version stored", function(_, _, v) v.storage = false end },
  { "two versions stored", function(_, s, v)
    s.versions[2] = copy(v)
    s.versions[2].name = "v2"
  end },
  { "two versions, trouble in one schema", function(_, s, v)
    s.versions[2] = copy(v)
    s.versions[2].name, s.versions[2].storage = "v2", false
    s.versions[2].schema.openAPIV3Schema.properties.spec = {}
    s.versions[2].additionalPrinterColumns = A { column("", "x", "spec") }
  end },
  { "no schema", function(_, _, v) v.schema = nil end },
  { "an empty schema", function(_, _, v) v.schema = {} end },
  { "preserveUnknownFields", function(_, s) s.preserveUnknownFields = true end },
  { "conversion by nobody", function(_, s) s.conversion = { strategy = "Webhook" } end },
  { "an unknown conversion", function(_, s) s.conversion = { strategy = "X" } end },
  { "no conversion, with a webhook", function(_, s)
    s.conversion = { strategy = "None", webhook = { conversionReviewVersions = A { "v1" } } }
  end },
  { "columns that are none", function(_, _, v)
    v.additionalPrinterColumns = A { column("", "x", ".spec"), column("a", "string", "", "zz"), column("b", "string", "spec"),
      column("b", "date", ".spec["), column("c") }
  end },
  { "columns", function(_, _, v)
    v.additionalPrinterColumns = A { column("b", "string", '.spec.a[?(@.x=="y")].z'), column("c", "number", ".spec.b", "float") }
  end },
  { "a scale without paths", function(_, _, v) v.subresources = scale("", "x") end },
  { "a scale with paths elsewhere", function(_, _, v) v.subresources = scale(".status.x", ".spec.y", ".z") end },
  { "a scale with an index", function(_, _, v) v.subresources = scale(".spec.x[0]", ".status.y") end },
  { "versions that are no list", function(_, s) s.versions = "x" end },
  { "served that is no boolean", function(_, _, v) v.served = "x" end },
  { "a protected group", function(o, s)
    s.group = "x.k8s.io"
    o.metadata.name = "foos.x.k8s.io"
  end },
}
