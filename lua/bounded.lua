-- A text that others read, of at most so many bytes: whole characters, and always UTF-8.
--
-- What is cut within a character comes back from an API server as another text, and would be told anew each time that the two
-- are compared.

-- What is cut ends in "...".
return function(text, most)
  text = tostring(text or "")
  if not utf8.len(text) then text = text:gsub("[\128-\255]", "?") end
  if #text <= most then return text end
  local at = most - 3
  while at > 0 and text:byte(at + 1) & 0xC0 == 0x80 do at = at - 1 end
  return text:sub(1, at) .. "..."
end
