-- ConfigMaps. https://kubernetes.io/docs/concepts/configuration/configmap/

local bags = require "sandbox.kinds.bags"
local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"
local sorted = require "sorted"

local strategy = { unconditional_update = true }

function strategy.check(errs, object)
  local size = 0
  for _, key in ipairs(sorted(object.data)) do
    checks.report(errs, "data[" .. key .. "]", key, checks.config_key(key))
    if object.binaryData and object.binaryData[key] then
      checks.invalid(errs, "data[" .. key .. "]", key, "duplicate of key present in binaryData")
    end
    size = size + #object.data[key]
  end
  for _, key in ipairs(sorted(object.binaryData)) do
    checks.report(errs, "binaryData[" .. key .. "]", key, checks.config_key(key))
    size = size + bags.decoded_size(object.binaryData[key])
  end
  if size > bags.MOST then checks.too_long(errs, "", bags.MOST) end
end

function strategy.validate_update(new, old)
  local errs = kinds.update_meta(new, old)
  bags.check_immutable(errs, new, old, "data", "binaryData")
  meta.validate_create(errs, new.metadata, true, strategy.name)
  strategy.check(errs, new)
  return errs
end

local function row(object, w)
  return { object.metadata.name, rows.count(object.data) + rows.count(object.binaryData), rows.age(object, w) }
end

return kinds.make { kind = "ConfigMap", plural = "configmaps", short_names = { "cm" }, strategy = strategy, row = row }
