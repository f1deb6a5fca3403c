-- ServiceAccounts. https://kubernetes.io/docs/concepts/security/service-accounts/

local kinds = require "sandbox.kinds.kind"
local rows = require "sandbox.kinds.rows"

local strategy = { unconditional_update = true }

-- Of references to secrets only the names are kept.
local function names_only(object)
  if not object.secrets then return end
  local secrets = json.array {}
  for i, secret in ipairs(object.secrets) do secrets[i] = { name = secret.name } end
  object.secrets = secrets
end

function strategy.prepare_create(object) names_only(object) end

function strategy.prepare_update(new) names_only(new) end

local function row(object, w)
  return { object.metadata.name, object.secrets and #object.secrets or 0, rows.age(object, w) }
end

return kinds.make { kind = "ServiceAccount", plural = "serviceaccounts", short_names = { "sa" }, strategy = strategy, row = row }
