-- The subresources that only pods have: binding and eviction here, log in pod_log.lua.
--
-- A subresource function gets the world and a request, and answers with what goes out (watch: a stream, as api.lua has them):
--   f(w, request) -> { status=, object= | text= | watch= } | nil, failure
--   request = { verbs=, kind=, record=, namespace=, name=, query={name=value}, body=<decoded object or nil>, options=<of verbs> }
-- (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/)

local checks = require "sandbox.kinds.checks"
local errors = require "sandbox.errors"
local log = require "sandbox.kinds.pod_log"
local parameters = require "sandbox.api.parameters"

local M = { log = log.get }

local function copy(t)
  local new = {}
  for key, value in next, t do new[key] = value end
  return setmetatable(new, getmetatable(t))
end

local function success(code)
  local object = errors.success()
  object.code = code
  return { status = code, object = object }
end

-- ---- pods/binding -----------------------------------------------------------------------------------------------

-- The server says this in its own way: 500, and no causes.
local function check_binding(body)
  local errs, target, texts = {}, body.target or {}, {}
  if (target.kind or "") ~= "" and target.kind ~= "Node" then
    checks.not_supported(errs, "target.kind", target.kind, { "Node", "<empty>" })
  end
  if (target.name or "") == "" then checks.required(errs, "target.name") end
  for i, one in ipairs(errs) do texts[i] = one.field .. ": " .. one.message end
  if not texts[1] then return nil end
  return errors.failure(500, nil, texts[2] and "[" .. table.concat(texts, ", ") .. "]" or texts[1])
end

local function bound(w, object, body)
  local new = copy(object)
  new.spec, new.metadata, new.status = copy(object.spec), copy(object.metadata), copy(object.status or {})
  new.spec.nodeName = body.target.name
  for name, value in next, body.metadata and body.metadata.annotations or {} do
    new.metadata.annotations = copy(new.metadata.annotations or {})
    new.metadata.annotations[name] = value
  end
  local conditions = json.array {}
  for _, condition in ipairs(new.status.conditions or {}) do
    if condition.type ~= "PodScheduled" then conditions[#conditions + 1] = condition end
  end
  conditions[#conditions + 1] = { type = "PodScheduled", status = "True", lastProbeTime = json.null, lastTransitionTime = w:time() }
  new.status.conditions = conditions
  return new
end

-- Bind a pod to a node. Also for the scheduler: bind(w, record, node) -> object | nil, failure.
function M.bind(w, record, body)
  local pod = record.object
  if pod.metadata.deletionTimestamp then
    return nil, errors.conflict("pods/binding", record.name, ("pod %s is being deleted, cannot be assigned to a host"):format(record.name))
  end
  if (pod.spec.nodeName or "") ~= "" then
    return nil, errors.conflict("pods/binding", record.name,
      ('pod %s is already assigned to node "%s"'):format(record.name, pod.spec.nodeName))
  end
  return bound(w, pod, body)
end

function M.binding(w, request)
  local body = request.body or {}
  local name = body.metadata and body.metadata.name or ""
  if name ~= request.name then return nil, errors.bad_request("name in URL does not match name in Binding object") end
  local refused = check_binding(body)
  if refused then return nil, refused end
  local new, failure = M.bind(w, request.record, body)
  if not new then return nil, failure end
  if not (request.options and request.options.dry_run) then w:put("pods", new) end
  return success(201)
end

-- ---- pods/eviction ----------------------------------------------------------------------------------------------

-- The options of the delete: those in the body, and the dry run that either they or the query ask for. `kubectl drain --dry-run=server`
-- says it in the body only. -> options | nil, failure
local function eviction_options(wanted, given)
  local options, failure = parameters.delete(wanted, {}) -- webhooks were asked about the eviction: not again
  local said = {}
  for i, word in ipairs(type(wanted.dryRun) == "table" and wanted.dryRun or {}) do said[i] = tostring(word) end
  if given.dry_run and said[1] and (said[1] ~= "All" or said[2]) then
    return nil, errors.failure(500, nil,
      ("Non-matching dry-run options in request and content: [All] and [%s]"):format(table.concat(said, " ")))
  end
  if not options then return nil, failure end
  options.dry_run = options.dry_run or given.dry_run
  return options
end

-- No disruption budgets here: every eviction is a delete.
function M.eviction(w, request)
  local body = request.body or {}
  local about, wanted = body.metadata or {}, type(body.deleteOptions) == "table" and body.deleteOptions or {}
  if (about.name or "") ~= request.name then
    return nil, errors.bad_request("name in URL does not match name in Eviction object")
  end
  local options, wrong = eviction_options(wanted, request.options or {})
  if not options then return nil, wrong end
  local record, failure = request.verbs.delete(w, request.kind, request.namespace, request.name, options)
  if not record then return nil, failure end
  return success(201)
end

return M
