-- Whether moonphase may do what a new watch asks of it, by asking the API server (SelfSubjectAccessReview: any
-- authenticated client may create one). A policy that watches a kind for which nobody wrote a Role is refused before it is
-- live, with the rule that is missing.

local rights = require "rights"

local M = {}

local PATH = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

-- (waits) Whether `verb` on this kind is allowed; nil if the server would not say.
local function allowed(cluster, kind, namespace, verb)
  local answer = cluster:request { method = "POST", path = PATH, regardless = true, body = { -- a standby asks too
    apiVersion = "authorization.k8s.io/v1", kind = "SelfSubjectAccessReview",
    spec = { resourceAttributes = { group = rights.group(kind.api_version), resource = kind.resource, verb = verb, namespace = namespace } } } }
  if not answer or answer.status < 200 or answer.status > 299 then return nil end
  local review = json.decode(answer.body)
  local status = type(review) == "table" and review.status
  if type(status) ~= "table" then return nil end
  return status.allowed == true
end

local function missing_verbs(cluster, kind, role, namespace)
  local missing = {}
  for _, verb in ipairs(rights.VERBS[role]) do
    if allowed(cluster, kind, namespace, verb) == false then missing[#missing + 1] = verb end
  end
  return missing
end

-- (waits) nil, or a sentence: what of `new` (watches.start's) is not allowed.
function M.trouble(cluster, new)
  for _, part in ipairs(new) do
    local kind = part.informer.kind
    for _, namespace in ipairs(part.namespaces or { false }) do
      local missing = kind.optional and {} or missing_verbs(cluster, kind, part.role, namespace or nil)
      if #missing > 0 then
        return ("moonphase may not %s %s (%s) %s: add that to its Role (moonphase rbac prints all of it), or leave the kind out"):format(
          table.concat(missing, ", "), kind.resource, kind.api_version, namespace and "in namespace " .. namespace or "in all namespaces")
      end
    end
  end
end

return M
