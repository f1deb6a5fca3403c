-- A sandbox for the lifecycle specs, with the doors of a real control plane: TLS, tokens, users with rights. The specs are the
-- same files for both, and they look for the same folder:
--
--   build/moonphase repl spec/sandbox/serve.lua COMMAND...
--
-- COMMAND finds KUBECONFIG, MOONPHASE_BACKEND=sandbox and MOONPHASE_CLUSTER_DIR with kubeconfig (admin), kubeconfig-cert,
-- kubeconfig-operator (may do what RBAC objects say) and audit.log. Ends with its status.

local include = require "include"
local rbac = include "spec/sandbox/rbac.lua"
local scene = require "sandbox.scene"

-- The node and the manners of spec/cluster/kubelet.lua.
local WORLD = { nodes = json.array { { name = "node-1",
  capacity = { cpu = "64", memory = "256Gi", pods = "2000", ["nvidia.com/gpu"] = "8" } } },
  timings = { pull = 0, check = 0, start = 0, stop = 0, init = 0 } }

local folder = assert(fs.temporary())
log.configure("warn", "text")

local function make_certificate()
  local made = assert(process.run { timeout = 30, argv = { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
    "-days", "30", "-config", "/dev/null", "-subj", "/CN=moonphase-sandbox", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
    "-keyout", folder .. "/tls.key", "-out", folder .. "/tls.crt" } })
  assert(made.status == 0, "openssl made no certificate: " .. made.errors)
  return assert(fs.read(folder .. "/tls.crt")), assert(fs.read(folder .. "/tls.key"))
end

local function write_kubeconfig(name, url, user)
  local encoded = assert(process.run { argv = { "base64", "-w", "0", folder .. "/tls.crt" } }).output
  assert(fs.write(folder .. "/" .. name, yaml.encode {
    apiVersion = "v1", kind = "Config", ["current-context"] = "sandbox",
    clusters = json.array { { name = "sandbox", cluster = { server = url, ["certificate-authority-data"] = encoded } } },
    users = json.array { { name = "sandbox", user = user } },
    contexts = json.array { { name = "sandbox", context = { cluster = "sandbox", user = "sandbox" } } },
  }))
end

local function remove(path)
  if fs.kind(path) == "directory" then
    for _, name in ipairs(fs.list(path) or {}) do remove(path .. "/" .. name) end
  end
  fs.remove(path)
end

local cert, key = make_certificate()
local rights = rbac.new { operator = "system:serviceaccount:moonphase:moonphase" }
local sandbox = assert(require("sandbox.start").start { seed = tonumber(process.env("SEED")) or 1, scene = assert(scene.check(WORLD)),
  audit = folder .. "/audit.log", tls = { cert = cert, key = key },
  guard = function(request, token) return rights:answer(request, token) end })
write_kubeconfig("kubeconfig", sandbox.url, { token = "admin" })
write_kubeconfig("kubeconfig-operator", sandbox.url, { token = "operator" })
write_kubeconfig("kubeconfig-cert", sandbox.url, { ["client-certificate"] = folder .. "/tls.crt", ["client-key"] = folder .. "/tls.key" })

local child = assert(process.spawn { argv = { table.unpack(args) }, inherit = true, stdin = true, env = { KUBECONFIG = folder .. "/kubeconfig",
  MOONPHASE_CLUSTER_DIR = folder, MOONPHASE_BACKEND = "sandbox" } })
for _, name in ipairs { "TERM", "INT", "HUP" } do
  loop.on_signal(name, function() child:signal(name) end)
end
local status, why = child:wait()
if not status then io.stderr:write("serve.lua: ", why, "\n") end
sandbox:close()
if process.env("KEEP") ~= "1" then remove(folder) else io.write("kept ", folder, "\n") end
loop.exit(status or 1)
