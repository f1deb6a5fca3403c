-- The last writes about each object and what was answered, for people who ask (explain).
--
-- Kept as one text for an object, in what is remembered of its key: at rest it costs a few hundred bytes where something was written,
-- and nothing where nothing was. A server's words are bounded; of a Secret none are kept.

local M = {}

local MOST = 6       -- of one object
local WORDS_MOST = 200

local function plain(text)
  return (tostring(text):gsub("[%c]", " "))
end

-- world, key: of the controller. verb: "apply", "patch", "delete", "create" or "status"; status: HTTP's, 0: no answer; words: what was said, or nil.
function M.note(world, key, verb, kind, name, status, words)
  local notes = world:notes(key)
  local line = table.concat({ ("%d"):format(loop.wall_ms()), verb, plain(kind), plain(name), ("%d"):format(status),
    words and plain(words):sub(1, WORDS_MOST) or "" }, "\t")
  local kept, count = { line }, 1
  for before in (notes.writes or ""):gmatch("[^\n]+") do
    if count >= MOST then break end
    kept[#kept + 1], count = before, count + 1
  end
  notes.writes = table.concat(kept, "\n")
end

-- The newest first: {time=RFC 3339, seconds_ago=, verb=, kind=, name=, status=, message=}.
function M.list(notes)
  local list = json.array {}
  for line in (notes and notes.writes or ""):gmatch("[^\n]+") do
    local ms, verb, kind, name, status, words = line:match("^(%d+)\t([^\t]*)\t([^\t]*)\t([^\t]*)\t(%d+)\t(.*)$")
    if ms then
      list[#list + 1] = { time = os.date("!%Y-%m-%dT%H:%M:%SZ", math.tointeger(ms) // 1000), seconds_ago = math.max(0, (loop.wall_ms() - math.tointeger(ms)) // 1000),
        verb = verb, kind = kind, name = name, status = math.tointeger(status), message = words ~= "" and words or nil }
    end
  end
  return list
end

return M
