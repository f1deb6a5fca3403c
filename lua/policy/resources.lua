-- What an instance type offers, and how model and engine share it.
--
-- Instance types are PrimeHub's: flat keys ("limits.cpu"), numbers or texts, memory suffixes G, M, K
-- that mean Gi, Mi, Ki. Here they become plain amounts (thousandths of a CPU, bytes), the engine gets
-- its share, and the model gets what is left.

local M = {}

local MOST = 1 << 50 -- far more than a machine has, and nothing that is calculated with it overflows

local function as_text(value)
  if math.type(value) == "float" and value == math.floor(value) then return ("%.0f"):format(value) end
  return tostring(value)
end

-- PrimeHub reads 2G as 2Gi.
local function memory_text(value)
  local s = as_text(value)
  local number, suffix = s:match("^%s*([%d.]+)%s*([GMK])%s*$")
  return number and number .. suffix .. "i" or s
end

local function is_given(value)
  return value ~= nil and value ~= json.null and value ~= ""
end

local function amount(spec, key, text_of, unit)
  local value = spec[key]
  if not is_given(value) then return nil end
  local number = quantity[unit](text_of(value))
  if not number or number < 0 then return nil, key .. " is " .. as_text(value) .. ", which is no quantity" end
  if number > MOST then return nil, key .. " is " .. as_text(value) .. ", which is too much" end
  return number
end

local function extended(spec, default_gpu)
  local found = {}
  local function add(name, key)
    local value = spec[key]
    if not is_given(value) then return nil end
    local units = quantity.units(as_text(value))
    if not units or units < 0 then return key .. " is " .. as_text(value) .. ", which is no whole number" end
    if units > 0 then found[name] = ("%d"):format(units) end
    return nil
  end
  local keys = {}
  for key in pairs(spec) do
    if key:find("^limits%..+/") then keys[#keys + 1] = key end
  end
  table.sort(keys)
  for _, key in ipairs(keys) do
    local wrong = add(key:sub(#"limits." + 1), key)
    if wrong then return nil, wrong end
  end
  local wrong = add(is_given(spec.gpuResourceName) and spec.gpuResourceName or default_gpu, "limits.gpu")
  if wrong then return nil, wrong end
  return found
end

-- The amounts of an instance type's spec: {limits = {cpu, memory, extended = {name = text}}, requests = {cpu, memory}};
-- what is not given is nil. nil and a sentence if a value is none.
function M.read(spec, default_gpu)
  local wrong
  local offer = { limits = {}, requests = {} }
  offer.limits.cpu, wrong = amount(spec, "limits.cpu", as_text, "milli")
  if wrong then return nil, wrong end
  offer.limits.memory, wrong = amount(spec, "limits.memory", memory_text, "units")
  if wrong then return nil, wrong end
  offer.requests.cpu, wrong = amount(spec, "requests.cpu", as_text, "milli")
  if wrong then return nil, wrong end
  offer.requests.memory, wrong = amount(spec, "requests.memory", memory_text, "units")
  if wrong then return nil, wrong end
  offer.limits.extended, wrong = extended(spec, default_gpu)
  if wrong then return nil, wrong end
  for _, name in ipairs { "cpu", "memory" } do
    local limit, request = offer.limits[name], offer.requests[name]
    if limit and request and request > limit then
      return nil, "requests." .. name .. " is more than limits." .. name
    end
  end
  return offer
end

function M.cpu_text(milli)
  return milli % 1000 == 0 and ("%d"):format(milli // 1000) or ("%dm"):format(milli)
end

-- Bytes with the largest binary suffix that says them exactly. (A plain 262144000 comes back from the
-- API server as 262144k, which PrimeHub's quota then reads as 256 MiB.)
function M.memory_text(bytes)
  if bytes == 0 then return "0" end
  for _, unit in ipairs { { "Gi", 1 << 30 }, { "Mi", 1 << 20 }, { "Ki", 1 << 10 } } do
    if bytes % unit[2] == 0 then return ("%d%s"):format(bytes // unit[2], unit[1]) end
  end
  return ("%d"):format(bytes)
end

-- The engine's share of `total`: a percentage, but at least `least`.
local function share(total, percent, least)
  return math.max(total * percent // 100, least)
end

local TEXT = { cpu = M.cpu_text, memory = M.memory_text }

-- Split an offer. engine: {percent, cpu (thousandths), memory (bytes)} or nil: the model gets all.
-- Returns {model = {limits, requests}, engine = {limits, requests}} with quantities as text, or nil and a
-- table {resource, needed, offered} when nothing would be left for the model.
function M.split(offer, engine)
  local parts = { model = { limits = {}, requests = {} }, engine = { limits = {}, requests = {} } }
  for _, name in ipairs { "cpu", "memory" } do
    local text = TEXT[name]
    local total = offer.limits[name]
    local request = offer.requests[name] or total
    local first, first_request = 0, 0
    if engine then
      first = total and share(total, engine.percent, engine[name]) or engine[name]
      -- the engine's part of the requests is its part of the limits, so that the sums are exact
      first_request = total and first * (request * 1000 // math.max(total, 1)) // 1000 or math.min(first, request or first)
      parts.engine.limits[name], parts.engine.requests[name] = text(first), text(first_request)
    end
    if total and total <= first then
      return nil, { resource = name, needed = text(first), offered = text(total) }
    end
    if total then parts.model.limits[name] = text(total - first) end
    if request then parts.model.requests[name] = text(request - first_request) end
  end
  for name, value in pairs(offer.limits.extended) do
    parts.model.limits[name], parts.model.requests[name] = value, value
  end
  return parts
end

return M
