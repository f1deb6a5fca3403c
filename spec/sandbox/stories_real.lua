-- Plays stories on a real control plane and on the sandbox, and compares what both show after each step:
--
--   spec/cluster/kube --quiet -- build/moonphase --lua lua repl spec/sandbox/stories_real.lua
--     [--only TEXT] [--random N] [--seed S] [--steps 8] [--write]
--
-- The stories are those of stories/stories.lua and N random ones from seed S on. With --write, what the real one showed of the former
-- is kept in stories/real.txt, from which controllers_spec.lua knows it on machines without a control plane.

local include = require "include"
local random = include "spec/sandbox/stories/random.lua"
local record = include "spec/sandbox/stories/record.lua"
local sides = include "spec/sandbox/stories/sides.lua"
local stories = include "spec/sandbox/stories/stories.lua"

local options = { random = 0, seed = os.time() % 100000, steps = 8 }
for index, word in ipairs(args) do
  if word == "--write" then options.write = true end
  for _, name in ipairs { "only", "random", "seed", "steps" } do
    if word == "--" .. name then options[name] = tonumber(args[index + 1]) or args[index + 1] end
  end
end

local all = {}
for number, story in ipairs(stories) do
  if not options.only or story[1]:find(options.only, 1, true) then all[#all + 1] = { number, story } end
end
for index = 1, options.random do
  local seed = options.seed + index - 1
  all[#all + 1] = { seed, random.story(seed, options.steps) }
end

local real, seen, wrong = sides.real(assert(kube.open {})), {}, 0
for _, one in ipairs(all) do
  local number, story = one[1], one[2]
  local views = sides.play(real, number, story)
  if not story.words then seen[#seen + 1] = { name = story[1], views = views } end
  local differences = record.compare(views, sides.play(sides.sandbox(number), number, story), story.loose)
  print(("%s %s"):format(differences and "DIFFERENT" or "same     ", story[1]))
  if differences then
    wrong = wrong + 1
    for index, words in ipairs(story.words or {}) do print(("  step %d: %s"):format(index, words)) end
    print(differences)
  end
end
if options.write and not options.only then assert(fs.write(record.PATH, record.text(seen))) end
print(("%d stories, %d different; random ones from seed %d"):format(#all, wrong, options.seed))
loop.exit(wrong == 0 and 0 or 1)
