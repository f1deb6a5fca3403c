-- Indexes beside the world: caches that follow its changes and are made anew when they missed some.
--
-- Controllers ask "whose pods?" at every turn; looking through a namespace each time would cost more than all their other work. Such an
-- index is no part of the world's value. A restore tells nobody; it is noticed by the world's version and by the number of
-- restores that its store counts.
--
--   index = { reset = function(index), change = function(index, id, before, after) }    before, after: records or nil

local M = {}

local function on_change(index, event, id)
  local follows = index.version == event.version - 1 and index.restores == index.w.objects.restores
  index.version = follows and event.version or nil
  if not follows then return end
  if event.type == "DELETED" then index:change(id, event.previous, nil) else index:change(id, event.previous, event.record) end
end

-- Let index follow w; ids: the set of kinds it cares for, or nil (all but Events).
function M.follow(index, w, ids)
  index.w, index.ids = w, ids
  w:subscribe(function(event, id) on_change(index, event, id) end)
  return index
end

-- Call before each reading.
function M.refresh(index)
  local w = index.w
  if index.version == w.version and index.restores == w.objects.restores then return end
  index:reset()
  index.version, index.restores = w.version, w.objects.restores
  for id in pairs(index.ids or w.objects.kinds) do
    if id ~= "events" then
      for _, record in ipairs(w:each(id)) do index:change(id, nil, record) end
    end
  end
end

return M
