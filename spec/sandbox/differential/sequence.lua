-- One sequence: requests made and sent one after the other, both answers compared after each; or a given list of requests sent
-- again, as shrinking does.

local include = require "include"
local kinds = include "spec/sandbox/differential/kinds.lua"
local compare = include "spec/sandbox/differential/compare.lua"
local random = include "spec/sandbox/differential/random.lua"
local requests = include "spec/sandbox/differential/requests.lua"
local sides = include "spec/sandbox/differential/sides.lua"

local M = { LEAST = 30, MOST = 200 }

-- A namespace for each half of a sequence, before it begins.
local function prepare(side)
  for _, ns in ipairs { "x", "y" } do
    local answer = side.server.send { method = "POST", path = "/api/v1/namespaces", query = {}, content_type = "application/json",
      body = json.encode { apiVersion = "v1", kind = "Namespace", metadata = { name = side.prefix .. ns } } }
    if answer.status ~= 201 then error(("%s: the namespace of a sequence was not created: %d %s"):format(side.server.name, answer.status, answer.body)) end
    side.start = json.decode(answer.body).metadata.resourceVersion
    side.normal:value(json.decode(answer.body))
  end
end

local function is_gone(answer)
  local body = answer.body
  if not body or body.kind == "Status" then return true end
  local meta = body.metadata or {}
  return not meta.deletionTimestamp or (not meta.finalizers or #meta.finalizers == 0) and (meta.deletionGracePeriodSeconds or 0) == 0
    and body.kind ~= "Namespace"
end

-- What is there, for the generator's choices: from the real side's answers alone.
local function note(there, r, answer)
  if r.query.dryRun then return end
  local ok = answer.status < 300
  if r.verb == "deletecollection" and ok then
    for key in pairs(there) do
      if key:find("^" .. r.kind .. "/") then there[key] = nil end
    end
  elseif not r.key then
    return
  elseif r.verb == "delete" then
    if answer.status == 404 or ok and is_gone(answer) then there[r.key] = nil end
  elseif answer.status == 404 and not r.subresource then
    there[r.key] = nil
  elseif ok and not r.subresource then
    there[r.key] = r.generates and ("@{name:%d}"):format(r.number) or there[r.key] or true
    local meta = answer.body and answer.body.metadata or {}
    if meta.deletionTimestamp and not meta.finalizers and answer.body.kind ~= "Pod" and answer.body.kind ~= "Namespace" then there[r.key] = nil end
  end
end

-- (waits) Leave little behind on the real server: lists over all namespaces look through what every sequence left. What has
-- finalizers stays.
local function tidy(side)
  if not side.server.settle then return end
  for key, object in pairs(side.seen) do
    local kind = kinds.by_kind[key:match("^[^/]+")]
    if object.metadata.name and kind.kind ~= "Namespace" then
      side.server.send { method = "DELETE", path = kinds.url(kind, object.metadata.namespace, object.metadata.name), query = { gracePeriodSeconds = "0" } }
    end
  end
end

-- (waits) pair = { first server, second server }, prefixes, and either a seed or a list of requests.
-- { requests=, failure = {at=, request=, found=, sandbox=, real=} | nil, succeeded= }
function M.run(pair, prefixes, seed, list)
  local a, b = sides.new(pair[1], prefixes[1]), sides.new(pair[2], prefixes[2])
  prepare(a)
  prepare(b)
  local there, result = {}, { requests = {}, succeeded = 0, outcomes = {} }
  local generator = not list and requests.new(random.new(seed), there)
  local i = 0
  while true do
    i = i + 1
    local r
    if list then
      r = list[i]
      if not r then break end
    else
      if i > M.MOST or i > M.LEAST and result.succeeded * 2 >= i - 1 then break end
      r = generator:next(i > M.LEAST)
    end
    result.requests[i] = r
    local in_b = b:perform(r)
    -- the real server's admission reads quotas from a cache
    if r.kind == "ResourceQuota" and r.method ~= "GET" and in_b.status < 300 and b.server.settle then loop.sleep(0.15) end
    local in_a = a:perform(r)
    local ok = in_b.status < 300
    if in_b.events then
      for _, event in ipairs(in_b.events) do ok = ok and event.type ~= "ERROR" end
    end
    if ok then result.succeeded = result.succeeded + 1 end
    result.outcomes[i] = ok
    note(there, r, in_b)
    local found = compare.difference(r, in_a, in_b)
    if found and r.settle then -- the real server's caches may have been late
      loop.sleep(1)
      in_b, in_a = b:perform(r), a:perform(r)
      found = compare.difference(r, in_a, in_b)
    end
    if found then
      result.failure = { at = i, request = r, found = found, first = in_a, second = in_b, signature = compare.signature(r, found) }
      break
    end
  end
  tidy(b)
  if a.server == b.server then tidy(a) end
  return result
end

return M
