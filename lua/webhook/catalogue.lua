-- Where the webhook's groups come from: PhGroup objects (groups.lua), or a server that the settings name (asked_groups.lua). When an
-- edit of settings or policies makes it another source, or another namespace, the old one answers until the new one knows something.

local asked_groups = require "webhook.asked_groups"
local contract = require "contract"
local groups = require "webhook.groups"
local inputs = require "inputs"

local M = {}

local LOOK_SECONDS = 1

-- What quota.lua of these policies declares as `groups`: an HttpSource that can be used, or nil.
local function declared_by(generation)
  local said = generation:describe("quota")
  local declared = type(said) == "table" and said.groups or nil
  local trouble = declared ~= nil and contract.http_trouble(generation, declared)
  if not trouble then return declared end
  log.error("quota: groups are read from PhGroup objects, because quota.lua cannot be used: groups " .. trouble, { policy = generation.digest })
  return nil
end

-- The declaration of the live policies, asked once for each.
local function declared_now(self)
  local generation = self.options.generation()
  if self.of ~= generation then self.of, self.declared = generation, declared_by(generation) end
  return self.declared
end

local OBJECTS = "PhGroup objects in "

-- What is asked for now, as a text; OBJECTS and their namespace if it is no server.
local function words(self)
  local o = self.options
  local declared, settings = declared_now(self), o.settings()
  return declared and inputs.has_server(declared, settings) and inputs.source_words(declared, settings)
    or OBJECTS .. inputs.catalogue(settings, o.operator_namespace)
end

local function namespace_in(is) return is:sub(1, #OBJECTS) == OBJECTS and is:sub(#OBJECTS + 1) or nil end

local function open(self, is)
  local o = self.options
  local namespace = namespace_in(is)
  if namespace then
    return groups.start { cluster = o.cluster, namespace = namespace, on_quota = o.on_quota, on_group = o.on_group, on_trouble = o.on_trouble }
  end
  return asked_groups.start { declared = self.declared, settings = o.settings, generation = o.generation, cluster = o.cluster,
    namespace = o.operator_namespace, on_quota = o.on_quota }
end

-- What is no method of ours is the present source's: by_label.
local function read(self, name)
  return M[name] or rawget(self, "source")[name]
end

local function follow(self)
  while not self.stopped do
    loop.sleep(LOOK_SECONDS)
    self:follow()
  end
end

-- options: as groups.start without namespace, and {settings = function(), generation = function(), operator_namespace}
function M.start(options)
  local self = { options = options }
  self.is = words(self)
  self.source = open(self, self.is)
  setmetatable(self, { __index = read })
  self.task = loop.spawn(follow, self)
  return self
end

-- Whether it is another source by now.
function M:follow()
  local is = words(self)
  if self.next and self.next_is ~= is then
    self.next:stop()
    self.next = nil
  end
  if is ~= self.is and not self.next then self.next, self.next_is = open(self, is), is end
  if self.next and self.next:synced() then
    self.source:stop()
    self.source, self.is, self.next = self.next, is, nil
    log.info("quota: groups come from another source now", { source = namespace_in(is) and is or "the server of the settings" })
  end
  if self.source.look then self.source:look() end
end

function M:find(label) return self.source:find(label) end
function M:synced() return self.source:synced() end
function M:all() return self.source:all() end
function M:wrote(key, body) return self.source:wrote(key, body) end

function M:stop()
  self.stopped = true
  self.task:cancel()
  self.source:stop()
  if self.next then self.next:stop() end
end

return M
