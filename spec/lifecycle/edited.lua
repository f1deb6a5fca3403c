-- For specs that edit a policies folder while an operator runs with it.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"

local M = {}

-- The words of a model that serves, as they stand in phases.lua.
M.DEPLOYED = '"Deployment is deployed and available now"'

function M.changed(text, what, old, new)
  local from, to = text:find(old, 1, true)
  assert(from, what .. " has no " .. old .. " any more: this spec edits it")
  return text:sub(1, from - 1) .. new .. text:sub(to + 1)
end

-- Replace text in a file, as an editor saves: by a new file that is renamed.
function M.edit(folder, file, old, new)
  assert(fs.write(folder .. "/" .. file, M.changed(assert(fs.read(folder .. "/" .. file)), file, old, new)))
end

-- The built-in policies without their specs, in a folder of the world, with `old` replaced by `new` in one file (nil: as they are).
function M.folder_of(world, name, in_file, old, new)
  local folder = world.folder .. "/" .. name
  assert(fs.make_folder(folder))
  assert(fs.make_folder(folder .. "/children"))
  for _, asset in ipairs(moonphase.assets("policies/")) do
    local file = asset:sub(#"policies/" + 1)
    if not file:match("_spec%.lua$") and not file:match("_cases%.yaml$") then assert(fs.write(folder .. "/" .. file, moonphase.read_asset(asset))) end
  end
  if in_file then M.edit(folder, in_file, old, new) end
  return folder
end

function M.log_has(world, text)
  return (fs.read(world.log) or ""):find(text, 1, true) ~= nil
end

function M.logged(world, text, seconds)
  harness.eventually("the log says: " .. text, seconds or 20, function() return M.log_has(world, text) end)
end

function M.verbose(world)
  local answer = world:ask_operator "/readyz?verbose"
  return answer and answer.body or ""
end

function M.message_is(world, name, message, seconds)
  harness.eventually(name .. " says " .. message, seconds or 20, function()
    local status = world:get(name).status or {}
    return status.message == message, tostring(status.message)
  end)
end

return M
