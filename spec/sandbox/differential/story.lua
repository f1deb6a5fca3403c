-- A failing sequence as a person reads it: what was sent, one line a request, and the two answers to the last.

local M = {}

local function cut(text, most)
  return #text > most and text:sub(1, most) .. " ..." or text
end

local function words(r)
  local query = {}
  for k, v in pairs(r.query) do query[#query + 1] = k .. "=" .. v end
  table.sort(query)
  local body = r.raw and ("%q"):format(r.raw) or r.base and "what was seen of " .. r.base .. " with " .. json.encode(r.change)
    or r.body ~= nil and json.encode(r.body) or ""
  return ("%s %s%s%s  %s"):format(r.method, r.path, #query > 0 and "?" .. table.concat(query, "&") or "",
    r.content_type and r.content_type ~= "application/json" and " (" .. r.content_type:gsub("application/", "") .. ")" or "",
    (r.accept and "(Accept: " .. r.accept .. ") " or "") .. cut(body, 1500))
end

local function show(value)
  if value == nil then return "(nothing)" end
  return cut(type(value) == "table" and json.encode(value) or tostring(value), 1200)
end

local function answer(a)
  local body = a.events and json.encode(a.events) or a.body and (a.body.kind == "Status" and json.encode(a.body) or nil) or a.text
  return ("%s %s"):format(a.status, body and cut(body, 900) or "")
end

function M.tell(write, title, list, failure)
  write(title)
  for i, r in ipairs(list) do write(("  %d. %s"):format(i, words(r))) end
  write("  differs at " .. failure.found.path .. (failure.request.damaged and "   (damaged on purpose: " .. failure.request.damaged .. ")" or ""))
  write("     sandbox: " .. show(failure.found.sandbox))
  write("     real:    " .. show(failure.found.real))
  write("     sandbox answered " .. answer(failure.first))
  write("     real answered    " .. answer(failure.second))
end

return M
