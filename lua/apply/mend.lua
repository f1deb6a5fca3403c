-- Mending a child that differs, with as few requests as that takes.
--
-- What we say is written by a forced server-side apply. Apply cannot remove what somebody else added, and it keeps the live
-- order of lists: what diff.repair finds is mended by one strategic merge patch before it (extras) and one behind it
-- (order). What apply cannot take away is overwrite.lua's. Several writes of a pod template are one rollout (hold.lua). What the
-- server refuses to change (422) is made anew, if the policy allows it for this child.
--
-- Every function here waits; `ctx` is described in apply.lua.

local diff = require "diff"
local hold = require "hold"
local lists = require "lists"
local overwrite = require "overwrite"
local requests = require "apply.requests"

local M = {}

local OWN_TRIES = 4

local ok, problem, refused = requests.ok, requests.problem, requests.refused

-- nil and a Problem: its name is not free yet. going: its metadata.
function M.being_deleted(child, going)
  local holders = type(going.finalizers) == "table" and table.concat(going.finalizers, ", ") or ""
  return problem(child, 409, "WaitingForDeletion", ("the present %s %s is being deleted%s; it is made again when it is gone")
    :format(child.kind, child.metadata.name, holders ~= "" and " and waits for its finalizers (" .. holders .. ")" or ""))
end

-- 422: the server will not change it in place. Delete exactly this object and make it anew, if it can be made.
local function replace(ctx, child, live, answer)
  if not ctx.replace_allowed(child) or ctx.may_delete and not ctx.may_delete(child) then return refused(child, answer) end
  local possible, trouble = requests.could_be_made(ctx, child)
  if not possible then return nil, trouble end
  log.warn("replacing a child that cannot be changed in place",
    { kind = child.kind, name = child.metadata.name, namespace = child.metadata.namespace, why = requests.words_of(child, answer) })
  local gone, failure = requests.delete(ctx, child, live.metadata.uid)
  if not ok(gone) and not (gone and gone.status == 404) then return refused(child, gone, failure) end
  local rest = ok(gone) and json.decode(gone.body)
  if type(rest) == "table" and type(rest.metadata) == "table" and rest.metadata.deletionTimestamp then
    return M.being_deleted(child, rest.metadata) -- a finalizer holds it: an apply now would be written to what is going
  end
  local made, why = requests.server_side_apply(ctx, child, nil)
  if not ok(made) then return refused(child, made, why) end
  return "written"
end

-- Removing and ordering, which apply does not do; and the hold, if the child has it (hold.lua).
local function repair(ctx, child, live)
  local patch = diff.repair(child, live) or {}
  if child.spec and child.spec.paused == true then
    patch.spec = patch.spec or {}
    patch.spec.paused = true
  end
  return requests.strategic_patch(ctx, child, live, patch)
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
  local left, trouble = requests.object_in(child, answer)
  if not left then return nil, trouble end
  return left, diff.compare(child, left)
end

-- An apply over what is there. What it cannot take away (overwrite.lua) makes the server refuse it: then the patch
-- that can, and the apply again, both held. The first refusal is the one that is told.
-- rehearsed: what the patch would leave is the answer, for nothing was kept of it.
local function apply_over(ctx, child, live, rehearsed)
  local answer, failure = requests.server_side_apply(ctx, child, live.metadata.uid)
  if not answer or answer.status ~= 422 then return answer, failure end
  local held = rehearsed and child or hold.held(child)
  local patch = overwrite(held, live)
  local patched = patch and requests.strategic_patch(ctx, child, live, patch)
  if not patched or not ok(patched) then return answer, failure end
  if rehearsed then return patched end
  return requests.server_side_apply(ctx, held, live.metadata.uid)
end

-- The last write, until it is taken: the object then; nil and a Problem if it is held still. Of ownership alone a server that
-- will not have it is left alone.
local function conclude(ctx, child, live)
  local answer, failure
  for _ = 1, OWN_TRIES do
    local patch = hold.last_patch(child, live, requests.MANAGER)
    if not patch then return live end
    answer, failure = requests.json_patch(ctx, child, patch)
    local now = ok(answer) and answer or requests.read(ctx, child)
    now = ok(now) and requests.object_in(child, now)
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
function M.mend(ctx, child, live, found)
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

-- (waits) What the server answers to the writes that mend `live` (nil: there is nothing yet), for a ctx whose cluster keeps none
-- of them (dryRun=All): the object as it would be, or nil and a Problem; the third result says that it would be replaced. `found`:
-- of diff.compare. Each write is tried on what is live, not on what the one before it would leave: extras may
-- still be in the answer.
function M.rehearse(ctx, child, live, found)
  if not live then
    local made, trouble = requests.make(ctx, child)
    if not made then return nil, trouble end
    return requests.object_in(child, made)
  end
  local strategic = lists.is_strategic(child.apiVersion)
  local first = strategic and (found.extras or not found.values)
  local answer, failure
  if first then answer, failure = repair(ctx, child, live) end
  if found.values and (not first or ok(answer)) then answer, failure = apply_over(ctx, child, live, true) end
  if ok(answer) then return requests.object_in(child, answer) end
  if not answer and not failure then return live end -- nothing that could be sent
  local _, trouble = refused(child, answer, failure)
  if answer and answer.status == 422 and ctx.replace_allowed(child) then
    local possible, wrong = requests.could_be_made(ctx, child)
    return nil, possible and trouble or wrong, possible == true
  end
  return nil, trouble
end

return M
