-- Names of images as Docker's reference grammar has them (github.com/distribution/distribution, reference/regexp.go): [HOST[:PORT]/]
-- PATH[:TAG][@DIGEST]. The server asks for the tag, for the pull policy; the kubelet refuses what is none, with the parser's words.

local M = {}

local FORMAT = "invalid reference format"
local NAME_MOST, TAG_MOST = 255, 128
local DIGITS = { sha256 = 64, sha384 = 96, sha512 = 128 }

local function is_component(part)
  if not part:find "^[a-z0-9][a-z0-9._-]*$" or not part:find "[a-z0-9]$" then return false end
  return not (part:find "%.[._-]" or part:find "[_-]%." or part:find("_-", 1, true) or part:find("-_", 1, true) or part:find("___", 1, true))
end

local function is_path(path)
  for part in (path .. "/"):gmatch "([^/]*)/" do
    if not is_component(part) then return false end
  end
  return true
end

local function digest_trouble(digest)
  local algorithm, hex = digest:match "^(%a[%w_+.-]*):(%x+)$"
  if not algorithm or #hex < 32 then return FORMAT end
  if not DIGITS[algorithm] then return "unsupported digest algorithm" end
  if #hex ~= DIGITS[algorithm] then return "invalid checksum digest length" end
  return hex:find "%u" and "invalid checksum digest format" or nil
end

-- The name without tag and digest; then these, if there are any.
local function taken_apart(image)
  local name, digest = image:match "^([^@]*)@(.*)$"
  name = name or image
  local before, tag = name:match "^(.*):([^/:]*)$"
  return before or name, tag, digest
end

local function name_trouble(name)
  if #name == 64 and name:find "^%x+$" then return ("invalid repository name (%s), cannot specify 64-byte hexadecimal strings"):format(name) end
  local length = #name
  local first, rest = name:match "^([^/]+)/(.+)$"
  local is_host = first and (first:find "[.:]" or first == "localhost") and first:find "^[%w.:-]+$"
  if not is_host then length = length + (first and #"docker.io/" or #"docker.io/library/") end -- is meant
  local path = is_host and rest or name
  if not is_path(path) then return path:find "%u" and is_path(path:lower()) and FORMAT .. ": repository name must be lowercase" or FORMAT end
  return length > NAME_MOST and "repository name must not be more than 255 characters" or nil
end

-- {name, tag, digest} of an image, tag and digest nil if it says none; nil and the parser's words.
function M.parse(image)
  local name, tag, digest = taken_apart(image)
  if tag and (#tag > TAG_MOST or not tag:find "^[%w_][%w_.-]*$") then return nil, FORMAT end
  local trouble = name_trouble(name) or digest and digest_trouble(digest)
  if trouble then return nil, trouble end
  return { name = name, tag = tag, digest = digest }
end

return M
