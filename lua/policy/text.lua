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

-- ---------------------------------------------------------------- the words of others
-- Messages of kubelets, schedulers and API servers, without what changes though nothing has changed: generated
-- names, identities, counts of what others use. Each is bounded before a pattern runs over it.

local MOST = 4096

local function shortened(message)
  return cut(message, MOST)
end

local UUID = ("%x"):rep(8) .. ("%-" .. ("%x"):rep(4)):rep(3) .. "%-" .. ("%x"):rep(12)

-- The API server makes a pod's name of the first 58 characters of "REPLICASET-" and five random ones
-- (k8s.io/apiserver/pkg/storage/names): of a long name the dash, or the hash before it, is not there any more.
local KEPT, WHOLE = 58, 63

-- Where the name of a pod made from `name` ends that begins at `first` in message; nil if it is none.
local function end_of_pod(message, first, name)
  local dash = first + #name
  local last = message:sub(first, dash) == name .. "-" and select(2, message:find("^%w+%-%w+", dash + 1))
  if last then return last end
  local whole = message:match("^[%w-]*", first)
  local rest = #whole == WHOLE and whole ~= name and whole:sub(math.min(#name + 1, KEPT) + 1)
  return rest and rest:find("^%w+$") and first + WHOLE - 1 or nil
end

-- `message` without names of pods made from `name` ("deploy-x": "deploy-x-7d9f8-abcde") and without UUIDs.
function M.without_names(message, name)
  message = shortened(message):gsub(UUID, "(id)")
  local from, parts = 1, {}
  local begin = name and name ~= "" and (name .. "-"):sub(1, KEPT)
  while begin do
    local first, last = message:find(begin, from, true)
    if not first then break end
    local rest = end_of_pod(message, first, name)
    parts[#parts + 1] = message:sub(from, first - 1) .. (rest and "(pod)" or message:sub(first, last))
    from = (rest or last) + 1
  end
  parts[#parts + 1] = message:sub(from)
  return table.concat(parts)
end

local REFUSALS = { "denied the request: ", " is forbidden: ", " is invalid: " }

-- What an API server's refusal of a pod says, without the pod's generated name and what others use by now
-- ("used: limits.cpu=9" is another number a minute later).
function M.refusal(message)
  message = shortened(message)
  for _, words in ipairs(REFUSALS) do
    local to = select(2, message:find(words, 1, true))
    if to then
      message = message:sub(to + 1)
      break
    end
  end
  message = message:gsub(", used: .-, limited: ", ", limited: ")
  return M.bounded(message)
end

-- What a scheduler says of a pod without a node, without counts and order: "0/3 nodes are available: 1 Insufficient memory,
-- 2 Insufficient cpu." -> "no nodes are available: Insufficient cpu, Insufficient memory".
function M.capacity(message)
  local body = shortened(message):match("^%d+/%d+ nodes are available: (.*)$")
  if not body then return M.bounded(message) end
  body = body:gsub("[.,]? *preemption: .*$", ""):gsub("%. ?$", "")
  local reasons, given = {}, {}
  local from = 1
  body = ", " .. body
  while true do -- a reason begins with its count, and may have commas itself
    local first, last = body:find(", %d+ ", from)
    if not first then break end
    local reason = body:sub(last + 1, (body:find(", %d+ ", last) or #body + 1) - 1)
    if not given[reason] then reasons[#reasons + 1] = reason end
    given[reason], from = true, last
  end
  if #reasons == 0 then return M.bounded(message) end
  table.sort(reasons)
  return M.bounded("no nodes are available: " .. table.concat(reasons, ", "))
end

-- The end of a log or termination message: its last `lines` lines that are not empty, in at most `limit` bytes.
function M.tail(message, lines, limit)
  if #message > MOST then message = message:sub(-MOST) end
  local all = {}
  for line in message:gmatch("[^\r\n]+") do
    line = M.trim(line)
    if line ~= "" then all[#all + 1] = line end
  end
  local last = M.trim((table.concat(all, " | ", math.max(1, #all - lines + 1)):gsub("[%c%s]+", " ")))
  if #last <= limit then return last end
  local from = #last - limit + #"…" + 1
  while from <= #last and last:byte(from) >= 0x80 and last:byte(from) < 0xC0 do from = from + 1 end
  return "…" .. last:sub(from)
end

-- Whether two texts differ in numbers, addresses and generated words only: times, process ids, 0x7f3a, 7d9f8.
function M.same_but_numbers(one, other)
  local function plain(s)
    return (shortened(s):gsub("%w+", function(part) return part:find("%d") and "#" or nil end))
  end
  return one == other or plain(one) == plain(other)
end

return M
