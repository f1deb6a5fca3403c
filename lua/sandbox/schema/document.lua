-- The OpenAPI document of the built-in kinds (openapi.json) and their columns, read without parsing all of it.
--
-- The file has one line for each definition and each path (spec/sandbox/openapi writes it so). A start of the
-- sandbox must take milliseconds, and a world of pods needs a tenth of the definitions: so the lines are found by one
-- scan, on first need, and a definition is decoded when somebody asks for it.

local M = {}

local FILE = "lua/sandbox/openapi.json"

local text
local parts -- { definitions = part, paths = part, columns = part }; a part: { names = sorted, from = {}, to = {} } by name
local rest

-- The members that begin at a place, a line each; the place behind them.
local function scan(at)
  local part = { names = {}, from = {}, to = {} }
  local names, find = part.names, string.find
  while true do
    local _, colon, name = find(text, '^"([^"\n]+)":', at)
    if not colon then return part, at end
    local last = find(text, "\n", colon, true)
    names[#names + 1] = name
    part.from[name], part.to[name] = colon + 1, text:byte(last - 1) == 44 and last - 2 or last - 1
    at = last + 1
  end
end

local function behind(pattern, from)
  local _, last = text:find(pattern, from)
  return last and last + 1 or error(FILE .. " is not as spec/sandbox/openapi writes it")
end

local function read()
  if parts then return parts end
  local why
  text, why = moonphase.read_asset(FILE)
  if not text then text = fs.read(FILE) end -- a binary made before the file was, with --lua
  if not text then error(why) end
  local found, at = {}, 1
  found.definitions, at = scan(behind('^{"definitions":{\n', at))
  found.paths, at = scan(behind('^},"paths":{\n', at))
  found.columns, at = scan(behind('^},"columns":{\n', at))
  rest = text:match("^},(.*)}%s*$", at) or error(FILE .. " does not end as expected")
  parts = found
  return parts
end

local function text_of(which, name)
  local part = read()[which]
  local from = part.from[name]
  return from and text:sub(from, part.to[name])
end

local decoded = {}

-- A definition by its full name ("io.k8s.api.apps.v1.Deployment"), decoded; nil if there is none. Not to be modified.
function M.definition(name)
  local found = decoded[name]
  if found == nil then
    local line = text_of("definitions", name)
    if not line then return nil end
    found = assert(json.decode(line))
    decoded[name] = found
  end
  return found
end

-- The JSON text of a definition, and of a path; nil if there is none.
function M.definition_text(name) return text_of("definitions", name) end
function M.path_text(path) return text_of("paths", path) end

-- The column definitions of a list's table by its path ("/api/v1/pods"), decoded; nil if there are none.
function M.columns(path)
  local line = text_of("columns", path)
  return line and assert(json.decode(line))
end

-- Sorted names; not to be modified.
function M.definitions() return read().definitions.names end
function M.paths() return read().paths.names end

-- The members of the document beside definitions, paths and columns, as JSON text without braces.
function M.rest()
  read()
  return rest
end

return M
