-- Panels that ask for labels and values that nobody emits show nothing, or 100 % for ever, and nobody is told. So what README.md
-- lists under "Metrics" is held against running operators, in both directions: each family with just these labels and
-- these values, and no family that is not listed.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local reviewed = include "spec/lifecycle/reviewed.lua"

-- What a healthy cluster does not bring about. (spec/host/cluster_test.c has it.)
local RARE = { rest_client_request_retries_total = true }

-- The rows of README.md: name -> {labels = {name -> array of values, empty: any}}.
local function listed()
  local families, count = {}, 0
  for name, labels in assert(fs.read("README.md")):gmatch("\n| `([%l_]+)` | ([^|]-) |") do
    local row = {}
    for label, values in labels:gmatch("`([%l_]+)`([^`]*)") do
      row[label] = {}
      for value in (values:match("^%s*%((.-)%)") or ""):gmatch("[^,]+") do
        row[label][#row[label] + 1] = value:match("^%s*(.-)%s*$")
      end
    end
    families[name], count = row, count + 1
  end
  assert.truthy(count > 30, "README.md lists " .. count .. " families")
  return families
end

-- The text of /metrics: name -> {labels = set, values = {label -> set}}, histograms under their family's name.
local function emitted(text, into)
  local kinds = {}
  for name, kind in text:gmatch("# TYPE (%S+) (%S+)") do kinds[name] = kind end
  for line in text:gmatch("[^\n]+") do
    local name, labels = line:match("^([%w_:]+){?(.-)}? %S+$")
    if name and line:sub(1, 1) ~= "#" then
      local family = name:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
      family = kinds[name] and name or family
      into[family] = into[family] or { samples = json.array {} }
      local sample = {}
      for label, value in labels:gmatch('([%w_]+)="(.-)"') do
        if label ~= "le" then sample[label] = value end
      end
      into[family].samples[#into[family].samples + 1] = sample
    end
  end
  return into
end

local function words_of(set)
  local words = {}
  for word in pairs(set) do words[#words + 1] = word end
  table.sort(words)
  return table.concat(words, ", ")
end

local function has_value(family, label, value)
  for _, sample in ipairs(family.samples) do
    if sample[label] == value then return true end
  end
  return false
end

local function metrics_of(world)
  return world:ask_operator("/metrics").body
end

-- An operator of everything: it leads, reviews pods, has a shadow, and is led from objects to a source that does not answer.
local function what_an_operator_emits()
  local text
  reviewed.with({ words = { "--leader-elect", "--shadow", "policies" } }, function(world)
    world:deploy("m")
    world:phase("m", "Deployed")
    local path = world.folder .. "/settings.yaml"
    local settings = json.decode(fs.read(path))
    settings.source = { graphql = { endpoint = "http://127.0.0.1:1/api/graphql" } }
    assert(fs.write(path, json.encode(settings)))
    world.operator:signal("HUP")
    harness.eventually("the source is asked", 20, function()
      text = metrics_of(world)
      return text:find('moonphase_reloads_total{result="swapped"} 1', 1, true)
        and text:find('moonphase_input_requests_total{result="Unreachable"}', 1, true), text
    end)
    world:edit("m", { spec = { stop = true } })
    world:phase("m", "Stopped")
    text = metrics_of(world)
  end)
  return emitted(text, {})
end

describe("a running operator's metrics", function()
  it("have the names, labels and values that README.md lists, and there are no others (fault 45)", function()
    local families, all = listed(), what_an_operator_emits()
    for name, labels in pairs(families) do
      local family = all[name]
      assert.truthy(family or RARE[name], name .. " is listed and not emitted")
      for _, sample in ipairs(family and family.samples or {}) do
        assert.equal(words_of(labels), words_of(sample), "labels of " .. name)
      end
      for label, values in pairs(family and labels or {}) do
        for _, value in ipairs(values) do
          assert.truthy(has_value(family, label, value), ("%s has no %s=%q"):format(name, label, value))
        end
      end
    end
    for name in pairs(all) do assert.truthy(families[name], name .. " is emitted and not listed in README.md") end
  end)
end)

describe("a running operator's /stats", function()
  it("tell of what it uses: its Lua, its policies, turns of the loop, requests", function()
    harness.with({}, function(world)
      world:deploy "m"
      world:phase("m", "Deployed")
      local stats = json.decode(world:ask_operator("/stats").body)
      assert.truthy(stats.policy.calls > 0 and stats.policy.seconds > 0, "decisions, and the processor time they took")
      assert.truthy(stats.policy.seconds < 5, "a few decisions take milliseconds")
      assert.truthy(stats.memory.lua > 100000 and stats.policy.memory > 10000, "bytes")
      assert.truthy(stats.turns.count > 0 and stats.requests.writes > 0)
    end)
  end)
end)
