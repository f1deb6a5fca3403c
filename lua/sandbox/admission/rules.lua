-- Which webhooks a request goes to: rules, scopes, selectors, and equal resources of other versions.
--
-- As k8s.io/apiserver's admission/plugin/webhook has it (predicates and generic; Kubernetes 1.20): a webhook is called when one
-- of its rules fits the request as it came or, with matchPolicy Equivalent (the default), as it would have come to
-- another version of the same resource. Requests for webhook configurations go to nobody, or nobody could mend them.

local selectors = require "sandbox.kinds.selectors"
local errors = require "sandbox.errors"

local M = {}

local NONE = {}

local function has(list, value)
  for _, one in ipairs(list or NONE) do
    if one == "*" or one == value then return true end
  end
  return false
end

-- "pods" is the resource alone, "pods/*" what is below it, "*/*" everything.
local function resource_fits(list, plural, subresource)
  for _, one in ipairs(list or NONE) do
    local resource, below = one:match("^([^/]*)/?(.*)$")
    if (resource == "*" or resource == plural) and (below == "*" or below == subresource) then return true end
  end
  return false
end

local function scope_fits(scope, kind)
  if scope == nil or scope == "*" then return true end
  return (scope == "Namespaced") == (kind.namespaced == true)
end

local function rule_fits(rule, review, kind)
  return has(rule.operations, review.operation) and has(rule.apiGroups, kind.group) and has(rule.apiVersions, kind.version)
    and resource_fits(rule.resources, kind.plural, review.options and review.options.subresource or "") and scope_fits(rule.scope, kind)
end

-- The kind (the request's or an equal one of another version) in which the webhook wants the request, or nil.
local function kind_for(webhook, review, registry)
  for _, rule in ipairs(webhook.rules or NONE) do
    if rule_fits(rule, review, review.kind) then return review.kind end
  end
  if webhook.matchPolicy == "Exact" then return nil end
  for _, rule in ipairs(webhook.rules or NONE) do
    for _, kind in ipairs(registry:all()) do
      if kind.id == review.kind.id and kind.version ~= review.kind.version and rule_fits(rule, review, kind) then return kind end
    end
  end
end

local function labels_of(object)
  return object and object.metadata and object.metadata.labels or NONE
end

-- Labels of the namespace that the request is about; of a namespace that is being written, the new ones. nil, failure.
local function namespace_labels(world, review)
  if review.kind.id == "namespaces" and review.operation ~= "DELETE" and not (review.options and review.options.subresource) then
    return labels_of(review.object)
  end
  local name = review.kind.id == "namespaces" and review.name or review.namespace
  local record = world:get("namespaces", "", name)
  if not record then return nil, errors.not_found("namespaces", name) end
  return labels_of(record.object)
end

local function object_fits(selector, review)
  if selector == nil then return true end
  return review.object and selectors.matches(selector, labels_of(review.object)) or review.old and selectors.matches(selector, labels_of(review.old))
    or false
end

local function namespace_fits(selector, review, world)
  if selector == nil or selectors.is_empty(selector) then return true end
  if not review.kind.namespaced and review.kind.id ~= "namespaces" then return true end
  local labels, failure = namespace_labels(world, review)
  if not labels then return nil, failure end
  return selectors.matches(selector, labels)
end

-- Does a webhook want this review ({ operation, kind, namespace, name, object, old, options })?
-- -> the kind to send it as | nil, failure (nil alone: no)
function M.match(webhook, review, world, registry)
  if review.kind.group == "admissionregistration.k8s.io" then return nil end
  if not object_fits(webhook.objectSelector, review) then return nil end
  local kind = kind_for(webhook, review, registry)
  if not kind then return nil end
  local fits, failure = namespace_fits(webhook.namespaceSelector, review, world)
  if not fits then return nil, failure end
  return kind
end

return M
