-- The last writes about each object and what was answered, for people who ask (explain).
--
-- Kept as one text for an object, in what is remembered of its key: at rest it costs a few hundred bytes where something was written,
-- and nothing where nothing was. A server's words are bounded; of a Secret none are kept.

local M = {}

local MOST = { status = 3, others = 5 } -- of one object: many statuses do not push out what was done to its children
local WORDS_MOST = 200

local function plain(text)
  return (tostring(text):gsub("[%c]", " "))
end

-- world, key: of the controller. verb: "apply", "patch", "delete" or "status"; status: HTTP's, 0: no answer; words: what was said, or nil.
function M.note(world, key, verb, kind, name, status, words)
  local notes = world:notes(key)
  local line = table.concat({ ("%d"):format(loop.wall_ms()), verb, plain(kind), plain(name), ("%d"):format(status),
    words and plain(words):sub(1, WORDS_MOST) or "" }, "\t")
  local kept, left = {}, { status = MOST.status, others = MOST.others }
  for one in (line .. "\n" .. (notes.writes or "")):gmatch("[^\n]+") do
    local class = one:match("^%d+\t([^\t]*)") == "status" and "status" or "others"
    if left[class] > 0 then kept[#kept + 1], left[class] = one, left[class] - 1 end
  end
  notes.writes = table.concat(kept, "\n")
end

-- The newest first: {time=RFC 3339, seconds_ago=, verb=, kind=, name=, status=, message=}.
function M.list(notes)
  local list = json.array {}
  for line in (notes and notes.writes or ""):gmatch("[^\n]+") do
    local ms, verb, kind, name, status, words = line:match("^(%d+)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(%d+)\t(.*)$")
    if ms then
      local at = math.tointeger(ms)
      list[#list + 1] = { time = os.date("!%Y-%m-%dT%H:%M:%SZ", at // 1000), seconds_ago = math.max(0, (loop.wall_ms() - at) // 1000),
        verb = verb, kind = kind, name = name, status = math.tointeger(status), message = words ~= "" and words or nil }
    end
  end
  return list
end

return M
