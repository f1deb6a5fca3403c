-- Two normalised answers, the sandbox's and the real server's: the first place in which they differ, after the written
-- differences (differences.lua) have been taken out.

local include = require "include"
local differences = include "spec/sandbox/differential/differences.lua"
local tree = include "spec/sandbox/differential/tree.lua"

local M = {}

local function step(path, key)
  return path == "" and tostring(key) or path .. "." .. tostring(key)
end

local function first(a, b, path)
  if a == b then return nil end
  if type(a) ~= "table" or type(b) ~= "table" then return { path = path, sandbox = a, real = b } end
  if json.is_array(a) ~= json.is_array(b) then return { path = path, sandbox = a, real = b } end
  local keys = {}
  for k in pairs(a) do keys[k] = true end
  for k in pairs(b) do keys[k] = true end
  for _, k in ipairs(tree.sorted_keys(keys)) do
    local found = first(a[k], b[k], step(path, k))
    if found then return found end
  end
end

local function by_text(list)
  local texts = {}
  for i, item in ipairs(list) do texts[i] = { json.encode(item), item } end
  table.sort(texts, function(x, y) return x[1] < y[1] end)
  local out = json.array {}
  for i, pair in ipairs(texts) do out[i] = pair[2] end
  return out
end

-- How often a mistake is told again by a kind's later checks is not looked at; that it is told, is.
local function once(sorted)
  local out = json.array {}
  for _, cause in ipairs(sorted) do
    if not json.equal(cause, out[#out] or json.null) then out[#out + 1] = cause end
  end
  return out
end

-- Several causes come in the order of a Go map now and then, and the message, which is made of nothing else, lists them so.
local function settle_causes(a, b)
  local several = false
  local function of(body) return body.kind == "Status" and body.details and body.details.causes or {} end
  for _, body in ipairs { a, b } do several = several or #of(body) > 1 end
  for _, body in ipairs { a, b } do
    if several and #of(body) > 0 then
      body.details.causes = once(by_text(body.details.causes))
      body.message = body.message and body.message:gsub(" is invalid: .*", " is invalid: ...")
    end
  end
end

-- nil, or { path=, sandbox=, real= }; request is the one that was answered.
function M.difference(request, sandbox, real)
  settle_causes(sandbox.body or {}, real.body or {})
  differences.remove(request, sandbox, real)
  if sandbox.status ~= real.status then return { path = "status", sandbox = sandbox.status, real = real.status } end
  return first(sandbox.events, real.events, "events") or first(sandbox.body, real.body, "body") or first(sandbox.text, real.text, "text")
end

-- Differences of the same kind have the same signature.
function M.signature(request, found)
  local path = found.path:gsub("%.%d+", ".N"):gsub("k:{.-}", "k:{}")
  local what = found.path == "status" and (":" .. tostring(found.sandbox) .. "/" .. tostring(found.real)) or ""
  return ("%s %s%s %s%s"):format(request.verb, request.kind, request.damaged and " (" .. request.damaged .. ")" or "", path, what)
end

return M
