-- The annotation files in lua/types/: what editors complete and warn by.

local include = require "include"
local parser = require "syntax.parser"

describe("the annotation files", function()
  it("that are generated are fresh: run spec/types after an edit of crds/ or policies/settings.yaml", function()
    for path, text in pairs(include("spec/types.lua")()) do
      assert.equal(text, (fs.read(path)), path .. " is not fresh: run spec/types")
    end
  end)

  it("are found by lua-language-server where the repository is opened, by nothing but their place", function()
    assert.same({ ["workspace.library"] = { "lua/types" } }, assert(json.decode(assert(fs.read ".luarc.json"))))
  end)

  it("are Lua that declares and does nothing", function()
    for _, name in ipairs(assert(fs.list "lua/types")) do
      local text = assert(fs.read("lua/types/" .. name))
      assert.contains("---@meta", text:sub(1, 8), name)
      assert.truthy(parser.parse(text), name)
    end
  end)

  it("name each class once, and no class that there is not", function()
    local classes, used = { table = true, any = true, string = true, number = true, integer = true, boolean = true, fun = true }, {}
    for _, name in ipairs(assert(fs.list "lua/types")) do
      local text = assert(fs.read("lua/types/" .. name))
      for class in text:gmatch "%-%-%-@class ([%w_]+)" do
        -- the host's Lua has some names that policies have too
        assert.truthy(not classes[class] or name == "host.lua" or classes[class] == "host.lua", class .. " is declared twice: " .. name)
        classes[class] = name
      end
      for alias in text:gmatch "%-%-%-@alias ([%w_]+)" do classes[alias] = name end
      for kind in text:gmatch "%-%-%-@field %S+ ([%u][%w_]+)" do used[kind] = name end
    end
    for kind, name in pairs(used) do assert.truthy(classes[kind], ("%s names %s, which is no class"):format(name, kind)) end
  end)

  it("describe every word of the prelude", function()
    local text = assert(fs.read "lua/types/policy.lua")
    local generation = assert(policy.load { files = { ["p.lua"] = [[return { words = function()
      local names = json.array {}
      for name, value in pairs(require "moonphase.prelude") do
        if type(value) ~= "table" then names[#names + 1] = name end
        for field in pairs(type(value) == "table" and value or {}) do names[#names + 1] = name .. "." .. field end
      end
      return names
    end }]] } })
    for _, name in ipairs(assert(generation:call("p", "words"))) do
      local last = name:match "[^.]+$"
      local is_there = text:find("function " .. name .. "(", 1, true) or text:find("\n" .. name .. " =", 1, true) or text:find(last .. " = %d")
      assert.truthy(is_there, "lua/types/policy.lua does not describe " .. name)
    end
    generation:close()
  end)

  it("describe every word of specs", function()
    local text = assert(fs.read "lua/types/spec.lua")
    for name in pairs(getmetatable(require("policy.spec").assert).__index) do
      assert.matches("assert%." .. name .. "[%s,(]", text)
    end
    for _, name in ipairs { "describe", "it", "before_each" } do assert.contains("function " .. name .. "(", text) end
  end)

  it("list what is seen as lint knows it", function()
    local text = assert(fs.read "lua/types/policy.lua"):match "@class Seen\n(.-)\n\n"
    local some = { api_version = "v1", kind = "Some", keep = "whole" }
    local declared = { kind = some, children = {}, watches = { pods = some, replicasets = some, events = some },
      inputs = { group = some, instance_type = some } }
    local seen = require("lint.schema").new({}):seen(declared, {})
    local count = 0
    for field in text:gmatch "%-%-%-@field ([%w_]+)" do
      assert.truthy(seen.fields[field], "lint/schema.lua does not know seen." .. field)
      count = count + 1
    end
    for field in pairs(seen.fields) do
      assert.truthy(text:find("@field " .. field .. " ", 1, true), "lua/types/policy.lua does not describe seen." .. field)
    end
    assert.truthy(count > 10)
  end)
end)
