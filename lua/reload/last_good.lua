-- The policies that have proven themselves, kept in a ConfigMap for who starts next (--last-good).
--
-- An operator that starts anew knows nothing of the save that the one before it refused or took back, and the folder holds
-- that save still. So it begins with what is kept here, and the folder is a save like any other: tried beside it, on trial, taken
-- back. Kept are the texts that decide (no specs), the settings that they decided with, and the digest of what was read, by which
-- a folder that nobody edited is known; and of a save that was taken back its digest and why, so that it is not tried anew at
-- each start. Only who leads writes. Whoever may write this ConfigMap says what the policies do, as with the one that the folder
-- is mounted from.

local bounded = require "bounded"
local informers = require "informers"
local policies = require "policies"

local M = {}
M.__index = M

local KIND = { api_version = "v1", kind = "ConfigMap", resource = "configmaps" }
local LABEL, OURS = "app.kubernetes.io/managed-by", "moonphase"
local POLICIES, DIGEST, TAKEN_BACK = "policies.json", "digest", "taken-back.json"
local TEXT_MOST = 900 * 1024 -- bytes; a ConfigMap holds 1 MiB in all
local WHY_MOST = 2000
local RETRY_SECONDS, LONGEST_SECONDS = 0.8, 30
local QUERY = { fieldManager = "moonphase" }

-- options: {cluster, namespace, name (of the ConfigMap), leader (leader.lua), dry_run (then nothing is written), count = function() for
-- each write (nil: nobody counts)}
function M.new(options)
  return setmetatable({ cluster = options.cluster, namespace = options.namespace, name = options.name, leader = options.leader,
    dry_run = options.dry_run, count = options.count or function() end, data = {} }, M)
end

-- For people.
function M:place() return "ConfigMap " .. self.namespace .. "/" .. self.name end

-- ---------------------------------------------------------------- reading

local function decoded(text)
  local value = type(text) == "string" and json.decode(text)
  return type(value) == "table" and value or {}
end

local function are_texts(files)
  if type(files) ~= "table" or files["phdeployment.lua"] == nil then return false end
  for name, text in pairs(files) do
    if type(name) ~= "string" or type(text) ~= "string" then return false end
  end
  return true
end

-- {files, settings, digest, taken_back = {digest, at, text} or nil}; nil: nothing is kept (yet); nil and a sentence.
local function kept_in(self, body)
  local object = json.decode(body)
  local metadata = type(object) == "table" and object.metadata or {}
  if type(metadata.labels) ~= "table" or metadata.labels[LABEL] ~= OURS then
    return nil, ("--last-good: %s is not moonphase's (it has no label %s: %s): choose another name"):format(self:place(), LABEL, OURS)
  end
  local data = type(object.data) == "table" and object.data or {}
  local said, back = decoded(data[POLICIES]), decoded(data[TAKEN_BACK])
  if not are_texts(said.files) or type(said.settings) ~= "table" or type(data[DIGEST]) ~= "string" then
    local is_new = data[POLICIES] == nil and data[DIGEST] == nil -- only a note that a save was taken back, or not even that
    log.warn(is_new and "no last good policies are kept yet" or "what is kept as the last good policies is none: somebody else wrote it",
      { where = self:place() })
    return nil
  end
  return { files = said.files, settings = said.settings, digest = data[DIGEST],
    taken_back = type(back.digest) == "string" and { digest = back.digest, at = tostring(back.at), text = tostring(back.text) } or nil }
end

-- (waits, until the server has answered) What is kept, as kept_in says it.
function M:read()
  local delay, told = RETRY_SECONDS, nil
  while true do
    local answer, why = self.cluster:request { path = informers.path(KIND, self.namespace, self.name) }
    self.exists = answer ~= nil and answer.status == 200
    if self.exists then return kept_in(self, answer.body) end
    if answer and answer.status == 404 then return nil end
    why = why or ("%s (%d %s)"):format(answer.message, answer.status, answer.reason)
    if answer and (answer.status == 401 or answer.status == 403) then return nil, ("--last-good: %s cannot be read: %s"):format(self:place(), why) end
    if told ~= why then log.error("the last good policies cannot be read; trying again", { where = self:place(), why = why }) end
    told = why
    loop.sleep(delay)
    delay = math.min(delay * 2, LONGEST_SECONDS)
  end
end

-- ---------------------------------------------------------------- writing

local function path_of(self) return informers.path(KIND, self.namespace, self.name) end

local function create(self, data)
  return self.cluster:request { method = "POST", path = informers.path(KIND, self.namespace), query = QUERY, body = { apiVersion = "v1",
    kind = "ConfigMap", metadata = { name = self.name, namespace = self.namespace, labels = { [LABEL] = OURS } }, data = data } }
end

-- (waits) true; nil and a text.
local function write(self, data)
  self.count()
  local answer, why
  if self.exists then
    answer, why = self.cluster:request { method = "PATCH", path = path_of(self), query = QUERY,
      content_type = "application/merge-patch+json", body = { data = data } }
  else
    answer, why = create(self, data)
  end
  if answer and (answer.status == 200 or answer.status == 201) then
    self.exists = true
    return true
  end
  if answer and answer.status == 404 then self.exists = false end -- somebody deleted it: made anew next time
  if answer and answer.status == 409 then
    local _, strange = self:read()
    if strange then return nil, strange end
  end
  return nil, why or ("%s (%d %s)"):format(answer.message, answer.status, answer.reason)
end

-- (waits, in a task of its own) All that is to be kept, until it is.
local function work(self)
  local delay, told = RETRY_SECONDS, nil
  while next(self.data) do
    self.leader:wait(function() return false end)
    local data = self.data
    self.data = {}
    local done, why = write(self, data)
    if done then
      delay = RETRY_SECONDS
      if type(data[DIGEST]) == "string" then log.info("the policies are kept as the last good ones", { where = self:place(), digest = data[DIGEST] }) end
    else
      for name, value in pairs(data) do
        if self.data[name] == nil then self.data[name] = value end
      end
      if told ~= why then log.warn("the last good policies could not be kept; trying again", { where = self:place(), why = why }) end
      told = why
      loop.sleep(delay)
      delay = math.min(delay * 2, LONGEST_SECONDS)
    end
  end
end

local function begin(self)
  if self.dry_run or self.task and not self.task:done() then return end
  self.task = loop.spawn(work, self)
end

-- Keep these: text: {files, settings, digest (of what was read)}. Does not wait.
function M:keep(text)
  local policy = json.encode { files = policies.without_specs(text.files), settings = text.settings }
  if #policy > TEXT_MOST then
    return log.warn("the policies are too large to be kept as the last good ones", { where = self:place(), bytes = #policy, most = TEXT_MOST })
  end
  self.data[POLICIES], self.data[DIGEST], self.data[TAKEN_BACK] = policy, text.digest, json.null
  begin(self)
end

-- Note that the save with this digest was taken back: refusal: {at=, text=}. Does not wait.
function M:take_back(digest, refusal)
  self.data[TAKEN_BACK] = json.encode { digest = digest, at = refusal.at, text = bounded(refusal.text, WHY_MOST) }
  begin(self)
end

function M:stop()
  if self.task then self.task:cancel() end
end

return M
