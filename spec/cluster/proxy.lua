-- A proxy between an operator and its API server, for specs about what an operator sees late, or does not see.
--
--   local proxy = proxy_words.start(cluster, folder)   -- world:start_operator { words = { "--kubeconfig", proxy.kubeconfig } }
--   proxy:hold("deployments")     -- their watches bring nothing, not even bookmarks ...
--   proxy:release("deployments")  -- ... until now: what was held comes, in order
--   proxy.empty.pods = true       -- their lists have nothing in them, with the resourceVersion of the true one
--   proxy.broken.pods = true      -- their lists and watches are answered with 500
--   proxy:hold_answers(function(request) return request.method == "PATCH" end)  -- done at the server, and not answered yet ...
--   proxy:release_answers()                                                     -- ... until now
--
-- It speaks plain HTTP on loopback and asks the server as `cluster` does: the operator behind it has the rights of the spec.

local M = {}
M.__index = M

local UPSTREAM_SECONDS = 30

-- "deployments" of /apis/apps/v1/namespaces/x/deployments, /apis/apps/v1/deployments and .../deployments/m (then also "m").
local function resource_of(path)
  local rest = path:match("^/api/[^/]+/(.+)$") or path:match("^/apis/[^/]+/[^/]+/(.+)$") or ""
  rest = rest:match("^namespaces/[^/]+/(.+)$") or rest
  return rest:match("^([^/]+)$"), rest:match("^([^/]+)/?([^/]*)")
end

local function broken()
  return 500, { kind = "Status", apiVersion = "v1", status = "Failure", code = 500, reason = "InternalError", message = "the spec broke this source" }
end

-- The whole lines that are there with these bytes; what is left of a line waits for the next ones.
local function lines_of(watch, text)
  watch.rest = watch.rest .. text
  return function()
    local last = watch.rest:find("\n", 1, true)
    local line = last and watch.rest:sub(1, last)
    if line then watch.rest = watch.rest:sub(last + 1) end
    return line
  end
end

-- A watch, line by line.
local function follow(self, call, resource)
  local path, query, accept = call.path, call.queries(), call.header("accept")
  local watch = { resource = resource, waiting = {}, rest = "", open = true }
  watch.stream = call.stream { content_type = "application/json", on_end = function() watch.open = false end }
  if not watch.stream then return end
  self.watches[#self.watches + 1] = watch
  local answer, why = self.cluster:stream { path = path, query = query, accept = accept, timeout = 120,
    on_bytes = function(text)
      for line in lines_of(watch, text) do
        if self.held[resource] then watch.waiting[#watch.waiting + 1] = line
        elseif watch.open then watch.stream:write(line) end
      end
    end }
  if not watch.open then return end
  if answer and answer.status ~= 200 then
    watch.stream:write(json.encode { type = "ERROR", object = { kind = "Status", apiVersion = "v1", status = "Failure", code = answer.status,
      reason = answer.reason, message = answer.message } }, "\n")
  elseif not answer then
    log.debug("a watch behind the proxy ended", { resource = resource, why = why })
  end
  watch.stream:finish()
  watch.open = false
end

-- As the server's, without what it lists.
local function emptied(body)
  local list = assert(json.decode(body))
  list.items = json.array {}
  if list.metadata then list.metadata.continue, list.metadata.remainingItemCount = nil, nil end
  return list
end

local function forward(self, call)
  local collection, resource, name = resource_of(call.path)
  local reads = call.method == "GET" and collection ~= nil
  if reads and self.broken[resource] then return broken() end
  if reads and (call.query("watch") == "true" or call.query("watch") == "1") then return follow(self, call, resource) end
  local request = { method = call.method, path = call.path, resource = resource, name = name, query = call.queries() }
  self.requests[#self.requests + 1] = request
  local answer, why = self.cluster:request { method = call.method, path = call.path, query = call.queries(), accept = call.header("accept"),
    content_type = call.header("content-type"), body = call.body ~= "" and call.body or nil, timeout = UPSTREAM_SECONDS }
  if not answer then return 502, { kind = "Status", apiVersion = "v1", status = "Failure", code = 502, message = why } end
  request.status = answer.status
  while self.late and self.late(request) do
    request.is_late = true
    loop.sleep(0.02)
  end
  local body = answer.body
  if reads and answer.status == 200 and self.empty[resource] then body = emptied(body) end
  return answer.status, body, "application/json"
end

-- From now on watches of this resource bring nothing.
function M:hold(...)
  for _, resource in ipairs { ... } do self.held[resource] = true end
end

function M:release(...)
  for _, resource in ipairs { ... } do
    self.held[resource] = nil
    for _, watch in ipairs(self.watches) do
      if watch.resource == resource then
        for _, line in ipairs(watch.waiting) do
          if watch.open then watch.stream:write(line) end
        end
        watch.waiting = {}
      end
    end
  end
end

-- What a held watch of this resource keeps back: an array of JSON texts.
function M:waiting(resource)
  local all = {}
  for _, watch in ipairs(self.watches) do
    if watch.resource == resource and watch.open then table.move(watch.waiting, 1, #watch.waiting, #all + 1, all) end
  end
  return all
end

-- The answers of requests of which test({method=, path=, resource=, name=, query=, status=}) is true wait.
function M:hold_answers(test)
  self.late = test
end

function M:release_answers()
  self.late = nil
end

-- The requests since the last call, but for watches, of which test is true (all without it); and a line about each, to be read.
function M:asked(test)
  local some, words = {}, {}
  for _, request in ipairs(self.requests) do
    if not test or test(request) then
      some[#some + 1] = request
      words[#words + 1] = ("%s %s %s"):format(request.method, request.path, request.status or "(no answer)")
    end
  end
  self.requests = {}
  return some, table.concat(words, "\n")
end

function M:close()
  self.held, self.late = {}, nil
  self.server:close()
end
M.__close = M.close

-- cluster: of kube.open. folder: where its kubeconfig is written.
function M.start(cluster, folder)
  local self = setmetatable({ cluster = cluster, held = {}, empty = {}, broken = {}, watches = {}, requests = {} }, M)
  self.server = assert(http.serve { address = "127.0.0.1:0", body_max = 4 << 20, any_method = true,
    handler = function(call) return forward(self, call) end })
  self.kubeconfig = folder .. "/kubeconfig-proxy"
  assert(fs.write(self.kubeconfig, json.encode { apiVersion = "v1", kind = "Config", ["current-context"] = "proxy",
    clusters = json.array { { name = "proxy", cluster = { server = "http://" .. self.server.address } } },
    users = json.array { { name = "proxy", user = {} } },
    contexts = json.array { { name = "proxy", context = { cluster = "proxy", user = "proxy" } } } }))
  return self
end

return M
