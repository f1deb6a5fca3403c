-- What the two kinds of Lua state offer, so that lint and run time agree.
std = "lua54"
max_line_length = 160
exclude_files = { "lua/types/*" }
read_globals = { "loop", "json", "yaml", "quantity", "digest", "certificate", "base64", "fs", "log", "metrics", "process", "http", "kube", "work",
  "policy", "args", "moonphase", "typed" }
files["spec/**/*_spec.lua"] = { read_globals = { "describe", "it", "before_each",
  assert = { other_fields = true } } }
local words = { "controller", "rules", "phases", "invariants", "always", "fact", "setting", "input", "any_container", "crashing",
  "pod_condition", "unschedulable", "deployment_condition", "refused", "mount_failed", "problem", "text", "time", "labels", "resources", "base64" }
files["policies"] = { read_globals = words }
files["lua/policy"] = { read_globals = words }
local spec_words = { "describe", "it", "before_each", assert = { other_fields = true } }
for _, word in ipairs(words) do spec_words[#spec_words + 1] = word end
files["policies/*_spec.lua"] = { read_globals = spec_words }
