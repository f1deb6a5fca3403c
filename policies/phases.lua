-- The five phases: the first row whose `when` holds is the phase. It follows from what is seen, never from
-- the phase before; `from` only claims which phases may come before, and `moonphase check` tests it.

return phases {
  { "Stopped", from = { "", "Stopping", "Deploying", "Deployed", "Failed" }, reason = "Stopped",
    when = function(s) return s.stop and s.gone end,
    message = "deployment has stopped{warning}" },

  { "Stopped", from = { "", "Stopping", "Deploying", "Deployed", "Failed" }, reason = "ScaledToZero",
    when = function(s) return s.wants_none and s.gone end,
    message = "deployment is scaled to 0 replicas{warning}" },

  -- a model that is being stopped needs no group and no image; only what keeps it from stopping counts
  { "Failed", reason = function(s) return s.failure.name end,
    when = function(s) return s.failure and (not s.wants_none or s.failure.row.even_when_stopped) end,
    message = "{failure.message}" },

  { "Stopping", reason = "Stopping",
    when = function(s) return s.wants_none end,
    message = "deployment is stopping" },

  { "Deployed", from = { "", "Deploying", "Failed" }, reason = "Deployed",
    when = fact "rollout.complete",
    message = "Deployment is deployed and available now" },

  { "Deploying", reason = "Waiting",
    when = function(s) return s.silent end,
    message = "Waiting: the {silent} cannot be read at the moment{silence}" },

  { "Deploying", reason = "PartlyAvailable",
    when = function(s) return s.rollout.available > 0 end,
    message = "Deployment is being deployed: {rollout.available} of {desired} replicas available" },

  { "Deploying", reason = "Deploying",
    when = always,
    message = "Deployment is being deployed and not available now" },
}
