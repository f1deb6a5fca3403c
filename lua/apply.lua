-- Making one child as it is wanted, with as few requests as that takes, and never more than is ours.
--
-- A child is written by server-side apply, field manager `moonphase`, forced: what we say holds,
-- what we do not say belongs to others. A forced apply would take over a stranger's object of
-- the same name, so before its first write a child is read by name. Apply cannot remove what
-- somebody else added, and it keeps the live order of lists: what diff.repair finds is mended by
-- one strategic merge patch. Several writes of a pod template are one rollout (hold.lua). What the server refuses to
-- change (422) is replaced if the policy allows it for this child.
--
-- Of a kind whose cache keeps metadata only (Secrets: their contents are written, never cached) the object itself is
-- read by name and compared, once for each resourceVersion that its watch shows: so an edit of its contents is
-- seen, a restart writes nothing, and no digest of what it holds lies about in an annotation.
--
-- Every function here may wait. ensure() answers "unchanged", "written", or nil and a Problem
-- (lua/types/policy.lua).

local diff = require "diff"
local hold = require "hold"
local lists = require "lists"
local informers = require "informers"
local overwrite = require "overwrite"

local M = {}

M.MANAGER = "moonphase"
M.DIGEST = "moonphase.primehub.io/policy" -- which policy changed this child last
local APPLY_QUERY = { fieldManager = M.MANAGER, force = "true" }
local PATCH_QUERY = { fieldManager = M.MANAGER }
local OWN_TRIES = 4

local function problem(child, code, reason, message)
  return nil, { kind = child.kind, name = child.metadata.name, code = code, reason = reason, message = message }
end

-- A server may repeat the value that it refuses; of a Secret that is told to nobody.
local function words_of(child, answer)
  if child.kind == "Secret" then return "the server refused the Secret; its answer is not shown, for it may hold values" end
  return answer.message
end

local function refused(child, answer, failure)
  if not answer then return problem(child, 0, "NoAnswer", failure) end
  local reason = answer.reason and answer.reason ~= "" and answer.reason or "Refused"
  return problem(child, answer.status, reason, words_of(child, answer))
end

local function ok(answer)
  return answer ~= nil and answer.status >= 200 and answer.status < 300
end

-- The object in an answer's body; nil, text if it holds none.
local function object_in(answer)
  local object, why = json.decode(answer.body)
  if object == nil then return nil, "the server's answer is not JSON: " .. tostring(why) end
  if type(object) ~= "table" or type(object.metadata) ~= "table" or type(object.metadata.uid) ~= "string" then
    return nil, "the server's answer is no Kubernetes object: it has no metadata.uid"
  end
  return object
end

-- One child as the host writes it: the policy's manifest with namespace, owner and parent label.
-- `owner` is {api_version, kind, name, uid, namespace}; label: the key of the parent's label.
function M.complete(manifest, owner, label)
  local child, meta = {}, {}
  for k, v in pairs(manifest) do child[k] = v end
  for k, v in pairs(manifest.metadata) do meta[k] = v end
  local labels = {}
  for k, v in pairs(meta.labels or {}) do labels[k] = v end
  labels[label] = owner.name
  meta.labels = labels
  meta.namespace = owner.namespace
  meta.ownerReferences = json.array { {
    apiVersion = owner.api_version, kind = owner.kind, name = owner.name, uid = owner.uid,
    controller = true, blockOwnerDeletion = true,
  } }
  child.metadata = meta
  return child
end

-- Nobody's object that bears our label and the digest of a policy of ours: we wrote it, and its owner reference was taken away.
local function bears_our_marks(live, child)
  local labels, annotations = live.metadata.labels, live.metadata.annotations
  if type(labels) ~= "table" or type(annotations) ~= "table" or annotations[M.DIGEST] == nil then return false end
  for name, value in pairs(child.metadata.labels) do
    if labels[name] ~= value then return false end
  end
  return true
end

-- Whose object this is: "ours", "another" (its controller is somebody else), or "stranger".
function M.ownership(live, owner_uid, child)
  local mine, controller = false, nil
  local references = live.metadata.ownerReferences
  for _, reference in ipairs(type(references) == "table" and references or {}) do
    if reference.uid == owner_uid then
      mine = true
    elseif reference.controller then
      controller = reference.uid
    end
  end
  if controller then return "another" end
  return (mine or bears_our_marks(live, child)) and "ours" or "stranger"
end

