-- Random parts of objects, and random patches made of them, for spec/sandbox/patch_real.lua.
--
-- Values come from small pools, so that steps meet: the same label, container and port again and again, with the same
-- value or another. A part is always one that the server's validation takes.

local M = {}

local function pick(list) return list[math.random(#list)] end
local function maybe(chance, value) if math.random() < chance then return value end end

M.pick, M.maybe = pick, maybe

-- A map with some of the keys.
local function some(keys, values, chance)
  local map = {}
  for _, key in ipairs(keys) do
    if math.random() < (chance or 0.4) then map[key] = pick(values) end
  end
  return map
end

-- A list with some of the items, in random order; nil for none.
local function list_of(makers, chance)
  local list = json.array {}
  for _, make in ipairs(makers) do
    if math.random() < chance then table.insert(list, math.random(#list + 1), make()) end
  end
  return list[1] ~= nil and list or nil
end

local function or_nil(map) return next(map) and map or nil end

M.LABELS = { "one", "two", "three" }

local function metadata()
  return { labels = maybe(0.5, or_nil(some(M.LABELS, { "a", "b" }))),
    annotations = maybe(0.4, or_nil(some({ "example.com/x", "y", "z\"<" }, { "1", "2<" }))),
    finalizers = maybe(0.08, list_of({ function() return "test.dev/a" end, function() return "test.dev/b" end }, 0.6)) }
end

local function env(name)
  return function()
    if math.random() < 0.2 then return { name = name, valueFrom = { fieldRef = { fieldPath = "metadata.name" } } } end
    return { name = name, value = maybe(0.9, pick { "1", "2" }) }
  end
end

local function port(number, protocol)
  return function()
    return { containerPort = number, protocol = protocol, name = maybe(0.4, "p" .. number .. protocol:lower()) }
  end
end

local function probe()
  local found = { initialDelaySeconds = maybe(0.4, math.random(3)), periodSeconds = maybe(0.3, math.random(3)) }
  local kind = math.random(3)
  if kind == 1 then found.httpGet = { path = pick { "/", "/a" }, port = pick { 80, "http" } } end
  if kind == 2 then found.tcpSocket = { port = pick { 80, 81 } } end
  if kind == 3 then found.exec = { command = json.array { "true", pick { "a", "b" } } } end
  return found
end

local function volume(name)
  return function()
    if math.random() < 0.5 then return { name = name, emptyDir = { sizeLimit = maybe(0.3, pick { "1Gi", "2Gi" }) } } end
    return { name = name, configMap = { name = pick { "c", "d" } } }
  end
end

-- is_whole: with what a container must have, also when nothing is there to lay it over.
local function container(name, is_whole)
  return function()
    return { name = name, image = (is_whole or math.random() < 0.7) and pick { "a:1", "b:2" } or nil,
      args = maybe(0.3, json.array { pick { "x", "y" }, "z" }),
      env = maybe(0.5, list_of({ env "A", env "B", env "C" }, 0.6)),
      ports = maybe(0.5, list_of({ port(80, "TCP"), port(80, "UDP"), port(81, "TCP") }, 0.5)),
      resources = maybe(0.4, { limits = or_nil(some({ "cpu", "memory" }, { "1", "2" })), requests = or_nil(some({ "cpu" }, { "1" })) }),
      livenessProbe = maybe(0.3, probe()), imagePullPolicy = maybe(0.3, pick { "Always", "Never" }),
      volumeMounts = maybe(0.2, json.array { { name = "v", mountPath = pick { "/a", "/b" } } }),
      securityContext = maybe(0.2, { runAsUser = maybe(0.5, 5), capabilities = maybe(0.5, { add = json.array { "NET_ADMIN" } }) }),
      lifecycle = maybe(0.15, { preStop = { exec = { command = json.array { "x" } } } }) }
  end
end

local function pod_spec(is_whole)
  local containers = list_of({ container("a", is_whole), container("b", is_whole), container("c", is_whole) }, 0.5)
  if is_whole and not containers then containers = json.array { container("a", true)() } end
  return { containers = containers,
    volumes = is_whole and json.array { volume "v"(), volume "w"() } or maybe(0.4, list_of({ volume "v", volume "w", volume "x" }, 0.6)),
    nodeSelector = maybe(0.3, or_nil(some({ "k", "l" }, { "1", "2" }))),
    tolerations = maybe(0.2, json.array { { key = pick { "t", "u" }, operator = "Exists" } }),
    terminationGracePeriodSeconds = maybe(0.3, math.random(30)), hostNetwork = maybe(0.1, math.random() < 0.5),
    securityContext = maybe(0.2, { fsGroup = maybe(0.6, pick { 1, 2 }) }),
    imagePullSecrets = maybe(0.2, list_of({ function() return { name = "s" } end, function() return { name = "t" } end }, 0.6)),
    affinity = maybe(0.1, { nodeAffinity = {} }) }
end

local PARTS = {}

function PARTS.Deployment(is_whole)
  local strategy = maybe(0.3, { type = "RollingUpdate", rollingUpdate = maybe(0.6, { maxSurge = pick { 1, "25%" } }) })
  if strategy and math.random() < 0.3 then strategy = { type = "Recreate" } end
  local labels = is_whole and { app = "x" } or maybe(0.3, or_nil(some(M.LABELS, { "a", "b" })))
  if is_whole then strategy = nil end
  return { spec = { replicas = maybe(0.5, math.random(0, 2)), paused = maybe(0.2, math.random() < 0.5), strategy = strategy,
    minReadySeconds = maybe(0.2, math.random(0, 2)), selector = is_whole and { matchLabels = { app = "x" } } or nil,
    template = { metadata = labels and { labels = labels } or nil, spec = pod_spec(is_whole) } } }
end

function PARTS.Service(is_whole)
  local function service_port(number, protocol)
    return function()
      return { port = number, protocol = protocol, name = "n" .. number .. protocol:lower(), targetPort = maybe(0.6, pick { 80, "web", number }) }
    end
  end
  local ports = list_of({ service_port(80, "TCP"), service_port(80, "UDP"), service_port(81, "TCP") }, 0.5)
  if is_whole and not ports then ports = json.array { service_port(80, "TCP")() } end
  return { spec = { ports = ports, selector = maybe(0.5, or_nil(some({ "app", "b" }, { "x", "y" }))),
    sessionAffinity = maybe(0.2, "None"), publishNotReadyAddresses = maybe(0.3, math.random() < 0.5),
    externalIPs = maybe(0.2, json.array { pick { "10.1.1.1", "10.1.1.2" } }) } }
end

function PARTS.ConfigMap()
  return { data = maybe(0.8, some({ "a", "b", "c.txt", "d" }, { "1", "2", "" })), binaryData = maybe(0.2, some({ "e" }, { "AAAA", "AAAB" })) }
end

function PARTS.Contraption()
  local function pair(number, protocol)
    return function()
      return { port = number, protocol = protocol, note = maybe(0.5, pick { "x", "y" }),
        inner = maybe(0.4, some({ "a", "b" }, { "1", "2" })) }
    end
  end
  local function word(text) return function() return text end end
  local function thing() return some({ "p", "q" }, { "1", 2, true, { r = "s" }, json.array { 1 } }) end
  return { spec = { size = maybe(0.5, math.random(3)), name = maybe(0.3, pick { "n", "m" }),
    words = maybe(0.3, json.array { pick { "a", "b" } }), tags = maybe(0.4, list_of({ word "a", word "b", word "c<" }, 0.5)),
    numbers = maybe(0.3, list_of({ word(1), word(2), word(30) }, 0.5)),
    pairs = maybe(0.5, list_of({ pair(1, "TCP"), pair(1, "UDP"), pair(2), pair(3, "TCP") }, 0.4)),
    labels = maybe(0.4, some({ "k", "l" }, { "1", "2" })),
    deep = maybe(0.4, some({ "d", "e" }, { { a = "1" }, { b = 2 }, {} })),
    whole = maybe(0.3, some({ "a", "b" }, { "1", "2" })), free = maybe(0.4, thing()),
    mixed = maybe(0.4, { known = maybe(0.4, "k"), more = maybe(0.4, some({ "x" }, { "1", "2" })), other = maybe(0.6, thing()),
      scalar = maybe(0.3, pick { 1, "1" }) }) } }
end

function PARTS.PhDeployment(is_whole)
  local spec = is_whole and { displayName = "d", userId = "u", userName = "u", groupId = "g", groupName = "g" } or {}
  if is_whole or math.random() < 0.5 then
    spec.predictors = json.array { { name = "p", modelImage = pick { "a:1", "b:2" }, instanceType = "cpu", replicas = maybe(0.5, 2),
      metadata = maybe(0.4, some({ "A", "B" }, { "1", "2" })) } }
  end
  spec.stop, spec.replicas = maybe(0.3, math.random() < 0.5), maybe(0.3, math.random(0, 3))
  spec.env = maybe(0.4, list_of({ env "A", env "B" }, 0.6))
  spec.endpoint = maybe(0.3, { accessType = pick { "public", "private" } })
  return { spec = spec }
end

-- A part of an object of this kind; is_whole: one that can be created.
function M.part(kind, is_whole)
  local part = PARTS[kind](is_whole)
  part.metadata = metadata()
  if next(part.metadata) == nil then part.metadata = nil end
  return part
end

-- Some fields become null, which takes them away.
local KEEP = { selector = true, containers = true, template = true, spec = true, image = true, name = true, predictors = true, ports = true,
  modelImage = true, instanceType = true, accessType = true, metadata = true, volumes = true }

function M.with_nulls(value, chance)
  local is_list = json.is_array(value)
  local new = is_list and json.array {} or {}
  for key, item in pairs(value) do
    if type(item) == "table" then item = M.with_nulls(item, chance) end
    if not is_list and not KEEP[key] and math.random() < chance then item = json.null end
    new[key] = item
  end
  return new
end

-- A list of one key's items, some told to go, with an order beside it.
local function direct_list(map, name, key)
  local list = map[name]
  if not list then return end
  local order = json.array {}
  for _, item in ipairs(list) do
    if key and math.random() < 0.15 then
      for field in pairs(item) do
        if field ~= key then item[field] = nil end
      end
      item["$patch"] = "delete"
    elseif key then
      table.insert(order, math.random() < 0.7 and #order + 1 or 1, { [key] = item[key] })
    else
      order[#order + 1] = item
    end
  end
  if math.random() < 0.08 then table.insert(list, { ["$patch"] = "replace" }) end
  if math.random() < 0.4 then map["$setElementOrder/" .. name] = order end
end

-- A strategic merge patch: a part with nulls and directives.
function M.strategic(kind)
  local patch = M.with_nulls(M.part(kind), 0.06)
  local meta, spec = patch.metadata, patch.spec
  if meta and math.random() < 0.2 then
    meta["$deleteFromPrimitiveList/finalizers"], meta.finalizers = json.array { pick { "test.dev/a", "test.dev/b" } }, nil
  end
  if meta and type(meta.labels) == "table" and math.random() < 0.2 then meta.labels["$patch"] = "replace" end
  if type(spec) ~= "table" then return patch end
  if kind == "Service" and type(spec.ports) == "table" then direct_list(spec, "ports", "port") end
  if kind ~= "Deployment" then return patch end
  local pod = spec.template.spec
  for _, item in ipairs(type(pod.containers) == "table" and pod.containers or {}) do
    if type(item.env) == "table" then direct_list(item, "env", "name") end
    if type(item.ports) == "table" then direct_list(item, "ports", "containerPort") end
    if type(item.livenessProbe) == "table" and math.random() < 0.5 then item.livenessProbe["$patch"] = "replace" end
  end
  if type(pod.volumes) == "table" then
    for _, item in ipairs(pod.volumes) do
      if math.random() < 0.6 then item["$retainKeys"] = json.array { "name", item.emptyDir and "emptyDir" or "configMap" } end
    end
    direct_list(pod, "volumes", "name")
  end
  if type(pod.containers) == "table" then direct_list(pod, "containers", "name") end
  return patch
end

-- Paths into nowhere, and such as few objects have.
local PATHS = { "/metadata/labels/one", "/metadata/annotations/a~1b", "/metadata/finalizers/-", "/spec/template/spec/containers/1",
  "/spec/template/spec/containers/0/env/0", "/spec/ports/-1", "/data/c.txt", "/spec/pairs/0/note", "/spec/free/p", "/spec/tags/-", "/spec/nowhere/x", "" }

-- Every path below the value, with what is there.
local function paths_of(value, prefix, into)
  for key, item in pairs(value) do
    local step = json.is_array(value) and key - 1 or key:gsub("~", "~0"):gsub("/", "~1")
    local path = prefix .. "/" .. step
    into[#into + 1] = { path = path, value = item }
    if type(item) == "table" then paths_of(item, path, into) end
  end
  return into
end

local function other(value)
  if type(value) == "number" then return math.random(3) end
  if type(value) == "string" then return pick { "1", "2", "a", "b" } end
  if type(value) == "boolean" then return not value end
  return value
end

-- A JSON patch of one to three operations, mostly on what the object has.
function M.operations(live)
  local there = {}
  for _, part in ipairs { "spec", "data" } do
    if live[part] then paths_of(live[part], "/" .. part, there) end
  end
  for _, part in ipairs { "labels", "annotations" } do
    if live.metadata[part] then paths_of(live.metadata[part], "/metadata/" .. part, there) end
  end
  table.sort(there, function(a, b) return a.path < b.path end)
  local list = json.array {}
  for i = 1, math.random(3) do
    local at = there[1] and math.random() < 0.9 and pick(there) or { path = pick(PATHS), value = "x" }
    local operation = { op = pick { "add", "remove", "replace", "replace", "replace", "test", "copy", "move" }, path = at.path }
    if operation.op == "copy" or operation.op == "move" then
      operation.from, operation.path = at.path, pick { "/metadata/labels/one", "/metadata/annotations/y", "/spec/free/q", at.path }
    elseif operation.op == "test" then
      -- the server compares texts, its own with "<" written as \u003c: not so here
      local is_plain = not json.encode(at.value):find "<"
      operation.value = math.random() < 0.8 and is_plain and at.value or "x"
    elseif operation.op ~= "remove" then
      operation.value = math.random() < 0.9 and other(at.value) or pick { 1, "1", json.null }
    end
    list[i] = operation
  end
  return list
end

return M
