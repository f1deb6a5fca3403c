-- Stories that nobody thought of: random Deployments and random changes to them, from a seed.
--
-- Only what comes of them in the end is compared (`loose`): in how many steps a rollout gets there depends on which pod is ready first.

local M = {}

local BEHAVIOURS = { "runs", "runs", "runs", "never ready", "missing" }
-- What may befall an image that pods run: the played kubelet takes a missing one from under them, a real one does not.
local CHANGED = { "runs", "never ready" }

-- Knuth's linear congruential generator: the same story for the same seed, everywhere.
local function generator(seed)
  local state = seed * 2654435761 & 0xFFFFFFFF
  return function(n)
    state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
    return (state >> 8) % n + 1
  end
end

local function amount(pick) return ({ 0, 1, 2, 3, "25%", "50%", "100%" })[pick(7)] end

local function strategy(pick)
  if pick(4) == 1 then return { type = "Recreate", rollingUpdate = json.null } end
  local surge, unavailable = amount(pick), amount(pick)
  if surge == 0 and unavailable == 0 then surge = 1 end
  return { type = "RollingUpdate", rollingUpdate = { maxSurge = surge, maxUnavailable = unavailable } }
end

local function template(pick)
  return { spec = { containers = json.array { { name = "main", image = "reg/app:v" .. pick(4),
    resources = { requests = { cpu = ({ "100m", "100m", "500m", "9" })[pick(4)] } } } } } }
end

-- One change: its words and the step.
local CHANGES = {
  function(pick) local count = pick(7) - 1 return "replicas " .. count, { replicas = count } end,
  function(pick) local one = template(pick) return "template " .. json.encode(one), { template = one } end,
  function(pick) local one = template(pick) return "template " .. json.encode(one), { template = one } end,
  function(pick) local one = strategy(pick) return "strategy " .. json.encode(one), { strategy = one } end,
  function(pick) local on = pick(2) == 1 return "paused " .. tostring(on), { paused = on } end,
  function(pick) local count = pick(3) - 1 return "history " .. count, { revisionHistoryLimit = count } end,
  function(pick)
    local count, one = pick(7) - 1, template(pick)
    return "replicas " .. count .. " and template " .. json.encode(one), { replicas = count, template = one }
  end,
}

local function image_step(pick)
  local image, behaviour = "reg/app:v" .. pick(4), CHANGED[pick(#CHANGED)]
  return image .. " " .. behaviour, function(t) t:image(image, behaviour) end
end

-- A story of `length` steps; its words are in story.words, step by step.
function M.story(seed, length)
  local pick = generator(seed)
  local story = { ("random story %d"):format(seed), loose = true, words = {} }
  local spec = { replicas = pick(6) - 1, strategy = strategy(pick) }
  if spec.strategy.rollingUpdate == json.null then spec.strategy.rollingUpdate = nil end
  local behaviours = {}
  for version = 2, 4 do behaviours[version] = BEHAVIOURS[pick(#BEHAVIOURS)] end
  story[2] = function(t)
    for version = 2, 4 do t:image("reg/app:v" .. version, behaviours[version]) end
    t:deploy("app", function(object)
      for name, value in pairs(spec) do object.spec[name] = value end
    end)
  end
  story.words[1] = json.encode(spec) .. " v2 v3 v4: " .. table.concat(behaviours, ", ", 2, 4)
  for index = 3, length + 1 do
    if pick(4) == 1 then
      story.words[index - 1], story[index] = image_step(pick)
    else
      local words, change = CHANGES[pick(#CHANGES)](pick)
      story.words[index - 1] = words
      story[index] = function(t) t:patch("app", { spec = change }) end
    end
  end
  return story
end

return M
