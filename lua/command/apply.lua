-- moonphase apply: what a saved plan says, and no more.

local execute = require "plan.execute"
local options = require "options"
local plan_file = require "plan.file"
local view = require "plan.view"

local SPEC = {
  about = "Do what a saved plan says (moonphase plan DIR --save FILE), and no more. An object that changed since is left alone, and\n"
    .. "said. Models restart a few at a time (rollout.budget of the settings), each waited for; the first that fails stops the rest.\n"
    .. "An operator that runs with other policies takes back what they do not say: give it the new ones, too.\n"
    .. "Status 0: all was done; 1: something was not; 2: wrong usage.",
  usage = "moonphase apply FILE [options]",
  { "kubeconfig", "PATH", "the kubeconfig file (default: KUBECONFIG, in-cluster, ~/.kube/config)" },
  { "context", "NAME", "the context in it" },
  { "policies", "DIR", "where the policies are (default: where they were when it was planned)" },
  { "settings", "FILE", "the same of the settings" },
  { "o", "text|json", "how to print (default text)" },
  positional = "FILE",
  example = "moonphase apply hub.plan",
}

local function tell_text(result)
  for _, text in ipairs(result.done) do io.write(result.key, ": ", text, "\n") end
  for _, text in ipairs(result.refused) do io.write(result.key, ": NOT DONE: ", text, "\n") end
  if result.note then io.write(result.key, ": ", result.note, "\n") end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  if #o ~= 1 then options.fail(2, "apply needs the FILE of a saved plan: moonphase plan DIR --save FILE") end
  if o.o and o.o ~= "text" and o.o ~= "json" then options.fail(2, "-o must be text or json, not '" .. o.o .. "'") end
  log.configure("error", "text")
  local data, why = plan_file.read(o[1])
  if not data then options.fail(1, why) end
  local place, trouble = view.options { kubeconfig = o.kubeconfig, context = o.context, policies = o.policies or data.policies,
    settings = o.settings or data.settings, operator_namespace = data.operatorNamespace, all_namespaces = data.namespaces == nil,
    namespace = data.namespaces }
  if not place then options.fail(1, trouble) end
  local differs = plan_file.differs(data, place)
  if differs then options.fail(1, differs .. ": nothing is done; plan again") end
  local seen, unread = view.open(place)
  if not seen then options.fail(1, unread) end
  local results, done, refused = json.array {}, 0, 0
  execute.run(seen, data, function(result)
    results[#results + 1] = result
    done, refused = done + (#result.done > 0 and 1 or 0), refused + (#result.refused > 0 and 1 or 0)
    if o.o ~= "json" then tell_text(result) end
  end)
  seen:close()
  if o.o == "json" then
    io.write(json.encode { objects = results, done = done, refused = refused }, "\n")
  else
    io.write(("Applied to %d of %d objects; %d not as planned.\n"):format(done, #data.objects, refused))
  end
  return refused == 0 and 0 or 1
end)
