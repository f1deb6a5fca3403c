-- What all containers of a model's pods share: whose registry their images come from, and as whom they run.

local M = {}

-- An image's name with the prefix of an air-gapped registry, unless it is there.
function M.prefixed(s, image)
  local prefix = s.settings.imagePrefix
  if prefix == "" or image:find(prefix, 1, true) then return image end
  return prefix .. image
end

-- The securityContext of a container: settings.securityContext.container, under what the container itself must have. nil
-- if both say nothing.
function M.security(s, own)
  local all = {}
  for name, value in pairs(s.settings.securityContext.container) do all[name] = value end
  for name, value in pairs(own or {}) do all[name] = value end
  return next(all) ~= nil and all or nil
end

return M
