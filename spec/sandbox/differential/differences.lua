-- In what the sandbox may differ from a real API server, and why. Nothing else is forgiven.
--
-- Each row: name; because (the reason); hide(request, sandbox, real), which takes the difference out of both answers before
-- they are compared. Rows are counted when they had something to hide, and the counts are printed: a row that hides nothing
-- any more can go.

-- Not asked at all, because the real server's answer is a matter of chance, or of how it stores things:
--
-- - a strategic merge patch with both "finalizers" and "$deleteFromPrimitiveList/finalizers": which comes first is the order of a Go map;
-- - server-side apply of null to custom kinds, which is stored and shown to nobody; nor of metadata of wrong types to them;
-- - server-side apply of a kind that is another one or, to custom kinds, none (which of several mistakes is told first);
-- - integers over 32 bits where Go has an int32 (patches cut them to size without a word);
-- - server-side apply to a custom kind of the whole cluster (the test's Gadget) that takes fields away: there, and not with namespaced
--   kinds, it leaves nulls behind that other rules then refuse;
-- - server-side apply, a second time and a second later, of values that the server completes or leaves out (Endpoints without a protocol, an
--   empty description, a Secret's stringData): the entry's time moves, and with it the version;
-- - Secrets with an empty value, and bytes that are null: read back it is another kind of empty, the next write of nothing counts as a
--   change, and who wrote that becomes their manager; nor an
--   empty allocatable beside a capacity in a Node's status, which is another kind of empty until it is stored;
-- - a write of a custom kind's status that says another kind or version: the server takes it, prunes nothing and forgets who manages what;
-- - a strategic merge patch in which a list's merge key is an object or a list: the real server fails inside and closes the connection;
-- - writing the status of a Service that does not exist: it makes one, without an address;
-- - YAML bodies with anchors, aliases or a key that comes twice, which the sandbox refuses with a sentence (clients send JSON);
-- - bindings and serviceaccounts/NAME/token, which the sandbox has not got;
-- - pages of lists whose names the servers drew, or with other sequences' objects in them.
--
-- And the order of managedFields, of finalizers and of what comes from a watch cache is put aside (normal.lua): the first is by
-- second and the clocks differ, the others are that of a Go map.

local M = { used = {} }

local function status(answer)
  return answer.body and answer.body.kind == "Status" and answer.body or nil
end

-- By these a decoder's message is known.
local DECODER = { "error found in #", "cannot unmarshal", "ReadString", "couldn't get version/kind", "unmarshalerDecoder", "looking for beginning",
  "cannot parse", "expected map", "expected string", "expected list", "expected numeric", "expected boolean", "expect [%[{]", "unable to parse",
  "error decoding",
  "quantities must match", "strconv%.Parse", "illegal base64", "unexpected end", "unexpected EOF", "json:", "cannot convert", "unrecognized",
  "invalid character", "^EOF$" }

local ROWS = {
  { name = "words of Go's decoder",
    because = "a body that does not fit the Go type is refused with the decoder's own words (offsets, Go type names, a part of the input);"
      .. " people read that it could not be decoded, programs read the code",
    hide = function(_, sandbox, real)
      local a, b = status(sandbox), status(real)
      if not a or not b or a.code ~= b.code or a.code ~= 400 and a.code ~= 500 or a.reason ~= b.reason or a.message == b.message then return false end
      for _, mark in ipairs(DECODER) do
        if (b.message or ""):find(mark) then
          a.message, b.message = nil, nil
          return true
        end
      end
      return false
    end },
  { name = "an object printed into a message",
    because = "a patch that makes an object the server cannot decode is refused with the whole object in Go's order of fields in the message",
    hide = function(_, sandbox, real)
      local a, b = status(sandbox), status(real)
      local cause = b and b.details and b.details.causes and b.details.causes[1]
      if not a or not cause or cause.field ~= "patch" then return false end
      for _, body in ipairs { a, b } do
        local first = body.details and body.details.causes and body.details.causes[1]
        if first then first.message = nil end
        body.message = nil
      end
      return true
    end },
  { name = "order of a Go map",
    because = "errors found while walking a map are listed in an order that the real server draws anew each time",
    hide = function(_, sandbox, real)
      local function sort(body)
        local head, tail = (body.message or ""):match("^(.-errors:)\n(.+)$")
        if not head then return false end
        local lines = {}
        for line in tail:gmatch("[^\n]+") do lines[#lines + 1] = line end
        table.sort(lines)
        body.message = head .. "\n" .. table.concat(lines, "\n")
        return #lines > 1
      end
      local a, b = status(sandbox), status(real)
      return a and b and sort(a) and sort(b)
    end },
  { name = "how many mistakes of a configuration are told",
    because = "an apply that does not fit its type is refused with some or all of its mistakes, and one at the root hides those below it only here",
    hide = function(_, sandbox, real)
      local a, b = status(sandbox), status(real)
      if not a or not b or a.code ~= b.code or a.message == b.message then return false end
      if not (a.message or ""):find("^failed to create ") or not (b.message or ""):find("^failed to create ") then return false end
      a.message, b.message = nil, nil
      return true
    end },
  { name = "Go's empty map or slice",
    because = "a message that prints one tells empty from none; the sandbox keeps no empty ones where Go's JSON would leave them out",
    hide = function(_, sandbox, real)
      local a, b = status(sandbox), status(real)
      if not a or not b then return false end
      local found = false
      for _, body in ipairs { a, b } do
        for _, holder in ipairs { body, table.unpack(body.details and body.details.causes or {}) } do
          local text, n = (holder.message or ""):gsub("map%[([%w%.]+)%]string{}", "map[%1]string(nil)")
          local more
          text, more = text:gsub("%[(%.*)%](%a[%w.]*){}", "[%1]%2(nil)")
          if n + more > 0 then holder.message, found = text, true end
        end
      end
      return found
    end },
  { name = "a Go structure in a message",
    because = "a message that prints one has addresses in memory, and of an amount the form in which it was read",
    hide = function(_, sandbox, real)
      local function settle(body)
        local found = false
        for _, holder in ipairs { body, table.unpack(body.details and body.details.causes or {}) } do
          local text, n = (holder.message or ""):gsub("0xc%x+", "0xc...")
          local more
          text, more = text:gsub("resource%.Quantity{.-}, s:.-}", "resource.Quantity{...}")
          if n + more > 0 then holder.message, found = text, true end
        end
        return found
      end
      local a, b = status(sandbox), status(real)
      if not a or not b then return false end
      local in_a, in_b = settle(a), settle(b)
      return in_a or in_b
    end },
  { name = "the defaultBackend that a dry run takes from an Ingress",
    because = "the real server's answer still has it (it reads what it would store into the old object); without a dry run it is gone on both",
    hide = function(request, sandbox, real)
      local a, b = sandbox.body, real.body
      if not (request.query.dryRun and a and b and a.kind == "Ingress" and b.kind == "Ingress" and a.spec and b.spec) then return false end
      if a.spec.defaultBackend ~= nil or b.spec.defaultBackend == nil then return false end
      b.spec.defaultBackend = nil
      return true
    end },
  { name = "what differs in a Pod's spec",
    because = "the refusal of a Pod's change ends with a Go structure's difference over several lines",
    hide = function(_, sandbox, real)
      local function cut(body)
        local found = false
        for _, holder in ipairs { body, table.unpack(body.details and body.details.causes or {}) } do
          local head = (holder.message or ""):match("^(.-Forbidden: pod updates may not change fields other than [^\n]+)\n")
          if head then holder.message, found = head, true end
        end
        return found
      end
      local a, b = status(sandbox), status(real)
      if not a or not b then return false end
      local in_a, in_b = cut(a), cut(b)
      return in_a or in_b
    end },
}

function M.remove(request, sandbox, real)
  for _, row in ipairs(ROWS) do
    if row.hide(request, sandbox, real) then M.used[row.name] = (M.used[row.name] or 0) + 1 end
  end
end

function M.print(write)
  for _, row in ipairs(ROWS) do write(("%7d times: %s, because %s"):format(M.used[row.name] or 0, row.name, row.because)) end
end

return M
