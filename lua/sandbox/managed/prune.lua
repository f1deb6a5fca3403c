-- Taking away what a manager applied before and does not apply any more.
--
-- A field, entry or item goes if the manager's last configuration said it, this one does not, and nobody else owns it. It
-- goes as its owner said it: by leaves. A struct, map or list that nothing is left of becomes null rather than absent.
-- The three steps are the server's own (merge.Updater of structured-merge-diff), since their order shows: an item of a list goes
-- with all fields that nobody else owns, but what in it others own keeps it there.

local fields = require "sandbox.typed.fields"
local fieldset = require "sandbox.fieldset"
local merge = require "sandbox.typed.merge"

-- prune(merged, last, owned, atom) -> object     last: the set applied before; owned: what all managers own now
return function(merged, last, owned, atom)
  if fieldset.is_empty(fieldset.difference(last, owned)) then return merged end
  local all = fields.of(merged, atom)
  local pruned = merge.remove(merged, last, atom)
  local kept = fieldset.union(fields.of(pruned, atom), owned)
  pruned = merge.remove(merged, fieldset.difference(all, kept), atom)
  local gone = fieldset.difference(all, fields.of(pruned, atom))
  return merge.remove(merged, fieldset.intersection(gone, last), atom)
end
