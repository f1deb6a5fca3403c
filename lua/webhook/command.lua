-- Quota admission on the command line of `moonphase run`: its options, what makes no sense of them, and how they become a webhook.

local ahead = require "ahead"
local guard = require "guard"

local M = {}

-- The webhook itself is loaded when one is asked for: it is a seventh of the operator's own code.
local function start() return require "webhook.start" end

M.OPTIONS = {
  { "webhook-addr", "ADDR", "quota admission over TLS (host:port; none by default)" },
  { "webhook-service", "NS/NAME", "the Service by which the API server gets there" },
  { "webhook-url", "URL", "or the https URL (default outside of a pod)" },
  { "webhook-cert", "FILE", "its certificate (default: made, kept in a Secret)" },
  { "webhook-key", "FILE", "the key of --webhook-cert" },
  { "webhook-ca", "FILE", "who signed --webhook-cert: keep the configuration" },
  { "webhook-client-ca", "FILE", "answer only callers whose certificate it signed" },
}

local WITHDRAW_SECONDS = 10

local ANY = { [""] = true, ["0.0.0.0"] = true, ["[::]"] = true }
local IN_POD = "the pod's service account"

-- fail(status, text) ends the program.
function M.check(o, fail)
  if not o.webhook_addr then
    for _, option in ipairs(M.OPTIONS) do
      local key = option[1]:gsub("-", "_")
      if o[key] then fail(2, "--" .. option[1] .. " goes with --webhook-addr") end
    end
    return
  end
  if o.dry_run then fail(2, "--dry-run writes nothing, so nothing can be reserved: leave --webhook-addr out") end
  if (o.webhook_cert == nil) ~= (o.webhook_key == nil) then fail(2, "--webhook-cert and --webhook-key go together") end
  if o.webhook_ca and not o.webhook_cert then
    fail(2, "--webhook-ca goes with --webhook-cert: a certificate that moonphase makes has its own")
  end
  if o.webhook_url and o.webhook_service then fail(2, "--webhook-url and --webhook-service exclude each other") end
  if o.webhook_url and not o.webhook_url:match("^https://[%w.:%[%]-]+/quota$") then
    fail(2, "--webhook-url must be https://HOST[:PORT]/quota, not '" .. o.webhook_url .. "'")
  end
  local service = o.webhook_service
  if service and not service:match("^[a-z0-9-]+/[a-z0-9-]+$") and not service:match("^[a-z0-9-]+/[a-z0-9-]+:%d+$") then
    fail(2, "--webhook-service must be NAMESPACE/NAME or NAMESPACE/NAME:PORT, not '" .. o.webhook_service .. "'")
  end
end

-- Where other replicas reach us: the pod's address where we listen on all; nil: nowhere that is known.
function M.own_address(o)
  local host, port = (o.webhook_addr or ""):match("^(.*):(%d+)$")
  if not host or port == "0" then return nil end
  if ANY[host] then host = process.env("POD_IP") end
  return host and host .. ":" .. port
end

-- By which way the API server is told to come: {url} or {service}.
local function way(o, cluster)
  if o.webhook_url then return { url = o.webhook_url } end
  if o.webhook_service then return { service = o.webhook_service } end
  if cluster.source == IN_POD then return { service = cluster.namespace .. "/" .. start().SERVICE } end
  local host, port = o.webhook_addr:match("^(.*):(%d+)$")
  if not host or ANY[host] or port == "0" then
    return nil, "outside of a pod moonphase does not know by which way the API server gets here: say --webhook-url or --webhook-service, "
      .. "or let --webhook-addr name a host and a port"
  end
  return { url = ("https://%s:%s%s"):format(host, port, require("webhook.server").PATH) }
end

local function trouble_of()
  local told
  return function(text)
    if told ~= text and not text:find("silent for", 1, true) then log.warn("a watch has trouble", { resource = "quota", why = text }) end
    told = text
  end
end

