-- Random sequences of requests to the sandbox and to a real API server: the same answers, or a short story of why not.
--
--   spec/cluster/kube --no-controllers -- build/moonphase repl spec/sandbox/differential/run.lua [option=value ...]
--     count=1000    sequences          seed=N    the first one's seed; each further one is the next number
--     at_once=48    sequences in flight (the real server is the slower side: keep it busy)
--     against=real  both sides are the real server: a test of this test
--     kinds=Pod,Node only these kinds
--     base=N        begins the names of namespaces, for a second run on the same server
--     stories=10    how many kinds of difference are shrunk and told     only=SEED  one sequence
--
-- Ends with the line "N passed, N failed" that spec/run-tests reads, of three tests: no sequence differs; the table has no empty cell (from
-- 1,000 sequences on); each sequence has at least 30 requests, of which at least half are taken.

local include = require "include"
local api_words = include "spec/cluster/api.lua"
local differences = include "spec/sandbox/differential/differences.lua"
local outcomes = include "spec/sandbox/differential/outcomes.lua"
local requests = include "spec/sandbox/differential/requests.lua"
local sequence = include "spec/sandbox/differential/sequence.lua"
local shrink = include "spec/sandbox/differential/shrink.lua"
local sides = include "spec/sandbox/differential/sides.lua"
local story = include "spec/sandbox/differential/story.lua"

local o = { count = tonumber(process.env("COUNT")) or 1000, seed = tonumber(process.env("SEED")) or 1, at_once = 48, against = "sandbox", stories = 10,
  tries = 60 }
for _, word in ipairs(args) do
  local name, value = word:match("^([%w_]+)=(.+)$")
  if not name then error("run.lua does not know " .. word .. ": its options are NAME=VALUE") end
  o[name] = tonumber(value) or value
end
requests.tables = o.tables ~= "no"
if o.kinds then
  requests.only = {}
  for kind in o.kinds:gmatch("%w+") do requests.only[kind] = true end
end
if o.only then o.seed, o.count = o.only, 1 end

local function write(text)
  io.write(text, "\n")
  io.flush()
end

