-- Patches and managedFields, against the real server: random writes to real objects, each answer compared with what
-- lua/sandbox/patch and lua/sandbox/managed.lua make of the same live object.
--
--   spec/cluster/kube --quiet -- build/moonphase --lua lua repl spec/sandbox/patch_real.lua [--steps 400] [--seed N]
--
-- Each step starts from the object that the server gave last and names its resourceVersion, so the controllers' own writes in
-- between make a conflict and no difference. What the sandbox's strategies do (status, generation, clusterIP) is
-- not looked at; a 422 of the server's validation is not compared either, but must not be a refusal here.

local include = require "include"
local random = include "spec/sandbox/patch/random.lua"
local builtin = require "sandbox.schema.builtin"
local decode = require "sandbox.schema.decode"
local structural = require "sandbox.schema.structural"
local managed = require "sandbox.managed"
local api_words = include "spec/cluster/api.lua"

local PATCHES = { json = require "sandbox.patch.json", merge = require "sandbox.patch.merge", strategic = require "sandbox.patch.strategic" }
local TYPES = { json = "application/json-patch+json", merge = "application/merge-patch+json",
  strategic = "application/strategic-merge-patch+json", apply = "application/apply-patch+yaml" }

local pick = random.pick

local function copy(value)
  if type(value) ~= "table" then return value end
  local new = setmetatable({}, getmetatable(value))
  for key, item in pairs(value) do new[key] = copy(item) end
  return new
end

-- Parts laid over an object, lists and all.
local function overlay(object, ...)
  for i = 1, select("#", ...) do object = PATCHES.merge.apply(object, (select(i, ...))) end
  return object
end

-- Kinds ---------------------------------------------------------------------------------------------------------------

local NAMESPACE = "patch-real"

local function built_in(group, kind, plural)
  local made = require("sandbox.kinds." .. plural)
  local node = builtin.node(group, "v1", kind)
  return { kind = kind, api_version = group == "" and "v1" or group .. "/v1", node = node, is_strategic = true, has_status = kind == "Deployment",
    path = (group == "" and "/api/v1" or "/apis/" .. group .. "/v1") .. "/namespaces/" .. NAMESPACE .. "/" .. plural,
    clean = function(object)
      local clean, why = decode.check(node, object)
      if not clean then return nil, why end
      if made.strategy.default then made.strategy.default(clean) end
      return clean
    end }
end

local META = builtin.definition "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

local function custom(crd)
  local node = structural.node(crd.spec.versions[1].schema.openAPIV3Schema)
  local group, version = crd.spec.group, crd.spec.versions[1].name
  return { kind = crd.spec.names.kind, api_version = group .. "/" .. version, node = node, has_status = true,
    path = ("/apis/%s/%s/namespaces/%s/%s"):format(group, version, NAMESPACE, crd.spec.names.plural),
    clean = function(object)
      local clean = structural.clean(node, object, true)
      local metadata, why = decode.check(META, object.metadata)
      if not metadata then return nil, why end
      return overlay(clean, { metadata = json.null }, { metadata = metadata })
    end }
end

-- Steps: what is sent, and what we make of it ----------------------------------------------------------------------

local MANAGERS = { "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9", "m10", "m11", "m12", "m13" }

local function manager() return math.random() < 0.7 and MANAGERS[math.random(3)] or pick(MANAGERS) end

local function drop_something(object)
  local map = pick { object.metadata.labels or {}, object.metadata.annotations or {}, object.data or {}, object.spec or {} }
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  if names[1] and map ~= object.spec then map[pick(names)] = nil end
end

-- The object as decoding has it, or nil and a failure without a code.
local function cleaned(kind, object)
  local clean, why = kind.clean(object)
  if not clean then return nil, { message = why } end
  return clean
end

local STEPS = {}

function STEPS.update(kind, live)
  local body = overlay(copy(live), random.part(kind.kind))
  if math.random() < 0.3 then drop_something(body) end
  if math.random() < 0.03 then body.metadata.managedFields = json.array { {} } end
  if math.random() < 0.03 then body.metadata.managedFields = json.array {} end
  if math.random() < 0.1 then body.metadata.managedFields = nil end
  return { method = "PUT", body = body, manager = manager() }, function(step, time)
    local new, why = cleaned(kind, body)
    if not new then return nil, why end
    return managed.after_update(live, new, step.manager, "Update", nil, kind.node, kind.api_version, time)
  end
end

