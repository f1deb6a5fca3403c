-- Waking the controller of a child: a touch of its metadata.
--
-- A ReplicaSet that was refused a pod tries again after a pause that doubles up to 16 minutes. When its Deployment's annotations
-- change, it looks at once (0.1 s, measured on Kubernetes 1.20). The touch is another field manager's, so that what we apply does not
-- take it away again, and it holds the UID: never another object of the name.

local informers = require "informers"

local M = {}

M.ANNOTATION = "moonphase.primehub.io/nudged"

-- (waits) kind: {api_version, resource}; key: "namespace/name". Whether it was touched.
function M.touch(cluster, kind, key, uid)
  local ms = loop.wall_ms()
  local now = os.date("!%Y-%m-%dT%H:%M:%S", ms // 1000) .. (".%03dZ"):format(ms % 1000)
  local namespace, name = key:match("^(.-)/(.+)$")
  local answer = cluster:request { method = "PATCH", path = informers.path(kind, namespace, name),
    query = { fieldManager = "moonphase-nudge" }, content_type = "application/merge-patch+json",
    body = { metadata = { uid = uid, annotations = { [M.ANNOTATION] = now } } } }
  return answer ~= nil and answer.status == 200
end

-- (waits) The children that a decision about `key` names, if they are its own. owner_uid: of the object.
function M.decided(world, key, owner_uid, targets)
  if world.dry_run then return end
  for _, target in ipairs(targets or {}) do
    local children = world.by_kind[target.kind]
    local child_key = key:match("^(.-)/") .. "/" .. target.name
    local child = children and children:get(child_key)
    if child and child.indexes.owner == owner_uid then
      world:count_write(target.kind, key)
      if M.touch(world.cluster, children.kind, child_key, child.uid) then
        log.info("a child is woken", { key = key, kind = target.kind, name = target.name })
      end
    end
  end
end

return M
