-- Sentences for people: filled from facts, bounded, and the same for the same facts.
--
-- A status message that changes with a pod's name or the order of a list is written again and again
-- and says nothing new. So texts are made only here: from templates, without line breaks, cut at a
-- length that a status can hold.

local M = {}

M.LIMIT = 1024

-- The first `limit` bytes of `s`, or fewer: no character is cut in two.
local function cut(s, limit)
  if #s <= limit then return s end
  while limit > 0 and s:byte(limit + 1) >= 0x80 and s:byte(limit + 1) < 0xC0 do limit = limit - 1 end
  return s:sub(1, limit)
end

-- `s` in at most `limit` bytes (default 1024), one line.
function M.bounded(s, limit)
  limit = limit or M.LIMIT
  if #s <= limit and not s:find("%c") and not s:find("  ", 1, true) and not s:find("^ ") and not s:find(" $") then
    return s -- as nearly all are
  end
  s = cut(s, 4 * limit):gsub("[%c%s]+", " ")
  s = M.trim(s)
  if #s <= limit then return s end
  return cut(s, limit - #"…") .. "…"
end

-- White space off both ends.
function M.trim(s)
  local from = s:find("%S")
  if not from then return "" end
  local to = #s
  while s:find("^%s", to) do to = to - 1 end
  return s:sub(from, to)
end

-- What a path of names leads to: at({a={b=1}}, "a.b") is 1; nil if a step is missing.
function M.at(value, path)
  for name in path:gmatch("[^.]+") do
    if type(value) ~= "table" then return nil end
    value = value[name]
  end
  return value
end

local function word(value)
  if value == nil or value == json.null then return nil end
  if type(value) == "table" then return json.encode(value) end
  if math.type(value) == "float" and value == math.floor(value) then return ("%d"):format(value) end
  return tostring(value)
end

-- "Group not found: {group.id}": each {path} from the first of the tables that has it; "?" if none does.
function M.fill(template, ...)
  if not template:find("{", 1, true) then return M.bounded(template) end
  local sources = table.pack(...)
  local filled = template:gsub("{([%w_.]+)}", function(path)
    for i = 1, sources.n do
      local found = sources[i] ~= nil and word(M.at(sources[i], path))
      if found then return found end
    end
    return "?"
  end)
  return M.bounded(filled)
end

-- What an API server's refusal of a pod says, without the pod's generated name.
function M.refusal(message)
  local from = select(2, message:find("denied the request: ", 1, true))
    or select(2, message:find(" is forbidden: ", 1, true))
  return M.bounded(from and message:sub(from + 1) or message)
end

return M
