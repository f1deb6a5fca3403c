-- The API: a request to an answer, as a Kubernetes 1.20.2 server gives it.
--
--   request = { method=, path= (escaped), query={name=value}, accept=, content_type=, user_agent=, host=, body=<text> }
--   answer  = { status=, body=<text>, content_type=, retry_after=<seconds or nil> }
--          or { status=200, content_type=, watch=<watch of api/watch.lua> }: the owner of the connection calls watch:next() for lines
--             when the world changed (watch.id is the kind) or the time watch.due (ms) has come; nil is the end.
--
-- handle waits only in admission webhooks, and never raises: what goes wrong inside is logged and answered with 500. Paths that are
-- no resource's are answered by discovery.lua and openapi.lua. Path: route.lua; query: parameters.lua; bodies and
-- Accept: media.lua; lists: list.lua; watches: watch.lua.

local common = require "sandbox.verbs.common"
local errors = require "sandbox.errors"
local go_text = require "sandbox.go_text"
local list = require "sandbox.api.list"
local media = require "sandbox.api.media"
local parameters = require "sandbox.api.parameters"
local remove = require "sandbox.verbs.remove"
local reply = require "sandbox.api.reply"
local reviews = require "sandbox.api.reviews"
local route_of = require("sandbox.api.route").find
local scale = require "sandbox.verbs.scale"
local verbs = require "sandbox.verbs"
local watch = require "sandbox.api.watch"

local M = {}
M.__index = M

-- options: world, registry, admission (nil: none)
function M.new(options)
  return setmetatable({ world = options.world, registry = options.registry, admission = options.admission }, M)
end

local READ = { table = true, partial = true }

-- Reading

local function get(context)
  local w, kind, route = context.w, context.kind, context.route
  local record = w:get(kind.id, route.namespace, route.name)
  local version, failure = parameters.version(context.query.resourceVersion, kind.id == "events")
  if failure then return reply.failure(failure) end
  if version and version > w.version then return reply.failure(list.too_large(version, w.version)) end
  if not record then return reply.failure(errors.not_found(kind, route.name)) end
  return reply.record(200, context, record)
end

local function start_watch(context, options, filter)
  local stream = watch.new(context.w, context.kind, filter, options, reply.form(context))
  if context.wanted.as == "PartialObjectMetadata" then
    stream.form_bookmark = function(object)
      object.kind, object.apiVersion = "PartialObjectMetadata", "meta.k8s.io/" .. context.wanted.version
      return object
    end
  end
  local registry, kind = context.api.registry, context.kind
  stream.is_served = function() return registry:find(kind.group, kind.version, kind.plural) ~= nil end
  return { status = 200, content_type = "application/json", watch = stream }
end

-- What a list, a watch or the delete of a collection chooses: options, filter | nil, failure. The version is what the storage reads, so
-- it is looked at last. (Of Events a server keeps no cache, and other words.)
local function choice(context, query, is_watch)
  local options, failure = parameters.list(query, is_watch)
  if not options then return nil, failure end
  local filter
  filter, failure = list.filter(context.kind, context.route.namespace, query)
  if not filter then return nil, failure end
  local is_uncached = not is_watch and (options.limit > 0 or context.kind.id == "events")
  options.version, failure = parameters.version(query.resourceVersion, is_uncached)
  if failure then return nil, failure end
  return options, filter
end

local function list_or_watch(context)
  local is_watch = context.route.watch or parameters.boolean(context.query.watch)
  local query, name = context.query, context.route.name
  if name then query = setmetatable({ fieldSelector = "metadata.name=" .. name }, { __index = query }) end
  local options, filter = choice(context, query, is_watch)
  if not options then return reply.failure(filter) end
  if is_watch then return start_watch(context, options, filter) end
  local records, metadata = list.select(context.w, context.kind, filter, options)
  if not records then return reply.failure(metadata) end
  return reply.list(context, records, metadata)
end

-- Writing

local function answered(context, status, record, failure)
  if not record then return reply.failure(failure) end
  return reply.record(status, context, record)
end

local function create(context)
  local options, failure = parameters.write("CreateOptions", context.request, context.api.admission)
  if not options then return reply.failure(failure) end
  local object
  object, failure, options.again = media.object(context.kind, context.request, true)
  if not object then return reply.failure(failure) end
  return answered(context, 201, verbs.create(context.w, context.kind, context.route.namespace, object, options))
end

local function update(context)
  local options, failure = parameters.write("UpdateOptions", context.request, context.api.admission)
  if not options then return reply.failure(failure) end
  options.subresource = context.route.subresource
  local object
  object, failure, options.again = media.object(context.kind, context.request, true)
  if not object then return reply.failure(failure) end
  local record, refused, created = verbs.update(context.w, context.kind, context.route.namespace, context.route.name, object, options)
  return answered(context, created and 201 or 200, record, refused)
