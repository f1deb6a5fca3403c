-- Asks a real server what ask.lua asks, and writes its answers, one a line; with --check it only compares.

local ask = require "include" "spec/sandbox/facts/ask.lua"
local requests = require "include" "spec/sandbox/facts/requests.lua"

local OUT = "spec/sandbox/facts/answers.json"

local cluster = assert(kube.open {})

local function to_server(method, path, body, content_type, accept)
  local answer = assert(cluster:request { method = method, path = path, body = body, content_type = content_type or "application/json",
    accept = accept })
  return answer.status, json.decode(answer.body) or answer.body
end

local function text_of(facts)
  local labels, lines = {}, {}
  for label in pairs(facts) do labels[#labels + 1] = label end
  table.sort(labels)
  for i, label in ipairs(labels) do lines[i] = json.encode(label) .. ":" .. json.encode(facts[label]) end
  return "{\n" .. table.concat(lines, ",\n") .. "\n}\n"
end

-- kubectl 1.20 reads an object into the server's types and writes it again: `set env --local` does no more than that.
local function by_kubectl(object)
  local folder = assert(fs.temporary())
  local path = folder .. "/zeros.json"
  assert(fs.write(path, json.encode(object)))
  local made = assert(process.run { argv = { "kubectl-1.20", "set", "env", "--local", "-f", path, "-o", "json", "n=1" } })
  fs.remove(path)
  fs.remove(folder)
  return assert(json.decode(made.output), made.errors)
end

local facts = ask.definitions(to_server)
for label, answer in pairs(ask.values(to_server, function() loop.sleep(0.1) end)) do facts[label] = answer end
for label, answer in pairs(requests.answers(to_server)) do facts[label] = answer end

for _, kind in ipairs(ask.ZEROS) do
  facts["zeros: " .. kind[3]] = ask.without_env(by_kubectl(ask.zeros(table.unpack(kind))))
end

if args[1] == "--check" then
  local same = fs.read(OUT) == text_of(facts)
  io.stderr:write(OUT, same and " is what the server says.\n" or " is stale: run spec/sandbox/facts/record.\n")
  loop.exit(same and 0 or 1)
else
  assert(fs.write(OUT, text_of(facts)))
end
