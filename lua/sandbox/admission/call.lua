-- One call of a webhook: the AdmissionReview that goes out, the HTTP exchange, what the answer means.
--
-- The words of everything that can go wrong are those of a Kubernetes 1.20.2 server, seen on one. A webhook with
-- a url is called there; one with a service is called only if the world file says where that service listens on this
-- machine, under the name that its certificate is for (NAME.NAMESPACE.svc): there is no network behind the sandbox.

local base64 = require "sandbox.kinds.bags"
local errors = require "sandbox.errors"
local json_patch = require "sandbox.patch.json"

local M = {}

local null = json.null

-- Who asks: the sandbox knows one person.
local USER = { username = "admin", uid = "admin", groups = json.array { "system:masters", "system:authenticated" } }

local OPTIONS = { CREATE = "CreateOptions", UPDATE = "UpdateOptions", DELETE = "DeleteOptions" }

local SCALE = { group = "autoscaling", version = "v1", kind = "Scale" }

-- ---- the request

local function gvk(kind, subresource)
  if subresource == "scale" then return SCALE end
  return { group = kind.group, version = kind.version, kind = kind.kind }
end

local function gvr(kind) return { group = kind.group, version = kind.version, resource = kind.plural } end

-- An object in the version of `kind`, which is its own kind or another version of it; not modified. A Scale is one for all.
function M.as(kind, object, subresource)
  if subresource == "scale" then return object end
  local version = kind.group == "" and kind.version or kind.group .. "/" .. kind.version
  if object.apiVersion == version and object.kind == kind.kind then return object end
  if kind.strategy and kind.strategy.from_storage then return kind.strategy.from_storage(object) end
  local new = setmetatable({}, getmetatable(object))
  for name, value in pairs(object) do new[name] = value end
  new.apiVersion, new.kind = version, kind.kind
  return new
end

local function options_of(review)
  local o = review.options or {}
  local options = { apiVersion = "meta.k8s.io/v1", kind = OPTIONS[review.operation], fieldManager = o.field_manager,
    dryRun = o.dry_run and json.array { "All" } or nil }
  if review.operation == "DELETE" then
    options.gracePeriodSeconds, options.propagationPolicy, options.preconditions = o.grace, o.propagation, o.preconditions
  end
  return options
end

local function request_of(review, kind, uid)
  local subresource = review.options and review.options.subresource
  return {
    uid = uid, kind = gvk(kind, subresource), resource = gvr(kind), subResource = subresource,
    requestKind = gvk(review.kind, subresource), requestResource = gvr(review.kind), requestSubResource = subresource,
    name = review.name ~= "" and review.name or nil,
    namespace = review.kind.namespaced and review.namespace or review.kind.id == "namespaces" and review.name or nil,
    operation = review.operation, userInfo = USER, object = review.object and M.as(kind, review.object, subresource) or null,
    oldObject = review.old and M.as(kind, review.old, subresource) or null,
    dryRun = review.options and review.options.dry_run and true or false, options = options_of(review),
  }
end

-- The newest version of AdmissionReview that both sides know.
local function review_version(webhook)
  for _, version in ipairs(webhook.admissionReviewVersions or {}) do
    if version == "v1" or version == "v1beta1" then return "admission.k8s.io/" .. version end
  end
end

-- ---- where to