-- ctx: {cluster, informer, owner_uid, digest, settled (a table to remember in what was found equal),
-- replace_allowed(child) -> bool, may_delete(child) -> bool (nil: yes): asked just before a delete, also of what is made anew,
-- count(kind), dry_run(child, found, live): asked in place of a write, version: the resourceVersion that the first write must meet
-- (nil: any), answered(child, verb, HTTP status, words): told of each write (nil: nobody is), not_kept(child, found): told when a
-- write was taken and something differs all the same}
local function body_of(ctx, child, uid)
  local body, meta, annotations = {}, {}, {}
  for k, v in pairs(child) do body[k] = v end
  for k, v in pairs(child.metadata) do meta[k] = v end
  for k, v in pairs(meta.annotations or {}) do annotations[k] = v end
  annotations[M.DIGEST] = ctx.digest
  meta.annotations = annotations
  meta.uid = uid
  meta.resourceVersion = ctx.version
  body.metadata = meta
  return body
end

local function path_of(ctx, child)
  return informers.path(ctx.informer.kind, child.metadata.namespace, child.metadata.name)
end

local function remember(ctx, child, answer)
  local watch = ctx.informer:of(child.metadata.namespace .. "/" .. child.metadata.name)
  if watch then watch:wrote(answer.body) end
end

local function tell(ctx, child, verb, answer, failure)
  if not ctx.answered then return end
  ctx.answered(child, verb, answer and answer.status or 0, not answer and failure or not ok(answer) and words_of(child, answer) or nil)
end

local function send(ctx, child, content_type, query, body)
  ctx.count(child.kind)
  local answer, failure = ctx.cluster:request {
    method = "PATCH", path = path_of(ctx, child), query = query, content_type = content_type, body = body,
  }
  tell(ctx, child, query == APPLY_QUERY and "apply" or "patch", answer, failure)
  if ok(answer) then
    ctx.version = nil -- it holds for the first write
    remember(ctx, child, answer)
  end
  return answer, failure
end

local function server_side_apply(ctx, child, uid)
  return send(ctx, child, "application/apply-patch+yaml", APPLY_QUERY, body_of(ctx, child, uid))
end

local function delete(ctx, child, uid)
  ctx.count(child.kind)
  local answer, failure = ctx.cluster:request {
    method = "DELETE", path = path_of(ctx, child),
    body = { apiVersion = "v1", kind = "DeleteOptions", preconditions = { uid = uid, resourceVersion = ctx.version },
      propagationPolicy = "Background" },
  }
  tell(ctx, child, "delete", answer, failure)
  if ok(answer) then
    ctx.version = nil
    local key = child.metadata.namespace .. "/" .. child.metadata.name
    local watch = ctx.informer:of(key)
    if watch then watch:deleted(key, uid) end
  end
  return answer, failure
end

local function being_deleted(child)
  return problem(child, 409, "WaitingForDeletion",
    "the present " .. child.kind .. " " .. child.metadata.name .. " is being deleted; it is made again when it is gone")
end

-- (waits) Whether the server would make this child if the name were free: nothing is deleted for what is refused anyway. A dry run of
-- its creation comes as far as the present object of the name (AlreadyExists), or says what is wrong. nil and a Problem: it would not.
local function could_be_made(ctx, child)
  local body = body_of(ctx, child, nil)
  body.metadata.resourceVersion = nil
  local answer, failure = ctx.cluster:request { method = "POST", path = informers.path(ctx.informer.kind, child.metadata.namespace),
    query = { fieldManager = M.MANAGER, dryRun = "All" }, content_type = "application/json", body = body }
  if ok(answer) or answer and answer.status == 409 and answer.reason == "AlreadyExists" then return true end
  return refused(child, answer, failure)
end

-- 422: the server will not change it in place. Delete exactly this object and make it anew, if it can be made.
local function replace(ctx, child, live, answer)
  if not ctx.replace_allowed(child) or ctx.may_delete and not ctx.may_delete(child) then return refused(child, answer) end
  local possible, trouble = could_be_made(ctx, child)
  if not possible then return nil, trouble end
  log.warn("replacing a child that cannot be changed in place",
    { kind = child.kind, name = child.metadata.name, namespace = child.metadata.namespace, why = words_of(child, answer) })
  local gone, failure = delete(ctx, child, live.metadata.uid)
  if not ok(gone) and not (gone and gone.status == 404) then return refused(child, gone, failure) end
  local rest = ok(gone) and json.decode(gone.body)
  if type(rest) == "table" and type(rest.metadata) == "table" and rest.metadata.deletionTimestamp then
    return being_deleted(child) -- a finalizer holds it: an apply now would be written to what is going
  end
  local made, why = server_side_apply(ctx, child, nil)
  if not ok(made) then return refused(child, made, why) end
  return "written"
end

-- The UID keeps the patch from another object of the name.
local function strategic_patch(ctx, child, live, patch)
  patch.metadata = patch.metadata or {}
  patch.metadata.uid = live.metadata.uid
  patch.metadata.resourceVersion = ctx.version
  patch.metadata.annotations = patch.metadata.annotations or {}
  patch.metadata.annotations[M.DIGEST] = ctx.digest
  return send(ctx, child, "application/strategic-merge-patch+json", PATCH_QUERY, patch)
