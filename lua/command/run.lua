-- moonphase run: the operator. Puts cluster, policies, controller and the small HTTP side together, and ends well.

local controller = require "controller"
local feature = require "feature"
local inputs = require "inputs"
local leader = require "leader"
local options = require "options"
local policies = require "policies"
local reload = require "reload"
local serving = require "serving"
local webhook = require "webhook.command"

local SPEC = {
  about = "Run the operator: make PhDeployments what their specs and the policies say.",
  usage = "moonphase run [options]",
  { "kubeconfig", "PATH", "the kubeconfig file (default: KUBECONFIG, in-cluster, ~/.kube/config)" },
  { "context", "NAME", "the context in it" },
  { "namespace", "NAME", "serve this namespace (repeats; default: the context's)", many = true },
  { "all-namespaces", nil, "serve every namespace" },
  { "policies", "DIR", "policies from a folder in place of the built-in ones" },
  { "settings", "FILE", "settings over those of the policies, key by key" },
  { "last-good", "NAME", "a ConfigMap, NAME or NAMESPACE/NAME: policies that proved themselves are kept there, and a start begins with them" },
  { "shadow", "DIR", "policies that decide beside the live ones and are never obeyed" },
  { "env-file", "FILE", "NAME=value lines, as if they were in the environment" },
  { "sandbox", nil, "start a simulated cluster and serve that" },
  { "dry-run", nil, "decide and say what would be written, write nothing" },
  { "leader-elect", nil, "replicas: only who holds a Lease writes, the others stand by" },
  { "lease", "NAME", "its name, or NAMESPACE/NAME (default: moonphase, in the context's)" },
  { "http-addr", "ADDR", "health and metrics (default 127.0.0.1:0; \"\" for none)" },
  { "control-socket", "PATH", "a Unix socket that explain asks" },
  { "resync-seconds", "N", "decide every object anew this often (default 600)" },
  { "record", "FILE", "append every request as a JSON line (they may hold secrets)" },
  { "log-format", "text|json", "how log lines look (default text)" },
  { "log-level", "LEVEL", "debug, info, warn or error (default info)" },
  example = "moonphase run --namespace hub --http-addr 127.0.0.1:8080",
}

