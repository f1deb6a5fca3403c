-- Access and token reviews: everybody may do everything here, and the answer says so.
--
-- kubectl auth can-i and clients that ask before they act get "allowed"; nothing is stored.

local errors = require "sandbox.errors"

local M = {}

local USER = { username = "admin", groups = json.array { "system:masters", "system:authenticated" } }

-- An access review asks about a resource or a path, and not both.
local function allowed(object)
  local spec = object.spec
  if (type(spec.resourceAttributes) == "table") == (type(spec.nonResourceAttributes) == "table") then
    return nil, errors.invalid({ kind = "", group = "authorization.k8s.io" }, "", { { field = "spec.resourceAttributes",
      type = "FieldValueInvalid", message = ("Invalid value: %s: exactly one of nonResourceAttributes or resourceAttributes must be "
        .. "specified"):format(spec.resourceAttributes and '"object"' or '"null"') } })
  end
  object.status = { allowed = true }
  return object
end

local function rules(object)
  local all = json.array { "*" }
  if (object.spec.namespace or "") == "" then return nil, errors.bad_request("no namespace on request") end
  object.spec = {}
  object.status = { incomplete = false, resourceRules = json.array { { verbs = all, apiGroups = all, resources = all } },
    nonResourceRules = json.array { { verbs = all, nonResourceURLs = all } } }
  return object
end

local KINDS = {
  ["authorization.k8s.io/v1/selfsubjectaccessreviews"] = { kind = "SelfSubjectAccessReview", answer = allowed },
  ["authorization.k8s.io/v1/localsubjectaccessreviews"] = { kind = "LocalSubjectAccessReview", answer = allowed },
  ["authorization.k8s.io/v1/selfsubjectrulesreviews"] = { kind = "SelfSubjectRulesReview", answer = rules },
  ["authorization.k8s.io/v1/subjectaccessreviews"] = { kind = "SubjectAccessReview", answer = allowed },
  ["authentication.k8s.io/v1/tokenreviews"] = { kind = "TokenReview", answer = function(object)
    object.status = { authenticated = true, user = USER }
    if type(object.spec) == "table" then object.spec.token = nil end
    return object
  end },
}

-- The review of a path such as /apis/authorization.k8s.io/v1/selfsubjectaccessreviews, or nil.
function M.find(path)
  local group, rest = path:match("^/apis/([^/]+/[^/]+)/namespaces/[^/]+/(.+)$")
  if group then return rest == "localsubjectaccessreviews" and KINDS[group .. "/" .. rest] or nil end
  return path:match("/localsubject") == nil and KINDS[path:match("^/apis/(.+)$")] or nil
end

-- object: the decoded body, ours. -> the review with its status | nil, failure
function M.answer(review, object, path)
  object.apiVersion, object.kind = path:match("^/apis/([^/]+/[^/]+)/"), review.kind
  object.metadata = type(object.metadata) == "table" and object.metadata or {}
  if type(object.spec) ~= "table" then object.spec = {} end
  return review.answer(object)
end

return M