end

-- Removing and ordering, which apply does not do; and the hold, if the child has it (hold.lua).
local function repair(ctx, child, live)
  local patch = diff.repair(child, live) or {}
  if child.spec and child.spec.paused == true then
    patch.spec = patch.spec or {}
    patch.spec.paused = true
  end
  return strategic_patch(ctx, child, live, patch)
end

-- One step of mending: what `write` left of the object and what differs in it still; nil and a Problem; or nil and
-- "written" if the server would not change it in place and it was made anew. sent: the child as it is written by this step.
local function step(ctx, child, sent, live, write)
  local answer, failure = write(ctx, sent, live)
  if answer and answer.status == 422 then
    local result, trouble = replace(ctx, child, live, answer)
    return nil, trouble or result
  elseif not ok(answer) then
    local _, trouble = refused(child, answer, failure)
    return nil, trouble
  end
  local left, why = object_in(answer)
  if not left then
    local _, trouble = problem(child, 0, "NoAnswer", why)
    return nil, trouble
  end
  return left, diff.compare(child, left)
end

-- An apply over what is there. What it cannot take away (overwrite.lua) makes the server refuse it: then the patch
-- that can, and the apply again, both held. The first refusal is the one that is told.
-- rehearsed: what the patch would leave is the answer, for nothing was kept of it.
local function apply_over(ctx, child, live, rehearsed)
  local answer, failure = server_side_apply(ctx, child, live.metadata.uid)
  if not answer or answer.status ~= 422 then return answer, failure end
  local held = rehearsed and child or hold.held(child)
  local patch = overwrite(held, live)
  local patched = patch and strategic_patch(ctx, child, live, patch)
  if not patched or not ok(patched) then return answer, failure end
  if rehearsed then return patched end
  return server_side_apply(ctx, held, live.metadata.uid)
end

-- The last write, until it is taken: the object then; nil and a Problem if it is held still. Of ownership alone a server that
-- will not have it is left alone.
local function conclude(ctx, child, live)
  local answer, failure
  for _ = 1, OWN_TRIES do
    local patch = hold.last_patch(child, live, M.MANAGER)
    if not patch then return live end
    answer, failure = send(ctx, child, "application/json-patch+json", PATCH_QUERY, patch)
    local now = ok(answer) and answer or ctx.cluster:request { path = path_of(ctx, child) }
    now = ok(now) and object_in(now)
    if not now or now.metadata.uid ~= live.metadata.uid then break end
    live = now
  end
  if not hold.is_held(child, live) then return live end
  if not ok(answer) then return refused(child, answer, failure) end
  return problem(child, 0, "StillPaused", child.kind .. " " .. child.metadata.name
    .. " is paused still, though the server took the write that ends it: look for a webhook or a controller that pauses it")
end

-- The live object differs: mend it. Extras go first, since an entry that nobody asked for may keep the
-- server from taking ours (a port of the same name); order comes last, on what apply left.
local function mend(ctx, child, live, found)
  local strategic = lists.is_strategic(child.apiVersion)
  local sent = hold.is_needed(child, found) and hold.held(child) or child
  for _, turn in ipairs { { "extras", repair }, { "values", apply_over }, { "order", repair } } do
    local what, write = turn[1], turn[2]
    if found[what] and (strategic or write == apply_over) then
      local left, rest = step(ctx, child, sent, live, write)
      if not left then
        if rest == "written" then return "written" end
        return nil, rest
      end
      live, found = left, rest
    end
  end
  local last, trouble = conclude(ctx, child, live)
  if not last then return nil, trouble end
  if last ~= live then found = diff.compare(child, last) end
  if #found > 0 then ctx.not_kept(child, found) end
  return "written"
end

-- An object that exists: may we write it, and is there anything to write?
local function settle(ctx, child, live)
  if live.metadata.deletionTimestamp then
    return being_deleted(child)
  end
  local whose = M.ownership(live, ctx.owner_uid, child)
  if whose == "another" then
    return problem(child, 409, "WaitingForOwner",
      child.kind .. " " .. child.metadata.name .. " is controlled by another object; waiting for it to go")
  elseif whose == "stranger" then
    return problem(child, 409, "ChildConflict", child.kind .. " " .. child.metadata.name
      .. " exists and is not moonphase's: it is left alone. Delete or rename it, or choose another name for this deployment")
  end
  local found = diff.compare(child, live)
  if #found == 0 then return "unchanged" end
  if ctx.dry_run then return ctx.dry_run(child, found, live) end
  return mend(ctx, child, live, found)
end

local function is_whole(kind)
  return kind.keep == nil or kind.keep == "whole"
end

