-- LocalSubjectAccessReviews (authorization.k8s.io/v1): the same question as a SubjectAccessReview, about one namespace.

return require "sandbox.kinds.reviews"("authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews", true)
