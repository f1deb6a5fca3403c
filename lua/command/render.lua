-- moonphase render: the children of the objects in a file, as YAML, without a cluster.

local apply = require "apply"
local at = require("inputs.request").at
local contract = require "contract"
local masked = require "masked"
local options = require "options"
local policies = require "policies"

local SPEC = {
  about = "Print the children that the policies make of a PhDeployment, without a cluster.\n"
    .. "The file holds PhDeployments and, for them, PhGroups and InstanceTypes. Of a Secret a digest is shown.",
  usage = "moonphase render -f FILE [-f FILE ...] [options]",
  { "f", "FILE", "manifests, YAML or JSON, or a folder of them (repeats; - is standard input)", many = true },
  { "policies", "DIR", "policies from a folder in place of the built-in ones" },
  { "settings", "FILE", "settings over those of the policies" },
  { "o", "yaml|json", "how to print (default yaml)" },
  example = "moonphase render -f crds/samples",
}

local function read(path)
  if path == "-" then return io.read("a") end
  local text, why = fs.read(path)
  if not text then options.fail(1, why) end
  return text
end

-- A folder stands for the manifests in it, as for kubectl.
local function files_of(paths)
  local files = {}
  for _, path in ipairs(paths) do
    if fs.kind(path) == "directory" then
      for _, name in ipairs(fs.list(path) or {}) do
        if name:match("%.ya?ml$") or name:match("%.json$") then files[#files + 1] = path .. "/" .. name end
      end
    else
      files[#files + 1] = path
    end
  end
  return files
end

local function manifests(paths)
  local all = {}
  for _, path in ipairs(files_of(paths)) do
    local text = read(path)
    local whole = text:find "^%s*{" and json.decode(text) -- JSON is YAML, but for how it writes what is beyond 16 bits
    local documents, why = whole and { whole }, nil
    if not documents then documents, why = yaml.decode(text, path) end
    if not documents then options.fail(1, why) end
    for i, document in ipairs(documents) do
      if type(document) ~= "table" or type(document.kind) ~= "string" then
        options.fail(1, ("%s: document %d is no Kubernetes object: it has no kind"):format(path, i))
      end
      for _, item in ipairs(document.kind == "List" and document.items or { document }) do
        if type(item.metadata) ~= "table" or type(item.metadata.name) ~= "string" then
          options.fail(1, ("%s: document %d has no metadata.name"):format(path, i))
        end
        all[#all + 1] = item
      end
    end
  end
  return all
end

local function identity(object, paths)
  for _, path in ipairs(paths) do
    local value = at(object, path)
    if value ~= nil and value ~= json.null then return value end
  end
end

local function find_input(declaration, object, all)
  if not declaration.kind then return { state = "unknown", reason = "NotAsked", message = "render asks nobody" } end
  local wanted, found = at(object, declaration.by), json.array {}
  for _, candidate in ipairs(all) do
    if candidate.kind == declaration.kind and wanted ~= nil and identity(candidate, declaration.match) == wanted then
      found[#found + 1] = candidate
    end
  end
  if #found == 0 then return { state = "missing" } end
  if #found > 1 then
    local names = json.array {}
    for i, candidate in ipairs(found) do names[i] = candidate.metadata.name end
    return { state = "ambiguous", objects = names }
  end
  return { state = "found", object = found[1] }
end

-- What a policy would see of an object that exists nowhere yet.
local function imagined(declaration, object, all, settings, digest)
  local seen = { object = object, revisions = json.array {}, children = {}, problems = json.array {},
    settings = settings, now = loop.wall_ms() // 1000, policy = { digest = digest } }
  for name in pairs(declaration.children) do seen.children[name] = {} end
  for name in pairs(declaration.watches or {}) do seen[name] = json.array {} end
  for name, input in pairs(declaration.inputs or {}) do seen[name] = find_input(input, object, all) end
  return seen
end

local function print_children(children, format)
  for _, child in ipairs(children) do
    if format == "json" then
      io.write(json.encode(child), "\n")
    else
      io.write("---\n", yaml.encode(child))
    end
  end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  if o.o and o.o ~= "yaml" and o.o ~= "json" then options.fail(2, "-o must be yaml or json, not '" .. o.o .. "'") end
  if #o.f == 0 then options.fail(2, "render needs a file: -f FILE") end
  local generation, settings = policies.load(o.policies, o.settings)
  if not generation then options.fail(1, settings) end
  local declaration, why = contract.declaration(generation, "phdeployment")
  if not declaration then options.fail(1, why) end
  local all, status, count = manifests(o.f), 0, 0
  for _, object in ipairs(all) do
    if object.kind == declaration.kind.kind then
      count = count + 1
      object.metadata.namespace = object.metadata.namespace or "default"
      object.metadata.uid = object.metadata.uid or "00000000-0000-0000-0000-000000000000"
      object.metadata.generation = object.metadata.generation or 1
      local decision, failure = generation:call("phdeployment", "decide", imagined(declaration, object, all, settings, generation.digest))
      if decision then decision, failure = contract.decision(decision) end
      if not decision then options.fail(1, policies.explain_error(failure)) end
      local owner = { api_version = declaration.kind.api_version, kind = declaration.kind.kind,
        name = object.metadata.name, namespace = object.metadata.namespace, uid = object.metadata.uid }
      local children = {}
      for i, child in ipairs(decision.children or {}) do children[i] = apply.complete(child, owner, declaration.label) end
      print_children(masked.children(children), o.o)
      if decision.status and decision.status.phase == "Failed" then
        io.stderr:write(("moonphase: %s would be Failed: %s\n"):format(object.metadata.name, tostring(decision.status.message)))
        status = 1
      end
    end
  end
  local clean, kept = generation:check_state()
  if not clean then options.fail(1, policies.explain_error(kept)) end
  if count == 0 then options.fail(1, "the files hold no " .. declaration.kind.kind) end
  return status
end)
