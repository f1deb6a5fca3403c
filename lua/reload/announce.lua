-- Events about reloads, on the pod that moonphase runs in: `kubectl describe pod` tells of a refused edit.
--
-- Outside of a cluster there is no pod to tell them on, and nothing is written. Best effort, as every Event (events.lua).

local bounded = require "bounded"
local events = require "events"

local M = {}

local STEP_MOST = 900 -- bytes of the words; an Event's message has at most 1024

-- (waits) The pod's UID, by which `kubectl describe` finds its Events; without the right to read it, one of our own.
local function uid_of(cluster, namespace, name)
  local answer = cluster:request { path = ("/api/v1/namespaces/%s/pods/%s"):format(kube.escape(namespace), kube.escape(name)) }
  local pod = answer and answer.status == 200 and json.decode(answer.body)
  local uid = type(pod) == "table" and type(pod.metadata) == "table" and pod.metadata.uid
  return type(uid) == "string" and uid or "moonphase-" .. digest.sha256(namespace .. "/" .. name):sub(1, 16)
end

local function event_of(refusal, words)
  if not refusal then return { type = "Normal", reason = "PolicyReloaded", message = words } end
  local place = refusal.source and ("\n%s:%s: %s"):format(refusal.file or "?", refusal.line or "?", refusal.source) or ""
  if refusal.path then place = place .. "\nnil was: " .. refusal.path .. " (nothing is there: test it before it is used)" end
  return { type = "Warning", reason = refusal.step == "trial" and "PolicyTakenBack" or "PolicyRefused",
    message = bounded(refusal.step .. ": " .. refusal.text, STEP_MOST) .. place }
end

-- The name of the pod that this runs in; nil outside of a cluster.
function M.pod()
  return process.env("KUBERNETES_SERVICE_HOST") and (process.env("POD_NAME") or process.env("HOSTNAME")) or nil
end

-- A function(refusal or nil, words) for reload's on_verdict: tells on the pod `name`. count: called for each write.
function M.new(cluster, namespace, name, count)
  local told = events.new { cluster = cluster, kind = { api_version = "v1", kind = "Pod" }, count = count }
  local object
  return function(refusal, words)
    if not refusal and not words then return end
    loop.spawn(function()
      object = object or { uid = uid_of(cluster, namespace, name), name = name, namespace = namespace }
      told:tell(object, event_of(refusal, words))
    end)
  end
end

return M
