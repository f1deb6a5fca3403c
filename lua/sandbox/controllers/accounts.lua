-- What a namespace comes with: the service account "default", its token, and the certificate of the cluster.
--
-- As Kubernetes 1.20 makes them: each service account has a Secret with a token, and each namespace the ConfigMap
-- kube-root-ca.crt. The sandbox checks no tokens and speaks plain HTTP, so the token says that it is none and the certificate is empty.

local base64 = require "sandbox.api.base64"
local common = require "sandbox.controllers.common"

local M = {}

local NONE = {}
local ID = "serviceaccounts"
local TOKEN = "a token of the sandbox: it opens nothing"

-- As in a Secret: with padding, and + and / where URLs have - and _.
local function encoded(text)
  local one = base64.encode(text):gsub("-", "+"):gsub("_", "/")
  return one .. ("="):rep(-#one % 4)
end

local function make_token(c, account)
  local metadata = account.metadata
  for _, one in ipairs(account.secrets or NONE) do
    if c.w:get("secrets", metadata.namespace, one.name or "") then return true end
  end
  local name = metadata.name .. "-token-" .. c.w:suffix()
  local made = c:create("secrets", metadata.namespace, { apiVersion = "v1", kind = "Secret", type = "kubernetes.io/service-account-token",
    metadata = { name = name, namespace = metadata.namespace, annotations = { ["kubernetes.io/service-account.name"] = metadata.name,
      ["kubernetes.io/service-account.uid"] = metadata.uid } },
    data = { ["ca.crt"] = "", namespace = encoded(metadata.namespace), token = encoded(TOKEN) } })
  if not made then return false end
  return c:modify(ID, metadata.namespace, metadata.name, function(object)
    local secrets = common.filter(object.secrets, function() return true end)
    secrets[#secrets + 1] = { name = name }
    return common.with(object, { secrets = secrets })
  end) ~= nil
end

-- One look at "namespace/name" of a service account, or at a namespace ("namespace/").
function M.sync(c, key)
  local namespace, name = common.split(key)
  local record = c.w:get("namespaces", "", namespace)
  if not record or record.object.metadata.deletionTimestamp then return true end
  if name ~= "" then
    local account = c.w:get(ID, namespace, name)
    return not account or account.object.metadata.deletionTimestamp ~= nil or make_token(c, account.object)
  end
  if not c.w:get(ID, namespace, "default") then
    c:create(ID, namespace, { apiVersion = "v1", kind = "ServiceAccount", metadata = { name = "default", namespace = namespace } })
  end
  if not c.w:get("configmaps", namespace, "kube-root-ca.crt") then
    c:create("configmaps", namespace, { apiVersion = "v1", kind = "ConfigMap",
      metadata = { name = "kube-root-ca.crt", namespace = namespace }, data = { ["ca.crt"] = "" } })
  end
  return true
end

-- The tokens of an account that is gone go with it.
function M.forget(c, account)
  for _, one in ipairs(account.secrets or NONE) do
    local secret = c.w:get("secrets", account.metadata.namespace, one.name or "")
    if secret and (secret.object.metadata.annotations or NONE)["kubernetes.io/service-account.uid"] == account.metadata.uid then
      c:delete("secrets", secret.namespace, secret.name, secret.uid)
    end
  end
end

return M
