-- Who manages which field: metadata.managedFields, and server-side apply, which stands on it.
--
-- Every write says who writes (the field manager). A create or update that changes a field moves it to its writer; an apply
-- states all fields that its manager wants, takes away those it said before and says no more, and is refused when it would
-- change what another manager owns, unless it is forced. This follows Kubernetes 1.20.2 (apiserver's fieldmanager over
-- structured-merge-diff v4.0.2), with its own ways: an update that only changes values of fields that its manager owns
-- already keeps the entry's time; after ten updaters the oldest become one "ancient-changes"; objects whose entries were
-- reset are not tracked until somebody applies ("before-first-apply" then owns all); entries have no subresource yet, and
-- no field is excluded by a strategy. Therefore call these with the object as the client sent it, decoded and defaulted, before
-- the strategy prepares it: what a strategy sets (status, clusterIP, generation) nobody owns.
--
-- Schemas are nodes of sandbox/schema. An entry of another apiVersion is compared in the version of the request: the
-- sandbox's kinds have the same fields in all versions. Nothing that is passed in is modified.

local atoms = require "sandbox.typed.atoms"
local check = require "sandbox.typed.check"
local compare = require "sandbox.typed.compare"
local empty = require "sandbox.managed.empty"
local entries = require "sandbox.managed.entries"
local errors = require "sandbox.errors"
local fields = require "sandbox.typed.fields"
local fieldset = require "sandbox.fieldset"
local kubectl = require "sandbox.managed.kubectl"
local merge = require "sandbox.typed.merge"
local prune = require "sandbox.managed.prune"
local reconcile = require "sandbox.managed.reconcile"

local M = {}

local BEFORE_APPLY = "before-first-apply"

-- What nobody manages.
local METADATA = { "f:name", "f:namespace", "f:creationTimestamp", "f:selfLink", "f:uid", "f:clusterName", "f:generation",
  "f:managedFields", "f:resourceVersion" }

-- The set without those. `set` is ours.
local function unmanaged(set)
  set["f:apiVersion"], set["f:kind"] = nil, nil
  local metadata = set["f:metadata"]
  if metadata then
    for _, key in ipairs(METADATA) do metadata[key] = nil end
    metadata["."] = nil
    if next(metadata) == nil then set["f:metadata"] = nil end
  end
  return set
end

-- The manager's name: fieldManager of the request, else the start of its user agent ("kubectl/v1.20" is "kubectl").
function M.name(field_manager, user_agent)
  if field_manager and field_manager ~= "" then return field_manager end
  local name = (user_agent or ""):match("^[^/]*"):gsub("[^%g ]", ""):sub(1, 128)
  return name ~= "" and name or "unknown"
end

-- Every entry but `except` without what the write changed and what is gone. In place; entries without fields go.
local function take(list, changed, removed, except)
  local kept = 0
  for i = 1, #list do
    local entry = list[i]
    list[i] = nil
    if i ~= except then
      local set = fieldset.difference(fieldset.difference(entry.fieldsV1, changed), removed)
      if set ~= entry.fieldsV1 then entry = entries.with(entry, set, entry.time) end
    end
    if next(entry.fieldsV1) ~= nil or i == except then
      kept = kept + 1
      list[kept] = entry
      if i == except then except = kept end
    end
  end
  return except
end

local function bring_up_to_date(list, live, atom)
  for i, entry in ipairs(list) do
    local set = reconcile.reconcile(entry.fieldsV1, live, atom)
    if set ~= entry.fieldsV1 then list[i] = entries.with(entry, set, entry.time) end
  end
end

-- Equal sets are one, frozen: a cluster's objects have few between them.
local kept, kept_count = {}, 0
local KEPT = 1000 -- then it starts anew

local function shared(set)
  local shape = typed.shape(set, nil, atoms.DEDUCED_ATOM)
  if not shape then return set end
  local known = kept[shape]
  if not known then
    if kept_count >= KEPT then kept, kept_count = {}, 0 end
    known = typed.frozen(set)
    kept[shape], kept_count = known, kept_count + 1
  end
  return known
end

-- Whether the manager at `place` has all of these fields already, and nobody else any of them: the usual update of a status.
local function is_only_its(list, place, changed)
  local own = list[place].fieldsV1
  if fieldset.union(own, changed) ~= own then return false end
  for i, entry in ipairs(list) do
    if i ~= place and fieldset.difference(entry.fieldsV1, changed) ~= entry.fieldsV1 then return false end
  end
  return true
end

