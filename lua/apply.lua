-- Making one child as it is wanted, with as few requests as that takes, and never more than is ours.
--
-- A child is written by server-side apply, field manager `moonphase`, forced: what we say holds, what we do not say
-- belongs to others. A forced apply would take over a stranger's object of the same name, so before its first write a child
-- is read by name, and only what is ours is mended (apply/ours.lua says what is, apply/mend.lua mends).
--
-- Of a kind whose cache keeps metadata only (Secrets: their contents are written, never cached) the object itself is
-- read by name and compared, once for each resourceVersion that its watch shows: so an edit of its contents is
-- seen, a restart writes nothing, and no digest of what it holds lies about in an annotation.
--
-- Every function here may wait. ensure() answers "unchanged", "written", or nil and a Problem
-- (lua/types/policy.lua).
--
-- ctx, here and in apply/: {cluster, informer, owner_uid, digest, settled (a table to remember in what was found equal),
-- replace_allowed(child) -> bool, may_delete(child) -> bool (nil: yes): asked just before a delete, also of what is made anew,
-- count(kind), dry_run(child, found, live): asked in place of a write, version: the resourceVersion that the first write must meet
-- (nil: any), answered(child, verb, HTTP status, words): told of each write (nil: nobody is), not_kept(child, found): told when a
-- write was taken and something differs all the same}

local diff = require "diff"
local mending = require "apply.mend"
local ours = require "apply.ours"
local requests = require "apply.requests"

local M = { MANAGER = requests.MANAGER, DIGEST = ours.DIGEST, complete = ours.complete, rehearse = mending.rehearse }

local ok, problem, refused = requests.ok, requests.problem, requests.refused

-- An object that exists: may we write it, and is there anything to write?
local function settle(ctx, child, live)
  if live.metadata.deletionTimestamp then
    return mending.being_deleted(child, live.metadata)
  end
  local whose = ours.ownership(live, ctx.owner_uid, child)
  if whose == "another" then
    return problem(child, 409, "WaitingForOwner", "it is controlled by another object; waiting for it to go")
  elseif whose == "stranger" then
    return problem(child, 409, "ChildConflict",
      "it is not moonphase's, and is left alone: delete or rename it, or choose another name for this deployment")
  end
  local found = diff.compare(child, live)
  if #found == 0 then return "unchanged" end
  if ctx.dry_run then return ctx.dry_run(child, found, live) end
  return mending.mend(ctx, child, live, found)
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
  local found, why = requests.object_in(child, answer)
  if not found then return nil, why end
  local result, trouble = settle(ctx, child, found)
  if result == "unchanged" then
    requests.remember(ctx, child, answer) -- our watch may not show it (yet): let readers see it
    if not ctx.dry_run then ctx.settled[child.kind .. "/" .. key] = mark_of(ctx, child, key, found.metadata) end
  end
  return result, trouble
end

-- Make `child` (completed) so.
function M.ensure(ctx, child)
  local key = child.metadata.namespace .. "/" .. child.metadata.name
  if M.is_settled(ctx.settled, ctx.informer, child) then return "unchanged" end
  local live = is_whole(ctx.informer.kind) and ctx.informer:read(key)
  if live then return ensure_cached(ctx, child, key, live) end
  local answer, failure = requests.read(ctx, child)
  if answer and answer.status == 200 then
    return ensure_read(ctx, child, key, answer)
  elseif answer and answer.status == 404 then
    if ctx.dry_run then return ctx.dry_run(child, nil) end
    local made, trouble = requests.make(ctx, child)
    if not made then return nil, trouble end
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
  local answer, failure = requests.delete(ctx, child, live.uid)
  if ok(answer) or (answer and answer.status == 404) then return "written" end
  return refused(child, answer, failure)
end

return M
