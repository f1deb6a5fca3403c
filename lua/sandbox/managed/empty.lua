-- The empty object of a kind, which is what a create is compared with.
--
-- For a built-in kind it is a Go struct without values: the structs in it are there ("spec": {}), lists that are always
-- written are null. So a new Deployment's manager owns the fields in spec.strategy and the containers, but neither
-- spec.strategy nor spec.template.spec.containers as such. A custom object starts from nothing.

local M = {}

local known = setmetatable({}, { __mode = "k" })

local function empty(node)
  local object = {}
  for _, one in ipairs(node.written or {}) do
    local name, struct, value = one[1], one[2], one[3]
    if struct then
      object[name] = empty(struct)
    else
      object[name] = value
    end
  end
  for _, name in ipairs(node.required or {}) do
    local child = node.properties[name]
    if object[name] == nil and child and (child.type == "array" or child.type == "object") then object[name] = json.null end
  end
  return object
end

-- By the kind's schema node; shared, never modified.
function M.of(node)
  if not node or not node.name then return {} end
  local object = known[node]
  if not object then
    object = empty(node)
    known[node] = object
  end
  return object
end

return M
