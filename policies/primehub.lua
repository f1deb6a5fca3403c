-- Groups and instance types of a PrimeHub GraphQL server, in the words of PhGroup and InstanceType objects.
--
-- Asked only where the setting source.graphql.endpoint names a server; phdeployment.lua and quota.lua then declare these questions. A
-- server whose schema lacks one of the fields refuses the whole question (the log says which field): take it out of the query.
-- The functions below say what an answer means: { state = "found", object = ... }, { state = "missing" }, or { state =
-- "unknown", ... } for everything that is no clear answer. Only `null` for a group, without an error beside it, means that there
-- is none: PrimeHub answers with null and errors when its identity server fails, and nobody's model shall go for that.

local M = {}

-- ---------------------------------------------------------------- what is asked

local GROUP_QUERY = [[
query ($id: ID!) {
  group(where: {id: $id}) {
    id name enabledDeployment maxDeploy
    projectQuotaCpu projectQuotaGpu projectQuotaMemory
    instanceTypes { name spec }
    mlflow { trackingUri uiUrl trackingEnvs { name value } artifactEnvs { name value } }
  }
  instanceTypes { name global spec }
}]]

local GROUPS_QUERY = "query { groups { id name projectQuotaCpu projectQuotaGpu projectQuotaMemory } }"

local KEEP = { "data", "errors" }

local function question(query, variables, map)
  return { server = "source.graphql", body = { query = query, variables = variables }, keep = KEEP, map = map }
end

M.GROUP = question(GROUP_QUERY, { id = "{spec.groupId}" }, "primehub.group")
M.INSTANCE_TYPE = question(GROUP_QUERY, { id = "{spec.groupId}" }, "primehub.instance_type")
M.GROUPS = question(GROUPS_QUERY, nil, "primehub.groups")

-- ---------------------------------------------------------------- reading what came

local function is_map(value)
  return type(value) == "table" and not json.is_array(value)
end

local function is_list(value)
  return type(value) == "table" and (json.is_array(value) or next(value) == nil)
end

local function is_null(value)
  return value == nil or value == json.null
end

-- What ends the reading of an answer; `readable` makes it the answer "not known now".
local function odd(what)
  error({ odd = what }, 0)
end

local function readable(read)
  return function(asked)
    local ok, result = pcall(read, asked)
    if ok then return result end
    if type(result) ~= "table" or not result.odd then error(result, 0) end
    return { state = "unknown", reason = result.errors and "GraphQLErrors" or "NotUnderstood", message = result.odd }
  end
end

local function text_at(map, field)
  local value = map[field]
  if type(value) ~= "string" or value == "" then odd("its answer has a " .. field .. " that is no text") end
  return value
end

-- The number, nil where none is set.
local function number_at(map, field)
  local value = map[field]
  if is_null(value) then return nil end
  if type(value) ~= "number" or value < 0 then odd("its answer has a " .. field .. " that is no amount") end
  return value
end

local function data_of(asked)
  local answer = asked.answer
  if not is_map(answer) then odd "its answer is no GraphQL answer" end
  local errors = answer.errors
  if not is_null(errors) and not (is_list(errors) and next(errors) == nil) then
    error({ odd = "it answers with GraphQL errors", errors = true }, 0)
  end
  if not is_map(answer.data) then odd "its answer is no GraphQL answer" end
  return answer.data
end

-- The group that was asked for, nil if there is none.
local function group_of(data, wanted)
  local group = data.group
  if group == json.null then return nil end
  if not is_map(group) then odd "its answer names no group" end
  if wanted and group.id ~= wanted then odd "it answers about another group" end
  return group
end

-- ---------------------------------------------------------------- groups

-- PrimeHub counts cores, GPUs and GiB; null is unlimited. (Its quotaCpu, quotaGpu and quotaMemory are of one user: pods of a
-- model have no user.)
local function quota_of(group, settings)
  local quota = {}
  local cpu, gpu, memory = number_at(group, "projectQuotaCpu"), number_at(group, "projectQuotaGpu"), number_at(group, "projectQuotaMemory")
  if cpu then quota.cpu = ("%dm"):format(math.floor(math.min(cpu, 1e12) * 1000 + 0.5)) end
  if gpu then quota[settings.gpu.defaultResource] = ("%d"):format(math.floor(math.min(gpu, 1e12))) end
  if memory then quota.memory = ("%d"):format(math.floor(math.min(memory, 1e9) * 1024 * 1024 * 1024)) end
  return quota
end

