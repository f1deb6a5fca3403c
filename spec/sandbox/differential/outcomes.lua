-- The table verb × kind × outcome: how often each was taken and refused. A cell that no request can reach is named, with its
-- reason; an empty cell that could be reached means that the test did not look.

local include = require "include"
local kinds = include "spec/sandbox/differential/kinds.lua"
local requests = include "spec/sandbox/differential/requests.lua"

local M = {}
M.__index = M

function M.new() return setmetatable({ counts = {} }, M) end

local function add(self, kind, verb, ok)
  local key = kind .. " " .. verb .. (ok and " ok" or " no")
  self.counts[key] = (self.counts[key] or 0) + 1
end

function M:add(request, ok)
  add(self, request.kind, request.verb, ok)
  if request.query.dryRun then add(self, request.kind, "dry run", ok) end
end

local VERBS = table.move(requests.VERBS, 1, #requests.VERBS, 1, {})
VERBS[#VERBS + 1] = "dry run"

-- Why a request of this verb can never be taken; nil if it can.
local function impossible(kind, verb)
  if verb == "status" and not kind.status then return "s" end
  if verb == "scale" and not kind.scale then return "n" end
  if verb == "strategic" and kind.custom then return "c" end
  if verb == "deletecollection" and kind.whole then return "w" end
end

local LEGEND = "taken/refused; s: the kind has no status subresource, n: no scale subresource, c: no strategic merge for kinds defined by a CRD, "
  .. "w: deleted one by one only"

-- Writes the table; the number of cells that are empty though they could be reached.
function M:print(write)
  local header = { ("%-15s"):format("") }
  for _, verb in ipairs(VERBS) do header[#header + 1] = ("%13s"):format(verb:sub(1, 12)) end
  write(table.concat(header))
  local empty, missing = 0, {}
  for _, kind in ipairs(kinds.all) do
    local row = { ("%-15s"):format(kind.kind) }
    for _, verb in ipairs(VERBS) do
      local ok, no = self.counts[kind.kind .. " " .. verb .. " ok"] or 0, self.counts[kind.kind .. " " .. verb .. " no"] or 0
      local why = impossible(kind, verb)
      row[#row + 1] = ("%13s"):format((why or tostring(ok)) .. "/" .. no)
      if ok == 0 and not why or no == 0 then
        empty = empty + 1
        missing[#missing + 1] = kind.kind .. " " .. verb
      end
    end
    write(table.concat(row))
  end
  write(LEGEND)
  if empty > 0 then write("empty cells: " .. table.concat(missing, ", ")) end
  return empty
end

return M
