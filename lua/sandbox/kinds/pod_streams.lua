-- What would talk to a running container: exec, attach, port-forward. Nothing runs in a container of the sandbox.
--
-- Who asks is told what is wrong with the request first, as by a real server (k8s.io/kubernetes/pkg/registry/core/pod/strategy.go), and
-- then, in words, what a sandbox cannot do and what it can.

local errors = require "sandbox.errors"
local log = require "sandbox.kinds.pod_log"

local M = {}

-- words: what cannot be done, and what can.
local function refuse(words)
  return nil, errors.failure(501, "NotImplemented", words)
end

local function has_no_host(pod)
  return (pod.spec.nodeName or "") == "" and errors.bad_request(("pod %s does not have a host assigned"):format(pod.metadata.name)) or nil
end

local function in_container(words)
  return function(_, request)
    local pod = request.record.object
    local name, failure = log.choose_container(pod, request.query and request.query.container)
    if not name then return nil, failure end
    failure = has_no_host(pod)
    if failure then return nil, failure end
    return refuse(words)
  end
end

M.exec = in_container("no program runs in the containers of a sandbox, and none can be started there: exec and cp need a real cluster")

M.attach = in_container("no program runs in the containers of a sandbox: attach needs a real cluster (logs shows what the world file says)")

function M.portforward(_, request)
  local failure = has_no_host(request.record.object)
  if failure then return nil, failure end
  return refuse "nothing listens in the containers of a sandbox: port-forward needs a real cluster"
end

return M