local function env_list(list, field)
  local env = json.array {}
  if is_null(list) then return env end
  if not is_list(list) then odd("its answer has " .. field .. " that are no list") end
  for i, one in ipairs(list) do
    if not is_map(one) or type(one.value) ~= "string" then odd("its answer has " .. field .. " that are no variables") end
    env[i] = { name = text_at(one, "name"), value = one.value }
  end
  return env
end

-- What models:/ URIs of the group are fetched from; nil where none is set.
local function mlflow_of(group)
  local said = group.mlflow
  if is_null(said) then return nil end
  if not is_map(said) then odd "its answer has an mlflow that is no map" end
  if is_null(said.trackingUri) or said.trackingUri == "" then return nil end
  return { trackingUri = text_at(said, "trackingUri"), uiUrl = type(said.uiUrl) == "string" and said.uiUrl or nil,
    trackingEnvs = env_list(said.trackingEnvs, "trackingEnvs"), artifactEnvs = env_list(said.artifactEnvs, "artifactEnvs") }
end

-- As a PhGroup. Which instance types it may use, the answer about the instance type says.
M.group = readable(function(asked)
  local group = group_of(data_of(asked), asked.wanted)
  if not group then return { state = "missing" } end
  local enabled = group.enabledDeployment
  if not is_null(enabled) and type(enabled) ~= "boolean" then odd "its answer has an enabledDeployment that is neither true nor false" end
  local name, most = text_at(group, "name"), number_at(group, "maxDeploy")
  return { state = "found", object = { metadata = { name = name }, spec = {
    id = text_at(group, "id"), name = name, enabledDeployment = enabled == true, quota = quota_of(group, asked.settings),
    maxDeployments = most and math.floor(most), mlflow = mlflow_of(group),
  } } }
end)

-- All groups and their quotas, for the quota webhook.
M.groups = readable(function(asked)
  local list = data_of(asked).groups
  if not is_list(list) then odd "its answer has no list of groups" end
  local groups = json.array {}
  for i, group in ipairs(list) do
    if not is_map(group) then odd "its answer has a group that is none" end
    groups[i] = { id = text_at(group, "id"), name = text_at(group, "name"), quota = quota_of(group, asked.settings) }
  end
  return { state = "found", object = { groups = groups } }
end)

-- ---------------------------------------------------------------- instance types

local function labels_at(spec, field)
  local map = spec[field]
  if is_null(map) then return nil end
  if not is_map(map) then odd("its answer has a " .. field .. " that is no map") end
  for key, value in pairs(map) do
    if type(key) ~= "string" or type(value) ~= "string" then odd("its answer has a " .. field .. " that is no map of texts") end
  end
  return map
end

local TOLERATION = { key = "string", operator = "string", value = "string", effect = "string", tolerationSeconds = "number" }

local function tolerations_of(spec)
  local list, found = spec.tolerations, json.array {}
  if is_null(list) then return found end
  if not is_list(list) then odd "its answer has tolerations that are no list" end
  for i, one in ipairs(list) do
    if not is_map(one) then odd "its answer has a toleration that is no map" end
    found[i] = {}
    for field, kind in pairs(TOLERATION) do
      if not is_null(one[field]) then
        if type(one[field]) ~= kind then odd("its answer has a toleration with a wrong " .. field) end
        found[i][field] = one[field]
      end
    end
  end
  return found
end

-- The spec, with what pods are made of looked at.
local function spec_of(entry)
  local spec = entry.spec
  if not is_map(spec) then odd "its answer has an instance type without spec" end
  local clean = { nodeSelector = labels_at(spec, "nodeSelector"), tolerations = tolerations_of(spec) }
  for key, value in pairs(spec) do
    if key:find "^limits%." or key:find "^requests%." or key == "gpuResourceName" then
      if not is_null(value) and type(value) ~= "number" and type(value) ~= "string" then odd("its answer has a " .. key .. " that is no amount") end
      clean[key] = not is_null(value) and value or nil
    end
  end
  return clean
end

-- The entry of this name; with `global`, only one that everyone may use.
local function entry_named(list, name, global)
  if not is_list(list) then odd "its answer has no list of instance types" end
  for _, entry in ipairs(list) do
    if not is_map(entry) then odd "its answer has an instance type that is none" end
    if entry.name == name and (not global or entry.global == true) then return entry end
  end
  return nil
end

-- As an InstanceType. The group's own come first, then those that everyone may use.
M.instance_type = readable(function(asked)
  local data = data_of(asked)
  local group = group_of(data)
  local entry = group and entry_named(group.instanceTypes, asked.wanted) or entry_named(data.instanceTypes, asked.wanted, true)
  if not entry then return { state = "missing" } end
  return { state = "found", object = { metadata = { name = entry.name }, spec = spec_of(entry) } }
end)

return M
