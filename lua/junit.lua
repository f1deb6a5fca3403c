-- Results of tests as JUnit's XML, which CI systems read: one <testsuite> for each file.

local M = {}

local ENTITIES = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;", ["\n"] = "&#10;", ["\t"] = "&#9;" }

-- Text in an attribute or between tags; what XML 1.0 cannot hold becomes "?".
local function escape(text)
  return (text:gsub('[&<>"\n\t]', ENTITIES):gsub("[%z\1-\8\11-\31\127]", "?"))
end

local function case(out, test)
  local head = ('    <testcase classname="%s" name="%s" time="%.3f"'):format(escape(test.file), escape(test.name), test.seconds or 0)
  if test.ok then
    out[#out + 1] = head .. "/>"
    return
  end
  out[#out + 1] = head .. ">"
  local text = test.text or "it failed"
  out[#out + 1] = ('      <failure message="%s">%s</failure>'):format(escape(text:match("^[^\n]*")), escape(text):gsub("&#10;", "\n"))
  out[#out + 1] = "    </testcase>"
end

-- results: an array of {file, name, ok, text, seconds}.
function M.text(results)
  local files, by_file = {}, {}
  for _, test in ipairs(results) do
    local suite = by_file[test.file]
    if not suite then
      suite = { failed = 0, seconds = 0 }
      by_file[test.file], files[#files + 1] = suite, test.file
    end
    suite[#suite + 1] = test
    suite.failed, suite.seconds = suite.failed + (test.ok and 0 or 1), suite.seconds + (test.seconds or 0)
  end
  local failed = 0
  for _, file in ipairs(files) do failed = failed + by_file[file].failed end
  local out = { '<?xml version="1.0" encoding="UTF-8"?>',
    ('<testsuites name="moonphase" tests="%d" failures="%d">'):format(#results, failed) }
  for _, file in ipairs(files) do
    local suite = by_file[file]
    out[#out + 1] = ('  <testsuite name="%s" tests="%d" failures="%d" time="%.3f">'):format(escape(file), #suite, suite.failed,
      suite.seconds)
    for _, test in ipairs(suite) do case(out, test) end
    out[#out + 1] = "  </testsuite>"
  end
  out[#out + 1] = "</testsuites>"
  return table.concat(out, "\n") .. "\n"
end

return M
