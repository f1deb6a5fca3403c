-- Table cases: specs of policies that need no Lua. NAME_cases.yaml beside the policies says what is seen and what is decided.
--
--   worlds:                        # worlds of this file's own, made from others
--     stopped:
--       base: deployed
--       edit: {stop: true}
--       after: 0
--       given: {pods: []}
--   cases:
--     - name: an image that is not there
--       base: deployed             # `new`, `deployed`: functions of spec_world.lua; or a world of this file
--       edit:                      # the user edits the spec: its generation counts on
--         predictors[0].modelImage: "x:2"
--       given:                     # the cluster is otherwise: paths into `seen` and what is there; null: nothing is there
--         pods[*].status.containerStatuses[model].state: {waiting: {reason: ErrImagePull}}
--       after: 15                  # the operator acts on that; so many seconds later it is decided again
--       expect:
--         phase: Failed
--         reason: ImagePullFailed
--         message: {contains: cannot be pulled}
--         conditions: {ImagePulled: "False"}
--         status: {replicas: 2}    # anything else of the status, by path
--         children: {Deployment: {"spec.replicas": 2}}
--         absent: [Ingress]        # kinds that are not among the children
--         prune: [Ingress]
--         events: [ImagePullFailed]
--     - name: a story in several steps
--       base: new
--       steps: [{after: 0}, {roll: 1, expect: {phase: Deploying}}]
--
-- In a path, [*] is every element, [0] the first (as in kubectl), [model] the one of that name (or type, or kind, or key); on a
-- map, [a.b/c] is the key a.b/c. (YAML wants a path with brackets on a line of its own, or in quotes.) Here the text becomes
-- a program of small steps, each with its line, which policy/spec_cases.lua runs in the policy's own state. What is not known
-- is refused with file and line.

local outline = require "outline"

local M = {}

local CASE_KEYS = { "name", "base", "seen", "edit", "given", "roll", "after", "expect", "steps" }
local STEP_KEYS = { "edit", "given", "roll", "after", "expect" }
local WORLD_KEYS = { "base", "seen", "edit", "given", "roll", "after", "steps" }
local EXPECT_KEYS = { "phase", "reason", "message", "conditions", "status", "children", "absent", "prune", "events", "requeue_after" }
local WORLDS_DEEP = 8

-- A mistake: raised as a table and told with file and line.
local function wrong(c, keys, text, ...)
  error({ line = c.outline:line(keys), text = select("#", ...) > 0 and text:format(...) or text }, 0)
end

