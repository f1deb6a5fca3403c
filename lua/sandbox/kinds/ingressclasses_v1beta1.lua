-- IngressClasses of networking.k8s.io/v1beta1 (ingressclass.lua).

return require("sandbox.kinds.ingressclass").make("v1beta1")
