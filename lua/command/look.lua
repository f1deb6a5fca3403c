-- moonphase look: looks at the policies of a candidate for an operator that runs, in a process of its own (reload/apart.lua). No
-- command for people: they have moonphase check.
--
-- Standard input is one JSON object: {what, files (names to texts), settings}. What is found is printed as JSON: {value} or {why}.

local lint = require "lint"

local LOOKS = {
  lint = function(asked) return json.array(lint.check(asked.files, asked.settings, { specs = false })) end,
}

return function()
  local text, unread = fs.read "/dev/stdin"
  local asked, why = json.decode(text or "")
  local look = type(asked) == "table" and LOOKS[asked.what]
  local answer
  if look then
    local ok, value = pcall(look, asked)
    answer = ok and { value = value } or { why = tostring(value) }
  else
    answer = { why = unread or why or "nothing known was asked for" }
  end
  io.write(json.encode(answer), "\n")
  return answer.why and 1 or 0
end
