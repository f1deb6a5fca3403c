-- moonphase explain: the phase of a PhDeployment and why, from a running operator, or computed from the cluster.
--
-- A running operator knows most: what it wrote last and what was answered, and its turn in a rollout. It is asked by its control
-- socket. Where none answers, or where other policies are to be tried (--policies), the same is decided on paper from what the
-- cluster holds; that needs nothing but the right to read, and is said.

local explain = require "explain"
local options = require "options"
local policies = require "policies"
local sorted = require "sorted"
local view = require "plan.view"

local SPEC = {
  about = "Say which phase a PhDeployment is in and why: the rows of the policies that were tried, in order, with what each saw, the one\n"
    .. "that won, what it was decided on, and what was written last. A running operator is asked; where none answers, it is computed\n"
    .. "from the cluster.",
  usage = "moonphase explain NAME [options]",
  { "n", "NS", "its namespace (default: the operator's first, or the context's)" },
  { "namespace", "NS", "the same" },
  { "control-socket", "PATH", "the socket of a running operator (run --control-socket PATH)" },
  { "shadow", nil, "also what its shadow policies (run --shadow DIR) would decide differently" },
  { "cluster", nil, "compute it from the cluster, whether or not an operator runs" },
  { "policies", "DIR", "compute it from the cluster with the policies of a folder" },
  { "operator-namespace", "NS", "computed: the operator's own, where groups are read if settings do not say (default: the context's)" },
  { "settings", "FILE", "computed: settings over those of the policies" },
  { "kubeconfig", "PATH", "computed: the kubeconfig file (default: KUBECONFIG, in-cluster, ~/.kube/config)" },
  { "context", "NAME", "computed: the context in it" },
  { "o", "text|json", "how to print (default text)" },
  positional = "NAME",
  example = "moonphase explain spam-classifier-abcxy -n hub --control-socket /run/moonphase.sock",
}

local LOOKED_MOST = 100 -- bytes of what a row looked at, in a line

-- ---------------------------------------------------------------- text

local function shown(value)
  return value == nil and "nothing" or type(value) == "table" and json.encode(value) or tostring(value)
end

local function short(text, most)
  if #text <= most then return text end
  return text:sub(1, most):gsub("[\192-\255]?[\128-\191]*$", "") .. "…"
end

local function pairs_text(map)
  local parts = {}
  for i, name in ipairs(sorted(map)) do parts[i] = name .. "=" .. short(shown(map[name]), LOOKED_MOST) end
  return table.concat(parts, ", ")
end

