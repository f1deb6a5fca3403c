-- How often a controller tries again what is refused: a quota leaves no pod any room, and the times at which the ReplicaSet controller
-- asks nevertheless are told by its Events, one each. They come 5, 10, 20 ... ms after one another (client-go's default rate limiter):
-- many at first, then hardly any.
--
-- (What a kubelet waits between pulls and restarts has nothing to be compared with: no kubelet runs beside the real control plane.
-- controllers_spec.lua holds the sandbox's to what Kubernetes documents.)

local M = {}

-- Seconds after the start at which tries are counted; TOLERANCE: the status that tells of the first refusal may wake the controller once or
-- twice more.
local LOOKS, TOLERANCE = { 3, 7, 12 }, 3

local function tries(api, namespace)
  local count = 0
  for _, event in ipairs(api:list("Event", namespace)) do
    if event.reason == "FailedCreate" then count = count + (event.count or 1) end
  end
  return count
end

local function prepare(api, namespace)
  api:create { apiVersion = "v1", kind = "Namespace", metadata = { name = namespace } }
  api:create { apiVersion = "v1", kind = "ResourceQuota", metadata = { name = "none", namespace = namespace }, spec = { hard = { pods = "0" } } }
  api.eventually("the quota counts", 10, function()
    local quota = api:get("ResourceQuota", namespace, "none")
    return quota and quota.status and quota.status.hard
  end)
end

local function begin(api, namespace)
  api:create { apiVersion = "apps/v1", kind = "Deployment", metadata = { name = "d", namespace = namespace }, spec = { replicas = 1,
    selector = { matchLabels = { app = "d" } }, template = { metadata = { labels = { app = "d" } },
      spec = { containers = json.array { { name = "main", image = "registry.example/runs:v1" } } } } } }
end

-- (waits) Words of how the two differ, or nil. backends: sandbox and real one; write(line) is told what was counted.
function M.compare(backends, namespace, write)
  for _, api in ipairs(backends) do prepare(api, namespace) end
  for _, api in ipairs(backends) do begin(api, namespace) end
  local started, found = loop.now(), nil
  for _, seconds in ipairs(LOOKS) do
    loop.sleep(math.max(0, started + seconds - loop.now()))
    local here, there = tries(backends[1], namespace), tries(backends[2], namespace)
    local text = ("a refused create is tried %d times in %d s by the sandbox, %d times by the real one"):format(here, seconds, there)
    write(text)
    if math.abs(here - there) > TOLERANCE then found = found or text end
  end
  for _, api in ipairs(backends) do api:delete("Namespace", nil, namespace) end
  return found
end

return M
