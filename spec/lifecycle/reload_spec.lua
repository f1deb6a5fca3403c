-- Policies and settings are edited while the real operator runs: a save is live within a second or refused, and an edit that
-- restarts models is paced, stopped and taken back.

local include = require "include"
local harness = include "spec/lifecycle/harness.lua"
local edited = include "spec/lifecycle/edited.lua"

local MANY = 20
local CONFIG = "primehub.io/v1alpha1" -- what the PhDeployments of these specs are of

local folder_of, changed, edit, log_has, logged, verbose, message_is, OLD = edited.folder_of, edited.changed, edited.edit, edited.log_has,
  edited.logged, edited.verbose, edited.message_is, edited.DEPLOYED

local function shell(command, ...)
  local result = assert(process.run { argv = { "sh", "-c", command, "sh", ... }, timeout = 20 })
  assert(result.status == 0, command .. ": " .. result.errors)
end

local function with_folder(options, body)
  options.operator = false
  harness.with(options, function(world)
    local folder = folder_of(world, "policies")
    world:start_operator { policies = folder, words = options.words and options.words(world) }
    body(world, folder)
  end)
end

describe("an edit of the policies folder", function()
  it("is live soon after the save, and restarts nothing", function()
    with_folder({}, function(world, folder)
      world:deploy "m"
      world:phase("m", "Deployed")
      local pods = world:child("Deployment", "m").metadata.generation
      edit(folder, "phases.lua", OLD, '"It serves."')
      message_is(world, "m", "It serves.")
      assert.equal(pods, world:child("Deployment", "m").metadata.generation)
      logged(world, "policies reloaded")
      local line = assert(fs.read(world.log)):match "[^\n]*policies reloaded[^\n]*"
      assert.contains("restarts=0", line)
      assert.matches('took="[^"]*lint %d+%.%d%d s', line)
    end)
  end)

  it("whose look never comes to an end is refused, and not looked at in the operator's own process", function()
    with_folder({}, function(world, folder)
      world:deploy "m"
      world:phase("m", "Deployed")
      local over = false
      local killer = loop.spawn(function() -- as the kernel does where memory is scarce
        while not over do
          for _, id in ipairs(fs.list "/proc") do
            local words = id:find "^%d+$" and fs.read("/proc/" .. id .. "/cmdline") or ""
            local parent = words:find("\0look\0", 1, true) and (fs.read("/proc/" .. id .. "/stat") or ""):match "%) %a (%d+)"
            if parent == tostring(world.operator.id) then shell('kill -9 "$1" || true', id) end
          end
          loop.sleep(0.01)
        end
      end)
      edit(folder, "phases.lua", OLD, '"It serves."')
      logged(world, "did not come to an end (it ended with 137: ")
      over = true
      killer:join()
      assert.is_false(log_has(world, "could not be had"))
      edit(folder, "phases.lua", '"It serves."', '"It serves all."')
      message_is(world, "m", "It serves all.")
    end)
  end)

  it("that is broken is refused with file, line and source, and the old policies go on", function()
    with_folder({}, function(world, folder)
      world:deploy "m"
      world:phase("m", "Deployed")
      edit(folder, "phases.lua", OLD, '"It serves." oops')
      logged(world, "policies refused")
      local page = world:ask_operator "/readyz?verbose"
      assert.equal(200, page.status, "it is ready all the same")
      assert.contains("refused at", page.body)
      assert.contains("phases.lua:", page.body)
      assert.contains('message = "It serves." oops', page.body)
      world:deploy "n"
      world:phase("n", "Deployed")
      assert.equal("Deployment is deployed and available now", world:get("n").status.message)
      edit(folder, "phases.lua", " oops", "")
      message_is(world, "n", "It serves.")
      assert.falsy(verbose(world):find("refused", 1, true))
    end)
  end)

  it("that errs on a live object is refused with the object, and the value that was nil", function()
    with_folder({}, function(world, folder)
      world:deploy "m"
      world:phase("m", "Deployed")
      edit(folder, "phdeployment.lua", "local s = facts.look(seen)", "local s = facts.look(seen)\n  local t = json.decode('{}')\n  local x = t.nothing.here")
      logged(world, "policies refused")
      local text = verbose(world)
      assert.contains("on " .. world.namespace .. "/m, which the present policies decide", text)
      assert.contains("nil was: t.nothing", text)
      local line = assert(fs.read(world.log)):match "[^\n]*policies refused[^\n]*"
      for _, part in ipairs { "file=phdeployment.lua", "line=", 'source="local x = t.nothing.here"', "nil_path=t.nothing" } do
        assert.contains(part, line)
      end
      assert.contains("moonphase_reload_refused 1", world:ask_operator("/metrics").body)
    end)
  end)

  it("whose spec fails is refused with the name of the spec", function()
    with_folder({}, function(world, folder)
      world:phase((world:deploy "m").metadata.name, "Deployed")
      assert(fs.write(folder .. "/mine_spec.lua", "it('the sum is right', function() assert.equal(3, 1 + 1) end)"))
      logged(world, "mine_spec.lua: the sum is right: mine_spec.lua:1: expected 3, got 2")
      assert(fs.remove(folder .. "/mine_spec.lua"))
      harness.eventually("the refusal is over", 20, function() return not verbose(world):find("refused", 1, true) end)
    end)
  end)

  it("is on trial at a standby from when it leads", function()
    local words = { "--leader-elect", "--lease", "trials-" .. process.id }
    with_folder({ settings = { reload = { trial = "3s", check = "0s" } }, words = function() return words end }, function(world, folder)
      world:phase((world:deploy "m").metadata.name, "Deployed")
      local first, first_log = world.operator, world.log
      world:start_operator { policies = folder, words = { "--control-socket", world.folder .. "/second.sock", table.unpack(words) } }
      logged(world, "caches are complete")
      edit(folder, "facts.lua", "  s.private = s.spec.endpoint", '  if s.name == "odd" then error "odd indeed" end\n  s.private = s.spec.endpoint')
      harness.eventually("the edit has stood its trial where it decides", 20, function()
        return (fs.read(first_log) or ""):find("have proven themselves", 1, true)
      end)
      assert.is_false(log_has(world, "have proven themselves"), "the standby decided nothing")
      first:signal("TERM")
      logged(world, "this process leads", 30)
      first:wait(28)
      world:deploy "odd"
      logged(world, "the new policies are taken back")
      world:phase("odd", "Deployed")
    end)
  end)

  it("leaves the lease to its holder, however many come one after the other", function()
    local name = "reloads-" .. process.id
    with_folder({ words = function() return { "--leader-elect", "--lease", name } end }, function(world, folder)
      world:phase((world:deploy "m").metadata.name, "Deployed")
      local leases = "/apis/coordination.k8s.io/v1/leases"
      local function lease()
        for _, one in ipairs(json.decode(world.api:ask({ path = leases }).body).items) do
          if one.metadata.name == name then return one.spec end
        end
      end
      local before = assert(lease(), "there is no lease")
      for i = 1, 8 do
        edit(folder, "phases.lua", i == 1 and OLD or ('"It serves %d."'):format(i - 1), ('"It serves %d."'):format(i))
        message_is(world, "m", ("It serves %d."):format(i))
      end
      local after = lease()
      assert.equal(before.holderIdentity, after.holderIdentity)
      assert.equal(before.leaseTransitions, after.leaseTransitions)
      assert.falsy(log_has(world, "lost the lease"))
    end)
  end)

  it("is seen at SIGHUP, too", function()
    with_folder({}, function(world)
      world:phase((world:deploy "m").metadata.name, "Deployed")
      world.operator:signal "HUP"
      logged(world, "policies and settings are as they were")
    end)
  end)
end)

