-- CustomResourceDefinitions: are their names free, are they served, and the end of their instances.
--
-- Names are taken in the order in which definitions ask: whoever has a name keeps it, others of the group wait with a
-- condition that says which name it is (apiextensions-apiserver's naming, establishing, approval and finalizing controllers).
-- The server's own controllers write as "kube-apiserver". A definition in deletion loses its instances, and goes when the last
-- one is gone, which may be later if they have finalizers.

local crd = require "sandbox.schema.crd"
local crd_rules = require "sandbox.schema.crd_rules"

local M = {}

local ID = crd.ID
local NONE = {}
local CONFLICTS = { { "plural", "PluralConflict" }, { "singular", "SingularConflict" }, { "shortNames", "ShortNamesConflict" },
  { "kind", "KindConflict" }, { "listKind", "ListKindConflict" } }

local function copy(source)
  local new = {}
  for name, value in pairs(source) do new[name] = value end
  return setmetatable(new, getmetatable(source))
end

local function write(w, live, new)
  if json.equal(live, new) then return live end
  new = require("sandbox.managed").after_update(live, new, "kube-apiserver", "Update", "status",
    require("sandbox.schema.builtin").node("apiextensions.k8s.io", "v1", "CustomResourceDefinition"), "apiextensions.k8s.io/v1", w:time())
  return w:put(ID, new).object
end

-- The names that other definitions of the group have been given: of resources, of kinds.
local function taken(w, object)
  local resources, kinds = {}, {}
  for _, record in ipairs(w:each(ID)) do
    local other = record.object
    if other.spec.group == object.spec.group and other.metadata.name ~= object.metadata.name then
      local names = other.status and other.status.acceptedNames or NONE
      resources[names.plural or ""], resources[names.singular or ""] = true, true
      for _, name in ipairs(names.shortNames or NONE) do resources[name] = true end
      kinds[names.kind or ""], kinds[names.listKind or ""] = true, true
    end
  end
  return resources, kinds
end

-- The first of a name or names that is wanted, not had, and another's.
local function conflict(wanted, had, others)
  if type(wanted) ~= "table" then wanted, had = { wanted }, { had } end
  local is_had = {}
  for _, name in ipairs(had or NONE) do is_had[name] = true end
  for _, name in ipairs(wanted) do
    if name ~= "" and not is_had[name] and others[name] then return ('"%s" is already in use'):format(name) end
  end
end

-- The names that can be given now; the last conflict's reason and message, or nil.
local function settle_names(w, object)
  local resources, kinds = taken(w, object)
  local wanted, had = object.spec.names, object.status.acceptedNames or NONE
  local names, reason, message = copy(had), nil, nil
  for _, one in ipairs(CONFLICTS) do
    local field = one[1]
    local trouble = conflict(wanted[field] or "", had[field], (field == "kind" or field == "listKind") and kinds or resources)
    if trouble then reason, message = one[2], trouble else names[field] = wanted[field] end
  end
  names.categories = wanted.categories
  return names, reason, message
end

local function with_approval(object, now)
  if not crd_rules.is_protected(object.spec.group) then return object end
  local text = (object.metadata.annotations or NONE)[crd_rules.APPROVAL] or ""
  local status, reason, message = "False", "InvalidAnnotation",
    ('protected groups must have approval annotation "%s" with either a URL or a reason starting with "unapproved", see %s')
      :format(crd_rules.APPROVAL, "https://github.com/kubernetes/enhancements/pull/1111")
  if text == "" then
    reason = "MissingAnnotation"
  elseif text:find("^unapproved") then
    reason, message = "UnapprovedAnnotation", ('not approved: "%s"'):format(text)
  elseif text:find("^%a[%w+.-]*://[^/]") then
    status, reason, message = "True", "ApprovedAnnotation", "approved in " .. text
  end
  return crd.with_condition(object, "KubernetesAPIApprovalPolicyConformant", status, reason, message, now)
end

-- Look at the names of a definition and establish it when they are its own. Served is what is established.
function M.accept(w, name)
  local record = w:get(ID, "", name)
  if not record or record.object.metadata.deletionTimestamp then return end
  local now, live = w:time(), record.object
  local names, reason, message = settle_names(w, live)
  local new = with_approval(live, now)
  new = crd.with_condition(new, "NamesAccepted", reason and "False" or "True", reason or "NoConflicts",
    message or "no conflicts found", now)
  new.status.acceptedNames = names
  local established = crd.condition(new, "Established")
  if not (established and established.status == "True") then
    if reason then new = crd.with_condition(new, "Established", "False", "NotAccepted", "not all names are accepted", now)
    else new = crd.with_condition(new, "Established", "False", "Installing", "the initial names have been accepted", now) end
  end
  live = write(w, live, new)
  if not reason and crd.condition(live, "Established").status ~= "True" then
    write(w, live, crd.with_condition(live, "Established", "True", "InitialNamesAccepted", "the initial names have been accepted", now))
  end
end

-- Another definition of the group may have what this one gave back.
local function accept_others(w, object)
  for _, record in ipairs(table.move(w:each(ID), 1, #w:each(ID), 1, {})) do
    if record.object.spec.group == object.spec.group and record.name ~= object.metadata.name then M.accept(w, record.name) end
  end
end

local function finish(c, object)
  local w = c.w
  local new = crd.with_condition(object, "Terminating", "False", "InstanceDeletionCompleted", "removed all instances", w:time())
  local left = json.array {}
  for _, one in ipairs(object.metadata.finalizers or NONE) do
    if one ~= crd.FINALIZER then left[#left + 1] = one end
  end
  new.metadata = copy(object.metadata)
  new.metadata.finalizers = left[1] and left or nil
  if left[1] then
    write(w, object, new)
  else
    w:remove(ID, "", object.metadata.name)
    accept_others(w, object)
  end
end

local function has_finalizer(object)
  for _, one in ipairs(object.metadata.finalizers or NONE) do
    if one == crd.FINALIZER then return true end
  end
  return false
end

local function clear(c, object)
  local w, names = c.w, object.status.acceptedNames or object.spec.names
  local id = (names.plural or object.spec.names.plural) .. "." .. object.spec.group
  object = write(w, object, crd.with_condition(object, "Terminating", "True", "InstanceDeletionInProgress",
    "CustomResource deletion is in progress", w:time()))
  local is_served = crd.condition(object, "Established")
  if is_served and is_served.status == "True" then
    for _, record in ipairs(table.move(w:each(id), 1, #w:each(id), 1, {})) do
      if not record.object.metadata.deletionTimestamp then
        if c:kind(id) then c:delete(id, record.namespace, record.name, record.uid) else w:remove(id, record.namespace, record.name) end
      end
    end
    if #w:each(id) > 0 then return end -- their end brings us back
  end
  finish(c, w:get(ID, "", object.metadata.name).object)
end

-- One look at the definition `name`: for the cluster.
function M.sync(c, name)
  local record = c.w:get(ID, "", name)
  if not record then return true end
  if record.object.metadata.deletionTimestamp then
    if has_finalizer(record.object) then clear(c, record.object) end
  else
    M.accept(c.w, name)
  end
  return true
end

-- For the cluster's triggers: which changes make work for us.
function M.follow(c, event, id)
  local record, before = event.record, event.previous
  if id == ID then
    if event.type == "DELETED" then return end
    local new, old = record.object, before and before.object
    if not old or old.spec ~= new.spec or old.metadata.deletionTimestamp ~= new.metadata.deletionTimestamp then
      c:pend("definition", record.name)
    end
  elseif event.type == "DELETED" then
    local definition = id:find(".", 1, true) and c.w:get(ID, "", id)
    if definition and definition.object.metadata.deletionTimestamp then c:pend("definition", id) end
  end
end

return M
