-- Pods that must be beside others, or apart from them: the required terms of pod affinity and anti-affinity.
--
-- As in Kubernetes 1.20's InterPodAffinity: what the placed pods mean for one pod is counted once (of), by pairs of a topology key and
-- its value; then each node is asked (against). Anti-affinity holds in both directions: a placed pod that wants none like
-- this one beside it keeps it away too.

local common = require "sandbox.controllers.common"

local M = {}

local PODS, NODES = "pods", "nodes"
local NONE = {}
local TERMS = "requiredDuringSchedulingIgnoredDuringExecution"

-- In the server's words: the first is said of each, the second which of the three it was.
local ANY = "node(s) didn't match pod affinity/anti-affinity"
local ALONE = { ANY, "node(s) didn't match pod affinity rules" }
local TOGETHER = { ANY, "node(s) didn't match pod anti-affinity rules" }
local KEPT_AWAY = { ANY, "node(s) didn't satisfy existing pods anti-affinity rules" }

local function terms_of(pod, kind) return ((pod.spec.affinity or NONE)[kind] or NONE)[TERMS] or NONE end

-- Whether a term of `owner` means a pod. (A selector that is empty means all, one that is absent none.)
local function means(term, owner, pod)
  local here, selector = false, term.labelSelector
  for _, namespace in ipairs(term.namespaces or { owner.metadata.namespace }) do here = here or namespace == pod.metadata.namespace end
  return here and selector ~= nil and common.labels_hold(selector.matchLabels, pod.metadata.labels)
    and common.requirements_hold(selector.matchExpressions, pod.metadata.labels or NONE)
end

local function means_by_all(terms, owner, pod)
  for _, term in ipairs(terms) do
    if not means(term, owner, pod) then return false end
  end
  return true
end

local function pair(term, labels)
  local value = labels[term.topologyKey]
  return value and term.topologyKey .. "=" .. value
end

local function note(pairs_of, term, node)
  local one = pair(term, node.metadata.labels or NONE)
  if one then pairs_of[one] = true end
end

-- f(pod, node) for each placed pod of the namespaces that the terms mean.
local function each_placed(c, owner, terms, f)
  local seen = {}
  for _, term in ipairs(terms) do
    for _, namespace in ipairs(term.namespaces or { owner.metadata.namespace }) do
      if not seen[namespace] then
        seen[namespace] = true
        for _, record in ipairs(c.w:each(PODS, namespace)) do
          local other = record.object
          local place = other.spec.nodeName and not common.is_finished(other) and c.w:get(NODES, "", other.spec.nodeName)
          if place then f(other, place.object) end
        end
      end
    end
  end
end

-- Pairs in which placed pods want none like this one.
local function kept_away(c, pod)
  local found = {}
  for key in pairs(c.usage:reserved_ones()) do
    local record = c.w:get(PODS, common.split(key))
    local place = record and c.w:get(NODES, "", record.object.spec.nodeName)
    for _, term in ipairs(place and terms_of(record.object, "podAntiAffinity") or NONE) do
      if means(term, record.object, pod) then note(found, term, place.object) end
    end
  end
  return next(found) and found
end

-- What the placed pods mean for this one; nil: nothing.
function M.of(c, pod)
  local wanted, unwanted, away = terms_of(pod, "podAffinity"), terms_of(pod, "podAntiAffinity"), kept_away(c, pod)
  if not wanted[1] and not unwanted[1] and not away then return nil end
  local self = { wanted = wanted, unwanted = unwanted, beside = {}, apart = {}, away = away or NONE }
  each_placed(c, pod, wanted, function(other, node)
    if not means_by_all(wanted, pod, other) then return end
    for _, term in ipairs(wanted) do note(self.beside, term, node) end
  end)
  each_placed(c, pod, unwanted, function(other, node)
    for _, term in ipairs(unwanted) do
      if means(term, pod, other) then note(self.apart, term, node) end
    end
  end)
  self.first = wanted[1] and not next(self.beside) and means_by_all(wanted, pod, pod) -- the first of its kind may go anywhere
  return self
end

local function is_beside(self, labels)
  local found = true
  for _, term in ipairs(self.wanted) do
    local one = pair(term, labels)
    if not one then return false end
    found = found and self.beside[one] ~= nil
  end
  return found or self.first
end

-- What stands against a node; nil: nothing. self: of `of`, may be nil.
function M.against(self, node)
  if not self then return nil end
  local labels = node.metadata.labels or NONE
  if self.wanted[1] and not is_beside(self, labels) then return ALONE end
  for _, term in ipairs(self.unwanted) do
    local one = pair(term, labels)
    if one and self.apart[one] then return TOGETHER end
  end
  for key, value in pairs(next(self.away) and labels or NONE) do
    if self.away[key .. "=" .. value] then return KEPT_AWAY end
  end
end

return M