describe("a ConfigMap as the policies folder", function()
  -- As a kubelet mounts it: keys without slashes, links to ..data, which is a link that is swapped.
  local SWAP = [[cd "$1" && mkdir "$2" && cp staged/* "$2"/ && ln -s "$2" ..data_tmp && mv -T ..data_tmp ..data]]

  it("is taken up when its link is swapped", function()
    harness.with({ operator = false }, function(world)
      local folder, staged = world.folder .. "/mounted", world.folder .. "/mounted/staged"
      assert(fs.make_folder(folder))
      assert(fs.make_folder(staged))
      for _, asset in ipairs(moonphase.assets("policies/")) do
        local file = asset:sub(#"policies/" + 1):gsub("/", ".")
        if not file:match("_spec%.lua$") and not file:match("_cases%.yaml$") then assert(fs.write(staged .. "/" .. file, moonphase.read_asset(asset))) end
      end
      shell(SWAP, folder, "..first")
      shell([[cd "$1" && for f in ..data/*; do ln -s "$f" .; done]], folder)
      shell([[cd "$1" && mv staged "$2"]], folder, world.folder .. "/staged")
      world:start_operator { policies = folder }
      world:deploy "m"
      world:phase("m", "Deployed")
      edit(world.folder .. "/staged", "phases.lua", OLD, '"By a ConfigMap."')
      shell([[cd "$1" && mkdir ..second && cp "$2"/staged/* ..second/ && ln -s ..second ..data_tmp && mv -T ..data_tmp ..data]], folder, world.folder)
      message_is(world, "m", "By a ConfigMap.")
      shell([[rm -rf "$1"]], folder)
    end)
  end)
end)

describe("the settings file", function()
  it("is taken up with the built-in policies", function()
    harness.with({}, function(world)
      world:deploy "m"
      world:phase("m", "Deployed")
      local settings = assert(json.decode(assert(fs.read(world.folder .. "/settings.yaml"))))
      settings.primehubUrl = "https://hub.example"
      assert(fs.write(world.folder .. "/settings.yaml", json.encode(settings)))
      harness.eventually("the endpoint is the new one", 20, function()
        return ((world:get("m").status or {}).endpoint or ""):find("https://hub.example", 1, true)
      end)
      assert(fs.write(world.folder .. "/settings.yaml", '{"primehubUrll": "x"}'))
      logged(world, "unknown setting primehubUrll")
    end)
  end)
end)

describe("an edit that restarts models", function()
  local function name(i) return ("m%02d"):format(i) end

  local function labelled(world)
    local list = world.api:ask { path = "/apis/apps/v1/namespaces/" .. world.namespace .. "/deployments" }
    local found = {}
    for _, deployment in ipairs(json.decode(list.body).items) do
      if deployment.spec.template.metadata.labels.tier then found[#found + 1] = deployment.metadata.name end
    end
    return found
  end

  local function phases(world)
    local list = world.api:ask { path = "/apis/" .. CONFIG .. "/namespaces/" .. world.namespace .. "/phdeployments" }
    local count = {}
    for _, object in ipairs(json.decode(list.body).items) do
      local phase = (object.status or {}).phase or "none"
      count[phase] = (count[phase] or 0) + 1
    end
    return count
  end

  it("moves them one by one, stops at the third, which it breaks, and is taken back", function()
    with_folder({ settings = { crash = { restarts = 1 } } }, function(world, folder)
      world.kubelet:image("registry.example/" .. name(3) .. ":v1-broken", "crashes")
      for i = 1, MANY do world:deploy(name(i)) end
      for i = 1, MANY do world:phase(name(i), "Deployed", 60) end
      local deployment = changed(assert(fs.read(folder .. "/children/deployment.lua")), "deployment.lua",
        "app = s.settings.appLabel", 'tier = "one", app = s.settings.appLabel')
      local model = changed(assert(fs.read(folder .. "/children/model.lua")), "model.lua", "image = image.prefixed(s, s.image)",
        'image = image.prefixed(s, s.image) .. (s.name == "' .. name(3) .. '" and "-broken" or "")')
      assert(fs.write(folder .. "/children/deployment.lua", deployment))
      assert(fs.write(folder .. "/children/model.lua", model))
      logged(world, "restarts=" .. MANY)
      local touched, most = {}, 0
      harness.eventually("it is taken back", 90, function()
        for _, child in ipairs(labelled(world)) do touched[child] = true end
        most = math.max(most, MANY - (phases(world).Deployed or 0))
        return log_has(world, "the new policies are taken back")
      end)
      harness.eventually("no model has the label any more", 90, function()
        for _, child in ipairs(labelled(world)) do touched[child] = true end
        most = math.max(most, MANY - (phases(world).Deployed or 0))
        return #labelled(world) == 0
      end)
      for i = 1, MANY do world:phase(name(i), "Deployed", 60) end
      for child in pairs(touched) do
        assert.truthy(child == "deploy-m01" or child == "deploy-m02" or child == "deploy-m03", child .. " was touched")
      end
      assert.truthy(touched["deploy-m03"])
      assert.truthy(most <= 2, most .. " models were not Deployed at the same time") -- the failed one, and one that goes back
      assert.contains("failed with its new pod template", verbose(world))
    end)
  end)
end)

describe("run --shadow", function()
  local function explained(world)
    local result = assert(process.run { timeout = 10, argv = { process.env("MOONPHASE") or "build/moonphase", "explain", "m", "--shadow",
      "--namespace", world.namespace, "--control-socket", world.socket } })
    return result.output .. result.errors
  end

  local function explains(world, text)
    harness.eventually("explain --shadow says " .. text, 20, function()
      local said = explained(world)
      return said:find(text, 1, true), said
    end)
  end

  it("decides beside the live policies, writes nothing, and tells what differs", function()
    harness.with({ operator = false }, function(world)
      local shadow = folder_of(world, "shadow")
      edit(shadow, "phases.lua", OLD, '"In the shadow."')
      world:start_operator { words = { "--shadow", shadow } }
      world:deploy "m"
      world:phase("m", "Deployed")
      logged(world, "shadow: decides otherwise")
      explains(world, "status.message\n    live   Deployment is deployed and available now\n    shadow In the shadow.")
      explains(world, "status.conditions[Ready].message\n")
      assert.contains("moonphase_shadow_objects_differing 1", world:ask_operator("/metrics").body)
      edit(shadow, "phases.lua", '"In the shadow."', OLD)
      explains(world, "decides the same")
      edit(shadow, "children/deployment.lua", "app = s.settings.appLabel", 'tier = "one", app = s.settings.appLabel')
      explains(world, "children.Deployment/deploy-m.spec.template.metadata.labels.tier\n    live   nothing\n    shadow one")
      edit(shadow, "phases.lua", OLD, "oops oops")
      logged(world, "the shadow policies are refused")
      assert.contains("refused", verbose(world))
      explains(world, "shadow one")
      assert.equal("Deployment is deployed and available now", world:get("m").status.message)
      assert.is_nil(world:child("Deployment", "m").spec.template.metadata.labels.tier)
    end)
  end)

  it("tells of another order of the environment, and when they would look again", function()
    harness.with({ operator = false }, function(world)
      local shadow = folder_of(world, "shadow")
      edit(shadow, "children/model.lua", "  return env\n", "  env[1], env[2] = env[2], env[1]\n  return env\n")
      edit(shadow, "phdeployment.lua", "requeue_after = verdict.requeue_after", "requeue_after = 3600")
      world:start_operator { words = { "--shadow", shadow } }
      world:deploy "m"
      world:phase("m", "Deployed")
      explains(world, "children.Deployment/deploy-m.spec.template.spec.containers[model].env\n")
      explains(world, "requeue_after\n    live   nothing\n    shadow 3600")
    end)
  end)

  it("takes up edits of the settings as the live policies do", function()
    harness.with({ operator = false }, function(world)
      world:start_operator { words = { "--shadow", folder_of(world, "shadow") } }
      world:deploy "m"
      world:phase("m", "Deployed")
      explains(world, "decides the same")
      world:use_settings { probes = { initialDelaySeconds = 0, periodSeconds = 2 } }
      logged(world, "policies reloaded")
      explains(world, "decides the same")
    end)
  end)
end)
