-- TokenReviews (authentication.k8s.io/v1): whose token is this?

return require "sandbox.kinds.reviews"("authentication.k8s.io", "TokenReview", "tokenreviews")
