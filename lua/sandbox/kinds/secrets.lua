-- Secrets. https://kubernetes.io/docs/concepts/configuration/secret/
--
-- Values never appear in a message: the server, too, says "<secret contents redacted>".

local bags = require "sandbox.kinds.bags"
local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"
local sorted = require "sorted"

local strategy = { unconditional_update = true }

-- stringData is for writers only: what it holds ends up in data.
function strategy.default(object)
  if (object.type or "") == "" then object.type = "Opaque" end
  local plain = object.stringData
  if plain then
    object.data = object.data or {}
    for key, text in next, plain do object.data[key] = bags.encode(text) end
    object.stringData = nil
  end
end

local function check_json(key)
  return function(errs, object)
    local text = object.data and object.data[key]
    if not text then return checks.required(errs, "data[" .. key .. "]") end
    local plain = bags.decode(text) or ""
    if json.decode(plain) == nil then
      local first = plain:match("^%s*([^%s%[{\"%-%dtfn])")
      checks.invalid(errs, "data[" .. key .. "]", "<secret contents redacted>", plain:find("%S") == nil and "unexpected end of JSON input"
        or first and ("invalid character '%s' looking for beginning of value"):format(first) or "invalid character in JSON")
    end
  end
end

local function check_keys(...)
  local keys = { ... }
  return function(errs, object)
    for _, key in ipairs(keys) do
      if not (object.data and object.data[key]) then checks.required(errs, "data[" .. key .. "]") end
    end
  end
end

local ACCOUNT = "kubernetes.io/service-account.name"

local TYPES = {
  ["kubernetes.io/service-account-token"] = function(errs, object)
    if ((object.metadata.annotations or {})[ACCOUNT] or "") == "" then
      checks.required(errs, "metadata.annotations[" .. ACCOUNT .. "]")
    end
  end,
  ["kubernetes.io/dockercfg"] = check_json(".dockercfg"),
  ["kubernetes.io/dockerconfigjson"] = check_json(".dockerconfigjson"),
  ["kubernetes.io/basic-auth"] = function(errs, object)
    local data = object.data or {}
    if not data.username and not data.password then
      checks.required(errs, "data[%s][username]")
      checks.required(errs, "data[%s][password]")
    end
  end,
  ["kubernetes.io/ssh-auth"] = function(errs, object)
    if ((object.data or {})["ssh-privatekey"] or "") == "" then checks.required(errs, "data[%s][ssh-privatekey]") end
  end,
  ["kubernetes.io/tls"] = check_keys("tls.crt", "tls.key"),
}

function strategy.check(errs, object)
  local size = 0
  for _, key in ipairs(sorted(object.data)) do
    checks.report(errs, "data[" .. key .. "]", key, checks.config_key(key))
    size = size + bags.decoded_size(object.data[key])
  end
  if size > bags.MOST then checks.too_long(errs, "data", bags.MOST) end
  local check = TYPES[object.type]
  if check then check(errs, object) end
end

function strategy.prepare_update(new, old)
  if (new.type or "") == "" then new.type = old.type end
end

function strategy.validate_update(new, old)
  local errs = kinds.update_meta(new, old)
  checks.unchanged(errs, "type", new.type, old.type)
  bags.check_immutable(errs, new, old, "data")
  meta.validate_create(errs, new.metadata, true, strategy.name)
  strategy.check(errs, new)
  return errs
end

strategy.fields = { type = function(object) return object.type end }

local function row(object, w)
  return { object.metadata.name, object.type, rows.count(object.data), rows.age(object, w) }
end

return kinds.make { kind = "Secret", plural = "secrets", strategy = strategy, row = row }