function STEPS.again(_, live)
  return { method = "PUT", body = copy(live), manager = manager() }, function(step, time, kind)
    return managed.after_update(live, assert(kind.clean(step.body)), step.manager, "Update", nil, kind.node, kind.api_version, time)
  end
end

-- A status update. What its body says beside the status is dropped by the server, but managed all the same.
function STEPS.status(kind, live)
  local status = pick { { replicas = math.random(0, 2) }, { ready = math.random() < 0.5 }, {}, { observedGeneration = 1, replicas = 1 } }
  if kind.kind == "Contraption" then status = pick { { ready = math.random() < 0.5 }, { note = pick { "a", "b" } }, {} } end
  local body = overlay(copy(live), { status = json.null }, { status = status }, math.random() < 0.2 and random.part(kind.kind) or {})
  if math.random() < 0.1 then body.metadata.managedFields = json.array { {} } end
  return { method = "PUT", path = "/status", body = body, manager = manager() }, function(step, time)
    local new, why = cleaned(kind, body)
    if not new then return nil, why end
    local managing = managed.after_update(live, new, step.manager, "Update", "status", kind.node, kind.api_version, time)
    return managing
  end
end

local function patch_step(style, make)
  return function(kind, live)
    local patch = make(kind, live)
    return { method = "PATCH", style = style, body = patch, manager = manager() }, function(step, time)
      local new, text, failure = PATCHES[style].apply(live, patch, kind.node)
      if not new then return nil, failure or { message = text } end
      local clean, why = cleaned(kind, new)
      if not clean then return nil, why end
      return managed.after_update(live, clean, step.manager, "Update", nil, kind.node, kind.api_version, time)
    end
  end
end

STEPS.merge = patch_step("merge", function(kind, live)
  local patch = random.with_nulls(random.part(kind.kind), 0.15)
  patch.metadata = patch.metadata or {}
  patch.metadata.resourceVersion = live.metadata.resourceVersion
  return patch
end)

STEPS.strategic = patch_step("strategic", function(kind, live)
  local patch = random.strategic(kind.kind)
  patch.metadata = patch.metadata or {}
  patch.metadata.resourceVersion = live.metadata.resourceVersion
  return patch
end)

STEPS.json = patch_step("json", function(_, live)
  local list = random.operations(live)
  table.insert(list, 1, { op = "test", path = "/metadata/resourceVersion", value = live.metadata.resourceVersion })
  return list
end)

local function apply_config(kind, live, is_whole)
  local config = random.part(kind.kind, is_whole)
  config.apiVersion, config.kind = kind.api_version, kind.kind
  config.metadata = config.metadata or {}
  config.metadata.name, config.metadata.namespace = "x", NAMESPACE
  if live then config.metadata.resourceVersion = live.metadata.resourceVersion end
  if math.random() < 0.04 then config.spec = random.with_nulls(config.spec or {}, 0.2) end
  return config
end

local applied = {} -- configurations by manager, to apply again with a change

function STEPS.apply(kind, live)
  local name = pick { "a1", "a2", "a3", "kubectl" }
  local config = apply_config(kind, live)
  local before = applied[name]
  if before and math.random() < 0.6 then
    config = overlay(before, random.with_nulls(math.random() < 0.5 and config or {}, 0.1))
    if math.random() < 0.4 then drop_something(config) end
    config.apiVersion, config.kind = kind.api_version, kind.kind
    config.metadata = overlay(config.metadata or {}, { name = "x", namespace = NAMESPACE, resourceVersion = live.metadata.resourceVersion })
  end
  local force = math.random() < 0.6
  return { method = "PATCH", style = "apply", body = config, manager = name, force = force }, function(step, time)
    local new, failure = managed.apply(live, config, step.manager, force, kind.node, kind.api_version, time)
    if not new then return nil, failure end
    applied[name] = config
    return cleaned(kind, new)
  end
end

function STEPS.create(kind)
  applied = {}
  local config = apply_config(kind, nil, true)
  if math.random() < 0.5 then
    return { method = "PATCH", style = "apply", body = config, manager = "a1" }, function(step, time)
      local new, failure = managed.apply(nil, config, "a1", false, kind.node, kind.api_version, time)
      if not new then return nil, failure end
      applied[step.manager] = config
      return cleaned(kind, new)
    end
  end
  if math.random() < 0.3 then
    local annotations = config.metadata.annotations or {}
    config.metadata.annotations = annotations
    local last = copy(config)
    last.metadata.annotations = {}
    annotations["kubectl.kubernetes.io/last-applied-configuration"] = json.encode(last)
  end
  return { method = "POST", body = config, manager = manager() }, function(step, time)
    local new, why = cleaned(kind, config)
    if not new then return nil, why end
    return managed.after_update(nil, new, step.manager, "Update", nil, kind.node, kind.api_version, time)
  end
