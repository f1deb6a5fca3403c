-- How requests come in: which of Secret, Ingress and HTTPRoute should be, which should go, and the address that people use.
--
-- The setting `route` chooses; what another choice left behind goes. The Secret of clients comes before the route that names it,
-- and goes after the lock is taken off. Two things hold whatever else is wrong: a private endpoint is never routed without
-- its lock, and a client that was taken away loses its access also while nothing else may be written.

local engine = require "children.engine"
local http_route = require "children.http_route"
local ingress = require "children.ingress"
local secret = require "children.secret"

local M = {}

-- kind, the fact that holds the live one (facts.lua), how it is made
local ROUTES = {
  Ingress = { fact = "ingress", wanted = ingress.wanted, can_lock = function() return true end },
  HTTPRoute = { fact = "http_route", wanted = http_route.wanted, can_lock = http_route.can_lock },
}

local function live(s, kind)
  return s[ROUTES[kind].fact]
end

-- The children of the route, and what is to be pruned.
function M.wanted(s)
  local children, prune = {}, {}
  local chosen = ROUTES[s.settings.route]
  if s.private then children[1] = secret.wanted(s) end
  if chosen and chosen.can_lock(s) then children[#children + 1] = chosen.wanted(s) end
  for _, kind in ipairs { "Ingress", "HTTPRoute" } do
    local stays = kind == s.settings.route and chosen.can_lock(s)
    if live(s, kind) and not stays then prune[#prune + 1] = { kind = kind, name = s.child_name } end
  end
  if s.secret and not s.private then prune[#prune + 1] = { kind = "Secret", name = s.child_name } end
  return children, prune
end

-- While nothing may be written: of a private endpoint whose route is there already, all the same. A setting that names no route
-- takes none away: then what is there keeps its lock, or goes if it can have none.
function M.locked(s)
  if not s.private or not (s.ingress or s.http_route) then return {}, {} end
  if ROUTES[s.settings.route] or s.settings.route == "none" then return M.wanted(s) end
  local children, prune = { secret.wanted(s) }, {}
  for _, kind in ipairs { "Ingress", "HTTPRoute" } do
    local route = ROUTES[kind]
    if live(s, kind) and route.can_lock(s) then
      children[#children + 1] = route.wanted(s)
    elseif live(s, kind) then
      prune[#prune + 1] = { kind = kind, name = s.child_name }
    end
  end
  return children, prune
end

-- For a row of failures.lua: a private endpoint that the chosen route cannot lock.
function M.cannot_lock(s)
  local chosen = ROUTES[s.settings.route]
  return chosen ~= nil and not chosen.can_lock(s)
end

-- Status, reason and message of the condition RouteReady when nothing is wrong.
function M.ready(s)
  if not s.service then return "False", "ServiceMissing", "there is no Service" end
  local kind = s.settings.route
  if not ROUTES[kind] then return "True", "ServiceOnly", "the Service is there; no other route is wanted" end
  local route = live(s, kind)
  if not route then return "False", kind .. "Missing", "there is no " .. kind end
  if s.private and not s.secret then return "False", "SecretMissing", "there is no Secret of clients" end
  if kind == "HTTPRoute" then
    local taken, why = http_route.accepted(route)
    if taken == false then return "False", "RouteNotAccepted", "the Gateway does not take the HTTPRoute up: " .. why end
    if taken == nil then return "Unknown", "NotAcceptedYet", "no Gateway has taken the HTTPRoute up yet" end
  end
  return "True", "RouteInPlace", "Service and " .. kind .. " are there"
end

-- status.endpoint
function M.endpoint(s)
  local path = "/api/v1.0/predictions"
  if ROUTES[s.settings.route] then
    return (s.settings.primehubUrl:gsub("/+$", "")) .. "/deployment/" .. s.name .. path
  end
  return ("http://%s.%s:%d%s"):format(s.child_name, s.namespace, engine.REST, path)
end

return M