local function manifests()
  local all = {}
  for _, manifest in ipairs(api_words.manifests("crds")) do all[#all + 1] = manifest end
  for _, manifest in ipairs(api_words.manifests("spec/sandbox/differential/widget.yaml")) do all[#all + 1] = manifest end
  return all
end

local CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

-- Our kinds, on any server.
local function install(server)
  if o.crds == "no" then return end
  for _, manifest in ipairs(manifests()) do
    local answer = server.send { method = "POST", path = CRDS, query = {}, content_type = "application/json", body = json.encode(manifest) }
    if answer.status ~= 201 and not (o.base and answer.status == 409) then
      error(("%s: %s: %d %s"):format(server.name, manifest.metadata.name, answer.status, answer.body))
    end
  end
  for _, manifest in ipairs(manifests()) do
    local path = ("/apis/%s/%s/%s"):format(manifest.spec.group, manifest.spec.versions[1].name, manifest.spec.names.plural)
    api_words.eventually(manifest.metadata.name .. " is served by " .. server.name, 30, function()
      local answer = server.send { method = "GET", path = path, query = {} }
      return answer.status == 200, answer.body
    end)
  end
  if server.settle and o.count > 100 then loop.sleep(6) end -- until the server stops handing out its former discovery and schemas
end

local function a_sandbox()
  local world = require("sandbox.world").new { seed = 1, history = 100000, now_ms = 1780272000000 }
  local registry = require("sandbox.registry").new(world)
  local server = sides.sandbox(require("sandbox.api").new { world = world, registry = registry })
  install(server)
  return server
end

local real = sides.real(assert(kube.open {}))
install(real)

-- The servers of one worker, and a prefix for each new sequence in it.
local attempts = 0
local function attempt(first, seed, list)
  attempts = attempts + 1
  local prefix = ("s%s%d-"):format(o.base and ("%dx"):format(o.base) or "", attempts)
  local twin = o.against == "real" and "t" .. prefix:sub(2) or prefix
  return sequence.run({ first, real }, { prefix, twin }, seed, list)
end

local table_of_outcomes = outcomes.new()
local signatures, order = {}, {}
local done, requests_sent, succeeded, thin, short = 0, 0, 0, 0, 0

local function count_up(result)
  done = done + 1
  requests_sent = requests_sent + #result.requests
  succeeded = succeeded + result.succeeded
  if not result.failure and result.succeeded * 2 < #result.requests then thin = thin + 1 end
  if not result.failure and #result.requests < 30 then short = short + 1 end
  for i, r in ipairs(result.requests) do
    if not (result.failure and i == #result.requests) then table_of_outcomes:add(r, result.outcomes[i]) end
  end
end

local function note_failure(seed, result)
  local signature = result.failure.signature
  if not signatures[signature] then
    signatures[signature] = { count = 0, seed = seed, requests = result.requests, failure = result.failure }
    order[#order + 1] = signature
  end
  signatures[signature].count = signatures[signature].count + 1
end

-- The first of the two servers; a new sandbox now and then, lest it fill up.
local fresh, taken = nil, 0
local function first_side()
  if o.against == "real" then return real end
  taken = taken + 1
  if not fresh or taken % 200 == 0 then fresh = a_sandbox() end
  return fresh
end

local failed = 0
local function worker(next_seed)
  for seed in next_seed do
    local result = attempt(first_side(), seed)
    count_up(result)
    if result.failure then
      failed = failed + 1
      note_failure(seed, result)
    end
  end
end

local function seeds()
  local last = o.seed - 1
  return function()
    if last >= o.seed + o.count - 1 then return nil end
    last = last + 1
    return last
  end
end

write(("random sequences: %d from seed %d"):format(o.count, o.seed))
local started = loop.now()
local tasks, next_seed = {}, seeds()
for i = 1, math.min(o.at_once, o.count) do tasks[i] = loop.spawn(worker, next_seed) end
for _, task in ipairs(tasks) do
  local ok, why = task:join()
  if not ok then error(why, 0) end
end
write(("%d sequences, %d requests (%.0f%% taken) in %.1f s"):format(done, requests_sent, 100 * succeeded / requests_sent, loop.now() - started))

table.sort(order, function(x, y)
  local a, b = signatures[x], signatures[y]
  if a.count ~= b.count then return a.count > b.count end
  return x < y
end)
if #order > 0 then write(("%d sequences differ, in %d ways:"):format(failed, #order)) end
for _, signature in ipairs(order) do write(("%5d  %s  (seed %d)"):format(signatures[signature].count, signature, signatures[signature].seed)) end
for i = 1, math.min(o.stories, #order) do
  local entry = signatures[order[i]]
  local first = first_side()
  local list, failure = shrink.shrink(entry.requests, entry.failure, function(candidate)
    return attempt(first, nil, candidate).failure
  end, o.tries)
  story.tell(write, ("\nFAIL seed %d: %s, %d requests, shrunk to %d:"):format(entry.seed, order[i], #entry.requests, #list), list, failure)
end

local empty = 0
if o.count >= 500 then
  write("")
  empty = table_of_outcomes:print(write)
end
write("\ndifferences that are accepted (spec/sandbox/differential/differences.lua):")
differences.print(write)
if short > 0 then write(("FAIL %d sequences have less than 30 requests"):format(short)) end
if empty > 0 and o.count >= 1000 then write(("FAIL %d cells of the table are empty"):format(empty)) end
if thin > 0 then write(("FAIL %d sequences succeed in less than half of their requests"):format(thin)) end
write(("ok   %d of %d sequences have the same answers on both"):format(done - failed, done))
local bad = (failed > 0 and 1 or 0) + (empty > 0 and o.count >= 1000 and 1 or 0) + (thin + short > 0 and 1 or 0)
write(("%d passed, %d failed"):format(3 - bad, bad))
loop.exit(bad == 0 and 0 or 1)