end

local function choose(kind)
  local roll = math.random()
  if kind.has_status and roll > 0.92 then return "status" end
  if roll < 0.35 then return "apply" end
  if roll < 0.55 then return "update" end
  if roll < 0.6 then return "again" end
  if roll < 0.75 then return "merge" end
  if kind.is_strategic and roll < 0.9 then return "strategic" end
  return "json"
end

-- Comparing -----------------------------------------------------------------------------------------------------------

-- What the strategies see to, and what is not ours.
local function comparable(object, kind, step)
  if step.path == "/status" then return object.metadata.managedFields or json.array {} end
  local new = copy(object)
  for _, name in ipairs { "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink", "namespace" } do new.metadata[name] = nil end
  new.status = nil
  if kind.kind == "Service" then
    for _, name in ipairs { "clusterIP", "clusterIPs" } do new.spec[name] = nil end
  end
  return new
end

local function shown(value)
  return value == nil and "nothing" or json.encode(value):sub(1, 300)
end

local function differences(path, a, b, found)
  if json.equal(a, b) or #found > 5 then return found end
  if type(a) == "table" and type(b) == "table" and json.is_array(a) == json.is_array(b) then
    local keys = {}
    for key in pairs(a) do keys[key] = true end
    for key in pairs(b) do keys[key] = true end
    for key in pairs(keys) do
      if a[key] == nil or b[key] == nil then
        found[#found + 1] = ("%s.%s: here %s, real %s"):format(path, key, shown(a[key]), shown(b[key]))
      else
        differences(path .. "." .. key, a[key], b[key], found)
      end
    end
    return found
  end
  found[#found + 1] = ("%s: here %s, real %s"):format(path, shown(a), shown(b))
  return found
end

local function entry_time(object, name, operation)
  for _, entry in ipairs(object and object.metadata.managedFields or {}) do
    if entry.manager == name and entry.operation == operation then return entry.time end
  end
end

local function newest_time(object)
  local newest
  for _, entry in ipairs(object and object.metadata.managedFields or {}) do
    if not newest or entry.time > newest then newest = entry.time end
  end
  return newest
end

-- The time to compute with: the real entry's if it is new; a mark if the server kept it although the second is another.
local function time_of(step, live, real, started)
  local operation = step.style == "apply" and "Apply" or "Update"
  local was, is = entry_time(live, step.manager, operation), entry_time(real, step.manager, operation)
  if is and is ~= was then return is end
  if was and was < started then return "KEPT" end
  return is or newest_time(real) or started
end

local function sorted_causes(failure)
  local list = {}
  for _, cause in ipairs(failure.details and failure.details.causes or {}) do list[#list + 1] = tostring(cause.message) .. " " .. tostring(cause.field) end
  table.sort(list)
  return table.concat(list, "\n")
end

-- nil, or what differs. The order of managers in a conflict's causes is random in Go.
local function compare(expected, failure, answer, real, kind, step)
  if answer.status >= 400 then
    if expected then
      if answer.status == 422 and real.reason == "Invalid" and real.details and real.details.kind then return nil, "invalid" end
      return { ("here it works, real %d %s"):format(answer.status, answer.body:sub(1, 500)) }
    end
    if failure.code == nil then return nil, "undecodable" end
    local first = "The order in patch list" -- of several lists, the one that Go's map gives first
    if failure.code == real.code and failure.message:sub(1, #first) == first and real.message:sub(1, #first) == first then return nil, "refused" end
    if failure.code ~= real.code or failure.message ~= real.message or (failure.reason or "") ~= (real.reason or "")
      or sorted_causes(failure) ~= sorted_causes(real) then
      return { ("here %s\nreal %s"):format(json.encode(failure), answer.body) }
    end
    return nil, "refused"
  end
  if not expected then return { "here it fails: " .. json.encode(failure) .. "; real " .. answer.status } end
  local found = differences("", comparable(expected, kind, step), comparable(real, kind, step), {})
  if found[1] then return found end
  return nil, "same"
end

-- Running -------------------------------------------------------------------------------------------------------------

-- The answer. nil if there is none: the server panics over some JSON patches.
local function send(cluster, kind, step)
  local query = { fieldManager = step.manager, force = step.force and "true" or nil }
  local answer, why = cluster:request { method = step.method, path = kind.path .. (step.method == "POST" and "" or "/x" .. (step.path or "")),
    query = query, content_type = step.style and TYPES[step.style] or nil, body = json.encode(step.body) }
  if not answer and step.style ~= "json" then error(why, 0) end
  return answer
end

local function remove(cluster, kind)
  for _ = 1, 100 do
    local answer = assert(cluster:request { path = kind.path .. "/x" })
    if answer.status == 404 then return end
    if json.decode(answer.body).metadata.finalizers then
      cluster:request { method = "PATCH", path = kind.path .. "/x", content_type = TYPES.merge, body = { metadata = { finalizers = json.null } } }
    end
    cluster:request { method = "DELETE", path = kind.path .. "/x", body = { kind = "DeleteOptions", apiVersion = "v1", propagationPolicy = "Background" } }
    loop.sleep(0.05)
  end
  error(kind.path .. "/x does not go away")
end

local counts = {}

local function count(name, outcome)
  counts[name] = counts[name] or {}
  counts[name][outcome] = (counts[name][outcome] or 0) + 1
end

-- One step: the live object after it; raises at a difference.
local function run_step(cluster, kind, live, name)
  local step, model = STEPS[name](kind, live)
  if math.random() < 0.01 then loop.sleep(1.05) end
  local started = os.date("!%Y-%m-%dT%H:%M:%SZ")
  local answer = send(cluster, kind, step)
  local real = answer and json.decode(answer.body) or {}
  local is_stale = real.code == 409 and real.reason == "Conflict" and not (real.details and real.details.causes)
  if not answer or is_stale or step.style == "json" and answer.status == 422 and kind.kind == "Deployment" then
    count(name, answer and (is_stale and "stale" or "refused") or "no answer")
    return json.decode(assert(cluster:request { path = kind.path .. "/x" }).body)
  end
  local expected, failure = model(step, time_of(step, live, answer.status < 300 and real or nil, started), kind)
  local found, outcome = compare(expected, failure, answer, real, kind, step)
  if found then
    error(("%s of %s by %s (force %s):\nlive %s\nbody %s\n  %s"):format(name, kind.kind, step.manager, step.force, live and json.encode(live),
      json.encode(step.body), table.concat(found, "\n  ")), 0)
  end
  count(name, outcome)
  return answer.status < 300 and real or live
end

local function options()
  local found = { steps = 400, seed = os.time() }
  for i = 1, #args, 2 do found[args[i]:gsub("^%-%-", "")] = math.tointeger(tonumber(args[i + 1])) or args[i + 1] end
  return found
end

local function setup(cluster)
  local api = api_words.new(cluster)
  api:ask({ method = "POST", path = "/api/v1/namespaces", body = { metadata = { name = NAMESPACE } } }, { [409] = true })
  local kinds = { built_in("apps", "Deployment", "deployments"), built_in("", "Service", "services"), built_in("", "ConfigMap", "configmaps") }
  for _, file in ipairs { "crds/phdeployments.yaml", "spec/sandbox/patch/gadget.yaml" } do
    local crd = yaml.decode(assert(fs.read(file)), file)[1]
    api:ask({ method = "POST", path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", body = crd }, { [409] = true })
    local kind = custom(crd)
    api_words.eventually(kind.kind .. " is served", 20, function()
      return cluster:request({ path = kind.path }).status == 200
    end)
    kinds[#kinds + 1] = kind
  end
  return kinds
end

local wanted = options()
print(("patch_real: %d steps, --seed %d"):format(wanted.steps, wanted.seed))
local cluster = assert(kube.open {})
local kinds = setup(cluster)
math.randomseed(wanted.seed)
local done, failures = 0, 0
while done < wanted.steps and failures < (wanted.failures or 1) do
  local kind = kinds[math.random(#kinds)]
  if not wanted.kind or kind.kind == wanted.kind then
    remove(cluster, kind)
    local ok, live = pcall(run_step, cluster, kind, nil, "create")
    local left = math.random(10, 40)
    while ok and live and live.metadata and left > 0 do
      ok, live = pcall(run_step, cluster, kind, live, choose(kind))
      left, done = left - 1, done + 1
    end
    if not ok then
      failures = failures + 1
      print("FAIL " .. tostring(live))
    end
    remove(cluster, kind)
  end
end
for name, outcomes in pairs(counts) do print(name, json.encode(outcomes)) end
print(("%d random steps, %d with a difference"):format(done, failures))
print(("%d passed, %d failed"):format(failures == 0 and 1 or 0, failures > 0 and 1 or 0))
return failures == 0 and 0 or 1
