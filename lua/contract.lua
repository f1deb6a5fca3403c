-- What the host needs of a policy: what phdeployment.lua returns, and what decide answers.
--
-- A policy is edited by people and may be anything. Its answers are checked here once, so that a missing name
-- is a sentence about the policy and not an error somewhere in the host, and so that the rest of
-- the host may take names, kinds and lists for granted. (lua/types/policy.lua describes both.)

local M = {}

local FILE = "phdeployment.lua"
local SEEN = { object = true, revisions = true, children = true, problems = true, settings = true, now = true, policy = true,
  held = true, early = true, trace = true, status_only = true, ahead = true }
local INPUTS_MAX = 4 -- each is an index of the objects' cache

local function is_text(v)
  return type(v) == "string" and v ~= ""
end

-- ---------------------------------------------------------------- the declaration

local function texts(list)
  if type(list) ~= "table" or #list == 0 then return false end
  for _, v in ipairs(list) do
    if not is_text(v) then return false end
  end
  return true
end

local function kind_trouble(where, kind)
  for _, field in ipairs { "api_version", "kind", "resource" } do
    if type(kind) ~= "table" or not is_text(kind[field]) then return where .. " has no `" .. field .. "`" end
  end
  local keep = kind.keep
  if keep ~= nil and keep ~= "whole" and keep ~= "metadata" and not texts(keep) then
    return where .. ".keep must be \"whole\", \"metadata\" or a list of paths"
  end
  if kind.drop ~= nil and not texts(kind.drop) then return where .. ".drop must be a list of paths" end
  for _, field in ipairs { "field_selector", "user_mark" } do
    if kind[field] ~= nil and not is_text(kind[field]) then return where .. "." .. field .. " must be text" end
  end
end

-- What is watched because it tells of objects of another watch (Events of pods): found by their name, not by the label.
local function about_trouble(watches)
  for name, kind in pairs(watches) do
    local subject = kind.about and watches[kind.about]
    if kind.about ~= nil and (not subject or subject.about) then
      return ("watches.%s is about %s, which is no other watch found by the label"):format(name, tostring(kind.about))
    end
    if kind.about and not is_text(kind.by) then
      return ("watches.%s must say `by`: the path of the name of what it is about"):format(name)
    end
  end
end

local function group_trouble(declaration, group)
  local kinds, taken = declaration[group], {}
  if type(kinds) ~= "table" or #kinds > 0 then return "`" .. group .. "` must be a table of names to kinds" end
  for name, kind in pairs(kinds) do
    local where = group .. "." .. name
    local needs_kind = not (group == "inputs" and type(kind) == "table" and kind.http ~= nil and kind.kind == nil)
    local trouble = needs_kind and kind_trouble(where, kind)
    if trouble then return trouble end
    if group == "children" then
      if taken[kind.kind] then return ("children.%s and children.%s are the same kind"):format(taken[kind.kind], name) end
      taken[kind.kind] = name
    elseif SEEN[name] then
      return where .. " would hide seen." .. name .. ": choose another name"
    end
  end
end

local HTTP = { server = true, url = true, method = true, headers = true, body = true, status = true, keep = true, map = true, ttl = true,
  timeout = true }
local METHODS = { GET = true, POST = true }

local function is_function(generation, path)
  local module, name = path:match("^(.+)%.([^.]+)$")
  local said = module and generation:describe(module)
  return type(said) == "table" and said[name] == "function"
end

-- What is wrong with an input's `http` (lua/types/policy.lua, HttpSource), as the end of a sentence; nil if nothing is.
function M.http_trouble(generation, http)
  if type(http) ~= "table" then return "must be a table" end
  for field in pairs(http) do
    if not HTTP[field] then return "has no field " .. tostring(field) end
  end
  if http.server ~= nil and not is_text(http.server) then return "names no setting as `server`" end
  local url = http.url or "{endpoint}"
  if not is_text(url) or not (url:find("^{endpoint}") and http.server or url:find("^https?://[%w.:%[%]-]+$")
    or url:find("^https?://[%w.:%[%]-]+[/?]")) then
    return "has no `url` that begins with http://HOST or https://HOST, or with {endpoint} of a `server`"
  end
  if http.method ~= nil and not METHODS[http.method] then return "has a `method` that is neither GET nor POST" end
  if http.body ~= nil and type(http.body) ~= "string" and type(http.body) ~= "table" then return "has a `body` that is neither text nor table" end
  for _, field in ipairs { "headers", "keep" } do
    if http[field] ~= nil and not texts(http[field]) then return "has `" .. field .. "` that are no list of texts" end
  end
  for _, status in ipairs(type(http.status) == "table" and http.status or { http.status }) do
    if math.type(status) ~= "integer" or status < 200 or status > 599 then return "has `status` that is no list of HTTP statuses" end
  end
  if http.status ~= nil and type(http.status) ~= "table" then return "has `status` that is no list of HTTP statuses" end
  for _, field in ipairs { "ttl", "timeout" } do
    if http[field] ~= nil and not (type(http[field]) == "number" and http[field] > 0) then return "has a `" .. field .. "` that is no number of seconds" end
  end
  if http.map ~= nil and not (is_text(http.map) and is_function(generation, http.map)) then
    return ("maps by %s, which is no function of the policies (FILE.FUNCTION)"):format(tostring(http.map))
  end
end

