-- moonphase explain: the phase of a PhDeployment and why, from a running operator.

local options = require "options"

local SPEC = {
  about = "Say which phase a PhDeployment is in and which row of the policies decided it.",
  usage = "moonphase explain NAME --control-socket PATH [options]",
  { "control-socket", "PATH", "the socket of a running operator (run --control-socket PATH)" },
  { "namespace", "NAME", "the namespace (default: the operator's first)" },
  { "shadow", nil, "also what its shadow policies (run --shadow DIR) would decide differently" },
  { "o", "text|json", "how to print (default text)" },
  positional = "NAME",
  example = "moonphase explain spam-classifier-abcxy --namespace hub --control-socket /run/moonphase.sock",
}

local function rows(title, list)
  if not list or #list == 0 then return end
  io.write(title, "\n")
  for _, row in ipairs(list) do
    local mark = row.held and "*" or " "
    local evidence = row.evidence and next(row.evidence) ~= nil and "  " .. json.encode(row.evidence) or ""
    io.write(("  %s %s%s\n"):format(mark, tostring(row.row), evidence))
  end
end

local function shown(value)
  return value == nil and "nothing" or type(value) == "table" and json.encode(value) or tostring(value)
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

local function print_text(name, answer)
  if answer.failure then
    io.write(name, ": the policy failed: ", require("policies").explain_error(answer.failure), "\n")
    return
  end
  local status = answer.decision.status or {}
  io.write(("%s is %s: %s\n"):format(name, status.phase or "unknown", status.message or ""))
  local trace = answer.decision.trace or {}
  rows("phase rows, in order (* held):", trace.phases)
  rows("failure rows, in order (* held):", trace.failures)
  for _, condition in ipairs(status.conditions or {}) do
    io.write(("  %-16s %-8s %s: %s\n"):format(condition.type, condition.status, condition.reason or "", condition.message or ""))
  end
  for _, problem in ipairs(answer.problems or {}) do
    io.write(("write refused: %s %s: %s\n"):format(problem.kind, problem.name, problem.message))
  end
  if answer.held then io.write("its pod template waits for its turn in a rollout of the policy\n") end
  if answer.last_error then io.write("last error: ", answer.last_error, "\n") end
  io.write("policy ", answer.policy.digest, ", generation ", tostring(answer.generation), "\n")
  if answer.shadow then print_shadow(answer.shadow) end
end

return options.main(function(words)
  local o = options.parse(words, SPEC)
  local name = o[1]
  if not name then options.fail(2, "explain needs the NAME of a PhDeployment") end
  if o.o and o.o ~= "text" and o.o ~= "json" then options.fail(2, "-o must be text or json, not '" .. o.o .. "'") end
  if not o.control_socket then options.fail(2, "explain needs --control-socket PATH of a running operator") end
  local query = "name=" .. kube.escape(name) .. (o.namespace and "&namespace=" .. kube.escape(o.namespace) or "")
    .. (o.shadow and "&shadow=1" or "")
  local answer, why = http.request { url = "http://localhost/explain?" .. query, unix = o.control_socket, timeout = 10 }
  if not answer then options.fail(1, "no operator answers on " .. o.control_socket .. ": " .. why) end
  if answer.status ~= 200 then options.fail(1, (answer.body:gsub("%s+$", ""))) end
  if o.o == "json" then
    io.write(answer.body, "\n")
  else
    local decoded = json.decode(answer.body)
    if type(decoded) ~= "table" then options.fail(1, "the operator's answer on " .. o.control_socket .. " is not JSON") end
    print_text(name, decoded)
  end
end)
