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

-- What is written at a subresource is of another kind than its resource.
local OTHERS = { scale = { group = "autoscaling", version = "v1", kind = "Scale" }, binding = { group = "", version = "v1", kind = "Binding" },
  eviction = { group = "policy", version = "v1beta1", kind = "Eviction" } }

-- ---- the request

local function gvk(kind, subresource)
  if OTHERS[subresource] then return OTHERS[subresource] end
  return { group = kind.group, version = kind.version, kind = kind.kind }
end

local function gvr(kind) return { group = kind.group, version = kind.version, resource = kind.plural } end

-- An object in the version of `kind`, which is its own kind or another version of it; not modified. A Scale, Binding or Eviction is one for all.
function M.as(kind, object, subresource)
  if OTHERS[subresource] then return object end
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
  if text:find("ended the connection before it answered", 1, true) then return "EOF" end
  if text:find("wrong version number", 1, true) then return "tls: first record does not look like a TLS handshake" end
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

-- A JSON null is as good as nothing.
local function given(value)
  if value ~= null then return value end
end

-- Text is shown, a Status speaks for itself, and of everything else it is only said that it is unknown.
local function status_trouble(answer)
  local status = json.decode(answer.body)
  if type(status) == "table" and status.kind == "Status" and status.status ~= "Success" then return tostring(given(status.message) or "") end
  if BY_STATUS[answer.status] then return BY_STATUS[answer.status] end
  local body = (answer.content_type or ""):find "^text/" and answer.body:sub(1, 2048):gsub("%s+$", "") or "unknown"
  if answer.status == 403 or answer.status == 415 then return body end
  if answer.status == 406 then
    return body ~= "unknown" and body or "the server was unable to respond with a content type that the client supports"
  end
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
  local api, kind = tostring(given(review.apiVersion) or ""), tostring(given(review.kind) or "")
  if api == "" then api = version end -- what is not said is taken to be as asked
  if kind == "" then kind = "AdmissionReview" end
  if api == "v1" and kind == "Status" then
    return ("converting (v1.Status) to (%s.AdmissionReview): unknown conversion"):format(version:match("[^/]+$"))
  end
  if kind ~= "AdmissionReview" or api ~= "admission.k8s.io/v1" and api ~= "admission.k8s.io/v1beta1" then
    return ("no kind %q is registered for version %q"):format(kind, api) .. scheme
  end
  if api ~= version then
    return ("converting (%s.AdmissionReview) to (%s.AdmissionReview): unknown conversion"):format(api:match("[^/]+$"), version:match("[^/]+$"))
  end
end

-- What the fields of a response must be, and what Go's decoder says of others.
local FIELDS = {
  { "uid", "UID", "string", 'ReadString: expects " or n' }, { "allowed", "Allowed", "boolean", "ReadBool: expect t or f" },
  { "status", "Result", "table", "readObjectStart: expect { or n" }, { "patch", "Patch", "string", "base64Codec: invalid input" },
  { "patchType", "PatchType", "string", 'ReadString: expects " or n' },
}
local RESULT = { { "code", "Code", "number", "readUint32: unexpected character" }, { "message", "Message", "string", 'ReadString: expects " or n' },
  { "reason", "Reason", "string", 'ReadString: expects " or n' } }

local function field_trouble(fields, object, place)
  for _, field in ipairs(fields) do
    local value = given(object[field[1]])
    if value ~= nil and type(value) ~= field[3] then return ("%s.%s: %s"):format(place, field[2], field[4]) end
  end
end

local function shape_trouble(response, version)
  local place = version:match("[^/]+$")
  local text = field_trouble(FIELDS, response, place .. ".AdmissionResponse")
  local result = given(response.status)
  if not text and result then text = field_trouble(RESULT, result, place .. ".AdmissionResponse.Result: v1.Status") end
  if not text and given(response.patch) and not base64.decode(response.patch) then
    text = place .. ".AdmissionResponse.Patch: decode base64: illegal base64 data"
  end
  return text and place .. ".AdmissionReview.Response: " .. text
end

