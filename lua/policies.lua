-- A policy folder as a table of files, whether it is the built-in one, a folder of the administrator's, or a
-- mounted ConfigMap (whose keys have no slash: children.deployment.lua is children/deployment.lua).

local guard = require "guard"
local lines = require "line"

local M = {}

local function is_policy_file(name)
  return name:match("%.lua$") or name:match("%.yaml$")
end

-- Specs, cases and what only they use (spec_*.lua).
local function is_spec(name)
  local base = name:match("[^/]+$")
  return base:match("_spec%.lua$") or base:match("^spec_.*%.lua$") or base:match("_cases%.yaml$")
end

local function built_in(lean)
  local files = {}
  for _, name in ipairs(moonphase.assets("policies/")) do
    local short = name:sub(#"policies/" + 1)
    if not (lean and is_spec(short)) then files[short] = moonphase.read_asset(name) end
  end
  return files
end

-- Files of `dir`, one level of folders deep. nil, text.
local function of_folder(dir)
  local files = {}
  local function take(relative)
    local kind = fs.kind(dir .. "/" .. relative)
    if kind == "other" then return nil, ("%s is a pipe or a device: policies are files"):format(relative) end
    if kind ~= "file" then return true end -- a folder, or what has gone since it was listed
    local text, why = fs.read(dir .. "/" .. relative)
    if not text then return nil, why end
    text = text:gsub("^\xEF\xBB\xBF", "") -- what some editors put in front of a text (a byte order mark)
    local fine, odd = utf8.len(text)
    if not fine then
      local line = select(2, text:sub(1, odd):gsub("\n", "")) + 1
      return nil, ("%s:%d: here is a letter that is not UTF-8 (byte 0x%02X): save the file as UTF-8"):format(relative, line, text:byte(odd))
    end
    files[relative] = text
    return true
  end
  local function take_all(below, is_deep)
    local names, why = fs.list(below == "" and dir or dir .. "/" .. below)
    if not names then return nil, "the policies folder cannot be read: " .. why end
    for _, name in ipairs(names) do
      local is_hidden, ok, trouble = name:sub(1, 1) == ".", true, nil
      if is_deep and not is_hidden and fs.kind(dir .. "/" .. name) == "directory" then
        ok, trouble = take_all(name .. "/")
      elseif not is_hidden and is_policy_file(name) then
        ok, trouble = take(below .. name)
      end
      if not ok then return nil, trouble end
    end
    return true
  end
  local ok, trouble = take_all("", true)
  if not ok then return nil, trouble end
  if not files["phdeployment.lua"] then
    return nil, dir .. " holds no phdeployment.lua: a folder of policies is one like the built-in one"
  end
  return files
end

-- A PolicyError as one or two lines for people.
function M.explain_error(failure)
  local text = guard.sentence(failure)
  if failure.source and failure.source ~= "" then text = text .. "\n    " .. failure.source:gsub("^%s+", "") end
  return text
end

-- The folder's files. dir: nil for the built-in ones; lean: of those no specs, which passed when moonphase was built and are
-- most of their text. nil, text.
function M.files(dir, lean)
  if dir == nil then return built_in(lean) end
  return of_folder(dir)
end

-- What one call of a policy may use, everywhere: run, render and its specs (more with more than half a megabyte of input,
-- script/limits.h). A decision takes about 7,000 instructions; a million last about 10 ms; specs, which make worlds of their own, need
-- more than one.
M.LIMITS = { instructions = 2000000 }

local SCALARS = { string = "text (quote it)", number = "a number", boolean = "true or false" }

-- What a scalar must be, and what stands there instead.
local function scalar_trouble(ours, value)
  if value == json.null then return " has no value: it must be " .. SCALARS[type(ours)] end
  local odd = type(value) == "string" and (", not the text %q"):format(value:sub(1, 40)) or ""
  local unit = type(ours) == "number" and type(value) == "string" and value:match("^%d+%.?%d*%a+$") and ": it is written without a unit" or ""
  return " must be " .. SCALARS[type(ours)] .. odd .. unit
end

-- Merge `over` into `base`, key by key: a map goes deeper, everything else replaces, by something of the same type.
local function overlay(base, over, path, unknown, wrong)
  local out = {}
  for k, v in pairs(base) do out[k] = v end
  for k, v in pairs(over) do
    local at = path == "" and k or path .. "." .. k
    if base[k] == nil and unknown then unknown[#unknown + 1] = at end
    if type(v) == "table" and not json.is_array(v) and type(base[k]) == "table" and not json.is_array(base[k]) then
      -- maps that are empty by default hold keys of the administrator's own choice
      out[k] = overlay(base[k], v, at, next(base[k]) ~= nil and unknown or nil, wrong)
    elseif type(base[k]) == "table" and not (type(v) == "table" and (json.is_array(v) == json.is_array(base[k]) or next(v) == nil)) then
      wrong[#wrong + 1] = at .. (json.is_array(base[k]) and " must be a list" or " must be a map of names to values")
    elseif base[k] ~= nil and SCALARS[type(base[k])] and type(v) ~= type(base[k]) then
      wrong[#wrong + 1] = at .. scalar_trouble(base[k], v)
    else
      out[k] = v
    end
  end
  return out
end

-- nil, "FILE:LINE: ..." and the same as a PolicyError has it: {file, line, source, text}.
local function at_line(text, file, line, words)
  return nil, ("%s:%d: %s"):format(file, line, words), { outcome = "error", file = file, line = line, source = lines.shown(text, line), text = words }
end

local function not_yaml(text, file, why)
  local line, words = require("misread").of(text, why)
  if not line then return nil, why end
  return at_line(text, file, line, words)
end

local function one_document(text, name)
  local documents, why = yaml.decode(text, name)
  if not documents then return not_yaml(text, name, why) end
  if #documents > 1 then return nil, name .. " holds " .. #documents .. " documents; settings are one" end
  local settings = documents[1]
  if settings == nil or settings == json.null then settings = {} end
  if type(settings) ~= "table" or json.is_array(settings) then
    return nil, name .. ": settings are a map of names to values"
  end
  return settings
end

-- "FILE:LINE: ..." of the first of these settings ("grace.image", "grace.image must be a number").
local function refused(text, file, before, list, after)
  table.sort(list)
  local keys = {}
  for key in list[1]:match("^%S+"):gmatch("[^.]+") do keys[#keys + 1] = key end
  return at_line(text, file, require("outline").new(text):line(keys), before .. table.concat(list, ", ") .. (after or ""))
end

local function is_map(value) return type(value) == "table" and not json.is_array(value) end

-- A name that ours has not, where one of ours that is much like it is missing: it is misspelt, and the setting would be as if nobody had
-- said it. (Settings of a folder's own are like none of them.)
local function find_misspelt(ours, theirs, path, found)
  local missing = {}
  for name in pairs(ours) do
    if theirs[name] == nil then missing[#missing + 1] = name end
  end
  table.sort(missing)
  for name, value in pairs(theirs) do
    local near = ours[name] == nil and missing[1] and require("lint.show").nearest(tostring(name), missing)
    if near then found[#found + 1] = ("%s%s is none that there is; did you mean %s?"):format(path, name, near) end
    if is_map(value) and is_map(ours[name]) then find_misspelt(ours[name], value, path .. name .. ".", found) end
  end
end

-- settings.yaml of the folder; what moonphase's own has too is of the same type there. nil, text, and where (as of a PolicyError).
local function of_files(files)
  local text, name = files["settings.yaml"] or "", "settings.yaml"
  local settings, why, place = one_document(text, name)
  if not settings then return nil, why, place end
  local ours, wrong = moonphase.read_asset("policies/settings.yaml"), {}
  if ours and ours ~= text then
    ours = one_document(ours, name) or {}
    overlay(ours, settings, "", nil, wrong)
    find_misspelt(ours, settings, "", wrong)
  end
  if #wrong > 0 then return refused(text, name, "the setting ", wrong) end
  return settings
end

local read_once = {}

-- The administrator's settings. What is no file (`--settings <(...)`) can be read one time only, and says the same from then on.
local function settings_text(path)
  if read_once[path] then return read_once[path] end
  local text, trouble = fs.read(path)
  if text and fs.kind(path) ~= "file" then read_once[path] = text end
  return text, trouble
end

-- settings.yaml of the folder with the administrator's file over it. nil, text, and where it is known {file, line, source, text}.
function M.settings(files, path)
  local settings, why, place = of_files(files)
  if not settings or not path then return settings, why, place end
  local text, trouble = settings_text(path)
  if not text then return nil, "--settings " .. path .. " cannot be read: " .. trouble end
  local over, not_read, at = one_document(text, path)
  if not over then return nil, not_read, at end
  if next(settings) == nil and next(over) ~= nil and files["settings.yaml"] then
    return nil, "settings.yaml of the policies is empty: it says of each setting what it is if nobody says otherwise; take back what was there"
  end
  local unknown, misshapen = {}, {}
  settings = overlay(settings, over, "", unknown, misshapen)
  if #unknown > 0 then return refused(text, path, "unknown setting ", unknown, "; settings.yaml of the policies lists all") end
  if #misshapen > 0 then return refused(text, path, "the setting ", misshapen) end
  return settings
end

local function value_at(settings, keys)
  for _, key in ipairs(keys) do
    if type(settings) ~= "table" then return nil end
    settings = settings[key]
  end
  return settings
end

-- Where the setting stands that a sentence begins with ("route is ..."): a PolicyError of that sentence. path: as for M.settings.
function M.setting_failure(files, path, sentence)
  local keys = {}
  for key in (sentence:match("^[%w.]+") or ""):gmatch("[^.]+") do keys[#keys + 1] = key end
  local over = path and settings_text(path)
  local in_over = over and value_at(one_document(over, path), keys) ~= nil
  local text, file = in_over and over or files["settings.yaml"] or "", in_over and path or "settings.yaml"
  local _, _, failure = at_line(text, file, require("outline").new(text):line(keys) or 1, sentence)
  return failure
end

-- What decides: specs are no part of a generation that runs, nor of its digest.
function M.without_specs(files)
  local kept = {}
  for name, text in pairs(files) do
    if not is_spec(name) then kept[name] = text end
  end
  return kept
end

-- A generation of these files; nil and a PolicyError. background: on a worker thread, the call waits then.
function M.generation(files, name, background)
  local kept = M.without_specs(files)
  local generation, failure = policy.load { files = kept, name = name, limits = M.LIMITS, background = background }
  if not generation then return nil, require("blame").of(kept, failure) end
  return generation
end

-- A generation, its settings, and the files that were read (lean). nil, text. background: as of generation.
function M.load(dir, settings_path, background)
  local files, why = M.files(dir, true)
  if not files then return nil, why end
  local settings, trouble = M.settings(files, settings_path)
  if not settings then return nil, trouble end
  local generation, failure = M.generation(files, dir or "built-in policies", background)
  if not generation then return nil, "the policies do not load: " .. M.explain_error(failure) end
  return generation, settings, files
end

return M
