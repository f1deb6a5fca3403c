-- Ingresses of networking.k8s.io/v1 (ingress.lua).

return require("sandbox.kinds.ingress").make("v1")
