-- How a kind's table is made: what is alike in most kinds, and the strategy around the functions that each has.
--
-- kind.strategy holds what the agreement names, and besides:
--   unconditional_update   an update without a resourceVersion is taken (else it is refused)
--   create_on_update       an update of what is not there creates it
--   admit(object, w, old)  in place: what the server's own admission plugins do, before webhooks; a failure refuses
--   name                   the check that names must pass (checks.name_*)
--   prepare_NAME, validate_NAME   of an update through the subresource NAME ("status", "finalize")
--   from_storage(object)   a stored object in this kind's version, where it has several (ingresses)
-- validate_* get the world and the verb's options as well. kind.invalid_as is the group and kind that a refusal names, where
-- that is another one. Of subresources that are functions: pod_subresources.lua.

local checks = require "sandbox.kinds.checks"
local meta = require "sandbox.kinds.meta"

local M = {}

-- The usual metadata checks of a built-in kind, to start validate_create with.
function M.new_meta(object, namespaced, name_check)
  return meta.validate_create({}, object.metadata, namespaced, name_check or checks.name_subdomain)
end

-- The same for updates.
function M.update_meta(new, old)
  return meta.validate_update({}, new.metadata, old.metadata)
end

-- Updates of kinds that are first checked as if they were new: check(errs, object) are the rules for those.
function M.checked_anew(new, old, namespaced, name_check, check)
  local errs = meta.validate_common({}, new.metadata, old.metadata)
  meta.validate_create(errs, new.metadata, namespaced, name_check or checks.name_subdomain)
  if check then check(errs, new) end
  return meta.validate_again(errs, new.metadata, old.metadata)
end

-- An object with the fields of `new`, but these of `old`: what status updates keep. In place.
function M.keep(new, old, ...)
  for i = 1, select("#", ...) do
    local name = select(i, ...)
    new[name] = old[name]
  end
end

-- Generation 1 for the new, and one more whenever `differs`.
function M.count_up(new, old, differs)
  local generation = old.metadata.generation or 0
  new.metadata.generation = differs and generation + 1 or generation
end

-- kind: its table without what follows from it.
function M.make(kind)
  kind.version = kind.version or "v1"
  kind.group = kind.group or ""
  kind.id = kind.group == "" and kind.plural or kind.plural .. "." .. kind.group
  kind.singular = kind.kind:lower()
  kind.list_kind = kind.kind .. "List"
  if kind.namespaced == nil then kind.namespaced = true end
  kind.strategy = kind.strategy or {}
  local strategy, name_check = kind.strategy, kind.strategy.name or checks.name_subdomain
  strategy.name = name_check
  local whole = strategy.check -- the object's own rules, apart from metadata: function(errs, object)
  if not strategy.validate_create then
    function strategy.validate_create(object)
      local errs = M.new_meta(object, kind.namespaced, name_check)
      if whole then whole(errs, object) end
      return errs
    end
  end
  if not strategy.validate_update then
    function strategy.validate_update(new, old)
      local errs = M.update_meta(new, old)
      meta.validate_create(errs, new.metadata, kind.namespaced, name_check)
      if whole then whole(errs, new) end
      return errs
    end
  end
  return kind
end

return M
