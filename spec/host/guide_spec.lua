-- The guide in policies/README.md, done as it is written: its edits on a copy of the folder, its commands in a shell, and what they print
-- compared with what is shown there.
--
-- ```console: "$ COMMAND" and what it prints; "..." alone stands for any lines, inside of a line for any text, and a line number of a
-- file for any number. ```diff: edits of files, each after its "--- FILE"; " " stays, "-" goes, "+" comes. ```sh: the cluster
-- that is planned against, which is started here. Each "### " begins with a fresh copy. GUIDE_SHOW=1 prints what the commands print.

local include = require "include"
local api_words = include "spec/cluster/api.lua"

local GUIDE = "policies/README.md"
local SECTION = "## Five edits"

local root = assert(process.run { argv = { "pwd" } }).output:gsub("\n$", "")
local folder, world

-- ---------------------------------------------------------------- reading the guide

-- The guide's sections: {title, blocks = {{kind, line, lines}...}}; the first is what stands before "### ".
local function sections_of(text)
  local sections, block, inside, number = {}, nil, false, 0
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local opened = line:match "^```(%w*)$"
    if block and opened then
      block = nil
    elseif block then
      block.lines[#block.lines + 1] = line
    elseif line:sub(1, 3) == "## " then
      inside = line:find(SECTION, 1, true) == 1
      if inside then sections[1] = { title = "before the first edit", blocks = {} } end
    elseif inside and line:match "^### " then
      sections[#sections + 1] = { title = line:sub(5), blocks = {} }
    elseif inside and opened then
      block = { kind = opened, line = number, lines = {} }
      local section = sections[#sections]
      section.blocks[#section.blocks + 1] = block
    end
  end
  return sections
end

-- ---------------------------------------------------------------- edits

-- The block's edits: {file, old, new} each, in order.
local function edits_of(block)
  local edits, edit = {}, nil
  local function add(old, new, line)
    if old then edit.old[#edit.old + 1] = line end
    if new then edit.new[#edit.new + 1] = line end
  end
  for _, line in ipairs(block.lines) do
    local file = line:match "^%-%-%- (%S+)$"
    if file then
      edit = { file = file, old = {}, new = {} }
      edits[#edits + 1] = edit
    else
      local sign = line:sub(1, 1)
      add(sign ~= "+", sign ~= "-", line:sub(2))
    end
  end
  return edits
end

local function apply(edit, at)
  local path = folder .. "/" .. edit.file
  local text = assert(fs.read(path))
  local old, new = table.concat(edit.old, "\n") .. "\n", table.concat(edit.new, "\n") .. "\n"
  local from, to = text:find(old, 1, true)
  assert(from, ("%s:%d: %s has no such lines any more:\n%s"):format(GUIDE, at, edit.file, old))
  assert(not text:find(old, from + 1, true), ("%s:%d: %s has these lines twice:\n%s"):format(GUIDE, at, edit.file, old))
  assert(fs.write(path, text:sub(1, from - 1) .. new .. text:sub(to + 1)))
end

-- ---------------------------------------------------------------- commands

local function shell(command)
  return assert(process.run { argv = { "sh", "-c", command }, directory = folder, timeout = 300,
    env = { PATH = folder .. "/bin:" .. process.env "PATH", KUBECONFIG = folder .. "/sandbox.kubeconfig" } })
end

local function pattern_of(line)
  local plain = line:gsub("%s+$", ""):gsub("%.%.%.", "\0"):gsub("%p", "%%%0")
  return "^" .. plain:gsub("(%%%.%a+%%:)%d+", "%1%%d+"):gsub("%z", ".-") .. "%s*$"
end

-- Whether these lines are what the block shows from `i` on; else the line that is missing.
local function differs(shown, lines)
  local at = 1
  local skips = false
  for _, line in ipairs(shown) do
    if line == "..." then
      skips = true
    else
      local pattern, found = pattern_of(line), nil
      for n = at, skips and #lines or math.min(at, #lines) do
        if lines[n]:find(pattern) then
          found = n
          break
        end
      end
      if not found then return line end
      at, skips = found + 1, false
    end
  end
  if at <= #lines and not skips then return "(the end)" end
end

local function lines_of(text)
  local lines = {}
  for line in text:gmatch "[^\n]+" do lines[#lines + 1] = line end
  return lines
end

local function compare(command, shown, at)
  local result = shell(command)
  if process.env "GUIDE_SHOW" then io.write("$ ", command, "\n", result.output, result.errors) end
  local missing = differs(shown, lines_of(result.output .. result.errors))
  if missing then
    error(("%s:%d: `%s` does not print the line\n%s\nbut (status %d)\n%s"):format(GUIDE, at, command, missing, result.status,
      result.output .. result.errors), 0)
  end
end

local function run_commands(block)
  local command, shown, at = nil, {}, block.line
  for i, line in ipairs(block.lines) do
    local next_one = line:match "^%$ (.+)$"
    if next_one then
      if command then compare(command, shown, at) end
      command, shown, at = next_one, {}, block.line + i
    elseif line ~= "" then
      shown[#shown + 1] = line
    end
  end
  if command then compare(command, shown, at) end
end

-- ---------------------------------------------------------------- the cluster

local function spawn(command)
  local words = command:gsub("%s*&$", "")
  return assert(process.spawn { argv = { "sh", "-c", "exec " .. words .. " >/dev/null 2>" .. folder .. "/err" }, directory = folder,
    env = { PATH = folder .. "/bin:" .. process.env "PATH", KUBECONFIG = folder .. "/sandbox.kubeconfig" } })
end

local function wait_for_model(api)
  api_words.eventually("the guide's model is Deployed", 60, function()
    local object = api:list("PhDeployment", "hub")[1]
    return object and (object.status or {}).phase == "Deployed", object and json.encode(object.status or {})
  end)
end

-- `kubectl apply -f PATH`, which is not on every machine.
local function kubectl_apply(api, path)
  for _, object in ipairs(api_words.manifests(root .. "/" .. path)) do api:apply(object) end
end

local function start_cluster(block)
  world = { children = {} }
  for _, line in ipairs(block.lines) do
    local applied = line:match "^kubectl apply %-f (%S+)$"
    if applied then
      world.api = api_words.new(assert(kube.open { kubeconfig = folder .. "/sandbox.kubeconfig" }))
      kubectl_apply(world.api, applied)
    elseif line:match "&$" then
      world.children[#world.children + 1] = spawn(line)
      if line:match "^moonphase sandbox" then
        api_words.eventually("the sandbox is there", 20, function() return fs.kind(folder .. "/sandbox.kubeconfig") == "file" end)
      end
    else
      assert.equal(0, shell(line).status, line)
    end
  end
  wait_for_model(world.api)
  -- an operator that goes on would answer to edits of nobody; the model stays as it is
  world.children[#world.children]:signal "TERM"
  world.children[#world.children]:wait(30)
end

-- ---------------------------------------------------------------- the tests

local RUNS = {
  console = run_commands,
  sh = start_cluster,
  diff = function(block)
    for _, edit in ipairs(edits_of(block)) do apply(edit, block.line) end
  end,
}

local function open()
  if folder then return end
  folder = assert(fs.temporary())
  assert(fs.make_folder(folder .. "/bin"))
  local program = process.env "MOONPHASE" or "build/moonphase"
  if program:sub(1, 1) ~= "/" then program = root .. "/" .. program end
  assert(fs.write(folder .. "/bin/moonphase", ('#!/bin/sh\nexec %s --lua %s/lua "$@"\n'):format(program, root)))
  assert.equal(0, shell("chmod +x bin/moonphase && cp -r " .. root .. "/policies policies").status)
end

local sections = sections_of(assert(fs.read(GUIDE)))

describe("the guide", function()
  for i, section in ipairs(sections) do
    it("holds: " .. section.title, function()
      open()
      if i > 1 then assert.equal(0, shell("rm -rf mine && cp -r policies mine").status) end
      for _, block in ipairs(section.blocks) do
        assert(RUNS[block.kind], ("%s:%d: a block of the guide is console, diff or sh"):format(GUIDE, block.line))(block)
      end
    end)
  end

  it("has five edits, each with its check and its plan", function()
    local with_both = 0
    for i = 2, #sections do
      local text = ""
      for _, block in ipairs(sections[i].blocks) do text = text .. table.concat(block.lines, "\n") .. "\n" end
      if text:find("$ moonphase check mine", 1, true) and text:find("$ moonphase plan mine", 1, true) then with_both = with_both + 1 end
    end
    assert.equal(5, with_both)
  end)

  it("leaves nothing behind", function()
    for _, child in ipairs(world and world.children or {}) do child:signal "TERM" end
    if folder then process.run { argv = { "rm", "-rf", folder } } end
    folder = nil
  end)
end)
