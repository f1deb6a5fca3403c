-- What requests and controllers do with objects: the one way in which the world changes.
--
-- Every verb returns a record (world.lua), or nil and a failure (errors.lua). The objects given are not modified and
-- may share parts with objects of the world: what is stored is a copy. options (all optional):
--   manager      name for managedFields ("kubectl-apply", "kube-controller-manager")
--   dry_run      all but the write
--   subresource  "status"
--   admission    :mutate(review) -> object | nil, failure  and  :validate(review) -> true | nil, failure; both may wait;
--                review = { operation="CREATE"|"UPDATE"|"DELETE", kind=, namespace=, name=, object=, old=, options= }
--   force        of server-side apply
--   grace, propagation, preconditions={uid=, resourceVersion=}   of delete
-- Causes of invalid objects come from the kinds' strategies: { field=, type=, message=, bad= }, where `message` is all that
-- follows the field ("Invalid value: -1: must be ...").

local create = require "sandbox.verbs.create"
local patch = require "sandbox.verbs.patch"
local remove = require "sandbox.verbs.remove"
local update = require "sandbox.verbs.update"

local M = {}

-- create(w, kind, namespace, object, options) -> record | nil, failure
M.create = create.create

-- update(w, kind, namespace, name, object, options) -> record | nil, failure; third: true when it was created
M.update = update.update

-- patch(w, kind, namespace, name, patch_type, body, options): patch_type "json", "merge", "strategic" or "apply"; body: the
-- decoded patch. -> record | nil, failure; third: true when it was created
M.patch = patch.patch

-- delete(w, kind, namespace, name, options) -> record (what is left, or was last) | nil, failure; third: true when it is gone
M.delete = remove.delete

-- Read an object, let f(object) return another one (sharing what it likes) or nil for no change, and write it. For
-- controllers: id is the resource id, and what is equal is not written. options.registry is needed for the kind unless
-- options.kind is given, or the world knows its registry (registry.new tells it).
-- -> record | nil, failure
function M.modify(w, id, namespace, name, options, f)
  options = options or {}
  local kind = options.kind or (options.registry or w.registry):by_id(id)
  local record = w:get(id, kind.namespaced and namespace or "", name)
  if not record then return nil, require("sandbox.errors").not_found(id, name) end
  local new = f(record.object)
  if new == nil or new == record.object or json.equal(new, record.object) then return record end
  return update.update(w, kind, namespace, name, new, options)
end

return M
