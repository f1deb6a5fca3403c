-- Built-in kinds against the real server: objects spoiled at random, created as a dry run on both sides. The status code, the
-- reason, every cause with its field and words, and the object that would be stored must be the same.
--
--   spec/cluster/kube --quiet -- build/moonphase --lua lua repl spec/sandbox/kinds_real.lua [--count 100] [--seed 1] [--kind pods]
--
-- What is not compared: the order of causes and messages of several causes (Go's maps have a random order), addresses of Go
-- pointers, node ports and addresses that were not asked for. Differences that are known, each for a reason, are in KNOWN.

local include = require "include"
local objects = include "spec/sandbox/kinds/objects.lua"
local spoil = include "spec/sandbox/kinds/spoil.lua"
local errors = require "sandbox.errors"
local registry = require "sandbox.registry"
local verbs = require "sandbox.verbs"
local view = require "sandbox.api.view"
local world = require "sandbox.world"

local options = { count = 100, seed = 1 }
for i = 1, #args, 2 do
  local name = args[i]:match("^%-%-(%l+)$")
  assert(name and args[i + 1], "usage: kinds_real.lua [--count N] [--seed N] [--kind NAME]")
  options[name] = tonumber(args[i + 1]) or args[i + 1]
end

-- Texts of causes that differ, and why.
local KNOWN = {
  "resource.Quantity{",          -- a dump of how an amount was parsed: here it is canonical text before it is checked
  "map[string]string",           -- an empty map and none at all print differently; the decoder here drops both
  "ResourceQuotaScope", "IngressRule", "LabelSelectorRequirement", -- the same, of lists
  "webhooks%[%d+%].sideEffects", -- "" and nothing at all are one here
}

local w = world.new { seed = options.seed, now_ms = 1767225600000 }
local kinds = registry.new(w)
assert(verbs.create(w, kinds:find("", "v1", "namespaces"), "", { metadata = { name = "default" } }))

local function pick(list) return list[w:random(#list)] end

local function is_known(text)
  for _, pattern in ipairs(KNOWN) do
    if text:find(pattern, 1, true) or text:find(pattern) then return true end
  end
  return false
end

local function without_addresses(text) return (text:gsub("0x[cC]0%x+", "0xADDRESS")) end

-- "field | reason | message" of each cause, sorted; without those that are known to differ.
local function causes_of(status)
  local lines = {}
  for _, one in ipairs(status.details and status.details.causes or {}) do
    local line = without_addresses(("%s | %s | %s"):format(one.field, one.reason, one.message))
    if not is_known(line) then lines[#lines + 1] = line end
  end
  table.sort(lines)
  return lines
end

local function same_message(real, ours)
  local count = real.details and real.details.causes and #real.details.causes or 0
  return count > 1 or without_addresses(real.message) == without_addresses(ours.message) or is_known(real.message)
end

local DROPPED = { "uid", "resourceVersion", "managedFields", "creationTimestamp" }

local function stripped(object, sent)
  for _, name in ipairs(DROPPED) do object.metadata[name] = nil end
  if object.kind ~= "Service" then return object end
  local spec, asked = object.spec, sent.spec or {}
  if (asked.clusterIP or "") == "" then spec.clusterIP, spec.clusterIPs = nil, nil end
  spec.healthCheckNodePort = nil
  for i, port in ipairs(spec.ports or {}) do
    if (((asked.ports or {})[i] or {}).nodePort or 0) == 0 then port.nodePort = nil end
  end
  return object
end

local function path_of(kind)
  return (kind.group == "" and "/api/" or "/apis/" .. kind.group .. "/") .. kind.version
    .. (kind.namespaced and "/namespaces/default/" or "/") .. kind.plural
end

local function copy(value) return json.decode(json.encode(value)) end

local function ask_here(kind, object)
  local record, failure = verbs.create(w, kind, kind.namespaced and "default" or "", copy(object), { dry_run = true })
  if not record then return failure.code, copy(errors.status(failure)) end
  return 201, copy(view.object(kind, record))
end

local function ask_there(cluster, kind, object)
  local answer = assert(cluster:request { method = "POST", path = path_of(kind), query = { dryRun = "All" }, body = object })
  return answer.status, assert(json.decode(answer.body))
end

-- What differs, as text, or nil.
local function compare(cluster, kind, object)
  local code, real = ask_there(cluster, kind, object)
  local own_code, ours = ask_here(kind, object)
  if code ~= own_code then return ("%d there, %d here: %s / %s"):format(code, own_code, real.message or "", ours.message or ""), code end
  if real.kind ~= "Status" then
    local a, b = json.encode(stripped(real, object)), json.encode(stripped(ours, object))
    return a ~= b and "there " .. a .. "\n  here  " .. b or nil, code
  end
  local a, b = causes_of(real), causes_of(ours)
  if real.reason ~= ours.reason or not json.equal(a, b) then
    return "there " .. table.concat(a, "\n        ") .. "\n  here  " .. table.concat(b, "\n        "), code
  end
  return not same_message(real, ours) and ("there %s\n  here  %s"):format(real.message, ours.message) or nil, code
end

local function try(cluster, name, row)
  local kind, good, bad, differ = assert(kinds:find(row.group, row.version, row.plural), name), 0, 0, 0
  for i = 1, options.count do
    local object = row.make()
    for _ = 1, w:random(3) do spoil.once(object, pick) end
    local trouble, code = compare(cluster, kind, object)
    if code < 300 then good = good + 1 else bad = bad + 1 end
    if trouble then
      differ = differ + 1
      print(("%s %d of seed %d: %s\n  sent  %s"):format(name, i, options.seed, trouble, json.encode(object)))
    end
  end
  print(("%-34s %5d taken %5d refused %5d different"):format(name, good, bad, differ))
  return differ
end

local cluster = assert(kube.open {})
local names, total = {}, 0
for name in pairs(objects) do
  if not options.kind or name == options.kind then names[#names + 1] = name end
end
table.sort(names)
for _, name in ipairs(names) do total = total + try(cluster, name, objects[name]) end
return total == 0 and 0 or 1
