-- moonphase plan: what a policies folder would change in a cluster, without changing anything.

local options = require "options"
local plan_file = require "plan.file"
local policies = require "policies"
local print_plan = require "plan.print"
local view = require "plan.view"
local whole = require "plan.whole"

local SPEC = {
  about = "Say what a policies folder would create, patch, prune and report differently in a cluster, object by object.\n"
    .. "The cluster is only read, and asked what it would say to each write (a server-side dry run).\n"
    .. "Status 0: nothing would change; 2: something would; 1: it cannot be planned (wrong usage, too), the policies fail on an\n"
    .. "object, or the server would refuse a write.",
  usage = "moonphase plan [DIR] [options]",
  { "kubeconfig", "PATH", "the kubeconfig file (default: KUBECONFIG, in-cluster, ~/.kube/config)" },
  { "context", "NAME", "the context in it" },
  { "namespace", "NAME", "look at this namespace (repeats; default: the context's)", many = true },
  { "n", "NAME", "the same", many = true },
  { "all-namespaces", nil, "look at every namespace" },
  { "operator-namespace", "NS", "the operator's own, where groups are read if settings do not say (default: the context's)" },
  { "settings", "FILE", "settings over those of the policies, key by key" },
  { "save", "FILE", "write the plan to a file, for moonphase apply FILE" },
  { "o", "text|json", "how to print (default text)" },
  positional = "DIR",
  example = "moonphase plan my-policies --namespace hub --save hub.plan",
}

-- The collector runs seldom: what one object leaves is small, what lives is not, and the program ends soon. (A fifth of the time.)
local GARBAGE_PERCENT, COLLECT_PERCENT = 400, 400

-- 2 is kept for "something would change", as Terraform's detailed exit codes have it: wrong usage is a failure.
local function parse(words)
  local ok, o = pcall(options.parse, words, SPEC)
  if not ok then error(type(o) == "table" and o.exit == 2 and { exit = 1 } or o, 0) end
  for _, name in ipairs(o.n) do table.insert(o.namespace, name) end
  if #o > 1 then options.fail(1, "plan looks at one folder, not at " .. #o) end
  if o.o and o.o ~= "text" and o.o ~= "json" then options.fail(1, "-o must be text or json, not '" .. o.o .. "'") end
  if o.all_namespaces and #o.namespace > 0 then options.fail(1, "--all-namespaces and --namespace exclude each other") end
  return o
end

return options.main(function(words)
  local o = parse(words)
  collectgarbage("incremental", GARBAGE_PERCENT, COLLECT_PERCENT)
  log.configure("error", "text") -- what a watch meets is told as the plan's own trouble
  o.policies = o[1]
  local place, why = view.options(o)
  if not place then options.fail(1, why) end
  local seen, trouble = view.open(place)
  if not seen then options.fail(1, trouble) end
  local result, kept = whole.make(seen)
  if not result then options.fail(1, policies.explain_error(kept)) end
  if o.save then
    local saved, text = plan_file.save(o.save, plan_file.of(seen, place, o, result))
    if not saved then options.fail(1, "--save: " .. text) end
  end
  if o.o == "json" then
    io.write(json.encode(print_plan.data(result, seen.warnings)), "\n")
  else
    io.write(print_plan.text(result, seen.warnings))
    if o.save then io.write("Saved to ", o.save, ": moonphase apply ", o.save, " does this and no more.\n") end
  end
  seen:close()
  return whole.exit_status(result.summary)
end)
