-- World files: the nodes of the simulated cluster, what its images do, and how long things take.
--
-- A file is one YAML document (see README.md, "World files"). It is read whole and checked before anything is made of it: unknown keys
-- and values of a wrong kind are refused with a sentence that names the place. Without a file there is one node with
-- room for most samples, and every image runs.

local images = require "sandbox.controllers.images"

local M = {}

-- Seconds that things take, unless the file says otherwise; event_ttl: how long Events are kept (0: for ever).
M.TIMINGS = { pull = 0.5, check = 0.05, start = 0.2, stop = 0.2, init = 0.2, namespace = 0, event_ttl = 3600 }

local NODE = { cpu = "16", memory = "64Gi", pods = "110", ["nvidia.com/gpu"] = "2", ["ephemeral-storage"] = "200Gi" }

local MOST = { nodes = 5000, images = 10000, text = 4096, lines = 10000 }

local NONE = {}

local function fail(where, text, ...)
  return nil, where .. ": " .. text:format(...)
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

local function is_map(value) return type(value) == "table" and not json.is_array(value) end

-- nil, or the sentence about a key that does not belong.
local function unknown_key(map, known, where)
  for _, key in ipairs(sorted_keys(map)) do
    if not known[key] then
      return ('%s: there is no key "%s"; known are %s'):format(where, key, table.concat(sorted_keys(known), ", "))
    end
  end
end

local function is_text(value) return type(value) == "string" and #value > 0 and #value <= MOST.text end

local function is_number(value) return type(value) == "number" and value >= 0 and value <= 1e9 end

-- Resources

local function resources_of(map, where)
  if not is_map(map) then return fail(where, "must be a map of resources to quantities") end
  local result = {}
  for _, name in ipairs(sorted_keys(map)) do
    local value = map[name]
    local text = type(value) == "number" and ("%.14g"):format(value) or value
    if type(text) ~= "string" or not quantity.units(text) then
      return fail(where .. "." .. name, "is no quantity, such as 4, 500m or 16Gi")
    end
    result[name] = text
  end
  return result
end

local NODE_KEYS = { name = true, capacity = true, allocatable = true, labels = true, annotations = true, taints = true,
  unschedulable = true, count = true }
local EFFECTS = { NoSchedule = true, PreferNoSchedule = true, NoExecute = true }

local function texts_of(map, where)
  if map == nil then return {} end
  if not is_map(map) then return fail(where, "must be a map of names to texts") end
  local result = {}
  for name, value in pairs(map) do
    if type(value) == "table" then return fail(where .. "." .. tostring(name), "must be a text") end
    result[name] = tostring(value)
  end
  return result
end

local function taints_of(list, where)
  local taints = json.array {}
  if list == nil then return taints end
  if not json.is_array(list) then return fail(where, "must be a list of taints (key, value, effect)") end
  for index, taint in ipairs(list) do
    local place = ("%s[%d]"):format(where, index - 1)
    if not is_map(taint) or not is_text(taint.key) then return fail(place, "must be a taint with a key, and an effect") end
    local why = unknown_key(taint, { key = true, value = true, effect = true }, place)
    if why then return nil, why end
    if not EFFECTS[taint.effect] then return fail(place .. ".effect", "must be NoSchedule, PreferNoSchedule or NoExecute") end
    taints[index] = { key = taint.key, value = taint.value ~= nil and tostring(taint.value) or nil, effect = taint.effect }
  end
  return taints
end

local function node_of(entry, where)
  if type(entry) == "string" then entry = { name = entry } end
  if not is_map(entry) then return fail(where, "must be the name of a node, or a map with name and capacity") end
  local why = unknown_key(entry, NODE_KEYS, where)
  if why then return nil, why end
  if not is_text(entry.name) or #entry.name > 63 or not entry.name:find("^[a-z0-9][a-z0-9.-]*$") then
    return fail(where .. ".name", "must be lower-case letters, digits, - and . (at most 63)")
  end
  if entry.unschedulable ~= nil and type(entry.unschedulable) ~= "boolean" then
    return fail(where .. ".unschedulable", "must be true or false")
  end
  if entry.count ~= nil and (math.type(entry.count) ~= "integer" or entry.count < 1 or entry.count > MOST.nodes) then
    return fail(where .. ".count", "must be a whole number from 1 to %d", MOST.nodes)
  end
  local node = { name = entry.name, unschedulable = entry.unschedulable == true, count = entry.count }
  for field, read in pairs { labels = texts_of, annotations = texts_of, taints = taints_of } do
    node[field], why = read(entry[field], where .. "." .. field)
    if not node[field] then return nil, why end
  end
  node.capacity, why = resources_of(entry.capacity or NODE, where .. ".capacity")
  if not node.capacity then return nil, why end
  for _, name in ipairs { "cpu", "memory", "pods" } do node.capacity[name] = node.capacity[name] or NODE[name] end
  node.allocatable, why = resources_of(entry.allocatable or node.capacity, where .. ".allocatable")
  if not node.allocatable then return nil, why end
  return node