for _, option in ipairs(webhook.OPTIONS) do table.insert(SPEC, #SPEC - 2, option) end

local STOP_SECONDS = 25
local DRAIN_SECONDS = 5
local RELEASE_SECONDS = 3

-- A simulated cluster in this process, with our CRDs and the namespaces to serve; o then leads to it.
local function start_sandbox(o, state)
  local sandbox, why = require("sandbox.start").start { crds = true, namespaces = o.namespace }
  if not sandbox then options.fail(1, "--sandbox: " .. why) end
  local folder = assert(fs.temporary())
  o.kubeconfig = folder .. "/kubeconfig"
  assert(fs.write(o.kubeconfig, sandbox:kubeconfig(o.namespace[1])))
  state.sandbox, state.sandbox_folder = sandbox, folder
  log.info("a simulated cluster is there, and goes with this process", { server = sandbox.url, kubeconfig = o.kubeconfig })
end

local function end_sandbox(state)
  if not state.sandbox then return end
  state.sandbox:close()
  fs.remove(state.sandbox_folder .. "/kubeconfig")
  fs.remove(state.sandbox_folder)
end

local function open_cluster(o)
  local cluster, why = kube.open { kubeconfig = o.kubeconfig, context = o.context }
  if not cluster then options.fail(1, why) end
  return cluster
end

-- A standby is ready: its caches are complete, and it takes over at once.
local function readiness(state)
  if state.idle then return true, state.idle end
  local c = state.controller
  if not c or not c.ready then
    return false, c and c:trouble() or "caches are not complete yet"
  end
  local refusal = c:refusal()
  if refusal then return false, refusal end
  if state.webhook then
    local answers, trouble = state.webhook:ready()
    if not answers then return false, trouble end
  end
  return true, "ok"
end

local function about(state)
  local lines = {}
  if state.reload then
    lines[#lines + 1] = state.reload:lines()
  elseif state.generation then
    lines[#lines + 1] = "policy " .. state.generation.digest
  end
  if state.shadow then lines[#lines + 1] = state.shadow:lines() end
  if state.leader then lines[#lines + 1] = state.leader:sentence() end
  return #lines > 0 and table.concat(lines, "\n") .. "\n" or ""
end

local function health_pages(state)
  local pages = {}
  pages["/healthz"] = function() return 200, "ok\n" end
  pages["/livez"] = pages["/healthz"]
  pages["/readyz"] = function(call)
    local ready, why = readiness(state)
    local verbose = call.queries().verbose and about(state) or ""
    return ready and 200 or 503, verbose .. why .. "\n"
  end
  pages["/metrics"] = function() return 200, metrics.text(), "text/plain; version=0.0.4; charset=utf-8" end
  return pages
end

local function control_pages(state)
  local pages = health_pages(state)
  pages["/explain"] = function(call)
    local c, name = state.controller, call.query("name") or ""
    if not (c and c.ready) then return 503, (state.idle or "the operator's caches are not complete yet") .. "\n" end
    local namespace = call.query("namespace") or (c.namespaces and c.namespaces[1]) or state.cluster.namespace
    local answer = c:explain(namespace .. "/" .. name)
    if not answer then return 404, "there is no PhDeployment " .. name .. " in namespace " .. namespace .. "\n" end
    if call.query("shadow") then
      if not state.shadow then return 404, "this operator runs without --shadow\n" end
      answer.shadow = state.shadow:explain(namespace .. "/" .. name)
    end
    return 200, json.encode(answer), "application/json"
  end
  pages["/stats"] = function()
    return 200, json.encode { turns = loop.turns(), memory = { lua = math.floor(collectgarbage "count" * 1024) },
      requests = state.cluster and state.cluster:counts(), policy = state.controller and state.controller.generation:stats() }, "application/json"
  end
  pages["/turns/reset"] = function()
    loop.turns(true)
    return 200, "ok\n"
  end
  return pages
end

local function serve(pages, where)
  local server, why = http.serve {
    address = where.address, unix = where.unix,
    handler = function(call)
      local page = pages[call.path]
      if not page then return 404, "there is no page " .. call.path .. "\n" end
      return page(call)
    end,
  }
  if not server then options.fail(1, why) end
  return server
end

local function open_servers(o, state)
  state.servers = {}
  if o.http_addr ~= "" then
    local server = serve(health_pages(state), { address = o.http_addr or "127.0.0.1:0" })
    state.servers[#state.servers + 1] = server
    log.info("health and metrics are served", { address = server.address })
  end
  if o.control_socket then
    state.servers[#state.servers + 1] = serve(control_pages(state), { unix = o.control_socket })
    log.info("the control socket is open", { path = o.control_socket })
  end
end

local function stop(state)
  if state.stopping then return end
  state.stopping = true
  log.info("stopping: no new work, what is under way ends first")
  if state.reload then state.reload:stop() end
  if state.shadow then state.shadow:stop() end
  if state.webhook then state.webhook:drain(DRAIN_SECONDS) end
  local clean = not state.controller or state.controller:stop(STOP_SECONDS - (state.webhook and DRAIN_SECONDS or 0))
  if not clean then log.warn("some reconciles did not end in time", { seconds = STOP_SECONDS }) end
  if state.leader then state.leader:release(RELEASE_SECONDS) end
  if state.webhook then state.webhook:stop() end
  for _, server in ipairs(state.servers) do server:close() end
  end_sandbox(state)
  log.info("stopped")
  loop.exit(0)
end

-- Until the cluster answers: say why not, try again. What can go on (health, metrics) goes on meanwhile.
local function wait_for_cluster(state)
  local told
  local delay = 0.8
  while not state.stopping do
    local answer, why = state.cluster:request { path = "/version", timeout = 10 }
    if answer and answer.status == 200 then
      local version = json.decode(answer.body)
      log.info("connected", { server = state.cluster.server,
        version = type(version) == "table" and type(version.gitVersion) == "string" and version.gitVersion or "?" })
      return true
    end
    local text = why or ("%d %s"):format(answer.status, answer.message)
    if told ~= text then
      log.error("the cluster cannot be reached; trying again", { server = state.cluster.server, from = state.cluster.source, why = text })
    end
    told = text
    loop.sleep(delay)
    delay = math.min(delay * 2, 30)
  end
end

local function read_env_file(path)
  if not path then return end
  local ok, why = process.load_env(path)
  if not ok then options.fail(1, "--env-file: " .. why) end
end

local function one_of(o, name, ...)
  local value = o[name]
  for _, allowed in ipairs { ... } do
    if value == nil or value == allowed then return end
  end
  options.fail(2, ("--%s must be one of %s, not '%s'"):format((name:gsub("_", "-")), table.concat({ ... }, ", "), value))
end

local function check_usage(o)
  serving.check(o, options.fail)
  if o.sandbox and (o.kubeconfig or o.context) then
    options.fail(2, "--sandbox brings a cluster of its own: leave --kubeconfig and --context out")
  end
  if o.leader_elect and o.dry_run then options.fail(2, "--dry-run writes nothing, not even a Lease: leave --leader-elect out") end
  webhook.check(o, options.fail)
  one_of(o, "log_level", "debug", "info", "warn", "error")
  one_of(o, "log_format", "text", "json")
  local seconds = tonumber(o.resync_seconds or 600)
  if not (seconds and seconds >= 1 and seconds <= 86400) then
    options.fail(2, "--resync-seconds must be a number from 1 to 86400, not '" .. o.resync_seconds .. "'")
  end
end

local function listen_to_signals(state)
  local finish = function() loop.spawn(stop, state) end
  loop.on_signal("TERM", finish)
  loop.on_signal("INT", finish)
  loop.on_signal("HUP", function()
    if state.shadow then state.shadow:request() end
    if state.reload then return state.reload:request "SIGHUP" end
    log.info("SIGHUP: policies and settings are read when the operator runs", {})
  end)
end

-- Switched off: healthy, and saying so, until a signal ends it. No cluster and no policy is needed for that; but nobody may be asked
-- to wait for our answers.
local function idle(o, why)
  local state = { idle = why }
  open_servers(o, state)
  listen_to_signals(state)
  log.info("moonphase idles", { version = moonphase.version, why = why })
  webhook.withdraw(o)
  loop.event():wait()
end

-- Edits are taken up from now on: the controller is ready.
local function follow_edits(o, state)
  local c = state.controller
  local announce = require "reload.announce"
  local pod = not o.dry_run and announce.pod()
  local function count() c.metrics.writes:add(1, "Event") end
  state.reload = reload.new { controller = c, dir = o.policies, settings_path = o.settings, files = state.files, keeper = state.keeper,
    kept = state.kept,
    on_verdict = pod and announce.new(c.cluster, state.cluster.namespace, pod, count) or nil }
  state.files, state.kept = nil, nil -- 0.3 MB of text that is not needed again
  state.reload:start()
  if not o.shadow then return end
  state.shadow = require("shadow").new { controller = c, dir = o.shadow, settings_path = o.settings }
  state.shadow:start()
end

local function elected(o, cluster)
  if not o.leader_elect then return leader.alone() end
  local namespace, name = serving.lease(o, cluster.namespace)
  return leader.new { cluster = cluster, namespace = namespace, name = name,
    address = webhook.own_address(o) }
end

-- What else is read or written later, and can be told to be wrong now.
local function check_files(o)
  if o.shadow then
    local found, trouble = policies.files(o.shadow)
    if not found then options.fail(1, "--shadow: " .. trouble) end
  end
  if o.record then
    local writable, trouble = fs.append(o.record, "")
    if not writable then options.fail(1, "--record: " .. trouble) end
  end
end

-- The policies that the program begins with: {generation, declaration, settings, files, kept}; what cannot be used ends the program.
local function begin_with(state, found, why)
  if not found then options.fail(1, why) end
  for name, value in pairs(found) do state[name] = value end
end

-- (waits) Those that proved themselves, if there are.
local function begin_with_last_good(o, state)
  local namespace, name = serving.last_good(o, state.cluster.namespace)
  state.keeper = require("reload.last_good").new { cluster = state.cluster, namespace = namespace, name = name, leader = state.leader, dry_run = o.dry_run,
    count = function() state.controller.metrics.writes:add(1, "ConfigMap") end }
  begin_with(state, require("reload.first").of_keeper(state.keeper, o.policies, o.settings))
  if state.kept then log.info("begun with the last good policies", { where = state.keeper:place() }) end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  check_usage(o)
  read_env_file(o.env_file)
  log.configure(o.log_level or "info", o.log_format or "text")
  local off, odd = feature.off()
  for _, text in ipairs(odd) do log.warn(text, {}) end
  if off then return idle(o, off) end
  loop.sleep(0) -- loading everything in one turn would be a long one
  local state = {}
  check_files(o)
  if not o.last_good then begin_with(state, require("reload.first").of_folder(o.policies, o.settings)) end
  if not o.sandbox then state.cluster = open_cluster(o) end
  open_servers(o, state)
  if o.sandbox then -- after all that may be refused: it leaves a folder
    start_sandbox(o, state)
    state.cluster = open_cluster(o)
  end
  listen_to_signals(state)
  if not wait_for_cluster(state) then return end
  state.leader = elected(o, state.cluster)
  if o.last_good then begin_with_last_good(o, state) end
  local recorded = o.record and require("record").wrap(state.cluster, o.record)
  state.controller = controller.new {
    cluster = recorded or state.cluster, generation = state.generation, module = "phdeployment", declaration = state.declaration,
    settings = state.settings,
    namespaces = serving.namespaces(o, state.cluster.namespace),
    catalog_namespace = state.cluster.namespace, dry_run = o.dry_run, resync_seconds = tonumber(o.resync_seconds),
    leader = state.leader,
  }
  if state.kept then state.controller.rollout:pause() end -- until the folder, which may be on trial already, has its verdict
  log.info("moonphase runs", { catalogue = inputs.catalogue(state.settings, state.cluster.namespace),
    version = moonphase.version, policy = state.controller.digest,
    namespaces = o.all_namespaces and "all" or table.concat(state.controller.namespaces, ",") })
  state.controller:run()
  local answers, odd_webhook = webhook.open(o, state.cluster, state.controller, state.leader)
  if odd_webhook then options.fail(1, "--webhook-addr: " .. odd_webhook) end
  state.webhook = answers
  follow_edits(o, state)
  local began, trouble = state.leader:begin()
  if not began then options.fail(1, "--leader-elect: " .. trouble) end
  loop.event():wait() -- until a signal ends the program
end)
