-- Admission webhooks: who is asked, in which order, and what becomes of the request.
--
-- Mutating webhooks are asked one after the other, configurations by name, and each sees what those before it made of the
-- object; when one changes it, those with reinvocationPolicy IfNeeded that were asked before are asked once more. Then
-- validating ones are asked, all at once. A webhook that cannot be asked is passed over if its failurePolicy is Ignore; its
-- refusal always counts. A dry run goes only to webhooks without side effects.
-- (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/; words as in 1.20.2.)
--
-- What asks may wait: in a world without webhooks nothing does, and `may_wait` tells that beforehand.

local call = require "sandbox.admission.call"
local common = require "sandbox.verbs.common"
local errors = require "sandbox.errors"
local rules = require "sandbox.admission.rules"

local M = {}
M.__index = M

local MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
local VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"

-- options: world, registry, services = { ["NAMESPACE/NAME"] = "HOST:PORT" } (of the world file; nil: none)
function M.new(options)
  return setmetatable({ world = options.world, registry = options.registry, services = options.services }, M)
end

-- Whether a write may have to wait for a webhook.
function M:may_wait()
  return self.world:count(MUTATING) > 0 or self.world:count(VALIDATING) > 0
end

-- The webhooks of a kind of configuration, in their order.
local function webhooks_of(world, id)
  local all = {}
  for _, record in ipairs(world:each(id)) do
    for _, webhook in ipairs(record.object.webhooks or {}) do all[#all + 1] = webhook end
  end
  return all
end

-- (waits) -> response | nil (passed over) | nil, failure
local function ask(self, webhook, review, kind, is_mutating)
  if review.options and review.options.dry_run and webhook.sideEffects ~= "None" and webhook.sideEffects ~= "NoneOnDryRun" then
    return nil, errors.bad_request(("admission webhook %q does not support dry run"):format(webhook.name))
  end
  local response, text = call.ask(webhook, review, kind, self.world:uid(), self.services, is_mutating)
  if not response then
    if webhook.failurePolicy == "Ignore" then return nil end
    return nil, errors.internal(("failed calling webhook %q: %s"):format(webhook.name, text))
  end
  if response.allowed ~= true then return nil, call.denial(webhook, response) end
  return response
end

-- ---- mutating

-- The object after a response, as its kind has it. -> object | nil, failure
local function changed(self, review, kind, response)
  local subresource = review.options and review.options.subresource
  local sent = call.as(kind, review.object, subresource)
  local object, failure = call.patched(response, sent)
  if not object then return nil, failure end
  if object == sent then return review.object end
  local clean, why
  if review.decode then
    clean, why = review.decode(self.world, object)
    why = why and why.message
  else
    clean, why = common.clean(review.kind, call.as(review.kind, object))
  end
  if not clean then return nil, errors.internal(why) end
  return clean
end

-- One pass over the webhooks; wanted: the set to ask, nil: all. -> set of those to ask again | nil, failure
local function pass(self, webhooks, review, wanted)
  local asked, again = {}, {}
  for _, webhook in ipairs(webhooks) do
    local kind, failure
    if not wanted or wanted[webhook] then kind, failure = rules.match(webhook, review, self.world, self.registry) end
    if failure then return nil, failure end
    if kind then
      local response, refused = ask(self, webhook, review, kind, true)
      if refused then return nil, refused end
      local object = review.object
      if response and object then
        object, failure = changed(self, review, kind, response)
        if not object then return nil, failure end
      end
      if object and object ~= review.object and not json.equal(object, review.object) then
        review.object = object
        for one in pairs(asked) do again[one] = true end
        asked = {}
      end
      if webhook.reinvocationPolicy == "IfNeeded" then asked[webhook] = true end
    end
  end
  return again
end

-- (may wait) review: { operation, kind, namespace, name, object, old, options, decode (what reads a changed object, if it is not one of
-- the kind: a Scale) } -> object | nil, failure
function M:mutate(review)
  if self.world:count(MUTATING) == 0 then return review.object end
  local webhooks = webhooks_of(self.world, MUTATING)
  local inner = setmetatable({}, { __index = review })
  local again, failure = pass(self, webhooks, inner)
  if again and next(again) then again, failure = pass(self, webhooks, inner, again) end
  if not again then return nil, failure end
  return inner.object
end

-- ---- validating

-- (may wait) -> true | nil, failure. A delete passes the mutating webhooks here too: they may refuse it.
function M:validate(review)
  if review.operation == "DELETE" and self.world:count(MUTATING) > 0 then
    local again, failure = pass(self, webhooks_of(self.world, MUTATING), setmetatable({}, { __index = review }))
    if not again then return nil, failure end
  end
  if self.world:count(VALIDATING) == 0 then return true end
  local tasks = {}
  for _, webhook in ipairs(webhooks_of(self.world, VALIDATING)) do
    local kind, failure = rules.match(webhook, review, self.world, self.registry)
    if failure then return nil, failure end
    if kind then tasks[#tasks + 1] = loop.spawn(ask, self, webhook, review, kind) end
  end
  local first
  for _, task in ipairs(tasks) do
    local good, response, failure = task:join()
    if not good then failure = errors.internal(tostring(response)) end
    first = first or failure
  end
  if first then return nil, first end
  return true
end

return M
