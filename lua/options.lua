-- The words behind a subcommand: options declared as a table, help made from it.
--
--   local options = require "options"
--   local o = options.parse(args, {
--     usage = "moonphase run [options]", about = "The operator.",
--     { "kubeconfig", "PATH", "the kubeconfig file" },
--     { "namespace", "NAME", "serve this namespace (repeats)", many = true },
--     { "dry-run", nil, "write nothing" },
--     { "f", "FILE", ... }                       -- one letter: -f FILE
--     positional = "NAME", example = "moonphase run --all-namespaces",
--   })
--
-- o.kubeconfig, o.namespace (array), o.dry_run (true), o[1] ... the other words. Wrong usage prints
-- one sentence and ends with status 2; --help prints one screen and ends with 0.

local M = {}

local function dashes(name)
  return #name == 1 and "-" .. name or "--" .. name
end

local function help(spec)
  local out = { spec.about, "", "usage: " .. spec.usage, "" }
  for _, option in ipairs(spec) do
    local left = "  " .. dashes(option[1]) .. (option[2] and " " .. option[2] or "")
    if #left > 26 then
      out[#out + 1] = left
      left = ""
    end
    out[#out + 1] = ("%-27s %s"):format(left, option[3])
  end
  if spec.example then out[#out + 1] = "\nexample:\n  " .. spec.example end
  return table.concat(out, "\n") .. "\n"
end

local function leave(status, text)
  (status == 0 and io.stdout or io.stderr):write(text)
  error { exit = status }
end

-- End the command with a sentence on standard error.
function M.fail(status, text)
  leave(status, "moonphase: " .. text .. "\n")
end

-- Run a command's body; a leave() inside ends it with its status.
function M.main(body)
  return function(words)
    local result = table.pack(pcall(body, words))
    if result[1] then return table.unpack(result, 2, result.n) end
    local failure = result[2]
    if type(failure) == "table" and failure.exit then return failure.exit end
    error(failure, 0)
  end
end

function M.parse(words, spec)
  local by_name, result = {}, {}
  for _, option in ipairs(spec) do
    by_name[dashes(option[1])] = option
    if option.many then result[option[1]:gsub("-", "_")] = {} end
  end
  local function wrong(text)
    leave(2, "moonphase: " .. text .. "\nusage: " .. spec.usage .. "\nTry --help.\n")
  end
  local i = 1
  while i <= #words do
    local word = words[i]
    if word == "--help" or word == "-h" then leave(0, help(spec)) end
    if word == "--" and spec.rest then
      for j = i + 1, #words do result[#result + 1] = words[j] end
      break
    end
    local name, inline = word:match("^(%-%-[%w-]+)=(.*)$")
    local option = by_name[name or word]
    if option then
      local key = option[1]:gsub("-", "_")
      local value = true
      if option[2] then
        value = inline
        if value == nil then
          i = i + 1
          value = words[i]
          if value and by_name[value] then value = nil end -- a forgotten value, not the next option's name
        end
        if value == nil then wrong(dashes(option[1]) .. " needs a value: " .. option[2]) end
      elseif inline then
        wrong(dashes(option[1]) .. " takes no value")
      end
      if option.many then table.insert(result[key], value) else result[key] = value end
    elseif word:sub(1, 1) == "-" and #word > 1 then
      wrong("there is no option " .. word)
    else
      if not spec.positional then wrong("there is nothing to do with the word '" .. word .. "'") end
      result[#result + 1] = word
    end
    i = i + 1
  end
  return result
end

return M
