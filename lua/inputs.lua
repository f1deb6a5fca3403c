-- What a policy asks of the outside, answered: one object for each declared input, with the same methods whatever its source is.
--
--   input:answer(view, key, handle)   what a policy sees of it: {state, object, objects, age, reason, message}
--   input:limit(view, key, handle)    how many objects that name the same may run; nil: any number, or not known
--   input:wait_synced(seconds, set)   (waits) until it knows about the objects that there are
--   input:forget(key)                 an object is gone
--
-- view: who decides: the controller, or policies beside it (beside.lua): {generation, settings, objects}. key, handle: of the object.
-- An input that declares both a kind and `http` is asked by HTTP when the settings name a server, else it is watched.

local objects = require "inputs.objects"

local M = {}

-- ---------------------------------------------------------------- which source

-- The server of a declaration's `http`: the table in the settings that `server` names, or {}.
function M.server(declared, settings)
  local value = settings
  for step in (declared.server or ""):gmatch("[^.]+") do value = type(value) == "table" and value[step] or nil end
  return declared.server and type(value) == "table" and value or {}
end

-- Whether a declaration with `http` has somebody to ask.
function M.has_server(declared, settings)
  if declared.url and not declared.url:find("^{endpoint}") then return true end
  local endpoint = M.server(declared, settings).endpoint
  return type(endpoint) == "string" and endpoint ~= ""
end

-- Whether this input is asked by HTTP with these settings.
function M.is_asked(declaration, settings)
  return declaration.http ~= nil and (declaration.kind == nil or M.has_server(declaration.http, settings))
end

-- Where an input is looked for: in the namespace that its setting names, or in `catalogue` if that says nothing; nil: in those that
-- are served.
function M.namespace(declaration, settings, catalogue)
  local namespace = declaration.namespace and (settings[declaration.namespace] or catalogue)
  return namespace == "" and catalogue or namespace
end

-- The namespace of groups and instance types, of an operator in `own`.
function M.catalogue(settings, own) return M.namespace({ namespace = "catalogNamespace" }, settings, own) end

-- What makes a source: declarations that agree in this share one. A text.
function M.source_words(declared, settings)
  local question = {}
  for name, value in pairs(declared) do
    if name ~= "map" then question[name] = value end
  end
  return json.encode { role = "http", question = question, server = M.server(declared, settings) }
end

-- (What asks by HTTP is loaded where somebody does.) A source of inputs.http for a declaration's `http`. options: {cluster, namespace, on_answer}.
function M.source(declared, settings, options)
  return require("inputs.http").new { http = declared, server = M.server(declared, settings), cluster = options.cluster, namespace = options.namespace,
    on_answer = options.on_answer }
end

-- ---------------------------------------------------------------- inputs

M.watched = objects.new

local Asked = {}
Asked.__index = Asked

-- source: of M.source; nil when the settings name no server.
function M.asked(name, declaration, source)
  return setmetatable({ name = name, declaration = declaration, http = declaration.http, source = source }, Asked)
end

function Asked:answer(view, key, handle)
  if not self.source then return { state = "unknown", reason = "NotConfigured", message = "the settings name no server to ask" } end
  return (self.source:about(view, self, key, handle))
end

function Asked:limit(view, key, handle)
  if not self.declaration.limit or not self.source then return nil end
  local _, known = self.source:about(view, self, key, handle)
  return known and known.value and math.tointeger(tonumber(require("inputs.request").at(known.value, self.declaration.limit)))
end

function Asked:wait_synced(seconds, set)
  return not self.source or self.source:wait_about(set, seconds)
end

function Asked:forget(key)
  if self.source then self.source:forget(key) end
end

return M
