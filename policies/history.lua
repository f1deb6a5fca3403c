-- What is recorded in status.history: one record for every generation of the spec, newest first.
--
-- A record is {revision, generation, time, message, spec}: the spec as it was, but for client tokens, for which
-- a digest stands. `revision` counts on by one whatever the generations do (there may be gaps: the operator was
-- down). The oldest records go when there are more than settings.history.limit, or when all together are larger than
-- settings.history.maxBytes; a spec that alone is larger is left out of its record, which says `truncated`.

local M = {}

local MOST_RECORDS, MOST_BYTES = 256, 262144 -- of the CRD, and what a status may grow by, whatever the settings say
local DIGITS = 8

-- What tells whether a client's token changed, and no more: too short to try passwords against, and another one for the
-- same token of another client or object.
local function mark_of(s, client)
  local text_of = table.concat({ s.object.metadata.uid or "", tostring(client.name), tostring(client.token) }, "\n")
  return "sha256:" .. digest.sha256(text_of):sub(1, DIGITS)
end

local function with(object, name, value)
  local copy = {}
  for k, v in pairs(object) do copy[k] = v end
  copy[name] = value
  return copy
end

local function without_tokens(s, spec)
  local endpoint = spec.endpoint
  if not endpoint or not endpoint.clients then return spec end
  local clients = json.array {}
  for i, client in ipairs(endpoint.clients) do
    clients[i] = client.token ~= nil and with(client, "token", mark_of(s, client)) or client
  end
  return with(spec, "endpoint", with(endpoint, "clients", clients))
end

-- Generations that the history does not hold yet, oldest first. The present one is added when the watch did not bring it as a
-- revision (the operator was down); not while the view is early: the watch then has others before it still to bring.
local function unrecorded(s, newest)
  local fresh = {}
  for _, revision in ipairs(s.seen.revisions or {}) do
    if revision.generation > newest then fresh[#fresh + 1] = revision end
  end
  local last = fresh[#fresh] and fresh[#fresh].generation or newest
  if s.generation > last and not s.seen.early then
    fresh[#fresh + 1] = { generation = s.generation, time = time.format(s.now), spec = s.spec }
  end
  return fresh
end

local function record_of(s, revision, number)
  return { revision = number, generation = revision.generation, time = revision.time,
    message = revision.spec.updateMessage, spec = without_tokens(s, revision.spec) }
end

-- What a record takes in the cluster's store: there <, > and & are six bytes each. Of what is too large anyway they are not counted.
local function bytes_of(record, most)
  local written = json.encode(record)
  if #written > most then return #written end
  local _, longer = written:gsub("[<>&]", "")
  return #written + 5 * longer + 1
end

-- The newest records that fit. One whose spec alone is too large stays without it.
local function within_size(records, most)
  local kept, size = json.array {}, 2
  for i, record in ipairs(records) do
    local bytes = bytes_of(record, most)
    if bytes + 2 > most then
      record = with(with(record, "spec", nil), "truncated", true)
      bytes = bytes_of(record, most)
    end
    if size + bytes > most then break end
    kept[i], size = record, size + bytes
  end
  return kept
end

-- The history that should be, and the generation up to which it is complete.
function M.record(s)
  local before = s.status.history or {}
  local newest = before[1] and before[1].generation or 0
  if newest > s.generation then newest = 0 end -- of another life of the object: generations began anew, revisions count on
  local number = before[1] and before[1].revision or 0
  local fresh = unrecorded(s, newest)
  local limit = math.max(1, math.min(s.settings.history.limit, MOST_RECORDS))
  local records = json.array {}
  for i = #fresh, math.max(1, #fresh - limit + 1), -1 do
    records[#records + 1] = record_of(s, fresh[i], number + i)
  end
  for _, record in ipairs(before) do
    if #records >= limit then break end
    records[#records + 1] = record
  end
  if #fresh > 0 then records = within_size(records, math.min(s.settings.history.maxBytes, MOST_BYTES)) end
  return records, records[1] and records[1].generation or nil
end

return M