local function inputs_trouble(declaration, generation)
  local count = 0
  for name, input in pairs(declaration.inputs) do
    count = count + 1
    local http = input.http ~= nil and M.http_trouble(generation, input.http)
    if http then return ("inputs.%s.http %s"):format(name, http) end
    if not is_text(input.by) or (input.kind ~= nil and not texts(input.match)) then
      return ("inputs.%s must say `by` (a path in the object) and `match` (paths in the input)"):format(name)
    end
    if input.limit ~= nil and not is_text(input.limit) then return ("inputs.%s.limit must be a path in the input"):format(name) end
    if input.namespace ~= nil and not is_text(input.namespace) then return ("inputs.%s.namespace must name a setting"):format(name) end
    if declaration.watches[name] then return "watches and inputs both have " .. name end
  end
  if count > INPUTS_MAX then return ("there are %d inputs; %d are possible"):format(count, INPUTS_MAX) end
end

local function declaration_trouble(declaration, generation)
  if type(declaration) ~= "table" then return "it returns no controller; its last statement should be `return controller { ... }`" end
  local trouble = kind_trouble("kind", declaration.kind)
  if trouble then return "the controller's " .. trouble end
  if not is_text(declaration.label) then return "the controller has no `label`" end
  if declaration.decide ~= "function" then return "the controller has no function `decide`" end
  for _, group in ipairs { "children", "watches", "inputs" } do
    declaration[group] = declaration[group] or {}
    trouble = group_trouble(declaration, group)
    if trouble then return "the controller's " .. trouble end
  end
  trouble = about_trouble(declaration.watches) or inputs_trouble(declaration, generation)
  return trouble and "the controller's " .. trouble
end

-- What generation:describe(module) says, checked; children, watches and inputs are always there. nil, a sentence.
function M.declaration(generation, module)
  local declaration, failure = generation:describe(module)
  if declaration == nil and failure then return nil, "the policies do not load: " .. failure.text end
  local trouble = declaration_trouble(declaration, generation)
  if trouble then return nil, "the policies cannot be used: " .. FILE .. ": " .. trouble end
  return declaration
end

-- What the policies say of settings before they are live: a sentence that begins with the setting's path, or nil. nil, a PolicyError.
function M.settings_trouble(generation, module, declaration, settings)
  if declaration.check_settings ~= "function" then return nil end
  local trouble, failure = generation:call(module, "check_settings", settings)
  if failure then return nil, failure end
  return type(trouble) == "string" and trouble or nil
end

-- ---------------------------------------------------------------- decisions

local function manifest_trouble(child)
  if type(child) ~= "table" then return "is no table" end
  if not is_text(child.apiVersion) then return "has no apiVersion" end
  if not is_text(child.kind) then return "has no kind" end
  local meta = child.metadata
  if type(meta) ~= "table" or not is_text(meta.name) then return "has no metadata.name" end
  for _, field in ipairs { "labels", "annotations" } do
    if meta[field] ~= nil and type(meta[field]) ~= "table" then return "has metadata." .. field .. " that are no map" end
  end
  if child.spec ~= nil and type(child.spec) ~= "table" then return "has a spec that is no map" end
end

local function target_trouble(target)
  if type(target) ~= "table" or not is_text(target.kind) or not is_text(target.name) then return "must say kind and name" end
end

local function event_trouble(event)
  local fits = type(event) == "table" and (event.type == "Normal" or event.type == "Warning") and is_text(event.reason)
    and type(event.message) == "string"
  if not fits then return "must say type (Normal or Warning), reason and message" end
end

local function list_trouble(decision, field, check)
  local list = decision[field]
  if list == nil then return nil end
  if type(list) ~= "table" or (next(list) ~= nil and list[1] == nil) then return field .. " is no array" end
  for i, item in ipairs(list) do
    local trouble = check(item)
    if trouble then return ("%s[%d] %s"):format(field, i, trouble) end
  end
end

local function status_trouble(status)
  if status == nil then return nil end
  if type(status) ~= "table" or status[1] ~= nil then return "status is no map" end
  if status.conditions == nil then return nil end
  if type(status.conditions) ~= "table" then return "status.conditions is no array" end
  for i, condition in ipairs(status.conditions) do
    if type(condition) ~= "table" or not is_text(condition.type) or not is_text(condition.status) then
      return ("status.conditions[%d] must say type and status"):format(i)
    end
  end
end

local DECISION = { "children", "events", "nudge", "prune", "recorded", "replace", "requeue_after", "status", "trace", "wake" }
local IN_DECISION = {}
for _, name in ipairs(DECISION) do IN_DECISION[name] = true end

local function decision_trouble(decision)
  if type(decision) ~= "table" then return "it is " .. (decision == nil and "nothing" or "no table") end
  for name in pairs(decision) do
    if not IN_DECISION[name] then
      return ("nothing reads its field %s%s"):format(tostring(name), require("lint.show").suggestion(tostring(name), DECISION))
    end
  end
  local after = decision.requeue_after
  if after ~= nil and not (type(after) == "number" and after >= 0) then return "requeue_after must be seconds from now" end
  if decision.recorded ~= nil and math.type(decision.recorded) ~= "integer" then return "recorded must be a generation" end
  return list_trouble(decision, "children", manifest_trouble) or list_trouble(decision, "prune", target_trouble)
    or list_trouble(decision, "replace", target_trouble) or list_trouble(decision, "nudge", target_trouble)
    or list_trouble(decision, "events", event_trouble) or status_trouble(decision.status)
end

-- What decide answered; nil and a PolicyError when the host cannot use it.
function M.decision(decision)
  local trouble = decision_trouble(decision)
  if trouble then return nil, { outcome = "value", text = "what decide returned cannot be used: " .. trouble, file = FILE, line = 0 } end
  return decision
end

return M