local function escape_path(path)
  return (path:gsub("[^%w%-%._~/!$&'()*+,;=:@%%]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- { url = what people read, address = where it really is, server_name = } | nil, text
local function target(client, services)
  if client.url then return { url = client.url, address = client.url } end
  local service = client.service or {}
  local port = math.tointeger(service.port) or 443
  local path = service.path and service.path ~= "" and service.path or "/"
  if path:sub(1, 1) ~= "/" then path = "/" .. path end
  local host = ("%s.%s.svc"):format(service.name, service.namespace)
  local where = { url = ("https://%s:%d%s"):format(host, port, escape_path(path)), server_name = host }
  local address = services and services[service.namespace .. "/" .. service.name]
  if not address then return where, ('service %q not found'):format(service.name) end
  where.address = "https://" .. address .. escape_path(path)
  return where
end

local function with_timeout(url, seconds)
  return url .. (url:find("?", 1, true) and "&" or "?") .. "timeout=" .. seconds .. "s"
end

-- What Go's client says where ours says it in its own words.
local function trouble(where, text, kind)
  if kind == "timeout" then return "context deadline exceeded" end
  local host = (where.address or where.url):match("^%w+://([^/?]+)") or ""
  if not host:find(":%d+$") then host = host .. ":443" end
  if text:find("refused", 1, true) then return "dial tcp " .. host .. ": connect: connection refused" end
  if text:find("unable to get local issuer", 1, true) or text:find("self%-?signed") then
    return "x509: certificate signed by unknown authority"
  end
  return text
end

-- ---- the answer

local BY_STATUS = {
  [400] = "the server rejected our request for an unknown reason", [401] = "the server has asked for the client to provide credentials",
  [404] = "the server could not find the requested resource", [405] = "the server does not allow this method on the requested resource",
  [409] = "the server reported a conflict", [422] = "the server rejected our request due to an error in our request",
  [429] = "the server has received too many requests and has asked us to try again later",
  [503] = "the server is currently unable to handle the request",
  [504] = "the server was unable to return a response in the time allotted, but may still be processing the request",
}

local function status_trouble(answer)
  local body = answer.body:sub(1, 2048):gsub("%s+$", "")
  if BY_STATUS[answer.status] then return BY_STATUS[answer.status] end
  if answer.status == 403 then return body end
  if answer.status >= 500 then
    return ("an error on the server (%q) has prevented the request from succeeding"):format(body):gsub("\\\n", "\\n")
  end
  return ("the server responded with the status code %d but did not return more information"):format(answer.status)
end

local function type_trouble(review, version)
  if type(review) ~= "table" or json.is_array(review) then
    return "couldn't get version/kind; json parse error: json: cannot unmarshal " .. (type(review) == "table" and "array" or type(review))
      .. ' into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
  end
  local scheme = ' in scheme "k8s.io/apiserver/pkg/util/webhook/client.go:71"'
  local given, kind = tostring(review.apiVersion or ""), tostring(review.kind or "")
  if kind == "" then return "Object 'Kind' is missing in '" .. json.encode(review) .. "'" end
  if kind ~= "AdmissionReview" or given ~= "admission.k8s.io/v1" and given ~= "admission.k8s.io/v1beta1" then
    return ("no kind %q is registered for version %q"):format(kind, given) .. scheme
  end
  if given ~= version then
    return ("converting (%s.AdmissionReview) to (%s.AdmissionReview): unknown conversion"):format(given:match("[^/]+$"), version:match("[^/]+$"))
  end
end

-- response | nil, text
local function read_answer(answer, version, uid)
  if answer.status < 200 or answer.status > 206 then return nil, status_trouble(answer) end
  local review = json.decode(answer.body)
  if review == nil then review = answer.body end
  local text = type_trouble(review, version)
  if text then return nil, text end
  local response = review.response
  if type(response) ~= "table" then return nil, "webhook response was absent" end
  if version == "admission.k8s.io/v1" then
    if response.uid ~= uid then return nil, ('expected response.uid=%q, got %q'):format(uid, tostring(response.uid or "")) end
    local has_patch = type(response.patch) == "string" and response.patch ~= ""
    if has_patch and response.patchType == nil then return nil, "webhook returned response.patch but not response.patchType" end
    if not has_patch and response.patchType ~= nil then return nil, "webhook returned response.patchType but not response.patch" end
  end
  return response
end

-- (waits) Ask a webhook about a review as the kind that it wants. services: { ["NAMESPACE/NAME"] = "HOST:PORT" }, uid: of the
-- request. -> response | nil, text of what went wrong with the call
function M.ask(webhook, review, kind, uid, services)
  local version = review_version(webhook)
  if not version then return nil, "webhook does not accept known AdmissionReview versions (v1, v1beta1)" end
  local client, seconds = webhook.clientConfig or {}, math.tointeger(webhook.timeoutSeconds) or 10
  local where, missing = target(client, services)
  local posted = ('Post "%s": '):format(with_timeout(where.url, seconds))
  if missing then return nil, posted .. missing end
  local body = json.encode { apiVersion = version, kind = "AdmissionReview", request = request_of(review, kind, uid) }
  local bundle = type(client.caBundle) == "string" and client.caBundle ~= "" and base64.decode(client.caBundle) or nil
  local answer, text, failure = http.request { method = "POST", url = with_timeout(where.address, seconds), body = body, timeout = seconds,
    ca = bundle, server_name = where.server_name,
    headers = { "Content-Type: application/json", "Accept: application/json, */*", "User-Agent: kube-apiserver-admission" } }
  if not answer then return nil, posted .. trouble(where, text, failure) end
  return read_answer(answer, version, uid)
end

-- The failure that an answer which does not allow the request becomes.
function M.denial(webhook, response)
  local result = type(response.status) == "table" and response.status or {}
  local code = math.tointeger(result.code) or 0
  local message, reason = result.message, result.reason
  local text = ("admission webhook %q denied the request"):format(webhook.name)
  if type(message) == "string" and message ~= "" then text = text .. ": " .. message
  elseif type(reason) == "string" and reason ~= "" then text = text .. ": " .. reason
  else text = text .. " without explanation" end
  return errors.failure(code < 400 and 400 or code, type(reason) == "string" and reason or nil, text,
    type(result.details) == "table" and result.details or nil)
end

-- The object after the response's patch. -> object (the same if there is no patch) | nil, failure
function M.patched(response, object)
  if response.patchType ~= "JSONPatch" or type(response.patch) ~= "string" or response.patch == "" then return object end
  local text = base64.decode(response.patch)
  local operations = text and json.decode(text)
  if type(operations) ~= "table" or not json.is_array(operations) then
    return nil, errors.internal(("invalid character %s looking for beginning of value"):format(text and "'" .. text:sub(1, 1) .. "'" or "''"))
  end
  if #operations == 0 then return object end
  local new, why = json_patch.apply(object, operations)
  if not new then return nil, errors.internal(why or "the patch cannot be applied") end
  return new
end

return M
