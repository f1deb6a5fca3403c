-- The keys of a map in their order. `pairs` gives them in another one in every process, and what is printed, sent or decided
-- must not hang on that.

-- map: its keys are all texts, or all numbers; nil: there are none.
return function(map)
  local keys = {}
  for key in next, map or {} do keys[#keys + 1] = key end
  if keys[2] ~= nil then table.sort(keys) end
  return keys
end
