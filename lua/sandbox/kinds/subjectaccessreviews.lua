-- SubjectAccessReviews (authorization.k8s.io/v1): may somebody else do this?

return require "sandbox.kinds.reviews"("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews")
