-- One edit, one rollout: a pod template that takes several writes is held back until the last of them.
--
-- Apply cannot remove what others own, keeps the live order of lists, and may have to be followed by a patch (overwrite.lua). So
-- an edit can take two writes of a template, and the Deployment's controller makes a ReplicaSet of each template that it sees:
-- a model would start, end and start again. But it makes none while `paused` is true (the field's description in the API: "the
-- deployment is paused"; its controller then sizes only what is there). So where more than one write may come, each says
-- `paused: true`, and the last one takes it away.
--
-- That last write has another task, also where nothing was held. Our patches make us a second owner of what they changed: "Update"
-- beside "Apply", and an apply takes away only what it alone owns. So what a user removes later would stay (an environment
-- variable, a volume). Our entries of this kind are taken out; no field changes by that.
--
-- If that last write never comes (an end of the process, a refusal), what runs goes on as it was, nothing half done is rolled out,
-- and `paused` is a difference like any other: the next reconcile mends it. That is so only for a child that says
-- `paused: false`; no other is held.

local M = {}

local function can(child)
  return child.kind == "Deployment" and type(child.spec) == "table" and child.spec.paused == false
end

-- Whether mending `found` (of diff.compare) may take more than one write of the template.
function M.is_needed(child, found)
  return can(child) and found.values and (found.extras or found.order or found.disorders) or false
end

-- The child as it is written while more writes are to come; what cannot be held comes back as it is.
function M.held(child)
  if not can(child) then return child end
  local copy, spec = {}, {}
  for k, v in pairs(child) do copy[k] = v end
  for k, v in pairs(child.spec) do spec[k] = v end
  spec.paused = true
  copy.spec = spec
  return copy
end

-- Whether `live` waits for the last write.
function M.is_held(child, live)
  return can(child) and type(live.spec) == "table" and live.spec.paused == true
end

-- The last write: a JSON patch that takes out the entries of `manager` that are of updates, and ends the hold; nil if there is
-- neither. Entries may have moved meanwhile: what stands there is tested. From the last one, so that each stands where it stood.
function M.last_patch(child, live, manager)
  local patch, entries = json.array {}, live.metadata.managedFields or {}
  for i = #entries, 1, -1 do
    local entry, path = entries[i], ("/metadata/managedFields/%d"):format(i - 1)
    if entry.manager == manager and entry.operation == "Update" and not entry.subresource then
      patch[#patch + 1] = { op = "test", path = path .. "/manager", value = manager }
      patch[#patch + 1] = { op = "test", path = path .. "/operation", value = "Update" }
      patch[#patch + 1] = { op = "remove", path = path }
    end
  end
  if M.is_held(child, live) then
    patch[#patch + 1] = { op = "test", path = "/metadata/uid", value = live.metadata.uid }
    patch[#patch + 1] = { op = "add", path = "/spec/paused", value = false }
  end
  return #patch > 0 and patch or nil
end

return M
