-- Paths beside the API, of the simulated cluster itself: what images do, and (on virtual time) that time passes.
--
--   GET  /sandbox          what this is: { time, virtual, version, objects ... }
--   PUT  /sandbox/images   { "IMAGE or pattern": behaviour, ... }: from now on images behave so (controllers/images.lua)
--   POST /sandbox/advance  { "seconds": N }: virtual time passes, with all that is due in it
--
-- Each answers with JSON; mistakes are Status objects, as everywhere.

local errors = require "sandbox.errors"

local M = {}

local MOST_SECONDS = 366 * 24 * 3600

local function refuse(text)
  return 400, json.encode(errors.status(errors.bad_request(text))), "application/json"
end

local function fine(value)
  return 200, json.encode(value), "application/json"
end

local function body_of(request)
  local value = json.decode(request.body or "")
  return type(value) == "table" and not json.is_array(value) and value or nil
end

local PAGES = {
  ["/sandbox"] = { GET = function(server)
    local world = server.world
    return fine { time = world:time(), virtual = world.clock == nil, version = world.version }
  end },
  ["/sandbox/images"] = {
    PUT = function(server, request)
      local images = body_of(request)
      if not images then return refuse('a JSON object was expected: {"registry/image:tag": "missing"}') end
      for name, behaviour in pairs(images) do
        local set, why = server.cluster:set_image(name, behaviour)
        if set == nil and why then return refuse(("image %s: %s"):format(name, why)) end
      end
      return fine {}
    end,
  },
  ["/sandbox/advance"] = {
    POST = function(server, request)
      local body = body_of(request)
      local seconds = body and body.seconds
      if type(seconds) ~= "number" or not (seconds >= 0 and seconds <= MOST_SECONDS) then
        return refuse('a JSON object was expected: {"seconds": 30}, from 0 to a year')
      end
      local done, why = server:advance(seconds)
      if not done then return refuse(why) end
      return fine { time = server.world:time() }
    end,
  },
}

-- The page of a path: f(server, request) -> status, body, content_type; nil: the path is the API's.
function M.find(path)
  local page = PAGES[path]
  if not page then return nil end
  return function(server, request)
    local method = page[request.method]
    if method then return method(server, request) end
    return 405, json.encode(errors.status(errors.no_such_method())), "application/json"
  end
end

return M
