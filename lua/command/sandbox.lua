-- moonphase sandbox: a simulated cluster to point kubectl at, alone or around a command.
--
-- With a command, it is the command that this is about: it gets KUBECONFIG, our input and output, and its signals; its end is
-- ours, with its status. Ctrl-C comes to it from the terminal as it comes to us, so that it is not told twice.

local options = require "options"

local SPEC = {
  about = "Simulate a Kubernetes v1.20.2 cluster: an API server with controllers, a scheduler and kubelets behind it.\n"
    .. "Nothing is kept: it ends with this command.",
  usage = "moonphase sandbox [options] [-- COMMAND ...]",
  { "http-addr", "ADDR", "where the API listens (default 127.0.0.1:0: any free port)" },
  { "world", "FILE", "nodes, images and what they do, how long things take (YAML)" },
  { "crds", nil, "with PhDeployment, PhGroup and InstanceType defined" },
  { "namespace", "NAME", "with this namespace (repeats); the kubeconfig's is the first", many = true },
  { "seed", "N", "draw everything that is free from this number (default: any)" },
  { "virtual", nil, "time stands still, until POST /sandbox/advance" },
  { "no-controllers", nil, "nothing changes an object but the request that asks for it" },
  { "kubeconfig", "FILE", "write the kubeconfig here (default: a temporary file)" },
  { "audit", "FILE", "append every write as a line of a Kubernetes audit log\n"
    .. (" "):rep(28) .. "(with a command: by default MOONPHASE_CLUSTER_DIR/audit.log)" },
  positional = "COMMAND", rest = true,
  example = "moonphase sandbox -- kubectl get nodes",
}

local function read_seed(o)
  if not o.seed then return nil end
  local seed = math.tointeger(tonumber(o.seed))
  if not seed then options.fail(2, "--seed must be a whole number, not '" .. o.seed .. "'") end
  return seed
end

local function read_scene(o)
  if not o.world then return nil end
  local text, why = fs.read(o.world)
  if not text then options.fail(1, "--world: " .. why) end
  local scene, trouble = require("sandbox.scene").parse(text, o.world)
  if not scene then options.fail(1, "--world: " .. trouble) end
  return scene
end

-- Write the kubeconfig; its path, absolute.
local function write_kubeconfig(o, sandbox, folder)
  local path = o.kubeconfig or folder .. "/kubeconfig"
  local written, why = fs.write(path, sandbox:kubeconfig(o.namespace[1]))
  if not written then options.fail(1, "--kubeconfig: " .. why) end
  return path:sub(1, 1) == "/" and path or (process.env "PWD" or ".") .. "/" .. path
end

-- A folder of our own, {path=}, that goes with its scope, however that ends; what others put into it goes too (one level: scratch).
local function scratch_folder()
  local path = assert(fs.temporary())
  local function clean()
    for _, name in ipairs(fs.list(path) or {}) do
      local inner = path .. "/" .. name
      if fs.kind(inner) == "directory" then
        for _, below in ipairs(fs.list(inner) or {}) do fs.remove(inner .. "/" .. below) end
      end
      fs.remove(inner)
    end
    fs.remove(path)
  end
  return setmetatable({ path = path }, { __close = clean })
end

-- Whether a terminal's Ctrl-C reaches our whole process group: the group is the terminal's foreground one (proc(5): stat).
local function is_foreground()
  local stat = fs.read "/proc/self/stat"
  local group, terminal_group = (stat or ""):match("^%d+ %(.*%) %S %d+ (%d+) %d+ %d+ (%-?%d+)")
  return group ~= nil and group == terminal_group
end

-- (waits) Run a command inside; its status, as a shell has it.
local function run_command(words, env)
  local child
  for _, name in ipairs { "TERM", "HUP", "USR1" } do -- before it starts: who hears from it may send a signal at once
    loop.on_signal(name, function() child:signal(name) end)
  end
  loop.on_signal("INT", function()
    if not is_foreground() then child:signal("INT") end
  end)
  child = process.spawn { argv = words, env = env, inherit = true, stdin = true }
  local status, why = child:wait()
  if status then return status end
  io.stderr:write("moonphase: ", why, "\n")
  return why:find("installed", 1, true) and 127 or 126
end

-- Call tell(), then wait for a signal; one that comes while it tells is not missed.
local function wait_for_signal(tell)
  local ended, has_ended = loop.event(), false
  for _, name in ipairs { "TERM", "INT", "HUP" } do
    loop.on_signal(name, function()
      has_ended = true
      ended:notify()
    end)
  end
  tell()
  if not has_ended then ended:wait() end
  return 0
end

local function introduce(sandbox, path, o)
  io.write(("A simulated Kubernetes v1.20.2 cluster answers at %s (seed %d); it keeps nothing.\n\n"):format(sandbox.url, sandbox.seed),
    ("  export KUBECONFIG=%s\n  kubectl get nodes\n\n"):format(path),
    o.virtual and "Its time stands still until POST /sandbox/advance {\"seconds\": N}. " or "", "Ctrl-C ends it.\n")
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  log.configure("warn", "text")
  local scratch <close> = scratch_folder()
  local folder = scratch.path
  local has_command = #o > 0
  collectgarbage "stop" -- until all modules are there: nothing of them is garbage
  local audit = o.audit or has_command and folder .. "/audit.log" or nil
  local sandbox, why = require("sandbox.start").start { address = o.http_addr, seed = read_seed(o), virtual = o.virtual,
    scene = read_scene(o), audit = audit ~= "" and audit or nil, crds = o.crds, namespaces = o.namespace, idle = o.no_controllers }
  collectgarbage "restart"
  if not sandbox then options.fail(1, why) end
  local path = write_kubeconfig(o, sandbox, folder)
  local status
  if has_command then
    status = run_command(table.move(o, 1, #o, 1, {}), { KUBECONFIG = path, MOONPHASE_CLUSTER_DIR = folder, MOONPHASE_SANDBOX = sandbox.url })
  else
    status = wait_for_signal(function() introduce(sandbox, path, o) end)
  end
  sandbox:close()
  return status
end)