-- The child and the live object as one number. While it stays the same nothing differs, if nothing did. `object`: the
-- handle that the cache has, or the metadata of what was read.
local function mark_of(ctx, child, key, object)
  if is_whole(ctx.informer.kind) then
    local content = ctx.informer:content(key)
    return content and digest.quick(child) ~ content * 3
  end
  return object and digest.quick { child = child, uid = object.uid, version = object.version or object.resourceVersion }
end

-- Whether nothing differed when this very child was last compared with what the cache holds of it still.
function M.is_settled(settled, informer, child)
  local key = child.metadata.namespace .. "/" .. child.metadata.name
  local mark = settled[child.kind .. "/" .. key]
  return mark ~= nil and mark == mark_of({ informer = informer }, child, key, informer:get(key))
end

local function ensure_cached(ctx, child, key, live)
  local result, trouble = settle(ctx, child, live)
  if result == "unchanged" and not ctx.dry_run then ctx.settled[child.kind .. "/" .. key] = mark_of(ctx, child, key) end
  return result, trouble
end

-- The server's own copy decides.
local function ensure_read(ctx, child, key, answer)
  local found, why = object_in(answer)
  if not found then return problem(child, 0, "NoAnswer", why) end
  local result, trouble = settle(ctx, child, found)
  if result == "unchanged" then
    remember(ctx, child, answer) -- our watch may not show it (yet): let readers see it
    if not ctx.dry_run then ctx.settled[child.kind .. "/" .. key] = mark_of(ctx, child, key, found.metadata) end
  end
  return result, trouble
end

-- The answer to an apply of what is not there. A path that the server does not know has another 404 than a namespace that is gone.
local function not_made(ctx, child, answer, failure)
  local kind = ctx.informer.kind
  if answer and answer.status == 404 and not (answer.message or ""):find("namespaces ", 1, true) then
    return problem(child, 404, "NotServed", ("the cluster does not serve %s (%s)"):format(kind.resource, kind.api_version))
  end
  return refused(child, answer, failure)
end

local function read_answer(child, answer)
  local object, why = object_in(answer)
  if not object then return problem(child, 0, "NoAnswer", why) end
  return object
end

-- (waits) What the server answers to the writes that mend `live` (nil: there is nothing yet), for a ctx whose cluster keeps none
-- of them (dryRun=All): the object as it would be, or nil and a Problem; the third result says that it would be replaced. `found`:
-- of diff.compare. Each write is tried on what is live, not on what the one before it would leave: extras may
-- still be in the answer.
function M.rehearse(ctx, child, live, found)
  if not live then
    local made, why = server_side_apply(ctx, child, nil)
    if not ok(made) then return not_made(ctx, child, made, why) end
    return read_answer(child, made)
  end
  local strategic = lists.is_strategic(child.apiVersion)
  local first = strategic and (found.extras or not found.values)
  local answer, failure
  if first then answer, failure = repair(ctx, child, live) end
  if found.values and (not first or ok(answer)) then answer, failure = apply_over(ctx, child, live, true) end
  if ok(answer) then return read_answer(child, answer) end
  if not answer and not failure then return live end -- nothing that could be sent
  local _, trouble = refused(child, answer, failure)
  if answer and answer.status == 422 and ctx.replace_allowed(child) then
    local possible, wrong = could_be_made(ctx, child)
    return nil, possible and trouble or wrong, possible == true
  end
  return nil, trouble
end

-- Make `child` (completed) so.
function M.ensure(ctx, child)
  local key = child.metadata.namespace .. "/" .. child.metadata.name
  if M.is_settled(ctx.settled, ctx.informer, child) then return "unchanged" end
  local live = is_whole(ctx.informer.kind) and ctx.informer:read(key)
  if live then return ensure_cached(ctx, child, key, live) end
  local answer, failure = ctx.cluster:request { path = path_of(ctx, child) }
  if answer and answer.status == 200 then
    return ensure_read(ctx, child, key, answer)
  elseif answer and answer.status == 404 then
    if ctx.dry_run then return ctx.dry_run(child, nil) end
    local made, why = server_side_apply(ctx, child, nil)
    if not ok(made) then return not_made(ctx, child, made, why) end
    return "written"
  end
  return refused(child, answer, failure)
end

-- Delete a child that the decision names, if it is ours. target: {kind, name}; namespace of the owner.
function M.prune(ctx, target, namespace)
  local key = namespace .. "/" .. target.name
  local live = ctx.informer:get(key)
  if not live or live.deleting or live.indexes.owner ~= ctx.owner_uid then return "unchanged" end
  local child = { kind = target.kind, metadata = { name = target.name, namespace = namespace } }
  if ctx.dry_run then return ctx.dry_run(child, "delete") end
  if ctx.may_delete and not ctx.may_delete(child) then return "unchanged" end
  local answer, failure = delete(ctx, child, live.uid)
  if ok(answer) or (answer and answer.status == 404) then return "written" end
  return refused(child, answer, failure)
end

return M
