-- A policy folder as people have it: a checkout, a mounted ConfigMap, one with mistakes; and the settings over it.

local policies = require "policies"

-- The files of `files` in a folder of our own, given to body.
local function with_folder(files, body)
  local dir = assert(fs.temporary())
  for name, text in pairs(files) do
    local folder = name:match("^(.*)/")
    if folder then assert(fs.make_folder(dir .. "/" .. folder)) end
    assert(fs.write(dir .. "/" .. name, text))
  end
  local ok, failure = pcall(body, dir)
  for name in pairs(files) do fs.remove(dir .. "/" .. name) end
  for name in pairs(files) do
    if name:match("^(.*)/") then fs.remove(dir .. "/" .. name:match("^(.*)/")) end
  end
  fs.remove(dir)
  if not ok then error(failure, 0) end
end

local USES_CHILD = "local d = require 'children.deployment' return { decide = function() return { word = d } end }"

local function word_of(dir)
  local generation = assert(policies.load(dir))
  return assert(generation:call("phdeployment", "decide", {})).word
end

describe("a policies folder", function()
  it("may have children/deployment.lua", function()
    with_folder({ ["phdeployment.lua"] = USES_CHILD, ["children/deployment.lua"] = "return 'folder'" }, function(dir)
      assert.equal("folder", word_of(dir))
    end)
  end)

  it("may be a mounted ConfigMap: flat keys, and hidden ..data folders that are not read", function()
    with_folder({ ["phdeployment.lua"] = USES_CHILD, ["children.deployment.lua"] = "return 'flat'",
      ["..data/phdeployment.lua"] = "this is not Lua", [".hidden.lua"] = "nor is this" }, function(dir)
      assert.equal("flat", word_of(dir))
      assert.is_nil(policies.files(dir)[".hidden.lua"])
    end)
  end)

  it("keeps only what is Lua or YAML", function()
    with_folder({ ["phdeployment.lua"] = "return {}", ["README.md"] = "x", ["settings.yaml"] = "a: 1" }, function(dir)
      local files = policies.files(dir)
      assert.is_nil(files["README.md"])
      assert.equal("a: 1", files["settings.yaml"])
    end)
  end)

  it("without phdeployment.lua, or that is not there, is refused with its name", function()
    with_folder({ ["other.lua"] = "return {}" }, function(dir)
      local files, why = policies.files(dir)
      assert.is_nil(files)
      assert.contains(dir .. " holds no phdeployment.lua", why)
    end)
    local files, why = policies.files "/nonexistent/policies"
    assert.is_nil(files)
    assert.contains("the policies folder cannot be read", why)
  end)

  it("may have been saved by an editor that puts a byte order mark in front", function()
    with_folder({ ["phdeployment.lua"] = "\xEF\xBB\xBFreturn { decide = function() return { word = 'marked' } end }" }, function(dir)
      assert.equal("marked", word_of(dir))
    end)
  end)

  it("with a pipe or a device in it is refused, and nobody waits for what comes out of it", function()
    with_folder({ ["phdeployment.lua"] = "return {}" }, function(dir)
      assert(fs.make_folder(dir .. "/children"))
      for _, path in ipairs { "rows.lua", "children/rows.lua" } do
        assert.equal(0, process.run({ argv = { "ln", "-s", "/dev/zero", dir .. "/" .. path } }).status)
        local files, why = policies.files(dir)
        assert.is_nil(files)
        assert.equal(path .. " is a pipe or a device: policies are files", why)
        assert(fs.remove(dir .. "/" .. path))
        assert.equal(0, process.run({ argv = { "mkfifo", dir .. "/" .. path } }).status)
        assert.equal(why, select(2, policies.files(dir)))
        assert(fs.remove(dir .. "/" .. path))
      end
      assert(fs.remove(dir .. "/children"))
    end)
  end)

  it("that is not UTF-8 is refused with the line", function()
    with_folder({ ["phdeployment.lua"] = "return {}\n-- caf\xE9\n" }, function(dir)
      local files, why = policies.files(dir)
      assert.is_nil(files)
      assert.equal("phdeployment.lua:2: here is a letter that is not UTF-8 (byte 0xE9): save the file as UTF-8", why)
    end)
  end)

  it("nested deeper than Lua reads is refused with the file's name", function()
    with_folder({ ["phdeployment.lua"] = "return require 'deep'", ["deep.lua"] = "return " .. ("{"):rep(5000) }, function(dir)
      local generation, why = policies.load(dir)
      assert.is_nil(generation)
      assert.contains("deep.lua:1: it cannot be read: it is nested too deep", why)
    end)
  end)

  it("with a mistake is refused with file, line and the line's text", function()
    with_folder({ ["phdeployment.lua"] = "\nlocal x = = 1" }, function(dir)
      local generation, why = policies.load(dir)
      assert.is_nil(generation)
      assert.contains("phdeployment.lua:2:", why)
      assert.contains("local x = = 1", why)
    end)
  end)
end)

