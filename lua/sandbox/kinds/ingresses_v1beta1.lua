-- Ingresses of networking.k8s.io/v1beta1, as clients before 1.19 write them (ingress.lua).

return require("sandbox.kinds.ingress").make("v1beta1")
