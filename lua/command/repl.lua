-- moonphase repl FILE [ARGS]: a Lua file in the host state, with everything the host offers and its words in `args`.

local options = require "options"

local SPEC = {
  about = "Run a Lua script with all that moonphase offers (lua/types/host.lua lists it).\n"
    .. "Its globals are its own; its words are in `args`; it may wait, and ends with loop.exit(STATUS) or its last line.",
  usage = "moonphase repl FILE [ARGS]",
  example = "moonphase repl look.lua --anything",
}

-- Setting a global sets the script's own; reading one that does not exist still raises, by way of _G.
local function environment()
  return setmetatable({}, { __index = _G })
end

-- The script as a function, or a status: outside of what runs it, so that its errors keep their traceback.
local load_script = options.main(function(words)
  local path = words[1]
  if path == nil or path:sub(1, 1) == "-" then
    options.parse({ path }, SPEC)
    options.fail(2, "there is no interactive prompt yet; moonphase repl FILE [ARGS] runs a script")
  end
  local source, why = fs.read(path)
  if not source then options.fail(1, why) end
  local chunk, trouble = load((source:gsub("^#[^\n]*", "")), "@" .. path, "t", environment())
  if not chunk then options.fail(1, trouble) end
  return chunk
end)

return function(words)
  local script = load_script(words)
  if type(script) ~= "function" then return script end
  local rest = table.move(words, 2, #words, 1, {})
  rawset(_G, "args", rest)
  local result = script(table.unpack(rest))
  return math.type(result) == "integer" and result or result == false and 1 or 0
end
