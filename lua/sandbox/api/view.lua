-- How a stored object looks to one who asks for it: its version, its bytes, its place in a list.
--
-- A kind may be served in several versions, of which one is stored. Lists of built-in kinds leave apiVersion and kind
-- out of their items (Go's typed lists do), lists of custom ones do not. Bytes are made once for each record and form.

local world = require "sandbox.world"

local M = {}

-- The object in the version of `kind`; not to be modified.
function M.object(kind, record)
  local object = record.object
  if object.apiVersion == kind.api_version then return object end
  if kind.strategy and kind.strategy.from_storage then return kind.strategy.from_storage(object) end
  local copy = {}
  for name, value in pairs(object) do copy[name] = value end
  copy.apiVersion = kind.api_version
  return copy
end

-- JSON of the object.
function M.bytes(kind, record)
  if record.object.apiVersion == kind.api_version then return record.bytes or world.bytes(record) end
  local memo = record.other
  if not memo then
    memo = {}
    record.other = memo
  end
  if not memo[kind.api_version] then memo[kind.api_version] = json.encode(M.object(kind, record)) end
  return memo[kind.api_version]
end

-- JSON of the object as an item of a list.
function M.item(kind, record)
  if kind.crd then return M.bytes(kind, record) end
  local memo = record.item
  if memo and record.item_version == kind.version then return memo end
  local copy = {}
  for name, value in pairs(M.object(kind, record)) do copy[name] = value end
  copy.apiVersion, copy.kind = nil, nil
  memo = json.encode(copy)
  record.item, record.item_version = memo, kind.version
  return memo
end

-- The object as PartialObjectMetadata of meta.k8s.io.
function M.partial(record, version)
  return { kind = "PartialObjectMetadata", apiVersion = "meta.k8s.io/" .. version, metadata = record.object.metadata }
end

return M
