"""The admission webhook: injects into the pods that ask for it, as the API server makes them."""