-- What a row saw: its evidence if it held, and the plain facts that it looked at.
local function sight(row)
  local evidence = type(row.evidence) == "table" and next(row.evidence) ~= nil and pairs_text(row.evidence) or nil
  local looked = pairs_text(row.saw)
  local parts = {}
  if evidence then parts[1] = evidence end
  if looked ~= "" then parts[#parts + 1] = "looked at " .. looked end
  return #parts > 0 and ": " .. table.concat(parts, "; ") or ""
end

-- A grace that goes on, in words.
local function grace_of(row)
  if not row.remaining then return "" end
  if row.waiting then return (" (waits up to %g s for it to end by itself)"):format(row.waiting) end
  return (" (counts in %g s of its %g s of grace)"):format(row.remaining, row.grace or row.remaining)
end

-- Rows in the order in which they were tried; won: the number of the one that decided.
local function rows(title, list, won)
  if not list or #list == 0 then return end
  io.write(title, "\n")
  for i, row in ipairs(list) do
    local mark = i == won and "=>" or row.held and " *" or "  "
    local name = row.phase and row.phase ~= row.row and row.phase .. " (" .. row.row .. ")" or tostring(row.row)
    io.write(("  %s %s%s%s\n"):format(mark, name, grace_of(row), sight(row)))
  end
end

-- The row of phases that held first; of the failures, the one that gives the status its reason.
local function winners(trace, status)
  local phase, failure
  for i, row in ipairs(trace.phases or {}) do
    if row.held and not phase then phase = i end
  end
  for i, row in ipairs(trace.failures or {}) do
    if row.held and not failure and not row.remaining and row.row == status.reason then failure = i end
  end
  return phase, failure
end

local function print_inputs(list)
  if not list or #list == 0 then return end
  io.write("decided on:\n")
  for _, one in ipairs(list) do
    local parts = { one.state }
    if one.key then parts[#parts + 1] = ("%s (resourceVersion %s)"):format(one.key, tostring(one.resourceVersion)) end
    if not one.key and one.wanted then parts[#parts + 1] = "asked for " .. one.wanted .. (one.namespace and " in namespace " .. one.namespace or "") end
    if one.age then parts[#parts + 1] = ("as of %g s ago"):format(one.age) end
    if one.message then parts[#parts + 1] = one.message end
    if one.trouble then parts[#parts + 1] = "trouble: " .. one.trouble end
    io.write(("  %s: %s\n"):format(one.name, table.concat(parts, ", ")))
  end
end

local function print_children(list)
  for _, child in ipairs(list or {}) do
    io.write(("  %s %s: resourceVersion %s%s%s\n"):format(child.kind, child.name, tostring(child.resourceVersion),
      child.generation and child.generation > 0 and (", generation %d"):format(child.generation) or "",
      child.policy and ", last changed by policy " .. child.policy or ""))
  end
end

local function print_writes(answer)
  if answer.writes then
    io.write(#answer.writes == 0 and "last writes: none since this operator began\n" or "last writes, the newest first:\n")
    for _, one in ipairs(answer.writes) do
      local said = one.status == 0 and "no answer" or ("answered %d"):format(one.status)
      io.write(("  %d s ago: %s %s %s: %s%s\n"):format(one.seconds_ago, one.verb, one.kind, one.name, said,
        one.message and ": " .. one.message or ""))
    end
  elseif answer.written then
    io.write("last writes, as the cluster tells of them (an operator knows the answers):\n")
    for _, one in ipairs(answer.written) do
      io.write(("  %s: %s %s by %s (%s%s)\n"):format(one.time, one.kind, one.name, one.manager, one.operation,
        one.subresource and ", " .. one.subresource or ""))
    end
  end
end

local function print_shadow(shadow)
  if shadow.refused then io.write("the shadow policies are refused: ", shadow.refused, "\n") end
  if not shadow.differences then return end
  io.write(("shadow %s %s\n"):format(shadow.digest, #shadow.differences == 0 and "decides the same" or "decides otherwise:"))
  for _, difference in ipairs(shadow.differences) do
    io.write(("  %s%s\n    live   %s\n    shadow %s\n"):format(difference.what, difference.path ~= "" and "." .. difference.path or "",
      shown(difference.live), shown(difference.shadow)))
  end
end

local function print_decision(name, answer)
  local status = answer.decision.status or {}
  io.write(("%s is %s: %s\n"):format(name, status.phase or "unknown", status.message or ""))
  local now = answer.status or {}
  if now.phase ~= status.phase or now.message ~= status.message then
    io.write(("its status still says %s: %s\n"):format(now.phase or "nothing", now.message or ""))
    if answer.without_settings then io.write("(decided without the operator's own settings: --settings FILE names them)\n") end
  end
  local trace = answer.decision.trace or {}
  local phase, failure = winners(trace, status)
  rows("phase rows, in order (* holds, => decided):", trace.phases, phase)
  rows("failure rows, in order (* holds, => gives the reason):", trace.failures, failure)
  if trace.facts then io.write("facts: ", pairs_text(trace.facts), "\n") end
  for _, condition in ipairs(status.conditions or {}) do
    io.write(("  %-16s %-8s %s: %s\n"):format(condition.type, condition.status, condition.reason or "", condition.message or ""))
  end
end

local function print_text(name, answer)
  if answer.computed then io.write(answer.computed, "\n") end
  if answer.decision then
    print_decision(name, answer)
  else
    io.write(name, ": the policy failed: ", policies.explain_error(answer.failure), "\n")
    local now = answer.status or {}
    if now.phase then io.write(("its status still says %s: %s\n"):format(now.phase, now.message or "")) end
  end
  print_inputs(answer.inputs)
  print_children(answer.children)
  print_writes(answer)
  for _, problem in ipairs(answer.problems or {}) do
    io.write(("write refused: %s %s: %s\n"):format(problem.kind, problem.name, problem.message))
  end
  if answer.held then io.write("its pod template waits for its turn in a rollout of the policy\n") end
  if answer.last_error then io.write("last error: ", answer.last_error, "\n") end
  for _, warning in ipairs(answer.warnings or {}) do io.write("note: ", warning, "\n") end
  io.write("policy ", answer.policy.digest, ", generation ", tostring(answer.generation), "\n")
  if answer.shadow then print_shadow(answer.shadow) end
end

-- ---------------------------------------------------------------- who answers

-- What an operator says; nil and why there is none that answers.
local function ask_operator(o, name, namespace)
  local query = "name=" .. kube.escape(name) .. (namespace and "&namespace=" .. kube.escape(namespace) or "")
    .. (o.shadow and "&shadow=1" or "")
  local answer, why = http.request { url = "http://localhost/explain?" .. query, unix = o.control_socket, timeout = 10 }
  if not answer then return nil, "no operator answers on " .. o.control_socket .. " (" .. why .. ")" end
  local said = answer.body:gsub("%s+$", "")
  if answer.status == 503 and not o.shadow then return nil, "the operator on " .. o.control_socket .. " is not ready (" .. said .. ")" end
  if answer.status ~= 200 then options.fail(1, said) end
  local decoded = json.decode(answer.body)
  if type(decoded) ~= "table" then options.fail(1, "the operator's answer on " .. o.control_socket .. " is not JSON") end
  return decoded
end

-- why: in place of an operator's answer, or nil.
local function compute(o, name, namespace, why)
  log.configure("error", "text")
  local place, trouble = view.options { kubeconfig = o.kubeconfig, context = o.context, policies = o.policies, settings = o.settings,
    operator_namespace = o.operator_namespace, namespace = namespace and { namespace } or {} }
  if not place then options.fail(1, (why and why .. ", and " or "") .. trouble) end
  namespace = place.namespaces[1]
  local seen, unread = view.open(place)
  if not seen then options.fail(1, (why and why .. ", and " or "") .. unread) end
  local answer = explain.of_view(seen, namespace .. "/" .. name)
  seen:close()
  if not answer then options.fail(1, "there is no PhDeployment " .. name .. " in namespace " .. namespace) end
  answer.computed = ("%scomputed from the cluster at %s with %s"):format(why and why .. ": " or "", place.cluster.server,
    o.policies and "the policies of " .. o.policies or "the built-in policies")
  answer.without_settings = not o.settings or nil
  return answer
end

local function check_usage(o)
  if #o ~= 1 then options.fail(2, "explain needs the NAME of one PhDeployment" .. (o[2] and (", not of %d"):format(#o) or "")) end
  if o.o and o.o ~= "text" and o.o ~= "json" then options.fail(2, "-o must be text or json, not '" .. o.o .. "'") end
  if o.n and o.namespace and o.n ~= o.namespace then options.fail(2, "-n and --namespace say two things") end
  local computed = o.cluster or o.policies
  if o.shadow and (computed or not o.control_socket) then
    options.fail(2, "--shadow is of a running operator: --control-socket PATH, without --cluster and --policies (which compute with "
      .. "any folder)")
  end
  if o.settings and o.control_socket and not computed then options.fail(2, "--settings goes with --cluster or --policies") end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  check_usage(o)
  local name, namespace = o[1], o.n or o.namespace
  local answer, why
  if o.control_socket and not o.cluster and not o.policies then
    answer, why = ask_operator(o, name, namespace)
    if not answer and o.shadow then options.fail(1, why) end
  end
  if not answer then answer = compute(o, name, namespace, why) end
  if o.o == "json" then io.write(json.encode(answer), "\n") else print_text(name, answer) end
end)
