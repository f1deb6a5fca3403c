-- SelfSubjectAccessReviews (authorization.k8s.io/v1): `kubectl auth can-i`.

return require "sandbox.kinds.reviews"("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
