-- The ReplicaSets of a Deployment: which is the new one, its hash, and the revisions that `kubectl rollout` counts.
--
-- A set belongs to the template it was made from (pod-template-hash aside). Going back to an old template makes its set the newest revision
-- again and notes the number that it had (revision-history). Pure functions on objects.

local common = require "sandbox.controllers.common"
local replicas = require "sandbox.controllers.replicas"

local M = {}

local NONE = {}
local with = common.with

M.HASH = "pod-template-hash"
M.REVISION = "deployment.kubernetes.io/revision"
M.HISTORY = "deployment.kubernetes.io/revision-history"
local HISTORY_MOST = 2000

-- Annotations of the Deployment that its sets do not get.
local KEPT_APART = { ["kubectl.kubernetes.io/last-applied-configuration"] = true, [M.REVISION] = true, [M.HISTORY] = true,
  [replicas.DESIRED] = true, [replicas.MAX] = true, ["deprecated.deployment.rollback.to"] = true }

-- Digits become letters, so that no word comes out (as the real hash's do).
local LETTERS = { ["0"] = "4", ["1"] = "5", ["2"] = "6", ["3"] = "7", ["4"] = "8", ["5"] = "9", ["6"] = "b", ["7"] = "c", ["8"] = "d",
  ["9"] = "f" }

-- A template without what sets and the server add to it.
local function plain(template)
  local metadata = template.metadata or NONE
  local hashed = metadata.labels and metadata.labels[M.HASH]
  if not hashed and metadata.creationTimestamp == nil then return template end
  return with(template, { metadata = with(metadata, { creationTimestamp = common.ABSENT,
    labels = hashed and with(metadata.labels, { [M.HASH] = common.ABSENT }) }) })
end

-- Up to ten letters and digits of a template and the number of collisions so far.
function M.hash(template, collisions)
  local number = tonumber(digest.sha256(json.encode(plain(template)) .. (collisions or "")):sub(1, 8), 16)
  return (tostring(number):gsub("%d", LETTERS))
end

function M.same_template(a, b)
  return json.equal(plain(a), plain(b))
end

-- The oldest set that has the Deployment's template (or nil), and all others.
function M.split(deployment, sets)
  local new
  for _, set in ipairs(replicas.by_age(sets)) do
    if M.same_template(set.spec.template, deployment.spec.template) then
      new = set
      break
    end
  end
  return new, common.filter(sets, function(set) return set ~= new end)
end

function M.revision_of(object)
  return math.tointeger(tonumber((object.metadata.annotations or NONE)[M.REVISION])) or 0
end

-- The number that comes after those of these sets.
function M.next_revision(sets)
  local most = 0
  for _, set in ipairs(sets) do most = math.max(most, M.revision_of(set)) end
  return most + 1
end

local function history_with(annotations, old)
  local past = annotations[M.HISTORY]
  if not past or past == "" then return old end
  local text = past .. "," .. old
  while #text > HISTORY_MOST and text:find(",", 1, true) do text = text:match(",(.*)$") end
  return text
end

-- The annotations that the new set should have; `exists` is false for one that is about to be made.
function M.annotations(deployment, set, revision, exists)
  local result = with(set.metadata.annotations, {})
  for name, value in pairs(deployment.metadata.annotations or NONE) do
    if not KEPT_APART[name] then result[name] = value end
  end
  local old = result[M.REVISION]
  if (math.tointeger(tonumber(old)) or 0) < revision then
    if old then result[M.HISTORY] = history_with(result, old) end
    result[M.REVISION] = tostring(revision)
  end
  if not exists then M.note_sizes(result, deployment) end
  return result
end

-- The size of the whole, noted on a set (in place), by which a later resize is shared out.
function M.note_sizes(annotations, deployment)
  annotations[replicas.DESIRED] = tostring(replicas.wanted(deployment))
  annotations[replicas.MAX] = tostring(replicas.wanted(deployment) + replicas.max_surge(deployment))
end

-- The ReplicaSet that a Deployment's present template makes, without its size.
function M.make(deployment, revision)
  local spec = deployment.spec
  local hash = M.hash(spec.template, (deployment.status or NONE).collisionCount)
  local labels = with((spec.template.metadata or NONE).labels, { [M.HASH] = hash })
  local set = {
    apiVersion = "apps/v1", kind = "ReplicaSet",
    metadata = { name = deployment.metadata.name .. "-" .. hash, namespace = deployment.metadata.namespace, labels = labels,
      ownerReferences = json.array { common.controller_reference(deployment) } },
    spec = { minReadySeconds = spec.minReadySeconds, replicas = 0,
      selector = with(spec.selector, { matchLabels = with(spec.selector.matchLabels, { [M.HASH] = hash }) }),
      template = with(spec.template, { metadata = with(spec.template.metadata, { labels = labels }) }) },
  }
  set.metadata.annotations = M.annotations(deployment, set, revision, false)
  return set
end

return M
