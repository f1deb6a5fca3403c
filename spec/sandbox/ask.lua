-- One request to a sandbox's server (sandbox/api.lua) as a client would send it, for specs.

local function query_of(text)
  local query = {}
  for name, value in text:gmatch("([^&=]+)=?([^&]*)") do
    query[name] = value:gsub("%%(%x%x)", function(code) return string.char(tonumber(code, 16)) end)
  end
  return query
end

-- target: a path, maybe with a query. body: text. Returns the decoded answer (nil: it has no body), its status, the answer.
return function(server, method, target, body, content_type, accept)
  local path, query = target:match("^([^?]*)%??(.*)$")
  local answer = server:handle { method = method, path = path, query = query_of(query), body = body, accept = accept or "application/json",
    content_type = content_type or "application/json", user_agent = "spec/1.0" }
  return answer.body and json.decode(answer.body), answer.status, answer
end
