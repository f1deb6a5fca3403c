-- The command line: what is wrong is said in one sentence with status 2.

local options = require "options"

local SPEC = { about = "A thing.", usage = "moonphase thing", example = "moonphase thing --name x",
  { "name", "NAME", "a name" }, { "many", "NAME", "several", many = true }, { "dry-run", nil, "write nothing" },
  { "f", "FILE", "a file" }, positional = "WORD" }

local function parsed(...) return options.parse({ ... }, SPEC) end

describe("options", function()
  it("give values by name, dashes as underscores, and the other words in order", function()
    local o = parsed("a", "--name", "x", "--dry-run", "--many=1", "--many", "2", "-f", "-", "b")
    assert.equal("x", o.name)
    assert.is_true(o.dry_run)
    assert.same({ "1", "2" }, o.many)
    assert.equal("-", o.f)
    assert.equal("a b", table.concat(o, " "))
  end)

  it("that may repeat are an empty list when not given", function()
    assert.same({}, parsed().many)
  end)

  it("may have an empty value, and one with an equals sign", function()
    assert.equal("", parsed("--name", "").name)
    assert.equal("a=b", parsed("--name=a=b").name)
  end)

  it("behind -- are words where a command takes the rest", function()
    local rest = setmetatable({ rest = true }, { __index = SPEC })
    assert.equal("--name x", table.concat(options.parse({ "--", "--name", "x" }, rest), " "))
  end)
end)

-- What a user of the program meets: status, output and errors of the program itself.
local function run(...)
  local result, why = process.run { argv = { process.env "MOONPHASE" or "build/moonphase", ... }, timeout = 20, input = "",
    env = { KUBECONFIG = "/nonexistent/config" } }
  assert(result, why)
  return result
end

describe("wrong usage ends with status 2 and one sentence", function()
  for words, sentence in pairs {
    ["run --nope"] = "there is no option --nope",
    ["run word"] = "there is nothing to do with the word 'word'",
    ["run --namespace"] = "--namespace needs a value: NAME",
    ["run --policies --dry-run"] = "--policies needs a value: DIR",
    ["run --dry-run=yes"] = "--dry-run takes no value",
    ["run --all-namespaces --namespace a"] = "exclude each other",
    ["run --namespace A/b"] = "'A/b' is no name of a namespace",
    ["run --log-level loud"] = "--log-level must be one of debug, info, warn, error, not 'loud'",
    ["run --log-format=xml"] = "--log-format must be one of text, json, not 'xml'",
    ["run --resync-seconds x"] = "--resync-seconds must be a number",
    ["run --resync-seconds 0"] = "--resync-seconds must be a number",
    ["render"] = "render needs a file",
    ["render -f"] = "-f needs a value: FILE",
    ["render -f x -o xml"] = "-o must be yaml or json",
    ["explain"] = "explain needs the NAME",
    ["explain a b"] = "explain needs the NAME of one PhDeployment, not of 2",
    ["explain m --shadow"] = "--shadow is of a running operator: --control-socket PATH",
    ["explain m -n a --namespace b"] = "-n and --namespace say two things",
    ["rbac"] = "rbac needs --service-account NAMESPACE/NAME",
    ["rbac --service-account hub/m --all-namespaces --namespace a"] = "exclude each other",
    ["rbac --service-account hub/m --lease x"] = "--lease goes with --leader-elect",
    ["rbac --service-account hub/m --namespace A"] = "is no name of a namespace",
    ["apply"] = "apply needs the FILE of a saved plan",
    ["apply a b"] = "apply needs the FILE of a saved plan",
    ["frobnicate"] = "there is no command",
    ["--lua /nonexistent/x run"] = "--lua: no host's library is in /nonexistent/x: it has a folder",
  } do
    it(words, function()
      local argv = {}
      for word in words:gmatch("%S+") do argv[#argv + 1] = word end
      local result = run(table.unpack(argv))
      assert.equal(2, result.status, result.errors)
      assert.contains(sentence, result.errors)
      assert.is_nil(result.errors:find("traceback", 1, true))
      assert.equal("", result.output)
    end)
  end
end)

it("wrong usage of plan is status 1: 2 says that something would change", function()
  for words, sentence in pairs { ["a b"] = "plan looks at one folder", ["--nope"] = "there is no option --nope", ["-o yaml"] = "-o must be text or json",
    ["--all-namespaces --namespace a"] = "exclude each other" } do
    local argv = {}
    for word in words:gmatch("%S+") do argv[#argv + 1] = word end
    local result = run("plan", table.unpack(argv))
    assert.equal(1, result.status, result.errors)
    assert.contains(sentence, result.errors)
  end
end)

it("files that cannot be used end it at once, before it serves anything", function()
  for option, sentence in pairs { policies = "cannot list /nonexistent/x", settings = "--settings /nonexistent/x cannot be read", shadow = "--shadow: ",
    record = "--record: cannot", ["env-file"] = "--env-file: cannot open /nonexistent/x" } do
    local result = run("run", "--sandbox", "--" .. option, "/nonexistent/x")
    assert.equal(1, result.status, result.errors)
    assert.contains(sentence, result.errors)
    assert.falsy(result.errors:find "served", result.errors)
  end
end)

it("--help is one screen with an example, status 0", function()
  for _, command in ipairs { "run", "render", "rbac", "explain", "test", "repl", "plan", "apply" } do
    local result = run(command, "--help")
    assert.equal(0, result.status, command)
    assert.contains("example:", result.output)
    local _, lines = result.output:gsub("\n", "\n")
    assert.is_true(lines <= 40, command)
  end
end)
