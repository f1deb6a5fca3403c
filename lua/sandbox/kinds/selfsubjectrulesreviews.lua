-- SelfSubjectRulesReviews (authorization.k8s.io/v1): `kubectl auth can-i --list`.

return require "sandbox.kinds.reviews"("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews")
