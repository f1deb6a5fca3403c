-- The watches of one kind over the namespaces that the operator serves, as one thing.
--
-- `--namespace` may stand several times, and each namespace is a watch (and cache) of its own, so
-- that memory and permissions follow what was asked for. Readers do not care: a key names its
-- namespace, and the right watch answers.

local M = {}
M.__index = M

-- The list path of a kind: /api/v1/... for the core group, /apis/GROUP/VERSION/... for the rest.
function M.path(kind, namespace, name)
  local root = kind.api_version:find("/", 1, true) and "/apis/" or "/api/"
  local scope = namespace and "/namespaces/" .. kube.escape(namespace) or ""
  return root .. kind.api_version .. scope .. "/" .. kind.resource .. (name and "/" .. kube.escape(name) or "")
end

-- cluster; kind: as the policy declares it; namespaces: array, or nil for all; options: {label_selector=,
-- indexes=, on_change=, on_trouble=}.
function M.start(cluster, kind, namespaces, options)
  local self = setmetatable({ kind = kind, by_namespace = {}, all = nil, list = {} }, M)
  local function watch(namespace)
    local w = cluster:watch {
      path = M.path(kind, namespace), api_version = kind.api_version, kind = kind.kind,
      label_selector = options.label_selector, field_selector = kind.field_selector, name = kind.resource,
      keep = kind.keep or "whole", drop = kind.drop, indexes = options.indexes,
      revisions = kind.revisions, on_change = options.on_change, on_trouble = options.on_trouble,
    }
    self.list[#self.list + 1] = w
    return w
  end
  if namespaces then
    for _, namespace in ipairs(namespaces) do -- one that is named twice is watched once
      self.by_namespace[namespace] = self.by_namespace[namespace] or watch(namespace)
    end
  else
    self.all = watch(nil)
  end
  return self
end

-- The watch that knows `key`; nil if its namespace is not served.
function M:of(key)
  return self.all or self.by_namespace[key:match("^(.-)/") or ""]
end

function M:get(key)
  local w = self:of(key)
  return w and w:get(key)
end

function M:raw(key)
  local w = self:of(key)
  return w and w:raw(key)
end

function M:read(key)
  local w = self:of(key)
  return w and w:read(key)
end

function M:content(key)
  local w = self:of(key)
  return w and w:content(key)
end

-- Keys in `namespace` whose index has this value, sorted.
function M:find(namespace, index, value)
  local w = self.all or self.by_namespace[namespace]
  if not w then return {} end
  local keys = w:find(index, value)
  if not self.all then return keys end
  local prefix, here = namespace .. "/", {}
  for _, key in ipairs(keys) do
    if key:sub(1, #prefix) == prefix then here[#here + 1] = key end
  end
  return here
end

-- Keys in every served namespace whose index has this value.
function M:find_anywhere(index, value)
  local keys = {}
  for _, w in ipairs(self.list) do
    for _, key in ipairs(w:find(index, value)) do keys[#keys + 1] = key end
  end
  return keys
end

function M:keys()
  local keys = {}
  for _, w in ipairs(self.list) do
    for _, key in ipairs(w:keys()) do keys[#keys + 1] = key end
  end
  return keys
end

function M:synced()
  for _, w in ipairs(self.list) do
    if not w:synced() then return false end
  end
  return true
end

function M:wait_synced(timeout)
  for _, w in ipairs(self.list) do
    if not w:wait_synced(timeout) then return false end
  end
  return true
end

-- The first trouble that goes on, as text; nil if all is well.
function M:trouble()
  for _, w in ipairs(self.list) do
    local stats = w:stats()
    if stats.error then return self.kind.resource .. ": " .. stats.error end
  end
end

function M:stop()
  for _, w in ipairs(self.list) do w:stop() end
end

return M
