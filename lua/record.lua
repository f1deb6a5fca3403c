-- A cluster whose requests are written down, one JSON line each when sent and one when answered: what the bench
-- replays, and what a bug report can be made of. The file may hold what Secrets hold: it is only written when asked for.

local M = {}

local function target(options)
  local parts = {}
  for name, value in pairs(options.query or {}) do parts[#parts + 1] = name .. "=" .. kube.escape(tostring(value)) end
  table.sort(parts)
  return options.path .. (#parts > 0 and "?" .. table.concat(parts, "&") or "")
end

-- The same cluster, recorded in the file `path`. What cannot be added to it (a full disk) is a gap that is told, and the operator
-- goes on.
function M.wrap(cluster, path)
  local ok = true
  local recorder = { namespace = cluster.namespace, server = cluster.server }
  local function add(line)
    local added, trouble = fs.append(path, line .. "\n")
    if ok and not added then log.warn("the record of requests has a gap", { why = trouble }) end
    ok = added
  end
  function recorder.watch(_, options) return cluster:watch(options) end
  function recorder.counts() return cluster:counts() end
  function recorder.request(_, options)
    local body = options.body
    if type(body) == "table" then body = json.encode(body) end
    add(json.encode { method = options.method or "GET", path = target(options), body = body, content_type = options.content_type })
    local answer, why = cluster:request(options)
    add '{"done":true}'
    return answer, why
  end
  return recorder
end

return M
