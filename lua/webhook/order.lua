-- Who comes before a pod when its group's quota is short: what quota.lua is told so that it can keep room for others.
--
-- Two kinds of deployments have a claim. Those that run keep their place: when a pod of theirs has gone and they lack it still (an
-- update, an eviction), its room is theirs for a moment (book.lua, PLACE_SECONDS), and a deployment that waits does not take it in
-- between. And those that wait for quota come before those that were created after them (waiting.lua), for as many pods as they
-- lack. Nothing here decides: that is quota.lua's row OlderFirst.

local M = {}
M.__index = M

local AHEAD_MAX = 100 -- so many that come first are told
local LACKS_MAX = 1000

-- options: {book, waiting = function() -> waiting.lua's, wanted = function(key) -> how many pods it wants}
function M.new(options)
  return setmetatable({ book = options.book, waiting = options.waiting, wanted = options.wanted }, M)
end

-- How many pods a deployment lacks.
function M:lacks(key)
  return math.min(self.wanted(key) - self.book:pods_of(key), LACKS_MAX)
end

-- For a pod of `key` (nil: of nobody that we know) in a group: {ahead = array of {uses, count, keeps}, ending = {resource =
-- quantity}, place = {resource = quantity}}, what quota.lua's review has of them; nil when nobody comes first.
function M:about(key, label)
  local ahead, place, placed = json.array {}, nil, {}
  for owner, one in pairs(self.book:places_in(label) or {}) do
    local count = math.min(#one.at, self:lacks(owner))
    if owner == key then
      place = count > 0 and one.uses or nil
    elseif count > 0 and #ahead < AHEAD_MAX then
      ahead[#ahead + 1] = { uses = one.uses, count = count, keeps = true }
      placed[owner] = count
    end
  end
  for _, one in ipairs(key and self.waiting():older(key, label, AHEAD_MAX) or {}) do
    -- whoever waits lacks one at least: with surge that is one more than it wants in the end
    local count = math.max(self:lacks(one.key), 1) - (placed[one.key] or 0)
    if count > 0 and self.wanted(one.key) > 0 then ahead[#ahead + 1] = { uses = one.uses, count = count } end
  end
  if #ahead == 0 then return nil end
  return { ahead = ahead, place = place, ending = self.book:ending(label) }
end

return M