-- A patch and its type come together, and only where something may be changed.
local function patch_trouble(response, is_mutating)
  local has_patch, type_of = (given(response.patch) or "") ~= "", given(response.patchType)
  if not is_mutating then
    return has_patch and "validating webhook may not return response.patch" or type_of and "validating webhook may not return response.patchType"
      or nil
  end
  if has_patch and type_of == nil then return "webhook returned response.patch but not response.patchType" end
  if not has_patch and type_of ~= nil then return "webhook returned response.patchType but not response.patch" end
  if type_of == "" then return 'webhook returned invalid response.patchType of ""' end
  if type_of and type_of ~= "JSONPatch" then return ("unsupported patch type %q"):format(type_of) end
end

local function decoded(answer)
  if (answer.content_type or ""):find "yaml" then
    local documents = yaml.decode(answer.body, "the answer")
    if documents then return documents[1] end
  end
  local review = json.decode(answer.body)
  if review == nil then return answer.body end
  return review
end

-- response | nil, text
local function read_answer(answer, version, uid, is_mutating)
  if answer.status < 200 or answer.status > 206 then return nil, status_trouble(answer) end
  if answer.body == "" then
    return nil, ("0-length response with status code: %d and content type: %s"):format(answer.status, answer.content_type or "")
  end
  local review = decoded(answer)
  local text = type_trouble(review, version)
  if text then return nil, text end
  local response = given(review.response)
  if type(response) ~= "table" then return nil, "webhook response was absent" end
  text = shape_trouble(response, version)
  if text or version ~= "admission.k8s.io/v1" then
    if text then return nil, text end
    return response
  end
  if response.uid ~= uid then return nil, ('expected response.uid=%q, got %q'):format(uid, tostring(given(response.uid) or "")) end
  local api, kind = tostring(given(review.apiVersion) or ""), tostring(given(review.kind) or "")
  if api == "" or kind == "" then
    return nil, ("expected webhook response of %s, Kind=AdmissionReview, got %s, Kind=%s"):format(version, api == "" and "/" or api, kind)
  end
  text = patch_trouble(response, is_mutating)
  if text then return nil, text end
  return response
end

-- (waits) Ask a webhook about a review as the kind that it wants. services: { ["NAMESPACE/NAME"] = "HOST:PORT" }, uid: of the
-- request, is_mutating: whether a patch is welcome. -> response | nil, text of what went wrong with the call
function M.ask(webhook, review, kind, uid, services, is_mutating)
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
  if not answer and text:find("in the middle of its answer", 1, true) then
    return nil, "unexpected error when reading response body. Please retry. Original error: unexpected EOF"
  end
  if not answer then return nil, posted .. trouble(where, text, failure) end
  return read_answer(answer, version, uid, is_mutating)
end

-- The failure that an answer which does not allow the request becomes.
function M.denial(webhook, response)
  local result = given(response.status) or {}
  local code = math.tointeger(result.code) or 0
  local message, reason = result.message, result.reason
  local text = ("admission webhook %q denied the request"):format(webhook.name)
  if type(message) == "string" and message ~= "" then text = text .. ": " .. message
  elseif type(reason) == "string" and reason ~= "" then text = text .. ": " .. reason
  else text = text .. " without explanation" end
  code = code < 400 and 400 or math.min(code, 599) -- the highest that our server speaks
  return errors.failure(code, type(reason) == "string" and reason or nil, text,
    type(result.details) == "table" and result.details or nil)
end

-- The object after the response's patch. -> object (the same if there is no patch) | nil, failure
function M.patched(response, object)
  local patch = given(response.patch) or ""
  if patch == "" then return object end
  local text = base64.decode(patch)
  local operations = json.decode(text)
  if operations == null then return object end
  if operations == nil then return nil, errors.internal(("invalid character '%s' looking for beginning of value"):format(text:sub(1, 1))) end
  if type(operations) ~= "table" or not json.is_array(operations) then
    return nil, errors.internal(("json: cannot unmarshal %s into Go value of type jsonpatch.Patch")
      :format(type(operations) == "table" and "object" or type(operations)))
  end
  if #operations == 0 then return object end
  local new, why = json_patch.apply(object, operations)
  if not new then return nil, errors.internal(why or "the patch cannot be applied") end
  if new.apiVersion ~= object.apiVersion or new.kind ~= object.kind then -- nothing else can come of the request
    return nil, errors.internal(('no kind %q is registered for version %q in scheme "pkg/api/legacyscheme/scheme.go:30"')
      :format(tostring(new.kind), tostring(new.apiVersion)))
  end
  return new
end

return M