end

-- The type, body and options of a patch | nil, failure, true if it is the body that cannot be read (not of an apply)
local function read_patch(context)
  local patch_type, failure = media.patch_type(context.kind, context.request)
  if not patch_type then return nil, failure end
  local options
  options, failure = parameters.write("PatchOptions", context.request, context.api.admission, patch_type == "apply")
  if not options then return nil, failure end
  local body
  body, failure = media.patch(patch_type, context.request)
  if not body then return nil, failure, (patch_type ~= "apply" or context.route.subresource ~= nil) and failure.code ~= 413 end
  options.subresource = context.route.subresource
  return patch_type, body, options
end

-- The answer to what read_patch refused: a body is read when there is something to apply it to.
local function refuse_patch(context, failure, is_body)
  local kind, route = context.kind, context.route
  if is_body and not context.w:get(kind.id, route.namespace, route.name) then failure = errors.not_found(kind, route.name) end
  return reply.failure(failure)
end

local function patch(context)
  local route = context.route
  local patch_type, body, options = read_patch(context)
  if not patch_type then return refuse_patch(context, body, options) end
  local record, failure, created = verbs.patch(context.w, context.kind, route.namespace, route.name, patch_type, body, options)
  return answered(context, created and 201 or 200, record, failure)
end

-- Kinds whose DELETE answers with the object though it is gone (ReturnDeletedObject in the server's registries).
local SHOWN = { pods = true, serviceaccounts = true, resourcequotas = true }

local function delete_options(context)
  local body, failure = media.delete_options(context.request)
  if failure then return nil, failure end
  return parameters.delete(body, context.query, context.api.admission)
end

local function delete(context)
  local options, failure = delete_options(context)
  if not options then return reply.failure(failure) end
  local kind, route = context.kind, context.route
  local record, refused, is_gone = verbs.delete(context.w, kind, route.namespace, route.name, options)
  if not record then return reply.failure(refused) end
  if kind.id == "services" or is_gone and not SHOWN[kind.id] then
    return reply.value(200, errors.success { name = record.name, group = kind.group ~= "" and kind.group or nil, kind = kind.plural,
      uid = record.uid }, context.wanted)
  end
  return reply.record(not is_gone and options.orphan_given and 202 or 200, context, record)
end

local function delete_collection(context)
  local options, failure = delete_options(context)
  if not options then return reply.failure(failure) end
  local chosen, filter = choice(context, context.query, false)
  if not chosen then return reply.failure(filter) end
  local records, metadata = list.select(context.w, context.kind, filter, chosen)
  if not records then return reply.failure(metadata) end
  options.is_collection = true
  for _, record in ipairs(records) do
    local done, refused = verbs.delete(context.w, context.kind, record.namespace, record.name, options)
    if not done and refused.code ~= 404 then return reply.failure(refused) end
    -- A slip of the server of 1.20: the first pod's grace becomes that of all.
    if context.kind.id == "pods" then options.grace = remove.pod_grace(record.object, options) end
  end
  return reply.list(context, records, metadata)
end

-- Subresources

local SCALE_PATCHES = { json = "sandbox.patch.json", merge = "sandbox.patch.merge", strategic = "sandbox.patch.merge" }
local SCALE = scale.KIND

local function write_scale(context, options, change)
  local value, failure = scale.write(context.w, context.kind, context.route.namespace, context.route.name, options, change)
  if not value then return reply.failure(failure) end
  return reply.value(200, value, context.wanted)
end

local function update_scale(context)
  local options, failure = parameters.write("UpdateOptions", context.request, context.api.admission)
  if not options then return reply.failure(failure) end
  local object
  object, failure = media.object(SCALE, context.request)
  local is_unread = failure and failure.code == 400 and context.kind.crd
  if not object and not is_unread then return reply.failure(failure) end
  if object then object, failure = scale.decode(context.w, object) end
  if failure and context.kind.crd then -- whose server knows no other Scale to name
    failure = errors.bad_request('no kind is registered for the type v1.Scale in scheme '
      .. '"k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go:688"')
  end
  failure = failure or common.check_name(object.metadata, context.route.namespace, context.route.name)
  if failure then return reply.failure(failure) end
  options.scale_uid = type(object.metadata.uid) == "string" and object.metadata.uid ~= "" and object.metadata.uid or nil
  return write_scale(context, options, function() return object end)
end

local function patch_scale(context)
  local patch_type, body, options = read_patch(context)
  if not patch_type then return refuse_patch(context, body, options) end
  if patch_type == "apply" and context.kind.crd then
    local route = context.route
    if not context.w:get(context.kind.id, route.namespace, route.name) then
      return reply.failure(errors.not_found(context.kind, route.name))
    end
    return reply.failure(errors.unsupported_media { "application/json-patch+json", "application/merge-patch+json" })
  end
  options.subresource = nil
  return write_scale(context, options, function(current)
    if patch_type == "apply" then return scale.merged(context.w, current, body, options) end
    local new, _, failure = require(SCALE_PATCHES[patch_type]).apply(current, body)
    if not new then return nil, failure end
    return scale.decode(context.w, new, true)
  end)
end

local function get_scale(context)
  local kind = context.kind
  local record = context.w:get(kind.id, context.route.namespace, context.route.name)
  local _, wrong = parameters.version(context.query.resourceVersion)
  if wrong and kind.crd then return reply.failure(wrong) end
  if not record or wrong then -- a built-in kind's server says of any trouble that there is no such object
    return reply.failure(errors.not_found(kind.crd and kind or kind.plural .. "/scale." .. kind.group, context.route.name))
  end
  local value, failure = scale.read(context.kind, record)
  if failure then return reply.failure(failure) end
  return reply.value(200, value, context.wanted)
end

local SCALE_METHODS = { GET = get_scale, PUT = update_scale, PATCH = patch_scale }

-- The types of their bodies.
local TYPES = { binding = { "", "v1", "Binding" }, eviction = { "policy", "v1beta1", "Eviction" } }

-- The methods of those that have no body to be stored; the others take a POST.
local READS, STREAMS = { GET = true }, { GET = true, POST = true }
local SPECIAL_METHODS = { log = READS, exec = STREAMS, attach = STREAMS, portforward = STREAMS }

-- Those whose query is looked at before there is an object: f(query, name) -> failure | nil
local CHECKS = { log = require("sandbox.kinds.pod_log").check }

-- (may wait) What webhooks make of a body that is of another kind than its resource. -> body | nil, failure
local function admitted(context, body, options)
  local route, admission = context.route, options.admission
  if not admission or not admission:may_wait() then return body end
  local group, version, name = table.unpack(TYPES[route.subresource])
  body.apiVersion, body.kind = group == "" and version or group .. "/" .. version, name
  local review = { operation = "CREATE", kind = context.kind, namespace = route.namespace, name = route.name, object = body,
    options = setmetatable({ subresource = route.subresource }, { __index = options }),
    decode = function(_, object) return object end }
  local object, failure = admission:mutate(review)
  if not object then return nil, failure end
  review.object = object
  local _, refused = admission:validate(review)
  if refused then return nil, refused end
  return object
end

-- What only some kinds have (pods/log, pods/binding, pods/exec ...): f(w, request) -> { status, object | text } | nil, failure
local function special(context, f)
  local w, kind, route = context.w, context.kind, context.route
  local options, failure = parameters.write("CreateOptions", context.request, context.api.admission)
  if not options then return reply.failure(failure) end
  local body
  if TYPES[route.subresource] then
    body, failure = media.object({ kind = route.subresource }, context.request)
    if not body then return reply.failure(failure) end
    local clean, why = media.typed(TYPES[route.subresource], body)
    if not clean then return reply.failure(errors.bad_request(why)) end
    body = clean
  end
  if route.subresource == "binding" and (type(body.metadata) ~= "table" or body.metadata.name ~= route.name) then
    return reply.failure(errors.bad_request("name in URL does not match name in Binding object"))
  end
  local check = CHECKS[route.subresource]
  failure = check and check(context.query, route.name)
  if failure then return reply.failure(failure) end
  if TYPES[route.subresource] then
    body, failure = admitted(context, body, options)
    if not body then return reply.failure(failure) end
  end
  local record = w:get(kind.id, route.namespace, route.name)
  if not record then return reply.failure(errors.not_found(kind, route.name)) end
  local done, refused = f(w, { verbs = verbs, kind = kind, record = record, namespace = route.namespace, name = route.name,
    query = context.query, body = body, options = options })
  if not done then return reply.failure(refused) end
  if done.watch then return { status = done.status, watch = done.watch, content_type = "text/plain" } end
  if done.text then return { status = done.status, body = done.text, content_type = done.status ~= 204 and "text/plain" or nil } end
  if done.object.kind == "Status" then done.object.code = done.status end
  return reply.value(done.status, done.object, context.wanted)
end

local STATUS_METHODS = { GET = get, PUT = update, PATCH = patch }

-- The handler of a subresource's method | nil, whether there is such a subresource
local function subresource_handler(context)
  local kind, route, method = context.kind, context.route, context.request.method
  local own = kind.subresources and kind.subresources[route.subresource]
  if not own then return nil, false end
  if route.subresource == "scale" then return scale.has(kind) and SCALE_METHODS[method], true end
  if type(own) == "function" then
    local methods = SPECIAL_METHODS[route.subresource]
    local is_one = methods and methods[method] or not methods and method == "POST"
    return is_one and function(one) return special(one, own) end or nil, true
  end
  if route.subresource == "finalize" then return method == "PUT" and update or nil, true end
  return STATUS_METHODS[method], true
end

-- Dispatch

local ITEM = { GET = get, PUT = update, PATCH = patch, DELETE = delete }
local COLLECTION = { GET = list_or_watch, POST = create, DELETE = delete_collection }
local VERBS = { [get] = "get", [update] = "update", [patch] = "patch", [delete] = "delete", [list_or_watch] = "list", [create] = "create",
  [delete_collection] = "deletecollection" }
local METHOD_VERBS = { GET = "get", PUT = "update", PATCH = "patch", DELETE = "delete", POST = "create" }

local function is_allowed(kind, handler)
  local verb = VERBS[handler]
  if not kind.verbs or not verb then return true end
  for _, one in ipairs(kind.verbs) do
    if one == verb then return true end
  end
  return false
end

local function refuse_method(context)
  local kind, method = context.kind, context.request.method
  if kind.crd and not context.route.name and (method == "PUT" or method == "PATCH") then
    local _, failure
    if method == "PATCH" then _, failure = media.patch_type(kind, context.request) end
    return reply.failure(failure or errors.bad_request("name must be provided"))
  end
  if kind.crd then return reply.failure(errors.method_not_allowed(kind, METHOD_VERBS[method] or "")) end
  return reply.failure(errors.no_such_method())
end

-- The handler for a request | nil, the answer (nil: no such method)
local function handler_of(context)
  local kind, route, method = context.kind, context.route, context.request.method
  if route.watch then return method == "GET" and list_or_watch or nil end
  if route.subresource then
    local handler, is_there = subresource_handler(context)
    if handler or is_there then return handler end
    if kind.crd and context.w:get(kind.id, route.namespace, route.name) == nil then
      return nil, reply.failure(errors.not_found(kind, route.name))
    end
    return nil, reply.failure(kind.crd and errors.not_found(kind, route.name) or errors.no_such_path())
  end
  -- The handler of custom resources does not look at the name of a POST.
  if route.name and not (kind.crd and method == "POST") then return ITEM[method] end
  -- A namespaced kind can be read across namespaces, but not written.
  if kind.namespaced and route.namespace == "" and method ~= "GET" then
    return nil, kind.crd and reply.failure "page" or reply.failure(errors.no_such_method())
  end
  return COLLECTION[method]
end

-- What a storage cannot make a key of. -> failure | nil
local function check_key(route)
  if route.name == "" then return errors.bad_request "name must be provided" end
  if route.name and route.kind.namespaced and route.namespace == "" then return errors.bad_request "Namespace parameter required." end
  if route.name and route.name:find("%", 1, true) then
    return errors.bad_request(("Name parameter invalid: %s: may not contain '%%'"):format(go_text.quote(route.name)))
  end
end

local function resource(self, request)
  local route, trouble = route_of(self.registry, request.path)
  if not route then return reply.failure(trouble) end
  local context = { api = self, w = self.world, request = request, query = request.query or {}, route = route, kind = route.kind }
  local handler, refused = handler_of(context)
  if not handler then return refused or refuse_method(context) end
  if not is_allowed(route.kind, handler) then return refuse_method(context) end
  local failure
  context.wanted, failure = media.wanted(request.accept, READ)
  if not context.wanted then return reply.failure(failure) end
  failure = check_key(route)
  if failure then return reply.failure(failure) end
  return handler(context)
end

local function review(request, found)
  if request.method ~= "POST" then return reply.failure(errors.no_such_method()) end
  local object, failure = media.object({ kind = found.kind }, request)
  if not object then return reply.failure(failure) end
  local answer
  answer, failure = reviews.answer(found, object, request.path)
  if not answer then return reply.failure(failure) end
  return reply.value(201, answer)
end

-- Paths that are no resource's.
local function other(self, request)
  local answer = require("sandbox.discovery").answer(self.registry, request)
  if answer then return answer end
  if request.path:find("^/openapi/") then
    answer = require("sandbox.openapi").answer(self.registry, request)
    if answer then return answer end
  end
  return reply.value(404, { paths = json.array { "/api", "/api/v1", "/apis", "/healthz", "/livez", "/openapi/v2", "/readyz", "/version" } })
end

local function dispatch(self, request)
  local found = reviews.find(request.path)
  if found then return review(request, found) end
  if request.path:find("^/api/[^/]*/+[^/]") or request.path:find("^/apis/+[^/]+/+[^/]+/+[^/]") then return resource(self, request) end
  return other(self, request)
end

local function trace(trouble)
  return tostring(trouble)
end

function M:handle(request)
  local ok, answer = xpcall(dispatch, trace, self, request)
  if ok then return answer end
  log.error("the sandbox could not answer a request", { method = request.method, path = request.path, error = answer })
  return reply.failure(errors.internal("the sandbox failed: " .. answer))
end

return M
