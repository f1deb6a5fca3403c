-- Lists: chosen by namespace and selectors, in pieces if wanted, of now or of an earlier version.
--
-- A piece ends with a token that holds the version of the first piece, so that all pieces show one moment
-- (https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks). What was is
-- found by undoing the events since; when those are forgotten, the answer is 410. A whole list that nothing changed is
-- served from memory.

local base64 = require "sandbox.api.base64"
local errors = require "sandbox.errors"
local selectors = require "sandbox.selectors"
local view = require "sandbox.api.view"

local M = {}

local TOO_OLD = "The resourceVersion for the provided list is too old."
local CONTINUE_TOO_OLD = "The provided continue parameter is too old to display a consistent list result. You can start a new list "
  .. "without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
  .. "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted "
  .. "between the time the first chunk was returned and now may show up in the list."

-- Whether the fields name the one object: then there are no pieces.
local function names_one(kind, namespace, query)
  if kind.namespaced and namespace == "" or query.continue and query.continue ~= "" then return false end
  return ("," .. (query.fieldSelector or "")):find(",metadata%.name==?[^=,!]") ~= nil
end

-- { namespace=, labels=, fields= } of a request's query | nil, failure
function M.filter(kind, namespace, query)
  local labels, why = selectors.labels(query.labelSelector)
  if why then return nil, errors.bad_request(why) end
  local fields
  fields, why = selectors.fields(kind, query.fieldSelector)
  if why then return nil, errors.bad_request(why) end
  return { namespace = namespace ~= "" and namespace or nil, labels = labels, fields = fields, single = names_one(kind, namespace, query) }
end

-- Whether an object of the right namespace passes.
function M.passes(filter, object)
  if filter.labels and not selectors.hold(filter.labels, object.metadata.labels) then return false end
  return not filter.fields or selectors.fields_hold(filter.fields, object)
end

function M.too_large(version, current)
  return errors.failure(504, "Timeout", ("Timeout: Too large resource version: %d, current: %d"):format(version, current),
    { causes = json.array { { reason = "ResourceVersionTooLarge", message = "Too large resource version" } }, retryAfterSeconds = 1 })
end

-- An exact version is asked of etcd, and so are its words.
local function future() return errors.failure(500, nil, "etcdserver: mvcc: required revision is a future revision") end

local function by_place(a, b)
  if a.namespace ~= b.namespace then return a.namespace < b.namespace end
  return a.name < b.name
end

-- Records as they were at `version` | nil: forgotten.
local function records_at(w, kind, namespace, version)
  local events = w:events_since(kind.id, version)
  if not events then return nil end
  if #events == 0 then return w:each(kind.id, namespace) end
  local undone = {}
  for at = #events, 1, -1 do
    local event = events[at]
    local record = event.record
    undone[record.namespace .. "/" .. record.name] = event.previous or false
  end
  local records = {}
  for _, record in ipairs(w:each(kind.id, namespace)) do
    if undone[record.namespace .. "/" .. record.name] == nil then records[#records + 1] = record end
  end
  for _, record in pairs(undone) do
    if record and (not namespace or record.namespace == namespace) then records[#records + 1] = record end
  end
  table.sort(records, by_place)
  return records
end

local function key_of(filter, record)
  return filter.namespace and record.name or record.namespace .. "/" .. record.name
end

local function encode_token(version, key)
  return base64.encode(json.encode { v = "meta.k8s.io/v1", rv = version, start = key .. "\0" })
end

-- -> version (-1: as things are now), key | nil, failure
local function decode_token(text)
  local function refuse(why) return nil, errors.bad_request("invalid continue token: continue key is not valid: " .. why) end
  local decoded = base64.decode(text)
  local token = decoded and json.decode(decoded)
  if type(token) ~= "table" then return refuse "it is no token of this server" end
  if token.v ~= "meta.k8s.io/v1" then return refuse(("server does not recognize this encoded version %q"):format(tostring(token.v or ""))) end
  if math.type(token.rv) ~= "integer" or type(token.start) ~= "string" then return refuse "it is no token of this server" end
  if token.rv == 0 then return refuse "incorrect encoded start resourceVersion (version meta.k8s.io/v1)" end
  if token.start == "" then return refuse "encoded start key empty (version meta.k8s.io/v1)" end
  if ("/" .. token.start .. "/"):find("/../", 1, true) then return refuse(token.start) end
  return token.rv, (token.start:gsub("%z$", ""))
end

-- Where a list begins and at which version. -> version (-1: whatever is now), key or nil | nil, failure
local function start_of(w, options)
  if options.continue then
    local version, key = decode_token(options.continue)
    if not version then return nil, key end
    if options.version and options.version ~= 0 then
      return nil, errors.bad_request "specifying resource version is not allowed when using continue"
    end
    if version > w.version then return nil, future() end
    return version, key
  end
  local version = options.version
  local is_exact = options.match == "Exact" or (not options.match and options.limit > 0 and version and version > 0)
  if version and version > w.version then return nil, is_exact and future() or M.too_large(version, w.version) end
  return is_exact and version or -1
end

local function keep(filter, records, after)
  if not filter.labels and not filter.fields and not after then return records end
  local kept = {}
  for _, record in ipairs(records) do
    if (not after or key_of(filter, record) > after) and M.passes(filter, record.object) then kept[#kept + 1] = record end
  end
  return kept
end

local function expired(w, options, key)
  if not options.continue then return errors.gone(TOO_OLD) end
  local failure = errors.gone(CONTINUE_TOO_OLD)
  failure.metadata = { continue = encode_token(-1, key), resourceVersion = tostring(w.version) }
  return failure
end

-- What a request chooses: records, metadata of the list | nil, failure. options: of parameters.list.
function M.select(w, kind, filter, options)
  local version, key = start_of(w, options)
  if not version then return nil, key end
  local records = version < 0 and w:each(kind.id, filter.namespace) or records_at(w, kind, filter.namespace, version)
  if not records then return nil, expired(w, options, key) end
  local shown = version < 0 and w.version or version
  local metadata = { resourceVersion = tostring(shown) }
  local all = records
  records = keep(filter, records, key)
  local limit = options.limit
  -- A list "at any version" comes from the server's cache, which knows no pieces. There is more when there is any object behind, even
  -- if none of them passes: only the next piece finds that out.
  if limit > 0 and not filter.single and #records >= limit and (options.version ~= 0 or options.continue) and all[#all] ~= records[limit] then
    metadata.continue = encode_token(shown, key_of(filter, records[limit]))
    if not filter.labels and not filter.fields then metadata.remainingItemCount = #records - limit end
    records = table.move(records, 1, limit, 1, {})
  end
  return records, metadata
end

local function items_text(kind, records)
  local items = {}
  for at, record in ipairs(records) do items[at] = view.item(kind, record) end
  return table.concat(items, ",")
end

-- Texts of whole lists, by the array of records that the world hands out as long as nothing changes.
local memo = setmetatable({}, { __mode = "k" })

-- JSON of a list.
function M.body(kind, records, metadata)
  local text = memo[records] and memo[records][kind]
  if not text then
    text = items_text(kind, records)
    memo[records] = memo[records] or {}
    memo[records][kind] = text
  end
  if kind.crd and not metadata.continue then metadata.continue = "" end
  return '{"apiVersion":"' .. kind.api_version .. '","items":[' .. text .. '],"kind":' .. json.encode(kind.list_kind) .. ',"metadata":'
    .. json.encode(metadata) .. "}"
end

return M
