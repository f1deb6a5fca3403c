-- What must be so in every state that `moonphase check` reaches: rows of your own, beside those that it knows by itself.
--
--   name   what the row is called, in what is printed
--   when   always: in each state. step: compared with the state before it (v.previous). settled: once nothing goes on any more
--   given  the row is about states for which this holds; about all, if not said
--   holds  what must be so then. It may answer false, { why = "..." }: the text can name {why}
--   text   what people read when it is not so; {names} are taken from the evidence of `holds`, then from the view
--
-- A view `v`: v.object (the PhDeployment, nil when it is gone), v.status, v.phase, v.children.Deployment (.Service, .Ingress, .Secret,
-- .HTTPRoute), v.pods, v.wants (replicas that the spec asks for; 0 when stopped), v.image, v.current (the status tells of the
-- present spec), v.scene (what is wrong with the world), v.faults (how many there were), v.previous (the same of the state before).
-- Nothing of this runs in an operator: it is asked by `moonphase check` and by reloads only, for every state, so keep it quick.

return invariants {
  { name = "pods count for their group", when = "settled",
    holds = function(v)
      for _, pod in ipairs(v.pods) do
        if not (pod.metadata.labels or {})["primehub.io/group"] then return false, { why = pod.metadata.name } end
      end
      return true
    end,
    text = "the pod {why} has no label of a group, so that no quota counts it" },
}
