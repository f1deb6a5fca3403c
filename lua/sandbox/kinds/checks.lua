-- What a server says about a wrong value: the words, and the small checks that all kinds share.
--
-- The problem is exactness: people and tools read these messages, and the differential test compares them with a real
-- server's. A failure here is one of the server's own "causes":
--   { field = "spec.replicas", type = "FieldValueInvalid", message = "Invalid value: -1: must be ..." }
-- where `message` is the whole text that follows the field. The formats of names are those of RFC 1035 and 1123 as
-- Kubernetes narrows them (https://kubernetes.io/docs/concepts/overview/working-with-objects/names/).
-- A list of failures is passed along as `errs`; paths are only made when something is wrong.

local go_text = require "sandbox.go_text"
local sorted = require "sorted"

local M = {}

-- ---- How Go prints a value -------------------------------------------------------------------------------------

-- A string in quotes, as Go's %q.
M.quote = go_text.quote

-- A value that prints as this text (a Go struct, which only its own type knows how to print).
function M.verbatim(text)
  return { verbatim = text }
end

-- A map of strings as Go's %#v: map[string]string{"a":"b"}.
function M.go_map(map)
  if not map then return "map[string]string(nil)" end
  local parts = sorted(map)
  for i, key in ipairs(parts) do parts[i] = M.quote(key) .. ":" .. M.quote(map[key]) end
  return "map[string]string{" .. table.concat(parts, ", ") .. "}"
end

-- An array of strings as Go's %#v: []string{"a", "b"}.
function M.go_strings(list)
  local parts = {}
  for i, text in ipairs(list) do parts[i] = M.quote(text) end
  return "[]string{" .. table.concat(parts, ", ") .. "}"
end

-- An integer or string as Go's %#v of IntOrString.
function M.go_int_or_string(value)
  if type(value) == "string" then
    return M.verbatim(("intstr.IntOrString{Type:1, IntVal:0, StrVal:%s}"):format(M.quote(value)))
  end
  return M.verbatim(('intstr.IntOrString{Type:0, IntVal:%d, StrVal:""}'):format(value or 0))
end

-- ---- Failures --------------------------------------------------------------------------------------------------

-- A value as messages show it.
function M.shown(value)
  local kind = type(value)
  if kind == "string" then return M.quote(value) end
  if kind == "table" then return value.verbatim or json.encode(value) end
  if value == nil or value == json.null then return '"null"' end -- Go's text for what is not there, in quotes
  if math.type(value) == "float" and value == math.floor(value) then return ("%d"):format(value) end
  return tostring(value)
end

local function add(errs, kind, field, words, detail)
  if detail and detail ~= "" then words = words .. ": " .. detail end
  errs[#errs + 1] = { type = kind, field = field, message = words }
end

function M.invalid(errs, field, bad, detail) add(errs, "FieldValueInvalid", field, "Invalid value: " .. M.shown(bad), detail) end

function M.required(errs, field, detail) add(errs, "FieldValueRequired", field, "Required value", detail) end

function M.forbidden(errs, field, detail) add(errs, "FieldValueForbidden", field, "Forbidden", detail) end

function M.duplicate(errs, field, bad) add(errs, "FieldValueDuplicate", field, "Duplicate value: " .. M.shown(bad)) end

function M.not_found(errs, field, bad) add(errs, "FieldValueNotFound", field, "Not found: " .. M.shown(bad)) end

function M.too_long(errs, field, most) add(errs, "FieldValueTooLong", field, "Too long", ("must have at most %d bytes"):format(most)) end

function M.too_many(errs, field, count, most)
  add(errs, "FieldValueTooMany", field, ("Too many: %d"):format(count), ("must have at most %d items"):format(most))
end

-- `supported`: the words in the order in which the server lists them.
function M.not_supported(errs, field, bad, supported)
  local words = {}
  for i, word in ipairs(supported) do words[i] = M.quote(word) end
  add(errs, "FieldValueNotSupported", field, "Unsupported value: " .. M.shown(bad), words[1] and "supported values: " .. table.concat(words, ", "))
end

-- Every message of a check (an array of texts, or nil) as an invalid value.
function M.report(errs, field, bad, messages)
  if messages then
    for i = 1, #messages do M.invalid(errs, field, bad, messages[i]) end
  end
end

-- ---- Formats: each answers nil, or an array of messages ---------------------------------------------------------

local function regex_text(message, regex, ...)
  local examples = table.pack(...)
  if examples.n == 0 then return message .. " (regex used for validation is '" .. regex .. "')" end
  local parts = {}
  for i = 1, examples.n do parts[i] = "'" .. examples[i] .. "', " end
  return message .. " (e.g. " .. table.concat(parts, " or ") .. "regex used for validation is '" .. regex .. "')"
end

local function longest(most)
  return ("must be no more than %d characters"):format(most)
end

local LABEL_PATTERN = "^[a-z0-9][-a-z0-9]*$"
local LABEL = regex_text("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
  .. "end with an alphanumeric character", "[a-z0-9]([-a-z0-9]*[a-z0-9])?", "my-name", "123-abc")
local SUBDOMAIN = regex_text("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
  .. "start and end with an alphanumeric character",
  "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", "example.com")
local LABEL_1035 = regex_text("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
  .. "character, and end with an alphanumeric character", "[a-z]([-a-z0-9]*[a-z0-9])?", "my-name", "abc-123")
local NAME_PART = regex_text("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
  .. "alphanumeric character", "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", "MyName", "my.name", "123-abc")
local QUALIFIED = regex_text("a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with "
  .. "an alphanumeric character", "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", "MyName", "my.name", "123-abc")
  .. " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
local VALUE = regex_text("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start "
  .. "and end with an alphanumeric character", "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", "MyValue", "my_value", "12345")
local ENV_NAME = regex_text("a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must "
  .. "not start with a digit", "[-._a-zA-Z][-._a-zA-Z0-9]*", "my.env-name", "MY_ENV.NAME", "MyEnvName1")
local CONFIG_KEY = regex_text("a valid config key must consist of alphanumeric characters, '-', '_' or '.'", "[-._a-zA-Z0-9]+",
  "key.name", "KEY_NAME", "key-name")
local HEADER = regex_text("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", "X-Header-Name")
local PERCENT = regex_text("a valid percent string must be a numeric string followed by an ending '%'", "[0-9]+%", "1%", "93%")
local WILDCARD = regex_text("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
  .. "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
  "\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", "*.example.com")

local function is_label(text)
  return text:find(LABEL_PATTERN) and text:byte(-1) ~= 45 -- 45: "-"
end

function M.dns_label(text)
  local fits = is_label(text)
  if fits and #text <= 63 then return nil end
  local messages = {}
  if #text > 63 then messages[1] = longest(63) end
  if not fits then messages[#messages + 1] = LABEL end
  return messages
end

local function is_subdomain(text)
  if is_label(text) then return true end
  if not text:find("^[-a-z0-9.]+$") or text:find("^[.-]") or text:find("[.-]$") then return false end
  return not text:find("%.[.-]") and not text:find("-.", 1, true)
end

function M.dns_subdomain(text)
  local fits = is_subdomain(text)
  if fits and #text <= 253 then return nil end
  local messages = {}
  if #text > 253 then messages[1] = longest(253) end
  if not fits then messages[#messages + 1] = SUBDOMAIN end
  return messages
end

function M.wildcard_subdomain(text)
  local fits = text:sub(1, 2) == "*." and is_subdomain(text:sub(3))
  if fits and #text <= 253 then return nil end
  local messages = {}
  if #text > 253 then messages[1] = longest(253) end
  if not fits then messages[#messages + 1] = WILDCARD end
  return messages
end

function M.dns_1035_label(text)
  local fits = text:find("^[a-z][-a-z0-9]*$") and text:byte(-1) ~= 45
  if fits and #text <= 63 then return nil end
  local messages = {}
  if #text > 63 then messages[1] = longest(63) end
  if not fits then messages[#messages + 1] = LABEL_1035 end
  return messages
end

local function is_name_part(text)
  return text:find("^[A-Za-z0-9][-A-Za-z0-9_.]*$") and text:find("[A-Za-z0-9]$")
end

-- The name of a label, annotation, finalizer, resource ...: NAME or PREFIX/NAME. Most are seen again and again.
local good_names, good_count = {}, 0

local function check_qualified(text)
  local messages = {}
  local prefix, name = text:match("^([^/]*)/([^/]*)$")
  if not prefix then
    if text:find("/", 1, true) then return { QUALIFIED } end
    name = text
  elseif prefix == "" then
    messages[1] = "prefix part must be non-empty"
  else
    for _, message in ipairs(M.dns_subdomain(prefix) or {}) do messages[#messages + 1] = "prefix part " .. message end
  end
  if name == "" then
    messages[#messages + 1] = "name part must be non-empty"
  elseif #name > 63 then
    messages[#messages + 1] = "name part " .. longest(63)
  end
  if not is_name_part(name) then messages[#messages + 1] = NAME_PART end
  return messages[1] and messages
end

function M.qualified_name(text)
  if good_names[text] then return nil end
  local messages = check_qualified(text)
  if not messages and #text < 128 then
    if good_count >= 2000 then good_names, good_count = {}, 0 end
    good_names[text], good_count = true, good_count + 1
  end
  return messages
end

function M.label_value(text)
  if text == "" then return nil end
  local fits = is_name_part(text)
  if fits and #text <= 63 then return nil end
  local messages = {}
  if #text > 63 then messages[1] = longest(63) end
  if not fits then messages[#messages + 1] = VALUE end
  return messages
end

local function changes_folder(messages, text)
  if text == "." then messages[#messages + 1] = "must not be '.'"
  elseif text == ".." then messages[#messages + 1] = "must not be '..'"
  elseif text:sub(1, 2) == ".." then messages[#messages + 1] = "must not start with '..'" end
  return messages[1] and messages
end

function M.env_name(text)
  if text:find("^[_a-zA-Z][-._a-zA-Z0-9]*$") then return nil end -- the usual case
  local messages = {}
  if not text:find("^[-._a-zA-Z][-._a-zA-Z0-9]*$") then messages[1] = ENV_NAME end
  return changes_folder(messages, text)
end

-- The keys of ConfigMaps and Secrets.
function M.config_key(text)
  local messages = {}
  if #text > 253 then messages[1] = longest(253) end
  if not text:find("^[-._a-zA-Z0-9]+$") then messages[#messages + 1] = CONFIG_KEY end
  return changes_folder(messages, text)
end

function M.header_name(text)
  if not text:find("^[-A-Za-z0-9]+$") then return { HEADER } end
end

function M.percent(text)
  if not text:find("^[0-9]+%%$") then return { PERCENT } end
end

function M.range_text(least, most)
  return ("must be between %d and %d, inclusive"):format(least, most)
end

local PORT_RANGE = M.range_text(1, 65535)

function M.port_number(number)
  if number < 1 or number > 65535 then return { PORT_RANGE } end
end

function M.port_name(text)
  if #text <= 15 and text:find("^[a-z][a-z0-9]*$") then return nil end -- the usual case
  local messages = {}
  if #text > 15 then messages[1] = longest(15) end
  if not text:find("^[-a-z0-9]+$") then
    messages[#messages + 1] = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
  end
  if not text:find("[a-z]") then messages[#messages + 1] = "must contain at least one letter or number (a-z, 0-9)" end
  if text:find("--", 1, true) then messages[#messages + 1] = "must not contain consecutive hyphens" end
  if text:find("^-") or text:find("-$") then messages[#messages + 1] = "must not begin or end with a hyphen" end
  return messages[1] and messages
end

-- Names of objects. With `prefix` the text is a generateName, which may end in a dash: something follows it.
local function masked(check)
  return function(text, prefix)
    if prefix and #text > 1 and text:byte(-1) == 45 then text = text:sub(1, -2) .. "a" end
    return check(text)
  end
end
M.name_subdomain = masked(M.dns_subdomain)
M.name_label = masked(M.dns_label)
M.name_1035 = masked(M.dns_1035_label)

-- What may stand in a URL's path: the least that is asked of any name.
function M.name_path_segment(text, prefix)
  if not prefix and (text == "." or text == "..") then return { ("may not be '%s'"):format(text) } end
  local messages = {}
  for _, char in ipairs { "/", "%" } do
    if text:find(char, 1, true) then messages[#messages + 1] = ("may not contain '%s'"):format(char) end
  end
  return messages[1] and messages
end

-- "spec.containers[0]" of "spec.containers" and 1, and "spec.containers[0].env" of that: the same few are asked for with
-- every object, so they are made once. Bounded, for hostile objects with thousands of them.
local places, known_places = {}, 0

local function remembered(path, key, make)
  local of_path = places[path]
  if not of_path then
    if known_places >= 2000 then places, known_places = {}, 0 end
    of_path = {}
    places[path] = of_path
  end
  local found = of_path[key]
  if not found then
    found = make(path, key)
    of_path[key], known_places = found, known_places + 1
  end
  return found
end

local function indexed(path, i) return ("%s[%d]"):format(path, i - 1) end
local function joined(path, name) return path .. "." .. name end

function M.at(path, i) return remembered(path, i, indexed) end
function M.below(path, name) return remembered(path, name, joined) end

-- ---- Checks that report by themselves ---------------------------------------------------------------------------

M.NOT_NEGATIVE = "must be greater than or equal to 0"
M.IMMUTABLE = "field is immutable"

function M.not_negative(errs, field, name, number)
  if number and number < 0 then M.invalid(errs, field .. "." .. name, number, M.NOT_NEGATIVE) end
end

-- `shown` makes of the new value what is printed.
function M.unchanged(errs, field, new, old, shown)
  if new ~= old and not json.equal(new == nil and json.null or new, old == nil and json.null or old) then
    M.invalid(errs, field, shown and shown(new) or new, M.IMMUTABLE)
  end
end

function M.port(errs, field, port)
  if type(port) == "string" then M.report(errs, field, port, M.port_name(port))
  else M.report(errs, field, port or 0, M.port_number(port or 0)) end
end

local function bad_label(labels)
  for name, value in next, labels do
    if not good_names[name] and M.qualified_name(name) or M.label_value(value) then return true end
  end
end

function M.labels(errs, field, labels)
  if not labels or not bad_label(labels) then return end
  for _, name in ipairs(sorted(labels)) do
    M.report(errs, field, name, M.qualified_name(name))
    M.report(errs, field, labels[name], M.label_value(labels[name]))
  end
end

return M
