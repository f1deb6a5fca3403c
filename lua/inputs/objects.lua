-- An input whose source is a kind of object in the cluster: a PhGroup, an InstanceType. Its watch's cache answers.
--
-- "Not known now" is a catalogue whose first list never came: after that the cache answers through every outage with what was
-- known last. (http.lua is the same for sources that are asked by HTTP; both have these methods.)

local M = {}
M.__index = M

function M.new(name, declaration, informer)
  return setmetatable({ name = name, declaration = declaration, informers = informer }, M)
end

-- The namespace in which an object of `namespace` has it looked for.
function M:place(namespace)
  return self.declaration.namespace and next(self.informers.by_namespace) or namespace -- then its watch is of one namespace
end

local function keys_of(self, namespace, wanted)
  return wanted and self.informers:find(self:place(namespace), "identity", wanted) or {}
end

-- What a policy sees (lua/types/policy.lua, Input). key, handle: of the object that is decided on.
function M:answer(_, key, handle)
  if not self.informers:synced() then return { state = "unknown" } end
  local keys = keys_of(self, key:match("^(.-)/"), handle.indexes[self.name])
  if #keys == 0 then return { state = "missing" } end
  if #keys > 1 then return { state = "ambiguous", objects = json.array(keys) } end
  return { state = "found", object = self.informers:raw(keys[1]) }
end

-- How many objects that name it may run (the declaration's `limit`); nil if nothing bounds them, or it is not known.
function M:limit(_, _, handle)
  local wanted = handle.indexes[self.name]
  if not self.declaration.limit or not wanted or not self.informers:synced() then return nil end
  local keys = self.informers:find_anywhere("identity", wanted)
  local group = #keys == 1 and self.informers:get(keys[1])
  return group and tonumber(group.indexes.limit)
end

-- (waits) Until it can answer about the objects that there are, at most so many seconds.
function M:wait_synced(seconds)
  return self.informers:wait_synced(seconds)
end

-- An object is gone.
function M.forget() end

return M
