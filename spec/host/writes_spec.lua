-- What explain tells of the last writes about an object: bounded, in one text, and statuses do not push out the rest.

local writes = require "writes"

local function world()
  local notes = {}
  return { notes = function() return notes end, remembered = notes }
end

it("keeps the newest five writes and the newest three statuses, the newest first", function()
  local w = world()
  for i = 1, 9 do writes.note(w, "hub/m", "apply", "Deployment", "deploy-" .. i, 200) end
  for i = 1, 9 do writes.note(w, "hub/m", "status", "PhDeployment", "m", 200, "phase " .. i) end
  local list = writes.list(w.remembered)
  assert.equal(8, #list)
  assert.same({ "phase 9", "phase 8", "phase 7" }, { list[1].message, list[2].message, list[3].message })
  assert.same({ "deploy-9", "deploy-5" }, { list[4].name, list[8].name })
  assert.equal(0, list[1].seconds_ago)
end)

it("keeps a server's words in one line, and not all of them", function()
  local w = world()
  writes.note(w, "hub/m", "patch", "Service", "a\tb", 422, "two\nlines\t" .. ("x"):rep(1000))
  local one = writes.list(w.remembered)[1]
  assert.equal("a b", one.name)
  assert.equal(422, one.status)
  assert.matches("^two lines x+$", one.message)
  assert.equal(200, #one.message)
end)

it("is empty where nothing was written", function()
  assert.equal("[]", json.encode(writes.list(nil)))
  assert.equal("[]", json.encode(writes.list {}))
end)
