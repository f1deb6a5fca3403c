-- For specs of quota admission: worlds whose operator answers reviews, pods of a group, reviews as an API server posts them.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local M = {}

M.CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
local SECRET = "/api/v1/namespaces/%s/secrets/moonphase-webhook"
local LABEL = "escaped-phusers"

local port = 20000 + process.id % 20000

function M.free_port()
  port = port + 1
  local server = http.serve { address = "127.0.0.1:" .. port, handler = function() return 404 end }
  if not server then return M.free_port() end
  server:close()
  loop.sleep(0)
  return port
end

-- Everything that a webhook of the present context leaves behind.
function M.forget(world)
  world.cluster:request { method = "DELETE", path = M.CONFIGURATION .. "/moonphase-" .. world.cluster.namespace }
  world.cluster:request { method = "DELETE", path = SECRET:format(world.cluster.namespace) }
end

function M.configuration(world)
  local answer = world.cluster:request { path = M.CONFIGURATION .. "/moonphase-" .. world.cluster.namespace }
  return answer and answer.status == 200 and json.decode(answer.body) or nil
end

-- The certificate's Secret, decoded.
function M.secret(world)
  local data = json.decode(world.api:ask({ path = SECRET:format(world.cluster.namespace) }).body).data
  local decoded = {}
  for name, text in pairs(data) do decoded[name] = base64.decode(text) end
  return decoded
end

function M.group(world)
  return world.api:get("PhGroup", world.namespace, "phusers")
end

function M.quota(world, amounts)
  return world.api:patch("PhGroup", world.namespace, "phusers", "merge", { spec = { quota = amounts } })
end

function M.ready(world)
  harness.eventually("the webhook answers", 20, function()
    local answer = world:ask_operator("/readyz")
    return answer and answer.status == 200 and M.configuration(world) ~= nil, answer and answer.body
  end)
end

-- A world whose operator answers reviews. options: {quota, settings, words}
function M.with(options, body)
  harness.with({ operator = false, settings = options.settings }, function(world)
    M.forget(world)
    world.port, world.others = M.free_port(), {}
    world.words = { "--webhook-addr", "127.0.0.1:" .. world.port, table.unpack(options.words or {}) }
    if options.quota then M.quota(world, options.quota) end
    world:start_operator { words = world.words }
    local ok, failure = xpcall(function()
      M.ready(world)
      body(world)
    end, require "where")
    for _, other in ipairs(world.others) do
      other:signal("TERM")
      other:wait(28)
    end
    world:stop_operator()
    M.forget(world)
    if not ok then error(failure, 0) end
  end)
end

-- Another moonphase beside the one that runs, which moves to world.others; the new one is world.operator.
function M.start_second(world, words)
  world.others[#world.others + 1] = world.operator
  world.port = M.free_port()
  local socket = world.folder .. "/second.sock"
  world:start_operator { words = { "--webhook-addr", "127.0.0.1:" .. world.port, "--control-socket", socket, table.unpack(words) } }
  world.socket = socket
  harness.eventually("the second moonphase stands by", 20, function()
    local answer = world:ask_operator("/readyz?verbose")
    return answer and answer.status == 200 and answer.body:find("standby", 1, true), answer and answer.body
  end)
end

function M.pod(world, name, limits, more)
  local object = { apiVersion = "v1", kind = "Pod",
    metadata = { name = name, namespace = world.namespace, labels = { ["primehub.io/group"] = LABEL } },
    spec = { containers = json.array { { name = "c", image = "registry.example/plain:v1", resources = { limits = limits } } } } }
  for k, v in pairs(more or {}) do object.spec[k] = v end
  return object
end

function M.create(world, object, query)
  return world.cluster:request { method = "POST", path = "/api/v1/namespaces/" .. world.namespace .. "/pods", query = query, body = object }
end

-- How many of these creations, all at once, are admitted; and the messages of the others.
function M.create_all(world, objects)
  local tasks, admitted, refusals = {}, 0, {}
  for i, object in ipairs(objects) do
    tasks[i] = loop.spawn(function()
      local answer, why = M.create(world, object)
      if answer and answer.status == 201 then
        admitted = admitted + 1
      else
        refusals[#refusals + 1] = answer and answer.message or why
      end
    end)
  end
  for _, task in ipairs(tasks) do task:join() end
  return admitted, refusals
end

function M.admitted_pods(world)
  local count = 0
  for _, object in ipairs(world.api:list("Pod", world.namespace)) do
    if not object.metadata.deletionTimestamp then count = count + 1 end
  end
  return count
end

-- A deployment whose instance type asks for 1 CPU in all.
function M.deploy(world, name, replicas)
  return world:deploy(name, function(object) object.spec.predictors[1].replicas = replicas or 1 end)
end

-- A review as an API server posts it.
function M.review(namespace, object, fields)
  local request = { uid = "r-" .. object.metadata.name, kind = { group = "", version = "v1", kind = "Pod" },
    resource = { group = "", version = "v1", resource = "pods" }, operation = "CREATE", namespace = namespace,
    userInfo = { username = "system:serviceaccount:kube-system:replicaset-controller" }, object = object, dryRun = false }
  for k, v in pairs(fields or {}) do request[k] = v end
  object.metadata.uid = object.metadata.uid or "uid-of-" .. object.metadata.name
  return { apiVersion = "admission.k8s.io/v1", kind = "AdmissionReview", request = request }
end

-- Post a body (text, or a value) to the webhook. options: {port, cert, key, ca}
function M.post(world, body, options)
  options = options or {}
  return http.request { method = "POST", url = "https://127.0.0.1:" .. (options.port or world.port) .. "/quota", insecure = not options.ca,
    ca = options.ca, timeout = 20, body = type(body) == "table" and json.encode(body) or body, cert = options.cert, key = options.key,
    headers = { "Content-Type: application/json" } }
end

-- The response to a review of this pod.
function M.ask(world, object, fields, options)
  local answer = assert(M.post(world, M.review(world.namespace, object, fields), options))
  assert(answer.status == 200, answer.body)
  return json.decode(answer.body).response
end

return M