-- The entries after an update of live to new, neither with managedFields. Raises { text= } for lists with a key twice.
local function updated(list, live, new, manager, operation, atom, api_version, time, as_is)
  local place = entries.find(list, manager, operation, api_version)
  local former = place and list[place]
  if not as_is then bring_up_to_date(list, live, atom) end
  local changed, removed = compare.compare(live, new, atom)
  if next(changed) == nil and next(removed) == nil then return list end
  if former and next(removed) == nil and is_only_its(list, place, changed) then return list end
  take(list, changed, removed)
  if next(changed) == nil then return list end
  local own = unmanaged(changed)
  if next(own) == nil then return list end
  place = entries.find(list, manager, operation, api_version)
  local previous = place and list[place]
  local set = previous and fieldset.union(own, previous.fieldsV1) or own
  if former and fieldset.equal(set, former.fieldsV1) then
    list[place or #list + 1] = entries.with(former, former.fieldsV1, former.time)
  else
    list[place or #list + 1] = entries.new(manager, operation, api_version, time, shared(set))
  end
  return entries.cap(list)
end

-- Sets of new objects by the shape of what was said (typed.shape), by schema node: who makes a thousand alike has one set
-- between them, and its JSON is made once.
local made = setmetatable({}, { __mode = "k" })
local SHAPES = 256 -- of a kind, then it starts anew

-- The set that the manager of a new object has; false: it must be found out the long way.
local function set_of_new(new, schema, atom)
  local shape = schema and typed.shape(new, empty.of(schema), atom)
  if not shape then return false end
  local known = made[schema]
  if not known or known.count >= SHAPES then
    known = { count = 0, sets = {} }
    made[schema] = known
  end
  local set = known.sets[shape]
  if set == nil then
    local ok, changed = pcall(compare.compare, empty.of(schema), new, atom)
    if not ok then return false end
    set = shared(unmanaged(changed))
    known.sets[shape], known.count = set, known.count + 1
  end
  return set
end

-- The managedFields of a create (live nil), update or patch: `new` with them. operation: "Update"; subresource: its name or nil
-- (entries that the request brought count only without one); schema: the kind's node or nil; time: now, as RFC 3339.
function M.after_update(live, new, manager, operation, subresource, schema, api_version, time)
  local list = entries.start(live, new, subresource ~= nil and subresource ~= "", not (schema and schema.name))
  new = entries.strip(new)
  if live and not list[1] then return new end
  local before = live and entries.strip(live) or empty.of(schema)
  if manager == nil or manager == "" then manager = "unknown" end
  local atom = atoms.root(schema)
  local set = not live and not list[1] and set_of_new(new, schema, atom)
  if set then
    if next(set) == nil then return new end
    return entries.put(new, { entries.new(manager, operation or "Update", api_version, time, set) })
  end
  local ok, found = pcall(updated, list, before, new, manager, operation or "Update", atom, api_version, time)
  if ok then return found[1] and entries.put(new, found) or new end
  if type(found) ~= "table" or not found.text then error(found, 0) end
  return new -- the server logs "[SHOULD NOT HAPPEN]" and leaves the object without managedFields
end

-- The same for the cluster's own writes of status, which come by the dozen: new shares with live what it leaves as it is,
-- and what others own is brought up to date when somebody else writes.
function M.after_status(live, new, manager, schema, api_version, time)
  local list = entries.start(live, new, true, not (schema and schema.name))
  if not list[1] then return new end
  local before, after = live, new
  if live.metadata.managedFields ~= new.metadata.managedFields then -- else nothing differs there
    before, after = entries.strip(live), entries.strip(new)
  end
  return entries.put(new, updated(list, before, after, manager, "Update", atoms.root(schema), api_version, time, true))
end

-- Apply -----------------------------------------------------------------------------------------------------------

local function quoted(text) return '"' .. (text or ""):gsub('[\\"]', "\\%0") .. '"' end

local function shown(entry)
  if entry.operation ~= "Update" then return quoted(entry.manager) end
  return quoted(entry.manager) .. " using " .. (entry.apiVersion or "")
end

-- Fields that the apply would change and another manager owns: array of { manager=, path= }, by manager.
local function conflicts_of(list, changed, except)
  local found, sets = {}, {}
  for i, entry in ipairs(list) do
    local set = i ~= except and fieldset.intersection(entry.fieldsV1, changed)
    if set and next(set) ~= nil then sets[#sets + 1] = { manager = shown(entry), set = set } end
  end
  table.sort(sets, function(a, b) return a.manager < b.manager end)
  for _, one in ipairs(sets) do
    for _, path in ipairs(fieldset.paths(one.set)) do found[#found + 1] = { manager = one.manager, path = path } end
  end
  return found
end

local function refused(found)
  local list = {}
  for i, one in ipairs(found) do list[i] = { field = fieldset.path_text(one.path), manager = one.manager } end
  return errors.apply_conflicts(list)
end

-- kubectl may overwrite what kubectl's client-side apply set: the conflicts that are left.
local function without_own(found, live, manager, api_version, schema)
  if manager ~= kubectl.MANAGER or not found[1] then return found end
  local allowed = kubectl.allowed(live, api_version, schema)
  if not allowed then return found end
  local left = {}
  for _, one in ipairs(found) do
    if not fieldset.has(allowed, one.path) then left[#left + 1] = one end
  end
  return left
end

local function plain_failure(text) return errors.failure(500, nil, text) end

-- What the server refuses before it looks at the live object.
local function unfit(config, atom, api_version)
  if config.apiVersion ~= api_version then
    return errors.bad_request(("Incorrect version specified in apply patch. Specified patch version: %s, expected: %s")
      :format(config.apiVersion or "", api_version))
  end
  local metadata = config.metadata
  if type(metadata) == "table" and atoms.list_of(metadata.managedFields) then
    return errors.bad_request("metadata.managedFields must be nil")
  end
  local problem = check.problem(config, atom)
  if problem then return plain_failure("failed to create typed patch object: " .. problem) end
end

local function owned_by_all(list)
  local all = fieldset.EMPTY
  for _, entry in ipairs(list) do all = fieldset.union(all, entry.fieldsV1) end
  return all
end

-- Who had which fields, apart from times.
local function same_owners(list, before)
  if #list ~= #before then return false end
  for i, entry in ipairs(list) do
    local was = before[i]
    if entry.manager ~= was.manager or entry.operation ~= was.operation or entry.apiVersion ~= was.apiVersion
      or not fieldset.equal(entry.fieldsV1, was.fieldsV1) then
      return false
    end
  end
  return true
end

-- The entries that an apply starts from. Those of an object that nobody tracked: all of it is one updater's.
local function starting(live, base, atom, schema, api_version, time)
  local list = entries.start(live, nil, true)
  if list[1] or not live then return list end
  return updated(list, empty.of(schema), base, BEFORE_APPLY, "Update", atom, api_version, time)
end

-- The parts of an apply that may raise { text= }.
local function applied(base, config, list, request)
  local atom, place = request.atom, entries.find(list, request.manager, "Apply")
  local former = table.move(list, 1, #list, 1, {})
  bring_up_to_date(list, base, atom)
  local last = place and list[place].fieldsV1
  place = place or #list + 1
  local set = shared(unmanaged(fields.of(config, atom)))
  local entry = entries.new(request.manager, "Apply", request.api_version, former[place] and former[place].time, set)
  list[place] = entry
  local merged = merge.merge(base, config, atom)
  if not former[1] then return merged, next(set) ~= nil and { entries.with(entry, set, request.time) } or {} end -- nobody said a thing before
  if last then merged = prune(merged, last, owned_by_all(list), atom) end
  local changed, removed = compare.compare(base, merged, atom)
  local found = conflicts_of(list, changed, place)
  local left = without_own(found, base, request.manager, request.api_version, request.schema)
  if left[1] and not request.force then return nil, refused(left) end
  place = take(list, changed, removed, place)
  local is_same = next(changed) == nil and next(removed) == nil
  if not is_same or not same_owners(list, former) then list[place] = entries.with(entry, set, request.time) end
  if next(set) == nil then table.remove(list, place) end
  return is_same and base or merged, list
end

-- The live object is not what can be merged: a list has a key twice.
local function unmergeable(live, base, atom, text)
  local words = "failed to create typed live object: "
  if not entries.start(live, nil, true)[1] then
    local group = (base.apiVersion or ""):find("/", 1, true) and "" or "/"
    words = ("failed to create manager for existing fields: failed to convert new object (%s%s, Kind=%s) to smd typed: ")
      :format(group, base.apiVersion or "", base.kind or "")
  end
  return plain_failure(words .. (check.problem(base, atom) or text))
end

-- Server-side apply: the object with the configuration laid over it and its managedFields; nil and a failure (of
-- sandbox/errors) if it is refused. live nil creates. The result is to be decoded as a body is: it may hold nulls where
-- nothing is left of a struct. subresource makes no difference in 1.20.
function M.apply(live, config, manager, force, schema, api_version, time)
  local atom = atoms.root(schema)
  local failure = unfit(config, atom, api_version)
  if failure then return nil, failure end
  local base = live and entries.strip(live) or empty.of(schema)
  local request = { manager = manager, force = force, schema = schema, atom = atom, api_version = api_version, time = time }
  local ok, object, list = pcall(function()
    return applied(base, config, starting(live, base, atom, schema, api_version, time), request)
  end)
  if not ok then
    if type(object) ~= "table" or not object.text then error(object, 0) end
    return nil, unmergeable(live, base, atom, object.text)
  end
  if not object then return nil, list end
  if manager == kubectl.MANAGER then object = kubectl.update(object, config) end
  return entries.put(object, list)
end

return M