describe("settings", function()
  local FILES = { ["settings.yaml"] = "a: 1\nroute: Ingress\nbox: {inner: 1, other: 2}\nfree: {}\nlist: [1]\n" }
  local function over(text, files)
    local result
    with_folder({ ["over.yaml"] = text }, function(dir) result = table.pack(policies.settings(files or FILES, dir .. "/over.yaml")) end)
    return table.unpack(result, 1, 2)
  end

  it("are overlaid key by key; lists and values replace", function()
    local settings = assert(over "box: {inner: 5}\nlist: [7, 8]\n")
    assert.same({ a = 1, route = "Ingress", box = { inner = 5, other = 2 }, free = {}, list = { 7, 8 } }, settings)
  end)

  it("that are unknown are refused, all by their paths", function()
    local settings, why = over "box: {innner: 5}\nroutes: x\n"
    assert.is_nil(settings)
    assert.contains("unknown setting box.innner, routes", why)
  end)

  it("may have any key in a map that is empty by default", function()
    assert.same({ mine = "x" }, assert(over "free: {mine: x}\n").free)
  end)

  it("of the wrong shape are refused", function()
    for text, sentence in pairs { ["box: 5"] = "box must be a map", ["box:"] = "box must be a map", ["list: {a: 1}"] = "list must be a list",
      ["- a"] = "settings are a map", ["a: 1\n---\nb: 2"] = "2 documents", ["a: [1"] = "over.yaml:2: " } do
      local settings, why = over(text)
      assert.is_nil(settings, text)
      assert.contains(sentence, why)
    end
  end)

  it("that are no YAML are told with file and line, and in words that say what to do", function()
    for text, words in pairs {
      ["box:\n\tinner: 1\n"] = { 2, "a tab: YAML is indented with spaces only" },
      ["box:\n  inner: 1\n   other: 2\n"] = { 3, "a second `:` in a value" },
      ["box:\n   inner: 1\n  other: 2\n"] = { 3, "names that belong together begin in the same column" },
      ["box\na: 1\n"] = { 2, "a second `:` in a value" },
      ["a: 1\nroute\n"] = { 3, "a name without a value, here or in the line above" },
    } do
      local dir_of
      with_folder({ ["over.yaml"] = text }, function(dir)
        local settings, why, place = policies.settings(FILES, dir .. "/over.yaml")
        assert.is_nil(settings)
        assert.contains(words[2], why)
        assert.equal(words[1], place.line, text)
        assert.equal(dir .. "/over.yaml", place.file)
        dir_of = dir
      end)
      assert.is_not_nil(dir_of)
    end
  end)

  it("of another type say what stands there, and what they are without", function()
    local files = { ["settings.yaml"] = "grace: {image: 10}\nname: x\n" }
    local _, why, place = nil, nil, nil
    with_folder({ ["over.yaml"] = "name: y\ngrace:\n  image: 10s\n" }, function(dir)
      _, why, place = policies.settings(files, dir .. "/over.yaml")
    end)
    assert.contains('over.yaml:3: the setting grace.image must be a number, not the text "10s": it is written without a unit', why)
    assert.equal("image: 10s", place.source)
    _, why = over("name:\n", files)
    assert.contains("the setting name has no value: it must be text", why)
  end)

  it("that are gone from the policies are not blamed on the administrator's file", function()
    local _, why = over("a: 1\n", { ["settings.yaml"] = "" })
    assert.contains("settings.yaml of the policies is empty", why)
  end)

  it("may be empty", function()
    assert.equal(1, assert(over "").a)
    assert.equal(1, assert(over "# nothing yet\n").a)
    assert.same({}, assert(over("", {})))
  end)

  it("that cannot be read are named", function()
    local settings, why = policies.settings(FILES, "/nonexistent/settings.yaml")
    assert.is_nil(settings)
    assert.contains("--settings /nonexistent/settings.yaml cannot be read", why)
  end)
end)

it("the built-in policies load, with their settings", function()
  local generation, settings = policies.load()
  assert(generation, settings)
  assert.is_not_nil(settings.rollout)
end)
