-- What is recorded in status.history: one record for every generation of the spec, newest first.
--
-- A record is {revision, generation, time, message, spec}: the spec as it was, but for client tokens,
-- for which a digest stands. `revision` counts on by one whatever the generations do (there may be
-- gaps: the operator was down). The oldest records go when there are more than settings.history.limit,
-- or when all together are larger than settings.history.maxBytes.

local M = {}

local function without_tokens(spec)
  local endpoint = spec.endpoint
  if not endpoint or not endpoint.clients then return spec end
  local copy, endpoint_copy, clients = {}, {}, json.array {}
  for name, value in pairs(spec) do copy[name] = value end
  for name, value in pairs(endpoint) do endpoint_copy[name] = value end
  for i, client in ipairs(endpoint.clients) do
    local client_copy = {}
    for name, value in pairs(client) do client_copy[name] = value end
    if client.token ~= nil then client_copy.token = "sha256:" .. digest.sha256(tostring(client.token)) end
    clients[i] = client_copy
  end
  endpoint_copy.clients = clients
  copy.endpoint = endpoint_copy
  return copy
end

-- Generations that the history does not hold yet, oldest first.
local function unrecorded(s, newest)
  local fresh = {}
  for _, revision in ipairs(s.seen.revisions or {}) do
    if revision.generation > newest then fresh[#fresh + 1] = revision end
  end
  local last = fresh[#fresh] and fresh[#fresh].generation or newest
  if s.generation > last then
    fresh[#fresh + 1] = { generation = s.generation, time = time.format(s.now), spec = s.spec }
  end
  return fresh
end

local function record_of(revision, number)
  return { revision = number, generation = revision.generation, time = revision.time,
    message = revision.spec.updateMessage, spec = without_tokens(revision.spec) }
end

-- The newest records that fit; one that alone is too large stays, without its spec.
local function within_size(records, max)
  local kept, size = json.array {}, 2
  for i, record in ipairs(records) do
    local bytes = #json.encode(record) + 1
    if i == 1 and size + bytes > max then
      record = { revision = record.revision, generation = record.generation, time = record.time,
        message = record.message, truncated = true }
      bytes = #json.encode(record) + 1
    end
    if i > 1 and size + bytes > max then break end
    kept[i], size = record, size + bytes
  end
  return kept
end

-- The history that should be, and the generation up to which it is complete.
function M.record(s)
  local before = s.status.history or {}
  local newest = before[1] and before[1].generation or 0
  local number = before[1] and before[1].revision or 0
  local fresh = unrecorded(s, newest)
  local limit = math.max(1, math.min(s.settings.history.limit, 32))
  local records = json.array {}
  for i = #fresh, math.max(1, #fresh - limit + 1), -1 do
    records[#records + 1] = record_of(fresh[i], number + i)
  end
  for _, record in ipairs(before) do
    if #records >= limit then break end
    records[#records + 1] = record
  end
  if #fresh > 0 then records = within_size(records, s.settings.history.maxBytes) end
  return records, records[1] and records[1].generation or nil
end

return M