end

-- "count: 3" of node "gpu" makes gpu-1, gpu-2, gpu-3.
local function nodes_of(list)
  local nodes, seen = {}, {}
  if list == nil then list = json.array { { name = "node-1" } } end
  if not json.is_array(list) then return fail("nodes", "must be a list") end
  for index, entry in ipairs(list) do
    local node, why = node_of(entry, ("nodes[%d]"):format(index - 1))
    if not node then return nil, why end
    for number = 1, node.count or 1 do
      local copy = {}
      for key, value in pairs(node) do copy[key] = value end
      copy.count = nil
      if node.count then copy.name = node.name .. "-" .. number end
      if seen[copy.name] then return fail(("nodes[%d].name"):format(index - 1), 'there is another node "%s"', copy.name) end
      if #nodes >= MOST.nodes then return fail("nodes", "there are more than %d", MOST.nodes) end
      seen[copy.name], nodes[#nodes + 1] = true, copy
    end
  end
  return nodes
end

-- Images

local READERS = {
  string = function(value) return is_text(value) and value or nil, "must be a text" end,
  number = function(value) return is_number(value) and value or nil, "must be a number of seconds" end,
  boolean = function(value)
    if type(value) == "boolean" then return value end
    return nil, "must be true or false"
  end,
  integer = function(value) return math.type(value) == "integer" and value >= 0 and value <= 255 and value or nil, "must be 0 to 255" end,
  strings = function(value)
    if type(value) == "string" then value = json.array { value } end
    if not json.is_array(value) or #value > MOST.lines then return nil, "must be a list of lines" end
    for _, line in ipairs(value) do
      if type(line) ~= "string" or #line > MOST.text then return nil, "must be a list of lines" end
    end
    return value
  end,
}

-- What an image does, from a name or a map. -> table | nil, text
function M.behaviour(value, where)
  where = where or "the behaviour"
  if type(value) ~= "string" and not is_map(value) then
    return fail(where, "must be one of %s, or a map of what the image does", table.concat(sorted_keys(images.NAMED), ", "))
  end
  if type(value) == "string" then value = { like = value } end
  local why = unknown_key(value, images.FIELDS, where)
  if why then return nil, why end
  local checked = {}
  for _, key in ipairs(sorted_keys(value)) do
    local read, words = READERS[images.FIELDS[key]](value[key])
    if read == nil then return fail(where .. "." .. key, words) end
    checked[key] = read
  end
  if checked.pull and not images.PULLS[checked.pull] then
    return fail(where .. ".pull", "must be one of %s", table.concat(sorted_keys(images.PULLS), ", "))
  end
  if checked.like and not images.NAMED[checked.like] then
    return fail(where, 'there is no behaviour "%s"; known are %s', checked.like, table.concat(sorted_keys(images.NAMED), ", "))
  end
  return images.resolve(checked)
end

local function images_of(map)
  local entries = {}
  if map == nil then return images.catalogue {} end
  if not is_map(map) then return fail("images", "must be a map of images, or patterns with *, to what they do") end
  local names = sorted_keys(map)
  if #names > MOST.images then return fail("images", "there are more than %d", MOST.images) end
  -- Of two patterns the longer one says more: it comes first.
  table.sort(names, function(a, b)
    if #a ~= #b then return #a > #b end
    return a < b
  end)
  for index, name in ipairs(names) do
    if not is_text(name) then return fail("images", "the name of an image is empty or too long") end
    local behaviour, why = M.behaviour(map[name], ('images["%s"]'):format(name))
    if not behaviour then return nil, why end
    entries[index] = { name = name, behaviour = behaviour }
  end
  return images.catalogue(entries)
end

local function timings_of(map)
  local timings = {}
  for name, value in pairs(M.TIMINGS) do timings[name] = value end
  if map == nil then return timings end
  if not is_map(map) then return fail("timings", "must be a map of names to seconds") end
  local why = unknown_key(map, M.TIMINGS, "timings")
  if why then return nil, why end
  for name, value in pairs(map) do
    if not is_number(value) then return fail("timings." .. name, "must be a number of seconds") end
    timings[name] = value
  end
  return timings
end

-- Where services listen on this machine, for webhooks: { ["NAMESPACE/NAME"] = "HOST:PORT" }.
local function services_of(map)
  local services = {}
  if map == nil then return services end
  if not is_map(map) then return fail("services", "must be a map of NAMESPACE/NAME to HOST:PORT") end
  for name, address in pairs(map) do
    if not tostring(name):find("^[a-z0-9-]+/[a-z0-9-]+$") then return fail("services", '"%s" must be NAMESPACE/NAME', tostring(name)) end
    if type(address) ~= "string" or not (address:find("^127%.[%d.]+:%d+$") or address:find("^localhost:%d+$")
      or address:find("^%[::1%]:%d+$")) then
      return fail("services." .. name, "must be an address of this machine, such as 127.0.0.1:9443")
    end
    services[name] = address
  end
  return services
end

local KEYS = { nodes = true, images = true, timings = true, events = true, namespaces = true, services = true }

-- A scene from a decoded document (nil: the one without a file).
-- -> { nodes=, images=, timings=, events=, namespaces=, services= } | nil, text
function M.check(document)
  document = document or NONE
  if not is_map(document) then return fail("the world file", "must be a map with nodes, images, timings") end
  local why = unknown_key(document, KEYS, "the world file")
  if why then return nil, why end
  local scene = { events = document.events ~= false }
  if document.events ~= nil and type(document.events) ~= "boolean" then return fail("events", "must be true or false") end
  scene.nodes, why = nodes_of(document.nodes)
  if not scene.nodes then return nil, why end
  scene.images, why = images_of(document.images)
  if not scene.images then return nil, why end
  scene.timings, why = timings_of(document.timings)
  if not scene.timings then return nil, why end
  scene.services, why = services_of(document.services)
  if not scene.services then return nil, why end
  scene.namespaces = json.array {}
  if document.namespaces ~= nil and not json.is_array(document.namespaces) then return fail("namespaces", "must be a list of names") end
  for index, name in ipairs(document.namespaces or NONE) do
    if not is_text(name) or #name > 63 or not name:find("^[a-z0-9][a-z0-9-]*$") then
      return fail(("namespaces[%d]"):format(index - 1), "must be a name of lower-case letters, digits and -")
    end
    scene.namespaces[index] = name
  end
  return scene
end

-- A scene from the text of a world file; name: of the file, for sentences. -> scene | nil, text
function M.parse(text, name)
  local documents, why = yaml.decode(text, name)
  if not documents then return nil, why end
  if #documents > 1 then return nil, ("%s: a world file is one YAML document, this has %d"):format(name, #documents) end
  local document = documents[1]
  if document == json.null then document = nil end
  local scene, trouble = M.check(document)
  if not scene then return nil, ("%s: %s"):format(name, trouble) end
  return scene
end

-- The Node object of a scene's node; number: its place, for its address.
function M.node_object(node, number, time)
  local labels = { ["kubernetes.io/hostname"] = node.name, ["kubernetes.io/os"] = "linux", ["kubernetes.io/arch"] = "amd64",
    ["beta.kubernetes.io/os"] = "linux", ["beta.kubernetes.io/arch"] = "amd64" }
  for name, value in pairs(node.labels) do labels[name] = value end
  local function condition(kind, status, reason, message)
    return { type = kind, status = status, reason = reason, message = message, lastHeartbeatTime = time, lastTransitionTime = time }
  end
  return {
    apiVersion = "v1", kind = "Node",
    metadata = { name = node.name, labels = labels, annotations = next(node.annotations) and node.annotations },
    spec = { taints = node.taints[1] and node.taints or nil, unschedulable = node.unschedulable or nil,
      podCIDR = ("10.244.%d.0/24"):format(number % 256), providerID = "sandbox://" .. node.name },
    status = {
      capacity = node.capacity, allocatable = node.allocatable,
      addresses = json.array { { type = "InternalIP", address = ("10.0.%d.%d"):format(number // 250, number % 250 + 1) },
        { type = "Hostname", address = node.name } },
      conditions = json.array {
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
      },
      daemonEndpoints = { kubeletEndpoint = { Port = 10250 } },
      nodeInfo = { architecture = "amd64", operatingSystem = "linux", kubeletVersion = "v1.20.2", kubeProxyVersion = "v1.20.2",
        containerRuntimeVersion = "docker://19.3.13", kernelVersion = "sandbox", osImage = "moonphase sandbox",
        machineID = "", systemUUID = "", bootID = "" },
    },
  }
end

-- The Lease by which a node says that it is alive. (Nobody renews it, and nobody looks at it.) time: as metav1.MicroTime.
function M.lease_object(node, object, time)
  return { apiVersion = "coordination.k8s.io/v1", kind = "Lease", metadata = { name = node.name, namespace = "kube-node-lease",
      ownerReferences = json.array { { apiVersion = "v1", kind = "Node", name = node.name, uid = object.metadata.uid } } },
    spec = { holderIdentity = node.name, leaseDurationSeconds = 40, renewTime = time } }
end

return M
