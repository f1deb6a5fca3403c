-- include "spec/cluster/kubelet.lua": what a Lua file returns, loaded once. For scripts and specs, which are files of
-- the working folder and not modules of the host.

local loaded = {}

return function(path)
  if loaded[path] == nil then
    local source, why = fs.read(path)
    if not source then error(why, 2) end
    local chunk, trouble = load(source, "@" .. path, "t")
    if not chunk then error(trouble, 2) end
    local result = chunk(path)
    loaded[path] = result == nil and true or result
  end
  return loaded[path]
end
