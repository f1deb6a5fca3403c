-- Events. https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/

local checks = require "sandbox.kinds.checks"
local kinds = require "sandbox.kinds.kind"
local meta = require "sandbox.kinds.meta"
local rows = require "sandbox.kinds.rows"

local strategy = { unconditional_update = true, create_on_update = true, name = checks.name_path_segment }

local function is_given(text) return text and text ~= "" end

local function check_new_style(errs, object)
  local function need(name, field, most)
    local value = object[name] or ""
    if value == "" then checks.required(errs, field)
    elseif #value > most then checks.invalid(errs, field, "", ("can have at most %d characters"):format(most)) end
  end
  local controller = object.reportingComponent or ""
  if controller == "" then checks.required(errs, "reportingController") end
  checks.report(errs, "reportingController", controller, checks.qualified_name(controller))
  need("reportingInstance", "reportingInstance", 128)
  need("action", "action", 128)
  need("reason", "reason", 128)
  if #(object.message or "") > 1024 then checks.invalid(errs, "message", "", "can have at most 1024 characters") end
end

function strategy.check(errs, object)
  local namespace, about = object.metadata.namespace or "", object.involvedObject and object.involvedObject.namespace or ""
  local is_new = object.eventTime and object.eventTime ~= json.null
  local wrong
  if about == "" then wrong = namespace ~= "" and namespace ~= "default" and not (is_new and namespace == "kube-system")
  else wrong = not is_new and about ~= namespace end
  if wrong then checks.invalid(errs, "involvedObject.namespace", about, "does not match event.namespace") end
  if is_new then check_new_style(errs, object) end
  checks.report(errs, "namespace", namespace, checks.dns_subdomain(namespace))
end

function strategy.validate_create(object)
  local errs = {}
  strategy.check(errs, object)
  if errs[1] then return errs end
  return meta.validate_create(errs, object.metadata, true, checks.name_path_segment, false)
end

function strategy.validate_update(new, old)
  local errs = meta.validate_common({}, new.metadata, old.metadata)
  strategy.check(errs, new)
  return errs
end

local function of(part, name)
  return function(object) return object[part] and object[part][name] or "" end
end

strategy.fields = {
  ["involvedObject.kind"] = of("involvedObject", "kind"), ["involvedObject.namespace"] = of("involvedObject", "namespace"),
  ["involvedObject.name"] = of("involvedObject", "name"), ["involvedObject.uid"] = of("involvedObject", "uid"),
  ["involvedObject.apiVersion"] = of("involvedObject", "apiVersion"),
  ["involvedObject.resourceVersion"] = of("involvedObject", "resourceVersion"),
  ["involvedObject.fieldPath"] = of("involvedObject", "fieldPath"),
  reason = function(object) return object.reason or "" end, type = function(object) return object.type or "" end,
  reportingComponent = function(object) return object.reportingComponent or "" end,
  source = function(object)
    local component = object.source and object.source.component
    return is_given(component) and component or object.reportingComponent or ""
  end,
}

local function time_of(...)
  for i = 1, select("#", ...) do
    local time = select(i, ...)
    if type(time) == "string" then return time end
  end
end

local function row(object, w)
  local first, last = time_of(object.firstTimestamp, object.eventTime), time_of(object.lastTimestamp)
  local count = object.count or 0
  if object.series then
    last = time_of(object.series.lastObservedTime, last)
    count = object.series.count or 0
  elseif count == 0 then
    count = 1
  end
  local source = object.source or {}
  local from, place = source.component, source.host
  if not is_given(from) then from = object.reportingComponent or "" end
  if not is_given(place) then place = object.reportingInstance end
  if is_given(place) then from = from .. ", " .. place end
  local about = object.involvedObject or {}
  local target = (about.kind or ""):lower() .. (is_given(about.name) and "/" .. about.name or "")
  return { last and rows.since(last, w) or rows.since(first, w), object.type or "", object.reason or "", target, about.fieldPath or "",
    from, ((object.message or ""):gsub("%s+$", "")), rows.since(first, w), count, object.metadata.name }
end

return kinds.make { kind = "Event", plural = "events", short_names = { "ev" }, strategy = strategy, row = row }
