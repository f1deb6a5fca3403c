-- The requests that change one child, and what their answers mean.
--
-- Every write is counted, told to who keeps the last writes, and, when it was taken, put into the cache, so that whoever
-- reads next sees it. What changes an object, or deletes it, says by UID which (the first one also by the resourceVersion
-- that the caller has): it cannot hit another of the name. What failed becomes a Problem (lua/types/policy.lua).
--
-- `ctx` is described in apply.lua.

local informers = require "informers"
local ours = require "apply.ours"

local M = {}

M.MANAGER = "moonphase"
local APPLY_QUERY = { fieldManager = M.MANAGER, force = "true" }
local PATCH_QUERY = { fieldManager = M.MANAGER }

-- ---------------------------------------------------------------- answers

-- nil and a Problem.
function M.problem(child, code, reason, message)
  return nil, { kind = child.kind, name = child.metadata.name, code = code, reason = reason, message = message }
end

-- A server may repeat the value that it refuses; of a Secret that is told to nobody.
function M.words_of(child, answer)
  if child.kind == "Secret" then return "the server refused the Secret; its answer is not shown, for it may hold values" end
  return answer.message
end

-- nil and a Problem, from an answer that is no success, or from why there is none.
function M.refused(child, answer, failure)
  if not answer then return M.problem(child, 0, "NoAnswer", failure) end
  local reason = answer.reason and answer.reason ~= "" and answer.reason or "Refused"
  return M.problem(child, answer.status, reason, M.words_of(child, answer))
end

function M.ok(answer)
  return answer ~= nil and answer.status >= 200 and answer.status < 300
end

-- The object in an answer's body; nil and a Problem if it holds none.
function M.object_in(child, answer)
  local object, why = json.decode(answer.body)
  if object == nil then return M.problem(child, 0, "NoAnswer", "the server's answer is not JSON: " .. tostring(why)) end
  if type(object) ~= "table" or type(object.metadata) ~= "table" or type(object.metadata.uid) ~= "string" then
    return M.problem(child, 0, "NoAnswer", "the server's answer is no Kubernetes object: it has no metadata.uid")
  end
  return object
end

-- ---------------------------------------------------------------- writes

local function body_of(ctx, child, uid)
  local body, meta, annotations = {}, {}, {}
  for k, v in pairs(child) do body[k] = v end
  for k, v in pairs(child.metadata) do meta[k] = v end
  for k, v in pairs(meta.annotations or {}) do annotations[k] = v end
  annotations[ours.DIGEST] = ctx.digest
  meta.annotations = annotations
  meta.uid = uid
  meta.resourceVersion = ctx.version
  body.metadata = meta
  return body
end

local function path_of(ctx, child)
  return informers.path(ctx.informer.kind, child.metadata.namespace, child.metadata.name)
end

-- (waits) The child as the server has it.
function M.read(ctx, child)
  return ctx.cluster:request { path = path_of(ctx, child) }
end

-- The cache has what an answer holds, as soon as it is here.
function M.remember(ctx, child, answer)
  local watch = ctx.informer:of(child.metadata.namespace .. "/" .. child.metadata.name)
  if watch then watch:wrote(answer.body) end
end

local function tell(ctx, child, verb, answer, failure)
  if not ctx.answered then return end
  ctx.answered(child, verb, answer and answer.status or 0, not answer and failure or not M.ok(answer) and M.words_of(child, answer) or nil)
end

local function send(ctx, child, content_type, query, body)
  ctx.count(child.kind)
  local answer, failure = ctx.cluster:request {
    method = "PATCH", path = path_of(ctx, child), query = query, content_type = content_type, body = body,
  }
  tell(ctx, child, query == APPLY_QUERY and "apply" or "patch", answer, failure)
  if M.ok(answer) then
    ctx.version = nil -- it holds for the first write
    M.remember(ctx, child, answer)
  end
  return answer, failure
end

-- (waits) Over the object with this UID; nil: make it.
function M.server_side_apply(ctx, child, uid)
  return send(ctx, child, "application/apply-patch+yaml", APPLY_QUERY, body_of(ctx, child, uid))
end

-- (waits) The UID keeps the patch from another object of the name.
function M.strategic_patch(ctx, child, live, patch)
  patch.metadata = patch.metadata or {}
  patch.metadata.uid = live.metadata.uid
  patch.metadata.resourceVersion = ctx.version
  patch.metadata.annotations = patch.metadata.annotations or {}
  patch.metadata.annotations[ours.DIGEST] = ctx.digest
  return send(ctx, child, "application/strategic-merge-patch+json", PATCH_QUERY, patch)
end

-- (waits) `operations` say themselves which object they are for, where that matters (hold.lua).
function M.json_patch(ctx, child, operations)
  return send(ctx, child, "application/json-patch+json", PATCH_QUERY, operations)
end

-- (waits) Delete the object with this UID.
function M.delete(ctx, child, uid)
  ctx.count(child.kind)
  local answer, failure = ctx.cluster:request {
    method = "DELETE", path = path_of(ctx, child),
    body = { apiVersion = "v1", kind = "DeleteOptions", preconditions = { uid = uid, resourceVersion = ctx.version },
      propagationPolicy = "Background" },
  }
  tell(ctx, child, "delete", answer, failure)
  if M.ok(answer) then
    ctx.version = nil
    local key = child.metadata.namespace .. "/" .. child.metadata.name
    local watch = ctx.informer:of(key)
    if watch then watch:deleted(key, uid) end
  end
  return answer, failure
end

-- (waits) Make what is not there: the answer, or nil and a Problem. A path that the server does not know has another 404 than a
-- namespace that is gone.
function M.make(ctx, child)
  local answer, failure = M.server_side_apply(ctx, child, nil)
  if M.ok(answer) then return answer end
  local kind = ctx.informer.kind
  if answer and answer.status == 404 and not (answer.message or ""):find("namespaces ", 1, true) then
    return M.problem(child, 404, "NotServed", ("the cluster does not serve %s (%s)"):format(kind.resource, kind.api_version))
  end
  return M.refused(child, answer, failure)
end

-- (waits) Whether the server would make this child if the name were free: nothing is deleted for what is refused anyway. A dry run of
-- its creation comes as far as the present object of the name (AlreadyExists), or says what is wrong. nil and a Problem: it would not.
function M.could_be_made(ctx, child)
  local body = body_of(ctx, child, nil)
  body.metadata.resourceVersion = nil
  local answer, failure = ctx.cluster:request { method = "POST", path = informers.path(ctx.informer.kind, child.metadata.namespace),
    query = { fieldManager = M.MANAGER, dryRun = "All" }, content_type = "application/json", body = body }
  if M.ok(answer) or answer and answer.status == 409 and answer.reason == "AlreadyExists" then return true end
  return M.refused(child, answer, failure)
end

return M
