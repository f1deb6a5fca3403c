-- Questions that are answered and not kept: may somebody do this, who is this? The kinds, for discovery and their schemas;
-- the answers are api/reviews.lua's.
-- (https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access)

local kinds = require "sandbox.kinds.kind"

-- The kind's table.
return function(group, kind, plural, namespaced)
  return kinds.make { group = group, kind = kind, plural = plural, namespaced = namespaced or false, verbs = { "create" } }
end
