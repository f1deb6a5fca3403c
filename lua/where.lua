-- A message handler for xpcall: the message, and the lines of spec files that led to it. A whole traceback shows the
-- runner's inside, which nobody asked for.

return function(message)
  message = tostring(message)
  if message:find("\n  at ", 1, true) then return message end
  local lines = { message }
  for place in debug.traceback("", 2):gmatch("([%w_/.-]+_spec%.lua:%d+)") do
    if lines[#lines] ~= "  at " .. place then lines[#lines + 1] = "  at " .. place end
  end
  return table.concat(lines, "\n")
end
