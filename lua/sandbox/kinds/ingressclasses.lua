-- IngressClasses of networking.k8s.io/v1 (ingressclass.lua).

return require("sandbox.kinds.ingressclass").make("v1")