local function with(keys, ...)
  local all = { table.unpack(keys) }
  for _, key in ipairs { ... } do all[#all + 1] = key end
  return all
end

local function is_map(value)
  return type(value) == "table" and not json.is_array(value)
end

local function sorted_keys(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

local function check_keys(c, keys, map, known, what)
  if not is_map(map) then wrong(c, keys, "%s is a map of names to values", what) end
  local set = {}
  for _, name in ipairs(known) do set[name] = true end
  for _, key in ipairs(sorted_keys(map)) do
    if not set[key] then wrong(c, with(keys, key), "%s has no key \"%s\"; it may have %s", what, key, table.concat(known, ", ")) end
  end
end

-- ---------------------------------------------------------------- paths

local function bracket(inner)
  if inner == "*" then return { all = true } end
  local number = math.tointeger(tonumber(inner))
  if number and inner:find("^%d+$") then return { index = number } end
  return { name = (inner:gsub('^"(.*)"$', "%1")) }
end

-- "a.b[*].c[x.y/z]" as steps: {key=} | {all=true} | {index=} | {name=}.
local function steps_of(c, keys, path)
  local steps, at = json.array {}, 1
  while at <= #path do
    local key, inner, _
    if path:sub(at, at) == "[" then
      _, at, inner = path:find("^%[([^%]]+)%]", at)
      if not at then wrong(c, keys, "the path %s has a bracket that is not closed", path) end
      steps[#steps + 1] = bracket(inner)
    else
      _, at, key = path:find("^([^.%[%]]+)", at)
      if not at then wrong(c, keys, "the path %s has an empty step", path) end
      steps[#steps + 1] = { key = key }
    end
    at = at + 1
    if path:sub(at, at) == "." then at = at + 1 end
  end
  if #steps == 0 then wrong(c, keys, "a path is empty") end
  return steps
end

-- ---------------------------------------------------------------- what is done

local function add(c, keys, op)
  op.line = c.outline:line(keys)
  c.program[#c.program + 1] = op
end

local function add_paths(c, keys, map, op)
  if not is_map(map) then wrong(c, keys, "%s is a map of paths to values", keys[#keys]) end
  for _, path in ipairs(sorted_keys(map)) do
    local at = with(keys, path)
    add(c, at, { op = op, path = steps_of(c, at, path), text = path, value = map[path] })
  end
end

local function whole_number(c, keys, value)
  if math.type(value) ~= "integer" or value < 0 then wrong(c, keys, "%s is a whole number from 0 on", keys[#keys]) end
  return value
end

-- ---------------------------------------------------------------- what is expected

local function list_of_texts(c, keys, value)
  if not json.is_array(value) then wrong(c, keys, "%s is a list", keys[#keys]) end
  for i, word in ipairs(value) do
    if type(word) ~= "string" then wrong(c, with(keys, i), "%s is a list of words", keys[#keys]) end
  end
  return value
end

local function expect_children(c, keys, children)
  if not is_map(children) then wrong(c, keys, "children is a map of kinds to what they are") end
  for _, kind in ipairs(sorted_keys(children)) do
    local at, paths = with(keys, kind), children[kind]
    if paths == json.null then
      add(c, at, { op = "absent", kind = kind })
    else
      add(c, at, { op = "present", kind = kind })
      if not is_map(paths) then wrong(c, at, "%s is a map of paths to values, such as {spec.replicas: 2}", kind) end
      for _, path in ipairs(sorted_keys(paths)) do
        local place = with(at, path)
        add(c, place, { op = "child", kind = kind, path = steps_of(c, place, path), text = path, value = paths[path] })
      end
    end
  end
end

local function expect_conditions(c, keys, conditions)
  if not is_map(conditions) then wrong(c, keys, "conditions is a map of types to a status, or to {status, reason, message}") end
  for _, kind in ipairs(sorted_keys(conditions)) do
    local at, said = with(keys, kind), conditions[kind]
    if type(said) == "boolean" then wrong(c, at, "the status of a condition is a text: write \"%s\" in quotes",
      said and "True" or "False") end
    if type(said) == "string" then said = { status = said } end
    if said ~= json.null then check_keys(c, at, said, { "status", "reason", "message" }, "a condition") end
    add(c, at, { op = "condition", kind = kind, value = said })
  end
end

local EXPECT = {
  phase = function(c, keys, value) add(c, keys,
    { op = "status", path = json.array { { key = "phase" } }, text = "phase", value = value }) end,
  reason = function(c, keys, value) add(c, keys,
    { op = "status", path = json.array { { key = "reason" } }, text = "reason", value = value }) end,
  message = function(c, keys, value) add(c, keys,
    { op = "status", path = json.array { { key = "message" } }, text = "message", value = value }) end,
  status = function(c, keys, value) add_paths(c, keys, value, "status") end,
  conditions = expect_conditions,
  children = expect_children,
  absent = function(c, keys, value)
    for i, kind in ipairs(list_of_texts(c, keys, value)) do add(c, with(keys, i), { op = "absent", kind = kind }) end
  end,
  prune = function(c, keys, value) add(c, keys, { op = "prune", kinds = list_of_texts(c, keys, value) }) end,
  events = function(c, keys, value) add(c, keys, { op = "events", reasons = list_of_texts(c, keys, value) }) end,
  requeue_after = function(c, keys, value) add(c, keys, { op = "requeue_after", value = value }) end,
}

local function expect(c, keys, map)
  check_keys(c, keys, map, EXPECT_KEYS, "expect")
  if next(map) == nil then wrong(c, keys, "expect is empty") end
  for _, name in ipairs(EXPECT_KEYS) do
    if map[name] ~= nil then EXPECT[name](c, with(keys, name), map[name]) end
  end
  c.expects = true
end

-- ---------------------------------------------------------------- cases

-- One step: the user edits, the cluster is otherwise, the operator acts and time passes, what is decided then.
local function step(c, keys, map)
  if map.edit ~= nil then
    add_paths(c, with(keys, "edit"), map.edit, "edit")
    add(c, with(keys, "edit"), { op = "edited" })
  end
  if map.roll ~= nil then add(c, with(keys, "roll"), { op = "roll", available = whole_number(c, with(keys, "roll"), map.roll) }) end
  if map.given ~= nil then add_paths(c, with(keys, "given"), map.given, "given") end
  if map.after ~= nil then add(c, with(keys, "after"), { op = "after", seconds = whole_number(c, with(keys, "after"), map.after) }) end
  if map.expect ~= nil then expect(c, with(keys, "expect"), map.expect) end
end

local start

local function world(c, keys, name, depth)
  local own = c.worlds[name]
  if own == nil then return add(c, keys, { op = "base", name = name }) end
  if depth > WORLDS_DEEP then wrong(c, keys, "the worlds are made from each other in a circle, or more than %d deep", WORLDS_DEEP) end
  local at = { "worlds", name }
  check_keys(c, at, own, WORLD_KEYS, "a world")
  start(c, at, own, depth + 1)
end

-- What a case or a world begins with, and all that is done then.
function start(c, keys, map, depth)
  if map.seen ~= nil then
    if map.base ~= nil then wrong(c, with(keys, "seen"), "a base and a whole `seen` are one too many") end
    add(c, with(keys, "seen"), { op = "seen", value = map.seen })
  else
    if map.base ~= nil and type(map.base) ~= "string" then wrong(c, with(keys, "base"), "base is the name of a world") end
    world(c, with(keys, "base"), map.base or "new", depth)
  end
  step(c, keys, map)
  if map.steps == nil then return end
  if not json.is_array(map.steps) then wrong(c, with(keys, "steps"), "steps is a list") end
  for i, one in ipairs(map.steps) do
    check_keys(c, with(keys, "steps", i), one, STEP_KEYS, "a step")
    step(c, with(keys, "steps", i), one)
  end
end

local function case(c, i, map, given)
  local keys = { "cases", i }
  check_keys(c, keys, map, CASE_KEYS, "a case")
  if type(map.name) ~= "string" or map.name == "" then wrong(c, keys, "case %d has no name", i) end
  if given[map.name] then wrong(c, with(keys, "name"), "two cases are called \"%s\"", map.name) end
  given[map.name] = true
  c.program, c.expects = json.array {}, false
  start(c, keys, map, 1)
  if not c.expects then wrong(c, keys, "the case \"%s\" expects nothing", map.name) end
  return { name = map.name, line = c.outline:line(keys), program = c.program }
end

-- {pods[0].x: 1} is no YAML: brackets have a meaning in braces.
local function has_path_in_braces(text, number)
  for line in text:gmatch("([^\n]*)\n?") do
    number = number - 1
    if number == 0 then return line:find("{[^\"']*[%w_]%[[^:]*:") ~= nil end
  end
  return false
end

local function read(text, name)
  local documents, why = yaml.decode(text, name)
  if not documents then
    local number, words = require("misread").of(text, why)
    number = number or 1
    error({ line = number, text = words
      .. (has_path_in_braces(text, number) and ". Put a path with brackets in quotes, or on a line of its own" or "") }, 0)
  end
  local c = { outline = outline.new(text) }
  if #documents ~= 1 then error({ line = 1, text = "a file of cases is one document" }, 0) end
  local all = documents[1]
  check_keys(c, {}, all, { "worlds", "cases" }, "a file of cases")
  if all.worlds ~= nil and not is_map(all.worlds) then wrong(c, { "worlds" }, "worlds is a map of names to worlds") end
  if not json.is_array(all.cases) or #all.cases == 0 then wrong(c, { "cases" }, "cases is a list of cases, and there is none") end
  c.worlds = all.worlds or {}
  local cases, given = json.array {}, {}
  for i, one in ipairs(all.cases) do cases[i] = case(c, i, one, given) end
  return cases
end

-- The cases of a text: an array of {name, line, program}; nil, {line, text}.
function M.read(text, name)
  local ok, result = pcall(read, text, name)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  return nil, result
end

-- The same as the source of a policy module: `list`, `run` and what else a spec has. A file that is wrong has one test, which says so.
function M.module(text, name)
  local cases, mistake = M.read(text, name)
  local data = json.encode(cases or { mistake = ("%s:%d: %s"):format(name, mistake.line, mistake.text) })
  local level = "="
  while data:find("]" .. level .. "]", 1, true) do level = level .. "=" end
  return ("return require('moonphase.spec_cases').module(%q, json.decode [%s[%s]%s])"):format(name, level, data, level)
end

return M