-- The Deployments of the object `key`, that are its own: {handle, key} of each.
local function deployments_of(c, key)
  local list, children, owner = {}, c.by_kind.Deployment, c.objects:get(key)
  local namespace, name = key:match("^(.-)/(.+)$")
  for _, child_key in ipairs(children and owner and children:find(namespace, "parent", name) or {}) do
    local child = children:get(child_key)
    if child and child.indexes.owner == owner.uid then list[#list + 1] = { handle = child, key = child_key } end
  end
  return list
end

-- What the rest of the webhook asks of the controller.
local function about_objects(c)
  return {
    created = function(key)
      local handle = c.objects:get(key)
      return handle and not handle.deleting and (handle.indexes["@created"] or "") or nil
    end,
    deployments = function(key)
      local list = {}
      for i, one in ipairs(deployments_of(c, key)) do
        list[i] = { kind = c.by_kind.Deployment.kind, key = one.key, uid = one.handle.uid }
      end
      return list
    end,
    wanted = function(key)
      local count = 0
      for _, one in ipairs(deployments_of(c, key)) do
        count = count + (math.tointeger(tonumber(one.handle.indexes.replicas or "1")) or 0)
      end
      return count
    end,
    template = function(key)
      local one = deployments_of(c, key)[1]
      local object = one and c.by_kind.Deployment:read(one.key)
      local pod = object and object.spec and object.spec.template
      return type(pod) == "table" and type(pod.metadata) == "table" and type(pod.metadata.labels) == "table" and pod or nil
    end,
    count_deployments = function(group)
      if not c.inputs.group then return nil end
      local count = 0
      for _, key in ipairs(c.objects:find_anywhere("group", group.id)) do
        local handle = c.objects:get(key)
        if handle and ahead.takes_place(handle) then count = count + 1 end
      end
      return count
    end,
  }
end

-- Whom a call of quota.lua was about: each pod of one ReplicaSet is the same to it.
local function pod_of(asked)
  local pod = type(asked) == "table" and (asked.pod or asked) or {}
  local meta = type(pod.metadata) == "table" and pod.metadata or {}
  local name = meta.generateName or meta.name
  return type(name) == "string" and "pod " .. name or "a pod"
end

-- quota.lua failed: counted and told as any failure of the policies, and held against them while they are on trial.
local function count_failures(c)
  local told
  return function(failure, name, ...)
    local pod, words = pod_of((...)), guard.sentence(failure)
    c.metrics.policy_errors:add(1, failure.outcome)
    if told ~= words then
      log.error("quota.lua failed: pods of groups are refused until it is mended", { call = name, pod = pod, why = words, policy = c.digest })
    end
    told = words
    if c.trial then c.trial:rule_erred(pod, failure, name, ...) end
  end
end

-- The webhook of a controller whose caches are complete; nil without --webhook-addr. nil and a sentence if it cannot be.
function M.open(o, cluster, c, leader)
  if not o.webhook_addr then return nil end
  local to, why = way(o, cluster)
  if not to then return nil, why end
  local options = about_objects(c)
  local more = {
    cluster = c.cluster, policy = function() return c.guard end, settings = function() return c.settings end, leader = leader,
    on_failure = count_failures(c),
    namespaces = c.namespaces, parent_label = c.label,
    operator_namespace = cluster.namespace, address = o.webhook_addr, url = to.url, service = to.service, cert = o.webhook_cert,
    key = o.webhook_key, ca = o.webhook_ca, client_ca = o.webhook_client_ca, on_trouble = trouble_of(),
    groups = function(asked)
      asked.settings, asked.generation, asked.operator_namespace = function() return c.settings end, function() return c.generation end,
        cluster.namespace
      return require("webhook.catalogue").start(asked)
    end,
    forward = function(pair, name)
      return require("webhook.forward").new { address = function() return leader:address() end, pair = pair, name = name }
    end,
  }
  for name, value in pairs(more) do options[name] = value end
  local webhook, trouble = start().start(options)
  if not webhook then return nil, trouble end
  c.on_decided = function(key, decision) webhook:decided(key, decision) end
  return webhook
end

-- (does not return) Of an operator that is switched off and would else answer reviews. Its configuration says failurePolicy Fail: left
-- behind, it would keep every pod of every group from being created. So it is deleted, and again when a replica of before,
-- which is still about to end, puts it back. While the operator is off, quotas do not bound anybody.
function M.withdraw(o)
  if not o.webhook_addr or o.sandbox then return end
  if o.webhook_cert and not o.webhook_ca then
    return log.warn("the webhook's configuration is the administrator's: delete it, or no pod of a group can be created", {})
  end
  local registration, told = require "webhook.registration", nil
  local function tell(text)
    if told ~= text then log.warn("the webhook's configuration may still be there: pods of groups cannot be created then", { why = text }) end
    told = text
  end
  while true do
    local cluster, why = kube.open { kubeconfig = o.kubeconfig, context = o.context }
    local gone = nil
    if cluster then gone, why = registration.withdraw(cluster, registration.name_in(cluster.namespace)) end
    if gone == nil then tell(why) end
    if gone then log.info("the webhook's configuration is deleted: while moonphase is off, quotas bound nobody", {}) end
    loop.sleep(WITHDRAW_SECONDS)
  end
end

return M
