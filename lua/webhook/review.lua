-- AdmissionReviews, in and out: what an API server asks and what it is answered, in admission.k8s.io/v1 and v1beta1.
--
-- Whoever reaches the port can send anything. So a body is not decoded as a whole: what the rule looks at is cut out of its
-- bytes and bounded (json.cut), and the rest, however much it is, costs one walk. A refusal is an answer with HTTP status 200 and
-- `allowed: false`, because any other answer lets a failurePolicy decide. Only what has no uid cannot be answered so.
-- (Kubernetes, "Dynamic Admission Control: webhook request and response".)

local M = {}

M.BODY_MAX = 3 * 1024 * 1024 + 65536 -- a request of an API server, and the envelope around it
local CUT_MAX = 256 * 1024           -- of that: what the rule looks at, of a pod with a thousand containers
local VERSIONS = { ["admission.k8s.io/v1"] = true, ["admission.k8s.io/v1beta1"] = true }
local UID_MAX, NAME_MAX = 128, 253

local ENVELOPE = { "apiVersion", "kind", "request.uid", "request.operation", "request.dryRun", "request.namespace", "request.name",
  "request.subResource", "request.resource" }

local function is_text(value, most)
  return type(value) == "string" and #value <= most
end

-- The paths to cut, of a pod of which `keep` (quota.lua) is looked at.
function M.paths(keep)
  local paths = {}
  for i, path in ipairs(ENVELOPE) do paths[i] = path end
  for _, path in ipairs(keep) do paths[#paths + 1] = "request.object." .. path end
  return paths
end

local function table_or_empty(value)
  return type(value) == "table" and value or {}
end

-- Of a body (a text, or a function like call.cut) what lies on these paths; nil and a sentence.
local function cut_of(body, paths)
  if type(body) == "function" then return body(paths, CUT_MAX) end
  return json.cut(body, paths, CUT_MAX)
end

-- The review's {version, uid}, whatever else is wrong with it; nil and a sentence.
local function envelope(body)
  local cut, why = cut_of(body, { "apiVersion", "kind", "request.uid" })
  if type(cut) ~= "table" then return nil, "the body is no AdmissionReview: " .. (why or "it is no object") end
  if cut.kind ~= "AdmissionReview" or not VERSIONS[cut.apiVersion] then
    return nil, "the body is no AdmissionReview of admission.k8s.io/v1 or v1beta1"
  end
  local uid = table_or_empty(cut.request).uid
  if not is_text(uid, UID_MAX) or uid == "" then return nil, "the AdmissionReview has no request.uid" end
  return { version = cut.apiVersion, uid = uid }
end

-- body: a text, or call.cut. paths: of M.paths. -> {version, uid, operation, dry_run, namespace, resource, subresource, pod}; pod:
-- metadata {uid, name, namespace, labels}, spec, of a CREATE of pods. Or nil, a sentence, and {version, uid} if there is anybody to
-- refuse.
function M.read(body, paths)
  local cut, why = cut_of(body, paths)
  if type(cut) ~= "table" then
    local head, trouble = envelope(body)
    return nil, head and "the pod is too large to look at: " .. tostring(why) or trouble, head
  end
  local request = table_or_empty(cut.request)
  if cut.kind ~= "AdmissionReview" or not VERSIONS[cut.apiVersion] or not is_text(request.uid, UID_MAX) or request.uid == "" then
    return nil, select(2, envelope(body)) or "the AdmissionReview cannot be read"
  end
  local pod, resource = table_or_empty(request.object), table_or_empty(request.resource)
  pod.metadata, pod.spec = table_or_empty(pod.metadata), table_or_empty(pod.spec)
  pod.metadata.labels = table_or_empty(pod.metadata.labels)
  local namespace = request.namespace or pod.metadata.namespace
  return {
    version = cut.apiVersion, uid = request.uid, operation = request.operation, dry_run = request.dryRun == true,
    namespace = is_text(namespace, NAME_MAX) and namespace or "", subresource = request.subResource,
    resource = resource.resource, pod = pod,
    -- of a pod that has no uid yet nobody will know that it was seen: its reservation ends by its time
    pod_uid = is_text(pod.metadata.uid, UID_MAX) and pod.metadata.uid ~= "" and pod.metadata.uid or "review " .. request.uid,
  }
end

local REASONS = { [401] = "Unauthorized", [403] = "Forbidden", [429] = "TooManyRequests", [500] = "InternalError",
  [503] = "ServiceUnavailable" }

-- The answer as a value for JSON. verdict: nil (allowed), or {code, message}.
function M.answer(head, verdict)
  local response = { uid = head.uid, allowed = verdict == nil }
  if verdict then
    response.status = { status = "Failure", code = verdict.code, reason = REASONS[verdict.code] or "Forbidden", message = verdict.message }
  end
  return { apiVersion = head.version, kind = "AdmissionReview", response = response }
end

return M
